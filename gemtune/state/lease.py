# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""A lease on a name in the bucket: one process at a time does something that must not happen twice.

A holder that was killed is noticed by its record, which stays unchanged for `LEASE_S`: the clocks of the machines may
differ, and jump.
"""

from __future__ import annotations

import contextlib
import logging
import time
import uuid
from collections.abc import Iterator

from gemtune.state import store
from gemtune.vertex import Client

log = logging.getLogger("gemtune")

LEASE_S = 90.0  # a killed holder blocks others for this long
PAUSE_S = 0.5


@contextlib.contextmanager
def held(client: Client, key: str) -> Iterator[None]:
    """Hold the lease of a key for at most `LEASE_S`; waits while another process holds it."""
    owner, holder, since = uuid.uuid4().hex, "", time.monotonic()

    def take(record: store.Record) -> store.Record:
        outlived = record.get("owner") == holder and time.monotonic() - since > LEASE_S
        if record.get("owner") and not outlived:
            return record
        return {"owner": owner}

    while (current := store.update(client, key, take)["owner"]) != owner:
        if current != holder:
            holder, since = current, time.monotonic()
            log.info("waiting for another process that holds %s; %d s, should it have been killed", key, LEASE_S)
        time.sleep(PAUSE_S)
    try:
        yield
    finally:
        store.update(client, key, lambda record: record if record.get("owner") != owner else {**record, "owner": ""})
