# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Preference tuning: pairs, a plan, two kinds of jobs, the choice and the decision by win rates."""

from typing import List, NamedTuple

from kfp.dsl import Artifact, Dataset, Input, Metrics, Output

from components.base import component


@component
def gather(
    data: str,
    task: dict,
    preprocess: dict,
    config: dict,
    evaluate: dict,
    plan: dict,
    vertex: dict,
    examples: Output[Dataset],
    pairs: Output[Dataset],
    dropped: Output[Dataset],
    report: Output[Artifact],
    metrics: Output[Metrics],
):
    """Read pairs, or make them from the model's own answers; validate, deduplicate, settle contradictions.

    Args:
        data: Local path or gs:// URI of the pairs, or of labelled rows.
        task: Section `task` of the configuration.
        preprocess: Section `preprocess`.
        config: Section `preference`.
        evaluate: Section `evaluate` (model and judge, when pairs are made).
        plan: Section `plan` (the spend limit).
        vertex: Section `vertex`.
    """
    from gemtune.steps import preference

    summary = preference.gather(
        data,
        examples.path,
        pairs.path,
        dropped.path,
        report.path,
        task=task,
        preprocess=preprocess,
        preference=config,
        evaluate=evaluate,
        plan=plan,
        vertex=vertex,
    )
    metrics.metadata.update(summary)


@component
def plan_pairs(
    reports: Input[List[Artifact]],
    predictions: Input[List[Dataset]],
    gathered: Input[Artifact],
    train: Input[Dataset],
    validation: Input[Dataset],
    test: Input[Dataset],
    pairs: Input[Dataset],
    task: dict,
    evaluate: dict,
    config: dict,
    plan: dict,
    vertex: dict,
    name: str,
    planned: Output[Artifact],
) -> NamedTuple("Planned", [("worthwhile", bool), ("supervised", dict), ("trials", list), ("best_prompt", dict)]):
    """Pick the best prompt by win rate, forecast the bill, list the jobs, or say why none is worth it.

    Args:
        reports: The prompted baselines' reports on validation data.
        predictions: Their answers.
        gathered: What gathering the pairs has spent.
        train: Prompts to tune on.
        validation: Prompts that choose.
        test: Prompts that decide; only counted here.
        pairs: The better and worse answers of all prompts.
        task: Section `task` of the configuration.
        evaluate: Section `evaluate`.
        config: Section `preference`.
        plan: Section `plan`.
        vertex: Section `vertex`.
        name: The run's name.
    """
    from gemtune.steps import preference

    told = preference.plan(
        [report.path for report in reports],
        [prediction.path for prediction in predictions],
        gathered.path,
        [train.path, validation.path, test.path],
        pairs.path,
        name,
        planned.path,
        task=task,
        evaluate=evaluate,
        preference=config,
        plan=plan,
        vertex=vertex,
    )
    return told["worthwhile"], told["supervised"], told["trials"], told["best_prompt"]


@component
def supervise(
    train: Input[Dataset],
    validation: Input[Dataset],
    pairs: Input[Dataset],
    trial: dict,
    task: dict,
    evaluate: dict,
    config: dict,
    vertex: dict,
    name: str,
    job: Output[Artifact],
    metrics: Output[Metrics],
) -> dict:
    """Tune on the better answers first; gives the checkpoint of the lowest validation loss, or nothing.

    Args:
        train: Prompts to tune on.
        validation: Prompts the service computes validation loss on.
        pairs: Their answers.
        trial: Hyperparameters of this job; empty when none is wanted.
        task: Section `task` of the configuration.
        evaluate: Section `evaluate` (names the base model).
        config: Section `tune`.
        vertex: Section `vertex`.
        name: The run's name.
    """
    from gemtune.steps import preference

    tuned = preference.supervise(
        train.path,
        validation.path,
        pairs.path,
        trial,
        name,
        job.path,
        task=task,
        evaluate=evaluate,
        tune=config,
        vertex=vertex,
    )
    metrics.metadata.update(tuned["metrics"])
    return tuned["start"]


@component
def prefer(
    train: Input[Dataset],
    validation: Input[Dataset],
    pairs: Input[Dataset],
    supervised: Input[Artifact],
    trial: dict,
    task: dict,
    evaluate: dict,
    config: dict,
    vertex: dict,
    name: str,
    job: Output[Artifact],
    metrics: Output[Metrics],
):
    """Tune on pairs, from the supervised checkpoint if there is one.

    Args:
        train: Prompts to tune on.
        validation: Prompts the service computes validation loss on.
        pairs: Their better and worse answers.
        supervised: The job that came first, and the checkpoint to go on from.
        trial: Hyperparameters of this job, beta among them.
        task: Section `task` of the configuration.
        evaluate: Section `evaluate` (names the base model).
        config: Section `tune`.
        vertex: Section `vertex`.
        name: The run's name.
    """
    from gemtune.steps import preference

    told = preference.prefer(
        train.path,
        validation.path,
        pairs.path,
        trial,
        supervised.path,
        name,
        job.path,
        task=task,
        evaluate=evaluate,
        tune=config,
        vertex=vertex,
    )
    metrics.metadata.update(told)


@component
def line_up(jobs: Input[List[Artifact]], start: dict, best_prompt: dict) -> list:
    """List who is asked the validation prompts: best prompt, supervised model, every checkpoint of every trial.

    Args:
        jobs: The trials' tuning jobs.
        start: The supervised checkpoint, if there is one.
        best_prompt: The prompted opponent.
    """
    from gemtune.steps import preference

    return preference.line_up([job.path for job in jobs], start, best_prompt)


@component
def choose(
    supervised: Input[Artifact],
    jobs: Input[List[Artifact]],
    predictions: Input[Dataset],
    examples: Input[Dataset],
    pairs: Input[Dataset],
    variants: list,
    task: dict,
    evaluate: dict,
    config: dict,
    pick: dict,
    deploy: dict,
    vertex: dict,
    name: str,
    picked: Output[Artifact],
) -> list:
    """Choose the candidate among all checkpoints by win rate on validation prompts.

    Args:
        supervised: The supervised job.
        jobs: The trials' tuning jobs.
        predictions: Everyone's answers on validation prompts.
        examples: The validation prompts.
        pairs: Their better and worse answers.
        variants: Who answered.
        task: Section `task` of the configuration.
        evaluate: Section `evaluate` (the judge).
        config: Section `preference`.
        pick: Section `pick`.
        deploy: Section `deploy` (names the model in service).
        vertex: Section `vertex`.
        name: The run's name.
    """
    from gemtune.steps import preference

    return preference.choose(
        supervised.path,
        [job.path for job in jobs],
        predictions.path,
        examples.path,
        pairs.path,
        variants,
        name,
        picked.path,
        task=task,
        evaluate=evaluate,
        preference=config,
        pick=pick,
        deploy=deploy,
        vertex=vertex,
    )


@component
def choose_without_tuning(best_prompt: dict, deploy: dict, vertex: dict, name: str, picked: Output[Artifact]) -> list:
    """Line up the best prompt and the model in service when no tuning was worth trying.

    Args:
        best_prompt: The prompted opponent.
        deploy: Section `deploy` (names the model in service).
        vertex: Section `vertex`.
        name: The run's name.
    """
    from gemtune.steps import preference

    return preference.choose_without_tuning(best_prompt, name, picked.path, deploy=deploy, vertex=vertex)


@component
def decide(
    tested: Input[Artifact],
    predictions: Input[Dataset],
    examples: Input[Dataset],
    pairs: Input[Dataset],
    variants: list,
    plan: Input[Artifact],
    task: dict,
    evaluate: dict,
    config: dict,
    gate: dict,
    vertex: dict,
    decision: Output[Artifact],
    report: Output[Artifact],
) -> bool:
    """Decide from win rates on held-out test prompts whether the candidate may serve.

    Args:
        tested: The evaluation's report on the test prompts.
        predictions: Every variant's answers.
        examples: The test prompts.
        pairs: Their better and worse answers.
        variants: Best prompt, supervised model, candidate, champion.
        plan: The plan, for its prices.
        task: Section `task` of the configuration.
        evaluate: Section `evaluate` (the judge).
        config: Section `preference`.
        gate: Section `gate`.
        vertex: Section `vertex`.
    """
    from gemtune.steps import preference

    return preference.decide(
        tested.path,
        predictions.path,
        examples.path,
        pairs.path,
        variants,
        plan.path,
        decision.path,
        report.path,
        task=task,
        evaluate=evaluate,
        preference=config,
        gate=gate,
        vertex=vertex,
    )
