# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Raw rows become examples; what leaves is kept with its reason."""

from typing import NamedTuple

from kfp.dsl import Artifact, Dataset, Metrics, Output

from components.base import component


@component
def measure(data: str, config: dict, vertex: dict) -> NamedTuple(
    "Measured", [("large", bool), ("kept", str), ("location", str), ("template", str), ("parameters", dict)]
):
    """Say whether the data is more than one machine should hold, and what Dataflow is told about it then.

    Args:
        data: Local path or gs:// URI of the labelled rows.
        config: Section `preprocess`.
        vertex: Section `vertex`.
    """
    from gemtune import preprocess

    volume = preprocess.measure(data, config, vertex)
    return volume.large, volume.kept, volume.location, volume.template, volume.parameters


@component
def settle(data: str) -> str:
    """Hand on what is read from here on: the data itself, or what Dataflow kept of it.

    Args:
        data: Local path or gs:// URI.
    """
    from gemtune import preprocess

    return preprocess.settled(data)


@component
def preprocess(
    data: str,
    task: dict,
    config: dict,
    examples: Output[Dataset],
    dropped: Output[Dataset],
    report: Output[Artifact],
    metrics: Output[Metrics],
):
    """Read labelled rows in any accepted shape, validate, normalise and deduplicate them.

    Args:
        data: Local path or gs:// URI of the labelled rows.
        task: Section `task` of the configuration.
        config: Section `preprocess`.
    """
    from gemtune import preprocess

    summary = preprocess.run(data, task, config, examples.path, dropped.path, report.path)
    metrics.metadata.update(summary)
