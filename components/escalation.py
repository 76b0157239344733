# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Larger base models, tried only when tuning the small one helps but is not good enough."""

from typing import List

from kfp.dsl import Artifact, Dataset, Input, Metrics, Output

from components.base import component


@component
def try_larger_models(
    tuning: Input[List[Artifact]],
    evaluated: Input[Artifact],
    train: Input[Dataset],
    validation: Input[Dataset],
    tuning_plan: Input[Artifact],
    task: dict,
    evaluate: dict,
    tune: dict,
    escalation: dict,
    select: dict,
    vertex: dict,
    name: str,
    job: Output[Artifact],
    report: Output[Artifact],
    events: Output[Artifact],
    metrics: Output[Metrics],
    reweighted: Input[Dataset] = None,
):
    """Tune and evaluate larger models with the best hyperparameters so far, until a reason to stop applies."""
    from gemtune.steps import escalation as step

    job.path += ".json"
    report.path += ".json"

    counts = step.run(
        {
            "train": train.path,
            "reweighted": reweighted.path if reweighted else "",
            "validation": validation.path,
            "plan": tuning_plan.path,
            "job": job.path,
            "report": report.path,
            "events": events.path,
        },
        [record.path for record in tuning],
        evaluated.path,
        name,
        task=task,
        evaluate=evaluate,
        tune=tune,
        escalation=escalation,
        select=select,
        vertex=vertex,
    )
    metrics.metadata.update(counts)
