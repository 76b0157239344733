# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Properties of a row that scores are reported by, beside those the data names: how long it is, how it is written."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from gemtune.data.example import Example


def with_auto_slices(examples: Sequence[Example]) -> list[Example]:
    """The examples with two more slices, where they tell rows apart: `length` (thirds of these rows) and `script`."""
    lengths = sorted(len(example.text) for example in examples)
    low, high = lengths[len(lengths) // 3], lengths[2 * len(lengths) // 3]

    def more(example: Example) -> dict[str, str]:
        size = len(example.text)
        third = f"up to {low}" if size <= low else f"up to {high}" if size <= high else f"over {high}"
        return {"length": f"{third} characters", "script": script(example.text)}

    extra = [more(example) for example in examples]
    kept = [name for name in ("length", "script") if len({one[name] for one in extra}) > 1]
    return [
        replace(example, slices={**{name: one[name] for name in kept}, **example.slices})
        for example, one in zip(examples, extra, strict=True)
    ]


def script(text: str) -> str:
    """The writing system of most letters; Japanese is told from Chinese by its kana."""
    seen = Counter(found for char in text if char.isalpha() for found in [_script_of(char)])
    if seen["kana"] and seen["kana"] + seen["han"] >= max(seen.values()):
        return "japanese"
    return "none" if not seen else {"kana": "japanese", "han": "chinese"}.get(top := seen.most_common(1)[0][0], top)


def _script_of(char: str) -> str:
    name = unicodedata.name(char, "other").split()[0].lower()
    return {"hiragana": "kana", "katakana": "kana", "cjk": "han", "fullwidth": "latin", "halfwidth": "kana"}.get(
        name, name
    )
