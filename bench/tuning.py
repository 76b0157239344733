# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Forecast against bill, and what sharing and racing save: `python bench/tuning.py [--grid] FILE[:TEXT:LABEL] ...`.

Each file is preprocessed and split; the emulator tunes on it. The first table compares the plan's tokens with those the
job's own statistics bill. With --grid (slow: the student truly trains) the published grid is run twice, each trial by
itself and then shared and raced; the second table has billed tokens and the chosen checkpoint's validation score, a
line per file and seed (of the split and of all training), then the mean over all. --rows and --seeds bound the time.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gemtune import evaluate, pick, plan, preprocess, split, tune
from gemtune.config import Config

SAMPLE = "examples/support_en/rows.jsonl:text:label"


@contextmanager
def emulator(folder: Path, engine: str, *arguments: str) -> Iterator[None]:
    """A fresh emulator, found through the environment."""
    command = [sys.executable, "-m", "emulator", "--engine", engine, "--port", "0", "--state-dir", str(folder)]
    command += arguments
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    found = re.search(r"http://\S+", process.stdout.readline())
    assert found
    os.environ.update(
        GOOGLE_VERTEX_BASE_URL=found[0], STORAGE_EMULATOR_HOST=found[0], GOOGLE_CLOUD_PROJECT="demo-project"
    )
    try:
        yield
    finally:
        process.kill()
        process.wait()


class Run:
    """One file through the tuning steps, in a folder."""

    def __init__(self, folder: Path, source: str, *settings: str) -> None:
        path, text, label = (*source.split(":"), "text", "label")[:3]
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        columns = (f"preprocess.text_column={text}", f"preprocess.target_column={label}", "tune.poll_s=0.2")
        self.c = Config.load(None, [*columns, *settings]).parameters()
        examples, c = self.at("examples.jsonl"), self.c
        preprocess.run(path, c["task"], c["preprocess"], examples, self.at("dropped.jsonl"), self.at("data.json"))
        self.splits = [self.at(f"{name}.jsonl") for name in ("train", "validation", "test")]
        split.run(examples, c["split"], *self.splits, self.at("split.json"))

    def at(self, name: str) -> str:
        """A path in the folder."""
        return str(self.folder / name)

    def scored(self, contestants: list[dict[str, Any]], name: str) -> str:
        """Contestants asked the validation rows; the report's path."""
        train, validation, _ = self.splits
        out, c = self.at(f"{name}.json"), self.c
        evaluate.run(
            validation, train, contestants, c["task"], c["evaluate"], c["vertex"], self.at(f"{name}.jsonl"), out
        )
        return out

    def planned(self) -> dict[str, Any]:
        """Zero-shot baseline and plan."""
        baseline, c = self.scored(self.c["baselines"][0], "baseline"), self.c
        task, asking, vertex = c["task"], c["evaluate"], c["vertex"]
        return plan.run([baseline], *self.splits, task, asking, c["plan"], vertex, "bench", self.at("plan.json"))

    def tuned(self, trial: dict[str, Any]) -> tuple[list[dict[str, Any]], str]:
        """One trial's contestants and the path of its record."""
        out, c = self.at(f"{trial['name']}.json"), self.c
        files, vertex = self.splits[:2], c["vertex"]
        made = tune.run(*files, trial, c["task"], c["evaluate"], c["tune"], vertex, "bench", out)
        return made["contestants"], out


def forecast(source: str, folder: Path) -> tuple[int, int, float, int]:
    """(training rows, rows counted, forecast, billed) tokens of the default trial."""
    run = Run(folder, source, "plan.good_enough=1.0", "plan.max_cost=100000")
    (trial,) = run.planned()["trials"]
    _, record = run.tuned(trial)
    told = json.loads(Path(run.at("plan.json")).read_text())
    expected = next(line["tokens"] for line in told["costs"] if line["what"].startswith("tuning"))
    job = json.loads(Path(record).read_text())["job"]
    counted = min(job["examples"], run.c["plan"]["token_sample"])
    return job["examples"], counted, expected, job["billable_tokens"] * trial["epoch_count"]


def grid(source: str, folder: Path, shared: bool, settings: list[str]) -> tuple[int, float, int]:
    """(billed tokens, validation score of the choice, jobs) of the published grid."""
    on = str(shared).lower()
    ways = (f"plan.share_epochs={on}", f"tune.race={on}")
    run = Run(folder, source, "plan.preset=grid", "plan.good_enough=1.0", "plan.max_cost=100000", *ways, *settings)
    jobs, reports = [], []
    for trial in run.planned()["trials"]:
        contestants, record = run.tuned(trial)
        jobs.append(record)
        if contestants:
            reports.append(run.scored(contestants, f"{trial['name']}-scored"))
    c, picked = run.c, run.at("picked.json")
    pick.run(jobs, reports, c["baselines"][0][0], c["task"], c["pick"], c["deploy"], c["vertex"], "bench", picked)
    told = json.loads(Path(picked).read_text())
    best = next(point["value"] for point in told["checkpoints"] if point["chosen"])
    return sum(line["tokens"] for line in told["ledger"]), best, len(jobs)


def grids(sources: list[str], folder: Path, rows: int, seeds: int) -> None:
    """Print the second table."""
    print(
        "\n| file | seed | full grid: tokens | score | shared and raced: tokens | score | tokens spent | score lost |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    found = []
    for number, source in enumerate(sources):
        for seed in range(1, seeds + 1):
            settings = [f"split.seed={seed}", f"preprocess.seed={seed}", f"preprocess.max_rows={rows}"]
            settings += ["split.validation=0.25", "split.test=0.15", "split.min_rows=10", "evaluate.classical=false"]
            ends = []
            for way in (False, True):
                place = folder / f"{number}-{seed}-{way}"
                with emulator(place / "state", "student", "--seed", str(seed)):
                    ends.append(grid(source, place, way, settings))
            (full, best, _), (billed, score, _) = ends
            found.append((billed / full, best - score))
            name = Path(source.split(":")[0])
            told = f"{full} | {best:.3f} | {billed} | {score:.3f} | {billed / full:.0%} | {best - score:+.3f} |"
            print(f"| {name.parent.name}/{name.name} | {seed} | {told}", flush=True)
    share, lost = (sum(values) / len(found) for values in zip(*found, strict=True))
    print(f"| mean of {len(found)} | | | | | | {share:.0%} | {lost:+.3f} |")


def main() -> None:
    """Print the tables."""
    logging.disable(logging.WARNING)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="*", default=[SAMPLE])
    parser.add_argument("--grid", action="store_true", help="also the published grid, both ways (slow)")
    parser.add_argument("--rows", type=int, default=300, help="rows of a file that --grid uses, drawn by seed")
    parser.add_argument("--seeds", type=int, default=5, help="repetitions of --grid")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print("| file | training rows | counted | forecast tokens | billed tokens | error |")
        print("| --- | --- | --- | --- | --- | --- |")
        with emulator(Path(folder) / "scripted", "scripted"):
            for number, source in enumerate(arguments.files):
                rows, counted, expected, billed = forecast(source, Path(folder) / f"forecast-{number}")
                error = f"{expected / billed - 1:+.1%}"
                print(
                    f"| {source.split(':')[0]} | {rows} | {counted} | {expected:.0f} | {billed} | {error} |", flush=True
                )
        if arguments.grid:
            grids(arguments.files, Path(folder), arguments.rows, arguments.seeds)


if __name__ == "__main__":
    main()
