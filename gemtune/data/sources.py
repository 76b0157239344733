# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Where rows come from: a file here, an object in Cloud Storage (gs://), a BigQuery table (bq://); and where they go.

AutoML Text's rows may hold an address instead of a text; the text is fetched. Promise: a source is read as a stream,
a fetched copy is gone when its rows have been read, and what a row refers to is read only from the bucket of the data
itself or from `preprocess.text_buckets`, and only up to `preprocess.max_chars`.
"""

from __future__ import annotations

import tempfile
from collections import deque
from collections.abc import Collection, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeGuard

from gemtune.config import Preprocess
from gemtune.data.example import RejectedRow
from gemtune.data.readers import FileReference, Row, json_row, read_rows
from gemtune.errors import UserError

GS, BQ = "gs://", "bq://"
MOUNT = Path("/gcs")  # where Vertex AI shows buckets as folders
_FETCHERS, _AHEAD = 16, 64
_SHAPES = ("contents", "messages", "textContent", "textGcsUri")


def rows(source: str, config: Preprocess) -> Iterator[Row | RejectedRow]:
    """Raw rows of a local file, a gs:// object or a bq:// table, with the texts they refer to.

    Raises `UserError` for a source that cannot be read; a row whose text cannot be had is a `Dropped`.
    """
    if not source:
        raise UserError("no data given", remedy="set `data` to a file of labelled rows, gs://... or bq://...")
    allowed = {bucket.removeprefix(GS).strip("/") for bucket in config.text_buckets}
    if source.startswith(GS):
        allowed.add(_bucket(source))
    columns = {config.text_column, config.target_column}
    found = _table(source, config) if source.startswith(BQ) else _file(source, frozenset(allowed), columns)
    return _with_texts(found, frozenset(allowed), config.max_chars)


def _file(source: str, allowed: frozenset[str], columns: Collection[str]) -> Iterator[Row | RejectedRow]:
    with local(source) as path:
        for item in read_rows(path, source, columns):
            if isinstance(item, FileReference):
                yield from _imported(item, allowed)
            else:
                yield item


def _imported(item: FileReference, allowed: frozenset[str]) -> Iterator[Row | RejectedRow]:
    if refused := _not_allowed(item.uri, allowed):
        yield RejectedRow(item.line, "missing_text", refused, {"ml_use": item.use, "uri": item.uri})
        return
    with local(item.uri) as path:
        for row in read_rows(path, item.uri):
            if isinstance(row, tuple):
                yield row[0], {"ml_use": item.use, **row[1]}
            elif isinstance(row, RejectedRow):
                yield row


@contextmanager
def local(source: str) -> Iterator[Path]:
    """A path to read a file by: its own, or that of a fetched copy that is gone afterwards."""
    if not source.startswith(GS):
        yield Path(source)
        return
    name = source.removeprefix(GS)
    if ".." not in name.split("/") and (mounted := MOUNT / name).is_file():
        yield mounted
        return
    from gemtune import vertex

    with tempfile.TemporaryDirectory(prefix="gemtune-") as folder:
        path = Path(folder) / name.rsplit("/", 1)[-1]
        vertex.download(source, path)
        yield path


@contextmanager
def written(target: str | Path) -> Iterator[Path]:
    """A path to write to; for a gs:// target it is uploaded once everything was written."""
    if not str(target).startswith(GS):
        yield Path(target)
        return
    from gemtune.vertex import reader, storage

    with tempfile.TemporaryDirectory(prefix="gemtune-") as folder:
        path = Path(folder) / str(target).rsplit("/", 1)[-1]
        yield path
        storage.put(reader(), path, str(target))


def _table(source: str, config: Preprocess) -> Iterator[Row | RejectedRow]:
    from gemtune.vertex import bigquery

    table = bigquery.open_table(source.removeprefix(BQ))
    needed = (config.text_column, config.target_column)
    missing = [name for name in needed if name not in table.columns]
    if missing and not any(name in table.columns for name in _SHAPES):
        remedy = "set preprocess.text_column and preprocess.target_column"
        known = ", ".join(table.columns)
        raise UserError(f"no column {missing[0]!r}; the table has {known}", file=source, remedy=remedy)
    for number, row in enumerate(table.rows, 1):
        yield json_row(number, row)


def _with_texts(items: Iterator[Row | RejectedRow], allowed: frozenset[str], most: int) -> Iterator[Row | RejectedRow]:
    """The rows in order, those that only hold an address with the text fetched, several at a time."""
    waiting: deque[Row | RejectedRow | Future[Row | RejectedRow]] = deque()
    client: Any = None
    with ThreadPoolExecutor(_FETCHERS) as pool:
        for item in items:
            if not _refers(item):
                waiting.append(item)
            elif refused := _not_allowed(item[1]["textGcsUri"], allowed):
                waiting.append(RejectedRow(item[0], "missing_text", refused, item[1]))
            else:
                client = client or _reader()
                waiting.append(pool.submit(_with_text, *item, most, client))
            while waiting and (len(waiting) > _AHEAD or not isinstance(waiting[0], Future)):
                yield _done(waiting.popleft())
        yield from map(_done, waiting)


def _done(item: Row | RejectedRow | Future[Row | RejectedRow]) -> Row | RejectedRow:
    return item.result() if isinstance(item, Future) else item


def _refers(item: Row | RejectedRow) -> TypeGuard[Row]:
    return isinstance(item, tuple) and item[1].get("textContent") is None and isinstance(item[1].get("textGcsUri"), str)


def _reader() -> Any:
    from gemtune import vertex

    client = vertex.reader()
    client.storage()  # made here, before threads share it
    return client


def _with_text(line: int, row: dict[str, Any], most: int, client: Any) -> Row | RejectedRow:
    from gemtune.vertex import PermanentError, storage

    uri = row["textGcsUri"]
    try:
        content = storage.head(client, uri, 4 * most + 4)  # a character is 4 bytes at most; a byte order mark
        text = content.decode("utf-8-sig")
    except PermanentError as error:
        return RejectedRow(
            line, "missing_text", f"the text's file {uri!r:.200} cannot be read: {error.message:.200}", row
        )
    except UnicodeDecodeError as error:
        if len(content) < 4 * most:
            return RejectedRow(line, "wrong_type", f"{uri!r:.200} is not UTF-8 text (byte {error.start + 1})", row)
        text = content.decode("utf-8-sig", errors="ignore")  # cut in the middle of a character
    if len(text) > most:
        return RejectedRow(line, "too_long", f"{uri!r:.200} has more than {most} characters", row)
    return line, {**row, "textContent": text}


def _not_allowed(uri: str, allowed: frozenset[str]) -> str:
    """Why an address may not be read; "" when it may. Rows are other people's words; they open no other bucket."""
    if not uri.startswith(GS):
        return f"the text's address {uri!r:.200} is not gs://BUCKET/OBJECT"
    if _bucket(uri) not in allowed:
        return f"the text is in {uri!r:.200}; to read it, put its bucket into preprocess.text_buckets"
    return ""


def _bucket(uri: str) -> str:
    return uri.removeprefix(GS).split("/", 1)[0]
