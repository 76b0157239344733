# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Buckets and objects on disk, with Cloud Storage's guarantees about generations.

An object's bytes are one immutable file; its metadata is a row of SQLite. A write stores the bytes first and then
updates the row in one transaction that also checks the preconditions, so create-once and compare-and-set hold between
threads, readers see the old object or the new one, and a kill -9 leaves at worst a file that the next start removes.
Independent of HTTP; errors are `ApiError` with the service's codes.
"""

import base64
import contextlib
import hashlib
import json
import os
import re
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import google_crc32c
import re2

from emulator.core.google_rest import NAMES, ApiError, Json, now
from emulator.core.messages import RE2_OPTIONS
from emulator.core.state import Database

_SCHEMA = Path(__file__).with_name("storage.sql").read_text(encoding="utf-8")

_BUCKET_SETTINGS: list[str] = NAMES["bucketSettings"]
WRITABLE: list[str] = NAMES["writableMetadata"]
_WILDCARDS = {"**": ".*", "*": "[^/]*", "?": "[^/]"}


@dataclass(frozen=True, slots=True)
class Conditions:
    """Preconditions on a live object (generation 0 means that there is none), and the generation that is read."""

    selected: str = ""
    generation: int | None = None
    not_generation: int | None = None
    metageneration: int | None = None
    not_metageneration: int | None = None

    def check(self, live: Json | None) -> None:
        """Raise the service's 412 unless the live object meets the conditions."""
        generation, metageneration = _generations(live)
        is_met = self.generation in (None, generation) and self.metageneration in (None, metageneration)
        if not is_met or self.excludes(live):
            raise condition_not_met()

    def excludes(self, live: Json | None) -> bool:
        """Whether the live object is in the state that a negative condition names."""
        generation, metageneration = _generations(live)
        return self.not_generation == generation or (live is not None and self.not_metageneration == metageneration)


ANY = Conditions()


def _generations(live: Json | None) -> tuple[int, int | None]:
    return (int(live["generation"]), int(live["metageneration"])) if live else (0, None)


def condition_not_met() -> ApiError:
    """The service's 412."""
    return ApiError(412, "At least one of the pre-conditions you specified did not hold.", "conditionNotMet")


@dataclass(frozen=True, slots=True)
class Listing:
    """A page of objects and of prefixes, with the token of the next."""

    objects: tuple[Json, ...]
    prefixes: tuple[str, ...]
    next_token: str | None


class Storage:
    """Buckets and objects of all projects under one directory."""

    def __init__(self, directory: Path) -> None:
        self._data = directory / "data"
        self._partial = directory / "uploads"
        self._data.mkdir(parents=True, exist_ok=True)
        self._partial.mkdir(exist_ok=True)
        self._db = Database(directory / "index.sqlite", _SCHEMA)
        ((latest,),) = self._db.rows("SELECT COALESCE(MAX(generation), 0) FROM objects")
        self._generation = int(latest)
        self._remove_orphans()

    def close(self) -> None:
        """Close the index."""
        self._db.close()

    def clear(self) -> None:
        """Remove all buckets, objects and uploads."""
        with self._db.transaction():
            for table in ("buckets", "objects", "uploads"):
                self._db.execute(f"DELETE FROM {table}")
        self._remove_orphans()

    def _remove_orphans(self) -> None:
        for directory, sql in ((self._data, "SELECT file FROM objects"), (self._partial, "SELECT id FROM uploads")):
            referenced = {row[0] for row in self._db.rows(sql)}
            for path in directory.iterdir():
                if path.name.partition(".")[0] not in referenced:
                    path.unlink(missing_ok=True)

    def buckets(self, project_number: str = "", prefix: str = "") -> list[Json]:
        """The buckets of a project ("": of all projects), by name."""
        buckets = [json.loads(row[0]) for row in self._db.rows("SELECT body FROM buckets ORDER BY name")]
        return [b for b in buckets if project_number in ("", b["projectNumber"]) and b["name"].startswith(prefix)]

    def create_bucket(self, name: str, project_number: str, body: Mapping[str, Any]) -> Json:
        """A new bucket; 409 when the name is taken."""
        if not re.fullmatch(r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]", name):
            raise ApiError(400, f"Invalid bucket name: '{name[:80]}'", "invalid")
        stamp = now()
        bucket: Json = {
            "name": name,
            "projectNumber": project_number,
            "location": str(body.get("location") or "US").upper(),
            "locationType": "region" if "-" in str(body.get("location") or "") else "multi-region",
            "storageClass": body.get("storageClass") or "STANDARD",
            "timeCreated": stamp,
            "updated": stamp,
            "metageneration": "1",
            **{key: body[key] for key in _BUCKET_SETTINGS if key in body},
        }
        with self._db.transaction():
            if self._db.rows("SELECT 1 FROM buckets WHERE name = ?", (name,)):
                raise ApiError(
                    409,
                    "Your previous request to create the named bucket succeeded and you already own it.",
                    "conflict",
                )
            self._db.execute("INSERT INTO buckets VALUES (?, ?)", (name, json.dumps(bucket)))
        return bucket

    def bucket(self, name: str) -> Json:
        """A bucket; 404 when there is none."""
        rows = self._db.rows("SELECT body FROM buckets WHERE name = ?", (name,))
        if not rows:
            raise ApiError(404, "The specified bucket does not exist.", "notFound")
        bucket: Json = json.loads(rows[0][0])
        return bucket

    def patch_bucket(self, name: str, changes: Mapping[str, Any]) -> Json:
        """A bucket with other labels or settings."""
        with self._db.transaction():
            bucket = self.bucket(name)
            for key in (*_BUCKET_SETTINGS, "storageClass"):
                if key in changes:
                    bucket[key] = changes[key]
            bucket["metageneration"] = str(int(bucket["metageneration"]) + 1)
            bucket["updated"] = now()
            self._db.execute("UPDATE buckets SET body = ? WHERE name = ?", (json.dumps(bucket), name))
        return bucket

    def delete_bucket(self, name: str) -> None:
        """Remove an empty bucket."""
        with self._db.transaction():
            self.bucket(name)
            if self._db.rows("SELECT 1 FROM objects WHERE bucket = ? LIMIT 1", (name,)):
                raise ApiError(409, "The bucket you tried to delete is not empty.", "conflict")
            self._db.execute("DELETE FROM buckets WHERE name = ?", (name,))

    def _row(self, bucket: str, name: str) -> tuple[Json | None, str]:
        self.bucket(bucket)
        rows = self._db.rows("SELECT body, file FROM objects WHERE bucket = ? AND name = ?", (bucket, name))
        return (json.loads(rows[0][0]), rows[0][1]) if rows else (None, "")

    def get(self, bucket: str, name: str, conditions: Conditions = ANY) -> Json:
        """The live object's metadata; 404 when there is none, or not in the selected generation."""
        return self._get(bucket, name, conditions)[0]

    def _get(self, bucket: str, name: str, conditions: Conditions) -> tuple[Json, str]:
        body, file = self._row(bucket, name)
        if body is None or conditions.selected not in ("", body["generation"]):
            raise ApiError(404, f"No such object: {bucket}/{name}", "notFound")
        conditions.check(body)
        return body, file

    def read(
        self, bucket: str, name: str, start: int = 0, end: int | None = None, conditions: Conditions = ANY
    ) -> tuple[Json, bytes]:
        """Metadata and bytes [start, end) of the same generation; a negative start counts from the end."""
        while True:
            body, file = self._get(bucket, name, conditions)
            first = start if start >= 0 else max(0, int(body["size"]) + start)
            try:
                with (self._data / file).open("rb") as stored:
                    stored.seek(min(first, int(body["size"])))  # a system has a largest offset
                    return body, stored.read(-1 if end is None else max(0, end - first))
            except FileNotFoundError:
                continue  # replaced since the query

    def read_uri(self, uri: str) -> bytes:
        """The bytes of gs://bucket/name."""
        bucket, name = split_uri(uri)
        return self.read(bucket, name)[1]

    def download(self, uri: str, path: Path) -> None:
        """Write an object, or all below the URI, to a path; nothing when there is none."""
        bucket, name = split_uri(uri)
        with contextlib.suppress(ApiError):
            path.write_bytes(self.read(bucket, name)[1])
            return
        token: str | None = ""
        while token is not None:
            page = self.list(bucket, name.rstrip("/") + "/", token=token)
            for body in page.objects:
                file = path / body["name"][len(name.rstrip("/")) + 1 :]
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(self.read(bucket, body["name"])[1])
            token = page.next_token

    def upload(self, path: Path, uri: str) -> None:
        """Store a file, or all files of a folder."""
        bucket, name = split_uri(uri)
        for file in [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file()):
            inside = "" if file == path else f"/{file.relative_to(path)}"
            self.write(bucket, name + inside, file.read_bytes())

    def write(
        self, bucket: str, name: str, content: bytes, metadata: Json | None = None, conditions: Conditions = ANY
    ) -> Json:
        """Create or replace an object when the preconditions hold; its new metadata."""
        conditions.check(self._row(bucket, name)[0])
        path = self._data / uuid.uuid4().hex
        path.write_bytes(content)
        return self._publish(bucket, name, path, content, metadata or {}, conditions)

    def write_lines(self, uri: str, values: Iterable[Any]) -> None:
        """Store values as JSON Lines at gs://bucket/name."""
        text = "".join(json.dumps(value, ensure_ascii=False) + "\n" for value in values)
        self.write(*split_uri(uri), text.encode("utf-8", "replace"), {"contentType": "application/jsonl"})

    def _publish(
        self, bucket: str, name: str, path: Path, content: bytes, metadata: Mapping[str, Any], conditions: Conditions
    ) -> Json:
        try:
            _check_name(name)
            body, replaced = self._put(_describe(bucket, name, content, metadata), path.name, conditions)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        self._unlink(replaced)
        return body

    def _put(self, body: Json, file: str, conditions: Conditions) -> tuple[Json, str]:
        """A new generation of an object with these bytes, and the file that it replaces or ""."""
        with self._db.transaction():
            live, replaced = self._row(body["bucket"], body["name"])
            conditions.check(live)
            self._generation = max(self._generation + 1, time.time_ns() // 1000)
            etag = base64.b64encode(f"{self._generation}/1".encode()).decode()
            body = {**body, "generation": str(self._generation), "etag": etag}
            self._db.execute(
                "INSERT OR REPLACE INTO objects VALUES (?, ?, ?, ?, ?)",
                (body["bucket"], body["name"], self._generation, file, json.dumps(body)),
            )
        return body, replaced

    def _unlink(self, file: str) -> None:
        if file:
            (self._data / file).unlink(missing_ok=True)

    def patch(self, bucket: str, name: str, changes: Mapping[str, Any], conditions: Conditions, replace: bool) -> Json:
        """Change metadata only; `replace` removes the fields without a new value."""
        with self._db.transaction():
            body = self.get(bucket, name, conditions=conditions)
            for key in WRITABLE:
                if key == "metadata" and not replace and isinstance(changes.get(key), dict):
                    merged = {**body.get("metadata", {}), **changes["metadata"]}
                    body["metadata"] = {k: v for k, v in merged.items() if v is not None}
                elif key in changes and changes[key] is not None:
                    body[key] = changes[key]
                elif key in changes or (replace and key not in ("storageClass", "contentType")):
                    body.pop(key, None)
            body["metageneration"] = str(int(body["metageneration"]) + 1)
            body["updated"] = now()
            self._db.execute(
                "UPDATE objects SET body = ? WHERE bucket = ? AND name = ?", (json.dumps(body), bucket, name)
            )
        return body

    def delete(self, bucket: str, name: str, conditions: Conditions = ANY) -> None:
        """Remove an object; 404 when there is none."""
        with self._db.transaction():
            _, file = self._get(bucket, name, conditions)
            self._db.execute("DELETE FROM objects WHERE bucket = ? AND name = ?", (bucket, name))
        self._unlink(file)

    def list(
        self,
        bucket: str,
        prefix: str = "",
        delimiter: str = "",
        size: int = 1000,
        token: str = "",
        start: str = "",
        end: str = "",
        glob: str = "",
        trailing: bool = False,
    ) -> Listing:
        """Objects by name from `start` to before `end`; names that continue after a delimiter become prefixes."""
        self.bucket(bucket)
        pattern = _compiled(glob) if glob else None
        objects: list[Json] = []
        prefixes: list[str] = []
        last = ""
        for name, body in self._walk(bucket, max(prefix, start), token):
            if not name.startswith(prefix) or (end and name >= end):
                break
            cut = name.find(delimiter, len(prefix)) if delimiter else -1
            folder = name[: cut + len(delimiter)] if cut >= 0 else ""
            if folder and ((prefixes and prefixes[-1] == folder) or (token.endswith(delimiter) and folder == token)):
                if not (trailing and name == folder):
                    continue
            elif pattern and not pattern.fullmatch(name):
                continue
            elif len(objects) + len(prefixes) >= size:
                return Listing(tuple(objects), tuple(prefixes), last)
            if folder and (not prefixes or prefixes[-1] != folder):
                prefixes.append(folder)
            if not folder or (trailing and name == folder):
                objects.append(json.loads(body))
            last = folder or name
        return Listing(tuple(objects), tuple(prefixes), None)

    def _walk(self, bucket: str, start: str, token: str) -> Iterator[tuple[str, str]]:
        operator = ">" if token and token >= start else ">="
        position = token if token and token >= start else start
        while True:
            rows = self._db.rows(
                f"SELECT name, body FROM objects WHERE bucket = ? AND name {operator} ? ORDER BY name LIMIT 500",
                (bucket, position),
            )
            yield from rows
            if len(rows) < 500:
                return
            operator, position = ">", rows[-1][0]

    def copy(
        self, source: tuple[str, str], target: tuple[str, str], changes: Json, conditions: Conditions, where: Conditions
    ) -> Json:
        """The target with the bytes of the source (under the conditions `where`), its metadata without `changes`."""
        body, content = self.read(*source, conditions=where)
        kept = {key: body[key] for key in WRITABLE if key in body and not changes.keys() & set(WRITABLE)}
        return self.write(*target, content, {**kept, **changes}, conditions)

    def move(self, bucket: str, name: str, target: str, conditions: Conditions, where: Conditions) -> Json:
        """The object (under the conditions `where`) with another name in its bucket, in one step."""
        _check_name(target)
        if target == name:
            raise ApiError(400, "The source and destination objects must differ.", "invalid")
        with self._db.transaction():
            body, file = self._get(bucket, name, where)
            stamp = now()
            moved = {**body, "name": target, "metageneration": "1", "timeCreated": stamp, "updated": stamp}
            result, replaced = self._put(moved, file, conditions)
            self._db.execute("DELETE FROM objects WHERE bucket = ? AND name = ?", (bucket, name))
        self._unlink(replaced)
        return result

    def compose(
        self, bucket: str, name: str, parts: Sequence[tuple[str, Conditions]], metadata: Json, conditions: Conditions
    ) -> Json:
        """One object from the bytes of up to 32 others."""
        if not 1 <= len(parts) <= 32:
            raise ApiError(400, "The number of source components must be between 1 and 32.", "invalid")
        contents = [self.read(bucket, part, conditions=where)[1] for part, where in parts]
        return self.write(bucket, name, b"".join(contents), metadata, conditions)

    def start_upload(self, bucket: str, name: str, metadata: Mapping[str, Any], conditions: Conditions) -> str:
        """The id of a new session, which survives a restart."""
        _check_name(name)
        conditions.check(self._row(bucket, name)[0])
        session = uuid.uuid4().hex
        (self._partial / session).touch()
        self._db.execute(
            "INSERT INTO uploads VALUES (?, ?, ?, ?, ?)",
            (session, bucket, name, json.dumps(dict(metadata)), json.dumps(astuple(conditions))),
        )
        return session

    def append(self, session: str, content: bytes, offset: int | None, total: int | None) -> int | Json:
        """The number of bytes stored so far, or the finished object once all `total` bytes are stored."""
        bucket, name, metadata, conditions = self._session(session)
        path = self._partial / session
        stored = path.stat().st_size
        if offset is not None and content:
            if offset > stored:
                raise ApiError(400, f"Chunk begins at {offset}, but {stored} bytes are stored.", "invalid")
            with path.open("r+b") as file:
                file.seek(offset)
                file.write(content)
                file.truncate()
            stored = path.stat().st_size
        if total is None or stored < total:
            return stored
        final = self._data / session
        content = path.read_bytes()
        os.replace(path, final)
        with self._db.transaction():
            self._db.execute("DELETE FROM uploads WHERE id = ?", (session,))
            return self._publish(bucket, name, final, content, metadata, conditions)

    def _session(self, session: str) -> tuple[str, str, Json, Conditions]:
        rows = self._db.rows("SELECT bucket, name, metadata, conditions FROM uploads WHERE id = ?", (session,))
        if not rows:
            raise ApiError(404, "The upload session does not exist.", "notFound")
        bucket, name, metadata, conditions = rows[0]
        return bucket, name, json.loads(metadata), Conditions(*json.loads(conditions))

    def write_part(self, session: str, number: int, content: bytes) -> None:
        """Store a part of a multipart upload."""
        self._session(session)
        if not 1 <= number <= 10_000:
            raise ApiError(400, "Part numbers are 1 to 10000.", "invalid")
        part = self._partial / f"{session}.{number}"
        partial = self._partial / f"{session}.{uuid.uuid4().hex}"
        partial.write_bytes(content)
        os.replace(partial, part)

    def join_parts(self, session: str, parts: Sequence[tuple[int, str]]) -> Json:
        """The object made of the parts (number, MD5 in Base64) of a multipart upload, which ends."""
        bucket, name, metadata, conditions = self._session(session)
        contents: list[bytes] = []
        for number, digest in parts:
            try:
                contents.append((self._partial / f"{session}.{number}").read_bytes())
            except FileNotFoundError:
                raise ApiError(400, f"Part {number} was not uploaded.", "InvalidPart") from None
            if digest != digests(contents[-1])[1]:
                raise ApiError(400, f"Part {number} has another ETag.", "InvalidPart")
        if not parts or [number for number, _ in parts] != sorted({number for number, _ in parts}):
            raise ApiError(400, "The parts must be listed in ascending order.", "InvalidPartOrder")
        body = self.write(bucket, name, b"".join(contents), metadata, conditions)
        self.cancel_upload(session)
        return body

    def cancel_upload(self, session: str) -> None:
        """Delete a session and its bytes."""
        if not self._db.execute("DELETE FROM uploads WHERE id = ?", (session,)):
            raise ApiError(404, "The upload session does not exist.", "notFound")
        for path in self._partial.glob(f"{session}*"):
            path.unlink(missing_ok=True)


def split_uri(uri: str) -> tuple[str, str]:
    """(bucket, object name) of gs://bucket/name."""
    match = re.fullmatch(r"gs://([^/]+)/(.+)", uri, re.S)
    if match is None:
        raise ApiError(400, f"'{uri[:200]}' is not a Cloud Storage URI (gs://bucket/object).")
    return match[1], match[2]


def _check_name(name: str) -> None:
    if not 1 <= len(name.encode("utf-8", "surrogatepass")) <= 1024 or re.search(r"[\r\n\ud800-\udfff]", name):
        raise ApiError(400, "Object names have 1 to 1024 bytes of UTF-8 and no line breaks.", "invalid")


def digests(content: bytes) -> tuple[str, str]:
    """CRC32C and MD5 in Base64, as the service states them."""
    values = (int(google_crc32c.value(content)).to_bytes(4, "big"), hashlib.md5(content).digest())
    crc, md5 = (base64.b64encode(value).decode() for value in values)
    return crc, md5


def _describe(bucket: str, name: str, content: bytes, metadata: Mapping[str, Any]) -> Json:
    crc, md5 = digests(content)
    if metadata.get("crc32c") not in (None, crc):
        raise ApiError(400, f'Provided CRC32C "{metadata["crc32c"]}" doesn\'t match calculated CRC32C "{crc}".')
    if metadata.get("md5Hash") not in (None, md5):
        raise ApiError(400, f'Provided MD5 hash "{metadata["md5Hash"]}" doesn\'t match calculated MD5 hash "{md5}".')
    stamp = now()
    return {
        "bucket": bucket,
        "name": name,
        "metageneration": "1",
        "contentType": "application/octet-stream",
        "storageClass": "STANDARD",
        "size": str(len(content)),
        "md5Hash": md5,
        "crc32c": crc,
        "timeCreated": stamp,
        "updated": stamp,
        "timeStorageClassUpdated": stamp,
        **{key: metadata[key] for key in (*WRITABLE, "customerEncryption") if metadata.get(key) is not None},
    }


def _compiled(glob: str) -> Any:
    """A glob as a pattern that matches in linear time; 400 for an invalid one."""
    pattern, depth = "(?s)", 0
    for piece in re.findall(r"(?s)\*\*|\[[^\]]*\]|.", glob):
        if piece in _WILDCARDS:
            pattern += _WILDCARDS[piece]
        elif len(piece) > 1:
            inside = piece[1:-1].replace("\\", "\\\\").replace("[", "\\[")
            pattern += "[" + ("^" + inside[1:] if inside[:1] in ("!", "^") else inside) + "]" if inside else r"\[\]"
        elif piece == "{" or (depth and piece in ",}"):
            pattern += {"{": "(?:", ",": "|", "}": ")"}[piece]
            depth += {"{": 1, ",": 0, "}": -1}[piece]
        else:
            pattern += re.escape(piece)
    try:
        return re2.compile(pattern + ")" * depth, RE2_OPTIONS)
    except (re2.error, RecursionError) as error:
        raise ApiError(400, f"Invalid glob: '{glob[:200]}'", "invalid") from error
