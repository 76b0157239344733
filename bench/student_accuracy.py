# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""What the student scores on the English sample: prompted, with examples, tuned. Prints a Markdown table.

    python bench/student_accuracy.py [--epochs 2 4 6] [--seeds 1 2 3] [--rank 8] [--threads 1]

500 training rows of common phrasings; the test is all rows of rare phrasings, which share none with training, and twice
as many rows of common ones. Accuracy is exact match of the greedy answer. Of several seeds the
lowest and the highest are shown.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from emulator.engines.base import GenerateRequest, TrainingRow, TuningSpec, TuningTask, Turn  # noqa: E402
from emulator.engines.student.engine import Student  # noqa: E402
from gemtune.config import Prompt  # noqa: E402
from gemtune.data.example import Example  # noqa: E402
from gemtune.inference.few_shot import select_shots  # noqa: E402

INSTRUCTION = "Classify the support ticket into exactly one intent."
Row = tuple[str, str]


def sample() -> tuple[list[Row], list[Row]]:
    """(common, rare) sound rows, labels of more than twenty rows, no text twice."""
    rows: dict[str, tuple[str, bool]] = {}
    for line in (ROOT / "examples/support_en/rows.jsonl").read_text(encoding="utf-8").splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict) and isinstance(row.get("text"), str) and isinstance(row.get("label"), str):
            rows.setdefault(row["text"], (row["label"], row.get("split") == "test"))
    labels = [label for label, _ in rows.values()]
    kept = [(text, label, rare) for text, (label, rare) in rows.items() if labels.count(label) > 20]
    return [(t, x) for t, x, rare in kept if not rare], [(t, x) for t, x, rare in kept if rare]


def asked(text: str, shots: Sequence[Row] = ()) -> tuple[Turn, ...]:
    """The user turn of a row, after examples if there are any."""
    shown = "".join(f"Ticket: {t}\nIntent: {label}\n\n" for t, label in shots)
    return (Turn("user", f"{shown}Ticket: {text}\nIntent:"),)


def alike(rows: Sequence[Row], train: Sequence[Row], count: int) -> list[list[Row]]:
    """The training rows most like each row, the most alike last, as gemtune picks them for its prompts."""
    known, asked_for = ([Example(text, text, label) for text, label in part] for part in (train, rows))
    chosen = select_shots(Prompt.of({"name": "alike", "shots": count, "selection": "similar"}), known, asked_for)
    return [[(shot.text, shot.target) for shot in shots] for shots in chosen]


def accuracy(student: Student, rows: Sequence[Row], **how: object) -> float:
    """Share of rows answered with exactly their label."""
    shots: Any = how.pop("shots", None) or [()] * len(rows)
    base = {"system": INSTRUCTION, "temperature": 0.0, "max_output_tokens": 12} | how
    requests = [
        GenerateRequest(asked(text, shown), **base)  # type: ignore[arg-type]
        for (text, _), shown in zip(rows, shots, strict=True)
    ]
    answers = [generation.candidates[0].text.strip() for generation in student.generate(requests)]
    return sum(answer == label for answer, (_, label) in zip(answers, rows, strict=True)) / len(rows)


def tuned(student: Student, spec: TuningSpec, common: list[Row], rare: list[Row]) -> tuple[float, float, float]:
    """Accuracy on (common, rare, all) test rows after one job."""
    drawn = random.Random(spec.seed).sample(common, len(common))
    train, test = drawn[:500], drawn[500 : 500 + 2 * len(rare)]
    rows = [TrainingRow((*asked(text), Turn("model", label)), INSTRUCTION) for text, label in train]
    with tempfile.TemporaryDirectory() as out:
        result = student.tune(TuningTask(rows, [], spec, Path(out)))
        adapter = result.checkpoints[-1].path
        one, two = (accuracy(student, part, adapter=adapter) for part in (test, rare))
    return one, two, (one * len(test) + two * len(rare)) / (len(test) + len(rare))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, nargs="*", default=[2, 4, 6])
    parser.add_argument("--seeds", type=int, nargs="*", default=[1, 2, 3])
    parser.add_argument("--rank", type=int, default=8)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--weights", type=Path, help="another base's directory (default: the embedded one)")
    given = parser.parse_args()
    warnings.filterwarnings("ignore")
    student = Student(given.weights, threads=given.threads)
    common, rare = sample()
    labels = sorted({label for _, label in common})
    listing = f"{INSTRUCTION} Allowed values: {', '.join(labels)}."
    shots = [next(row for row in common if row[1] == label) for label in labels]
    rest = [row for row in common if row not in shots][: 2 * len(rare)]
    print("| model | common phrasings | rare phrasings | all |\n| --- | --- | --- | --- |")
    train = [row for row in common if row not in shots and row not in rest][:500]
    prompts = {
        "zero-shot": {"system": listing},
        "zero-shot, answer kept to the labels": {"system": listing, "response_enum": tuple(labels)},
        "an example of each label": {"system": listing, "shots": lambda rows: [shots] * len(rows)},
        "the 5 most alike examples": {"system": listing, "shots": lambda rows: alike(rows, train, 5)},
    }
    nearest = [
        sum(s[0][1] == y for s, (_, y) in zip(alike(part, train, 1), part, strict=True)) for part in (rest, rare)
    ]
    shares = (nearest[0] / len(rest), nearest[1] / len(rare), sum(nearest) / len(rest + rare))
    print(f"| no model: the most alike row's label | {' | '.join(f'{share:.2f}' for share in shares)} |")
    for name, how in prompts.items():
        one, two, both = (
            accuracy(student, part, **{k: v(part) if callable(v) else v for k, v in how.items()})
            for part in (rest, rare, rest + rare)
        )
        print(f"| {name} | {one:.2f} | {two:.2f} | {both:.2f} |", flush=True)
    for epochs in given.epochs:
        found = [tuned(student, TuningSpec(epochs, 1.0, given.rank, seed), common, rare) for seed in given.seeds]
        cells = [f"{min(column):.2f} to {max(column):.2f}" for column in zip(*found, strict=True)]
        print(f"| tuned, {epochs} epochs, rank {given.rank} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
