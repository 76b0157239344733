# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Files in, raw rows out: JSONL, CSV, TSV, each also gzipped, read as a stream.

Promise: every row comes out once, either as a value with the line where it began or as a `Dropped` with a reason.
What makes the rest of a file unreadable (not UTF-8, a broken archive, an unclosed quote) is a `UserError` naming the
line.
"""

from __future__ import annotations

import csv
import gzip
import json
import math
import re
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import date, time
from pathlib import Path
from typing import Any, BinaryIO, cast

from gemtune.data import Dropped
from gemtune.errors import UserError

MAX_LINE_BYTES = 64 * 2**20
MAX_DEPTH = 100  # far beyond any real row, and far below what Python can write again
_SHOWN = 200
_SCORE = re.compile(r"\s*[0-9]{1,3}\s*")
_ML_USE = ("training", "train", "validation", "test", "unassigned")
_TOO_DEEP = f"nested more than {MAX_DEPTH} levels deep"
Row = tuple[int, dict[str, Any]]


def read_rows(path: str | Path) -> Iterator[Row | Dropped]:
    """Rows of a file, by its name: .jsonl, .ndjson, .json (a row a line), .csv, .tsv, .parquet; .gz is unpacked."""
    path = Path(path)
    suffixes = [s.lower() for s in path.suffixes]
    kind = (suffixes[-2] if len(suffixes) > 1 else "") if suffixes and suffixes[-1] == ".gz" else (suffixes or [""])[-1]
    if kind in (".csv", ".tsv"):
        return _csv_rows(path, "," if kind == ".csv" else "\t")
    if kind == ".parquet":
        return _parquet_rows(path)
    if kind in (".jsonl", ".ndjson", ".json", ".txt", ""):
        return _json_rows(path)
    raise UserError(
        f"cannot tell the format of {kind!r}", file=path, remedy="name it .jsonl, .csv, .tsv or .parquet (+ .gz)"
    )


def parse_json(text: str) -> Any:
    """A JSON value, strictly: no duplicate keys, no NaN, no lone surrogates, at most MAX_DEPTH levels; raises
    `ValueError` saying what is wrong.
    """
    try:
        value = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant, parse_float=_finite)
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None
    if text.count("[") + text.count("{") > MAX_DEPTH and isinstance(value, dict | list) and _deeper(value, MAX_DEPTH):
        raise ValueError(_TOO_DEEP)
    if "\\ud" in text or "\\uD" in text:
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise ValueError("a lone surrogate, which no text can hold") from None
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    if len(row) != len(pairs):
        (twice, _), *_ = Counter(name for name, _ in pairs).most_common(1)
        raise ValueError(f"the key {twice!r:.80} stands twice")
    return row


def _finite(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise ValueError(f"the number {digits:.80} is too large")
    return number


def _deeper(value: Any, levels: int) -> bool:
    """Whether lists and objects stand in each other more than so many levels deep."""
    layer = [value]
    for _ in range(levels):
        layer = [inner for outer in layer for inner in _inside(outer) if isinstance(inner, dict | list)]
        if not layer:
            return False
    return True


def _inside(value: dict[str, Any] | list[Any]) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _json_rows(path: Path) -> Iterator[Row | Dropped]:
    for number, line in _lines(path):
        if line is None:
            yield Dropped(number, "too_long", f"the line is longer than {MAX_LINE_BYTES} bytes", None)
        elif line.strip():
            yield _json_row(number, line)


def _json_row(number: int, line: str) -> Row | Dropped:
    try:
        value = parse_json(line)
    except ValueError as error:
        return Dropped(number, "invalid_json", _short(str(error)), line.rstrip("\r\n"))
    if not isinstance(value, dict):
        return Dropped(number, "wrong_type", f"the row is {_json_type(value)}, not an object", value)
    return number, value


def _csv_rows(path: Path, delimiter: str) -> Iterator[Row | Dropped]:
    reader = csv.reader(_text_lines(path), delimiter=delimiter, strict=True)
    header: list[str] | None = None
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
                f"not {delimiter!r}-separated from here on: {error}", file=path, line=begin, remedy=remedy
            ) from None
        number, begin = begin, reader.line_num + 1
        if not cells:
            continue
        if header is None and cells[0].strip().lower() in _ML_USE and len(cells) > 2:
            header = []
        if header == []:
            yield _automl_row(number, cells)
        elif header is None:
            header = _header(path, number, cells)
        elif len(cells) != len(header):
            detail = f"{len(cells)} cells where the header has {len(header)}"
            yield Dropped(number, "wrong_cells", detail, cells)
        else:
            yield number, dict(zip(header, cells, strict=True))


def _automl_row(number: int, cells: list[str]) -> Row | Dropped:
    """A row of AutoML Text's import file, which has no header: ML_USE, text, one label or more (or sentiment,
    maximum).
    """
    if len(cells) < 3:
        return Dropped(number, "wrong_cells", "an AutoML row is ML_USE, text and a label at least", cells)
    use, text, *labels = cells
    if text.startswith("gs://"):
        return Dropped(number, "missing_text", f"the text is in another file, {text!r:.120}, which is not read", cells)
    row: dict[str, Any] = {"ml_use": use, "textContent": text}
    scale = [int(label) for label in labels if _SCORE.fullmatch(label)]
    if len(labels) == len(scale) == 2 and scale[0] <= scale[1]:
        row["sentimentAnnotation"] = {"sentiment": scale[0], "sentimentMax": scale[1]}
    elif len(labels) == 1:
        row["classificationAnnotation"] = {"displayName": labels[0]}
    else:
        row["classificationAnnotations"] = [{"displayName": label} for label in labels if label.strip()]
    return number, row


def _header(path: Path, number: int, cells: list[str]) -> list[str]:
    names = [cell.strip() for cell in cells]
    if len(set(names)) != len(names):
        raise UserError(f"two columns have the same name: {names}", file=path, line=number, remedy="rename one")
    return names


def _parquet_rows(path: Path) -> Iterator[Row | Dropped]:
    try:
        import pyarrow.parquet as pq
    except ImportError:
        raise UserError("reading Parquet needs pyarrow", file=path, remedy="pip install pyarrow") from None
    from pyarrow import ArrowException

    number = 0
    try:
        with pq.ParquetFile(_existing(path)) as file:
            for batch in file.iter_batches(batch_size=4096):
                for row in batch.to_pylist():
                    number += 1
                    yield _json_like(number, row)
    except (ArrowException, OSError, ValueError) as error:
        raise UserError(f"not readable as Parquet: {_short(str(error))}", file=path, line=number + 1) from None


def _json_like(number: int, row: dict[str, Any]) -> Row | Dropped:
    """A row of typed columns as JSON would hold it: times in ISO 8601, decimals as text, absent fields left out."""
    try:
        return number, {name: _plain(value, MAX_DEPTH) for name, value in row.items()}
    except ValueError as error:
        told = {name: f"{value!r:.80}" for name, value in row.items()}
        return Dropped(number, "wrong_type", _short(str(error)), told)


def _plain(value: Any, levels: int) -> Any:
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None  # a data frame writes NaN where nothing stands
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
            return list(value)  # no text; harmless in a column that nobody reads
    return str(value)


def _text_lines(path: Path) -> Iterator[str]:
    for number, line in _lines(path):
        if line is None:
            raise UserError(f"the line is longer than {MAX_LINE_BYTES} bytes", file=path, line=number)
        yield line


def _lines(path: Path) -> Iterator[tuple[int, str | None]]:
    """(number, line) of a UTF-8 text file, a leading byte order mark removed; None for a line that is too long."""
    with _open(_existing(path)) as file:
        number, empty = 0, True
        for number, raw in enumerate(_raw_lines(path, file), 1):
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
                raise UserError(message, file=path, line=number, remedy=hint) from None
        if empty:
            raise UserError("the file is empty", file=path, remedy="give labelled rows, one a line")


def _raw_lines(path: Path, file: BinaryIO) -> Iterator[bytes | None]:
    number = 0
    try:
        while raw := file.readline(MAX_LINE_BYTES + 1):
            number += 1
            if len(raw) <= MAX_LINE_BYTES:
                yield raw
                continue
            while raw and not raw.endswith(b"\n"):
                raw = file.readline(MAX_LINE_BYTES)
            yield None
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        remedy = "the archive is cut off or damaged: make it again"
        raise UserError(
            f"cannot unpack after line {number}: {error}", file=path, line=number + 1, remedy=remedy
        ) from None


def _existing(path: Path) -> Path:
    if path.is_file():
        return path
    what = "is a directory, not a file" if path.is_dir() else "there is no such file"
    raise UserError(what, file=path, remedy="check the setting `data`")


def _open(path: Path) -> BinaryIO:
    try:
        file = path.open("rb")
    except OSError as error:
        raise UserError(f"cannot be opened: {error.strerror}", file=path) from None
    return cast(BinaryIO, gzip.GzipFile(fileobj=file)) if path.suffix.lower() == ".gz" else file


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
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "..."
