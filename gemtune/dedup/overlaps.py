# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Which texts come too near to guarded ones (test rows), with nothing missed and nothing wrongly reported.

Prefix filter (Chaudhuri et al. 2006; Bayardo et al. 2007; with several required hits as in Xiao et al. 2008): a text
within the threshold of a guarded one shares most of its shingles, so it must hold several of the guarded text's
rarest ones; only such pairs are compared, exactly. Memory grows with the guarded texts, not with the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gemtune.dedup import Sketches, sketched

_HITS = 12
_SAMPLE = 5000
_ROOM = 65_536  # pairs that are looked for at a time


def overlaps(
    texts: Sequence[str],
    guarded: Sequence[str],
    threshold: float = 0.8,
    *,
    threads: int | None = None,
) -> NDArray[np.int64]:
    """All pairs (index of a text, index of a guarded text) with Jaccard similarity >= threshold, in order; shape (n,
    2).
    """
    if not 0 < threshold <= 1:
        raise ValueError(f"threshold must be above 0 and at most 1, got {threshold}")
    if not len(texts) or not len(guarded):
        return np.empty((0, 2), np.int64)
    pairs = _pairs(texts, guarded, threshold, threads)
    return pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]


def _pairs(texts: Sequence[str], guarded: Sequence[str], threshold: float, threads: int | None) -> NDArray[np.int64]:
    from gemtune.dedup._numba import overlaps as kernels

    held, others = sketched(guarded, None, threads=threads), sketched(texts, None, threads=threads)
    room = int(np.maximum(held.lengths, 1).sum())
    bits = max(8, (2 * room).bit_length())
    entries, filled = np.zeros(1 << bits, np.uint64), np.zeros(1 << bits, np.bool_)
    slots, ends = np.empty(room, np.int64), np.zeros(len(guarded) + 1, np.int64)
    kernels.index(*_of(held), entries, filled, bits, slots, ends)
    counts = np.zeros(1 << bits, np.int32)
    # any order of shingles gives the same answer, a good one sooner; so a sample of the texts says what is rare
    kernels.count_known(*_of(others), 1 + len(texts) // _SAMPLE, entries, filled, bits, counts)
    needed, sizes = np.empty(len(guarded), np.int64), np.empty(len(guarded), np.int64)
    chosen, posts = np.zeros(1 << bits, np.bool_), np.zeros(1 << bits, np.int32)
    kernels.choose(slots, ends, counts, threshold, _HITS, sizes, needed, chosen, posts)
    starts = np.concatenate(([0], np.cumsum(posts[chosen])))
    owners = _owners(slots, ends, sizes)
    small_bits = max(8, (2 * starts.size).bit_length())
    small, numbers = np.empty(1 << small_bits, np.uint64), np.zeros(1 << small_bits, np.int32)
    bloom_bits = small_bits + 2
    bloom = np.zeros(1 << (bloom_bits - 6), np.uint64)
    kernels.number(entries, chosen, small, numbers, small_bits, bloom, bloom_bits)
    del entries, filled, counts, chosen, posts
    buffer, done = np.empty((len(guarded) + _ROOM, 2), np.int64), 0
    pairs = []
    while done < len(texts):
        found, done = kernels.probe(*_of(others), small, numbers, small_bits, bloom, bloom_bits, starts, owners, needed,
                                    np.diff(ends), *_of(held), threshold, done, buffer)  # fmt: skip
        pairs.append(buffer[:found].copy())
    return np.concatenate(pairs)


def _of(made: Sketches) -> tuple[Any, Any, Any, Any, Any]:
    return made.buffer, made.buffer.view(np.uint32), made.at, made.lengths, made.wide


def _owners(slots: Any, ends: Any, sizes: Any) -> NDArray[np.int32]:
    """The guarded texts that have an entry in their prefix, entry by entry."""
    texts = np.repeat(np.arange(sizes.size, dtype=np.int32), sizes)
    first = np.repeat(ends[:-1] - (np.cumsum(sizes) - sizes), sizes)
    entries = slots[first + np.arange(texts.size)]
    return texts[np.argsort(entries, kind="stable")]
