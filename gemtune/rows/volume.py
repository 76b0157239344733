# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Is a source more than one machine should hold, and what is a Dataflow job told that thins it out first.

Only JSONL objects in Cloud Storage are handed to Dataflow (`dedup.beam`), and only when a template is configured. What
it keeps lies under a name that the source's content decides, so a repeated run finds the same place.
"""

from __future__ import annotations

from dataclasses import dataclass

from gemtune.config import Preprocess, Vertex, fingerprint
from gemtune.vertex import connect, location, patiently, storage

GIB = 1 << 30


@dataclass(frozen=True, slots=True)
class Volume:
    """Whether the source is too large, where its kept rows will lie, and the job's place, template and parameters."""

    large: bool
    kept: str
    location: str
    template: str
    parameters: dict[str, str]


def measured(data: str, config: Preprocess, vertex: Vertex) -> Volume:
    """What becomes of a source. Looks at its size only when a template is configured and it lies in a bucket."""
    jsonl = data.startswith("gs://") and data.rsplit(".", 1)[-1] in ("jsonl", "ndjson", "json")
    if not config.dataflow_template or not config.fuzzy_threshold or not jsonl:
        return Volume(False, data, location(vertex), "", {})
    client = connect(vertex)
    size, generation = patiently(storage.size, client, data)
    if size <= config.dataflow_above_gib * GIB:
        return Volume(False, data, client.location, "", {})
    columns = {"text_column": config.text_column, "label_column": config.target_column}
    rule = {"threshold": str(config.fuzzy_threshold), **columns}
    folder = f"gs://{client.bucket}/thinned/{fingerprint(data, generation, rule)}"
    files = {"input": data, "kept": f"{folder}/kept.jsonl", "dropped": f"{folder}/dropped.jsonl"}
    return Volume(True, files["kept"], client.location, config.dataflow_template, {**files, **rule})
