# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""A run of three trials, killed at random moments and begun again, makes three jobs and one choice."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from emulator_process import Emulator, jobs_of
from samples import sections, splits, write_plan

from gemtune.artifacts.tuning import Selection
from gemtune.vertex import storage

KILLS = 10 if os.environ.get("WHOLE_RUNS") == "all" else 3
RUN = """
import json, sys
from gemtune.artifacts.cost import TokenUsage
from gemtune.artifacts.evaluation import EvaluationReport, Latency, Score, VariantReport
from gemtune.artifacts.tuning import TuningRecord
from gemtune.config import Task
from gemtune.steps import select_model, tune

def scored(variant, epochs):
    score = Score(value=0.5 + 0.1 * epochs, low=0.5, high=0.9)
    usual = dict(outcomes={"ok": 40}, latency_s=Latency(median=0, p95=0), attempts=40, cached=0)
    return VariantReport(variant=variant, metrics={"accuracy": score}, tokens=TokenUsage(input=400, output=40), **usual)

train, validation, trials, sections, name, folder = json.load(open(sys.argv[1]))
records, reports = [], []
for trial in trials:
    record = f"{folder}/{trial['name']}.json"
    tune.run(train, validation, trial, name, record, f"{folder}/events", **sections)
    reports += [scored(variant, trial["epoch_count"]) for variant in TuningRecord.read(record).variants]
    records.append(record)
report = EvaluationReport(dataset="validation", rows=40, task=Task.of(sections["task"]), variants=reports)
report.write(f"{folder}/report.json")
select_model.run(
    f"{folder}/plan.json", f"{folder}/selection.json", name, records, f"{folder}/report.json", **sections
)
"""


@pytest.fixture
def emulator(tmp_path: Path) -> Iterator[Emulator]:
    running = Emulator(tmp_path / "state", "--speed", "seconds:0.4")
    yield running
    running.kill()


def test_tune_killed_again_and_again_starts_no_extra_job(
    emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = emulator.point(monkeypatch)
    train, validation, _ = splits(tmp_path, seed=1)
    trials = [{"name": f"trial-{n}", "epoch_count": n} for n in (1, 2, 3)]
    arguments = tmp_path / "arguments.json"
    settings = sections("tune.claim_wait_s=1", "tune.poll_s=0.1")
    write_plan(tmp_path / "plan.json", settings)
    arguments.write_text(json.dumps([train, validation, trials, settings, "kills", str(tmp_path)]))
    command = [sys.executable, "-c", RUN, str(arguments)]
    rng = random.Random(20261120)
    kills = 0
    while kills < KILLS:
        process = subprocess.Popen(command, env=dict(os.environ))
        try:
            process.wait(timeout=rng.uniform(1.0, 3.5))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            kills += 1
            continue
        assert process.returncode == 0  # it got through: the rest of the kills hit a run that only reuses
    assert subprocess.run(command, env=dict(os.environ), check=True).returncode == 0
    assert sorted(job.state for job in jobs_of(client, "kills")) == ["SUCCEEDED"] * 3
    candidate = Selection.read(tmp_path / "selection.json").candidate
    assert candidate is not None
    assert (candidate.trial, candidate.checkpoint_id) == ("trial-3", "1")
    stored = [blob.name for blob in storage.bucket(client).list_blobs(prefix="tuning/")]
    assert len(stored) == len(set(stored)) == 2
