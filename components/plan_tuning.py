# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The best prompt, whether tuning is worth trying, which trials, and the cost forecast."""

from typing import List, NamedTuple

from kfp.dsl import Artifact, Dataset, Input, Output

from components.base import component


@component
def plan_tuning(
    evaluated: Input[Artifact],
    train: Input[Dataset],
    validation: Input[Dataset],
    test: Input[Dataset],
    task: dict,
    evaluate: dict,
    plan: dict,
    gate: dict,
    hard_examples: dict,
    escalation: dict,
    preference: dict,
    vertex: dict,
    name: str,
    tuning_plan: Output[Artifact],
    spent: Input[Artifact] = None,
) -> NamedTuple("Planned", [("should_tune", bool), ("trials", List[dict]), ("first_trial", dict)]):
    """Find the best prompt, decide whether tuning is worth trying, forecast the cost, list the trials."""
    from gemtune.steps import plan_tuning as step

    tuning_plan.path += ".json"

    planned = step.run(
        [train.path, validation.path, test.path],
        evaluated.path,
        tuning_plan.path,
        name,
        spent.path if spent else "",
        task=task,
        evaluate=evaluate,
        plan=plan,
        gate=gate,
        hard_examples=hard_examples,
        escalation=escalation,
        preference=preference,
        vertex=vertex,
    )
    return planned["should_tune"], planned["trials"], planned["first_trial"]
