# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""What the data looks like: class balance, lengths, scripts, slices.

Promise: counts only, no judgement but the one stated: a class is rare below RARE_ROWS rows. Tokens are estimates (a
quarter of a token per character, one per East Asian character); the service's own count decides.
"""

from __future__ import annotations

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

from gemtune.data.example import Example

RARE_ROWS, MOST_VALUES = 10, 200
_EAST_ASIAN = ("HIRAGANA", "KATAKANA", "CJK", "HANGUL")
_LANGUAGES = {"HIRAGANA": "japanese", "KATAKANA": "japanese", "HANGUL": "korean", "CJK": "chinese"}


def profile_rows(examples: Sequence[Example], labelled: bool) -> dict[str, Any]:
    """Class balance (for labels), lengths in characters and estimated tokens, scripts, slices."""
    slices: dict[str, Counter[str]] = defaultdict(Counter)
    for example in examples:
        for name, value in example.slices.items():
            slices[name][value] += 1
    scripts = Counter(script(example.text) for example in examples)
    return {
        **(label_balance(Counter(example.target for example in examples)) if labelled else {}),
        "text_characters": length_stats([len(example.text) for example in examples]),
        "text_tokens_estimated": length_stats([estimate_tokens(example.text) for example in examples]),
        "target_characters": length_stats([len(example.target) for example in examples]),
        "scripts": dict(scripts.most_common()),
        "slices": {name: _commonest(counts) for name, counts in sorted(slices.items())},
        "multi_turn": sum(example.contents is not None for example in examples),
        "with_system": sum(example.system is not None for example in examples),
    }


def _commonest(counts: Counter[str]) -> dict[str, int]:
    """Rows per value of a slice; of many values the commonest, and how many rows the others have."""
    shown = dict(sorted(counts.most_common(MOST_VALUES)))
    others = counts.total() - sum(shown.values())
    return {**shown, **({"(other values)": others} if others else {})}


def label_balance(counts: Counter[str]) -> dict[str, Any]:
    """Rows per label, the rare labels, and how many times larger the largest is than the smallest."""
    return {
        "labels": dict(sorted(counts.items())),
        "rare_labels": sorted(label for label, rows in counts.items() if rows < RARE_ROWS),
        "largest_to_smallest": round(max(counts.values()) / min(counts.values()), 2) if counts else None,
    }


def length_stats(values: Iterable[int]) -> dict[str, Any]:
    """Least, median, 95th percentile, largest, mean, and counts in bins that double."""
    ordered = sorted(values)
    if not ordered:
        return {}
    at = {name: ordered[round(share * (len(ordered) - 1))] for name, share in (("median", 0.5), ("p95", 0.95))}
    bins = Counter(value.bit_length() for value in ordered)
    histogram = [{"below": 1 << bits, "rows": bins[bits]} for bits in range(min(bins), max(bins) + 1)]
    mean = round(sum(ordered) / len(ordered), 1)
    return {"least": ordered[0], **at, "largest": ordered[-1], "mean": mean, "histogram": histogram}


def estimate_tokens(text: str) -> int:
    """Estimated tokens."""
    if text.isascii():
        return (len(text) + 3) // 4
    dense = sum(_script_of(letter) in _EAST_ASIAN for letter in text)
    return dense + (len(text) - dense + 3) // 4


def script(text: str) -> str:
    """The script most of a text's letters belong to (latin, cyrillic, ...); for East Asian ones the language it
    implies.
    """
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
    return unicodedata.name(letter, "NONE").split(" ")[0].split("-")[0]
