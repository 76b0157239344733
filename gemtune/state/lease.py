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

from gemtune.artifacts.records import Lease
from gemtune.state import store
from gemtune.vertex import Client

log = logging.getLogger("gemtune")

LEASE_S = 90.0  # a killed holder blocks others for this long
PAUSE_S = 0.5


@contextlib.contextmanager
def held(client: Client, name: str) -> Iterator[None]:
    """Hold the lease of a name for at most `LEASE_S`; waits while another process holds it."""
    owner, holder, since = uuid.uuid4().hex, "", time.monotonic()

    def take(lease: Lease | None) -> Lease:
        outlived = lease and lease.owner == holder and time.monotonic() - since > LEASE_S
        return lease if lease and lease.owner and not outlived else Lease(owner=owner)

    def release(lease: Lease | None) -> Lease | None:
        return Lease(owner="") if lease and lease.owner == owner else lease

    while (current := store.update(client, Lease, name, take).owner) != owner:
        if current != holder:
            holder, since = current, time.monotonic()
            log.info(
                "waiting for another process that holds %s; %d s, should it have been killed", Lease.key(name), LEASE_S
            )
        time.sleep(PAUSE_S)
    try:
        yield
    finally:
        store.update(client, Lease, name, release)
