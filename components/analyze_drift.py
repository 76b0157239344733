# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Production windows against the tuned prompt and against the windows of the past."""

from kfp.dsl import Artifact, Dataset, Input, Output

from components.base import component


@component
def analyze_drift(
    rows: Input[Dataset],
    counts: Input[Artifact],
    gate: dict,
    monitor: dict,
    vertex: dict,
    name: str,
    drift: Output[Artifact],
):
    """Check prompts, answers, similarity to the training rows, confidence and labels of each window."""
    from gemtune.steps import analyze_drift as step

    drift.path += ".json"

    step.run(rows.path, counts.path, drift.path, name, gate=gate, monitor=monitor, vertex=vertex)
