# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""A trial that learns worse than another is stopped, the best never; follow-ups stay within their tokens."""

from __future__ import annotations

from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemtune.artifacts.records import TrialLosses
from gemtune.artifacts.tuning import Diagnosis, JobRecord, TrialRecord
from gemtune.catalogue import Catalogue
from gemtune.config import Trial, Tune
from gemtune.tuning import early_stopping, tuner

RUNGS = (0.4, 0.8, 1.6, 3.2)
FALL = {
    "/train_total_loss": [(step, 5 - step / 10) for step in range(1, 41)],
    "/eval_total_loss": [(12, 3.0), (24, 2.0)],
}

runs = st.lists(st.lists(st.floats(0.01, 10), min_size=1, max_size=4), min_size=2, max_size=4)


def rungs(losses: list[float]) -> dict[str, float]:
    return {str(rung): loss for rung, loss in zip(RUNGS, losses, strict=False)}


def test_losses_at_rungs_are_of_unseen_rows() -> None:
    losses = early_stopping.losses_at_rungs(FALL, 10, 0.75)
    assert losses["0.75"] == pytest.approx(5 - (4 + 5 + 6 + 7) / 40)  # epochs 0.375 to 0.75 of the training rows
    assert losses["1.5"] == pytest.approx(2.75)  # of the validation rows, between epochs 1.2 and 2.4
    assert set(losses) == {"0.75", "1.5"}  # epoch 3 has passed, but its validation is not there
    assert early_stopping.losses_at_rungs(FALL, 10, 8) == early_stopping.losses_at_rungs({}, 10, 0.75) == {}
    assert early_stopping.losses_at_rungs({"/train_total_loss": [(10, float("nan"))]}, 10, 1) == {
        "1": early_stopping.INFINITE_LOSS
    }


def test_losses_at_rungs_read_the_preference_loss() -> None:
    assert early_stopping.losses_at_rungs({"/preference_optimization_train_loss": [(3, 0.7), (4, 0.5)]}, 4, 1) == {
        "1": 0.6
    }


def test_is_due_at_each_rung() -> None:
    assert [early_stopping.is_due({}, 0.75, epochs) for epochs in (0.7, 0.75)] == [False, True]
    assert [early_stopping.is_due({"0.75": 1.0}, 0.75, epochs) for epochs in (1.4, 1.5)] == [False, True]
    assert not early_stopping.is_due({"6.0": 1.0}, 0.75, 11)  # rungs that were never measured are not due


@given(runs, st.sets(st.integers(0, 3)))
def test_to_stop_never_stops_best_or_ended(runs: list[list[float]], ended: set[int]) -> None:
    trials = {str(n): TrialLosses(losses=rungs(losses), ended=n in ended) for n, losses in enumerate(runs)}
    stopped = early_stopping.to_stop(trials)
    assert len(stopped) < len(trials)
    assert not stopped.keys() & {str(n) for n in ended}
    alone = {str(n): TrialLosses(losses=rungs(losses[:1])) for n, losses in enumerate(runs)}
    lowest = min(losses[0] for losses in runs)
    assert {n for n in alone if n not in early_stopping.to_stop(alone)} == {
        str(n) for n, one in enumerate(runs) if one[0] == lowest
    }


def test_to_stop_compares_at_the_latest_shared_rung() -> None:
    trials = {"a": TrialLosses(losses=rungs([2.0, 1.0, 0.9])), "b": TrialLosses(losses=rungs([1.0, 1.2]))}
    assert early_stopping.to_stop(trials) == {"b": "after 0.8 epochs its loss is 1.2, another trial's was 1"}
    assert early_stopping.to_stop({**trials, "a": TrialLosses(losses=trials["a"].losses, stopped="before")}) == {}
    assert early_stopping.to_stop({"a": TrialLosses(losses={}), "b": TrialLosses(losses=rungs([1.0]))}) == {}


def test_group_of_trials_with_comparable_losses() -> None:
    trial = Trial(name="a", plan="p")
    same = [trial.model_copy(update=one) for one in ({"epoch_count": 12}, {"adapter_size": 1}, {"name": "b"})]
    assert {early_stopping.group_of(one, "all") for one in same} == {early_stopping.group_of(trial, "all")}
    other: list[dict[str, Any]] = [
        {"plan": "q"},
        {"base": "gemini-3.5-flash"},
        {"method": "preference"},
        {"reweighted": True},
    ]
    assert len({early_stopping.group_of(trial.model_copy(update=one), "all") for one in [{}, *other]}) == 5
    assert early_stopping.group_of(Trial(), "all") == ""  # of no plan


def test_group_of_the_grid_but_its_defaults() -> None:
    trials = [Trial(), *(one.model_copy(update={"plan": "p"}) for one in Catalogue.load().grid)]
    settings: tuple[Literal["marked", "all", "off"], ...] = ("marked", "all", "off")
    compared = {
        setting: [one.epoch_count for one in trials if early_stopping.group_of(one, setting)] for setting in settings
    }
    assert compared == {"marked": [6, 12, 12], "all": [4, 2, 6, 12, 12], "off": []}
    assert Tune().early_stopping == "marked"
    assert Tune().first_rung_epochs == RUNGS[0]


UNDERTRAINED = Diagnosis("undertrained", "e", "a", epoch_factor=2.0)
DIVERGED = Diagnosis("diverged", "e", "a", rate_factor=0.25)


def record(diagnosis: Diagnosis | None, billable_tokens: int) -> TrialRecord:
    """A job of a trial that billed so many tokens an epoch."""
    job = JobRecord(billable_tokens=billable_tokens)
    return TrialRecord(trial=Trial(), spec={}, base_model="m", price={}, job=job, diagnosis=diagnosis)


def test_follow_up_acts_on_the_diagnosis() -> None:
    trial = Trial(name="t", epoch_count=4, learning_rate_multiplier=4, follow_ups=2)
    longer = tuner.follow_up(trial, record(UNDERTRAINED, 100), 1000)
    assert longer is not None
    assert (longer.name, longer.epoch_count, longer.follow_up_tokens) == ("t+", 8, 200)
    last = longer.model_copy(update={"follow_ups": 0})
    assert tuner.follow_up(last, record(UNDERTRAINED, 1), 10**9) is None
    slower = tuner.follow_up(trial, record(DIVERGED, 100), 1000)
    assert slower is not None
    assert (slower.epoch_count, slower.learning_rate_multiplier, slower.follow_up_tokens) == (4, 1.0, 600)


@pytest.mark.parametrize("kind", ["fine", "overfitting", "data_problem", "unknown", "early_stopped"])
def test_follow_up_is_none_for_other_diagnoses(kind: Any) -> None:
    assert tuner.follow_up(Trial(follow_ups=3), record(None, 1), 10**9) is None
    assert tuner.follow_up(Trial(follow_ups=3), record(Diagnosis(kind, "e", "a", epoch_factor=0.5), 1), 10**9) is None


@given(st.integers(1, 30), st.integers(1, 10**6), st.integers(0, 10**7))
def test_follow_up_stays_within_the_tokens_left(epochs: int, tokens: int, left: int) -> None:
    billed, trial, room = 0, Trial(name="t", epoch_count=epochs, follow_ups=3), left
    while (after := tuner.follow_up(trial, record(UNDERTRAINED, tokens), room)) is not None:
        billed += after.epoch_count * tokens
        trial, room = after, after.follow_up_tokens
    assert billed <= left
