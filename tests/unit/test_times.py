# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Times in any one notation keep their order; times in several notations or units are an error that names a line."""

import random
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gemtune.data.times import parse_times
from gemtune.errors import UserError

NOTATIONS = {
    "ISO": lambda t: t.isoformat(),
    "ISO with an offset": lambda t: t.replace(tzinfo=UTC).astimezone(timezone(timedelta(hours=9))).isoformat(),
    "ISO with Z": lambda t: t.isoformat() + "Z",
    "basic": lambda t: t.strftime("%Y%m%dT%H%M%S"),
    "compact": lambda t: t.strftime("%Y%m%d%H%M%S"),
    "compact minutes": lambda t: t.strftime("%Y%m%d%H%M"),
    "compact date of a data frame": lambda t: t.strftime("%Y%m%d.0"),
    "compact date": lambda t: t.strftime("%Y%m%d"),
    "date": lambda t: t.strftime("%Y-%m-%d"),
    "seconds": lambda t: str(t.replace(tzinfo=UTC).timestamp()),
    "milliseconds": lambda t: str(int(t.replace(tzinfo=UTC).timestamp()) * 1000),
    "nanoseconds": lambda t: str(int(t.replace(tzinfo=UTC).timestamp()) * 10**9),
    "ordinal": lambda t: str(t.toordinal()),
}
TIMES = st.lists(st.datetimes(datetime(1975, 1, 1), datetime(2090, 1, 1)), min_size=2, max_size=8, unique=True)
ISO = {
    "compact minutes",
    "compact date of a data frame",
    "ISO",
    "ISO with an offset",
    "ISO with Z",
    "basic",
    "compact",
    "compact date",
    "date",
}


def lines(values: list[str]) -> dict[str, int]:
    return {value: line for line, value in enumerate(values, 1)}


@pytest.mark.parametrize("notation", NOTATIONS)
@given(times=TIMES, seed=st.integers(0, 9))
def test_parse_times_keeps_the_order_of_a_notation(notation: str, times: list[datetime], seed: int) -> None:
    times = sorted(time.replace(microsecond=0) for time in times)
    values = [NOTATIONS[notation](time) for time in times]
    parsed = parse_times(lines(random.Random(seed).sample(values, len(values))), "at")
    assert [parsed[value] for value in values] == sorted(parsed[value] for value in values)


@pytest.mark.parametrize("first", NOTATIONS)
@given(times=TIMES)
@settings(max_examples=5)
def test_parse_times_never_compares_different_notations(first: str, times: list[datetime]) -> None:
    times = [datetime(2026, 1, 2), *sorted(time.replace(microsecond=0, hour=0) for time in times)]
    for second in NOTATIONS:
        check_two_notations(first, second, times)


def check_two_notations(first: str, second: str, times: list[datetime]) -> None:
    values = [NOTATIONS[(first, second)[k % 2]](time) for k, time in enumerate(times)]
    if first == second or {first, second} <= ISO:
        parsed = parse_times(lines(values), "at")
        days = [round(parsed[value] / 86400) for value in values]
        assert {first, second} - ISO or days == sorted(days) or times[0] > times[1]
    elif not {"ordinal"} & {first, second} or {x for x in (first, second) if "compact" not in x} & ISO:
        with pytest.raises(UserError, match=r"line \d+: 'at' is '.*'.*, but '.*' .*in line \d+"):
            parse_times(lines(values), "at")


@pytest.mark.parametrize("value", ["nan", "NaN", "inf", "soon", "1_000", "2026-13-01", "²"])
def test_parse_times_names_what_is_no_time(value: str) -> None:
    with pytest.raises(UserError, match=r"line 2: 'at' is '.*', not a time"):
        parse_times({"2026-01-01": 1, value: 2}, "at")
    with pytest.raises(UserError, match="not a time"):
        parse_times({"5": 1, value: 2}, "at")


def test_parse_times_reads_compact_dates_beside_others_as_dates() -> None:
    parsed = parse_times(lines(["2026-01-01T00:00:00", "20260102", "2025-12-31"]), "at")
    assert sorted(parsed, key=parsed.__getitem__) == ["2025-12-31", "2026-01-01T00:00:00", "20260102"]
    assert parse_times(lines(["20260102", "5"]), "at") == {"20260102": 20260102, "5": 5}


def test_parse_times_notes_times_without_an_offset(caplog: pytest.LogCaptureFixture) -> None:
    parse_times(lines(["2026-01-01T00:00:00+09:00", "2026-01-01T00:00:00"]), "at")
    assert "1 of 2 times in 'at' have no offset from UTC and are read as UTC" in caplog.text


def test_parse_times_names_the_setting_that_reads_the_column() -> None:
    with pytest.raises(UserError, match="line 3: no value of 'at' was read") as caught:
        parse_times({"2024-01-01": 1, "": 3}, "at")
    assert "list at in preprocess.slice_columns" in str(caught.value)
    with pytest.raises(UserError) as caught:
        parse_times({"2024-01-01": 1, "soon": 3}, "at")
    assert "slice_columns" not in str(caught.value)


@pytest.mark.parametrize("order", ["%d%m%Y", "%m%d%Y", "%Y%d%m", "%d%m%y", "%m%d%y", "%d%m%Y%H%M", "%m%d%y%H%M%S"])
@pytest.mark.parametrize("is_spreadsheet", [False, True])
def test_parse_times_refuses_digits_that_do_not_sort_by_time(order: str, is_spreadsheet: bool) -> None:
    times = [datetime(2025, 11, 3, 9, 5) + timedelta(days=17 * n) for n in range(20)]
    values = [time.strftime(order).lstrip("0" if is_spreadsheet else "") for time in times]
    with pytest.raises(UserError, match=r"line 1: 'when' is '\d+': all values are dates as [DMY]+"):
        parse_times(lines(values), "when")


@pytest.mark.parametrize("first", [20_260_001, 10_100_000, 1_769_590_800, 101_001, 46_050, 1])
def test_parse_times_orders_numbers_that_are_no_dates(first: int) -> None:
    values = [str(first + 37 * n) for n in range(40)]
    assert sorted(parse_times(lines(values), "when"), key=parse_times(lines(values), "when").__getitem__) == values
