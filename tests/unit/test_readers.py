# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Whatever the bytes: an example, a dropped row with a reason, or one clear error; and no good row is lost."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gemtune.config import Preprocess, Task
from gemtune.data import Dropped, Example
from gemtune.errors import UserError
from gemtune.rows import intake
from gemtune.rows.accept import Tally, read

GOOD = json.dumps({"text": "where is my parcel", "label": "order"})
NAMES = """text label contents parts role messages content systemInstruction textContent fileData
classificationAnnotation classificationAnnotations displayName textSegmentAnnotations startOffset endOffset
sentimentAnnotation sentiment
dataItemResourceLabels textGcsUri"""
KEYS = st.sampled_from(NAMES.split())
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS | st.text(max_size=3), inner, max_size=4),
    max_leaves=12,
)
ROWS = st.dictionaries(KEYS, JSON, max_size=4).map(json.dumps) | JSON.map(json.dumps)
LINES = [
    '{"text": "a"',
    '{"text": "\x00", "label": "a"}',
    '{"text": "\\ud83d", "label": "x"}',
    '{"label": "a", "label": "a"}',
    "[" * 99 + "]" * 99,
    "{" * 3000,
    "1e999",
    "NaN",
    f'{{"text": "{"x" * 5000}", "label": "b"}}',
    f'{{"text": 1{"0" * 5000}, "label": "a"}}',
    "'",
    '"',
]
BROKEN = st.sampled_from(LINES)


def outcome(path: Path) -> list[Example | Dropped] | UserError:
    try:
        return list(read(path, Task(), Preprocess(split_column="", max_chars=4000), Tally()))
    except UserError as error:
        return error


@given(rows=st.lists(ROWS | BROKEN, max_size=8), at=st.integers(0, 8))
@settings(max_examples=250, deadline=None)
def test_no_json_row_takes_a_good_one_with_it(
    tmp_path_factory: pytest.TempPathFactory, rows: list[str], at: int
) -> None:
    path = tmp_path_factory.mktemp("rows") / "rows.jsonl"
    rows = [*rows[:at], GOOD, *rows[at:]]
    path.write_text("\n".join(rows), encoding="utf-8", newline="\n")
    found = outcome(path)
    assert isinstance(found, list), found
    assert sorted(item.line for item in found) == [k for k, row in enumerate(rows, 1) if row.strip()]
    assert all(item.reason and item.detail for item in found if isinstance(item, Dropped))
    assert any(isinstance(item, Example) and item.text == "where is my parcel" for item in found)
    for item in found:
        json.dumps(item.row if isinstance(item, Dropped) else item.text, ensure_ascii=False).encode("utf-8", "strict")


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "a.tsv", "a.jsonl.gz", "a.csv.gz", "a.parquet"])
@given(content=st.binary(max_size=80) | st.text(alphabet='text,label\n\r\t"{}:[]é\x00', max_size=60).map(str.encode))
@settings(max_examples=60, deadline=None)
def test_any_bytes_give_rows_or_one_clear_error(
    tmp_path_factory: pytest.TempPathFactory, name: str, content: bytes
) -> None:
    path = tmp_path_factory.mktemp("rows") / name
    path.write_bytes(content)
    found = outcome(path)
    assert isinstance(found, list) or str(path) in str(found)


@given(cut=st.integers(0, 400))
@settings(max_examples=40, deadline=None)
def test_a_cut_archive_is_an_error_never_a_shorter_file(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    path = tmp_path_factory.mktemp("rows") / "a.jsonl.gz"
    whole = gzip.compress("\n".join(json.dumps({"text": f"{i * i}", "label": "a"}) for i in range(100)).encode())
    path.write_bytes(whole[: min(cut, len(whole) - 1)])
    assert isinstance(outcome(path), UserError)


def test_a_huge_line_is_one_dropped_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "MAX_LINE_BYTES", 1000)
    path = tmp_path / "a.jsonl"
    path.write_text(f'{GOOD}\n{{"text": "{"x" * 5000}"}}\n{GOOD}\n')
    found = outcome(path)
    assert isinstance(found, list)
    assert [item.reason if isinstance(item, Dropped) else item.line for item in found] == [1, "too_long", 3]


AUTOML = [
    ({"textContent": "x y", "classificationAnnotation": {"displayName": "a"}}, "a", None),
    (
        {"textContent": "x y", "classificationAnnotations": [{"displayName": "b"}, {"displayName": "a"}]},
        '["a", "b"]',
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
def test_automl_import_rows(tmp_path: Path, row: dict[str, Any], target: str, split: str | None) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps(row))
    (made,) = outcome(path)  # type: ignore[misc]
    assert (made.target, made.split) == (target, split)


def test_automl_import_csv_without_a_header(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('TRAINING,"Hi, there",a\nTEST,good,2,4\nUNASSIGNED,both,x,y\nVALIDATION,gs://b/t.txt,a\n')
    found = outcome(path)
    assert isinstance(found, list)
    made = [item for item in found if isinstance(item, Example)]
    assert [(m.text, m.target, m.split) for m in made] == [
        ("Hi, there", "a", "train"), ("good", "2", "test"), ("both", '["x", "y"]', None)
    ]  # fmt: skip
    assert [item.reason for item in found if isinstance(item, Dropped)] == ["missing_text"]
