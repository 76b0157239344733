# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Labels of rows: one set of labels from every kind of source, and labels that differ in spelling only.

A reference with several labels is their sorted set, joined by `task.label_separator`. Guarantees: the same labels give
the same reference, in any order and notation.
"""

from __future__ import annotations

import ast
import json
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable
from decimal import Decimal
from functools import lru_cache
from typing import Any

from gemtune.artifacts.data import LabelSpellings
from gemtune.config import Task

_MAX_EXACT = 2**53  # beyond, floats are not whole numbers but rounded ones
_SPACE = re.compile(r"\s+")
_BETWEEN_ITEMS = re.compile(r"(['\"]|[\d.](?=\s+[-\d]))\s+(?=['\"\d-])")
_BARE_LIST = re.compile(r"""\{[^{}"':]+\}""")
_HASHTAGS, _HASHTAG = re.compile(r"\s*(#\w+[\s,]*)+"), re.compile(r"#(\w+)")
_NUMBER = re.compile(r"[+-]?\d{1,30}(\.\d{1,30})?")
_END_MARKS = " .,;:!。，、；：！"
_QUOTED = re.compile(r"[\"'`“„‘«「『]+(.+?)[\"'`”“’»」』]+")
_BULLET = re.compile(r"^[-–•*]\s+(?=\S)")
_JOINED = re.compile(r"(?<=[^\W\d_])[-_\s‐‑–]+(?=[^\W\d_])")  # words in one label: money_back, money-back, money back
_LABEL_KEYS = ("label", "name", "displayName", "display_name", "value", "tag", "category", "class")
_ARGUMENTS = frozenset(("arguments", "args", "parameters"))
SEPARATORS = ("; ", ";", "|", ", ", ",", "、", "；", " / ", "/", "&", "+")
MAX_PART_CHARS = 40
_EMOJI_STYLE = "\ufe0e\ufe0f"


def label_text(value: Any) -> str | None:
    """A label as text, whatever its type: 1.0 and 1 are `1`, True is `true`; None for what is not a label."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer() and abs(value) < _MAX_EXACT:
        return str(int(value))
    return str(value) if isinstance(value, int) else None


def label_set(value: Any, separator: str) -> str:
    """The reference for a list of labels (or of objects with a name, or in an object as `choices`), for a table of
    labels and whether they apply, or for a text of them: separated, or in JSON or Python notation.

    Raises `ValueError` with the problem for anything else.
    """
    mark = separator.strip() or separator
    values = parse_container(value.strip()) if isinstance(value, str) else value
    values = values["choices"] if is_choices(values) else values
    if isinstance(values, dict) and (not values or are_flags(list(values.values()))):
        values = [label for label, chosen in values.items() if chosen]
    if not isinstance(values, list):
        text = label_text(value)
        if text is None:
            raise ValueError(f"{value!r:.80} is not a list of labels")
        values = split_labels(text, mark)
    labels = set[str]()
    for item in values:
        is_call = isinstance(item, dict) and not _ARGUMENTS.isdisjoint(item)  # of a function, by its name
        named = [item[key] for key in _LABEL_KEYS if key in item] if isinstance(item, dict) and not is_call else [item]
        label = label_text(next(iter(named), item))
        if label is None:
            raise ValueError(f"a label is {item!r:.80}, not a string or a whole number")
        if mark in label:
            raise ValueError(f"the label {label!r:.80} contains {mark!r}; choose another task.label_separator")
        labels.add(label.strip())
    labels.discard("")
    return separator.join(sorted(labels))


def is_choices(value: Any) -> bool:
    """Whether a value is an object with a list of choices alone, as Label Studio writes several labels."""
    return isinstance(value, dict) and value.keys() == {"choices"} and isinstance(value["choices"], list)


def split_labels(text: str, mark: str) -> list[str]:
    """The labels in a text: hashtags, or what stands between marks or line breaks."""
    if _HASHTAGS.fullmatch(text):
        return _HASHTAG.findall(text)
    return [part.strip() for part in re.split(rf"{re.escape(mark)}|[\r\n]+", text) if part.strip()]


def parse_container(text: str, is_exact: bool = False) -> Any:
    """The list or object that a text is in JSON or Python notation, as programs write such cells; unless `is_exact`,
    also in NumPy's and without quotes (PostgreSQL's {a,b}), which are ambiguous; else None.
    """
    if (text[:1], text[-1:]) not in (("{", "}"), ("[", "]"), ("(", ")")):
        return None
    # NumPy writes no commas; Python would join the strings
    spelled_in_python = text if is_exact else _BETWEEN_ITEMS.sub(r"\1, ", text)
    for parse, spelled in ((json.loads, text), (ast.literal_eval, spelled_in_python)):
        try:
            value = parse(spelled)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
        value = sorted(value, key=str) if isinstance(value, set | tuple) else value
        return value if isinstance(value, dict | list) else None
    return split_labels(text[1:-1], ",") if not is_exact and _BARE_LIST.fullmatch(text) else None


def are_flags(values: list[Any]) -> bool:
    """Whether values say of each label if it applies; a lone 1 is a number."""
    if len(values) < 2:
        return bool(values) and isinstance(values[0], bool)
    return all(isinstance(value, bool | int | float) and value in (0, 1) for value in values)


def is_flag(text: str) -> bool:
    """Whether the text of a cell says whether a label applies."""
    return text.strip().casefold() in ("0", "1", "true", "false")


def joining_mark(counts: Counter[str], max_labels: float) -> str:
    """What joins several labels in a reference, if a tenth of the rows have such references, made of few labels that
    recur in others; else "".
    """
    for mark in SEPARATORS:
        parts_of = {text: split_labels(text, mark) for text in counts}
        several = sum(counts[text] for text, own in parts_of.items() if len(own) > 1)
        parts = {part for own in parts_of.values() for part in own}
        is_few = len(parts) <= max_labels and len(parts) < len(counts)
        if several >= 0.1 * counts.total() > 0 and is_few and max(map(len, parts), default=0) <= MAX_PART_CHARS:
            return mark
    return ""


def labels_of(target: str, task: Task) -> list[str]:
    """The labels of a reference: one, or several if the task has a `label_separator`."""
    if not task.label_separator:
        return [target]
    separator = task.label_separator.strip() or task.label_separator
    return [part.strip() for part in target.split(separator) if part.strip()]


# -- spellings -------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=2**16)
def spelling_key(label: str) -> str:
    """Equal for spellings of one label: ignores case, width, invisible characters, white space, hyphens and underscores
    between words, quotes and bullets, marks at the end, and how a number is written.
    """
    text = unicodedata.normalize("NFKC", label)
    text = "".join(
        c for c in text if c.isspace() or (unicodedata.category(c) not in ("Cf", "Cc") and c not in _EMOJI_STYLE)
    )
    text = _SPACE.sub(" ", unicodedata.normalize("NFKC", text.casefold().replace("i\u0307", "i"))).strip()
    text = "".join(str(unicodedata.decimal(c)) if c.isdecimal() else c for c in text)
    if _NUMBER.fullmatch(text):
        return format(Decimal(text).normalize() + 0, "f")
    bare = _bare(text)
    while bare != text:
        text, bare = bare, _bare(bare)
    return _JOINED.sub(" ", text)


def _bare(text: str) -> str:
    """The text without a bullet, quotes around it or marks at the end."""
    quoted = _QUOTED.fullmatch(text)
    inner = quoted[1] if quoted else text
    return _BULLET.sub("", inner).rstrip(_END_MARKS).strip() or text


def find_spellings(counts: Counter[str], allowed: Collection[str]) -> tuple[LabelSpellings, ...]:
    """Labels that occur in several spellings, with the rows of each; the label is the allowed or commonest spelling.

    Spellings that are `allowed` side by side are labels of their own.
    """
    groups: dict[str, list[str]] = defaultdict(list)
    for label in counts:
        groups[spelling_key(label)].append(label)
    kept: dict[str, set[str]] = defaultdict(set)
    for label in allowed:
        kept[spelling_key(label)].add(label)
    spellings = []
    for key, labels in sorted(groups.items()):
        ordered = sorted(labels, key=lambda label: (-counts[label], len(label), label))
        label = min(kept[key], default=ordered[0])
        if len(kept[key]) < 2 and {label, *labels} != {label}:
            spellings.append(LabelSpellings(label=label, rows={spelled: counts[spelled] for spelled in ordered}))
    return tuple(spellings)


def merge_spellings(target: str, task: Task, spellings: Iterable[LabelSpellings]) -> str:
    """The reference with every label in the spelling that is kept."""
    label_by_spelling = {spelled: group.label for group in spellings for spelled in group.rows}
    labels = {label_by_spelling.get(label, label) for label in labels_of(target, task)}
    return task.label_separator.join(sorted(labels))
