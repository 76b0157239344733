# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Raw rows to examples; every dropped row is listed with its reason."""

from typing import NamedTuple

from kfp.dsl import Artifact, Dataset, Metrics, Output

from components.base import component


@component
def prepare_dataflow_job(data: str, name: str, task: dict, preprocess: dict, vertex: dict) -> NamedTuple(
    "DataflowJob",
    [
        ("job_name", str),
        ("project", str),
        ("location", str),
        ("temp_location", str),
        ("service_account", str),
        ("subnetwork", str),
        ("template", str),
        ("parameters", dict),
        ("kept", str),
        ("dropped", str),
    ],
):
    """Prepare the Dataflow job that deduplicates the data: name, place, identity, template and parameters."""
    from gemtune.steps import preprocess as step

    return step.prepare_dataflow_job(data, name, task=task, preprocess=preprocess, vertex=vertex)


@component
def preprocess(
    data: str,
    task: dict,
    preprocess: dict,
    vertex: dict,
    examples: Output[Dataset],
    dropped: Output[Dataset],
    report: Output[Artifact],
    metrics: Output[Metrics],
    dataflow_dropped: str = "",
):
    """Read labelled rows in any accepted format, validate, normalise and deduplicate them."""
    from gemtune.steps import preprocess as step

    examples.path += ".jsonl"
    dropped.path += ".jsonl"
    report.path += ".json"

    summary = step.run(
        data,
        examples.path,
        dropped.path,
        report.path,
        dataflow_dropped,
        task=task,
        preprocess=preprocess,
        vertex=vertex,
    )
    metrics.metadata.update(summary)
