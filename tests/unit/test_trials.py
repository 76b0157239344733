# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Trials: merged where one job's checkpoints cover another's, with unique names, started from the champion."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemtune.catalogue import Catalogue
from gemtune.config import ModelVariant, Trial
from gemtune.errors import UserError
from gemtune.tuning import trials

SHIPPED = Catalogue.load()


def test_merge_trials_by_the_longest_epochs() -> None:
    listed = [Trial(epoch_count=e, adapter_size=1) for e in (4, 2, 1)] + [Trial(epoch_count=6, adapter_size=4)]
    assert [(t.epoch_count, t.adapter_size) for t in trials.merge_epoch_variants(listed)] == [(4, 1), (6, 4)]
    merged = trials.merge_epoch_variants(SHIPPED.grid)
    grid = [(t.epoch_count, t.learning_rate_multiplier, t.adapter_size) for t in merged]
    assert grid == [(4, 1, 1), (6, 1, 4), (12, 4, 4), (12, 4, 1)]


@given(st.integers(1, 40), st.integers(1, 40))
def test_merged_trial_has_its_checkpoint(longer: int, shorter: int) -> None:
    count = trials.checkpoint_count(longer)
    ends = {round(longer * k / count) for k in range(1, count + 1)}
    assert trials.covers(longer, shorter) == (shorter in ends)


def test_named_refuses_trials_of_the_same_name() -> None:
    with pytest.raises(UserError, match="trials need unique names, got a, a"):
        trials.named([Trial(name="a"), Trial(name="a", adapter_size=1)], merge=True)
    assert [trial.name for trial in trials.named([Trial(), Trial(adapter_size=1)], merge=False)] == [
        "trial-1",
        "trial-2",
    ]


def test_started_from_changes_only_trials_without_a_base() -> None:
    model = "projects/1/locations/us/models/7@2"
    champion = ModelVariant(name="c", model="e", tuned_model=model, checkpoint_id="3", base_model="gemini-3.5-flash")
    own, started = trials.started_from(champion, [Trial(base="gemini-2.5-pro"), Trial()])
    assert (own.base, own.checkpoint_id, own.base_model) == ("gemini-2.5-pro", "", "")
    assert (started.base, started.checkpoint_id, started.base_model) == (model, "3", "gemini-3.5-flash")
    assert trials.started_from(None, [Trial()]) == [Trial()]


def test_require_tunable_names_a_wrong_adapter_size() -> None:
    limited = Catalogue.load({"models": {"gemini-3.1-flash-lite": {"adapter_sizes": [1, 4]}}})
    with pytest.raises(UserError, match="adapter size 16 is not supported"):
        trials.require_tunable(limited, "us-central1", "", "gemini-3.1-flash-lite", [Trial(adapter_size=16)])
    tuned = Trial(adapter_size=16, base="projects/1/locations/us/models/7")  # only the service knows its base model
    trials.require_tunable(limited, "us-central1", "", "gemini-3.1-flash-lite", [Trial(), tuned])
