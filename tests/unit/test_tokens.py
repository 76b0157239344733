# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Token estimates: exact for what was counted, near for the rest, and never above their upper bound."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from samples import examples

from gemtune.artifacts.cost import Estimate
from gemtune.config import Evaluate, ModelVariant, Prompt, Task
from gemtune.cost import tokens
from gemtune.cost.tokens import TokenCounter
from gemtune.data.example import Example, Pair, example_id
from gemtune.inference.prompts import tuning_rows
from gemtune.tuning.objective import PreferenceObjective, SupervisedObjective

TASK = Task.of({"labels": ["no", "yes"]})


def characters(system: str | None, contents: list[dict[str, Any]]) -> int:
    """Counts every character as a token."""
    return len(system or "") + sum(len(part["text"]) for turn in contents for part in turn["parts"])


def words(system: str | None, contents: list[dict[str, Any]]) -> int:
    """Counts every word as a token."""
    return len((system or "").split()) + sum(len(part["text"].split()) for turn in contents for part in turn["parts"])


def counter(sample: int, task: Task = TASK, count: tokens.CountTokens = characters) -> TokenCounter:
    return TokenCounter(count, Evaluate(), sample, task)


@given(st.lists(st.integers(1, 500), min_size=1, max_size=60), st.integers(1, 60))
def test_estimate_is_exact_when_counted_and_bounded_above(lengths: list[int], sample: int) -> None:
    truth = [length * 2 + 3 for length in lengths]
    estimated = tokens.estimate(lengths, {n: truth[n] for n in range(min(sample, len(lengths)))})
    assert estimated.expected <= estimated.upper
    if sample >= len(lengths):
        assert estimated == Estimate.exact(sum(truth))


def test_estimate_of_varied_rows_is_near_and_its_bound_holds() -> None:
    bounded = near = 0
    for seed in range(200):
        rows = [len(e.text) for e in examples(150, seed)]
        truth = [max(1, round(length / 4.3 + (n * 7919 % 5) - 2)) for n, length in enumerate(rows)]
        estimated = tokens.estimate(rows, {n: truth[n] for n in range(32)})
        bounded += estimated.upper >= sum(truth)
        near += abs(estimated.expected / sum(truth) - 1) < 0.1
    assert bounded >= 199
    assert near == 200


def test_training_rows_count_the_prompt_of_a_pair_twice() -> None:
    task = Task(kind="generation", instruction="be kind", text_name="", target_name="")
    prompt = Example("1", "one two three", "a b", pairs=(Pair("1", "a b", "c"),))
    objective = PreferenceObjective()
    whole = counter(8, task, words)
    rows = {method: tuning_rows(task, [prompt], method) for method in objective.methods}
    ((_, pair),) = rows["preference"]
    asked = words(pair["systemInstruction"]["parts"][0]["text"], pair["contents"])
    assert asked >= 5
    assert whole.training_rows(rows["preference"])[0] == Estimate.exact(2 * asked + 3)
    assert whole.training_rows(rows["supervised"])[0] == Estimate.exact(asked + 2)


def test_all_rows_count_what_each_method_trains_on() -> None:
    rows = [Example(f"{n}", f"text {n}", "yes", pairs=(Pair(f"{n}", "yes", "no"), Pair(f"{n}", "yes", "maybe")))
            for n in range(6)]  # fmt: skip
    judging = tokens.JudgingCost()
    labelled = counter(8).all_rows(SupervisedObjective(), [rows, rows[:2], rows[:3]], judging)
    paired = counter(8).all_rows(PreferenceObjective(), [rows, rows[:2], rows[:3]], judging)
    assert (labelled.train, labelled.validation, labelled.test, paired.train) == (6, 2, 3, 12)
    assert set(labelled.training) == {"supervised"}
    assert paired.training["preference"].expected > 3 * paired.training["supervised"].expected


@pytest.mark.parametrize("sample", [4, 100])
def test_tuned_prompt_bounds_long_held_out_rows(sample: int) -> None:
    """A split by time may put the long rows into the test set; the training rows say nothing about them."""
    short, long = ([Example(f"{n}", "word " * (size + n), "yes") for n in range(20)] for size in (1, 400))
    variant = ModelVariant(name="p", model="m")
    estimated = counter(sample).tuned_prompt([short, long])
    (exact,) = counter(20).prompt(variant, [long], short)
    near = counter(sample).prompt(variant, [short, long], short)
    assert near[0].upper < near[1].expected <= near[1].upper
    assert estimated.expected <= estimated.upper
    assert estimated.upper > 5 * 400
    assert exact.expected == exact.upper > estimated.expected


@pytest.mark.parametrize(("prompt", "near"), [(Prompt(), 0.05), (Prompt(shots=3, selection="similar"), 0.25)])
def test_prompt_bound_holds_for_sampled_rows(monkeypatch: pytest.MonkeyPatch, prompt: Prompt, near: float) -> None:
    variant = ModelVariant(name="p", model="m", prompt=prompt)
    for seed in range(8):
        draw = random.Random(seed)
        texts = [f"{n} {'word ' * int(draw.lognormvariate(2, 1))}" for n in range(400)]
        rows = [Example(example_id(text, "yes"), text, draw.choice(["no", "yes"])) for text in texts]
        sizes = {}
        for rendered in (40, 300):
            monkeypatch.setattr(tokens, "MAX_RENDERED", rendered)
            (sizes[rendered],) = counter(300).prompt(variant, [rows[:300]], rows[300:])
        assert sizes[300].expected == sizes[300].upper <= sizes[40].upper
        assert sizes[40].expected == pytest.approx(sizes[300].expected, rel=near)


def test_count_offline_takes_four_characters_or_one_wide_one() -> None:
    turn = {"role": "user", "parts": [{"text": "abcde"}]}
    assert tokens.count_offline("abc", [turn]) == 2
    assert tokens.count_offline(None, [{"role": "user", "parts": [{"text": "日本語 abcd"}]}]) == 3 + 2
    exact = Estimate.exact(10)
    assert counter(8, count=tokens.count_offline).bounded(exact) == Estimate(expected=10, upper=15)
    assert counter(8).bounded(exact) == exact
