# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Readers of raw rows: JSONL, CSV, TSV and Parquet files, also gzipped, as streams.

Guarantees: every row is returned once, as a value with its first line or as a `RejectedRow` with a reason. A row whose
text is in another file has that file's URI (`sources` downloads it). What makes the rest of a file unreadable (not
UTF-8, a broken archive, an unclosed quote) raises a `UserError` naming the line.
"""

from __future__ import annotations

import csv
import gzip
import itertools
import json
import math
import re
import zlib
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import date, time
from pathlib import Path
from typing import Any, BinaryIO, cast

from gemtune.config import JsonObject
from gemtune.data.example import RejectedRow
from gemtune.errors import UserError

MAX_LINE_BYTES = 64 * 2**20
MAX_DEPTH = 100  # far more than in real rows, and less than Python's limit for writing
_MAX_DETAIL_CHARS = 200
_SCORE = re.compile(r"\s*[0-9]{1,3}\s*")
_URI_PREFIX = "gs://"
_ML_USE = ("training", "train", "validation", "test", "unassigned")
_TOO_DEEP = f"nested more than {MAX_DEPTH} levels deep"
Row = tuple[int, JsonObject]


@dataclass(frozen=True, slots=True)
class FileReference:
    """A line of AutoML Text's import file that refers to a file of rows, all of one ML_USE."""

    line: int
    use: str
    uri: str


@dataclass(frozen=True, slots=True)
class _File:
    path: Path
    name: str


def read_rows(
    path: str | Path, name: str = "", columns: Collection[str] = ()
) -> Iterator[Row | RejectedRow | FileReference]:
    """Rows of a file, by its name: .jsonl, .ndjson, .json (a row a line), .csv, .tsv, .parquet; .gz is unpacked.

    If only NAME.gz exists, it is read instead of NAME. `name` is the file's name in messages, if not the path. A CSV
    whose first row names one of `columns` has a header, whatever else it looks like.
    """
    path = Path(path)
    compressed = path.with_name(f"{path.name}.gz")
    path = compressed if not path.exists() and compressed.is_file() else path
    file = _File(path, name or str(path))
    suffixes = [s.lower() for s in path.suffixes]
    kind = (suffixes[-2] if len(suffixes) > 1 else "") if suffixes and suffixes[-1] == ".gz" else (suffixes or [""])[-1]
    if kind in (".csv", ".tsv"):
        return _csv_rows(file, "," if kind == ".csv" else "\t", columns)
    if kind == ".parquet":
        return _parquet_rows(file)
    if kind in (".jsonl", ".ndjson", ".json", ".txt", ""):
        return _json_rows(file)
    raise UserError(
        f"cannot determine the format of {kind!r}",
        file=file.name,
        remedy="name it .jsonl, .csv, .tsv or .parquet (+ .gz)",
    )


def parse_json(text: str) -> Any:
    """A JSON value, strictly: no duplicate keys, no NaN, no lone surrogates, at most MAX_DEPTH levels; raises
    `ValueError` with the problem.
    """
    try:
        value = json.loads(
            text, object_pairs_hook=_unique_keys, parse_constant=_reject_constant, parse_float=_parse_finite
        )
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None
    if (
        text.count("[") + text.count("{") > MAX_DEPTH
        and isinstance(value, dict | list)
        and _exceeds_depth(value, MAX_DEPTH)
    ):
        raise ValueError(_TOO_DEEP)
    if "\\ud" in text or "\\uD" in text:
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise ValueError("a lone surrogate, which is not valid Unicode") from None
    return value


def _unique_keys(pairs: list[tuple[str, Any]]) -> JsonObject:
    row = dict(pairs)
    if len(row) != len(pairs):
        (duplicate, _), *_ = Counter(name for name, _ in pairs).most_common(1)
        raise ValueError(f"the key {duplicate!r:.80} is duplicated")
    return row


def _parse_finite(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise ValueError(f"the number {digits:.80} is too large")
    return number


def _exceeds_depth(value: Any, levels: int) -> bool:
    """Whether lists and objects are nested deeper than this number of levels."""
    layer = [value]
    for _ in range(levels):
        layer = [inner for outer in layer for inner in _children(outer) if isinstance(inner, dict | list)]
        if not layer:
            return False
    return True


def _children(value: JsonObject | list[Any]) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value


def _reject_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _json_rows(file: _File) -> Iterator[Row | RejectedRow]:
    for number, line in _lines(file):
        if line is None:
            yield RejectedRow(number, "too_long", f"the line is longer than {MAX_LINE_BYTES} bytes", None)
        elif line.strip():
            yield _json_row(number, line)


def _json_row(number: int, line: str) -> Row | RejectedRow:
    try:
        value = parse_json(line)
    except ValueError as error:
        return RejectedRow(number, "invalid_json", _short(str(error)), line.rstrip("\r\n"))
    if not isinstance(value, dict):
        return RejectedRow(number, "wrong_type", f"the row is {_json_type(value)}, not an object", value)
    return number, value


def _csv_rows(file: _File, delimiter: str, columns: Collection[str]) -> Iterator[Row | RejectedRow | FileReference]:
    rows = _cells(file, delimiter)
    begin = list(itertools.islice(rows, 2))
    if begin and _is_automl(begin[0][1], begin[1][1] if len(begin) > 1 else [], columns):
        for number, cells in itertools.chain(begin, rows):
            yield _automl_row(number, cells)
    elif begin:
        header = _header(file, *begin[0])
        for number, cells in itertools.chain(begin[1:], rows):
            if len(cells) != len(header):
                yield RejectedRow(
                    number, "wrong_cells", f"{len(cells)} cells where the header has {len(header)}", cells
                )
            else:
                yield number, dict(zip(header, cells, strict=True))


def _cells(file: _File, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """(line where it begins, cells) of every row that is not blank."""
    reader = csv.reader(_text_lines(file), delimiter=delimiter, strict=True)
    begin = 1
    csv.field_size_limit(MAX_LINE_BYTES)
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            remedy = (
                "look for a quote that is never closed" if "quote" in str(error) or "end of data" in str(error) else ""
            )
            raise UserError(
                f"not {delimiter!r}-separated from here on: {error}", file=file.name, line=begin, remedy=remedy
            ) from None
        number, begin = begin, reader.line_num + 1
        if cells:
            yield number, cells


def _is_automl(first: list[str], second: list[str], columns: Collection[str]) -> bool:
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
    return _has_uri(first) or (len(first) > 2 and bool(second) and second_cell in (*_ML_USE, ""))


def _automl_row(number: int, cells: list[str]) -> Row | RejectedRow | FileReference:
    """A row of AutoML Text's import file: ML_USE (or empty), text or its URI, labels (or sentiment and maximum);
    or ML_USE and the URI of a JSONL file of such rows. Before a URI, ML_USE may be missing.
    """
    cells = ["", *cells] if cells[0].strip().startswith(_URI_PREFIX) else cells
    ml_use, text, *labels = [*cells, ""] if len(cells) == 1 else cells
    uri = text.strip() if text.strip().startswith(_URI_PREFIX) else ""
    if not labels and uri.lower().endswith((".jsonl", ".jsonl.gz")):
        return FileReference(number, ml_use, uri)
    if not labels:
        return RejectedRow(number, "wrong_cells", "an AutoML row needs ML_USE, text and a label", cells)
    row: JsonObject = {"ml_use": ml_use, **({"textGcsUri": uri} if uri else {"textContent": text})}
    scale = [int(label) for label in labels if _SCORE.fullmatch(label)]
    if len(labels) == len(scale) == 2 and scale[0] <= scale[1]:
        row["sentimentAnnotation"] = {"sentiment": scale[0], "sentimentMax": scale[1]}
    elif len(labels) == 1:
        row["classificationAnnotation"] = {"displayName": labels[0]}
    else:
        row["classificationAnnotations"] = [{"displayName": label} for label in labels if label.strip()]
    return number, row


def _has_uri(cells: list[str]) -> bool:
    return len(cells) > 1 and cells[1].strip().startswith(_URI_PREFIX)


def _header(file: _File, number: int, cells: list[str]) -> list[str]:
    names = [cell.strip() for cell in cells]
    if len(set(names)) != len(names):
        raise UserError(f"two columns have the same name: {names}", file=file.name, line=number, remedy="rename one")
    return names


def _parquet_rows(file: _File) -> Iterator[Row | RejectedRow]:
    try:
        import pyarrow.parquet as pq
    except ImportError:
        raise UserError("reading Parquet needs pyarrow", file=file.name, remedy="pip install pyarrow") from None
    from pyarrow import ArrowException

    number = 0
    try:
        with pq.ParquetFile(_existing(file)) as table:
            for batch in table.iter_batches(batch_size=4096):
                for row in batch.to_pylist():
                    number += 1
                    yield json_row(number, row)
    except (ArrowException, OSError, ValueError) as error:
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


def _text_lines(file: _File) -> Iterator[str]:
    for number, line in _lines(file):
        if line is None:
            raise UserError(f"the line is longer than {MAX_LINE_BYTES} bytes", file=file.name, line=number)
        yield line


def _lines(file: _File) -> Iterator[tuple[int, str | None]]:
    """(number, line) of a UTF-8 text file, a leading byte order mark removed; None for a line that is too long."""
    with _open(file) as content:
        number, empty = 0, True
        for number, raw in enumerate(_raw_lines(file, content), 1):
            empty = False
            if raw is None:
                yield number, None
                continue
            if number == 1:
                raw = raw.removeprefix(b"\xef\xbb\xbf")
            try:
                yield number, raw.decode("utf-8")
            except UnicodeDecodeError as error:
                value = raw[error.start]
                hint = (
                    "looks like UTF-16" if number == 1 and raw[:2] in (b"\xff\xfe", b"\xfe\xff") else "save it as UTF-8"
                )
                message = f"byte {error.start + 1} (0x{value:02x}) is not UTF-8"
                raise UserError(message, file=file.name, line=number, remedy=hint) from None
        if empty:
            raise UserError("the file is empty", file=file.name, remedy="provide labelled rows, one per line")


def _raw_lines(file: _File, content: BinaryIO) -> Iterator[bytes | None]:
    number = 0
    try:
        while raw := content.readline(MAX_LINE_BYTES + 1):
            number += 1
            if len(raw) <= MAX_LINE_BYTES:
                yield raw
                continue
            while raw and not raw.endswith(b"\n"):
                raw = content.readline(MAX_LINE_BYTES)
            yield None
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        remedy = "the archive is truncated or damaged: compress the file again"
        raise UserError(
            f"cannot unpack after line {number}: {error}", file=file.name, line=number + 1, remedy=remedy
        ) from None


def _existing(file: _File) -> Path:
    if file.path.is_file():
        return file.path
    what = "is a directory, not a file" if file.path.is_dir() else "no such file"
    raise UserError(what, file=file.name, remedy="check the setting `data`")


def _open(file: _File) -> BinaryIO:
    try:
        content = _existing(file).open("rb")
    except OSError as error:
        raise UserError(f"cannot be opened: {error.strerror}", file=file.name) from None
    return cast(BinaryIO, gzip.GzipFile(fileobj=content)) if file.path.suffix.lower() == ".gz" else content


def _json_type(value: Any) -> str:
    names = {
        dict: "an object",
        list: "a list",
        str: "a string",
        bool: "true or false",
        int: "a number",
        float: "a number",
    }
    return names.get(type(value), "null")


def _short(text: str) -> str:
    return text if len(text) <= _MAX_DETAIL_CHARS else text[:_MAX_DETAIL_CHARS] + "..."
