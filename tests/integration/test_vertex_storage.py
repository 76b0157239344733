# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Files are stored once and come whole; records change only for whoever saw them last."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from emulator_process import Emulator

from gemtune import vertex
from gemtune.artifacts.records import HardRows
from gemtune.config import Vertex
from gemtune.errors import UserError
from gemtune.state import store
from gemtune.vertex import Client, storage


def test_upload_stores_equal_content_once(client: Client, tmp_path: Path) -> None:
    content = bytes(range(256)) * 5000
    for name in ("a.jsonl", "b.jsonl"):
        (tmp_path / name).write_bytes(content)
    one, two = (storage.upload(client, tmp_path / name) for name in ("a.jsonl", "b.jsonl"))
    assert one == two
    assert one.startswith(f"gs://{client.bucket}/data/")
    storage.download(vertex.anonymous_client(), one, tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == content
    blob = client.storage().bucket(client.bucket).get_blob(one.removeprefix(f"gs://{client.bucket}/"))
    storage.upload(vertex.connect(Vertex.of({})), tmp_path / "a.jsonl")
    blob.reload()
    assert blob.metageneration == 1


@pytest.mark.parametrize("uri", ["gs://demo-project-gemtune/none", "gs://no-such-bucket/x", "gs://b", "s3://b/x"])
def test_download_names_a_missing_object_and_leaves_no_file(client: Client, tmp_path: Path, uri: str) -> None:
    storage.bucket(client)
    with pytest.raises(UserError, match=uri.replace("/", ".")):
        storage.download(client, uri, tmp_path / "x")
    assert list(tmp_path.iterdir()) == []


def test_write_record_needs_the_latest_generation(client: Client) -> None:
    assert storage.read_record(client, "r.json") == (None, 0)
    assert storage.write_record(client, "r.json", {"n": 1}, 0)
    assert not storage.write_record(client, "r.json", {"n": 2}, 0)
    record, generation = storage.read_record(client, "r.json")
    assert record == {"n": 1}
    assert storage.write_record(client, "r.json", {"n": 3}, generation)
    assert not storage.write_record(client, "r.json", {"n": 4}, generation)


def test_store_update_keeps_concurrent_changes(emulator: Emulator, client: Client) -> None:
    def add(number: int) -> None:
        mine = vertex.connect(Vertex.of({}))

        def edit(now: HardRows | None) -> HardRows:
            return HardRows(hard_ids=sorted([*(now.hard_ids if now else []), str(number)]), label_issues=[])

        store.update(mine, HardRows, "many", edit)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(add, range(8)))
    kept = store.read(client, HardRows, "many")
    assert kept is not None
    assert kept.hard_ids == [str(number) for number in range(8)]
