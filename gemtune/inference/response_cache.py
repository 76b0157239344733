# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Answers already paid for, by content: a rerun asks only for what changed, a killed run only for what is missing.

The key is the whole request (model and version, system instruction, contents, generation settings, sample number), so a
changed prompt or setting can never be served an old answer. One SQLite file in write-ahead mode: each answer is
committed before it counts, several processes may share the file, and kill -9 loses nothing that was committed.
Failures are not kept. Meant for local disks; network file systems do not lock as SQLite needs.
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
    """The answers in one directory under one set of generation settings; use it as a context manager."""

    def __init__(self, directory: str | Path, settings: Mapping[str, Any]) -> None:
        """Open or create the store; raises `UserError` when the directory cannot hold it."""
        self._settings = dict(settings)
        path = Path(directory) / "answers.sqlite"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._rows = sqlite3.connect(path, timeout=30, isolation_level=None)
            self._rows.execute("PRAGMA journal_mode=WAL")
            self._rows.execute("PRAGMA synchronous=NORMAL")
            self._rows.execute("CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, given TEXT NOT NULL)")
        except (OSError, sqlite3.Error) as error:
            raise UserError(
                f"cannot keep answers: {error}",
                file=path,
                remedy="point evaluate.cache at a local directory, or empty it",
            ) from None

    def get(self, request: GenerateRequest) -> ModelOutput | None:
        """The answer to this very question, marked as cached; None when it is not known."""
        row = self._rows.execute("SELECT given FROM answers WHERE key = ?", (self._key(request),)).fetchone()
        return replace(ModelOutput(**json.loads(row[0])), cached=True) if row else None

    def put(self, request: GenerateRequest, given: ModelOutput) -> None:
        """Keep an answer; on return it survives the process."""
        text = json.dumps(asdict(given), ensure_ascii=False)
        self._rows.execute("INSERT OR REPLACE INTO answers VALUES (?, ?)", (self._key(request), text))

    def _key(self, request: GenerateRequest) -> str:
        asked: list[Any] = [request.model, request.version, request.system, request.contents]
        asked += [request.sample, request.temperature, request.max_output_tokens]
        return fingerprint(asked, self._settings)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._rows.close()
