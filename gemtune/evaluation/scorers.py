# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""From answers to numbers: what each answer says and scores, and what one variant's answers come to.

A row without a usable answer is a miss of its own kind (invalid, refusal, blocked, truncated, error), never left out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gemtune.config import Evaluate, ModelVariant, Task
from gemtune.data.example import SCHEMA_VERSION, Example
from gemtune.errors import UserError
from gemtune.evaluation import calibration, intervals, metrics
from gemtune.evaluation.metrics import Row, primary_metric
from gemtune.inference.generate import ModelOutput
from gemtune.inference.parsing import canonical, is_refusal, parse

BLOCKED = ("SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "LANGUAGE", "MODEL_ARMOR")


@dataclass(frozen=True)
class SampleScore:
    """One answer, read and scored."""

    example: Example
    row: Row
    outcome: str
    given: ModelOutput
    problem: str | None = None
    confidence: float | None = None
    rating: ModelOutput | None = None
    """What a rater said of it, where one was asked."""

    @property
    def scores(self) -> dict[str, float]:
        """The row's scores by metric."""
        return self.row.scores or {}


def score_sample(
    task: Task, variant: ModelVariant, example: Example, given: ModelOutput, task_with_all_labels: Task | None = None
) -> SampleScore:
    """Read one answer: what it says, what became of it, what it scores.

    Answers are read by `task`, the reference by `wide`, which may know labels that nobody was told of: such a row can
    only be missed, and its label stands in the tables.
    """
    reference = canonical(task_with_all_labels or task, example.target)
    if reference is None:
        raise UserError(
            f"row {example.id} (line {example.line}) has the target {example.target!r}, not a valid {task.kind} answer",
            remedy="add it to task.labels, or correct the row",
        )
    parsed = parse(task, variant.prompt, given.text)
    outcome = _outcome(given, parsed.value)
    value = parsed.value if outcome == "ok" else None
    row = Row(reference, value, given.text, example.target)
    scored = Row(reference, value, given.text, example.target, metrics.row_scores(task, row))
    return SampleScore(example, scored, outcome, given, given.error or parsed.problem)


def _outcome(given: ModelOutput, value: str | None) -> str:
    if given.error:
        return "error"
    if given.block_reason or given.finish_reason in BLOCKED:
        return "blocked"
    if given.finish_reason == "MAX_TOKENS" and value is None:
        return "truncated"
    if value is not None:
        return "ok"
    return "refusal" if is_refusal(given.text) else "invalid"


def token_counts(answers: Sequence[ModelOutput]) -> dict[str, int]:
    """Tokens that answers took, in all and by batch jobs."""
    batch = [one for one in answers if one.batch]
    return {
        "input": sum(one.input_tokens for one in answers),
        "output": sum(one.output_tokens for one in answers),
        "batch_input": sum(one.input_tokens for one in batch),
        "batch_output": sum(one.output_tokens for one in batch),
    }


def sum_by_model(*told: Mapping[str, Mapping[str, int]]) -> dict[str, dict[str, int]]:
    """Counts by model, summed."""
    models = dict.fromkeys(model for one in told for model in one)
    found = {}
    for model in models:
        parts = [one[model] for one in told if model in one]
        found[model] = {kind: sum(part[kind] for part in parts) for kind in parts[0]}
    return found


def variant_report(
    task: Task, config: Evaluate, variant: ModelVariant, judged: Sequence[SampleScore]
) -> dict[str, Any]:
    """Everything one variant's answers come to."""
    rows = [one.row for one in judged]
    groups = [one.example.group for one in judged]
    report: dict[str, Any] = {
        "variant": variant.model_dump(),
        "metrics": {name: _interval(task, config, name, rows, groups) for name in metrics.metric_names(task)},
        "outcomes": dict(Counter(one.outcome for one in judged)),
        "slices": _slices(task, config, judged),
        "tokens": token_counts([one.given for one in judged]),
        "latency_s": _latency([one.given.latency_s for one in judged if _timed(one.given)]),
        "attempts": sum(one.given.attempts for one in judged),
        "cached": sum(one.given.cached for one in judged),
        "problems": Counter(one.problem for one in judged if one.problem).most_common(5),
    }
    if task.kind in metrics.LABELLED:
        report["per_class"] = metrics.per_class(task, rows)
        if not task.label_separator:
            report["confusion"] = metrics.confusion(task, rows)
    if ratings := [one.rating for one in judged if one.rating]:
        report["judging"] = {config.base_model: {**token_counts(ratings), "requests": len(ratings)}}
    sure = [one for one in judged if one.confidence is not None]
    if sure:
        report |= _calibration(config, variant, sure)
    if task.kind == "extraction":
        report["per_class"] = metrics.per_field(rows)
    return report


def _calibration(config: Evaluate, variant: ModelVariant, judged: Sequence[SampleScore]) -> dict[str, Any]:
    """What the confidences are worth, and the variant with what is fitted on them.

    Nothing is ever fitted on test rows: they show whether what was fitted on validation rows holds.
    """
    confidence = [one.confidence or 0.0 for one in judged]
    right = [float(one.row.parsed == one.row.reference) for one in judged]
    how: dict[str, Any] = {"level": config.confidence_level, "resamples": config.resamples, "seed": config.seed}
    told = calibration.summarize(confidence, right, **how)
    if any(one.example.split == "test" for one in judged):
        made = variant.calibration
        return {
            "calibration": {
                **told,
                **({"validation_of_map": calibration.validate_map(made, confidence, right, **how)} if made else {}),
            }
        }
    made = calibration.fit_calibration(
        confidence,
        right,
        method=config.calibration,
        target_accuracy=config.wanted_precision,
        certainty=config.confidence_level,
    )
    fitted = variant.model_copy(update={"calibration": made})
    return {"variant": fitted.model_dump(), "calibration": {**told, **made}}


def _interval(
    task: Task, config: Evaluate, metric: str, rows: Sequence[Row], groups: Sequence[str | None]
) -> dict[str, float]:
    found = intervals.interval(
        metrics.measure(task, metric, rows),
        level=config.confidence_level,
        resamples=config.resamples,
        seed=config.seed,
        groups=groups,
    )
    return {"value": found.value, "low": found.low, "high": found.high}


def _slices(task: Task, config: Evaluate, judged: Sequence[SampleScore]) -> dict[str, Any]:
    """The primary metric by each slice column and value."""
    columns = sorted({name for one in judged for name in one.example.slices})
    primary = primary_metric(task)
    table: dict[str, Any] = {}
    for column in columns:
        values = sorted({one.example.slices[column] for one in judged if column in one.example.slices})
        table[column] = {}
        for value in values:
            part = [one for one in judged if one.example.slices.get(column) == value]
            groups = [one.example.group for one in part]
            found = _interval(task, config, primary, [one.row for one in part], groups)
            table[column][value] = {"rows": len(part), "metrics": {primary: found}}
    return table


def _timed(given: ModelOutput) -> bool:
    """Whether the answer's time is that of an online call made now."""
    return not (given.error or given.cached or given.batch)


def _latency(seconds: list[float]) -> dict[str, float]:
    if not seconds:
        return {"median": 0.0, "p95": 0.0}
    ordered = sorted(seconds)
    return {"median": ordered[len(ordered) // 2], "p95": ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))]}


def prediction_row(variant: ModelVariant, one: SampleScore) -> dict[str, Any]:
    """The row of the predictions file."""
    return {
        "schema_version": SCHEMA_VERSION,
        "variant": variant.name,
        "id": one.example.id,
        "target": one.row.target,
        "reference": one.row.reference,
        "answer": one.row.answer,
        "parsed": one.row.parsed,
        "outcome": one.outcome,
        "problem": one.problem,
        "scores": one.scores,
        "confidence": one.confidence,
        "latency_s": None if one.given.error or one.given.batch else round(one.given.latency_s, 4),
        "input_tokens": one.given.input_tokens,
        "output_tokens": one.given.output_tokens,
        "group": one.example.group,
        "slices": one.example.slices,
    }
