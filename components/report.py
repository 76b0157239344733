# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The whole run on one page, and the same for machines."""

from kfp.dsl import HTML, Artifact, Dataset, Input, Markdown, Output

from components.base import component


@component
def report(
    preprocessed: Input[Artifact],
    split: Input[Artifact],
    plan: Input[Artifact],
    picked: Input[Artifact],
    tested: Input[Artifact],
    predictions: Input[Dataset],
    train: Input[Dataset],
    test: Input[Dataset],
    decision: Input[Artifact],
    outcome: dict,
    name: str,
    page: Output[HTML],
    verdict: Output[Markdown],
    summary: Output[Artifact],
):
    """Write the decision with everything it rests on.

    Args:
        preprocessed: What preprocess read, kept and dropped.
        split: The splits and the proof that nothing leaks.
        plan: The prompted baselines and the spend plan.
        picked: Trials, curves, checkpoints and the choice.
        tested: Scores on test data.
        predictions: Answers on test data.
        train: Where few-shot examples come from, for the request that is shown.
        test: The rows behind the answers.
        decision: What the gate decided and why.
        outcome: What is in service now.
        name: The run's name.
    """
    from gemtune.steps import report as step

    step.run(
        preprocessed.path,
        split.path,
        plan.path,
        picked.path,
        tested.path,
        predictions.path,
        train.path,
        test.path,
        decision.path,
        outcome,
        name,
        page.path,
        verdict.path,
        summary.path,
    )
