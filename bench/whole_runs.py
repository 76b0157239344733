# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""What a whole local run costs with scripted answers: CPU seconds of all its processes, and the time outside its steps.

    python -m bench.whole_runs [--rows 1000 10000 100000] [--no-quickstart]

Two trials are tuned side by side and the better model is deployed. Growth is the CPU seconds a row beside those of the
size before. The shipped sample is measured, too, whose student really learns: most of its time is training.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from bench.figures import Figure, record
from pipelines.local_run import EVENTS
from pipelines.steps import StepRecord

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests" / "pipeline"), str(ROOT / "tests")]

from test_run import run, summary_of, write_inputs  # noqa: E402

TIMEOUT_S = 3600  # of a run
BUDGET = 1000  # US dollars: the default one has room for one trial of 100,000 rows
GROWTH = 1.2  # times the CPU seconds a row of ten times fewer rows
QUICKSTART = (
    "Most of the time is training the student: ten epochs, 895 steps of 8 rows, which the sample needs since a "
    "third of its tickets quotes another intent. Of a step in float32 (0.1 s), 35 % are matrix products and 44 % "
    "multiplications and additions of whole activations. Adding the adapters to the weights once in a step, "
    "instead of computing them beside, saved 8 % of it, and would change the results of every seed. Answering is "
    "nearly all the prefill of prompts with examples, more than half of which are matrix products."
)


def measured(rows: int) -> tuple[float, float, float]:
    """CPU seconds of a run, the share of its time in which no step is at work, the trials at work at a time."""
    with tempfile.TemporaryDirectory() as folder:
        write_inputs(Path(folder), base_accuracy=0.4, tuned_accuracy=0.97, count=rows)
        before = _children_cpu_s()
        done = run(Path(folder), "--set", f"plan.max_cost={BUDGET}", timeout_s=TIMEOUT_S)
        summary = summary_of(done, Path(folder))
        print(json.dumps({"rows": rows, "verdict": summary["verdict"], **summary["time"]}), flush=True)
        (events,) = Path(folder).glob(f"runs/*/{EVENTS}")
        tuned = [step for step in StepRecord.read(events).steps if step.base == "tune"]
        busy = sum(step.finish - step.start for step in tuned)
        together = busy / (max(step.finish for step in tuned) - min(step.start for step in tuned))
        return _children_cpu_s() - before, summary["time"]["share"], together


def quickstart() -> tuple[float, list[tuple[str, float]]]:
    """CPU seconds of `make run`, and the share of its wall time of each of the longest steps."""
    with tempfile.TemporaryDirectory() as folder:
        before = _children_cpu_s()
        words = ["run", "configs/quickstart.yaml", "--runs", folder, "--exit-zero"]
        subprocess.run([sys.executable, "-m", "gemtune", *words], cwd=ROOT, check=True)
        spent = _children_cpu_s() - before
        (path,) = Path(folder).glob("*/summary.json")
        summary = json.loads(path.read_text(encoding="utf-8"))
    longest = sorted(summary["steps"], key=lambda step: -step["seconds"])[:5]
    return spent, [(step["step"], step["seconds"] / summary["time"]["wall_s"]) for step in longest]


def _children_cpu_s() -> float:
    spent = os.times()
    return spent.children_user + spent.children_system


def main() -> None:
    """Print and record both figures of every size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="*", default=[1000, 10_000, 100_000])
    parser.add_argument("--quickstart", action=argparse.BooleanOptionalAction, default=True)
    arguments = parser.parse_args()
    if arguments.quickstart:
        value, steps = quickstart()
        figure = Figure(name="quickstart", value=value, unit="CPU s", goal=80)
        record(figure if figure.met else figure.model_copy(update={"reason": steps, "finding": QUICKSTART}))
    last = (0, 0.0)
    for rows in arguments.rows:
        cpu_s, share, together = measured(rows)
        growth = cpu_s / rows / last[1] if last[0] else 1.0
        print(f"{rows} rows: {cpu_s:.1f} CPU s, {share:.1%} outside the steps, {together:.2f} trials at a time, "
              f"growth {growth:.2f}")  # fmt: skip
        record(Figure(name=f"scripted run of {rows} rows", value=cpu_s, unit="CPU s"))
        record(Figure(name=f"scripted run of {rows} rows: outside steps", value=100 * share, unit="%", goal=8))
        trials = f"scripted run of {rows} rows: trials at work at a time, of 2"
        record(Figure(name=trials, value=together, unit="trials", goal=1.5, more_is_better=True))
        if last[0]:
            name = f"growth: scripted run, a row of {rows} beside one of {last[0]}"
            record(Figure(name=name, value=growth, unit="times", goal=GROWTH))
        last = (rows, cpu_s / rows)


if __name__ == "__main__":
    main()
