# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The cost forecast: no choice exceeds the limit, and every item has the requests that the steps will send."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from samples import TUNING_PRICES

from gemtune.artifacts.cost import ZERO, CostForecast, CostItem, Estimate, total
from gemtune.catalogue import Catalogue, Price
from gemtune.config import Evaluate, ModelVariant, Plan, Prompt, Reward, Task, Trial
from gemtune.cost import items
from gemtune.cost.baselines import BaselineForecast, BaselineUsage, baseline_variants
from gemtune.cost.forecast import Forecast, Forecaster
from gemtune.cost.items import JudgingCost, RequestTokens
from gemtune.cost.tokens import TokenCounter, TokenEstimates, count_offline
from gemtune.data.example import Example
from gemtune.errors import UserError
from gemtune.inference import prompt_search

SHIPPED = Catalogue.load({"models": TUNING_PRICES})
FREE = Price(train=0, input=0, output=0)
REQUEST = RequestTokens(Estimate(expected=50, upper=80), Estimate(expected=4, upper=64))
REQUEST_COST = (80 + 64) / 1e6  # at most, at 1 USD for a million tokens
PROMPT = ModelVariant(name="zero_shot", model="m")
CHAMPION = ModelVariant(
    name="champion", model="endpoint", role="champion", tuned_model="projects/p/locations/l/models/1@1",
    base_model="large",
)  # fmt: skip

PRICES = st.builds(
    Price,
    train=st.floats(0, 100),
    input=st.floats(0, 10),
    output=st.floats(0, 30),
    reinforcement=st.floats(0, 100),
)
ANY_TRIAL = st.builds(
    Trial, epoch_count=st.integers(1, 30), method=st.sampled_from(["supervised", "preference", "reinforcement"]),
    samples_per_prompt=st.sampled_from([2, 4, 8, 16]), batch_size=st.sampled_from([8, 32]),
    supervised_epochs=st.integers(0, 3),
    rewards=st.lists(st.builds(Reward, rubric=st.sampled_from(["", "kind"])), max_size=1),
)  # fmt: skip
TRIALS = st.lists(ANY_TRIAL, min_size=1, max_size=6)


def priced(**prices: Price) -> Catalogue:
    """A catalogue of models at these prices."""
    some = SHIPPED.models["gemini-3.5-flash"]
    models = {name: some.model_copy(update={"price": price}) for name, price in prices.items()}
    return SHIPPED.model_copy(update={"models": models})


def named(trials: Sequence[Trial]) -> list[Trial]:
    return [trial.model_copy(update={"name": f"t{n}"}) for n, trial in enumerate(trials)]


def sizes(training: float = 1_000_000, validation: int = 100, test: int = 200, **values: Any) -> TokenEstimates:
    """So many tokens of training rows (at most a tenth more), whatever the method, and `REQUEST` per row."""
    once = Estimate(expected=training, upper=training * 1.1)
    by_method = {"supervised": once, "preference": once, "reweighted": once.times(2)}
    return TokenEstimates(500, validation, test, by_method, REQUEST.input, REQUEST.output, **values)


def forecaster(
    catalogue: Catalogue,
    plan: Plan,
    tokens: TokenEstimates | None = None,
    evaluate: Evaluate | None = None,
    **context: Any,
) -> Forecaster:
    tokens, evaluate = tokens or sizes(), evaluate or Evaluate(base_model="m")
    best = BaselineUsage(PROMPT, REQUEST, tokens.validation, actual=True)
    defaults = {"baselines": [best], "best": best, "on_test": REQUEST}
    return Forecaster(catalogue, evaluate, plan, tokens, **{**defaults, **context})


def by_label(forecast: Forecast) -> dict[str, CostItem]:
    labels = {item.label: item for item in forecast.items}
    assert len(labels) == len(forecast.items)
    return labels


# -- the limit -------------------------------------------------------------------------------------------------------


def test_forecast_names_tuning_at_an_unknown_price() -> None:
    once = Estimate(expected=10, upper=20)
    for price, is_unpriced in ((0.0, True), (1.0, False)):
        item = items.tuning_item(Trial(name="t"), once, price)
        assert item.is_unpriced is is_unpriced
        assert CostForecast.of([item], 1.0).summary.endswith("at an unknown price") is is_unpriced
    assert not CostItem(kind="checkpoints", label="", tokens=item.tokens).is_unpriced


@given(TRIALS, PRICES, st.integers(1, 10**7), st.floats(0, 500), st.floats(0, 50))
def test_affordable_trials_never_exceed_the_limit(
    trials: list[Trial], price: Price, tokens: int, limit: float, fixed: float
) -> None:
    listed, estimates = named(trials), sizes(tokens)
    added = forecaster(priced(m=price), Plan(), estimates).forecast(listed).per_trial
    chosen = items.affordable(listed, added, Estimate.exact(fixed), limit)
    spent = fixed + sum(total(added[trial.name]).upper for trial in chosen)
    assert not chosen or spent <= limit * (1 + 1e-9)
    if limit > fixed + sum(total(own).upper for own in added.values()) * (1 + 1e-9):
        assert chosen == listed


def other_prompts(count: int, price: Price) -> list[CostItem]:
    """Further prompts on test rows, every second one only if needed."""
    made = [items.requests_item("best_prompt", f"p{n} on test", 200, REQUEST, price, f"p{n}") for n in range(count)]
    return [item.if_needed() if n % 2 else item for n, item in enumerate(made)]


@pytest.mark.parametrize("is_pairwise", [False, True])
def test_forecast_other_prompts_are_answered_and_judged(is_pairwise: bool) -> None:
    """Further prompts are bounded with all requests about their answers: ratings, comparisons, rankings."""
    price = Price(train=1, input=1, output=1)
    judging = JudgingCost(None, REQUEST, REQUEST, price, pairwise_only=is_pairwise)

    def forecast(others: int, escalation: Sequence[Trial] = ()) -> dict[str, CostItem]:
        own = forecaster(
            priced(m=price, large=price), Plan(max_cost=1e6), sizes(judging=judging),
            other_prompts=other_prompts(others, price), is_pairwise=is_pairwise,
        )  # fmt: skip
        return by_label(own.forecast(named([Trial()]), escalation))

    alone, three = forecast(0), forecast(3)
    assert set(three) - set(alone) == {"p0 on test", "p1 on test", "p2 on test"}
    about = "ranking the finalists on test" if is_pairwise else "judging the finalists on test"
    # rankings: each further prompt with the candidate and with the best; else ratings, and with the candidate
    per_row = 2 * 2 if is_pairwise else 1 + 2
    bound = three[about].cost.upper - alone[about].cost.upper
    assert bound == pytest.approx(3 * per_row * 200 * REQUEST_COST)
    larger = Trial(name="larger", base="large")
    assert "zero_shot with the base model on test, if needed" in set(forecast(0, [larger])) - set(alone)


@given(
    TRIALS, st.lists(ANY_TRIAL, max_size=2), PRICES, PRICES, PRICES,
    st.integers(1, 10**7), st.floats(0, 500), st.integers(0, 3), st.booleans(), st.booleans(), st.booleans(),
    st.integers(0, 300), st.integers(0, 4),
)  # fmt: skip
def test_forecast_no_choice_exceeds_the_limit(
    trials: list[Trial], escalation: list[Trial], base: Price, large: Price, judge: Price, tokens: int, limit: float,
    follow_ups: int, judged: bool, champion: bool, is_pairwise: bool, rows: int, others: int,
) -> None:  # fmt: skip
    listed = named(trials)
    larger = [t.model_copy(update={"name": f"larger-{n}", "base": "large"}) for n, t in enumerate(escalation)]
    judging = JudgingCost(REQUEST, REQUEST, REQUEST, judge, 2, REQUEST, 8, 0.001, is_pairwise) if judged else None
    made = forecaster(
        priced(m=base, large=large), Plan(max_cost=limit, follow_ups=follow_ups),
        sizes(tokens, judging=judging or JudgingCost(), samples=2),
        Evaluate(base_model="m", injection_rows=rows), on_train=REQUEST if rows else None,
        champion_rows=rows, champion=CHAMPION if champion else None, is_pairwise=is_pairwise,
        first=Trial(name="supervised", epoch_count=2) if is_pairwise else None,
        spent=[CostItem.actual("augmentation", "augmentation", 1, 0.5)], other_prompts=other_prompts(others, base),
    )  # fmt: skip
    before = made.forecast(listed, larger)
    after = made.with_follow_ups(before)
    for forecast in (before, after):
        cost = total(forecast.items)
        assert cost.expected <= cost.upper * (1 + 1e-9)
        assert not forecast.trials or cost.upper <= limit * (1 + 1e-9) + 1e-9
        assert forecast.trials or not forecast.escalation
        assert all(0 <= item.cost.expected <= item.cost.upper * (1 + 1e-9) + 1e-12 for item in forecast.items)
    assert len(before.over_budget) == len(listed) + len(larger) - len(before.trials) - len(before.escalation)
    everything = [*before.spent, *before.fixed, *(item for own in before.per_trial.values() for item in own)]
    if limit > total(everything).upper * (1 + 1e-9):
        assert (before.trials, list(before.escalation)) == (listed, larger)


@given(TRIALS, PRICES, st.integers(1, 10**7), st.floats(0, 500), st.integers(1, 3), st.booleans())
def test_follow_ups_never_exceed_the_limit(
    trials: list[Trial], price: Price, tokens: int, limit: float, rounds: int, judged: bool
) -> None:
    judging = JudgingCost(rating=REQUEST, comparison=REQUEST, judge=price) if judged else JudgingCost()
    estimates = sizes(tokens, judging=judging)
    made = forecaster(priced(m=price), Plan(follow_ups=rounds, max_cost=limit), estimates)
    before = made.forecast(named(trials))
    after = made.with_follow_ups(before)
    upper = total(before.items).upper
    assert not before.trials or total(after.items).upper <= limit * (1 + 1e-9) + 1e-9
    for trial in before.trials:
        left = after.follow_up_tokens[trial.name]
        once = estimates.training_of(trial).upper
        assert left <= once * trial.epoch_count * sum(2**n for n in range(1, rounds + 1))
        upper += left * price.train / 1e6
        if left:  # as many checkpoints as the follow-ups can leave, each round's first compared with the trial's own
            longer = [trial.model_copy(update={"epoch_count": trial.epoch_count * 2**n}) for n in range(1, rounds + 1)]
            upper += sum(total(made.forecast([one]).per_trial[one.name][1:]).upper for one in longer)
            upper += rounds * total(judging.items("", 0, estimates.validation, price)).upper
    assert total(after.items).upper == pytest.approx(upper)
    assert total(after.items).expected == pytest.approx(total(before.items).expected)


@given(
    st.integers(1, 700), st.integers(1, 10), st.sampled_from([(8, 2), (8, 4), (32, 8), (64, 16)]), st.integers(0, 200)
)
def test_reinforcement_bound_has_every_answer_that_a_job_can_sample(
    train: int, epochs: int, sizes_: tuple[int, int], validation: int
) -> None:
    """Each step takes a full batch of the longest rows and answers, each epoch an answer to every validation row."""
    batch, samples = sizes_
    trial = Trial(method="reinforcement", epoch_count=epochs, batch_size=batch, samples_per_prompt=samples)
    once = Estimate(expected=train * 50, upper=train * 80)
    estimates = TokenEstimates(train, validation, 10, {"supervised": once}, REQUEST.input, REQUEST.output)
    steps = epochs * -(-train // batch)
    most = steps * batch * samples * (80 + 64) + epochs * validation * (80 + 64)
    assert estimates.training_of(trial).upper * epochs >= most * (1 - 1e-9)


# -- what is sent ----------------------------------------------------------------------------------------------------


@given(
    st.sampled_from(["none", "votes", "verbal"]), st.integers(0, 3), st.integers(1, 12), PRICES, PRICES,
    st.floats(0, 0.01),
)  # fmt: skip
def test_cost_items_equal_the_requests_sent(
    confidence: str, judged: int, epochs: int, base: Price, judge: Price, scored: float
) -> None:
    one = RequestTokens(Estimate(expected=10, upper=20), Estimate(expected=2, upper=8))
    judging = JudgingCost(
        verbal=one if confidence == "verbal" else None,
        rating=one if judged else None,
        comparison=one if judged else None,
        judge=judge if judged else None,
        samples=judged,
        vertex_metrics=scored,
    )
    samples = 3 if confidence == "votes" else 1
    estimates = sizes(100, validation=7, test=5, samples=samples, judging=judging)
    trial, count = Trial(name="t", epoch_count=epochs), min(10, epochs)
    cost = 7 * count * samples * (50 * base.input + 4 * base.output) / 1e6 + 7 * count * scored
    cost += 7 * count * (10 * base.input + 2 * base.output) / 1e6 * (confidence == "verbal")
    each = (10 * judge.input + 2 * judge.output) / 1e6
    cost += each * 7 * judged * (count + 2 * (count - 1))
    job, *checkpoints = forecaster(priced(m=base), Plan(), estimates).forecast([trial]).per_trial["t"]
    assert (job.kind, job.tokens.expected) == ("tuning", 100 * epochs)
    assert total(checkpoints).expected == pytest.approx(cost)
    assert total(checkpoints).expected <= total(checkpoints).upper


def test_forecast_of_a_larger_model_is_a_bound_only() -> None:
    large = Price(train=5, input=9, output=9)
    made = forecaster(priced(m=Price(train=1, input=1, output=1), large=large), Plan())
    trial, larger = Trial(name="t", epoch_count=2), Trial(name="large", base="large", epoch_count=2)
    plain, made_too = made.forecast([trial]), made.forecast([trial], [larger])
    own = made_too.per_trial["large"]
    assert [item.label for item in own] == [
        "zero_shot of large on validation, if needed",
        "tuning large, if needed",
        "checkpoints of large on validation, if needed",
    ]
    assert all(item.conditional and item.cost.expected == 0 < item.cost.upper for item in own)
    prompted, job, checkpoints = (item.cost.upper * 1e6 for item in own)
    assert prompted == pytest.approx(100 * (80 + 64) * 9)
    assert job == pytest.approx(2 * 1_100_000 * 5)
    assert checkpoints == pytest.approx(2 * 100 * (80 + 64) * 9)
    # the candidate may be of the larger model, and the prompt to beat may be asked of it
    small, either = by_label(plain), by_label(made_too)
    for label in ("candidate and champion on test", "best prompt on test"):
        assert either[label].cost.expected == small[label].cost.expected
        assert either[label].cost.upper > small[label].cost.upper
    assert made_too.escalation == (larger,)
    assert made_too.prices.models["large"]["train"] == 5


def test_forecast_expects_a_champion_only_where_there_is_one() -> None:
    catalogue = priced(m=Price(train=1, input=1, output=1), large=Price(train=5, input=9, output=9))
    trial, label = Trial(name="t", epoch_count=2), "candidate and champion on test"
    alone = by_label(forecaster(catalogue, Plan()).forecast([trial]))[label]
    beside = by_label(forecaster(catalogue, Plan(), champion=CHAMPION).forecast([trial]))[label]
    assert alone.cost.expected * 1e6 == pytest.approx(200 * 54)
    assert beside.cost.expected * 1e6 == pytest.approx(200 * 54 * (1 + 9))
    assert alone.cost.upper * 1e6 == pytest.approx(200 * 144 * 2)
    assert beside.cost.upper * 1e6 == pytest.approx(200 * 144 * (9 + 9))


def test_forecast_includes_the_champions_test_set_and_the_training_probe() -> None:
    catalogue = priced(m=Price(train=1, input=1, output=1))
    made = forecaster(catalogue, Plan(), champion_rows=30, on_train=REQUEST)
    labels = by_label(made.forecast([Trial(name="t", epoch_count=2)]))
    probe, old = labels["best prompt on training rows"], labels["candidate and champion on the champion's test set"]
    assert probe.cost.expected * 1e6 == pytest.approx(500 * 54)
    assert old.cost.expected * 1e6 == pytest.approx(30 * 54)
    assert old.cost.upper * 1e6 == pytest.approx(30 * 2 * (1.5 * 80 + 64))  # its rows were not counted


# -- preference tuning -----------------------------------------------------------------------------------------------

SUPERVISED = Trial(name="supervised", epoch_count=2)


def preferring(
    catalogue: Catalogue, plan: Plan, tokens: TokenEstimates, first: Trial | None, **more: Any
) -> Forecaster:
    return forecaster(catalogue, plan, tokens, first=first, is_pairwise=True, **more)


@pytest.mark.parametrize(("limit", "fits"), [(4.3, 0), (4.5, 1), (6.7, 1), (8.9, 2)])
def test_preference_forecast_limit_holds_for_the_upper_bound(limit: float, fits: int) -> None:
    catalogue = priced(m=Price(train=1.0, input=0.0, output=0.0))
    trials = [
        Trial(name="long", epoch_count=4, method="preference"),
        Trial(name="short", epoch_count=2, method="preference", beta=0.2),
    ]
    made = preferring(catalogue, Plan(max_cost=limit), sizes(), SUPERVISED).forecast(trials)
    assert len(made.trials) == fits
    assert total(made.items).upper <= limit or not fits
    cheapest = min(total(own).upper for own in made.per_trial.values())
    assert cheapest + total([*made.spent, *made.fixed]).upper == pytest.approx(4.4)


def test_preference_forecast_includes_the_ranking_judge_and_its_validation(tmp_path: Path) -> None:
    ratings = tmp_path / "ratings.csv"
    ratings.write_text(
        "id,text,reference,answer,rating\n" + "".join(f"{n},where,there,here,{1 + n}\n" for n in range(4))
    )
    catalogue = priced(m=Price(train=0.0, input=1.0, output=1.0))
    rows = [Example(str(n), "where is my parcel " * (n + 1), "on its way") for n in range(5)]

    def costs(rubric: str) -> dict[str, CostItem]:
        evaluate = Evaluate(base_model="m", judge={"model": "m", "rubric": rubric, "ratings": str(ratings)})
        judging = TokenCounter(characters, evaluate, 8, Task()).judging(catalogue, rows, {}, pairwise_only=True)
        estimates = sizes(validation=50, test=80, judging=judging)
        trial = Trial(name="trial-1", epoch_count=4, method="preference")
        return by_label(preferring(catalogue, Plan(), estimates, None, evaluate=evaluate).forecast([trial]))

    short, long, more = costs("good"), costs("good" * 100), 4 * 99 / 1e6
    for label, requests in (
        ("ranking the finalists on test", 2 * 1 * 80),
        ("ranking checkpoints of trial-1 on validation", 2 * 2 * 4 * 50),
        ("validating the judge", 4),
    ):
        assert long[label].cost.expected - short[label].cost.expected == pytest.approx(requests * more)
        assert long[label].cost.upper - short[label].cost.upper >= requests * more


@pytest.mark.parametrize(("first", "without", "beside"), [(None, 1, 3), (SUPERVISED, 3, 5)])
def test_preference_forecast_ranks_every_pair_of_finalists(first: Trial | None, without: int, beside: int) -> None:
    judging = JudgingCost(comparison=REQUEST, judge=FREE, pairwise_only=True)
    trial, tokens = Trial(name="trial-1", method="preference"), sizes(validation=50, test=80, judging=judging)
    for champion, pairs in ((None, without), (CHAMPION, beside)):
        made = preferring(priced(m=FREE, large=FREE), Plan(), tokens, first, champion=champion).forecast([trial])
        ranking = by_label(made)["ranking the finalists on test"].tokens
        assert ranking.expected == 2 * pairs * 80 * (REQUEST.input.expected + REQUEST.output.expected)
        assert ranking.upper == 2 * beside * 80 * (REQUEST.input.upper + REQUEST.output.upper)


def characters(system: str | None, contents: list[dict[str, Any]]) -> int:
    """Counts every character as a token."""
    return len(system or "") + sum(len(part["text"]) for turn in contents for part in turn["parts"])


def test_preference_forecast_includes_judging() -> None:
    one = RequestTokens(Estimate(expected=100, upper=200), Estimate(expected=10, upper=20))
    catalogue, trial = (
        priced(m=Price(train=0.0, input=1.0, output=1.0)),
        Trial(name="trial-1", epoch_count=2, method="preference"),
    )
    judging = JudgingCost(None, one, one, Price(train=0.0, input=5.0, output=5.0), 2, one, 8)
    plain, judged = sizes(validation=50, test=80), sizes(validation=50, test=80, samples=3, judging=judging)
    best = BaselineUsage(PROMPT, one, 50, actual=True)
    before = by_label(preferring(catalogue, Plan(), plain, SUPERVISED).forecast([trial]))
    labels = by_label(preferring(catalogue, Plan(), judged, SUPERVISED, best=best).forecast([trial]))
    checkpoints, again = "checkpoints of trial-1 on validation", "best prompt on validation, again"
    assert labels[checkpoints].cost.expected == pytest.approx(3 * before[checkpoints].cost.expected)
    assert labels[again].tokens.expected == 50 * 110
    # 50 prompts, two checkpoints, each rated twice and compared in two orders twice
    assert labels[f"judging {checkpoints}"].cost.expected == pytest.approx(50 * 2 * (2 + 4) * 110 * 5 / 1e6)
    assert labels[f"judging {again}"].tokens.expected == 50 * 2 * 110
    finalists = labels["judging the finalists on test"].tokens
    assert (finalists.expected, finalists.upper) == (80 * (3 * 2 + 2 * 4) * 110, 80 * (4 * 2 + 3 * 4) * 220)
    assert labels["validating the judge"].tokens.expected == 8 * 2 * 110
    # of the supervised job one checkpoint is evaluated: the one that trials start from
    first = labels["checkpoints of supervised on validation"]
    assert first.tokens.expected == pytest.approx(labels[checkpoints].tokens.expected / 2)


def test_preference_forecast_prices_a_champion_by_its_base() -> None:
    catalogue = priced(m=Price(train=1.0, input=1.0, output=1.0), large=Price(train=5.0, input=9.0, output=9.0))
    trial = Trial(name="trial-1", epoch_count=2, method="preference")
    start = {"base": CHAMPION.tuned_model, "base_model": "large"}
    onwards, first = trial.model_copy(update=start), SUPERVISED.model_copy(update=start)
    small = by_label(preferring(catalogue, Plan(), sizes(), SUPERVISED).forecast([trial]))
    large = by_label(preferring(catalogue, Plan(), sizes(), first, champion=CHAMPION).forecast([onwards]))
    for label in ("tuning supervised", "tuning trial-1"):
        assert large[label].cost.expected == pytest.approx(5 * small[label].cost.expected)
    finalists = "candidate and champion on test"  # candidate and supervised model; then the champion too
    assert small[finalists].cost.expected * 1e6 == pytest.approx(200 * 54 * 2)
    assert large[finalists].cost.expected * 1e6 == pytest.approx(200 * 54 * 3 * 9)
    again = "best prompt on validation, again"
    assert large[again].cost.expected == small[again].cost.expected


# -- baselines -------------------------------------------------------------------------------------------------------


def baselines(evaluate: Evaluate, rows: int = 12) -> BaselineForecast:
    split = [Example(f"{n}", f"where is parcel {n}", ("a", "b")[n % 2]) for n in range(rows)]
    counter = TokenCounter(count_offline, evaluate, 8, Task.of({"labels": ["a", "b"]}))
    return BaselineForecast(counter, priced(m=Price(train=1, input=1, output=2, batch=0.5)), [split, split, split])


def test_baseline_variants_are_prompts_of_the_base_model() -> None:
    evaluate = Evaluate(base_model="gemini-x", baselines=[Prompt(name="a"), Prompt(name="b", shots=2)])
    variants = baseline_variants(evaluate)
    assert [(one.name, one.model, one.prompt.shots) for one in variants] == [("a", "gemini-x", 0), ("b", "gemini-x", 2)]


def test_baseline_forecast_refuses_another_model() -> None:
    """At the base model's price it would escape the limit."""
    other = ModelVariant(name="dear", model="gemini-3.5-flash")
    with pytest.raises(UserError, match=r"'dear' uses 'gemini-3.5-flash', but evaluate\.base_model is 'm'.*escalation"):
        baselines(Evaluate(base_model="m")).usages([other])


def test_baseline_forecast_bounds_every_prompt_of_a_search() -> None:
    few = Prompt(name="few", shots=2, try_shots=[0, 4], rewrites=2)
    evaluate = Evaluate(base_model="m", baselines=[few])
    made = baselines(evaluate)
    (*usages, constrained), (search,) = made.usages(baseline_variants(evaluate))
    assert [usage.variant.name for usage in usages] == ["few", "few_k0", "few_k4_balanced", "few_r1", "few_r2"]
    assert [usage.compared for usage in [*usages, constrained]] == [0, 12, 12, 12, 12, 12]
    assert constrained.variant.prompt.constrained_output
    assert constrained.tokens.input.upper > max(usage.tokens.input.upper for usage in usages), "any may be the best"
    assert (search.kind, search.label) == ("prompt_search", "prompt search for few on validation")
    items_ = {usage.variant.name: usage.items(JudgingCost(), made.price)[0] for usage in usages}
    assert items_["few_r1"].cost.expected == items_["few"].cost.expected
    more = items_["few_r1"].cost.upper - items_["few"].cost.upper
    assert more == pytest.approx(12 * prompt_search.MAX_INSTRUCTION_CHARS / 1e6)


def test_baseline_forecast_prices_constrained_output_where_it_is_evaluated() -> None:
    def planned(labels: int = 2, **settings: Any) -> list[bool]:
        made = baselines(Evaluate(base_model="m", **settings))
        task = Task.of({"labels": [str(n) for n in range(labels)]})
        made = replace(made, counter=replace(made.counter, task=task))
        usages, _ = made.usages(baseline_variants(made.evaluate))
        return [usage.variant.prompt.constrained_output for usage in usages]

    assert planned() == [False, False, True]
    assert planned(constrain_best_prompt=False) == planned(labels=101) == [False, False]
    own = Prompt(name="own", constrained_output=True)
    assert planned(baselines=[Prompt(name="plain"), own]) == [False, True]
    assert planned(baselines=[Prompt(name="reasoning", chain_of_thought=True)]) == [False]
    with pytest.raises(UserError, match=r"'own' cannot have constrained output.*at most 100 labels, not 101"):
        planned(labels=101, baselines=[own])


def test_baseline_forecast_halves_what_batch_jobs_take_but_not_its_bound() -> None:
    online, batch = (Evaluate(base_model="m", batch_above=above) for above in (0, 5))
    plain, halved = (made.usages(baseline_variants(made.evaluate))[0][0] for made in map(baselines, (online, batch)))
    price = baselines(online).price
    assert halved.items(JudgingCost(), price)[0].cost.expected == pytest.approx(
        plain.items(JudgingCost(), price)[0].cost.expected / 2
    )
    assert halved.items(JudgingCost(), price)[0].cost.upper == plain.items(JudgingCost(), price)[0].cost.upper
    counted = replace(halved, actual=True)
    assert counted.items(JudgingCost(), price)[0].stage == "actual"
    assert counted.items(JudgingCost(), price)[0].cost.upper == pytest.approx(
        plain.items(JudgingCost(), price)[0].cost.upper / 2
    )


def test_baseline_finals_expect_no_champion_where_there_is_none() -> None:
    evaluate = Evaluate(base_model="m")
    made = baselines(evaluate)
    made = replace(made, catalogue=priced(m=made.price, large=Price(train=1, input=20, output=40)))
    usages, _ = made.usages(baseline_variants(evaluate))
    alone = made.finals(usages, None, JudgingCost())
    beside = made.finals(usages, CHAMPION, JudgingCost())
    assert [item.label for item in alone] == ["best prompt on test", "the champion on test"]
    assert alone[1].cost.expected == 0 < alone[1].cost.upper < beside[1].cost.expected < beside[1].cost.upper
    assert alone[0] == beside[0]


@pytest.mark.parametrize("champion", [None, CHAMPION])
def test_forecast_has_the_injection_probe_of_each_variant(champion: ModelVariant | None) -> None:
    evaluate, price = Evaluate(base_model="m", injection_rows=20), Price(train=1, input=1, output=1)
    catalogue = priced(m=price, large=price)
    made = forecaster(catalogue, Plan(max_cost=1e6), evaluate=evaluate, champion=champion).forecast(named([Trial()]))
    baseline = replace(baselines(evaluate), catalogue=catalogue)
    finals = baseline.finals(baseline.usages(baseline_variants(evaluate))[0], champion, JudgingCost())
    for items_of, variants in (
        (made.items, ["best prompt", "candidate", "champion"]),
        (finals, ["best prompt", "champion"]),
    ):
        probes = [item for item in items_of if item.label.startswith("injection probe")]
        assert [item.label for item in probes] == [f"injection probe of the {name}" for name in variants]
        assert [item.cost.expected > 0 for item in probes] == [*[True] * (len(probes) - 1), champion is not None]
        assert all(item.cost.expected < item.cost.upper for item in probes)


def test_cost_item_without_requests_is_zero() -> None:
    assert items.requests_item("judging", "nothing", 0, REQUEST, FREE).cost == ZERO
    assert JudgingCost().items("nothing", 9, 9, FREE) == JudgingCost().ranking("nothing", 9) == []
