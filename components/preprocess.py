# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Raw rows to examples; dropped rows are listed with their reason."""

from typing import NamedTuple

from kfp.dsl import Artifact, Dataset, Metrics, Output

from components.base import component


@component
def prepare_dataflow_job(data: str, task: dict, config: dict, vertex: dict) -> NamedTuple(
    "DataflowJob", [("location", str), ("template", str), ("parameters", dict), ("kept", str), ("dropped", str)]
):
    """Parameters of the Dataflow job that deduplicates the data before it is preprocessed.

    Args:
        data: gs:// URI of JSONL rows.
        task: Section `task` of the configuration.
        config: Section `preprocess`.
        vertex: Section `vertex`.
    """
    from gemtune.steps import preprocess

    job = preprocess.prepare_dataflow_job(data, task, config, vertex)
    return job.location, job.template, job.parameters, job.kept, job.dropped


@component
def preprocess(
    data: str,
    task: dict,
    config: dict,
    vertex: dict,
    dataflow_dropped: str,
    examples: Output[Dataset],
    dropped: Output[Dataset],
    report: Output[Artifact],
    metrics: Output[Metrics],
):
    """Read labelled rows in any accepted format; validate, clean and deduplicate them.

    Args:
        data: Local path or gs:// URI of the labelled rows.
        task: Section `task` of the configuration.
        config: Section `preprocess`.
        vertex: Section `vertex`.
        dataflow_dropped: gs:// URI of the rows that a Dataflow job dropped; empty when none ran.
    """
    from gemtune.steps import preprocess

    summary = preprocess.run(data, task, config, examples.path, dropped.path, report.path, vertex, dataflow_dropped)
    metrics.metadata.update(summary)
