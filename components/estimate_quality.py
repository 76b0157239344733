# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The quality of production answers, from labels of a sample."""

from kfp.dsl import Artifact, Dataset, Input, Output

from components.base import component


@component
def estimate_quality(
    rows: Input[Dataset],
    drift: Input[Artifact],
    evaluate: dict,
    monitor: dict,
    vertex: dict,
    name: str,
    quality: Output[Artifact],
    annotations: Output[Dataset],
):
    """Estimate quality by the labels that there are, and draw rows for people to label."""
    from gemtune.steps import estimate_quality as step

    quality.path += ".json"
    annotations.path += ".csv"

    paths = (rows.path, drift.path, quality.path, annotations.path)
    step.run(*paths, name, evaluate=evaluate, monitor=monitor, vertex=vertex)
