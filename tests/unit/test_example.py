# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""What is written is read back; a failed write leaves nothing."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemtune.data.example import Example, example_id, quoted, read_examples, write_examples
from gemtune.errors import UserError

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
EXAMPLES = st.builds(
    Example,
    id=st.just("0"),
    text=TEXT,
    target=TEXT,
    line=st.integers(0, 9),
    system=st.none() | TEXT.filter(bool),
    contents=st.none() | st.just(({"role": "user", "parts": [{"fileData": {"fileUri": "gs://b/x"}}]},)),
    split=st.sampled_from([None, "test"]),
    group=st.none() | TEXT.filter(bool),
    slices=st.dictionaries(TEXT, TEXT, max_size=2),
)


@given(rows=st.lists(EXAMPLES, max_size=4))
def test_write_examples_round_trips(tmp_path_factory: pytest.TempPathFactory, rows: list[Example]) -> None:
    path = tmp_path_factory.mktemp("rows") / "examples"
    write_examples(path, rows)
    assert list(read_examples(path)) == rows


@given(text=TEXT | st.text(st.sampled_from('\0\x1f\x7f\n\t "\\/aé\u2028\U0001f600\ud800')))
def test_quoted_is_what_json_writes(text: str) -> None:
    assert quoted(text) == json.dumps(text, ensure_ascii=False)


def test_write_examples_is_atomic(tmp_path: Path) -> None:
    path = tmp_path / "examples"
    write_examples(path, [Example("1", "a", "b")])
    before = path.read_bytes()

    def failing() -> Iterator[Example]:
        yield Example("2", "c", "d")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_examples(path, failing())
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["examples"]


def test_read_examples_names_a_foreign_file(tmp_path: Path) -> None:
    path = tmp_path / "examples"
    path.write_text('{"schema_version": 1, "id": "1", "text": "a", "target": "b"}\n{"text": "a"}\n')
    with pytest.raises(UserError, match="examples:2: not an example"):
        list(read_examples(path))
    path.write_text('{"schema_version": 2, "id": "1", "text": "a", "target": "b"}\n')
    with pytest.raises(UserError, match="examples:1: not an example: schema_version 2, expected 1"):
        list(read_examples(path))


def test_example_id_depends_on_content() -> None:
    assert example_id("a", "b") == example_id("a", "b")
    assert len({example_id("a", "b"), example_id("a", "c"), example_id("b", "b"), example_id("a", "b", "s")}) == 4
