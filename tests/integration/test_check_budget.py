# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Evaluating the prompts, and testing the best, never costs more than was bounded before the first request."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, get_origin

import pytest
from emulator_process import SHIPPED, Taken, cost_of
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel
from samples import entry, sections, splits

from gemtune.artifacts.cost import BudgetReport, CostForecast, CostItem
from gemtune.artifacts.data import AugmentationReport
from gemtune.artifacts.decision import RunSummary
from gemtune.artifacts.evaluation import EvaluationReport
from gemtune.artifacts.records import LastDecision
from gemtune.artifacts.tuning import Selection
from gemtune.config import Augment, ModelVariant
from gemtune.data.example import read_examples, write_examples
from gemtune.data.leakage import leakage_report
from gemtune.errors import UserError
from gemtune.inference import prompt_search
from gemtune.state import champion, store
from gemtune.steps import check_budget, evaluate
from gemtune.vertex import Client

JUDGE = "gemini-2.5-flash"


def minimal(model: type[BaseModel]) -> dict[str, Any]:
    """An object of the least that a model needs."""
    values: dict[Any, Any] = {str: "", bool: False, int: 0, float: 0.0}
    own = {}
    for field, info in model.model_fields.items():
        if info.is_required():
            kind = info.annotation
            is_model = isinstance(kind, type) and issubclass(kind, BaseModel)
            empty = values.get(kind, {} if get_origin(kind) is dict else [] if get_origin(kind) is list else None)
            own[field] = minimal(kind) if is_model else empty
    return own


def augmented(path: Path, *spent: CostItem) -> str:
    """The report of an augmentation that cost this much."""
    AugmentationReport(
        rows=60, new=0, near=0, relabelled=0, spent=list(spent), limit=5, samples=[], labels={}, settings=Augment(),
        leakage_report=leakage_report({"train": [], "validation": [], "test": []}),
    ).write(path)  # fmt: skip
    return str(path)


def bounded(folder: Path, name: str, *overrides: str, spent: tuple[CostItem, ...] = ()) -> CostForecast:
    """What every path pays, as written."""
    paths = splits(folder, train=60, validation=12, test=15)
    before, out = augmented(folder / "before.json", *spent), folder / "budget.json"
    try:
        check_budget.run(paths, str(out), name, before, **sections(*overrides))
    finally:
        report = BudgetReport.read(out)
    assert report.name == name
    return report.forecast


def evaluated(folder: Path, name: str, *overrides: str) -> None:
    """Evaluate all prompts, then the one with the longest requests on test rows."""
    (train, validation, test), c = splits(folder, train=60, validation=12, test=15), sections(*overrides)
    said, report, selection = (str(folder / file) for file in ("said.jsonl", "report.json", "selection.json"))
    evaluate.run_baselines(validation, train, said, report, **c)
    longest = max(EvaluationReport.read(report).variants, key=lambda one: one.tokens.input)
    Selection(metric="accuracy", reason="the longest", best_prompt=longest.variant).write(selection)
    evaluate.run_finalists(test, train, selection, name, said, str(folder / "tested.json"), **c)


def test_check_budget_stops_before_the_first_request(client: Client, taken: Taken, tmp_path: Path) -> None:
    enough = bounded(tmp_path / "a", "enough")
    assert 0 < enough.cost.expected < enough.cost.upper < enough.max_cost
    limit = f"plan.max_cost={enough.cost.upper * 0.99}"
    with pytest.raises(UserError, match=r"evaluating 3 prompts on 12 validation rows, .* more than plan\.max_cost"):
        bounded(tmp_path / "b", "short", limit)
    assert bounded(tmp_path / "c", "just", f"plan.max_cost={enough.cost.upper * 1.01}")
    paid = CostItem.actual("augmentation", "paraphrases", 5, enough.max_cost)
    with pytest.raises(UserError, match="the most expensive item: paraphrases"):
        bounded(tmp_path / "d", "paid", spent=(paid,))
    assert not taken


def test_check_budget_finds_what_is_new_since_the_last_decision(client: Client, taken: Taken, tmp_path: Path) -> None:
    """Rows wherever they stand, every setting that decides, and the champion; never the same ones."""
    name, written = "again", tmp_path / "budget.json"
    summary = {**minimal(RunSummary), "verdict": "keep_prompt"}
    ratings = tmp_path / "ratings.csv"
    ratings.write_text("id,text,reference,answer,rating\n1,t,refund,refund,5\n")
    rated = (f"evaluate.judge.model={JUDGE}", f"evaluate.judge.ratings={ratings}")

    def is_new(*overrides: str, rows: tuple[int, int, int] = (60, 12, 15), moved: int = 0, label: str = "") -> bool:
        paths = splits(tmp_path, *rows)
        for path in paths:
            examples = [replace(row, line=row.line + moved) for row in read_examples(path)][:: -1 if moved else 1]
            first = replace(examples[0], slices={"channel": label} if label else {})
            write_examples(path, [first, *examples[1:]])
        return check_budget.run(paths, str(written), name, **sections(*rated, *overrides))

    assert is_new()
    digest = BudgetReport.read(written).fingerprint

    def decide(decision: LastDecision) -> None:
        store.update(client, LastDecision, name, lambda _: decision)

    decided = LastDecision(fingerprint=digest, model="", summary=summary)
    decide(decided)
    assert not is_new(moved=3)
    report = BudgetReport.read(written)
    assert (report.last_summary, report.fingerprint) == (summary, digest)
    decide(decided.model_copy(update={"summary": {"verdict": "deploy"}}))
    with pytest.raises(UserError, match=r"decisions/again\.json: the record is damaged: name: Field required"):
        is_new()
    decide(decided)
    assert is_new("plan.skip_unchanged=false")
    assert all(is_new(rows=rows) for rows in ((61, 12, 15), (60, 13, 15), (60, 12, 16)))
    assert is_new(label="web")
    changed = ("gate.min_lift=0.01", "tune.attempts=3", "plan.trials=[{epoch_count: 2}]", "select.metric=macro_f1")
    assert all(is_new(setting) for setting in changed)
    ratings.write_text("id,text,reference,answer,rating\n1,t,refund,refund,4\n")
    assert is_new()
    ratings.write_text("id,text,reference,answer,rating\n1,t,refund,refund,5\n")
    assert not is_new()
    other = ModelVariant(name="t@3", model="projects/1/locations/us-central1/endpoints/9", tuned_model="m@1")
    champion.promote(client, name, 0, "champion", entry(other))
    assert is_new()
    assert not taken


def test_check_budget_includes_the_champion_at_its_base_price(client: Client, tmp_path: Path) -> None:
    def item(name: str) -> CostItem:
        (found,) = [one for one in bounded(tmp_path / name, name).items if one.label == "the champion on test"]
        return found

    serving = ModelVariant(
        name="t@3", model="projects/1/locations/us-central1/endpoints/9", tuned_model="m@1",
        base_model="gemini-3.5-flash",
    )  # fmt: skip
    champion.promote(client, "serves", 0, "champion", entry(serving))
    nobody, large = item("nobody").cost, item("serves").cost
    assert nobody.expected == 0 < nobody.upper
    assert large.upper > large.expected > nobody.upper


def test_check_budget_bounds_a_prompt_search(client: Client, tmp_path: Path) -> None:
    searched = "evaluate.baselines=[{name: few, shots: 2, try_shots: [0, 4], rewrites: 2}]"
    costs = {item.label: item.cost for item in bounded(tmp_path, "searched", searched).items}
    names = [label.removesuffix(" on validation") for label in costs if label.endswith(" on validation")]
    expected = ["prompt search for few", "few", "few_k0", "few_k4_balanced", "few_r1", "few_r2"]
    assert names == [*expected, "the best prompt with constrained output"]
    plain, reworded = costs["few on validation"], costs["few_r1 on validation"]
    assert reworded.expected == plain.expected
    price = SHIPPED.models["gemini-3.1-flash-lite"].price.input
    more = 12 * prompt_search.MAX_INSTRUCTION_CHARS * price / 1e6
    assert reworded.upper - plain.upper == pytest.approx(more)


@pytest.mark.parametrize("ranker", ["reference", "judge"])
def test_check_budget_bounds_ranking_in_preference_tuning(client: Client, tmp_path: Path, ranker: str) -> None:
    preference = (
        "method=preference", f"preference.ranker={ranker}", f"evaluate.judge={{model: {JUDGE}}}", "task.labels=[]",
    )  # fmt: skip
    costs = {item.label: item.cost for item in bounded(tmp_path, "ranked", *preference).items}
    ranked = {label for label in costs if label.startswith("ranking")}
    assert ranked == ({"ranking prompts", "ranking the finalists on test"} if ranker == "judge" else set())
    assert all(costs[label].upper > 0 for label in ranked)
    assert ("judging few_shot on validation" in costs) == (ranker == "reference")


PROMPTS = st.lists(
    st.tuples(st.integers(0, 6), st.sampled_from(["random", "similar"]), st.booleans(), st.integers(0, 2)),
    min_size=1,
    max_size=2,
)


@settings(max_examples=3, derandomize=True, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
@given(PROMPTS, st.sampled_from(["none", "votes", "verbal"]), st.integers(0, 2), st.integers(2, 40))
def test_check_budget_bound_holds_for_every_prompt(
    client: Client,
    taken: Taken,
    tmp_path_factory: pytest.TempPathFactory,
    prompts: list[tuple[int, str, bool, int]],
    confidence: str,
    judged: int,
    sample: int,
) -> None:
    folder = tmp_path_factory.mktemp("generation")
    name = folder.name.lower()
    baselines = ", ".join(
        f"{{name: p{n}, shots: {shots}, selection: {how}, chain_of_thought: {str(thinks).lower()}, rewrites: {more}, "
        f"try_shots: {[shots + 1] if more else []}}}"
        for n, (shots, how, thinks, more) in enumerate(prompts)
    )
    judge = f"{{model: {JUDGE}, samples: {judged}}}" if judged else "{}"
    overrides = (
        f"evaluate.baselines=[{baselines}]", f"evaluate.confidence={confidence}", "evaluate.samples=2",
        f"evaluate.judge={judge}", f"plan.token_sample={sample}", "evaluate.resamples=200",
        "evaluate.tfidf_baseline=false",
    )  # fmt: skip
    forecast = bounded(folder, name, *overrides)
    taken.clear()
    evaluated(folder, name, *overrides)
    assert 0 < cost_of(taken) <= forecast.cost.upper
