# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The production logs of the windows since the last monitoring run."""

from kfp.dsl import Artifact, Dataset, Output

from components.base import component


@component
def load_logs(monitor: dict, vertex: dict, name: str, now: str, rows: Output[Dataset], counts: Output[Artifact]):
    """Read the champion's logged requests of every complete window that was not examined yet."""
    from gemtune.steps import load_logs as step

    rows.path += ".jsonl"
    counts.path += ".json"

    step.run(rows.path, counts.path, name, now, monitor=monitor, vertex=vertex)
