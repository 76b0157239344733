# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The evaluation service's numbers beside ours, from an emulator through the genuine client."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from emulator_process import Emulator
from evaluations import evaluated
from samples import PHRASES, examples

from gemtune.artifacts.evaluation import Score, VariantReport
from gemtune.config import Evaluate, ModelVariant, Task
from gemtune.contents import ModelOutput
from gemtune.data.example import write_examples
from gemtune.evaluation.evaluator import compare_with_vertex
from gemtune.evaluation.scorers import score_sample
from gemtune.vertex import calls, evaluation

METRICS = ["exact_match", "bleu", "rouge_1", "rouge_2", "rouge_l", "rouge_l_sum", "rubric"]


@pytest.fixture
def emulator(tmp_path: Path) -> Iterator[Emulator]:
    answers = {phrase: label for label, phrases in PHRASES.items() for phrase in phrases}
    script = {"answers": answers, "labels": sorted(PHRASES), "base_accuracy": 0.7}
    (tmp_path / "script.json").write_text(json.dumps(script))
    running = Emulator(tmp_path / "state", "--engine", f"scripted:{tmp_path / 'script.json'}")
    yield running
    running.kill()


def zero_shot(folder: Path, metrics: list[str]) -> VariantReport:
    config = {"vertex_metrics": metrics, "tfidf_baseline": False, "resamples": 300, "base_model": "gemini-2.5-flash"}
    variant = ModelVariant(name="zero", model="gemini-2.5-flash")
    _, report = evaluated(folder, [variant], task={"labels": sorted(PHRASES)}, evaluate=config)
    return report.variants[0]


def test_vertex_metrics_score_the_same_answers(
    emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    emulator.point(monkeypatch)
    write_examples(tmp_path / "rows", examples(120, 3))  # more than one request holds
    write_examples(tmp_path / "train", examples(20, 4))
    report = zero_shot(tmp_path, METRICS)
    scores = report.vertex_metrics
    assert list(scores) == METRICS
    assert scores["exact_match"].value == pytest.approx(report.metrics["exact_match"].value)
    assert 0.5 < scores["exact_match"].value < 0.9
    assert scores["exact_match"].ours == pytest.approx(scores["exact_match"].value)
    for name in METRICS:
        low, high = (1, 5) if name == "rubric" else (0, 1)
        assert low <= scores[name].low <= scores[name].value <= scores[name].high <= high
        assert scores[name].scored == 120
    assert scores["rouge_1"].ours is None  # no metric of ours for labels
    # for answers of one word ROUGE-1, ROUGE-L and equality are the same
    assert scores["rouge_1"].value == pytest.approx(scores["rouge_l"].value) == scores["exact_match"].value
    assert scores["rubric"].value == pytest.approx(1 + 4 * scores["rouge_l"].value)  # as its lexical judge rates


def test_vertex_metrics_skip_a_row_without_an_answer() -> None:
    task, variant = Task(labels=["refund", "delivery", "login"]), ModelVariant(name="x", model="m")
    rows = examples(4, 1)
    outputs = [ModelOutput(rows[0].target), ModelOutput(None), ModelOutput("  "), ModelOutput(error="busy")]
    scored = [score_sample(task, variant, row, output) for row, output in zip(rows, outputs, strict=True)]
    sent: list[Any] = []

    def score(metric: str, texts: Any) -> list[float]:
        sent.append(texts)
        return [5.0 if metric == "rubric" else 1.0 for _ in texts]

    config = Evaluate.of({"vertex_metrics": ["exact_match", "rubric"], "resamples": 200})
    own = {"exact_match": Score(value=0.25, low=0.0, high=1.0)}
    scores = compare_with_vertex(config, scored, own, score)
    assert sent == [[(rows[0].text, rows[0].target, rows[0].target)]] * 2
    assert (scores["exact_match"].value, scores["exact_match"].ours) == (0.25, 0.25)
    assert scores["rubric"].value == (5 + 1 + 1 + 1) / 4


def test_vertex_metrics_refusal_loses_only_its_numbers(
    emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    emulator.point(monkeypatch)

    def refused(*_: Any, **__: Any) -> list[float]:
        raise calls.PermanentError(403, "not in this region")

    monkeypatch.setattr(evaluation, "scores", refused)
    write_examples(tmp_path / "rows", examples(40, 3))
    write_examples(tmp_path / "train", examples(20, 4))
    report = zero_shot(tmp_path, ["bleu"])
    assert (report.vertex_metrics, report.vertex_metrics_error) == ({}, "403: not in this region")
    assert report.metrics["accuracy"].value > 0
