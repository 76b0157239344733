# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""One split, some models, the prompts they are asked by: answers and scores. Prompted and tuned models alike."""

from kfp.dsl import Artifact, ClassificationMetrics, Dataset, Input, Metrics, Output

from components.base import component


@component
def evaluate(
    examples: Input[Dataset],
    train: Input[Dataset],
    variants: list,
    task: dict,
    config: dict,
    vertex: dict,
    predictions: Output[Dataset],
    report: Output[Artifact],
    metrics: Output[Metrics],
    confusion: Output[ClassificationMetrics],
    gate_run: str = "",
    judging: bool = True,
):
    """Ask every variant about every example and score the answers.

    Args:
        examples: The split to answer.
        train: Where few-shot examples come from.
        variants: Models with the prompts they are asked by.
        task: Section `task` of the configuration.
        config: Section `evaluate`.
        vertex: Section `vertex`.
        sealed: Name of the run whose gate reads these test rows; empty for other rows.
        opinions: Also ask judges, raters and the evaluation service about the answers, where they are configured.
    """
    from gemtune.steps import evaluate

    files = predictions.path, report.path
    summary = evaluate.run(examples.path, train.path, variants, task, config, vertex, *files, gate_run, judging)
    metrics.metadata.update(summary["metrics"])
    confusion.metadata.update(summary["confusion"])
