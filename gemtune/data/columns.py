# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Columns of rows, for `gemtune init`: what their values are, and what their names say (`column_names.yaml`)."""

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from importlib import resources
from typing import Any

import yaml

from gemtune.config import JsonObject
from gemtune.data.formats import chat_turns
from gemtune.data.group_columns import words_of
from gemtune.data.labels import (
    are_flags,
    is_choices,
    joining_mark,
    label_set,
    label_text,
    parse_container,
    split_labels,
)
from gemtune.data.segments import spans_as_segments

MAX_LABEL_CHARS, PLAUSIBLE_LABELS = 80, 10
_MAX_LABEL_SHARE = 0.3  # labels a row; what a run needs is stricter, and is checked afterwards
CERTAIN = 0.9  # share of the rows that decides
_MIN_REPEATED = 0.25  # share of the rows whose value is that of another row
_ROLES = ("chosen", "rejected", "label", "object", "summary", "answer", "split", "text", "other")
_ONE_WORD = re.compile(r"[^\W\d]+([-/.][^\W\d]+)*\??")


@dataclass(frozen=True)
class Column:
    """A column by its name, and its cells."""

    name: str
    cells: list[Any]

    @property
    def rows(self) -> int:
        """The number of cells."""
        return len(self.cells)

    @cached_property
    def values(self) -> list[Any]:
        """The cells that are not empty."""
        return [value for value in self.cells if value not in (None, "", [])]

    @cached_property
    def role(self) -> str:
        """What its name says that it holds; without that `other` for values as columns of channels or places have."""
        if self.is_review:
            return "other"
        is_other = self.is_label and all(plain(value) in known_names()["other_values"] for value in self.counts)
        return role_of(self.name) or ("other" if is_other else "")

    @cached_property
    def texts(self) -> list[str]:
        """The values that may be labels, as text."""
        return [text for value in self.values if (text := label_text(value)) is not None]

    @cached_property
    def counts(self) -> Counter[str]:
        """The rows of each of these texts."""
        return Counter(text.strip() for text in self.texts)

    @cached_property
    def mean(self) -> float:
        """The mean length of these texts (characters)."""
        return sum(map(len, self.texts)) / max(1, len(self.texts))

    @cached_property
    def containers(self) -> Counter[type]:
        """The values by type, those in a cell's notation by what they are."""
        parsed = [parse_container(value.strip()) if isinstance(value, str) else value for value in self.values]
        return Counter(list if is_choices(value) else type(value) for value in parsed)

    @cached_property
    def is_text(self) -> bool:
        """Whether values have words: neither numbers nor ids nor times."""
        letters = sum(4 * sum(map(str.isalpha, v)) > len(v.strip()) for v in self.values if isinstance(v, str))
        return self._holds(letters) and not self.is_object

    @property
    def is_answer(self) -> bool:
        """Whether values are texts or chat turns."""
        return self.is_text or self._holds(sum(bool(chat_turns(value)) for value in self.values))

    @property
    def is_object(self) -> bool:
        """Whether values are objects."""
        return self._holds(self.containers[dict])

    @cached_property
    def is_spans(self) -> bool:
        """Whether values are spans of the text with their names."""
        return any(self.spans) and self._holds(sum(own is not None for own in self.spans))

    @cached_property
    def spans(self) -> list[Any]:
        """The segments in each cell, None for cells without."""
        return [spans_as_segments(value) for value in self.cells]

    @cached_property
    def is_label(self) -> bool:
        """Whether values are few, short and repeated; or many for so few rows, but single words that repeat."""
        count = len(self.counts)
        few = 1 < count <= max(PLAUSIBLE_LABELS, _MAX_LABEL_SHARE * self.rows) and count <= 0.5 * len(self.texts)
        words = sum(rows for text, rows in self.counts.items() if _ONE_WORD.fullmatch(text))
        repeated = sum(rows for rows in self.counts.values() if rows > 1)
        are_words = role_of(self.name) == "label" or (not role_of(self.name) and self._holds(words))
        are_names = are_words and repeated >= _MIN_REPEATED * len(self.texts)
        return (few or are_names) and self._holds(sum(len(text) <= MAX_LABEL_CHARS for text in self.texts))

    @cached_property
    def is_flags(self) -> bool:
        """Whether values are tables of labels and whether they apply."""
        tables = [parse_container(v) if isinstance(v, str) else v for v in self.values] if self.is_object else []
        return self._holds(sum(isinstance(table, dict) and are_flags([*table.values()]) for table in tables))

    @property
    def is_review(self) -> bool:
        """Whether values say if those who labelled the row accept it, as Prodigy writes them."""
        return bool(self.counts) and {*self.counts} <= {"accept", "reject", "ignore"}

    @property
    def is_joined(self) -> bool:
        """Whether the labels in the values are combined at will, so that there are more values than labels: there are
        fewer of places and their countries, or of topics below others. With slashes topics of one name are common.
        """
        parts = {part for text in self.counts for part in split_labels(text, self.separator)}
        least = 2 * len(parts) if "/" in self.separator else len(parts) + 1
        return len(self.counts) >= least

    @cached_property
    def separator(self) -> str:
        """What separates several labels in a value; "" for a value that is one label."""
        if self.is_flags or (self.containers[list] and self._are_sets()):
            return "; "
        return joining_mark(Counter(self.texts), max(PLAUSIBLE_LABELS, _MAX_LABEL_SHARE * self.rows))

    def _are_sets(self) -> bool:
        """Whether values are lists of labels; or of some rows, beside single labels that are few."""
        sets = [own for value in self.values if (own := _set_of(value))]
        labels = {label for own in sets for label in own.split("; ")}
        is_few = len(labels) <= max(PLAUSIBLE_LABELS, _MAX_LABEL_SHARE * self.rows)
        return self._holds(len(sets)) and (self._holds(self.containers[list]) or is_few)

    def _holds(self, count: int) -> bool:
        return bool(self.values) and count >= CERTAIN * len(self.values)


def columns_of(rows: Sequence[JsonObject]) -> list[Column]:
    """The columns that have a value."""
    names = dict.fromkeys(name for row in rows for name in row)
    columns = [Column(name, [row.get(name) for row in rows]) for name in names]
    return [column for column in columns if column.values]


def _set_of(value: Any) -> str:
    try:
        return label_set(value, "; ")
    except ValueError:
        return ""


@cache
def vocabulary() -> JsonObject:
    """What columns, labels and tasks are called."""
    text = resources.files("gemtune.data").joinpath("column_names.yaml").read_text(encoding="utf-8")
    values: JsonObject = yaml.safe_load(text)
    return values


@cache
def known_names() -> dict[str, dict[str, None]]:
    """The names of columns by role, and those of sentiments."""
    return {
        role: {plain(str(n)): None for n in names} for role, names in vocabulary().items() if isinstance(names, list)
    }


def plain(text: str) -> str:
    """A name without case, width and space around it."""
    return unicodedata.normalize("NFKC", text).strip().casefold()


def role_by_name(name: str) -> str:
    """The role whose names have exactly this one, whatever its case and width; "" if none has."""
    return next((role for role in _ROLES if plain(name) in known_names()[role]), "")


@cache
def role_of(name: str) -> str:
    """What a name of a column says that it holds: by its last word that says anything; "" if none does."""
    names = known_names()
    words = words_of(name)
    side = better_or_worse(name)
    for word in [plain(name), *reversed(words)]:
        for role in _ROLES:
            if word in names[role] or (word.isascii() and word.endswith("s") and word[:-1] in names[role]):
                return side or role if role == "answer" else role
    # names in scripts without spaces: the longest part that is known
    parts = [(len(part), role) for role in _ROLES for part in names[role] if not part.isascii() and part in plain(name)]
    return side or max(parts)[1] if parts else ""


def better_or_worse(name: str) -> str:
    """The role `chosen` or `rejected` if a part of the name says so."""
    words, text, names = words_of(name), plain(name), known_names()
    for role in ("chosen", "rejected"):
        parts = [part for part in names[role] if not part.isascii() and part in text]
        if parts or names[role].keys() & {*words}:
            return role
    return ""
