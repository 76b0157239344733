# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The champion's record: which model variant is in production under a name, which were before, what was kept with it.

A tuned model's endpoint cannot be looked up from an alias, so the champion is defined by its record, and changing the
record is the only act of promotion and of rollback. Each change counts the record's `generation` up and states which
generation it was decided against: of two promotions decided against the same champion one wins. The record holds all
champions, newest last in `history`; the previous one stays deployed, so that a rollback takes seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from gemtune.artifacts.production_log import TrainingReference
from gemtune.config import ModelVariant, Task
from gemtune.errors import UserError
from gemtune.state import store
from gemtune.state.store import Record
from gemtune.vertex import Client, storage

FOLDER = "champions"


def key(name: str) -> str:
    """Object name of the champion record of a run's name."""
    return f"{FOLDER}/{name}.json"


def read(client: Client, name: str) -> ModelVariant | None:
    """The champion of a name; None when there is none."""
    current = store.read(client, key(name)).get("current")
    if not current:
        return None
    return variant_of(current).model_copy(update={"name": "champion", "role": "champion"})


def generation(client: Client, name: str) -> int:
    """How often the champion of a name has changed; 0: there never was one."""
    return int(store.read(client, key(name)).get("generation", 0))


def variant_of(entry: Record) -> ModelVariant:
    """The model variant of an entry of a champion's record."""
    return ModelVariant.of(entry["variant"])


def is_same(variant: ModelVariant, other: ModelVariant) -> bool:
    """Whether two variants are one tuned model, or one prompt on one base model."""
    return variant.model == other.model and (variant.is_tuned or variant.prompt == other.prompt)


def require_same_task(client: Client, name: str, task: Task) -> None:
    """Raise `UserError` where the champion of a name has another task: another kind, or fewer than half of the labels.

    The shared labels are counted against the smaller set, so that labels may be added and dropped.
    """
    recorded = _current(client, name).get("task")
    if not recorded:
        return
    before, now = ({label.casefold() for label in labels} for labels in (recorded["labels"], task.labels))
    if recorded["kind"] == task.kind and 2 * len(before & now) >= min(len(before), len(now)):
        return
    described = _described(recorded["kind"], recorded["labels"])
    raise UserError(
        f"the champion of {name!r} has another task: {described}; this run: "
        f"{_described(task.kind, task.labels)}; {len(before & now)} labels are shared",
        remedy=f"set another name; or delete {key(name)} in the bucket to start anew under this one",
    )


def _described(kind: str, labels: Sequence[str]) -> str:
    listed = ", ".join(labels[:5]) + (f" and {len(labels) - 5} more" if len(labels) > 5 else "")
    return f"{kind} ({listed})" if labels else kind


def continuations(client: Client, name: str) -> int:
    """How many champions in a row, up to the current one, were continued from the one before."""
    return int(_current(client, name).get("continuations", 0))


def labels(client: Client, name: str) -> list[str]:
    """The labels of the champion's task."""
    return list(_current(client, name).get("task", {}).get("labels", []))


def download_test_set(client: Client, name: str, path: Path) -> Path | None:
    """The champion's test rows, downloaded to `path`; None when they were not kept."""
    kept = _current(client, name).get("test")
    if not kept:
        return None
    storage.download(client, kept["uri"], path)
    return path


def keep_test_set(client: Client, test: str) -> Record:
    """Upload the test rows, equal content once; returns their URI and count."""
    with open(test, encoding="utf-8") as rows:
        count = sum(1 for _ in rows)
    return {"uri": storage.upload(client, test, "tests"), "rows": count}


def reference(client: Client, name: str) -> TrainingReference | None:
    """What monitoring compares the champion's requests with; None when it was not recorded."""
    recorded = _current(client, name).get("reference")
    return TrainingReference.model_validate(recorded) if recorded else None


def history(client: Client, name: str) -> list[tuple[str, Record]]:
    """All entries of a champion's record with their states: candidate, champion, earlier ones (newest first).

    The states are `candidate`, `champion`, `previous` and `rolled back`.
    """
    record = store.read(client, key(name))
    entries = [("candidate", record["candidate"]["entry"])] if "candidate" in record else []
    entries += [("champion", record["current"])] if record.get("current") else []
    entries += [("previous", entry) for entry in reversed(record.get("history", []))]
    return entries + [("rolled back", entry) for entry in reversed(record.get("rolled_back", []))]


def endpoints(client: Client, name: str) -> list[str]:
    """The endpoints that are, or were, in production under a name."""
    return [variant_of(entry).model for entry in _entries(store.read(client, key(name)))]


def cleaning(client: Client, name: str, default: Record) -> Record:
    """The cleaning rules the champion was trained with; `default` for one that was recorded without."""
    return dict(_current(client, name).get("cleaning", default))


def known_models(client: Client) -> dict[str, ModelVariant]:
    """Models that are, or were, in production under any name, or wait for it: equal jobs are shared between names.

    Raises `UserError` when a record cannot be read: what it names is unknown.
    """
    with ThreadPoolExecutor(8) as pool:  # one for each name in the bucket
        records = list(pool.map(partial(store.read, client), store.keys(client, FOLDER)))
    waiting = [record["candidate"] for record in records if "candidate" in record]
    entries = [*waiting, *(entry for record in records for entry in _entries(record))]
    return {variant.model: variant for variant in map(variant_of, entries)}


def propose(client: Client, name: str, against: int, alias: str, entry: Record, smoke: Record | None = None) -> None:
    """Record a candidate that passed the gate and waits for approval; an earlier one is replaced.

    `smoke` is what a smoke test needs just before it serves: the `answers` to repeat, and `max_disagreement`.
    """
    proposed = {"variant": entry["variant"], "entry": entry, "against": against, "alias": alias, "since": now()}
    proposed |= {"smoke": smoke} if smoke else {}

    def edit(record: Record) -> Record:
        return {**record, "candidate": proposed}

    store.update(client, key(name), edit)


def candidate(client: Client, name: str) -> Record | None:
    """The candidate that waits: its `entry`, `alias`, `smoke`, and the generation that it was decided `against`."""
    return store.read(client, key(name)).get("candidate")


def promote(client: Client, name: str, against: int, alias: str, entry: Record) -> None:
    """Make the variant of `entry` the champion; changes nothing when it is already.

    Raises `UserError` when the champion has changed since generation `against`, which the decision was made against.
    """

    def edit(record: Record) -> Record:
        current = record.get("current")
        if current and is_same(variant_of(current), variant_of(entry)):
            return record
        _require_generation(record, name, against)
        history = [*record.get("history", []), *([current] if current else [])]
        changed = {"generation": against + 1, "alias": alias}
        rest = {k: v for k, v in record.items() if k != "candidate"}  # decided against the champion that goes
        return {**rest, **changed, "current": {**entry, "since": now()}, "history": history}

    store.update(client, key(name), edit)


def record_manifest(client: Client, name: str, variant: ModelVariant, digest: str) -> None:
    """Add the digest of the manifest of the run that decided on a variant to its entry, whether it serves or waits."""

    def updated(entry: Record) -> Record:
        manifest = entry.get("manifest", {})
        is_own = is_same(variant_of(entry), variant) and "digest" not in manifest
        return {**entry, "manifest": {**manifest, "digest": digest}} if is_own else entry

    def edit(record: Record) -> Record:
        own = {"current": updated(record["current"])} if record.get("current") else {}
        if waiting := record.get("candidate"):
            own["candidate"] = {**waiting, "entry": updated(waiting["entry"])}
        return {**record, **own}

    store.update(client, key(name), edit)


def roll_back(client: Client, name: str, against: int) -> None:
    """Make the previous champion the champion again, from now on; the last one moves to `rolled_back`.

    Raises `UserError` when the champion has changed since generation `against`.
    """

    def edit(record: Record) -> Record:
        _require_generation(record, name, against)
        *older, entry = record["history"]
        moment = now()
        gone = {**record["current"], "until": moment}
        back = {**entry, "since": moment, "labels_since": moment}  # windows, and labels, between are not its own
        left = [*record.get("rolled_back", []), gone]
        return {**record, "generation": against + 1, "current": back, "history": older, "rolled_back": left}

    store.update(client, key(name), edit)


def _require_generation(record: Record, name: str, against: int) -> None:
    if (now := int(record.get("generation", 0))) != against:
        current = variant_of(record["current"])
        raise UserError(
            f"the champion of {name!r} has changed meanwhile: it is {current.name} ({current.model}), generation "
            f"{now}; this decision was made against generation {against} and changes nothing",
            remedy="run again: the decision is then made against the new champion",
        )


def _current(client: Client, name: str) -> dict[str, Any]:
    return store.read(client, key(name)).get("current") or {}


def _entries(record: Record) -> list[Record]:
    current = record.get("current")
    return [*record.get("history", []), *record.get("rolled_back", []), *([current] if current else [])]


def now() -> str:
    """The time as records have it."""
    return datetime.now(UTC).isoformat(timespec="seconds")
