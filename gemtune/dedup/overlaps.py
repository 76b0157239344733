# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Texts that are near reference texts (such as test rows): an exact search, every pair verified.

Prefix filter (Chaudhuri et al. 2006; Bayardo et al. 2007; with several required hits as in Xiao et al. 2008): a text
within the threshold of a reference shares most of its shingles, so it must have several of the reference's rarest ones;
only such pairs are compared, exactly. The index of the references, some at a time, takes most of the memory.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gemtune.dedup import Sketches, build_sketches

_REQUIRED_HITS = 12
_SAMPLE = 5000
_PAIRS_PER_CALL = 65_536  # searched at a time
_CHARS_PER_BLOCK = 2_000_000  # of references: about 70 bytes each


def overlaps(
    texts: Sequence[str],
    references: Sequence[str],
    threshold: float = 0.8,
    *,
    threads: int | None = None,
) -> NDArray[np.int64]:
    """All pairs (index of a text, index of a reference) with Jaccard similarity >= threshold, in order; shape (n,
    2). Of both sets of texts, the smaller is indexed.
    """
    if not 0 < threshold <= 1:
        raise ValueError(f"threshold must be above 0 and at most 1, got {threshold}")
    if not len(texts) or not len(references):
        return np.empty((0, 2), np.int64)
    is_swapped = sum(map(len, references)) > sum(map(len, texts))
    if is_swapped:
        texts, references = references, texts
    sketches, pairs = build_sketches(texts, None, threads=threads), []
    blocks = np.cumsum([len(text) for text in references]) // _CHARS_PER_BLOCK
    for block in np.unique(blocks).tolist():
        begin, end = np.searchsorted(blocks, [block, block + 1]).tolist()
        near = _pairs(sketches, build_sketches(references[begin:end], None, threads=threads), threshold)
        pairs.append(near + np.array([0, begin]))
    joined = np.concatenate(pairs)[:, :: -1 if is_swapped else 1]
    return joined[np.lexsort((joined[:, 1], joined[:, 0]))]


def _pairs(text_sketches: Sketches, reference_sketches: Sketches, threshold: float) -> NDArray[np.int64]:
    from gemtune.dedup._numba import minhash as kernels

    texts, references = text_sketches.lengths, reference_sketches.lengths
    max_shingles = int(np.maximum(reference_sketches.lengths, 1).sum())
    bits = max(8, (2 * max_shingles).bit_length())
    entries, filled = np.zeros(1 << bits, np.uint64), np.zeros(1 << bits, np.bool_)
    slots, ends = np.empty(max_shingles, np.int64), np.zeros(len(references) + 1, np.int64)
    kernels.index(*_buffers(reference_sketches), entries, filled, bits, slots, ends)
    counts = np.zeros(1 << bits, np.int32)
    # any order of shingles gives the same result, a good one faster; so rarity is estimated on a sample of the texts
    kernels.count_known(*_buffers(text_sketches), 1 + len(texts) // _SAMPLE, entries, filled, bits, counts)
    needed, sizes = np.empty(len(references), np.int64), np.empty(len(references), np.int64)
    chosen, posts = np.zeros(1 << bits, np.bool_), np.zeros(1 << bits, np.int32)
    kernels.choose(slots, ends, counts, threshold, _REQUIRED_HITS, sizes, needed, chosen, posts)
    starts = np.concatenate(([0], np.cumsum(posts[chosen])))
    owners = _owners(slots, ends, sizes)
    small_bits = max(8, (2 * starts.size).bit_length())
    small, numbers = np.empty(1 << small_bits, np.uint64), np.zeros(1 << small_bits, np.int32)
    bloom_bits = small_bits + 2
    bloom = np.zeros(1 << (bloom_bits - 6), np.uint64)
    kernels.number(entries, chosen, small, numbers, small_bits, bloom, bloom_bits)
    del entries, filled, counts, chosen, posts
    buffer, done = np.empty((len(references) + _PAIRS_PER_CALL, 2), np.int64), 0
    pairs = []
    while done < len(texts):
        count, done = kernels.probe(*_buffers(text_sketches), small, numbers, small_bits, bloom, bloom_bits, starts,
                                    owners, needed, np.diff(ends), *_buffers(reference_sketches), threshold, done,
                                    buffer)  # fmt: skip
        pairs.append(buffer[:count].copy())
    return np.concatenate(pairs)


def _buffers(sketches: Sketches) -> tuple[Any, Any, Any, Any, Any]:
    return sketches.buffer, sketches.buffer.view(np.uint32), sketches.at, sketches.lengths, sketches.wide


def _owners(slots: Any, ends: Any, sizes: Any) -> NDArray[np.int32]:
    """The references that have an entry in their prefix, entry by entry."""
    texts = np.repeat(np.arange(sizes.size, dtype=np.int32), sizes)
    first = np.repeat(ends[:-1] - (np.cumsum(sizes) - sizes), sizes)
    entries = slots[first + np.arange(texts.size)]
    return texts[np.argsort(entries, kind="stable")]
