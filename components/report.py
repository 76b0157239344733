# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The whole run on one page, and the same for machines."""

from kfp.dsl import HTML, Artifact, Dataset, Input, Markdown, Output

from components.base import component


@component
def report(
    data_report: Input[Artifact],
    split_report: Input[Artifact],
    tuning_plan: Input[Artifact],
    selection: Input[Artifact],
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
    """Write the report: decision, scores, costs, data and splits.

    Args:
        data_report: Report of the data step.
        split_report: Report of the split.
        tuning_plan: The plan.
        selection: Candidate, best prompt, champion, rejected checkpoints.
        tested: Report on the finalists.
        predictions: Every finalist's answers to the test rows.
        train: Training rows.
        test: Held-out test rows, read only for the final decision.
        decision: The decision of the gate.
        outcome: What is in production now.
        name: The run's name.
    """
    from gemtune.steps import report as step

    step.run(
        {
            "data": data_report.path,
            "split": split_report.path,
            "plan": tuning_plan.path,
            "selection": selection.path,
            "tested": tested.path,
            "predictions": predictions.path,
            "train": train.path,
            "test": test.path,
            "decision": decision.path,
        },
        outcome,
        name,
        page.path,
        verdict.path,
        summary.path,
    )
