# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""A larger model is tried only for a reason, is prompted first, and is tuned with the best hyperparameters so far."""

from __future__ import annotations

import pytest

from gemtune.artifacts.evaluation import Score
from gemtune.artifacts.tuning import TrialRecord
from gemtune.config import Escalation, ModelVariant, Trial
from gemtune.steps import escalation
from gemtune.tuning.checkpoint_selection import VariantScore

LARGE = "gemini-3.5-flash"


def scored(value: float, name: str = "t@1") -> VariantScore:
    variant = ModelVariant(name=name, model="m", role="candidate", trial=name.split("@")[0])
    return VariantScore(variant, Score(value=value, low=value - 0.04, high=value + 0.04))


@pytest.mark.parametrize(
    ("prompted", "best", "words"),
    [
        (0.5, None, "no smaller model was tuned to the end"),
        (0.5, scored(0.96), "reaches 0.960, the target is 0.95"),
        (0.7, scored(0.705), "tuning gained +0.005 over the prompt"),
        (0.9, scored(0.85), "more or better rows first"),
        (0.5, scored(0.8), ""),
    ],
)
def test_reason_to_stop_names_what_was_reached(prompted: float, best: VariantScore | None, words: str) -> None:
    reason = escalation.reason_to_stop(prompted, best, Escalation())
    assert words in reason
    assert bool(reason) == bool(words)


def test_like_the_best_takes_hyperparameters_within_limits() -> None:
    won = Trial(name="t", epoch_count=12, adapter_size=1, learning_rate_multiplier=4, reweighted=True)
    allowed = Trial(name=LARGE, base=LARGE, epoch_count=8, max_billable_tokens=77)
    record = TrialRecord(trial=won, spec={}, base_model="m", price={})
    adjusted = escalation.like_the_best(allowed, scored(0.8), [record])
    assert (adjusted.epoch_count, adjusted.adapter_size, adjusted.learning_rate_multiplier, adjusted.reweighted) == (
        8,
        1,
        4,
        True,
    )
    assert (adjusted.base, adjusted.name, adjusted.max_billable_tokens) == (LARGE, LARGE, 77)
    assert escalation.like_the_best(allowed, scored(0.8, "other@1"), []) == allowed
