# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""A tuning job is submitted once, whatever happens: genuine SDK clients against the emulator."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from emulator_process import Emulator, jobs_of
from samples import sections, splits

from gemtune.catalogue import Catalogue
from gemtune.errors import UserError
from gemtune.steps import tune
from gemtune.tuning import submission
from gemtune.vertex import Client, storage
from gemtune.vertex.jobs import FINGERPRINT

LIMITS = Catalogue.load().limits["supervised"]


@pytest.fixture
def client(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    emulator.faults()
    yield emulator.point(monkeypatch)
    emulator.faults()


def tuned(folder: Path, name: str, *overrides: str, seed: int = 1, **trial: Any) -> dict[str, Any]:
    train, validation, _ = splits(folder, seed=seed)
    c = sections(*overrides)
    wanted = {"name": "trial-1", "epoch_count": 3, **trial}
    out = str(folder / "job.json")
    return tune.run(train, validation, wanted, c["task"], c["evaluate"], c["tune"], c["vertex"], name, out)


def stored(client: Client) -> list[str]:
    return [blob.name for blob in storage.bucket(client).list_blobs(prefix="tuning/")]


def test_tune_writes_a_variant_per_checkpoint_and_a_record(client: Client, tmp_path: Path) -> None:
    result = tuned(tmp_path, "leaves")
    record = json.loads((tmp_path / "job.json").read_text())
    assert [c["name"] for c in result["contestants"]] == ["trial-1@1", "trial-1@2", "trial-1@3"]
    assert [c["epoch"] for c in result["contestants"]] == [1, 2, 3]
    assert all(
        c["model"].startswith("projects/") and "/locations/us/endpoints/" in c["model"] for c in result["contestants"]
    )
    assert all(c["prompt"]["name"] == "tuned" and c["role"] == "candidate" for c in result["contestants"])
    assert record["job"]["state"] == "SUCCEEDED"
    assert record["states"][0]["state"] == "PENDING"
    assert len(record["curve"]["/train_total_loss"]) == record["job"]["steps"]
    assert len(record["curve"]["/eval_total_loss"]) == 3
    assert record["diagnosis"]["kind"] in ("fine", "undertrained")
    assert (tmp_path / "job.json.1.tfevents").stat().st_size > 100
    assert result["metrics"]["billable_tokens"] == record["job"]["billable_tokens"] > 0


def test_tune_reuses_the_job_of_an_earlier_run(client: Client, tmp_path: Path) -> None:
    first = tuned(tmp_path / "a", "twice", seed=2)
    before = stored(client)
    assert tuned(tmp_path / "b", "twice", seed=2) == first
    assert len(jobs_of(client, "twice")) == 1
    assert stored(client) == before


def test_tune_other_hyperparameters_are_another_job(client: Client, tmp_path: Path) -> None:
    tuned(tmp_path, "other", seed=3)
    tuned(tmp_path, "other", seed=3, epoch_count=2)
    assert len(jobs_of(client, "other")) == 2


def test_tune_lost_response_starts_no_second_job(emulator: Emulator, client: Client, tmp_path: Path) -> None:
    emulator.faults(paths="tuningJobs$", drop_rate=0.4, seed=2)
    tuned(tmp_path, "lost", seed=4)
    emulator.faults()
    assert len(jobs_of(client, "lost")) == 1


@pytest.mark.parametrize("code", [429, 503])
def test_tune_waits_for_a_full_queue(emulator: Emulator, client: Client, tmp_path: Path, code: int) -> None:
    emulator.faults(paths="tuningJobs$", error_rate=0.5, error_code=code, seed=code)
    assert tuned(tmp_path, f"queue-{code}", seed=code)["contestants"]
    emulator.faults()
    assert len(jobs_of(client, f"queue-{code}")) == 1


def test_tune_retries_a_failed_job_up_to_the_limit(emulator: Emulator, client: Client, tmp_path: Path) -> None:
    emulator.faults(job_failure="midway", job_names="^fails$")
    for _ in range(3):
        with pytest.raises(tune.JobFailed, match="Internal error at midway"):
            tuned(tmp_path, "fails", seed=5)
    assert len(jobs_of(client, "fails")) == 2
    emulator.faults()
    assert tuned(tmp_path, "fails", "tune.attempts=3", seed=5)["contestants"]


def test_tune_cancels_a_job_after_its_deadline(emulator: Emulator, client: Client, tmp_path: Path) -> None:
    emulator.faults(pace={"seconds": 30})
    with pytest.raises(tune.JobFailed, match="took longer than"):
        tuned(tmp_path, "late", "tune.deadline_h=0.0001", seed=6)
    assert [job.state for job in jobs_of(client, "late")] in (["CANCELLED"], ["CANCELLING"])


def test_tune_cancels_a_job_over_its_token_limit(emulator: Emulator, client: Client, tmp_path: Path) -> None:
    emulator.faults(pace={"polls": 50})
    with pytest.raises(tune.JobFailed, match="would bill more than 10 tokens"):
        tuned(tmp_path, "dear", seed=7, max_billable_tokens=10)
    assert [job.state for job in jobs_of(client, "dear")] in (["CANCELLED"], ["CANCELLING"])


PROCESS = """
import json, logging, sys
from gemtune.steps import tune
logging.basicConfig(level=logging.INFO, stream=sys.stdout)
train, validation, trial, c, name, out = json.load(open(sys.argv[1]))
tune.run(train, validation, trial, c["task"], c["evaluate"], c["tune"], c["vertex"], name, out)
"""


def started(folder: Path, name: str, seed: int) -> subprocess.Popen[str]:
    """A tuning step in a process of its own, once its job is known."""
    train, validation, _ = splits(folder, seed=seed)
    arguments = [train, validation, {"name": "trial-1", "epoch_count": 3}, sections(), name, str(folder / "job.json")]
    (folder / "arguments.json").write_text(json.dumps(arguments))
    command = [sys.executable, "-c", PROCESS, str(folder / "arguments.json")]
    process = subprocess.Popen(command, env=dict(os.environ), text=True, stdout=subprocess.PIPE)
    deadline = time.monotonic() + 30
    while not (folder / "job.json").exists():
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.05)
    return process


def test_tune_terminated_step_cancels_its_job(emulator: Emulator, client: Client, tmp_path: Path) -> None:
    emulator.faults(pace={"seconds": 60})
    process = started(tmp_path, "stopped", seed=8)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=20)
    assert process.returncode != 0
    assert [job.state for job in jobs_of(client, "stopped")] in (["CANCELLED"], ["CANCELLING"])


def test_tune_adopts_the_job_of_a_killed_step(emulator: Emulator, client: Client, tmp_path: Path) -> None:
    emulator.faults(pace={"seconds": 1.5})
    process = started(tmp_path, "killed", seed=9)
    process.kill()
    process.communicate(timeout=20)
    assert json.loads((tmp_path / "job.json").read_text())["job"]["name"] == jobs_of(client, "killed")[0].name
    assert tuned(tmp_path, "killed", seed=9)["contestants"]
    assert [job.state for job in jobs_of(client, "killed")] == ["SUCCEEDED"]


def test_tune_takes_over_a_claim_without_a_job(client: Client, tmp_path: Path) -> None:
    tuned(tmp_path / "a", "dead", seed=11)
    print_ = jobs_of(client, "dead")[0].labels[FINGERPRINT]
    storage.write_record(client, f"jobs/{'f' * 16}-1.json", {"claimed": "yesterday"}, 0)
    assert submission._claimed_job(client, f"jobs/{'f' * 16}-1.json", 0.2) is None
    found = submission._claimed_job(client, f"jobs/{print_}-1.json", 5)
    assert found is not None
    assert found.labels[FINGERPRINT] == print_


@pytest.mark.parametrize(
    ("overrides", "trial", "words"),
    [
        (["evaluate.base_model=gemini-2.5-flash"], {}, "retired on 2026-10-20"),
        (["evaluate.base_model=gemini-0"], {}, "unknown base model"),
        (["vertex.location=asia-east1"], {}, "cannot be tuned in asia-east1"),
        (["vertex.encryption_key=projects/p/k"], {}, "key of your own"),
        ([], {"adapter_size": 3}, "adapter_size"),
        ([], {"epoch_count": 0}, "epoch_count"),
    ],
)
def test_tune_refuses_invalid_rows_before_upload(
    client: Client, tmp_path: Path, overrides: list[str], trial: dict[str, Any], words: str
) -> None:
    before = stored(client)
    with pytest.raises(UserError, match=words):
        tuned(tmp_path, "wrong", *overrides, seed=12, **trial)
    assert stored(client) == before
    assert not jobs_of(client, "wrong")
    assert not (tmp_path / "job.json").exists()


def row(text: str = "hi", answer: str = "yes", role: str = "model") -> dict[str, Any]:
    return {"contents": [{"role": "user", "parts": [{"text": text}]}, {"role": role, "parts": [{"text": answer}]}]}


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([], "no training rows"),
        ([row(), row(answer=" ")], "row 2 does not end in an answer"),
        ([row(role="user")], "row 1 does not end in an answer"),
        ([row("x" * 2_100_000)], "row 1 has"),
    ],
)
def test_check_rows_names_bad_rows(rows: list[dict[str, Any]], words: str) -> None:
    with pytest.raises(UserError, match=words):
        submission.check_rows("training", rows, LIMITS)


def test_check_rows_refuses_too_many_or_too_large() -> None:
    few = LIMITS.model_copy(update={"examples": 1})
    small = LIMITS.model_copy(update={"file_bytes": 100})
    with pytest.raises(UserError, match="at most 1"):
        submission.check_rows("training", [row(), row()], few)
    with pytest.raises(UserError, match="at most 100"):
        submission.check_rows("training", [row(), row()], small)
