# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Whole runs that are killed at random moments, or meet faults on every route: the verdict of an undisturbed run.

`python bench/kills.py --runs 10` kills the command, kfp's runner, a step or the emulator of each run (SIGKILL or
SIGTERM) until `--kills` (3) have hit it, resumes the run after each, and lets it finish; `--target step` kills only
steps. The kills are spread over the time that the undisturbed run took. `--faults 0.2` disturbs with that share of 503,
429, cut connections and responses lost after the service acted, on all routes; `--kills 0` then kills nothing. The exit
code is 1 when a verdict, the selected checkpoint or the number of tuning jobs differs from the undisturbed run (those
that a SIGTERM cancelled, as Ctrl-C does, are not counted), when an answer was paid for again that no kill had cut off,
when a process or a temporary folder is left, or when no request met a fault.
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
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests" / "pipeline"))

from test_run import command, environment, write_inputs  # noqa: E402

RECORDER = ROOT / "tests" / "pipeline" / "recorder"
IN_FLIGHT_S = 3.0  # an answer this long before a kill may not have been stored by the process that was killed
TARGETS = {
    "command": "-m gemtune run",
    "runner": "-m pipelines.kfp_local_events",
    "step": "pipelines.step_server",  # its forks, or itself
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
    """Verdict, selected checkpoint, and number of tuning jobs that were not cancelled."""
    (summary,) = folder.glob("runs/known-*/summary.json")
    document = json.loads(summary.read_text(encoding="utf-8"))
    with sqlite3.connect(folder / "runs" / "emulator" / "state.sqlite") as state:
        bodies = state.execute("SELECT body FROM resources WHERE kind = 'tuningJobs'").fetchall()
    jobs = sum(json.loads(body)["state"] != "JOB_STATE_CANCELLED" for (body,) in bodies)
    selected = next((row["name"] for row in document["variants"] if row["role"] == "candidate"), "none")
    return document["verdict"], selected, jobs


@dataclass
class Disturbance:
    """What is done to a run, and what of it has happened: kills of processes, the share of requests with a fault."""

    rng: random.Random
    kills: int = 0
    faults: float = 0.0
    targets: tuple[str, ...] = tuple(TARGETS)
    within_s: float = 0.0
    hit: list[str] = field(default_factory=list)
    times: list[float] = field(default_factory=list)

    def kill(self, folder: Path) -> bool:
        """Kill a process of a run; whether one of the drawn kind was there."""
        kind = self.rng.choice(self.targets)
        sig = self.rng.choice([signal.SIGKILL, signal.SIGTERM])
        victims = [(pid, line) for pid, line in processes(folder).items() if TARGETS[kind] in line]
        if victims:
            pid, line = self.rng.choice(victims)
            os.kill(pid, sig)
            step = re.search(r"--function_to_execute (\w+)", line)
            self.hit.append(f"{step[1] if step else kind} {sig.name}")
            self.times.append(time.time())
        return bool(victims)

    def set_faults(self, folder: Path) -> bool:
        """Set the fault plan of the emulator that a run has started; whether it has one yet."""
        address = re.findall(r"^watch: (http://[\d.:]+)", (folder / "out.txt").read_text(encoding="utf-8"), re.M)
        if not address:
            return False
        # of four kinds, each as often; the control plane of the emulator itself stays intact
        plan = {
            "seed": self.rng.randrange(2**31), "error_rate": self.faults / 2, "error_code": [429, 503],
            "drop_rate": self.faults / 4, "lost_rate": self.faults / 4,
        }  # fmt: skip
        request = urllib.request.Request(f"{address[-1]}/emulator/faults", json.dumps(plan).encode(), method="PUT")
        request.add_header("Content-Type", "application/json")
        urllib.request.urlopen(request, timeout=10).close()
        return True


def run(folder: Path, disturbance: Disturbance) -> None:
    """Run in a folder, with its kills and faults, and resume until it has finished."""
    write_inputs(folder, base_accuracy=0.4, tuned_accuracy=0.97, step_seconds=0.05)
    arguments = command(folder, "--exit-zero")
    paths = os.pathsep.join([str(ROOT), str(RECORDER)])
    variables = {**environment(), "PYTHONPATH": paths, "GEMTUNE_ANSWER_LOG": str(folder / "answers.jsonl")}
    while True:
        with (folder / "out.txt").open("wb") as out:
            process = subprocess.Popen(arguments, cwd=folder, env=variables, stdout=out, stderr=out)
        disturbed = not disturbance.faults
        deadline = time.monotonic() + disturbance.rng.uniform(0, disturbance.within_s)
        is_spared = killed = len(disturbance.hit) >= disturbance.kills
        while process.poll() is None:
            disturbed = disturbed or disturbance.set_faults(folder)
            killed = killed or (time.monotonic() > deadline and disturbance.kill(folder))
            time.sleep(0.1)
        if process.returncode == 0:
            return
        if is_spared:
            raise SystemExit(f"a run that nobody killed failed:\n{(folder / 'out.txt').read_text()[-2000:]}")
        if started := sorted(folder.glob("runs/known-*/start.json")):
            arguments = [sys.executable, "-m", "gemtune", "run", "--exit-zero", "--resume", str(started[-1].parent)]
        left_over(folder)  # what the kill left is still ending: until then the run is not resumed


def answers(folder: Path) -> list[dict[str, Any]]:
    """The requests of a run with their statuses; 0: cut off, or lost after the service acted."""
    with (folder / "answers.jsonl").open(encoding="utf-8") as lines:
        return [row for row in map(json.loads, lines) if not row["path"].startswith("/emulator")]


def paid(rows: list[dict[str, Any]]) -> dict[tuple[str, str], list[float]]:
    """Generate requests that were answered in full -> when; endpoints have other numbers in each run."""
    times: dict[tuple[str, str], list[float]] = {}
    for row in rows:
        if row["path"].endswith(":generateContent") and row["status"] == 200:
            times.setdefault((re.sub(r"\d{6,}", "#", row["path"]), row["body"]), []).append(row["time"])
    return times


def paid_again(rows: list[dict[str, Any]], undisturbed: list[dict[str, Any]], kills: list[float]) -> tuple[int, int]:
    """How many answers were paid for more often than in the undisturbed run: in flight at a kill, and otherwise."""
    cut = without = 0
    expected = {key: len(times) for key, times in paid(undisturbed).items()}
    for key, times in paid(rows).items():
        more = max(0, len(times) - expected.get(key, 0))
        excused = sum(any(-1.0 < kill - at < IN_FLIGHT_S for kill in kills) for at in times)
        cut, without = cut + min(more, excused), without + max(0, more - excused)
    return cut, without


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
    parser.add_argument("--target", choices=TARGETS, help="kill only these processes (default: any)")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    rng, bad, duration_s = random.Random(arguments.seed), 0, 0.0
    targets = (arguments.target,) if arguments.target else tuple(TARGETS)
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary).resolve()
        for number in range(arguments.runs + 1):
            folder = root / str(number)
            folder.mkdir()
            disturbance = Disturbance(rng)
            if number:
                within_s = 2 * duration_s / (arguments.kills + 1)
                disturbance = Disturbance(rng, arguments.kills, arguments.faults, targets, within_s)
            started = time.monotonic()
            run(folder, disturbance)
            duration_s = duration_s or time.monotonic() - started
            result, left, rows = outcome(folder), left_over(folder), answers(folder)
            if number == 0:
                expected, undisturbed = result, rows
            cut, without = paid_again(rows, undisturbed, disturbance.times)
            met = Counter(row["status"] for row in rows if row["status"] in (0, 429, 503))
            wrong = result != expected or bool(left) or without > 0 or (disturbance.faults > 0 and not met)
            bad += wrong
            verdict, selection, jobs = result
            print(
                f"{number:3d} {'BAD' if wrong else 'ok'} {verdict}, {jobs} jobs, {selection}; killed: "
                f"{', '.join(disturbance.hit) or 'nothing'}; left: {left or 'nothing'}; {len(rows)} requests, "
                f"{met[429]} with 429, {met[503]} with 503, {met[0]} cut off or lost; paid again: {cut} at a kill, "
                f"{without} without reason",
                flush=True,
            )
    print(f"{arguments.runs - bad} of {arguments.runs} disturbed runs end like the undisturbed one")
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
