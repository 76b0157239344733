# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Outputs already paid for, keyed by content: a rerun sends only changed requests, a killed run only missing ones.

The key is the whole request (model and version, system instruction, contents, generation settings, sample number), so a
changed prompt or setting never returns an old output. One SQLite file in write-ahead mode: each output is committed
before it counts, several processes may share the file, and kill -9 loses no committed output. Errors are not stored.
For local disks only: network file systems lack the locks that SQLite needs.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from gemtune.config import fingerprint
from gemtune.errors import UserError
from gemtune.inference.generate import GenerateRequest, ModelOutput


class SqliteResponseCache:
    """The outputs in one directory for one set of generation settings; use it as a context manager."""

    def __init__(self, directory: str | Path, settings: Mapping[str, Any]) -> None:
        """Open or create the database; raises `UserError` when the directory cannot hold it."""
        self._settings = dict(settings)
        path = Path(directory) / "responses.sqlite"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._database = sqlite3.connect(path, timeout=30, isolation_level=None)
            self._database.execute("PRAGMA journal_mode=WAL")
            self._database.execute("PRAGMA synchronous=NORMAL")
            self._database.execute("CREATE TABLE IF NOT EXISTS outputs (key TEXT PRIMARY KEY, output TEXT NOT NULL)")
        except (OSError, sqlite3.Error) as error:
            raise UserError(
                f"cannot open the response cache: {error}",
                file=path,
                remedy="set evaluate.response_cache to a local directory, or empty it",
            ) from None

    def get(self, request: GenerateRequest) -> ModelOutput | None:
        """The stored output of this request, marked as cached; None if there is none."""
        row = self._database.execute("SELECT output FROM outputs WHERE key = ?", (self._key(request),)).fetchone()
        return replace(ModelOutput(**json.loads(row[0])), cached=True) if row else None

    def put(self, request: GenerateRequest, output: ModelOutput) -> None:
        """Store an output; it is durable when the call returns."""
        text = json.dumps(asdict(output))  # ASCII: SQLite cannot hold half of a surrogate pair
        self._database.execute("INSERT OR REPLACE INTO outputs VALUES (?, ?)", (self._key(request), text))

    def _key(self, request: GenerateRequest) -> str:
        content: list[Any] = [request.model, request.version, request.system, request.contents]
        content += [request.sample, request.temperature, request.max_output_tokens]
        return fingerprint(content, self._settings)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._database.close()
