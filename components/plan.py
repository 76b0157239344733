# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Whether the prompts may be asked; then the best one, whether tuning is worth trying, at what price, which trials."""

from typing import List, NamedTuple

from kfp.dsl import Artifact, Dataset, Input, Output

from components.base import component


@component
def budget(
    train: Input[Dataset],
    validation: Input[Dataset],
    test: Input[Dataset],
    spent: Input[Artifact],
    baselines: list,
    task: dict,
    evaluate: dict,
    plan: dict,
    preference: dict,
    vertex: dict,
    name: str,
    budget: Output[Artifact],
) -> list:
    """Hand the baselines on to be asked, or stop the run because asking them may cost more than it is allowed.

    Args:
        train: Where few-shot examples come from.
        validation: Rows that choose.
        test: Rows that decide; only counted here.
        spent: The report of a step before (what it has spent).
        baselines: Prompted opponents, lists of variants.
        task: Section `task` of the configuration.
        evaluate: Section `evaluate`.
        plan: Section `plan` (what the run may cost).
        preference: Section `preference` (a judge that ranks answers); empty in supervised tuning.
        vertex: Section `vertex`.
        name: The run's name.
    """
    from gemtune.steps import check_budget as step

    return step.run(
        [train.path, validation.path, test.path],
        baselines,
        spent.path,
        name,
        budget.path,
        task=task,
        evaluate=evaluate,
        plan=plan,
        preference=preference,
        vertex=vertex,
    )


@component
def plan(
    reports: Input[List[Artifact]],
    train: Input[Dataset],
    validation: Input[Dataset],
    test: Input[Dataset],
    task: dict,
    evaluate: dict,
    config: dict,
    vertex: dict,
    name: str,
    hard: dict,
    larger: dict,
    augmented: Input[Artifact],
    plan: Output[Artifact],
) -> NamedTuple(
    "Planned", [("worthwhile", bool), ("trials", list), ("best_prompt", dict), ("probe", list), ("larger_trials", list)]
):
    """Pick the best prompt on validation data, forecast the bill, list the trials, or say that a prompt is enough.

    Args:
        reports: The prompted baselines' reports on validation data.
        train: Rows to tune on.
        validation: Rows that choose.
        test: Rows that decide; only counted here.
        task: Section `task` of the configuration.
        evaluate: Section `evaluate`.
        config: Section `plan`.
        vertex: Section `vertex`.
        name: The run's name.
        hard: Section `hard` (weighted rows bill more tokens).
        larger: Section `larger` (what larger models may add).
        augmented: The augmentation's report (what it has spent).
    """
    from gemtune.steps import plan_tuning as step

    planned = step.run(
        [report.path for report in reports],
        train.path,
        validation.path,
        test.path,
        task,
        evaluate,
        config,
        vertex,
        name,
        plan.path,
        hard,
        larger,
        augmented.path,
    )
    return planned["worthwhile"], planned["trials"], planned["best_prompt"], planned["probe"], planned["larger"]
