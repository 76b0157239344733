# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Which tuning method wins on which kind of task: the student, the same rows, the same billed tokens.

    python -m bench.methods [labels extraction text] [--rows 160] [--test 240] [--seeds 1 2] [--write]

Supervised tuning has 16 epochs. The two other methods start from the best checkpoint of 8 supervised epochs and have as
many tokens left: two epochs of four sampled answers, or four epochs of pairs (a prompt and both answers count). The
reward is the task's default, for texts the share of words in common with the reference. Worse answers of pairs are
another label, another row's object, or what the sample ranks lower. The checkpoint with the best validation score is
scored on test rows. A line is the mean over the seeds, each with rows, splits and training of its own; a difference to
supervised tuning has an interval over the test rows of all seeds. `--write` puts the table into docs/lab/tuning.md.
"""

from __future__ import annotations

import argparse
import json
import logging
import random
import re
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from bench.tuning import emulator
from gemtune.artifacts.tuning import TuningRecord
from gemtune.config import Config, ModelVariant
from gemtune.data.example import Example, Pair, example_id, write_examples
from gemtune.evaluation import intervals
from gemtune.evaluation.evaluator import Dataset
from gemtune.steps import tune
from gemtune.steps.context import StepContext

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "lab" / "tuning.md"
EPOCHS, VALIDATION = 16, 60
MODELS = {"preference": "gemini-2.5-flash-lite"}  # others: gemini-3.5-flash; the student is the same
LOCAL = {"gemini-3.5-flash": {"price": {"reinforcement": 1.0}}, "gemini-2.5-flash-lite": {"retires": None}}
FIELDS = ("city", "item", "n", "order")
METHODS = ("supervised", "reinforcement", "preference")
WORDS = """
def evaluate(example, response):
    words, expected = response["parts"][0]["text"].split(), example["references"]["target"].split()
    common = sum(min(words.count(word), expected.count(word)) for word in set(expected))
    return 2 * common / max(1, len(words) + len(expected))
"""


class Item(NamedTuple):
    """A labelled row with a worse answer."""

    text: str
    target: str
    worse: str


class Kind(NamedTuple):
    """A kind of task: its section, the metric, rewards of its own, and rows drawn by seed."""

    task: dict[str, Any]
    metric: str
    rewards: list[dict[str, str]]
    items: Callable[[random.Random], list[Item]]


def _read(sample: str, file: str) -> list[dict[str, str]]:
    lines = (ROOT / "examples" / sample / file).read_text(encoding="utf-8").splitlines()
    rows = []
    for line in lines:
        try:
            rows.append(json.loads(line))
        except ValueError:  # the sample has some on purpose
            continue
    return [row for row in rows if isinstance(row, dict) and all(isinstance(value, str) for value in row.values())]


def _tickets(draw: random.Random) -> list[Item]:
    rows = {row["text"]: row["label"] for row in _read("support_en", "rows.jsonl") if {"text", "label"} <= set(row)}
    labels = sorted(label for label, count in Counter(rows.values()).items() if count > 20)  # others: planted errors
    return [Item(text, own, draw.choice([label for label in labels if label != own])) for text, own in rows.items()
            if own in labels]  # fmt: skip


def _orders(draw: random.Random) -> list[Item]:
    cities, goods = ("Utrecht", "Malaga", "Cork", "Zagreb", "Bristol"), ("lamp", "tent", "mug", "chair", "backpack")
    forms = ("Please send {n} {item} to {city}.", "{city} needs {n} {item} by Friday.", "I am in {city}: {n} {item}.")
    closings = ("Thank you.", "Cheers, Hugo", "It is urgent.", "No rush at all.", "Best regards")

    def item() -> tuple[str, str]:
        values = {"city": draw.choice(cities), "item": draw.choice(goods), "n": str(draw.randint(2, 9))}
        values["order"] = f"{draw.choice(('BM', 'NP', 'KL'))}-{draw.randint(1000, 9999)}"  # has to be copied
        text = f"{draw.choice(forms).format(**values)} Order {values['order']}. {draw.choice(closings)}"
        return text, json.dumps(values)

    rows = [item() for _ in range(2000)]
    return [Item(*row, other[1]) for row, other in pairwise(rows) if row[1] != other[1]]


def _replies(draw: random.Random) -> list[Item]:
    beaten: dict[str, dict[str, str]] = {}
    for row in _read("preference_en", "pairs.jsonl"):
        if {"prompt", "chosen", "rejected"} <= set(row):
            beaten.setdefault(row["prompt"], {})[row["chosen"]] = row["rejected"]
    best = {text: [answer for answer in own if answer not in own.values()] for text, own in beaten.items()}
    return [Item(text, answers[0], beaten[text][answers[0]]) for text, answers in best.items() if answers]


KINDS = {
    "labels": Kind(
        {"kind": "classification", "instruction": "Classify the support ticket.", "text_name": "Ticket"},
        "accuracy", [], _tickets,
    ),
    "extraction": Kind(
        {"kind": "extraction", "instruction": "Extract the order.",
         "output_schema": {"type": "object", "properties": {name: {"type": "string"} for name in FIELDS}}},
        "field_f1", [], _orders,
    ),
    "text": Kind(
        {"kind": "generation", "instruction": "Answer the customer.", "text_name": "Message"},
        "rouge_l", [{"name": "words", "code": WORDS}], _replies,
    ),
}  # fmt: skip


def splits_of(items: Sequence[Item], seed: int, sizes: tuple[int, int, int]) -> list[list[Example]]:
    """Training, validation and test rows, drawn by seed."""
    drawn = random.Random(seed).sample(list(items), min(len(items), sum(sizes)))
    examples = []
    for item in drawn:
        own = example_id(item.text, item.target)
        examples.append(Example(own, item.text, item.target, pairs=(Pair(own, item.target, item.worse),)))
    first, second = sizes[0], sizes[0] + sizes[1]
    return [examples[:first], examples[first:second], examples[second:]]


def scores_of(kind: Kind, method: str, splits: Sequence[Sequence[Example]], folder: Path) -> list[float]:
    """Scores of the test rows by the best checkpoint of a method."""
    folder.mkdir(parents=True)
    train, validation, _ = (str(folder / name) for name in ("train", "validation", "test"))
    for path, rows in zip((train, validation), splits, strict=False):
        write_examples(path, rows)
    overrides = {
        "task": kind.task,
        "evaluate": {"base_model": MODELS.get(method, "gemini-3.5-flash"), "max_output_tokens": 48},
        "tune": {"poll_s": 0.2},
        "vertex": {"catalogue": {"models": LOCAL}},
    }
    settings = [f"{name}={json.dumps(value)}" for name, value in overrides.items()]
    parameters = Config.load(None, settings).parameters()
    sections = {name: own for name, own in parameters.items() if isinstance(own, dict) and name != "preference"}
    name, job, events = f"{method}-{folder.parent.name}", str(folder / "job"), str(folder / "events")
    half = {"adapter_size": 8, "name": method, "method": method}
    if method == "supervised":
        tune.run(train, validation, {**half, "epoch_count": EPOCHS}, name, job, events, **sections)
    elif method == "reinforcement":
        own = {"supervised_epochs": EPOCHS // 2, "epoch_count": EPOCHS // 8, "samples_per_prompt": 4, "batch_size": 8}
        trial = {**half, **own, "learning_rate_multiplier": 0.5, "rewards": kind.rewards}
        tune.run(train, validation, trial, name, job, events, **sections)
    else:
        first, start = {**half, "method": "supervised", "epoch_count": EPOCHS // 2}, str(folder / "start")
        tune.run_start(train, validation, first, name, start, events, **sections)
        trial = {**half, "epoch_count": EPOCHS // 4, "learning_rate_multiplier": 0.1}
        tune.run(train, validation, trial, name, job, events, "", start, **sections)
    return _tested(StepContext(sections), TuningRecord.read(job).variants, kind.metric, splits)


def _tested(
    context: StepContext, variants: Sequence[ModelVariant], metric: str, splits: Sequence[Sequence[Example]]
) -> list[float]:
    validated = context.evaluator.evaluate(Dataset("validation", splits[1]), splits[0], variants)
    best = max(validated.report.variants, key=lambda report: report.metrics[metric].value).variant
    tested = context.evaluator.evaluate(Dataset("test", splits[2]), splits[0], [best])
    return [float(row["scores"][metric]) for row in tested.predictions]


def table(names: Sequence[str], seeds: Sequence[int], sizes: tuple[int, int, int], folder: Path) -> list[str]:
    """The table's lines; each result is logged as it comes."""
    lines = ["| task | metric | method | by seed | mean | against supervised |", "| --- " * 6 + "|"]
    for name in names:
        kind = KINDS[name]
        results: dict[str, list[list[float]]] = {method: [] for method in METHODS}
        for seed in seeds:
            splits = splits_of(kind.items(random.Random(seed)), seed, sizes)
            with emulator(folder / f"{name}-{seed}-state", "student", "--seed", str(seed), "--execute-rewards"):
                for method in METHODS:
                    scores = scores_of(kind, method, splits, folder / f"{name}-{seed}" / method)
                    results[method].append(scores)
                    print(f"{name}, seed {seed}, {method}: {sum(scores) / len(scores):.3f}", flush=True)
        pooled = {method: [score for own in results[method] for score in own] for method in METHODS}
        for method in METHODS:
            own = intervals.mean(pooled[method])
            difference = "" if method == "supervised" else _difference(pooled[method], pooled["supervised"])
            seedwise = ", ".join(f"{sum(scores) / len(scores):.3f}" for scores in results[method])
            lines.append(f"| {name} | {kind.metric} | {method} | {seedwise} | {own.value():.3f} | {difference} |")
    return lines


def _difference(own: Sequence[float], other: Sequence[float]) -> str:
    paired = intervals.paired(intervals.mean(own), intervals.mean(other))
    word = "better" if paired.low > 0 else "worse" if paired.high < 0 else "no difference shown"
    return f"{paired.delta:+.3f} ({paired.low:+.3f} to {paired.high:+.3f}): {word}"


def main() -> None:
    """Print the table."""
    logging.disable(logging.WARNING)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tasks", nargs="*", default=list(KINDS), help=", ".join(KINDS))
    parser.add_argument("--rows", type=int, default=160, help="training rows")
    parser.add_argument("--test", type=int, default=240, help="test rows")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--write", action="store_true", help="put the table into docs/lab/tuning.md")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        sizes = (arguments.rows, VALIDATION, arguments.test)
        lines = table(arguments.tasks, arguments.seeds, sizes, Path(name))
    print("\n".join(lines))
    if arguments.write:
        page = PAGE.read_text(encoding="utf-8")
        written = re.sub(r"\| task \| metric \| method .*?\n\n", "\n".join(lines) + "\n\n", page, flags=re.DOTALL)
        PAGE.write_text(written, encoding="utf-8")


if __name__ == "__main__":
    main()
