# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The predictor sends the requests of the evaluation: same answers, same confidence, and the abstain threshold."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from evaluations import evaluated, predictions
from samples import examples

from gemtune.config import ModelVariant, Task
from gemtune.data.example import write_examples
from gemtune.errors import UserError
from gemtune.predictor import Predictor
from gemtune.steps.report import recipe

MODEL = "gemini-2.5-flash"
CLEANING = {"lowercase": True, "collapse_whitespace": True}
MAP = {"method": "isotonic", "stated": [0.0, 1.0], "true": [0.0, 0.9]}


@pytest.mark.parametrize("confidence", ["votes", "verbal", "logprobs", "none"])
@pytest.mark.parametrize("shots", [0, 3])
def test_predictor_answers_equal_those_of_the_evaluation(emulator, tmp_path, monkeypatch, confidence, shots):
    emulator.point(monkeypatch)
    rows, train = examples(40, 3), examples(20, 4)
    clean = [replace(row, text=row.text.lower()) for row in rows]
    write_examples(tmp_path / "rows", clean)
    write_examples(tmp_path / "train", train)
    task = {"labels": ["refund", "delivery", "login"]}
    who = ModelVariant.of(
        {"name": "c", "model": MODEL, "prompt": {"name": "p", "shots": shots, "selection": "similar"}}
    )
    config = {"base_model": MODEL, "tfidf_baseline": False, "resamples": 200, "confidence": confidence, "samples": 3}
    _, report = evaluated(tmp_path, [who], task=task, evaluate=config)
    expected = predictions(tmp_path)
    stated = sorted(row["confidence"] for row in expected if row["confidence"] is not None)
    threshold = {"confidence": stated[len(stated) // 2] if stated else 0.5}
    served = who.model_copy(update={"calibration": {"map": MAP, "abstain": threshold}})
    made = recipe(report.task, served, report.generation, CLEANING, train)
    (tmp_path / "summary.json").write_text(json.dumps({"outcome": {"recipe": made}}))

    found = Predictor.of_run(tmp_path / "summary.json")([f"  {row.text.upper()} " for row in rows])
    assert [one.text for one in found] == [row.text for row in clean]
    assert [one.value for one in found] == [row["parsed"] for row in expected]
    for one, row in zip(found, expected, strict=True):
        if confidence == "none":
            assert one.confidence is None
        else:
            assert one.confidence == pytest.approx(0.9 * row["confidence"])
        below = confidence != "none" and row["confidence"] < threshold["confidence"]
        assert one.abstained == (below or row["parsed"] is None)
    assert bool(made["train"]) == bool(shots)


def test_predictor_abstains_on_unusable_answers_without_a_threshold(emulator, monkeypatch):
    emulator.point(monkeypatch)
    extraction = Task(
        kind="extraction", output_schema={"type": "object", "required": ["a"], "properties": {"a": {"type": "string"}}}
    )
    who = ModelVariant.of({"name": "c", "model": MODEL})
    found = Predictor(recipe(extraction, who, {"base_model": MODEL}, {}, []))(["where is my parcel", "x"])
    assert [one.abstained for one in found] == [one.value is None for one in found]
    assert {one.outcome for one in found} <= {"ok", "invalid", "truncated", "refusal"}


def test_predictor_names_a_file_that_is_not_a_summary(tmp_path):
    (tmp_path / "summary.json").write_text("{}")
    with pytest.raises(UserError, match=r"summary\.json: not a run summary with a recipe"):
        Predictor.of_run(tmp_path / "summary.json")
    with pytest.raises(UserError, match="not a run summary with a recipe"):
        Predictor.of_run(tmp_path / "none.json")
