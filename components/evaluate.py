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
    """Evaluate the prompted baselines on validation rows.

    Args:
        validation: Validation rows, on which prompts and checkpoints are selected.
        train: Training rows.
        task: Section `task` of the configuration.
        evaluate: Section `evaluate`.
        preference: Section `preference`; empty in supervised tuning.
        vertex: Section `vertex`.
    """
    from gemtune.steps import evaluate as step

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
    """Evaluate the checkpoints of all trials on validation rows.

    Args:
        validation: Validation rows, on which prompts and checkpoints are selected.
        train: Training rows.
        tuning: The trials' tuning records.
        tuning_plan: The plan.
        task: Section `task` of the configuration.
        evaluate: Section `evaluate`.
        preference: Section `preference`; empty in supervised tuning.
        vertex: Section `vertex`.
        start: Record of the supervised job to start from.
    """
    from gemtune.steps import evaluate as step

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
    """Evaluate best prompt, candidate and champion on test rows.

    Args:
        test: Held-out test rows, read only for the final decision.
        train: Training rows.
        selection: Candidate, best prompt, champion, rejected checkpoints.
        task: Section `task` of the configuration.
        evaluate: Section `evaluate`.
        preference: Section `preference`; empty in supervised tuning.
        vertex: Section `vertex`.
        name: The run's name.
    """
    from gemtune.steps import evaluate as step

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
