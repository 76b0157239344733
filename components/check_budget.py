# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Check before the first request that evaluating the prompts stays within the budget."""

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
    preference: dict,
    vertex: dict,
    name: str,
    budget: Output[Artifact],
    spent: Input[Artifact] = None,
):
    """Stop the run if evaluating the prompts alone may cost more than `plan.max_cost`."""
    from gemtune.steps import check_budget as step

    step.run(
        [train.path, validation.path, test.path],
        budget.path,
        name,
        spent.path if spent else "",
        task=task,
        evaluate=evaluate,
        plan=plan,
        preference=preference,
        vertex=vertex,
    )
