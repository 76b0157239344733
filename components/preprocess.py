# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Raw rows become examples; what leaves is kept with its reason."""

from typing import NamedTuple

from kfp.dsl import Artifact, Dataset, Metrics, Output

from components.base import component


@component
def measure(data: str, task: dict, config: dict, vertex: dict) -> NamedTuple(
    "Measured",
    [("large", bool), ("kept", str), ("dropped", str), ("location", str), ("template", str), ("parameters", dict)],
):
    """Say whether the data is more than one machine should hold, and what Dataflow is told about it then.

    Args:
        data: Local path or gs:// URI of the labelled rows.
        task: Section `task` of the configuration.
        config: Section `preprocess`.
        vertex: Section `vertex`.
    """
    from gemtune.steps import preprocess

    volume = preprocess.measure(data, task, config, vertex)
    return volume.large, volume.kept, volume.dropped, volume.location, volume.template, volume.parameters


@component
def settle(data: str, dropped: str) -> NamedTuple("Settled", [("rows", str), ("thinned", str)]):
    """Hand on what is read from here on: the data itself, or what Dataflow kept of it.

    Args:
        data: Local path or gs:// URI.
        dropped: What Dataflow dropped; empty when it was not asked.
    """
    from gemtune.steps import preprocess

    return preprocess.settled(data, dropped)


@component
def preprocess(
    data: str,
    task: dict,
    config: dict,
    vertex: dict,
    thinned: str,
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
        vertex: Section `vertex`.
        thinned: What Dataflow dropped before; empty when it was not asked.
    """
    from gemtune.steps import preprocess

    summary = preprocess.run(data, task, config, examples.path, dropped.path, report.path, vertex, thinned)
    metrics.metadata.update(summary)
