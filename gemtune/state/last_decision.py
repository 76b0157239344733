# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""What the last run of a name decided on and reported, so that the next one sees whether anything is new."""

from __future__ import annotations

from gemtune.artifacts.records import LastDecision
from gemtune.config import JsonObject
from gemtune.state import champion, store
from gemtune.vertex import Client


def record(client: Client, name: str, decision: LastDecision) -> None:
    """Keep what a run decided on."""
    store.update(client, LastDecision, name, lambda _: decision)


def forgot(client: Client, name: str) -> bool:
    """Whether the last run's candidate continued the champion and was shown to have forgotten."""
    last = store.read(client, LastDecision, name)
    return bool(last and last.forgot)


def read(client: Client, name: str, fingerprint: str) -> JsonObject:
    """The summary of the last run where that decided on the same and its champion still serves; {} otherwise."""
    last, serving = store.read(client, LastDecision, name), champion.read(client, name).variant
    if last and (last.fingerprint, last.model) == (fingerprint, serving.model if serving else ""):
        return last.summary
    return {}
