# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""What validation rows decide: the checkpoint that is the candidate, and the prompts that it has to beat. Pure.

A checkpoint is selected by the one-standard-error rule (Breiman et al. 1984).

Among the checkpoints whose score is within one standard error of the best: the one whose model is cheapest to call, and
of those the one that was trained least. It is as good as the best as far as the data can show, costs no more, and is
less likely to have memorised the training rows. The standard error is that of the paired difference: checkpoints of one
job miss mostly the same rows.

Where the service scored the checkpoints, too, its scores are compared with ours: both answer sets come from the same
model and settings, so that a difference is a fault of the deployment, of the settings, or of a metric that counts other
spellings as right.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest

from gemtune.artifacts.evaluation import EvaluationReport, Score, VariantReport
from gemtune.artifacts.tuning import ScoreComparison, TrialRecord
from gemtune.config import ModelVariant
from gemtune.evaluation.intervals import z_score
from gemtune.tuning.objective import Objective

Z95 = 1.959964  # half-width of a 95 % interval in standard errors
MAX_PROMPTS = 5
"""Prompts that a candidate is compared with on test rows, the best included: each is paid there."""

NEAR_HARD = "near_hard"


@dataclass(frozen=True, slots=True)
class VariantScore:
    """A variant's score on validation rows, and what its training took."""

    variant: ModelVariant
    score: Score
    adapter_size: int = 0
    chance: float = 0.0
    """What a model that learned nothing would score."""
    near_hard: float | None = None
    """Score on validation rows near the hard examples, where they are marked."""
    price: float = 0.0
    """US dollars for a million input and a million output tokens of its base model."""
    deviations: Sequence[float] = ()
    """How leaving out each row, or group of rows, moves the score."""

    def standard_error_to(self, other: VariantScore) -> float:
        """The standard error of the difference to another variant's score on the same rows; none known: certain."""
        return math.hypot(*(a - b for a, b in zip_longest(self.deviations, other.deviations, fillvalue=0.0)))


def other_prompts(
    best: VariantReport, prompts: Sequence[VariantReport], metric: str, level: float
) -> list[VariantReport]:
    """The prompts that may be as good as the best one, the highest score first: at most MAX_PROMPTS with the best.

    `level` is that of the scores' intervals. Their score is within two standard errors of the difference, as if the
    scores were independent: scores on the same rows differ less. On few validation rows the best prompt often has not
    the best score, and a candidate that equals it would pass by a comparison with a worse one. One standard error is
    not enough for that: see docs/explain/gate.md.
    """
    top, width = best.metrics[metric], 2 * z_score(level)

    def is_near(score: Score) -> bool:
        both = math.hypot(top.high - top.low, score.high - score.low) / width
        return top.value - score.value <= 2 * both

    near = [prompt for prompt in prompts if prompt.variant != best.variant and is_near(prompt.metrics[metric])]
    return sorted(near, key=lambda prompt: -prompt.metrics[metric].value)[: MAX_PROMPTS - 1]


def choose(scores: Sequence[VariantScore], one_standard_error: bool = True) -> tuple[VariantScore | None, str]:
    """The candidate and the reason; None when there is no checkpoint."""
    if not scores:
        return None, "no checkpoint to select from"
    best = max(scores, key=lambda s: (s.score.value, -s.price, -s.variant.epoch, -s.adapter_size))
    if not one_standard_error:
        return best, "the best score"
    near = [s for s in scores if best.score.value - s.score.value <= best.standard_error_to(s) + 1e-9]
    least = min(near, key=lambda s: (s.price, s.variant.epoch, s.adapter_size, -s.score.value, s.variant.name))
    if least is best:
        return best, "the best score, and none trained less is within one standard error"
    less = "its model costs less" if least.price < best.price else "trained less"
    error = best.standard_error_to(least)
    return least, f"within one standard error ({error:.3f}) of {best.variant.name} and {less}"


def variant_scores(
    report: EvaluationReport, metric: str, jobs: Sequence[TrialRecord], objective: Objective
) -> list[VariantScore]:
    """How every variant of a report did; their jobs' records have adapter sizes and prices."""
    by_trial = {job.trial.name: job for job in jobs}
    return [_variant_score(result, metric, by_trial.get(result.variant.trial), objective) for result in report.variants]


def _variant_score(report: VariantReport, metric: str, job: TrialRecord | None, objective: Objective) -> VariantScore:
    supports = [row.support for row in report.per_class]
    majority = max(supports, default=0) / max(1, sum(supports)) if metric == "accuracy" else 0.0
    cell = report.slices.get(NEAR_HARD, {}).get("yes")
    return VariantScore(
        variant=report.variant,
        score=report.metrics[metric],
        adapter_size=job.trial.adapter_size if job else 0,
        chance=0.5 if objective.is_pairwise else majority,
        near_hard=cell.metrics[metric].value if cell and metric in cell.metrics else None,
        price=job.price["input"] + job.price["output"] if job else 0.0,
        deviations=report.deviations.get(metric, ()),
    )


def learned_nothing(scores: Sequence[VariantScore]) -> str:
    """Evidence that no checkpoint beats chance, which a loss curve cannot show; "" when one does."""
    best = max(scores, key=lambda s: s.score.value, default=None)
    if best is None or best.chance == 0 or best.score.low > best.chance:
        return ""
    score = f"the best checkpoint scores {best.score.value:.3f} (perhaps only {best.score.low:.3f})"
    return f"{score}, a model that learned nothing {best.chance:.3f}"


def compare_scores(record: TrialRecord, reports: Sequence[EvaluationReport]) -> list[ScoreComparison]:
    """The service's score of each checkpoint beside ours; a checkpoint that either did not score is left out."""
    by_checkpoint = {score.checkpoint_id: score for score in record.job.service_scores}
    comparisons = []
    for result in (result for report in reports for result in report.variants):
        variant = result.variant
        score = by_checkpoint.get(variant.checkpoint_id) if variant.tuned_model == record.job.model else None
        if score is None or (score.value is not None and score.metric not in result.metrics):
            continue
        own = result.metrics.get(score.metric) or next(iter(result.metrics.values()))
        differs = score.value is not None and not own.low <= score.value <= own.high
        comparisons.append(ScoreComparison(checkpoint=variant.name, service=score, own=own, differs=differs))
    return comparisons


def difference(comparison: ScoreComparison) -> str:
    """A sentence on a checkpoint whose score by the service differs from ours, or that it could not score; else ""."""
    service, own = comparison.service, comparison.own
    if service.value is None:
        return f"the job did not evaluate {comparison.checkpoint}: {service.error}"
    if not comparison.differs:
        return ""
    return (
        f"{comparison.checkpoint}: the job itself scored {service.metric} {service.value:.3f}, here it is "
        f"{own.value:.3f} ({own.low:.3f} to {own.high:.3f})"
    )
