# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Model variants on one split: answers and scores, prompted and tuned models alike."""

from typing import List

from kfp.dsl import Artifact, ClassificationMetrics, Dataset, Input, Metrics, Output

from components.base import component


@component
def evaluate_baselines(
    validation: Input[Dataset],
    train: Input[Dataset],
    task: dict,
    evaluate: dict,
    preference: dict,
    vertex: dict,
    predictions: Output[Dataset],
    report: Output[Artifact],
    metrics: Output[Metrics],
    confusion: Output[ClassificationMetrics],
):
    """Evaluate the prompted baselines on validation rows."""
    from gemtune.steps import evaluate as step

    predictions.path += ".jsonl"
    report.path += ".json"

    summary = step.run_baselines(
        validation.path,
        train.path,
        predictions.path,
        report.path,
        task=task,
        evaluate=evaluate,
        preference=preference,
        vertex=vertex,
    )
    metrics.metadata.update(summary["metrics"])
    confusion.metadata.update(summary["confusion"])


@component
def evaluate_checkpoints(
    validation: Input[Dataset],
    train: Input[Dataset],
    tuning: Input[List[Artifact]],
    tuning_plan: Input[Artifact],
    task: dict,
    evaluate: dict,
    preference: dict,
    vertex: dict,
    predictions: Output[Dataset],
    report: Output[Artifact],
    metrics: Output[Metrics],
    confusion: Output[ClassificationMetrics],
    start: Input[Artifact] = None,
):
    """Evaluate the checkpoints of all trials on validation rows."""
    from gemtune.steps import evaluate as step

    predictions.path += ".jsonl"
    report.path += ".json"

    summary = step.run_checkpoints(
        validation.path,
        train.path,
        [record.path for record in tuning],
        tuning_plan.path,
        predictions.path,
        report.path,
        start.path if start else "",
        task=task,
        evaluate=evaluate,
        preference=preference,
        vertex=vertex,
    )
    metrics.metadata.update(summary["metrics"])
    confusion.metadata.update(summary["confusion"])


@component
def evaluate_finalists(
    test: Input[Dataset],
    train: Input[Dataset],
    selection: Input[Artifact],
    task: dict,
    evaluate: dict,
    preference: dict,
    vertex: dict,
    name: str,
    predictions: Output[Dataset],
    report: Output[Artifact],
    metrics: Output[Metrics],
    confusion: Output[ClassificationMetrics],
):
    """Evaluate best prompt, candidate and champion on test rows."""
    from gemtune.steps import evaluate as step

    predictions.path += ".jsonl"
    report.path += ".json"

    summary = step.run_finalists(
        test.path,
        train.path,
        selection.path,
        name,
        predictions.path,
        report.path,
        task=task,
        evaluate=evaluate,
        preference=preference,
        vertex=vertex,
    )
    metrics.metadata.update(summary["metrics"])
    confusion.metadata.update(summary["confusion"])
