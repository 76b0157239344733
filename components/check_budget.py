# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Check before the first request that there is something new to evaluate, and that it stays within the budget."""

from kfp.dsl import Artifact, Dataset, Input, Output

from components.base import component


@component
def check_budget(
    train: Input[Dataset],
    validation: Input[Dataset],
    test: Input[Dataset],
    task: dict,
    evaluate: dict,
    plan: dict,
    hard_examples: dict,
    tune: dict,
    escalation: dict,
    select: dict,
    gate: dict,
    deploy: dict,
    preference: dict,
    vertex: dict,
    name: str,
    budget: Output[Artifact],
    spent: Input[Artifact] = None,
) -> bool:
    """Stop the run if evaluating the prompts may cost more than `plan.max_cost`; gives whether anything is new."""
    from gemtune.steps import check_budget as step

    budget.path += ".json"

    return step.run(
        [train.path, validation.path, test.path],
        budget.path,
        name,
        spent.path if spent else "",
        task=task,
        evaluate=evaluate,
        plan=plan,
        hard_examples=hard_examples,
        tune=tune,
        escalation=escalation,
        select=select,
        gate=gate,
        deploy=deploy,
        preference=preference,
        vertex=vertex,
    )
