# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Preference steps once pairs are there: plan, two jobs, choice, decision; genuine clients against the emulator."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from samples import sections

from gemtune.catalogue import Catalogue, Price
from gemtune.config import Contestant, Evaluate, Gate, Plan, Preference, Task, Trial
from gemtune.cost import spend
from gemtune.cost.spend import Amount
from gemtune.data.example import Example, read_examples, write_examples
from gemtune.data.pairs import Pair, read_written
from gemtune.errors import UserError
from gemtune.evaluation.judge import Duel
from gemtune.evaluation.predictions import Scored
from gemtune.steps import preference
from gemtune.steps.gate import Decision, Rule
from gemtune.tuning import pair_decision, pair_plan
from gemtune.tuning.pair_plan import Terms

SHIPPED = Catalogue.load()
# The real service's preference models have retired; a rehearsal may say otherwise.
STILL_THERE = (
    "evaluate.base_model=gemini-2.5-flash",
    "vertex.catalogue={models: {gemini-2.5-flash: {retires: null}}}",
    "task.kind=generation",
    "task.labels=[]",
)


# -- the plan --------------------------------------------------------------------------------------------------------


def terms(price: Price | None = None, **values: Any) -> Terms:
    """Settings of sections `plan` and `preference`, and a model called m that costs `price`."""
    own = {name: values.pop(name) for name in list(values) if name in Preference.model_fields}
    some = SHIPPED.models["gemini-2.5-flash"]
    models = {"m": some.model_copy(update={"price": price or some.price})}
    catalogue = SHIPPED.model_copy(update={"models": models})
    return Terms(Evaluate(base_model="m"), Plan.of(values), Preference.of(own), catalogue)


def test_pair_plan_jobs_are_supervised_then_preference() -> None:
    first, trials = pair_plan.jobs(terms(trials=[{"epoch_count": 3, "adapter_size": 8}], supervised_epochs=5))
    assert first is not None
    assert (first.method, first.epoch_count, first.adapter_size) == ("supervised", 5, 8)
    assert [(trial.method, trial.name) for trial in trials] == [("preference", "trial-1")]
    assert pair_plan.jobs(terms(supervised_epochs=0))[0] is None


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"preset": "grid"}, "is for supervised tuning"),
        ({"follow_ups": 1}, "is for supervised tuning"),
        ({"trials": [{"adapter_size": 4}, {"adapter_size": 8}]}, "adapter sizes 4, 8 cannot continue"),
        ({"trials": [{"name": "a"}, {"name": "a", "beta": 0.3}]}, "names of their own"),
    ],
)
def test_pair_plan_refuses_settings_without_meaning_for_pairs(values: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        pair_plan.jobs(terms(**values))


def test_pair_plan_warns_of_unusual_beta_and_refuses_zero(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(UserError, match="beta"):
        terms(trials=[{"beta": 0}])
    with caplog.at_level(logging.WARNING, "gemtune"):
        pair_plan.jobs(terms(trials=[{"beta": 0.9}, {"beta": 0.5}, {"beta": 0.005}]))
    assert "beta 0.9 lies outside the recommended 0.01 to 0.5" in caplog.text
    assert "beta 0.005" in caplog.text
    assert "beta 0.5 " not in caplog.text


def test_pair_tokens_count_the_prompt_twice() -> None:
    def count(system: str | None, contents: list[dict[str, Any]]) -> int:
        return len((system or "").split()) + sum(len(p["text"].split()) for turn in contents for p in turn["parts"])

    def turn(role: str, text: str) -> dict[str, Any]:
        return {"role": role, "parts": [{"text": text}]}

    asked = {"systemInstruction": {"parts": [{"text": "be kind"}]}, "contents": [turn("user", "one two three")]}
    pair = {**asked, "completions": [{"score": s, "completion": turn("model", t)} for s, t in ((1, "a b"), (0, "c"))]}
    single = {**asked, "contents": [*asked["contents"], turn("model", "a b")]}
    assert pair_plan.tokens_of(count, [pair], 8)[0] == Amount(2 * 5 + 3, 2 * 5 + 3)
    assert pair_plan.tokens_of(count, [single], 8)[0] == Amount(5 + 2, 5 + 2)


def sizes(**values: Any) -> pair_plan.Sizes:
    once = Amount(1_000_000, 1_100_000)
    given = {"pairs": 500, "validation": 50, "test": 80, **values}
    return pair_plan.Sizes(
        supervised_tokens=once,
        preference_tokens=once,
        prompt_tokens=Amount(20, 30),
        answer_tokens=Amount(10, 20),
        **given,
    )


def test_pair_plan_limit_holds_for_the_upper_bound() -> None:
    price = Price(train=1.0, input=0.0, output=0.0)
    for limit, fits in ((4.3, 0), (4.5, 1), (6.7, 1), (8.9, 2)):
        bound = terms(
            price, trials=[{"epoch_count": 4, "name": "long"}, {"epoch_count": 2, "name": "short", "beta": 0.2}],
            supervised_epochs=2, max_cost=limit,
        )  # fmt: skip
        bill = drawn(bound).bill
        assert len(bill.trials) == fits
        assert sum(line.cost.most for line in bill.lines) <= limit or not fits
        reasons = pair_plan.reasons_against(bound.limits, sizes(), bill)
        assert [reason[:32] for reason in reasons] == ["the cheapest trial may cost 4.40"] * (not fits)


def drawn(bound: Terms, of: pair_plan.Sizes | None = None) -> pair_plan.Drawn:
    return pair_plan.draw_up(bound, *pair_plan.jobs(bound), of or sizes(), [])


def test_pair_plan_forecast_includes_judge_and_ratings(tmp_path: Path) -> None:
    price = Price(train=0.0, input=1.0, output=1.0)
    sheet = tmp_path / "sheet.csv"
    sheet.write_text("id,text,reference,answer,rating\n" + "".join(f"{n},where,there,here,{1 + n}\n" for n in range(4)))

    def told(rubric: str) -> dict[str, Amount]:
        judge = {"model": "m", "rubric": rubric, "sheet": str(sheet)}
        bound = terms(price, ranked_by="judge", judge=judge, supervised_epochs=0)
        rows = [Example(str(n), "where is my parcel " * (n + 1), "on its way") for n in range(5)]
        known = replace(sizes(), ranking=pair_plan.ranked(characters, Task(), rows, bound))
        return {line.what: line.cost for line in drawn(bound, known).bill.lines}

    short, long, more = told("good"), told("good" * 100), 4 * 99 / 1e6
    on_sheet = f"{spend.OPINIONS}{spend.SHEET}"
    for what, requests in (
        ("judging the finalists", 2 * 4 * 80), ("judging checkpoints of trial-1", 2 * 2 * 4 * 50), (on_sheet, 4),
    ):  # fmt: skip
        assert long[what].expected - short[what].expected == pytest.approx(requests * more)
        assert long[what].most - short[what].most >= requests * more


def characters(system: str | None, contents: list[dict[str, Any]]) -> int:
    """Counts every character as a token."""
    return len(system or "") + sum(len(part["text"]) for turn in contents for part in turn["parts"])


def test_pair_plan_forecast_includes_judging() -> None:
    bound = terms(Price(train=0.0, input=1.0, output=1.0), supervised_epochs=2, trials=[{"epoch_count": 2}])
    one = spend.Request(Amount(100, 200), Amount(10, 20))
    plain = {line.what: line for line in drawn(bound).bill.lines}
    judge = Price(train=0.0, input=5.0, output=5.0)
    asked = spend.Opinions(None, one, one, judge, 2, one, 8)
    votes = replace(bound, asking=bound.asking.model_copy(update={"confidence": "votes", "samples": 3}))
    known = replace(sizes(), opinions=asked, best=one)
    told = pair_plan.draw_up(votes, *pair_plan.jobs(votes), known, []).bill
    lines = {line.what: line for line in told.lines}
    checkpoints = "checkpoints of trial-1 on validation"
    assert lines[checkpoints].cost.expected == pytest.approx(3 * plain[checkpoints].cost.expected)
    assert lines["best prompt on validation, again"].tokens.expected == 50 * 110
    # 50 prompts, two checkpoints, each rated twice and compared in two orders twice
    judged = lines[f"{spend.OPINIONS}{checkpoints}"]
    assert judged.cost.expected == pytest.approx(50 * 2 * (2 + 4) * 110 * 5 / 1e6)
    met = lines[f"{spend.OPINIONS}the finalists on test"].tokens
    assert (met.expected, met.most) == (80 * (3 * 2 + 2 * 4) * 110, 80 * (4 * 2 + 3 * 4) * 220)
    assert lines[f"{spend.OPINIONS}{spend.SHEET}"].tokens.expected == 8 * 2 * 110


def test_pair_plan_prices_a_champion_by_its_base() -> None:
    bound = terms(Price(train=1.0, input=1.0, output=1.0), continue_champion=True)
    large = Price(train=5.0, input=9.0, output=9.0)
    models = {**bound.catalogue.models, "large": bound.catalogue.models["m"].model_copy(update={"price": large})}
    tuned = {"tuned_model": "projects/p/locations/l/models/1@1", "base_model": "large"}
    champion = contestant("champion", "champion").model_copy(update=tuned)
    both = replace(bound, catalogue=bound.catalogue.model_copy(update={"models": models}), champion=champion)
    small, dear = ({line.what: line.cost.expected for line in drawn(one).bill.lines} for one in (bound, both))
    assert dear["tuning trial-1"] == pytest.approx(5 * small["tuning trial-1"])
    assert dear["the finalists on test"] == pytest.approx(3 * small["the finalists on test"])  # 3 of 1, 1 of 9
    assert dear["best prompt on validation, again"] == small["best prompt on validation, again"]


def test_pair_plan_needs_enough_pairs_and_test_prompts() -> None:
    bound = terms(Price(train=0, input=0, output=0), min_train_rows=600, wanted_lift=0.1)
    few, weak = pair_plan.reasons_against(bound.limits, sizes(), drawn(bound).bill)
    assert "500 training pairs, fewer than 600" in few
    assert "80 test prompts notice a lift of 0.313 at best" in weak


# -- the start -------------------------------------------------------------------------------------------------------


def test_preference_job_starts_at_the_lowest_validation_loss() -> None:
    points = [{"step": step, "name": str(step)} for step in (10, 20, 30)]
    assert preference.start_of(points, [(10, 0.5), (20, 0.3), (30, 0.4)])["name"] == "20"
    assert preference.start_of(points, [])["name"] == "30"


# -- the decision ----------------------------------------------------------------------------------------------------


def contestant(name: str, role: str) -> Contestant:
    return Contestant.of({"name": name, "model": name, "role": role})


def scored(name: str, role: str, rows: int) -> Scored:
    return Scored(contestant(name, role), [None] * rows, ["ok"] * rows, [], [], [])  # type: ignore[list-item]


def test_pairwise_results_are_a_gate_metric_on_all_rows_and_slices() -> None:
    won = [Duel(one) for one in ["candidate"] * 30 + ["tie"] * 10 + ["baseline"] * 20]
    compare = pair_decision.ByDuels(Gate(), {("c", "b"): won}, [None] * 60)
    found = compare(scored("c", "candidate", 60), scored("b", "baseline", 60))
    assert (found.metric, found.versus, found.role) == ("win_rate", "b", "baseline")
    assert found.candidate == pytest.approx(35 / 60)
    assert found.paired.delta == pytest.approx(10 / 60)
    assert (found.paired.wins, found.paired.losses) == (30, 20)
    part = compare(scored("c", "candidate", 60), scored("b", "baseline", 60), range(40, 60))
    assert part.candidate == 0


def test_pairings_include_candidate_and_best_prompt() -> None:
    who = [contestant(*one) for one in (("p", "baseline"), ("s", "supervised"), ("c", "candidate"), ("m", "champion"))]
    met = pair_decision.meetings(who)
    assert met == [("c", "p"), ("c", "s"), ("c", "m"), ("s", "p"), ("m", "p"), ("p", "m")]
    assert pair_decision.meetings(who[:1]) == []
    assert pair_decision.meetings([who[0], who[3]]) == [("m", "p"), ("p", "m")]


def test_pair_decision_notes_name_ranker_and_missing_gain() -> None:
    won = [Duel(one) for one in ["candidate"] * 10 + ["baseline"] * 10]
    compare = pair_decision.ByDuels(Gate(), {("c", "s"): won}, [None] * 20)
    made = compare(scored("c", "candidate", 20), scored("s", "supervised", 20))
    decision = Decision("deploy", [], [], [made], "win_rate", 20)
    notes = pair_decision.notes(decision, Preference())
    assert any("not shown to add to the supervised model s (win rate 0.500)" in note for note in notes)
    assert any("no judge was asked" in note for note in notes)


@pytest.mark.parametrize(("champion", "stays"), [(False, "keep_prompt"), (True, "keep_champion")])
def test_pair_decision_refuses_an_unvalidated_judge(champion: bool, stays: str) -> None:
    who = [contestant("p", "baseline"), contestant("c", "candidate"), *([contestant("m", "champion")] * champion)]
    made = Decision("deploy", ["it wins"], [], [], "win_rate", 60)
    unproven, proven = (Rule("judge_validity", held, 0.5, 0.6, "agreement ...") for held in (False, True))
    assert pair_decision.only_proven(made, proven, who).verdict == "deploy"
    kept = pair_decision.only_proven(made, unproven, who)
    assert (kept.verdict, kept.reasons[0]) == (stays, "agreement ...")
    assert kept.rules == [unproven]


# -- against the emulator --------------------------------------------------------------------------------------------


def gathered(folder: Path, c: dict[str, Any], rows: list[dict[str, Any]]) -> dict[str, str]:
    """Files of pairs, and of the first two thirds of the prompts for training, the rest for validation."""

    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    names = ("examples", "pairs", "dropped", "report", "train", "validation")
    files = {name: str(folder / name) for name in names}
    preference.gather(
        str(folder / "rows.jsonl"), *(files[name] for name in names[:4]),
        **{name: c[name] for name in ("task", "preprocess", "preference", "evaluate", "plan", "vertex")},
    )  # fmt: skip
    found = list(read_examples(files["examples"]))
    write_examples(files["train"], found[: 2 * len(found) // 3])
    write_examples(files["validation"], found[2 * len(found) // 3 :])
    return files


def some_pairs(count: int = 45) -> list[dict[str, Any]]:
    words = ["amber", "birch", "cedar", "delta", "ember", "frost", "grove", "haven", "jolly", "karma", "linen", "maple"]
    return [
        {
            "prompt": f"{words[n % 12]} {n} {words[n * 7 % 11]} {words[n * 5 % 12]}?",
            "chosen": f"kindly {words[n % 12]} {n}",
            "rejected": f"rude {n}",
        }
        for n in range(count)
    ]


def tuned(folder: Path, name: str, *overrides: str, first: bool = True, **trial: Any) -> dict[str, Any]:
    c = sections(*STILL_THERE, *overrides)
    files = gathered(folder, c, some_pairs())
    common = files["train"], files["validation"], files["pairs"]
    further = {section: c[section] for section in ("task", "evaluate", "tune", "vertex")}
    wanted = Trial(name="dpo", epoch_count=2, method="preference").model_copy(update=trial).model_dump(mode="json")
    begun = Trial(name="supervised", epoch_count=2).model_dump(mode="json") if first else {}
    preference.supervise(*common, begun, name, str(folder / "sft"), **further)
    preference.prefer(*common, wanted, str(folder / "sft"), name, str(folder / "job"), **further)
    return {what: json.loads((folder / what).read_text()) for what in ("sft", "job")}


def test_pairs_write_round_trips(tmp_path: Path) -> None:
    from gemtune.data.pairs import write

    write(tmp_path / "pairs", [Pair("p", "a", "b", 3)])
    assert read_written(tmp_path / "pairs") == [Pair("p", "a", "b", 3)]
    (tmp_path / "pairs").write_text('{"prompt": "p"}\n')
    with pytest.raises(UserError, match="pairs:1: not a pair"):
        read_written(tmp_path / "pairs")
