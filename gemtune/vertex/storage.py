# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Cloud Storage: content-addressed uploads, atomic downloads, and JSON records with compare-and-set.

Source: google-cloud-storage and its generation preconditions. Guarantees: repeated runs store an object once, and a
record is replaced only if no other writer changed it since it was read.
"""

import hashlib
import json
import os
import re
import tempfile
import uuid
from collections.abc import Callable, Iterable
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from gemtune.artifacts.base import open_atomic
from gemtune.config import JsonObject
from gemtune.errors import UserError
from gemtune.vertex import Client
from gemtune.vertex.calls import PermanentError, retried, translate_errors

T = TypeVar("T")


@retried
def upload(client: Client, path: str | Path, folder: str = "data") -> str:
    """Store a file under its SHA-256 and return its gs:// URI; equal content is stored once."""
    path = Path(path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    name = f"{folder}/{digest}{path.suffix}"
    blob = bucket(client).blob(name)
    if not translate_errors(blob.exists):
        # 412: stored by another writer in between, with the same content
        translate_errors(lambda: blob.upload_from_filename(str(path), if_generation_match=0), {412: None})
    return f"gs://{client.bucket}/{name}"


def upload_lines(client: Client, lines: Iterable[str], folder: str) -> str:
    """Store lines as a .jsonl object, as `upload` does."""
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / "lines.jsonl"
        with open_atomic(path) as file:
            file.writelines(f"{line}\n" for line in lines)
        return upload(client, path, folder)


@retried
def put_lines(client: Client, lines: Iterable[str], key: str) -> None:
    """Store lines as an object of the bucket, replacing it."""
    blob, text = bucket(client).blob(key), "".join(f"{line}\n" for line in lines)
    translate_errors(lambda: blob.upload_from_string(text, content_type="application/jsonl"))


@retried
def download(client: Client, uri: str, path: str | Path) -> None:
    """Download an object to a file, completely or not at all. Raises `UserError` when it does not exist."""
    part = Path(f"{path}.part")
    try:
        _for_user("read", uri, lambda: _blob(client, uri).download_to_filename(str(part)))
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def _blob(client: Client, uri: str) -> Any:
    name, _, key = uri.removeprefix("gs://").partition("/")
    if not uri.startswith("gs://") or not name or not key:
        raise PermanentError(400, f"{uri!r} is not a Cloud Storage object: write gs://BUCKET/OBJECT")
    return _named(client, name).blob(key)


def _for_user(verb: str, uri: str, call: Callable[[], T]) -> T:
    """The result of an SDK call; what the service refuses is an error of the user."""
    try:
        return translate_errors(call)
    except PermanentError as error:
        remedy = f"check the name and the permission to {verb} it"
        raise UserError(f"cannot {verb} {uri}: {error.message}", remedy=remedy) from None


@retried
def read_text(client: Client, uri: str) -> str:
    """The text of an object; "" where there is none, or where it may not be read."""
    try:
        return str(translate_errors(lambda: _blob(client, uri).download_as_text()))
    except PermanentError:
        return ""


@retried
def head(client: Client, uri: str, size: int) -> bytes:
    """The first `size` bytes of an object, or all of a smaller one. Raises `PermanentError` when it cannot be read."""
    blob = _blob(client, uri)
    content: bytes = translate_errors(lambda: blob.download_as_bytes(end=size - 1), {416: b""})  # an empty object
    return content


@retried
def stat(client: Client, uri: str) -> tuple[int, int]:
    """Size (bytes) and generation of an object. Raises `UserError` when it cannot be read."""

    def load() -> Any:
        blob = _blob(client, uri)
        blob.reload()
        return blob

    blob = _for_user("read", uri, load)
    return int(blob.size or 0), int(blob.generation or 0)


@retried
def put(client: Client, path: str | Path, uri: str) -> None:
    """Store a file as an object, replacing it. Raises `UserError` when it cannot be written."""
    _for_user("write", uri, lambda: _blob(client, uri).upload_from_filename(str(path)))


@retried
def read_record(client: Client, key: str) -> tuple[JsonObject | None, int]:
    """A JSON object of the bucket and its generation; (None, 0) when there is none.

    Raises `UserError` for an object that is not one (damaged): it is never read as none.
    """
    blob = bucket(client).blob(key)
    content = translate_errors(blob.download_as_bytes, {404: None})
    return (None, 0) if content is None else (_parsed(client, key, content), int(blob.generation or 0))


def read_if_changed(client: Client, key: str, generation: int, timeout_s: float) -> tuple[JsonObject, int] | None:
    """A record and its generation, None while it has the given one: one attempt, of at most `timeout_s` seconds.

    Raises `TransientError`, `PermanentError` (404: it is gone) or `UserError`, as `read_record`.
    """
    blob = _named(client, client.bucket).blob(key)

    def load() -> bytes | None:
        content: bytes = blob.download_as_bytes(if_generation_not_match=generation, timeout=timeout_s, retry=None)
        return content

    content = translate_errors(load, {304: None})
    return None if content is None else (_parsed(client, key, content), int(blob.generation or 0))


def _parsed(client: Client, key: str, content: bytes) -> JsonObject:
    try:
        record = json.loads(content)
    except (ValueError, RecursionError) as error:
        record = error
    if not isinstance(record, dict):
        where = f"gs://{client.bucket}/{key}"
        raise UserError("the record is damaged: not a JSON object", file=where, remedy=damage_remedy(where))
    return record


def damage_remedy(uri: str) -> str:
    """What to do about a damaged record."""
    return f"restore an earlier version, or move it away: gcloud storage mv {uri} ELSEWHERE"


def write_record(client: Client, key: str, record: JsonObject, generation: int) -> bool:
    """Replace a record if it still has the given generation (0: does not exist); False when it has changed.

    Each write has a mark of its own, so that a write whose response was lost is recognised when it is sent again.
    """
    text = json.dumps(record, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    content = text.encode(errors="backslashreplace")  # as `open_atomic` writes a lone surrogate
    return _write_marked(client, key, content, generation, uuid.uuid4().hex)


@retried
def _write_marked(client: Client, key: str, content: bytes, generation: int, mark: str) -> bool:
    blob = bucket(client).blob(key)
    blob.metadata = {"write": mark}

    def write() -> bool:
        blob.upload_from_string(content, content_type="application/json", if_generation_match=generation)
        return True

    if translate_errors(write, {412: False}):
        return True
    stored = translate_errors(lambda: _named(client, client.bucket).get_blob(key))
    return stored is not None and (stored.metadata or {}).get("write") == mark


@retried
def touch(client: Client, key: str) -> datetime:
    """Write an empty record; returns when, by the clock of Cloud Storage."""
    blob = bucket(client).blob(key)
    translate_errors(lambda: blob.upload_from_string("{}\n", content_type="application/json"))
    written: datetime = blob.updated
    return written


@retried
def delete(client: Client, key: str) -> None:
    """Delete an object of the bucket, if there is one."""
    blob = bucket(client).blob(key)
    translate_errors(blob.delete, {404: None})


@retried
def list_times(client: Client, folder: str) -> dict[str, datetime]:
    """Key -> time of the last write of all objects in a folder of the bucket, by the clock of Cloud Storage."""
    run_bucket = bucket(client)
    return translate_errors(lambda: {str(b.name): b.updated for b in run_bucket.list_blobs(prefix=f"{folder}/")})


@retried
def bucket(client: Client, encryption_key: str = "") -> Any:
    """The run's bucket, created in the tuning location if it does not exist (checked once per client).

    A new bucket has `encryption_key`, else that of the settings, as its default key.
    """
    run_bucket = _named(client, client.bucket)
    if client.bucket_exists or translate_errors(run_bucket.exists):
        client.bucket_exists = True
        return run_bucket
    if key := encryption_key or client.settings.encryption_key:
        run_bucket.default_kms_key_name = key
    # 409: created in between; if by another project, the next call fails
    translate_errors(lambda: client.storage().create_bucket(run_bucket, location=client.location), {409: None})
    client.bucket_exists = True
    return run_bucket


def _named(client: Client, name: str) -> Any:
    """The bucket of this name, whether it exists or not. Raises `UserError` for a name that no bucket can have."""
    require_bucket_name(name)
    return client.storage().bucket(name)


def require_bucket_name(name: str) -> None:
    """Raise `UserError` for a name that no bucket can have."""
    if not re.fullmatch(r"[a-z0-9]([a-z0-9._-]*[a-z0-9])?", name):
        remedy = "correct vertex.bucket, or the gs:// URI: lower-case letters, digits, dashes, no folder"
        raise UserError(f"{name!r} is not a valid bucket name", remedy=remedy)
