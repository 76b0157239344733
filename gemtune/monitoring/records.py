# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The records that monitoring reads and keeps in the bucket: the champion's, its own history, and labelled rows."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from gemtune.artifacts.monitoring import LabelledRow, MonitoringHistory, RetrainingClaim
from gemtune.artifacts.production_log import TrainingReference
from gemtune.config import ModelVariant, Task
from gemtune.data.sources import local_path
from gemtune.errors import UserError
from gemtune.inference.prompts import response_schema
from gemtune.state import champion, store
from gemtune.vertex import Client, storage


@dataclass(frozen=True)
class Champion:
    """The champion of a name as monitoring needs it.

    `generation_config` are the settings of a request that change an answer; `cleaning` has no masking, which may call a
    service; `score` is that on test rows, None where it was not recorded; `promoted` is when it became the champion,
    `served_from` when the one before it did, `labels_since` the time from which on it knows no labels; `generation` is
    that of its record; `endpoints` are those of all champions of the name.
    """

    variant: ModelVariant
    base_model: str
    task: Task
    reference: TrainingReference
    generation_config: dict[str, Any]
    cleaning: store.Record
    score: float | None
    promoted: datetime
    served_from: datetime
    labels_since: datetime
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
    generation, schema = entry["generation"], response_schema(task, variant.prompt)
    budget, level = client.catalogue.thinking(generation["base_model"], generation["thinking_budget"])
    generation_config = {
        "temperature": generation["sample_temperature" if generation["confidence"] == "votes" else "temperature"],
        "thinkingConfig": {"thinkingBudget": budget, "thinkingLevel": level},
        **({"responseSchema": schema} if schema else {}),
    }
    return Champion(
        variant=variant,
        base_model=variant.base_model or (generation["base_model"] if variant.is_tuned else variant.model),
        task=task,
        reference=TrainingReference.model_validate(entry["reference"]),
        generation_config=generation_config,
        cleaning={**entry["cleaning"], "pii": "off"},
        score=entry["decision"].get("score"),
        promoted=datetime.fromisoformat(entry["since"]),
        served_from=datetime.fromisoformat([entry, *record.get("history", [])][-1]["since"]),
        labels_since=datetime.fromisoformat(entry["labels_since"]),
        generation=int(record["generation"]),
        endpoints=[champion.variant_of(item).model for item in (entry, *record.get("history", []))],
    )


def history_key(name: str) -> str:
    """Object name of the history of a name's monitoring."""
    return f"monitoring/{name}.json"


def read_history(client: Client, name: str, served: Champion) -> MonitoringHistory:
    """What earlier monitoring runs of this champion kept; a new champion begins a new baseline."""
    record = store.read(client, history_key(name))
    own = {field: record[field] for field in MonitoringHistory.model_fields if field in record}
    if own.get("generation") == served.generation:
        return MonitoringHistory.model_validate(own)
    retrained = own.get("retrained", [])
    return MonitoringHistory(generation=served.generation, since=served.promoted, windows=[], retrained=retrained)


def write_history(client: Client, name: str, history: MonitoringHistory) -> None:
    """Keep the history, with all ids that have caused a retraining, and what a run has claimed meanwhile."""
    kept = history.model_dump(mode="json", exclude_defaults=True)

    def edit(record: store.Record) -> store.Record:
        retrained = sorted({*record.get("retrained", []), *history.retrained})
        return {**kept, "retrained": retrained, "claim": record.get("claim")}

    store.update(client, history_key(name), edit)


def claim_retraining(client: Client, name: str, ids: Sequence[str], decision: str, days: float) -> bool:
    """Claim the retraining for these ids for the decision at this URI; whether it is to start.

    Not where the ids have caused one before, nor within `days` of another decision's claim: after that its run was
    killed. A step that is repeated has the claim that it had. With 0 days the retraining is only noted as due.
    """
    now = datetime.now(UTC)
    own = RetrainingClaim(ids=list(ids), decision=decision, until=now + timedelta(days=days))

    def edit(record: store.Record) -> store.Record:
        held = RetrainingClaim.model_validate(record["claim"]) if record.get("claim") else None
        is_held = held and held.until > now and held.decision != decision
        if is_held or set(ids) <= set(record.get("retrained", [])):
            return record
        return {**record, "claim": own.model_dump(mode="json")}

    claim = store.update(client, history_key(name), edit).get("claim") or {}
    return bool(days) and claim.get("decision") == decision and set(ids) <= set(claim["ids"])


def finish_retraining(client: Client, name: str) -> None:
    """Record that a tuning run has ended: the ids of a claim have caused their retraining."""

    def edit(record: store.Record) -> store.Record:
        if not (claim := record.get("claim")):
            return record
        return {**record, "claim": None, "retrained": sorted({*record.get("retrained", []), *claim["ids"]})}

    store.update(client, history_key(name), edit)


def read_labels(client: Client, name: str) -> list[LabelledRow]:
    """All labelled production rows of a name."""
    return [LabelledRow.model_validate(row) for row in store.read(client, labels_key(name)).get("rows", [])]


def labelled_texts(client: Client, name: str) -> list[str]:
    """The texts of all labelled production rows of a name."""
    texts: list[str] = []
    for key in storage.list_times(client, _texts_folder(name)):
        with local_path(f"gs://{client.bucket}/{key}", client) as path, path.open("rb") as lines:
            texts += map(json.loads, lines)
    return texts


def add_labels(client: Client, name: str, rows: Sequence[LabelledRow], texts: Sequence[str]) -> int:
    """Keep labelled rows, and their texts apart; a row that was labelled before is replaced, but for its time. Returns
    how many there are then.
    """
    storage.upload_lines(client, map(json.dumps, texts), _texts_folder(name))
    now = champion.now()

    def edit(record: store.Record) -> store.Record:
        by_id = {row["id"]: row for row in record.get("rows", [])}
        for row in rows:
            added = by_id.get(row.id, {}).get("added", now)
            by_id[row.id] = {**row.model_dump(mode="json"), "added": added}
        return {"rows": list(by_id.values())}

    return len(store.update(client, labels_key(name), edit)["rows"])


def labels_key(name: str) -> str:
    """Object name of the labelled production rows of a name."""
    return f"annotations/{name}.json"


def _texts_folder(name: str) -> str:
    return f"annotations/{name}"
