# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""One schedule submitted by several processes at once, some of them killed: exactly one schedule at the end.

`python bench/schedules.py --submissions 20 --processes 4 --kills 6` starts an emulator, submits the same schedule that
many times, kills that many of the processes (SIGKILL) at random moments, and submits once more. It pauses the schedule
half-way. The exit code is 1 unless one schedule is left, which is the first one and is still paused, or when at some
moment after the first submission there was none, or more than one.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

SUBMIT = """
import sys
from gemtune.config import Config
from gemtune.state import store
from gemtune.vertex import connect
from pipelines import cloud, schedules

store.LEASE_S = 2.0
config = Config(name="nightly", data="gs://b/rows.jsonl")
client = connect(config.vertex)
print("ready", flush=True)
for number in sys.stdin.read().split():
    schedules.put(client, config, cloud.Source(image="registry.example/gemtune-python:1"), f"{number} 3 * * 1")
"""


def start(environment: dict[str, str]) -> subprocess.Popen[str]:
    """A process that is ready to submit the minutes that it reads from its standard input."""
    command = [sys.executable, "-c", SUBMIT]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment
    )
    assert process.stdout is not None
    process.stdout.readline()
    return process


def submit(process: subprocess.Popen[str], minutes: range) -> None:
    """Let a process submit its schedules, and end."""
    assert process.stdin is not None
    process.stdin.write(" ".join(map(str, minutes)))
    process.stdin.close()


def run(folder: Path, submissions: int, processes: int, kills: int, seed: int) -> dict[str, Any]:
    """Submit; the schedules that are left, the first one, and how many there were at any time after it."""
    from gemtune.config import Config
    from gemtune.vertex import connect
    from pipelines import schedules
    from pipelines.emulator_process import emulator, environment

    rng, config = random.Random(seed), Config(name="nightly", data="gs://b/rows.jsonl")
    with emulator(folder, engine="scripted") as server:
        os.environ.update(environment(server.url))
        client = connect(config.vertex)
        waiting = [start(dict(os.environ)) for _ in range(processes + kills)]
        share = range(submissions // processes)
        running, counts, first, killed = [], set[int](), "", 0
        while waiting or running:
            while waiting and len(running) < processes:
                running.append(waiting.pop())
                submit(running[-1], share)
            time.sleep(rng.uniform(0.05, 0.4))
            names = [schedule.name for schedule in schedules.listed(client, config)]
            if names and not first:
                first = names[0]
                schedules.change(client, config, "pause", "tuning")
            counts.update([len(names)] if first else [])
            if killed < kills and running:
                running.pop(rng.randrange(len(running))).kill()
                killed += 1
            running = [process for process in running if process.poll() is None]
        last = start(dict(os.environ))
        submit(last, range(59, 60))
        last.wait()
        left = [(schedule.name, schedule.state.name, schedule.cron) for schedule in schedules.listed(client, config)]
        return {"left": left, "first": first, "counts": sorted(counts), "killed": killed}


def main() -> int:
    """0 when exactly the first schedule is left, paused, with the last submission's cron expression."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    for name, default in (("submissions", 20), ("processes", 4), ("kills", 6), ("seed", 1), ("count", 1)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    passed = True
    for number in range(options.count):
        with tempfile.TemporaryDirectory() as folder:
            seed = options.seed + number
            result = run(Path(folder), options.submissions, options.processes, options.kills, seed)
        print(result)
        passed &= result["left"] == [(result["first"], "PAUSED", "59 3 * * 1")] and result["counts"] == [1]
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
