# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The candidate among all checkpoints, and what it is compared with on test rows."""

from typing import List

from kfp.dsl import Artifact, Input, Output

from components.base import component


@component
def select_model(
    tuning_plan: Input[Artifact],
    task: dict,
    evaluate: dict,
    select: dict,
    deploy: dict,
    preference: dict,
    vertex: dict,
    name: str,
    selection: Output[Artifact],
    tuning: Input[List[Artifact]] = None,
    evaluated: Input[Artifact] = None,
    start: Input[Artifact] = None,
    larger_tuning: Input[Artifact] = None,
    larger_report: Input[Artifact] = None,
    spent: Input[Artifact] = None,
) -> str:
    """Select the candidate on validation rows; gives the URI of the selection. Without tuning there is no candidate."""
    from gemtune.steps import select_model as step

    selection.path += ".json"

    step.run(
        tuning_plan.path,
        selection.path,
        name,
        [record.path for record in tuning or []],
        evaluated.path if evaluated else "",
        start.path if start else "",
        (larger_tuning.path if larger_tuning else "", larger_report.path if larger_report else ""),
        spent.path if spent else "",
        task=task,
        evaluate=evaluate,
        select=select,
        deploy=deploy,
        preference=preference,
        vertex=vertex,
    )
    return selection.uri
