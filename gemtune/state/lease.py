# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""A lease on a name in the bucket: one process at a time does something that must not happen twice.

The clocks of the machines must agree within `LEASE_S`.
"""

from __future__ import annotations

import contextlib
import time
import uuid
from collections.abc import Iterator

from gemtune.state import store
from gemtune.vertex import Client

LEASE_S = 90.0  # a killed holder blocks others for this long
PAUSE_S = 0.5


@contextlib.contextmanager
def held(client: Client, key: str) -> Iterator[None]:
    """Hold the lease of a key for at most `LEASE_S`; waits while another process holds it."""
    owner = uuid.uuid4().hex

    def take(record: store.Record) -> store.Record:
        if record.get("until", 0) > time.time():
            return record
        return {"schema_version": store.SCHEMA_VERSION, "owner": owner, "until": time.time() + LEASE_S}

    while store.update(client, key, take).get("owner") != owner:
        time.sleep(PAUSE_S)
    try:
        yield
    finally:
        store.update(client, key, lambda record: record if record.get("owner") != owner else {**record, "until": 0})
