# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""A trial that cannot win stops costing money; one that can is never stopped; a diagnosis is acted on within limits."""

from __future__ import annotations

import json
import math
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rehearsed import Emulator, jobs_of, sections, splits

from gemtune.catalogue import Catalogue
from gemtune.config import Trial, Tune
from gemtune.steps import select_model, tune
from gemtune.tuning import early_stopping
from gemtune.tuning.loss_diagnostics import Diagnosis
from gemtune.vertex import Client

RUNGS = (0.4, 0.8, 1.6, 3.2)
FALL = {
    "/train_total_loss": [(step, 5 - step / 10) for step in range(1, 41)],
    "/eval_total_loss": [(12, 3.0), (24, 2.0)],
}

runs = st.lists(st.lists(st.floats(0.01, 10), min_size=1, max_size=4), min_size=2, max_size=4)


def rungs(losses: list[float]) -> dict[str, float]:
    return {str(rung): loss for rung, loss in zip(RUNGS, losses, strict=False)}


def test_losses_are_those_of_rows_not_trained_on() -> None:
    measured = early_stopping.measure(FALL, 10, 0.75)
    assert measured["0.75"] == pytest.approx(5 - (4 + 5 + 6 + 7) / 40)  # epochs 0.375 to 0.75 of the training rows
    assert measured["1.5"] == pytest.approx(2.75)  # of the validation rows, between epochs 1.2 and 2.4
    assert set(measured) == {"0.75", "1.5"}  # epoch 3 has passed, but its validation is not there
    assert early_stopping.measure(FALL, 10, 8) == early_stopping.measure({}, 10, 0.75) == {}
    assert early_stopping.measure({"/train_total_loss": [(10, float("nan"))]}, 10, 1) == {"1": early_stopping.HOPELESS}


def test_preference_trials_race_by_their_own_loss() -> None:
    assert early_stopping.measure({"/preference_optimization_train_loss": [(3, 0.7), (4, 0.5)]}, 4, 1) == {"1": 0.6}


def test_is_looked_at_when_the_next_rung_has_passed() -> None:
    assert [early_stopping.due({}, 0.75, epochs) for epochs in (0.7, 0.75)] == [False, True]
    assert [early_stopping.due({"0.75": 1.0}, 0.75, epochs) for epochs in (1.4, 1.5)] == [False, True]
    assert not early_stopping.due({"6.0": 1.0}, 0.75, 11)  # rungs that were never measured are not waited for


@given(runs, st.sets(st.integers(0, 3)))
def test_the_best_and_the_ended_stay(runs: list[list[float]], ended: set[int]) -> None:
    now = {str(n): {"losses": rungs(losses), "ended": n in ended} for n, losses in enumerate(runs)}
    out = early_stopping.losers(now)
    assert len(out) < len(now)
    assert not out.keys() & {str(n) for n in ended}
    alone = {str(n): {"losses": rungs(losses[:1])} for n, losses in enumerate(runs)}
    lowest = min(losses[0] for losses in runs)
    assert {n for n in alone if n not in early_stopping.losers(alone)} == {
        str(n) for n, one in enumerate(runs) if one[0] == lowest
    }


def test_trials_are_compared_at_the_latest_rung_they_share() -> None:
    now = {"a": {"losses": rungs([2.0, 1.0, 0.9])}, "b": {"losses": rungs([1.0, 1.2])}}
    assert early_stopping.losers(now) == {"b": "after 0.8 epochs its loss is 1.2, another trial's was 1"}
    assert early_stopping.losers({**now, "a": {**now["a"], "out": "before"}}) == {}
    assert early_stopping.losers({"a": {"losses": {}}, "b": {"losses": rungs([1.0])}}) == {}


def test_only_trials_whose_losses_mean_the_same_race_each_other() -> None:
    trial = Trial(name="a", plan="p")
    same = [trial.model_copy(update=one) for one in ({"epoch_count": 12}, {"adapter_size": 1}, {"name": "b"})]
    assert {early_stopping.name_of(one, "always") for one in same} == {early_stopping.name_of(trial, "always")}
    other: list[dict[str, Any]] = [
        {"plan": "q"},
        {"base": "gemini-3.5-flash"},
        {"method": "preference"},
        {"weighted": True},
    ]
    assert len({early_stopping.name_of(trial.model_copy(update=one), "always") for one in [{}, *other]}) == 5
    assert early_stopping.name_of(Trial(), "always") == ""  # of no plan


def test_the_published_grid_but_for_its_defaults_races_unless_told_otherwise() -> None:
    trials = [Trial(), *(one.model_copy(update={"plan": "p"}) for one in Catalogue.load().grid)]
    racing = {
        who: [one.epoch_count for one in trials if early_stopping.name_of(one, who)]
        for who in ("some", "always", "never")
    }
    assert racing == {"some": [6, 12, 12], "always": [4, 2, 6, 12, 12], "never": []}
    assert Tune().race == "some"
    assert Tune().race_after == RUNGS[0]


UNDERTRAINED = Diagnosis("undertrained", "e", "a", epoch_factor=2.0)
DIVERGED = Diagnosis("diverged", "e", "a", rate_factor=0.25)


def test_follow_ups_do_what_the_diagnosis_says() -> None:
    trial = Trial(name="t", epoch_count=4, learning_rate_multiplier=4, follow_ups=2)
    longer = tune.follow_up(trial, UNDERTRAINED, 100, 1000)
    assert longer is not None
    assert (longer.name, longer.epoch_count, longer.follow_up_tokens) == ("t+", 8, 200)
    last = longer.model_copy(update={"follow_ups": 0})
    assert tune.follow_up(last, UNDERTRAINED, 1, 10**9) is None
    slower = tune.follow_up(trial, DIVERGED, 100, 1000)
    assert slower is not None
    assert (slower.epoch_count, slower.learning_rate_multiplier, slower.follow_up_tokens) == (4, 1.0, 600)


@pytest.mark.parametrize("kind", ["fine", "overfitting", "data_problem", "unknown", "out_of_race"])
def test_other_diagnoses_want_no_job(kind: Any) -> None:
    assert tune.follow_up(Trial(follow_ups=3), Diagnosis(kind, "e", "a", epoch_factor=0.5), 1, 10**9) is None


@given(st.integers(1, 30), st.integers(1, 10**6), st.integers(0, 10**7))
def test_follow_ups_never_bill_more_than_is_left(epochs: int, tokens: int, left: int) -> None:
    billed, trial, room = 0, Trial(name="t", epoch_count=epochs, follow_ups=3), left
    while (after := tune.follow_up(trial, UNDERTRAINED, tokens, room)) is not None:
        billed += after.epoch_count * tokens
        trial, room = after, after.follow_up_tokens
    assert billed <= left


# With the emulator.


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(runs=runs, order=st.randoms())
def test_one_trial_always_stays_in_the_race(client: Client, runs: list[list[float]], order: Any) -> None:
    plan, progress = f"p{uuid.uuid4().hex}", dict.fromkeys(range(len(runs)), 0)  # records outlive an example
    out: set[int] = set()
    while going := [n for n, done in progress.items() if done < len(runs[n]) and n not in out]:
        runner = order.choice(going)
        progress[runner] += 1
        early_stopping.tell(
            client, plan, f"r{runner}", rungs(runs[runner][: progress[runner]]), progress[runner] == len(runs[runner])
        )
        left = {n for n in range(len(runs)) if early_stopping.gave_up(client, plan, f"r{n}")}
        assert out <= left  # for good
        out = left
    assert len(out) < len(runs)


def test_a_later_trial_that_learns_better_ends_an_earlier_one(client: Client) -> None:
    assert early_stopping.tell(client, "late", "first", rungs([1.0, 0.8]), ended=False) == ""
    assert early_stopping.tell(client, "late", "second", rungs([0.7]), ended=False) == ""
    assert early_stopping.gave_up(client, "late", "first").startswith("after 0.4 epochs its loss is 1,")
    assert (
        early_stopping.tell(client, "late", "first", rungs([1.0, 0.8]), ended=True) == ""
    )  # it ended before it was cancelled
    assert early_stopping.gave_up(client, "late", "first") == ""


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    folder = tmp_path_factory.mktemp("emulator")
    (folder / "script.json").write_text(json.dumps({"step_seconds": 0.12, "first_loss": 2.0, "last_loss": 2.0}))
    running = Emulator(folder / "state", "--engine", f"scripted:{folder / 'script.json'}")
    yield running
    running.kill()


def tuned(folder: Path, name: str, **hyper: Any) -> dict[str, Any]:
    train, validation, _ = splits(folder)
    c, out = sections("tune.race=always"), str(folder / "job.json")
    return tune.run(
        train, validation, {"name": "slow", **hyper}, c["task"], c["evaluate"], c["tune"], c["vertex"], name, out
    )


def test_trial_far_behind_is_cancelled_and_not_begun_again(
    emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = emulator.point(monkeypatch)
    trial = {"epoch_count": 10, "plan": "plan-a"}
    early_stopping.tell(
        client, early_stopping.name_of(Trial(**trial), "always"), "rival", rungs([0.5, 0.1]), ended=True
    )
    result = tuned(tmp_path, "race", **trial)
    record = json.loads((tmp_path / "job.json").read_text())
    assert result["variants"] == []
    assert record["diagnosis"]["kind"] == "out_of_race"
    assert "another trial's was 0." in record["diagnosis"]["evidence"]
    assert [job.state for job in jobs_of(client, "race")] in (["CANCELLED"], ["CANCELLING"])
    assert tuned(tmp_path, "race", **trial)["variants"] == []
    assert len(jobs_of(client, "race")) == 1


def test_run_goes_on_when_a_trial_left_nothing(
    emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = emulator.point(monkeypatch)
    early_stopping.tell(
        client, early_stopping.name_of(Trial(plan="plan-b"), "always"), "rival", rungs([0.5, 0.1]), ended=True
    )
    result = tuned(tmp_path, "gone", epoch_count=9, plan="plan-b")
    again = tuned(tmp_path, "gone", epoch_count=9, plan="plan-b")  # finds what was spent before
    assert again["variants"] == result["variants"]
    c = sections()
    paths = [str(tmp_path / name) for name in ("predictions.jsonl", "scored.json", "picked.json")]
    Path(paths[1]).write_text(json.dumps({"rows": 40, "variants": result["variants"]}))
    prompt = c["baselines"][0][0]
    job = str(tmp_path / "job.json")
    who = select_model.run([job], [paths[1]], prompt, c["task"], c["pick"], c["deploy"], c["vertex"], "gone", paths[2])[
        "finalists"
    ]
    assert [one["role"] for one in who] == ["baseline"]
    spent = json.loads(Path(paths[2]).read_text())["ledger"][0]
    told = json.loads(Path(job).read_text())["job"]
    begun = spent["tokens"] / told["billable_tokens"]
    assert begun == math.ceil(told["completed_steps"] / (told["steps"] / 9))
    assert begun - 1 <= told["completed_epochs"] <= begun < 9


def test_hardly_moving_trial_is_followed_up_within_its_tokens(
    emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = emulator.point(monkeypatch)
    plain = tuned(tmp_path / "a", "plain", epoch_count=2)
    tokens = int(plain["metrics"]["billable_tokens"])
    result = tuned(tmp_path / "b", "follow", epoch_count=2, adapter_size=1, follow_ups=1, follow_up_tokens=9 * tokens)
    assert [c["name"] for c in result["variants"]] == ["slow@1", "slow@2", "slow+@1", "slow+@2"]
    record = json.loads((tmp_path / "b" / "job.json").read_text())
    assert [one["trial"]["learning_rate_multiplier"] for one in [record, *record["follow_ups"]]] == [1.0, 5.0]
    assert len(jobs_of(client, "follow")) == 2
