# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""What the last run of a name decided on and reported, so that the next one sees whether anything is new."""

from __future__ import annotations

from gemtune.state import champion, store
from gemtune.state.store import Record
from gemtune.vertex import Client


def _key(name: str) -> str:
    return f"decisions/{name}.json"


def record(client: Client, name: str, fingerprint: str, model: str, summary: Record, forgot: bool) -> None:
    """Keep the summary of a run with what it decided on, and the champion's `model` after it ("": there is none).

    `forgot`: a candidate that continued the champion was shown to be worse on the champion's test set.
    """
    decision = {"fingerprint": fingerprint, "model": model}
    store.update(client, _key(name), lambda _: {**decision, "summary": summary, "forgot": forgot})


def forgot(client: Client, name: str) -> bool:
    """Whether the last run's candidate continued the champion and was shown to have forgotten."""
    return bool(store.read(client, _key(name)).get("forgot"))


def read(client: Client, name: str, fingerprint: str) -> Record:
    """The summary of the last run where that decided on the same and its champion still serves; {} otherwise."""
    last, serving = store.read(client, _key(name)), champion.read(client, name)
    if last.get("fingerprint") != fingerprint or last["model"] != (serving.model if serving else ""):
        return {}
    return dict(last["summary"])
