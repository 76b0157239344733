# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""ExactSubstr: spans of at least N characters that occur more than once, in one text or in several.

The result is that of a suffix array (Lee et al. 2022), reached without one: two equal windows of N characters have
the same winnowed N/2-grams (Schleimer et al. 2003), so only windows around a repeated fingerprint are candidates;
these are grouped by hash and compared character by character. Guarantees: exactly the repeated windows are found.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_TEXTS_PER_CHUNK = 64


@dataclass(frozen=True, slots=True)
class Span:
    """Characters begin..end of a text: `repetition` when an earlier span is equal, else a later one is."""

    text: int
    begin: int
    end: int
    repetition: bool


def repeated_spans(texts: Sequence[str], length: int = 100) -> list[Span]:
    """Maximal spans covered by windows of `length` characters that occur more than once, in order.

    Repetitions of earlier spans and spans that are repeated later are separate spans.
    Raises `ValueError` for a length below 2.
    """
    runs, begins = _runs(texts, length, len(texts))
    owners = np.searchsorted(begins, runs[:, 0], side="right") - 1
    first = runs[:, 0] - begins[owners]
    last = runs[:, 1] - begins[owners] + length
    return list(map(Span, owners.tolist(), first.tolist(), last.tolist(), (runs[:, 2] == 2).tolist()))


def shared_passages(texts: Sequence[str], references: Sequence[str], length: int = 100) -> list[int]:
    """Indices of texts that share `length` consecutive characters with a reference, in order.

    Raises `ValueError` for a length below 2.
    """
    if not len(texts) or not len(references):
        return []
    runs, begins = _runs([*references, *texts], length, len(references))
    shared = runs[runs[:, 2] == 3, 0]
    return np.unique(np.searchsorted(begins, shared, side="right") - 1 - len(references)).tolist()  # type: ignore[no-any-return]


def _runs(texts: Sequence[str], length: int, before: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Runs of window starts with the same mark of `kernels.repeats` (first, last, mark), and where each text begins;
    the boundary stands behind the first `before` texts.
    """
    if length < 2:
        raise ValueError(f"length must be at least 2, got {length}")
    sizes = np.fromiter(map(len, texts), np.int64, len(texts))
    begins = np.cumsum(sizes + 1) - sizes - 1
    boundary = int(begins[before]) if before < len(texts) else int((sizes + 1).sum())
    return _window_runs(_encoded_texts(texts, begins, sizes), begins, begins + sizes, length, boundary), begins


def _encoded_texts(texts: Sequence[str], begins: NDArray[np.int64], sizes: NDArray[np.int64]) -> NDArray[Any]:
    """All characters, each text followed by a unique separator, in the narrowest integer type.

    Characters are numbered, so that few different ones need few bits wherever in Unicode they stand.
    """
    used = np.zeros(0x110000, np.bool_)
    used[:128] = True  # ASCII keeps its numbers
    for chunk, _ in _chunks(texts):
        if not chunk.isascii():
            used[_code_points(chunk)] = True
    different = int(used.sum())
    kind: Any = np.uint8 if different < 1 << 8 else np.uint16 if different < 1 << 16 else np.uint32
    numbers = (np.cumsum(used) - 1).astype(kind)
    codes = np.empty(int((sizes + 1).sum()), kind)
    at = 0
    for chunk, size in _chunks(texts):
        codes[at : at + size] = (
            np.frombuffer(chunk.encode(), np.uint8) if chunk.isascii() else numbers[_code_points(chunk)]
        )
        at += size
    codes[begins + sizes] = np.iinfo(kind).max
    return codes


def _chunks(texts: Sequence[str]) -> Iterator[tuple[str, int]]:
    """Texts joined, a character behind each, some at a time; and how many characters these are."""
    for first in range(0, len(texts), _TEXTS_PER_CHUNK):
        chunk = "\n".join([*texts[first : first + _TEXTS_PER_CHUNK], ""])
        yield chunk, len(chunk)


def _code_points(text: str) -> NDArray[np.uint32]:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)


def _window_runs(codes: Any, begins: Any, ends: Any, length: int, boundary: int) -> NDArray[np.int64]:
    from gemtune.dedup._numba import substrings as kernels

    spans = _candidates(codes, begins, ends, length)
    windows = int((spans[:, 1] - spans[:, 0] + 1).sum())
    kind = np.uint32 if codes.size < 2**32 - 1 else np.uint64
    table: NDArray[Any] = np.zeros(4 * windows // 3 + 16, kind)
    marks = np.zeros(codes.size // 4 + 1, np.uint8)
    kernels.repeats(codes, spans, len(spans), length, boundary, table, marks)
    del table
    runs = np.empty((kernels.runs(marks, spans, len(spans), np.empty((0, 3), np.int64)), 3), np.int64)
    kernels.runs(marks, spans, len(spans), runs)
    return runs


def _candidates(codes: Any, begins: Any, ends: Any, length: int) -> NDArray[np.int64]:
    """Stretches of window starts (first, last) outside which no window occurs twice."""
    from gemtune.dedup._numba import substrings as kernels

    grams = max(1, length // 2)
    capacity = int(2.4 * codes.size / (length - grams + 2)) + 2 * len(ends) + 16
    while True:
        positions, fingerprints = np.empty(capacity, np.int64), np.empty(capacity, np.uint32)
        count = kernels.winnow(codes, begins, ends, length, grams, positions, fingerprints)
        if count <= capacity:
            break
        capacity = count
    counts = np.zeros((2, 1 << max(8, (4 * count).bit_length())), np.uint8)
    spans = np.empty((count + 1, 2), np.int64)
    return spans[: kernels.stretches(positions, fingerprints, count, begins, ends, length, grams, counts, spans)].copy()
