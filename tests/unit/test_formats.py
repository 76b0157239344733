# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Every format is read row by row; every shape becomes the same example."""

import gzip
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from gemtune.config import Preprocess, Task
from gemtune.data.example import Example, RejectedRow
from gemtune.data.formats import parse_example
from gemtune.data.readers import read_rows
from gemtune.errors import UserError

TURN = {"role": "user", "parts": [{"text": "where is it"}]}
ANSWER = {"role": "model", "parts": [{"text": "order"}]}
SYSTEM = {"role": "system", "parts": [{"text": "be brief"}]}


def rows(path: Path) -> list[Any]:
    return list(read_rows(path))


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jsonl", '\ufeff{"text": "x, \\"y\\"", "label": "l"}\r\n\r\n{"text": "é\u2028", "label": "m"}'),
        ("a.csv", '\ufefftext,label\r\n"x, ""y""",l\n\né\u2028,m\n'),
        ("a.tsv", 'text\tlabel\n"x, ""y"""\tl\n\né\u2028\tm'),
    ],
)
def test_readers_accept_text_formats(tmp_path: Path, name: str, content: str, packed: bool) -> None:
    path = tmp_path / (name + ".gz" if packed else name)
    path.write_bytes(gzip.compress(content.encode()) if packed else content.encode())
    found = rows(path)
    assert [row for _, row in found] == [{"text": 'x, "y"', "label": "l"}, {"text": "é\u2028", "label": "m"}]
    assert [line for line, _ in found] == ([1, 3] if "jsonl" in name else [2, 4])


def test_readers_number_multiline_csv_cells_by_their_first_line(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('text,label\n"one\ntwo",a\nb,c\nshort\nd,e\n')
    assert [(r.line, r.reason) if isinstance(r, RejectedRow) else r[0] for r in rows(path)] == [
        2,
        4,
        (5, "wrong_cells"),
        6,
    ]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b'text,label\na,b\n"c,d\n', r"a\.csv:3: .*quote"),
        ("a.xls", b"PK\x03\x04", "it is a zip archive"),
        ("a.jsonl.gz", gzip.compress(b'{"text": "x"}\n' * 1000, mtime=0)[:-20], "truncated or damaged"),
        ("a.jsonl.gz", b"plain text", "truncated or damaged"),
        ("a.parquet", b"plain text", r"not \.parquet: it is text"),
        ("a.parquet", b"\0x", "not readable as Parquet"),
        ("a.xls", b"x", "cannot determine the format"),
        ("a.xlsx", b"\0x", "not readable as .xlsx"),
        ("a.json", b'[{"text": "x"},\n{"text": ', r"a\.json:2: .*list that begins at line 1 is broken"),
    ],
)
def test_readers_name_the_place_of_an_unreadable_file(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(UserError, match=message):
        rows(path)


@pytest.mark.parametrize(
    "row",
    [
        {"text": "where is it", "label": "order"},
        {"contents": [TURN, ANSWER]},
        {"messages": [{"role": "user", "content": "where is it"}, {"role": "model", "content": "order"}]},
        {"messages": [{"role": "user", "content": "where is it"}, {"role": "assistant", "content": "order"}]},
    ],
)
def test_formats_give_the_same_example(row: dict[str, Any]) -> None:
    made = parse_example(3, row, Task(), Preprocess())
    assert isinstance(made, Example)
    contents = None if "text" in row else (TURN,)
    assert (made.text, made.target, made.line, made.contents) == ("where is it", "order", 3, contents)
    again = parse_example(9, row, Task(), Preprocess())
    assert isinstance(again, Example)
    assert made.id == again.id


def test_formats_keep_turns_files_and_system() -> None:
    image = {"fileData": {"mimeType": "image/png", "fileUri": "gs://b/i.png"}}
    turns = [
        TURN,
        {"role": "model", "parts": [{"text": "which?"}]},
        {"role": "user", "parts": [image, {"text": "this"}]},
    ]
    made = parse_example(1, {"systemInstruction": SYSTEM, "contents": [*turns, ANSWER]}, Task(), Preprocess())
    assert isinstance(made, Example)
    assert made.contents == tuple(turns)
    assert (made.system, made.text, made.target) == ("be brief", "this", "order")
    assert json.dumps(made.contents)


@pytest.mark.parametrize(
    "row",
    [
        {"contents": []},
        {"contents": [ANSWER]},
        {"contents": [TURN, TURN]},
        {"contents": [TURN, {"role": "robot", "parts": [{"text": "x"}]}]},
        {"contents": [TURN, {"role": "model", "parts": []}]},
        {"contents": [{"role": "user", "parts": [7]}, ANSWER]},
        {"messages": ["x"]},
    ],
)
def test_formats_reject_wrong_turns_with_a_reason(row: dict[str, Any]) -> None:
    made = parse_example(1, row, Task(), Preprocess())
    assert isinstance(made, RejectedRow)
    assert made.reason in ("wrong_turns", "wrong_type")


def test_formats_read_objects_in_the_notation_of_python() -> None:
    value = {"order": 7, "note": "it's", "paid": None}
    task = Task(kind="extraction")
    (read, as_json) = (
        parse_example(1, {"text": "a", "label": cell}, task, Preprocess()) for cell in (str(value), value)
    )
    assert isinstance(read, Example)
    assert read == as_json


def test_formats_reject_rows_that_an_annotator_did_not_accept() -> None:
    rows = [
        {"text": "a b", "label": "x", "_task_hash": 1, "answer": answer} for answer in ("accept", "reject", "ignore")
    ]
    parsed = [parse_example(1, row, Task(), Preprocess()) for row in rows]
    assert [getattr(item, "reason", "") for item in parsed] == ["", "not_selected", "not_selected"]
    binary = parse_example(1, rows[1], Task(), Preprocess(target_column="answer"))
    assert isinstance(binary, Example)
    assert binary.target == "reject"


BRIEF = "Answer briefly."


@pytest.mark.parametrize(
    "fields",
    [
        {"system": BRIEF},  # Anthropic
        {"system": [{"type": "text", "text": BRIEF, "cache_control": {"type": "ephemeral"}}]},
        {"system": [{"text": BRIEF}], "schemaVersion": "bedrock-conversation-2024"},
        {"system_prompt": BRIEF},
        {"systemInstruction": {"parts": [{"text": BRIEF}]}},
    ],
)
@pytest.mark.parametrize("turns", ["messages", "contents", "conversations"])
def test_formats_keep_the_system_instruction_beside_turns(fields: dict[str, Any], turns: str) -> None:
    forms: dict[str, Any] = {
        "messages": [{"role": "user", "content": "a b"}, {"role": "assistant", "content": "x"}],
        "contents": [{"role": "user", "parts": [{"text": "a b"}]}, {"role": "model", "parts": [{"text": "x"}]}],
        "conversations": [{"from": "human", "value": "a b"}, {"from": "gpt", "value": "x"}],
    }
    example = parse_example(1, {**fields, turns: forms[turns]}, Task(), Preprocess())
    assert isinstance(example, Example)
    assert example.system == BRIEF
    if turns == "messages":
        row = {**fields, turns: [{"role": "system", "content": "And politely."}, *forms[turns]]}
        both = parse_example(1, row, Task(), Preprocess())
        assert isinstance(both, Example)
        assert both.system == f"{BRIEF}\nAnd politely."


def test_formats_keep_the_system_instruction_of_alpaca_and_note_its_history() -> None:
    row = {"instruction": "a b", "output": "x", "system": BRIEF, "history": [["hi", "hello"]]}
    notes, rules = Counter[str](), Preprocess(text_column="instruction", target_column="output")
    example = parse_example(1, row, Task(), rules, notes)
    assert isinstance(example, Example)
    assert (example.system, [*notes]) == (BRIEF, ["earlier turns in `history` are not read: write messages"])


@pytest.mark.parametrize("key", ["reasoning_content", "reasoning", "thinking"])
def test_formats_note_reasoning_that_is_left_out(key: str) -> None:
    turns = [{"role": "user", "content": "a b"}, {"role": "assistant", "content": "x", key: "hm"}]
    notes = Counter[str]()
    example = parse_example(1, {"messages": turns}, Task(), Preprocess(), notes)
    assert isinstance(example, Example)
    assert (example.target, [*notes]) == ("x", ["thoughts of the model are left out"])
