# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The kernels of deduplication in numpy and plain Python: the oracle that the compiled ones are compared with.

Guarantees: the same sketches, leaders, overlaps and repeated spans as `gemtune.dedup`, bit for bit; far slower.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Hashable, Sequence
from typing import Any
from unittest import mock

import numpy as np
from numpy.typing import NDArray
from oracles.shingles import jaccard, normalize, shingles

import gemtune.dedup
import gemtune.dedup.substrings
from gemtune.dedup import CHAIN, SHINGLE_CHARS, SLOTS, Sketches

MIX_A, MIX_B = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9)
TOP = np.uint64(1 << 63)
_EMPTY = np.uint32(0xFFFFFFFF)
_BOUNDARY, _SPACE = 31, 32
Words = NDArray[np.uint64]


def build_sketches(texts: Sequence[str], threshold: float | None) -> Sketches:
    """`gemtune.dedup.build_sketches` with the kernels of this file."""
    kernels = mock.patch.multiple("gemtune.dedup._numba.minhash", find_wide=find_wide, sketch_texts=sketch_texts)
    with kernels:
        return gemtune.dedup.build_sketches(texts, threshold, threads=1)


def leaders(
    texts: Sequence[str], threshold: float = 0.8, classes: Sequence[Hashable] | None = None
) -> NDArray[np.int64]:
    """`gemtune.dedup.leaders` with the kernels of this file."""
    return lead(build_sketches(texts, threshold), classes or [0] * len(texts), threshold, CHAIN)


def overlaps(texts: Sequence[str], guarded: Sequence[str], threshold: float = 0.8) -> NDArray[np.int64]:
    """`gemtune.dedup.overlaps.overlaps` by a prefix filter over sets of shingles."""
    theirs = [shingles(text) for text in guarded]
    frequency = Counter(shingle for members in theirs for shingle in members)
    holding: dict[str, list[int]] = defaultdict(list)
    for j, members in enumerate(theirs):
        rarest = sorted(members, key=lambda shingle: (frequency[shingle], shingle))
        for shingle in rarest[: len(members) - math.ceil(threshold * len(members) - 1e-9) + 1]:
            holding[shingle].append(j)
    pairs: list[tuple[int, int]] = []
    for i, text in enumerate(texts):
        mine = shingles(text)
        near = {j for shingle in mine for j in holding.get(shingle, ())}
        pairs += [(i, j) for j in sorted(near) if jaccard(mine, theirs[j]) >= threshold]
    return np.array(pairs, np.int64).reshape(-1, 2)


def repeated_spans(texts: Sequence[str], length: int = 100) -> list[gemtune.dedup.substrings.Span]:
    """`gemtune.dedup.substrings.repeated_spans` with the kernels of this file."""
    with mock.patch("gemtune.dedup.substrings._window_runs", window_runs):
        return gemtune.dedup.substrings.repeated_spans(texts, length)


def shared_passages(texts: Sequence[str], others: Sequence[str], length: int = 100) -> list[int]:
    """`gemtune.dedup.substrings.shared_passages` with the kernels of this file."""
    with mock.patch("gemtune.dedup.substrings._window_runs", window_runs):
        return gemtune.dedup.substrings.shared_passages(texts, others, length)


def window_runs(codes: Any, begins: Any, ends: Any, length: int, boundary: int) -> NDArray[np.int64]:
    """Runs of window starts with the same mark, by a dictionary of every window (see `substrings._runs`)."""
    first: dict[bytes, int] = {}
    marks = np.zeros(codes.size + 2, np.uint8)  # shifted by one, for an edge at either end
    for begin, end in zip(begins.tolist(), ends.tolist(), strict=True):
        for start in range(begin, end - length + 1):
            original = first.setdefault(codes[start : start + length].tobytes(), start)
            if original != start:
                marks[start + 1] = 3 if original < boundary <= start else 2
                marks[original + 1] = max(marks[original + 1], 1)
    edges = np.flatnonzero(marks[1:] != marks[:-1])
    runs = np.stack((edges[:-1], edges[1:] - 1, marks[edges[:-1] + 1]), axis=1).astype(np.int64)
    return runs[runs[:, 2] > 0]


def find_wide(codes: Any, begins: Any, which: Any, table: Any, wide: Any) -> None:
    """Whether the compared form of each text `which` holds a character that needs more than a byte."""
    for i, row in enumerate(which.tolist()):
        letters, _ = normalised(codes[begins[i] : begins[i + 1]], np.diff(begins[i : i + 2]), table)
        wide[row] = letters.max(initial=_SPACE) > 255


def sketch_texts(
    codes: Any, begins: Any, which: Any, table: Any, wide: bool, buf: Any, wide_buf: Any,
    at: Any, lengths: Any, probes: Any, rows: int, low: Any, keys: Any,
) -> None:  # fmt: skip
    """Normalise and sketch the texts `which`, which lie one after another in codes; `rows` slots make a band."""
    letters, owners = normalised(codes, np.diff(begins), table)
    sizes = np.bincount(owners, minlength=which.size)
    starts = np.cumsum(sizes) - sizes
    local = np.arange(letters.size) - starts[owners]
    target, first = (wide_buf, at[which] >> 2) if wide else (buf, at[which])
    target[first[owners] + local] = letters
    lengths[which] = sizes
    if not rows:
        return
    words, homes = windows(letters.astype(np.uint64), owners, local, sizes, starts)
    values = np.full((which.size, SLOTS), _EMPTY, np.uint32)
    mixed = mix(words)
    slots = (mixed >> np.uint64(57)).astype(np.int64)
    np.minimum.at(values.reshape(-1), homes * SLOTS + slots, (mixed >> np.uint64(25)).astype(np.uint32))
    values = filled(values, probes)
    low[which] = (values & np.uint32(255)).astype(np.uint8)
    for band in range(keys.shape[1]):
        word = np.full(which.size, band + 1, np.uint64)
        for row in range(rows):
            word = (word ^ values[:, (band * rows + row) % SLOTS].astype(np.uint64)) * MIX_A
            word ^= word >> np.uint64(32)
        keys[which, band] = (word >> np.uint64(24)).astype(np.uint32)


def normalised(codes: Any, sizes: Any, table: Any) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Compared forms one after another, and the text each character belongs to."""
    texts = np.split(codes, np.cumsum(sizes)[:-1])
    forms = [normalize("".join(map(chr, text.tolist()))) for text in texts]
    letters = np.array([ord(letter) for form in forms for letter in form], table.dtype)
    return letters, np.repeat(np.arange(sizes.size), list(map(len, forms)))


def mix(words: Words) -> Words:
    """64 well-mixed bits of 64-bit numbers."""
    words = words * MIX_A
    words ^= words >> np.uint64(32)
    return words * MIX_B


def windows(codes: Words, owners: Any, local: Any, sizes: Any, starts: Any) -> tuple[Words, NDArray[np.int64]]:
    """All shingles and the text each belongs to."""
    begin = np.flatnonzero(local <= sizes[owners] - SHINGLE_CHARS)
    begin = begin[(codes[begin[:, None] + np.arange(SHINGLE_CHARS)] != _BOUNDARY).all(axis=1)]
    high = np.zeros(begin.size, np.uint64)
    packed, hashed = high.copy(), high.copy()
    for j in range(SHINGLE_CHARS):
        code = codes[begin + j]
        high |= code
        hashed = (hashed + code) * MIX_A
        hashed ^= hashed >> np.uint64(32)
        packed |= code << np.uint64(8 * j)
    long_words = np.where(high < 256, packed, hashed | TOP)
    short = np.setdiff1d(np.arange(sizes.size), owners[begin])
    short_words = [_short(codes[starts[i] : starts[i] + sizes[i]].tolist()) for i in short.tolist()]
    words = np.concatenate((long_words, np.array(short_words, np.uint64)))
    return words, np.concatenate((owners[begin], short))


def _short(codes: list[int]) -> int:
    size, bits = len(codes), (1 << 64) - 1
    packed = hashed = size
    for code in codes:
        packed = packed << 8 | code
        hashed = (hashed + code) * int(MIX_A) & bits
        hashed ^= hashed >> 32
    return packed << 8 | size << 48 if max(codes, default=0) < 256 and size < SHINGLE_CHARS else hashed | int(TOP)


def filled(values: NDArray[np.uint32], probes: Any) -> NDArray[np.uint32]:
    """Empty slots take the value of the first full slot in their probing order."""
    result = values.copy()
    for step in range(SLOTS - 1):
        empty = result == _EMPTY
        if not empty.any():
            break
        result = np.where(empty, values[:, probes[:, step]], result)
    return result


def lead(made: Sketches, classes: Any, threshold: float, chain: int) -> NDArray[np.int64]:
    """Leader of every text, in order: the first kept candidate of its class found within the threshold, else itself."""
    count, bands = made.keys.shape
    heads: list[dict[int, list[int]]] = [defaultdict(list) for _ in range(bands)]
    sets: dict[int, frozenset[str]] = {}
    leaders = np.arange(count)
    for i, keys in enumerate(made.keys.tolist()):
        seen: set[int] = set()
        for band in range(bands):
            for j in heads[band].get(keys[band], ())[: -chain - 1 : -1]:
                if j not in seen and classes[i] == classes[j]:
                    seen.add(j)
                    if _near(made, i, j, threshold, sets):
                        leaders[i] = j
                        break
            if leaders[i] != i:
                break
        else:
            for band in range(bands):
                heads[band][keys[band]].append(i)
    return leaders


def compared_text(made: Sketches, i: int) -> str:
    """The i-th text as it is compared."""
    begin, size = int(made.at[i]), int(made.lengths[i])
    if made.wide[i]:
        return made.buffer[begin : begin + 4 * size].tobytes().decode("utf-32-le", "surrogatepass")
    return made.buffer[begin : begin + size].tobytes().decode("latin-1")


def _near(made: Sketches, i: int, j: int, threshold: float, sets: dict[int, frozenset[str]]) -> bool:
    shorter = min(made.lengths[i], made.lengths[j])
    margin = 1.0 if shorter < 50 else 0.3 if shorter < 100 else 0.22 if shorter < 200 else 0.17
    if np.count_nonzero(made.low[i] == made.low[j]) < (threshold - margin) * SLOTS:
        return False
    for k in (i, j):
        if k not in sets:
            text = compared_text(made, k)
            sets[k] = frozenset(text[p : p + SHINGLE_CHARS] for p in range(max(1, len(text) - SHINGLE_CHARS + 1)))
    shared = len(sets[i] & sets[j])
    return shared / (len(sets[i]) + len(sets[j]) - shared) >= threshold
