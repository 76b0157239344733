# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Rows whose text reads like an attack on a prompt: a reason to look at them, never to reject them.

The patterns, in seven languages, are in `injection_phrases.yaml`.
"""

from __future__ import annotations

import re
from array import array
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import accumulate
from pathlib import Path

import yaml

from gemtune.data.compared_text import full_text
from gemtune.data.example import Example

_MAX_LINES = 20
_PHRASES: dict[str, dict[str, list[str]]] = yaml.safe_load(
    Path(__file__).with_name("injection_phrases.yaml").read_text("utf-8")
)
_KINDS = {kind: re.compile("|".join(phrases["patterns"]), re.IGNORECASE) for kind, phrases in _PHRASES.items()}
_HINTS = {kind: [*map(str, phrases["hints"])] for kind, phrases in _PHRASES.items()}
# a text without any of these has no hint: a search for one sign takes a third of the time of one for a word
_SIGNS = {next(iter(re.findall(r"[<[#]", hint)), hint) for hints in _HINTS.values() for hint in hints}
_I_FORMS = str.maketrans({"\u0307": None, "\u0131": "i"})  # equal to an i where letter case does not matter


def injection_kinds(text: str) -> list[str]:
    """The kinds of attack that a text reads like: instruction, system prompt, closing tag, role marker."""
    lower = _lower(text)
    return [kind for kind, hints in _HINTS.items() if any(map(lower.__contains__, hints)) and _KINDS[kind].search(text)]


def _lower(text: str) -> str:
    return text.lower() if text.isascii() else text.casefold().translate(_I_FORMS)


def _with_signs(texts: Iterable[str]) -> list[int]:
    """The places of the texts that have a sign, found in all of them together: most have none."""
    lines = [*map(_lower, texts)]
    joined, begins, places = "\n".join(lines), [*accumulate((len(line) + 1 for line in lines), initial=0)], set[int]()
    for sign in _SIGNS:
        position = joined.find(sign)
        while position >= 0:
            places.add(place := bisect_right(begins, position) - 1)
            position = joined.find(sign, begins[place + 1])
    return sorted(places)


class InjectionCounter:
    """Counts rows that read like an attack; their own system instruction is not searched."""

    def __init__(self) -> None:
        self._kinds, self._lines = Counter[str](), array("Q")

    def add(self, examples: Sequence[Example]) -> None:
        """Search rows, several at a time."""
        texts = [full_text(example, with_system=False) for example in examples]
        for place in _with_signs(texts):
            if kinds := injection_kinds(texts[place]):
                self._kinds.update(kinds)
                self._lines.append(examples[place].line)

    def extend(self, part: InjectionCounter) -> None:
        """Add what was counted of further rows."""
        self._kinds.update(part._kinds)
        self._lines.extend(part._lines)

    def note(self) -> str:
        """How many rows, of which kinds, at which lines (at most 20); "" when there are none."""
        if not (count := len(self._lines)):
            return ""
        kinds = ", ".join(f"{kind} {rows}" for kind, rows in self._kinds.most_common())
        lines = ", ".join(map(str, self._lines[:_MAX_LINES])) + (", ..." if count > _MAX_LINES else "")
        return f"{count} rows read like an attack on a prompt ({kinds}), at lines {lines}: check their labels"
