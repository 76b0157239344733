# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Larger base models, tried only when the small one gains by tuning but is not good enough."""

from typing import List

from kfp.dsl import Artifact, Dataset, Input, Metrics, Output

from components.base import component


@component
def larger(
    jobs: Input[List[Artifact]],
    reports: Input[List[Artifact]],
    trials: list,
    train: Input[Dataset],
    weighted: Input[Dataset],
    validation: Input[Dataset],
    plan: Input[Artifact],
    task: dict,
    evaluate: dict,
    tune: dict,
    config: dict,
    pick: dict,
    vertex: dict,
    name: str,
    job: Output[Artifact],
    report: Output[Artifact],
    metrics: Output[Metrics],
):
    """Tune and score larger models with the best hyperparameters so far, one after another, while it is worth it.

    Args:
        jobs: The trials' tuning jobs.
        reports: Their checkpoints' reports on validation data.
        trials: One trial per larger model, with what the plan allows it to cost.
        train: Rows to tune on.
        weighted: The same with hard rows weighted.
        validation: Rows that choose.
        plan: The plan (the score of the best prompt).
        task: Section `task` of the configuration.
        evaluate: Section `evaluate`.
        tune: Section `tune`.
        config: Section `larger`.
        pick: Section `pick` (the metric that chooses).
        vertex: Section `vertex`.
        name: The run's name.
    """
    from gemtune.steps import escalation

    tuned = escalation.run(
        [one.path for one in jobs],
        [one.path for one in reports],
        trials,
        train.path,
        weighted.path,
        validation.path,
        plan.path,
        task,
        evaluate,
        tune,
        config,
        pick,
        vertex,
        name,
        job.path,
        report.path,
    )
    metrics.metadata.update(tuned)
