# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The decision, on test rows, with statistics and reasons."""

from kfp.dsl import Artifact, Dataset, Input, Output

from components.base import component


@component
def gate(
    predictions: Input[Dataset],
    selection: Input[Artifact],
    tuning_plan: Input[Artifact],
    tested: Input[Artifact],
    task: dict,
    gate: dict,
    preference: dict,
    decision: Output[Artifact],
) -> bool:
    """Decide from paired test predictions whether the candidate may be deployed."""
    from gemtune.steps import gate as step

    decision.path += ".json"

    return step.run(
        predictions.path,
        selection.path,
        tuning_plan.path,
        tested.path,
        decision.path,
        task=task,
        gate=gate,
        preference=preference,
    )
