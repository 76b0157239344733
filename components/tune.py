# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""One trial: a tuning job submitted, adopted or reused, monitored to its end."""

from kfp.dsl import Artifact, Dataset, Input, Metrics, Output

from components.base import component


@component
def tune(
    train: Input[Dataset],
    validation: Input[Dataset],
    trial: dict,
    task: dict,
    evaluate: dict,
    tune: dict,
    preference: dict,
    vertex: dict,
    name: str,
    job: Output[Artifact],
    events: Output[Artifact],
    metrics: Output[Metrics],
    reweighted: Input[Dataset] = None,
    start: Input[Artifact] = None,
):
    """Tune with a trial's method and hyperparameters, from the supervised job's checkpoint if there is one."""
    from gemtune.steps import tune as step

    job.path += ".json"

    tuned = step.run(
        train.path,
        validation.path,
        trial,
        name,
        job.path,
        events.path,
        reweighted.path if reweighted else "",
        start.path if start else "",
        task=task,
        evaluate=evaluate,
        tune=tune,
        preference=preference,
        vertex=vertex,
    )
    metrics.metadata.update(tuned)


@component
def tune_supervised(
    train: Input[Dataset],
    validation: Input[Dataset],
    trial: dict,
    task: dict,
    evaluate: dict,
    tune: dict,
    preference: dict,
    vertex: dict,
    name: str,
    job: Output[Artifact],
    events: Output[Artifact],
    metrics: Output[Metrics],
):
    """Tune the supervised model that preference trials start from; nothing where none is planned."""
    from gemtune.steps import tune as step

    job.path += ".json"

    tuned = step.run_start(
        train.path,
        validation.path,
        trial,
        name,
        job.path,
        events.path,
        task=task,
        evaluate=evaluate,
        tune=tune,
        preference=preference,
        vertex=vertex,
    )
    metrics.metadata.update(tuned)
