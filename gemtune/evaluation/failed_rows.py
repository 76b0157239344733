# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Rows without an answer for technical reasons (quota, connection, deadline): they are no misses.

Trouble is usually on one side, that of the busier model, so counting such rows as misses can make equal models differ.
They are left out for every variant; and as nobody knows what the answers would have been, a candidate is deployed only
if it also passes when each of them goes against it (the worst case: Horowitz & Manski 2000).
"""

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any, TypeVar

from gemtune.artifacts.evaluation import JudgeReport
from gemtune.config import Task
from gemtune.evaluation import metrics
from gemtune.evaluation.judge import PairwiseResult
from gemtune.evaluation.predictions import ScoredVariant

FAILED = "error"
T = TypeVar("T")


def failed_rows(variants: Sequence[ScoredVariant]) -> dict[str, list[int]]:
    """Variant -> the rows that it has no answer to; only variants that have such rows."""
    by_name = {v.variant.name: [i for i, outcome in enumerate(v.outcomes) if outcome == FAILED] for v in variants}
    return {name: rows for name, rows in by_name.items() if rows}


def without_rows(scored: ScoredVariant, left_out: set[int]) -> ScoredVariant:
    """The variant on the other rows."""
    names = [field.name for field in fields(scored) if field.name not in ("variant", "pairwise")]
    own: dict[str, Any] = {name: _kept(getattr(scored, name), left_out) for name in names}
    own["pairwise"] = {other: _kept(results, left_out) for other, results in scored.pairwise.items()}
    return replace(scored, **own)


def _kept(values: Sequence[T], left_out: set[int]) -> list[T]:
    return [value for i, value in enumerate(values) if i not in left_out]


def judge_without_rows(report: JudgeReport, left_out: set[int]) -> JudgeReport:
    """The judge's report on the other rows: its ratings and winners are by row."""
    ratings = {n: own.model_copy(update={"scores": _kept(own.scores, left_out)}) for n, own in report.ratings.items()}
    pairs = [pair.model_copy(update={"winners": _kept(pair.winners, left_out)}) for pair in report.pairwise]
    return report.model_copy(update={"ratings": ratings, "pairwise": pairs})


def worst_case(task: Task, scored: ScoredVariant, failed: Sequence[int], all_failed: set[int]) -> ScoredVariant:
    """The variant as if its missing answers went against the candidate: its own wrong, those of others right.

    Pairs of `all_failed`, in which somebody has no answer, are lost by the candidate. None is counted as unusable: what
    share of its answers a variant spoils is seen on those that it gave.
    """
    own = scored.variant.role == "candidate"
    rows, outcomes = list(scored.rows), list(scored.outcomes)
    for i in failed:
        outcomes[i] = "ok"
        if not own:
            right = replace(rows[i], parsed=rows[i].reference, answer=rows[i].target)
            rows[i] = replace(right, scores=metrics.row_scores(task, right))
    lost = PairwiseResult("baseline")
    pairs = {
        other: [lost if own and i in all_failed else result for i, result in enumerate(results)]
        for other, results in scored.pairwise.items()
    }
    return replace(scored, rows=rows, outcomes=outcomes, pairwise=pairs)


def judge_worst_case(report: JudgeReport, failed: set[int]) -> JudgeReport:
    """The judge's report as if what it could not compare were lost by the first of a pair, and not rated good."""
    ratings = {
        name: own.model_copy(update={"scores": [None if i in failed else score for i, score in enumerate(own.scores)]})
        for name, own in report.ratings.items()
    }
    pairs = [
        pair.model_copy(update={"winners": ["baseline" if i in failed else w for i, w in enumerate(pair.winners)]})
        for pair in report.pairwise
    ]
    return report.model_copy(update={"ratings": ratings, "pairwise": pairs})
