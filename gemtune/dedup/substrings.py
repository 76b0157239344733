# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""ExactSubstr: spans of at least N characters that occur more than once, in one text or in several.

The result is that of a suffix array (Lee et al. 2022), reached without one: two equal windows of N characters have
the same winnowed N/2-grams (Schleimer et al. 2003), so only windows around a fingerprint seen twice are looked at;
these are grouped by hash and compared character by character. Promise: all repeated windows, and no other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Span:
    """Characters begin..end of a text: `repetition` says that the same stood earlier, else the same comes later."""

    text: int
    begin: int
    end: int
    repetition: bool


def repeated_spans(texts: Sequence[str], length: int = 100, *, compiled: bool | None = None) -> list[Span]:
    """Maximal spans covered by windows of `length` characters that occur more than once, in order.

    Stretches that repeat something earlier and stretches that are repeated later are told apart.
    Raises `ValueError` for a length below 2.
    """
    marks, begins, ends = _marks(texts, length, len(texts), compiled)
    return _spans(marks, begins, ends, length)


def shared_passages(
    texts: Sequence[str], others: Sequence[str], length: int = 100, *, compiled: bool | None = None
) -> list[int]:
    """Indices of texts that hold `length` characters in a row which stand in one of the others too, in order.

    Raises `ValueError` for a length below 2.
    """
    if not len(texts) or not len(others):
        return []
    marks, begins, _ = _marks([*others, *texts], length, len(others), compiled)
    found = np.flatnonzero(marks == 3)
    return sorted(set((np.searchsorted(begins, found, side="right") - 1 - len(others)).tolist()))


def _marks(
    texts: Sequence[str], length: int, before: int, compiled: bool | None
) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int64]]:
    """What `kernels.repeats` says of every window start, the boundary behind the first `before` texts."""
    if length < 2:
        raise ValueError(f"length must be at least 2, got {length}")
    fast = find_spec("numba") is not None if compiled is None else compiled
    codes, begins, ends = _joined(texts)
    boundary = int(begins[before]) if before < len(texts) else codes.size
    mark = _compiled_marks if fast else _plain_marks
    return mark(texts, codes, begins, ends, length, boundary), begins, ends


def _joined(texts: Sequence[str]) -> tuple[NDArray[Any], NDArray[np.int64], NDArray[np.int64]]:
    """All characters in the narrowest type that leaves room for a separator no text holds, and where each text lies."""
    sizes = np.fromiter(map(len, texts), np.int64, len(texts))
    begins = np.cumsum(sizes + 1) - sizes - 1
    highest = max((max(text) for text in texts if text and not text.isascii()), default="\x7f")
    kind: Any = np.uint8 if highest < "\xff" else np.uint16 if highest < "\uffff" else np.uint32
    separator = 0x110000 if kind is np.uint32 else np.iinfo(kind).max
    encoding = {np.uint8: "latin-1", np.uint16: "utf-16-le", np.uint32: "utf-32-le"}[kind]
    codes = np.full(int(sizes.sum()) + len(texts), separator, kind)
    for text, begin in zip(texts, begins.tolist(), strict=True):
        codes[begin : begin + len(text)] = np.frombuffer(text.encode(encoding, "surrogatepass"), kind)
    return codes, begins, begins + sizes


def _compiled_marks(
    texts: Sequence[str], codes: Any, begins: Any, ends: Any, length: int, boundary: int
) -> NDArray[np.uint8]:
    from gemtune.dedup import substring_kernels as kernels

    grams = max(1, length // 2)
    room = int(2.4 * codes.size / (length - grams + 2)) + 2 * len(ends) + 16
    while True:
        places, prints = np.empty(room, np.int64), np.empty(room, np.uint32)
        found = kernels.winnow(codes, begins, ends, length, grams, places, prints)
        if found <= room:
            break
        room = found
    counts = np.zeros(1 << max(8, (4 * found).bit_length()), np.uint8)
    room_of_spans = np.empty((found + 1, 2), np.int64)
    count = kernels.stretches(places, prints, found, begins, ends, length, grams, counts, room_of_spans)
    spans = room_of_spans[:count].copy()
    del places, prints, counts, room_of_spans
    windows = int((spans[:, 1] - spans[:, 0] + 1).sum())
    kind = np.uint32 if codes.size < 2**32 - 1 else np.uint64
    table: NDArray[Any] = np.zeros(5 * windows // 3 + 16, kind)
    marks = np.zeros(codes.size, np.uint8)
    kernels.repeats(codes, spans, count, length, boundary, table, marks)
    return marks


def _plain_marks(
    texts: Sequence[str], codes: Any, begins: Any, ends: Any, length: int, boundary: int
) -> NDArray[np.uint8]:
    first: dict[str, int] = {}
    marks = np.zeros(codes.size, np.uint8)
    for text, begin in zip(texts, begins.tolist(), strict=True):
        for i in range(len(text) - length + 1):
            window = text[i : i + length]
            original = first.setdefault(window, begin + i)
            if original != begin + i:
                marks[begin + i] = 3 if original < boundary <= begin + i else 2
                marks[original] = max(marks[original], 1)
    return marks


def _spans(marks: NDArray[np.uint8], begins: Any, ends: Any, length: int) -> list[Span]:
    edges = np.flatnonzero(np.diff(marks, prepend=0, append=0))
    found = []
    for at, after in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        if marks[at]:
            text = int(np.searchsorted(ends, at))
            begin = int(begins[text])
            found.append(Span(text, at - begin, after - 1 + length - begin, bool(marks[at] == 2)))
    return found
