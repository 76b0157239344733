# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Pairwise comparison: whose answer is better, row by row, ranked by references or by the judge in both orders.

By reference, the answer nearer to what people preferred wins: chrF (Popović 2015; sacrebleu's defaults) to the nearest
preferred answer, 0 to 100; for labels and objects equality, 0 or 100. It ranks what was taught, not what is good; a
judge sees more and has to be validated first. An answer that cannot be used loses against any that can; equal answers
tie without a request to the judge.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np

from gemtune.artifacts.cost import TokenUsage
from gemtune.artifacts.evaluation import PairwiseReport, Score, SliceReport, VariantReport
from gemtune.config import Evaluate, Gate, ModelVariant, Preference, Task
from gemtune.contents import ModelOutput
from gemtune.data.example import Example
from gemtune.data.pairs import references_of
from gemtune.errors import UserError
from gemtune.evaluation import judge as llm_judge
from gemtune.evaluation.intervals import Floats, deviations, mean
from gemtune.evaluation.judge import CREDIT, UNREADABLE, PairwiseResult, Send, WinRate, win_rate
from gemtune.evaluation.scorers import SampleScore
from gemtune.inference.generate import GenerateRequest, require_answers
from gemtune.inference.parsing import canonical

WIN_RATE = "win_rate"
UNUSABLE = -1.0  # below any grade

Grade = Callable[[str], float]
Results = Mapping[tuple[str, str], Sequence[PairwiseResult]]
"""Per (candidate, baseline) the result of every row, in the order of the rows."""


class Ranker:
    """Ranks answers by references or by the judge; `usage` counts the judge's tokens.

    Raises `UserError` when a larger share of the judge's requests than `evaluate.max_error_share` fails, or most of its
    verdicts on pairs cannot be read.
    """

    def __init__(self, task: Task, settings: Preference, evaluate: Evaluate, send: Send) -> None:
        self._task, self._settings, self._send = task, settings, send
        self._judge, self._max_error_share = evaluate.judge, evaluate.max_error_share
        self.usage = TokenUsage()

    @property
    def by_reference(self) -> bool:
        """Whether references rank the answers."""
        return self._settings.ranker == "reference"

    async def grades(self, rows: Sequence[Example], texts: Sequence[Sequence[str]]) -> list[list[float | None]]:
        """Grades (0 to 100) of several answers to each row; None where the judge gave none."""
        if self.by_reference:
            graders = [reference_grader(self._task, [row.target]) for row in rows]
            return [[grade(text) for text in own] for grade, own in zip(graders, texts, strict=True)]
        flat = [(row, text) for row, own in zip(rows, texts, strict=True) for text in own]
        ratings, tokens = await llm_judge.rate(self._judge, self._task, flat, self._generate)
        self.usage += tokens
        low, high = self._judge.scale
        scaled = iter(None if r.score is None else 100 * (r.score - low) / (high - low) for r in ratings)
        return [[next(scaled) for _ in own] for own in texts]

    async def compare(
        self, rows: Sequence[Example], candidate: Sequence[str | None], baseline: Sequence[str | None]
    ) -> list[PairwiseResult]:
        """The better answer to each row; None is an unusable answer."""
        if self.by_reference:
            margin = self._settings.tie_margin
            return [
                compare_to_references(a, b, reference_grader(self._task, references_of(row)), margin)
                for row, a, b in zip(rows, candidate, baseline, strict=True)
            ]
        results = [
            PairwiseResult("tie" if a == b else "baseline" if a is None else "candidate")
            for a, b in zip(candidate, baseline, strict=True)
        ]
        undecided = [n for n, (a, b) in enumerate(zip(candidate, baseline, strict=True)) if a and b and a != b]
        pairs = [(rows[n], candidate[n] or "", baseline[n] or "") for n in undecided]
        verdicts, tokens = await llm_judge.compare(self._judge, self._task, pairs, self._generate)
        self.usage += tokens
        unreadable = sum(verdict.winner == UNREADABLE for verdict in verdicts)
        if 2 * unreadable > len(verdicts):
            raise UserError(
                f"no verdict of the judge {self._judge.model!r} can be read on {unreadable} of {len(verdicts)} pairs",
                remedy="choose another evaluate.judge.model, or raise evaluate.judge.max_output_tokens",
            )
        for n, verdict in zip(undecided, verdicts, strict=True):
            results[n] = verdict
        return results

    async def _generate(self, requests: Sequence[GenerateRequest]) -> list[ModelOutput]:
        if not requests:
            return []
        replies = await self._send(requests)
        require_answers(replies, self._judge.model, self._max_error_share)
        return replies


def reference_grader(task: Task, references: Sequence[str]) -> Grade:
    """Grades texts from 0 to 100 by their similarity to the nearest reference."""
    if task.is_free_text:
        preferred = list(references)
        return lambda text: float(_chrf().sentence_score(text, preferred).score)
    equal = {canonical(task, reference) for reference in references} - {None}
    return lambda text: 100.0 * (canonical(task, text) in equal)


@cache
def _chrf() -> Any:
    from sacrebleu.metrics import CHRF

    return CHRF()


def compare_to_references(candidate: str | None, baseline: str | None, grade: Grade, margin: float) -> PairwiseResult:
    """The answer nearer to the references by more than `margin`; None is an unusable answer."""
    first, second = (UNUSABLE if text is None else grade(text) for text in (candidate, baseline))
    if (candidate is None) != (baseline is None):
        return PairwiseResult("candidate" if first > second else "baseline")
    return PairwiseResult("tie" if abs(first - second) <= margin else "candidate" if first > second else "baseline")


# -- pairings ---------------------------------------------------------------------------------------


def final_pairings(variants: Sequence[ModelVariant]) -> list[tuple[str, str]]:
    """On test rows: the candidate with all others, each with the best prompt, the best prompt with the champion."""
    by_role = {variant.role: variant.name for variant in reversed(variants)}  # of several prompts the first is best
    prompt, candidate = by_role["baseline"], by_role.get("candidate")
    pairs = [(candidate, v.name) for v in variants if v.name != candidate] if candidate else []
    pairs += [(v.name, prompt) for v in variants if v.name not in (prompt, candidate)]
    return [*pairs, *([(prompt, by_role["champion"])] if "champion" in by_role else [])]


def checkpoint_pairings(variants: Sequence[ModelVariant]) -> list[tuple[str, str]]:
    """Every checkpoint, or the candidate, with every other variant."""
    others = [variant.name for variant in variants if variant.role != "candidate"]
    return [(v.name, other) for v in variants if v.role == "candidate" for other in others]


def baseline_pairings(variants: Sequence[ModelVariant]) -> list[tuple[str, str]]:
    """Among prompts: each with the first."""
    return [(variant.name, variants[0].name) for variant in variants[1:]]


async def compare_all(
    ranker: Ranker,
    rows: Sequence[Example],
    scores: Mapping[str, Sequence[SampleScore]],
    pairs: Sequence[tuple[str, str]],
) -> dict[tuple[str, str], list[PairwiseResult]]:
    """The results of all pairs, row by row; `scores` are each variant's, in the order of the rows.

    A pair that was compared the other way round is not compared again: each comparison is in both orders.
    """
    texts = {name: [s.row.answer if s.outcome == "ok" else None for s in own] for name, own in scores.items()}
    results: dict[tuple[str, str], list[PairwiseResult]] = {}
    for a, b in pairs:
        reverse = results.get((b, a))
        results[a, b] = mirrored(reverse) if reverse else await ranker.compare(rows, texts[a], texts[b])
    return results


def mirrored(results: Sequence[PairwiseResult]) -> list[PairwiseResult]:
    """The results with candidate and baseline exchanged."""
    exchanged = {"candidate": "baseline", "baseline": "candidate", "tie": "tie"}
    return [replace(result, winner=exchanged.get(result.winner, result.winner)) for result in results]


# -- win rates -------------------------------------------------------------------------------------------------------


def rate(results: Sequence[PairwiseResult], groups: Sequence[str | None], settings: Evaluate | Gate) -> WinRate:
    """The win rate with its interval, by the settings' level, resamples and seed."""
    level, resamples, seed = settings.confidence_level, settings.resamples, settings.seed
    return win_rate(results, groups, level=level, resamples=resamples, seed=seed)


def with_win_rate(
    report: VariantReport,
    rows: Sequence[Example],
    slices: Sequence[Mapping[str, str]],
    results: Results,
    evaluate: Evaluate,
    baselines: Sequence[str],
) -> VariantReport:
    """The report with the variant's win rate over `baselines` as its first metric, also by slice.

    Over several baselines a row's results count as one observation. A variant that was compared with none of them ties.
    """
    name = report.variant.name
    compared = [results[name, other] for other in baselines if (name, other) in results]
    compared = compared or [[PairwiseResult("tie")] * len(rows)]
    is_pooled = len(compared) > 1

    def score(part: Sequence[int]) -> Score:
        groups = [rows[i].group or rows[i].id if is_pooled else rows[i].group for _ in compared for i in part]
        return rate([own[i] for own in compared for i in part], groups, evaluate).score

    def with_rate(cell: SliceReport, column: str, value: str) -> SliceReport:
        part = [i for i, row in enumerate(slices) if row.get(column) == value]
        return cell.model_copy(update={"metrics": {**cell.metrics, WIN_RATE: score(part)}})

    by_slice = {
        column: {value: with_rate(cell, column, value) for value, cell in cells.items()}
        for column, cells in report.slices.items()
    }
    scores = {"metrics": {WIN_RATE: score(range(len(rows))), **report.metrics}, "slices": by_slice}
    if report.deviations:
        own = deviations(mean(_credit(compared)), [row.group for row in rows]).round(9).tolist()
        scores["deviations"] = {WIN_RATE: own, **report.deviations}
    return report.model_copy(update=scores)


def _credit(compared: Sequence[Sequence[PairwiseResult]]) -> Floats:
    """A row's mean credit over several baselines; that of all rows where the judge gave no verdict."""
    credit = np.array([[CREDIT.get(result.winner, np.nan) for result in own] for own in compared])
    overall = np.nanmean(credit) if not np.isnan(credit).all() else CREDIT["tie"]
    credits: Floats = np.where(np.isnan(credit), overall, credit).mean(axis=0)
    return credits


def pairwise_reports(results: Results, rows: Sequence[Example], evaluate: Evaluate) -> list[PairwiseReport]:
    """A report per compared pair of variants."""
    groups = [row.group for row in rows]
    won = {pair: rate(own, groups, evaluate) for pair, own in results.items()}
    return [
        PairwiseReport(candidate=a, baseline=b, value=w.value, low=w.low, high=w.high, **w.counts)
        for (a, b), w in won.items()
    ]
