# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""A step that is ended while it sends requests continues from the response cache, wherever that is."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from emulator_process import Emulator

from gemtune.data.example import Example, write_examples
from gemtune.inference.response_cache import SAVE_LINES
from gemtune.inference.vertex_generation import RUN_ANSWERS

ROWS, CONCURRENCY, LABELS = 320, 8, ["refund", "cancel", "login"]
MORE = pytest.mark.skipif(os.environ.get("WHOLE_RUNS") != "all", reason="`make whole-runs` runs it")
STEP = """
import json, sys
from gemtune.steps.evaluate import run_baselines
rows, predictions, report, evaluate = sys.argv[1:]
labels = ["refund", "cancel", "login"]
run_baselines(rows, rows, predictions, report, task={"labels": labels}, evaluate=json.loads(evaluate), vertex={})
"""
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def counted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Emulator, Path]]:
    """An emulator that takes 20 ms for an answer, and the log of what it has answered."""
    log = tmp_path_factory.mktemp("log") / "answers.jsonl"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GEMTUNE_ANSWER_LOG", str(log))
        patch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), str(ROOT / "tests" / "pipeline" / "recorder")]))
        emulator = Emulator(tmp_path_factory.mktemp("emulator"))
    emulator.faults(paths="generateContent", slow_rate=1.0, slow_seconds=0.02)
    yield emulator, log
    emulator.kill()


def answered(log: Path) -> int:
    """Generate requests that were answered so far."""
    return log.read_text(encoding="utf-8").count(":generateContent") if log.exists() else 0


@pytest.mark.parametrize(
    ("place", "lost"),
    [
        pytest.param("bucket", 2 * SAVE_LINES, id="bucket"),
        pytest.param("", 0, id="folder-of-the-run", marks=MORE),
    ],
)
def test_ended_step_sends_few_requests_again(counted, tmp_path, place, lost):
    emulator, log = counted
    rows = [Example(f"row{i}", f"{tmp_path.name} {i}.", LABELS[i % 3]) for i in range(ROWS)]
    write_examples(tmp_path / "rows", rows)
    settings = {"concurrency": CONCURRENCY, "response_cache": place, "tfidf_baseline": False, "resamples": 200}
    settings |= {"baselines": [{"name": "zero_shot"}], "constrain_best_prompt": False}
    paths = [str(tmp_path / name) for name in ("rows", "predictions", "report")]
    command = [sys.executable, "-c", STEP, *paths, json.dumps(settings)]
    environment = {**os.environ, **emulator.environment, RUN_ANSWERS: str(tmp_path / "answers")}
    before = answered(log)
    for number, after in ((signal.SIGKILL, 70), (signal.SIGTERM, 150 + lost)):
        step = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
        while answered(log) - before < after:
            assert step.poll() is None
            time.sleep(0.01)
        step.send_signal(number)
        assert step.wait(20) != 0
    assert answered(log) - before < ROWS, "it was ended before its end"
    subprocess.run(command, env=environment, check=True, capture_output=True)
    again = answered(log) - before - ROWS
    assert 0 <= again <= lost + 2 * CONCURRENCY, "what was saved is not sent again; SIGTERM loses what was in flight"
    assert len((tmp_path / "predictions").read_text(encoding="utf-8").split("\n")) == ROWS + 1
