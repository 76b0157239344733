# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The bill is known before it is spent, stays under the limit, and every no has its reason."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from rehearsed import Emulator, examples, sections, splits

from gemtune import plan, tune
from gemtune.config import Contestant, Evaluate, Plan, Trial
from gemtune.data import Example
from gemtune.errors import UserError
from gemtune.plan import Prompted
from gemtune.tuning import bill, records, spend
from gemtune.tuning.catalogue import Catalogue, Price
from gemtune.tuning.spend import Amount, Rows
from gemtune.vertex import Client

SHIPPED = Catalogue.load()


def prompted(name: str = "zero_shot", value: float = 0.7, low: float = 0.6, tokens: int = 100) -> Prompted:
    contestant = Contestant(name=name, model="gemini-3.1-flash-lite")
    return Prompted(contestant, value, low, value + 0.05, 40, tokens, 10)


def test_best_prompt_is_the_highest_and_of_equals_the_cheaper() -> None:
    assert plan.best_prompt([prompted("a", 0.7), prompted("b", 0.8)]).contestant.name == "b"
    assert plan.best_prompt([prompted("dear", tokens=900), prompted("cheap", tokens=90)]).contestant.name == "cheap"
    with pytest.raises(UserError, match="no prompted baseline"):
        plan.best_prompt([])


@pytest.mark.parametrize(
    ("change", "best", "rows", "words"),
    [
        ({}, prompted(), (99, 40, 60), "99 training rows"),
        ({}, prompted(value=1.0, low=0.995), (500, 40, 60), "good enough"),
        ({"wanted_lift": 0.02}, prompted(), (500, 40, 60), "label more test rows"),
    ],
)
def test_reasons_against_tuning(change: dict[str, Any], best: Prompted, rows: tuple[int, ...], words: str) -> None:
    assert any(words in reason for reason in plan.reasons_against(Plan.of(change), best, rows))
    assert plan.reasons_against(Plan.of({}), prompted(), (500, 40, 60)) == []


def test_more_test_rows_notice_smaller_lifts() -> None:
    lifts = [plan.detectable_lift(0.8, n) for n in (50, 100, 500, 2000)]
    assert lifts == sorted(lifts, reverse=True)
    assert plan.detectable_lift(0.8, 1000) == pytest.approx(0.04, abs=0.002)  # 20 % of the rows may change


# Trials that share a job.


def test_shorter_trials_are_checkpoints_of_the_longest() -> None:
    trials = [Trial(epoch_count=e, adapter_size=1) for e in (4, 2, 1)] + [Trial(epoch_count=6, adapter_size=4)]
    assert [(t.epoch_count, t.adapter_size) for t in spend.shared(trials)] == [(4, 1), (6, 4)]
    grid = [(t.epoch_count, t.learning_rate_multiplier, t.adapter_size) for t in spend.shared(SHIPPED.grid)]
    assert grid == [(4, 1, 1), (6, 1, 4), (12, 4, 4), (12, 4, 1)]


@given(st.integers(1, 40), st.integers(1, 40))
def test_a_covered_trial_has_its_checkpoint(longer: int, shorter: int) -> None:
    count = spend.checkpoint_count(longer)
    ends = {round(longer * k / count) for k in range(1, count + 1)}
    assert spend.covers(longer, shorter) == (shorter in ends)


# Tokens.


@given(st.lists(st.integers(1, 500), min_size=1, max_size=60), st.integers(1, 60))
def test_counted_rows_are_exact_and_estimates_bounded_from_above(lengths: list[int], sample: int) -> None:
    truth = [length * 2 + 3 for length in lengths]
    found = spend.estimate(lengths, {n: truth[n] for n in range(min(sample, len(lengths)))})
    assert found.expected <= found.most
    if sample >= len(lengths):
        assert found == Amount(sum(truth), sum(truth))


def test_estimate_of_varied_rows_is_near_and_its_bound_holds() -> None:
    held = near = 0
    for seed in range(200):
        rows = [len(e.text) for e in examples(150, seed)]
        truth = [max(1, round(length / 4.3 + (n * 7919 % 5) - 2)) for n, length in enumerate(rows)]
        found = spend.estimate(rows, {n: truth[n] for n in range(32)})
        held += found.most >= sum(truth)
        near += abs(found.expected / sum(truth) - 1) < 0.1
    assert held >= 199
    assert near == 200


# The limit.

PRICES = st.builds(
    Price, train=st.floats(0, 100), input=st.floats(0, 10), output=st.floats(0, 30), train_basis=st.just("test")
)
TRIALS = st.lists(st.builds(Trial, epoch_count=st.integers(1, 30)), min_size=1, max_size=6)


@given(TRIALS, PRICES, st.integers(1, 10**7), st.floats(0, 500), st.floats(0, 50))
def test_no_choice_of_trials_exceeds_the_limit(
    trials: list[Trial], price: Price, tokens: int, limit: float, fixed: float
) -> None:
    named = [t.model_copy(update={"name": f"t{n}"}) for n, t in enumerate(trials)]
    rows = Rows(100, 200, Amount(tokens, tokens * 1.1), Amount(50, 80), Amount(4, 64))
    lines = {t.name: [spend.tuning_line(t, rows, price), spend.checkpoints_line(t, rows, price)] for t in named}
    chosen = spend.affordable(named, lines, Amount(fixed, fixed), limit)
    spent = fixed + sum(spend.total(lines[t.name]).most for t in chosen)
    assert not chosen or spent <= limit * (1 + 1e-9)
    if limit > fixed + sum(spend.total(x).most for x in lines.values()) * (1 + 1e-9):
        assert chosen == named


@given(TRIALS, PRICES, st.integers(1, 10**7), st.floats(0, 500), st.integers(1, 3))
def test_follow_ups_stay_under_the_limit_too(
    trials: list[Trial], price: Price, tokens: int, limit: float, rounds: int
) -> None:
    named = [t.model_copy(update={"name": f"t{n}"}) for n, t in enumerate(trials)]
    rows = Rows(100, 200, Amount(tokens, tokens * 1.1), Amount(50, 80), Amount(4, 64))
    lines = {t.name: [spend.tuning_line(t, rows, price), spend.checkpoints_line(t, rows, price)] for t in named}
    chosen = spend.affordable(named, lines, Amount(0, 0), limit)
    drawn = bill.Bill([], [], lines, chosen, [], {}, [])
    models = {"gemini-x": SHIPPED.models["gemini-3.5-flash"].model_copy(update={"price": price})}
    known = SHIPPED.model_copy(update={"models": models})
    asking, wanted = Evaluate(base_model="gemini-x"), Plan(follow_ups=rounds, max_cost=limit)
    before = spend.total(drawn.lines).most
    drawn = bill.with_follow_ups(known, asking, wanted, drawn, rows)
    assert not chosen or spend.total(drawn.lines).most <= limit * (1 + 1e-9) + 1e-9
    for trial in chosen:
        left = drawn.follow_up_tokens[trial.name]
        assert left <= rows.tokens_of(trial).most * sum(2**n for n in range(1, rounds + 1))
        before += left * price.train / 1e6
        if left:  # as many checkpoints as the follow-ups can leave
            longer = [trial.model_copy(update={"epoch_count": trial.epoch_count * 2**n}) for n in range(1, rounds + 1)]
            before += spend.total([spend.checkpoints_line(one, rows, price) for one in longer]).most
    assert before == pytest.approx(spend.total(drawn.lines).most)


def test_modality_is_the_heaviest_part_of_any_row() -> None:
    def row(mime: str) -> Example:
        part = {"fileData": {"mimeType": mime, "fileUri": "gs://b/o"}}
        return Example(id="1", text="x", target="y", contents=({"role": "user", "parts": [part]},))

    assert plan.modality(examples(2, 1)) == "text"
    assert plan.modality([row("image/png"), *examples(2, 1)]) == "image"
    assert plan.modality([row("audio/wav"), row("image/png")]) == "audio"


@pytest.mark.parametrize(
    ("model", "rows", "tokens", "wanted"),
    [
        ("gemini-3.5-flash", 500, 100, (4, 10, 4)),
        ("gemini-3.5-flash", 5000, 100, (4, 1, 8)),
        ("gemini-3.5-flash", 500, 900, (4, 1, 8)),
        ("gemini-2.5-pro", 500, 100, (20, 10, 4)),
        ("gemini-2.5-pro", 5000, 100, (10, 1, 4)),
    ],
)
def test_recommended_starts_by_family_and_size(model: str, rows: int, tokens: float, wanted: tuple[int, ...]) -> None:
    start = SHIPPED.start(model, "text", rows, tokens)
    assert (start.epoch_count, start.learning_rate_multiplier, start.adapter_size) == wanted


# With the emulator.


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    running = Emulator(tmp_path_factory.mktemp("emulator"))
    yield running
    running.kill()


@pytest.fixture
def client(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> Client:
    return emulator.point(monkeypatch)


def planned(
    folder: Path, name: str, *overrides: str, train: int = 120, searched: bool = False, augmented: str = ""
) -> tuple[dict[str, Any], dict[str, Any]]:
    paths, c = splits(folder, train=train), sections(*overrides)
    report = folder / "report.json"
    best = Contestant(name="zero_shot", model=c["evaluate"]["base_model"]).model_dump(mode="json")
    score = {"value": 0.6, "low": 0.5, "high": 0.7}
    entry = {"contestant": best, "metrics": {"accuracy": score}, "tokens": {"input": 3000, "output": 80}}
    search = {"input": 1_000_000, "output": 0}
    report.write_text(
        json.dumps({"rows": 40, "contestants": [entry], **({"search_tokens": search} if searched else {})})
    )
    out = folder / "plan.json"
    told = c["task"], c["evaluate"], c["plan"], c["vertex"]
    result = plan.run([str(report)], *paths, *told, name, str(out), augmented=augmented)
    return result, json.loads(out.read_text())


def test_plan_lists_the_trials_and_the_bill(client: Client, tmp_path: Path) -> None:
    result, told = planned(tmp_path, "lists", "plan.preset=grid")
    assert result["worthwhile"] is told["worthwhile"] is True
    assert [t["name"] for t in result["trials"]] == ["trial-3", "trial-4", "trial-2", "trial-1"]  # longest first
    assert told["cost"] == pytest.approx(sum(line["cost"] for line in told["costs"]))
    assert told["cost"] <= told["cost_at_most"] <= told["max_cost"]
    assert told["best_prompt"]["contestant"]["name"] == result["best_prompt"]["name"] == "zero_shot"
    assert "is assumed" in told["warnings"][0]


def test_what_a_prompt_search_cost_is_on_the_bill(client: Client, tmp_path: Path) -> None:
    _, plain = planned(tmp_path, "plain")
    _, told = planned(tmp_path, "searched", searched=True)
    assert told["cost"] - plain["cost"] == pytest.approx(0.25)


def test_what_augmentation_cost_is_on_the_bill_and_under_the_limit(client: Client, tmp_path: Path) -> None:
    _, plain = planned(tmp_path, "plain")
    report = tmp_path / "augmentation.json"
    report.write_text(json.dumps({"spent": [{"what": "paraphrases (spent)", "tokens": 1000, "cost": 0.4}]}))
    _, told = planned(tmp_path, "multiplied", augmented=str(report))
    assert told["cost"] - plain["cost"] == pytest.approx(0.4)
    assert {"what": "paraphrases (spent)", "tokens": 1000, "cost": 0.4, "at_most": 0.4} in told["costs"]
    poor, why = planned(tmp_path, "multiplied-poor", "plan.max_cost=0.4", augmented=str(report))
    assert not poor["worthwhile"]
    assert "more than max_cost 0.40" in why["reasons"][0]


def test_dear_trials_are_left_out_and_named(client: Client, tmp_path: Path) -> None:
    result, told = planned(tmp_path, "dear", "plan.preset=grid", "plan.max_cost=0.3")
    assert 0 < len(result["trials"]) < 4
    assert len(result["trials"]) + len(told["left_out"]) == 4
    assert told["cost_at_most"] <= 0.3


def test_no_money_no_tuning(client: Client, tmp_path: Path) -> None:
    result, told = planned(tmp_path, "poor", "plan.max_cost=0.01")
    assert (result["worthwhile"], result["trials"]) == (False, [])
    assert "more than max_cost 0.01" in told["reasons"][0]


def test_nothing_new_nothing_tuned(client: Client, tmp_path: Path) -> None:
    result, told = planned(tmp_path, "stale")
    records.change(client, "decisions/stale.json", lambda _: {"plan": told["fingerprint"]})
    again, why = planned(tmp_path, "stale")
    assert (result["worthwhile"], again["worthwhile"]) == (True, False)
    assert "nothing is new" in why["reasons"][0]
    assert planned(tmp_path, "stale", "plan.skip_unchanged=false")[0]["worthwhile"]
    assert planned(tmp_path, "stale", "plan.trials=[{epoch_count: 2}]")[0]["worthwhile"]
    assert planned(tmp_path / "more", "stale", train=130)[0]["worthwhile"]


def test_trials_start_from_the_champion_by_setting(client: Client, tmp_path: Path) -> None:
    model = "projects/1/locations/us-central1/models/7@2"
    serving = Contestant(name="t@3", model="projects/1/locations/us/endpoints/9", tuned_model=model, checkpoint_id="3")
    entry = {"contestant": serving.model_dump(mode="json")}
    records.change(client, records.champion_key("goes-on"), lambda _: {"current": entry})
    fresh, _ = planned(tmp_path, "goes-on")
    again, told = planned(tmp_path, "goes-on", "plan.continue_champion=true")
    first, _ = planned(tmp_path, "new", "plan.continue_champion=true")
    assert [(t["base"], t["checkpoint_id"]) for t in fresh["trials"] + again["trials"] + first["trials"]] == [
        ("", ""),
        (model, "3"),
        ("", ""),
    ]
    assert told["prices"] == SHIPPED.models["gemini-3.1-flash-lite"].price.model_dump()


def test_a_champion_of_a_larger_model_costs_what_that_one_costs(client: Client, tmp_path: Path) -> None:
    _, plain = planned(tmp_path, "grown", "plan.continue_champion=true")
    serving = Contestant(
        name="t@3", model="projects/1/locations/us/endpoints/9", tuned_model="projects/1/locations/us/models/7@2",
        base_model="gemini-3.5-flash",
    )  # fmt: skip
    entry = {"contestant": serving.model_dump(mode="json")}
    records.change(client, records.champion_key("grown"), lambda _: {"current": entry})
    _, beside = planned(tmp_path, "grown")
    result, onwards = planned(tmp_path, "grown", "plan.continue_champion=true")

    def cost(told: dict[str, Any], what: str) -> float:
        return next(float(line["cost"]) for line in told["costs"] if line["what"].startswith(what))

    small, large = (SHIPPED.models[name].price for name in ("gemini-3.1-flash-lite", "gemini-3.5-flash"))
    assert cost(beside, "tuning") == cost(plain, "tuning")
    assert cost(plain, "candidate and") < cost(beside, "candidate and") < cost(onwards, "candidate and")
    assert cost(onwards, "tuning") / cost(plain, "tuning") == pytest.approx(large.train / small.train)
    assert onwards["model_prices"]["gemini-3.5-flash"] == large.model_dump()
    assert result["trials"][0]["base_model"] == "gemini-3.5-flash"


def test_trials_of_one_name_are_refused(client: Client, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="names of their own, got a, a"):
        planned(tmp_path, "names", "plan.trials=[{name: a}, {name: a, adapter_size: 1}]")


def test_several_base_models_cost_what_each_costs(client: Client, tmp_path: Path) -> None:
    trials = "plan.trials=[{epoch_count: 2}, {epoch_count: 2, base: gemini-3.5-flash}]"
    _, told = planned(tmp_path, "two", trials)
    small, large = (line for line in told["costs"] if line["what"].startswith("tuning"))
    assert small["tokens"] == large["tokens"]
    assert large["cost"] / small["cost"] == pytest.approx(33.75 / 5.625)


def test_model_that_cannot_be_tuned_is_refused(client: Client, tmp_path: Path) -> None:
    over = "vertex.catalogue={models: {gemini-3.1-flash-lite: {adapter_sizes: [1, 4]}}}"
    with pytest.raises(UserError, match="adapter size 16 is not supported"):
        planned(tmp_path, "wrong", over, "plan.trials=[{adapter_size: 16}]")


@settings(
    max_examples=3, deadline=None, derandomize=True, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
)
@given(
    st.lists(st.tuples(st.integers(1, 5), st.sampled_from([1, 4, 16])), min_size=1, max_size=3, unique=True),
    st.floats(0.02, 0.8),
    st.integers(4, 200),
    st.integers(100, 160),
)
def test_no_configuration_bills_more_than_its_limit(
    client: Client,
    tmp_path_factory: pytest.TempPathFactory,
    hyper: list[tuple[int, int]],
    limit: float,
    sample: int,
    train: int,
) -> None:
    folder = tmp_path_factory.mktemp("limit")
    trials = ", ".join(f"{{epoch_count: {e}, adapter_size: {a}}}" for e, a in hyper)
    settings_ = (f"plan.trials=[{trials}]", f"plan.max_cost={limit}", f"plan.token_sample={sample}")
    result, told = planned(folder, folder.name.lower(), *settings_, train=train)
    billed, c = 0.0, sections()
    for trial in result["trials"]:
        files, out = [str(folder / f"{split}.jsonl") for split in ("train", "validation")], str(folder / "job.json")
        tune.run(*files, trial, c["task"], c["evaluate"], c["tune"], c["vertex"], folder.name.lower(), out)
        job = json.loads((folder / "job.json").read_text())["job"]
        billed += job["billable_tokens"] * trial["epoch_count"] * told["prices"]["train"] / 1e6
    assert billed <= limit
    forecast = sum(line["cost"] for line in told["costs"] if line["what"].startswith("tuning"))
    assert billed == pytest.approx(forecast, rel=0.1)
