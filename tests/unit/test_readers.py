# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Whatever the bytes: an example, a dropped row with a reason, or one clear error; and no good row is lost."""

import csv
import gzip
import io
import json
import math
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gemtune.config import Preprocess, Task
from gemtune.data import readers, text_files
from gemtune.data.cleaning import NO_CLEANING
from gemtune.data.example import Example, RejectedRow, read_examples
from gemtune.data.row_validation import ReadStats, read
from gemtune.errors import UserError
from gemtune.steps import preprocess

GOOD = json.dumps({"text": "where is my parcel", "label": "order"})
NAMES = """text label split group contents parts role messages content type systemInstruction system_instruction
textContent fileData classificationAnnotation classificationAnnotations displayName textSegmentAnnotations startOffset
endOffset sentimentAnnotation sentiment dataItemResourceLabels textGcsUri ml_use"""
KEYS = st.sampled_from(NAMES.split())
WORDS = st.sampled_from(["user", "model", "system", "test", "gs://b/o", "x y", "\x00", "\ud83d", "²", "٣"])
SCALAR = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | WORDS
JSON = st.recursive(
    SCALAR,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS | st.text(max_size=3), inner, max_size=4),
    max_leaves=12,
)


def mostly(sound: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """What belongs in a place, and now and then anything at all: most bugs sit one wrong type away from a good row."""
    return st.one_of(sound, sound, sound, JSON)


PARTS = mostly(st.lists(mostly(st.fixed_dictionaries({}, optional={"text": mostly(WORDS), "fileData": JSON}))))
TURN = mostly(st.fixed_dictionaries({"role": mostly(WORDS), "parts": PARTS}, optional={"content": PARTS}))
ANSWER = {"role": "model", "parts": [{"text": "a"}], "content": "a"}
TURNS = mostly(st.lists(TURN, max_size=3).map(lambda turns: [*turns, {**ANSWER, "role": "user"}, ANSWER]))
OFFSETS = dict.fromkeys(["startOffset", "endOffset", "sentiment"], mostly(st.integers(0, 5)))
NOTE = mostly(st.fixed_dictionaries({}, optional={"displayName": mostly(WORDS), **OFFSETS}))
NOTES = dict.fromkeys(["classificationAnnotations", "textSegmentAnnotations"], mostly(st.lists(NOTE, max_size=3)))
NOTES |= dict.fromkeys(["classificationAnnotation", "sentimentAnnotation"], NOTE)
MORE = dict.fromkeys(["split", "group", "systemInstruction", "dataItemResourceLabels", "textGcsUri"], JSON)
ROW = st.one_of(
    st.fixed_dictionaries({"text": mostly(WORDS), "label": mostly(WORDS)}, optional=MORE),
    st.fixed_dictionaries({"contents": TURNS}, optional=MORE),
    st.fixed_dictionaries({"messages": TURNS}, optional=MORE),
    st.fixed_dictionaries({"textContent": mostly(WORDS)}, optional={**NOTES, **MORE}),
    JSON,
)
ROWS = ROW.map(json.dumps)
LINES = [
    '{"text": "a"',
    '{"text": "\x00", "label": "a"}',
    '{"text": "\\ud83d", "label": "x"}',
    '{"label": "a", "label": "a"}',
    "[" * 99 + "]" * 99,
    f'{{"text": {"[" * 800}{"]" * 800}}}',
    '{"a": ' * 400 + "1" + "}" * 400,
    "{" * 3000,
    "1e999",
    '{"text": "t", "label": {"x": 1e999}}',
    "NaN",
    f'{{"text": "{"x" * 5000}", "label": "b"}}',
    f'{{"text": 1{"0" * 5000}, "label": "a"}}',
    f'{{"text": "a", "label": 1{"0" * 4200}}}',
    "\x00",
    "'",
    '"',
]
BROKEN = st.sampled_from(LINES)
SETTINGS = st.sampled_from(
    [
        {"split_column": "", "max_chars": 4000},
        {"group_column": "group", "slice_columns": ["split"], "split_column": ""},
        {"pii": "mask", "strip_html": True, "lowercase": True, "normalize_unicode": "NFKC", "split_column": ""},
        {"pii": "drop", "conflicts": "keep", "repeated": "trim", "repeated_chars": 2, "split_column": ""},
    ]
)


def outcome(path: Path) -> list[Example | RejectedRow] | UserError:
    try:
        return list(read(path, Task(), Preprocess(split_column="", max_chars=4000), ReadStats()))
    except UserError as error:
        return error


@given(rows=st.lists(ROWS | BROKEN, max_size=8), at=st.integers(0, 8))
def test_read_json_keeps_good_rows_beside_bad_ones(
    tmp_path_factory: pytest.TempPathFactory, rows: list[str], at: int
) -> None:
    path = tmp_path_factory.mktemp("rows") / "rows.jsonl"
    rows = [*rows[:at], GOOD, *rows[at:]]
    path.write_text("\n".join(rows), encoding="utf-8", newline="\n")
    found = outcome(path)
    assert isinstance(found, list), found
    assert sorted(item.line for item in found) == [k for k, row in enumerate(rows, 1) if row.strip()]
    assert all(item.reason and item.detail for item in found if isinstance(item, RejectedRow))
    assert any(isinstance(item, Example) and item.text == "where is my parcel" for item in found)
    for item in found:
        json.dumps(item.row if isinstance(item, RejectedRow) else item.text, ensure_ascii=False).encode(
            "utf-8", "strict"
        )


def swallowed(path: Path, config: dict[str, Any]) -> dict[str, Any] | UserError:
    """The whole step on a file; whatever it wrote reads back, and every row is in one of the two files."""
    files = [str(path.with_name(part)) for part in ("examples", "dropped", "report")]
    quick = {"max_removed_share": 1, "max_cluster": 0, "find_label_issues": False, "jaccard_threshold": 0}
    try:
        summary = preprocess.run(str(path), *files, preprocess={**quick, **config})
    except UserError as error:
        return error
    with open(files[1], encoding="utf-8") as rows:
        lost = [json.loads(line, parse_constant=pytest.fail) for line in rows]
    assert len(list(read_examples(files[0]))) + len(lost) == summary["rows"]
    return summary


@given(rows=st.lists(ROWS | BROKEN, max_size=6), config=SETTINGS)
def test_preprocess_accepts_any_rows(
    tmp_path_factory: pytest.TempPathFactory, rows: list[str], config: dict[str, Any]
) -> None:
    path = tmp_path_factory.mktemp("rows") / "rows.jsonl"
    other = '{"text": "completely other words", "label": "a"}'
    path.write_text("\n".join([GOOD, *rows, other]), encoding="utf-8", newline="\n")
    summary = swallowed(path, config)
    assert isinstance(summary, UserError) or summary["examples"] >= 2


CELL = st.text(max_size=4) | st.sampled_from(["TRAINING", "test", "", "gs://b/a.txt", "1", "2", "²", "٣", "9" * 5000])


@given(rows=st.lists(st.lists(CELL, max_size=5), max_size=5), header=st.booleans(), cut=st.integers(0, 9))
@pytest.mark.parametrize("name", ["a.csv", "a.tsv.gz"])
def test_read_csv_gives_rows_or_one_error(
    tmp_path_factory: pytest.TempPathFactory, name: str, rows: list[list[str]], header: bool, cut: int
) -> None:
    path = tmp_path_factory.mktemp("rows") / name
    out = io.StringIO()
    sheet = csv.writer(out, delimiter="," if ".csv" in name else "\t")
    sheet.writerows([["text", "label", "group"]] * header + rows)
    content = out.getvalue().encode()
    path.write_bytes(gzip.compress(content)[: -cut or None] if name.endswith(".gz") else content)
    assert swallowed(path, {}) is not None


CELLS = st.one_of(
    st.lists(st.none() | kind, min_size=2, max_size=2)
    for kind in (
        st.text(max_size=4), st.integers(-(2**60), 2**60), st.floats(), st.binary(max_size=3), st.datetimes(),
        st.decimals(-9, 9, places=2), st.lists(st.text(max_size=2), max_size=2),
        st.lists(st.fixed_dictionaries({"role": st.none() | st.sampled_from(["user", "model"]),
                                        "parts": st.none() | st.lists(st.fixed_dictionaries({
                                            "text": st.none() | st.text(max_size=2),
                                            "fileData": st.none() | st.text(max_size=1)}), max_size=2)}), max_size=3),
    )
)  # fmt: skip


@given(columns=st.dictionaries(KEYS, CELLS, min_size=1, max_size=5))
def test_read_parquet_gives_rows_or_one_error(
    tmp_path_factory: pytest.TempPathFactory, columns: dict[str, list[Any]]
) -> None:
    path = tmp_path_factory.mktemp("rows") / "a.parquet"
    pq.write_table(pa.table(columns), path)
    assert swallowed(path, {"split_column": ""}) is not None


def test_read_parquet_keeps_all_values(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    turns = [
        {"role": "user", "parts": [{"text": None, "fileData": {"fileUri": "gs://b/i.png"}}, {"text": "this?"}]},
        {"role": "model", "parts": [{"text": "a cat", "fileData": None}]},
    ]
    table = {"contents": [turns], "when": [datetime(2026, 1, 2, tzinfo=UTC)], "picture": [b"\xff"], "score": [math.nan]}
    pq.write_table(pa.table(table), path)
    (row,) = readers.read_rows(path)
    assert row == (1, {
        "contents": [
            {"role": "user", "parts": [{"fileData": {"fileUri": "gs://b/i.png"}}, {"text": "this?"}]},
            {"role": "model", "parts": [{"text": "a cat"}]},
        ],
        "when": "2026-01-02T00:00:00+00:00", "picture": [255], "score": None,
    })  # fmt: skip


@pytest.mark.parametrize(("levels", "reason"), [(97, ""), (99, "invalid_json"), (5000, "invalid_json")])
def test_read_json_deep_nesting_is_a_row_or_a_reason(tmp_path: Path, levels: int, reason: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(f'{GOOD}\n{{"text": "a", "label": {{"x": {"[" * levels}{"]" * levels}}}}}\n{GOOD}')
    found = outcome(path)
    assert isinstance(found, list)
    assert [item.reason if isinstance(item, RejectedRow) else "" for item in found] == ["", reason, ""]


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.csv", "a.csv.gz", "a.tsv", "a.parquet", "a.xlsx"])
@given(content=st.binary(max_size=80) | st.text(alphabet='text,label\n\r\t"{}:[]é\x00', max_size=60).map(str.encode))
@example(content=b"a\xc8a")  # no encoding is likely
def test_read_rows_of_any_bytes_gives_rows_or_one_error(
    tmp_path_factory: pytest.TempPathFactory, name: str, content: bytes
) -> None:
    path = tmp_path_factory.mktemp("rows") / name
    path.write_bytes(content)
    found = outcome(path)
    assert isinstance(found, list) or str(path) in str(found)


@given(cut=st.integers(0, 400))
def test_read_gzip_truncation_is_an_error(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    path = tmp_path_factory.mktemp("rows") / "a.jsonl.gz"
    whole = gzip.compress("\n".join(json.dumps({"text": f"{i * i}", "label": "a"}) for i in range(100)).encode())
    path.write_bytes(whole[: min(cut, len(whole) - 1)])
    assert isinstance(outcome(path), UserError)


def test_read_rows_finds_the_compressed_file(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(GOOD.encode()))
    (made,) = outcome(tmp_path / "a.jsonl")  # type: ignore[misc]
    assert made.text == "where is my parcel"


def test_read_rows_rejects_a_huge_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_files, "MAX_LINE_CHARS", 1000)
    path = tmp_path / "a.jsonl"
    path.write_text(f'{GOOD}\n{{"text": "{"x" * 5000}"}}\n{GOOD}\n')
    found = outcome(path)
    assert isinstance(found, list)
    assert [item.reason if isinstance(item, RejectedRow) else item.line for item in found] == [1, "too_long", 3]


AUTOML = [
    ({"textContent": "x y", "classificationAnnotation": {"displayName": "a"}}, "a", None),
    (
        {"textContent": "x y", "classificationAnnotations": [{"displayName": "b"}, {"displayName": "a"}]},
        "a; b",
        None,
    ),
    ({"textContent": "x y", "sentimentAnnotation": {"sentiment": 2, "sentimentMax": 4}}, "2", None),
    (
        {
            "textContent": "Ana met Bo",
            "textSegmentAnnotations": [
                {"displayName": "who", "startOffset": 0, "endOffset": 3},
                {"displayName": "who", "startOffset": 8, "endOffset": 10},
            ],
            "dataItemResourceLabels": {"aiplatform.googleapis.com/ml_use": "validation"},
        },
        '{"who": ["Ana", "Bo"]}',
        "validation",
    ),
]


@pytest.mark.parametrize(("row", "target", "split"), AUTOML)
def test_read_automl_import_rows(tmp_path: Path, row: dict[str, Any], target: str, split: str | None) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps(row))
    (made,) = read(path, Task(label_separator="; "), Preprocess(), ReadStats())
    assert isinstance(made, Example)
    assert (made.target, made.split) == (target, split)


def test_read_automl_csv_without_a_header(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('TRAINING,"Hi, there",a\nTEST,good,2,4\nUNASSIGNED,both,x,y\nVALIDATION,gs://b/t.txt,a\nTEST\n')
    found = list(read(path, Task(label_separator="; "), Preprocess(), ReadStats()))
    made = [item for item in found if isinstance(item, Example)]
    assert [(m.text, m.target, m.split) for m in made] == [
        ("Hi, there", "a", "train"), ("good", "2; 4", "test"), ("both", "x; y", None)
    ]  # fmt: skip
    assert [item.reason for item in found if isinstance(item, RejectedRow)] == ["missing_text", "wrong_cells"]


@pytest.mark.parametrize(
    ("content", "made"),
    [
        (",hello,a\n,you,b\nTEST,there,a\n", [("hello", "a", None), ("you", "b", None), ("there", "a", "test")]),
        (",hello,a\nTRAINING,you,b\n", [("hello", "a", None), ("you", "b", "train")]),
        (",good,2,4\n,bad,0,4\n", [("good", "2", None), ("bad", "0", None)]),
        (",text,label\n0,hello,a\n1,you,b\n", [("hello", "a", None), ("you", "b", None)]),  # an index without a name
        (",text,label\n,hello,a\n,you,b\n", [("hello", "a", None), ("you", "b", None)]),
        ("train,text,label\n1,hello,a\n", [("hello", "a", None)]),  # a column of that name
        (",text,label\n", []),
    ],
)
def test_read_automl_csv_without_ml_use_has_no_header(
    tmp_path: Path, content: str, made: list[tuple[str, str, str | None]]
) -> None:
    path = tmp_path / "a.csv"
    path.write_text(content)
    found = outcome(path)
    assert isinstance(found, list)
    assert [(m.text, m.target, m.split) for m in found if isinstance(m, Example)] == made
    assert len(found) == len(made)


def test_read_automl_csv_of_addresses_needs_no_ml_use(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    for content in ("gs://b/1.txt,a\nTEST,gs://b/2.txt,b\n", ",gs://b/1.txt,a\ntest,gs://b/2.txt,b\n"):
        path.write_text(content)
        rows = [item[1] for item in readers.read_rows(path) if isinstance(item, tuple)]
        assert [(row["ml_use"].lower(), row["textGcsUri"]) for row in rows] == [
            ("", "gs://b/1.txt"),
            ("test", "gs://b/2.txt"),
        ]


TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=12).filter(
    lambda text: text.strip() and not text.strip().startswith("gs://")
)
LABEL = TEXT.filter(lambda label: not label.strip().isdigit() and len(label.strip()) > 0)
USES = {"TRAINING": "train", "train": "train", "VALIDATION": "validation", "test": "test", "UNASSIGNED": None, "": None}


IMPORTED = st.tuples(st.sampled_from(list(USES)), TEXT, st.lists(LABEL, min_size=1, max_size=3))


# one row that begins with nothing may be a header
@given(rows=st.lists(IMPORTED, min_size=1).filter(lambda rows: len(rows) > 1 or rows[0][0] != ""))
def test_read_automl_rows_keep_text_label_and_split(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str, list[str]]]
) -> None:
    folder = tmp_path_factory.mktemp("rows")
    with (folder / "a.csv").open("w", encoding="utf-8", newline="") as out:
        csv.writer(out).writerows([use, text, *labels] for use, text, labels in rows)
    lines = []
    for use, text, labels in rows:
        names = [{"displayName": label} for label in labels]
        said = {"classificationAnnotations": names} if len(names) > 1 else {"classificationAnnotation": names[0]}
        use_label = {"dataItemResourceLabels": {"aiplatform.googleapis.com/ml_use": use.lower()}}
        lines.append(json.dumps({"textContent": text, **said, **use_label}))
    (folder / "a.jsonl").write_text("\n".join(lines), encoding="utf-8")
    untouched = Preprocess.of(dict(NO_CLEANING))
    for name in ("a.csv", "a.jsonl"):
        made = list(read(folder / name, Task(label_separator="\x1f"), untouched, ReadStats()))
        assert [(item.text, item.split) for item in made if isinstance(item, Example)] == [
            (text, USES[use]) for use, text, _ in rows
        ]  # fmt: skip
        for item, (_, _, labels) in zip(made, rows, strict=True):
            assert isinstance(item, Example)
            assert item.target == "\x1f".join(sorted({label.strip() for label in labels}))


JSON_PIECES = [
    *'{}[]:,"\\',
    "{",
    "}",
    '"a"',
    '"b"',
    '"',
    ":",
    " : ",
    '": ',
    "\t:",
    "1",
    "-0",
    "0.5",
    "1e999",
    "9" * 30,
    "NaN",
]
JSON_PIECES += [
    "true",
    "null",
    "\ufeff",
    "\ud800",
    '"\\ud800"',
    '"x:y"',
    '"\\":"',
    " ",
    "\n",
    '{"a":1',
    ',"a":2',
    ',"b":"c"}',
]


@given(st.lists(st.sampled_from(JSON_PIECES), max_size=9).map("".join))
@example('{"a" : 1, "a": ":"}')
@example('{"a": "x: y", "b": 2}')
def test_flat_rows_are_those_of_the_strict_decoder(text: str) -> None:
    row = readers._flat_row(text)
    if row is not None:
        assert repr(row) == repr(readers._DECODER.decode(text))


def test_read_json_numbers_the_items_of_one_line(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('[{"text": "a", "label": "x"}, 5, {"text": "b", "label": "y"}]')
    assert [row.line if isinstance(row, RejectedRow) else row[0] for row in readers.read_rows(tmp_path / "a.json")] == [
        1,
        2,
        3,
    ]


PAIR = [{"text": "a b", "label": "x"}, {"text": "c d", "label": "y"}]
FRAME = pd.DataFrame(PAIR)


@pytest.mark.parametrize(
    "content",
    [
        json.dumps({"meta": {"rows": 2}, "data": PAIR}),
        json.dumps({"response": {"status": "ok", "items": PAIR}}, indent=2),
        json.dumps({"t-1": PAIR[0], "t-2": PAIR[1]}),
        "".join(map(json.dumps, PAIR)),
        *(FRAME.to_json(orient=orient) for orient in ("split", "columns", "index", "records", "table")),
        json.dumps(FRAME.to_dict("list"), indent=1),
        json.dumps({"names": [{"id": 1}], "items": [*PAIR, *[{"text": "e", "label": "z"}] * 18]}),
        json.dumps([["text", "label"], *([*row.values()] for row in PAIR)]),
        json.dumps([*(dict(reversed(row.items())) for row in PAIR)], indent=4),
        "__label__x a b\n__label__y c d\n",
    ],
)
def test_read_json_gives_the_rows_wherever_they_are(tmp_path: Path, content: str) -> None:
    (tmp_path / "a.json").write_text(content)
    listed = list(readers.read_rows(tmp_path / "a.json"))
    assert [{name: row[1][name] for name in ("text", "label")} for row in listed[:2] if isinstance(row, tuple)] == PAIR


@pytest.mark.parametrize(
    ("content", "count"),
    [
        ({"x": ["a b", "c"], "y": ["d", "e", "f"]}, 5),
        ({"a b": "x", **{f"text {n}": "xyz"[n % 3] for n in range(30)}}, 31),
    ],
)
def test_read_json_gives_the_texts_of_each_label(tmp_path: Path, content: Any, count: int) -> None:
    (tmp_path / "a.json").write_text(json.dumps(content))
    rows = [row[1] for row in readers.read_rows(tmp_path / "a.json") if isinstance(row, tuple)]
    assert (rows[0], len(rows)) == ({"text": "a b", "label": "x"}, count)


@pytest.mark.parametrize(
    "row",
    [
        {"text": "a b", "entities": [{"start": 0, "end": 1, "label": "x"}]},
        {"messages": [{"role": "user", "content": "a"}]},
        {"conversations": [{"from": "human", "value": "a"}]},
        {"textContent": "a", "classificationAnnotations": [{"displayName": "x"}]},
        {"text": "a", "label": "b"},
        {"text": "a", "tags": ["b", "c"]},
        {f"q{n}": "yes" for n in range(9)},
    ],
)
def test_read_json_keeps_the_only_row_of_a_file(tmp_path: Path, row: dict[str, Any]) -> None:
    (tmp_path / "a.json").write_text(json.dumps(row))
    assert list(readers.read_rows(tmp_path / "a.json")) == [(1, row)]


@pytest.mark.parametrize("label", ["\u200b", " ", "\ufeff", "\u2060\u00ad", "\u3000"])
def test_read_rejects_a_label_that_nobody_sees(tmp_path: Path, label: str) -> None:
    (tmp_path / "a.jsonl").write_text(json.dumps({"text": "a b", "label": label}))
    (row,) = read(tmp_path / "a.jsonl", Task(), Preprocess(), ReadStats())
    assert isinstance(row, RejectedRow)
    assert row.reason == "empty_target"


def test_read_keeps_a_label_of_characters_that_python_does_not_know(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(json.dumps({"text": "a b", "label": "\U00018cd6"}))
    (row,) = read(tmp_path / "a.jsonl", Task(), Preprocess(), ReadStats())
    assert isinstance(row, Example)


def test_read_joined_encodings_names_a_remedy_for_the_rest(tmp_path: Path) -> None:
    path, rows = tmp_path / "a.csv", "text,label\n" + "荷物が届きません,配送\n" * 20
    path.write_bytes(rows.encode() + rows.encode("cp932"))
    with pytest.raises(UserError, match=r"a\.csv:23: .*most of the file is UTF-8: .*save the rest as UTF-8"):
        list(readers.read_rows(path))
