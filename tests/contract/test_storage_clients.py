# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Cloud Storage as other clients speak it: the requests of gcsfs, Node's client and object_store, and signed URLs."""

from __future__ import annotations

import datetime
import json
import os
import re
import zlib
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from emulated import Server, storage_client

from emulator.core.filters import select_fields
from emulator.core.google_rest import ApiError
from emulator.services.storage_api import storage_path


@pytest.fixture
def bucket(server: Server, request: pytest.FixtureRequest) -> Any:
    return storage_client(server.url).create_bucket(f"b-{zlib.crc32(request.node.name.encode())}")


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("content", [b"", b"hello", b"a\r\n\n\r", b"\n--x\n\n\r\n--x\r\n"])
def test_multipart_with_either_line_end(server: Server, bucket: Any, end: str, content: bytes) -> None:
    head = ["--edge", "Content-Type: application/json", "", '{"name": "n"}', "--edge", "Content-Type: a/b", "", ""]
    body = end.join(head).encode() + content + f"{end}--edge--".encode()
    url = f"{server.url}/upload/storage/v1/b/{bucket.name}/o?uploadType=multipart"
    response = httpx.post(url, content=body, headers={"content-type": 'multipart/related; boundary="edge"'})
    assert (response.status_code, response.json()["contentType"]) == (200, "a/b")
    assert bucket.blob("n").download_as_bytes() == content


@pytest.mark.parametrize("method", ["POST", "PUT"])
@pytest.mark.parametrize("ranges", [["0-2/*", "3-4/5"], ["0-2/*", "3-*/*"], ["0-*/*"], ["0-4/*", "*/5"], [""]])
def test_resumable_chunks(server: Server, bucket: Any, method: str, ranges: list[str]) -> None:
    begin = httpx.post(f"{server.url}/upload/storage/v1/b/{bucket.name}/o?uploadType=resumable&name=r", json={})
    content, sent = b"01234", 0
    for number, header in enumerate(ranges):
        match = re.match(r"(\d+)-(\d+)", header)
        part = content[sent : int(match[2]) + 1] if match else b"" if header.startswith("*/") else content[sent:]
        headers = {"content-range": f"bytes {header}"} if header else {}
        response = httpx.request(method, begin.headers["location"], content=part, headers=headers)
        sent += len(part)
        last = number == len(ranges) - 1
        assert response.status_code == (200 if last else 308)
        if not last:
            assert response.headers["range"] == f"bytes=0-{sent - 1}"
    assert bucket.blob("r").download_as_bytes() == content


def test_move_is_one_step(server: Server, bucket: Any) -> None:
    source = bucket.blob("a/ü b")
    source.metadata = {"k": "v"}
    source.upload_from_string("text", content_type="x/y")
    bucket.blob("taken").upload_from_string("other")
    url = f"{server.url}/storage/v1/b/{bucket.name}/o/{quote(source.name, safe='')}/moveTo/o/"
    assert httpx.post(url + "taken?ifGenerationMatch=0").status_code == 412
    assert httpx.post(url + "taken?ifSourceGenerationMatch=1").status_code == 412
    assert httpx.post(url + quote(source.name, safe="")).status_code == 400
    assert bucket.blob("taken").download_as_bytes() == b"other"
    bucket.move_blob(source, "taken")
    moved = bucket.get_blob("taken")
    assert (moved.download_as_text(), moved.metadata, moved.content_type) == ("text", {"k": "v"}, "x/y")
    assert [blob.name for blob in bucket.list_blobs()] == ["taken"]
    assert httpx.post(url + "new").status_code == 404


def test_fields_select(server: Server, bucket: Any) -> None:
    for name in ("a", "b"):
        bucket.blob(name).upload_from_string(name)
    url = f"{server.url}/storage/v1/b/{bucket.name}/o"
    assert httpx.get(url, params={"fields": "items(name,size)"}).json() == {
        "items": [{"name": "a", "size": "1"}, {"name": "b", "size": "1"}]
    }
    assert httpx.get(f"{url}/a", params={"fields": "name"}).json() == {"name": "a"}
    assert httpx.get(url, params={"fields": "items("}).status_code == 400
    value = {"a": [{"b": {"c": 1, "d": 2}, "e": 3}], "f": 4}
    assert select_fields(value, "a/b/c,f") == {"a": [{"b": {"c": 1}}], "f": 4}
    assert select_fields(value, "*(b(d),e)") == {"a": [{"b": {"d": 2}, "e": 3}], "f": 4}
    for wrong in ("a,", "a)", "a((b))", ",", "a/", "a b", "(" * 5000):
        with pytest.raises(ApiError, match="Invalid field selection"):
            select_fields(value, wrong)


def test_paths_of_the_node_client(server: Server, bucket: Any) -> None:
    upload = f"{server.url}/storage/v1/upload/storage/v1/b/{bucket.name}/o?uploadType=media&name=n"
    assert httpx.post(upload, content=b"node").status_code == 200
    assert httpx.get(f"{server.url}/b/{bucket.name}/o/n?alt=media").content == b"node"
    assert bucket.name in [item["name"] for item in httpx.get(f"{server.url}/b?project=demo-project").json()["items"]]
    assert storage_path("/projects/p/serviceAccount") == "/storage/v1/projects/p/serviceAccount"
    for unchanged in ("/bucket/b/o", "/storage/v1/b/upload/o/x", "/v1/projects/p"):
        assert storage_path(unchanged) == unchanged


def test_xml_objects(server: Server, bucket: Any) -> None:
    url, name = f"{server.url}/{bucket.name}", quote("é/x y#?.json")
    headers = {"content-type": "application/json", "x-goog-meta-k": "v", "cache-control": "no-store"}
    put = httpx.put(f"{url}/{name}", content=b"not json", headers={**headers, "x-goog-if-generation-match": "0"})
    assert put.status_code == 200
    again = httpx.put(f"{url}/{name}", content=b"", headers={"x-goog-if-generation-match": "0"})
    assert (again.status_code, re.findall("<Code>(.*)</Code>", again.text)) == (412, ["PreconditionFailed"])
    got = httpx.get(f"{url}/{name}")
    assert (got.content, got.headers["x-goog-generation"]) == (b"not json", put.headers["x-goog-generation"])
    assert {key: got.headers[key] for key in headers} == headers
    head = httpx.head(f"{url}/{name}")
    assert (head.content, head.headers["content-length"], head.headers["etag"]) == (b"", "8", put.headers["etag"])
    assert httpx.get(f"{url}/{name}", headers={"range": "bytes=4-"}).content == b"json"
    for key, value, code in [
        ("if-match", '"other"', 412),
        ("if-none-match", head.headers["etag"], 304),
        ("if-modified-since", head.headers["last-modified"], 304),
        ("if-unmodified-since", "Thu, 01 Jan 2015 00:00:00 GMT", 412),
        ("if-unmodified-since", "nonsense", 200),
        ("if-match", f'"other", {head.headers["etag"]}', 200),
    ]:
        assert httpx.get(f"{url}/{name}", headers={key: value}).status_code == code, (key, value)
    copied = httpx.put(f"{url}/copy", headers={"x-goog-copy-source": f"{bucket.name}/{name}"})
    assert copied.status_code == 200
    assert bucket.get_blob("copy").metadata == {"k": "v"}
    assert httpx.delete(f"{url}/copy").status_code == 204
    for path, code in [("copy", "NoSuchKey"), ("copy?uploadId=1", "NoSuchUpload"), ("copy?acl", "NotImplemented")]:
        assert f"<Code>{code}</Code>" in httpx.delete(f"{url}/{path}").text
    assert "<Code>NoSuchBucket</Code>" in httpx.get(f"{server.url}/no-bucket/x").text
    assert httpx.put(f"{url}/hash", content=b"x", headers={"x-goog-hash": "crc32c=AAAAAA=="}).status_code == 400


@pytest.mark.parametrize("version", ["1", "2"])
def test_xml_lists(server: Server, bucket: Any, version: str) -> None:
    names = ["a", "d/1", "d/2", "e&<>'\"", "é", "z/1"]
    for name in names:
        bucket.blob(name).upload_from_string("")
    url = f"{server.url}/{bucket.name}/"
    objects: list[str] = []
    folders: list[str] = []
    query = {"list-type": version, "delimiter": "/", "max-keys": "2"}
    for _ in range(9):
        text = httpx.get(url, params=query).text
        objects += re.findall("<Key>(.*?)</Key>", text)
        folders += re.findall("<CommonPrefixes><Prefix>(.*?)</Prefix>", text)
        token = re.findall("<Next(?:ContinuationToken|Marker)>(.*?)</", text)
        assert ("<IsTruncated>true<" in text) == bool(token)
        if not token:
            break
        query["marker" if version == "1" else "continuation-token"] = token[0].replace("&amp;", "&")
    assert (folders, objects) == (["d/", "z/"], ["a", "e&amp;&lt;&gt;'\"", "é"])
    assert re.findall("<Key>(.*?)<", httpx.get(url, params={"list-type": "2", "start-after": "d/1"}).text)[0] == "d/2"


def test_xml_multipart_upload(server: Server, bucket: Any, tmp_path: Any) -> None:
    from google.cloud.storage import transfer_manager

    content = os.urandom(11 << 20)
    (tmp_path / "big").write_bytes(content)
    options = {"chunk_size": 5 << 20, "worker_type": transfer_manager.THREAD}
    transfer_manager.upload_chunks_concurrently(str(tmp_path / "big"), bucket.blob("big"), **options)
    assert bucket.blob("big").download_as_bytes() == content
    url = f"{server.url}/{bucket.name}/parts"
    session = re.findall("<UploadId>(.*)</UploadId>", httpx.post(url + "?uploads=").text)[0]
    etag = httpx.put(url, params={"partNumber": 3, "uploadId": session}, content=b"old").headers["etag"]
    part = "<Part><PartNumber>{}</PartNumber><ETag>{}</ETag></Part>".format
    new = [
        httpx.put(url, params={"partNumber": n, "uploadId": session}, content=b"part").headers["etag"] for n in (3, 4)
    ]
    for parts, code in [
        ([part(3, etag)], 400),  # replaced since
        ([part(4, new[0]), part(3, new[1])], 400),
        ([part(5, new[0])], 400),
        ([], 400),
        ([part(3, new[0]), part(4, new[1].replace('"', "&quot;"))], 200),
        ([part(3, new[0])], 404),
    ]:
        body = f"<CompleteMultipartUpload>{''.join(parts)}</CompleteMultipartUpload>"
        assert httpx.post(url, params={"uploadId": session}, content=body).status_code == code, parts
    assert bucket.blob("parts").download_as_bytes() == b"partpart"
    session = re.findall("<UploadId>(.*)</UploadId>", httpx.post(url + "?uploads").text)[0]
    httpx.put(url, params={"partNumber": 1, "uploadId": session}, content=b"part")
    assert httpx.delete(url, params={"uploadId": session}).status_code == 204
    assert not list((server.state_dir / "storage" / "uploads").iterdir())


@pytest.mark.difference("signed URLs", "the signature is checked", "it is not checked")
@pytest.mark.parametrize("version", ["v2", "v4"])
def test_signed_urls(server: Server, bucket: Any, version: str) -> None:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa
    from google.oauth2.service_account import Credentials

    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    key = rsa.generate_private_key(65537, 1024).private_bytes(*form).decode()
    account = {"type": "service_account", "client_email": "a@b.c", "token_uri": server.url, "private_key": key}
    options = {
        "version": version,
        "expiration": datetime.timedelta(hours=1),
        "credentials": Credentials.from_service_account_info(account),
        "api_access_endpoint": server.url,
    }
    blob = bucket.blob("a/signed é")
    assert httpx.put(blob.generate_signed_url(method="PUT", **options), content=b"x").status_code == 200
    assert httpx.get(blob.generate_signed_url(**options)).content == b"x"
    begin = httpx.post(blob.generate_signed_url(method="RESUMABLE", **options), headers={"x-goog-resumable": "start"})
    assert begin.status_code == 201
    assert httpx.put(begin.headers["location"], content=b"resumed").status_code == 200
    assert blob.download_as_bytes() == b"resumed"
    assert httpx.delete(blob.generate_signed_url(method="DELETE", **options)).status_code == 204


def test_customer_keys(server: Server, bucket: Any) -> None:
    from google.api_core.exceptions import BadRequest

    key, other = b"k" * 32, b"o" * 32
    bucket.blob("secret", encryption_key=key).upload_from_string("text")
    bucket.blob("plain").upload_from_string("text")
    assert bucket.blob("secret", encryption_key=key).download_as_text() == "text"
    for name, wrong in (("secret", None), ("secret", other), ("plain", key)):
        with pytest.raises(BadRequest):
            bucket.blob(name, encryption_key=wrong).download_as_bytes()
        assert httpx.get(f"{server.url}/{bucket.name}/secret").status_code == 400
        with pytest.raises(BadRequest):
            bucket.blob("copy").rewrite(bucket.blob(name, encryption_key=wrong))
    with pytest.raises(BadRequest):
        bucket.blob("both").compose([bucket.blob("secret"), bucket.blob("plain")])
    bucket.blob("secret", encryption_key=other).rewrite(bucket.blob("secret", encryption_key=key))
    assert bucket.blob("secret", encryption_key=other).download_as_text() == "text"
    bucket.move_blob(bucket.blob("secret"), "moved")
    with pytest.raises(BadRequest):
        bucket.blob("moved").download_as_bytes()
    bucket.blob("open").rewrite(bucket.blob("moved", encryption_key=other))
    assert bucket.blob("open").download_as_text() == "text"


def test_metadata_that_no_header_can_carry(server: Server, bucket: Any) -> None:
    bucket.blob("odd").upload_from_string("text")
    own = {"a b": "v", "c:d\r\n": "v", "é": "v", "plain": "v", "value": " é\n", "": "v", "space": " v "}
    metadata = {"metadata": own, "cacheControl": " x", "storageClass": "é", "contentType": "a/b\n"}
    assert httpx.patch(f"{server.url}/b/{bucket.name}/o/odd", json=metadata).status_code == 200
    for path in (f"b/{bucket.name}/o/odd?alt=media", f"{bucket.name}/odd"):
        response = httpx.get(f"{server.url}/{path}")
        assert response.content == b"text"
        assert {name for name in response.headers if name.startswith("x-goog-meta-")} <= {
            "x-goog-meta-plain",
            "x-goog-meta-",
        }


def test_batch_of_object_store(server: Server, bucket: Any) -> None:
    bucket.blob("there").upload_from_string("")
    parts = "".join(
        f"--edge\r\nContent-Type: application/http\r\nContent-ID: {n}\r\n\r\n"
        f"DELETE /storage/v1/b/{bucket.name}/o/{name} HTTP/1.1\r\n\r\n\r\n"
        for n, name in enumerate(["there", "gone"])
    )
    headers = {"content-type": "multipart/mixed; boundary=edge"}
    text = httpx.post(f"{server.url}/batch/storage/v1", content=parts + "--edge--\r\n", headers=headers).text
    assert re.findall(r"Content-ID: <response-(\d)>\s+HTTP/1.1 (\d+)", text) == [("0", "204"), ("1", "404")]
    assert json.loads(text[text.index("{") : text.rindex("}") + 1])["error"]["code"] == 404
