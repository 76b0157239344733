# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Is a candidate ever deployed that is no better than a constant answer? Random extraction and text tasks.

Each task has random rows: objects whose fields are often missing or equal, or texts with a shared template. A prompt
knows little. Candidates that know a random share of the answers must never be deployed below the best constant's test
score; candidates whose scores are those of the best constant on other rows of the task are truly equal to it and may be
deployed in at most (1 - confidence_level) / 2 = 2.5 % of cases. Everything goes through `free_baselines`,
`metrics.row_scores` and `gate.decide`. Prints a table and exits 1 when a promise is broken.

    python bench/constants.py [--tasks 200] [--equal 5]
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from time import perf_counter
from typing import Literal

import numpy as np

from gemtune.config import Gate, ModelVariant, Task
from gemtune.data.example import Example
from gemtune.evaluation import metrics
from gemtune.evaluation.comparison import CompareByMetric
from gemtune.evaluation.gate import Evidence, decide
from gemtune.evaluation.metrics import Row
from gemtune.evaluation.predictions import ScoredVariant
from gemtune.inference.free_baselines import free_baselines
from gemtune.inference.parsing import canonical

SIZES = (50, 75, 100, 200)
TRAIN_ROWS = 150
WORDS = [
    f"{start}{middle}" for start in ("al", "be", "co", "du", "em", "fa", "go") for middle in ("ra", "ne", "ti", "lo")
]


@dataclass(frozen=True)
class Case:
    """A random task: its training and test rows, and a function that draws a further row of the same law."""

    task: Task
    metric: str
    train: list[Example]
    test: list[Example]
    draw: Callable[[], Example]


def random_case(seed: int) -> Case:
    """One random task of a kind whose answers are objects or texts."""
    rng = np.random.default_rng([seed, 4])
    kind = rng.choice(["extraction", "summarization", "generation"])
    target = _objects(rng) if kind == "extraction" else _texts(rng)
    size = int(rng.choice(SIZES))
    rows = [_row(i, target(), rng) for i in range(TRAIN_ROWS + size)]
    task = Task.of({"kind": kind})
    train, test = rows[:TRAIN_ROWS], rows[TRAIN_ROWS:]
    return Case(task, metrics.primary_metric(task), train, test, lambda: _row(0, target(), rng))


def _objects(rng: np.random.Generator) -> Callable[[], str]:
    """Draws objects of one to four fields, each with its own share of rows without it and few values."""
    fields = [
        (f"field{i}", rng.uniform(0, 0.9), rng.dirichlet(np.full(int(rng.integers(1, 7)), rng.uniform(0.1, 2))))
        for i in range(int(rng.integers(1, 5)))
    ]

    def draw() -> str:
        present = [(name, shares) for name, missing, shares in fields if rng.random() >= missing]
        return json.dumps({name: WORDS[int(rng.choice(len(shares), p=shares))] for name, shares in present})

    return draw


def _texts(rng: np.random.Generator) -> Callable[[], str]:
    """Draws texts in which a random share of the words belongs to a template."""
    template = rng.choice(WORDS, int(rng.integers(3, 12)))
    fixed = rng.random(len(template)) < rng.uniform(0, 0.9)

    def draw() -> str:
        words = np.where(fixed, template, rng.choice(WORDS, len(template)))
        return " ".join(words[: max(2, len(words) - int(rng.integers(0, 3)))])

    return draw


def _row(number: int, target: str, rng: np.random.Generator) -> Example:
    text = f"{' '.join(rng.choice(WORDS, 5))}. {target if rng.random() < 0.3 else ''} {' '.join(rng.choice(WORDS, 5))}."
    return Example(str(number), text, target)


Role = Literal["baseline", "candidate"]


def knowing(case: Case, role: Role, share: float, rng: np.random.Generator) -> ScoredVariant:
    """A model that knows this share of the answers and gives those of other rows otherwise."""
    answers = [row.target if rng.random() < share else str(rng.choice(WORDS)) for row in case.test]
    if case.task.kind == "extraction":
        answers = [answer if answer.startswith("{") else json.dumps({"wrong": answer}) for answer in answers]
    return scored(case, ModelVariant(name=role, model="scripted", role=role), case.test, answers)


def scored(case: Case, variant: ModelVariant, rows: Sequence[Example], answers: Sequence[str]) -> ScoredVariant:
    """A variant with its answers to rows, scored as in an evaluation; all of them can be parsed."""
    count, kind = len(rows), case.task.kind
    pairs = [
        Row(parsed(kind, row.target), parsed(kind, answer), answer, row.target)
        for row, answer in zip(rows, answers, strict=True)
    ]
    own = [replace(row, scores=metrics.row_scores(case.task, row)) for row in pairs]
    return ScoredVariant(variant, own, ["ok"] * count, [0.1] * count, [1] * count, [1] * count)


@cache
def parsed(kind: str, answer: str) -> str:
    """The value of an answer, parsed once."""
    value = canonical(Task.of({"kind": kind}), answer)
    assert value is not None
    return value


def value(case: Case, variant: ScoredVariant) -> float:
    """The variant's score by the deciding metric."""
    return metrics.measure(case.task, case.metric, variant.rows).value()


def equal_to(case: Case, constant: ScoredVariant) -> ScoredVariant:
    """A candidate that is truly as good as a constant: on each row it has the score of the constant on a new row."""
    others = [case.draw() for _ in case.test]
    answers = [constant.rows[0].answer or ""] * len(others)
    drawn = [row.scores for row in scored(case, constant.variant, others, answers).rows]
    rows = [
        Row(row.reference, row.parsed, "drawn", row.target, own) for row, own in zip(constant.rows, drawn, strict=True)
    ]
    return replace(constant, variant=ModelVariant(name="candidate", model="scripted", role="candidate"), rows=rows)


def is_deployed(case: Case, variants: Sequence[ScoredVariant], free: Sequence[ScoredVariant], seed: int) -> bool:
    """Whether the gate deploys the candidate."""
    evidence = Evidence(variants, [None] * len(case.test), free=free)
    return decide(
        case.task,
        Gate(resamples=1000, seed=seed),
        evidence,
        lambda gate, groups: CompareByMetric(case.task, gate, case.metric, groups),
    ).passed


@dataclass(frozen=True)
class Study:
    """Candidates that were deployed: below the best constant, clearly above it, and truly equal to it."""

    below: int
    deployed_below: int
    above: int
    deployed_above: int
    equal: int
    deployed_equal: int

    @property
    def stated(self) -> float:
        """The most truly equal candidates that may be deployed: 2.5 %, and three standard errors of the study."""
        return 0.025 * self.equal + 3 * (0.025 * 0.975 * self.equal) ** 0.5

    @property
    def kept(self) -> bool:
        """Whether every promise is kept."""
        return self.deployed_below == 0 and self.deployed_equal <= self.stated


def study(tasks: int, equal: int) -> Study:
    """The study on this many random tasks, with this many truly equal candidates each."""
    counts = np.zeros(6, dtype=int)
    for seed in range(tasks):
        case, rng = random_case(seed), np.random.default_rng([seed, 5])
        free = [
            scored(case, variant, case.test, [output.text or "" for output in outputs])
            for variant, outputs in free_baselines(case.task, case.train, case.test)
        ]
        constants = [own for own in free if own.variant.role == "constant"]
        best = max(constants, key=lambda constant: value(case, constant))
        prompt = knowing(case, "baseline", 0.0, rng)
        for share in rng.uniform(0, 1, 3):
            candidate = knowing(case, "candidate", share, rng)
            lead = value(case, candidate) - value(case, best)
            deployed = is_deployed(case, [prompt, candidate], free, seed)
            counts[:2] += (lead < 0, deployed and lead < 0)
            counts[2:4] += (lead > 0.3, deployed and lead > 0.3)
        for number in range(equal):
            counts[4:] += (1, is_deployed(case, [prompt, equal_to(case, best)], constants, seed + number))
    return Study(*map(int, counts))


def main() -> int:
    """Run the study; 0 when every promise is kept."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=200, help="random tasks")
    parser.add_argument("--equal", type=int, default=5, help="truly equal candidates of each task")
    arguments = parser.parse_args()
    start = perf_counter()
    found = study(arguments.tasks, arguments.equal)
    print(f"{arguments.tasks} random extraction and text tasks of {SIZES[0]} to {SIZES[-1]} test rows")
    print(f"candidates below the best constant: {found.deployed_below} of {found.below} deployed (stated: 0)")
    print(f"truly equal to it: {found.deployed_equal} of {found.equal} deployed (stated: 2.5 %)")
    print(f"better by more than 0.3: {found.deployed_above} of {found.above} deployed")
    print(f"promises {'kept' if found.kept else 'BROKEN'}; {perf_counter() - start:.0f} s")
    return 0 if found.kept else 1


if __name__ == "__main__":
    sys.exit(main())
