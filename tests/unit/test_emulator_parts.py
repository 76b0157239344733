# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Parts of the emulator that need no server: filters, cron, ROUGE, field cases, storage lists, state, batching."""

from __future__ import annotations

import difflib
import json
import os
import re
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator import catalogue as emulator_catalogue
from emulator.app.server import Emulator, Settings
from emulator.core.faults import FaultPlan, Faults
from emulator.core.filters import Filters
from emulator.core.google_rest import ApiError, camel, camelize, project_number, snake, split_multipart
from emulator.core.state import State, StateInUse
from emulator.documents import read_document
from emulator.engines.base import Candidate, GenerateRequest, Generation, Turn
from emulator.engines.rules_engine import Rules, RulesEngine, _Adapter
from emulator.services.collection import JobCollection
from emulator.services.evaluation import rouge
from emulator.services.inference import Batcher
from emulator.services.schedules import next_firing
from emulator.services.storage import Storage

ITEMS = [
    (1, {"name": "projects/1/x/a", "labels": {"run": "x", "tune-type": "sft"}, "state": "OK", "count": 3}),
    (2, {"name": "projects/1/x/b", "labels": {}, "state": "BAD", "parents": ["projects/123456789012/p"]}),
]


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ('labels.run="x"', [1]),
        ("labels.tune-type:*", [1]),
        ("labels.run:*", [1]),
        ('state="OK" OR state="BAD"', [1, 2]),
        ('state="OK" AND state="BAD"', []),
        ('state="OK" OR state="BAD" AND count>2', [1]),  # OR binds tighter
        ("NOT state=OK", [2]),
        ("(state=OK)", [1]),
        ("state!=OK", [2]),
        ("count>=3", [1]),
        ("count<3", []),
        ('parents:"projects/demo-project/p"', [2]),
        ("name=projects/1/x/a", [1]),
        ('name="projects/1/*"', [1, 2]),
        ("name:x/b", [2]),
        ("", [1, 2]),
    ],
)
def test_filters_match_resources(text: str, numbers: list[int]) -> None:
    assert [number for number, _ in Filters([text]).matching(ITEMS)] == numbers


@pytest.mark.parametrize(
    "text",
    [
        "(",
        "a=",
        "=b",
        "a",
        "a=b)",
        "a ? b",
        'a="b',
        "NOT",
        "in_context(x)",
        "f('x')",
        "a=b:",
        "(" * 60 + "a=b" + ")" * 60,
    ],
)
def test_filters_refuse_bad_syntax(text: str) -> None:
    with pytest.raises(ApiError, match="Invalid filter"):
        Filters([text])


def matches(field: str, value: int) -> bool:
    """Whether a value is in a field of a cron expression, as simply as it can be written."""
    for item in field.replace("mon", "1").replace("sat", "6").split(","):
        first, _, last = item.partition("-")
        if item == "*" or (item.startswith("*/") and value % int(item[2:]) == 0):
            return True
        if not item.startswith("*") and int(first) <= value <= int(last or first):
            return True
    return False


def brute_next_firing(cron: str, moment: datetime) -> datetime | None:
    """The next firing by checking every minute."""
    minute, hour, day, _, weekday = cron.split()
    either = not day.startswith("*") and not weekday.startswith("*")
    step = moment.replace(second=0, microsecond=0)
    for _ in range(60 * 24 * 40):
        step += timedelta(minutes=1)
        days = matches(day, step.day), matches(weekday, (step.weekday() + 1) % 7)
        if matches(minute, step.minute) and matches(hour, step.hour) and (any(days) if either else all(days)):
            return step
    return None


FIELD = st.sampled_from(["*", "0", "5", "*/15", "1-3", "0,30"])


@given(
    st.tuples(FIELD, st.sampled_from(["*", "0", "3", "*/6", "2-4"]), st.sampled_from(["*", "1", "15"])),
    st.sampled_from(["*", "1", "mon", "sat-sat", "0,6"]),
    st.datetimes(datetime(2026, 1, 1), datetime(2026, 11, 1)),
)
def test_next_firing_agrees_with_checking_every_minute(
    fields: tuple[str, str, str], weekday: str, moment: datetime
) -> None:
    cron = " ".join((*fields, "*", weekday))
    start = moment.replace(tzinfo=UTC)
    assert next_firing(cron, start) == brute_next_firing(cron, start)


def test_next_firing_in_a_time_zone() -> None:
    new_york = ZoneInfo("America/New_York")
    spring = datetime(2026, 3, 8, 0, 0, tzinfo=new_york)
    assert next_firing("TZ=America/New_York 30 2 * * *", spring) == datetime(2026, 3, 9, 2, 30, tzinfo=new_york)
    twice = "CRON_TZ=America/New_York 30 1 * * *"
    first = next_firing(twice, datetime(2026, 11, 1, 0, 0, tzinfo=new_york))
    assert first == datetime(2026, 11, 1, 5, 30, tzinfo=UTC)
    assert next_firing(twice, first) == first + timedelta(hours=25)
    second_hour = datetime(2026, 11, 1, 6, 10, tzinfo=UTC)  # 1:10 again, on the winter side
    assert next_firing("TZ=America/New_York */20 * * * *", second_hour) == datetime(2026, 11, 1, 7, 0, tzinfo=UTC)


def test_next_firing_of_rare_and_impossible_dates() -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    assert next_firing("0 0 29 2 *", start) == datetime(2028, 2, 29, tzinfo=UTC)
    with pytest.raises(ValueError, match="day-of-month"):
        next_firing("0 0 31 2 *", start)


@pytest.mark.parametrize("cron", ["0 3 * *", "0 0 3 * * *", "61 * * * *", "* * * * mom", "TZ=Nowhere/Town 0 3 * * *"])
def test_next_firing_rejects_invalid_expressions(cron: str) -> None:
    with pytest.raises(ValueError, match=r"cron expression|time zone"):
        next_firing(cron, datetime(2026, 1, 1, tzinfo=UTC))


WORDS = st.lists(st.sampled_from("abcd"), max_size=8)


@given(WORDS, WORDS)
def test_rouge_is_bounded_and_symmetric(one: list[str], other: list[str]) -> None:
    left, right = " ".join(one), " ".join(other)
    for kind in ("rouge1", "rouge2", "rougeL", "rougeLsum"):
        score = rouge(kind, left, right)
        assert 0 <= score <= 1
        assert rouge(kind, left, right) == pytest.approx(rouge(kind, right, left))
    overlap = (Counter(one) & Counter(other)).total()
    assert rouge("rouge1", left, right) == pytest.approx(2 * overlap / (len(one) + len(other)) if overlap else 0)
    blocks = difflib.SequenceMatcher(None, one, other, autojunk=False).get_matching_blocks()
    common = sum(block.size for block in blocks)  # a common subsequence, never longer than the longest
    assert rouge("rougeL", left, right) >= (2 * common / (len(one) + len(other)) if common else 0) - 1e-12


def test_rouge_reads_japanese() -> None:
    assert rouge("rouge1", "天気が良い", "天気が悪い") == pytest.approx(0.8)


@pytest.mark.parametrize(
    ("prediction", "reference", "expected"),
    [("काल", "कूल", 0), ("দিন", "দান", 0), ("ปี", "ปู", 0), ("👍", "👍", 1), ("❤️", "👍️", 0), ("...", "Yes.", 0)],
)
def test_rouge_compares_marks_and_symbols(prediction: str, reference: str, expected: float) -> None:
    assert rouge("rougeL", prediction, reference) == expected


@given(st.from_regex(r"[a-z]+(_[a-z]+){0,3}", fullmatch=True))
def test_camel_and_snake_round_trip(word: str) -> None:
    assert snake(camel(word)) == word


def test_camelize_keeps_keys_of_free_maps() -> None:
    body = {
        "training_dataset": {"labels": {"my_label": "x"}},
        "response_schema": {"properties": {"my_field": {"any_of": []}}},
        "pipeline_spec": {"my_key": {"other_key": 1}},
    }
    assert camelize(body) == {
        "trainingDataset": {"labels": {"my_label": "x"}},
        "responseSchema": {"properties": {"my_field": {"anyOf": []}}},
        "pipelineSpec": {"my_key": {"other_key": 1}},
    }


def test_project_number_is_stable() -> None:
    assert project_number("demo-project") == "123456789012"
    assert project_number("77") == "77"
    other = project_number("another")
    assert other.isdigit()
    assert project_number(other) == other


@given(st.lists(st.binary(max_size=40), min_size=1, max_size=4))
def test_split_multipart_is_exact(bodies: list[bytes]) -> None:
    text = b"".join(b"--edge\r\nContent-Type: a/b\r\n\r\n" + body + b"\r\n" for body in bodies) + b"--edge--\r\n"
    parts = split_multipart('multipart/related; boundary="edge"', text)
    assert [body for _, body in parts] == bodies
    assert parts[0][0] == {"content-type": "a/b"}


NAMES = st.lists(st.text("ab/é", min_size=1, max_size=5), max_size=12, unique=True)


@given(NAMES, st.sampled_from(["", "a", "a/"]), st.sampled_from(["", "/"]), st.integers(1, 4))
def test_storage_pages_add_up(names: list[str], prefix: str, delimiter: str, size: int) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as directory:
        storage = Storage(Path(directory))
        storage.create_bucket("bucket", "1", {})
        for name in names:
            storage.write("bucket", name, b"")
        listed: list[str] = []
        folded: list[str] = []
        token: str | None = ""
        while token is not None:
            page = storage.list("bucket", prefix, delimiter, size, token)
            assert len(page.objects) + len(page.prefixes) <= size
            listed += [item["name"] for item in page.objects]
            folded += page.prefixes
            token = page.next_token
        storage.close()
    under = sorted(name for name in names if name.startswith(prefix))
    cut = [(name, name.find(delimiter, len(prefix)) if delimiter else -1) for name in under]
    assert listed == [name for name, at in cut if at < 0]
    assert folded == sorted({name[: at + 1] for name, at in cut if at >= 0})


def test_state_directory_has_one_owner(tmp_path: Path) -> None:
    state = State(tmp_path)
    with pytest.raises(StateInUse, match="another emulator"):
        State(tmp_path)
    state.close()
    State(tmp_path).close()


def test_state_transactions_are_atomic(tmp_path: Path) -> None:
    state = State(tmp_path)
    state.put("things", "a/things/1", {"n": 1})

    def fail(body: dict[str, Any]) -> None:
        body["n"] = 2
        raise LookupError("halfway")

    def two_changes() -> None:
        with state.transaction():
            state.put("things", "a/things/2", {"n": 1})
            state.change("a/things/1", fail)

    with pytest.raises(LookupError, match="halfway"):
        two_changes()
    assert [item for _, item in state.all("things")] == [{"n": 1}]
    threads = [
        threading.Thread(
            target=lambda: [state.change("a/things/1", lambda b: b.update(n=b["n"] + 1)) for _ in range(50)]
        )
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert state.get("a/things/1") == {"n": 201}
    assert len({state.new_id("things") for _ in range(1000)}) == 1000
    state.close()


class Counting:
    """An engine that records how it was called; a prompt `bad` fails the whole call."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def generate(self, requests: Sequence[GenerateRequest]) -> list[Generation]:
        self.sizes.append(len(requests))
        time.sleep(0.01)
        if any(request.turns[0].text == "bad" for request in requests):
            raise ValueError("bad prompt")
        return [Generation((Candidate(r.turns[0].text, "STOP", 1, 0.0),), 1) for r in requests]


def test_batcher_gathers_requests_and_separates_answers() -> None:
    engine = Counting()
    batcher = Batcher(lambda: engine, batch_size=8)  # type: ignore[arg-type, return-value]
    texts = [f"t{n}" if n != 11 else "bad" for n in range(40)]
    futures = [batcher.submit(GenerateRequest((Turn("user", text),))) for text in texts]
    for text, future in zip(texts, futures, strict=True):
        if text == "bad":
            with pytest.raises(ValueError, match="bad prompt"):
                future.result(5)
        else:
            assert future.result(5).candidates[0].text == text
    assert max(engine.sizes) == 8


def test_scripted_engine_has_the_configured_accuracy() -> None:
    answers = {f"q{n}#": f"l{n % 5}" for n in range(2000)}
    engine = RulesEngine(Rules(answers=answers, labels=tuple(f"l{n}" for n in range(5)), base_accuracy=0.7))
    requests = [GenerateRequest((Turn("user", f"please: {key}"),), temperature=0.0) for key in answers]
    texts = [generation.candidates[0].text for generation in engine.generate(requests)]
    right = sum(text == truth for text, truth in zip(texts, answers.values(), strict=True))
    assert abs(right / 2000 - 0.7) < 0.04
    assert texts == [g.candidates[0].text for g in engine.generate(requests)]


class Diverging(RulesEngine):
    """An engine whose loss runs away."""

    def _values(self, row: Any, done: float, tokens: float) -> dict[str, float]:
        return {"/train_total_loss": float("nan") if done > 0.7 else float("inf") if done > 0.4 else 3.0}


def test_emulator_diverged_job_stays_readable(tmp_path: Path) -> None:
    import asyncio

    emulator = Emulator(Settings(tmp_path, lambda entry: Diverging()))
    row = {"contents": [{"role": role, "parts": [{"text": "x"}]} for role in ("user", "model")]}
    emulator.storage.create_bucket("data", "1", {})
    emulator.storage.write("data", "train.jsonl", "\n".join([json.dumps(row)] * 160).encode())
    emulator.tuning_jobs.start()

    def ask(method: str, path: str, body: Any = None) -> Any:
        content = json.dumps(body).encode() if body else b""
        response = asyncio.run(emulator.handle(method, path, "", {}, content, "http://x"))
        assert response.status_code == 200, response.body
        return response.body

    spec = {"trainingDatasetUri": "gs://data/train.jsonl", "hyperParameters": {"epochCount": 1}}
    body = {"baseModel": "gemini-2.5-flash", "supervisedTuningSpec": spec}
    parent = "/v1/projects/demo-project/locations/us-central1"
    job = json.loads(ask("POST", f"{parent}/tuningJobs", body))
    deadline = time.monotonic() + 20
    while job["state"] != "JOB_STATE_SUCCEEDED":
        assert time.monotonic() < deadline
        time.sleep(0.02)
        job = json.loads(ask("GET", f"/v1/{job['name']}"))
    (series,) = (item for _, item in emulator.state.all("timeSeries"))
    data = json.loads(ask("GET", f"/v1/{series['name']}:read"))
    assert [value["scalar"]["value"] for value in data["timeSeriesData"]["values"]] == [3.0] * 4
    assert b"/train_total_loss" in ask("GET", "/emulator/console")
    emulator.close()


def test_emulator_ends_where_the_failure_of_a_job_cannot_be_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    emulator, ended = Emulator(Settings(tmp_path, lambda _: RulesEngine(), concurrency=1)), threading.Event()
    jobs, name = emulator.tuning_jobs, "projects/p/locations/l/tuningJobs/1"
    emulator.state.put(jobs.kind, name, {"name": name, "state": "JOB_STATE_PENDING"})

    def full(*_: Any, **__: Any) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(os, "kill", lambda pid, number: ended.set())
    monkeypatch.setattr(jobs, "run", full)
    monkeypatch.setattr(jobs, "end", full)
    jobs.start()
    jobs.enqueue(name)
    assert ended.wait(5)
    emulator.close()


@pytest.mark.parametrize("model", [emulator_catalogue.Catalogue, Rules, FaultPlan])
@pytest.mark.parametrize("content", ["", "{", "[]", '{"\\ud800": 1}', '{"unknown": 1}', None])
def test_read_document_names_the_file_in_one_line(model: Any, content: str | None, tmp_path: Path) -> None:
    path = tmp_path / "own.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ValueError, match=rf"^{re.escape(str(path))}: [^\n]+$") as error:
        read_document(path, model)
    assert "https://" not in str(error.value)


def test_emulator_catalogue_loads_weights_beside_it(tmp_path: Path) -> None:
    catalogue = json.loads(Path(emulator_catalogue.__file__).with_name("catalogue.json").read_text())
    catalogue["models"] = [{"name": "mine", "supervised": [1], "weights": "base"}]
    path = tmp_path / "catalogue.json"
    path.write_text(json.dumps(catalogue))
    with pytest.raises(ValueError, match="is not a directory"):
        emulator_catalogue.load_catalogue(path)
    (tmp_path / "base").mkdir()
    assert emulator_catalogue.load_catalogue(path).models[0].weights == tmp_path / "base"


def test_emulator_catalogue_accepts_a_hub_repository(tmp_path: Path) -> None:
    path = tmp_path / "catalogue.json"
    catalogue = json.loads(Path(emulator_catalogue.__file__).with_name("catalogue.json").read_text())

    def weights(reference: str) -> object:
        catalogue["models"] = [{"name": "mine", "weights": reference}]
        path.write_text(json.dumps(catalogue))
        return emulator_catalogue.load_catalogue(path).models[0].weights

    assert weights("owner/small-chat.v1") == "owner/small-chat.v1"
    for wrong in ("../owner/name", "/no/where", "./owner", "a/b/c"):
        with pytest.raises(ValueError, match="is not a directory"):
            weights(wrong)
    (tmp_path / "owner" / "small-chat.v1").mkdir(parents=True)
    assert weights("owner/small-chat.v1") == tmp_path / "owner" / "small-chat.v1"


class Jobs(JobCollection):
    kind, title, parameter = "jobs", "Job", "job"

    def run(self, name: str) -> None:
        self.end(name, "SUCCEEDED")


def test_job_that_was_cancelled_before_it_was_queued_does_not_run(tmp_path: Path) -> None:
    state = State(tmp_path)
    jobs = Jobs(state, Faults(FaultPlan()))
    names = [f"p/jobs/{word}" for word in ("CANCELLED", "PENDING")]
    jobs.start()
    for name in names:
        state.put("jobs", name, {"name": name, "state": f"JOB_STATE_{name.rpartition('/')[2]}"})
        jobs.enqueue(name)
    while not jobs.idle():
        time.sleep(0.01)
    assert [(state.get(name) or {})["state"] for name in names] == ["JOB_STATE_CANCELLED", "JOB_STATE_SUCCEEDED"]
    jobs.stop()
    state.close()


@given(
    answers=st.dictionaries(st.text("ab1é-. \n", min_size=1, max_size=9), st.sampled_from("xyz"), max_size=8),
    prompt=st.text("ab1é-. \n", max_size=40),
)
def test_rules_answer_with_the_last_key_that_the_prompt_contains(answers: dict[str, str], prompt: str) -> None:
    engine = RulesEngine(Rules(answers=answers))
    contained = [key for key in answers if key in prompt]
    wanted = max(contained, key=lambda key: (prompt.rfind(key) + len(key), len(key)), default=None)
    answer = engine._correct_answer(prompt, "another text", _Adapter(1.0, ()))
    assert answer == (None if wanted is None else answers[wanted])
