# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The plan against the service: what it lists, what it refuses, and that no run costs more than was forecast."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from emulator_process import SHIPPED, Taken, cost_of
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from samples import entry, examples, sections, splits

from gemtune.artifacts.cost import CostItem, TokenUsage
from gemtune.artifacts.data import AugmentationReport
from gemtune.artifacts.evaluation import EvaluationReport, Latency, Score, VariantReport
from gemtune.artifacts.records import LastDecision
from gemtune.artifacts.tuning import Selection, TuningPlan, TuningRecord
from gemtune.config import Augment, ModelVariant, Task
from gemtune.data.example import Pair, read_examples, write_examples
from gemtune.data.leakage import leakage_report
from gemtune.errors import UserError
from gemtune.evaluation.evaluator import Dataset
from gemtune.state import champion, store
from gemtune.steps import escalation, evaluate, plan_tuning, report, reweight, select_model, tune
from gemtune.steps.context import StepContext
from gemtune.vertex import Client, storage

JUDGE = "gemini-2.5-flash"
BASE, LARGE = "gemini-3.1-flash-lite", "gemini-3.5-flash"
TUNED = "projects/1/locations/us-central1/models/7@2"


def evaluated(path: Path, base_model: str, searched: bool = False) -> str:
    """The report on one prompt."""
    one = VariantReport(
        variant=ModelVariant(name="zero_shot", model=base_model),
        metrics={"accuracy": Score(value=0.6, low=0.5, high=0.7)},
        outcomes={"ok": 40},
        tokens=TokenUsage(input=3000, output=80),
        latency_s=Latency(median=0, p95=0),
        attempts=40,
        cached=0,
    )
    search = TokenUsage(input=1_000_000, requests=1) if searched else None
    EvaluationReport(dataset="validation", rows=40, task=Task(), variants=[one], search_tokens=search).write(path)
    return str(path)


def augmented(path: Path, *spent: CostItem) -> str:
    """The report of an augmentation that cost this much."""
    AugmentationReport(
        rows=120, new=0, near=0, relabelled=0, spent=list(spent), limit=5, samples=[], labels={}, settings=Augment(),
        leakage_report=leakage_report({"train": [], "validation": [], "test": []}),
    ).write(path)  # fmt: skip
    return str(path)


def planned(
    folder: Path, name: str, *overrides: str, train: int = 120, searched: bool = False, spent: str = ""
) -> tuple[dict[str, Any], TuningPlan]:
    """What the step returns, and the plan that it wrote."""
    paths, c = splits(folder, train=train), sections(*overrides)
    before, out = evaluated(folder / "report.json", c["evaluate"]["base_model"], searched), str(folder / "plan.json")
    returned = plan_tuning.run(paths, before, out, name, spent, **c)
    return returned, TuningPlan.read(out)


def items(plan: TuningPlan, label: str) -> list[CostItem]:
    """The items whose label begins so."""
    return [item for item in plan.forecast.items if item.label.startswith(label)]


def promoted(client: Client, name: str, base_model: str = "") -> None:
    """A champion in production under this name."""
    serving = ModelVariant(
        name="t@3", model="projects/1/locations/us-central1/endpoints/9", tuned_model=TUNED, checkpoint_id="3",
        base_model=base_model,
    )  # fmt: skip
    champion.promote(client, name, 0, "champion", entry(serving))


def test_plan_lists_trials_and_costs(client: Client, tmp_path: Path) -> None:
    returned, plan = planned(tmp_path, "lists", "plan.preset=grid")
    assert returned["should_tune"] is plan.should_tune is True
    assert returned["trials"] == [trial.model_dump(mode="json") for trial in plan.trials]
    assert [trial.name for trial in plan.trials] == ["trial-3", "trial-4", "trial-2", "trial-1"]  # longest first
    cost = plan.forecast.cost
    assert cost.expected == pytest.approx(sum(item.cost.expected for item in plan.forecast.items))
    assert cost.upper == pytest.approx(sum(item.cost.upper for item in plan.forecast.items))
    assert cost.expected <= cost.upper <= plan.forecast.max_cost
    assert plan.best_prompt is not None
    assert plan.best_prompt.variant.name == "zero_shot"
    assert plan.baselines is not None
    assert plan.warnings == []


def test_plan_costs_include_a_prompt_search(client: Client, tmp_path: Path) -> None:
    _, plain = planned(tmp_path, "plain")
    _, searched = planned(tmp_path, "searched", searched=True)
    assert searched.forecast.cost.expected - plain.forecast.cost.expected == pytest.approx(0.25)


def test_plan_costs_include_augmentation(client: Client, tmp_path: Path) -> None:
    _, plain = planned(tmp_path, "plain")
    paid = CostItem.actual("augmentation", "paraphrases", 1000, 0.4)
    spent = augmented(tmp_path / "augmentation.json", paid)
    _, more = planned(tmp_path, "multiplied", spent=spent)
    assert more.forecast.cost.expected - plain.forecast.cost.expected == pytest.approx(0.4)
    assert paid in more.forecast.items
    poor, why = planned(tmp_path, "multiplied-poor", "plan.max_cost=0.4", spent=spent)
    assert not poor["should_tune"]
    assert "more than max_cost 0.40" in why.reasons[0]


def test_plan_names_trials_over_budget(client: Client, tmp_path: Path) -> None:
    returned, plan = planned(tmp_path, "dear", "plan.preset=grid", "plan.max_cost=0.3")
    assert 0 < len(returned["trials"]) < 4
    assert len(returned["trials"]) + len(plan.over_budget) == 4
    assert plan.forecast.cost.upper <= 0.3


def test_plan_skips_tuning_without_budget(client: Client, tmp_path: Path) -> None:
    returned, plan = planned(tmp_path, "poor", "plan.max_cost=0.01")
    assert (returned["should_tune"], returned["trials"], returned["first_trial"]) == (False, [], {})
    assert "more than max_cost 0.01" in plan.reasons[0]
    # what is still paid, not what tuning would have cost
    assert [(item.label, item.stage) for item in plan.forecast.items] == [
        ("zero_shot on validation", "actual"),
        ("best prompt on test", "forecast"),
        ("the champion on test", "forecast"),
    ]


def test_plan_starts_from_the_champion_by_setting(client: Client, tmp_path: Path) -> None:
    promoted(client, "goes-on")
    fresh, _ = planned(tmp_path, "goes-on")
    again, plan = planned(tmp_path, "goes-on", "plan.start_from_champion=true")
    first, _ = planned(tmp_path, "new", "plan.start_from_champion=true")
    shown = [[(t["name"], t["base"], t["checkpoint_id"]) for t in own["trials"]] for own in (fresh, again, first)]
    base, continued = ("trial-1", "", ""), ("trial-1-continued", TUNED, "3")
    assert shown == [[base], [base, continued], [base]]
    assert plan.prices.models[plan.prices.base_model] == SHIPPED.models[BASE].price.model_dump()


def test_plan_prices_a_champion_by_its_base(client: Client, tmp_path: Path) -> None:
    _, plain = planned(tmp_path, "grown", "plan.start_from_champion=true")
    promoted(client, "grown", LARGE)
    _, beside = planned(tmp_path, "grown")
    trial = f"plan.trials=[{{base: {TUNED}, base_model: {LARGE}}}]"
    returned, onwards = planned(tmp_path, "grown", trial)

    def cost(plan: TuningPlan, label: str) -> float:
        return items(plan, label)[0].cost.expected

    small, large = (SHIPPED.models[name].price for name in (BASE, LARGE))
    assert cost(beside, "tuning") == cost(plain, "tuning")
    assert cost(plain, "candidate and") < cost(beside, "candidate and") < cost(onwards, "candidate and")
    assert cost(onwards, "tuning") / cost(plain, "tuning") == pytest.approx(large.train / small.train)
    assert onwards.prices.models[LARGE] == large.model_dump()
    assert returned["trials"][0]["base_model"] == LARGE


def test_plan_forecasts_the_champions_test_set(client: Client, tmp_path: Path) -> None:
    serving = ModelVariant(name="t@3", model="projects/1/locations/us-central1/endpoints/9", tuned_model=TUNED)
    own = splits(tmp_path)[2]

    def asked(name: str, test: str) -> list[CostItem]:
        champion.promote(client, name, 0, "champion", entry(serving, test=champion.keep_test_set(client, test)))
        return items(planned(tmp_path, name)[1], "candidate and champion on the champion's test set")

    assert not asked("same", own)  # rows of both sets are asked once
    (item,) = asked("tested", splits(tmp_path / "earlier", test=70, seed=5)[2])
    assert item.kind == "champion_test_set"
    assert 0 < item.cost.expected < item.cost.upper
    assert not items(planned(tmp_path, "new")[1], "candidate and champion on the champion's test set")


def _changed(client: Client, name: str, folder: Path, change: str) -> list[str]:
    """Promote a champion that was tuned on the same rows and labels but for a change; returns overrides of the plan."""
    rows = splits(folder, train=40 if change == "rows" else 120)[0]
    known = {"train": storage.upload(client, rows, "train"), "train_rows": 40 if change == "rows" else 120}
    serving = ModelVariant(
        name="t@3", model="projects/1/locations/us-central1/endpoints/9", tuned_model=TUNED, checkpoint_id="3",
        base_model=LARGE if change == "base model" else BASE,
    )  # fmt: skip
    reference = {"template": None, "label_shares": {}, "confusion": None, "embedder": "", **known}
    labels = ["refund", "delivery", "other" if change == "labels" else "login"]
    continuations, task = 3 if change == "continuations" else 2, Task(labels=labels)
    own = entry(serving, reference=reference, task=task, continuations=continuations)
    champion.promote(client, name, 0, "champion", own)
    decision = LastDecision(fingerprint="d", model=serving.model, summary={}, forgot=change == "forgot")
    store.update(client, LastDecision, name, lambda _: decision)
    return ["plan.start_from_champion=true"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("nothing", ""),
        ("base model", f"the base model changed from {LARGE} to {BASE}"),
        ("labels", "the labels changed (login, other)"),
        ("rows", "67% of the training rows are new (at most 30%)"),
        ("continuations", "the champion was continued 3 times in a row"),
        ("forgot", "worse on the champion's test set"),
    ],
)
def test_plan_starts_from_the_base_model_when_the_champion_should_not_be_continued(
    client: Client, tmp_path: Path, change: str, reason: str
) -> None:
    name = f"lineage-{change.replace(' ', '-')}"
    returned, plan = planned(tmp_path, name, *_changed(client, name, tmp_path / "champion", change))
    assert [bool(trial["base"]) for trial in returned["trials"]] == ([False] if reason else [False, True])
    assert any(reason in warning for warning in plan.warnings if "start from the base model" in warning) is bool(reason)


def test_plan_refuses_trials_of_the_same_name(client: Client, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="trials need unique names, got a, a"):
        planned(tmp_path, "names", "plan.trials=[{name: a}, {name: a, adapter_size: 1}]")


def test_plan_prices_each_base_model(client: Client, tmp_path: Path) -> None:
    trials = f"plan.trials=[{{epoch_count: 2}}, {{epoch_count: 2, base: {LARGE}}}]"
    _, plan = planned(tmp_path, "two", trials)
    small, large = items(plan, "tuning")
    assert small.tokens == large.tokens
    assert large.cost.expected / small.cost.expected == pytest.approx(33.75 / 5.625)


def test_plan_refuses_a_model_that_cannot_be_tuned(client: Client, tmp_path: Path) -> None:
    over = f"vertex.catalogue={{models: {{{BASE}: {{adapter_sizes: [1, 4]}}}}}}"
    with pytest.raises(UserError, match="adapter size 16 is not supported"):
        planned(tmp_path, "wrong", over, "plan.trials=[{adapter_size: 16}]")


def test_plan_refuses_a_judge_or_metric_without_a_price(client: Client, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no price of 'gemini-x'"):
        planned(tmp_path, "unpriced", "evaluate.judge={model: gemini-x}")
    with pytest.raises(UserError, match="no price of the metric 'rubric'"):
        planned(tmp_path, "unpriced", "evaluate.vertex_metrics=[rubric]")
    priced = "vertex.catalogue={service: {rubric: 5}}"
    _, plan = planned(tmp_path, "priced", "evaluate.vertex_metrics=[rubric]", priced)
    checkpoints = sum(min(10, trial.epoch_count) for trial in plan.trials)
    judging = sum(item.cost.expected for item in plan.forecast.items if item.kind == "judging")
    assert judging == pytest.approx(0.005 * (40 * checkpoints + 2 * 60))
    assert plan.prices.vertex_metrics == {"rubric": 5}


# -- whole runs: every request against the forecast and the actual costs ---------------------------------------------


@dataclass(frozen=True)
class Run:
    """A run from the baselines to the test rows, and what its jobs were billed (US dollars)."""

    plan: TuningPlan
    selection: Selection
    tested: EvaluationReport
    billed: float

    @property
    def actual(self) -> float:
        """What the report lists as spent."""
        deployment = SimpleNamespace(smoke_test=None)
        documents: Any = SimpleNamespace(
            plan=self.plan, selection=self.selection, tested=self.tested, deployment=deployment
        )
        paid = report.actual_items(documents)
        assert all(item.stage == "actual" for item in paid)
        return sum(item.cost.expected for item in paid)


def whole_run(folder: Path, *overrides: str, train: int = 100, paired: bool = False) -> Run:
    """The steps in the pipeline's order, as far as they cost anything."""
    paths, c = splits(folder, train=train, validation=10, test=12), sections(*overrides)
    if paired:
        for path in paths:
            rows = list(read_examples(path))
            write_examples(path, [replace(row, pairs=(Pair(row.id, row.target, "none of them"),)) for row in rows])
    name = folder.name.lower().replace("_", "-")
    documents = "baselines", "plan", "hard", "checkpoints", "selection", "tested", "larger", "larger_report", "start"
    files = {document: str(folder / f"{document}.json") for document in documents}
    said = str(folder / "predictions.jsonl")
    train_rows, validation, test = paths
    evaluate.run_baselines(validation, train_rows, said, files["baselines"], **c)
    returned = plan_tuning.run(paths, files["baselines"], files["plan"], name, **c)
    reweighted, start, jobs, optional = "", "", [], {}
    if returned["should_tune"]:
        if c["hard_examples"]["target_share"]:
            reweighted, marked = str(folder / "reweighted.jsonl"), str(folder / "marked.jsonl")
            reweight.run(train_rows, validation, files["plan"], reweighted, marked, files["hard"], **c)
            validation, optional["spent"] = marked, files["hard"]
        events = str(folder / "events")
        if returned["first_trial"]:
            start = files["start"]
            tune.run_start(train_rows, validation, returned["first_trial"], name, start, events, **c)
        for number, trial in enumerate(returned["trials"]):
            jobs.append(str(folder / f"job-{number}.json"))
            if paired:
                tune.run(train_rows, validation, trial, name, jobs[-1], events, start=start, **c)
            else:
                tune.run(train_rows, validation, trial, name, jobs[-1], events, reweighted, **c)
        checked = files["checkpoints"]
        evaluate.run_checkpoints(validation, train_rows, jobs, files["plan"], said, checked, start, **c)
        optional |= {"tuning": jobs, "evaluated": checked, "start": start}
        if c["escalation"]["models"]:
            larger = {
                "train": train_rows, "reweighted": reweighted, "validation": validation, "plan": files["plan"],
                "job": files["larger"], "report": files["larger_report"], "events": events,
            }  # fmt: skip
            escalation.run(larger, jobs, checked, name, **c)
            optional["larger"] = files["larger"], files["larger_report"]
    select_model.run(files["plan"], files["selection"], name, **optional, **c)
    evaluate.run_finalists(test, train_rows, files["selection"], name, said, files["tested"], **c)
    records = [*jobs, *filter(None, [start]), *(optional.get("larger", ())[:1])]
    every = {job.job.name: job for path in records for job in TuningRecord.read(path).jobs}  # equal trials share a job
    billed = sum(job.billed_tokens * job.price["train"] for job in every.values()) / 1e6
    plan, selection = TuningPlan.read(files["plan"]), Selection.read(files["selection"])
    return Run(plan, selection, EvaluationReport.read(files["tested"]), billed)


@pytest.mark.parametrize(("confidence", "judged", "people"), [("votes", 1, False), ("verbal", 2, True)])
def test_plan_forecast_and_actual_costs_include_every_request(
    client: Client, taken: Taken, tmp_path: Path, confidence: str, judged: int, people: bool
) -> None:
    ratings = tmp_path / "ratings.csv"
    lines = [f'{n},where is parcel {n},delivery,"{answer}",{1 + n % 5}' for n, answer in enumerate(["a", "b c"] * 4)]
    ratings.write_text("\n".join(["id,text,reference,answer,rating", *lines]))
    judge = f"{{model: {JUDGE}, samples: {judged}, ratings: '{ratings if people else ''}'}}" if judged else "{}"
    done = whole_run(
        tmp_path, f"evaluate.confidence={confidence}", "evaluate.samples=3", f"evaluate.judge={judge}",
        "evaluate.baselines=[{name: zero_shot}]", "plan.trials=[{epoch_count: 2}]",
    )  # fmt: skip
    spent, forecast = done.billed + cost_of(taken), done.plan.forecast
    assert done.actual == pytest.approx(spent)
    tuning = sum(item.cost.expected for item in items(done.plan, "tuning"))
    assert spent == pytest.approx(forecast.cost.expected, rel=0.1)
    # replies in comparisons are expected to be as long as those in ratings
    assert cost_of(taken) == pytest.approx(forecast.cost.expected - tuning, rel=0.15)
    assert spent <= forecast.cost.upper
    kinds = {item.kind for item in forecast.items}
    assert ("judging" in kinds) == (judged > 0 or confidence == "verbal")
    assert ("judge_validation" in kinds) == people
    assert ((JUDGE, "input") in taken) == (judged > 0)


def test_plan_forecast_and_actual_costs_include_the_injection_probe(
    client: Client, taken: Taken, tmp_path: Path
) -> None:
    done = whole_run(
        tmp_path, "evaluate.injection_rows=6", "evaluate.baselines=[{name: zero_shot}]",
        "plan.trials=[{epoch_count: 2}]",
        "evaluate.confidence=votes", "evaluate.samples=3",
    )  # fmt: skip
    assert [(report.role, len(report.shares)) for report in done.tested.injection] == [
        ("baseline", 3),
        ("candidate", 3),
    ]
    spent = done.billed + cost_of(taken)
    assert done.actual == pytest.approx(spent)
    assert spent <= done.plan.forecast.cost.upper
    counted = sum(report.tokens.total for report in done.tested.injection)
    probes = [
        item for item in done.plan.forecast.items if item.label.startswith("injection probe") and item.cost.expected
    ]
    assert 0 < counted <= sum(item.tokens.upper for item in probes)
    assert counted == pytest.approx(sum(item.tokens.expected for item in probes), rel=0.5)


def test_plan_forecast_and_actual_costs_include_hard_examples(client: Client, taken: Taken, tmp_path: Path) -> None:
    done = whole_run(
        tmp_path, "hard_examples.target_share=0.4", "evaluate.baselines=[{name: zero_shot}]", "gate.max_invalid_rate=1",
        "plan.trials=[{epoch_count: 2}]", "evaluate.confidence=verbal",
    )  # fmt: skip
    assert [trial.name for trial in done.plan.trials] == ["trial-1", "trial-1-unweighted"]
    (probe,) = items(done.plan, "best prompt on training rows")
    (counted,) = [item for item in done.selection.spent if item.kind == "train_probe"]
    assert counted.cost.expected == pytest.approx(probe.cost.expected, rel=0.15)
    assert counted.cost.expected <= probe.cost.upper
    spent = done.billed + cost_of(taken)
    assert done.actual == pytest.approx(spent)
    assert spent <= done.plan.forecast.cost.upper


def test_plan_forecast_and_actual_costs_include_a_larger_model(client: Client, taken: Taken, tmp_path: Path) -> None:
    small = SHIPPED.models[BASE].price
    same = f"{{price: {{train: {small.train}, input: {small.input}, output: {small.output}}}}}"
    done = whole_run(
        tmp_path, f"escalation.models=[{LARGE}]", f"vertex.catalogue={{models: {{{LARGE}: {same}}}}}",
        "escalation.min_gain=0", "escalation.stop_at_score=1", "evaluate.baselines=[{name: zero_shot}]",
        "plan.trials=[{epoch_count: 2}]", "plan.skip_if_baseline_reaches=1", "gate.max_invalid_rate=1",
    )  # fmt: skip
    tokens = {side: sum(n for (_, one), n in taken.items() if one == side) for side in ("input", "output")}
    spent = done.billed + (tokens["input"] * small.input + tokens["output"] * small.output) / 1e6
    assert done.actual == pytest.approx(spent)
    assert spent <= done.plan.forecast.cost.upper
    conditional = [item for item in done.plan.forecast.items if item.conditional and item.subject == LARGE]
    assert len(conditional) == 3
    assert {item.kind for item in done.selection.spent if item.kind == "escalation"} == {"escalation"}


@pytest.mark.parametrize("ranker", ["reference", "judge"])
def test_preference_forecast_and_actual_costs_include_every_request(
    client: Client, taken: Taken, tmp_path: Path, ranker: str
) -> None:
    done = whole_run(
        tmp_path, "method=preference", f"preference.ranker={ranker}", f"evaluate.base_model={JUDGE}",
        f"vertex.catalogue={{models: {{{JUDGE}: {{retires: null}}}}}}", f"evaluate.judge={{model: {JUDGE}}}",
        "evaluate.baselines=[{name: zero_shot}, {name: few, shots: 2}]", "plan.trials=[{epoch_count: 2}]",
        "task.kind=generation", "task.labels=[]", "evaluate.max_output_tokens=64", "evaluate.in_job=false", paired=True,
    )  # fmt: skip
    assert done.plan.should_tune
    assert done.plan.first_trial is not None
    price = SHIPPED.models[JUDGE].price
    tokens = {side: sum(n for (_, one), n in taken.items() if one == side) for side in ("input", "output")}
    spent = done.billed + (tokens["input"] * price.input + tokens["output"] * price.output) / 1e6
    assert done.actual == pytest.approx(spent)
    assert spent <= done.plan.forecast.cost.upper
    kinds = {item.kind for item in done.plan.forecast.items}
    assert ("ranking" in kinds) == (ranker == "judge")
    assert ("judging" in kinds) == (ranker == "reference")


def test_plan_forecasts_batch_savings(client: Client, tmp_path: Path) -> None:
    overrides = "evaluate.baselines=[{name: zero_shot}]", "plan.trials=[{epoch_count: 1}]"
    full = whole_run(tmp_path / "full", *overrides).plan
    halved = whole_run(tmp_path / "half", *overrides, "evaluate.batch_above=5", "evaluate.batch_poll_s=0.05")
    for item, plain in zip(halved.plan.forecast.items, full.forecast.items, strict=True):
        prompted = item.label.startswith("zero_shot") or item.label == "best prompt on test"
        assert item.cost.expected == pytest.approx(plain.cost.expected * (0.5 if prompted else 1))
    assert halved.plan.forecast.cost.upper <= full.forecast.cost.upper
    assert halved.actual == pytest.approx(halved.plan.forecast.cost.expected, rel=0.1)


def test_evaluate_skips_judges_where_only_scores_count(client: Client, taken: Taken, tmp_path: Path) -> None:
    """The best prompt on training rows, candidate and champion on the champion's: only right or wrong is read."""
    rows = examples(20, 1)
    context = StepContext(
        sections(
            "evaluate.confidence=verbal", f"evaluate.judge={{model: {JUDGE}}}", "evaluate.vertex_metrics=[exact_match]"
        )
    )
    prompt = [ModelVariant(name="zero_shot", model=BASE)]
    found = context.evaluator.evaluate(Dataset("train", rows, judging=False), rows, prompt).report
    alone, (one,) = taken[BASE, "input"], found.variants
    assert one.tokens.input == alone
    assert found.judge is None
    assert (one.judging, one.vertex_metrics) == ({}, {})
    assert {model for model, _ in taken} == {BASE}
    judged = context.evaluator.evaluate(Dataset("train", rows), rows, prompt).report
    assert taken[BASE, "input"] > 2 * alone
    assert taken[JUDGE, "input"]
    assert judged.judge is not None


@settings(max_examples=3, derandomize=True, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
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
    overrides = (
        f"plan.trials=[{trials}]", f"plan.max_cost={limit}", f"plan.token_sample={sample}", "evaluate.samples=2",
        f"evaluate.confidence={confidence}", f"evaluate.judge={judge}", "evaluate.baselines=[{name: zero_shot}]",
    )  # fmt: skip
    taken.clear()
    done = whole_run(tmp_path_factory.mktemp("limit"), *overrides, train=train)
    spent, forecast, tunes = done.billed + cost_of(taken), done.plan.forecast.cost, done.plan.should_tune
    assert spent <= forecast.upper
    assert spent <= limit
    assert forecast.upper <= limit
    assert tunes or spent == pytest.approx(forecast.expected, rel=0.15)
    assert done.actual == pytest.approx(spent)
    tuning = sum(item.cost.expected for item in items(done.plan, "tuning"))
    assert not tunes or done.billed == pytest.approx(tuning, rel=0.1)
