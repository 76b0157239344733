# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Outputs already paid for, keyed by content: a rerun sends only changed requests, a killed run only missing ones.

The key is the whole request (model and version, system instruction, contents, generation settings, response schema,
sample number), so a changed prompt or setting never returns an old output. One SQLite file in write-ahead mode: each
output is committed before it counts, several processes may share the file, and kill -9 loses no committed output.
Errors are not stored. For local disks only: network file systems lack the locks that SQLite needs; outputs that other
machines are to use again leave as lines (`save`) and come back as lines (`load`).

The key includes who answered: server, project and location. The service may replace a model behind its name, so an
output counts for `MAX_AGE_DAYS`, and only while the version that gave it is the last one that answered.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Self

from gemtune.config import fingerprint
from gemtune.contents import ModelOutput
from gemtune.errors import UserError
from gemtune.inference.generate import GenerateRequest

SAVE_EVERY = 500  # outputs; a killed step loses fewer
MAX_AGE_DAYS = 30  # longer than a project works on one prompt, shorter than the life of a model version
_TABLES = """
CREATE TABLE IF NOT EXISTS model_outputs (
    key TEXT PRIMARY KEY, model TEXT NOT NULL, version TEXT NOT NULL, answered_at REAL NOT NULL, output TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS last_versions (model TEXT PRIMARY KEY, version TEXT NOT NULL);
"""
_GET = """
SELECT output FROM model_outputs JOIN last_versions USING (model, version) WHERE key = ? AND answered_at > ?
"""
_PUT_VERSION = """
INSERT INTO last_versions VALUES (?, ?)
ON CONFLICT (model) DO UPDATE SET version = excluded.version WHERE version != excluded.version
"""


class SqliteResponseCache:
    """The outputs in one directory for one set of generation settings; use it as a context manager.

    `settings` are whatever else changes an answer, or who gives it; `now` is the time in seconds. `save` receives new
    outputs as lines of JSON, several at a time and the rest when the cache is closed.
    """

    def __init__(
        self,
        directory: str | Path,
        settings: Mapping[str, Any],
        now: Callable[[], float] = time.time,
        save: Callable[[list[str]], object] | None = None,
    ) -> None:
        """Open or create the database; raises `UserError` when the directory cannot hold it."""
        self._settings, self._now, self._save = dict(settings), now, save
        self._unsaved: list[str] = []
        path = Path(directory) / "responses.sqlite"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._database = sqlite3.connect(path, timeout=30, isolation_level=None)
            self._database.execute("PRAGMA journal_mode=WAL")
            self._database.execute("PRAGMA synchronous=NORMAL")
            self._database.executescript(_TABLES)
        except (OSError, sqlite3.Error) as error:
            raise UserError(
                f"cannot open the response cache: {error}",
                file=path,
                remedy="set evaluate.response_cache to a local directory, or empty it",
            ) from None

    def get(self, request: GenerateRequest) -> ModelOutput | None:
        """The stored output of this request, marked as cached; None if there is none, or it is outdated."""
        since = self._now() - 86_400 * MAX_AGE_DAYS
        row = self._database.execute(_GET, (self._key(request), since)).fetchone()
        return replace(ModelOutput(**json.loads(row[0])), cached=True) if row else None

    def put(self, request: GenerateRequest, output: ModelOutput) -> None:
        """Store an output; it is durable when the call returns."""
        text = json.dumps(asdict(output))  # ASCII: SQLite cannot hold half of a surrogate pair
        model = fingerprint([request.model, request.version], self._settings)
        row = (self._key(request), model, output.model_version, self._now(), text)
        self._insert(row)
        if self._save:
            self._unsaved.append(json.dumps(row))
            if len(self._unsaved) == SAVE_EVERY:
                self._save_new()

    def load(self, lines: Iterable[str]) -> None:
        """Add outputs that were saved earlier, in the order of their answers."""
        for row in sorted(map(json.loads, lines), key=lambda row: row[3]):
            self._insert(row)

    def _insert(self, row: Sequence[Any]) -> None:
        self._database.execute("INSERT OR REPLACE INTO model_outputs VALUES (?, ?, ?, ?, ?)", row)
        self._database.execute(_PUT_VERSION, row[1:3])

    def _save_new(self) -> None:
        if self._save and self._unsaved:
            self._save(self._unsaved)
            self._unsaved = []

    def _key(self, request: GenerateRequest) -> str:
        return fingerprint({**vars(request), "key": ""}, self._settings)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        try:
            self._save_new()
        finally:
            self._database.close()
