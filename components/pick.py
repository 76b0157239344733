# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Who meets on test data: the best prompt, the best checkpoint, the model in service."""

from typing import List, NamedTuple

from kfp.dsl import Artifact, Dataset, Input, Output

from components.base import component


@component
def pick(
    jobs: Input[List[Artifact]],
    reports: Input[List[Artifact]],
    best_prompt: dict,
    task: dict,
    config: dict,
    deploy: dict,
    vertex: dict,
    name: str,
    larger_jobs: Input[Artifact],
    larger_report: Input[Artifact],
    train: Input[Dataset],
    picked: Output[Artifact],
    old_test: Output[Dataset],
) -> NamedTuple("Picked", [("finalists", list), ("remembering", list)]):
    """Choose the candidate among all checkpoints by the task's metric on validation data.

    Args:
        jobs: The trials' tuning jobs.
        reports: Their checkpoints' reports on validation data.
        best_prompt: The prompted opponent.
        task: Section `task` of the configuration.
        config: Section `pick`.
        deploy: Section `deploy` (names the model in service).
        vertex: Section `vertex`.
        name: The run's name.
        larger_jobs: Jobs of larger models, if any were tried.
        larger_report: Their report on validation data.
        train: Rows tuned on (what the model in service was tested on is asked again, without these).
    """
    from gemtune.steps import select_model

    chosen = select_model.run(
        [*[job.path for job in jobs], larger_jobs.path],
        [*[report.path for report in reports], larger_report.path],
        best_prompt,
        task,
        config,
        deploy,
        vertex,
        name,
        picked.path,
        train.path,
        old_test.path,
    )
    return chosen["finalists"], chosen["remembering"]


@component
def pick_without_tuning(
    best_prompt: dict,
    task: dict,
    config: dict,
    deploy: dict,
    vertex: dict,
    name: str,
    train: Input[Dataset],
    picked: Output[Artifact],
    old_test: Output[Dataset],
) -> NamedTuple("Picked", [("finalists", list), ("remembering", list)]):
    """Line up the best prompt and the model in service when no tuning was worth trying.

    Args:
        best_prompt: The prompted opponent.
        task: Section `task` of the configuration.
        config: Section `pick`.
        deploy: Section `deploy` (names the model in service).
        vertex: Section `vertex`.
        name: The run's name.
        train: Rows that would have been tuned on.
    """
    from gemtune.steps import select_model

    chosen = select_model.run(
        [], [], best_prompt, task, config, deploy, vertex, name, picked.path, train.path, old_test.path
    )
    return chosen["finalists"], chosen["remembering"]
