# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""What a reason to retrain starts."""

from kfp.dsl import Artifact, Input

from components.base import component


@component
def start_retraining(
    retraining_decision: Input[Artifact],
    monitor: dict,
    notify: dict,
    vertex: dict,
    name: str,
    includes_tuning: bool,
    retraining_job: str,
) -> bool:
    """Log a reason to retrain as JSON, and notify, in counts only; returns whether this pipeline is to retrain."""
    from gemtune.steps import start_retraining as step

    decision = (retraining_decision.path, retraining_decision.uri)
    return step.run(*decision, name, includes_tuning, retraining_job, monitor=monitor, notify=notify, vertex=vertex)
