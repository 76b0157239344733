# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""A run of three trials, killed ten times at random moments and begun again, makes three jobs and one choice."""

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
from samples import sections, splits

from gemtune.vertex import storage

RUN = """
import json, sys
from gemtune.steps import select_model as pick, tune
train, validation, trials, c, name, folder = json.load(open(sys.argv[1]))
jobs, scored = [], []
for trial in trials:
    out = f"{folder}/{trial['name']}.json"
    made = tune.run(train, validation, trial, c["task"], c["evaluate"], c["tune"], c["vertex"], name, out)
    score = {"value": 0.5 + 0.1 * trial["epoch_count"], "low": 0.5, "high": 0.9}
    tokens = {"input": 400, "output": 40}
    rows = [{"contestant": x, "metrics": {"accuracy": score}, "tokens": tokens} for x in made["contestants"]]
    with open(f"{folder}/{trial['name']}-scored.json", "w") as file:
        json.dump({"rows": 40, "contestants": rows}, file)
    jobs.append(out)
    scored.append(f"{folder}/{trial['name']}-scored.json")
prompt = {"name": "zero_shot", "model": c["evaluate"]["base_model"]}
pick.run(jobs, scored, prompt, c["task"], c["pick"], c["deploy"], c["vertex"], name, f"{folder}/picked.json")
"""


@pytest.fixture
def emulator(tmp_path: Path) -> Iterator[Emulator]:
    running = Emulator(tmp_path / "state", "--speed", "seconds:0.4")
    yield running
    running.kill()


def test_tune_ten_kills_start_no_extra_job(emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    client = emulator.point(monkeypatch)
    train, validation, _ = splits(tmp_path, seed=1)
    trials = [{"name": f"trial-{n}", "epoch_count": n} for n in (1, 2, 3)]
    arguments = tmp_path / "arguments.json"
    c = sections("tune.claim_wait_s=1", "tune.poll_s=0.1")
    arguments.write_text(json.dumps([train, validation, trials, c, "kills", str(tmp_path)]))
    command = [sys.executable, "-c", RUN, str(arguments)]
    rng = random.Random(20261120)
    kills = 0
    while kills < 10:
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
    chosen = json.loads((tmp_path / "picked.json").read_text())["candidate"]
    assert (chosen["trial"], chosen["checkpoint_id"]) == ("trial-3", "1")
    stored = [blob.name for blob in storage.bucket(client).list_blobs(prefix="tuning/")]
    assert len(stored) == len(set(stored)) == 2
