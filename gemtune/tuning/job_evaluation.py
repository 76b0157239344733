# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Evaluation inside a tuning job: requested where the service offers it, and compared with our own checkpoint scores.

The service lets each checkpoint answer the validation rows and computes a metric that we compute, too. Both answer sets
come from the same model and settings, so that a difference is a fault: of the deployment, of the settings, or of a
metric that counts other spellings as right. Pure.
"""

from collections.abc import Sequence

from gemtune.artifacts.evaluation import EvaluationReport
from gemtune.artifacts.tuning import ScoreComparison, TrialRecord
from gemtune.catalogue import Catalogue
from gemtune.config import Evaluate, JsonObject, Task


def job_evaluation(task: Task, evaluate: Evaluate, catalogue: Catalogue, base_model: str) -> JsonObject:
    """The metric that a job is to compute, and how its checkpoints answer (the SDK's `inference_generation_config`)."""
    budget, level = catalogue.thinking(base_model, evaluate.thinking_budget)
    thinking = {"thinking_level": level} if level else {"thinking_budget": budget} if budget is not None else None
    return {
        "metric": "rouge_l" if task.is_free_text else "exact_match",
        "inference_generation_config": {
            "temperature": evaluate.temperature,
            "max_output_tokens": evaluate.max_output_tokens,
            "seed": evaluate.seed,
            **({"thinking_config": thinking} if thinking else {}),
        },
    }


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
