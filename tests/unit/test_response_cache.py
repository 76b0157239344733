# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The response cache: by the content of requests and by who answered, across processes, for a limited time."""

from __future__ import annotations

import asyncio
import json
import statistics
import threading
import time
from dataclasses import replace

import pytest

from gemtune.config import Evaluate, Vertex
from gemtune.contents import ModelOutput
from gemtune.errors import UserError
from gemtune.inference import response_cache as response_cache_module
from gemtune.inference.generate import GenerateRequest, RetryPolicy, generate_all
from gemtune.inference.response_cache import (
    MAX_AGE_DAYS,
    SAVE_LINES,
    SEGMENT_LINES,
    Segments,
    SqliteResponseCache,
    read_line,
)
from gemtune.inference.vertex_generation import response_cache

QUESTION = GenerateRequest("row", "model", "system", [{"role": "user", "parts": [{"text": "hi"}]}])
SETTINGS = {"temperature": 0.0}
SCHEMA = {"response_schema": {"type": "STRING", "enum": ["refund"]}}


def test_response_cache_returns_marked_outputs_for_the_same_request(tmp_path):
    with SqliteResponseCache(tmp_path, SETTINGS) as store:
        assert store.get(QUESTION) is None
        store.put(QUESTION, ModelOutput("refund", "STOP", "", 3, 1, 0.5, 2))
    with SqliteResponseCache(tmp_path, SETTINGS) as store:
        assert store.get(QUESTION) == ModelOutput("refund", "STOP", "", 3, 1, 0.5, 2, cached=True)
        assert store.get(replace(QUESTION, key="another row")) is not None
        for change in ({"model": "m2"}, {"system": None}, {"contents": []}, {"version": "2"}, {"sample": 1}, SCHEMA):
            assert store.get(replace(QUESTION, **change)) is None
    with SqliteResponseCache(tmp_path, {"temperature": 0.5}) as store:
        assert store.get(QUESTION) is None


def test_response_cache_is_shared_by_processes(tmp_path):
    with SqliteResponseCache(tmp_path, SETTINGS) as one, SqliteResponseCache(tmp_path, SETTINGS) as two:
        one.put(QUESTION, ModelOutput("a"))
        two.put(QUESTION, ModelOutput("a"))
        assert two.get(QUESTION) == ModelOutput("a", cached=True)


def test_response_cache_names_an_unusable_directory(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"evaluate\.response_cache"):
        SqliteResponseCache(tmp_path / "file", SETTINGS)


def test_response_cache_saves_new_outputs_for_other_machines(tmp_path):
    saved = []
    second, third = (replace(QUESTION, contents=[{"n": n}]) for n in (2, 3))
    with SqliteResponseCache(tmp_path / "a", SETTINGS, save=saved.append) as store:
        store.put(QUESTION, ModelOutput("old", model_version="m-001"))
        store.put(second, ModelOutput("refund \ud800", model_version="m-002"))
        assert len(saved) == 2, "an answer is saved when it comes"
        store.put(third, ModelOutput("third", model_version="m-002"))
    assert len(saved) == 3
    with SqliteResponseCache(tmp_path / "b", SETTINGS, save=saved.append) as store:
        store.load(map(read_line, reversed(saved)))
        assert store.get(QUESTION) is None, "the model was replaced since"
        assert store.get(second).text == "refund \ud800"
        assert store.get(third).cached
    assert len(saved) == 3, "what was loaded is not saved again"


def test_read_line_finds_damage_and_other_versions(tmp_path):
    saved = []
    with SqliteResponseCache(tmp_path, SETTINGS, save=saved.append) as store:
        store.put(QUESTION, ModelOutput("refund"))
    row = json.loads(saved[0])
    assert read_line(saved[0].encode()) == tuple(row)
    newer = [*row[:4], json.dumps({**json.loads(row[4]), "field_of_a_later_version": 1})]
    damaged = ["{", saved[0][:40], "{}", "5", "[" * 10**5, json.dumps(row[:3]), json.dumps([*row[:4], 5])]
    for damage in (*damaged, json.dumps(newer), json.dumps([*row[:4], "[" * 10**5])):
        assert read_line(damage) is None
    assert read_line(b"\xff" + saved[0].encode()) is None


def test_response_cache_names_a_damaged_file(tmp_path):
    with SqliteResponseCache(tmp_path, SETTINGS) as store:
        store.put(QUESTION, ModelOutput("refund"))
        store._database.execute("UPDATE model_outputs SET output = 'damaged'")
        assert store.get(QUESTION) is None, "it is asked again, and replaced"
        store.put(QUESTION, ModelOutput("refund"))
        assert store.get(QUESTION).text == "refund"
        store._database.execute("DROP TABLE last_versions")
        for use in (lambda: store.get(QUESTION), lambda: store.put(QUESTION, ModelOutput("refund"))):
            with pytest.raises(UserError, match=r"responses\.sqlite: .* \(move it away"):
                use()


def test_segments_keep_every_line_in_few_objects(monkeypatch):
    monkeypatch.setattr(response_cache_module, "PAUSE_S", 0.01)
    objects, batches, written = {}, [], {}

    def write(name, lines):
        batches.append(len(lines) - len(objects.get(name, [])))
        assert time.monotonic() - written.get(name, 0.0) >= 0.01, "Cloud Storage refuses a second write in a second"
        objects[name], written[name] = list(lines), time.monotonic()

    lines = [str(n) for n in range(4321)]
    with Segments(write) as segments:
        for n, line in enumerate(lines):
            segments.add(line)
            if n % 25 == 0:
                time.sleep(0.001)  # the thread gets its turn
    assert sorted(line for own in objects.values() for line in own) == sorted(lines)
    assert statistics.median(batches) < 3 * SAVE_LINES, "a busy machine may give the thread a late turn"
    assert all(len(own) < SEGMENT_LINES + max(batches) for own in objects.values())
    assert len(objects) < 40, "objects are written again until they are full"


def test_segments_save_few_lines_after_a_second(monkeypatch):
    monkeypatch.setattr(response_cache_module, "SAVE_S", 0.01)
    saved = threading.Event()
    with Segments(lambda name, lines: saved.set()) as segments:
        segments.add("only line")
        assert saved.wait(5), "long before the end"


@pytest.mark.parametrize("value", ["", "off"])
def test_response_cache_may_be_off(value):
    with response_cache(Evaluate(response_cache=value), Vertex()) as store:
        assert store is None


EMULATOR = {"GOOGLE_VERTEX_BASE_URL": "http://127.0.0.1:8080", "GOOGLE_CLOUD_PROJECT": "demo-project"}
CLOUD = {"GOOGLE_CLOUD_PROJECT": "demo-project"}
OTHERS = [
    CLOUD,  # the same project and location, but Google's server
    {**EMULATOR, "GOOGLE_VERTEX_BASE_URL": "http://127.0.0.1:8081"},
    {**EMULATOR, "GOOGLE_CLOUD_PROJECT": "another-project"},
    {**EMULATOR, "GOOGLE_CLOUD_LOCATION": "europe-west4"},
]


@pytest.mark.parametrize("other", OTHERS, ids=["server", "port", "project", "location"])
@pytest.mark.parametrize("swapped", [False, True])
def test_response_cache_holds_answers_of_one_server_project_and_location(tmp_path, monkeypatch, other, swapped):
    config = Evaluate(response_cache=str(tmp_path))

    def cache(environment):
        for name in ("GOOGLE_VERTEX_BASE_URL", "GOOGLE_CLOUD_PROJECT", "GOOGLE_CLOUD_LOCATION"):
            monkeypatch.delenv(name, raising=False)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        return response_cache(config, Vertex())

    first, second = (other, EMULATOR) if swapped else (EMULATOR, other)
    with cache(first) as store:
        store.put(QUESTION, ModelOutput("refund"))
    with cache(second) as store:
        assert store.get(QUESTION) is None
        store.put(QUESTION, ModelOutput("cancel"))
    with cache(first) as store:
        assert store.get(QUESTION).text == "refund"


def test_response_cache_forgets_answers_after_a_time(tmp_path):
    now = [1e9]
    with SqliteResponseCache(tmp_path, SETTINGS, lambda: now[0]) as store:
        store.put(QUESTION, ModelOutput("refund"))
        now[0] += 86_400 * MAX_AGE_DAYS - 1
        assert store.get(QUESTION) is not None
        now[0] += 2
        assert store.get(QUESTION) is None
        store.put(QUESTION, ModelOutput("cancel"))
        assert store.get(QUESTION).text == "cancel"


def test_response_cache_holds_answers_of_the_last_model_version(tmp_path):
    second, tuned = replace(QUESTION, system="other"), replace(QUESTION, version="models/1")
    with SqliteResponseCache(tmp_path, SETTINGS) as store:
        store.put(QUESTION, ModelOutput("refund", model_version="m-001"))
        store.put(tuned, ModelOutput("tuned", model_version="m-001"))
        store.put(second, ModelOutput("refund", model_version="m-002"))
        assert store.get(QUESTION) is None
        assert store.get(second).model_version == "m-002"
        assert store.get(tuned).text == "tuned"  # another model


@pytest.mark.parametrize("versions", [("m-001", "m-002"), ("m-001", "m-001")])
def test_generate_all_mixes_no_model_versions(tmp_path, versions):
    """Of 40 rows 30 are cached; one new answer of another version makes them be sent again."""
    requests = [replace(QUESTION, key=str(n), contents=[{"n": n}]) for n in range(40)]
    sent = []

    async def generate(request):
        sent.append(request.key)
        return ModelOutput(request.key, model_version=versions[len(sent) > 30])

    policy = RetryPolicy(4, 1, (OSError,), (ValueError,))
    with SqliteResponseCache(tmp_path, SETTINGS) as store:
        asyncio.run(generate_all(requests[:30], generate, policy, cache=store))
        outputs = asyncio.run(generate_all(requests, generate, policy, cache=store))
        again = asyncio.run(generate_all(requests, generate, policy, cache=store))
    assert [output.text for output in outputs] == [str(n) for n in range(40)]
    assert {output.model_version for output in outputs} == {versions[1]}
    assert len(sent) == (70 if len(set(versions)) == 2 else 40)
    assert all(output.cached for output in again)


def test_generate_all_ends_while_versions_alternate(tmp_path):
    requests = [replace(QUESTION, key=str(n), contents=[{"n": n}]) for n in range(20)]
    sent = []

    async def generate(request):
        sent.append(request.key)
        return ModelOutput(request.key, model_version=f"m-{len(sent) % 2}")

    policy = RetryPolicy(1, 1, (OSError,), (ValueError,))
    with SqliteResponseCache(tmp_path, SETTINGS) as store:
        for _ in range(3):
            outputs = asyncio.run(generate_all(requests, generate, policy, cache=store))
            assert [output.text for output in outputs] == [str(n) for n in range(20)]
    assert len(sent) <= 60
