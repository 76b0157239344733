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
    budget: Input[Artifact],
    dropped: Input[Dataset],
    outcome: dict,
    vertex: dict,
    name: str,
    job: str,
    page: Output[HTML],
    verdict: Output[Markdown],
    summary: Output[Artifact],
):
    """Write the report: decision, scores, costs, data and splits; record what was decided on."""
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
            "budget": budget.path,
            "dropped": dropped.path,
        },
        outcome,
        name,
        job,
        page.path,
        verdict.path,
        summary.path,
        vertex=vertex,
    )


@component
def report_unchanged(
    budget: Input[Artifact], job: str, page: Output[HTML], verdict: Output[Markdown], summary: Output[Artifact]
):
    """Write the report of a run that found nothing new: the last decision, and why nothing was evaluated."""
    from gemtune.steps import report as step

    step.run_unchanged(budget.path, job, page.path, verdict.path, summary.path)
