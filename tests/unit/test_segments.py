# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Offsets of segments: read in every unit and notation, and reported where they cut words."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemtune.config import Preprocess, Task
from gemtune.data.example import Example, RejectedRow
from gemtune.data.formats import parse_example
from gemtune.data.row_validation import ReadStats, validate_row
from gemtune.data.segments import UNITS, read_segments, spans_as_segments

WORDS = st.text("abcäß日本ก็😀é", min_size=1, max_size=6)


def offset(text: str, position: int, unit: str) -> int:
    encoding, size = UNITS[unit]
    return len(text[:position].encode(encoding)) // size


def segments_of(text: str, words: list[str], unit: str, of: Any = int) -> list[dict[str, Any]]:
    places = [(text.index(word), text.index(word) + len(word)) for word in words]
    return [
        {"displayName": "w", "startOffset": of(offset(text, a, unit)), "endOffset": of(offset(text, b, unit))}
        for a, b in places
    ]


@given(
    st.lists(WORDS, min_size=1, max_size=6, unique=True), st.sampled_from(sorted(UNITS)), st.sampled_from([int, str])
)
def test_segments_are_read_in_every_unit(words: list[str], unit: str, of: Any) -> None:
    text = "  ".join(f"<{word}>" for word in words)
    marked = [f"<{word}>" for word in words]
    values, note = read_segments(text, segments_of(text, marked, unit, of), unit)
    assert (values, note) == ({"w": marked}, "")


@given(st.lists(st.integers(-3, 40) | st.none() | st.booleans() | st.text(max_size=3), min_size=2, max_size=6),
       st.sampled_from(sorted(UNITS)))  # fmt: skip
def test_segments_are_values_or_a_reason(offsets: list[Any], unit: str) -> None:
    text = "Zürich 😀 東京 e\u0301tude"
    pairs = itertools.pairwise(offsets)
    segments = [{"displayName": "x", "startOffset": begin, "endOffset": end} for begin, end in pairs]
    row = {"textContent": text, "textSegmentAnnotations": segments}
    read = validate_row(1, row, Task(kind="extraction"), Preprocess(offset_unit=unit), ReadStats())
    if isinstance(read, Example):
        assert all(value and value in text for value in json.loads(read.target)["x"])
    else:
        assert "segment" in read.detail


@pytest.mark.parametrize(
    ("text", "word", "counted", "suggested"),
    [
        (
            "😀 Order for Zoë Müller in 東京都",
            "Zoë Müller",
            "bytes",
            "bytes",
        ),  # counted wrongly, it begins with a space
        ("Größe größer als Zürich heute", "Zürich", "bytes", "bytes"),
        ("😀😀 fly to Oslo tomorrow", "Oslo", "utf16", "utf16"),
        ("жду заказ из Москвы завтра", "Москвы", "bytes", "bytes"),
    ],
)
def test_offsets_in_another_unit_are_reported_with_the_setting(
    text: str, word: str, counted: str, suggested: str
) -> None:
    row = {"textContent": text, "textSegmentAnnotations": segments_of(text, [word], counted)}
    task, stats = Task(kind="extraction"), ReadStats()
    read = validate_row(1, row, task, Preprocess(), stats)
    texts = [*stats.row_notes, read.detail if isinstance(read, RejectedRow) else ""]
    assert any(f"preprocess.offset_unit: {suggested}" in text for text in texts)
    right = validate_row(1, row, task, Preprocess(offset_unit=counted), ReadStats())
    assert isinstance(right, Example)
    assert right.target == f'{{"w": ["{word}"]}}'


@pytest.mark.parametrize(
    ("begin", "end", "cuts"), [(0, 4, True), (0, 6, False), (1, 6, True), (7, 9, False), (7, 8, False), (10, 11, True)]
)
def test_segments_that_cut_words_are_reported(begin: int, end: int, cuts: bool) -> None:
    text = "Zürich 東京 e\u0301t"
    values, note = read_segments(text, [{"displayName": "x", "startOffset": begin, "endOffset": end}], "characters")
    assert values == {"x": [text[begin:end]]}
    assert note == ("segments begin or end inside a word or with a space; check the offsets" if cuts else "")


@pytest.mark.parametrize(
    ("own", "note"),
    [
        ("東京", ""),
        (" 東京\n", ""),
        ("大阪", "segments begin or end where their own text does not; check the offsets"),
        (
            "に東",
            "segments begin or end where their own text does not; counted in utf16 they fit: "
            "preprocess.offset_unit: utf16",
        ),
    ],
)
def test_segments_that_are_not_their_own_text_are_reported(own: str, note: str) -> None:
    (segment,) = spans_as_segments([{"start": 2, "end": 4, "text": own, "label": "x"}]) or []
    assert read_segments("😀に東京", [segment], "characters")[1] == note


@pytest.mark.parametrize("unit", ["characters", "bytes"])
def test_read_notes_bytes_where_no_word_can_be_cut(unit: str) -> None:
    stats, values = ReadStats(), []
    for number in range(20):
        text = f"品番{1000 + number}の返品を希望します。{'よろしくお願いいたします' * (1 + number % 3)}"
        segments = segments_of(text, [str(1000 + number), "返品"], unit)
        row = {"textContent": text, "textSegmentAnnotations": segments}
        example = validate_row(number + 1, row, Task(kind="extraction"), Preprocess(), stats)
        values.append(json.loads(example.target)["w"] == [str(1000 + number), "返品"])
    stats.note_findings(Task(kind="extraction"), Preprocess())
    assert values == [unit == "characters"] * 20
    assert any("if counted in bytes" in note for note in stats.notes) == (unit == "bytes")


@pytest.mark.parametrize(
    "spans",
    [
        [{"start": 4, "end": 8, "label": "city"}],  # spaCy
        [[4, 8, "city"]],  # doccano
        [{"start": 4, "end": 8, "text": "Bonn", "labels": ["city"]}],  # Label Studio
        '[{"begin": 4, "stop": 8, "tag": "city"}]',
        "[(4, 8, 'city')]",
        [{"start": "4", "end": "8", "label": "city"}],
        [["4", "8", "city"]],
        [{"start": 4.0, "end": 8.0, "label": "city"}],
    ],
)
def test_spans_of_other_tools_are_read_as_segments(spans: Any) -> None:
    row = {"text": "der Bonner", "label": spans}
    example = parse_example(1, row, Task(kind="extraction"), Preprocess())
    assert isinstance(example, Example)
    assert json.loads(example.target) == {"city": ["Bonn"]}


@pytest.mark.parametrize("value", [["a", "b"], [["a", 1]], [{"label": "a"}], [[1, 2, 3]], {"city": "Bonn"}, "Bonn", 7])
def test_what_has_no_spans_is_no_list_of_segments(value: Any) -> None:
    assert spans_as_segments(value) is None


def test_an_empty_list_of_spans_is_an_object_without_fields() -> None:
    example = parse_example(1, {"text": "nobody", "label": []}, Task(kind="extraction"), Preprocess())
    assert isinstance(example, Example)
    assert example.target == "{}"
