# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Components of the tuning pipelines, in their order: what each step takes and gives; one import and one call.

A row each: inputs, sections of the configuration, other parameters, outputs.
"""

from typing import List, NamedTuple

from kfp.dsl import HTML, Artifact, ClassificationMetrics, Dataset, Input, Markdown, Metrics, Output

from components.base import component

# fmt: off
# isort: off


@component
def configure(
    base_model: str, max_cost: float, bucket: str, runner: str, starts_supervised: bool, name: str, data: str,
    task: dict, preprocess: dict, split: dict, augment: dict, evaluate: dict, plan: dict, hard_examples: dict,
    tune: dict, escalation: dict, select: dict, preference: dict, gate: dict, deploy: dict, notify: dict, vertex: dict,
    reporting: dict,
) -> NamedTuple("Sections", [("task", dict), ("evaluate", dict), ("plan", dict), ("vertex", dict)]):
    """Write base model, budget, bucket, project and region into the sections; refuse what cannot run."""
    from gemtune.steps import configure as step, sections

    return step.run(
        {"base_model": base_model, "max_cost": max_cost, "bucket": bucket}, runner, starts_supervised, name, data,
        **sections(locals()),
    )


@component
def prepare_dataflow_job(
    data: str, name: str, task: dict, preprocess: dict, vertex: dict,
) -> NamedTuple("DataflowJob", [
    ("job_name", str), ("project", str), ("location", str), ("temp_location", str), ("service_account", str),
    ("subnetwork", str), ("template", str), ("parameters", dict), ("kept", str), ("dropped", str),
]):
    """Prepare the Dataflow job that deduplicates the data: name, place, identity, template and parameters."""
    from gemtune.steps import preprocess as step, sections

    return step.prepare_dataflow_job(data, name, **sections(locals()))


@component
def preprocess(
    data: str,
    task: dict, preprocess: dict, vertex: dict,
    examples: Output[Dataset], dropped: Output[Dataset], report: Output[Artifact], metrics: Output[Metrics],
    dataflow_dropped: str = "",
):
    """Read labelled rows in any accepted format, validate, normalise and deduplicate them."""
    from gemtune.steps import preprocess as step, output, sections

    metrics.metadata.update(step.run(
        data, output(examples), output(dropped), output(report), dataflow_dropped, **sections(locals()),
    ))


@component
def load_pairs(
    data: str,
    task: dict, preprocess: dict, preference: dict, evaluate: dict, plan: dict, vertex: dict,
    name: str,
    examples: Output[Dataset], dropped: Output[Dataset], report: Output[Artifact], metrics: Output[Metrics],
):
    """Read pairs, or sample them from the base model; validate, normalise and deduplicate them."""
    from gemtune.steps import load_pairs as step, output, sections

    metrics.metadata.update(step.run(
        data, output(examples), output(dropped), output(report), name, **sections(locals()),
    ))


@component
def split(
    examples: Input[Dataset],
    task: dict, split: dict, evaluate: dict, vertex: dict,
    name: str,
    train: Output[Dataset], validation: Output[Dataset], test: Output[Dataset], report: Output[Artifact],
    leakage_report: Output[Artifact], metrics: Output[Metrics],
):
    """Split examples by seed, stratified by label; groups and near-duplicates stay together."""
    from gemtune.steps import split as step, output, sections

    metrics.metadata.update(step.run(
        examples.path, (output(train), output(validation), output(test)), output(report), output(leakage_report), name,
        **sections(locals()),
    ))


@component
def check_budget(
    train: Input[Dataset], validation: Input[Dataset], test: Input[Dataset],
    task: dict, evaluate: dict, plan: dict, hard_examples: dict, tune: dict, escalation: dict, select: dict, gate: dict,
    deploy: dict, preference: dict, vertex: dict,
    name: str,
    budget: Output[Artifact],
    spent: Input[Artifact] = None,
) -> bool:
    """Stop the run if evaluating the prompts may cost more than `plan.max_cost`; gives whether anything is new."""
    from gemtune.steps import check_budget as step, output, sections

    return step.run(
        [train.path, validation.path, test.path], output(budget), name, spent.path if spent else "",
        **sections(locals()),
    )


@component
def augment(
    train: Input[Dataset], validation: Input[Dataset], test: Input[Dataset],
    task: dict, split: dict, augment: dict, evaluate: dict, plan: dict, vertex: dict,
    name: str,
    augmented: Output[Dataset], report: Output[Artifact], metrics: Output[Metrics],
):
    """Paraphrase or perturb training rows of rare labels."""
    from gemtune.steps import augment as step, output, sections

    metrics.metadata.update(step.run(
        (train.path, validation.path, test.path), output(augmented), output(report), name, **sections(locals()),
    ))


@component
def evaluate_baselines(
    validation: Input[Dataset], train: Input[Dataset],
    task: dict, evaluate: dict, preference: dict, vertex: dict,
    predictions: Output[Dataset], report: Output[Artifact], metrics: Output[Metrics],
    confusion: Output[ClassificationMetrics],
):
    """Evaluate the prompted baselines on validation rows."""
    from gemtune.steps import evaluate as step, output, sections

    summary = step.run_baselines(validation.path, train.path, output(predictions), output(report), **sections(locals()))
    metrics.metadata.update(summary["metrics"])
    confusion.metadata.update(summary["confusion"])


@component
def evaluate_checkpoints(
    validation: Input[Dataset], train: Input[Dataset], tuning: Input[List[Artifact]], tuning_plan: Input[Artifact],
    task: dict, evaluate: dict, preference: dict, vertex: dict,
    predictions: Output[Dataset], report: Output[Artifact], metrics: Output[Metrics],
    confusion: Output[ClassificationMetrics],
    start: Input[Artifact] = None,
):
    """Evaluate the checkpoints of all trials on validation rows."""
    from gemtune.steps import evaluate as step, output, sections

    summary = step.run_checkpoints(
        validation.path, train.path, [record.path for record in tuning], tuning_plan.path, output(predictions),
        output(report), start.path if start else "", **sections(locals()),
    )
    metrics.metadata.update(summary["metrics"])
    confusion.metadata.update(summary["confusion"])


@component
def evaluate_finalists(
    test: Input[Dataset], train: Input[Dataset], selection: Input[Artifact],
    task: dict, evaluate: dict, preference: dict, vertex: dict,
    name: str,
    predictions: Output[Dataset], report: Output[Artifact], metrics: Output[Metrics],
    confusion: Output[ClassificationMetrics],
):
    """Evaluate best prompt, candidate and champion on test rows."""
    from gemtune.steps import evaluate as step, output, sections

    summary = step.run_finalists(
        test.path, train.path, selection.path, name, output(predictions), output(report), **sections(locals()),
    )
    metrics.metadata.update(summary["metrics"])
    confusion.metadata.update(summary["confusion"])


@component
def plan_tuning(
    evaluated: Input[Artifact], train: Input[Dataset], validation: Input[Dataset], test: Input[Dataset],
    task: dict, evaluate: dict, plan: dict, gate: dict, hard_examples: dict, escalation: dict, preference: dict,
    vertex: dict,
    name: str,
    tuning_plan: Output[Artifact],
    spent: Input[Artifact] = None,
) -> NamedTuple("Planned", [("should_tune", bool), ("trials", List[dict]), ("first_trial", dict)]):
    """Find the best prompt, decide whether tuning is worth trying, forecast the cost, list the trials."""
    from gemtune.steps import plan_tuning as step, output, sections

    planned = step.run(
        [train.path, validation.path, test.path], evaluated.path, output(tuning_plan), name,
        spent.path if spent else "", **sections(locals()),
    )
    return planned["should_tune"], planned["trials"], planned["first_trial"]


@component
def reweight_hard_examples(
    train: Input[Dataset], validation: Input[Dataset], tuning_plan: Input[Artifact],
    task: dict, evaluate: dict, hard_examples: dict, vertex: dict,
    reweighted: Output[Dataset], marked: Output[Dataset], report: Output[Artifact], metrics: Output[Metrics],
):
    """Repeat training rows that the best prompt answers wrongly; mark validation rows near them."""
    from gemtune.steps import reweight as step, output, sections

    metrics.metadata.update(step.run(
        train.path, validation.path, tuning_plan.path, output(reweighted), output(marked), output(report),
        **sections(locals()),
    ))


@component
def tune(
    train: Input[Dataset], validation: Input[Dataset],
    trial: dict,
    task: dict, evaluate: dict, tune: dict, preference: dict, vertex: dict,
    name: str,
    job: Output[Artifact], events: Output[Artifact], metrics: Output[Metrics],
    reweighted: Input[Dataset] = None, start: Input[Artifact] = None,
):
    """Tune with a trial's method and hyperparameters, from the supervised job's checkpoint if there is one."""
    from gemtune.steps import tune as step, output, sections

    metrics.metadata.update(step.run(
        train.path, validation.path, trial, name, output(job), events.path, reweighted.path if reweighted else "",
        start.path if start else "", **sections(locals()),
    ))


@component
def tune_supervised(
    train: Input[Dataset], validation: Input[Dataset],
    trial: dict,
    task: dict, evaluate: dict, tune: dict, preference: dict, vertex: dict,
    name: str,
    job: Output[Artifact], events: Output[Artifact], metrics: Output[Metrics],
):
    """Tune the supervised model that preference trials start from; nothing where none is planned."""
    from gemtune.steps import tune as step, output, sections

    metrics.metadata.update(step.run_start(
        train.path, validation.path, trial, name, output(job), events.path, **sections(locals()),
    ))


@component
def try_larger_models(
    tuning: Input[List[Artifact]], evaluated: Input[Artifact], train: Input[Dataset], validation: Input[Dataset],
    tuning_plan: Input[Artifact],
    task: dict, evaluate: dict, tune: dict, escalation: dict, select: dict, vertex: dict,
    name: str,
    job: Output[Artifact], report: Output[Artifact], events: Output[Artifact], metrics: Output[Metrics],
    reweighted: Input[Dataset] = None,
):
    """Tune and evaluate larger models with the best hyperparameters so far, until a reason to stop applies."""
    from gemtune.steps import escalation as step, output, sections

    metrics.metadata.update(step.run(
        {
            "train": train.path, "reweighted": reweighted.path if reweighted else "", "validation": validation.path,
            "plan": tuning_plan.path, "job": output(job), "report": output(report), "events": events.path,
        },
        [record.path for record in tuning], evaluated.path, name, **sections(locals()),
    ))


@component
def select_model(
    tuning_plan: Input[Artifact],
    task: dict, evaluate: dict, select: dict, preference: dict, vertex: dict,
    name: str,
    selection: Output[Artifact],
    tuning: Input[List[Artifact]] = None, evaluated: Input[Artifact] = None, start: Input[Artifact] = None,
    larger_tuning: Input[Artifact] = None, larger_report: Input[Artifact] = None, spent: Input[Artifact] = None,
) -> str:
    """Select the candidate on validation rows; gives the URI of the selection. Without tuning there is no candidate."""
    from gemtune.steps import select_model as step, output, sections

    step.run(
        tuning_plan.path, output(selection), name, [record.path for record in tuning or []],
        evaluated.path if evaluated else "", start.path if start else "",
        (larger_tuning.path if larger_tuning else "", larger_report.path if larger_report else ""),
        spent.path if spent else "", **sections(locals()),
    )
    return selection.uri


@component
def gate(
    predictions: Input[Dataset], selection: Input[Artifact], tuning_plan: Input[Artifact], tested: Input[Artifact],
    task: dict, gate: dict, preference: dict,
    decision: Output[Artifact],
) -> bool:
    """Decide from paired test predictions whether the candidate may be deployed."""
    from gemtune.steps import gate as step, output, sections

    return step.run(
        predictions.path, selection.path, tuning_plan.path, tested.path, output(decision), **sections(locals()),
    )


@component
def deploy(
    decision: Input[Artifact], selection: Input[Artifact], train: Input[Dataset], test: Input[Dataset],
    predictions: Input[Dataset], leakage_report: Input[Artifact],
    deploy: dict, evaluate: dict, preprocess: dict, vertex: dict,
    name: str,
    deployment: Output[Artifact],
) -> dict:
    """Deploy the candidate: alias, default checkpoint, recorded endpoint; the previous champion stays deployed."""
    from gemtune.steps import deploy as step, output, sections

    return step.run(
        decision.path, selection.path, name, output(deployment), (train.path, test.path), predictions.path,
        leakage_report.path, **sections(locals()),
    )


@component
def keep_current_model(
    decision: Input[Artifact], selection: Input[Artifact], train: Input[Dataset], test: Input[Dataset],
    predictions: Input[Dataset],
    deploy: dict, evaluate: dict, preprocess: dict, vertex: dict,
    name: str,
    deployment: Output[Artifact],
) -> dict:
    """Change nothing in production; propose a prompt that is to be used; undeploy the checkpoints of the trials."""
    from gemtune.steps import deploy as step, output, sections

    return step.keep_current(
        decision.path, selection.path, name, output(deployment), (train.path, test.path), predictions.path,
        **sections(locals()),
    )


@component
def report(
    data_report: Input[Artifact], split_report: Input[Artifact], leakage_report: Input[Artifact],
    tuning_plan: Input[Artifact], selection: Input[Artifact], tested: Input[Artifact], predictions: Input[Dataset],
    train: Input[Dataset], validation: Input[Dataset], test: Input[Dataset], decision: Input[Artifact],
    budget: Input[Artifact], dropped: Input[Dataset],
    outcome: dict, name: str, job: str, started: str,
    task: dict, preprocess: dict, split: dict, augment: dict, evaluate: dict, plan: dict, hard_examples: dict,
    tune: dict, escalation: dict, select: dict, preference: dict, gate: dict, deploy: dict, vertex: dict,
    reporting: dict,
    page: Output[HTML], verdict: Output[Markdown], summary: Output[Artifact], manifest: Output[Artifact],
):
    """Write the report: decision, scores, costs, data and splits; record what was decided on."""
    from gemtune.steps import report as step, output, sections

    step.run(
        {
            "data": data_report.path, "split": split_report.path, "leakage": leakage_report.path,
            "plan": tuning_plan.path, "selection": selection.path, "tested": tested.path,
            "predictions": predictions.path, "train": train.path, "validation": validation.path, "test": test.path,
            "decision": decision.path, "budget": budget.path, "dropped": dropped.path,
        },
        outcome, name, (job, started),
        {"page": output(page), "verdict": output(verdict), "summary": output(summary), "manifest": output(manifest)},
        **sections(locals()),
    )


@component
def report_unchanged(
    budget: Input[Artifact],
    job: str, started: str,
    vertex: dict, reporting: dict,
    page: Output[HTML], verdict: Output[Markdown], summary: Output[Artifact], manifest: Output[Artifact],
):
    """Write the report of a run that found nothing new: the last decision, and why nothing was evaluated."""
    from gemtune.steps import report as step, output, sections

    step.run_unchanged(
        budget.path, (job, started),
        {"page": output(page), "verdict": output(verdict), "summary": output(summary), "manifest": output(manifest)},
        **sections(locals()),
    )
