# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The candidate: the one-standard-error rule, what it reports of trials, and what they cost, for both objectives."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from samples import entry

from gemtune.artifacts.cost import CostForecast, TokenUsage
from gemtune.artifacts.evaluation import ClassReport, EvaluationReport, Latency, Score, SliceReport, VariantReport
from gemtune.artifacts.records import ChampionRecord
from gemtune.artifacts.tuning import (
    BestPrompt,
    Diagnosis,
    JobRecord,
    PriceList,
    Selection,
    TrialRecord,
    TuningPlan,
    TuningRecord,
)
from gemtune.config import Evaluate, ModelVariant, Task, Trial
from gemtune.contents import ModelOutput
from gemtune.cost.items import checkpoint_items
from gemtune.data.example import Example
from gemtune.evaluation import intervals, metrics, pairwise
from gemtune.evaluation.judge import CREDIT, PairwiseResult
from gemtune.evaluation.scorers import score_sample, variant_report
from gemtune.steps import select_model
from gemtune.steps.select_model import _ablation, _trial
from gemtune.tuning.checkpoint_selection import VariantScore, choose, learned_nothing, other_prompts, variant_scores
from gemtune.tuning.objective import Objective, PreferenceObjective, SupervisedObjective

Kind = Literal["undertrained", "overfitting", "data_problem", "diverged", "fine", "unknown", "early_stopped"]

SMALL, LARGE = "gemini-3.1-flash-lite", "gemini-3.5-flash"
PRICE = {"train": 9.0, "input": 1.0, "output": 2.0, "batch": 0.5}
JUDGE_PRICE = {"input": 0.3, "output": 2.5}
PRICES = PriceList(base_model=SMALL, models={SMALL: PRICE, "judge": JUDGE_PRICE})
OBJECTIVES = pytest.mark.parametrize(
    "objective", [SupervisedObjective(), PreferenceObjective()], ids=["supervised", "preference"]
)


def score(value: float, half: float = 0.0392) -> Score:
    return Score(value=value, low=value - half, high=value + half)


def variant(trial: str, epoch: int = 1, role: Any = "candidate") -> ModelVariant:
    name = f"{trial}@{epoch}"
    endpoint, model = (f"projects/p/locations/us/{kind}/{name}" for kind in ("endpoints", "models"))
    return ModelVariant(name=name, model=endpoint, tuned_model=model, role=role, trial=trial, epoch=epoch)


def scored(name: str, epoch: int, value: float, size: int = 4, price: float = 1.75) -> VariantScore:
    """A checkpoint whose misses are its own: paired with the best, "c" or "small", its standard error is 0.02."""
    known = ModelVariant(name=name, model=f"projects/p/locations/us/endpoints/{name}", epoch=epoch)
    own = 0.0 if name in ("c", "small") else 0.02
    return VariantScore(known, score(value), size, price=price, deviations=(own, 0.0))


def reported(item: ModelVariant, value: float, half: float = 0.0392, **more: Any) -> VariantReport:
    """An evaluation's report on a variant; both objectives' metrics have the same score."""
    result = score(value, half)
    usual: dict[str, Any] = {"tokens": TokenUsage(input=400, output=40), "latency_s": Latency(median=0.1, p95=0.2)}
    scores = {"accuracy": result, "win_rate": result}
    return VariantReport(variant=item, metrics=scores, outcomes={"ok": 40}, attempts=40, cached=0, **{**usual, **more})


def evaluated(*reports: VariantReport) -> EvaluationReport:
    return EvaluationReport(dataset="validation", rows=40, task=Task(labels=["a", "b"]), variants=list(reports))


def job(name: str, price: dict[str, Any] = PRICE, kind: Kind = "fine", job_name: str = "", **more: Any) -> TrialRecord:
    """The record of a trial's job."""
    hyper = more.pop("hyper", {})
    state = {"billable_tokens": 1000, "steps": 40, "completed_steps": 40, **more}
    return TrialRecord(
        trial=Trial(name=name, **hyper),
        spec={},
        base_model=SMALL,
        price=price,
        job=JobRecord(name=job_name or f"jobs/{name}", **state),
        diagnosis=Diagnosis(kind, "evidence", "none"),
        variants=[] if kind == "early_stopped" else [variant(name)],
    )


def test_select_takes_the_earliest_within_one_standard_error() -> None:
    chosen, reason = choose([scored("a", 1, 0.70), scored("b", 2, 0.885), scored("c", 4, 0.90)])
    assert chosen is not None
    assert chosen.variant.name == "b"  # 0.90 less one standard error of the paired difference (0.02) is 0.88
    assert "within one standard error (0.020) of c" in reason


def test_select_takes_the_best_when_no_earlier_is_near() -> None:
    chosen, reason = choose([scored("a", 1, 0.70), scored("b", 2, 0.87), scored("c", 4, 0.90)])
    assert chosen is not None
    assert chosen.variant.name == "c"
    assert "none trained less" in reason


def test_select_prefers_the_smaller_adapter_at_equal_epochs() -> None:
    chosen, _ = choose([scored("c", 2, 0.90, size=16), scored("b", 2, 0.89, size=1)])
    assert chosen is not None
    assert chosen.variant.name == "b"


@pytest.mark.parametrize(("large", "taken"), [(0.90, "small"), (0.915, "small"), (0.95, "a-large")])
def test_select_needs_a_larger_model_to_be_clearly_better(large: float, taken: str) -> None:
    chosen, reason = choose([scored("small", 4, 0.90), scored("a-large", 1, large, size=1, price=10.5)])
    assert chosen is not None
    assert chosen.variant.name == taken
    assert ("its model costs less" in reason) is (0.90 < large < 0.95)


def test_select_one_standard_error_can_be_off() -> None:
    chosen, _ = choose([scored("b", 2, 0.885), scored("c", 4, 0.90)], one_standard_error=False)
    assert chosen is not None
    assert chosen.variant.name == "c"


@pytest.mark.parametrize("level", [0.8, 0.999])
@pytest.mark.parametrize("metric", ["accuracy", "macro_f1", "win_rate"])
@pytest.mark.parametrize("size", [1, 2], ids=["rows", "groups"])
def test_standard_error_is_paired_and_independent_of_the_level(level: float, metric: str, size: int) -> None:
    """The jackknife of the difference itself, whatever the level of the intervals."""
    rng, task, rows = np.random.default_rng(3), Task(labels=["a", "b"]), 40
    examples = [Example(str(n), "t", "ab"[n % 2], group=f"g{n // 2}" if size == 2 else None) for n in range(rows)]
    config, reports, measures = Evaluate(confidence_level=level), [], []
    for name in ("x", "y"):
        outputs = [ModelOutput(row.target if rng.random() < 0.8 else "b", "STOP") for row in examples]
        scores = [score_sample(task, variant(name), *each) for each in zip(examples, outputs, strict=True)]
        results = [PairwiseResult("candidate" if own.scores["accuracy"] else "tie") for own in scores]
        report = variant_report(task, config, variant(name), scores)
        won = {(report.variant.name, "z"): results}
        reports.append(pairwise.with_win_rate(report, examples, [{}] * rows, won, config, ["z"]))
        credit = intervals.mean([CREDIT[result.winner] for result in results])
        own = [score.row for score in scores]
        measures.append(credit if metric == "win_rate" else metrics.measure(task, metric, own))
    first, second = variant_scores(evaluated(*reports), metric, [], SupervisedObjective())
    kept = [np.delete(np.arange(rows), range(n, n + size)) for n in range(0, rows, size)]
    differences = [np.subtract(*(own.formula(own.sums[part].sum(axis=0)) for own in measures)) for part in kept]
    expected = float(np.sqrt((len(kept) - 1) * np.var(differences)))
    assert first.standard_error_to(second) == pytest.approx(expected, abs=1e-7)
    apart = [(item.score.high - item.score.low) / 2 / intervals.z_score(level) for item in (first, second)]
    assert expected < np.hypot(*apart)


def test_select_returns_none_without_checkpoints() -> None:
    assert choose([])[0] is None


def planned(baselines: list[VariantReport]) -> TuningPlan:
    """A plan whose best prompt is the first."""
    return TuningPlan(
        should_tune=True,
        reasons=[],
        metric="accuracy",
        best_prompt=BestPrompt(variant=baselines[0].variant, score=baselines[0].metrics["accuracy"]),
        detectable_lift=0.1,
        rows={},
        trials=[],
        prices=PRICES,
        forecast=CostForecast.of([], 1.0),
        fingerprint="f",
        baselines=evaluated(*baselines),
    )


def prompts(*scores: tuple[str, float]) -> list[VariantReport]:
    return [reported(ModelVariant(name=name, model=SMALL), value) for name, value in scores]


def test_other_prompts_may_be_as_good_as_the_best() -> None:
    """Within two standard errors of the difference, 2 x 0.02 x sqrt(2) here; the highest first, at most four."""
    found = prompts(("best", 0.9), ("far", 0.84), ("near", 0.85), ("nearer", 0.88))
    names = [prompt.variant.name for prompt in other_prompts(found[0], found, "accuracy", 0.95)]
    assert names == ["nearer", "near"]
    assert other_prompts(found[0], found, "accuracy", 0.999) == [found[3]]  # the same intervals of a higher level
    many = prompts(*((f"p{n}", 0.9 - n / 1000) for n in range(9)))
    assert [prompt.variant.name for prompt in other_prompts(many[0], many, "accuracy", 0.95)] == [
        "p1",
        "p2",
        "p3",
        "p4",
    ]
    assert other_prompts(found[0], found[:1], "accuracy", 0.95) == []


@pytest.mark.parametrize(("larger", "best", "others"), [(None, "a", ["b"]), (0.92, "a-of-large", ["a", "b"])])
def test_select_compares_with_every_prompt_that_may_be_best(larger: float | None, best: str, others: list[str]) -> None:
    reports = prompts(("a", 0.9), ("b", 0.88), ("c", 0.5))
    plan = planned(reports)
    escalated = [evaluated(*prompts(("a-of-large", larger)))] if larger else []
    prompt, near, notes = select_model._prompts(plan, escalated, "accuracy")
    assert (prompt.name, [variant.name for variant in near]) == (best, others)
    assert notes[-1] == f"on validation rows these prompts may be as good as {best}: {', '.join(others)}"
    selection = Selection(metric="accuracy", reason="", best_prompt=prompt, other_prompts=near)
    assert selection.finalists == [prompt]
    candidate = selection.model_copy(update={"candidate": variant("t")})
    assert candidate.finalists == [prompt, *near, variant("t")]


def guessing(value: float, chance: float) -> str:
    return learned_nothing([VariantScore(variant("t"), score(value, 0.02), 4, chance)])


def test_learned_nothing_detects_guessing() -> None:
    evidence = "the best checkpoint scores 0.150 (perhaps only 0.130), a model that learned nothing 0.140"
    assert guessing(0.15, 0.14) == evidence
    assert guessing(0.17, 0.14) == guessing(0.0, 0.0) == learned_nothing([]) == ""


answers = st.lists(
    st.tuples(st.integers(1, 20), st.lists(st.booleans(), min_size=9, max_size=9), st.sampled_from([1, 4, 16])),
    min_size=1,
)


@given(answers)
def test_select_is_near_the_best_and_trained_least(result: list[tuple[int, list[bool], int]]) -> None:
    def checkpoint(name: str, epoch: int, hits: list[bool], size: int) -> VariantScore:
        measure = intervals.mean([float(hit) for hit in hits])
        own = tuple(intervals.deviations(measure))
        return VariantScore(variant(name, epoch), score(measure.value()), size, deviations=own)

    ranked = [checkpoint(f"c{n}", *own) for n, own in enumerate(result)]
    chosen, _ = choose(ranked)
    best = max(s.score.value for s in ranked)
    assert chosen is not None
    tops = [s for s in ranked if s.score.value == best]
    assert any(best - chosen.score.value <= s.standard_error_to(chosen) + 1e-9 for s in tops)
    assert not [s for s in ranked if s.score.value > chosen.score.value and s.variant.epoch < chosen.variant.epoch]


def arm(trial: str, value: float, near_hard: float | None = None) -> VariantScore:
    own = (0.03, 0.0) if trial.endswith("unweighted") else (0.0, 0.0)
    return VariantScore(variant(trial), score(value, 0.04), near_hard=near_hard, deviations=own)


ARMS = [job("t", hyper={"reweighted": True}), job("t-unweighted", hyper={"ablation_of": "t"}), job("other")]


@pytest.mark.parametrize(
    ("unweighted", "words"),
    [(0.80, "no significant difference"), (0.60, "+0.220, between"), (0.95, ": worse")],
)
def test_ablation_reports_the_effect_with_its_interval(unweighted: float, words: str) -> None:
    both = [arm("t", 0.7), arm("t", 0.82, 0.7), arm("t-unweighted", unweighted, 0.5), arm("other", 0.99)]
    result = _ablation(both, ARMS)
    assert result is not None
    assert words in result.summary
    assert "on rows near the hard examples 0.700 and 0.500" in result.summary
    assert result.low < result.gain < result.high


def test_ablation_needs_two_arms() -> None:
    for ranked in ([arm("t", 0.8)], [], [arm("t-unweighted", 0.8)]):
        assert _ablation(ranked, ARMS) is None


def test_ablation_is_not_taken_from_the_names_of_trials() -> None:
    jobs = [job("default"), job("default-unweighted")]
    assert _ablation([arm("default", 0.9), arm("default-unweighted", 0.7)], jobs) is None


@OBJECTIVES
@pytest.mark.parametrize(
    ("kind", "result"), [("fine", "data_problem"), ("overfitting", "data_problem"), ("undertrained", "undertrained")]
)
def test_trial_data_problem_needs_a_converged_curve(objective: Objective, kind: Kind, result: str) -> None:
    guess = VariantScore(variant("t"), score(0.15, 0.02), 4, 0.14)
    diagnosis = _trial(job("t", kind=kind), [guess], objective, []).diagnosis
    assert diagnosis.kind == result
    if result == "data_problem":
        assert ("check the pairs" if objective.is_pairwise else "check the labels") in diagnosis.action


def classes(**supports: int) -> list[ClassReport]:
    return [ClassReport(label=name, precision=1, recall=1, f1=1, support=count) for name, count in supports.items()]


def test_variant_scores_know_what_a_model_that_learned_nothing_scores() -> None:
    table = classes(a=30, b=10)
    report = evaluated(reported(variant("t"), 0.7, per_class=table))
    for metric, objective, chance in (
        ("accuracy", SupervisedObjective(), 0.75),
        ("win_rate", PreferenceObjective(), 0.5),
    ):
        (result,) = variant_scores(report, metric, [job("t")], objective)
        assert (result.chance, result.adapter_size, result.price) == (chance, 4, 3.0)


def test_variant_scores_read_the_rows_near_hard_examples() -> None:
    cell = {"near_hard": {"yes": SliceReport(rows=10, metrics={"accuracy": score(0.5)})}}
    report = evaluated(reported(variant("t"), 0.7, slices=cell), reported(variant("u"), 0.7))
    result = variant_scores(report, "accuracy", [], SupervisedObjective())
    assert [item.near_hard for item in result] == [0.5, None]


def test_checkpoint_scoring_is_charged_once_by_counted_tokens() -> None:
    judging = {"judge": TokenUsage(input=100, output=10, requests=1)}

    def entry(trial: str, sent: int) -> VariantReport:
        tokens = TokenUsage(input=sent, output=10, batch_input=sent, batch_output=10)
        return reported(variant(trial), 0.5, tokens=tokens, judging=judging if trial == "a" else {})

    report = evaluated(entry("a", 100), entry("a", 200), entry("b", 5), entry("", 7))
    answers, judged = checkpoint_items(report, [job("a")], PRICES)
    assert (answers.label, answers.tokens.expected) == ("checkpoints of a on validation", 320)
    assert answers.cost.expected == pytest.approx((300 + 2 * 20) / 2 / 1e6)
    assert (judged.label, judged.tokens.expected) == ("judging checkpoints of a on validation", 220)
    assert judged.cost.expected == pytest.approx((200 * 0.3 + 20 * 2.5) / 1e6)


@pytest.mark.parametrize(("steps", "tokens"), [(10, 1000), (11, 2000), (0, 0), (40, 4000)])
def test_billed_tokens_of_an_early_stopped_job_are_of_the_epochs_it_began(steps: int, tokens: int) -> None:
    stopped = job("t", kind="early_stopped", hyper={"epoch_count": 4}, completed_steps=steps)
    assert stopped.billed_tokens == tokens
    assert job("t", hyper={"epoch_count": 4}, completed_steps=steps).billed_tokens == 4000


# -- the step --------------------------------------------------------------------------------------------------------


def selected(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    reports: list[VariantReport],
    jobs: list[TrialRecord],
    serving: ModelVariant | None = None,
    **sections: Any,
) -> Selection:
    """What the step selects among checkpoints; `serving` is in production."""
    record = ChampionRecord()
    if serving:
        record = ChampionRecord(generation=1, alias="champion", current=entry(serving))
    monkeypatch.setattr("gemtune.state.champion.read", lambda client, name: record)
    planned(prompts(("zero_shot", 0.5))).write(folder / "plan")
    evaluated(*reports).write(folder / "report")
    paths = []
    for number, item in enumerate(jobs):
        paths.append(str(folder / f"job-{number}"))
        TuningRecord(jobs=[item]).write(paths[-1])
    own = {"task": {"labels": ["a", "b"]}, "vertex": {"project": "p"}, **sections}
    out = str(folder / "selection")
    select_model.run(str(folder / "plan"), out, "run", paths, str(folder / "report"), **own)
    return Selection.read(out)


SECTIONS = pytest.mark.parametrize(
    "sections", [{}, {"preference": {"ranker": "reference"}}], ids=["supervised", "preference"]
)


@SECTIONS
def test_select_step_selects_the_planted_winner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sections: dict[str, Any]
) -> None:
    table = classes(a=20, b=20)
    reports = [reported(variant(name), value, per_class=table) for name, value in (("t", 0.6), ("u", 0.9), ("v", 0.7))]
    selection = selected(tmp_path, monkeypatch, reports, [job("t"), job("u"), job("v")], **sections)
    assert selection.candidate == variant("u")
    assert selection.metric == ("win_rate" if sections else "accuracy")
    assert [item.variant.name for item in selection.checkpoints if item.selected] == ["u@1"]
    assert selection.rejected == [variant("t"), variant("v")]
    assert [item.role for item in selection.finalists] == ["baseline", "candidate"]
    assert [item.diagnosis.kind for item in selection.trials] == ["fine"] * 3


@SECTIONS
def test_select_step_reports_that_nothing_was_learned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sections: dict[str, Any]
) -> None:
    table = classes(a=20, b=20)
    reports = [reported(variant("t"), 0.52, per_class=table)]
    (trial,) = selected(tmp_path, monkeypatch, reports, [job("t")], **sections).trials
    assert trial.diagnosis.kind == "data_problem"
    assert "a model that learned nothing 0.500" in trial.diagnosis.evidence


@SECTIONS
def test_select_step_breaks_ties_by_price(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sections: dict[str, Any]
) -> None:
    dear = {**PRICE, "input": 9.0}
    reports = [reported(variant("dear"), 0.9), reported(variant("cheap", 3), 0.9)]
    selection = selected(tmp_path, monkeypatch, reports, [job("dear", dear), job("cheap")], **sections)
    assert selection.candidate == variant("cheap", 3)


@SECTIONS
def test_select_step_charges_an_early_stopped_job_the_epochs_it_began(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sections: dict[str, Any]
) -> None:
    stopped = job("t", kind="early_stopped", hyper={"epoch_count": 4}, steps=100, completed_steps=10)
    selection = selected(tmp_path, monkeypatch, [reported(variant("u"), 0.9)], [stopped, job("u")], **sections)
    (item,) = [item for item in selection.spent if (item.kind, item.subject) == ("tuning", "t")]
    assert item.tokens.expected == item.tokens.upper == 1000
    assert item.cost.expected == pytest.approx(1000 * 9 / 1e6)
    assert selection.candidate == variant("u")


@SECTIONS
def test_select_step_charges_checkpoints_as_the_service_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sections: dict[str, Any]
) -> None:
    tokens = TokenUsage(input=1000, output=100, batch_input=400, batch_output=40)
    reports = [reported(variant("t", epoch), 0.9, tokens=tokens) for epoch in (1, 2)]
    selection = selected(tmp_path, monkeypatch, reports, [job("t")], **sections)
    (item,) = [item for item in selection.spent if item.kind == "checkpoints"]
    assert item.tokens.expected == 2200
    assert item.cost.expected == pytest.approx(2 * (800 * 1.0 + 80 * 2.0) / 1e6)


@SECTIONS
def test_select_step_charges_equal_trials_that_share_a_job_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sections: dict[str, Any]
) -> None:
    twins = [job("t"), job("u", job_name="jobs/t")]
    selection = selected(tmp_path, monkeypatch, [reported(variant("t"), 0.9)], twins, **sections)
    assert [item.kind for item in selection.spent].count("tuning") == 1


@SECTIONS
def test_select_step_compares_on_the_champion_test_set_and_knows_what_was_continued(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sections: dict[str, Any]
) -> None:
    serving = ModelVariant(
        name="champion", model="projects/p/locations/us/endpoints/old", tuned_model="m@1", role="champion"
    )
    reports = [reported(variant("t"), 0.9)]
    fresh = selected(tmp_path, monkeypatch, reports, [job("t")], serving, **sections)
    assert (fresh.regression_variants, fresh.continued) == ([variant("t"), serving], False)
    continued = job("t", hyper={"base": "projects/p/locations/us/models/7@1"})
    selection = selected(tmp_path, monkeypatch, reports, [continued], serving, **sections)
    assert (selection.regression_variants, selection.continued) == ([variant("t"), serving], True)
    assert selection.champion == serving


@SECTIONS
def test_select_step_has_no_candidate_without_checkpoints_or_when_it_serves_already(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sections: dict[str, Any]
) -> None:
    none = selected(tmp_path, monkeypatch, [], [job("t", kind="early_stopped")], **sections)
    assert (none.candidate, none.selected, none.reason) == (None, None, "no checkpoint to select from")
    serving = variant("t").model_copy(update={"name": "champion", "role": "champion"})
    selection = selected(tmp_path, monkeypatch, [reported(variant("t"), 0.9)], [job("t")], serving, **sections)
    assert (selection.candidate, selection.selected) == (None, variant("t"))


@pytest.mark.parametrize("base", ["", "projects/p/locations/us/models/7@1"], ids=["base_model", "champion"])
def test_select_step_follows_a_preference_trial_to_what_its_first_job_started_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, base: str
) -> None:
    start = ModelVariant(name="s@1", model="projects/p/locations/us/endpoints/s", role="supervised")
    model = "projects/p/locations/us/models/8@1"
    first = TuningRecord(jobs=[job("supervised", hyper={"base": base}, model=model)], start=start)
    first.write(tmp_path / "start")
    serving = ModelVariant(
        name="champion", model="projects/p/locations/us/endpoints/old", tuned_model="m@1", role="champion"
    )
    jobs = [job("t", hyper={"base": model, "method": "preference"})]
    sections = {"preference": {"ranker": "reference"}, "start": str(tmp_path / "start")}
    selection = selected(tmp_path, monkeypatch, [reported(variant("t"), 0.9)], jobs, serving, **sections)
    assert selection.regression_variants == [variant("t"), serving]
    assert selection.continued is bool(base)
    assert [item.role for item in selection.finalists] == ["baseline", "supervised", "candidate", "champion"]
    assert [item.subject for item in selection.spent if item.kind == "tuning"] == ["supervised", "t"]
