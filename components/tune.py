# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""One trial: a tuning job submitted, adopted or reused, watched to its end."""

from kfp.dsl import Artifact, Dataset, Input, Metrics, Output

from components.base import component


@component
def tune(
    train: Input[Dataset],
    weighted: Input[Dataset],
    validation: Input[Dataset],
    trial: dict,
    task: dict,
    evaluate: dict,
    config: dict,
    vertex: dict,
    name: str,
    job: Output[Artifact],
    metrics: Output[Metrics],
) -> list:
    """Tune the base model with one trial's hyperparameters; gives one variant per checkpoint.

    Args:
        train: Rows to tune on.
        weighted: The same with hard rows weighted, for trials that ask for them.
        validation: Rows the service computes validation loss on.
        trial: Hyperparameters of this job.
        task: Section `task` of the configuration.
        evaluate: Section `evaluate` (names the base model).
        config: Section `tune`.
        vertex: Section `vertex`.
        name: The run's name.
    """
    from gemtune.steps import tune

    tuned = tune.run(train.path, validation.path, trial, task, evaluate, config, vertex, name, job.path, weighted.path)
    metrics.metadata.update(tuned["metrics"])
    return tuned["variants"]
