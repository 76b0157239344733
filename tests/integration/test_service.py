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
from samples import PHRASES, examples

from gemtune import vertex
from gemtune.data.example import write_examples
from gemtune.evaluation import vertex_metrics
from gemtune.evaluation.scorers import score_sample
from gemtune.inference.generate import Given
from gemtune.steps import evaluate
from gemtune.vertex import evaluation

METRICS = ["exact_match", "bleu", "rouge_1", "rouge_2", "rouge_l", "rouge_l_sum", "rubric"]


@pytest.fixture
def emulator(tmp_path: Path) -> Iterator[Emulator]:
    answers = {phrase: label for label, phrases in PHRASES.items() for phrase in phrases}
    script = {"answers": answers, "labels": sorted(PHRASES), "base_accuracy": 0.7}
    (tmp_path / "script.json").write_text(json.dumps(script))
    running = Emulator(tmp_path / "state", "--engine", f"scripted:{tmp_path / 'script.json'}")
    yield running
    running.kill()


def evaluated(folder: Path, metrics: list[str]) -> dict[str, Any]:
    files = [str(folder / name) for name in ("rows", "train", "predictions", "report")]
    config = {"service": metrics, "classical": False, "resamples": 300, "base_model": "gemini-2.5-flash"}
    who = [{"name": "zero", "model": "gemini-2.5-flash"}]
    evaluate.run(*files[:2], who, {"labels": ["refund", "delivery", "login"]}, config, {}, *files[2:])
    report = json.loads((folder / "report").read_text())
    return dict(report["contestants"][0])


def test_vertex_metrics_score_the_same_answers(
    emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    emulator.point(monkeypatch)
    write_examples(tmp_path / "rows", examples(120, 3))  # more than one request holds
    write_examples(tmp_path / "train", examples(20, 4))
    found = evaluated(tmp_path, METRICS)
    told = found["service"]
    assert list(told) == METRICS
    assert told["exact_match"]["value"] == pytest.approx(found["metrics"]["exact_match"]["value"])
    assert 0.5 < told["exact_match"]["value"] < 0.9
    assert told["exact_match"]["ours"] == pytest.approx(told["exact_match"]["value"])
    for name in METRICS:
        low, high = (1, 5) if name == "rubric" else (0, 1)
        assert low <= told[name]["low"] <= told[name]["value"] <= told[name]["high"] <= high
        assert told[name]["scored"] == 120
    assert told["rouge_1"]["ours"] is None  # no metric of ours for labels
    # for answers of one word all of ROUGE-1, ROUGE-L and equality are the same question
    assert told["rouge_1"]["value"] == pytest.approx(told["rouge_l"]["value"]) == told["exact_match"]["value"]
    assert told["rubric"]["value"] == pytest.approx(1 + 4 * told["rouge_l"]["value"])  # as its lexical judge rates


def test_vertex_metrics_skip_a_row_without_an_answer() -> None:
    task, who = evaluate.Task(labels=["refund", "delivery", "login"]), evaluate.Contestant(name="x", model="m")
    rows = examples(4, 1)
    given = [Given(rows[0].target), Given(None), Given("  "), Given(error="busy")]
    judged = [score_sample(task, who, row, one) for row, one in zip(rows, given, strict=True)]
    sent: list[Any] = []

    def score(metric: str, texts: Any) -> list[float]:
        sent.append(texts)
        return [5.0 if metric == "rubric" else 1.0 for _ in texts]

    config = evaluate.Evaluate.of({"service": ["exact_match", "rubric"], "resamples": 200})
    told = vertex_metrics.beside(config, judged, {"exact_match": {"value": 0.25}}, score)
    assert sent == [[(rows[0].text, rows[0].target, rows[0].target)]] * 2
    assert (told["exact_match"]["value"], told["exact_match"]["ours"]) == (0.25, 0.25)
    assert told["rubric"]["value"] == (5 + 1 + 1 + 1) / 4


def test_vertex_metrics_refusal_loses_only_its_numbers(
    emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    emulator.point(monkeypatch)

    def refused(*_: Any) -> list[float]:
        raise vertex.Refused(403, "not in this region")

    monkeypatch.setattr(evaluation, "scores", refused)
    write_examples(tmp_path / "rows", examples(40, 3))
    write_examples(tmp_path / "train", examples(20, 4))
    found = evaluated(tmp_path, ["bleu"])
    assert found["service"] == {"error": "403: not in this region"}
    assert found["metrics"]["accuracy"]["value"] > 0
