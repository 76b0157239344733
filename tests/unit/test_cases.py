# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Inputs that people reported (`tests/cases`), through the public entry each: the result that its README states."""

from __future__ import annotations

import asyncio
import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import typer
from samples import Said
from typer.testing import CliRunner

from gemtune import vertex
from gemtune.cli import data
from gemtune.config import ModelVariant, Preprocess, Prompt, Task
from gemtune.data.example import Example
from gemtune.data.labels import labels_of, spelling_key
from gemtune.data.row_validation import ReadStats
from gemtune.data.source_rows import read_all
from gemtune.errors import UserError
from gemtune.evaluation.scorers import score_sample
from gemtune.inference.parsing import parse
from gemtune.inference.prompts import training_row, tuned_prompt
from gemtune.predictor import Predictor
from gemtune.steps.report import recipe

CASES = Path(__file__).parents[1] / "cases"
APP = typer.Typer()
APP.add_typer(data.data_app, name="data")
APP.command("dedup")(data.dedup_command)
TEXT, OBJECT = Task(kind="generation"), Task(kind="extraction")
INTENT = Task(labels=["refund", "cancel", "other"])
JAPANESE = Task(labels=["返金", "解約", "配送"])
COLORS = Task(labels=["red", "blue", "green"], label_separator="; ")
SEVERAL = Task(label_separator="; ")


def command(*words: str | Path) -> tuple[int, str]:
    """Exit code and all output of a command."""
    result = CliRunner().invoke(APP, [str(word) for word in words], catch_exceptions=False)
    return result.exit_code, result.output


def lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def targets(path: Path, task: Task | None = None, **settings: Any) -> list[str]:
    """The references of all rows, none of which is rejected."""
    rows, rejected = read_all(str(path), task or Task(), Preprocess.of(settings), ReadStats())
    assert not rejected
    return [row.target for row in rows]


def answers_are_read(task: Task, folder: Path) -> None:
    rows = lines(folder / "answers.jsonl")
    assert [parse(task, Prompt(), row["answer"]).value for row in rows] == [row["wanted"] for row in rows]


def are_kept(path: Path, tmp_path: Path, *settings: str) -> None:
    words = [word for setting in settings for word in ("--set", setting)]
    code, output = command("dedup", path, "--out", tmp_path / "kept.jsonl", *words)
    rows = len(lines(path))
    assert (code, output.splitlines()[-1]) == (0, f"{rows} of {rows} rows kept")


def b01(folder: Path, tmp_path: Path) -> None:
    for row in lines(folder / "answers.jsonl"):
        assert (parse(TEXT, Prompt(), row["answer"]).problem or "ok") == row["wanted"]
    assert command("data", "check", folder / "replies_ja.jsonl", "--set", "task.kind=generation")[0] == 0


def b05(folder: Path, tmp_path: Path) -> None:
    references = targets(folder / "automl_multi.jsonl", SEVERAL)
    labels = sorted({label for reference in references for label in labels_of(reference, SEVERAL)})
    assert labels == ["billing", "delivery", "quality"]
    task, variant = SEVERAL.model_copy(update={"labels": labels}), ModelVariant(name="m", model="m")
    scores = [score_sample(task, variant, Example("1", "text", each), Said(each)).scores for each in references]
    assert {score["accuracy"] for score in scores} == {1.0}


def b06(folder: Path, tmp_path: Path) -> None:
    with (folder / "a_multi_num.csv").open(encoding="utf-8", newline="") as file:
        cells = [set(row[2:]) for row in csv.reader(file)]
    assert [set(labels_of(each, SEVERAL)) for each in targets(folder / "a_multi_num.csv", SEVERAL)] == cells


def b08(folder: Path, tmp_path: Path) -> None:
    are_kept(folder / "b_plain.jsonl", tmp_path)
    are_kept(folder / "b_foot50.jsonl", tmp_path)


def b09(folder: Path, tmp_path: Path) -> None:
    are_kept(folder / "b_two.jsonl", tmp_path)
    (tmp_path / "thrice.jsonl").write_text((folder / "b_two.jsonl").read_text(encoding="utf-8") * 3, encoding="utf-8")
    with pytest.raises(UserError, match=r"remove 67% of 378 rows, more than preprocess\.max_removed_share"):
        command("dedup", tmp_path / "thrice.jsonl", "--out", tmp_path / "o.jsonl", "--set", "preprocess.max_cluster=0")


def b11(folder: Path, tmp_path: Path) -> None:
    are_kept(folder / "orders.jsonl", tmp_path, "task.kind=extraction")
    are_kept(folder / "orders.jsonl", tmp_path, "task.kind=generation")


def b13(folder: Path, tmp_path: Path) -> None:
    given = lines(folder / "tools.jsonl")
    words = ("--out", tmp_path / "out.jsonl", "--to", "gemini", "--set", "task.kind=generation")
    assert command("data", "convert", folder / "tools.jsonl", *words)[0] == 0
    rows, _ = read_all(str(folder / "tools.jsonl"), TEXT, Preprocess(), ReadStats())
    tuned = [training_row(TEXT, tuned_prompt(TEXT), row) for row in rows]
    for row, converted, trained in zip(given, lines(tmp_path / "out.jsonl"), tuned, strict=True):
        for written in (converted, trained):
            assert [turn["parts"] for turn in written["contents"]] == [turn["parts"] for turn in row["contents"]]
            assert written.get("tools") == row.get("tools")


def b14(folder: Path, tmp_path: Path) -> None:
    assert targets(folder / "rows.jsonl", TEXT) == ["8"]


def b16(folder: Path, tmp_path: Path) -> None:
    rows, _ = read_all(str(folder / "rows.jsonl"), TEXT, Preprocess(), ReadStats())
    given = [row["contents"][0]["parts"][0]["text"] for row in lines(folder / "rows.jsonl")]
    assert [row.text for row in rows] == given
    assert [training_row(TEXT, tuned_prompt(TEXT), row)["contents"][0]["parts"] for row in rows] == [
        [{"text": text}] for text in given
    ]
    pd.DataFrame({"text": given, "label": ["a", "b"]}).to_csv(tmp_path / "a.csv", index=False)
    for kind in ("generation", "summarization", "extraction"):
        rows, _ = read_all(str(tmp_path / "a.csv"), Task.of({"kind": kind}), Preprocess(), ReadStats())
        assert [row.text for row in rows] == given


def b20(folder: Path, tmp_path: Path) -> None:
    variant = ModelVariant(name="m", model="m")
    for row in lines(folder / "pairs.jsonl"):
        scores = score_sample(TEXT, variant, Example("1", "text", row["reference"]), Said(row["answer"])).scores
        assert {scores[name] == 1 for name in ("rouge_1", "rouge_l")} == {row["wanted"] == "1"}, row


def b21(folder: Path, tmp_path: Path) -> None:
    variant = ModelVariant(name="m", model="m")
    for row in lines(folder / "answers.jsonl"):
        for task, reference in ((INTENT, "refund"), (OBJECT, "{}"), (COLORS, "red")):
            score = score_sample(task, variant, Example("1", "text", reference), Said(row["answer"]))
            assert score.outcome == "invalid"


def b23(folder: Path, tmp_path: Path) -> None:
    for name in ("c_bom2.csv", "c_rephead.csv"):
        rows, rejected = read_all(str(folder / name), Task(), Preprocess(), ReadStats())
        assert {row.target for row in rows} == {"delivery", "refund"}
        assert [(row.line, row.reason) for row in rejected] == [(14, "repeated_header")]
        assert len(rows) == 24


def b24(folder: Path, tmp_path: Path) -> None:
    for name, labels in (("c_num.csv", {"1", "0"}), ("c_case.csv", {"refund", "re fund", "cancel"})):
        output = command("data", "check", folder / name)[1]
        assert "rows by spelling of the label" in output
        assert "preprocess.label_spellings: merge makes them one" in output
        merged = set(targets(folder / name, label_spellings="merge"))
        assert {spelling_key(label) for label in merged} == labels
        assert len(merged) == len(labels)
    read = {parse(Task(labels=sorted(merged)), Prompt(), answer).value for answer in ("Refund.", "REFUND", "refund")}
    assert len(read) == 1
    assert read < merged


def b26(folder: Path, tmp_path: Path) -> None:
    code, output = command("data", "check", folder / "rows.jsonl", "--set", "task.kind=generation")
    assert code == 1
    assert "a part has 'image_url', which tuning does not accept" in output
    assert "fileData has no mimeType" in output
    assert "0 of 2 rows usable" in output


def b28(folder: Path, tmp_path: Path) -> None:
    for name in ("c_cr", "c_semi", "c_semi2", "c_sepline", "c_utf16le_nobom"):
        assert set(targets(folder / f"{name}.csv")) == {"delivery", "refund"}
    code, output = command("data", "check", folder / "c_unquoted.csv")
    assert code == 1
    assert "put cells that contain the delimiter into double quotes, or set preprocess.delimiter" in output


def b29(folder: Path, tmp_path: Path) -> None:
    assert targets(folder / "rows.jsonl") == ["0", "1"] * 3


def b34(folder: Path, tmp_path: Path) -> None:
    requests = []

    async def generate(*arguments: Any) -> Any:
        requests.append(arguments)
        return Said("refund")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vertex, "generate", generate)
        document = recipe(INTENT, ModelVariant(name="m", model="gemini-2.5-flash"), {}, {}, [])
        with Predictor(document, {"project": "p", "location": "us-central1"}) as predictor:
            assert [prediction.value for prediction in predictor("one text")] == ["refund"]

            async def inside() -> list[Any]:
                return [*predictor(["one text"]), *await predictor.predict_async("one text")]

            assert [prediction.value for prediction in asyncio.run(inside())] == ["refund"] * 2
            for refused in ("", "   ", [None], None):
                with pytest.raises(UserError, match="nothing was sent"):
                    predictor(refused)  # type: ignore[arg-type]
    assert len(requests) == 3


def b36(folder: Path, tmp_path: Path) -> None:
    numbers = pd.DataFrame({"text": ["a b", "c d", "e f"], "label": [1, 0, None]})
    sets = pd.DataFrame({"text": ["a b", "c d"], "label": [["x", "y"], ["x"]]})
    numbers.to_parquet(tmp_path / "f.parquet")
    numbers.to_json(tmp_path / "f.jsonl", orient="records", lines=True)
    sets.to_parquet(tmp_path / "l.parquet")
    sets.to_json(tmp_path / "l.jsonl", orient="records", lines=True)
    for kind in ("parquet", "jsonl"):
        rows, rejected = read_all(str(tmp_path / f"f.{kind}"), Task(), Preprocess(), ReadStats())
        assert ([row.target for row in rows], [row.reason for row in rejected]) == (["1", "0"], ["missing_target"])
        assert targets(tmp_path / f"l.{kind}", SEVERAL) == ["x; y", "x"]


RESULTS: dict[str, Callable[[Path, Path], None]] = {
    "b01": b01, "b05": b05, "b06": b06, "b08": b08, "b09": b09, "b11": b11, "b13": b13, "b14": b14, "b16": b16,
    "b20": b20, "b21": b21, "b23": b23, "b24": b24, "b26": b26, "b28": b28, "b29": b29, "b34": b34, "b36": b36,
    "b03": lambda folder, _: answers_are_read(JAPANESE, folder),
    "b17": lambda folder, _: answers_are_read(OBJECT, folder),
    "b19": lambda folder, _: answers_are_read(COLORS, folder),
    "b27": lambda folder, _: answers_are_read(INTENT, folder),
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(path.name for path in CASES.iterdir()))
def test_case_has_the_result_that_its_readme_states(name: str, tmp_path: Path) -> None:
    assert len((CASES / name / "README").read_text(encoding="utf-8").splitlines()) == 1
    RESULTS[name[:3]](CASES / name, tmp_path)


def test_every_result_has_a_case() -> None:
    assert sorted(path.name[:3] for path in CASES.iterdir()) == sorted(RESULTS)
