# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Whether the service will take the rows: per model, per method, against limits that are data."""

from __future__ import annotations

import json
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any, Literal

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from gemtune.catalogue import Catalogue
from gemtune.cli import data
from gemtune.config import Preprocess, Task
from gemtune.data.duplicates import resolve_exact_duplicates
from gemtune.data.example import Example, example_id
from gemtune.data.profile import estimate_tokens
from gemtune.data.service_limits import LimitChecker
from gemtune.inference.prompts import training_row, tuned_prompt

APP = typer.Typer()
APP.add_typer(data.data_app, name="data")
LIMITS = Catalogue.load().limits["supervised"]


def checked(path: Path, *words: str, limits: dict[str, Any] | None = None) -> tuple[int, str]:
    over = ["--set", f"vertex.catalogue.limits.supervised={json.dumps(limits)}"] if limits else []
    result = CliRunner().invoke(APP, ["data", "check", str(path), *words, *over])
    return result.exit_code, result.output if result.exit_code in (0, 1) and result.output else str(result.exception)


def file_of(folder: Path, rows: list[dict[str, Any]]) -> Path:
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def turns(*roles: str) -> dict[str, Any]:
    return {"contents": [{"role": role, "parts": [{"text": f"{role} {i}"}]} for i, role in enumerate(roles)]}


PLAIN = [{"text": f"text number {i} {'abc'[i % 3]}", "label": "ab"[i % 2]} for i in range(40)]


def test_service_limits_reports_each_limit_with_its_value(tmp_path: Path) -> None:
    path = file_of(tmp_path, [*PLAIN, {"text": "word " * 400, "label": "a"}])
    code, printed = checked(path)
    assert code == 0
    assert printed.endswith("41 of 41 rows usable\n")
    for limits, said in (
        ({"examples": 30}, "41 rows, the limit is 30"),
        ({"file_bytes": 5000}, "bytes, the limit is 5000"),
        ({"tokens_per_example": 200}, "line 41: about "),
    ):
        code, printed = checked(path, limits=limits)
        assert code == 1
        assert said in printed
    code, printed = checked(path, limits={"validation_free": 2, "validation_share": 0.1})
    assert code == 0
    assert "note: the tuning service accepts 2 of about 6 validation rows; all are scored afterwards" in printed


def test_service_limits_counts_a_validation_split(tmp_path: Path) -> None:
    path = file_of(tmp_path, [{**row, "split": "validation" if i < 10 else "train"} for i, row in enumerate(PLAIN)])
    assert "accepts 6 of about 10 validation rows" in checked(
        path, limits={"validation_free": 6, "validation_share": 0.1}
    )[1]  # fmt: skip


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--model", "gemini-0-none"], "unknown base model 'gemini-0-none'"),
        (["--model", "gemini-2.5-flash"], "gemini-2.5-flash was retired on"),
        (["--method", "preference"], "cannot be tuned by the method 'preference'"),
        (["--set", 'plan.trials=[{"adapter_size": 32}]'], "adapter_size"),
        (["--set", "vertex.location=mars-1"], "cannot be tuned in mars-1"),
        (["--method", "distillation"], "unknown method 'distillation'"),
    ],
)
def test_service_limits_reports_a_model_without_the_method(tmp_path: Path, words: list[str], said: str) -> None:
    code, printed = checked(file_of(tmp_path, PLAIN), *words)
    assert code == 1
    assert said in printed


def test_service_limits_checks_turn_order_and_files(tmp_path: Path) -> None:
    image = {"fileData": {"mimeType": "image/png", "fileUri": "gs://b/i.png"}}
    seen = turns("user", "model")
    seen["contents"][0]["parts"].insert(0, image)
    orders = [("user", "model", "user", "model"), ("model", "user", "model"), ("user", "user", "model")]
    rows = [*(turns(*order) for order in orders), seen]
    result = {"role": "function", "parts": [{"functionResponse": {"name": "f", "response": {}}}]}
    rows.append(turns("user", "model", "user", "user", "model"))
    rows[-1]["contents"][2] = result
    code, printed = checked(file_of(tmp_path, rows), "--set", "task.kind=generation")
    assert code == 1
    assert "line 5:" not in printed
    assert "line 2: the roles are model user model; user and model must alternate" in printed
    assert "line 3: the roles are user user model" in printed
    assert "line 1:" not in printed
    assert "line 4:" not in printed
    few = {"examples_with_files": 2}
    assert "5 rows, the limit is 2 when rows have images" in checked(
        tmp_path / "rows.jsonl", "--set", "task.kind=generation", limits=few
    )[1]  # fmt: skip


def test_service_limits_checks_pairs(tmp_path: Path) -> None:
    pairs = [{"prompt": f"say {i} in {'abc'[i % 3]}", "chosen": f"yes {i}", "rejected": f"no {i}"} for i in range(20)]
    path = file_of(tmp_path, [*pairs, {"prompt": "same", "chosen": "x", "rejected": "x"}, pairs[0], {"text": "alone"}])
    code, printed = checked(path, "--method", "preference", "--set", "preprocess.jaccard_threshold=0")
    assert code == 1
    assert "rows.jsonl:21: equal_answers: " in printed
    assert "rows.jsonl:22: exact_duplicate: " in printed
    assert "rows.jsonl:23: not_a_pair: " in printed
    assert printed.endswith("20 of 23 rows usable; 1 equal_answers; 1 exact_duplicate; 1 not_a_pair\n")


PICK = st.builds(lambda t, a: (t, a), st.sampled_from(["one", "One ", "two", "three"]), st.sampled_from("abc"))


@given(
    rows=st.lists(PICK, min_size=1, max_size=14),
    conflicts=st.sampled_from(["drop", "majority", "keep"]),
    kind=st.sampled_from(["classification", "generation"]),
)
def test_service_limits_agree_with_the_preprocess_step(
    rows: list[tuple[str, str]], conflicts: Any, kind: Literal["classification", "generation"]
) -> None:
    task, config = Task(kind=kind, labels=["a", "b", "c"]), Preprocess(conflicts=conflicts)
    examples = [Example(example_id(text, answer), text, answer, line) for line, (text, answer) in enumerate(rows, 1)]
    kept, dropped = resolve_exact_duplicates(examples, task, config)
    prompt = tuned_prompt(task)
    conflict_rule = conflicts if kind == "classification" else ""
    checker = LimitChecker(LIMITS, "supervised", conflict_rule, partial(training_row, task, prompt))
    for example in examples:
        checker.add(example, example.target)
    mask, reasons = checker.count_duplicates()
    assert (mask.sum(), reasons) == (len(kept), Counter(row.reason for row in dropped))


@given(
    rows=st.lists(
        st.tuples(st.text(), st.text(), st.sampled_from([None, 'Be "brief".', "簡潔に"])), min_size=1, max_size=20
    )
)
def test_service_limits_measure_a_row_as_it_is_sent(rows: list[tuple[str, str, str | None]]) -> None:
    task = Task(kind="generation", instruction="Réponds \n en “deux” mots")
    render = partial(training_row, task, tuned_prompt(task))
    checker = LimitChecker(LIMITS.model_copy(update={"tokens_per_example": 0}), "supervised", "", render)
    for line, (text, target, system) in enumerate(rows, 1):
        checker.add(Example(str(line), text, target, line, system), target)
    sent = [
        json.dumps(render(Example("", text, target, 0, system)), ensure_ascii=False) for text, target, system in rows
    ]
    assert list(checker._sizes) == [len(line.encode()) + 1 for line in sent]
    estimates = [f"line {n}: about {estimate_tokens(line)} tokens, the limit is 0" for n, line in enumerate(sent, 1)]
    assert checker.problems()[:20] == estimates[:20]
