# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The verdict of a monitoring run."""

from kfp.dsl import Artifact, Input, Output

from components.base import component


@component
def decide_retraining(
    drift: Input[Artifact],
    quality: Input[Artifact],
    monitor: dict,
    vertex: dict,
    name: str,
    now: str,
    new_baseline: bool,
    retraining_job: str,
    retraining_decision: Output[Artifact],
) -> str:
    """Decide whether there is a reason to retrain, and keep the windows for the next run."""
    from gemtune.steps import decide_retraining as step

    retraining_decision.path += ".json"

    return step.run(
        drift.path,
        quality.path,
        retraining_decision.path,
        name,
        now,
        new_baseline,
        retraining_job,
        monitor=monitor,
        vertex=vertex,
    )
