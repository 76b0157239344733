# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Files and records in Cloud Storage: content-addressed uploads, whole downloads, records with compare-and-set.

Source: google-cloud-storage and its generation preconditions. Promise: an object is stored once however often a run is
repeated, and a record changes only when nobody else changed it meanwhile.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from gemtune.errors import UserError
from gemtune.vertex import Client, PermanentError, translate_errors, with_retries


def upload(client: Client, path: str | Path, folder: str = "data") -> str:
    """Store a file under its SHA-256, once; returns its gs:// URI. A second upload of equal content stores nothing."""
    path = Path(path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    name = f"{folder}/{digest}{path.suffix}"
    blob = bucket(client).blob(name)
    if not translate_errors(blob.exists):
        try:
            translate_errors(lambda: blob.upload_from_filename(str(path), if_generation_match=0))
        except PermanentError as error:
            if error.code != 412:  # 412: somebody stored it in between, with this very content
                raise
    return f"gs://{client.bucket}/{name}"


def download(client: Client, uri: str, path: str | Path) -> None:
    """Fetch an object into a file, whole or not at all. Raises `UserError` when it does not exist."""
    name, _, key = uri.removeprefix("gs://").partition("/")
    if not uri.startswith("gs://") or not name or not key:
        raise UserError(f"{uri!r} is not a Cloud Storage object", remedy="write gs://BUCKET/OBJECT")
    blob = client.storage().bucket(name).blob(key)
    part = Path(f"{path}.part")
    try:
        translate_errors(lambda: blob.download_to_filename(str(part)))
        os.replace(part, path)
    except PermanentError as error:
        raise UserError(
            f"cannot read {uri}: {error.message}", remedy="check the name and the right to read it"
        ) from None
    finally:
        part.unlink(missing_ok=True)


def head(client: Client, uri: str, size: int) -> bytes:
    """The first `size` bytes of an object, or all of a smaller one. Raises `Refused` when it cannot be read."""
    name, _, key = uri.removeprefix("gs://").partition("/")
    if not name or not key:
        raise PermanentError(400, "not gs://BUCKET/OBJECT")
    blob = client.storage().bucket(name).blob(key)
    try:
        found: bytes = with_retries(translate_errors, lambda: blob.download_as_bytes(end=size - 1))
    except PermanentError as error:
        if error.code == 416:  # an empty object has no first byte
            return b""
        raise
    return found


def stat(client: Client, uri: str) -> tuple[int, int]:
    """Size (bytes) and generation of an object. Raises `UserError` when it cannot be read."""
    name, _, key = uri.removeprefix("gs://").partition("/")
    blob = client.storage().bucket(name).blob(key)
    try:
        translate_errors(blob.reload)
    except PermanentError as error:
        raise UserError(
            f"cannot read {uri}: {error.message}", remedy="check the name and the right to read it"
        ) from None
    return int(blob.size or 0), int(blob.generation or 0)


def put(client: Client, path: str | Path, uri: str) -> None:
    """Store a file as an object, replacing it. Raises `UserError` when it may not be written."""
    name, _, key = uri.removeprefix("gs://").partition("/")
    if not name or not key:
        raise UserError(f"{uri!r} is not a Cloud Storage object", remedy="write gs://BUCKET/OBJECT")
    blob = client.storage().bucket(name).blob(key)
    try:
        translate_errors(lambda: blob.upload_from_filename(str(path)))
    except PermanentError as error:
        raise UserError(
            f"cannot write {uri}: {error.message}", remedy="check the bucket's name and the right to write to it"
        ) from None


def read_record(client: Client, key: str) -> tuple[dict[str, Any] | None, int]:
    """A JSON object of the bucket and its generation; (None, 0) when there is none."""
    blob = bucket(client).blob(key)
    try:
        content = translate_errors(blob.download_as_bytes)
    except PermanentError as error:
        if error.code == 404:
            return None, 0
        raise
    return json.loads(content), int(blob.generation or 0)


def write_record(client: Client, key: str, record: dict[str, Any], generation: int) -> bool:
    """Replace a record if it still has the generation that was read (0: if there is none); False: it has changed."""
    blob = bucket(client).blob(key)
    content = json.dumps(record, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    try:
        translate_errors(
            lambda: blob.upload_from_string(content, content_type="application/json", if_generation_match=generation)
        )
    except PermanentError as error:
        if error.code == 412:
            return False
        raise
    return True


def list_records(client: Client, folder: str) -> list[str]:
    """The keys of all records in a folder of the bucket."""
    found = bucket(client)
    return translate_errors(lambda: [str(blob.name) for blob in found.list_blobs(prefix=f"{folder}/")])


def list_objects(client: Client, uri: str) -> list[str]:
    """The gs:// URIs of all objects in a folder, which is itself a gs:// URI."""
    name, _, folder = uri.removeprefix("gs://").partition("/")
    found = client.storage().bucket(name)
    return translate_errors(
        lambda: [f"gs://{name}/{one.name}" for one in found.list_blobs(prefix=folder.rstrip("/") + "/")]
    )


def bucket(client: Client) -> Any:
    """The run's bucket, made in the tuning location when it does not exist (looked at once per client)."""
    found = client.storage().bucket(client.bucket)
    if client.bucket_exists or translate_errors(found.exists):
        client.bucket_exists = True
        return found
    try:
        translate_errors(lambda: client.storage().create_bucket(client.bucket, location=client.location))
    except PermanentError as error:
        if error.code != 409:  # 409: made by somebody in between; if it is not ours, the next call says so
            raise
    client.bucket_exists = True
    return found
