# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The records that monitoring reads and keeps in the bucket: the champion's, its own history, and labelled rows."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from gemtune.artifacts.monitoring import LabelledRow, LabelledRows, MonitoringRecord, RetrainingClaim
from gemtune.artifacts.production_log import TrainingReference
from gemtune.artifacts.records import ChampionEntry
from gemtune.config import Evaluate, JsonObject
from gemtune.data.sources import local_path
from gemtune.errors import UserError
from gemtune.inference.prompts import response_schema
from gemtune.state import champion, store
from gemtune.vertex import Client, storage


@dataclass(frozen=True)
class Champion:
    """The champion of a name with what monitoring derives from its record.

    `generation_config` are the settings of a request that change an answer; `cleaning` has no masking, which may call a
    service; `served_from` is when the oldest champion became it; `generation` is that of the record; `endpoints` are
    those of all champions of the name.
    """

    entry: ChampionEntry
    reference: TrainingReference
    base_model: str
    generation_config: JsonObject
    cleaning: JsonObject
    served_from: datetime
    generation: int
    endpoints: list[str]


def read(client: Client, name: str) -> Champion:
    """The champion of a name. Raises `UserError` where there is none, or it was promoted without its training rows."""
    record = champion.read(client, name)
    entry = record.current
    if not (entry and entry.reference):
        problem = f"{name} has no champion that can be monitored"
        raise UserError(problem, remedy="deploy a model under this name first: gemtune run, or gemtune submit")
    variant, generation = entry.variant, Evaluate.of(entry.generation)
    schema = response_schema(entry.task, variant.prompt)
    budget, level = client.catalogue.thinking(generation.base_model, generation.thinking_budget)
    generation_config = {
        "temperature": generation.sample_temperature if generation.confidence == "votes" else generation.temperature,
        "thinkingConfig": {"thinkingBudget": budget, "thinkingLevel": level},
        **({"responseSchema": schema} if schema else {}),
    }
    return Champion(
        entry=entry,
        reference=entry.reference,
        base_model=variant.base_model or (generation.base_model if variant.is_tuned else variant.model),
        generation_config=generation_config,
        cleaning={**entry.cleaning, "pii": "off"},
        served_from=[entry, *record.history][-1].since,
        generation=record.generation,
        endpoints=[own.variant.model for own in (entry, *record.history)],
    )


def read_history(client: Client, name: str, served: Champion) -> MonitoringRecord:
    """What earlier monitoring runs of this champion kept; a new champion begins a new baseline."""
    kept = store.read(client, MonitoringRecord, name) or MonitoringRecord()
    if kept.generation == served.generation:
        return kept
    return MonitoringRecord(
        generation=served.generation, since=served.entry.since, windows=[], retrained=kept.retrained
    )


def write_history(client: Client, name: str, history: MonitoringRecord) -> None:
    """Keep the history, with all ids that have caused a retraining, and what a run has claimed meanwhile."""

    def edit(record: MonitoringRecord) -> MonitoringRecord:
        own = {"generation": history.generation, "since": history.since, "windows": history.windows}
        return record.model_copy(update={**own, "retrained": sorted({*record.retrained, *history.retrained})})

    _update(client, name, edit)


def claim_retraining(client: Client, name: str, ids: Sequence[str], decision: str, days: float) -> bool:
    """Whether the retraining for these ids is to start: claims it for a decision (its URI, or the id of its job).

    Not where the ids have caused one before, nor within `days` of another decision's claim: after that its run was
    killed. A step that is repeated has the claim that it had. With 0 days the retraining is only noted as due.
    """
    if not ids:
        return False
    now = datetime.now(UTC)
    own = RetrainingClaim(ids=list(ids), decision=decision, until=now + timedelta(days=days))

    def edit(record: MonitoringRecord) -> MonitoringRecord:
        held = record.claim
        is_held = held and held.until > now and held.decision != decision
        if is_held or set(ids) <= set(record.retrained):
            return record
        return record.model_copy(update={"claim": own})

    claim = _update(client, name, edit).claim
    return bool(days and claim and claim.decision == decision and set(ids) <= set(claim.ids))


def finish_retraining(client: Client, name: str) -> None:
    """Record that a tuning run has ended: the ids of a claim have caused their retraining."""

    def edit(record: MonitoringRecord | None) -> MonitoringRecord | None:
        if not (record and record.claim):
            return record
        retrained = sorted({*record.retrained, *record.claim.ids})
        return record.model_copy(update={"claim": None, "retrained": retrained})

    store.update(client, MonitoringRecord, name, edit)


def _update(client: Client, name: str, edit: Callable[[MonitoringRecord], MonitoringRecord]) -> MonitoringRecord:
    return store.update(client, MonitoringRecord, name, lambda record: edit(record or MonitoringRecord()))


def read_labels(client: Client, name: str) -> list[LabelledRow]:
    """All labelled production rows of a name."""
    kept = store.read(client, LabelledRows, name)
    return kept.rows if kept else []


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

    def edit(record: LabelledRows | None) -> LabelledRows:
        record = record or LabelledRows(rows=[])
        by_id = {row.id: row for row in record.rows}
        for row in rows:
            before = by_id.get(row.id)
            by_id[row.id] = row.model_copy(update={"added": before.added if before else now})
        return record.model_copy(update={"rows": list(by_id.values())})

    return len(store.update(client, LabelledRows, name, edit).rows)


def _texts_folder(name: str) -> str:
    return f"annotations/{name}"
