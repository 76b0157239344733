# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Pairs of a better and a worse answer, read from the data or sampled; each prompt has its pairs."""

from kfp.dsl import Artifact, Dataset, Metrics, Output

from components.base import component


@component
def load_pairs(
    data: str,
    task: dict,
    preprocess: dict,
    preference: dict,
    evaluate: dict,
    plan: dict,
    vertex: dict,
    name: str,
    examples: Output[Dataset],
    dropped: Output[Dataset],
    report: Output[Artifact],
    metrics: Output[Metrics],
):
    """Read pairs, or sample them from the base model; validate, normalise and deduplicate them."""
    from gemtune.steps import load_pairs as step

    examples.path += ".jsonl"
    dropped.path += ".jsonl"
    report.path += ".json"

    summary = step.run(
        data,
        examples.path,
        dropped.path,
        report.path,
        name,
        task=task,
        preprocess=preprocess,
        preference=preference,
        evaluate=evaluate,
        plan=plan,
        vertex=vertex,
    )
    metrics.metadata.update(summary)
