# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Strict runs whose steps are killed at random moments: retried, they end with the verdict of an undisturbed run.

`python bench/strict_kills.py --runs 6 --kills 20` submits the pipeline to an emulator that executes it and kills
(SIGKILL) the processes of steps, each step no more often than it is retried. The exit code is 1 when a verdict, the
selected checkpoint or the number of tuning jobs differs from the undisturbed run, when a kill did not lead to a retry,
or when a task that runs at the end in any case did not succeed.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import signal
import sqlite3
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "tests" / "pipeline"), str(ROOT / "tests")]

import strict_runs  # noqa: E402
from test_run import write_inputs  # noqa: E402

STEP = re.compile(r"kfp\.dsl\.executor_main .*--function_to_execute (\w+)", re.S)


def with_short_pauses(node: Any) -> Any:
    """A specification whose failed tasks are repeated as often as it says, after a second each time."""
    if isinstance(node, list):
        return [with_short_pauses(item) for item in node]
    if not isinstance(node, dict):
        return node
    paused = {"backoffDuration", "backoffMaxDuration"}
    return {key: "1s" if key in paused else with_short_pauses(value) for key, value in node.items()}


def retries(step: str) -> int:
    """How often the function of a step is repeated."""
    from gemtune.config import step_resources

    return step_resources(step.replace("_", "-"), {}).retries


def submit(emulator: Any, folder: Path, *overrides: str, policy: str = "PIPELINE_FAILURE_POLICY_FAIL_FAST") -> str:
    """Compile and submit the pipeline of `test_run`; the job's name."""
    from gemtune.config import Config
    from pipelines.compilation import compiled

    data = strict_runs.upload(emulator, folder / "rows.jsonl")
    places = [f"data={data}", f"vertex.project={strict_runs.PROJECT}"]
    config = Config.load(folder / "config.yaml", [*places, *overrides])
    body = {
        "displayName": "known",
        "pipelineSpec": with_short_pauses(compiled(config, "registry.test/image")),
        "runtimeConfig": {"gcsOutputDirectory": f"gs://{strict_runs.BUCKET}/pipelines", "failurePolicy": policy},
    }
    url = f"{emulator.url}/v1/projects/{strict_runs.PROJECT}/locations/us-central1/pipelineJobs"
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request) as response:
        return str(json.load(response)["name"])


def steps(folder: Path) -> list[tuple[int, str]]:
    """Process id and function of each step that runs below a folder."""
    running = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and Path(os.readlink(entry / "cwd")).is_relative_to(folder):
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                if (match := STEP.search(line)) and not line.startswith("sh "):
                    running.append((int(entry.name), match[1]))
        except OSError:  # it has ended
            continue
    return running


def run(
    folder: Path, rng: random.Random, kills: int, pause_s: float
) -> tuple[list[str], tuple[str, str, int], list[str]]:
    """What was killed, the outcome (verdict, selected checkpoint, number of tuning jobs), and what went wrong.

    Between two kills are `pause_s` seconds on average.
    """
    write_inputs(folder, base_accuracy=0.4, tuned_accuracy=0.97, step_seconds=0.05)
    emulator = strict_runs.start(folder, folder / "script.json")
    hit: list[str] = []
    due = time.monotonic() + rng.uniform(0, 2 * pause_s)

    def kill(job: Any) -> None:
        nonlocal due
        if len(hit) < kills and time.monotonic() > due:
            victims = [(pid, step) for pid, step in steps(folder) if hit.count(step) < retries(step)]
            if victims:
                pid, step = rng.choice(victims)
                os.kill(pid, signal.SIGKILL)
                hit.append(step)
                due = time.monotonic() + rng.uniform(0, 2 * pause_s)

    try:
        job = strict_runs.wait(emulator, submit(emulator, folder), 600, kill)
        if job["state"] != strict_runs.ENDED[0]:
            return hit, ("FAILED", "none", 0), [task["error"]["message"] for task in details(job) if "error" in task]
        strict_runs.download(emulator, job, folder / "run")
    finally:
        emulator.kill()
    wrong = []
    failed = sum(len(task.get("executorDetail", EMPTY)["containerDetail"]["failedMainJobs"]) for task in details(job))
    if failed != len(hit):
        wrong.append(f"{failed} failed attempts, {len(hit)} kills")
    at_end = [
        name
        for name, task in job["pipelineSpec"]["root"]["dag"]["tasks"].items()
        if task.get("triggerPolicy", {}).get("strategy") == "ALL_UPSTREAM_TASKS_COMPLETED"
    ]
    ended = {task["taskUniqueName"]: task["state"] for task in details(job)}
    wrong += [f"{name}: {ended[name]}" for name in at_end if ended[name] != "SUCCEEDED"]
    document = json.loads((folder / "run" / "summary.json").read_text(encoding="utf-8"))
    selected = next((row["name"] for row in document["variants"] if row["role"] == "candidate"), "none")
    return hit, (document["verdict"], selected, tuning_jobs(folder)), wrong


def tuning_jobs(folder: Path) -> int:
    """The number of tuning jobs in the state of an emulator."""
    with sqlite3.connect(folder / "state" / "state.sqlite") as state:
        ((jobs,),) = state.execute("SELECT count(*) FROM resources WHERE kind = 'tuningJobs'")
    return int(jobs)


EMPTY: dict[str, Any] = {"containerDetail": {"failedMainJobs": []}}


def details(job: Any) -> list[Any]:
    """The tasks of a job."""
    return list(job["jobDetail"]["taskDetails"])


def main() -> int:
    """Print one line for each run; 1 when any differs from the undisturbed one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=6, help="runs to disturb")
    parser.add_argument("--kills", type=int, default=20, help="kills in all runs together")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    rng, bad, left = random.Random(arguments.seed), 0, arguments.kills
    expected, duration_s = ("", "", 0), 0.0
    with tempfile.TemporaryDirectory() as temporary:
        for number in range(arguments.runs + 1):
            folder = Path(temporary).resolve() / str(number)
            folder.mkdir()
            share = -(-left // (arguments.runs - number + 1)) if number else 0
            started = time.monotonic()
            hit, result, wrong = run(folder, rng, share, duration_s / (share + 1))
            left -= len(hit)
            if number == 0:
                expected, duration_s = result, time.monotonic() - started
            bad += result != expected or bool(wrong)
            note = "; ".join(wrong) or "ok"
            print(f"{number:3d} {note}: {result}; killed: {', '.join(hit) or 'nothing'}", flush=True)
    same = arguments.runs - bad
    print(f"{arguments.kills - left} kills; {same} of {arguments.runs} runs end like the undisturbed one")
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
