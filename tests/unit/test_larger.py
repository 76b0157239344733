# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""A larger model is tried only for a reason, with what did best so far, and is prompted before it is tuned."""

from __future__ import annotations

import pytest

from gemtune.config import Contestant, Larger, Trial
from gemtune.steps import escalation
from gemtune.steps.select_model import Standing

LARGE = "gemini-3.5-flash"


def standing(value: float, name: str = "t@1") -> Standing:
    trial = name.split("@")[0]
    return Standing(Contestant(name=name, model="m", role="candidate", trial=trial), value, value - 0.04, value + 0.04)


@pytest.mark.parametrize(
    ("prompted", "best", "words"),
    [
        (0.5, None, "no smaller one was tuned to an end"),
        (0.5, standing(0.96), "reaches 0.960, the target is 0.95"),
        (0.7, standing(0.705), "tuning gained +0.005 over the prompt"),
        (0.9, standing(0.85), "more or better rows first"),
        (0.5, standing(0.8), ""),
    ],
)
def test_escalation_declined_names_the_reason(prompted: float, best: Standing | None, words: str) -> None:
    why = escalation.declined(prompted, best, Larger())
    assert words in why
    assert bool(why) == bool(words)


def test_escalation_takes_the_best_hyperparameters_within_limits() -> None:
    won = Trial(name="t", epoch_count=12, adapter_size=1, learning_rate_multiplier=4, weighted=True)
    allowed = Trial(name=LARGE, base=LARGE, epoch_count=8, max_billable_tokens=77)
    made = escalation.like_the_best(allowed, standing(0.8), [{"trial": won.model_dump(mode="json")}])
    assert (made.epoch_count, made.adapter_size, made.learning_rate_multiplier, made.weighted) == (8, 1, 4, True)
    assert (made.base, made.name, made.max_billable_tokens) == (LARGE, LARGE, 77)
    assert escalation.like_the_best(allowed, standing(0.8, "other@1"), []) == allowed
