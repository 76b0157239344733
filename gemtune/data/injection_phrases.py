# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Rows whose text reads like an attack on a prompt: a reason to look at them, never to reject them.

The patterns, in seven languages, are in `injection_phrases.yaml`.
"""

from __future__ import annotations

import re
from array import array
from collections import Counter
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
_ASCII_SIGNS = [*filter(str.isascii, _SIGNS)]
_I_FORMS = str.maketrans({"\u0307": None, "\u0131": "i"})  # equal to an i where letter case does not matter


def injection_kinds(text: str) -> list[str]:
    """The kinds of attack that a text reads like: instruction, system prompt, closing tag, role marker."""
    is_ascii = text.isascii()
    lower = text.lower() if is_ascii else text.casefold().translate(_I_FORMS)
    if not any(map(lower.__contains__, _ASCII_SIGNS if is_ascii else _SIGNS)):
        return []
    return [kind for kind, hints in _HINTS.items() if any(map(lower.__contains__, hints)) and _KINDS[kind].search(text)]


class InjectionCounter:
    """Counts rows that read like an attack; their own system instruction is not searched."""

    def __init__(self) -> None:
        self._kinds, self._lines = Counter[str](), array("Q")

    def add(self, example: Example) -> None:
        """Search a row."""
        if kinds := injection_kinds(full_text(example, with_system=False)):
            self._kinds.update(kinds)
            self._lines.append(example.line)

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
