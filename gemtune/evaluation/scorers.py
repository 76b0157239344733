# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Parse and score answers, and aggregate the scores of one variant.

A row without a usable answer counts as a miss (invalid, refusal, blocked, truncated, error) and is never excluded. The
commonest forms of unusable answers show whether the prompt, a limit or the reading of answers is to be corrected.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from gemtune.artifacts.cost import TokenUsage
from gemtune.artifacts.evaluation import Latency, Score, SliceReport, UnusableForm, VariantReport, invalid_rate
from gemtune.config import Evaluate, ModelVariant, Prompt, Task
from gemtune.contents import ModelOutput
from gemtune.data.example import Example
from gemtune.errors import UserError
from gemtune.evaluation import calibration, intervals, metrics
from gemtune.evaluation.intervals import Measure
from gemtune.evaluation.metrics import Row, primary_metric
from gemtune.evaluation.slices import by_number
from gemtune.inference.parsing import REFUSAL, Parsed, canonical, parse

BLOCKED = ("SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "LANGUAGE", "MODEL_ARMOR")
SHOWN_FORMS, SHOWN_CHARS = 5, 80
_STRING = re.compile(r'("(?:[^"\\]|\\.)*")(\s*:)?')


@dataclass(frozen=True)
class SampleScore:
    """One parsed and scored answer."""

    example: Example
    row: Row
    outcome: str
    output: ModelOutput
    problem: str | None = None
    confidence: float | None = None
    confidence_output: ModelOutput | None = None
    """The output of the request for verbal confidence, if one was sent."""

    @property
    def scores(self) -> dict[str, float]:
        """The row's scores by metric."""
        return self.row.scores or {}


def score_sample(
    task: Task, variant: ModelVariant, example: Example, output: ModelOutput, task_with_all_labels: Task | None = None
) -> SampleScore:
    """Parse and score one answer; raises `UserError` if the reference is not valid for the task.

    The answer is parsed with `task`, the reference with `task_with_all_labels`. A label that only the latter has is in
    no prompt: its rows are misses, and the tables show it.
    """
    reference = canonical(task_with_all_labels or task, example.target)
    if reference is None:
        raise UserError(
            f"row {example.id} (line {example.line}) has the target {example.target!r}, not a valid {task.kind} answer",
            remedy="add it to task.labels, or correct the row",
        )
    parsed, outcome = parse_output(task, variant.prompt, output)
    value = parsed.value if outcome == "ok" else None
    row = Row(reference, value, output.text, example.target)
    scored = Row(reference, value, output.text, example.target, metrics.row_scores(task, row))
    return SampleScore(example, scored, outcome, output, output.error or parsed.problem)


def parse_output(task: Task, prompt: Prompt, output: ModelOutput) -> tuple[Parsed, str]:
    """What an answer says, and its outcome: ok, invalid, refusal, blocked, truncated or error."""
    parsed = parse(task, prompt, output.text)
    return parsed, _outcome(output, parsed)


def _outcome(output: ModelOutput, parsed: Parsed) -> str:
    if output.error:
        return "error"
    if output.block_reason or output.finish_reason in BLOCKED:
        return "blocked"
    if output.finish_reason == "MAX_TOKENS" and parsed.value is None:
        return "truncated"
    if parsed.value is not None:
        return "ok"
    return "refusal" if parsed.problem == REFUSAL else "invalid"


def token_usage(outputs: Sequence[ModelOutput]) -> TokenUsage:
    """Tokens of these outputs, in total and by batch jobs; `requests` is left at 0."""
    batch = [output for output in outputs if output.batch]
    return TokenUsage(
        input=sum(output.input_tokens for output in outputs),
        output=sum(output.output_tokens for output in outputs),
        batch_input=sum(output.input_tokens for output in batch),
        batch_output=sum(output.output_tokens for output in batch),
    )


def request_usage(outputs: Sequence[ModelOutput]) -> TokenUsage:
    """Tokens of these outputs and the number of their requests."""
    return token_usage(outputs) + TokenUsage(requests=len(outputs))


def variant_report(task: Task, config: Evaluate, variant: ModelVariant, scores: Sequence[SampleScore]) -> VariantReport:
    """The report of one variant: metrics with intervals, outcomes, slices, tokens, latency, calibration.

    Confidences of validation rows are calibrated: the variant in the report then carries the fitted map.
    """
    rows = [score.row for score in scores]
    groups = [score.example.group for score in scores]
    measures = {name: metrics.measure(task, name, rows) for name in metrics.metric_names(task)}
    is_checkpoint = variant.role == "candidate" and not any(score.example.split == "test" for score in scores)
    per_class = metrics.per_class(task, rows) if task.is_labelled else []
    if task.kind == "extraction":
        per_class = metrics.per_field(task, rows)
    stated = [score.confidence_output for score in scores if score.confidence_output]
    variant, summary = _calibration(config, variant, [score for score in scores if score.confidence is not None])
    return VariantReport(
        variant=variant,
        metrics={name: _interval(measure, config, groups) for name, measure in measures.items()},
        outcomes=dict(Counter(score.outcome for score in scores)),
        slices=_slices(task, config, scores),
        tokens=token_usage([score.output for score in scores]),
        latency_s=latency_of([score.output for score in scores]),
        attempts=sum(score.output.attempts for score in scores),
        cached=sum(score.output.cached for score in scores),
        unusable_forms=unusable_forms(task.labels, [(score.outcome, score.output.text) for score in scores]),
        per_class=per_class,
        confusion=metrics.confusion(task, rows) if task.is_labelled and not task.label_separator else None,
        judging={config.base_model: request_usage(stated)} if stated else {},
        calibration=summary,
        deviations={
            name: intervals.deviations(measure, groups).round(9).tolist()
            for name, measure in measures.items()
            if is_checkpoint
        },
    )


def _calibration(
    config: Evaluate, variant: ModelVariant, scores: Sequence[SampleScore]
) -> tuple[ModelVariant, dict[str, Any] | None]:
    """The variant with the map fitted on these confidences, and the calibration before it; None without confidences.

    Nothing is fitted on test rows: they validate the map that was fitted on validation rows.
    """
    if not scores:
        return variant, None
    confidence = [score.confidence or 0.0 for score in scores]
    correct = [float(score.row.parsed == score.row.reference) for score in scores]
    level = config.confidence_level
    summary = calibration.summarize(confidence, correct, level=level)
    if any(score.example.split == "test" for score in scores):
        if variant.calibration:
            summary["validation_of_map"] = calibration.validate_map(
                variant.calibration, confidence, correct, level=level
            )
        return variant, summary
    fitted = calibration.fit_calibration(
        confidence,
        correct,
        method=config.calibration,
        target_accuracy=config.target_precision,
        certainty=config.confidence_level,
    )
    return variant.model_copy(update={"calibration": fitted}), {**summary, **fitted}


def _interval(measure: Measure, config: Evaluate, groups: Sequence[str | None]) -> Score:
    return intervals.interval(measure, level=config.confidence_level, groups=groups)


def _slices(task: Task, config: Evaluate, scores: Sequence[SampleScore]) -> dict[str, dict[str, SliceReport]]:
    """The primary metric by each slice column and value."""
    columns = sorted({name for score in scores for name in score.example.slices})
    primary = primary_metric(task)
    table: dict[str, dict[str, SliceReport]] = {}
    for column in columns:
        named = {score.example.slices[column] for score in scores if column in score.example.slices}
        table[column] = {}
        for value in sorted(named, key=by_number):
            part = [score for score in scores if score.example.slices.get(column) == value]
            groups = [score.example.group for score in part]
            interval = _interval(metrics.measure(task, primary, [score.row for score in part]), config, groups)
            table[column][value] = SliceReport(rows=len(part), metrics={primary: interval})
    return table


def latency_of(outputs: Sequence[ModelOutput]) -> Latency:
    """The latency of the online requests of this run."""
    ordered = sorted(o.latency_s for o in outputs if not (o.error or o.cached or o.batch))
    if not ordered:
        return Latency(median=0.0, p95=0.0)
    return Latency(median=ordered[len(ordered) // 2], p95=ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))])


def prediction_row(variant: ModelVariant, score: SampleScore) -> dict[str, Any]:
    """One row of the predictions file."""
    return {
        "variant": variant.name,
        "id": score.example.id,
        "target": score.row.target,
        "reference": score.row.reference,
        "answer": score.row.answer,
        "parsed": score.row.parsed,
        "outcome": score.outcome,
        "problem": score.problem,
        "scores": score.scores,
        "confidence": score.confidence,
        "latency_s": None if score.output.error or score.output.batch else round(score.output.latency_s, 4),
        "input_tokens": score.output.input_tokens,
        "output_tokens": score.output.output_tokens,
        "group": score.example.group,
        "slices": score.example.slices,
    }


# -- unusable answers -------------------------------------------------------------------------------------------------


def unusable_forms(labels: Sequence[str], answers: Iterable[tuple[str, str | None]]) -> list[UnusableForm]:
    """The commonest forms of the unusable ones of these (outcome, answer), the commonest first.

    Answers that differ only in labels, numbers, JSON values or white space have the same form.
    """
    names = "|".join(re.escape(label) for label in sorted(labels, key=len, reverse=True) if label)
    label = re.compile(rf"(?<![a-z0-9])(?:{names})(?![a-z0-9])" if names else r"(?!)", re.IGNORECASE)
    counts = Counter(
        (outcome, _form(answer, label)) for outcome, answer in answers if outcome not in ("ok", "error")
    )  # fmt: skip
    return [
        UnusableForm(outcome=outcome, form=form, rows=rows)
        for (outcome, form), rows in counts.most_common(SHOWN_FORMS)
    ]  # fmt: skip


def _form(answer: str | None, label: re.Pattern[str]) -> str:
    text = " ".join((answer or "").split())
    text = _STRING.sub(lambda string: string[0] if string[2] else '"…"', text)
    text = label.sub("<label>", text)
    text = re.sub(r"\d+", "0", text).encode(errors="replace").decode()  # half of a surrogate pair cannot be written
    return text if len(text) <= SHOWN_CHARS else f"{text[:SHOWN_CHARS]}…"


def describe_unusable(outcomes: dict[str, int], forms: Sequence[UnusableForm], limit: float) -> str:
    """How many answers are unusable and in which forms; "" for a variant within the limit (`gate.max_invalid_rate`)."""
    share = invalid_rate(outcomes)
    if share <= limit:
        return ""
    kinds = {name: count for name, count in outcomes.items() if name not in ("ok", "error")}
    counts = ", ".join(f"{count} {name}" for name, count in sorted(kinds.items(), key=lambda item: -item[1]))
    shown = ", ".join(f"{form.form!r} ({form.rows})" for form in forms[:3] if form.form)
    remedy = "raise max_output_tokens" if max(kinds, key=kinds.__getitem__) == "truncated" else "correct the prompt"
    most = f"; most often {shown}" if shown else ""
    return f"{share:.1%} of its answers are unusable, at most {limit:.1%} may be ({counts}{most}): {remedy}"
