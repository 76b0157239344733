# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Outputs already paid for, keyed by content: a rerun sends only changed requests, a killed run only missing ones.

The key is the whole request (model and version, system instruction, contents, generation settings, response schema,
sample number), so a changed prompt or setting never returns an old output. One SQLite file in write-ahead mode: each
output is committed before it counts, several processes may share the file, and kill -9 loses no committed output.
Errors are not stored. For local disks only: network file systems lack the locks that SQLite needs; outputs that other
machines are to use again leave as lines (`Segments`) and come back as lines (`load`).

The key includes who answered: server, project and location. The service may replace a model behind its name, so an
output counts for `MAX_AGE_DAYS`, and only while the version that gave it is the last one that answered.
"""

import errno
import json
import logging
import sqlite3
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from gemtune.config import fingerprint
from gemtune.contents import ModelOutput
from gemtune.errors import SYSTEM_REMEDIES, UserError
from gemtune.inference.generate import GenerateRequest

log = logging.getLogger("gemtune")

Row = tuple[str, str, str, float, str]  # key, model with settings, its version, time, output
SAVE_LINES, SAVE_S = 50, 1.0  # whichever comes first; a killed step loses fewer, and those being written
PAUSE_S = 1.0  # Cloud Storage: an object may be written once a second
SEGMENT_LINES = 500  # bounds the number of objects, and what is written again
SCHEMA_VERSION = 1  # of a stored output and its key
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


def read_line(line: bytes | str) -> Row | None:
    """The row of a saved output; None for a damaged line."""
    try:
        key, model, version, answered_at, output = json.loads(line)
        return (str(key), str(model), str(version), float(answered_at), output) if _output(output) else None
    except (ValueError, TypeError, RecursionError):
        return None


def _output(text: str) -> ModelOutput | None:
    try:
        return ModelOutput(**json.loads(text))
    except (ValueError, TypeError, RecursionError):
        return None


@dataclass
class _Segment:
    name: str = field(default_factory=lambda: uuid.uuid4().hex)
    lines: list[str] = field(default_factory=list)
    written: float = 0.0


class Segments:
    """Lines saved in a thread while they come, in objects of about SEGMENT_LINES that are written again as they grow.

    `write` gets the name and all lines of an object. `close` saves the rest; use it as a context manager.
    """

    def __init__(self, write: Callable[[str, list[str]], object]) -> None:
        self._write, self._new, self._growing = write, list[str](), list[_Segment]()
        self._due, self._closed = threading.Event(), False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def add(self, line: str) -> None:
        """Save a line soon."""
        self._new.append(line)
        if len(self._new) >= SAVE_LINES:
            self._due.set()

    def _run(self) -> None:
        while not self._closed:
            self._due.wait(SAVE_S)
            self._due.clear()
            self._save()

    def _save(self) -> None:
        lines = self._new[:]
        del self._new[: len(lines)]  # others may have been added meanwhile
        if lines:
            rested = [own for own in self._growing if time.monotonic() - own.written >= PAUSE_S]
            segment = rested[0] if rested else _Segment()
            segment.lines += lines
            self._write(segment.name, segment.lines)
            segment.written = time.monotonic()
            others = [own for own in self._growing if own is not segment]
            self._growing = others if len(segment.lines) >= SEGMENT_LINES else [*others, segment]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._closed = True
        self._due.set()
        self._thread.join()
        self._save()


class SqliteResponseCache:
    """The outputs in one directory for one set of generation settings; use it as a context manager.

    `settings` are whatever else changes an answer, or who gives it; `now` is the time in seconds. `save` receives each
    new output as a line of JSON.
    """

    def __init__(
        self,
        directory: str | Path,
        settings: Mapping[str, Any],
        now: Callable[[], float] = time.time,
        save: Callable[[str], object] = lambda line: None,
    ) -> None:
        """Open or create the database; raises `UserError` when the directory cannot hold it."""
        self._settings, self._now, self._save = {"schema_version": SCHEMA_VERSION, **settings}, now, save
        self._path = Path(directory) / "responses.sqlite"
        with self._readable():
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._database = sqlite3.connect(self._path, timeout=30, isolation_level=None)
            self._database.execute("PRAGMA journal_mode=WAL")
            self._database.execute("PRAGMA synchronous=NORMAL")
            self._database.executescript(_TABLES)

    @contextmanager
    def _readable(self) -> Iterator[None]:
        try:
            yield
        except (OSError, sqlite3.Error) as error:
            remedy = "move it away, or set evaluate.response_cache to another directory on a local disk, or off"
            if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
                remedy = SYSTEM_REMEDIES[errno.ENOSPC]
            raise UserError(f"the response cache cannot be used: {error}", file=self._path, remedy=remedy) from None

    def get(self, request: GenerateRequest) -> ModelOutput | None:
        """The stored output of this request, marked as cached; None if there is none, or it is outdated."""
        since = self._now() - 86_400 * MAX_AGE_DAYS
        with self._readable():
            row = self._database.execute(_GET, (self._key(request), since)).fetchone()
        if row and (output := _output(row[0])) is None:
            log.warning("%s: a damaged answer is not used: its request is sent again", self._path)
        return replace(output, cached=True) if row and output else None

    def put(self, request: GenerateRequest, output: ModelOutput) -> None:
        """Store an output; it is durable when the call returns."""
        text = json.dumps(asdict(output))  # ASCII: SQLite cannot hold half of a surrogate pair
        model = fingerprint([request.model, request.version], self._settings)
        row = (self._key(request), model, output.model_version, self._now(), text)
        self._insert(row)
        self._save(json.dumps(row))

    def load(self, rows: Iterable[Row]) -> None:
        """Add outputs that were saved earlier, in the order of their answers."""
        for row in sorted(rows, key=lambda row: row[3]):
            self._insert(row)

    def _insert(self, row: Row) -> None:
        with self._readable():
            self._database.execute("INSERT OR REPLACE INTO model_outputs VALUES (?, ?, ?, ?, ?)", row)
            self._database.execute(_PUT_VERSION, row[1:3])

    def _key(self, request: GenerateRequest) -> str:
        return fingerprint({**vars(request), "key": ""}, self._settings)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._database.close()
