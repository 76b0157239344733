# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Evaluation with a scripted model: every row accounted for, files as promised."""

from __future__ import annotations

from dataclasses import replace

import pytest
from evaluations import evaluated, predictions, script, selection, tuning_plan
from google.protobuf import struct_pb2

from gemtune.artifacts.cost import TokenUsage
from gemtune.artifacts.decision import DecisionRecord
from gemtune.artifacts.evaluation import Confusion, EvaluationReport, Score, VariantReport
from gemtune.artifacts.tuning import BestPrompt, TrialRecord, TuningPlan, TuningRecord
from gemtune.config import Evaluate, ModelVariant, Prompt, Task, Trial
from gemtune.contents import ModelOutput
from gemtune.data.example import Example, write_examples
from gemtune.errors import UserError
from gemtune.evaluation.predictions import read_predictions
from gemtune.evaluation.variant_scores import Progress
from gemtune.inference.generate import RetryPolicy
from gemtune.inference.prompts import build_requests
from gemtune.steps import evaluate, gate

TRAIN = [Example(f"t{i}", f"training text {i}", "ab"[i % 2]) for i in range(10)]
ROWS = [
    Example(f"r{i}", f"text {i}", "ab"[i % 2], group=f"g{i // 2}", slices={"source": "web" if i % 3 else "mail"})
    for i in range(60)
]


class Busy(Exception):
    code = 503


class No(Exception):
    code = 400


def said(text, finish_reason="STOP", block_reason=""):
    return ModelOutput(text, finish_reason, block_reason, 7, 2)


def retry_policy():
    return RetryPolicy(8, 3, (Busy,), (No,), initial_backoff_s=0.001)


def right(request):
    number = int(request.contents[-1]["parts"][-1]["text"].rsplit("text ", 1)[1].split("\n")[0])
    return "ab"[number % 2]


@pytest.fixture
def scripted(monkeypatch):
    """Model `good` is right, `poor` says "a", `odd` gives one of every trouble."""
    troubles = {
        "r1": said("perhaps"), "r2": said("I'm sorry, I can't."), "r3": said(None, "", "SAFETY"),
        "r4": said("a b c d", "MAX_TOKENS"), "r5": No(), "r6": said("A", "MAX_TOKENS"), "r7": said("b", "SAFETY"),
    }  # fmt: skip

    async def generate(request):
        if request.model == "odd" and request.key in troubles:
            answer = troubles[request.key]
            if isinstance(answer, Exception):
                raise answer
            return answer
        if request.model == "down":
            raise Busy
        return said(right(request) if request.model in ("good", "odd") else "a")

    script(monkeypatch, generate, retry_policy())


@pytest.fixture
def files(tmp_path):
    write_examples(tmp_path / "rows", ROWS)
    write_examples(tmp_path / "train", TRAIN)
    return tmp_path


def test_evaluate_writes_the_answers_before_anything_else_is_computed(scripted, files, monkeypatch):
    def fails(*_):
        raise MemoryError

    monkeypatch.setattr("gemtune.evaluation.evaluator.free_baselines", fails)
    with pytest.raises(MemoryError):
        evaluated(files, [ModelVariant(name="odd", model="odd")], free=True)
    assert [row["id"] for row in predictions(files)] == [row.id for row in ROWS]


def test_evaluate_predicts_every_row_and_counts_errors_as_wrong(scripted, files):
    who = [ModelVariant(name="odd", model="odd"), ModelVariant(name="poor", model="poor")]
    console, report = evaluated(files, who, free=True)
    rows, names = predictions(files), ("odd", "poor", "majority_class", "tfidf_baseline")
    assert [(row["variant"], row["id"]) for row in rows] == [(name, e.id) for name in names for e in ROWS]
    odd = {r["id"]: r for r in rows if r["variant"] == "odd"}
    outcomes = [odd[f"r{i}"]["outcome"] for i in range(1, 8)]
    assert outcomes == ["invalid", "refusal", "blocked", "truncated", "error", "ok", "blocked"]
    assert [odd[f"r{i}"]["scores"]["accuracy"] for i in range(1, 8)] == [0, 0, 0, 0, 0, 1, 0]
    assert odd["r3"]["answer"] is None
    assert odd["r3"]["parsed"] is None
    variant = next(v for v in report.variants if v.variant.name == "odd")
    assert variant.metrics["accuracy"].value == pytest.approx(54 / 60)
    assert variant.outcomes == {"ok": 54, "invalid": 1, "refusal": 1, "blocked": 2, "truncated": 1, "error": 1}
    assert variant.confusion.matrix == [[28, 0, 2], [0, 26, 4]]
    assert variant.tokens == TokenUsage(input=59 * 7, output=59 * 2)
    assert variant.slices["source"]["mail"].rows == 20
    assert report.task.labels == ["a", "b"]
    assert console["metrics"]["poor accuracy"] == 0.5
    assert [free.variant.model for free in report.free_baselines] == ["local:majority_class", "local:tfidf_logreg"]
    forms = {(form.outcome, form.form): form.rows for form in variant.unusable_forms}
    assert forms["invalid", "perhaps"] == forms["truncated", "<label> <label> c d"] == 1
    assert variant.invalid_rate == pytest.approx(5 / 59)  # a failed request is no answer
    assert len(console["confusion"]["confusionMatrix"]["rows"]) == 3


@pytest.mark.parametrize("count", [100, 101, 150, 400])
def test_evaluate_shows_a_confusion_matrix_that_fits_into_metadata(count, caplog):
    labels = [f"a label with quite a long name, number {i}" for i in range(count)]
    matrix = [[7] * (count + 1) for _ in range(count)]
    matrix[count - 1][3] = 1000
    table = Confusion(labels=labels, columns=[*labels, "(none)"], matrix=matrix)
    with caplog.at_level("INFO", "gemtune"):
        shown = evaluate._confusion(VariantReport.model_construct(confusion=table), labels)["confusionMatrix"]
    struct = struct_pb2.Struct()
    struct.update({"confusionMatrix": shown})
    assert struct.ByteSize() < 200_000
    names = [spec["displayName"] for spec in shown["annotationSpecs"]]
    assert len(names) == len(shown["rows"]) == min(count + 1, evaluate.MAX_MATRIX_LABELS + (count == 100))
    assert shown["rows"][names.index(labels[-1])]["row"][names.index(labels[3])] == 1000
    assert (f"the matrix has 100 of {count} labels" in caplog.text) == (count > 100)
    private = evaluate._confusion(VariantReport.model_construct(confusion=table), labels[:1])["confusionMatrix"]
    numbered = [f"label {labels.index(name) + 1}" if name in labels[1:] else name for name in names]
    assert [spec["displayName"] for spec in private["annotationSpecs"]] == numbered
    assert private["rows"] == shown["rows"]


def test_evaluate_takes_shots_from_training_rows(scripted, files):
    prompt = Prompt(name="few", shots=4)
    asked = build_requests(Task(labels=["a", "b"]), ModelVariant(name="x", model="m", prompt=prompt), ROWS, TRAIN)
    text = asked[0].contents[0]["parts"][0]["text"]
    assert text.count("training text") == 4
    assert text.count("Label: a") == text.count("Label: b") == 2
    assert text.endswith("text 0\nLabel:")


def test_evaluate_stops_when_every_request_fails(scripted, files):
    with pytest.raises(UserError, match="the first 20 requests all failed"):
        evaluated(files, [ModelVariant(name="down", model="down")])
    assert not (files / "predictions").exists()


def test_evaluate_names_a_reference_outside_the_labels(scripted, files):
    write_examples(files / "rows", [*ROWS, Example("bad", "text 3", "c", line=99)])
    with pytest.raises(UserError, match=r"line 99.*'c'"):
        evaluated(files, [ModelVariant(name="g", model="good")], task={"labels": ["a", "b"]})


def test_evaluate_never_shows_labels_of_scored_rows_only(monkeypatch, files):
    asked = []

    async def generate(request):
        asked.append(request)
        return said("c" if "unseen" in request.contents[0]["parts"][0]["text"] else "a")

    script(monkeypatch, generate, retry_policy())
    write_examples(files / "rows", [*ROWS[:20], Example("new", "unseen text 0", "c")])
    _, report = evaluated(files, [ModelVariant(name="zero", model="m", prompt=Prompt(name="zero"))])
    assert {one.system.split("Labels: ")[1].split("\n")[0] for one in asked} == {"a, b"}
    (new,) = [row for row in predictions(files) if (row["variant"], row["id"]) == ("zero", "new")]
    assert (new["outcome"], new["parsed"], new["reference"], new["scores"]["accuracy"]) == ("invalid", None, "c", 0)
    assert report.task.labels == ["a", "b"]
    table = {row.label: (row.recall, row.support) for row in report.variants[0].per_class}
    assert table == {"a": (1.0, 10), "b": (0.0, 10), "c": (0.0, 1)}
    assert report.variants[0].metrics["accuracy"].value == pytest.approx(10 / 21)
    assert read_predictions(str(files / "predictions")).task(Task()).labels == ["a", "b", "c"]


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
        ModelVariant(name="zero", model="poor"),
        ModelVariant(name="tuned", model="good", role="candidate"),
    ]
    rows = [replace(row, split="test") for row in ROWS]
    write_examples(files / "test", rows)
    evaluated(files, who, rows="test", free=True, evaluate={"resamples": 500})
    plan = tuning_plan(files / "plan", "good", {"input": 1.0, "output": 1.0})

    def passed(variants, **settings):
        chosen = selection(files / "selection", variants)
        paths = [str(files / name) for name in ("report", "decision")]
        return gate.run(str(files / "predictions"), chosen, plan, *paths, gate=settings)

    assert passed(who, resamples=1000)
    decision = DecisionRecord.read(files / "decision")
    assert decision.verdict == "deploy"
    assert decision.comparisons[0].versus == "zero"
    assert decision.comparisons[0].delta == 0.5
    assert decision.cached_answers == {}
    assert not passed(who[:1])
    with pytest.raises(UserError, match=r"gate\.metric is 'judge'; classification can be decided by accuracy"):
        passed(who, metric="judge")
    with pytest.raises(UserError, match=r"evaluate\.confidence"):
        passed(who, max_ece=0.1)
    written = read_predictions(str(files / "predictions"))
    assert written.task(Task()).labels == ["a", "b"]
    assert set(written.answers) == {"zero", "tuned", "majority_class", "tfidf_baseline"}


def test_gate_counts_answers_from_the_response_cache(scripted, files, monkeypatch):
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "p")
    variants = [ModelVariant(name="zero", model="poor"), ModelVariant(name="tuned", model="good", role="candidate")]
    write_examples(files / "test", [replace(row, split="test") for row in ROWS])
    settings = {"resamples": 500, "response_cache": str(files / "cache")}
    evaluated(files, variants[:1], rows="test", evaluate=settings)
    evaluated(files, variants, rows="test", evaluate=settings)
    plan = tuning_plan(files / "plan", "good", {"input": 1.0, "output": 1.0})
    chosen, paths = selection(files / "selection", variants), [str(files / name) for name in ("report", "decision")]
    gate.run(str(files / "predictions"), chosen, plan, *paths, gate={"resamples": 1000})
    decision = DecisionRecord.read(files / "decision")
    assert decision.cached_answers == {"zero": len(ROWS)}
    assert f"{len(ROWS)} of {len(ROWS)} answers of zero are from the response cache" in decision.notes


@pytest.mark.parametrize("role", ["baseline", "champion"])
@pytest.mark.parametrize(
    "answer",
    [
        said("no single category fits this one"),
        said("I'm sorry, I can't."),
        said(None, "", "SAFETY"),
        said("Well", "MAX_TOKENS"),
    ],
)
def test_gate_never_deploys_over_a_variant_that_is_unreadable_on_60_percent(monkeypatch, files, answer, role):
    async def generate(request):
        number = int(request.key.removeprefix("r"))
        return answer if request.model == "unread" and number % 5 < 3 else said(right(request))

    script(monkeypatch, generate, retry_policy())
    models = {"baseline": "read", "champion": "read"} | {role: "unread"}
    who = [ModelVariant(name=name, model=model, role=name) for name, model in models.items()]
    who = [who[0], ModelVariant(name="tuned", model="read", role="candidate"), *(who[1:] if role == "champion" else [])]
    write_examples(files / "test", [replace(row, split="test", group=None) for row in ROWS])
    _, report = evaluated(files, who, rows="test", free=True, evaluate={"resamples": 500, "tfidf_baseline": False})
    assert next(v for v in report.variants if v.variant.name == role).invalid_rate == pytest.approx(0.6)
    plan = tuning_plan(files / "plan", "good", {"input": 1.0, "output": 1.0})
    chosen = selection(files / "selection", who)
    paths = [str(files / name) for name in ("report", "decision")]
    assert not gate.run(
        str(files / "predictions"), chosen, plan, *paths, gate={"resamples": 1000, "min_lift_over_champion": -0.1}
    )
    decision = DecisionRecord.read(files / "decision")
    assert "60.0% of its answers are unusable" in decision.reasons[0]
    assert decision.verdict == ("none_usable" if role == "baseline" else "keep_prompt")


def test_evaluate_refuses_held_out_rows_before_the_gate(scripted, files):
    write_examples(files / "rows", [replace(row, split="test") for row in ROWS])
    with pytest.raises(UserError, match="these are test rows"):
        evaluate.run_baselines(
            str(files / "rows"), str(files / "train"), str(files / "predictions"), str(files / "report"), evaluate={}
        )
    assert not (files / "predictions").exists()


def test_evaluate_checkpoints_are_compared_with_the_best_prompt_and_the_first_job(scripted, files):
    prompt = ModelVariant(name="zero", model="poor")
    first = ModelVariant(name="first@1", model="poor", role="supervised", tuned_model="models/1")
    checkpoint = ModelVariant(name="t@2", model="good", role="candidate", tuned_model="models/2")
    plan = TuningPlan.read(tuning_plan(files / "plan", "good", {"input": 1.0, "output": 1.0}))
    best = BestPrompt(variant=prompt, score=Score(value=0.5, low=0.4, high=0.6))
    plan.model_copy(update={"best_prompt": best}).write(files / "plan")
    TuningRecord(jobs=[], start=first).write(files / "start")
    trial = TrialRecord(trial=Trial(), spec={}, base_model="good", price={}, variants=[checkpoint])
    TuningRecord(jobs=[trial]).write(files / "tuned")
    paths = [str(files / name) for name in ("rows", "train")]
    outputs = [str(files / name) for name in ("plan", "predictions", "report", "start")]
    evaluate.run_checkpoints(*paths, [str(files / "tuned")], *outputs, preference={"ranker": "reference"})
    report = EvaluationReport.read(files / "report")
    assert [row.variant.name for row in report.variants] == ["zero", "first@1", "t@2"]
    compared = {(row.candidate, row.baseline): row.wins for row in report.pairwise}
    assert compared == {("t@2", "zero"): 30, ("t@2", "first@1"): 30}
    evaluate.run_checkpoints(*paths, [str(files / "tuned")], *outputs)  # supervised tuning compares by its metric
    assert [row.variant.name for row in EvaluationReport.read(files / "report").variants] == ["t@2"]


def test_evaluate_section_restores_integers_from_floats():
    assert Evaluate.of({"concurrency": 16.0, "attempts": 3.0}).concurrency == 16


def test_evaluate_stops_when_too_many_rows_fail(monkeypatch, files):
    async def generate(request):
        if int(request.key[1:]) % 10 == 1:
            raise Busy
        return said("a")

    script(monkeypatch, generate, retry_policy())
    with pytest.raises(UserError, match="6 of 60 requests to 'flaky' failed"):
        evaluated(files, [ModelVariant(name="flaky", model="m")])
    console, _ = evaluated(files, [ModelVariant(name="flaky", model="m")], evaluate={"max_error_share": 0.1})
    assert console["metrics"]["flaky accuracy"] == pytest.approx(30 / 60)


def test_evaluate_gives_reasoning_room_and_reports_truncation(monkeypatch, files, caplog):
    who = ModelVariant(name="cot", model="m", prompt=Prompt(name="cot", chain_of_thought=True))
    asked = build_requests(Task(labels=["a", "b"]), who, ROWS, TRAIN)
    assert {q.max_output_tokens for q in asked} == {1024}

    async def generate(request):
        return said("Let me think about this", finish_reason="MAX_TOKENS")

    script(monkeypatch, generate, retry_policy())
    with caplog.at_level("INFO", "gemtune"):
        evaluated(files, [who])
    assert "60 of 60 answers of cot were truncated: raise max_output_tokens" in caplog.text
    assert caplog.records[-1].getMessage().startswith("done: accuracy 0.000")
