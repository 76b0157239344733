# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The inner loops of deduplication and of the search for overlaps, compiled by numba and cached on disk.

Texts lie in one byte buffer: one byte a character where all fit into one (Latin-1), else four. A shingle of five bytes
*is* its 40-bit number, so that Jaccard similarities of such texts are exact; wider ones are 63-bit hashes.
"""

import contextlib
from collections.abc import Callable
from typing import Any, TypeVar, cast

import numpy as np
from numba import njit

F = TypeVar("F", bound=Callable[..., Any])


def compiled(function: F) -> F:
    """Compile at the first call, without holding the interpreter's lock, and keep the machine code on disk.

    It is compiled again when its file has changed, but not when another file has that it calls: what it uses is in its
    own file. Where no folder for the code can be written to (the package's, the user's, `NUMBA_CACHE_DIR`), each
    process compiles.
    """
    compiler = njit(nogil=True)(function)
    with contextlib.suppress(RuntimeError):
        compiler.enable_caching()
    return cast(F, compiler)


SLOTS, WIDTH = 128, 5
MIX_A, MIX_B = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9)
TOP = np.uint64(1 << 63)
_BOUNDARY, _SPACE = 31, 32
_U0, _U8, _U32, _U40 = (np.uint64(n) for n in (0, 8, 32, 40))
_SLOT_SHIFT, _VALUE_SHIFT, _LOW32 = np.uint64(57), np.uint64(25), np.uint64(0xFFFFFFFF)
_BYTE = np.uint64(256)
_ONE = np.uint64(1)
_EMPTY = np.uint32(0xFFFFFFFF)


@compiled
def mix(word: Any) -> Any:
    """64 well-mixed bits of a 64-bit number."""
    word = word * MIX_A
    word ^= word >> _U32
    return word * MIX_B


@compiled
def is_symbol(code: int) -> bool:
    """Emoji, arrows, shapes: what a text without letters is compared by."""
    return (0x2190 <= code < 0x3000) | (0x1F000 <= code < 0xE0000)


@compiled
def normalise(codes: Any, begin: int, end: int, table: Any, out: Any, at: int) -> int:
    """Compared form of codes[begin:end] into out[at:]: letters and digits in lower case, other runs one space; its
    length.
    """
    n = at
    last = _SPACE
    for p in range(begin, end):
        code = table[codes[p]]
        out[n] = code
        n += (code != _SPACE) | (last != _SPACE)
        last = code
    if n > at and out[n - 1] == _SPACE:
        n -= 1
    letter = at
    while letter < n and out[letter] <= _SPACE:
        letter += 1
    if letter == n:  # none
        n = at
        for p in range(begin, end):
            if is_symbol(codes[p]):
                out[n] = codes[p]
                n += 1
    return n - at


@compiled
def narrow_windows(buf: Any, at: int, n: int, out: Any) -> int:
    """Shingles of n one-byte characters from buf[at]; their number."""
    crosses = False
    for p in range(at, at + n):
        crosses |= buf[p] == _BOUNDARY
    word = _U0
    if not crosses and n >= WIDTH:  # most texts, in fewer operations
        for i in range(WIDTH - 1):
            word = (word >> _U8) | (np.uint64(buf[at + i]) << _U32)
        for i in range(n - WIDTH + 1):
            word = (word >> _U8) | (np.uint64(buf[at + WIDTH - 1 + i]) << _U32)
            out[i] = word
        return n - WIDTH + 1
    count, begin = 0, at
    for p in range(at, at + n):
        if buf[p] == _BOUNDARY:
            begin = p + 1
        word = (word >> _U8) | (np.uint64(buf[p]) << _U32)
        out[count] = word
        count += p - begin >= WIDTH - 1
    return count


@compiled
def wide_windows(buf: Any, at: int, n: int, out: Any) -> int:
    """The same for four-byte characters; a shingle that fits into bytes is the number it has in such texts."""
    count, begin = 0, at
    for p in range(at, at + n):
        if buf[p] == _BOUNDARY:
            begin = p + 1
        if p - begin < WIDTH - 1:
            continue
        high = packed = hashed = _U0
        for j in range(WIDTH):
            code = np.uint64(buf[p - WIDTH + 1 + j])
            high |= code
            hashed = (hashed + code) * MIX_A
            hashed ^= hashed >> _U32
            packed |= code << np.uint64(8 * j)
        out[count] = packed if high < _BYTE else hashed | TOP
        count += 1
    return count


@compiled
def short_text(buf: Any, at: int, n: int) -> Any:
    """The number of a text without shingles, which stands for all of it."""
    high = _U0
    packed = hashed = np.uint64(n)
    for p in range(at, at + n):
        code = np.uint64(buf[p])
        high |= code
        hashed = (hashed + code) * MIX_A
        hashed ^= hashed >> _U32
        packed = (packed << _U8) | code
    return packed << _U8 | (np.uint64(n) << _U40) << _U8 if high < _BYTE and n < WIDTH else hashed | TOP


@compiled
def windows(buf: Any, wide_buf: Any, at: int, n: int, wide: bool, out: Any) -> int:
    """Shingles of the text at byte `at`, itself where it has none; their number."""
    count = wide_windows(wide_buf, at >> 2, n, out) if wide else narrow_windows(buf, at, n, out)
    if count == 0:
        out[0] = short_text(wide_buf, at >> 2, n) if wide else short_text(buf, at, n)
    return max(1, count)


@compiled
def longest_of(lengths: Any) -> int:
    """The length of the longest text, at least 1."""
    longest = 1
    for i in range(lengths.size):
        longest = max(longest, lengths[i])
    return longest


@compiled
def sketch(words: Any, count: int, probes: Any, rows: int, values: Any, low: Any, keys: Any) -> None:
    """One-permutation MinHash of the shingles: the low byte of each slot, and one key per band."""
    values[:] = _EMPTY
    for i in range(count):
        words[i] = mix(words[i])
    for i in range(count):
        word = words[i]
        slot = word >> _SLOT_SHIFT
        value = np.uint32((word >> _VALUE_SHIFT) & _LOW32)
        values[slot] = min(values[slot], value)
    for slot in range(SLOTS):
        value = values[slot]
        step = 0
        while value == _EMPTY and step < SLOTS - 1:
            value = values[probes[slot, step]]
            step += 1
        values[SLOTS + slot] = value
        low[slot] = np.uint8(value & np.uint32(255))
    for band in range(keys.size):
        word = np.uint64(band + 1)
        for row in range(rows):
            word = (word ^ np.uint64(values[SLOTS + (band * rows + row) % SLOTS])) * MIX_A
            word ^= word >> _U32
        keys[band] = np.uint32(word >> np.uint64(24))


@compiled
def find_wide(codes: Any, begins: Any, which: Any, table: Any, wide: Any) -> None:
    """Whether the compared form of each text `which` holds a character that needs more than a byte."""
    for i in range(which.size):
        highest: Any = _SPACE
        for p in range(begins[i], begins[i + 1]):
            highest = max(highest, np.int64(table[codes[p]]))
        if highest == _SPACE:  # no letter, so that symbols count
            for p in range(begins[i], begins[i + 1]):
                if is_symbol(codes[p]):
                    highest = max(highest, np.int64(codes[p]))
        wide[which[i]] = highest > 255


@compiled
def sketch_texts(
    codes: Any, begins: Any, which: Any, table: Any, wide: bool, buf: Any, wide_buf: Any,
    at: Any, lengths: Any, probes: Any, rows: int, low: Any, keys: Any,
) -> None:  # fmt: skip
    """Normalise and sketch the texts `which`, which lie one after another in codes; `rows` slots make a band."""
    longest = 0
    for i in range(which.size):
        longest = max(longest, begins[i + 1] - begins[i])
    words = np.empty(longest + WIDTH, np.uint64)
    values = np.empty(2 * SLOTS, np.uint32)
    for i in range(which.size):
        row = which[i]
        if wide:
            n = normalise(codes, begins[i], begins[i + 1], table, wide_buf, at[row] >> 2)
        else:
            n = normalise(codes, begins[i], begins[i + 1], table, buf, at[row])
        lengths[row] = n
        if rows == 0:
            continue
        count = windows(buf, wide_buf, at[row], n, wide, words)
        sketch(words, count, probes, rows, values, low[row], keys[row])


@compiled
def put_all(words: Any, count: int, entries: Any, stamps: Any, stamp: int, bits: int) -> int:
    """Put shingles into an open-addressing set that a new `stamp` empties at no cost; the number of different ones."""
    shift, mask = np.uint64(64 - bits), (1 << bits) - 1
    distinct = 0
    for i in range(count):
        word = words[i]
        slot = np.int64((word * MIX_A) >> shift)
        while stamps[slot] == stamp and entries[slot] != word:
            slot = (slot + 1) & mask
        if stamps[slot] != stamp:
            stamps[slot] = stamp
            entries[slot] = word
            distinct += 1
    return distinct


@compiled
def similarity(
    words: Any, count: int, entries: Any, stamps: Any, stamp: int, check: int, bits: int, size: int, threshold: float
) -> float:
    """Jaccard similarity of shingles with a set of `size` members put with `stamp`; 0 as soon as it is below threshold.

    Members met get the stamp `check`, so that none counts twice; shingles the set lacks are put with -check for the
    same reason. Both are larger, or of another sign, than any stamp in use, and leave the set as it was for the next
    check.
    """
    shift, mask = np.uint64(64 - bits), (1 << bits) - 1
    most = np.int64(size * (1 - threshold) / threshold + 1e-6)
    shared = 0
    missed = 0
    for i in range(count):
        word = words[i]
        slot = np.int64((word * MIX_A) >> shift)
        while (stamps[slot] >= stamp or stamps[slot] == -check) and entries[slot] != word:
            slot = (slot + 1) & mask
        stored = stamps[slot]
        if stored >= stamp:
            shared += stored != check
            stamps[slot] = check
        elif stored != -check:
            stamps[slot] = -check
            entries[slot] = word
            missed += 1
            if missed > most:
                return 0.0
    return float(shared) / (size + missed)


@compiled
def agreeing(low: Any, i: int, j: int) -> int:
    """Slots in which two sketches agree (by their low bytes)."""
    same = 0
    for slot in range(SLOTS):
        same += low[i, slot] == low[j, slot]
    return same


@compiled
def bits_for(count: Any) -> int:
    """Bits of a table at least twice as large as what it must hold."""
    bits = 4
    while (1 << bits) < 2 * count:
        bits += 1
    return bits


@compiled
def identical(buf: Any, at: Any, lengths: Any, wides: Any, i: int, j: int) -> bool:
    """Whether two compared texts are equal."""
    if lengths[i] != lengths[j] or wides[i] != wides[j]:
        return False
    a, b = at[i], at[j]
    size = lengths[i] * 4 if wides[i] else lengths[i]
    differing = 0
    for p in range(size):
        differing += buf[a + p] != buf[b + p]
    return differing == 0


@compiled
def lead(
    keys: Any, low: Any, buf: Any, wide_buf: Any, at: Any, lengths: Any, wides: Any, classes: Any,
    threshold: float, chain: int, heads: Any, leaders: Any,
) -> int:  # fmt: skip
    """Leader of every text, in order: the first kept candidate of its class found within the threshold, else itself.

    A kept text's keys give way to its links: in `keys` then stands, plus one, the text kept before it under the same
    key. Returns the number of exact comparisons.
    """
    count, bands = keys.shape
    longest = longest_of(lengths)
    size = 1 << bits_for(np.int64(longest / threshold) + 2)
    entries, stamps = np.empty(size, np.uint64), np.zeros(size, np.int64)
    words, others = np.empty(longest + WIDTH, np.uint64), np.empty(longest + WIDTH, np.uint64)
    seen = np.full(count, -1, np.int32)
    slots, first = np.empty(bands, np.int64), np.empty(bands, np.uint64)
    room = np.uint64(heads.shape[1])
    checks = 0
    stamp = tick = 0
    members = 0
    for i in range(count):
        leader = i
        bits = 0
        for band in range(bands):
            slots[band] = np.int64((np.uint64(keys[i, band]) * room) >> _U32)
            first[band] = heads[band, slots[band]]
        for band in range(bands):
            key = keys[i, band]
            slot: Any = slots[band]
            entry = first[band]
            while entry != 0 and np.uint32(entry >> _U32) != key:
                slot += 1
                if slot == heads.shape[1]:
                    slot = 0
                entry = heads[band, slot]
            slots[band] = slot
            j: Any = np.int64(entry & _LOW32) - 1
            steps = 0
            while j >= 0 and steps < chain:
                if seen[j] != i and classes[i] == classes[j]:
                    seen[j] = i
                    if plausible(low, lengths, i, j, threshold):
                        if identical(buf, at, lengths, wides, i, j):
                            leader = j
                            break
                        if bits == 0:
                            n = windows(buf, wide_buf, at[i], lengths[i], wides[i], words)
                            bits = bits_for(np.int64(n / threshold) + 2)
                            tick += 1
                            stamp = tick
                            members = put_all(words, n, entries, stamps, stamp, bits)
                        m = windows(buf, wide_buf, at[j], lengths[j], wides[j], others)
                        checks += 1
                        tick += 1
                        near = similarity(others, m, entries, stamps, stamp, tick, bits, members, threshold)
                        if near >= threshold:
                            leader = j
                            break
                j = np.int64(keys[j, band]) - 1
                steps += 1
            if leader != i:
                break
        leaders[i] = leader
        if leader == i:
            for band in range(bands):
                key = keys[i, band]
                keys[i, band] = np.uint32(heads[band, slots[band]] & _LOW32)
                heads[band, slots[band]] = (np.uint64(key) << _U32) | np.uint64(i + 1)
    return checks


@compiled
def compare(buf: Any, wide_buf: Any, at: Any, lengths: Any, wides: Any, pairs: Any, similarities: Any) -> None:
    """The exact Jaccard similarity of each pair of texts."""
    longest = longest_of(lengths)
    size = 1 << bits_for(2 * longest)
    entries, stamps = np.empty(size, np.uint64), np.zeros(size, np.int64)
    words, others = np.empty(longest + WIDTH, np.uint64), np.empty(longest + WIDTH, np.uint64)
    for k in range(pairs.shape[0]):
        i, j = pairs[k, 0], pairs[k, 1]
        n = windows(buf, wide_buf, at[i], lengths[i], wides[i], words)
        m = windows(buf, wide_buf, at[j], lengths[j], wides[j], others)
        bits = bits_for(n + m)
        members = put_all(words, n, entries, stamps, 2 * k + 1, bits)
        similarities[k] = similarity(others, m, entries, stamps, 2 * k + 1, 2 * k + 2, bits, members, 1e-9)


@compiled
def plausible(low: Any, lengths: Any, i: int, j: int, threshold: float) -> bool:
    """Whether an exact comparison is worth it: false only where over four standard errors rule a match out."""
    n = min(lengths[i], lengths[j])
    if n < 50:
        return True
    margin = 0.17 if n >= 200 else 0.22 if n >= 100 else 0.3
    return bool(agreeing(low, i, j) >= (threshold - margin) * SLOTS)


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
