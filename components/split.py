# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Examples become train, validation and test; nothing leaks."""

from kfp.dsl import Artifact, Dataset, Input, Metrics, Output

from components.base import component


@component
def split(
    examples: Input[Dataset],
    config: dict,
    vertex: dict,
    name: str,
    train: Output[Dataset],
    validation: Output[Dataset],
    test: Output[Dataset],
    report: Output[Artifact],
    leakage_report: Output[Artifact],
    metrics: Output[Metrics],
):
    """Divide examples by seed, stratified by label, whole groups and duplicate clusters together.

    Args:
        examples: What preprocess kept.
        config: Section `split`.
        vertex: Section `vertex`.
        name: The run's name; rows stay where its runs placed them before.
    """
    from gemtune.steps import split

    summary = split.run(
        examples.path, config, train.path, validation.path, test.path, report.path, vertex, name, leakage_report.path
    )
    metrics.metadata.update(summary)
