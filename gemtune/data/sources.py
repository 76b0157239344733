# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Sources of rows: a local file, a Cloud Storage object (gs://), a BigQuery table (bq://); and output paths.

Rows of AutoML Text may have a URI instead of a text; the text is downloaded. Guarantees: a source is read as a stream;
a downloaded copy is deleted when its rows have been read; texts are read only from the bucket of the data itself
or from `preprocess.text_buckets`, and only up to `preprocess.max_chars`.
"""

from __future__ import annotations

import logging
import tempfile
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard

import yaml

from gemtune.config import JsonObject, Preprocess, Task
from gemtune.data.example import Example, RejectedRow, Row, read_examples
from gemtune.data.readers import FileReference, json_row, read_rows
from gemtune.data.text_files import Note
from gemtune.errors import UserError, did_you_mean

if TYPE_CHECKING:
    from gemtune.vertex import Client

log = logging.getLogger("gemtune")

GS, BQ = "gs://", "bq://"
MOUNT = Path("/gcs")  # where Vertex AI mounts buckets
_WORKERS, _MAX_PENDING = 16, 64
_FORMAT_KEYS = ("contents", "messages", "textContent", "textGcsUri")


def rows(source: str, task: Task, config: Preprocess, note: Note = log.warning) -> Iterator[Row | RejectedRow]:
    """Raw rows of a local file, a gs:// object or a bq:// table, with the texts they refer to.

    `note` receives what was assumed about a file, with the setting that overrides it.

    Raises `UserError` for a source that cannot be read; a row whose text cannot be read is a `RejectedRow`.
    """
    if not source:
        raise UserError("no data", remedy="set `data` to a file of labelled rows, gs://... or bq://...")
    allowed = {bucket.removeprefix(GS).strip("/") for bucket in config.text_buckets}
    if source.startswith(GS):
        allowed.add(_bucket(source))
    is_table = source.startswith(BQ)
    items = _table(source, config) if is_table else _file(source, frozenset(allowed), task, config, note)
    return _with_referenced_texts(items, frozenset(allowed), config.max_chars)


def _file(
    source: str, allowed: frozenset[str], task: Task, config: Preprocess, note: Note
) -> Iterator[Row | RejectedRow]:
    with local_path(source) as path:
        for item in read_rows(path, source, task, config, note):
            if isinstance(item, FileReference):
                yield from _referenced_rows(item, allowed, config, note)
            else:
                yield item


def _referenced_rows(
    item: FileReference, allowed: frozenset[str], config: Preprocess, note: Note
) -> Iterator[Row | RejectedRow]:
    if refusal := _refusal(item.uri, allowed):
        yield RejectedRow(item.line, "missing_text", refusal, {"ml_use": item.use, "uri": item.uri})
        return
    with local_path(item.uri) as path:
        for row in read_rows(path, item.uri, None, config, note):
            if isinstance(row, tuple):
                yield row[0], {"ml_use": item.use, **row[1]}
            elif isinstance(row, RejectedRow):
                yield row


@contextmanager
def local_path(source: str, client: Client | None = None) -> Iterator[Path]:
    """The path of a local file, or of a copy that is deleted afterwards, downloaded by `client` or anonymously."""
    if not source.startswith(GS):
        yield Path(source)
        return
    name = source.removeprefix(GS)
    if ".." not in name.split("/") and (mounted := MOUNT / name).is_file():
        yield mounted
        return
    from gemtune.vertex import anonymous_client, storage

    with tempfile.TemporaryDirectory(prefix="gemtune-") as folder:
        path = Path(folder) / name.rsplit("/", 1)[-1]
        storage.download(client or anonymous_client(), source, path)
        yield path


def stored_examples(client: Client, uri: str) -> list[Example]:
    """The examples in a file that a run stored in the bucket; [] for no URI."""
    if not uri:
        return []
    with local_path(uri, client) as path:
        return list(read_examples(path))


def with_labels(task: Task) -> Task:
    """The task with the labels and descriptions of its `labels_file`, equal to one that lists them.

    Raises `UserError` naming the file.
    """
    if not task.labels_file:
        return task
    try:
        with local_path(task.labels_file) as path:
            content = yaml.safe_load(path.read_text(encoding="utf-8"))
        described = dict.fromkeys(content, "") if isinstance(content, list) else content
        texts = {label: text for label, text in described.items() if text}
        listed = {"labels_file": "", "labels": [*described], "label_descriptions": texts}
        return Task.model_validate(task.model_dump() | listed)
    except (OSError, yaml.YAMLError, AttributeError, ValueError) as error:  # also text that is not UTF-8
        remedy = "a YAML or JSON list of labels, or a mapping of labels to descriptions"
        raise UserError(f"cannot read the labels: {error}", file=task.labels_file, remedy=remedy) from None


@contextmanager
def output_path(target: str | Path) -> Iterator[Path]:
    """A path to write to; for a gs:// target the file is uploaded once it is complete."""
    if not str(target).startswith(GS):
        yield Path(target)
        return
    from gemtune.vertex import anonymous_client, storage

    with tempfile.TemporaryDirectory(prefix="gemtune-") as folder:
        path = Path(folder) / str(target).rsplit("/", 1)[-1]
        yield path
        storage.put(anonymous_client(), path, str(target))


def _table(source: str, config: Preprocess) -> Iterator[Row | RejectedRow]:
    from gemtune.vertex import bigquery

    table = bigquery.open_table(source.removeprefix(BQ))
    required = (config.text_column, config.target_column)
    missing = [name for name in required if name not in table.columns]
    if missing and not any(name in table.columns for name in _FORMAT_KEYS):
        similar = did_you_mean(missing[0], tuple(table.columns))
        remedy = f"set preprocess.text_column and preprocess.target_column{similar}"
        available = ", ".join(table.columns)
        raise UserError(f"no column {missing[0]!r}; the table has {available}", file=source, remedy=remedy)
    for number, row in enumerate(table.rows, 1):
        yield json_row(number, row)


def _with_referenced_texts(
    items: Iterator[Row | RejectedRow], allowed: frozenset[str], max_chars: int
) -> Iterator[Row | RejectedRow]:
    """The rows in order; texts given by a URI are downloaded concurrently."""
    pending: deque[Row | RejectedRow | Future[Row | RejectedRow]] = deque()
    client: Any = None
    with ThreadPoolExecutor(_WORKERS) as pool:
        for item in items:
            if not _is_reference(item):
                if not pending:
                    yield item
                    continue
                pending.append(item)
            elif refusal := _refusal(item[1]["textGcsUri"], allowed):
                pending.append(RejectedRow(item[0], "missing_text", refusal, item[1]))
            else:
                client = client or _shared_client()
                pending.append(pool.submit(_with_text, *item, max_chars, client))
            while pending and (len(pending) > _MAX_PENDING or not isinstance(pending[0], Future)):
                yield _result(pending.popleft())
        yield from map(_result, pending)


def _result(item: Row | RejectedRow | Future[Row | RejectedRow]) -> Row | RejectedRow:
    return item.result() if isinstance(item, Future) else item


def _is_reference(item: Row | RejectedRow) -> TypeGuard[Row]:
    return isinstance(item, tuple) and isinstance(item[1].get("textGcsUri"), str) and item[1].get("textContent") is None


def _shared_client() -> Any:
    from gemtune import vertex

    client = vertex.anonymous_client()
    client.storage()  # created before threads share it
    return client


def _with_text(line: int, row: JsonObject, max_chars: int, client: Any) -> Row | RejectedRow:
    from gemtune.vertex import storage
    from gemtune.vertex.calls import PermanentError

    uri = row["textGcsUri"]
    try:
        content = storage.head(client, uri, 4 * max_chars + 4)  # a character is 4 bytes at most; a byte order mark
        text = content.decode("utf-8-sig")
    except PermanentError as error:
        return RejectedRow(line, "missing_text", f"the text {uri!r:.200} cannot be read: {error.message:.200}", row)
    except UnicodeDecodeError as error:
        if len(content) < 4 * max_chars:
            return RejectedRow(line, "wrong_type", f"{uri!r:.200} is not UTF-8 text (byte {error.start + 1})", row)
        text = content.decode("utf-8-sig", errors="ignore")  # truncated within a character
    if len(text) > max_chars:
        return RejectedRow(line, "too_long", f"{uri!r:.200} has more than {max_chars} characters", row)
    return line, {**row, "textContent": text}


def _refusal(uri: str, allowed: frozenset[str]) -> str:
    """Why a URI must not be read; "": it may be read. Rows are untrusted input and must not open other buckets."""
    if not uri.startswith(GS):
        return f"the text's URI {uri!r:.200} is not gs://BUCKET/OBJECT"
    if _bucket(uri) not in allowed:
        return f"the text is in {uri!r:.200}; to read it, add its bucket to preprocess.text_buckets"
    return ""


def _bucket(uri: str) -> str:
    return uri.removeprefix(GS).split("/", 1)[0]
