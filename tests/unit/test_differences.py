# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""How production texts differ from training rows, before anything is tuned."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from samples import examples
from test_production_logs import logged
from typer.testing import CliRunner

from gemtune.cli.main import app
from gemtune.data.example import write_rows
from gemtune.monitoring.differences import without_template


def compared(folder: Path, rows: list[dict[str, object]], *more: str) -> str:
    train, logs = folder / "rows.jsonl", folder / "logs.jsonl"
    write_rows(train, ({"text": row.text, "label": row.target} for row in examples(150, 1)))
    logs.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    done = CliRunner().invoke(app, ["data", "compare", str(train), str(logs), *more])
    assert done.exit_code == 0, done.output
    return done.output


def test_data_compare_prints_the_same_as_json(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [{"text": f"voucherwallet {n}"} for n in range(60)]
    content, lines = json.loads(compared(tmp_path, rows, "--json")), compared(tmp_path, rows).splitlines()
    assert {item["summary"] for item in content["differences"]} <= set(lines)
    assert content["requests"] == 60


KOREAN = ["배송이 언제 오나요", "환불을 받고 싶어요", "로그인이 안 됩니다", "비밀번호를 잊었어요"]


@pytest.mark.parametrize(
    ("change", "shown", "remedy"),
    [
        (lambda n, text: KOREAN[n % 4] + f" {n}", "korean: ", "collect and label korean rows"),
        (lambda n, text: f"{text} " * 6 + str(n), "median length: ", "collect rows as long as the texts"),
        (lambda n, text: f"{text} https://shop.example/{n}", "a link: 100.0% of the texts", "clean both alike"),
        (lambda n, text: f"{text} voucherwallet", "voucherwallet (", "label texts with these words"),
    ],
    ids=["language", "length", "format", "vocabulary"],
)
def test_data_compare_names_the_difference_and_what_to_do(tmp_path, change, shown, remedy) -> None:
    rows = [{"text": change(n, row.text)} for n, row in enumerate(examples(120, 2))]
    output = compared(tmp_path, rows)
    assert shown in output
    assert remedy in output.partition("what to do")[2]


def test_data_compare_of_alike_texts_has_nothing_to_do(tmp_path: Path) -> None:
    output = compared(tmp_path, [{"text": row.text} for row in examples(150, 2)])
    assert "what to do" not in output
    assert "150 distinct texts of 150 requests (0 rows cannot be read)" in output


def test_data_compare_reads_logged_requests_of_a_prompt(tmp_path: Path) -> None:
    rows = [logged(number) for number in range(30)] + [{"nothing": 1}]
    rows[0]["full_request"]["systemInstruction"] = {"parts": [{"text": "Answer in verse."}]}
    output = compared(tmp_path, rows)
    assert "30 distinct texts of 30 requests (1 rows cannot be read)" in output
    assert "100.0% of the requests have a system instruction (2 different ones)" in output
    assert "Classify." not in output


def test_data_compare_of_no_text_names_the_remedy(tmp_path: Path) -> None:
    train, logs = tmp_path / "rows.jsonl", tmp_path / "logs.jsonl"
    write_rows(train, ({"text": row.text, "label": row.target} for row in examples(20, 1)))
    logs.write_text('{"body": "x"}\n')
    done = CliRunner().invoke(app, ["data", "compare", str(train), str(logs)])
    assert done.exit_code == 1
    assert "column text" in done.output


def test_without_template_takes_out_what_all_turns_share_around_their_texts() -> None:
    assert without_template(["Text: a: b\nLabel:", "Text: a c\nLabel:"]) == ["a: b", "a c"]
    assert without_template(["Ein Satz.\n文本：一\n标签：", "Ein Satz.\n文本：二\n标签："]) == ["一", "二"]
    assert without_template(["https://a b", "https://a c"]) == ["https://a b", "https://a c"]
    assert without_template(["Text:\na\nb\nLabel:", "Text:\nc\nLabel:"]) == ["a\nb", "c"]
    assert without_template(["a", "b"]) == ["a", "b"]
    assert without_template(["same\nx"]) == ["same\nx"]
