# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Rows of one customer or thread: which columns and beginnings are offered as groups, and which are not."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gemtune.config import Preprocess, Task
from gemtune.data.group_columns import MAX_ROWS, GroupColumns
from gemtune.data.row_validation import ReadStats
from gemtune.data.source_rows import stream

Value = Callable[[int, random.Random], Any]


def notes(name: str, value: Value, rows: int = 300, text: Value | None = None) -> list[str]:
    """The notes on rows with a column whose value follows from the row's number."""
    draw, found = random.Random(1), GroupColumns()
    for n in range(rows):
        words = text(n, draw) if text else f"{draw.getrandbits(64)} a text"
        found.add({"text": words, "label": "a", name: value(n, draw)}, words, {"text", "label"})
    return found.notes()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("thread_id", lambda n, _: n // 4),
        ("conversationId", lambda n, _: f"c{n // 3}"),
        ("customer", lambda n, draw: draw.choice(["Anna", "Ben", "Cleo"]) + f" {draw.randrange(40)}"),
        ("Kunde", lambda n, draw: f"Firma {draw.randrange(60)}"),
        ("顧客番号", lambda n, draw: draw.randrange(80)),
        ("고객", lambda n, draw: draw.randrange(80)),
        ("userID", lambda n, draw: draw.randrange(100)),
        ("from", lambda n, draw: f"person{draw.randrange(90)}@example.org"),
        ("src", lambda n, draw: f"u-{draw.randrange(70):05d}"),
        ("reference", lambda n, draw: 700_000 + draw.randrange(60)),
        ("mostly_alone_id", lambda n, _: n // 2 if n < 40 else n),
    ],
)
def test_group_columns_of_identifiers_are_offered(name: str, value: Value) -> None:
    (note,) = notes(name, value)
    assert f"set preprocess.group_column: {name}" in note


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("id", lambda n, _: n),  # unique
        ("uuid", lambda n, draw: f"{draw.getrandbits(64):x}-{draw.getrandbits(64):x}"),
        ("customer_id", lambda n, _: n % 4),  # so few are a category
        ("customer_id", lambda n, _: n // 2 if n < 20 else n),  # few rows
        ("account", lambda n, _: "unknown" if n % 5 else n),  # most rows have one value
        ("language", lambda n, draw: draw.choice(["en", "de", "fr", "es", "it", "nl", "pl", "pt", "sv", "da", "fi"])),
        ("stars", lambda n, draw: draw.randrange(1, 6)),
        ("age", lambda n, draw: draw.randrange(18, 90)),
        ("price", lambda n, draw: draw.randrange(40) / 4),
        ("date", lambda n, draw: f"2026-01-{draw.randrange(1, 29):02d}"),
        ("day", lambda n, draw: f"202601{draw.randrange(1, 29):02d}"),
        ("time", lambda n, draw: f"{draw.randrange(24):02d}:00"),
        ("time", lambda n, _: f"{45000 + n // 4}.{n % 7}1"),  # as spreadsheets count
        ("days", lambda n, _: f"2026-{1 + n // 28:02}-{1 + n % 28:02}"),
        ("日付", lambda n, _: f"令和{1 + n // 12}年{1 + n % 12}月"),
        ("날짜", lambda n, _: f"2026년 {1 + n % 12}월 {1 + n % 28}일"),
        (
            "city",
            lambda n, draw: ("Rome", "Oslo", "Bern", "Lyon", "Graz", "Cork", "Bath", "Kiel", "Riga", "Gent")[n % 10],
        ),
        ("verified", lambda n, draw: draw.random() < 0.5),
        ("number", lambda n, _: f"row-{n:05d}"),
        ("note", lambda n, _: None),
    ],
)
def test_group_columns_of_other_values_are_not_offered(name: str, value: Value) -> None:
    assert notes(name, value) == []


def test_group_columns_offers_the_coarsest_first() -> None:
    found = GroupColumns()
    for n in range(400):
        found.add({"thread": f"t{n // 2}", "customer": f"c{n // 8}"}, f"text {n}", set())
    assert [note.rsplit(" ", 1)[1] for note in found.notes()] == ["customer", "thread"]


def test_group_columns_notes_identifiers_that_begin_alike() -> None:
    (note,) = notes("message", lambda n, _: f"ticket{n // 3}-{n % 3}")
    assert "300 values of the column 'message' differ from another in their last part only (such as 'ticket0'" in note
    assert "set preprocess.group_column" in note


def test_group_columns_notes_texts_that_begin_alike() -> None:
    def threaded(n: int, _: random.Random) -> str:
        return f"Re: your order {n // 3:05d} of the 2nd of May, which I want {n}"

    (note,) = notes("n", lambda n, _: None, text=threaded)
    assert "300 texts begin with the same 40 characters as another text, in 100 sets" in note
    footer: Value = lambda n, _: f"I am writing about a problem with my last bill, number {n}"  # noqa: E731
    assert notes("n", lambda n, _: None, text=footer) == []


@pytest.mark.parametrize(
    ("beginning", "kind"),
    [("[CASE-{}] ", "identifier"), ("#AB{}: ", "identifier"), ("ann{}@example.com wrote: ", "identifier"),
     ("Re: invoice {}\n", "line"), ("注文番号 {}\n", "line"), ("Von: kunde{}@mail.de\n", "line")],
)  # fmt: skip
def test_group_columns_notes_texts_of_one_case(beginning: str, kind: str) -> None:
    (note,) = notes("n", lambda n, _: None, text=lambda n, _: beginning.format(n // 3) + f"it is late {n}")
    assert f"300 texts begin with the same {kind} as another text, in 100 sets" in note


@pytest.mark.parametrize("beginning", ["2026-01-{:02} ", "Hello\n", "{} items: ", "Order ", "word{} "])
def test_group_columns_notes_no_common_beginning(beginning: str) -> None:
    assert notes("n", lambda n, _: None, text=lambda n, _: beginning.format(n // 12) + f"it is late {n}") == []


def test_group_columns_counts_the_first_rows_only() -> None:
    found = GroupColumns()
    for n in range(MAX_ROWS + 100):
        found.add({"thread": n}, "text", set())
    assert found.values["thread"].total() == MAX_ROWS


@pytest.mark.parametrize("setting", [{}, {"group_column": "thread"}, {"slice_columns": ["thread"]}])
def test_read_reports_the_offer_unless_the_column_is_used(tmp_path: Path, setting: dict[str, Any]) -> None:
    path, stats = tmp_path / "rows.jsonl", ReadStats()
    rows = [{"text": f"text number {n}", "label": "ab"[n % 2], "thread": f"t{n // 5}"} for n in range(200)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    assert len(list(stream(str(path), Task(), Preprocess(**setting), stats))) == 200
    offers = [note for note in stats.to_report().notes if "preprocess.group_column: thread" in note]
    assert len(offers) == (not setting)
