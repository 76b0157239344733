# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""google-cloud-storage on the emulator: bytes, generations, pages, uploads, many threads, kill -9."""

from __future__ import annotations

import base64
import hashlib
import io
import threading
import time
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from emulated import Server, storage_client
from google.api_core.exceptions import Conflict, NotFound, PreconditionFailed


@pytest.fixture
def bucket(server: Server, request: pytest.FixtureRequest) -> Any:
    name = f"b-{zlib.crc32(request.node.name.encode())}"
    return storage_client(server.url).create_bucket(name, location="europe-west4")


@pytest.mark.parametrize("body", [b"", b"\r\n", b"\n\na\r\n\r\n--x\r\n", b"\x00\xff" * 100, "é\u2028".encode()])
def test_bytes_come_back_exactly(bucket: Any, body: bytes) -> None:
    blob = bucket.blob("x/y z#?é.bin")
    blob.upload_from_string(body, content_type="text/x-test")
    stored = bucket.get_blob("x/y z#?é.bin")
    assert stored.download_as_bytes() == body
    assert (stored.size, stored.content_type) == (len(body), "text/x-test")


def test_large_resumable_upload_and_ranges(server: Server, bucket: Any) -> None:
    body = bytes(range(256)) * 4096 * 9
    blob = bucket.blob("big", chunk_size=1 << 20)
    blob.upload_from_file(io.BytesIO(body), size=len(body))
    assert bucket.blob("big").download_as_bytes() == body
    assert bucket.blob("big").download_as_bytes(start=5, end=300) == body[5:301]
    assert bucket.blob("big").download_as_bytes(start=len(body) - 3) == body[-3:]
    url = f"{server.url}/storage/v1/b/{bucket.name}/o/big?alt=media"
    tail = httpx.get(url, headers={"range": "bytes=-5"})
    assert (tail.status_code, tail.content) == (206, body[-5:])
    assert tail.headers["content-range"] == f"bytes {len(body) - 5}-{len(body) - 1}/{len(body)}"
    for first in (len(body), 10**14, 10**17):
        assert httpx.get(url, headers={"range": f"bytes={first}-"}).status_code == 416
    with bucket.blob("big").open("rb") as file:
        file.seek(1000)
        assert file.read(10) == body[1000:1010]
    with bucket.blob("streamed").open("wb") as file:
        for start in range(0, len(body), 300_000):
            file.write(body[start : start + 300_000])
    assert bucket.blob("streamed").download_as_bytes() == body


def test_create_once_and_compare_and_set(bucket: Any) -> None:
    blob = bucket.blob("lock")
    blob.upload_from_string(b"one", if_generation_match=0)
    with pytest.raises(PreconditionFailed):
        bucket.blob("lock").upload_from_string(b"two", if_generation_match=0)
    first = blob.generation
    blob.upload_from_string(b"three", if_generation_match=first)
    with pytest.raises(PreconditionFailed):
        blob.upload_from_string(b"four", if_generation_match=first)
    assert blob.generation > first
    assert bucket.blob("lock").download_as_bytes() == b"three"
    with pytest.raises(PreconditionFailed):
        blob.delete(if_generation_match=first)
    big = bucket.blob("lock", chunk_size=1 << 18)
    with pytest.raises(PreconditionFailed):
        big.upload_from_file(io.BytesIO(b"x" * (1 << 19)), size=1 << 19, if_generation_match=0)


def test_compare_and_set_counts_right_among_threads(server: Server, bucket: Any) -> None:
    bucket.blob("counter").upload_from_string(b"0")

    def add(_: int) -> None:
        mine = storage_client(server.url).bucket(bucket.name)
        while True:
            blob = mine.get_blob("counter")
            value = int(blob.download_as_bytes(if_generation_match=blob.generation, retry=None) or 0)
            try:
                mine.blob("counter").upload_from_string(str(value + 1), if_generation_match=blob.generation)
                return
            except PreconditionFailed:
                continue

    def attempt(number: int) -> None:
        while True:
            try:
                return add(number)
            except (PreconditionFailed, NotFound):
                continue

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(attempt, range(40)))
    assert bucket.blob("counter").download_as_bytes() == b"40"


def test_a_read_is_of_the_generation_it_asked_for(server: Server, bucket: Any) -> None:
    """Readers that name a generation see its bytes or an error, never another writer's."""
    blob = bucket.blob("moving")
    blob.upload_from_string(b"0" * 1000)
    done = threading.Event()

    def rewrite() -> None:
        mine = storage_client(server.url).bucket(bucket.name)
        for n in range(60):
            mine.blob("moving").upload_from_string(str(n % 10) * 1000)
        done.set()

    writer = threading.Thread(target=rewrite)
    writer.start()
    while not done.is_set():
        current = bucket.get_blob("moving")
        try:
            body = current.download_as_bytes(if_generation_match=current.generation, retry=None)
        except (PreconditionFailed, NotFound):
            continue
        digest = base64.b64encode(hashlib.md5(body).digest()).decode()
        assert digest == current.md5_hash
    writer.join()


def test_only_one_of_many_creates(server: Server, bucket: Any) -> None:
    def create(number: int) -> bool:
        try:
            blob = storage_client(server.url).bucket(bucket.name).blob("once")
            blob.upload_from_string(str(number), if_generation_match=0)
            return True
        except PreconditionFailed:
            return False

    with ThreadPoolExecutor(16) as pool:
        assert sum(pool.map(create, range(32))) == 1


def test_lists_page_fold_and_glob(server: Server, bucket: Any) -> None:
    names = [*sorted(f"{folder}/{n}.jsonl" for folder in ("a", "b", "c") for n in range(5)), "top"]
    for name in names:
        bucket.blob(name).upload_from_string(b"x")
    client = storage_client(server.url)
    assert [b.name for b in client.list_blobs(bucket, page_size=4)] == names
    assert [b.name for b in client.list_blobs(bucket, max_results=3)] == names[:3]
    folded = client.list_blobs(bucket, delimiter="/", page_size=2)
    assert [b.name for b in folded] == ["top"]
    assert folded.prefixes == {"a/", "b/", "c/"}
    assert [b.name for b in client.list_blobs(bucket, prefix="b/")] == names[5:10]
    assert [b.name for b in client.list_blobs(bucket, match_glob="**/{1,3}.jsonl", prefix="a")] == names[1:4:2]
    assert [b.name for b in client.list_blobs(bucket, start_offset="b/3", end_offset="c/1")] == names[8:11]
    pages = client.list_blobs(bucket, page_size=7).pages
    assert [len(list(page)) for page in pages] == [7, 7, 2]


def test_metadata_copy_compose_rename_delete(server: Server, bucket: Any) -> None:
    blob = bucket.blob("one")
    blob.metadata = {"k": "v"}
    blob.upload_from_string(b"1", content_type="text/plain")
    blob.metadata = {"k2": "w"}
    blob.cache_control = "no-cache"
    blob.patch()
    stored = bucket.get_blob("one")
    assert stored.metadata == {"k": "v", "k2": "w"}
    assert stored.metageneration == 2
    assert stored.cache_control == "no-cache"
    copy = bucket.copy_blob(stored, bucket, "two")
    assert copy.metadata == {"k": "v", "k2": "w"}
    assert copy.content_type == "text/plain"
    bucket.blob("three").compose([stored, copy])
    assert bucket.blob("three").download_as_bytes() == b"11"
    bucket.rename_blob(bucket.blob("three"), "four")
    assert not bucket.blob("three").exists()
    assert bucket.blob("four").exists()
    token, rewritten, total = bucket.blob("five").rewrite(bucket.get_blob("four"))
    assert (token, rewritten, total) == (None, 2, 2)
    bucket.delete_blobs(["one", "two"])
    with pytest.raises(NotFound):
        bucket.delete_blob("one")
    with pytest.raises(Conflict, match="not empty"):
        bucket.delete()


def test_batch_requests(server: Server, bucket: Any) -> None:
    for n in range(3):
        bucket.blob(str(n)).upload_from_string(b"x")
    client = storage_client(server.url)
    with client.batch():
        for n in range(3):
            client.bucket(bucket.name).delete_blob(str(n))
    assert list(client.list_blobs(bucket)) == []


def test_buckets(server: Server, bucket: Any) -> None:
    client = storage_client(server.url)
    with pytest.raises(Conflict):
        client.create_bucket(bucket.name)
    with pytest.raises(NotFound, match="bucket does not exist"):
        client.get_bucket("absent-bucket")
    with pytest.raises(NotFound):
        client.bucket("absent-bucket").blob("x").upload_from_string("y")
    stored = client.get_bucket(bucket.name)
    assert (stored.location, stored.project_number) == ("EUROPE-WEST4", 123456789012)
    stored.labels = {"a": "b"}
    stored.patch()
    assert client.get_bucket(bucket.name).labels == {"a": "b"}
    assert bucket.name in [b.name for b in client.list_buckets(page_size=1)]
    stored.delete()
    assert bucket.name not in [b.name for b in client.list_buckets()]


def test_access_is_free(server: Server, bucket: Any) -> None:
    client = storage_client(server.url)
    assert bucket.test_iam_permissions(["storage.objects.create"]) == ["storage.objects.create"]
    assert bucket.get_iam_policy().bindings[0]["role"] == "roles/storage.admin"
    assert client.get_service_account_email().startswith("service-123456789012@")


def test_environment_variable_alone(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    from google.cloud import storage

    monkeypatch.setenv("STORAGE_EMULATOR_HOST", server.url)
    client = storage.Client(project="demo-project")
    client.create_bucket("by-environment").blob("x").upload_from_string(b"y")
    assert client.bucket("by-environment").blob("x").download_as_text() == "y"


def test_transfer_manager(bucket: Any, tmp_path: Any) -> None:
    from google.cloud.storage import transfer_manager

    for n in range(20):
        (tmp_path / f"{n}.txt").write_text(f"content {n}")
    names = [f"{n}.txt" for n in range(20)]
    options = {"worker_type": transfer_manager.THREAD, "max_workers": 8}
    results = transfer_manager.upload_many_from_filenames(bucket, names, source_directory=str(tmp_path), **options)
    assert results == [None] * 20
    assert bucket.blob("7.txt").download_as_bytes() == b"content 7"


def test_kill_leaves_whole_objects(start: Callable[..., Server]) -> None:
    """Writers are cut by kill -9 at some moment, again and again; each object is one writer's whole body."""
    size = 200_000
    first = start()
    storage_client(first.url).create_bucket("crash")
    first.kill()
    acknowledged: dict[str, int] = {}
    for life in range(5):
        server = start()
        stop = threading.Event()

        def write(writer: int, url: str = server.url, stop: threading.Event = stop, life: int = life) -> None:
            bucket = storage_client(url).bucket("crash")
            number = 0
            while not stop.is_set():
                number += 1
                try:
                    body = f"{life}-{number}-".encode() * (size // 8)
                    bucket.blob(f"w{writer}").upload_from_string(body, retry=None, timeout=5)
                    acknowledged[f"w{writer}"] = life * 1_000_000 + number
                except Exception:
                    return  # the server is gone

        threads = [threading.Thread(target=write, args=(n,)) for n in range(3)]
        for thread in threads:
            thread.start()
        time.sleep(0.15 + 0.07 * life)
        server.kill()
        stop.set()
        for thread in threads:
            thread.join()
    final = storage_client(start().url).bucket("crash")
    for blob in final.list_blobs():
        body = blob.download_as_bytes()
        mark = body[: body.index(b"-", body.index(b"-") + 1) + 1]
        assert body == mark * (size // 8)
        life_number, number = map(int, mark.decode().strip("-").split("-"))
        assert life_number * 1_000_000 + number >= acknowledged[blob.name]
    assert acknowledged
