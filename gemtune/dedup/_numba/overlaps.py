# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The inner loops of the overlap search, compiled by numba: index the guarded texts, count, choose prefixes, probe."""

from typing import Any

import numpy as np

from gemtune.dedup._numba.minhash import MIX_A, WIDTH, bits_for, compiled, longest_of, put_all, similarity, windows

_ONE = np.uint64(1)


@compiled
def place(word: Any, bits: int) -> int:
    """Home of a shingle in a table of 2**bits."""
    return np.int64((word * MIX_A) >> np.uint64(64 - bits))  # type: ignore[return-value]


@compiled
def index(buf: Any, wide_buf: Any, at: Any, lengths: Any, wides: Any, entries: Any, filled: Any, bits: int,
          slots: Any, ends: Any) -> int:  # fmt: skip
    """Put all shingles of the guarded texts into one table; `slots[ends[j-1]:ends[j]]` are the different ones of text
    j.
    """
    longest = longest_of(lengths)
    own_bits = bits_for(longest)
    own, stamps = np.empty(1 << own_bits, np.uint64), np.zeros(1 << own_bits, np.int64)
    words = np.empty(longest + WIDTH, np.uint64)
    mask = (1 << bits) - 1
    total = 0
    for j in range(at.size):
        count = windows(buf, wide_buf, at[j], lengths[j], wides[j], words)
        before = 0
        for i in range(count):
            if put_all(words[i : i + 1], 1, own, stamps, j + 1, own_bits) == 0:
                continue
            slot = place(words[i], bits)
            while filled[slot] and entries[slot] != words[i]:
                slot = (slot + 1) & mask
            filled[slot] = True
            entries[slot] = words[i]
            slots[total + before] = slot
            before += 1
        total += before
        ends[j + 1] = total
    return total


@compiled
def number(entries: Any, chosen: Any, small: Any, numbers: Any, bits: int, bloom: Any, bloom_bits: int) -> int:
    """Give the chosen entries numbers in their order, in a small table and a filter of their own; how many there are.

    A number of 0 in the table means free, so numbers in it begin with 1.
    """
    count = 0
    mask = (1 << bits) - 1
    for at in range(entries.size):
        if not chosen[at]:
            continue
        bit = place(entries[at], bloom_bits)
        bloom[bit >> 6] |= _ONE << np.uint64(bit & 63)
        slot = place(entries[at], bits)
        while numbers[slot] != 0:
            slot = (slot + 1) & mask
        count += 1
        small[slot] = entries[at]
        numbers[slot] = count
    return count


@compiled
def count_known(buf: Any, wide_buf: Any, at: Any, lengths: Any, wides: Any, stride: int, entries: Any, filled: Any,
                bits: int, counts: Any) -> None:  # fmt: skip
    """How often every stride-th text holds each entry of the table."""
    longest = longest_of(lengths)
    words = np.empty(longest + WIDTH, np.uint64)
    mask = (1 << bits) - 1
    for i in range(0, at.size, stride):
        count = windows(buf, wide_buf, at[i], lengths[i], wides[i], words)
        for k in range(count):
            word = words[k]
            slot = place(word, bits)
            while filled[slot] and entries[slot] != word:
                slot = (slot + 1) & mask
            if filled[slot]:
                counts[slot] += 1


@compiled
def choose(slots: Any, ends: Any, counts: Any, threshold: float, max_needed: int, sizes: Any, needed: Any, chosen: Any,
           posts: Any) -> int:  # fmt: skip
    """Prefix of every guarded text: its rarest entries, so many that a text within the threshold holds `needed` of
    them.

    Orders `slots` so that each text's prefix stands first; `sizes` are the prefixes' lengths. Returns their sum.
    """
    total = 0
    for j in range(sizes.size):
        begin, end = ends[j], ends[j + 1]
        n = end - begin
        order = np.argsort(counts[slots[begin:end]])
        slots[begin:end] = slots[begin:end][order]
        least = np.int64(np.ceil(threshold * n - 1e-9))
        needed[j] = max(1, min(max_needed, least))
        sizes[j] = n - least + needed[j]
        total += sizes[j]
        for k in range(begin, begin + sizes[j]):
            chosen[slots[k]] = True
            posts[slots[k]] += 1
    return total


@compiled
def probe(buf: Any, wide_buf: Any, at: Any, lengths: Any, wides: Any, small: Any, numbers: Any, bits: int,
          bloom: Any, bloom_bits: int, starts: Any, owners: Any, needed: Any, totals: Any,
          g_buf: Any, g_wide_buf: Any, g_at: Any, g_lengths: Any, g_wides: Any, threshold: float,
          begin: int, pairs: Any) -> tuple[int, int]:  # fmt: skip
    """All (text, guarded text) within the threshold into `pairs`, from text `begin` on; how many, and the text to go on
    with, where there is no room left for all guarded texts.
    """
    longest = longest_of(lengths)
    words, others = np.empty(longest + WIDTH, np.uint64), np.empty(longest_of(g_lengths) + WIDTH, np.uint64)
    size = 1 << bits_for(np.int64(longest / threshold) + 2)
    own, stamps = np.empty(size, np.uint64), np.zeros(size, np.int64)
    hits, touched = np.zeros(g_at.size, np.int32), np.empty(g_at.size, np.int32)
    mask = (1 << bits) - 1
    pair_count = tick = 0
    for i in range(begin, at.size):
        if pair_count + g_at.size > pairs.shape[0]:
            return pair_count, i
        count = windows(buf, wide_buf, at[i], lengths[i], wides[i], words)
        reached = 0
        for k in range(count):
            word = words[k]
            bit = place(word, bloom_bits)
            if (bloom[bit >> 6] >> np.uint64(bit & 63)) & _ONE == 0:
                continue
            slot = place(word, bits)
            while numbers[slot] != 0 and small[slot] != word:
                slot = (slot + 1) & mask
            entry = numbers[slot]
            if entry == 0:
                continue
            for post in range(starts[entry - 1], starts[entry]):
                j = owners[post]
                if hits[j] == 0:
                    touched[reached] = j
                    reached += 1
                hits[j] += 1
        stamp = 0
        members = 0
        own_bits = 4
        for k in range(reached):
            j = touched[k]
            enough = hits[j] >= needed[j] and count >= threshold * totals[j] - 1e-9
            hits[j] = 0
            if not enough:
                continue
            if stamp == 0:
                tick += 1
                stamp = tick
                own_bits = bits_for(np.int64(count / threshold) + 2)
                members = put_all(words, count, own, stamps, stamp, own_bits)
            if members * threshold > totals[j] + 1e-9 or totals[j] * threshold > members + 1e-9:
                continue
            m = windows(g_buf, g_wide_buf, g_at[j], g_lengths[j], g_wides[j], others)
            tick += 1
            if similarity(others, m, own, stamps, stamp, tick, own_bits, members, threshold) >= threshold:
                pairs[pair_count, 0] = i
                pairs[pair_count, 1] = j
                pair_count += 1
    return pair_count, at.size
