# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Near-duplicates: which texts to keep, such that every dropped text has a kept neighbour.

Texts are compared as sets of character 5-grams (Broder 1997), so that languages without spaces work. Candidates come
from one-permutation MinHash (Li et al. 2012, empty slots filled by random probing as in Shrivastava 2017) and banded
hash tables (Leskovec et al., ch. 3); every candidate is verified by its exact Jaccard similarity. Leader policy:
texts are visited in order, and one is dropped only if a *kept* one is within the threshold; no text is dropped
through a chain. Texts for `leaders` may consist of pieces: no 5-gram crosses a BOUNDARY, so that a change at the end
of a piece counts no more than one at the end of a text. Guarantees: no text is dropped wrongly; a pair at the threshold
is missed with probability below 0.001 (see `band_shape`), nearer ones far more rarely. The loops are compiled by numba
(`_numba`).
"""

import math
import os
import unicodedata
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import NDArray

SHINGLE_CHARS, SLOTS = 5, 128
BOUNDARY = "\ufdd0"  # not a character, and free for such a use (Unicode 23.7)
CHAIN = 256
_CHUNK = 2000
_MISS_PROBABILITY = 0.0005
_MAX_LETTER_CODE = 0x40000  # no letter and no digit has a higher code (tested); looking them all up would take longer
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Sketches:
    """Normalised texts in one buffer and, for each, its sketch's low bytes (SLOTS) and band keys.

    A text takes one byte a character, or four where it is `wide`: where one of its characters needs more than a byte.
    """

    buffer: NDArray[np.uint8]
    at: Ints
    lengths: NDArray[np.int32]
    wide: NDArray[np.bool_]
    low: NDArray[np.uint8]
    keys: NDArray[np.uint32]


def keep(texts: Sequence[str], threshold: float = 0.8, *, threads: int | None = None) -> NDArray[np.bool_]:
    """True for each text to keep: a text is dropped only if an earlier kept one has Jaccard similarity >= threshold."""
    whole = [text if text.isascii() else text.replace(BOUNDARY, " ") for text in texts]
    return np.equal(leaders(whole, threshold, threads=threads), np.arange(len(texts)))


def leaders(
    texts: Sequence[str],
    threshold: float = 0.8,
    classes: Sequence[Hashable] | None = None,
    *,
    threads: int | None = None,
) -> Ints:
    """For each text the index of the kept text that represents it: its own when it is kept.

    With `classes` only a text of the same class can represent another. Raises `ValueError` for a threshold outside
    (0, 1].
    """
    if not 0 < threshold <= 1:
        raise ValueError(f"threshold must be above 0 and at most 1, got {threshold}")
    class_numbers: dict[Hashable, int] = {}
    numbered = np.fromiter((class_numbers.setdefault(c, len(class_numbers)) for c in classes or ()), np.int32)
    class_ids = numbered if classes is not None else np.zeros(len(texts), np.int32)
    if not len(texts):
        return np.arange(0)
    return _leaders(build_sketches(texts, threshold, threads=threads), threshold, class_ids)


def similarities(texts: Sequence[str], pairs: Ints) -> NDArray[np.float64]:
    """The Jaccard similarity of each pair of texts (indices; shape (n, 2)), exactly."""
    from gemtune.dedup._numba.minhash import compare

    used, numbers = np.unique(pairs, return_inverse=True)
    sketches = build_sketches([texts[i] for i in used.tolist()], None)
    result = np.zeros(len(pairs))
    compare(sketches.buffer, sketches.buffer.view(np.uint32), sketches.at, sketches.lengths, sketches.wide,
            numbers.reshape(-1, 2), result)  # fmt: skip
    return result


def band_shape(threshold: float) -> tuple[int, int]:
    """(bands, rows) for a threshold: selective bands, and so many that a pair at it is missed with probability 0.0005.

    Bands may share slots, which makes the true probability a little higher.
    """
    rows = max(
        rows for rows in range(1, 17) if rows == 1 or (1 - threshold**rows) ** (SLOTS // rows) < 10 * _MISS_PROBABILITY
    )
    if threshold == 1:
        return 1, rows
    return min(2 * SLOTS // rows, math.ceil(math.log(_MISS_PROBABILITY) / math.log(1 - threshold**rows))), rows


def _leaders(sketches: Sketches, threshold: float, classes: NDArray[np.int32]) -> Ints:
    from gemtune.dedup._numba import minhash as kernels

    count, bands = sketches.keys.shape
    leaders = np.arange(count)
    heads = np.zeros((bands, 4 * count // 3 + 16), np.uint64)
    wide_buffer = sketches.buffer.view(np.uint32)
    kernels.lead(sketches.keys, sketches.low, sketches.buffer, wide_buffer, sketches.at, sketches.lengths,
                 sketches.wide, classes, threshold, CHAIN, heads, leaders)  # fmt: skip
    return leaders


def build_sketches(texts: Sequence[str], threshold: float | None, *, threads: int | None = None) -> Sketches:
    """Normalise and sketch all texts, in chunks over several threads; with no threshold, only normalise them."""
    from gemtune.dedup._numba.minhash import find_wide, sketch_texts

    count = len(texts)
    bands, rows = band_shape(threshold) if threshold is not None else (0, 0)
    is_ascii = np.fromiter((text.isascii() for text in texts), np.bool_, count)
    wide = np.zeros(count, np.bool_)

    def code_points(indices: Ints) -> tuple[NDArray[Any], Ints, NDArray[Any]]:
        beyond_ascii = not is_ascii[indices[0]]
        return *encode([texts[i] for i in indices.tolist()], beyond_ascii), letter_table(beyond_ascii)

    def mark_wide(indices: Ints) -> None:
        codes, begins, table = code_points(indices)
        find_wide(codes, begins, indices, table, wide)

    workers = threads or min(8, os.cpu_count() or 1)
    _run_chunks(mark_wide, _chunks(~is_ascii), workers)
    sizes = np.fromiter(map(len, texts), np.int64, count)
    sizes_in_bytes = np.where(wide, sizes * 4, (sizes + 3) & ~3)
    at = np.concatenate(([0], np.cumsum(sizes_in_bytes)))
    sketches = Sketches(
        buffer=np.empty(int(at[-1]) + 8 & ~3, np.uint8),
        at=at[:-1],
        lengths=np.empty(count, np.int32),
        wide=wide,
        low=np.empty((count, SLOTS), np.uint8),
        keys=np.empty((count, bands), np.uint32),
    )
    order = probe_orders()

    def sketch(indices: Ints) -> None:
        codes, begins, table = code_points(indices)
        sketch_texts(codes, begins, indices, table, bool(wide[indices[0]]), sketches.buffer,
                     sketches.buffer.view(np.uint32), sketches.at, sketches.lengths, order, rows,
                     sketches.low, sketches.keys)  # fmt: skip

    _run_chunks(sketch, [*_chunks(is_ascii), *_chunks(~is_ascii & ~wide), *_chunks(wide)], workers)
    return sketches


def _chunks(mask: NDArray[np.bool_]) -> list[Ints]:
    """Indices of the chosen texts, some at a time."""
    indices = np.flatnonzero(mask)
    return [indices[begin : begin + _CHUNK] for begin in range(0, indices.size, _CHUNK)]


def _run_chunks(work: Callable[[Ints], None], chunks: list[Ints], workers: int) -> None:
    if workers == 1 or len(chunks) < 2:
        for chunk in chunks:
            work(chunk)
    else:
        with ThreadPoolExecutor(workers) as pool:
            list(pool.map(work, chunks))


def encode(texts: Sequence[str], wide: bool) -> tuple[NDArray[Any], Ints]:
    """Code points of all texts one after another (one byte each, or four), and where each begins."""
    begins = np.fromiter(accumulate(map(len, texts), initial=0), np.int64, len(texts) + 1)
    joined = "".join(texts)
    if wide:
        return np.frombuffer(joined.encode("utf-32-le", "surrogatepass"), np.uint32), begins
    return np.frombuffer(joined.encode("ascii"), np.uint8), begins


@cache
def letter_table(wide: bool) -> NDArray[Any]:
    """Table from code point to its compared form: lower case letter, digit, 31 for a boundary, or 32 for all else."""
    if not wide:
        return np.array([_normalized_code(n) for n in range(128)], np.uint8)
    table = np.full(0x110000, 32, np.uint32)
    table[:_MAX_LETTER_CODE] = np.fromiter(map(_normalized_code, range(_MAX_LETTER_CODE)), np.uint32, _MAX_LETTER_CODE)
    return table


def _normalized_code(code: int) -> int:
    letter = chr(code)
    if letter == BOUNDARY:
        return 31
    vowel_sign = code > 0x370 and unicodedata.category(letter) in ("Mn", "Mc") and not 0xFE00 <= code < 0xFE10
    if letter.isalnum() or (vowel_sign and code < 0xE0000):
        lower = letter.lower()
        return ord(lower) if len(lower) == 1 else code
    return 32


@cache
def probe_orders() -> NDArray[np.uint8]:
    """For every slot the order in which other slots fill it when it is empty: fixed random permutations."""
    random = np.random.default_rng(128)
    rows = [np.array([s for s in random.permutation(SLOTS) if s != slot], np.uint8) for slot in range(SLOTS)]
    return np.stack(rows)
