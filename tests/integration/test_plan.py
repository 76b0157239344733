# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The bill is known before it is spent, stays under the limit, and every no has its reason."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from emulator_process import Taken, cost_of
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from samples import examples, sections, splits

from gemtune.catalogue import Catalogue, Price
from gemtune.config import Contestant, Evaluate, Plan, Trial
from gemtune.cost import bill, spend
from gemtune.cost.spend import Amount, Rows
from gemtune.data.example import Example
from gemtune.errors import UserError
from gemtune.state import store
from gemtune.steps import evaluate, plan_tuning, report, select_model, tune
from gemtune.steps.plan_tuning import Prompted
from gemtune.vertex import Client

SHIPPED = Catalogue.load()


def prompted(name: str = "zero_shot", value: float = 0.7, low: float = 0.6, tokens: int = 100) -> Prompted:
    contestant = Contestant(name=name, model="gemini-3.1-flash-lite")
    return Prompted(contestant, value, low, value + 0.05, 40, tokens, 10)


def test_best_prompt_is_the_highest_then_the_cheaper() -> None:
    assert plan_tuning.best_prompt([prompted("a", 0.7), prompted("b", 0.8)]).contestant.name == "b"
    assert (
        plan_tuning.best_prompt([prompted("dear", tokens=900), prompted("cheap", tokens=90)]).contestant.name == "cheap"
    )
    with pytest.raises(UserError, match="no prompted baseline"):
        plan_tuning.best_prompt([])


@pytest.mark.parametrize(
    ("change", "best", "rows", "words"),
    [
        ({}, prompted(), (99, 40, 60), "99 training rows"),
        ({}, prompted(value=1.0, low=0.995), (500, 40, 60), "good enough"),
        ({"wanted_lift": 0.02}, prompted(), (500, 40, 60), "label more test rows"),
    ],
)
def test_reasons_against_lists_each_reason(
    change: dict[str, Any], best: Prompted, rows: tuple[int, ...], words: str
) -> None:
    assert any(words in reason for reason in plan_tuning.reasons_against(Plan.of(change), best, rows))
    assert plan_tuning.reasons_against(Plan.of({}), prompted(), (500, 40, 60)) == []


def test_detectable_lift_falls_with_test_rows() -> None:
    lifts = [plan_tuning.detectable_lift(0.8, n) for n in (50, 100, 500, 2000)]
    assert lifts == sorted(lifts, reverse=True)
    assert plan_tuning.detectable_lift(0.8, 1000) == pytest.approx(0.04, abs=0.002)  # 20 % of the rows may change


# Trials that share a job.


def test_merge_trials_by_the_longest_epochs() -> None:
    trials = [Trial(epoch_count=e, adapter_size=1) for e in (4, 2, 1)] + [Trial(epoch_count=6, adapter_size=4)]
    assert [(t.epoch_count, t.adapter_size) for t in spend.shared(trials)] == [(4, 1), (6, 4)]
    grid = [(t.epoch_count, t.learning_rate_multiplier, t.adapter_size) for t in spend.shared(SHIPPED.grid)]
    assert grid == [(4, 1, 1), (6, 1, 4), (12, 4, 4), (12, 4, 1)]


@given(st.integers(1, 40), st.integers(1, 40))
def test_merged_trial_has_its_checkpoint(longer: int, shorter: int) -> None:
    count = spend.checkpoint_count(longer)
    ends = {round(longer * k / count) for k in range(1, count + 1)}
    assert spend.covers(longer, shorter) == (shorter in ends)


# Tokens.


@given(st.lists(st.integers(1, 500), min_size=1, max_size=60), st.integers(1, 60))
def test_estimate_is_exact_when_counted_and_bounded_above(lengths: list[int], sample: int) -> None:
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
def test_affordable_trials_never_exceed_the_limit(
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
def test_affordable_follow_ups_never_exceed_the_limit(
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

    assert plan_tuning.modality(examples(2, 1)) == "text"
    assert plan_tuning.modality([row("image/png"), *examples(2, 1)]) == "image"
    assert plan_tuning.modality([row("audio/wav"), row("image/png")]) == "audio"


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
def test_preset_recommended_depends_on_family_and_size(
    model: str, rows: int, tokens: float, wanted: tuple[int, ...]
) -> None:
    start = SHIPPED.start(model, "text", rows, tokens)
    assert (start.epoch_count, start.learning_rate_multiplier, start.adapter_size) == wanted


# With the emulator.


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
    result = plan_tuning.run([str(report)], *paths, *told, name, str(out), augmented=augmented)
    return result, json.loads(out.read_text())


def test_plan_lists_trials_and_costs(client: Client, tmp_path: Path) -> None:
    result, told = planned(tmp_path, "lists", "plan.preset=grid")
    assert result["worthwhile"] is told["worthwhile"] is True
    assert [t["name"] for t in result["trials"]] == ["trial-3", "trial-4", "trial-2", "trial-1"]  # longest first
    assert told["cost"] == pytest.approx(sum(line["cost"] for line in told["costs"]))
    assert told["cost"] <= told["cost_at_most"] <= told["max_cost"]
    assert told["best_prompt"]["contestant"]["name"] == result["best_prompt"]["name"] == "zero_shot"
    assert "is assumed" in told["warnings"][0]


def test_plan_costs_include_a_prompt_search(client: Client, tmp_path: Path) -> None:
    _, plain = planned(tmp_path, "plain")
    _, told = planned(tmp_path, "searched", searched=True)
    assert told["cost"] - plain["cost"] == pytest.approx(0.25)


def test_plan_costs_include_augmentation(client: Client, tmp_path: Path) -> None:
    _, plain = planned(tmp_path, "plain")
    report = tmp_path / "augmentation.json"
    report.write_text(json.dumps({"spent": [{"what": "paraphrases (spent)", "tokens": 1000, "cost": 0.4}]}))
    _, told = planned(tmp_path, "multiplied", augmented=str(report))
    assert told["cost"] - plain["cost"] == pytest.approx(0.4)
    assert {"what": "paraphrases (spent)", "tokens": 1000, "cost": 0.4, "at_most": 0.4} in told["costs"]
    poor, why = planned(tmp_path, "multiplied-poor", "plan.max_cost=0.4", augmented=str(report))
    assert not poor["worthwhile"]
    assert "more than max_cost 0.40" in why["reasons"][0]


def test_plan_names_trials_over_budget(client: Client, tmp_path: Path) -> None:
    result, told = planned(tmp_path, "dear", "plan.preset=grid", "plan.max_cost=0.3")
    assert 0 < len(result["trials"]) < 4
    assert len(result["trials"]) + len(told["left_out"]) == 4
    assert told["cost_at_most"] <= 0.3


def test_plan_skips_tuning_without_budget(client: Client, tmp_path: Path) -> None:
    result, told = planned(tmp_path, "poor", "plan.max_cost=0.01")
    assert (result["worthwhile"], result["trials"]) == (False, [])
    assert "more than max_cost 0.01" in told["reasons"][0]
    paid = [line["what"] for line in told["costs"]]  # what is still paid, not what tuning would have cost
    assert paid == ["zero_shot on validation (spent)", "best prompt on test", "the model in service on test"]


def test_plan_skips_tuning_when_unchanged(client: Client, tmp_path: Path) -> None:
    result, told = planned(tmp_path, "stale")
    store.change(client, "decisions/stale.json", lambda _: {"plan": told["fingerprint"]})
    again, why = planned(tmp_path, "stale")
    assert (result["worthwhile"], again["worthwhile"]) == (True, False)
    assert "nothing is new" in why["reasons"][0]
    assert planned(tmp_path, "stale", "plan.skip_unchanged=false")[0]["worthwhile"]
    assert planned(tmp_path, "stale", "plan.trials=[{epoch_count: 2}]")[0]["worthwhile"]
    assert planned(tmp_path / "more", "stale", train=130)[0]["worthwhile"]


def test_plan_starts_from_the_champion_by_setting(client: Client, tmp_path: Path) -> None:
    model = "projects/1/locations/us-central1/models/7@2"
    serving = Contestant(name="t@3", model="projects/1/locations/us/endpoints/9", tuned_model=model, checkpoint_id="3")
    entry = {"contestant": serving.model_dump(mode="json")}
    store.change(client, store.champion_key("goes-on"), lambda _: {"current": entry})
    fresh, _ = planned(tmp_path, "goes-on")
    again, told = planned(tmp_path, "goes-on", "plan.continue_champion=true")
    first, _ = planned(tmp_path, "new", "plan.continue_champion=true")
    assert [(t["base"], t["checkpoint_id"]) for t in fresh["trials"] + again["trials"] + first["trials"]] == [
        ("", ""),
        (model, "3"),
        ("", ""),
    ]
    assert told["prices"] == SHIPPED.models["gemini-3.1-flash-lite"].price.model_dump()


def test_plan_prices_a_champion_by_its_base(client: Client, tmp_path: Path) -> None:
    _, plain = planned(tmp_path, "grown", "plan.continue_champion=true")
    serving = Contestant(
        name="t@3", model="projects/1/locations/us/endpoints/9", tuned_model="projects/1/locations/us/models/7@2",
        base_model="gemini-3.5-flash",
    )  # fmt: skip
    entry = {"contestant": serving.model_dump(mode="json")}
    store.change(client, store.champion_key("grown"), lambda _: {"current": entry})
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


def test_plan_refuses_trials_of_the_same_name(client: Client, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="names of their own, got a, a"):
        planned(tmp_path, "names", "plan.trials=[{name: a}, {name: a, adapter_size: 1}]")


def test_plan_prices_each_base_model(client: Client, tmp_path: Path) -> None:
    trials = "plan.trials=[{epoch_count: 2}, {epoch_count: 2, base: gemini-3.5-flash}]"
    _, told = planned(tmp_path, "two", trials)
    small, large = (line for line in told["costs"] if line["what"].startswith("tuning"))
    assert small["tokens"] == large["tokens"]
    assert large["cost"] / small["cost"] == pytest.approx(33.75 / 5.625)


def test_plan_refuses_a_model_that_cannot_be_tuned(client: Client, tmp_path: Path) -> None:
    over = "vertex.catalogue={models: {gemini-3.1-flash-lite: {adapter_sizes: [1, 4]}}}"
    with pytest.raises(UserError, match="adapter size 16 is not supported"):
        planned(tmp_path, "wrong", over, "plan.trials=[{adapter_size: 16}]")


# All that evaluation asks.

JUDGE = "gemini-2.5-flash"


def whole_run(folder: Path, *overrides: str, train: int = 100) -> tuple[dict[str, Any], dict[str, Any], float]:
    """Baselines, plan, trials, checkpoints, choice, test: the plan, the ledger's sources, US dollars of the jobs."""
    paths, c = splits(folder, train=train, validation=10, test=12), sections(*overrides)
    name = folder.name.lower().replace("_", "-")
    common = c["task"], c["evaluate"], c["vertex"]
    prompts = [str(folder / "prompts"), str(folder / "prompts.json")]
    (baseline,) = c["baselines"]
    evaluate.run(paths[1], paths[0], baseline, *common, *prompts)
    planned_ = str(folder / "plan.json")
    told = c["task"], c["evaluate"], c["plan"], c["vertex"]
    result = plan_tuning.run([prompts[1]], *paths, *told, name, planned_, c["hard"], c["larger"])
    jobs, reports, billed = [], [], 0.0
    for number, trial in enumerate(result["trials"]):
        jobs.append(str(folder / f"job-{number}.json"))
        tuned = tune.run(*paths[:2], trial, c["task"], c["evaluate"], c["tune"], c["vertex"], name, jobs[-1])
        job = json.loads(Path(jobs[-1]).read_text())
        billed += tune.billed_tokens(job) * job["price"]["train"] / 1e6
        reports.append(str(folder / f"scored-{number}.json"))
        evaluate.run(paths[1], paths[0], tuned["contestants"], *common, str(folder / "scored"), reports[-1])
    picked, tested = str(folder / "picked.json"), str(folder / "tested.json")
    settings_ = c["task"], c["pick"], c["deploy"], c["vertex"]
    met = select_model.run(jobs, reports, result["best_prompt"], *settings_, name, picked)["finalists"]
    evaluate.run(paths[2], paths[0], met, *common, str(folder / "tested"), tested, sealed=name)
    files = {what: json.loads(Path(path).read_text()) for what, path in (("picked", picked), ("tested", tested))}
    return json.loads(Path(planned_).read_text()), files, billed


def ledger_of(told: dict[str, Any], files: dict[str, Any]) -> float:
    """What the report says was spent (US dollars)."""
    finalists = report.scoreboard(files["tested"], "accuracy", told)
    lines = [*report.ledger(told, files["picked"], finalists), *report.opinions(told, files["tested"])]
    return sum(line["cost"] for line in lines)


@pytest.mark.parametrize(("confidence", "judged", "people"), [("votes", 1, False), ("verbal", 2, True)])
def test_plan_forecast_and_actual_costs_include_every_request(
    client: Client, taken: Taken, tmp_path: Path, confidence: str, judged: int, people: bool
) -> None:
    sheet = tmp_path / "sheet.csv"
    lines = [f'{n},where is parcel {n},delivery,"{answer}",{1 + n % 5}' for n, answer in enumerate(["a", "b c"] * 4)]
    sheet.write_text("\n".join(["id,text,reference,answer,rating", *lines]))
    judge = f"{{model: {JUDGE}, samples: {judged}, sheet: '{sheet if people else ''}'}}" if judged else "{}"
    told, files, billed = whole_run(
        tmp_path, f"evaluate.confidence={confidence}", "evaluate.samples=3", f"evaluate.judge={judge}",
        "evaluate.baselines=[{name: zero_shot}]", "plan.trials=[{epoch_count: 2}]",
    )  # fmt: skip
    spent = billed + cost_of(taken)
    assert ledger_of(told, files) == pytest.approx(spent)
    tuning = sum(line["cost"] for line in told["costs"] if line["what"].startswith("tuning"))
    assert spent == pytest.approx(told["cost"], rel=0.1)
    assert cost_of(taken) == pytest.approx(told["cost"] - tuning, rel=0.15)  # replies in duels are guessed by ratings
    assert spent <= told["cost_at_most"]
    opinions = [line["what"] for line in told["costs"] if line["what"].startswith(spend.OPINIONS)]
    assert bool(opinions) == (judged > 0 or confidence == "verbal")
    assert (f"{spend.OPINIONS}{spend.SHEET}" in opinions) == people
    assert ((JUDGE, "input") in taken) == (judged > 0)


def test_plan_refuses_a_judge_or_metric_without_a_price(client: Client, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no price of 'gemini-x' is known"):
        planned(tmp_path, "unpriced", "evaluate.judge={model: gemini-x}")
    with pytest.raises(UserError, match="no price of 'rubric' is known"):
        planned(tmp_path, "unpriced", "evaluate.service=[rubric]")
    _, told = planned(tmp_path, "priced", "evaluate.service=[rubric]", "vertex.catalogue={service: {rubric: 5}}")
    trials = sum(min(10, trial["epoch_count"]) for trial in told["trials"])
    asked = sum(line["cost"] for line in told["costs"] if line["what"].startswith(spend.OPINIONS))
    assert asked == pytest.approx(0.005 * (40 * trials + 2 * 60))
    assert told["service_prices"] == {"rubric": 5}


def test_plan_forecasts_batch_savings(client: Client, tmp_path: Path) -> None:
    overrides = "evaluate.baselines=[{name: zero_shot}]", "plan.trials=[{epoch_count: 1}]"
    full, _, _ = whole_run(tmp_path / "full", *overrides)
    told, files, _ = whole_run(tmp_path / "half", *overrides, "evaluate.batch_above=5", "evaluate.batch_poll_s=0.05")
    for line, plain in zip(told["costs"], full["costs"], strict=True):
        prompted = line["what"] in ("zero_shot on validation (spent)", "best prompt on test")
        assert line["cost"] == pytest.approx(plain["cost"] * (0.5 if prompted else 1))
    assert told["cost_at_most"] <= full["cost_at_most"]
    assert ledger_of(told, files) == pytest.approx(told["cost"], rel=0.1)


def test_evaluate_skips_judges_where_only_scores_count(client: Client, taken: Taken, tmp_path: Path) -> None:
    """The best prompt on training rows, candidate and champion on old test rows: right or wrong is all that is read."""
    paths = splits(tmp_path, train=20, validation=10, test=10)
    c = sections("evaluate.confidence=verbal", f"evaluate.judge={{model: {JUDGE}}}", "evaluate.service=[exact_match]")
    common, files = (c["task"], c["evaluate"], c["vertex"]), (str(tmp_path / "said"), str(tmp_path / "told"))
    evaluate.run(paths[0], paths[0], c["baselines"][0], *common, *files, opinions=False)
    alone, told = taken["gemini-3.1-flash-lite", "input"], json.loads((tmp_path / "told").read_text())
    assert told["contestants"][0]["tokens"]["input"] == alone
    assert not {"autorater", "opinions"} & set(told)
    assert not {"service", "opinions"} & set(told["contestants"][0])
    assert {model for model, _ in taken} == {"gemini-3.1-flash-lite"}
    evaluate.run(paths[0], paths[0], c["baselines"][0], *common, *files)
    assert taken["gemini-3.1-flash-lite", "input"] > 2 * alone
    assert taken[JUDGE, "input"]


@given(
    st.sampled_from(["none", "votes", "verbal"]), st.integers(0, 3), st.integers(1, 12), PRICES, PRICES,
    st.floats(0, 0.01), st.booleans(),
)  # fmt: skip
def test_cost_items_equal_the_requests_sent(
    confidence: str, judged: int, epochs: int, base: Price, judge: Price, scored: float, champion: bool
) -> None:
    one = spend.Request(Amount(10, 20), Amount(2, 8))
    asked = spend.Opinions(
        one if confidence == "verbal" else None, one if judged else None, one if judged else None,
        judge if judged else None, judged, scored=scored,
    )  # fmt: skip
    samples = 3 if confidence == "votes" else 1
    rows = Rows(7, 5, Amount(100, 100), Amount(50, 80), Amount(4, 64), samples=samples, opinions=asked)
    trial, count = Trial(name="t", epoch_count=epochs), min(10, epochs)
    cost = 7 * count * samples * (50 * base.input + 4 * base.output) / 1e6 + 7 * count * scored
    cost += 7 * count * (10 * base.input + 2 * base.output) / 1e6 * (confidence == "verbal")
    each = (10 * judge.input + 2 * judge.output) / 1e6
    cost += each * 7 * judged * (count + 2 * (count - 1))
    found = spend.total(spend.checkpoints_lines(trial, rows, base, base))
    assert found.expected == pytest.approx(cost)
    assert found.expected <= found.most


@settings(
    max_examples=3, deadline=None, derandomize=True, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
)
@given(
    st.lists(st.tuples(st.integers(1, 4), st.sampled_from([1, 4, 16])), min_size=1, max_size=2, unique=True),
    st.floats(0.2, 1.5),
    st.integers(4, 200),
    st.integers(100, 140),
    st.sampled_from(["none", "votes", "verbal"]),
    st.integers(0, 2),
)
def test_plan_no_configuration_exceeds_its_limit(
    client: Client,
    taken: Taken,
    tmp_path_factory: pytest.TempPathFactory,
    hyper: list[tuple[int, int]],
    limit: float,
    sample: int,
    train: int,
    confidence: str,
    judged: int,
) -> None:
    trials = ", ".join(f"{{epoch_count: {e}, adapter_size: {a}}}" for e, a in hyper)
    judge = f"{{model: {JUDGE}, samples: {judged}}}" if judged else "{}"
    settings_ = (
        f"plan.trials=[{trials}]", f"plan.max_cost={limit}", f"plan.token_sample={sample}", "evaluate.samples=2",
        f"evaluate.confidence={confidence}", f"evaluate.judge={judge}", "evaluate.baselines=[{name: zero_shot}]",
    )  # fmt: skip
    taken.clear()
    told, files, billed = whole_run(tmp_path_factory.mktemp("limit"), *settings_, train=train)
    spent = billed + cost_of(taken)
    assert spent <= told["cost_at_most"]
    assert spent <= limit
    assert told["cost_at_most"] <= limit
    assert told["worthwhile"] or spent == pytest.approx(told["cost"], rel=0.15)
    assert ledger_of(told, files) == pytest.approx(spent)
    forecast = sum(line["cost"] for line in told["costs"] if line["what"].startswith("tuning"))
    assert not told["worthwhile"] or billed == pytest.approx(forecast, rel=0.1)
