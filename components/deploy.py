# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Into service, with a way back; or not, and what stays."""

from kfp.dsl import Artifact, Dataset, Input, Output

from components.base import component


@component
def deploy(
    decision: Input[Artifact],
    picked: Input[Artifact],
    config: dict,
    vertex: dict,
    name: str,
    test: Input[Dataset],
    leakage_report: Input[Artifact],
    preprocess: dict,
    endpoint: Output[Artifact],
) -> dict:
    """Put the candidate into service: alias, default checkpoint, recorded endpoint; with a way back.

    Args:
        decision: What the gate decided.
        picked: Best prompt, candidate, champion, and every checkpoint that lost.
        config: Section `deploy` of the configuration.
        vertex: Section `vertex`.
        name: The run's name.
        test: The rows that decided, kept for asking later models what they forgot.
        certificate: What the splits have in common; kept with the model.
        preprocess: Section `preprocess`; its cleaning rules are recorded with the model, for serving to apply.
    """
    from gemtune.steps import deploy

    return deploy.run(
        decision.path, picked.path, config, vertex, name, endpoint.path, test.path, preprocess, leakage_report.path
    )


@component
def keep(
    decision: Input[Artifact],
    picked: Input[Artifact],
    config: dict,
    vertex: dict,
    name: str,
    preprocess: dict,
    endpoint: Output[Artifact],
) -> dict:
    """Change nothing in service; say what serves and remove what the trials left behind.

    Args:
        decision: What the gate decided.
        picked: Best prompt, candidate, champion, and every checkpoint that lost.
        config: Section `deploy` of the configuration.
        vertex: Section `vertex`.
        name: The run's name.
        preprocess: Section `preprocess`; its cleaning rules go with the prompt that stays.
    """
    from gemtune.steps import deploy

    return deploy.keep(decision.path, picked.path, config, vertex, name, endpoint.path, preprocess)
