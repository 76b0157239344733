# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""What is written in a shape and read again is the same example."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gemtune.config import Preference, Preprocess, Task
from gemtune.data import pairs
from gemtune.data.cleaning import NO_CLEANING, text_key
from gemtune.data.example import Example, Pair, example_id
from gemtune.data.row_validation import ReadStats, read
from gemtune.data.writers import FORMATS, write
from gemtune.errors import UserError

PLAIN = Preprocess.of(dict(NO_CLEANING))
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
FILLED = TEXT.filter(str.strip)
ANSWER = FILLED.map(str.strip).filter(bool)
FILE = st.builds(lambda uri: {"fileData": {"mimeType": "image/png", "fileUri": f"gs://b/{uri}"}}, st.integers(0, 9))
PART = FILLED.map(lambda text: {"text": text})


def turn(role: str, parts: list[dict[str, Any]]) -> dict[str, Any]:
    return {"role": role, "parts": parts}


@st.composite
def examples(draw: st.DrawFn, files: bool, turns: bool) -> Example:
    system = draw(st.none() | FILLED) if turns else None
    target = draw(ANSWER)
    last = draw(st.lists(FILE | PART, min_size=1, max_size=3) if files else PART.map(lambda part: [part]))
    before = []
    for _ in range(draw(st.integers(0, 2)) if turns else 0):
        before += [turn("user", [draw(PART)]), turn("model", [draw(PART)])]
    contents = (*before, turn("user", last))
    text = "\n".join(part["text"] for part in last if "text" in part)
    if not turns:
        return Example(example_id(text, target), text, target, 1)
    text = text or next(
        (part["text"] for turn in reversed(before) for part in turn["parts"] if turn["role"] == "user"), ""
    )
    return Example(example_id(text, target, system, contents), text, target, 1, system, contents)


def returned(folder: Path, rows: list[Example], shape: str, name: str) -> list[Example]:
    write(folder / name, rows, shape)
    made = list(read(folder / name, Task(kind="generation"), PLAIN, ReadStats()))
    assert all(isinstance(row, Example) for row in made), made
    return [row for row in made if isinstance(row, Example)]


def contents_of(rows: list[Example]) -> list[tuple[Any, ...]]:
    return [(row.id, row.text, row.target, row.system, row.contents) for row in rows]


@given(rows=st.lists(examples(files=True, turns=True), min_size=1, max_size=4))
def test_convert_round_trips_gemini_rows(tmp_path_factory: pytest.TempPathFactory, rows: list[Example]) -> None:
    folder = tmp_path_factory.mktemp("rows")
    assert contents_of(returned(folder, rows, "gemini", "rows.jsonl")) == contents_of(rows)


@pytest.mark.parametrize("shape", ["messages", "chat"])
@given(rows=st.lists(examples(files=False, turns=True), min_size=1, max_size=4))
def test_convert_round_trips_plain_turns(
    tmp_path_factory: pytest.TempPathFactory, shape: str, rows: list[Example]
) -> None:
    folder = tmp_path_factory.mktemp("rows")
    assert contents_of(returned(folder, rows, shape, "rows.jsonl")) == contents_of(rows)


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.csv", "rows.tsv.gz"])
@given(rows=st.lists(examples(files=False, turns=False), min_size=1, max_size=4))
@example(rows=[Example(example_id("0\t\n", "0"), "0\t\n", "0", 1)])  # without its quotes each line has two cells
def test_convert_round_trips_columns(tmp_path_factory: pytest.TempPathFactory, name: str, rows: list[Example]) -> None:
    folder = tmp_path_factory.mktemp("rows")
    assert contents_of(returned(folder, rows, "columns", name)) == contents_of(rows)


@pytest.mark.parametrize(
    ("shape", "name"),
    [(shape, "pairs.jsonl") for shape in FORMATS] + [("columns", "pairs.csv"), ("columns", "pairs.tsv.gz")],
)
@given(data=st.data())
def test_convert_round_trips_pairs_in_every_format(
    tmp_path_factory: pytest.TempPathFactory, shape: str, name: str, data: st.DataObject
) -> None:
    kind = examples(files=shape == "gemini", turns=shape != "columns")
    rows = data.draw(st.lists(st.tuples(kind, ANSWER), min_size=1, max_size=4))
    rows = [(row, worse) for row, worse in rows if text_key(row.target) != text_key(worse)]
    if shape == "columns" and data.draw(st.booleans()):
        rows = [(replace(row, system="be kind", split="test", group="g"), worse) for row, worse in rows]
    path = tmp_path_factory.mktemp("pairs") / name
    assert write(path, [replace(row, pairs=(Pair("", row.target, worse),)) for row, worse in rows], shape) == len(rows)
    if not rows:
        return
    grouped = PLAIN.model_copy(update={"group_column": "group" if rows[0][0].group else ""})
    made = list(pairs.stream(str(path), Task(kind="generation"), grouped, Preference(), ReadStats()))
    found = [item for item in made if isinstance(item, Example)]
    assert len(found) == len(made)
    assert [pair.rejected for item in found for pair in item.pairs] == [worse for _, worse in rows]
    held = ("text", "target", "system", "contents", "split", "group")
    assert [[getattr(row, key) for key in held] for row in found] == [
        [getattr(row, key) for key in held] for row, _ in rows
    ]


def test_convert_refuses_a_format_that_loses_data(tmp_path: Path) -> None:
    contents = (turn("user", [{"fileData": {"fileUri": "gs://b/x"}}]),)
    row = Example("1", "", "a", 4, None, contents)
    for shape in ("chat", "columns"):
        with pytest.raises(UserError, match="row:4"):
            write(tmp_path / "rows.jsonl", [row], shape)
    assert not list(tmp_path.iterdir())
