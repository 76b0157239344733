# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The Dataflow job that deduplicates a source before preprocessing (`preprocess.runner: dataflow`).

A job reads JSONL objects in Cloud Storage (`dataflow_dedup`). Its output folder is named by the source's content and
the settings, so a repeated run finds the same place. Guarantees: dropped rows are counted with their reasons and held
against the same limits as without Dataflow.
"""

from __future__ import annotations

import json
import secrets
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from gemtune.config import JsonObject, Preprocess, Task, Vertex, fingerprint
from gemtune.data.duplicates import enforce_removal_limits
from gemtune.data.example import RejectedRow
from gemtune.errors import UserError
from gemtune.vertex import connect, storage

JSONL = (".jsonl", ".ndjson", ".json")
EXACT_REASONS = ("exact_duplicate", "label_conflict")


class DataflowJob(NamedTuple):
    """A job's name, place, identity, Flex Template and parameters, and the gs:// URIs of its kept and dropped rows."""

    job_name: str
    project: str
    location: str
    temp_location: str
    service_account: str
    subnetwork: str
    template: str
    parameters: dict[str, str]
    kept: str
    dropped: str


def dataflow_parameters(data: str, name: str, task: Task, config: Preprocess, vertex: Vertex) -> DataflowJob:
    """The job for a source, with a name of its own, since a region has one active job of a name.

    Raises `UserError` for a source or settings that a Dataflow job cannot read.
    """
    require_dataflow_settings(data, config)
    client = connect(vertex)
    generations = [storage.stat(client, uri) for uri in (data, config.test_data, config.corrections) if uri]
    sections = {"task": task, "preprocess": config}
    settings = {name: section.model_dump(mode="json", exclude_defaults=True) for name, section in sections.items()}
    folder = f"gs://{client.bucket}/deduplicated/{fingerprint(data, generations, settings)}"
    files = {"input": data, "kept": f"{folder}/kept.jsonl", "dropped": f"{folder}/dropped.jsonl"}
    parameters = {**files, "settings": json.dumps(settings, sort_keys=True)}
    return DataflowJob(
        job_name=f"gemtune-{name}-{secrets.token_hex(4)}",
        project=client.project,
        location=client.location,
        temp_location=f"gs://{client.bucket}/dataflow",
        service_account=config.dataflow_service_account,
        subnetwork=config.dataflow_subnetwork,
        template=config.dataflow_template,
        parameters=parameters,
        kept=files["kept"],
        dropped=files["dropped"],
    )


def require_dataflow_settings(data: str, config: Preprocess) -> None:
    """Raise `UserError` for a source or settings that a Dataflow job cannot read."""
    if not data.startswith("gs://") or not data.endswith(JSONL):
        raise UserError("Dataflow reads JSONL objects only", file=data, remedy="upload it as gs://BUCKET/NAME.jsonl")
    if not config.jaccard_threshold:
        remedy = "set preprocess.jaccard_threshold, or preprocess.runner to local"
        raise UserError("preprocess.jaccard_threshold is 0: Dataflow has nothing to search", remedy=remedy)
    for name in ("test_data", "corrections"):
        uri = getattr(config, name)
        if uri and not uri.startswith("gs://"):
            raise UserError(f"preprocess.{name} is {uri!r}, which Dataflow cannot read", remedy="upload it to a bucket")
    if config.pii_detector == "dlp" and config.pii in ("mask", "drop"):
        remedy = "mask the data before, or set preprocess.runner to local"
        raise UserError("Dataflow does not support preprocess.pii_detector=dlp", remedy=remedy)


def require_local_runner(config: Preprocess) -> None:
    """Raise `UserError` for preference pairs on Dataflow, which compares labelled rows only."""
    if config.runner != "local":
        remedy = "set preprocess.runner to local, and deduplicate a larger file beforehand"
        raise UserError(f"preprocess.runner={config.runner} does not support preference pairs", remedy=remedy)


def read_dropped(path: str | Path) -> Iterator[RejectedRow]:
    """The rows that a Dataflow job dropped, from its file, one at a time."""
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            row: JsonObject = json.loads(line)
            yield RejectedRow(0, row["reason"], row["detail"], row["row"], kept_id=row["kept_id"])


def count_dropped(path: str | Path, kept: int, config: Preprocess) -> Counter[str]:
    """Rows that a Dataflow job dropped, by reason; `kept` is how many it kept.

    Raises `UserError` when it removed more than `preprocess.max_removed_share` and `max_cluster` allow.
    """
    reasons, sizes, details = Counter[str](), Counter[tuple[bool, str]](), dict[tuple[bool, str], str]()
    for row in read_dropped(path):
        reasons[row.reason] += 1
        if row.kept_id:
            cluster = (row.reason in EXACT_REASONS, row.kept_id)
            sizes[cluster] += 1
            details.setdefault(cluster, row.detail)
    near = sum(count for reason, count in reasons.items() if reason not in EXACT_REASONS)
    for rule, exact, before, after in (
        ("exact deduplication on Dataflow", True, kept + reasons.total(), kept + near),
        ("near-deduplication on Dataflow", False, kept + near, kept),
    ):
        largest = max((key for key in sizes if key[0] == exact), key=lambda key: sizes[key], default=None)
        size, detail = (sizes[largest], details[largest]) if largest else (0, "")
        enforce_removal_limits(before, after, rule, config, size, detail)
    return reasons
