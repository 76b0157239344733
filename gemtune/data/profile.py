# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Data profile: label balance, lengths, scripts, slices.

Guarantees: counts only, and a single judgement: a label is rare below RARE_ROWS rows. Token counts are estimates (a
quarter of a token per character, one per East Asian character); the service's own count is authoritative.
"""

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from functools import cache

from gemtune.artifacts.data import DataProfile, HistogramBin, LabelBalance, LengthStats
from gemtune.data.example import Example

RARE_ROWS, MAX_VALUES = 10, 200
_EAST_ASIAN = ("HIRAGANA", "KATAKANA", "CJK", "HANGUL")
_LANGUAGES = {"HIRAGANA": "japanese", "KATAKANA": "japanese", "HANGUL": "korean", "CJK": "chinese"}


def profile_rows(examples: Sequence[Example], labelled: bool) -> DataProfile:
    """Label balance (when `labelled`), lengths in characters and estimated tokens, scripts, slices."""
    slices: dict[str, Counter[str]] = defaultdict(Counter)
    for example in examples:
        for name, value in example.slices.items():
            slices[name][value] += 1
    scripts = Counter(script(example.text) for example in examples)
    balance = label_balance(Counter(example.target for example in examples)) if labelled else LabelBalance()
    return DataProfile(
        **balance.model_dump(),
        text_characters=length_stats([len(example.text) for example in examples]),
        text_tokens_estimated=length_stats([estimate_tokens(example.text) for example in examples]),
        target_characters=length_stats([len(example.target) for example in examples]),
        scripts=dict(scripts.most_common()),
        slices={name: _commonest(counts) for name, counts in sorted(slices.items())},
    )


def _commonest(counts: Counter[str]) -> dict[str, int]:
    """Rows per value of a slice: the MAX_VALUES commonest values, and the sum of the others."""
    shown = dict(sorted(counts.most_common(MAX_VALUES)))
    others = counts.total() - sum(shown.values())
    return {**shown, **({"(other values)": others} if others else {})}


def label_balance(counts: Counter[str]) -> LabelBalance:
    """Rows per label, the rare labels, and the ratio of the largest to the smallest label."""
    return LabelBalance(
        labels=dict(sorted(counts.items())),
        rare_labels=tuple(sorted(label for label, rows in counts.items() if rows < RARE_ROWS)),
        largest_to_smallest=round(max(counts.values()) / min(counts.values()), 2) if counts else None,
    )


def length_stats(values: Iterable[int]) -> LengthStats | None:
    """Minimum, median, 95th percentile, maximum, mean, and counts in bins that double; None without values."""
    ordered = sorted(values)
    if not ordered:
        return None
    bins = Counter(value.bit_length() for value in ordered)
    return LengthStats(
        min=ordered[0],
        median=ordered[round(0.5 * (len(ordered) - 1))],
        p95=ordered[round(0.95 * (len(ordered) - 1))],
        max=ordered[-1],
        mean=round(sum(ordered) / len(ordered), 1),
        histogram=tuple(HistogramBin(below=1 << bits, rows=bins[bits]) for bits in range(min(bins), max(bins) + 1)),
    )


def estimate_tokens(text: str) -> int:
    """Estimated tokens."""
    return tokens_of(len(text), dense_letters(text))


def tokens_of(characters: int, dense: int) -> int:
    """Estimated tokens of so many characters, of which so many are East Asian."""
    return dense + (characters - dense + 3) // 4


def dense_letters(text: str) -> int:
    """The number of East Asian characters, each of which is a token."""
    return 0 if text.isascii() else sum(map(_is_dense, text))


def script(text: str) -> str:
    """The script of most of the letters (latin, cyrillic, ...); for East Asian scripts the language they imply."""
    if text.isascii():
        return "latin" if any(map(str.isalpha, text)) else "none"
    counts = Counter(_script_of(letter) for letter in text if letter.isalpha())
    if not counts:
        return "none"
    for name in ("HIRAGANA", "KATAKANA", "HANGUL"):
        if counts[name] >= 0.1 * counts.total():
            return _LANGUAGES[name]
    name = counts.most_common(1)[0][0]
    return _LANGUAGES.get(name, name.lower())


@cache
def _script_of(letter: str) -> str:
    plain = unicodedata.normalize("NFKC", letter)[0]  # of a full-width letter its script, not its width
    return unicodedata.name(plain, "NONE").split(" ")[0].split("-")[0]


@cache
def _is_dense(letter: str) -> bool:
    return _script_of(letter) in _EAST_ASIAN
