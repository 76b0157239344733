# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The inner loops of the search for repeated spans, compiled by numba."""

from typing import Any

import numpy as np

from gemtune.dedup._numba.minhash import compiled

_MIX_A, _MIX_B = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9)
_U32 = np.uint64(32)
_ONE = np.uint64(1)


@compiled
def mix(word: Any) -> Any:
    """64 well-mixed bits of a 64-bit number."""
    word = word * _MIX_A
    return (word ^ word >> _U32) * _MIX_B


@compiled
def winnow(codes: Any, begins: Any, ends: Any, length: int, grams: int, places: Any, prints: Any) -> int:
    """Winnowed k-grams (Schleimer et al. 2003): of every `length` characters at least one, chosen by content alone.

    Writes where each stands and its 32-bit fingerprint, as many as fit; returns how many there are.
    """
    width = length - grams + 1
    size = 1
    while size < width:
        size *= 2
    ring, mask = np.empty(size, np.uint64), size - 1
    power = _ONE
    for _ in range(grams):
        power *= _MIX_A
    place_count = 0
    for text in range(ends.size):
        begin, end = begins[text], ends[text]
        if end - begin < length:
            continue
        rolling = np.uint64(0)
        for p in range(begin, begin + grams - 1):
            rolling = rolling * _MIX_A + np.uint64(codes[p])
        best = ~np.uint64(0)
        best_at = begin
        chosen = -1
        for at in range(begin, end - grams + 1):
            rolling = rolling * _MIX_A + np.uint64(codes[at + grams - 1])
            if at > begin:
                rolling -= power * np.uint64(codes[at - 1])
            value = mix(rolling)
            ring[at & mask] = value
            if value <= best:
                best, best_at = value, at
            elif best_at <= at - width:
                best, best_at = value, at
                for back in range(at - 1, at - width, -1):
                    if ring[back & mask] < best:
                        best, best_at = ring[back & mask], back
            if best_at != chosen and at - begin + 1 >= width:
                if place_count < places.size:
                    places[place_count] = best_at
                    prints[place_count] = np.uint32(best >> _U32)
                place_count += 1
                chosen = best_at
    return place_count


@compiled
def stretches(
    places: Any, prints: Any, count: int, begins: Any, ends: Any, length: int, grams: int, counts: Any, spans: Any
) -> int:
    """Stretches of window starts that hold a fingerprint seen twice, into `spans`; returns their number.

    `counts` are two tables, by other bits each: a fingerprint that is alone shares its slot in both very rarely.
    """
    mask = np.int64(counts.shape[1] - 1)
    for k in range(count):
        slot, other = np.int64(prints[k]) & mask, np.int64((np.uint64(prints[k]) * _MIX_A) >> _U32) & mask
        counts[0, slot] = min(counts[0, slot] + 1, 2)
        counts[1, other] = min(counts[1, other] + 1, 2)
    span_count = text = 0
    last_text = -1
    for k in range(count):
        if counts[0, np.int64(prints[k]) & mask] < 2:
            continue
        if counts[1, np.int64((np.uint64(prints[k]) * _MIX_A) >> _U32) & mask] < 2:
            continue
        while places[k] >= ends[text]:
            text += 1
        first = max(begins[text], places[k] - (length - grams))
        last = min(ends[text] - length, places[k])
        if last_text == text and spans[span_count - 1, 1] >= first - 1:
            spans[span_count - 1, 1] = max(spans[span_count - 1, 1], last)
        else:
            spans[span_count, 0] = first
            spans[span_count, 1] = last
            span_count += 1
            last_text = text
    return span_count


@compiled
def equal(codes: Any, a: int, b: int, length: int) -> bool:
    """Whether two windows hold the same characters."""
    for p in range(length):  # noqa: SIM110
        if codes[a + p] != codes[b + p]:
            return False
    return True


@compiled
def mark_of(marks: Any, at: int) -> int:
    """The mark of a window start; four share a byte."""
    return (marks[at >> 2] >> (2 * (at & 3))) & 3  # type: ignore[no-any-return]


@compiled
def put_mark(marks: Any, at: int, mark: int) -> None:
    """Mark a window start that has no mark yet; one that has keeps it."""
    if mark_of(marks, at) == 0:
        marks[at >> 2] |= np.uint8(mark << (2 * (at & 3)))


@compiled
def repeats(codes: Any, spans: Any, count: int, length: int, boundary: int, table: Any, marks: Any) -> None:
    """Mark every window start whose window occurs twice: 1 where it occurs first, 2 where it is a repetition, 3 where
    it stands behind the boundary and occurs first before it.

    Between texts stands a character that no text holds. A window that follows a repetition and ends in the same
    character as its original repeats too; all others are looked up by a rolling hash and compared character by
    character.
    """
    size = np.uint64(table.size)
    power = _ONE
    for _ in range(length):
        power *= _MIX_A
    for k in range(count):
        rolling = np.uint64(0)
        for p in range(spans[k, 0], spans[k, 0] + length - 1):
            rolling = rolling * _MIX_A + np.uint64(codes[p])
        original: Any = -1
        for at in range(spans[k, 0], spans[k, 1] + 1):
            rolling = rolling * _MIX_A + np.uint64(codes[at + length - 1])
            if at > spans[k, 0]:
                rolling -= power * np.uint64(codes[at - 1])
            # behind the boundary the very first occurrence is wanted, which only the table knows
            if original >= 0 and (at < boundary or original + 1 < boundary):
                original += 1
                if codes[original + length - 1] == codes[at + length - 1]:
                    put_mark(marks, at, 3 if original < boundary <= at else 2)
                    put_mark(marks, original, 1)
                    continue
            original = -1
            slot: Any = np.int64(((mix(rolling) >> _U32) * size) >> _U32)
            while table[slot] != 0:
                other: Any = np.int64(table[slot]) - 1
                if equal(codes, other, at, length):
                    original = other
                    break
                slot += 1
                if slot == table.size:
                    slot = 0
            if original >= 0:
                put_mark(marks, at, 3 if original < boundary <= at else 2)
                put_mark(marks, original, 1)
            else:
                table[slot] = at + 1


@compiled
def runs(marks: Any, spans: Any, count: int, spans_out: Any) -> int:
    """Runs of window starts with the same mark as (first, last, mark), as many as fit; returns their number."""
    written = 0
    for k in range(count):
        begin, before = spans[k, 0], 0
        for at in range(spans[k, 0], spans[k, 1] + 2):
            mark = mark_of(marks, at) if at <= spans[k, 1] else 0
            if mark == before:
                continue
            if before:
                if written < spans_out.shape[0]:
                    spans_out[written, 0], spans_out[written, 1], spans_out[written, 2] = begin, at - 1, before
                written += 1
            begin, before = at, mark
    return written
