# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The single values of a run's form, written into the sections that the other steps read."""

from typing import NamedTuple

from components.base import component


@component
def configure(
    base_model: str,
    max_cost: float,
    bucket: str,
    runner: str,
    starts_supervised: bool,
    task: dict,
    evaluate: dict,
    plan: dict,
    vertex: dict,
    preprocess: dict,
    preference: dict,
    reporting: dict,
) -> NamedTuple("Sections", [("task", dict), ("evaluate", dict), ("plan", dict), ("vertex", dict)]):
    """Write base model, budget, bucket, project and region into the sections; refuse what was not compiled in."""
    from gemtune.steps import configure as step

    return step.run(
        {"base_model": base_model, "max_cost": max_cost, "bucket": bucket},
        runner,
        starts_supervised,
        task=task,
        evaluate=evaluate,
        plan=plan,
        vertex=vertex,
        preprocess=preprocess,
        preference=preference,
        reporting=reporting,
    )
