# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""What a model that was tuned on has lost is measured on the champion's own test rows, told, and stopped by setting."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gemtune.config import Contestant, Gate, Task
from gemtune.evaluation import forgetting
from gemtune.steps.gate import Decision, _with_forgetting

TASK = Task(labels=["a", "b"])
WHO = [
    Contestant(name="t@1", model="m1", role="candidate"),
    Contestant(name="champion", model="m2", role="champion"),
]


def answers(path: Path, rows: int, candidate: int, champion: int) -> str:
    """So many of the rows right."""

    def line(name: str, number: int, right: int) -> str:
        parsed = "a" if number < right else "b"
        scores = {"exact_match": float(parsed == "a"), "accuracy": float(parsed == "a")}
        told = {"contestant": name, "id": str(number), "reference": "a", "target": "a", "parsed": parsed}
        rest = {"answer": parsed, "outcome": "ok", "latency_s": 0.1, "input_tokens": 1, "output_tokens": 1}
        return json.dumps({**told, **rest, "scores": scores}) + "\n"

    pairs = (("t@1", candidate), ("champion", champion))
    path.write_text("".join(line(name, n, right) for name, right in pairs for n in range(rows)))
    return str(path)


def test_regression_is_empty_without_variants(tmp_path: Path) -> None:
    (tmp_path / "none").write_text("")
    assert forgetting.measured("", WHO, TASK, Gate()) is None
    assert forgetting.measured(str(tmp_path / "none"), WHO, TASK, Gate()) is None
    assert forgetting.measured(answers(tmp_path / "few", 5, 5, 5), WHO, TASK, Gate()) is None


@pytest.mark.parametrize(
    ("candidate", "allowed", "verdict", "words"),
    [
        (60, 1.0, "deploy", "has forgotten"),  # told, not a rule
        (60, 0.05, "keep_champion", "a loss of more than 0.05 is not ruled out"),
        (90, 0.05, "deploy", "is not shown to have forgotten"),
        (95, 0.0, "deploy", "is not shown to have forgotten"),
    ],
)
def test_gate_reports_or_stops_on_champion_regression(
    tmp_path: Path, candidate: int, allowed: float, verdict: str, words: str
) -> None:
    gate = Gate(max_forgetting=allowed)
    found = forgetting.measured(answers(tmp_path / "p", 100, candidate, 90), WHO, TASK, gate)
    assert found is not None
    assert found.delta == pytest.approx((candidate - 90) / 100)
    made = _with_forgetting(Decision("deploy", ["better"], [], [], "accuracy", 100), gate, found)
    assert made.verdict == verdict
    assert words in " ".join([*made.reasons, *made.notes])
    assert [rule.passed for rule in made.rules] == ([] if allowed == 1 else [verdict == "deploy"])
