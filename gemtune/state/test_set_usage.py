# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Who has looked at a set of held-out test rows: kept in the bucket, for every run and every user of it.

Each candidate that is tried on the same rows gets its own chance to pass by luck, so an interval that holds for one
look is too optimistic for the best of many (Dwork et al. 2015, arXiv 1506.02629). The record of a test set is named by
the fingerprint of its rows and written before anything is asked: a run killed in between has read all the same. The
same candidate read again is no new chance; it is counted, but not as one more candidate.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from gemtune.config import ModelVariant, fingerprint
from gemtune.state import store
from gemtune.state.store import Record
from gemtune.vertex import Client


def note(client: Client, name: str, rows: Iterable[str], variants: Sequence[ModelVariant]) -> dict[str, Any]:
    """Write down that the run called `name` reads the rows with these ids; gives what is known of them since.

    `candidates` is how many different ones have been tried on these rows, the present one included; `readings` how
    often the rows were read at all.
    """
    ids = sorted(rows)
    test = fingerprint(ids)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    record = store.change(client, f"readings/{test}.json", lambda held: noted(held, name, len(ids), variants, now))
    return {"test": test, **told(record)}


def noted(held: Record, name: str, rows: int, variants: Sequence[ModelVariant], now: str) -> Record:
    """The record of a test set with one more reading."""
    entries = {**held.get("readings", {})}
    candidate = next((one for one in variants if one.role == "candidate"), None)
    key = _key(candidate) if candidate else ""
    before = entries.get(key, {"name": name, "model": candidate.model if candidate else "", "first": now, "times": 0})
    entries[key] = {**before, "last": now, "times": before["times"] + 1}
    return {"schema_version": 1, "rows": rows, "readings": entries}


def told(record: Record) -> dict[str, int]:
    """How many candidates a record knows, and how many readings."""
    entries = record["readings"]
    return {"candidates": sum(key != "" for key in entries), "readings": sum(one["times"] for one in entries.values())}


def _key(candidate: ModelVariant) -> str:
    """Names what answers, whatever the run calls it."""
    return fingerprint(candidate.model_dump(include={"model", "tuned_model", "checkpoint_id", "prompt"}))
