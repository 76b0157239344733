# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Who meets on test data: the best prompt, the best checkpoint, the model in service."""

from typing import List

from kfp.dsl import Artifact, Input, Output

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
    picked: Output[Artifact],
) -> list:
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
    """
    from gemtune import pick

    return pick.run(
        [job.path for job in jobs],
        [report.path for report in reports],
        best_prompt,
        task,
        config,
        deploy,
        vertex,
        name,
        picked.path,
    )


@component
def pick_without_tuning(
    best_prompt: dict, task: dict, config: dict, deploy: dict, vertex: dict, name: str, picked: Output[Artifact]
) -> list:
    """Line up the best prompt and the model in service when no tuning was worth trying.

    Args:
        best_prompt: The prompted opponent.
        task: Section `task` of the configuration.
        config: Section `pick`.
        deploy: Section `deploy` (names the model in service).
        vertex: Section `vertex`.
        name: The run's name.
    """
    from gemtune import pick

    return pick.run([], [], best_prompt, task, config, deploy, vertex, name, picked.path)
