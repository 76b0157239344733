# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""More training rows for rare labels, made from their own."""

from kfp.dsl import Artifact, Dataset, Input, Metrics, Output

from components.base import component


@component
def augment(
    train: Input[Dataset],
    validation: Input[Dataset],
    test: Input[Dataset],
    task: dict,
    split: dict,
    evaluate: dict,
    config: dict,
    vertex: dict,
    plan: dict,
    augmented: Output[Dataset],
    report: Output[Artifact],
    metrics: Output[Metrics],
):
    """Paraphrase or perturb training rows of rare labels; or hand them on as they are.

    Args:
        train: Rows to tune on.
        validation: Rows that choose; nothing that is made may be near one.
        test: Rows that decide; nothing that is made may be near one.
        task: Section `task` of the configuration.
        split: Section `split` (what is near).
        evaluate: Section `evaluate` (the model that paraphrases).
        config: Section `augment`.
        vertex: Section `vertex`.
        plan: Section `plan` (what the run may cost).
    """
    from gemtune.steps import augment

    summary = augment.run(
        train.path,
        validation.path,
        test.path,
        task,
        split,
        evaluate,
        config,
        vertex,
        augmented.path,
        report.path,
        plan,
    )
    metrics.metadata.update(summary)
