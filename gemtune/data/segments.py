# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Segments of a text by their offsets: the values of an extraction, and a note where the offsets look wrong.

Source: AutoML Text's `textSegmentAnnotations`. Programs count in characters (code points), UTF-16 units (JavaScript,
Java, C#) or UTF-8 bytes (Go, C); the three agree up to the first character that is not plain ASCII, or not in the first
65,536.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from gemtune.config import JsonObject
from gemtune.data.labels import parse_container

UNITS: dict[str, tuple[str, int]] = {"characters": ("utf-32-le", 4), "utf16": ("utf-16-le", 2), "bytes": ("utf-8", 1)}
"""The encoding in which a unit is so many bytes."""
MIN_FITTING_ROWS = 5  # of one segment; by chance one in nine rows fits
_FIRST_WIDE = "\u2e80"  # first of the East Asian scripts: no spaces between words, or particles attached to them
_UNSPACED = (("\u0e00", "\u0eff"), ("\u1000", "\u109f"), ("\u1780", "\u17ff"))  # Thai and Lao, Burmese, Khmer
Span = tuple[str, int, int, str]
"""Name, begin, end, and the text that the segment itself has, if any."""

_NAMES = ("label", "labels", "displayName", "tag", "type", "entity", "entity_group", "name", "category", "class")
_BEGINS, _ENDS = ("start", "begin", "start_offset", "startOffset"), ("end", "stop", "end_offset", "endOffset")


def spans_as_segments(value: Any) -> list[JsonObject] | None:
    """AutoML's segments for spans as spaCy, doccano and Label Studio write them: a list of objects with a name, a begin
    and an end, or of lists of these; None for anything else.
    """
    value = parse_container(value.strip()) if isinstance(value, str) else value
    segments = [_as_segment(item) for item in value] if isinstance(value, list) else [None]
    return None if None in segments else [segment for segment in segments if segment]


def _as_segment(item: Any) -> JsonObject | None:
    if isinstance(item, dict):
        parts = [next((item[key] for key in keys if key in item), None) for keys in (_NAMES, _BEGINS, _ENDS)]
        parts[0] = parts[0][0] if isinstance(parts[0], list) and len(parts[0]) == 1 else parts[0]
    elif isinstance(item, list | tuple) and len(item) == 3:
        parts = sorted(item, key=lambda part: not _is_name(part))
    else:
        return None
    name, begin, end = parts
    if not _is_name(name):
        return None
    own = item.get("text") if isinstance(item, dict) else None
    try:
        return {"displayName": name, "startOffset": _offset(begin), "endOffset": _offset(end), "text": own}
    except ValueError:
        return None


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and not value.strip().isdigit()


def read_segments(text: str, segments: Sequence[JsonObject], unit: str) -> tuple[dict[str, list[str]], str]:
    """The values of the segments by name, in the order of the text; and a note if some cut words, else "".

    Offsets are whole numbers, or texts of digits (the API's int64). Raises `ValueError` for a segment outside the text.
    """
    spans = sorted(map(_span, segments), key=lambda span: span[1:3])
    problems = {name: _problem(text, spans, name) for name in UNITS}
    fitting = [name for name, problem in problems.items() if name != unit and not problem]
    remedy = "check the offsets"
    if fitting:
        remedy = f"counted in {fitting[0]} they fit: preprocess.offset_unit: {fitting[0]}"
    if problems[unit] == _OUTSIDE:
        name, begin, end, _ = next(span for span in spans if _cut(text, span, unit) is None)
        place = f"{name!r:.40} from {begin} to {end} is not in the text ({len(text)} characters)"
        raise ValueError(f"the segment {place}; {remedy}")
    values: dict[str, list[str]] = {}
    for span in spans:
        values.setdefault(span[0], []).append(_cut(text, span, unit) or "")
    return values, f"segments begin or end {problems[unit]}; {remedy}" if problems[unit] else ""


_CHARACTERS_ONLY, _BYTES_TOO = "characters-only", "bytes-too"
_BYTES_NOTE = (
    "segments would begin and end at characters if counted in bytes, hardly by chance: check preprocess.offset_unit"
)


def unit_evidence(text: str, segments: Sequence[JsonObject]) -> Iterator[str]:
    """What segments that are read in characters say about the unit, for `unit_notes`; nothing where it is all one."""
    spans = list(map(_span, segments))
    if any(_cut(text, span, "bytes") != _cut(text, span, "characters") for span in spans):
        yield _CHARACTERS_ONLY if _problem(text, spans, "bytes") else _BYTES_TOO


def unit_notes(row_notes: Counter[str]) -> Counter[str]:
    """What to report of rows whose offsets could be characters or bytes, removed from `row_notes`.

    In scripts without spaces no word is cut. Offsets in characters, read as bytes, mostly end inside a character: where
    nearly all rows fit in bytes too, they are bytes.
    """
    others, fitting = row_notes.pop(_CHARACTERS_ONLY, 0), row_notes.pop(_BYTES_TOO, 0)
    if fitting < max(MIN_FITTING_ROWS, 9 * others):
        return Counter()
    return Counter({_BYTES_NOTE: fitting})


_OUTSIDE, _SHIFTED, _OTHER = "outside the text", "inside a word or with a space", "where their own text does not"


def _span(segment: JsonObject) -> Span:
    name, begin, end = (segment.get(key) for key in ("displayName", "startOffset", "endOffset"))
    if not isinstance(name, str):
        raise ValueError(f"a segment is {segment!r:.120}, without a displayName")
    own = segment.get("text")
    return name, _offset(0 if begin is None else begin), _offset(end), own if isinstance(own, str) else ""


def _offset(value: Any) -> int:
    if isinstance(value, str) and value.strip().isascii() and value.strip().isdigit() and len(value) < 20:
        return int(value)
    if isinstance(value, float) and value.is_integer():  # a data frame with a missing value
        value = int(value)
    if type(value) is not int or value < 0:
        raise ValueError(f"an offset of a segment is {value!r:.40}, not a whole number")
    return value


def _problem(text: str, spans: Sequence[Span], unit: str) -> str:
    """Why the spans do not fit in this unit; "" if they do."""
    cut = [_cut(text, span, unit) for span in spans]
    if None in cut:
        return _OUTSIDE
    if any(own and own.split() != (value or "").split() for value, (*_, own) in zip(cut, spans, strict=True)):
        return _OTHER
    if any(value != value.strip() for value in cut if value):
        return _SHIFTED
    encoding, size = UNITS[unit]
    encoded = text.encode(encoding)
    edges = [encoded[: edge * size].decode(encoding) for span in spans for edge in span[1:3]]
    return _SHIFTED if any(_splits_word(text, len(before)) for before in edges) else ""


def _cut(text: str, span: Span, unit: str) -> str | None:
    """The text of a span; None if it is not in the text, or begins or ends inside a character."""
    encoding, size = UNITS[unit]
    _, begin, end, _ = span
    encoded = text.encode(encoding)
    if not begin < end or end * size > len(encoded):
        return None
    try:
        encoded[: begin * size].decode(encoding)
        return encoded[begin * size : end * size].decode(encoding)
    except UnicodeDecodeError:
        return None


def _splits_word(text: str, edge: int) -> bool:
    """Whether a word, or a letter and its marks, continues at this place."""
    if not 0 < edge < len(text):
        return False
    is_mark = unicodedata.category(text[edge]).startswith("M")
    return is_mark or (_is_in_word(text[edge - 1]) and _is_in_word(text[edge]))


def _is_in_word(character: str) -> bool:
    """Whether a character is a letter or digit of a script that separates words."""
    is_spaced = character < _FIRST_WIDE and not any(first <= character <= last for first, last in _UNSPACED)
    return character.isalnum() and is_spaced
