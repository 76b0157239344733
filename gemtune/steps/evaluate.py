# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Evaluate model variants: prompts and checkpoints on validation rows, the finalists on test rows.

Few-shot examples come from training rows alone. Test rows are read only by the evaluation before the gate; each use is
recorded in the bucket before the first request.
"""

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

from gemtune.artifacts.evaluation import VariantReport
from gemtune.artifacts.tuning import Selection, TuningPlan, TuningRecord
from gemtune.config import ModelVariant
from gemtune.cost.baselines import MAX_COUNTED, BaselineForecast, baseline_variants
from gemtune.cost.tokens import TokenCounter
from gemtune.data.example import Example, read_before_gate, read_examples
from gemtune.data.sources import stored_examples
from gemtune.errors import without_values
from gemtune.evaluation import pairwise
from gemtune.evaluation.evaluator import Dataset, Evaluation
from gemtune.evaluation.metrics import primary_metric
from gemtune.evaluation.predictions import CHAMPION_TEST_SET, Prediction, write_predictions
from gemtune.inference import prompts
from gemtune.state import champion, test_set_usage
from gemtune.steps.context import Section, StepContext, log

MAX_MATRIX_LABELS = 100  # the metadata of an artifact may have 200 KB; a matrix of 120 labels has 166, one of 150 257


def run_baselines(
    validation: str, train: str, predictions: str, report: str, **sections: Section
) -> dict[str, dict[str, Any]]:
    """Evaluate the configured prompts on validation rows; returns what the console shows (see `write`)."""
    context = StepContext(sections)
    rows, shown = read_before_gate(validation), list(read_examples(train))
    task = prompts.resolve(context.task, shown)
    counter = TokenCounter(context.count_tokens, context.evaluate, MAX_COUNTED, task)
    forecast = BaselineForecast(counter, context.catalogue, [shown, rows])
    variants, notes = forecast.fitting(baseline_variants(context.evaluate))
    dataset = Dataset("validation", rows, optional="baseline", constrain_best=True, answers=predictions)
    evaluation = context.evaluator.evaluate(dataset, shown, variants)
    notes += evaluation.report.notes
    for note in notes:
        log.warning("%s", without_values(note))
    report_with_notes = evaluation.report.model_copy(update={"notes": notes})
    return write(replace(evaluation, report=report_with_notes), predictions, report, context.task.labels)


def run_checkpoints(
    validation: str,
    train: str,
    tuning: Sequence[str],
    tuning_plan: str,
    predictions: str,
    report: str,
    start: str = "",
    **sections: Section,
) -> dict[str, dict[str, Any]]:
    """Evaluate every checkpoint in the tuning records on validation rows.

    Where variants are compared pairwise, the best prompt and the checkpoint that trials started from (recorded in
    `start`) answer the same rows.
    """
    context, records = StepContext(sections), [TuningRecord.read(path) for path in tuning]
    variants = [variant for record in records for variant in record.variants]
    if context.objective.is_pairwise:
        best = TuningPlan.read(tuning_plan).best_prompt
        assert best is not None  # the plan of a run has one
        first = TuningRecord.read(start).start if start else None
        variants = [best.variant, *([first] if first else []), *variants]
    dataset = Dataset(
        "validation",
        read_before_gate(validation),
        pairwise.checkpoint_pairings,
        ("baseline", "supervised"),
        optional="candidate",
        answers=predictions,
    )
    evaluation = context.evaluator.evaluate(dataset, list(read_examples(train)), variants)
    return write(evaluation, predictions, report, context.task.labels)


def run_finalists(
    test: str, train: str, selection: str, name: str, predictions: str, report: str, **sections: Section
) -> dict[str, dict[str, Any]]:
    """Evaluate the finalists on test rows; candidate and champion on the champion's test set too, where that applies.

    The use of the test rows is recorded under the run's `name` before the first request.
    """
    context, chosen = StepContext(sections), Selection.read(selection)
    rows, shown = list(read_examples(test)), list(read_examples(train))
    usage = test_set_usage.record(context.client, name, [row.id for row in rows], chosen.finalists)
    dataset = Dataset(
        "test",
        rows,
        pairwise.final_pairings,
        ratings=True,
        injection=True,
        free_baselines=True,
        answers=predictions,
    )
    evaluation = context.evaluator.evaluate(dataset, shown, chosen.finalists)
    regression, again = None, list[Prediction]()
    if chosen.regression_variants and (old := _champion_test_set(context, name, shown)):
        today = {row.id for row in rows}
        again = _again(evaluation.predictions, {row.id for row in old} & today, chosen.regression_variants)
        if others := [row for row in old if row.id not in today]:
            dataset = Dataset(CHAMPION_TEST_SET, others, pairwise.checkpoint_pairings, (), judging=False)
            regression = context.evaluator.evaluate(dataset, shown, chosen.regression_variants)
    document = evaluation.report.model_copy(
        update={"test_set_usage": usage, "champion_test_set": regression.report if regression else None}
    )
    rows_written = [*evaluation.predictions, *again, *(regression.predictions if regression else [])]
    return write(Evaluation(document, rows_written), predictions, report, context.task.labels)


def _again(
    predictions: Sequence[Prediction], ids: Collection[str], variants: Sequence[ModelVariant]
) -> list[Prediction]:
    """The answers of these variants to test rows that are in the champion's test set too: they are not asked twice."""
    names = {variant.name for variant in variants}
    return [
        {
            **row,
            "dataset": CHAMPION_TEST_SET,
            **({"pairwise": {o: r for o, r in row["pairwise"].items() if o in names}} if "pairwise" in row else {}),
        }
        for row in predictions
        if row["variant"] in names and row["id"] in ids
    ]


def _champion_test_set(context: StepContext, name: str, train: Sequence[Example]) -> list[Example]:
    """The rows the champion was tested on, without those that are trained on now; [] when they were not kept."""
    trained, uri = {row.id for row in train}, champion.read(context.client, name).test_uri
    if not uri:
        log.warning("the champion has no stored test set: regression is not measured")
    return [replace(row, split=None) for row in stored_examples(context.client, uri) if row.id not in trained]


# -- what the console shows ------------------------------------------------------------------------------------------


def write(
    evaluation: Evaluation, predictions: str, path: str, configured: Collection[str]
) -> dict[str, dict[str, Any]]:
    """Write predictions and report; returns what the console shows.

    That is `metrics` (every number by one name) and `confusion` (of the best variant), as pipeline artifacts show them;
    `configured` are the labels that the settings list.
    """
    write_predictions(predictions, evaluation.predictions)
    report = evaluation.report
    report.write(path)
    if not report.variants:
        log.info("done: %s", "skipped: no variants to evaluate")
        return {"metrics": {}, "confusion": {}}
    metric = pairwise.WIN_RATE if report.ranker else primary_metric(report.task)
    best = max(report.variants, key=lambda result: result.metrics[metric].value)
    score = best.metrics[metric]
    log.info("done: %s", f"{metric} {score.value:.3f} ({score.low:.3f} to {score.high:.3f}) {best.variant.name}")
    metrics = {
        f"{result.variant.name} {name}": round(score.value, 6)
        for result in report.variants
        for name, score in result.metrics.items()
    }
    return {"metrics": metrics, "confusion": _confusion(best, configured)}


def _confusion(best: VariantReport, configured: Collection[str]) -> dict[str, Any]:
    """A confusion matrix in the form of a ClassificationMetrics artifact; {} for other task kinds.

    Metadata is kept outside of the bucket: labels that no setting lists are numbered in the order of the report. Of
    more than `MAX_MATRIX_LABELS` labels it has those of the most frequent mistakes; the report has all.
    """
    table = best.confusion
    if table is None:
        return {}
    shown = table.columns
    if len(table.labels) > MAX_MATRIX_LABELS:
        frequent = (label for mistake in table.mistakes for label in mistake[:2])
        kept = list(dict.fromkeys([*frequent, *table.labels]))[:MAX_MATRIX_LABELS]
        shown = [column for column in table.columns if column in kept]
        log.info("the matrix has %d of %d labels, those of the most frequent mistakes", len(shown), len(table.labels))
    counts = dict(zip(table.labels, table.matrix, strict=True))
    names = {label: label if label in configured else f"label {i}" for i, label in enumerate(table.labels, 1)}
    rows = [dict(zip(table.columns, counts.get(label, [0] * len(table.columns)), strict=True)) for label in shown]
    return {
        "confusionMatrix": {
            "annotationSpecs": [{"displayName": names.get(label, label)} for label in shown],
            "rows": [{"row": [row[column] for column in shown]} for row in rows],
        }
    }
