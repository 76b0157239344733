# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""A monitoring run on one page, and the same for machines."""

from kfp.dsl import HTML, Artifact, Dataset, Input, Markdown, Output

from components.base import component


@component
def report_monitoring(
    drift: Input[Artifact],
    quality: Input[Artifact],
    retraining_decision: Input[Artifact],
    annotations: Input[Dataset],
    name: str,
    reporting: dict,
    page: Output[HTML],
    verdict: Output[Markdown],
    summary: Output[Artifact],
):
    """Write the report: verdict, trend of each check, new topics, quality."""
    from gemtune.steps import report_monitoring as step

    page.path += ".html"
    verdict.path += ".md"
    summary.path += ".json"

    step.run(
        {"drift": drift.path, "quality": quality.path, "decision": retraining_decision.path},
        annotations.uri,
        name,
        page.path,
        verdict.path,
        summary.path,
        reporting=reporting,
    )
