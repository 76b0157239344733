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
    """Tune on reference answers with the hyperparameters of a trial.

    Args:
        train: Training rows.
        validation: Validation rows, on which prompts and checkpoints are selected.
        trial: Hyperparameters of this job.
        task: Section `task` of the configuration.
        evaluate: Section `evaluate`.
        tune: Section `tune`.
        preference: Section `preference`; empty in supervised tuning.
        vertex: Section `vertex`.
        name: The run's name.
        reweighted: Training rows with hard examples repeated, for trials that use them.
        is_start: Whether preference trials start from this job.
    """
    from gemtune.steps import tune as step

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
    """Tune with one trial's hyperparameters on pairs, from the supervised job's checkpoint if there is one.

    Args:
        train: Training rows.
        validation: Validation rows, on which prompts and checkpoints are selected.
        trial: Hyperparameters of this job.
        task: Section `task` of the configuration.
        evaluate: Section `evaluate`.
        tune: Section `tune`.
        preference: Section `preference`; empty in supervised tuning.
        vertex: Section `vertex`.
        name: The run's name.
        start: Record of the supervised job to start from.
    """
    from gemtune.steps import tune as step

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
