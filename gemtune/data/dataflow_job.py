# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Is a source more than one machine should hold, what is a Dataflow job told that thins it out first, what did it drop.

Only JSONL objects in Cloud Storage are handed to Dataflow (`dedup.beam`), and only when a template is configured. What
it keeps lies under a name that the source's content decides, so a repeated run finds the same place. Promise: what it
dropped is counted with its reasons and held against the same limits as on one machine.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gemtune.config import Preprocess, Task, Vertex, fingerprint
from gemtune.data.duplicates import enforce_removal_limits
from gemtune.data.example import RejectedRow
from gemtune.errors import UserError
from gemtune.vertex import connect, location, storage, with_retries

GIB = 1 << 30
SAME_TEXT = ("exact_duplicate", "label_conflict")


@dataclass(frozen=True, slots=True)
class Volume:
    """Whether the source is too large, where its kept and its dropped rows will lie ("" for none), and the job's place,
    template and parameters.
    """

    large: bool
    kept: str
    dropped: str
    location: str
    template: str
    parameters: dict[str, str]


def measured(data: str, task: Task, config: Preprocess, vertex: Vertex) -> Volume:
    """What becomes of a source. Looks at its size only when a template is configured and it lies in a bucket.

    Raises `UserError` for settings that a Dataflow job cannot follow.
    """
    jsonl = data.startswith("gs://") and data.rsplit(".", 1)[-1] in ("jsonl", "ndjson", "json")
    if not config.dataflow_template or not config.jaccard_threshold or not jsonl:
        return Volume(False, data, "", location(vertex), "", {})
    client = connect(vertex)
    size, generation = with_retries(storage.size, client, data)
    if size <= config.dataflow_above_gib * GIB:
        return Volume(False, data, "", client.location, "", {})
    _possible(config)
    given = [with_retries(storage.size, client, uri) for uri in (config.test_data, config.corrections) if uri]
    sections = {"task": task, "preprocess": config}
    settings = {name: section.model_dump(mode="json", exclude_defaults=True) for name, section in sections.items()}
    folder = f"gs://{client.bucket}/thinned/{fingerprint(data, generation, given, settings)}"
    files = {"input": data, "kept": f"{folder}/kept.jsonl", "dropped": f"{folder}/dropped.jsonl"}
    told = {**files, "settings": json.dumps(settings, sort_keys=True)}
    return Volume(True, files["kept"], files["dropped"], client.location, config.dataflow_template, told)


def _possible(config: Preprocess) -> None:
    for name in ("test_data", "corrections"):
        uri = getattr(config, name)
        if uri and not uri.startswith("gs://"):
            raise UserError(f"preprocess.{name} is {uri!r}, which Dataflow cannot read", remedy="put it in a bucket")
    if config.pii_detector == "dlp" and config.pii in ("mask", "drop"):
        remedy = "mask beforehand, or set preprocess.dataflow_above_gib higher"
        raise UserError(
            "a Dataflow job does not ask Sensitive Data Protection (preprocess.pii_detector)", remedy=remedy
        )


def require_one_machine(data: str, task: Task, config: Preprocess, vertex: Vertex) -> None:
    """Raises `UserError` when the source would go through Dataflow, for callers who compare what Dataflow cannot."""
    if measured(data, task, config, vertex).large:
        remedy = "thin the file out beforehand, or set preprocess.dataflow_above_gib higher if one machine holds it"
        raise UserError(
            f"more than {config.dataflow_above_gib:g} GiB, and Dataflow compares labelled rows, not pairs",
            file=data,
            remedy=remedy,
        )


def dropped_before(path: str | Path) -> Iterator[RejectedRow]:
    """The rows that a Dataflow job dropped, from its file, one at a time."""
    with open(path, encoding="utf-8") as rows:
        for said in rows:
            row: dict[str, Any] = json.loads(said)
            yield RejectedRow(0, row["reason"], row["detail"], row["row"], kept_id=row["kept_id"])


def checked(path: str | Path, kept: int, config: Preprocess) -> Counter[str]:
    """How many rows a Dataflow job dropped, by reason; `kept` is how many it kept.

    Raises `UserError` when it removed more than `preprocess.max_removed_share` and `max_cluster` allow.
    """
    reasons, sizes, said = Counter[str](), Counter[tuple[bool, str]](), dict[tuple[bool, str], str]()
    for gone in dropped_before(path):
        reasons[gone.reason] += 1
        if gone.kept_id:
            cluster = (gone.reason in SAME_TEXT, gone.kept_id)
            sizes[cluster] += 1
            said.setdefault(cluster, gone.detail)
    near = sum(count for reason, count in reasons.items() if reason not in SAME_TEXT)
    before = kept + reasons.total()
    for what, same, was, is_ in (
        ("exact deduplication on Dataflow", True, before, kept + near),
        ("near-deduplication on Dataflow", False, kept + near, kept),
    ):
        largest = max((key for key in sizes if key[0] == same), key=lambda key: sizes[key], default=None)
        enforce_removal_limits(
            was, is_, what, config, sizes[largest] if largest else 0, said[largest] if largest else ""
        )
    return reasons
