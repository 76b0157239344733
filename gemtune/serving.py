# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The endpoint that serves under a name, for callers that follow promotion and rollback without a failed call.

    from gemtune.serving import resolve

    client.models.generate_content(model=resolve("support-intents").endpoint, ...)

Guarantees: an endpoint that was in production stays deployed, so one that was resolved seconds ago still answers; once
a record was read, no trouble with the bucket fails or holds up a call for more than `TIMEOUT_S` in each `CACHE_S`.
"""

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

from gemtune.artifacts.records import ChampionRecord
from gemtune.config import JsonObject, Vertex
from gemtune.data.example import to_row
from gemtune.data.sources import stored_examples
from gemtune.errors import UserError
from gemtune.state import store
from gemtune.vertex import Client, connect, storage
from gemtune.vertex.calls import PermanentError, TransientError, retried

log = logging.getLogger("gemtune")

_VARIABLES = ("GOOGLE_CLOUD_PROJECT", "GOOGLE_VERTEX_BASE_URL", "STORAGE_EMULATOR_HOST")
CACHE_S = 30.0
TIMEOUT_S = 5.0


@dataclass(frozen=True)
class Served:
    """What serves: the endpoint, the generation of the champion's record, and the recipe for `Predictor`."""

    endpoint: str
    generation: int
    recipe: JsonObject = field(repr=False)


@dataclass
class _Cached:
    client: Client
    served: Served
    version: int
    checked: float


_cache: dict[tuple[str | None, ...], _Cached] = {}


def resolve(name: str, vertex: Mapping[str, Any] | None = None) -> Served:
    """What serves under the name of a run; `vertex` overrides settings of the environment.

    The record is read at most every 30 seconds, and transferred only when it has changed; while the bucket cannot be
    read, the last one stays valid. Raises `UserError` when there is no champion, or it could never be read.
    """
    settings = Vertex.of(dict(vertex or {}))
    key = (name, repr(settings), *map(os.environ.get, _VARIABLES))
    cached = _cache.get(key)
    if cached is None:
        cached = _cache[key] = _first(connect(settings), name)
    elif monotonic() - cached.checked >= CACHE_S:
        _refresh(cached, name)
    return cached.served


def _first(client: Client, name: str) -> _Cached:
    """What serves, read with retries; no other permission is needed than to read the object."""
    try:
        content = retried(storage.read_if_changed)(client, ChampionRecord.key(name), 0, TIMEOUT_S)
    except (TransientError, PermanentError) as error:
        problem = f"{name!r} has no champion that can be read from gs://{client.bucket}/{ChampionRecord.key(name)}"
        raise UserError(f"{problem}: {error}", remedy="check bucket and permission, or deploy one") from None
    record, version = content or (None, 0)
    return _Cached(client, _served(client, name, record), version, monotonic())


def _refresh(cached: _Cached, name: str) -> None:
    cached.checked = monotonic()  # first, so that other threads do not wait
    try:
        changed = storage.read_if_changed(cached.client, ChampionRecord.key(name), cached.version, TIMEOUT_S)
        if changed:
            cached.served, cached.version = _served(cached.client, name, changed[0]), changed[1]
    except (TransientError, PermanentError, UserError) as error:
        log.warning("the champion of %s cannot be read, generation %d stays: %s", name, cached.served.generation, error)


def _served(client: Client, name: str, content: JsonObject | None) -> Served:
    record = store.parsed(client, ChampionRecord, name, content)
    if not (record and record.current):
        raise UserError(f"{name!r} has no champion", remedy="deploy one: gemtune run, or gemtune promote")
    entry, names = record.current, {"task", "variant", "generation", "cleaning", "takes_requests"}
    shown = [to_row(row) for row in stored_examples(client, entry.shown)]
    return Served(
        entry.variant.model, record.generation, {**entry.model_dump(mode="json", include=names), "train": shown}
    )
