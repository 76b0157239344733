# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Planning without the service: which prompt to beat, every reason against tuning, what an offline plan contains."""

from __future__ import annotations

from typing import Any

import pytest
from samples import examples, sections, splits

from gemtune.artifacts.cost import TokenUsage
from gemtune.artifacts.evaluation import EvaluationReport, Latency, Score, UnusableForm, VariantReport
from gemtune.config import Gate, ModelVariant, Task
from gemtune.data.example import Example
from gemtune.errors import UserError
from gemtune.steps import plan_tuning
from gemtune.steps.context import StepContext
from gemtune.steps.plan_tuning import PlanRequest


def report(
    name: str = "zero_shot", value: float = 0.7, low: float = 0.6, tokens: int = 100, unusable: int = 0
) -> VariantReport:
    forms = [UnusableForm(outcome="invalid", form="perhaps <label>", rows=unusable)] if unusable else []
    return VariantReport(
        variant=ModelVariant(name=name, model="gemini-3.1-flash-lite"),
        metrics={"accuracy": Score(value=value, low=low, high=value + 0.05)},
        outcomes={"ok": 40 - unusable, "invalid": unusable},
        unusable_forms=forms,
        tokens=TokenUsage(input=tokens, output=10),
        latency_s=Latency(median=0, p95=0),
        attempts=40,
        cached=0,
    )


def evaluated(*reports: VariantReport) -> EvaluationReport:
    return EvaluationReport(dataset="validation", rows=40, task=Task(), variants=list(reports))


def request(*overrides: str, test: int = 60) -> PlanRequest:
    row = Example("1", "text", "refund")
    context = StepContext(sections(*overrides), offline=True)
    return PlanRequest(context, context.task, "dry", [[], [row] * 40, [row] * test], online=False)


def test_best_prompt_is_the_highest_then_the_cheaper() -> None:
    best = plan_tuning.best_prompt(evaluated(report("a", 0.7), report("b", 0.8)), "accuracy", 0.05)
    assert best.variant.name == "b"
    best = plan_tuning.best_prompt(evaluated(report("dear", tokens=900), report("cheap", tokens=90)), "accuracy", 0.05)
    assert best.variant.name == "cheap"
    with pytest.raises(UserError, match="no prompted baseline"):
        plan_tuning.best_prompt(evaluated(), "accuracy", 0.05)


def test_best_prompt_is_a_usable_one_if_there_is_one() -> None:
    reports = evaluated(report("unread", 0.9, unusable=24), report("read", 0.6))
    assert plan_tuning.best_prompt(reports, "accuracy", 0.05).variant.name == "read"
    assert plan_tuning.best_prompt(reports, "accuracy", 0.6).variant.name == "unread"
    none = evaluated(report("a", 0.2, unusable=24), report("b", 0.1, unusable=3))
    assert plan_tuning.best_prompt(none, "accuracy", 0.05).variant.name == "a"


def test_reasons_against_begin_with_prompts_that_are_not_usable() -> None:
    unread = report(value=0.1, low=0.0, unusable=24)
    reasons = plan_tuning.reasons_against(request("plan.min_train_rows=100"), unread, "accuracy", 99)
    assert reasons[0].startswith("no prompt is usable")
    assert len(reasons) == 2
    assert plan_tuning.reasons_against(request("gate.max_invalid_rate=0.6"), unread, "accuracy", 500) == []
    assert plan_tuning.reasons_against(request(), report(unusable=2), "accuracy", 500) == []


def test_unusable_names_each_prompt_with_its_commonest_forms() -> None:
    reports = evaluated(report("unread", 0.1, unusable=24), report("read", 0.6, unusable=2))
    (sentence,) = plan_tuning.unusable(reports, Gate().max_invalid_rate)
    assert sentence == (
        "the prompt unread is not usable, and being better than it does not count: 60.0% of its answers are unusable, "
        "at most 5.0% may be (24 invalid; most often 'perhaps <label>' (24)): correct the prompt"
    )


@pytest.mark.parametrize(
    ("override", "best", "train", "words"),
    [
        ("plan.min_train_rows=100", report(), 99, "99 training rows, fewer than 100"),
        ("plan.min_train_rows=100", report(value=1.0, low=0.995), 500, "good enough"),
        ("plan.required_lift=0.02", report(), 500, "label more test rows"),
    ],
)
def test_reasons_against_lists_each_reason(override: str, best: VariantReport, train: int, words: str) -> None:
    (reason,) = plan_tuning.reasons_against(request(override), best, "accuracy", train)
    assert words in reason
    assert plan_tuning.reasons_against(request(), report(), "accuracy", 500) == []


def test_reasons_against_count_pairs_in_preference_tuning() -> None:
    preference = ("method=preference", "plan.min_train_rows=600", "plan.required_lift=0.1")
    few, weak = plan_tuning.reasons_against(request(*preference, test=80), None, "win_rate", 500)
    assert "500 training pairs, fewer than 600" in few
    assert "with 80 test prompts, a lift of 0.313 or more can be detected, not the required 0.100" in weak


def test_detectable_lift_falls_with_test_rows() -> None:
    lifts = [plan_tuning.detectable_lifts(request(test=n), 0.8)[0] for n in (50, 100, 500, 2000)]
    assert lifts == sorted(lifts, reverse=True)
    lift, win_rate = plan_tuning.detectable_lifts(request(test=1000), 0.8)
    assert lift == pytest.approx(0.04, abs=0.002)  # 20 % of the rows may change
    assert win_rate > lift


def test_modality_is_the_heaviest_part_of_any_row() -> None:
    def row(mime: str) -> Example:
        part = {"fileData": {"mimeType": mime, "fileUri": "gs://b/o"}}
        return Example(id="1", text="x", target="y", contents=({"role": "user", "parts": [part]},))

    assert plan_tuning.modality(examples(2, 1)) == "text"
    assert plan_tuning.modality([row("image/png"), *examples(2, 1)]) == "image"
    assert plan_tuning.modality([row("audio/wav"), row("image/png")]) == "audio"


def offline(folder: Any, *overrides: str, **sizes: int) -> plan_tuning.TuningPlan:
    return plan_tuning.dry_run(splits(folder, **sizes), sections(*overrides), "dry", offline=True)


def test_dry_run_includes_an_ablation_and_a_training_probe(tmp_path: Any) -> None:
    plain = offline(tmp_path)
    plan = offline(tmp_path, "hard_examples.target_share=0.6", "plan.trials=[{name: a}, {name: b, adapter_size: 1}]")
    assert [(t.name, t.reweighted, t.ablation_of) for t in plan.trials] == [
        ("a", True, ""),
        ("b", True, ""),
        ("a-unweighted", False, "a"),
    ]
    (once,) = plain.trials
    reweighted, twin = plan.trials[0], plan.trials[2]
    assert twin.forecast_tokens == once.forecast_tokens < reweighted.forecast_tokens
    assert twin.max_billable_tokens < reweighted.max_billable_tokens
    labels = {item.label for item in plan.forecast.items}
    assert labels - {item.label for item in plain.forecast.items} >= {"best prompt on training rows"}
    assert plan.fingerprint != plain.fingerprint


def test_dry_run_plans_larger_models_as_long_as_the_longest_trial(tmp_path: Any) -> None:
    trials = "plan.trials=[{epoch_count: 2, adapter_size: 1}, {epoch_count: 5}]"
    plan = offline(tmp_path, trials, "escalation.models=[gemini-3.5-flash]")
    (larger,) = plan.escalation
    assert (larger.name, larger.base, larger.epoch_count) == ("gemini-3.5-flash", "gemini-3.5-flash", 5)
    assert larger.max_billable_tokens == next(t for t in plan.trials if t.epoch_count == 5).max_billable_tokens
    conditional = [item for item in plan.forecast.items if item.conditional and item.subject == larger.name]
    assert len(conditional) == 3
    assert sum(item.cost.upper for item in conditional) > 0 == sum(item.cost.expected for item in conditional)
    assert plan.forecast.cost.upper <= plan.forecast.max_cost
    poor = offline(
        tmp_path, trials, "escalation.models=[gemini-3.5-flash]", f"plan.max_cost={plan.forecast.cost.upper - 0.01}"
    )
    assert poor.escalation == []
    assert "gemini-3.5-flash may cost" in poor.over_budget[0]
    assert len(poor.trials) == 2


def test_dry_run_gives_follow_ups_what_the_limit_leaves(tmp_path: Any) -> None:
    plain = offline(tmp_path)
    plan = offline(tmp_path, "plan.follow_ups=2")
    (once,), (trial,) = plain.trials, plan.trials
    assert (trial.follow_ups, once.follow_ups) == (2, 0)
    assert trial.follow_up_tokens == pytest.approx((2 + 4) * trial.max_billable_tokens, rel=0.001)
    tight = offline(tmp_path, "plan.follow_ups=2", f"plan.max_cost={plain.forecast.cost.upper + 0.3}")
    assert 0 < tight.trials[0].follow_up_tokens < trial.follow_up_tokens
    for one in (plan, tight):
        assert one.forecast.cost.upper <= one.forecast.max_cost
        assert one.forecast.cost.expected == pytest.approx(plain.forecast.cost.expected)
