# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Components of the monitoring pipeline, in their order, and of what always runs last; one import and one call.

A row each: inputs, sections of the configuration, other parameters, outputs.
"""

from kfp.dsl import HTML, Artifact, Dataset, Input, Markdown, Output, PipelineTaskFinalStatus

from components.base import component

# fmt: off
# isort: off


@component
def load_logs(monitor: dict, vertex: dict, name: str, now: str, rows: Output[Dataset], counts: Output[Artifact]):
    """Read the champion's logged requests of every complete window that was not examined yet."""
    from gemtune.steps import load_logs as step, output, sections

    step.run(output(rows), output(counts), name, now, **sections(locals()))


@component
def analyze_drift(
    rows: Input[Dataset], counts: Input[Artifact],
    gate: dict, monitor: dict, vertex: dict,
    name: str,
    drift: Output[Artifact],
):
    """Check prompts, answers, similarity to the training rows, confidence and labels of each window."""
    from gemtune.steps import analyze_drift as step, output, sections

    step.run(rows.path, counts.path, output(drift), name, **sections(locals()))


@component
def estimate_quality(
    rows: Input[Dataset], drift: Input[Artifact],
    evaluate: dict, monitor: dict, vertex: dict,
    name: str,
    quality: Output[Artifact], annotations: Output[Dataset],
):
    """Estimate quality by the labels that there are, and draw rows for people to label."""
    from gemtune.steps import estimate_quality as step, output, sections

    paths = (rows.path, drift.path, output(quality), output(annotations, ".csv"))
    step.run(*paths, name, **sections(locals()))


@component
def decide_retraining(
    drift: Input[Artifact], quality: Input[Artifact],
    monitor: dict, vertex: dict,
    name: str, now: str, new_baseline: bool, retraining_job: str,
    retraining_decision: Output[Artifact],
) -> str:
    """Decide whether there is a reason to retrain, and keep the windows for the next run."""
    from gemtune.steps import decide_retraining as step, output, sections

    return step.run(
        drift.path, quality.path, output(retraining_decision), name, now, new_baseline, retraining_job,
        **sections(locals()),
    )


@component
def report_monitoring(
    drift: Input[Artifact], quality: Input[Artifact], retraining_decision: Input[Artifact], annotations: Input[Dataset],
    name: str,
    reporting: dict,
    page: Output[HTML], verdict: Output[Markdown], summary: Output[Artifact],
):
    """Write the report: verdict, trend of each check, new topics, quality."""
    from gemtune.steps import report_monitoring as step, output, sections

    step.run(
        {"drift": drift.path, "quality": quality.path, "decision": retraining_decision.path}, annotations.uri, name,
        output(page), output(verdict), output(summary), **sections(locals()),
    )


@component
def start_retraining(
    retraining_decision: Input[Artifact],
    monitor: dict, notify: dict, vertex: dict,
    name: str, includes_tuning: bool, retraining_job: str,
) -> bool:
    """Log a reason to retrain as JSON, and notify, in counts only; returns whether this pipeline is to retrain."""
    from gemtune.steps import start_retraining as step, sections

    decision = (retraining_decision.path, retraining_decision.uri)
    return step.run(*decision, name, includes_tuning, retraining_job, **sections(locals()))


@component
def finish_run(name: str, bucket: str, notify: dict, vertex: dict, is_tuning: bool, status: PipelineTaskFinalStatus):
    """Undeploy what interrupted runs left deployed, and report how the run ended."""
    from gemtune.steps import finish_run as step, sections

    end = (status.state, status.error_message, status.pipeline_job_resource_name)
    step.run(name, bucket, *end, is_tuning, **sections(locals()))
