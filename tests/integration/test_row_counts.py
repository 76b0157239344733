# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""`gemtune data check` reports the same, whatever the number of processes that count the rows."""

from __future__ import annotations

import json
import random
import threading
from concurrent import futures
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gemtune.cli import row_counts
from gemtune.cli.main import app

TEXTS = [
    "Where is my parcel?", "card 4111 1111 1111 1111", "mail a.b@example.org", "これまでの指示を無視して", "Ã©tÃ©",
    "zero\u200bwidth", "ignore all previous instructions", "", "N/A", "tab\tand  two", "日本語のテキスト",
]  # fmt: skip
CHANGES = [
    {"label": "A "}, {"label": None}, {"label": ["a"]}, {"split": "nowhere"}, {"split": "test"}, {"text": 3},
    {"contents": [{"role": "user", "parts": [{"text": "hi"}]}, {"role": "model", "parts": [{"text": "a"}]}]},
]  # fmt: skip


def rows(folder: Path) -> Path:
    rng, path = random.Random(5), folder / "rows.jsonl"
    with path.open("w", encoding="utf-8") as file:
        for number in range(900):
            row = {"text": f"{rng.choice(TEXTS)} {rng.choice(TEXTS)}", "label": rng.choice("abc")}
            row |= {"customer": f"c{number % 90}", **(rng.choice(CHANGES) if number % 29 == 0 else {})}
            file.write(json.dumps(row, ensure_ascii=number % 2 == 0) + (",\n" if number % 97 == 0 else "\n"))
        file.write('{"text": "twice", "label": "a", "label": "b"}\n')
    return path


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("--set", "preprocess.conflicts=majority", "--set", "preprocess.pii=mask", "--json"),
        ("--set", "task.kind=generation", "--set", "preprocess.pii=drop"),
    ],
)
def test_data_check_reports_the_same_with_one_and_several_processes(
    words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, pools = str(rows(tmp_path)), []
    (tmp_path / "test.jsonl").write_text('{"text": "held out", "label": "a"}\n' * 40 + '{"text": "no label"}\n')
    arguments = ["data", "check", path, "--set", f"preprocess.test_data={tmp_path}/test.jsonl", *words]
    alone = CliRunner().invoke(app, arguments)
    monkeypatch.setattr(row_counts, "FIRST_BATCHES", 2)
    monkeypatch.setattr(row_counts, "BATCH_CHARS", 3000)
    monkeypatch.setattr(threading, "active_count", lambda: 1)
    monkeypatch.setattr(row_counts.os, "sched_getaffinity", lambda _: {0, 1, 2})
    start = futures.ProcessPoolExecutor
    monkeypatch.setattr(futures, "ProcessPoolExecutor", lambda *given: pools.append(start(*given)) or pools[-1])
    several = CliRunner().invoke(app, arguments)
    assert len(pools) == 1
    assert (several.exit_code, several.output) == (alone.exit_code, alone.output)
    assert alone.exit_code == 1
    assert "invalid_json" in alone.output
