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
    name: str,
    data: str,
    task: dict,
    preprocess: dict,
    split: dict,
    augment: dict,
    evaluate: dict,
    plan: dict,
    hard_examples: dict,
    tune: dict,
    escalation: dict,
    select: dict,
    preference: dict,
    gate: dict,
    deploy: dict,
    notify: dict,
    vertex: dict,
    reporting: dict,
) -> NamedTuple("Sections", [("task", dict), ("evaluate", dict), ("plan", dict), ("vertex", dict)]):
    """Write base model, budget, bucket, project and region into the sections; refuse what cannot run."""
    from gemtune.steps import configure as step

    return step.run(
        {"base_model": base_model, "max_cost": max_cost, "bucket": bucket},
        runner,
        starts_supervised,
        name,
        data,
        task=task,
        preprocess=preprocess,
        split=split,
        augment=augment,
        evaluate=evaluate,
        plan=plan,
        hard_examples=hard_examples,
        tune=tune,
        escalation=escalation,
        select=select,
        preference=preference,
        gate=gate,
        deploy=deploy,
        notify=notify,
        vertex=vertex,
        reporting=reporting,
    )
