# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Cloud Storage's JSON API over `Storage`. Links in responses have the caller's host."""

import base64
import re
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime
from typing import Any
from urllib.parse import quote, urlsplit

from starlette.responses import JSONResponse, Response

from emulator.core.google_rest import (
    NAMES,
    ApiError,
    Call,
    Json,
    encode_token,
    parse_object,
    project_number,
    split_multipart,
)
from emulator.core.messages import check
from emulator.services.storage import WRITABLE, Conditions, Storage, condition_not_met

METADATA_HEADERS: dict[str, str] = NAMES["metadataHeaders"]
Dispatch = Callable[[str, str, Mapping[str, str], bytes], Awaitable[Response]]


def storage_error(error: ApiError) -> JSONResponse:
    """An error in the storage API's own form: `errors` with a reason instead of a status."""
    reasons = {404: "notFound", 400: "invalid", 401: "authError", 429: "rateLimitExceeded"}
    reason = error.status if error.status[:1].islower() else reasons.get(error.code, "backendError")
    listed = [{"message": error.message, "domain": "global", "reason": reason}]
    return JSONResponse(
        {"error": {"code": error.code, "message": error.message, "errors": listed}}, status_code=error.code
    )


def storage_path(path: str) -> str:
    """A path of the JSON API as the service spells it: Node's client leaves `/storage/v1` out, or sends it twice."""
    path = re.sub("^/storage/v1(?=/(?:upload|download|batch)/storage/v1(?:/|$))", "", path)
    return "/storage/v1" + path if re.match("/(?:b|projects/[^/]+/serviceAccount)(?:/|$)", path) else path


def read_number(key: str, text: str) -> int | None:
    """A number of a parameter or header; None when it is empty."""
    if not text:
        return None
    if not re.fullmatch(r"[0-9]{1,18}", text):
        raise ApiError(400, f"Invalid value for {key}: '{text[:80]}'", "invalid")
    return int(text)


def _conditions(call: Call, source: str = "") -> Conditions:
    kinds = ("GenerationMatch", "GenerationNotMatch", "MetagenerationMatch", "MetagenerationNotMatch")
    numbers = (read_number(f"if{source}{kind}", call.first(f"if{source}{kind}")) for kind in kinds)
    return Conditions(call.first("sourceGeneration" if source else "generation"), *numbers)


def object_headers(body: Json, etag: str) -> dict[str, str]:
    """The headers of a response with an object's bytes, in both APIs."""
    headers = {
        "X-Goog-Generation": body["generation"],
        "X-Goog-Metageneration": body["metageneration"],
        "X-Goog-Hash": f"crc32c={body['crc32c']},md5={body['md5Hash']}",
        "X-Goog-Stored-Content-Length": body["size"],
        "ETag": etag,
        "Last-Modified": format_datetime(datetime.fromisoformat(body["updated"]), usegmt=True),
        "Accept-Ranges": "bytes",
        "Content-Type": "application/octet-stream",
    }
    optional = {name: body.get(key) for key, name in METADATA_HEADERS.items()}
    optional["X-Goog-Storage-Class"] = body["storageClass"]
    optional["X-Goog-Stored-Content-Encoding"] = body.get("contentEncoding", "identity")
    optional |= {f"X-Goog-Meta-{key}": value for key, value in body.get("metadata", {}).items()}
    return headers | {name: value for name, value in optional.items() if _is_header(name, value)}


def customer_key(call: Call) -> Json:
    """The metadata of an object that is written with a customer's key. The emulator never sees to encryption itself."""
    digest = call.headers.get("x-goog-encryption-key-sha256")
    return {"customerEncryption": {"encryptionAlgorithm": "AES256", "keySha256": digest}} if digest else {}


def check_customer_key(call: Call, body: Json, source: str = "") -> None:
    """Raise the service's 400 unless the request has the key with which an object was written."""
    stored = body.get("customerEncryption", {}).get("keySha256")
    if stored != call.headers.get(f"x-goog-{source}encryption-key-sha256"):
        state, reason = ("encrypted", "IsEncrypted") if stored else ("not encrypted", "NotEncrypted")
        message = f"The target object is {state} by the customer-supplied encryption key of the request."
        raise ApiError(400, message, f"resource{reason}WithCustomerEncryptionKey")


class StorageApi:
    """The routes of the storage API; `dispatch` handles one request of a batch."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        self.dispatch: Dispatch | None = None

    def _bucket(self, call: Call, bucket: Json) -> Json:
        link = f"{call.base_url}/storage/v1/b/{bucket['name']}"
        etag = base64.b64encode(bucket["metageneration"].encode()).decode()
        return {"kind": "storage#bucket", "id": bucket["name"], "selfLink": link, "etag": etag, **bucket}

    def _object(self, call: Call, body: Json) -> Json:
        path = f"/storage/v1/b/{body['bucket']}/o/{quote(body['name'], safe='')}"
        return {
            "kind": "storage#object",
            "id": f"{body['bucket']}/{body['name']}/{body['generation']}",
            "selfLink": call.base_url + path,
            "mediaLink": f"{call.base_url}/download{path}?generation={body['generation']}&alt=media",
            **body,
        }

    def list_buckets(self, call: Call) -> Json:
        """A page of a project's buckets."""
        size = call.count("maxResults", 1000, 1000)
        after = call.page_place() or ""
        stored = self.storage.buckets(project_number(call.first("project", "demo-project")), call.first("prefix"))
        buckets = [bucket for bucket in stored if bucket["name"] > after]
        page: Json = {"kind": "storage#buckets", "items": [self._bucket(call, b) for b in buckets[:size]]}
        if len(buckets) > size:
            page["nextPageToken"] = encode_token(buckets[size - 1]["name"])
        return page

    def create_bucket(self, call: Call) -> Json:
        """A new bucket."""
        number = project_number(call.first("project", "demo-project"))
        return self._bucket(call, self.storage.create_bucket(call.body["name"], number, call.body))

    def get_bucket(self, call: Call) -> Json:
        """One bucket."""
        return self._bucket(call, self.storage.bucket(call.params["bucket"]))

    def patch_bucket(self, call: Call) -> Json:
        """A bucket with other settings."""
        return self._bucket(call, self.storage.patch_bucket(call.params["bucket"], call.body))

    def delete_bucket(self, call: Call) -> Response:
        """Nothing; the bucket is deleted."""
        self.storage.delete_bucket(call.params["bucket"])
        return Response(status_code=204)

    def policy(self, call: Call) -> Json:
        """The policy of a bucket: there is no access control."""
        self.storage.bucket(call.params["bucket"])
        bindings = [{"role": "roles/storage.admin", "members": ["allUsers"]}]
        return {"kind": "storage#policy", "version": 1, "etag": "CAE=", "bindings": bindings}

    def permissions(self, call: Call) -> Json:
        """All requested permissions."""
        self.storage.bucket(call.params["bucket"])
        requested = list(call.query.get("permissions", ()))
        return {"kind": "storage#testIamPermissionsResponse", "permissions": requested}

    def service_account(self, call: Call) -> Json:
        """The storage service account of a project."""
        number = project_number(call.params["project"])
        address = f"service-{number}@gs-project-accounts.iam.gserviceaccount.com"
        return {"kind": "storage#serviceAccount", "email_address": address}

    def list_objects(self, call: Call) -> Json:
        """A page of objects and prefixes."""
        listing = self.storage.list(
            call.params["bucket"],
            call.first("prefix"),
            call.first("delimiter"),
            call.count("maxResults", 1000, 1000),
            call.page_place() or "",
            call.first("startOffset"),
            call.first("endOffset"),
            call.first("matchGlob"),
            call.first("includeTrailingDelimiter").lower() == "true",
        )
        page: Json = {"kind": "storage#objects"}
        if listing.objects:
            page["items"] = [self._object(call, body) for body in listing.objects]
        if listing.prefixes:
            page["prefixes"] = list(listing.prefixes)
        if listing.next_token is not None:
            page["nextPageToken"] = encode_token(listing.next_token)
        return page

    def get_object(self, call: Call) -> Json | Response:
        """Metadata, or with alt=media the bytes (a range of them)."""
        conditions = _conditions(call)
        if call.first("alt") == "media":
            return self.media(call, conditions, lambda body: str(body["etag"]))
        body = self.storage.get(*_place(call), Conditions(conditions.selected))
        if conditions.excludes(body):
            return Response(status_code=304)
        conditions.check(body)
        return self._object(call, body)

    def media(self, call: Call, conditions: Conditions, etag: Callable[[Json], str]) -> Response:
        """The bytes of an object, or a range of them, unless a condition does not hold (304, 412)."""
        match = re.fullmatch(r"bytes=(\d{1,18})-(\d{0,18})|bytes=-(\d{1,18})", call.headers.get("range", ""))
        start, end = 0, None
        if match:
            start = int(match[1]) if match[1] else -int(match[3])
            end = int(match[2]) + 1 if match[2] else None
        body, content = self.storage.read(*_place(call), start, end, Conditions(conditions.selected))
        if conditions.excludes(body) or _is_unchanged(call, body, etag(body)):
            return Response(status_code=304, headers={"ETag": etag(body)})
        conditions.check(body)
        check_customer_key(call, body)
        size = int(body["size"])
        first = start if start >= 0 else max(0, size + start)
        if match and first >= size:
            return Response(status_code=416, headers={"Content-Range": f"bytes */{size}"})
        headers = object_headers(body, etag(body))
        if match:
            headers["Content-Range"] = f"bytes {first}-{first + len(content) - 1}/{size}"
        return Response(content, 206 if match else 200, headers)

    def change_object(self, call: Call) -> Json:
        """Metadata with some fields changed (PATCH) or replaced (PUT)."""
        check(call.body, "StorageObject")
        changes, conditions = call.body, _conditions(call)
        return self._object(call, self.storage.patch(*_place(call), changes, conditions, replace=call.method == "PUT"))

    def delete_object(self, call: Call) -> Response:
        """Nothing; the object is deleted."""
        self.storage.delete(*_place(call), _conditions(call))
        return Response(status_code=204)

    def compose(self, call: Call) -> Json:
        """One object out of several."""
        parts = []
        bucket, name = _place(call)
        for source in call.body["sourceObjects"]:
            check_customer_key(call, self.storage.get(bucket, source["name"]))
            generation = source["objectPreconditions"].get("ifGenerationMatch")
            parts.append((source["name"], Conditions(str(source.get("generation") or ""), generation)))
        metadata = {**call.body["destination"], **customer_key(call)}
        return self._object(call, self.storage.compose(bucket, name, parts, metadata, _conditions(call)))

    def copy(self, call: Call) -> Json:
        """The copy."""
        changes = {key: value for key, value in call.body.items() if key in WRITABLE}
        check(changes, "StorageObject")
        source, target = _place(call), (call.params["bucket2"], call.params["object2"])
        where = _conditions(call, "Source")
        check_customer_key(call, self.storage.get(*source, Conditions(where.selected)), "copy-source-")
        changes |= customer_key(call)
        return self._object(call, self.storage.copy(source, target, changes, _conditions(call), where))

    def move(self, call: Call) -> Json:
        """The object under its new name."""
        conditions = _conditions(call), _conditions(call, "Source")
        return self._object(call, self.storage.move(*_place(call), call.params["object2"], *conditions))

    def rewrite(self, call: Call) -> Json:
        """The copy, always completed by one request."""
        body = self.copy(call)
        size = body["size"]
        return {
            "kind": "storage#rewriteResponse",
            "totalBytesRewritten": size,
            "objectSize": size,
            "done": True,
            "resource": body,
        }

    def upload(self, call: Call) -> Json | Response:
        """A new object, or the address of a resumable session."""
        bucket, kind = call.params["bucket"], call.first("uploadType")
        if _session(call):
            return self.append(call)
        content = call.content
        if kind == "multipart":
            metadata, content = _multipart(call)
        elif kind == "media":
            metadata = {"contentType": call.headers.get("content-type", "application/octet-stream")}
        elif kind == "resumable":
            metadata = _json(content) if content else {}
            if "contentType" not in metadata and call.headers.get("x-upload-content-type"):
                metadata["contentType"] = call.headers["x-upload-content-type"]
        else:
            raise ApiError(400, f"Unknown uploadType '{kind[:40]}'", "invalid")
        metadata["customerEncryption"] = customer_key(call).get("customerEncryption")
        name = call.first("name") or str(metadata.get("name") or "")
        if kind == "resumable":
            return self.start_upload(call, bucket, name, metadata, _conditions(call))
        return self._object(call, self.storage.write(bucket, name, content, metadata, _conditions(call)))

    def start_upload(self, call: Call, bucket: str, name: str, metadata: Json, conditions: Conditions) -> Response:
        """The address of a new resumable session."""
        session = self.storage.start_upload(bucket, name, metadata, conditions)
        address = f"{call.base_url}/upload/storage/v1/b/{quote(bucket)}/o?uploadType=resumable&upload_id={session}"
        return Response(status_code=200, headers={"Location": address, "X-GUploader-UploadID": session})

    def append(self, call: Call) -> Json | Response:
        """308 with the stored range, or the finished object."""
        header = call.headers.get("content-range", "")
        match = re.fullmatch(r"bytes (?:(\d{1,18})-(\d{1,18}|\*)|\*)/(\d{1,18}|\*)", header)
        if header and match is None:
            raise ApiError(400, f"Invalid Content-Range: '{header[:80]}'", "invalid")
        first, last, complete = match.groups() if match else ("0", "*", "*")
        offset, end = int(first or 0), int(first or 0) + len(call.content)
        if first and last not in ("*", str(end - 1)):
            raise ApiError(400, "Content-Range and the body's length differ.", "invalid")
        if complete != "*":
            total: int | None = int(complete)
        else:  # bytes 0-*/*: all that is left, of a length unknown to the client
            total = end if last == "*" else None
        result = self.storage.append(_session(call), call.content, offset, total)
        if isinstance(result, dict):
            return self._object(call, result)
        return Response(status_code=308, headers={"Range": f"bytes=0-{result - 1}"} if result else {})

    def cancel(self, call: Call) -> Response:
        """499, the service's response to a cancelled upload."""
        self.storage.cancel_upload(_session(call))
        return Response(status_code=499)

    async def batch(self, call: Call) -> Response:
        """The responses to up to 100 requests in one multipart body."""
        assert self.dispatch is not None
        kind = call.headers.get("content-type", "")
        if not kind.startswith("multipart/mixed"):
            raise ApiError(400, "A batch needs a multipart/mixed body.", "invalid")
        responses: list[str] = []
        for outer, request in split_multipart(kind, call.content):
            head, _, content = request.replace(b"\r\n", b"\n").partition(b"\n\n")
            line, *lines = head.decode("latin-1").split("\n")
            words = line.split(" ")
            if len(words) < 2 or len(responses) >= 100:
                raise ApiError(
                    400, "The batch has a part that is not an HTTP request, or more than 100 parts.", "invalid"
                )
            fields = [field.partition(":") for field in lines]
            headers = {name.strip().lower(): value.strip() for name, _, value in fields}
            address = urlsplit(words[1])
            target = address.path + ("?" + address.query if address.query else "")
            response = await self.dispatch(words[0], target, headers, content)
            responses.append(_batch_part(response, outer.get("content-id", "")))
        boundary = "batch_emulator"
        parts = "".join(f"--{boundary}\r\n{text}\r\n" for text in responses)
        return Response(f"{parts}--{boundary}--\r\n", media_type=f'multipart/mixed; boundary="{boundary}"')


def _batch_part(response: Response, content_id: str) -> str:
    body = bytes(response.body).decode()
    label = [f"Content-ID: <response-{content_id.strip('<>')}>"] if content_id else []
    lines = [f"HTTP/1.1 {response.status_code} -", "Content-Type: application/json; charset=UTF-8"]
    lines = ["Content-Type: application/http", *label, "", *lines, f"Content-Length: {len(body.encode())}", "", body]
    return "\r\n".join(lines)


def _is_unchanged(call: Call, body: Json, etag: str) -> bool:
    """Whether If-None-Match or If-Modified-Since makes the response a 304; 412 by If-Match or If-Unmodified-Since."""
    modified = datetime.fromisoformat(body["updated"]).replace(microsecond=0)
    etags = {key: re.split(r"\s*,\s*", value) for key, value in call.headers.items() if key.endswith("-match")}
    matches = {key: not {"*", etag}.isdisjoint(values) for key, values in etags.items()}
    since, until = (_date(call.headers.get(f"if-{kind}-since", "")) for kind in ("modified", "unmodified"))
    if not matches.get("if-match", until is None or modified <= until):
        raise condition_not_met()
    return matches.get("if-none-match", since is not None and modified <= since)


def _date(text: str) -> datetime | None:
    try:
        return parsedate_to_datetime(text).replace(tzinfo=UTC)
    except ValueError:
        return None  # as HTTP has it: such a header is ignored


def _place(call: Call) -> tuple[str, str]:
    """Bucket and name of the object that a request is about."""
    return call.params["bucket"], call.params["object"]


def _session(call: Call) -> str:
    return call.first("upload_id") or call.first("uploadId")


def _is_header(name: str, value: Any) -> bool:
    """Whether HTTP can carry the value under this name."""
    token = re.fullmatch(r"[\w!#$%&'*+.^`|~-]+", name, re.ASCII)
    return bool(token) and isinstance(value, str) and bool(re.fullmatch("(?:[!-~](?:[ -~]*[!-~])?)?", value))


def _json(content: bytes) -> Json:
    value = parse_object(content)
    check(value, "StorageObject")
    return value


def _multipart(call: Call) -> tuple[Json, bytes]:
    parts = split_multipart(call.headers.get("content-type", ""), call.content)
    if len(parts) != 2:
        raise ApiError(400, "A multipart upload has two parts: metadata and media.", "invalid")
    metadata = _json(parts[0][1])
    kind = parts[1][0].get("content-type")
    if kind and "contentType" not in metadata:
        metadata["contentType"] = kind
    return metadata, parts[1][1]
