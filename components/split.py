# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Examples to training, validation and test rows without leakage."""

from kfp.dsl import Artifact, Dataset, Input, Metrics, Output

from components.base import component


@component
def split(
    examples: Input[Dataset],
    task: dict,
    split: dict,
    evaluate: dict,
    vertex: dict,
    name: str,
    train: Output[Dataset],
    validation: Output[Dataset],
    test: Output[Dataset],
    report: Output[Artifact],
    leakage_report: Output[Artifact],
    metrics: Output[Metrics],
):
    """Split examples by seed, stratified by label; groups and near-duplicates stay together."""
    from gemtune.steps import split as step

    train.path += ".jsonl"
    validation.path += ".jsonl"
    test.path += ".jsonl"
    report.path += ".json"
    leakage_report.path += ".json"

    summary = step.run(
        examples.path,
        (train.path, validation.path, test.path),
        report.path,
        leakage_report.path,
        name,
        task=task,
        split=split,
        evaluate=evaluate,
        vertex=vertex,
    )
    metrics.metadata.update(summary)
