# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Cloud Storage's XML API over `Storage`: paths /bucket and /bucket/object.

object_store (polars, delta-rs, lance), Go's reads, multipart uploads of google-cloud-storage and signed URLs use it.
"""

import base64
import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import unquote
from xml.etree import ElementTree

from starlette.responses import Response

from emulator.core.google_rest import NAMES, ApiError, Call, Json
from emulator.services.storage import Conditions, Storage, digests
from emulator.services.storage_api import (
    METADATA_HEADERS,
    StorageApi,
    check_customer_key,
    customer_key,
    object_headers,
    read_number,
)

_NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"


def xml_error(error: ApiError) -> Response:
    """An error in the form of the XML API."""
    kind = next((kind for kind in ("bucket", "object") if kind in error.message), "upload")
    code = f"NoSuch{kind.replace('object', 'key').capitalize()}" if error.status == "notFound" else error.status
    return _response(error.code, "Error", {"Code": NAMES["xmlErrors"].get(code, code), "Message": error.message})


def _response(status: int, tag: str, fields: Json, headers: dict[str, str] | None = None) -> Response:
    root = _element(tag, fields)
    if tag != "Error":
        root.set("xmlns", _NAMESPACE)
    body = ElementTree.tostring(root, "utf-8", xml_declaration=True)
    return Response(body, status, headers, media_type="application/xml; charset=UTF-8")


def _element(tag: str, fields: Any) -> ElementTree.Element:
    element = ElementTree.Element(tag)
    if not isinstance(fields, dict):
        element.text = str(fields)
        return element
    for name, value in fields.items():
        element.extend(_element(name, item) for item in (value if isinstance(value, list) else [value]))
    return element


def _etag(body: Json) -> str:
    """An object's MD5 in hex."""
    return f'"{base64.b64decode(body["md5Hash"]).hex()}"'


def _headers(body: Json) -> dict[str, str]:
    """The headers of a response about an object without its bytes."""
    described = object_headers(body, _etag(body))
    return {name: value for name, value in described.items() if name not in METADATA_HEADERS.values()}


def _conditions(call: Call, source: str = "") -> Conditions:
    prefix = f"x-goog-{source}if-"
    return Conditions(
        "" if source else call.first("generation"),
        read_number("generation", call.headers.get(prefix + "generation-match", "")),
        metageneration=read_number("metageneration", call.headers.get(prefix + "metageneration-match", "")),
    )


def _metadata(call: Call) -> Json:
    """The metadata in the headers of an upload."""
    metadata: Json = {
        key: call.headers[name.lower()] for key, name in METADATA_HEADERS.items() if name.lower() in call.headers
    }
    for key, name in (("storageClass", "x-goog-storage-class"), ("md5Hash", "content-md5")):
        if name in call.headers:
            metadata[key] = call.headers[name]
    own = {
        key.removeprefix("x-goog-meta-"): value for key, value in call.headers.items() if key.startswith("x-goog-meta-")
    }
    for name, value in re.findall(r"(crc32c|md5)=([^,]+)", call.headers.get("x-goog-hash", "")):
        metadata[{"md5": "md5Hash"}.get(name, name)] = value
    return metadata | ({"metadata": own} if own else {}) | customer_key(call)


def _only(call: Call, *allowed: str) -> None:
    for name in set(NAMES["xmlMethods"]) - set(allowed):
        if name in call.query:
            raise ApiError(501, f"{call.method} ?{name} of the XML API is not implemented by the emulator.")


class StorageXml:
    """The routes of the XML API."""

    def __init__(self, storage: Storage, api: StorageApi) -> None:
        self._storage = storage
        self._api = api

    def list(self, call: Call) -> Response:
        """A page of objects and prefixes."""
        _only(call)
        second, delimiter = call.first("list-type") == "2", call.first("delimiter")
        after = call.first("continuation-token") or call.first("start-after") if second else call.first("marker")
        size = call.count("max-keys", 1000, 1000)
        bucket, prefix = call.params["bucket"], call.first("prefix")
        listing = self._storage.list(bucket, prefix, delimiter, size, after)
        page: Json = {"Name": bucket, "Prefix": prefix}
        page |= {"Delimiter": delimiter} if delimiter else {}
        page |= {
            "IsTruncated": str(listing.next_token is not None).lower(),
            "Contents": [_content(o) for o in listing.objects],
        }
        page["CommonPrefixes"] = [{"Prefix": name} for name in listing.prefixes]
        if second:
            page["KeyCount"] = len(listing.objects) + len(listing.prefixes)
        if listing.next_token is not None:
            page["NextContinuationToken" if second else "NextMarker"] = listing.next_token
        return _response(200, "ListBucketResult", page)

    def get(self, call: Call) -> Response:
        """The bytes, or a range of them."""
        _only(call)
        return self._api.media(call, _conditions(call), _etag)

    def put(self, call: Call) -> Response:
        """An object from the body or another object, or the ETag of a part."""
        bucket, name, session = call.params["bucket"], call.params["object"], call.first("uploadId")
        _only(call, "uploadId", "partNumber")
        if session:
            number = read_number("partNumber", call.first("partNumber")) or 0
            self._storage.write_part(session, number, call.content)
            crc, md5 = digests(call.content)
            return Response(headers={"ETag": _etag({"md5Hash": md5}), "X-Goog-Hash": f"crc32c={crc},md5={md5}"})
        source = unquote(call.headers.get("x-goog-copy-source", "")).lstrip("/").partition("/")
        if not source[0]:
            body = self._storage.write(bucket, name, call.content, _metadata(call), _conditions(call))
            return Response(headers=_headers(body))
        replaces = call.headers.get("x-goog-metadata-directive", "").upper() == "REPLACE"
        conditions, source_conditions = _conditions(call), _conditions(call, "copy-source-")
        changes = _metadata(call) if replaces else customer_key(call)
        check_customer_key(call, self._storage.get(source[0], source[2]), "copy-source-")
        body = self._storage.copy((source[0], source[2]), (bucket, name), changes, conditions, source_conditions)
        result = {"LastModified": body["updated"], "ETag": _etag(body)}
        return _response(200, "CopyObjectResult", result, _headers(body))

    def post(self, call: Call) -> Response:
        """A new upload, or the object of one that is complete."""
        bucket, name, session = call.params["bucket"], call.params["object"], call.first("uploadId")
        _only(call, "uploads", "uploadId")
        if session:
            body = self._storage.join_parts(session, list(_parts(call.content)))
            result = {"Bucket": body["bucket"], "Key": body["name"], "ETag": _etag(body)}
            return _response(200, "CompleteMultipartUploadResult", result, _headers(body))
        if "uploads" in call.query:
            session = self._storage.start_upload(bucket, name, _metadata(call), _conditions(call))
            result = {"Bucket": bucket, "Key": name, "UploadId": session}
            return _response(200, "InitiateMultipartUploadResult", result)
        if call.headers.get("x-goog-resumable") != "start":
            raise ApiError(404, f"POST {call.path[:300]} is not a path of the emulator.")
        response = self._api.start_upload(call, bucket, name, _metadata(call), _conditions(call))
        response.status_code = 201
        return response

    def delete(self, call: Call) -> Response:
        """Nothing; the object or the upload is deleted."""
        _only(call, "uploadId")
        if session := call.first("uploadId"):
            self._storage.cancel_upload(session)
        else:
            self._storage.delete(call.params["bucket"], call.params["object"], _conditions(call))
        return Response(status_code=204)


def _content(body: Json) -> Json:
    return {
        "Key": body["name"],
        "Generation": body["generation"],
        "MetaGeneration": body["metageneration"],
        "LastModified": body["updated"],
        "ETag": _etag(body),
        "Size": body["size"],
    }


def _parts(content: bytes) -> Iterable[tuple[int, str]]:
    """(number, MD5 in Base64) of each part of a completed upload."""
    try:
        root = ElementTree.fromstring(content) if content.strip() else ElementTree.Element("empty")
    except ElementTree.ParseError as error:
        raise ApiError(400, f"The XML you provided was not well-formed: {error}", "MalformedXML") from None
    values: Json = {}
    for element in root.iter():
        values[element.tag.rpartition("}")[2]] = (element.text or "").strip()
        if {"PartNumber", "ETag"} <= values.keys():
            number, etag = values.pop("PartNumber"), values.pop("ETag").strip('"')
            if not re.fullmatch("[0-9a-f]{32}", etag):
                raise ApiError(400, f"Part {number[:20]} has another ETag.", "InvalidPart")
            yield read_number("PartNumber", number) or 0, base64.b64encode(bytes.fromhex(etag)).decode()
