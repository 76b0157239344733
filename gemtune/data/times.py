# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Times of rows as comparable numbers, in one notation for the whole column.

Guarantees: times in different notations or units are never compared as if they were the same; the order of rows changes
nothing.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Mapping
from datetime import UTC, datetime, timedelta

from gemtune.errors import UserError

log = logging.getLogger("gemtune")

_NUMBER = re.compile(r"[+-]?\d+(\.\d*)?([eE][+-]?\d+)?", re.ASCII)
_COMPACT = re.compile(r"((19|20)\d{6}(?:\d{4}(?:\d\d)?)?)(?:\.0*)?", re.ASCII)  # 20260131, 202601310930, 20260131.0
_CLOCKS = {0: "", 4: "%H%M", 6: "%H%M%S"}
_SORTED, _MAX_SPAN = "YYMMDD", timedelta(days=30 * 365)
_DIGIT_ORDERS = {
    "DDMMYYYY": "%d%m%Y", "MMDDYYYY": "%m%d%Y", "YYYYDDMM": "%Y%d%m",
    _SORTED: "%y%m%d", "DDMMYY": "%d%m%y", "MMDDYY": "%m%d%y",
}  # fmt: skip
_UTC = re.compile(r"\s*(?:UTC|GMT)$")  # BigQuery exports 2026-01-31 09:30:00 UTC
# 1973 to 2286 since 1970; smaller and larger numbers are just ordered
_UNITS = {
    "seconds": (1e8, 1e10),
    "milliseconds": (1e11, 1e13),
    "microseconds": (1e14, 1e16),
    "nanoseconds": (1e17, 1e19),
}
_REMEDY = "write all times alike, as ISO 8601 times or as numbers of one unit"


def parse_iso(text: str) -> datetime:
    """The time that a text in ISO 8601 is, also with UTC or GMT behind it; raises `ValueError` for another."""
    return datetime.fromisoformat(_UTC.sub("+00:00", text))


def parse_times(line_by_value: Mapping[str, int], column: str) -> dict[str, float]:
    """Each value (with a line that has it) as a number: ISO 8601 as seconds since 1970, other numbers as they are.

    Eight, twelve or fourteen digits are a date or time, if all numbers of the column are. Raises `UserError` with the
    line of a value that is no time, or is in another notation or unit than the others.
    """
    if "" in line_by_value:
        remedy = f"list {column} in preprocess.slice_columns, and give every row a time"
        raise UserError(f"line {line_by_value['']}: no value of {column!r} was read", remedy=remedy)
    values = {value: value.strip() for value in line_by_value}
    numbers = {value for value, text in values.items() if _NUMBER.fullmatch(text)}
    moments = {value: moment for value in numbers if (moment := _compact(values[value]))}
    if len(moments) < len(numbers):
        moments = {}
    for value in values.keys() - numbers:
        try:
            moments[value] = parse_iso(values[value])
        except ValueError:
            raise _error(line_by_value[value], column, f"is {value!r}, not a time") from None
    if numbers and len(numbers) == len(values) > len(moments):
        _refuse_other_orders(values, line_by_value, column)
    if not moments:
        return _one_unit({value: float(values[value]) for value in values}, line_by_value, column)
    if others := numbers - moments.keys():
        number = min(others, key=line_by_value.__getitem__)
        other = min(moments, key=line_by_value.__getitem__)
        detail = f"is {number!r}, but {other!r} in line {line_by_value[other]}"
        raise _error(line_by_value[number], column, detail)
    if 0 < (local := sum(moment.tzinfo is None for moment in moments.values())) < len(moments):
        log.warning("%d of %d times in %r have no offset from UTC and are read as UTC", local, len(moments), column)
    return {value: (m if m.tzinfo else m.replace(tzinfo=UTC)).timestamp() for value, m in moments.items()}


def _compact(text: str) -> datetime | None:
    if not (match := _COMPACT.fullmatch(text)):
        return None
    try:
        return datetime.strptime(match[1], "%Y%m%d%H%M%S"[: len(match[1]) - 2])
    except ValueError:
        return None


def _refuse_other_orders(values: Mapping[str, str], line_by_value: Mapping[str, int], column: str) -> None:
    """Raise `UserError` if all numbers are dates in digits that do not begin with the year: their order is not that of
    time. Of several readings the one with the shortest span is right.
    """
    digits = {text.removesuffix(".0") for text in values.values()}
    spans = {name: span for name, order in _DIGIT_ORDERS.items() if (span := _span_of(digits, order, len(name)))}
    name = min(spans, key=spans.__getitem__, default=_SORTED)
    if name != _SORTED:
        first = min(values, key=line_by_value.__getitem__)
        detail = f"is {first!r}: all values are dates as {name}, which do not sort by time"
        raise _error(line_by_value[first], column, detail)


def _span_of(digits: Collection[str], order: str, width: int) -> timedelta | None:
    """The time between the first and the last of these dates in this order, with a time of day behind them or not; None
    if one is no such date, or for one date or a time too long. Spreadsheet programs drop a zero at the begin.
    """
    padded = [text.zfill(len(text) + len(text) % 2) for text in digits]
    try:
        times = [datetime.strptime(text, order + _CLOCKS[len(text) - width]) for text in padded]
    except (ValueError, KeyError):
        return None
    span = max(times) - min(times)
    return span if min(times).year >= 1950 and timedelta(0) < span < _MAX_SPAN else None


def _one_unit(times: dict[str, float], line_by_value: Mapping[str, int], column: str) -> dict[str, float]:
    """The times; raises `UserError` if their sizes suggest several units."""
    first: dict[str, str] = {}
    for value in sorted(times, key=line_by_value.__getitem__):
        first.setdefault(_unit(value, times[value]), value)
    first.pop("", None)
    if len(first) > 1:
        (unit, value), (other_unit, other) = list(first.items())[:2]
        detail = f"is {value!r} ({unit}), but {other!r} ({other_unit}) in line {line_by_value[other]}"
        raise _error(line_by_value[value], column, detail)
    return times


def _unit(value: str, time: float) -> str:
    """What the size of a number suggests; "" for a number that is just ordered."""
    if _compact(value.strip()):
        return "the digits of a date"
    return next((f"{unit} since 1970" for unit, (low, high) in _UNITS.items() if low <= abs(time) < high), "")


def _error(line: int, column: str, detail: str) -> UserError:
    return UserError(f"line {line}: {column!r} {detail}", remedy=_REMEDY)
