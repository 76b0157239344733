# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The rows inside one JSON object: a response with its items, or a data frame written whole."""

import re
from itertools import chain
from typing import Any

from gemtune.config import JsonObject
from gemtune.data.formats import is_split_name

MANY = 20  # columns, more than a row of text and label has
_LONGER = 10  # times as long is the list of rows as those of names beside it
_DIFFERENT = 0.9  # of the texts of a label; values of a column repeat, but for its texts
_LANGUAGE = re.compile(r"[a-z]{2}([-_][A-Za-z]{2})?")  # of a translation
_ROW_KEYS = {
    *("contents", "messages", "conversations", "conversation", "chosen", "completions", "preferred_output"),
    *("textContent", "textGcsUri", "text_snippet", "full_request", "full_response", "candidates"),
}  # of a row that has lists of objects


def nested_rows(value: Any, text_column: str) -> list[JsonObject]:
    """The rows in one object: its only (or by far longest) list of objects, those of each split, a data frame as pandas
    writes it whole, the texts of each label, or the label of each text; [] for a row.
    """
    if not isinstance(value, dict) or not value or _ROW_KEYS & value.keys() or isinstance(value.get(text_column), str):
        return []
    columns, data = value.get("columns"), value.get("data")
    if isinstance(columns, list) and isinstance(data, list) and all(isinstance(row, list) for row in data):
        return [dict(zip(map(str, columns), row, strict=False)) for row in data]
    inner = list(value.values())
    if _are_alike(inner, list) and all(map(is_scalar, chain(*inner))) and not _are_by_label(value, text_column):
        return [dict(zip(value, cells, strict=True)) for cells in zip(*inner, strict=True)]
    if _are_alike(inner, dict):
        by_column = all(map(str.isdecimal, inner[0])) or (
            len(inner) < len(inner[0]) and not all(map(str.isdecimal, value))
        )
        return [{name: cells[key] for name, cells in value.items()} for key in inner[0]] if by_column else inner
    if len(inner) > 1 and all(isinstance(texts, list) and len(texts) > 1 and _are_texts(texts) for texts in inner):
        return [{"text": text, "label": label} for label, texts in value.items() for text in texts]
    if len(inner) >= MANY and _are_texts(inner) and 2 * len({*inner}) <= len(inner):
        return [{"text": text, "label": label} for text, label in value.items()]
    if len(value) > 1 and all(map(is_split_name, value)) and all(map(_are_rows, inner)):
        return [{"split": name, **row} for name, rows in value.items() for row in rows]
    lists = [own for own in inner if _are_rows(own) and own]
    lists = lists or [rows for own in inner if (rows := nested_rows(own, text_column))]
    lists.sort(key=len, reverse=True)
    if not lists or not all(len(lists[0]) >= _LONGER * len(rows) for rows in lists[1:]):
        return []
    served = [row["row"] for row in lists[0] if "row_idx" in row and isinstance(row.get("row"), dict)]
    return served if len(served) == len(lists[0]) else lists[0]  # of the Hugging Face dataset viewer


def _are_by_label(value: JsonObject, text_column: str) -> bool:
    """Whether lists of one length are the texts of labels, not columns: different texts under names of no column."""
    from gemtune.data.columns import role_of  # it reads a list of names

    named = sum(name == text_column or role_of(name) != "" or _LANGUAGE.fullmatch(name) is not None for name in value)
    return named < 2 and all(_are_texts(texts) and len({*texts}) >= _DIFFERENT * len(texts) for texts in value.values())


def _are_rows(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(row, dict) for row in value)


def _are_texts(values: list[Any]) -> bool:
    return all(isinstance(value, str) for value in values)


def _are_alike(values: list[Any], kind: type) -> bool:
    """Whether several values are lists of one length, or objects with the same keys; longer than one."""
    first = values[0]
    if not all(type(value) is kind for value in values) or len(values) < 2 or len(first) < 2:
        return False
    return all(value.keys() == first.keys() if kind is dict else len(value) == len(first) for value in values)


def is_scalar(value: Any) -> bool:
    """Whether a value is neither a list nor an object."""
    return not isinstance(value, list | dict)
