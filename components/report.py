# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The whole run on one page, and the same for machines."""

from kfp.dsl import HTML, Artifact, Dataset, Input, Markdown, Output

from components.base import component


@component
def report(
    data_report: Input[Artifact],
    split_report: Input[Artifact],
    leakage_report: Input[Artifact],
    tuning_plan: Input[Artifact],
    selection: Input[Artifact],
    tested: Input[Artifact],
    predictions: Input[Dataset],
    train: Input[Dataset],
    validation: Input[Dataset],
    test: Input[Dataset],
    decision: Input[Artifact],
    budget: Input[Artifact],
    dropped: Input[Dataset],
    outcome: dict,
    name: str,
    job: str,
    started: str,
    task: dict,
    preprocess: dict,
    split: dict,
    augment: dict,
    evaluate: dict,
    plan: dict,
    hard_examples: dict,
    tune: dict,
    escalation: dict,
    select: dict,
    preference: dict,
    gate: dict,
    deploy: dict,
    vertex: dict,
    reporting: dict,
    page: Output[HTML],
    verdict: Output[Markdown],
    summary: Output[Artifact],
    manifest: Output[Artifact],
):
    """Write the report: decision, scores, costs, data and splits; record what was decided on."""
    from gemtune.steps import report as step

    page.path += ".html"
    verdict.path += ".md"
    summary.path += ".json"
    manifest.path += ".json"

    step.run(
        {
            "data": data_report.path,
            "split": split_report.path,
            "leakage": leakage_report.path,
            "plan": tuning_plan.path,
            "selection": selection.path,
            "tested": tested.path,
            "predictions": predictions.path,
            "train": train.path,
            "validation": validation.path,
            "test": test.path,
            "decision": decision.path,
            "budget": budget.path,
            "dropped": dropped.path,
        },
        outcome,
        name,
        (job, started),
        {"page": page.path, "verdict": verdict.path, "summary": summary.path, "manifest": manifest.path},
        task=task,
        preprocess=preprocess,
        split=split,
        augment=augment,
        evaluate=evaluate,
        plan=plan,
        hard_examples=hard_examples,
        tune=tune,
        escalation=escalation,
        select=select,
        preference=preference,
        gate=gate,
        deploy=deploy,
        vertex=vertex,
        reporting=reporting,
    )


@component
def report_unchanged(
    budget: Input[Artifact],
    job: str,
    started: str,
    vertex: dict,
    reporting: dict,
    page: Output[HTML],
    verdict: Output[Markdown],
    summary: Output[Artifact],
    manifest: Output[Artifact],
):
    """Write the report of a run that found nothing new: the last decision, and why nothing was evaluated."""
    from gemtune.steps import report as step

    page.path += ".html"
    verdict.path += ".md"
    summary.path += ".json"
    manifest.path += ".json"

    outputs = {"page": page.path, "verdict": verdict.path, "summary": summary.path, "manifest": manifest.path}
    step.run_unchanged(budget.path, (job, started), outputs, vertex=vertex, reporting=reporting)
