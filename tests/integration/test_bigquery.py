# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""A BigQuery table is a source like a file: the genuine client at the wire, page by page, and every way it can fail."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from tables import Tables
from typer.testing import CliRunner

from gemtune.cli import data
from gemtune.config import Preprocess, Task
from gemtune.data.example import Example, read_examples
from gemtune.data.row_validation import ReadStats, read
from gemtune.errors import UserError
from gemtune.steps import preprocess
from gemtune.vertex import bigquery

TEXTS = [f"question number {i} about {word}" for i in range(12) for word in ("parcels", "money")]
COLUMNS = [
    {"name": "body", "type": "STRING", "mode": "NULLABLE"},
    {"name": "topic", "type": "STRING", "mode": "NULLABLE"},
    {"name": "asked", "type": "TIMESTAMP", "mode": "NULLABLE"},
]
STRING = {"type": "STRING", "mode": "NULLABLE"}
PART_FIELDS = [{"name": "text", **STRING}, {"name": "fileUri", **STRING}]
PARTS = {"name": "parts", "type": "RECORD", "mode": "REPEATED", "fields": PART_FIELDS}
TURNS = [{"name": "contents", "type": "RECORD", "mode": "REPEATED", "fields": [{"name": "role", **STRING}, PARTS]}]
TURN_ROW = {
    "contents": [
        {"role": "user", "parts": [{"text": "where is it"}]},
        {"role": "model", "parts": [{"text": "order"}]},
    ]
}
HELD: dict[str, dict[str, Any]] = {
    "shop.mail.rows": {
        "fields": COLUMNS,
        "rows": [{"body": text, "topic": text.split()[-1], "asked": "1767312000000000"} for text in TEXTS],
    },
    "shop.mail.turns": {"fields": TURNS, "rows": [TURN_ROW]},
    "shop.mail.view": {"fields": COLUMNS, "rows": [], "type": "VIEW"},
    "shop.mail.empty": {"fields": COLUMNS, "rows": []},
}
CHOSEN = {"text_column": "body", "target_column": "topic", "slice_columns": ["asked"]}


@pytest.fixture
def tables(monkeypatch: pytest.MonkeyPatch) -> Iterator[Tables]:
    running = Tables(HELD)
    monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", running.url)
    monkeypatch.delenv("GOOGLE_CLOUD_PROJECT", raising=False)
    yield running
    running.close()


def rows(source: str, config: dict[str, Any] | None = None) -> list[Any]:
    return list(read(source, Task(), Preprocess.of(config or {}), ReadStats()))


def test_bigquery_reads_every_page_without_a_query(tables: Tables, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bigquery, "PAGE_ROWS", 7)
    table = bigquery.open_table("shop.mail.rows")
    assert table.columns == ("body", "topic", "asked")
    assert len(tables.asked) == 1
    first = next(table.rows)
    assert first["body"] == TEXTS[0]
    assert len(tables.asked) == 2  # one page, no more, until more rows are asked for
    assert [first["body"], *[row["body"] for row in table.rows]] == TEXTS
    assert [query.get("pageToken") for _, query in tables.asked[1:]] == [None, ["7"], ["14"], ["21"]]
    assert {path.split("/")[3] for path, _ in tables.asked} == {"projects"}
    assert not any("queries" in path or "jobs" in path for path, _ in tables.asked)


def test_bigquery_rows_become_examples(tables: Tables) -> None:
    found = rows("bq://shop.mail.rows", CHOSEN)
    assert [(row.text, row.target, row.line) for row in found][1] == (TEXTS[1], "money", 2)
    assert found[0].slices == {"asked": "2026-01-02T00:00:00+00:00"}
    (made,) = rows("bq://shop.mail.turns")
    assert (made.text, made.target) == ("where is it", "order")
    assert made.contents == ({"role": "user", "parts": [{"text": "where is it"}]},)


def test_bigquery_tables_work_in_step_and_commands(tables: Tables, tmp_path: Path) -> None:
    files = [str(tmp_path / name) for name in ("examples", "dropped", "report")]
    quick = {"jaccard_threshold": 0, "find_label_issues": False}
    assert preprocess.run("bq://shop.mail.rows", *files, preprocess={**CHOSEN, **quick})["rows"] == len(TEXTS)
    assert len(list(read_examples(files[0]))) == len(TEXTS)
    app = typer.Typer()
    app.add_typer(data.data_app, name="data")
    choice = ["--set", "preprocess.text_column=body", "--set", "preprocess.target_column=topic"]
    out = tmp_path / "rows.jsonl"
    for words in (["check"], ["describe"], ["convert", "--out", str(out)]):
        result = CliRunner().invoke(app, ["data", *words, "bq://shop.mail.rows", *choice], catch_exceptions=False)
        assert result.exit_code == 0, result.output
    assert [json.loads(line)["contents"][0]["parts"][0]["text"] for line in out.open()] == TEXTS


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("bq://shop.mail.gone", r"bq://shop\.mail\.gone: no such table.*Not found"),
        ("bq://shop.secret.rows", r"permission denied.*Permission bigquery\.tables\.get denied.*Data Viewer"),
        ("bq://shop.mail.view", "is a VIEW"),
        ("bq://rows", "not a BigQuery table"),
        ("bq://mail.rows", "not a BigQuery table"),  # no project in the name, none in the environment
        ("bq://", "not a BigQuery table"),
        ("bq://shop.mail.rows", r"no column 'text'; the table has body, topic, asked.*preprocess\.text_column"),
    ],
)
def test_bigquery_names_problems_of_a_table(tables: Tables, source: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        rows(source)


def test_bigquery_project_comes_from_the_environment(tables: Tables, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "shop")
    assert len(rows("bq://mail.rows", CHOSEN)) == len(TEXTS)


def test_bigquery_retries_503_and_accepts_an_empty_table(tables: Tables) -> None:
    tables.stumbles = 1
    found = rows("bq://shop.mail.rows", CHOSEN)
    assert all(isinstance(row, Example) for row in found)
    assert len(found) == len(TEXTS)
    assert rows("bq://shop.mail.empty", {"text_column": "body", "target_column": "topic"}) == []
