# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Forecast against bill, what sharing and racing save, what is said of spoilt jobs.

    python bench/tuning.py [--only forecast|grid|curves] [--rows 300] [--seeds 1] [FILE[:TEXT:LABEL] ...]

Each file is preprocessed and split; the emulator tunes on it. The first table compares the plan's tokens with those the
job's own statistics bill. For the second (some ten minutes a file and seed: the student truly trains) the published
grid is run twice, each trial by itself and then shared and raced: billed tokens and the chosen checkpoint's validation
score, a line per file and seed (of the split and of all training), then the mean. With --folder what was measured there
before is not measured again. The third spoils jobs on the sample on purpose.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gemtune.config import Config
from gemtune.data.example import read_examples
from gemtune.steps import evaluate, plan_tuning, preprocess, select_model, split, tune

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

    def scored(self, variants: list[dict[str, Any]], name: str) -> str:
        """Model variants evaluated on the validation rows; the report's path."""
        train, validation, _ = self.splits
        out, c = self.at(f"{name}.json"), self.c
        evaluate.run(validation, train, variants, c["task"], c["evaluate"], c["vertex"], self.at(f"{name}.jsonl"), out)
        return out

    def planned(self) -> dict[str, Any]:
        """Zero-shot baseline and plan."""
        baseline, c = self.scored(self.c["baselines"][0], "baseline"), self.c
        task, asking, vertex = c["task"], c["evaluate"], c["vertex"]
        return plan_tuning.run([baseline], *self.splits, task, asking, c["plan"], vertex, "bench", self.at("plan.json"))

    def tuned(self, trial: dict[str, Any]) -> tuple[list[dict[str, Any]], str]:
        """One trial's variants and the path of its record."""
        out, c = self.at(f"{trial['name']}.json"), self.c
        files, vertex = self.splits[:2], c["vertex"]
        made = tune.run(*files, trial, c["task"], c["evaluate"], c["tune"], vertex, "bench", out)
        return made["variants"], out


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


def grid(source: str, folder: Path, raced: bool, settings: list[str]) -> tuple[int, float]:
    """(tokens billed for tuning, validation score of the choice) of the published grid; known jobs are reused."""
    ways = (f"plan.share_epochs={str(raced).lower()}", f"tune.race={'some' if raced else 'never'}")
    run = Run(folder, source, "plan.preset=grid", "plan.good_enough=1.0", "plan.max_cost=100000", *ways, *settings)
    jobs, reports = [], []
    for trial in run.planned()["trials"]:
        variants, record = run.tuned(trial)
        jobs.append(record)
        if variants:
            reports.append(run.scored(variants, f"{trial['name']}-scored"))
    c, picked = run.c, run.at("picked.json")
    select_model.run(
        jobs, reports, c["baselines"][0][0], c["task"], c["pick"], c["deploy"], c["vertex"], "bench", picked
    )
    told = json.loads(Path(picked).read_text())
    best = next(point["value"] for point in told["checkpoints"] if point["chosen"])
    return sum(line["tokens"] for line in told["ledger"] if line["what"].startswith("tuning ")), best


def measured(source: str, folder: Path, raced: bool, rows: int, seed: int) -> tuple[int, float]:
    """One grid of one file and seed; what an earlier call left in the folder is taken as it is."""
    place = folder / ("raced" if raced else "full") / f"{Path(source.split(':')[0]).parent.name}-{seed}"
    if not (place / "done").exists():
        settings = [f"split.seed={seed}", f"preprocess.seed={seed}", f"preprocess.max_rows={rows}"]
        settings += ["split.validation=0.25", "split.test=0.15", "split.min_rows=10", "evaluate.classical=false"]
        with emulator(place / "state", "student", "--seed", str(seed)):
            found = grid(source, place, raced, settings)
        (place / "done").write_text(json.dumps(found))
        shutil.rmtree(place / "state")
    billed, best = json.loads((place / "done").read_text())[:2]
    return int(billed), float(best)


def grids(sources: list[str], folder: Path, rows: int, seeds: int) -> None:
    """Print the second table."""
    print("\n| set | seed | full grid: tokens | score | shared and raced: tokens | score | tokens spent | score lost |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    found = []
    for seed in range(1, seeds + 1):
        for source in sources:
            full, best = measured(source, folder, False, rows, seed)
            billed, score = measured(source, folder, True, rows, seed)
            found.append((billed / full, best - score))
            name = Path(source.split(":")[0]).parent.name
            told = f"{full} | {best:.3f} | {billed} | {score:.3f} | {billed / full:.0%} | {best - score:+.3f} |"
            print(f"| {name} | {seed} | {told}", flush=True)
    share, lost = (sum(values) / len(found) for values in zip(*found, strict=True))
    print(f"| mean of {len(found)} | | | | | | {share:.1%} | {lost:+.4f} |")


def _shuffled(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    labels = [row["label"] for row in rows]
    random.Random(1).shuffle(labels)
    return [{**row, "label": label} for row, label in zip(rows, labels, strict=True)]


def _endless(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    """Every tenth text longer than the service reads (whose limit is set to 1,000 tokens for this table)."""
    return [
        {**row, "text": " ".join(f"{row['text']} {n}" for n in range(60))} if number % 10 == 0 else row
        for number, row in enumerate(rows)
    ]


CURVES: list[tuple[str, str, Any, str]] = [
    ("too few epochs", "undertrained", list, "{epoch_count: 2}"),
    ("far too many epochs", "overfitting", list, "{epoch_count: 50, learning_rate_multiplier: 2, adapter_size: 8}"),
    ("shuffled labels", "data_problem", _shuffled, "{epoch_count: 12}"),
    ("truncated inputs", "data_problem", _endless, "{epoch_count: 1}"),
]


def curves(folder: Path, rows: int, seeds: int) -> None:
    """Print the third table: what is said of jobs that were spoilt on purpose; the student truly trains."""
    whole = Run(folder / "sample", SAMPLE)
    sample = [{"text": e.text, "label": e.target} for e in read_examples(whole.at("examples.jsonl"))]
    print("\n| spoilt by | seed | diagnosis | evidence |\n| --- | --- | --- | --- |")
    for name, wanted, spoil, trial in CURVES:
        for seed in range(1, seeds + 1):
            place = folder / f"{name.replace(' ', '-')}-{seed}"
            place.mkdir()
            drawn = random.Random(seed).sample(sample, min(rows, len(sample)))
            (place / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in spoil(drawn)), "utf-8")
            settings = [f"plan.trials=[{trial}]", "plan.good_enough=1.0", "plan.min_train_rows=1", "split.min_rows=10"]
            settings += [
                "evaluate.max_error_share=1",
                "split.near_threshold=0",
                "preprocess.fuzzy_threshold=0",
                "preprocess.repeated_chars=0",
            ]
            limited = json.loads(Path("emulator/catalogue.json").read_text("utf-8"))
            limited["limits"]["supervised"]["tokens_per_example"] = 1000
            (place / "catalogue.json").write_text(json.dumps(limited), "utf-8")
            options = ("--seed", str(seed), "--catalogue", str(place / "catalogue.json"))
            with emulator(place / "state", "student", *options):
                found = diagnosed(Run(place, f"{place / 'rows.jsonl'}", *settings))
            mark = "" if found["kind"] == wanted else f" (wanted {wanted})"
            print(f"| {name} | {seed} | {found['kind'].replace('_', ' ')}{mark} | {found['evidence']} |", flush=True)


def diagnosed(run: Run) -> dict[str, str]:
    """What a run says of its one trial, its checkpoints' scores considered."""
    (trial,) = run.planned()["trials"]
    variants, record = run.tuned(trial)
    reports, c, picked = [run.scored(variants, "scored")], run.c, run.at("picked.json")
    select_model.run(
        [record], reports, c["baselines"][0][0], c["task"], c["pick"], c["deploy"], c["vertex"], "bench", picked
    )
    found: dict[str, str] = json.loads(Path(picked).read_text())["trials"][0]["diagnosis"]
    return found


def bills(sources: list[str], folder: Path) -> None:
    """Print the first table."""
    print("| file | training rows | counted | forecast tokens | billed tokens | error |")
    print("| --- | --- | --- | --- | --- | --- |")
    with emulator(folder / "scripted", "scripted"):
        for number, source in enumerate(sources):
            rows, counted, expected, billed = forecast(source, folder / f"forecast-{number}")
            told = f"{rows} | {counted} | {expected:.0f} | {billed} | {expected / billed - 1:+.1%}"
            print(f"| {source.split(':')[0]} | {told} |", flush=True)


def main() -> None:
    """Print the tables."""
    logging.disable(logging.WARNING)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", default=[SAMPLE])
    parser.add_argument("--only", choices=("forecast", "grid", "curves"), help="one of the tables")
    parser.add_argument("--rows", type=int, default=300, help="rows of a file that are used, drawn by seed")
    parser.add_argument("--seeds", type=int, default=1, help="repetitions of the second and third table")
    parser.add_argument("--folder", type=Path, help="keeps each grid's results, and takes those that are there")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if given.only in (None, "forecast"):
            bills(given.files, folder)
        if given.only in (None, "grid"):
            grids(given.files, given.folder or folder, given.rows, given.seeds)
        if given.only in (None, "curves"):
            curves(folder, given.rows, given.seeds)


if __name__ == "__main__":
    main()
