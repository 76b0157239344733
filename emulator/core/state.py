# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The persistent state in one SQLite file: resources by name, and points of curves.

A resource is a JSON object under its full Google name; keys that begin with `_` are private and never sent.
Write-ahead logging makes each transaction atomic: after a kill -9 a resource is as it was before or after a change,
never between. One process owns a state directory at a time.
"""

import fcntl
import hashlib
import json
import os
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

Resource = dict[str, Any]

_SCHEMA = Path(__file__).with_name("state.sql").read_text(encoding="utf-8")


LOCK_TIMEOUT_S = 3.0  # an emulator that is ending needs two


class StateInUse(Exception):
    """Another process owns the state directory."""


def _in_use(directory: Path, lock: IO[str]) -> str:
    lock.seek(0)
    try:
        owner = json.loads(lock.read())
    except ValueError:  # it has not written yet
        return f"{directory} is used by another emulator; choose another --state-dir"
    place = f"the emulator at {owner['url']} (process {owner['pid']})"
    return f"{directory} is used by {place}; end it (kill {owner['pid']}), or choose another --state-dir"


class Database:
    """One SQLite file shared by many threads; transactions are atomic, serial, and may be nested."""

    def __init__(self, path: Path, schema: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = threading.RLock()
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=NORMAL")
        self._db.executescript(schema)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All statements inside are committed, or none; inner transactions join the outer one."""
        with self._lock:
            if self._db.in_transaction:
                yield
                return
            with self._db:
                self._db.execute("BEGIN IMMEDIATE")
                yield

    def rows(self, sql: str, arguments: Sequence[Any] = ()) -> list[Any]:
        """All rows of one statement."""
        with self._lock:
            return self._db.execute(sql, arguments).fetchall()

    def execute(self, sql: str, arguments: Sequence[Any] = ()) -> int:
        """Run one statement; the number of rows it changed."""
        with self._lock:
            return self._db.execute(sql, arguments).rowcount

    def close(self) -> None:
        """Close the file; later calls fail."""
        with self._lock:
            self._db.close()


class State:
    """The resources of all projects under one directory."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self._lock = (directory / "lock").open("a+", encoding="utf-8")
        deadline = time.monotonic() + LOCK_TIMEOUT_S  # who looks whether it is held holds it for a moment
        while True:
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError as error:
                if time.monotonic() > deadline:
                    raise StateInUse(_in_use(directory, self._lock)) from error
            time.sleep(0.05)
        self._lock.truncate(0)
        self._database = Database(directory / "state.sqlite", _SCHEMA)
        self._writes: Counter[str] = Counter()
        self.transaction = self._database.transaction

    def describe_owner(self, **facts: Any) -> None:
        """Write what others may know of the process that owns the state into its lock, beside the process id."""
        self._lock.write(json.dumps({"pid": os.getpid(), **facts}))
        self._lock.flush()

    def writes(self, collection: str) -> int:
        """How often resources of a collection were written, so that a reader can detect changes."""
        return self._writes[collection]

    def _count_write(self, name: str) -> None:
        self._writes[name.rsplit("/", 2)[-2]] += 1

    def new_id(self, kind: str) -> str:
        """A decimal id of 19 digits, unique in this directory."""
        with self.transaction():
            self._database.execute("INSERT OR IGNORE INTO counters VALUES (?, 0)", (kind,))
            self._database.execute("UPDATE counters SET value = value + 1 WHERE name = ?", (kind,))
            ((value,),) = self._database.rows("SELECT value FROM counters WHERE name = ?", (kind,))
        digest = hashlib.sha256(f"{kind}/{value}".encode()).digest()
        return str(10**18 + int.from_bytes(digest[:8], "big") % (8 * 10**18))

    def put(self, kind: str, name: str, body: Resource) -> Resource:
        """Store a resource under its name, new or replaced; its place in lists stays."""
        parent = name.rsplit("/", 2)[0]
        self._database.execute(
            "INSERT INTO resources (name, kind, parent, body) VALUES (?, ?, ?, ?) "
            "ON CONFLICT (name) DO UPDATE SET body = excluded.body",
            (name, kind, parent, json.dumps(body, ensure_ascii=False)),
        )
        self._count_write(name)
        return body

    def get(self, name: str) -> Resource | None:
        """The resource of this name, or None."""
        rows = self._database.rows("SELECT body FROM resources WHERE name = ?", (name,))
        return json.loads(rows[0][0]) if rows else None

    def change(self, name: str, edit: Callable[[Resource], None]) -> Resource:
        """Edit a resource in place in one transaction; `KeyError` when it does not exist."""
        with self.transaction():
            body = self.get(name)
            if body is None:
                raise KeyError(name)
            edit(body)
            self._database.execute(
                "UPDATE resources SET body = ? WHERE name = ?", (json.dumps(body, ensure_ascii=False), name)
            )
            self._count_write(name)
            return body

    def update(self, name: str, /, **fields: Any) -> Resource:
        """Set fields of a resource in one transaction; `KeyError` when it does not exist."""
        return self.change(name, lambda body: body.update(fields))

    def delete(self, name: str) -> None:
        """Remove a resource, if there is one."""
        self._database.execute("DELETE FROM resources WHERE name = ?", (name,))
        self._count_write(name)

    def all(self, kind: str, parent: str | None = None) -> list[tuple[int, Resource]]:
        """(sequence number, resource) of a kind, newest first, optionally of one parent."""
        return list(self.walk(kind, parent))

    def walk(
        self, kind: str, parent: str | None = None, before: int = 1 << 62, labels: Sequence[tuple[str, str]] = ()
    ) -> Iterator[tuple[int, Resource]]:
        """As `all`, read as far as it is consumed: those numbered below `before` that have all of the labels."""
        where = "kind = ? AND seq < ?"
        fixed: list[Any] = []
        if parent is not None:
            where += " AND parent = ?"
            fixed.append(parent)
        for key, value in labels:
            where += " AND seq IN (SELECT seq FROM labels WHERE kind = ? AND key = ? AND value = ?)"
            fixed += [kind, key, value]
        size = 100
        while True:
            rows = self._database.rows(
                f"SELECT seq, body FROM resources WHERE {where} ORDER BY seq DESC LIMIT {size}", (kind, before, *fixed)
            )
            for seq, body in rows:
                yield seq, json.loads(body)
            if len(rows) < size:
                return
            before, size = rows[-1][0], min(8 * size, 10_000)

    def clear(self) -> None:
        """Remove all resources and curves; ids are not used again."""
        with self.transaction():
            for table in ("resources", "labels", "points"):
                self._database.execute(f"DELETE FROM {table}")

    def add_points(self, points: Sequence[tuple[str, int, str, float]]) -> None:
        """Add (series, step, wall time, value) to curves; a repeated step is replaced."""
        with self.transaction():
            for point in points:
                self._database.execute("INSERT OR REPLACE INTO points VALUES (?, ?, ?, ?)", point)

    def points(self, series: str) -> list[tuple[int, str, float | None]]:
        """(step, wall time, value) of one curve, by step; a value that is not a number reads as None."""
        return self._database.rows("SELECT step, wall, value FROM points WHERE series = ? ORDER BY step", (series,))

    def last_point(self, series: str) -> tuple[int, str] | None:
        """(step, wall time) of the last point of a curve."""
        rows = self._database.rows(
            "SELECT step, wall FROM points WHERE series = ? ORDER BY step DESC LIMIT 1", (series,)
        )
        return (rows[0][0], rows[0][1]) if rows else None

    def delete_points(self, series: str) -> None:
        """Remove the points of one curve."""
        self._database.execute("DELETE FROM points WHERE series = ?", (series,))

    def close(self) -> None:
        """Close the files and release the directory."""
        self._database.close()
        self._lock.close()
