# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Which tuning methods the data, the catalogue and the settings allow, and what a job of each costs."""

from __future__ import annotations

import pytest

from gemtune.artifacts.cost import Estimate
from gemtune.artifacts.tuning import MethodComparison
from gemtune.catalogue import Catalogue
from gemtune.config import Evaluate, Judge, Task
from gemtune.cost.method_comparison import compare_methods
from gemtune.cost.tokens import TokenEstimates
from gemtune.data.example import Example, Pair

PRICED = {
    "models": {
        "gemini-3.5-flash": {"price": {"reinforcement": 10.0}},
        "gemini-3.1-flash-lite": {"price": {"train": 5.0}},
    }
}
PAIRS_ALLOWED = {"models": {"gemini-2.5-flash": {"retires": ""}}}
TEXT = Task(kind="generation")


def compared(
    task: Task = Task(), overrides: dict[str, object] | None = None, pairs: int = 0, judge: Judge = Judge()
) -> dict[str, MethodComparison]:
    once = Estimate(expected=1e6, upper=2e6)
    training = {"supervised": once, **({"preference": once} if pairs else {})}
    tokens = TokenEstimates(100, 10, 10, training, Estimate(expected=50, upper=60), Estimate(expected=2, upper=4))
    train = [Example(str(n), "text", "refund", pairs=(Pair("p", "a", "b"),) * pairs) for n in range(100)]
    catalogue = Catalogue.load(overrides or {})
    rows = compare_methods(task, Evaluate(judge=judge), catalogue, train, tokens, (0.1, 0.2))
    return {row.method: row for row in rows}


def test_methods_have_a_cost_or_what_they_need() -> None:
    rows = compared()
    assert (rows["supervised"].model, rows["supervised"].cost) == ("gemini-3.1-flash-lite", None)
    assert "{price: {train:" in rows["supervised"].obstacle
    assert (rows["reinforcement"].model, rows["reinforcement"].cost) == ("gemini-3.5-flash", None)
    assert "{price: {reinforcement:" in rows["reinforcement"].obstacle
    assert "pairs_from: samples" in rows["preference"].obstacle
    assert all((row.cost is None) == bool(row.obstacle) for row in rows.values())
    free = compared(overrides={"models": {"gemini-3.1-flash-lite": {"price": {"train": 0}}}})["supervised"]
    assert (free.cost, "{price: {train:" in free.obstacle) == (None, True)  # where nothing is billed
    assert compared(overrides=PRICED)["supervised"].cost == Estimate(expected=20, upper=40)
    cost = compared(overrides=PRICED)["reinforcement"].cost
    assert cost
    assert cost.expected == pytest.approx(4 * 8 * 10.0)


def test_methods_depend_on_pairs_and_models() -> None:
    assert "gemtune models" in compared(pairs=2)["preference"].obstacle
    row = compared(pairs=2, overrides=PAIRS_ALLOWED)["preference"]
    assert (row.data, row.model, row.obstacle) == ("200 pairs", "gemini-2.5-flash", "")
    assert row.cost
    assert "win rate: a lift from 0.200" in row.evidence


def test_methods_need_a_reward_for_texts() -> None:
    assert "a reward" in compared(TEXT, PRICED)["reinforcement"].obstacle
    judge = Judge(model="gemini-3.5-flash", rubric="kind")
    assert compared(TEXT, PRICED, judge=judge)["reinforcement"].obstacle == ""
