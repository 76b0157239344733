# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Early stopping and follow-up jobs on the emulator."""

from __future__ import annotations

import json
import math
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from emulator_process import Emulator, jobs_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from samples import sections, splits, write_plan

from gemtune.artifacts.evaluation import EvaluationReport
from gemtune.artifacts.tuning import Selection, TuningRecord
from gemtune.config import Task, Trial
from gemtune.steps import select_model, tune
from gemtune.tuning import early_stopping
from gemtune.tuning.tuner import Tuner
from gemtune.vertex import Client
from gemtune.vertex.jobs import FINGERPRINT

RUNGS = (0.4, 0.8, 1.6, 3.2)

runs = st.lists(st.lists(st.floats(0.01, 10), min_size=1, max_size=4), min_size=2, max_size=4)


def rungs(losses: list[float]) -> dict[str, float]:
    return {str(rung): loss for rung, loss in zip(RUNGS, losses, strict=False)}


@settings(max_examples=10, suppress_health_check=list(HealthCheck))
@given(runs=runs, order=st.randoms())
def test_early_stopping_always_leaves_a_trial(client: Client, runs: list[list[float]], order: Any) -> None:
    group, progress = f"p{uuid.uuid4().hex}", dict.fromkeys(range(len(runs)), 0)  # records outlive an example
    stopped: set[int] = set()
    while going := [n for n, done in progress.items() if done < len(runs[n]) and n not in stopped]:
        runner = order.choice(going)
        progress[runner] += 1
        early_stopping.report(
            client, group, f"r{runner}", rungs(runs[runner][: progress[runner]]), progress[runner] == len(runs[runner])
        )
        now = {n for n in range(len(runs)) if early_stopping.reason_to_stop(client, group, f"r{n}")}
        assert stopped <= now  # for good
        stopped = now
    assert len(stopped) < len(runs)


def test_early_stopping_stops_an_earlier_trial_for_a_better_one(client: Client) -> None:
    assert early_stopping.report(client, "late", "first", rungs([1.0, 0.8]), ended=False) == ""
    assert early_stopping.report(client, "late", "second", rungs([0.7]), ended=False) == ""
    assert early_stopping.reason_to_stop(client, "late", "first").startswith("after 0.4 epochs its loss is 1,")
    assert (
        early_stopping.report(client, "late", "first", rungs([1.0, 0.8]), ended=True) == ""
    )  # it ended before it was cancelled
    assert early_stopping.reason_to_stop(client, "late", "first") == ""


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    folder = tmp_path_factory.mktemp("emulator")
    (folder / "script.json").write_text(json.dumps({"step_seconds": 0.12, "first_loss": 2.0, "last_loss": 2.0}))
    running = Emulator(folder / "state", "--engine", f"scripted:{folder / 'script.json'}")
    yield running
    running.kill()


def tuned(folder: Path, name: str, **hyper: Any) -> TuningRecord:
    """The record of one trial, on which early stopping is on."""
    train, validation, _ = splits(folder)
    record, settings = str(folder / "job.json"), sections("tune.early_stopping=all")
    tune.run(train, validation, {"name": "slow", **hyper}, name, record, str(folder / "events"), **settings)
    return TuningRecord.read(record)


def beaten(client: Client, **hyper: Any) -> None:
    """Let a rival of the trial have ended with far lower losses."""
    group = early_stopping.group_of(Trial(**hyper), "all")
    early_stopping.report(client, group, "rival", rungs([0.5, 0.1]), ended=True)


def test_early_stopping_cancels_a_trial_far_behind_for_good(
    emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = emulator.point(monkeypatch)
    trial = {"epoch_count": 10, "plan": "plan-a"}
    beaten(client, **trial)
    record = tuned(tmp_path, "stopped", **trial)
    assert record.variants == []
    diagnosis = record.jobs[-1].diagnosis
    assert diagnosis is not None
    assert diagnosis.kind == "early_stopped"
    assert "another trial's was 0." in diagnosis.evidence
    assert [job.state for job in jobs_of(client, "stopped")] in (["CANCELLED"], ["CANCELLING"])
    assert tuned(tmp_path, "stopped", **trial).variants == []
    assert len(jobs_of(client, "stopped")) == 1


def test_early_stopping_cancels_the_job_that_a_killed_run_left_running(
    emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, trial = emulator.point(monkeypatch), {"epoch_count": 30, "plan": "plan-killed"}
    with monkeypatch.context() as lost:
        lost.setattr(Tuner, "_monitor", Mock(side_effect=ConnectionError("killed")))
        with pytest.raises(ConnectionError):
            tuned(tmp_path, "killed", **trial)
    (left,) = jobs_of(client, "killed")
    assert not left.ended
    group = early_stopping.group_of(Trial(**trial), "all")
    beaten(client, **trial)
    assert early_stopping.report(client, group, left.labels[FINGERPRINT], rungs([2.0]), ended=False)
    assert tuned(tmp_path, "killed", **trial).variants == []
    (job,) = jobs_of(client, "killed")
    assert job.state in ("CANCELLED", "CANCELLING")


@pytest.mark.parametrize("preference", [False, True], ids=["supervised", "preference"])
def test_early_stopping_continues_without_results_of_a_trial(
    emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, preference: bool
) -> None:
    client = emulator.point(monkeypatch)
    plan = f"plan-{preference}"
    beaten(client, plan=plan)
    name = f"gone-{preference}".lower()
    record = tuned(tmp_path, name, epoch_count=9, plan=plan)
    again = tuned(tmp_path, name, epoch_count=9, plan=plan)  # finds what was spent before
    assert again.variants == record.variants == []
    record = again
    settings = sections() | ({"preference": {"ranker": "reference"}} if preference else {})
    write_plan(tmp_path / "plan", settings)
    EvaluationReport(dataset="validation", rows=40, task=Task.of(settings["task"]), variants=[]).write(
        tmp_path / "scored"
    )
    files = [str(tmp_path / file) for file in ("plan", "selection", "job.json", "scored")]
    select_model.run(files[0], files[1], name, [files[2]], files[3], **settings)
    selection = Selection.read(files[1])
    assert [variant.role for variant in selection.finalists] == ["baseline"]
    (spent,) = selection.spent
    job = record.jobs[-1].job
    begun = spent.tokens.expected / job.billable_tokens
    assert begun == math.ceil(job.completed_steps / (job.steps / 9))
    assert begun - 1 <= job.completed_epochs <= begun < 9


def test_follow_up_of_a_flat_trial_stays_within_its_tokens(
    emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = emulator.point(monkeypatch)
    plain = tuned(tmp_path / "a", "plain", epoch_count=2)
    tokens = plain.jobs[-1].job.billable_tokens
    record = tuned(tmp_path / "b", "follow", epoch_count=2, adapter_size=1, follow_ups=1, follow_up_tokens=9 * tokens)
    assert [variant.name for variant in record.variants] == ["slow@1", "slow@2", "slow+@1", "slow+@2"]
    assert [job.trial.learning_rate_multiplier for job in record.jobs] == [1.0, 5.0]
    assert len(jobs_of(client, "follow")) == 2
