# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Passages that many texts have in common (instructions, footers, templates), and the texts without them.

Texts are compared word by word (Chinese and Japanese character by character). A passage is a path of windows of WINDOW
words along which most of the texts that hold a window go on alike. At one end at least it stops because texts differ
there (the boundary of Feng et al. 2004, "accessor variety"): copies of one text, which begin and end alike, have no
such end. MIN_ROWS texts must differ in what is left of them. A rarer path is a passage as part of a template: of its
texts at least half hold the other parts, not counting those that would by chance (Loevinger's coefficient).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import chain, groupby
from operator import itemgetter
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

WINDOW = 8  # weight of a window's words: 2 for a word, 1 for a Chinese or Japanese character
MIN_ROWS = 5
# Columns of text, of which Chinese, Japanese and Korean characters take two: of a template, of a part, of its largest.
TEMPLATE, PART, LARGEST_PART = 48, 8, 20
# a window at the end of a path belongs to it if this share of the texts with its commonest window hold it
LEAST_HELD = 2 / 3
MIN_REPEATED = 500  # columns of a template times its rows: a short one must be in more rows
MANY_ROWS, LEFT_OF_FEW, LEFT_OF_MANY = 8, 20, 4  # rows that differ, and the columns that are left of each
_SAMPLE = 60
_FIRST_BITS = 22
_CJK = "\u3005\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_ASCII_WORD = re.compile(r"\w+")  # the same words in ASCII texts, sooner
_SYMBOL = "\u2190-\u2bff\u3200-\u33ff\U0001f000-\U0001faff"  # stars, emoji, square signs
_CHARACTER, _WORD = re.compile(f"[{_CJK}]"), re.compile(rf"[{_CJK}]|[^\W{_CJK}]+|[{_SYMBOL}]+")
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
_INVERSE = np.uint64(pow(0x9E3779B97F4A7C15, -1, 1 << 64))
Ints = NDArray[np.int64]
Small = NDArray[np.int32]  # as many as words: a corpus of 100,000 rows has millions
Hashes = NDArray[np.uint64]


class _Vocabulary(dict[str, int]):
    """Numbers of words, with the hash (the same in every process) and the columns of each."""

    def __init__(self) -> None:
        self.hashes: list[int] = []
        self.columns: list[int] = []
        self.weights: list[int] = []

    def __missing__(self, word: str) -> int:
        digest = hashlib.blake2b(word.lower().encode("utf-8", "surrogatepass"), digest_size=8).digest()
        self.hashes.append(int.from_bytes(digest, "little"))
        self.columns.append(2 * len(word) if word >= "\u1100" else len(word) + 1)
        self.weights.append(1 if _CHARACTER.match(word) else 2)
        self[word] = number = len(self)
        return number


@dataclass(frozen=True, slots=True)
class _Words:
    """The words of all texts, one text after another, and their windows, by the first word of each."""

    hashes: Hashes
    columns: Small
    begins: Ints  # of the texts, among words
    windows: Hashes
    at: Small
    ends: Small  # the word after each window
    rows: Small
    window_begins: Ints  # of the texts, among windows


def _words(texts: Sequence[str]) -> _Words:
    vocabulary, sizes = _Vocabulary(), list[int]()

    def split() -> Iterator[list[str]]:  # text by text: all words of a large file would take ten times its size
        for text in texts:
            words = (_ASCII_WORD if text.isascii() else _WORD).findall(text)
            sizes.append(len(words))
            yield words

    numbers = np.fromiter(map(vocabulary.__getitem__, chain.from_iterable(split())), np.int32)
    hashes, columns = np.array(vocabulary.hashes, np.uint64)[numbers], np.array(vocabulary.columns, np.int32)[numbers]
    weights = np.array(vocabulary.weights, np.int32)[numbers]
    del numbers
    begins = np.concatenate(([0], np.cumsum(sizes, dtype=np.int64)))
    weight_before = np.concatenate((np.zeros(1, np.int64), np.cumsum(weights)))
    del weights
    end = np.searchsorted(weight_before, weight_before[:-1] + WINDOW)
    del weight_before
    text_of_word = np.repeat(np.arange(len(texts), dtype=np.int32), sizes)
    fits = end <= begins[1:][text_of_word]
    at, ends, rows = np.flatnonzero(fits).astype(np.int32), end[fits].astype(np.int32), text_of_word[fits]
    del end, fits, text_of_word
    window_begins = np.searchsorted(rows, np.arange(len(texts) + 1))
    return _Words(hashes, columns, begins, _window_hashes(hashes, at, ends), at, ends, rows, window_begins)


def _window_hashes(hashes: Hashes, at: Small, ends: Small) -> Hashes:
    """The hash of the words of each window, by a polynomial whose powers are taken out again."""
    powers = np.cumprod(np.full(hashes.size, _MULTIPLIER))
    powers *= hashes
    sums = np.concatenate((np.zeros(1, np.uint64), np.cumsum(powers)))
    del powers
    windows = np.array(sums[ends], np.uint64)
    windows -= sums[at]
    del sums
    windows *= np.cumprod(np.full(hashes.size + 1, _INVERSE))[at]
    return windows


class Remainder(NamedTuple):
    """What is left of a text without passages, in pieces, and the numbers of the passages that were removed."""

    pieces: tuple[str, ...]
    passages: tuple[int, ...]

    @property
    def text(self) -> str:
        """The pieces as lines."""
        return "\n".join(self.pieces)


@dataclass(frozen=True, slots=True)
class Passages:
    """Windows of passages: their hashes in order, the passage and the place in it of each; and the passages' sizes."""

    sizes: Ints
    windows: Hashes
    numbers: Ints
    offsets: Ints

    @classmethod
    def of(cls, passages: list[Hashes]) -> Passages:
        """Passages from the windows of each."""
        sizes = np.array([path.size for path in passages], np.int64)
        joined = np.concatenate([np.empty(0, np.uint64), *passages])
        order = np.argsort(joined)
        offsets = np.concatenate([np.empty(0, np.int64), *map(np.arange, sizes)])
        return cls(sizes, joined[order], np.repeat(np.arange(sizes.size), sizes)[order], offsets[order])

    def remainders(self, texts: Sequence[str], words: _Words | None = None) -> list[Remainder]:
        """What is left of each text without these passages; `words` are those of the texts, if they are known."""
        result: list[Remainder] = [Remainder((text,), ()) for text in texts]
        if not self.sizes.size:
            return result
        words = words or _words(texts)
        hits, place = _occurring(words.windows, self.windows)
        numbers, offsets = self.numbers[place], self.offsets[place]
        # an occurrence: one passage in one text, its windows about as far apart as in the passage
        shift = words.at[hits] - offsets
        is_new = (np.diff(numbers) != 0) | (np.diff(words.rows[hits]) != 0) | (np.abs(np.diff(shift)) > 2)
        occurrence = np.concatenate(([0], np.cumsum(is_new)))[: hits.size]
        # a third of the passage at least: some of its words stand elsewhere too
        held = 3 * np.bincount(occurrence, minlength=1)[occurrence] >= self.sizes[numbers]
        hits = hits[held]
        edges = np.zeros(words.hashes.size + 1, np.int64)
        np.add.at(edges, words.at[hits], 1)
        np.add.at(edges, words.ends[hits], -1)
        covered = np.cumsum(edges) > 0
        in_rows, numbers = words.rows[hits].tolist(), numbers[held].tolist()
        for row, group in groupby(zip(in_rows, numbers, strict=True), key=itemgetter(0)):
            own = covered[words.begins[row] : words.begins[row + 1]]
            result[row] = Remainder(_left(texts[row], own), tuple(sorted({number for _, number in group})))
        return result


def _left(text: str, covered: NDArray[np.bool_]) -> tuple[str, ...]:
    """What stands between the covered words."""
    pieces, begin, is_open = [], 0, False
    words = (_ASCII_WORD if text.isascii() else _WORD).finditer(text)
    for match, is_covered in zip(words, covered.tolist(), strict=True):
        if not is_covered:
            is_open = True
            continue
        if is_open:
            pieces.append(text[begin : match.start()])
        begin, is_open = match.end(), False
    if is_open:
        pieces.append(text[begin:])
    return tuple(map(str.strip, pieces))


def without_passages(texts: Sequence[str]) -> list[Remainder]:
    """`Passages.remainders` of the passages found in the texts themselves."""
    words = _words(texts)
    return find_passages(texts, words).remainders(texts, words)


def find_passages(texts: Sequence[str], words: _Words | None = None) -> Passages:
    """The passages that many of the texts have in common (see the top of this file)."""
    words = words or _words(texts)
    search = _Search(words)
    return Passages.of([words.windows[search.first[path]] for path in search.passages()])


class _Search:
    """Paths of the windows that MIN_ROWS texts hold, and what decides whether a path is a passage."""

    def __init__(self, words: _Words) -> None:
        self._words = words
        self._kinds, support = _frequent_windows(words)
        places = np.flatnonzero(self._kinds >= 0)
        count = np.bincount(self._kinds[places], minlength=support.size)
        self._by_kind = places[np.argsort(self._kinds[places], kind="stable")]
        self._ends = np.cumsum(count)
        self.first = self._by_kind[self._ends - count]
        lengths = (words.ends - words.at)[self.first]
        self._paths = [_core(path, support[path], lengths[path]) for path in _paths(words, self._kinds, places, count)]
        # as common as its median window: some of its words stand elsewhere too
        self._median = [int(path[np.argsort(support[path])[path.size // 2]]) for path in self._paths]
        self._rows = [int(support[kind]) for kind in self._median]
        self._texts = words.begins.size - 1
        self._by_chance = np.array(self._rows) / max(1, self._texts)  # the share of all texts that hold each path
        sizes = [int(words.columns[self._words_of(path)].sum()) for path in self._paths]
        self._path_of = np.full(support.size + 1, -1)  # the last is that of all other windows
        self._path_by_median = np.full(support.size + 1, -1)  # -1 for all windows but the median ones
        for number, path in enumerate(self._paths):
            self._path_of[path] = number
            self._path_by_median[self._median[number]] = number
        self._shared = self._most_rows(np.array([*self._rows, 0]))
        large = [rows if size >= TEMPLATE // 2 else 0 for rows, size in zip(self._rows, sizes, strict=True)]
        self._shared_largely = self._most_rows(np.array([*large, 0]))
        # a path is a part of several possible templates
        self._columns, self._rows_differ = cache(self._columns_left), cache(self._differs)

    def _most_rows(self, rows: Ints) -> Small:
        """For each word the rows of the commonest path over it."""
        of_window = rows.astype(np.int32)[self._path_of][self._kinds]
        most = np.zeros(self._words.hashes.size, np.int32)
        windows = np.flatnonzero(of_window)
        of_window, at, ends = of_window[windows], self._words.at[windows], self._words.ends[windows]
        for k in range(WINDOW):
            inside = at + k < ends
            word = at[inside] + k
            most[word] = np.maximum(most[word], of_window[inside])
        return most

    def passages(self) -> list[Ints]:
        """The paths that are passages: those that half of the texts hold, and the parts of templates."""
        chosen = set(self._common_in(np.arange(self._texts), np.zeros(len(self._paths))))
        for number in range(len(self._paths)):
            if number not in chosen and self._columns(number) >= LARGEST_PART:
                chosen.update(self._template_with(number))
        return [self._paths[number] for number in sorted(chosen)]

    def _words_of(self, path: Ints) -> Ints:
        """The places of its words, each in the first text that holds its window."""
        at, last = self._words.at[self.first[path]], self.first[path[-1]]
        return np.concatenate([at, np.arange(self._words.at[last] + 1, self._words.ends[last])])

    def _columns_left(self, number: int) -> int:
        """Its columns, without those that belong to a path that is twice as common."""
        return self._columns_of(self._words_of(self._paths[number]), 2 * self._rows[number])

    def _columns_of(self, words: Ints, rarer_than: int) -> int:
        return int(self._words.columns[words[self._shared[words] < rarer_than]].sum())

    def _holders(self, number: int) -> Ints:
        """Some texts that hold the path."""
        kind = self._median[number]
        places = self._by_kind[self._ends[kind - 1] if kind else 0 : self._ends[kind]]
        return np.unique(self._words.rows[places[:: 1 + places.size // _SAMPLE]])

    def _common_in(self, rows: Ints, by_chance: NDArray[np.float64]) -> list[int]:
        """The passages of PART columns that half of these texts hold, beyond those that hold them by chance."""
        rows = rows[:: 1 + rows.size // _SAMPLE]
        begins = self._words.window_begins
        kinds = (self._kinds[begins[row] : begins[row + 1]] for row in rows.tolist())
        held = np.concatenate([np.empty(0, np.int64), *(np.unique(self._path_by_median[row]) for row in kinds)])
        count = np.bincount(held[held >= 0], minlength=len(self._paths))
        common = np.flatnonzero((count > 0) & (2 * count >= (1 + by_chance) * rows.size)).tolist()
        return [number for number in common if self._columns(number) >= PART and self._rows_differ(number)]

    def _template_with(self, number: int) -> list[int]:
        """The paths of the template that this path is part of; none where they are too short for a template."""
        rows, holders = self._rows[number], self._holders(number)
        parts = self._common_in(holders, self._by_chance)
        parts = [n for n in parts if self._rows[n] <= 2 * rows <= 4 * self._rows[n]]
        sizes = [self._columns_in(row, parts, 2 * rows) for row in holders[::5].tolist()]
        return parts if np.median(sizes) >= max(TEMPLATE, MIN_REPEATED / rows) else []

    def _columns_in(self, row: int, parts: list[int], rarer_than: int) -> int:
        """The columns of a text that these paths cover, and none that so many rows hold."""
        windows = np.arange(self._words.window_begins[row], self._words.window_begins[row + 1])
        covered: set[int] = set()
        for window in windows[np.isin(self._path_of[self._kinds[windows]], parts)].tolist():
            covered.update(range(self._words.at[window], self._words.ends[window]))
        return self._columns_of(np.array(sorted(covered), np.int64), rarer_than)

    def _differs(self, number: int) -> bool:
        """Whether its texts differ in what no longer path that is half as common covers."""
        few, many = set[int](), set[int]()
        for row in self._holders(number).tolist():
            own = slice(self._words.begins[row], self._words.begins[row + 1])
            rare = 2 * self._shared_largely[own] < self._rows[number]
            columns, key = self._words.columns[own][rare].sum(), int(self._words.hashes[own][rare].sum())
            if columns >= LEFT_OF_FEW:
                few.add(key)
            if columns >= LEFT_OF_MANY:
                many.add(key)
            if len(few) >= MIN_ROWS or len(many) >= MANY_ROWS:
                return True
        return False


def _frequent_windows(words: _Words) -> tuple[Small, Ints]:
    """The kind of each window, -1 for one that fewer than MIN_ROWS texts hold; and how many hold each kind."""
    ordered = np.sort(words.windows)
    repeated = np.unique(ordered[MIN_ROWS - 1 :][ordered[MIN_ROWS - 1 :] == ordered[: 1 - MIN_ROWS]])
    if not repeated.size:
        return np.full(words.windows.size, -1, np.int32), np.empty(0, np.int64)
    hits, kind = _occurring(words.windows, repeated)
    texts = words.begins.size
    support = np.bincount(np.unique(kind * texts + words.rows[hits]) // texts)
    frequent = np.flatnonzero(support >= MIN_ROWS)
    numbers = np.full(support.size, -1, np.int32)
    numbers[frequent] = np.arange(frequent.size)
    kinds = np.full(words.windows.size, -1, np.int32)
    kinds[hits] = numbers[kind]
    return kinds, support[frequent]


def _occurring(windows: Hashes, kinds: Hashes) -> tuple[Ints, Ints]:
    """Which windows are among these kinds, which are sorted, and the place of each there."""
    is_possible = np.zeros(1 << _FIRST_BITS, np.bool_)  # the first bits rule out most, sooner than a search
    shift = np.uint64(64 - _FIRST_BITS)
    is_possible[kinds >> shift] = True
    hits = np.flatnonzero(is_possible[windows >> shift])
    place = np.minimum(np.searchsorted(kinds, windows[hits]), kinds.size - 1)
    occurs = kinds[place] == windows[hits]
    return hits[occurs], place[occurs]


def _paths(words: _Words, kinds: Small, places: Ints, count: Ints) -> list[Ints]:
    """Paths of window kinds along which most texts go on alike, and that stop at one end because texts differ."""
    is_first, is_last = np.zeros(kinds.size, np.bool_), np.zeros(kinds.size, np.bool_)
    begins, ends = words.window_begins[:-1], words.window_begins[1:]
    is_first[begins[begins < ends]] = True
    is_last[ends[begins < ends] - 1] = True
    inner = places[~is_last[places]]
    inner = inner[kinds[inner + 1] >= 0]
    pairs, times = np.unique(kinds[inner].astype(np.int64) * count.size + kinds[inner + 1], return_counts=True)
    left, right = pairs // max(1, count.size), pairs % max(1, count.size)
    strong = (2 * times > count[left]) & (2 * times > count[right]) & (left != right)
    after = dict(zip(left[strong].tolist(), right[strong].tolist(), strict=True))
    begins_alike = 2 * np.bincount(kinds[places], is_first[places], count.size) >= count
    ends_alike = 2 * np.bincount(kinds[places], is_last[places], count.size) >= count
    paths = []
    for head in sorted(set(range(count.size)).difference(after.values())):
        path = [head]
        while path[-1] in after:
            path.append(after[path[-1]])
        if not (begins_alike[head] and ends_alike[path[-1]]):
            paths.append(np.array(path))
    return paths


def _core(path: Ints, support: Ints, lengths: Small) -> Ints:
    """The path without windows at its ends that reach from the passage into the text beside it.

    Fewer texts hold such windows than hold those of the passage. They are found where many texts end alike before it,
    and each overlaps a window of the passage; a longer end is a text of its own.
    """
    own = np.flatnonzero(support >= LEAST_HELD * support.max())
    begin = own[0] if lengths[0] > own[0] else 0
    end = own[-1] + 1 if own[-1] + lengths[own[-1]] >= path.size else path.size
    return path[begin:end]
