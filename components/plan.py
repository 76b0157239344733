# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The best prompt, whether tuning is worth trying, at what price, and which trials."""

from typing import List, NamedTuple

from kfp.dsl import Artifact, Dataset, Input, Output

from components.base import component


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
    from gemtune import plan as step

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
