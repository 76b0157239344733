# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""More weight for training rows that the best prompt gets wrong."""

from kfp.dsl import Artifact, Dataset, Input, Metrics, Output

from components.base import component


@component
def hard(
    train: Input[Dataset],
    validation: Input[Dataset],
    predictions: Input[Dataset],
    best_prompt: dict,
    config: dict,
    vertex: dict,
    weighted: Output[Dataset],
    marked: Output[Dataset],
    report: Output[Artifact],
    metrics: Output[Metrics],
):
    """Repeat hard training rows, mark validation rows like them; or hand both on as they are.

    Args:
        train: Rows to tune on.
        validation: Rows that choose.
        predictions: The best prompt's answers on `train`; empty when nobody was asked.
        best_prompt: Who answered.
        config: Section `hard` of the configuration.
        vertex: Section `vertex`.
    """
    from gemtune.steps import hard_examples

    counts = hard_examples.run(
        train.path,
        validation.path,
        predictions.path,
        best_prompt,
        config,
        vertex,
        weighted.path,
        marked.path,
        report.path,
    )
    metrics.metadata.update(counts)
