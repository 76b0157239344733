# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Readers of raw rows: JSONL, JSON lists (in memory), CSV, TSV, .xlsx and Parquet files, also gzipped, as streams.

Guarantees: every row is returned once, as a value with its first line or as a `RejectedRow` with a reason. What a file
does not say is decided for the whole file, never row by row. A row whose text is in another file has that file's URI
(`sources` downloads it). What makes the rest of a file unreadable (a byte that its encoding does not have, a broken
archive, an unclosed quote) raises a `UserError` naming the line.
"""

from __future__ import annotations

import csv
import itertools
import json
import logging
import math
import re
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from pathlib import Path
from typing import Any

from pydantic_core import from_json

from gemtune.config import JsonObject, Preprocess, Task
from gemtune.data.example import RejectedRow, Row
from gemtune.data.tables import HEAD_LINES, is_scalar, names_columns, nested_rows, table_rows
from gemtune.data.text_files import (
    DELIMITERS,
    MAX_LINE_CHARS,
    Note,
    SourceFile,
    read_lines,
    recognize_dialect,
    require_rows,
    separator_line,
)
from gemtune.errors import UserError

log = logging.getLogger("gemtune")

MAX_DEPTH = 100  # far more than in real rows, and less than Python's limit for writing
_MAX_DETAIL_CHARS = 200
# a text as a formula, which keeps spreadsheet programs from changing it
_FORMULA = re.compile(r'\A="(.*)"\Z', re.DOTALL)
_FASTTEXT = "__label__"
_LIST_OF_LISTS = re.compile(r"\[\s*\[")
_BLANK = re.compile(r"[ \t\r\n]*")
_AFTER_OBJECT = re.compile(r"\}\s*,\s*\Z")  # of a list that was cut into lines
_SCORE = re.compile(r"\s*[0-9]{1,3}\s*")
_URI_PREFIX = "gs://"
_ML_USE = ("training", "train", "validation", "test", "unassigned")
_FLAT, _SPACED_COLONS = {str, int, bool, type(None)}, (" :", "\t:", "\r:", "\n:")
_TOO_DEEP = f"nested more than {MAX_DEPTH} levels deep"


@dataclass(frozen=True, slots=True)
class FileReference:
    """A line of AutoML Text's import file that refers to a file of rows, all of one ML_USE."""

    line: int
    use: str
    uri: str


def read_rows(
    path: str | Path,
    name: str = "",
    task: Task | None = None,
    config: Preprocess | None = None,
    note: Note = log.warning,
) -> Iterator[Row | RejectedRow | FileReference]:
    """Rows of a file, by its name: .jsonl, .ndjson, .json (a row a line, or one list), .csv, .tsv, .xlsx, .parquet; .gz
    is unpacked.

    If only NAME.gz exists, it is read instead of NAME. `name` is the file's name in messages, if not the path. A table
    whose first row names the text or target column of `config` has a header, whatever else it looks like. `note`
    receives what was assumed about the file.
    """
    path = Path(path)
    compressed = path.with_name(f"{path.name}.gz")
    path = compressed if not path.exists() and compressed.is_file() else path
    file = SourceFile(path, name or str(path), config or Preprocess(), note)
    suffixes = [s.lower() for s in path.suffixes]
    kind = (suffixes[-2] if len(suffixes) > 1 else "") if suffixes and suffixes[-1] == ".gz" else (suffixes or [""])[-1]
    if kind in (".csv", ".tsv"):
        return _csv_rows(file, "," if kind == ".csv" else "\t", task or Task())
    if kind in (".xlsx", ".xlsm"):
        return table_rows(file, _worksheet_cells(file))
    if kind == ".parquet":
        return _parquet_rows(file)
    if kind in (".jsonl", ".ndjson", ".json", ".txt", ""):
        return _json_rows(file)
    require_rows(file)
    raise UserError(
        f"cannot determine the format of {kind!r}",
        file=file.name,
        remedy="save it as .jsonl, .csv, .tsv, .xlsx or .parquet (+ .gz)",
    )


def parse_json(text: str) -> Any:
    """A JSON value, strictly: no duplicate keys, no NaN, no lone surrogates, at most MAX_DEPTH levels; raises
    `ValueError` with the problem.
    """
    if (row := _flat_row(text)) is not None:
        return row
    if text.startswith("\ufeff"):
        raise ValueError("it begins with a byte order mark: files were joined here")
    try:
        value = _DECODER.decode(text)
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None
    if text.count("[") + text.count("{") > MAX_DEPTH:
        _plain(value, MAX_DEPTH)  # refuses what is nested too deep
    if "\\ud" in text or "\\uD" in text:
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise ValueError("a lone surrogate, which is not valid Unicode") from None
    return value


def _flat_row(text: str) -> JsonObject | None:
    """The object in a text that has nothing but texts, whole numbers, true, false and null, and certainly no key twice;
    None for all else, which the strict decoder reads in three times the time.
    """
    try:
        row = from_json(text, allow_inf_nan=False)
    except (ValueError, TypeError):  # a TypeError for a lone surrogate
        return None
    if type(row) is not dict or not _FLAT.issuperset(map(type, row.values())):
        return None
    keys = text.count(":")  # at least as many as keys
    if keys != len(row):
        keys = text.count('":') + sum(map(text.count, _SPACED_COLONS))
    return row if keys == len(row) else None


def _unique_keys(pairs: list[tuple[str, Any]]) -> JsonObject:
    row = dict(pairs)
    if len(row) != len(pairs):
        (duplicate, _), *_ = Counter(name for name, _ in pairs).most_common(1)
        raise ValueError(f"the key {duplicate!r:.80} is duplicated")
    return row


def parse_finite(digits: str) -> float:
    """The number; raises `ValueError` if it is too large."""
    number = float(digits)
    if math.isinf(number):
        raise ValueError(f"the number {digits:.80} is too large")
    return number


def reject_constant(name: str) -> None:
    """Raise `ValueError`: NaN and Infinity are Python's, not JSON's."""
    raise ValueError(f"{name} is not JSON")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_unique_keys, parse_constant=reject_constant, parse_float=parse_finite
)  # created once: it reads every row


def _json_rows(file: SourceFile) -> Iterator[Row | RejectedRow]:
    lines: Iterator[tuple[int, str | None]] = (
        item for item in read_lines(file) if item[1] is None or not item[1].isspace()
    )
    begin = list(itertools.islice(lines, 2))
    first = begin[0][1] if begin else None
    if first is not None and _is_one_value(first.strip(), len(begin) == 1, file.config.text_column):
        yield from _value_rows(file, begin[0][0])
        return
    read = _fasttext_row if first and first.lstrip().startswith(_FASTTEXT) else _json_row
    for number, line in itertools.chain(begin, lines):
        if line is None:
            yield RejectedRow(number, "too_long", f"the line is longer than {MAX_LINE_CHARS} characters", None)
        else:
            yield read(number, line)


def _is_one_value(first: str, is_only: bool, text_column: str) -> bool:
    """Whether a file with this first (or only) line is one list, or has objects on several lines or several in one, or
    one with rows in it; not where lines are rows, or damaged.
    """
    if not first.startswith(("[", "{")):
        return False
    if first == "{" or (is_only and first[0] == "["):
        return True
    try:
        value = parse_json(first)
    except ValueError as error:
        return first[0] == "[" or (is_only and "Extra" in str(error))
    return is_only and bool(nested_rows(value, text_column))


def _fasttext_row(number: int, line: str) -> Row | RejectedRow:
    """The row of a line of fastText's: labels with a prefix, then the text."""
    words = line.split()
    labels = list(itertools.takewhile(lambda word: word.startswith(_FASTTEXT), words))
    if not labels:
        return RejectedRow(number, "missing_target", f"the line has no {_FASTTEXT}", line.rstrip("\r\n"))
    text = line.split(maxsplit=len(labels))[len(labels) :]
    return number, {
        "label": "; ".join(label.removeprefix(_FASTTEXT) for label in labels),
        "text": "".join(text).rstrip("\r\n"),
    }


def _value_rows(file: SourceFile, number: int) -> Iterator[Row | RejectedRow]:
    """The items of a file that is one JSON list, or has objects on several lines, begun at line `number`; raises
    `UserError` where it is broken. Items that share one line are numbered.
    """
    text = "".join(_text_lines(file))
    if rows := _rows_within(file, text):
        yield from rows
        return
    items = itertools.count(1) if "\n" not in text.strip() else None
    decoder, item_line, counted = json.JSONDecoder(), 1, 0
    is_list = text.lstrip().startswith("[")
    position = text.index("[") + 1 if is_list else 0
    while True:
        position = _BLANK.match(text, position).end()  # type: ignore[union-attr]  # it matches nothing, too
        item_line, counted = item_line + text.count("\n", counted, position), position
        if text[position : position + 1] == ("]" if is_list else "") and not text[position + 1 :].strip():
            return
        try:
            _, end = decoder.raw_decode(text, position)
            position, item = _BLANK.match(text, end).end(), text[position:end]  # type: ignore[union-attr]
            if is_list and text[position : position + 1] not in (",", "]"):
                raise ValueError("a comma or ] is missing after it")
        except (ValueError, RecursionError) as error:
            problem = _TOO_DEEP if isinstance(error, RecursionError) else _short(str(error))
            remedy = "write a complete list, or one row per line as .jsonl: jq -c . FILE > rows.jsonl"
            raise UserError(
                f"the JSON {'list' if is_list else 'object'} that begins at line {number} is broken: {problem}",
                file=file.name,
                line=item_line,
                remedy=remedy,
            ) from None
        yield _json_row(next(items) if items else item_line, item)
        position += text[position : position + 1] == ","


def _rows_within(file: SourceFile, text: str) -> Iterator[Row | RejectedRow] | None:
    """The rows in one JSON value that is no list of rows: a table of lists, or an object with the rows in it; else
    None.
    """
    begin = text.lstrip()
    if not begin.startswith("{") and not _LIST_OF_LISTS.match(begin):
        return None
    try:
        value = parse_json(text)
    except ValueError:  # also for several objects
        return None
    if isinstance(value, list):
        if not all(isinstance(row, list) and all(map(is_scalar, row)) for row in value):
            return None
        return table_rows(file, ((n, [*map(_cell_text, row)]) for n, row in enumerate(value, 1)))
    if not (rows := nested_rows(value, file.config.text_column)):
        return None
    file.note(f"{file.name}: it is one object, with {len(rows)} rows in it")
    return iter([*enumerate(rows, 1)])


def _json_row(number: int, line: str) -> Row | RejectedRow:
    try:
        value = parse_json(_AFTER_OBJECT.sub("}", line))
    except ValueError as error:
        return RejectedRow(number, "invalid_json", _short(str(error)), line.rstrip("\r\n"))
    if not isinstance(value, dict):
        return RejectedRow(number, "wrong_type", f"the row is {_json_type(value)}, not an object", value)
    return number, value


def _csv_rows(file: SourceFile, default: str, task: Task) -> Iterator[Row | RejectedRow | FileReference]:
    columns = [name for name in (file.config.text_column, file.config.target_column) if name]
    rows = _cells(file, default, columns)
    begin = list(itertools.islice(rows, 2))
    if begin and begin[0][1][0].lstrip().startswith(("{", "[{")):
        raise UserError("the lines are JSON, not a table", file=file.name, remedy="name it .jsonl, or .json for a list")
    if begin and _is_automl(begin[0][1], begin[1][1] if len(begin) > 1 else [], columns):
        has_scores = _has_scores(file, _cells(file, default, columns), task)
        for number, cells in itertools.chain(begin, rows):
            yield _automl_row(number, cells, has_scores)
    else:
        yield from table_rows(file, itertools.chain(begin, rows))


def _cells(file: SourceFile, default: str, columns: Sequence[str]) -> Iterator[tuple[int, list[str]]]:
    """(line where it begins, cells) of every row that is not blank."""
    lines = _text_lines(file)
    head = list(itertools.islice(lines, HEAD_LINES))
    if separator := separator_line(head[0]) if head else "":
        head[0] = "\n"
    csv.field_size_limit(MAX_LINE_CHARS)
    marks = file.config.delimiter or separator or default + DELIMITERS.replace(default, "")
    delimiter, quoting = recognize_dialect(file, head, marks, columns)
    reader = csv.reader(itertools.chain(head, lines), delimiter=delimiter, strict=True, **quoting)
    has_formulas = any(f'{mark}="' in line or line.startswith('="') for line in head for mark in (delimiter, '"'))
    begin = 1
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            remedy = "look for a quote that is never closed, or not doubled within a cell; or set preprocess.delimiter"
            raise UserError(
                f"not {delimiter!r}-separated from here on: {error}", file=file.name, line=begin, remedy=remedy
            ) from None
        number, begin = begin, reader.line_num + 1
        if cells and has_formulas:
            cells = [_FORMULA.sub(r"\1", cell) for cell in cells]
        if cells:
            yield number, cells


def _worksheet_cells(file: SourceFile) -> Iterator[tuple[int, list[str]]]:
    """(row number, cells) of every row of a worksheet that is not blank; cells as text, as a CSV of it has them."""
    import openpyxl

    try:
        with file.open() as content:
            book = openpyxl.load_workbook(content, read_only=True, data_only=True)
            titles = [worksheet.title for worksheet in book.worksheets]
            fits = {title: _fit(file, book[title]) for title in titles} if len(titles) > 1 else {}
            name = file.config.worksheet or max(fits, key=fits.__getitem__, default=titles[0])
            if name not in titles:
                raise UserError(
                    f"no worksheet {name!r}", file=file.name, remedy=f"preprocess.worksheet: one of {titles}"
                )
            if len(titles) > 1 and not file.config.worksheet:
                is_largest = fits[name][1] == max(size for _, size in fits.values())
                why = "the largest" if is_largest else "by its columns, one"
                file.assume(f"the worksheet {name!r} is read, {why} of {len(titles)}", "preprocess.worksheet")
            values = book[name].iter_rows(values_only=True)
            rows = ((number, _filled(map(_cell_text, row))) for number, row in enumerate(values, 1))
            begin = list(itertools.islice(rows, HEAD_LINES))
            width = max((len(cells) for _, cells in begin), default=0)
            for number, cells in itertools.chain(begin, rows):
                if cells:
                    yield number, [*cells, *[""] * (width - len(cells))]
    except (zipfile.BadZipFile, OSError, EOFError, KeyError, IndexError, ValueError, TypeError, SyntaxError) as error:
        _require_suffix(file)
        remedy = "save it as .xlsx again, or as CSV UTF-8"
        raise UserError(f"not readable as .xlsx: {_short(str(error))}", file=file.name, remedy=remedy) from None


def _fit(file: SourceFile, worksheet: Any) -> tuple[bool, int]:
    """Whether the first rows of a worksheet name the columns of text and target; and its size."""
    begin = worksheet.iter_rows(max_row=HEAD_LINES, values_only=True)
    named = any(names_columns(file, [*map(_cell_text, row)]) for row in begin)
    return named, (worksheet.max_row or 0) * (worksheet.max_column or 0)


def _filled(cells: Iterable[str]) -> list[str]:
    """The cells up to the last that is filled."""
    listed = list(cells)
    while listed and not listed[-1]:
        listed.pop()
    return listed


def _require_suffix(file: SourceFile) -> None:
    """Raise `UserError` if a file that could not be read is another kind of file than its name says."""
    suffix = file.path.suffix.lower()
    require_rows(file, suffix)
    with file.open() as content:
        start = content.read(4096)
    if start and 0 not in start:
        raise UserError(f"not {suffix}: it is text", file=file.name, remedy="name it .csv, .tsv or .jsonl")


def _cell_text(value: Any) -> str:
    if isinstance(value, datetime) and value.time() == time.min:  # a day, in a worksheet
        value = value.date()
    value = _plain(value, MAX_DEPTH)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return "" if value is None else str(value)


def _is_automl(first: list[str], second: list[str], columns: Sequence[str]) -> bool:
    """Whether a CSV is AutoML Text's, which has no header, by its first two rows.

    Its first row begins with an ML_USE, a URI, or an empty cell. A header may begin with an empty cell too (the index
    of a data frame), but then it names one of `columns`, or the row below does not begin with an ML_USE.
    """
    first_cell = first[0].strip().lower()
    if any(cell.strip() in columns for cell in first):
        return False
    if first_cell.startswith(_URI_PREFIX):
        return len(first) > 1
    if first_cell:
        return first_cell in _ML_USE and (len(first) > 2 or _has_uri(first))
    second_cell = second[0].strip().lower() if second else ""
    is_open = len(first) > 2 and any(first[-1:])  # a table of Markdown has an empty cell at both ends
    return _has_uri(first) or (is_open and bool(second) and second_cell in (*_ML_USE, ""))


def _has_scores(file: SourceFile, rows: Iterator[tuple[int, list[str]]], task: Task) -> bool:
    """Whether two numbers after the text are a sentiment and its maximum, not two labels: by the task, else by all rows
    of the file: the maximum is the same in each.
    """
    if task.label_separator or task.kind == "sentiment":
        return not task.label_separator
    maxima = set[str]()
    for _, cells in rows:
        labels = _automl_cells(cells)[2:]
        if not labels:
            continue
        if len(labels) != 2 or not all(map(_SCORE.fullmatch, labels)) or int(labels[0]) > int(labels[1]):
            return False
        maxima.add(labels[1].strip())
        if len(maxima) > 1:
            return False
    for maximum in maxima:
        file.assume(f"the last two cells are a sentiment and its maximum ({maximum})", "task.label_separator")
    return bool(maxima)


def _automl_cells(cells: list[str]) -> list[str]:
    """ML_USE (or ""), text or URI, labels."""
    cells = ["", *cells] if cells[0].strip().startswith(_URI_PREFIX) else cells
    return [*cells, ""] if len(cells) == 1 else cells


def _automl_row(number: int, cells: list[str], has_scores: bool) -> Row | RejectedRow | FileReference:
    """A row of AutoML Text's import file: ML_USE (or empty), text or its URI, labels (or sentiment and maximum);
    or ML_USE and the URI of a JSONL file of such rows. Before a URI, ML_USE may be missing.
    """
    ml_use, text, *labels = _automl_cells(cells)
    uri = text.strip() if text.strip().startswith(_URI_PREFIX) else ""
    if not labels and uri.lower().endswith((".jsonl", ".jsonl.gz")):
        return FileReference(number, ml_use, uri)
    if not labels:
        return RejectedRow(number, "wrong_cells", "an AutoML row needs ML_USE, text and a label", cells)
    row: JsonObject = {"ml_use": ml_use, **({"textGcsUri": uri} if uri else {"textContent": text})}
    if has_scores and len(labels) == 2 and all(map(_SCORE.fullmatch, labels)):
        row["sentimentAnnotation"] = {"sentiment": int(labels[0]), "sentimentMax": int(labels[1])}
    elif len(labels) == 1:
        row["classificationAnnotation"] = {"displayName": labels[0]}
    else:
        row["classificationAnnotations"] = [{"displayName": label} for label in labels if label.strip()]
    return number, row


def _has_uri(cells: list[str]) -> bool:
    return len(cells) > 1 and cells[1].strip().startswith(_URI_PREFIX)


def _parquet_rows(file: SourceFile) -> Iterator[Row | RejectedRow]:
    import pyarrow.parquet as pq
    from pyarrow import ArrowException

    number = 0
    try:
        with pq.ParquetFile(file.existing()) as table:
            for batch in table.iter_batches(batch_size=4096):
                for row in batch.to_pylist():
                    number += 1
                    yield json_row(number, row)
    except (ArrowException, OSError, ValueError) as error:
        _require_suffix(file)
        raise UserError(f"not readable as Parquet: {_short(str(error))}", file=file.name, line=number + 1) from None


def json_row(number: int, row: JsonObject) -> Row | RejectedRow:
    """A row of typed columns (Parquet, BigQuery) in JSON's types: times in ISO 8601, decimals as text, fields without a
    value left out.
    """
    try:
        return number, {name: _plain(value, MAX_DEPTH) for name, value in row.items()}
    except ValueError as error:
        shown = {name: f"{value!r:.80}" for name, value in row.items()}
        return RejectedRow(number, "wrong_type", _short(str(error)), shown)


def _plain(value: Any, levels: int) -> Any:
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None  # a data frame writes NaN for missing values
    if levels == 0:
        raise ValueError(_TOO_DEEP)
    if isinstance(value, dict):  # a typed column gives every row every field of any row
        return {str(key): _plain(inner, levels - 1) for key, inner in value.items() if inner is not None}
    if isinstance(value, list | tuple):
        return [_plain(inner, levels - 1) for inner in value]
    if isinstance(value, date | time):  # a datetime is a date
        return value.isoformat()
    if isinstance(value, bytes):
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError:
            return list(value)  # not a text; harmless in an unused column
    return str(value)


def _text_lines(file: SourceFile) -> Iterator[str]:
    for number, line in read_lines(file):
        if line is None:
            raise UserError(f"the line is longer than {MAX_LINE_CHARS} characters", file=file.name, line=number)
        yield line


def _json_type(value: Any) -> str:
    names = {list: "a list", str: "a string", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")


def _short(text: str) -> str:
    return text if len(text) <= _MAX_DETAIL_CHARS else text[:_MAX_DETAIL_CHARS] + "..."
