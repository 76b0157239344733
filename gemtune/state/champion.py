# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The champion's record: which model variant is in production under a name, which were before, what was kept with it.

A tuned model's endpoint cannot be looked up from an alias, so the champion is defined by its record. The record
holds all champions, newest last in `history`; the previous one stays deployed, so that a rollback takes seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

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


def variant_of(entry: Record) -> ModelVariant:
    """The model variant of an entry of a champion's record."""
    return ModelVariant.of(entry["variant"])


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
    raise UserError(
        f"the champion of {name!r} has another task: {_described(**recorded)}; this run: "
        f"{_described(task.kind, task.labels)}; {len(before & now)} labels are shared",
        remedy=f"set another name; or delete {key(name)} in the bucket to start anew under this one",
    )


def _described(kind: str, labels: Sequence[str]) -> str:
    listed = ", ".join(labels[:5]) + (f" and {len(labels) - 5} more" if len(labels) > 5 else "")
    return f"{kind} ({listed})" if labels else kind


def test_set_size(client: Client, name: str) -> int:
    """Number of rows in the champion test set; 0: no champion, or no stored test set."""
    return int(_current(client, name).get("test", {}).get("rows", 0))


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


def cleaning(client: Client, name: str, default: Record) -> Record:
    """The cleaning rules the champion was trained with; `default` for one that was recorded without."""
    return dict(_current(client, name).get("cleaning", default))


def known_models(client: Client) -> set[str]:
    """Models that are, or were, in production under any name: equal jobs are shared between names."""
    records = [store.read(client, record) for record in store.keys(client, FOLDER)]
    return {variant_of(entry).model for record in records for entry in _entries(record)}


def promote(
    client: Client, name: str, candidate: ModelVariant, alias: str, reasons: Sequence[str], kept: Record
) -> None:
    """Make the candidate the champion; changes nothing when it is already."""

    def edit(record: Record) -> Record:
        current = record.get("current")
        if current and variant_of(current).model == candidate.model:
            return record
        entry = {"variant": candidate.model_dump(mode="json"), "since": _now(), "reasons": list(reasons), **kept}
        history = [*record.get("history", []), *([current] if current else [])]
        return {**record, "schema_version": 1, "alias": alias, "current": entry, "history": history}

    store.update(client, key(name), edit)


def roll_back(client: Client, name: str, back: ModelVariant) -> None:
    """Make the previous champion (`back`) the champion again; the last one moves to `rolled_back`."""

    def edit(record: Record) -> Record:
        if variant_of(record["current"]).model == back.model:
            return record
        *older, entry = record["history"]
        gone = {**record["current"], "until": _now()}
        return {**record, "current": entry, "history": older, "rolled_back": [*record.get("rolled_back", []), gone]}

    store.update(client, key(name), edit)


def _current(client: Client, name: str) -> dict[str, Any]:
    return store.read(client, key(name)).get("current") or {}


def _entries(record: Record) -> list[Record]:
    current = record.get("current")
    return [*record.get("history", []), *([current] if current else [])]


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
