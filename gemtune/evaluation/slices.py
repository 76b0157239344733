# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Slices derived from the text of a row, in addition to those in the data: length and script."""

import math
import re
from collections.abc import Sequence
from dataclasses import replace

from gemtune.data.example import Example
from gemtune.data.profile import script

_NUMBER = re.compile(r"\d+(?:\.\d+)?")


def with_auto_slices(examples: Sequence[Example]) -> list[Example]:
    """The examples with the slices `length` (thirds of these rows) and `script`, where these differ between rows."""
    lengths = sorted(len(example.text) for example in examples)
    low, high = lengths[len(lengths) // 3], lengths[2 * len(lengths) // 3]

    def derived_slices(example: Example) -> dict[str, str]:
        size = len(example.text)
        third = f"at most {low}" if size <= low else f"at most {high}" if size <= high else f"over {high}"
        return {"length": f"{third} characters", "script": script(example.text)}

    derived = [derived_slices(example) for example in examples]
    kept = [name for name in ("length", "script") if len({added[name] for added in derived}) > 1]
    return [
        replace(example, slices={**{name: added[name] for name in kept}, **example.slices})
        for example, added in zip(examples, derived, strict=True)
    ]


def by_number(value: str) -> tuple[list[float], str]:
    """Sort key of a slice's values: by the numbers in them, then by the text ("5-10" before "10-20")."""
    try:
        numbers = [float(value)]  # a sign is one of a number only where nothing else is
    except ValueError:
        numbers = [float(number) for number in _NUMBER.findall(value)]
    return [number for number in numbers if math.isfinite(number)], value
