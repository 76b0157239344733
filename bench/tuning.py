# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Forecast against billed tokens, what merging and early stopping save, how spoilt jobs are diagnosed.

    python bench/tuning.py [--only forecast|grid|curves] [--rows 300] [--seeds 1] [FILE[:TEXT:LABEL] ...]

Each file is preprocessed and split; the emulator tunes on it. The first table compares the plan's tokens with those
that the jobs bill by their own statistics. For the second (some ten minutes a file and seed: the student truly trains)
the published grid is run twice, each trial by itself, then merged and stopped early: billed tokens and the selected
checkpoint's validation score, a line per file and seed (of the split and of all training), then the mean. With --folder
what was measured there before is not measured again. The third spoils jobs on the sample on purpose.
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

from gemtune.artifacts.tuning import Diagnosis, Selection, TuningPlan, TuningRecord
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
    url = re.search(r"http://\S+", process.stdout.readline())
    assert url
    os.environ.update(GOOGLE_VERTEX_BASE_URL=url[0], STORAGE_EMULATOR_HOST=url[0], GOOGLE_CLOUD_PROJECT="demo-project")
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
        parameters = Config.load(None, [*columns, *settings]).parameters()
        sections = {name: values for name, values in parameters.items() if isinstance(values, dict)}
        self._sections = {name: values for name, values in sections.items() if name != "preference"}
        examples = self.at("examples.jsonl")
        own = self.sections("task", "preprocess", "vertex")
        preprocess.run(path, examples, self.at("dropped.jsonl"), self.at("data.json"), "", **own)
        self.train, self.validation, self.test = self.splits = (
            self.at("train.jsonl"),
            self.at("validation.jsonl"),
            self.at("test.jsonl"),
        )
        split.run(examples, self.splits, self.at("split.json"), "", "bench", **self.sections("split"))

    def sections(self, *names: str) -> dict[str, Any]:
        """Sections of the configuration by name; all of them without names."""
        return {name: self._sections[name] for name in names or self._sections}

    def at(self, name: str) -> str:
        """A path in the folder."""
        return str(self.folder / name)

    def plan(self) -> list[dict[str, Any]]:
        """The trials that the plan lists after the zero-shot baseline was evaluated."""
        report = self.at("baselines.json")
        evaluate.run_baselines(self.validation, self.train, self.at("baselines.jsonl"), report, **self.sections())
        made = plan_tuning.run(self.splits, report, self.at("plan.json"), "bench", **self.sections())
        return list(made["trials"])

    def tune(self, trial: dict[str, Any]) -> str:
        """The path of one trial's record."""
        record = self.at(f"{trial['name']}.json")
        tune.run(self.train, self.validation, trial, "bench", record, self.at("events"), **self.sections())
        return record

    def evaluate(self, records: list[str]) -> str:
        """The path of the report on the checkpoints of these records."""
        report, plan = self.at("checkpoints.json"), self.at("plan.json")
        rows = self.at("checkpoints.jsonl")
        evaluate.run_checkpoints(self.validation, self.train, records, plan, rows, report, **self.sections())
        return report

    def select(self, records: list[str], report: str) -> Selection:
        """The selection among the checkpoints."""
        out = self.at("selection.json")
        select_model.run(self.at("plan.json"), out, "bench", records, report, **self.sections())
        return Selection.read(out)


UNLIMITED = ("plan.skip_if_baseline_reaches=1.0", "plan.max_cost=100000", "evaluate.baselines=[{name: zero_shot}]")


def forecast(source: str, folder: Path) -> tuple[int, int, float, int]:
    """(training rows, rows counted, forecast, billed) tokens of the default trial."""
    run = Run(folder, source, *UNLIMITED)
    (trial,) = run.plan()
    (job,) = TuningRecord.read(run.tune(trial)).jobs
    plan = TuningPlan.read(run.at("plan.json"))
    (expected,) = [item.tokens.expected for item in plan.forecast.items if item.kind == "tuning"]
    rows = plan.rows["train"]
    return rows, min(rows, run.sections("plan")["plan"]["token_sample"]), expected, job.billed_tokens


def grid(source: str, folder: Path, stops: bool, settings: list[str]) -> tuple[int, float]:
    """(tokens billed for tuning, validation score of the candidate) of the published grid; equal jobs are reused."""
    ways = (f"plan.merge_epoch_variants={str(stops).lower()}", f"tune.early_stopping={'marked' if stops else 'off'}")
    run = Run(folder, source, "plan.preset=grid", *UNLIMITED, *ways, *settings)
    records = [run.tune(trial) for trial in run.plan()]
    selection = run.select(records, run.evaluate(records))
    best = next(checkpoint.score.value for checkpoint in selection.checkpoints if checkpoint.selected)
    return int(sum(item.tokens.expected for item in selection.spent if item.kind == "tuning")), best


def measured(source: str, folder: Path, stops: bool, rows: int, seed: int) -> tuple[int, float]:
    """One grid of one file and seed; what an earlier call left in the folder is taken as it is."""
    place = folder / ("stopped" if stops else "full") / f"{Path(source.split(':')[0]).parent.name}-{seed}"
    if not (place / "done").exists():
        settings = [f"split.seed={seed}", f"preprocess.seed={seed}", f"preprocess.max_rows={rows}"]
        settings += ["split.validation=0.25", "split.test=0.15", "split.min_rows=10", "evaluate.tfidf_baseline=false"]
        with emulator(place / "state", "student", "--seed", str(seed)):
            result = grid(source, place, stops, settings)
        (place / "done").write_text(json.dumps(result))
        shutil.rmtree(place / "state")
    billed, best = json.loads((place / "done").read_text())[:2]
    return int(billed), float(best)


def grids(sources: list[str], folder: Path, rows: int, seeds: int) -> None:
    """Print the second table."""
    print("\n| set | seed | full grid: tokens | score | stopped early: tokens | score | tokens spent | score lost |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    results = []
    for seed in range(1, seeds + 1):
        for source in sources:
            full, best = measured(source, folder, False, rows, seed)
            billed, score = measured(source, folder, True, rows, seed)
            results.append((billed / full, best - score))
            name = Path(source.split(":")[0]).parent.name
            cells = f"{full} | {best:.3f} | {billed} | {score:.3f} | {billed / full:.0%} | {best - score:+.3f} |"
            print(f"| {name} | {seed} | {cells}", flush=True)
    share, lost = (sum(values) / len(results) for values in zip(*results, strict=True))
    print(f"| mean of {len(results)} | | | | | | {share:.1%} | {lost:+.4f} |")


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
    """Print the third table: how jobs are diagnosed that were spoilt on purpose; the student truly trains."""
    whole = Run(folder / "sample", SAMPLE)
    sample = [{"text": e.text, "label": e.target} for e in read_examples(whole.at("examples.jsonl"))]
    print("\n| spoilt by | seed | diagnosis | evidence |\n| --- | --- | --- | --- |")
    for name, expected, spoil, trial in CURVES:
        for seed in range(1, seeds + 1):
            place = folder / f"{name.replace(' ', '-')}-{seed}"
            place.mkdir()
            drawn = random.Random(seed).sample(sample, min(rows, len(sample)))
            (place / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in spoil(drawn)), "utf-8")
            settings = [
                f"plan.trials=[{trial}]",
                "plan.skip_if_baseline_reaches=1.0",
                "plan.min_train_rows=1",
                "split.min_rows=10",
            ]
            settings += [
                "evaluate.max_error_share=1",
                "split.jaccard_threshold=0",
                "preprocess.jaccard_threshold=0",
                "preprocess.repeated_chars=0",
            ]
            limited = json.loads(Path("emulator/catalogue.json").read_text("utf-8"))
            limited["limits"]["supervised"]["tokens_per_example"] = 1000
            (place / "catalogue.json").write_text(json.dumps(limited), "utf-8")
            options = ("--seed", str(seed), "--catalogue", str(place / "catalogue.json"))
            with emulator(place / "state", "student", *options):
                diagnosis = diagnosed(Run(place, f"{place / 'rows.jsonl'}", *settings))
            mark = "" if diagnosis.kind == expected else f" (expected {expected})"
            print(f"| {name} | {seed} | {diagnosis.kind.replace('_', ' ')}{mark} | {diagnosis.evidence} |", flush=True)


def diagnosed(run: Run) -> Diagnosis:
    """The diagnosis of a run's one trial, its checkpoints' scores considered."""
    (trial,) = run.plan()
    records = [run.tune(trial)]
    return run.select(records, run.evaluate(records)).trials[0].diagnosis


def forecasts(sources: list[str], folder: Path) -> None:
    """Print the first table."""
    print("| file | training rows | counted | forecast tokens | billed tokens | error |")
    print("| --- | --- | --- | --- | --- | --- |")
    with emulator(folder / "scripted", "scripted"):
        for number, source in enumerate(sources):
            rows, counted, expected, billed = forecast(source, folder / f"forecast-{number}")
            cells = f"{rows} | {counted} | {expected:.0f} | {billed} | {expected / billed - 1:+.1%}"
            print(f"| {source.split(':')[0]} | {cells} |", flush=True)


def main() -> None:
    """Print the tables."""
    logging.disable(logging.WARNING)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", default=[SAMPLE])
    parser.add_argument("--only", choices=("forecast", "grid", "curves"), help="one of the tables")
    parser.add_argument("--rows", type=int, default=300, help="rows of a file that are used, drawn by seed")
    parser.add_argument("--seeds", type=int, default=1, help="repetitions of the second and third table")
    parser.add_argument("--folder", type=Path, help="keeps each grid's results, and takes those that are there")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if arguments.only in (None, "forecast"):
            forecasts(arguments.files, folder)
        if arguments.only in (None, "grid"):
            grids(arguments.files, arguments.folder or folder, arguments.rows, arguments.seeds)
        if arguments.only in (None, "curves"):
            curves(folder, arguments.rows, arguments.seeds)


if __name__ == "__main__":
    main()
