# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""A trial that cannot win stops costing money; one that can is never stopped; a diagnosis is acted on within limits."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rehearsed import Emulator, jobs_of, sections, splits

from gemtune import pick, tune
from gemtune.config import Trial
from gemtune.tuning import race
from gemtune.tuning.curve import Diagnosis
from gemtune.vertex import Client

losses = st.lists(st.floats(0.01, 10), min_size=1, max_size=10)


@given(losses, st.integers(0, 20))
def test_reach_is_never_above_what_was_reached(mine: list[float], remaining: int) -> None:
    assert race.reachable(mine, remaining) <= min(mine)
    assert race.reachable(mine, remaining) >= race.reachable(mine, remaining + 1)


@given(losses, losses, st.integers(0, 20), st.integers(0, 20))
def test_two_trials_never_give_up_for_each_other(a: list[float], b: list[float], left_a: int, left_b: int) -> None:
    assert not (race.hopeless(a, left_a, min(b)) and race.hopeless(b, left_b, min(a)))


@given(losses, st.integers(0, 20))
def test_the_best_is_never_hopeless(mine: list[float], remaining: int) -> None:
    assert not race.hopeless(mine, remaining, min(mine))


@pytest.mark.parametrize(
    ("mine", "remaining", "rival", "hopeless"),
    [
        ([2.0, 1.9], 2, 0.3, True),  # 1.9 less 0.08 and 0.064
        ([2.0, 1.0], 8, 0.3, False),  # halving: anything may come
        ([1.0, 1.2, 1.4], 8, 0.5, True),  # rising
        ([1.0, 0.99], 8, 0.95, False),  # behind, but not far
    ],
)
def test_only_the_far_behind_give_up(mine: list[float], remaining: int, rival: float, hopeless: bool) -> None:
    assert race.hopeless(mine, remaining, rival) is hopeless


def test_behind_at_the_same_epoch_is_out_of_the_race() -> None:
    assert race.beaten([1.0], 9, {"a": [0.7, 0.1]}).startswith("after 1 epochs its validation loss is 1, another")
    assert race.beaten([1.0], 9, {"a": [0.8, 0.7]}) == ""  # less than 30 % behind after one epoch
    assert race.beaten([1.0, 0.9], 8, {"a": [0.95, 0.75]})  # more than 15 % behind after two
    assert race.beaten([1.0, 0.5], 8, {}) == ""


@given(losses, losses)
def test_only_one_of_two_is_behind(a: list[float], b: list[float]) -> None:
    assert not (race.behind(a, b) and race.behind(b, a))


UNDERTRAINED = Diagnosis("undertrained", "e", "a", epoch_factor=2.0)
DIVERGED = Diagnosis("diverged", "e", "a", rate_factor=0.25)


def test_follow_ups_do_what_the_diagnosis_says() -> None:
    trial = Trial(name="t", epoch_count=4, learning_rate_multiplier=4)
    longer = tune.follow_up(trial, UNDERTRAINED, 100, 1000)
    assert longer is not None
    assert (longer.name, longer.epoch_count, longer.follow_up_tokens) == ("t+", 8, 200)
    slower = tune.follow_up(trial, DIVERGED, 100, 1000)
    assert slower is not None
    assert (slower.epoch_count, slower.learning_rate_multiplier, slower.follow_up_tokens) == (4, 1.0, 600)


@pytest.mark.parametrize("kind", ["fine", "overfitting", "data_problem", "unknown", "out_of_race"])
def test_other_diagnoses_want_no_job(kind: Any) -> None:
    assert tune.follow_up(Trial(), Diagnosis(kind, "e", "a", epoch_factor=0.5), 1, 10**9) is None


@given(st.integers(1, 30), st.integers(1, 10**6), st.integers(0, 10**7))
def test_follow_ups_never_bill_more_than_is_left(epochs: int, tokens: int, left: int) -> None:
    billed, trial, room = 0, Trial(name="t", epoch_count=epochs), left
    while (after := tune.follow_up(trial, UNDERTRAINED, tokens, room)) is not None:
        billed += after.epoch_count * tokens
        trial, room = after, after.follow_up_tokens
    assert billed <= left


# With the emulator.


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(runs=st.lists(st.lists(st.floats(0.01, 10), min_size=1, max_size=5), min_size=2, max_size=4), order=st.randoms())
def test_one_trial_always_stays_in_the_race(client: Client, runs: list[list[float]], order: Any) -> None:
    plan, progress = f"p{uuid.uuid4().hex}", dict.fromkeys(range(len(runs)), 0)  # records outlive an example
    out: set[int] = set()
    while going := [n for n, done in progress.items() if done < len(runs[n]) and n not in out]:
        runner = order.choice(going)
        progress[runner] += 1
        remaining = len(runs[runner]) - progress[runner]
        if race.tell(client, plan, f"r{runner}", runs[runner][: progress[runner]], remaining, 1):
            out.add(runner)
    assert len(out) < len(runs)
    assert all(bool(race.gave_up(client, plan, f"r{n}")) == (n in out) for n in range(len(runs)))


@pytest.fixture
def client(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> Client:
    return emulator.point(monkeypatch)


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    folder = tmp_path_factory.mktemp("emulator")
    (folder / "script.json").write_text(json.dumps({"step_seconds": 0.12, "first_loss": 2.0, "last_loss": 2.0}))
    running = Emulator(folder / "state", "--engine", f"scripted:{folder / 'script.json'}")
    yield running
    running.kill()


def tuned(folder: Path, name: str, **hyper: Any) -> dict[str, Any]:
    train, validation, _ = splits(folder)
    c, out = sections("tune.race=true"), str(folder / "job.json")
    return tune.run(
        train, validation, {"name": "slow", **hyper}, c["task"], c["evaluate"], c["tune"], c["vertex"], name, out
    )


def test_trial_far_behind_is_cancelled_and_not_begun_again(
    emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = emulator.point(monkeypatch)
    race.tell(client, "plan-a", "rival", [0.5, 0.1], 0, 1)
    trial = {"epoch_count": 10, "plan": "plan-a"}
    result = tuned(tmp_path, "race", **trial)
    record = json.loads((tmp_path / "job.json").read_text())
    assert result["contestants"] == []
    assert record["diagnosis"]["kind"] == "out_of_race"
    assert "another trial's was 0." in record["diagnosis"]["evidence"]
    assert [job.state for job in jobs_of(client, "race")] in (["CANCELLED"], ["CANCELLING"])
    assert tuned(tmp_path, "race", **trial)["contestants"] == []
    assert len(jobs_of(client, "race")) == 1


def test_run_goes_on_when_a_trial_left_nothing(
    emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = emulator.point(monkeypatch)
    race.tell(client, "plan-b", "rival", [0.5, 0.1], 0, 1)
    result = tuned(tmp_path, "gone", epoch_count=9, plan="plan-b")
    c = sections()
    paths = [str(tmp_path / name) for name in ("predictions.jsonl", "scored.json", "picked.json")]
    Path(paths[1]).write_text(json.dumps({"rows": 40, "contestants": result["contestants"]}))
    prompt = c["baselines"][0][0]
    job = str(tmp_path / "job.json")
    who = pick.run([job], [paths[1]], prompt, c["task"], c["pick"], c["deploy"], c["vertex"], "gone", paths[2])[
        "finalists"
    ]
    assert [one["role"] for one in who] == ["baseline"]
    spent = json.loads(Path(paths[2]).read_text())["ledger"][0]
    told = json.loads(Path(job).read_text())["job"]
    assert spent["tokens"] == told["completed_epochs"] * told["billable_tokens"] < 9 * told["billable_tokens"]


def test_hardly_moving_trial_is_followed_up_within_its_tokens(
    emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = emulator.point(monkeypatch)
    plain = tuned(tmp_path / "a", "plain", epoch_count=2)
    tokens = int(plain["metrics"]["billable_tokens"])
    result = tuned(tmp_path / "b", "follow", epoch_count=2, adapter_size=1, follow_up_tokens=3 * tokens)
    assert [c["name"] for c in result["contestants"]] == ["slow@1", "slow@2", "slow+@1", "slow+@2"]
    record = json.loads((tmp_path / "b" / "job.json").read_text())
    assert [one["trial"]["learning_rate_multiplier"] for one in [record, *record["follow_ups"]]] == [1.0, 5.0]
    assert len(jobs_of(client, "follow")) == 2
