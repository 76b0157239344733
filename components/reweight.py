# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Repeat training rows that the best prompt answers wrongly."""

from kfp.dsl import Artifact, Dataset, Input, Metrics, Output

from components.base import component


@component
def reweight_hard_examples(
    train: Input[Dataset],
    validation: Input[Dataset],
    tuning_plan: Input[Artifact],
    task: dict,
    evaluate: dict,
    hard_examples: dict,
    vertex: dict,
    reweighted: Output[Dataset],
    marked: Output[Dataset],
    report: Output[Artifact],
    metrics: Output[Metrics],
):
    """Repeat training rows that the best prompt answers wrongly; mark validation rows near them."""
    from gemtune.steps import reweight as step

    reweighted.path += ".jsonl"
    marked.path += ".jsonl"
    report.path += ".json"

    counts = step.run(
        train.path,
        validation.path,
        tuning_plan.path,
        reweighted.path,
        marked.path,
        report.path,
        task=task,
        evaluate=evaluate,
        hard_examples=hard_examples,
        vertex=vertex,
    )
    metrics.metadata.update(counts)
