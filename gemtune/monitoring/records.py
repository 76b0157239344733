# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The records that monitoring reads and keeps in the bucket: the champion's, its own history, and labelled rows."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from gemtune.artifacts.monitoring import LabelledRow, MonitoringHistory
from gemtune.artifacts.production_log import TrainingReference
from gemtune.config import ModelVariant, Task
from gemtune.data.example import Example, read_examples
from gemtune.errors import UserError
from gemtune.inference.prompts import response_schema
from gemtune.state import champion, store
from gemtune.vertex import Client, storage


@dataclass(frozen=True)
class Champion:
    """The champion of a name as monitoring needs it.

    `generation_config` are the settings of a request that change an answer; `cleaning` has no masking, which may call a
    service; `score` is that on test rows, None where it was not recorded; `promoted` is when it became the champion,
    `generation` that of its record; `endpoints` are those of all champions of the name.
    """

    variant: ModelVariant
    base_model: str
    task: Task
    reference: TrainingReference
    generation_config: dict[str, Any]
    cleaning: store.Record
    score: float | None
    promoted: datetime
    generation: int
    endpoints: list[str]


def read(client: Client, name: str) -> Champion:
    """The champion of a name. Raises `UserError` where there is none, or it was promoted without its training rows."""
    record = store.read(client, champion.key(name))
    entry = record.get("current") or {}
    if not entry.get("reference"):
        problem = f"{name} has no champion that can be monitored"
        raise UserError(problem, remedy="deploy a model under this name first: gemtune run, or gemtune submit")
    variant, task = champion.variant_of(entry), Task.of(entry["task"])
    schema = response_schema(task, variant.prompt)
    generation_config = {
        "temperature": entry["generation"]["temperature"],
        **({"responseSchema": schema} if schema else {}),
    }
    return Champion(
        variant=variant,
        base_model=variant.base_model or entry["generation"]["base_model"],
        task=task,
        reference=TrainingReference.model_validate(entry["reference"]),
        generation_config=generation_config,
        cleaning={**entry["cleaning"], "pii": "off"},
        score=entry["decision"].get("score"),
        promoted=datetime.fromisoformat(entry["since"]),
        generation=int(record["generation"]),
        endpoints=[champion.variant_of(item).model for item in (entry, *record.get("history", []))],
    )


def training_rows(client: Client, served: Champion) -> list[Example]:
    """The sample of training rows that was kept with the champion."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "training_rows.jsonl"
        storage.download(client, served.reference.train, path)
        return list(read_examples(path))


def history_key(name: str) -> str:
    """Object name of the history of a name's monitoring."""
    return f"monitoring/{name}.json"


def read_history(client: Client, name: str, served: Champion) -> MonitoringHistory:
    """What earlier monitoring runs of this champion kept; a new champion begins a new baseline."""
    record = store.read(client, history_key(name))
    kept = MonitoringHistory.model_validate(record) if record else None
    if kept and kept.generation == served.generation:
        return kept
    retrained = kept.retrained if kept else []
    return MonitoringHistory(generation=served.generation, since=served.promoted, windows=[], retrained=retrained)


def write_history(client: Client, name: str, history: MonitoringHistory) -> None:
    """Keep the history, with all ids that have caused a retraining, and by which decision."""
    kept = history.model_dump(mode="json")

    def edit(record: store.Record) -> store.Record:
        ids = sorted({*record.get("retrained", []), *history.retrained})
        return {**kept, "retrained": ids, "claimed_by": record.get("claimed_by", "")}

    store.update(client, history_key(name), edit)


def claim_retraining(client: Client, name: str, ids: Sequence[str], decision: str) -> bool:
    """Record that these ids cause a retraining, by the decision at this URI.

    False when they have caused one before, unless that was by the same decision: its step may have ended before the
    retraining began, and is repeated.
    """
    claimed: list[bool] = []

    def edit(record: store.Record) -> store.Record:
        earlier = record.get("retrained", [])
        claimed.append(record.get("claimed_by") == decision or not set(ids) <= set(earlier))
        by = decision if claimed[-1] else record.get("claimed_by", "")
        return {**record, "retrained": sorted({*earlier, *ids}), "claimed_by": by}

    store.update(client, history_key(name), edit)
    return claimed[-1]


def read_labels(client: Client, name: str) -> list[LabelledRow]:
    """All labelled production rows of a name."""
    return [LabelledRow.model_validate(row) for row in store.read(client, labels_key(name)).get("rows", [])]


def add_labels(client: Client, name: str, rows: Sequence[LabelledRow]) -> int:
    """Keep labelled rows; a row that was labelled before is replaced. Returns how many there are then."""

    def edit(record: store.Record) -> store.Record:
        by_id = {row["id"]: row for row in (*record.get("rows", []), *(row.model_dump(mode="json") for row in rows))}
        return {"schema_version": store.SCHEMA_VERSION, "rows": list(by_id.values())}

    return len(store.update(client, labels_key(name), edit)["rows"])


def labels_key(name: str) -> str:
    """Object name of the labelled production rows of a name."""
    return f"annotations/{name}.json"
