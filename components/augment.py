# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""More training rows for rare labels, generated from existing ones."""

from kfp.dsl import Artifact, Dataset, Input, Metrics, Output

from components.base import component


@component
def augment(
    train: Input[Dataset],
    validation: Input[Dataset],
    test: Input[Dataset],
    task: dict,
    split: dict,
    augment: dict,
    evaluate: dict,
    plan: dict,
    vertex: dict,
    name: str,
    augmented: Output[Dataset],
    report: Output[Artifact],
    metrics: Output[Metrics],
):
    """Paraphrase or perturb training rows of rare labels."""
    from gemtune.steps import augment as step

    augmented.path += ".jsonl"
    report.path += ".json"

    summary = step.run(
        (train.path, validation.path, test.path),
        augmented.path,
        report.path,
        name,
        task=task,
        split=split,
        augment=augment,
        evaluate=evaluate,
        plan=plan,
        vertex=vertex,
    )
    metrics.metadata.update(summary)
