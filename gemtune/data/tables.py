# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Rows of a table from its cells, whatever file they are in: header, further headers, rows of another width; and the
rows inside one JSON object: a response with its items, or a data frame written whole.

Guarantees: every row below the header is returned once, as a value by the names of its columns or as a `RejectedRow`;
how rows of another width are read is decided for the whole file, by its first rows.
"""

import re
from collections import Counter
from collections.abc import Iterator, Set
from itertools import chain, islice, pairwise
from typing import Any

from gemtune.config import JsonObject
from gemtune.data.columns import role_by_name, role_of
from gemtune.data.example import RejectedRow, Row
from gemtune.data.formats import is_split_name
from gemtune.data.text_files import SourceFile

HEAD_LINES = 50  # that show how a table is written
_MAX_NAME, _TARGET_ROLES = 24, ("label", "answer", "summary", "object")
_MIN_RAGGED = 0.1  # of the first rows that are shorter than the header, in a file that leaves out empty cells
# in place of a value: a type of a database or a data frame, what stands in brackets, a line
_DESCRIPTION = re.compile(
    r""":?[-=]+:?|[(\[<][^()\[\]<>{}"']{1,40}[)\]>]|(?:open-ended )?response|json|object|categor(?:y|ical)|enum|"""
    r"bool(?:ean)?|str|string|text|(?:n?var)?char ?\(\d+\)|(?:u|big|small)?int(?:eger|8|16|32|64)?|float(?:32|64)?|"
    r"double|number|numeric|decimal|date|datetime|timestamp",
    re.IGNORECASE,
)
_UNSEEN = " \t\r\n\ufeff\u200b\u200c\u200d\u2060\xa0\xad\u3000"

MANY = 20  # columns, more than a row of text and label has
_LONGER = 10  # times as long is the list of rows as those of names beside it
_DIFFERENT = 0.9  # of the texts of a label; values of a column repeat, but for its texts
_LANGUAGE = re.compile(r"[a-z]{2}([-_][A-Za-z]{2})?")  # of a translation
_ROW_KEYS = {
    *("contents", "messages", "conversations", "conversation", "chosen", "completions", "preferred_output"),
    *("textContent", "textGcsUri", "text_snippet", "full_request", "full_response", "candidates"),
}  # of a row that has lists of objects


def table_rows(file: SourceFile, rows: Iterator[tuple[int, list[str]]]) -> Iterator[Row | RejectedRow]:
    """The rows below a header. A further row that names the columns of text and target, or the same columns, is another
    header: files were joined there, and the rows after it have its columns. Without a header (`preprocess.header`)
    columns are numbered.
    """
    if not file.config.header:
        yield from _numbered(rows)
        return
    begin = list(islice(rows, HEAD_LINES))
    needed = _needed(file)
    if first := _header_index([cells for _, cells in begin], needed):
        file.assume(
            f"line {begin[first][0]} names the columns; the rows above it are left out", "preprocess.text_column"
        )
        del begin[:first]
    header: list[str] = []
    named: dict[str, str] = {}
    names = _names(begin[0][1]) if begin else []
    described = _described(file, names, begin[1:])
    least = _least_width(file, names, [cells for _, cells in begin[1:]])
    for number, cells in chain(begin, rows):
        if not header:
            header = _header(file, number, cells)
            named = {name.casefold(): name for name in header}
        elif len(header) > 1 and _names_again(cells, named.keys(), needed):
            header = [named.get(name.casefold(), name) for name in _header(file, number, cells)]
            named = {name.casefold(): name for name in header}
            yield RejectedRow(number, "repeated_header", "the row names the columns: files were joined here", cells)
        elif len(cells[0]) <= _MAX_NAME >= max(map(len, cells)) and (other := _other_header(file, cells, header)):
            header = other
            yield RejectedRow(number, "repeated_header", "the row names the columns: files were joined here", cells)
        elif number in described:
            yield RejectedRow(number, "repeated_header", "the row describes the columns, with types or units", cells)
        elif (row := cells if len(cells) == len(header) else _of_width(cells, len(header), least)) is None:
            yield RejectedRow(number, "wrong_cells", f"{len(cells)} cells where the header has {len(header)}", cells)
        else:
            yield number, dict(zip(header, row, strict=True))


def _of_width(cells: list[str], width: int, least: int) -> list[str] | None:
    """The cells of a row without empty ones beyond the header, and with those that it leaves out at the end if it has
    the `least` number, 0 for all; None for a row of another width.
    """
    if len(cells) < (least or width) or any(map(str.strip, cells[width:])):
        return None
    return [*cells[:width], *[""] * (width - len(cells))]


def _least_width(file: SourceFile, header: list[str], rows: list[list[str]]) -> int:
    """The fewest cells of a row: those up to text and target, if the program that wrote the file leaves out empty cells
    at the end of a row; 0 if it writes all.

    Rows of text with unquoted line breaks are short, too: then what is left of one row and what begins the next add up.
    """
    own = {file.config.text_column, file.config.target_column} - {""}
    least = max((k for k, name in enumerate(header, 1) if name in own), default=1)
    widths = [len(cells) for cells in rows]
    short = sum(least <= width < len(header) for width in widths)
    text = header.index(file.config.text_column) if file.config.text_column in own & {*header} else 0
    is_broken = text > 0 and (text + 1, len(header) - text) in pairwise(widths)
    if is_broken or not short or short < _MIN_RAGGED * len(rows):
        return 0
    file.note(f"{file.name}: rows have fewer cells than the header; those left out at their end are read as empty")
    return least


def _described(file: SourceFile, header: list[str], rows: list[tuple[int, list[str]]]) -> list[int]:
    """The numbers of the rows below the header that describe the columns: types or units in place of values, which no
    later row has; or questions and ids, as Qualtrics writes them.
    """
    if len(rows) > 1 and all(cell.startswith('{"ImportId"') for cell in filter(None, rows[1][1])) and any(rows[1][1]):
        return [rows[0][0], rows[1][0]]
    needed = {file.config.text_column, file.config.target_column} - {""}
    named = [k for k, name in enumerate(header) if name in needed]
    described = []
    for number, cells in rows:
        own = [cells[k].strip() for k in named if k < len(cells)] or [*map(str.strip, cells)]
        described += [number] if any(own) and all(map(_DESCRIPTION.fullmatch, filter(None, own))) else []
    return described if len(rows) > 1 and described == [rows[0][0]] else []


def _numbered(rows: Iterator[tuple[int, list[str]]]) -> Iterator[Row | RejectedRow]:
    width = 0
    for number, cells in rows:
        width = width or len(cells)
        if len(cells) == width:
            yield number, {f"column_{k}": cell for k, cell in enumerate(cells, 1)}
        else:
            yield RejectedRow(number, "wrong_cells", f"{len(cells)} cells where the first row has {width}", cells)


def _needed(file: SourceFile) -> set[str]:
    return {file.config.text_column.casefold(), file.config.target_column.casefold()} - {""}


def names_columns(file: SourceFile, cells: list[str]) -> bool:
    """Whether cells are the header of a table with the columns of text and target."""
    return bool(needed := _needed(file)) and needed <= _folded(cells)


def _header_index(begin: list[list[str]], needed: set[str]) -> int:
    """The row that names the columns: the first; where that is no header, the first that names those of text and
    target, or below titles, which fill one cell, the first row of a table.
    """
    if not begin or needed & _folded(begin[0]):
        return 0
    named = next((k for k, cells in enumerate(begin) if needed and needed <= _folded(cells)), 0)
    table = next((k for k, cells in enumerate(begin) if sum(map(bool, map(str.strip, cells))) > 1), 0)
    return named or (table if len({len(cells) for cells in begin[table:]}) == 1 else 0)


def _names_again(cells: list[str], header: Set[str], needed: set[str]) -> bool:
    """Whether cells are names of columns: those of the header, or others with those of text and target."""
    own = _folded(cells)
    return len(own) == len(cells) and (own == header or (bool(needed) and needed <= own & header))


def _other_header(file: SourceFile, cells: list[str], header: list[str]) -> list[str]:
    """The columns of a further header with other names for text and target; [] for a row.

    Every cell is a known name of a column, one of them of a text and one of a reference.
    """
    own = {"text": file.config.text_column, "target": file.config.target_column}
    if len(cells) != len(header) or not {*own.values()} <= {*header}:
        return []
    roles = ["target" if (role := role_by_name(name)) in _TARGET_ROLES else role for name in _names(cells)]
    is_header = all(roles) and roles.count("text") == roles.count("target") == 1
    return [own.get(role, name) for role, name in zip(roles, cells, strict=True)] if is_header else []


def _folded(cells: list[str]) -> set[str]:
    return {name.casefold() for name in _names(cells)}


def _names(cells: list[str]) -> list[str]:
    return [cell.strip(_UNSEEN) for cell in cells]


def _header(file: SourceFile, number: int, cells: list[str]) -> list[str]:
    """The names of the columns; those that repeat another one, or are empty, are numbered."""
    names, counts = _names(cells), Counter[str]()
    repeated = {name for name, count in Counter(names).items() if count > 1}
    for k, name in enumerate(names):
        counts[name] += 1
        if name in repeated and (not name or counts[name] > 1):
            names[k] = f"{name}_{counts[name]}" if name else f"column_{k + 1}"
    for name in sorted(repeated - {""}):
        further = f"line {number} names {counts[name]} columns {name!r}; the further ones are {name}_2 and so on"
        file.assume(further, "preprocess.text_column")
    return names


# -- rows inside an object --------------------------------------------------------------------------------------------


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
