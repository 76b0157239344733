# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The one-standard-error rule."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemtune.catalogue import Catalogue
from gemtune.config import Contestant
from gemtune.steps.select_model import PLAIN, Standing, _ablation, _scored, _trial, choose, learned_nothing


def standing(name: str, epoch: int, value: float, half: float = 0.0392, size: int = 4, price: float = 1.75) -> Standing:
    contestant = Contestant(name=name, model=f"projects/p/locations/us/endpoints/{name}", epoch=epoch)
    return Standing(contestant, value, value - half, value + half, size, price=price)


def test_select_takes_the_earliest_within_one_standard_error() -> None:
    chosen, reason = choose([standing("a", 1, 0.70), standing("b", 2, 0.885), standing("c", 4, 0.90)])
    assert chosen is not None
    assert chosen.contestant.name == "b"  # 0.90 less one standard error (0.02) is 0.88
    assert "within one standard error (0.020) of c" in reason


def test_select_takes_the_best_when_no_earlier_is_near() -> None:
    chosen, reason = choose([standing("a", 1, 0.70), standing("b", 2, 0.87), standing("c", 4, 0.90)])
    assert chosen is not None
    assert chosen.contestant.name == "c"
    assert "none trained less" in reason


def test_select_prefers_the_smaller_adapter_at_equal_epochs() -> None:
    chosen, _ = choose([standing("a", 2, 0.90, size=16), standing("b", 2, 0.89, size=1)])
    assert chosen is not None
    assert chosen.contestant.name == "b"


@pytest.mark.parametrize(("large", "taken"), [(0.90, "small"), (0.915, "small"), (0.95, "a-large")])
def test_select_needs_a_larger_model_to_be_clearly_better(large: float, taken: str) -> None:
    chosen, reason = choose([standing("small", 4, 0.90), standing("a-large", 1, large, size=1, price=10.5)])
    assert chosen is not None
    assert chosen.contestant.name == taken
    assert ("its model costs less" in reason) is (0.90 < large < 0.95)


def test_select_one_standard_error_can_be_off() -> None:
    chosen, _ = choose([standing("b", 2, 0.885), standing("c", 4, 0.90)], one_standard_error=False)
    assert chosen is not None
    assert chosen.contestant.name == "c"


def test_select_returns_none_without_checkpoints() -> None:
    assert choose([])[0] is None


def guessing(value: float, guess: float) -> str:
    contestant = Contestant(name="t@1", model="m", trial="t")
    return learned_nothing([Standing(contestant, value, value - 0.02, value + 0.02, 4, guess)])


def test_learned_nothing_detects_guessing() -> None:
    told = "the best checkpoint scores 0.150 (perhaps only 0.130), always giving the commonest label 0.140"
    assert guessing(0.15, 0.14) == told
    assert guessing(0.17, 0.14) == guessing(0.0, 0.0) == learned_nothing([]) == ""


scores = st.lists(
    st.tuples(st.integers(1, 20), st.floats(0, 1), st.floats(0, 0.2), st.sampled_from([1, 2, 4, 8, 16])), min_size=1
)


@given(scores)
def test_select_is_near_the_best_and_trained_least(found: list[tuple[int, float, float, int]]) -> None:
    standings = [standing(f"c{n}", e, v, h, size) for n, (e, v, h, size) in enumerate(found)]
    chosen, _ = choose(standings)
    best = max(s.value for s in standings)
    widest = max(s.standard_error for s in standings if s.value == best)
    assert chosen is not None
    assert chosen.value >= best - widest
    assert not [s for s in standings if s.value > chosen.value and s.contestant.epoch < chosen.contestant.epoch]


def arm(trial: str, value: float, alike: float | None = None) -> Standing:
    contestant = Contestant(name=f"{trial}@1", model="m", trial=trial, role="candidate")
    return Standing(contestant, value, value - 0.04, value + 0.04, like_hard=alike)


@pytest.mark.parametrize(
    ("plain", "words"),
    [(0.80, "no different for all the rows can tell"), (0.60, "+0.220, between"), (0.95, ": worse")],
)
def test_ablation_reports_the_effect_with_its_interval(plain: float, words: str) -> None:
    found = _ablation([arm("t", 0.7), arm("t", 0.82, 0.7), arm(f"t{PLAIN}", plain, 0.5), arm("other", 0.99)])
    assert words in found["sentence"]
    assert "on rows like the hard ones 0.700 and 0.500" in found["sentence"]
    assert found["low"] < found["gain"] < found["high"]


def test_ablation_needs_two_arms() -> None:
    assert _ablation([arm("t", 0.8)]) == _ablation([]) == _ablation([arm(f"t{PLAIN}", 0.8)]) == {}


@pytest.mark.parametrize(
    ("kind", "told"), [("fine", "data_problem"), ("overfitting", "data_problem"), ("undertrained", "undertrained")]
)
def test_trial_data_problem_needs_a_converged_curve(kind: str, told: str) -> None:
    trial = {"name": "t", "epoch_count": 1, "learning_rate_multiplier": 1, "adapter_size": 4}
    job = {"name": "j", "truncated": 0, "dropped": []}
    record = {"trial": trial, "job": job, "base_model": "b", "states": [], "curve": {}, "diagnosis": {"kind": kind}}
    guess = Standing(Contestant(name="t@1", model="m", trial="t"), 0.15, 0.13, 0.17, 4, 0.14)
    assert _trial(record, [guess])["diagnosis"]["kind"] == told


def test_checkpoint_scoring_is_charged_once_by_counted_tokens(tmp_path: Path) -> None:
    judged = {"gemini-2.5-flash": {"input": 100, "output": 10}}

    def entry(trial: str, asked: int) -> dict[str, object]:
        tokens = {"input": asked, "output": 10, "batch_input": asked, "batch_output": 10}
        return {"contestant": {"trial": trial}, "tokens": tokens, "opinions": judged if trial == "a" else {}}

    report = tmp_path / "report.json"
    report.write_text(json.dumps({"contestants": [entry("a", 100), entry("a", 200), entry("b", 5), entry("", 7)]}))
    price = {"train": 9.0, "input": 1.0, "output": 2.0, "batch": 0.5}
    jobs = [{"trial": {"name": name}, "price": price} for name in ("a", "b")]
    known = [{"what": "checkpoints of b on validation", "tokens": 1, "cost": 1.0}]
    line, opinions = _scored([str(report)], jobs, known, Catalogue.load())
    assert (line["what"], line["tokens"]) == ("checkpoints of a on validation", 320)
    assert line["cost"] == pytest.approx((300 + 2 * 20) / 2 / 1e6)
    assert (opinions["what"], opinions["tokens"]) == ("opinions on checkpoints of a on validation", 220)
    assert opinions["cost"] == pytest.approx((200 * 0.3 + 20 * 2.5) / 1e6)
