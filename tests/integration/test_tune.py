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
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from emulator_process import Emulator, jobs_of
from samples import sections, splits

from gemtune.artifacts.tuning import TuningRecord
from gemtune.catalogue import Catalogue
from gemtune.errors import UserError
from gemtune.steps import tune
from gemtune.tuning import submission, tuner
from gemtune.tuning.submission import JobFailed
from gemtune.vertex import Client, jobs, storage
from gemtune.vertex.jobs import FINGERPRINT

LIMITS = Catalogue.load().limits["supervised"]


@pytest.fixture
def client(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    emulator.faults()
    yield emulator.point(monkeypatch)
    emulator.faults()


def tuned(folder: Path, name: str, *overrides: str, seed: int = 1, **trial: Any) -> TuningRecord:
    """The record of one trial."""
    train, validation, _ = splits(folder, seed=seed)
    job, settings = str(folder / "job.json"), sections(*overrides)
    tune.run(
        train, validation, {"name": "trial-1", "epoch_count": 3, **trial}, name, job, str(folder / "events"), **settings
    )
    return TuningRecord.read(job)


def stored(client: Client) -> list[str]:
    return [blob.name for blob in storage.bucket(client).list_blobs(prefix="tuning/")]


def test_tune_leaves_a_variant_per_checkpoint_and_a_record(client: Client, tmp_path: Path) -> None:
    tuning = tuned(tmp_path, "leaves")
    (record,) = tuning.jobs
    assert [variant.name for variant in tuning.variants] == ["trial-1@1", "trial-1@2", "trial-1@3"]
    assert [variant.epoch for variant in tuning.variants] == [1, 2, 3]
    assert all(
        variant.model.startswith("projects/") and "/locations/us/endpoints/" in variant.model
        for variant in tuning.variants
    )
    assert all(variant.prompt.name == "tuned" and variant.role == "candidate" for variant in tuning.variants)
    assert [change.state for change in record.states][:: len(record.states) - 1] == ["PENDING", "SUCCEEDED"]
    assert len(record.curve["/train_total_loss"]) == record.job.steps
    assert len(record.curve["/eval_total_loss"]) == 3
    assert record.diagnosis is not None
    assert record.diagnosis.kind in ("fine", "undertrained")
    (events,) = (tmp_path / "events" / "trial-1").iterdir()
    assert events.stat().st_size > 100
    assert record.job.billable_tokens > 0


def test_tune_returns_the_metrics_of_its_job(client: Client, tmp_path: Path) -> None:
    train, validation, _ = splits(tmp_path, seed=13)
    job = str(tmp_path / "job.json")
    metrics = tune.run(train, validation, {"name": "t"}, "metrics", job, str(tmp_path / "events"), **sections())
    (record,) = TuningRecord.read(job).jobs
    assert metrics["billable_tokens"] == record.job.billable_tokens
    assert metrics["checkpoints"] == 4
    assert metrics["train_total_loss"] == record.curve["/train_total_loss"][-1][1]


def test_tune_reweighted_trial_trains_on_the_reweighted_rows(client: Client, tmp_path: Path) -> None:
    train, validation, _ = splits(tmp_path, seed=14)
    rows = Path(train).read_text("utf-8").splitlines(keepends=True)
    (tmp_path / "reweighted").write_text("".join(rows[:60]), "utf-8")
    tokens = {}
    for reweighted in (False, True):
        trial, job = {"name": "t", "reweighted": reweighted}, str(tmp_path / f"job-{reweighted}")
        more = (str(tmp_path / "events"), str(tmp_path / "reweighted"))
        tune.run(train, validation, trial, "reweighted", job, *more, **sections())
        tokens[reweighted] = TuningRecord.read(job).jobs[0].job.billable_tokens
    assert tokens[True] < tokens[False]


def test_tune_start_is_the_checkpoint_that_other_trials_continue(client: Client, tmp_path: Path) -> None:
    train, validation, _ = splits(tmp_path, seed=15)
    files = [str(tmp_path / name) for name in ("start", "job", "events")]
    tune.run_start(train, validation, {"name": "supervised"}, "start", files[0], files[2], **sections())
    start = TuningRecord.read(files[0]).start
    assert start is not None
    assert (start.role, start.trial) == ("supervised", "supervised")
    tune.run(train, validation, {"name": "next"}, "start", files[1], files[2], start=files[0], **sections())
    (record,) = TuningRecord.read(files[1]).jobs
    assert (record.trial.base, record.trial.checkpoint_id) == (start.tuned_model, start.checkpoint_id)
    tune.run(train, validation, {"name": "alone"}, "start", files[1], files[2], start="", **sections())
    assert TuningRecord.read(files[1]).jobs[0].trial.base == ""


def test_tune_without_a_start_submits_no_job_for_it(client: Client, tmp_path: Path) -> None:
    train, validation, _ = splits(tmp_path, seed=16)
    files = [str(tmp_path / name) for name in ("start", "job", "events")]
    tune.run_start(train, validation, {}, "unstarted", files[0], files[2], **sections())
    assert TuningRecord.read(files[0]).variants == jobs_of(client, "unstarted") == []
    tune.run(train, validation, {"name": "alone"}, "unstarted", files[1], files[2], start=files[0], **sections())
    assert TuningRecord.read(files[1]).jobs[0].trial.base == ""


def test_tune_reuses_the_job_of_an_earlier_run(client: Client, tmp_path: Path) -> None:
    first = tuned(tmp_path / "a", "twice", seed=2)
    before = stored(client)
    again = tuned(tmp_path / "b", "twice", seed=2)
    assert again.variants == first.variants
    assert (again.jobs[0].job, again.jobs[0].curve) == (first.jobs[0].job, first.jobs[0].curve)
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
    assert tuned(tmp_path, f"queue-{code}", seed=code).variants
    emulator.faults()
    assert len(jobs_of(client, f"queue-{code}")) == 1


def test_tune_submits_a_failed_job_again_up_to_the_limit(emulator: Emulator, client: Client, tmp_path: Path) -> None:
    emulator.faults(job_failure="midway", job_names="^fails$")
    with pytest.raises(JobFailed, match=r"Internal error at midway.*failed in 2 attempts.*larger tune\.attempts"):
        tuned(tmp_path, "fails", seed=5)
    assert len(jobs_of(client, "fails")) == 2
    with pytest.raises(JobFailed, match="Internal error at midway"):
        tuned(tmp_path, "fails", seed=5)
    assert len(jobs_of(client, "fails")) == 2
    emulator.faults()
    assert tuned(tmp_path, "fails", "tune.attempts=3", seed=5).variants


def test_tune_succeeds_in_one_run_when_its_first_job_failed(emulator: Emulator, client: Client, tmp_path: Path) -> None:
    emulator.faults(job_failure="midway", job_failure_rate=0.5, seed=3)
    for seed in range(40, 52):
        name = f"half-{seed}"
        try:
            variants = tuned(tmp_path / name, name, seed=seed).variants
        except JobFailed:
            continue
        if [job.state for job in jobs_of(client, name)] == ["SUCCEEDED", "FAILED"]:
            assert variants
            return
    pytest.fail("no run had a failed job and then a good one")


def test_tune_reports_dropped_rows_with_reasons(emulator: Emulator, client: Client, tmp_path: Path) -> None:
    emulator.faults(drop_rows=0.4)
    (record,) = tuned(tmp_path, "dropped", seed=14).jobs
    evidence = record.diagnosis.evidence if record.diagnosis else ""
    assert record.job.dropped == len(record.job.dropped_reasons) > 5
    assert evidence.startswith(f"the service dropped {record.job.dropped} of ")
    assert record.job.dropped_reasons[0] in evidence
    assert "truncated" not in evidence


def test_tune_cancels_a_job_after_its_deadline(emulator: Emulator, client: Client, tmp_path: Path) -> None:
    emulator.faults(pace={"seconds": 2})
    with pytest.raises(JobFailed, match="ran longer than"):
        tuned(tmp_path, "late", "tune.deadline_h=0.0001", seed=6)
    assert [job.state for job in jobs_of(client, "late")] in (["CANCELLED"], ["CANCELLING"])


def test_tune_counts_neither_a_queue_nor_a_wrong_clock_as_running(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Wrong(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return datetime.now(tz) + timedelta(days=400)

    monkeypatch.setattr(tuner, "datetime", Wrong)
    get = jobs.get
    waits: list[int] = []

    def waiting(client: Client, name: str) -> jobs.TuningJob:
        waits.append(1)
        job = get(client, name)
        return replace(job, state="PENDING", detail="WAITING_FOR_QUOTA") if len(waits) < 20 else job

    monkeypatch.setattr(jobs, "get", waiting)
    assert tuned(tmp_path, "queued", "tune.deadline_h=0.0003", seed=15).variants
    assert len(waits) >= 20


def test_tune_cancels_a_job_over_its_token_limit(emulator: Emulator, client: Client, tmp_path: Path) -> None:
    emulator.faults(pace={"polls": 50})
    with pytest.raises(JobFailed, match="would bill more than 10 tokens"):
        tuned(tmp_path, "dear", seed=7, max_billable_tokens=10)
    assert [job.state for job in jobs_of(client, "dear")] in (["CANCELLED"], ["CANCELLING"])


PROCESS = """
import json, logging, sys
from gemtune.steps import tune
logging.basicConfig(level=logging.INFO, stream=sys.stdout)
*arguments, sections = json.load(open(sys.argv[1]))
tune.run(*arguments, **sections)
"""


def started(folder: Path, name: str, seed: int) -> subprocess.Popen[str]:
    """A tuning step in a process of its own, once its job is known."""
    train, validation, _ = splits(folder, seed=seed)
    files = [str(folder / "job.json"), str(folder / "events")]
    arguments = [train, validation, {"name": "trial-1", "epoch_count": 3}, name, *files, sections()]
    (folder / "arguments.json").write_text(json.dumps(arguments))
    command = [sys.executable, "-c", PROCESS, str(folder / "arguments.json")]
    process = subprocess.Popen(command, env=dict(os.environ), text=True, stdout=subprocess.PIPE)
    deadline = time.monotonic() + 60
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


def test_tune_terminated_step_leaves_a_job_that_another_run_waits_for(
    emulator: Emulator, client: Client, tmp_path: Path
) -> None:
    emulator.faults(pace={"seconds": 60})
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    first, second = started(tmp_path / "a", "shared", seed=16), started(tmp_path / "b", "shared", seed=16)
    first.send_signal(signal.SIGTERM)
    output, _ = first.communicate(timeout=20)
    assert first.returncode != 0
    assert "goes on: another run waits for it" in output
    emulator.faults()
    second.communicate(timeout=60)
    assert second.returncode == 0
    assert [job.state for job in jobs_of(client, "shared")] == ["SUCCEEDED"]
    assert TuningRecord.read(tmp_path / "b" / "job.json").variants
    assert not storage.list_times(client, f"jobs/{jobs_of(client, 'shared')[0].labels[FINGERPRINT]}-holders")


def test_job_holder_counts_fresh_holders_alone(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    this, other = tuner.JobHolder(client, "0" * 16), tuner.JobHolder(client, "0" * 16)
    this.refresh()
    other.refresh()
    assert this.release()
    assert not other.release()
    tuner.JobHolder(client, "0" * 16).refresh()  # of a process that is killed then
    assert this.release()
    monkeypatch.setattr(tuner, "STALE_S", 0.0)
    assert not this.release()


def test_tune_adopts_the_job_of_a_killed_step(emulator: Emulator, client: Client, tmp_path: Path) -> None:
    emulator.faults(pace={"seconds": 1.5})
    process = started(tmp_path, "killed", seed=9)
    process.kill()
    process.communicate(timeout=20)
    assert TuningRecord.read(tmp_path / "job.json").jobs[0].job.name == jobs_of(client, "killed")[0].name
    assert tuned(tmp_path, "killed", seed=9).variants
    assert [job.state for job in jobs_of(client, "killed")] == ["SUCCEEDED"]


def test_tune_takes_over_a_claim_without_a_job(client: Client, tmp_path: Path) -> None:
    tuned(tmp_path / "a", "dead", seed=11)
    fingerprint = jobs_of(client, "dead")[0].labels[FINGERPRINT]
    storage.write_record(client, f"jobs/{'f' * 16}-1.json", {"schema_version": 1, "claimed": "yesterday"}, 0)
    assert submission._claimed_job(client, f"{'f' * 16}-1", 0.2) is None
    found = submission._claimed_job(client, f"{fingerprint}-1", 5)
    assert found is not None
    assert found.labels[FINGERPRINT] == fingerprint


def test_tune_names_a_claim_whose_job_is_gone(client: Client) -> None:
    job = f"projects/{client.project}/locations/{client.location}/tuningJobs/404"
    storage.write_record(
        client, f"jobs/{'e' * 16}-1.json", {"schema_version": 1, "claimed": "yesterday", "job": job}, 0
    )
    words = rf"jobs/e+-1\.json: the job {job} is claimed and does not exist .*delete its claim: gcloud storage rm gs://"
    with pytest.raises(UserError, match=words):
        submission._claimed_job(client, f"{'e' * 16}-1", 0.2)


@pytest.mark.parametrize(
    ("overrides", "trial", "words"),
    [
        (["evaluate.base_model=gemini-2.5-flash"], {}, "retired on 2026-10-20"),
        (["evaluate.base_model=gemini-0"], {}, "unknown base model"),
        (["vertex.location=asia-east1"], {}, "cannot be tuned in asia-east1"),
        (["vertex.encryption_key=projects/p/k"], {}, "customer-managed encryption keys"),
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
