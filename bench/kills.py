# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Whole runs that are killed at random moments, or meet faults on every route: the verdict of an undisturbed run.

`python bench/kills.py --runs 10` kills the command, kfp's runner, a step or the emulator of each run (SIGKILL or
SIGTERM) until `--kills` (3) have hit it, resumes the run after each, and then lets it finish. `--faults 0.2` disturbs
with that share of 503, 429, cut connections and responses lost after the service acted, on all routes; `--kills 0`
then kills nothing. The exit code is 1 when a verdict, the selected checkpoint or the number of tuning jobs differs from
the undisturbed run, when a paid answer was requested twice, or when a process or a temporary folder is left.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests" / "pipeline"))

from test_run import command, environment, write_inputs  # noqa: E402

TARGETS = {
    "command": "-m gemtune run",
    "runner": "-m pipelines.kfp_local_events",
    "step": "-m kfp.dsl.executor_main",
    "emulator": "-m emulator",
}


def processes(folder: Path) -> dict[int, str]:
    """Process id -> command line of every process that works in a run's folder."""
    found = {}
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and Path(os.readlink(entry / "cwd")) == folder:
                found[int(entry.name)] = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:  # it has ended
            continue
    return {pid: line for pid, line in found.items() if line}


def outcome(folder: Path) -> tuple[str, str, int]:
    """Verdict, selected checkpoint, and number of tuning jobs ever created."""
    (summary,) = folder.glob("runs/known-*/summary.json")
    document = json.loads(summary.read_text(encoding="utf-8"))
    with sqlite3.connect(folder / "runs" / "emulator" / "state.sqlite") as state:
        ((jobs,),) = state.execute("SELECT count(*) FROM resources WHERE kind = 'tuningJobs'")
    selected = next((row["name"] for row in document["variants"] if row["role"] == "candidate"), "none")
    return document["verdict"], selected, jobs


def set_faults(folder: Path, share: float, seed: int) -> bool:
    """Set the fault plan of the emulator that a run has started; whether it has one yet."""
    address = re.findall(r"emulator at\s+(http://[\d.:]+)", (folder / "out.txt").read_text(encoding="utf-8"))
    if not address:
        return False
    # of four kinds, each as often; the control plane of the emulator itself stays intact
    plan = {
        "seed": seed, "paths": "^/(v1|storage|upload|download|batch|b/)", "error_rate": share / 2,
        "error_code": [429, 503], "drop_rate": share / 4, "lost_rate": share / 4,
    }  # fmt: skip
    request = urllib.request.Request(f"{address[-1]}/emulator/faults", json.dumps(plan).encode(), method="PUT")
    request.add_header("Content-Type", "application/json")
    urllib.request.urlopen(request, timeout=10).close()
    return True


def run(folder: Path, rng: random.Random, kills: int, faults: float = 0.0) -> list[str]:
    """Run in a folder, kill `kills` times, resume until it has finished; what was hit."""
    write_inputs(folder, base_accuracy=0.4, tuned_accuracy=0.97, step_seconds=0.05)
    hit: list[str] = []
    arguments = command(folder, "--exit-zero")
    while True:
        with (folder / "out.txt").open("ab") as out:
            out.truncate()
            process = subprocess.Popen(arguments, cwd=folder, env=environment(), stdout=out, stderr=out)
        disturbed = not faults
        deadline = time.monotonic() + rng.uniform(3, 25)
        while process.poll() is None and (len(hit) == kills or time.monotonic() < deadline):
            disturbed = disturbed or set_faults(folder, faults, rng.randrange(2**31))
            time.sleep(0.1)
        if process.poll() is None:
            kind = rng.choice(list(TARGETS))
            sig = rng.choice([signal.SIGKILL, signal.SIGTERM])
            victims = [pid for pid, line in processes(folder).items() if TARGETS[kind] in line]
            if victims:
                os.kill(rng.choice(victims), sig)
                hit.append(f"{kind} {sig.name}")
            process.wait()
        if process.returncode == 0:
            return hit
        if len(hit) == kills:
            raise SystemExit(f"a run that nobody killed failed:\n{(folder / 'out.txt').read_text()[-2000:]}")
        if started := sorted(folder.glob("runs/known-*/start.json")):
            arguments = [sys.executable, "-m", "gemtune", "run", "--exit-zero", "--resume", str(started[-1].parent)]


def left_over(folder: Path) -> list[str]:
    """Processes and temporary folders that a finished run left, after up to 15 seconds."""
    deadline = time.monotonic() + 15
    while (left := list(processes(folder).values())) and time.monotonic() < deadline:
        time.sleep(0.2)
    return left + [str(path) for path in folder.glob("runs/known-*/tmp-*")]


def main() -> int:
    """Print one line for each run; 1 when any differs from the undisturbed one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=10, help="runs to disturb")
    parser.add_argument("--kills", type=int, default=3, help="kills in each run")
    parser.add_argument("--faults", type=float, default=0.0, help="share of requests that meet a fault")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    rng, bad = random.Random(arguments.seed), 0
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary).resolve()
        for number in range(arguments.runs + 1):
            folder = root / str(number)
            folder.mkdir()
            hit = run(folder, rng, arguments.kills if number else 0, arguments.faults if number else 0.0)
            result, left = outcome(folder), left_over(folder)
            if number == 0:
                expected = result
            wrong = result != expected or bool(left)
            bad += wrong
            verdict, selection, jobs = result
            print(
                f"{number:3d} {'BAD' if wrong else 'ok'} {verdict}, {jobs} jobs, {selection}; killed: "
                f"{', '.join(hit) or 'nothing'}; left: {left or 'nothing'}",
                flush=True,
            )
    print(f"{arguments.runs - bad} of {arguments.runs} disturbed runs end like the undisturbed one")
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
