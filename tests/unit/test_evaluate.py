# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Evaluation with a scripted model: every row accounted for, files as promised."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

import pytest

from gemtune.config import Evaluate, ModelVariant, Prompt, Task
from gemtune.data.example import Example, write_examples
from gemtune.errors import UserError
from gemtune.evaluation.evaluate import Progress
from gemtune.evaluation.predictions import read_predictions
from gemtune.inference.generate import RetryPolicy
from gemtune.inference.requests import build_requests
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


def retry_policy():
    return RetryPolicy(8, 3, (Busy,), (No,), initial_backoff_s=0.001)


def right(request):
    number = int(request.contents[-1]["parts"][-1]["text"].rsplit("text ", 1)[1].split("\n")[0])
    return "ab"[number % 2]


@pytest.fixture
def scripted(monkeypatch):
    """Model `good` is right, `poor` says "a", `odd` gives one of every trouble."""
    troubles = {
        "r1": Said("perhaps"), "r2": Said("I'm sorry, I can't."), "r3": Said(None, "", "SAFETY"),
        "r4": Said("a b c d", "MAX_TOKENS"), "r5": No(), "r6": Said("A", "MAX_TOKENS"), "r7": Said("b", "SAFETY"),
    }  # fmt: skip

    async def generate(request):
        if request.model == "odd" and request.key in troubles:
            answer = troubles[request.key]
            if isinstance(answer, Exception):
                raise answer
            return answer
        if request.model == "down":
            raise Busy
        return Said(right(request) if request.model in ("good", "odd") else "a")

    monkeypatch.setattr(evaluate, "vertex_generate", lambda config, vertex: (generate, retry_policy()))


@pytest.fixture
def files(tmp_path):
    write_examples(tmp_path / "rows", ROWS)
    write_examples(tmp_path / "train", TRAIN)
    return tmp_path


def evaluated(files, variants, **config):
    paths = [str(files / name) for name in ("rows", "train", "predictions", "report")]
    who = [one.model_dump() for one in variants]
    summary = evaluate.run(*paths[:2], who, {}, config, {}, *paths[2:])
    rows = [json.loads(line) for line in (files / "predictions").read_text().splitlines()]
    return summary, rows, json.loads((files / "report").read_text())


def test_every_row_of_every_variant_has_a_prediction_and_trouble_is_a_miss(scripted, files):
    who = [ModelVariant(name="odd", model="odd"), ModelVariant(name="poor", model="poor")]
    summary, rows, report = evaluated(files, who)
    assert [(r["variant"], r["id"]) for r in rows] == [(n, e.id) for n in ("odd", "poor", "classical") for e in ROWS]
    odd = {r["id"]: r for r in rows if r["variant"] == "odd"}
    outcomes = [odd[f"r{i}"]["outcome"] for i in range(1, 8)]
    assert outcomes == ["invalid", "refusal", "blocked", "truncated", "error", "ok", "blocked"]
    assert [odd[f"r{i}"]["scores"]["accuracy"] for i in range(1, 8)] == [0, 0, 0, 0, 0, 1, 0]
    assert odd["r3"]["answer"] is None
    assert odd["r3"]["parsed"] is None
    found = report["variants"][0]
    assert found["metrics"]["accuracy"]["value"] == pytest.approx(54 / 60)
    assert found["outcomes"] == {"ok": 54, "invalid": 1, "refusal": 1, "blocked": 2, "truncated": 1, "error": 1}
    assert found["confusion"]["matrix"] == [[28, 0, 2], [0, 26, 4]]
    assert found["tokens"] == {"input": 59 * 7, "output": 59 * 2, "batch_input": 0, "batch_output": 0}
    assert found["slices"]["source"]["mail"]["rows"] == 20
    assert report["task"]["labels"] == ["a", "b"]
    assert summary["metrics"]["poor accuracy"] == 0.5
    assert report["classical"]["variant"]["model"] == "local:tfidf_logreg"
    assert len(summary["confusion"]["confusionMatrix"]["rows"]) == 3


def test_shots_come_from_training_rows_and_are_answered(scripted, files):
    prompt = Prompt(name="few", shots=4)
    asked = build_requests(Task(labels=["a", "b"]), ModelVariant(name="x", model="m", prompt=prompt), ROWS, TRAIN)
    text = asked[0].contents[0]["parts"][0]["text"]
    assert text.count("training text") == 4
    assert text.count("Label: a") == text.count("Label: b") == 2
    assert text.endswith("text 0\nLabel:")


def test_a_dead_line_decides_nothing(scripted, files):
    with pytest.raises(UserError, match="the first 20 requests all failed"):
        evaluated(files, [ModelVariant(name="down", model="down")])
    assert not (files / "predictions").exists()


def test_a_reference_outside_the_labels_is_named(scripted, files):
    write_examples(files / "rows", [*ROWS, Example("bad", "text 3", "c", line=99)])
    paths = [str(files / name) for name in ("rows", "train", "predictions", "report")]
    with pytest.raises(UserError, match=r"line 99.*'c'"):
        evaluate.run(*paths[:2], [{"name": "g", "model": "good"}], {"labels": ["a", "b"]}, {}, {}, *paths[2:])


def test_labels_that_only_scored_rows_bear_are_never_shown_and_always_missed(monkeypatch, files):
    asked = []

    async def generate(request):
        asked.append(request)
        return Said("c" if "unseen" in request.contents[0]["parts"][0]["text"] else "a")

    monkeypatch.setattr(evaluate, "vertex_generate", lambda config, vertex: (generate, retry_policy()))
    write_examples(files / "rows", [*ROWS[:20], Example("new", "unseen text 0", "c")])
    _, rows, report = evaluated(files, [ModelVariant(name="zero", model="m", prompt=Prompt(name="zero"))])
    assert {one.system.split("Labels: ")[1].split("\n")[0] for one in asked} == {"a, b"}
    (new,) = [row for row in rows if (row["variant"], row["id"]) == ("zero", "new")]
    assert (new["outcome"], new["parsed"], new["reference"], new["scores"]["accuracy"]) == ("invalid", None, "c", 0)
    assert report["task"]["labels"] == ["a", "b"]
    table = {row["label"]: (row["recall"], row["support"]) for row in report["variants"][0]["per_class"]}
    assert table == {"a": (1.0, 10), "b": (0.0, 10), "c": (0.0, 1)}
    assert report["variants"][0]["metrics"]["accuracy"]["value"] == pytest.approx(10 / 21)
    task, _ = read_predictions(str(files / "predictions"), Task())
    assert task.labels == ["a", "b", "c"]


def test_progress_is_told_at_most_every_two_seconds(caplog):
    now = [0.0]
    progress = Progress(100, lambda: now[0])
    with caplog.at_level("INFO", "gemtune"):
        for _ in range(100):
            now[0] += 0.1
            progress()
    assert caplog.records[0].getMessage() == "progress: 20/100 rows, 10/s, 8 s left"
    assert len(caplog.records) == 4


def test_evaluation_feeds_the_gate(scripted, files):
    who = [
        ModelVariant(name="zero", model="poor"),
        ModelVariant(name="tuned", model="good", role="candidate"),
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


def test_sealed_rows_are_read_for_the_gate_alone(scripted, files):
    write_examples(files / "rows", [replace(row, split="test") for row in ROWS])
    with pytest.raises(UserError, match="held-out test rows"):
        evaluated(files, [ModelVariant(name="zero", model="poor")])
    assert not (files / "predictions").exists()


def test_settings_survive_floats():
    assert Evaluate.of({"concurrency": 16.0, "attempts": 3.0}).concurrency == 16


def test_too_many_failed_rows_decide_nothing(monkeypatch, files):
    async def generate(request):
        if int(request.key[1:]) % 10 == 1:
            raise Busy
        return Said("a")

    monkeypatch.setattr(evaluate, "vertex_generate", lambda config, vertex: (generate, retry_policy()))
    with pytest.raises(UserError, match="6 of 60 requests to 'flaky' failed"):
        evaluated(files, [ModelVariant(name="flaky", model="m")])
    summary, *_ = evaluated(files, [ModelVariant(name="flaky", model="m")], max_error_share=0.1)
    assert summary["metrics"]["flaky accuracy"] == pytest.approx(30 / 60)


def test_reasoning_has_room_and_cut_answers_are_told(monkeypatch, files, caplog):
    who = ModelVariant(name="cot", model="m", prompt=Prompt(name="cot", chain_of_thought=True))
    asked = build_requests(Task(labels=["a", "b"]), who, ROWS, TRAIN)
    assert {q.max_output_tokens for q in asked} == {1024}

    async def generate(request):
        return Said("Let me think about this", "MAX_TOKENS")

    monkeypatch.setattr(evaluate, "vertex_generate", lambda config, vertex: (generate, retry_policy()))
    with caplog.at_level("INFO", "gemtune"):
        evaluated(files, [who])
    assert "60 of 60 answers of cot were cut off: raise max_output_tokens" in caplog.text
    assert caplog.records[-1].getMessage().startswith("done: accuracy 0.000")
