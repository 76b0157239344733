# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""What tests of the gate share: scripted finalists, judges, and the decision on them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gemtune.artifacts.decision import DecisionRecord
from gemtune.artifacts.evaluation import (
    GoodThreshold,
    JudgeComparison,
    JudgeRatings,
    JudgeReport,
    JudgeValidation,
    Score,
)
from gemtune.config import Gate, ModelVariant, Task
from gemtune.evaluation.comparison import Compare, CompareByMetric, ComparePairwise
from gemtune.evaluation.gate import Evidence, decide
from gemtune.evaluation.judge import PairwiseResult
from gemtune.evaluation.metrics import Row
from gemtune.evaluation.predictions import ScoredVariant

TASK = Task(labels=["a", "b"])
FAST = Gate(resamples=2000)
PRICES = {"input": 0.3, "output": 2.5}


def by_metric(gate: Gate, groups: Sequence[str | None], task: Task = TASK) -> Compare:
    return CompareByMetric(task, gate, gate.metric or "accuracy", groups)


def decided(gate: Gate, variants: Sequence[ScoredVariant], **evidence: Any) -> DecisionRecord:
    """The decision of supervised tuning; rows belong to no group unless said otherwise."""
    groups = evidence.pop("groups", [None] * len(variants[0].rows))
    return decide(TASK, gate, Evidence(variants, groups, **evidence), by_metric)


def failed(record: DecisionRecord) -> list[str]:
    return [rule.name for rule in record.rules if not rule.passed]


def scored(
    role: Any,
    right: Any,
    name: str = "",
    outcomes: list[str] | None = None,
    pairwise: dict[str, list[PairwiseResult]] | None = None,
) -> ScoredVariant:
    """A variant that is right on the rows marked 1; every other row is of class b."""
    rows = []
    for i, hit in enumerate(right):
        reference = "ab"[i % 2]
        value = reference if hit else "ba"[i % 2]
        rows.append(Row(reference, value, value, reference))
    count = len(rows)
    return ScoredVariant(
        ModelVariant(name=name or role, model="m", role=role),
        rows,
        outcomes or ["ok"] * count,
        [0.1] * count,
        [10] * count,
        [2] * count,
        confidence=[0.9] * count,
        pairwise=pairwise or {},
    )


def share(hits: int, rows: int = 200) -> list[int]:
    return [1] * hits + [0] * (rows - hits)


def won(rows: int, wins: int, losses: int) -> list[PairwiseResult]:
    outcomes = ["candidate"] * wins + ["baseline"] * losses + ["tie"] * (rows - wins - losses)
    return [PairwiseResult(outcome) for outcome in outcomes]


def judged(
    validated: bool = True, scores: list[float | None] | None = None, wins: int = 150, threshold: float | None = 4.0
) -> JudgeReport:
    """A judge's report on the candidate, which wins so many of 180 untied pairs."""
    share = Score(value=0.5, low=0.4, high=0.6)
    agreement = Score(value=0.8, low=0.7 if validated else 0.2, high=0.9)
    validation = JudgeValidation(
        validated=validated,
        measure="kappa",
        shown=agreement,
        required=0.6,
        summary="people agree" if validated else "people do not agree: it informs",
        threshold=GoodThreshold(score=threshold, kappa=agreement, precision=0.9, recall=0.9) if threshold else None,
    )
    ratings = JudgeRatings(
        score=share, refusal_rate=0, unreadable_rate=0, scores=scores or [*[5.0] * 190, *[None] * 10]
    )
    comparison = JudgeComparison(
        candidate="candidate",
        baseline="baseline",
        winners=[result.winner for result in won(200, wins, 180 - wins)],
        win_rate=share,
        pairs=200,
        wins=wins,
        losses=180 - wins,
        ties=20,
        order_flips=5,
        p_value=0.01,
        chose_first=share,
        chose_longer=share,
        unreadable=0,
    )
    return JudgeReport(
        model="judge",
        rubric="Is it right?",
        ratings={"candidate": ratings},
        pairwise=[comparison],
        validation=validation,
    )


def pairwise(gate: Gate, groups: Sequence[str | None]) -> Compare:
    return ComparePairwise(gate, groups)


def ranked(gate: Gate, others: dict[str, tuple[int, int]], roles: Sequence[str] = (), **more: Any) -> DecisionRecord:
    """The decision on a candidate with so many wins and losses against each other finalist over 200 rows."""
    candidate = scored("candidate", share(160), pairwise={role: won(200, *score) for role, score in others.items()})
    variants = [scored(role, share(120)) for role in ("baseline", *roles)]
    return decide(TASK, gate, Evidence([*variants, candidate], [None] * 200, **more), pairwise)
