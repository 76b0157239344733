# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Tables as people write them: headers, rows of another width, rows that are no rows, how cells are quoted."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from bench.odd_tables import misread
from gemtune.config import Preprocess
from gemtune.data import readers
from gemtune.data.example import RejectedRow


def test_read_csv_numbers_columns_without_a_name_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("\u200btext , text,,label,\na,b,c,d,e\n")
    notes: list[str] = []
    assert list(readers.read_rows(tmp_path / "a.csv", note=notes.append)) == [
        (2, {"text": "a", "text_2": "b", "column_3": "c", "label": "d", "column_5": "e"})
    ]
    assert "names 2 columns 'text'" in notes[0]


def test_read_worksheet_is_as_wide_as_its_widest_first_rows(tmp_path: Path) -> None:
    table = [["text", None], ["a", "b"], [], ["c", "d"]]
    pd.DataFrame(table).to_excel(tmp_path / "a.xlsx", header=False, index=False)
    assert [row[1] for row in readers.read_rows(tmp_path / "a.xlsx") if isinstance(row, tuple)] == [
        {"text": "a", "": "b"},
        {"text": "c", "": "d"},
    ]


def table_of(folder: Path, name: str, content: str) -> tuple[list[tuple[str, str]], list[tuple[int, str]], list[str]]:
    """Text and label of each row that is read, line and reason of the others, and the notes."""
    path, notes = folder / name, list[str]()
    path.write_text(content, encoding="utf-8", newline="")
    items = list(readers.read_rows(path, config=Preprocess(), note=notes.append))
    rows = [(item[1]["text"], item[1]["label"]) for item in items if isinstance(item, tuple)]
    return rows, [(item.line, item.reason) for item in items if isinstance(item, RejectedRow)], notes


@pytest.mark.parametrize("ends", [["", ",", ",,", ",x,y"], ["", ",x"], [",x,y", ",x,y,", ",x,y,,"]])
def test_read_csv_takes_cells_left_out_at_the_end_as_empty(tmp_path: Path, ends: list[str]) -> None:
    lines = [f"text {n},label{ends[n % len(ends)]}" for n in range(12)]
    rows, rejected, notes = table_of(tmp_path, "a.csv", "\n".join(["text,label,note,place", *lines]))
    assert rows == [(f"text {n}", "label") for n in range(12)]
    assert rejected == []
    assert ["rows have fewer cells" in note for note in notes] == [True] * ("" in ends)


@pytest.mark.parametrize("every", [1, 2, 7])
def test_read_csv_takes_no_half_of_a_broken_row_for_a_row(tmp_path: Path, every: int) -> None:
    rows = [f"{n},text {n}\nof row {n},label,x" if n % every == 0 else f"{n},text {n},label,x" for n in range(40)]
    read_rows, rejected, _ = table_of(tmp_path, "a.csv", "\n".join(["id,text,label,note", *rows]))
    assert {label for _, label in read_rows} <= {"label"}
    assert len(rejected) == 2 * len(range(0, 40, every))


@pytest.mark.parametrize(
    ("described", "names"),
    [
        ([["(free text)", "(class)", "EUR"]], "text,label,amount"),
        ([["string", "VARCHAR(20)", "float64"]], "text,label,amount"),
        ([["-", "-", "EUR"]], "text,label,amount"),
        ([["----------", "------", "---"]], "text,label,amount"),
        ([["", ":---", "---:", ""]], ",text,label,"),
        ([["Open-Ended Response", "Response", ""]], "text,label,amount"),
        ([["What is it?", "Which one?", ""], ['{"ImportId":"Q1"}', '{"ImportId":"Q2"}', ""]], "text,label,amount"),
    ],
)
@pytest.mark.parametrize("suffix", [".csv", ".tsv"])
def test_read_table_rejects_rows_that_describe_the_columns(
    tmp_path: Path, described: list[list[str]], names: str, suffix: str
) -> None:
    stream = io.StringIO()
    data = [[f"text {n}", "-" if n == 5 else "label", "1"] for n in range(12)]
    data = [["", *row[:2], ""] for row in data] if names.startswith(",") else data
    csv.writer(stream, delimiter="," if suffix == ".csv" else "\t").writerows([names.split(","), *described, *data])
    rows, rejected, _ = table_of(tmp_path, f"a{suffix}", stream.getvalue())
    assert rows == [tuple(row[1:3] if names.startswith(",") else row[:2]) for row in data]
    assert rejected == [(2 + n, "repeated_header") for n in range(len(described))]


@pytest.mark.parametrize(
    "names",
    [("text", "label"), ("comment", "category"), ("category", "comment"), ("分類", "本文"), ("Kategorie", "Text")],
)
def test_read_csv_follows_a_header_in_the_middle(tmp_path: Path, names: tuple[str, str]) -> None:
    is_swapped = names[0] in ("category", "分類", "Kategorie")
    first = [f"{n},text {n},label" for n in range(9)]
    second = [f"{n},label,more {n}" if is_swapped else f"{n},more {n},label" for n in range(9)]
    lines = ["id,text,label", *first, ",".join(["no", *names]), *second]
    rows, rejected, _ = table_of(tmp_path, "a.csv", "\n".join(lines))
    assert rows == [(f"{word} {n}", "label") for word in ("text", "more") for n in range(9)]
    assert rejected == [(11, "repeated_header")]


@pytest.mark.parametrize("row", [("email", "channel"), ("message", "bug"), ("a text", "label"), ("label", "a text")])
def test_read_csv_takes_no_row_of_values_for_a_header(tmp_path: Path, row: tuple[str, str]) -> None:
    assert table_of(tmp_path, "a.csv", f"text,label\na b,c\n{','.join(row)}\n")[:2] == ([("a b", "c"), row], [])


def test_read_csv_misreads_no_table_however_it_is_written(tmp_path: Path) -> None:
    assert {seed: wrong for seed in range(200) if any(wrong := misread(tmp_path, seed))} == {}


@pytest.mark.parametrize("first", [("[Music]", "[noise]"), ("string", "label"), ("-", "label")])
def test_read_csv_keeps_a_first_row_that_is_like_others(tmp_path: Path, first: tuple[str, str]) -> None:
    pairs = [first, ("a text", "label"), ("[Song]", "[noise]")]
    rows, rejected, _ = table_of(tmp_path, "a.csv", "\n".join(map(",".join, [("text", "label"), *pairs])))
    assert (rows, rejected) == (pairs, [])


TEXTS = ['it\'s "fine", really', 'a 5" disk', "C:\\temp", 'a "b', 'c" d', "plain"]
QUOTINGS: list[tuple[str, dict[str, Any], str]] = [
    (".csv", {"quotechar": "'", "quoting": csv.QUOTE_ALL}, "quoted in apostrophes"),
    (".csv", {"quotechar": "'", "quoting": csv.QUOTE_ALL, "escapechar": "\\", "doublequote": False}, "in apostrophes"),
    (".csv", {"escapechar": "\\", "doublequote": False}, "with a backslash before quotes"),
    (".tsv", {"quoting": csv.QUOTE_NONE, "quotechar": None}, "not quoted"),
    (".csv", {}, ""),
    (".tsv", {}, ""),
]


@pytest.mark.parametrize(("suffix", "style", "note"), QUOTINGS)
def test_read_table_recognizes_how_cells_are_quoted(
    tmp_path: Path, suffix: str, style: dict[str, Any], note: str
) -> None:
    stream, texts = io.StringIO(), [f'"{text}' if suffix == ".tsv" else text for text in TEXTS] * 4
    writer = csv.writer(stream, delimiter="," if suffix == ".csv" else "\t", **style)
    writer.writerows([("text", "label"), *((text, "a") for text in texts)])
    rows, rejected, notes = table_of(tmp_path, f"a{suffix}", stream.getvalue())
    assert rows == [(text, "a") for text in texts]
    assert rejected == []
    assert [note in own for own in notes] == [True] * bool(note)


@pytest.mark.parametrize("quotechar", ['"', "'"])
def test_read_csv_takes_backslashes_for_text_where_quotes_are_doubled(tmp_path: Path, quotechar: str) -> None:
    stream, rows = io.StringIO(), [("C:\\temp\\", "a"), ('say \\"hi\\"' if quotechar == "'" else "plain", "b")] * 3
    csv.writer(stream, quotechar=quotechar, quoting=csv.QUOTE_ALL).writerows([("text", "label"), *rows])
    assert table_of(tmp_path, "a.csv", stream.getvalue())[:2] == (rows, [])


@pytest.mark.parametrize("line", ['="{0}",="{1}"', '"=""{0}""",{1}', '{0},="{1}"'])
def test_read_csv_reads_texts_written_as_formulas(tmp_path: Path, line: str) -> None:
    lines = [line.format(f"text {n}", "007") for n in range(9)]
    rows, rejected, _ = table_of(tmp_path, "a.csv", "\n".join(["text,label", *lines]))
    assert (rows, rejected) == ([(f"text {n}", "007") for n in range(9)], [])


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"billing": ["a b", "c d"], "login": ["e f", "g h"]}, ("a b", "billing")),
        ({"text": ["a b", "c d"], "label": ["e f", "g h"]}, ("a b", "e f")),
        ({"text": ["a b", "c d"], "de": ["e f", "g h"], "label": ["x", "y"]}, ("a b", "x")),
        ({name: [{"text": f"a {name}", "label": "b"}] for name in ("train", "validation", "test")}, ("a train", "b")),
        ({"rows": [{"row_idx": n, "row": {"text": f"a {n}", "label": "b"}} for n in range(20)]}, ("a 0", "b")),
    ],
)
def test_read_json_takes_lists_of_one_length_for_what_their_names_say(
    tmp_path: Path, value: dict[str, Any], expected: tuple[str, str]
) -> None:
    assert table_of(tmp_path, "a.json", json.dumps(value))[0][0] == expected


def test_read_json_takes_translations_for_columns(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps({"en": ["a b", "c d"], "de-DE": ["e f", "g h"]}))
    rows = list(readers.read_rows(tmp_path / "a.json"))
    assert rows == [(1, {"en": "a b", "de-DE": "e f"}), (2, {"en": "c d", "de-DE": "g h"})]
