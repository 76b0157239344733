# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""What a submission reads before it sends anything, and which runs of this machine it follows."""

from types import SimpleNamespace

import pytest

from gemtune.cli import cloud as cloud_commands
from gemtune.config import Config
from gemtune.errors import UserError
from pipelines import cloud, runs, schedules, strict_run

KEY = "projects/demo-project/locations/us-central1/keyRings/r/cryptoKeys/k"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0 3 * * 1", ("", "0 3 * * 1")),
        ("  0  3 * *   1 ", ("", "0 3 * * 1")),
        ("TZ=Asia/Tokyo 0 3 * * MON-FRI", ("Asia/Tokyo", "0 3 * * MON-FRI")),
        ("CRON_TZ=America/New_York  */15 3 1 JUL *", ("America/New_York", "*/15 3 1 JUL *")),
    ],
)
def test_read_cron_normalises(text, expected):
    assert schedules.read_cron(text) == expected


@pytest.mark.parametrize(
    "text",
    ["", "every monday", "0 3 * *", "0 0 3 * * 1", "0 3 31 2 *", "61 3 * * *", "0 3 L * *", "0 3 * * 5L", "0 3 * * 1#2",
     "0 3 LW * *", "TZ=Nowhere/Town 0 3 * * 1", "TZ= 0 3 * * 1 1", "@daily"],
)  # fmt: skip
def test_read_cron_refuses_what_no_service_takes_or_never_fires(text):
    with pytest.raises(UserError, match="cannot read the cron expression"):
        schedules.read_cron(text)


@pytest.mark.parametrize("data", ["gs://b/rows/*.csv", "bq://d.t", "bq://p.d.t", "bq://example.com:p.d.t"])
def test_require_cloud_data_accepts_places_of_all_forms(data):
    cloud.require_cloud_data(Config.of({"name": "a", "data": data, "backend": {"encryption_key": KEY}}))


def test_local_submission_follows_the_retraining_that_it_starts(monkeypatch, tmp_path):
    """It runs in the emulator, which ends with the command."""
    jobs = [SimpleNamespace(name=f"p/pipelineJobs/{run}") for run in ("shop-rt-1", "shop-9", "shop-rt-2")]
    summaries = {"p/pipelineJobs/shop-9": {"verdict": "retrain", "job_id": "shop-rt-1"}}
    followed, shown = [], []
    monkeypatch.setattr(runs, "follow", lambda _client, run, *_: followed.append(run) or True)
    monkeypatch.setattr(runs, "newest", lambda *_: jobs)
    summary = lambda _client, run, *_: (tmp_path, summaries.get(run, {"verdict": "deploy"}))  # noqa: E731
    monkeypatch.setattr(strict_run, "collect", summary)
    submission = cloud_commands.Submission(
        tmp_path, Config(name="shop"), cloud.Source(), cloud_commands.Place(runs=tmp_path), None
    )
    cloud_commands._follow_here(submission, jobs[1].name, shown.append)
    assert followed == [jobs[1].name, jobs[0].name]
    assert [line.splitlines()[0] for line in shown] == ["RETRAIN", "DEPLOY"]
