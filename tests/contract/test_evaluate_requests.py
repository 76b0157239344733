# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Evaluation over real HTTP, through the genuine SDK, against an emulator that misbehaves on request."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
from emulated import LOCATION, PROJECT, Server
from evaluations import evaluated, predictions

from gemtune.config import ModelVariant, Prompt
from gemtune.data.example import Example, write_examples
from gemtune.errors import UserError

LABELS = ["refund", "cancel", "login"]
ROWS = [Example(f"row{i}", f"message number {i:04d}.", LABELS[i % 3]) for i in range(240)]
ZERO_SHOT = ModelVariant(name="zero_shot", model="gemini-2.5-flash", prompt=Prompt(name="zero_shot"))


@pytest.fixture
def truth(tmp_path: Path) -> Path:
    """A scripted engine that knows every row."""
    path = tmp_path / "script.json"
    answers = {row.text: row.target for row in ROWS}
    path.write_text(json.dumps({"answers": answers, "labels": LABELS, "base_accuracy": 1.0}))
    return path


@pytest.fixture
def evaluate_all(
    start: Callable[..., Server], truth: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable:
    """Starts an emulator with faults and evaluates all rows on it; returns rows and report."""
    server = start("--engine", f"scripted:{truth}")
    monkeypatch.setenv("GOOGLE_VERTEX_BASE_URL", server.url)
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", server.url)
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", PROJECT)
    monkeypatch.setenv("GOOGLE_CLOUD_LOCATION", LOCATION)
    write_examples(tmp_path / "rows", ROWS)

    def run(faults: dict, variant: ModelVariant = ZERO_SHOT, **config):
        body = json.dumps({"paths": "generateContent", **faults}).encode()
        request = urllib.request.Request(f"{server.url}/emulator/faults", body, method="PUT")
        urllib.request.urlopen(request).read()
        settings = {"tfidf_baseline": False, "resamples": 200, **config}
        _, report = evaluated(tmp_path, [variant], train="rows", task={"labels": LABELS}, evaluate=settings)
        return predictions(tmp_path), report.variants[0]

    return run


def test_evaluate_gets_every_row_once_through_errors_drops_and_a_quota(evaluate_all):
    faults = {"error_rate": 0.14, "drop_rate": 0.06, "quota_per_minute": 12_000, "quota_burst": 20}
    rows, report = evaluate_all(faults)
    assert [row["id"] for row in rows] == [row.id for row in ROWS]
    assert report.outcomes == {"ok": 240}
    assert report.metrics["accuracy"].value == 1.0
    assert report.attempts > 260
    assert report.tokens.input > 240


def test_evaluate_counts_blocked_and_truncated_answers_as_misses(evaluate_all):
    rows, report = evaluate_all({"blocked_rate": 0.1, "truncated_rate": 0.1})
    assert report.outcomes["blocked"] > 5
    assert report.outcomes["blocked"] + report.outcomes.get("truncated", 0) + report.outcomes["ok"] == 240
    assert all(row["scores"]["accuracy"] == 0 for row in rows if row["outcome"] != "ok")


@pytest.mark.parametrize("place", ["directory", "bucket"])
def test_evaluate_rerun_sends_no_request_it_has_cached(evaluate_all, tmp_path, place):
    cache = str(tmp_path / "cache") if place == "directory" else place
    _, first = evaluate_all({}, response_cache=cache)
    _, again = evaluate_all({"error_rate": 1.0}, response_cache=cache)
    assert (first.cached, again.cached) == (0, 240)
    assert again.metrics == first.metrics


def test_evaluate_uses_log_probabilities_as_confidences_where_returned(evaluate_all):
    rows, report = evaluate_all({}, confidence="logprobs")
    assert all(0 < row["confidence"] <= 1 for row in rows if row["outcome"] == "ok")
    assert report.calibration["ece"]["value"] > 0
    plain, none = evaluate_all({})
    assert [row["answer"] for row in plain] == [row["answer"] for row in rows]
    assert {row["confidence"] for row in plain} == {None}
    assert none.calibration is None


def test_evaluate_names_an_unknown_model_at_once(evaluate_all, tmp_path):
    with pytest.raises(UserError, match=r"'gemini-0\.0-none' cannot be called"):
        evaluate_all({}, ModelVariant(name="x", model="gemini-0.0-none"))
    assert not (tmp_path / "predictions").exists()


def test_evaluate_decides_nothing_when_every_request_fails(evaluate_all):
    with pytest.raises(UserError, match=r"nothing was decided|requests all failed"):
        evaluate_all({"error_rate": 1.0}, attempts=2)
