# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The predictions file: what is damaged, unequal or of another version decides nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gemtune.config import ModelVariant
from gemtune.errors import UserError
from gemtune.evaluation.predictions import read_predictions, write_predictions

TUNED = ModelVariant(name="tuned", model="m")


def row(variant: str, number: int) -> dict[str, Any]:
    """A row as an evaluation writes it."""
    written = {"dataset": "test", "variant": variant, "id": str(number), "reference": "a", "target": "a"}
    written |= {"parsed": "a", "answer": "a", "outcome": "ok", "scores": {"accuracy": 1.0}, "latency_s": 0.1}
    return {**written, "input_tokens": 3, "output_tokens": 1}


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"schema_version": 2}, "schema_version 2, expected 1"),
        ({"schema_version": None}, "schema_version None, expected 1"),
        ({"id": "2"}, "answered other rows"),
        ({"id": "none"}, "answered other rows"),
        ({"reference": "b"}, "another reference"),
        ({"outcome": "great"}, "is damaged: great"),
        ({"scores": {"accuracy": float("nan")}}, "is damaged: ok"),
        ({"scores": {"accuracy": "1"}}, "is damaged: ok"),
    ],
)
def test_predictions_refuse_rows_that_decide_nothing(tmp_path, change, problem):
    path = tmp_path / "predictions"
    rows = [row(variant, number) for variant in ("base", "tuned") for number in range(3)]
    write_predictions(str(path), rows)
    assert read_predictions(str(path), "test").of(TUNED).outcomes == ["ok"] * 3
    write_predictions(str(path), [*rows[:-3], {**rows[-3], **change}, *rows[-2:]])
    with pytest.raises(UserError, match=problem):
        read_predictions(str(path), "test").of(TUNED)


def test_predictions_without_version_are_refused(tmp_path):
    (tmp_path / "predictions").write_text(json.dumps(row("tuned", 1)) + "\n")
    with pytest.raises(UserError, match="KeyError"):
        read_predictions(str(tmp_path / "predictions"))
