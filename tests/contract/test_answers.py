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

from gemtune.data.example import Example, write_examples
from gemtune.errors import UserError
from gemtune.steps import evaluate

LABELS = ["refund", "cancel", "login"]
ROWS = [Example(f"row{i}", f"message number {i:04d}.", LABELS[i % 3]) for i in range(240)]
WHO = [{"name": "zero_shot", "model": "gemini-2.5-flash", "prompt": {"name": "zero_shot"}}]


@pytest.fixture
def truth(tmp_path: Path) -> Path:
    """A scripted engine that knows every row."""
    path = tmp_path / "script.json"
    answers = {row.text: row.target for row in ROWS}
    path.write_text(json.dumps({"answers": answers, "labels": LABELS, "base_accuracy": 1.0}))
    return path


@pytest.fixture
def asked(start: Callable[..., Server], truth: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable:
    """Starts an emulator with faults and evaluates all rows on it; returns rows and report."""
    server = start("--engine", f"scripted:{truth}")
    monkeypatch.setenv("GOOGLE_VERTEX_BASE_URL", server.url)
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", PROJECT)
    monkeypatch.setenv("GOOGLE_CLOUD_LOCATION", LOCATION)
    write_examples(tmp_path / "rows", ROWS)

    def run(faults: dict, who: list = WHO, **config):
        body = json.dumps({"paths": "generateContent", **faults}).encode()
        request = urllib.request.Request(f"{server.url}/emulator/faults", body, method="PUT")
        urllib.request.urlopen(request).read()
        paths = [str(tmp_path / name) for name in ("rows", "rows", "predictions", "report")]
        settings = {"classical": False, "resamples": 200, **config}
        evaluate.run(*paths[:2], who, {"labels": LABELS}, settings, {}, *paths[2:])
        rows = [json.loads(line) for line in (tmp_path / "predictions").read_text().splitlines()]
        return rows, json.loads((tmp_path / "report").read_text())["variants"][0]

    return run


def test_every_row_comes_back_once_through_errors_drops_and_a_quota(asked):
    faults = {"error_rate": 0.14, "drop_rate": 0.06, "quota_per_minute": 12_000, "quota_burst": 20}
    rows, report = asked(faults)
    assert [row["id"] for row in rows] == [row.id for row in ROWS]
    assert report["outcomes"] == {"ok": 240}
    assert report["metrics"]["accuracy"]["value"] == 1.0
    assert report["attempts"] > 260
    assert report["tokens"]["input"] > 240


def test_blocked_and_cut_answers_are_misses_of_their_own_kind(asked):
    rows, report = asked({"blocked_rate": 0.1, "truncated_rate": 0.1})
    assert report["outcomes"]["blocked"] > 5
    assert report["outcomes"]["blocked"] + report["outcomes"].get("truncated", 0) + report["outcomes"]["ok"] == 240
    assert all(row["scores"]["accuracy"] == 0 for row in rows if row["outcome"] != "ok")


def test_a_rerun_pays_for_nothing_it_has(asked, tmp_path):
    _, first = asked({}, cache=str(tmp_path / "cache"))
    _, again = asked({"error_rate": 1.0}, cache=str(tmp_path / "cache"))
    assert (first["cached"], again["cached"]) == (0, 240)
    assert again["metrics"] == first["metrics"]


def test_log_probabilities_are_confidences_where_they_are_told(asked):
    rows, report = asked({}, confidence="logprobs")
    assert all(0 < row["confidence"] <= 1 for row in rows if row["outcome"] == "ok")
    assert report["calibration"]["ece"]["value"] > 0
    plain, none = asked({})
    assert [row["answer"] for row in plain] == [row["answer"] for row in rows]
    assert {row["confidence"] for row in plain} == {None}
    assert "calibration" not in none


def test_an_unknown_model_is_named_at_once(asked, tmp_path):
    with pytest.raises(UserError, match=r"'gemini-0\.0-none' cannot be called"):
        asked({}, who=[{"name": "x", "model": "gemini-0.0-none"}])
    assert not (tmp_path / "predictions").exists()


def test_a_service_that_only_fails_decides_nothing(asked):
    with pytest.raises(UserError, match=r"nothing was decided|requests all failed"):
        asked({"error_rate": 1.0}, attempts=2)
