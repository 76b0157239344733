# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Which runs wait for a tuning job: a job with the same rows and hyperparameters is shared by all runs that need it.

Each waiting process keeps a small object in the bucket fresh. Whoever stops early cancels the job only when no other
fresh object is left. Times are those of Cloud Storage, so no machine's clock matters; a killed process is no longer
counted after `STALE_S` seconds.
"""

from __future__ import annotations

import time
import uuid
from datetime import timedelta

from gemtune.vertex import Client, storage

REFRESH_S, STALE_S = 20.0, 150.0


class JobHolder:
    """This process as one that waits for the job of a fingerprint."""

    def __init__(self, client: Client, fingerprint: str) -> None:
        self._client, self._folder = client, f"jobs/{fingerprint}-holders"
        self._key = f"{self._folder}/{uuid.uuid4().hex}.json"
        self._refreshed = float("-inf")

    def refresh(self) -> None:
        """Say that this process still waits; a request is sent every REFRESH_S seconds at most."""
        if time.monotonic() - self._refreshed > REFRESH_S:
            storage.touch(self._client, self._key)
            self._refreshed = time.monotonic()

    def release(self) -> bool:
        """Stop waiting; returns whether another process waits for the job."""
        now = storage.touch(self._client, self._key)
        storage.delete(self._client, self._key)
        others = storage.list_times(self._client, self._folder)
        for key, refreshed in others.items():
            if now - refreshed > timedelta(days=1):
                storage.delete(self._client, key)
        return any(now - refreshed < timedelta(seconds=STALE_S) for refreshed in others.values())
