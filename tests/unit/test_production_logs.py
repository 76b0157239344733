# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""One window of production logs in one row shape: counted once, in order, and what cannot be read is kept as such."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from gemtune.artifacts.production_log import (
    OWN_REQUEST,
    LogRow,
    LogWindow,
    PromptTemplate,
    UnreadableRow,
    read_log_rows,
    write_log_rows,
)
from gemtune.config import ModelVariant, Prompt, Task, fingerprint
from gemtune.contents import text_of
from gemtune.data.example import Example
from gemtune.inference.prompts import render
from gemtune.monitoring.logs import load_logs, load_requests
from gemtune.monitoring.reference import prompt_template

START, END = datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 3, 8, tzinfo=UTC)
ENDPOINT = "projects/123/locations/us-central1/endpoints/77"
TEMPLATE = PromptTemplate(system="f", before="text: ", after="\nlabel:")


def logged(number: int = 1, **changes: Any) -> dict[str, Any]:
    """A row of request-response logging, as BigQuery exports it."""
    request = {
        "contents": [{"role": "user", "parts": [{"text": f"text: parcel {number}\nlabel:"}]}],
        "systemInstruction": {"parts": [{"text": "Classify."}]},
        "generationConfig": {"temperature": 0.0},
        "labels": {"shop": "north"},
    }
    candidate = {
        "content": {"role": "model", "parts": [{"text": "so", "thought": True}, {"text": "delivery"}]},
        "finishReason": "STOP",
        "avgLogprobs": -0.05,
    }
    usage = {"promptTokenCount": 9, "candidatesTokenCount": 2, "totalTokenCount": 11}
    row = {
        "logging_time": (START + timedelta(hours=number)).isoformat(),
        "request_id": 10**17 + number,
        "endpoint": ENDPOINT,
        "full_request": request,
        "full_response": {"candidates": [candidate], "usageMetadata": usage},
    }
    return {**row, **changes}


def load(
    folder: Path, rows: list[Any], served: tuple[str, ...] = (ENDPOINT,), template: PromptTemplate | None = TEMPLATE
) -> tuple[list[LogRow | UnreadableRow], LogWindow]:
    path = folder / "log.jsonl"
    path.write_text("".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows))
    return load_logs(str(path), (START, END), served, template)


def test_load_logs_reads_rows_of_the_service(tmp_path: Path) -> None:
    (row,), window = load(tmp_path, [logged()])
    assert row == LogRow(
        id=str(10**17 + 1),
        time=START + timedelta(hours=1),
        endpoint=ENDPOINT,
        text="parcel 1",
        follows_template=True,
        system="Classify.",
        config={"temperature": 0.0},
        answer="delivery",
        finish="STOP",
        confidence=math.exp(-0.05 * 2),
        tokens=11,
        slices={"shop": "north"},
    )
    assert (window.rows, window.endpoints, window.unreadable_share) == (1, {ENDPOINT: 1}, 0)


def test_load_logs_reads_payloads_of_older_tables_and_chunks_of_streams(tmp_path: Path) -> None:
    whole = logged()
    parts = [[{"text": "deli"}], [{"text": "very"}]]
    chunks = [{"candidates": [{"content": {"parts": part}}]} for part in parts]
    chunks[1]["candidates"][0]["finishReason"] = "STOP"
    chunks[1]["usageMetadata"] = {"totalTokenCount": 11}
    own = {
        "full_request": None,
        "full_response": None,
        "request_payload": [json.dumps(whole["full_request"])],
        "response_payload": [json.dumps(chunk) for chunk in chunks],
    }
    (row,), _ = load(tmp_path, [{**whole, **own}])
    assert isinstance(row, LogRow)
    assert (row.text, row.answer, row.finish, row.tokens, row.confidence) == ("parcel 1", "delivery", "STOP", 11, None)


def test_load_logs_reads_plain_rows(tmp_path: Path) -> None:
    rows = [
        {"time": "2026-03-02 10:00:00 UTC", "text": "where is it", "answer": "delivery", "other": 1},
        {"time": "2026-03-02T10:00:00", "text": "where is it", "answer": "delivery"},
        {
            "time": "2026-03-02T11:00:00+01:00",
            "text": "pay",
            "answer": None,
            "confidence": 0.5,
            "id": "a",
            "generation": 3,
        },
    ]
    (first, second, third), window = load(tmp_path, rows)
    assert isinstance(first, LogRow)
    assert isinstance(third, LogRow)
    assert {row.time for row in (first, second, third) if isinstance(row, LogRow)} == {
        datetime(2026, 3, 2, 10, tzinfo=UTC)
    }
    own = next(row for row in (first, second, third) if row.id == "a")
    assert isinstance(own, LogRow)
    assert (own.confidence, own.generation, own.system, own.config, own.follows_template) == (0.5, 3, None, None, None)
    assert window.rows == 3


def test_load_logs_counts_a_request_once_and_only_within_its_window(tmp_path: Path) -> None:
    rows = [logged(number) for number in range(24 * 8)]
    doubled = [row for row in rows for _ in range(2)]
    expected, window = load(tmp_path, rows)
    assert [row.id for row in expected] == [str(10**17 + number) for number in range(24 * 7)]
    again, counts = load(tmp_path, doubled[::-1])
    assert again == expected
    assert counts.duplicates == 24 * 7
    assert counts.model_copy(update={"duplicates": 0}) == window


def test_load_logs_counts_a_request_where_it_was_logged_first(tmp_path: Path) -> None:
    """Also where that was in the window before, which an earlier run has read; other rows of that are no part of it."""
    hour = timedelta(hours=1)
    late = logged(-1, logging_time=(START + hour).isoformat())
    broken = logged(-2, logging_time=(START + hour).isoformat(), full_response=None)
    own = logged(-4, full_request={**logged()["full_request"], "labels": OWN_REQUEST})
    before = [logged(-1), logged(-2), logged(-3, endpoint="other"), own, logged(-5, full_response=None)]
    twice = [logged(30, logging_time=(START + 40 * hour).isoformat()), logged(30)]
    for rows in ([*before, late, broken, *twice], [*twice, broken, late, *before][::-1]):
        (row,), counts = load(tmp_path, rows)
        assert isinstance(row, LogRow)
        assert row.time == START + 30 * hour
        assert (counts.rows, counts.duplicates, counts.foreign, counts.own, counts.unreadable) == (1, 2, 0, 0, {})


def test_load_logs_of_a_file_to_which_nothing_was_written_are_no_rows(tmp_path: Path) -> None:
    rows, window = load(tmp_path, [])
    assert (rows, window.rows, window.unreadable_share) == ([], 0, 0.0)


def test_load_logs_leaves_out_other_endpoints(tmp_path: Path) -> None:
    other = logged(2, endpoint=ENDPOINT.replace("77", "78"))
    base = logged(3, endpoint=None, model="projects/123/locations/us/publishers/google/models/gemini-2.5-flash")
    by_id = ENDPOINT.replace("123", "demo-project")
    rows, window = load(tmp_path, [logged(1), other, base], (by_id,))
    assert ([row.id for row in rows], window.foreign) == ([str(10**17 + 1)], 2)
    own = TEMPLATE.model_copy(update={"system": fingerprint("Classify.")})
    rows, window = load(tmp_path, [logged(1), other, base], ("gemini-2.5-flash",), own)
    assert load(tmp_path, [base], ("gemini-2.5-flash",))[1].foreign == 1  # another prompt on the same base model
    assert ([row.id for row in rows], window.foreign) == ([str(10**17 + 3)], 2)


def test_load_logs_keeps_turns_that_do_not_follow_the_template(tmp_path: Path) -> None:
    row = logged()
    row["full_request"]["contents"][0]["parts"][0]["text"] = "parcel"
    (changed,), _ = load(tmp_path, [row])
    assert isinstance(changed, LogRow)
    assert (changed.text, changed.follows_template) == ("parcel", False)
    row = logged()
    row["full_request"]["contents"][:0] = [{"role": "user", "parts": [{"text": "hello"}]}]
    (continued,), _ = load(tmp_path, [row])
    assert isinstance(continued, LogRow)
    assert (continued.text, continued.follows_template) == ("parcel 1", False)  # no row was trained with earlier turns
    (unknown,), _ = load(tmp_path, [logged()], template=None)
    assert isinstance(unknown, LogRow)
    assert (unknown.text, unknown.follows_template) == ("text: parcel 1\nlabel:", None)


@pytest.mark.parametrize("level", ["system", "instance"])
@pytest.mark.parametrize("shots", [0, 3])
@pytest.mark.parametrize("text", ["where is it", "a\n\nb", "text: x\nlabel:"])
def test_prompt_template_takes_the_text_out_of_the_rendered_prompt(level: str, shots: int, text: str) -> None:
    task, row = Task(labels=["a", "b"]), Example("", text, "")
    variant = ModelVariant(name="p", model="m", prompt=Prompt.of({"name": "p", "level": level, "shots": shots}))
    shown = [Example("", f"shown {i}", "a") for i in range(shots)]
    turn = text_of(render(task, variant.prompt, row, shown).contents[-1]["parts"])
    template = prompt_template(task, variant)
    assert template.text_of(turn) == text
    assert (template.text_of(text_of(render(task, variant.prompt, row).contents[-1]["parts"])) is None) == (shots > 0)


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ('{"time": "2026-03-02T10:0', "invalid json"),
        ("[1]", "wrong type"),
        ({"text": "CANARY"}, "no time"),
        ({"time": "yesterday CANARY", "text": "CANARY"}, "the time is not in ISO 8601"),
        ({"time": "2026-03-02", "text": {"CANARY": 1}}, "text: string type"),
        ({"time": "2026-03-02", "answer": "CANARY"}, "text: missing"),
        (logged(full_request=None), "no request"),
        (logged(full_response=None), "no response"),
        (logged(full_request={"contents": []}), "not in the form of a request and its response"),
        (
            logged(full_request={"contents": [{"parts": [{"CANARY": 1}]}]}),
            "not in the form of a request and its response",
        ),
        (logged(full_response="CANARY"), "not in the form of a request and its response"),
        (logged(full_response="[" * 10**5), "not in the form of a request and its response"),
    ],
)
def test_load_logs_keeps_unreadable_rows_with_their_reason(tmp_path: Path, row: Any, problem: str) -> None:
    rows, window = load(tmp_path, [logged(5), row])
    unreadable = [item for item in rows if isinstance(item, UnreadableRow)]
    assert (window.rows, window.unreadable, window.unreadable_share) == (1, {problem: 1}, 0.5)
    assert [item.problem for item in unreadable] == [problem]
    assert "CANARY" not in repr(unreadable)
    assert "CANARY" not in window.model_dump_json()
    write_log_rows(tmp_path / "rows.gz", rows)
    assert list(read_log_rows(tmp_path / "rows.gz")) == [item for item in rows if isinstance(item, LogRow)]


def test_a_blocked_prompt_has_its_reason_and_no_answer(tmp_path: Path) -> None:
    response = {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}, "usageMetadata": {"totalTokenCount": 4}}
    (row,), _ = load(tmp_path, [logged(full_response=response)])
    assert isinstance(row, LogRow)
    assert (row.answer, row.finish, row.tokens) == (None, "PROHIBITED_CONTENT", 4)


def test_load_logs_takes_the_whole_one_of_a_request_that_was_logged_twice(tmp_path: Path) -> None:
    for rows in ([logged(full_response=None), logged()], [logged(), logged(full_response=None)]):
        _, window = load(tmp_path, rows)
        assert (window.rows, window.unreadable) == (1, {})


@pytest.mark.parametrize("labels", [{"shop": "north"}, {"gemtune-request": "production"}, {"gemtune": "x"}, {}, None])
def test_load_logs_leaves_out_requests_that_gemtune_sent_itself(tmp_path: Path, labels: Any) -> None:
    """Whatever else they are: doubled, in payloads alone, not readable, with labels of their own."""

    def labelled(number: int, own: Any, **changes: Any) -> dict[str, Any]:
        row = logged(number, **changes)
        return {**row, "full_request": {**row["full_request"], "labels": own}}

    mark = {**OWN_REQUEST, **(labels or {"run": "a"}), **OWN_REQUEST}
    payload = labelled(3, mark)
    payload |= {"request_payload": [json.dumps(payload["full_request"])], "full_request": None}
    other = labelled(5, mark, endpoint=ENDPOINT.replace("77", "78"))
    own = [labelled(1, mark), labelled(1, mark), labelled(2, mark, full_response=None), payload, other]
    (row,), window = load(tmp_path, [*own, labelled(4, labels)])
    assert (row.id, window.rows, window.own, window.foreign, window.unreadable) == (str(10**17 + 4), 1, 3, 1, {})
    assert window.excluded == "3 requests of gemtune's own evaluation; 1 requests to other models or prompts"
    requests, unreadable, own_requests = load_requests(str(tmp_path / "log.jsonl"), (START, END), "text")
    assert ([item.id for item in requests], unreadable, own_requests) == ([row.id], 0, 4)


def test_load_logs_counts_unreadable_rows_of_other_endpoints_as_foreign(tmp_path: Path) -> None:
    other = logged(2, endpoint=ENDPOINT.replace("77", "78"), full_request={"instances": ["CANARY"]})
    _, window = load(tmp_path, [logged(), other])
    assert (window.rows, window.unreadable, window.foreign) == (1, {}, 1)
