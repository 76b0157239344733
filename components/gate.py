# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The decision, on test data, with statistics and reasons."""

from kfp.dsl import Artifact, Dataset, Input, Output

from components.base import component


@component
def gate(
    predictions: Input[Dataset],
    variants: list,
    task: dict,
    config: dict,
    plan: Input[Artifact],
    tested: Input[Artifact],
    remembered: Input[Dataset],
    decision: Output[Artifact],
) -> bool:
    """Decide from paired test predictions whether the candidate may serve.

    Args:
        predictions: Every variant's answers on the test split.
        variants: Who they are: best prompt, candidate, champion.
        task: Section `task` of the configuration.
        config: Section `gate`.
        plan: The plan, for the reason when there is no candidate.
        tested: Scores on the test split: how often its rows were read, what the autorater says.
        remembered: Answers to the rows that the model in service was tested on; empty when nothing is tuned on.
    """
    from gemtune.steps import gate

    return gate.run(predictions.path, variants, task, config, plan.path, tested.path, decision.path, remembered.path)
