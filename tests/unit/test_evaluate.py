# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Evaluation with a scripted model: every row accounted for, files as promised."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

import pytest

from gemtune.config import Contestant, Evaluate, Prompt, Task
from gemtune.data.example import Example, write_examples
from gemtune.errors import UserError
from gemtune.evaluation.evaluate import Progress
from gemtune.evaluation.predictions import read_predictions
from gemtune.inference.generate import Effort
from gemtune.inference.requests import questions
from gemtune.steps import evaluate
from gemtune.steps.gate import run as gate_run

TRAIN = [Example(f"t{i}", f"training text {i}", "ab"[i % 2]) for i in range(10)]
ROWS = [
    Example(f"r{i}", f"text {i}", "ab"[i % 2], group=f"g{i // 2}", slices={"source": "web" if i % 3 else "mail"})
    for i in range(60)
]


class Busy(Exception):
    code = 503


class No(Exception):
    code = 400


@dataclass(frozen=True)
class Said:
    text: str | None
    finish_reason: str = "STOP"
    block_reason: str = ""
    input_tokens: int = 7
    output_tokens: int = 2


def effort():
    return Effort(8, 3, (Busy,), (No,), first_wait_s=0.001)


def right(question):
    number = int(question.contents[-1]["parts"][-1]["text"].rsplit("text ", 1)[1].split("\n")[0])
    return "ab"[number % 2]


@pytest.fixture
def scripted(monkeypatch):
    """Model `good` is right, `poor` says "a", `odd` gives one of every trouble."""
    troubles = {
        "r1": Said("perhaps"), "r2": Said("I'm sorry, I can't."), "r3": Said(None, "", "SAFETY"),
        "r4": Said("a b c d", "MAX_TOKENS"), "r5": No(), "r6": Said("A", "MAX_TOKENS"), "r7": Said("b", "SAFETY"),
    }  # fmt: skip

    async def ask(question):
        if question.model == "odd" and question.key in troubles:
            answer = troubles[question.key]
            if isinstance(answer, Exception):
                raise answer
            return answer
        if question.model == "down":
            raise Busy
        return Said(right(question) if question.model in ("good", "odd") else "a")

    monkeypatch.setattr(evaluate, "vertex_ask", lambda config, vertex: (ask, effort()))


@pytest.fixture
def files(tmp_path):
    write_examples(tmp_path / "rows", ROWS)
    write_examples(tmp_path / "train", TRAIN)
    return tmp_path


def evaluated(files, contestants, **config):
    paths = [str(files / name) for name in ("rows", "train", "predictions", "report")]
    who = [one.model_dump() for one in contestants]
    summary = evaluate.run(*paths[:2], who, {}, config, {}, *paths[2:])
    rows = [json.loads(line) for line in (files / "predictions").read_text().splitlines()]
    return summary, rows, json.loads((files / "report").read_text())


def test_evaluate_predicts_every_row_and_counts_errors_as_wrong(scripted, files):
    who = [Contestant(name="odd", model="odd"), Contestant(name="poor", model="poor")]
    summary, rows, report = evaluated(files, who)
    assert [(r["contestant"], r["id"]) for r in rows] == [(n, e.id) for n in ("odd", "poor", "classical") for e in ROWS]
    odd = {r["id"]: r for r in rows if r["contestant"] == "odd"}
    outcomes = [odd[f"r{i}"]["outcome"] for i in range(1, 8)]
    assert outcomes == ["invalid", "refusal", "blocked", "truncated", "error", "ok", "blocked"]
    assert [odd[f"r{i}"]["scores"]["accuracy"] for i in range(1, 8)] == [0, 0, 0, 0, 0, 1, 0]
    assert odd["r3"]["answer"] is None
    assert odd["r3"]["parsed"] is None
    found = report["contestants"][0]
    assert found["metrics"]["accuracy"]["value"] == pytest.approx(54 / 60)
    assert found["outcomes"] == {"ok": 54, "invalid": 1, "refusal": 1, "blocked": 2, "truncated": 1, "error": 1}
    assert found["confusion"]["matrix"] == [[28, 0, 2], [0, 26, 4]]
    assert found["tokens"] == {"input": 59 * 7, "output": 59 * 2, "batch_input": 0, "batch_output": 0}
    assert found["slices"]["source"]["mail"]["rows"] == 20
    assert report["task"]["labels"] == ["a", "b"]
    assert summary["metrics"]["poor accuracy"] == 0.5
    assert report["classical"]["contestant"]["model"] == "local:tfidf_logreg"
    assert len(summary["confusion"]["confusionMatrix"]["rows"]) == 3


def test_evaluate_takes_shots_from_training_rows(scripted, files):
    prompt = Prompt(name="few", shots=4)
    asked = questions(Task(labels=["a", "b"]), Contestant(name="x", model="m", prompt=prompt), ROWS, TRAIN)
    text = asked[0].contents[0]["parts"][0]["text"]
    assert text.count("training text") == 4
    assert text.count("Label: a") == text.count("Label: b") == 2
    assert text.endswith("text 0\nLabel:")


def test_evaluate_stops_when_every_request_fails(scripted, files):
    with pytest.raises(UserError, match="20 rows and no answer"):
        evaluated(files, [Contestant(name="down", model="down")])
    assert not (files / "predictions").exists()


def test_evaluate_names_a_reference_outside_the_labels(scripted, files):
    write_examples(files / "rows", [*ROWS, Example("bad", "text 3", "c", line=99)])
    paths = [str(files / name) for name in ("rows", "train", "predictions", "report")]
    with pytest.raises(UserError, match=r"line 99.*'c'"):
        evaluate.run(*paths[:2], [{"name": "g", "model": "good"}], {"labels": ["a", "b"]}, {}, {}, *paths[2:])


def test_evaluate_never_shows_labels_of_scored_rows_only(monkeypatch, files):
    asked = []

    async def ask(question):
        asked.append(question)
        return Said("c" if "unseen" in question.contents[0]["parts"][0]["text"] else "a")

    monkeypatch.setattr(evaluate, "vertex_ask", lambda config, vertex: (ask, effort()))
    write_examples(files / "rows", [*ROWS[:20], Example("new", "unseen text 0", "c")])
    _, rows, report = evaluated(files, [Contestant(name="zero", model="m", prompt=Prompt(name="zero"))])
    assert {one.system.split("Labels: ")[1].split("\n")[0] for one in asked} == {"a, b"}
    (new,) = [row for row in rows if (row["contestant"], row["id"]) == ("zero", "new")]
    assert (new["outcome"], new["parsed"], new["reference"], new["scores"]["accuracy"]) == ("invalid", None, "c", 0)
    assert report["task"]["labels"] == ["a", "b"]
    table = {row["label"]: (row["recall"], row["support"]) for row in report["contestants"][0]["per_class"]}
    assert table == {"a": (1.0, 10), "b": (0.0, 10), "c": (0.0, 1)}
    assert report["contestants"][0]["metrics"]["accuracy"]["value"] == pytest.approx(10 / 21)
    task, _ = read_predictions(str(files / "predictions"), Task())
    assert task.labels == ["a", "b", "c"]


def test_progress_is_logged_at_most_every_two_seconds(caplog):
    now = [0.0]
    progress = Progress(100, lambda: now[0])
    with caplog.at_level("INFO", "gemtune"):
        for _ in range(100):
            now[0] += 0.1
            progress()
    assert caplog.records[0].getMessage() == "progress: 20/100 rows, 10/s, 8 s left"
    assert len(caplog.records) == 4


def test_evaluate_predictions_are_read_by_the_gate(scripted, files):
    who = [
        Contestant(name="zero", model="poor"),
        Contestant(name="tuned", model="good", role="candidate"),
    ]
    evaluated(files, who, resamples=500)
    dumped = [one.model_dump() for one in who]
    decision = files / "decision"
    assert gate_run(
        str(files / "predictions"),
        dumped,
        {},
        {"resamples": 1000},
        str(files / "plan"),
        str(files / "report"),
        str(decision),
    )
    made = json.loads(decision.read_text())
    assert made["verdict"] == "deploy"
    assert made["comparisons"][0]["versus"] == "zero"
    assert made["comparisons"][0]["delta"] == 0.5
    assert not gate_run(
        str(files / "predictions"), dumped[:1], {}, {}, str(files / "plan"), str(files / "report"), str(decision)
    )
    with pytest.raises(UserError, match=r"gate\.metric is 'judge'; classification can be decided by accuracy"):
        gate_run(
            str(files / "predictions"),
            dumped,
            {},
            {"metric": "judge"},
            str(files / "plan"),
            str(files / "report"),
            str(decision),
        )
    for setting, remedy in (({"max_ece": 0.1}, "evaluate.confidence"), ({"max_cost_per_1000": 1}, "run plan first")):
        with pytest.raises(UserError, match=remedy):
            gate_run(
                str(files / "predictions"),
                dumped,
                {},
                setting,
                str(files / "plan"),
                str(files / "report"),
                str(decision),
            )
    task, answers = read_predictions(str(files / "predictions"), Task())
    assert task.labels == ["a", "b"]
    assert set(answers) == {"zero", "tuned", "classical"}


def test_evaluate_refuses_held_out_rows_before_the_gate(scripted, files):
    write_examples(files / "rows", [replace(row, split="test") for row in ROWS])
    with pytest.raises(UserError, match="sealed test rows"):
        evaluated(files, [Contestant(name="zero", model="poor")])
    assert not (files / "predictions").exists()


def test_evaluate_section_restores_integers_from_floats():
    assert Evaluate.of({"concurrency": 16.0, "attempts": 3.0}).concurrency == 16


def test_evaluate_stops_when_too_many_rows_fail(monkeypatch, files):
    async def ask(question):
        if int(question.key[1:]) % 10 == 1:
            raise Busy
        return Said("a")

    monkeypatch.setattr(evaluate, "vertex_ask", lambda config, vertex: (ask, effort()))
    with pytest.raises(UserError, match="6 of 60 rows got no answer from 'flaky'"):
        evaluated(files, [Contestant(name="flaky", model="m")])
    summary, *_ = evaluated(files, [Contestant(name="flaky", model="m")], max_error_share=0.1)
    assert summary["metrics"]["flaky accuracy"] == pytest.approx(30 / 60)


def test_evaluate_gives_reasoning_room_and_reports_truncation(monkeypatch, files, caplog):
    who = Contestant(name="cot", model="m", prompt=Prompt(name="cot", chain_of_thought=True))
    asked = questions(Task(labels=["a", "b"]), who, ROWS, TRAIN)
    assert {q.max_output_tokens for q in asked} == {1024}

    async def ask(question):
        return Said("Let me think about this", "MAX_TOKENS")

    monkeypatch.setattr(evaluate, "vertex_ask", lambda config, vertex: (ask, effort()))
    with caplog.at_level("INFO", "gemtune"):
        evaluated(files, [who])
    assert "60 of 60 answers of cot were cut off: raise max_output_tokens" in caplog.text
    assert caplog.records[-1].getMessage().startswith("done: accuracy 0.000")
