# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Deploy the candidate, with a rollback; or keep the current model."""

from kfp.dsl import Artifact, Dataset, Input, Output

from components.base import component


@component
def deploy(
    decision: Input[Artifact],
    selection: Input[Artifact],
    train: Input[Dataset],
    test: Input[Dataset],
    predictions: Input[Dataset],
    leakage_report: Input[Artifact],
    deploy: dict,
    evaluate: dict,
    preprocess: dict,
    vertex: dict,
    name: str,
    deployment: Output[Artifact],
) -> dict:
    """Deploy the candidate: alias, default checkpoint, recorded endpoint; the previous champion stays deployed."""
    from gemtune.steps import deploy as step

    deployment.path += ".json"

    return step.run(
        decision.path,
        selection.path,
        name,
        deployment.path,
        (train.path, test.path),
        predictions.path,
        leakage_report.path,
        deploy=deploy,
        evaluate=evaluate,
        preprocess=preprocess,
        vertex=vertex,
    )


@component
def keep_current_model(
    decision: Input[Artifact],
    selection: Input[Artifact],
    train: Input[Dataset],
    test: Input[Dataset],
    predictions: Input[Dataset],
    deploy: dict,
    evaluate: dict,
    preprocess: dict,
    vertex: dict,
    name: str,
    deployment: Output[Artifact],
) -> dict:
    """Change nothing in production; propose a prompt that is to be used; undeploy the checkpoints of the trials."""
    from gemtune.steps import deploy as step

    deployment.path += ".json"

    return step.keep_current(
        decision.path,
        selection.path,
        name,
        deployment.path,
        (train.path, test.path),
        predictions.path,
        deploy=deploy,
        evaluate=evaluate,
        preprocess=preprocess,
        vertex=vertex,
    )
