# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""What a whole local run costs with scripted answers: CPU seconds of all its processes, and the time outside its steps.

    python -m bench.whole_runs [--rows 1000 10000 100000] [--quickstart]

Two trials are tuned and the better model is deployed. Growth is the CPU seconds a row beside those of the first size.
`--quickstart` measures the shipped sample, too, whose student really learns: most of its time is training.
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

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests" / "pipeline"), str(ROOT / "tests")]

from test_run import run, summary_of, write_inputs  # noqa: E402


def measured(rows: int) -> tuple[float, float]:
    """CPU seconds of a run and the share of its time in which no step is at work."""
    with tempfile.TemporaryDirectory() as folder:
        write_inputs(Path(folder), base_accuracy=0.4, tuned_accuracy=0.97, count=rows)
        before = _children_cpu_s()
        summary = summary_of(run(Path(folder)), Path(folder))
        print(json.dumps({"rows": rows, "verdict": summary["verdict"], **summary["time"]}), flush=True)
        return _children_cpu_s() - before, summary["time"]["share"]


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
    parser.add_argument("--quickstart", action="store_true")
    arguments = parser.parse_args()
    if arguments.quickstart:
        value, steps = quickstart()
        record(Figure(name="quickstart", value=value, unit="CPU s", goal=80, reason=steps if value > 80 else []))
    first = 0.0
    for rows in arguments.rows:
        cpu_s, share = measured(rows)
        first = first or cpu_s / rows
        print(f"{rows} rows: {cpu_s:.1f} CPU s, {share:.1%} outside the steps, growth {cpu_s / rows / first:.2f}")
        record(Figure(name=f"scripted run of {rows} rows", value=cpu_s, unit="CPU s"))
        record(Figure(name=f"scripted run of {rows} rows: outside steps", value=100 * share, unit="%", goal=8))


if __name__ == "__main__":
    main()
