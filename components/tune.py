# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""One trial: a tuning job submitted, adopted or reused, monitored to its end."""

from kfp.dsl import Artifact, Dataset, Input, Metrics, Output

from components.base import component


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
    reweighted: Input[Dataset] = None,
    is_start: bool = False,
):
    """Tune on reference answers with the hyperparameters of a trial."""
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
        is_start,
        task=task,
        evaluate=evaluate,
        tune=tune,
        preference=preference,
        vertex=vertex,
    )
    metrics.metadata.update(tuned)


@component
def tune_preference(
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
    start: Input[Artifact] = None,
):
    """Tune with one trial's hyperparameters on pairs, from the supervised job's checkpoint if there is one."""
    from gemtune.steps import tune as step

    job.path += ".json"

    tuned = step.run_from(
        train.path,
        validation.path,
        trial,
        start.path if start else "",
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
