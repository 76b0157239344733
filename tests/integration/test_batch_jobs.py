# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Batch jobs of the emulator: the answers of online requests, resumed after a kill."""

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
from emulator_process import Emulator
from evaluations import evaluated, predictions
from samples import examples

from gemtune import vertex
from gemtune.artifacts.cost import TokenUsage
from gemtune.artifacts.evaluation import VariantReport
from gemtune.config import ModelVariant
from gemtune.data.example import write_examples
from gemtune.vertex import jobs as tuning
from gemtune.vertex import models, storage

MODEL = "gemini-2.5-flash"
TASK = {"labels": ["refund", "delivery", "login"]}


@pytest.fixture
def emulator(tmp_path: Path) -> Iterator[Emulator]:
    running = Emulator(tmp_path / "state", "--speed", "seconds:0.7")
    yield running
    running.kill()


def run(folder: str, config: dict[str, Any]) -> VariantReport:
    _, report = evaluated(Path(folder), [ModelVariant(name="zero", model=MODEL)], task=TASK, evaluate=config)
    return report.variants[0]


def answers(folder: Path) -> dict[str, Any]:
    rows = predictions(folder)
    assert len(rows) == 90
    return {row["id"]: (row["answer"], row["outcome"], row["input_tokens"]) for row in rows}


def test_batch_job_equals_online_and_is_resumed_after_kill_9(
    emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = emulator.point(monkeypatch)
    write_examples(tmp_path / "rows", examples(90, 3))
    write_examples(tmp_path / "train", examples(20, 4))
    common = {"base_model": MODEL, "tfidf_baseline": False, "resamples": 200}
    batch = {**common, "batch_above": 50, "batch_poll_s": 0.1}

    run(str(tmp_path), common)
    online = answers(tmp_path)
    code = f"import test_batch_jobs; test_batch_jobs.run({str(tmp_path)!r}, {batch!r})"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen([sys.executable, "-c", code], cwd=Path(__file__).parent, env=environment)
    deadline = time.monotonic() + 60
    while not listed(client):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert listed(client)[0].state != "JOB_STATE_SUCCEEDED"
    tokens = run(str(tmp_path), batch).tokens
    assert answers(tmp_path) == online
    assert len(listed(client)) == 1
    assert tokens.batch_input == tokens.input > 0
    price = {"input": 1.0, "output": 1.0}
    assert tokens.cost({**price, "batch": 0.5}) == pytest.approx(tokens.cost(price) / 2)
    run(str(tmp_path), batch)  # the job's answers are still there: no request is sent again
    assert len(listed(client)) == 1


def test_batch_job_uses_the_version_of_a_tuned_checkpoint(
    emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = emulator.point(monkeypatch)
    write_examples(tmp_path / "rows", examples(60, 3))
    write_examples(tmp_path / "train", examples(20, 4))
    lines = [{"contents": [turn("user", one.text), turn("model", one.target)]} for one in examples(20, 4)]
    (tmp_path / "lines.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    tuned = {}
    for base in (MODEL, "gemini-3.5-flash"):
        uri = storage.upload(client, tmp_path / "lines.jsonl", "data")
        job = tuning.create(client, tuning.TuningJobSpec(base, "supervised", uri, epoch_count=2, display_name=base))
        while not job.ended:
            time.sleep(0.1)
            job = tuning.get(client, job.name)
        tuned[base] = job
    points = tuned[MODEL].checkpoints
    default = models.default_checkpoint(client, tuned[MODEL].model)
    assert {one.checkpoint_id for one in points} > {default}

    def run_on(base: str, point: tuning.Checkpoint) -> TokenUsage:
        checkpoint = {"model": point.endpoint, "tuned_model": tuned[base].model, "checkpoint_id": point.checkpoint_id}
        config = {"base_model": base, "tfidf_baseline": False, "resamples": 200}
        settings = {**config, "batch_above": 50, "batch_poll_s": 0.1}
        _, report = evaluated(tmp_path, [ModelVariant(name="c", **checkpoint)], task=TASK, evaluate=settings)
        return report.variants[0].tokens

    for point in points:
        tokens = run_on(MODEL, point)
        assert tokens.batch_input == (tokens.input if point.checkpoint_id == default else 0)
        times = [row["latency_s"] for row in predictions(tmp_path)]
        assert all((one is None) == (point.checkpoint_id == default) for one in times)
    assert [job.model for job in listed(client)] == [tuned[MODEL].model]
    last = tuned["gemini-3.5-flash"].checkpoints[-1]
    assert run_on("gemini-3.5-flash", last).batch_input == 0  # no batch jobs for what is tuned from it


def turn(role: str, text: str) -> dict[str, Any]:
    return {"role": role, "parts": [{"text": text}]}


def listed(client: vertex.Client) -> list[Any]:
    return list(client.genai().batches.list())
