# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The report: numbers are the steps' numbers; what was decided on is recorded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from report_documents import SCORE, evaluated, outputs, reported, run

from gemtune.artifacts.cost import BudgetReport, CostForecast, CostItem, TokenUsage
from gemtune.artifacts.decision import DecisionRecord, RunSummary, Verdict
from gemtune.artifacts.evaluation import (
    EvaluationReport,
    JudgeReport,
)
from gemtune.artifacts.records import LastDecision
from gemtune.artifacts.tuning import (
    TuningPlan,
)
from gemtune.steps import report, report_page


@pytest.mark.parametrize("update", [{}, {"verdict": "not_enough_data"}, {"failed_rows": {"t@2": 1}}])
def test_report_records_what_was_decided_on_unless_something_is_left_open(
    paths: Path, recorded: list[tuple[Any, ...]], update: dict[str, Any]
) -> None:
    DecisionRecord.read(paths / "decision").model_copy(update=update).write(paths / "decision")
    _, _, summary = run(paths)
    decision = LastDecision(fingerprint="d", model="m", summary=summary.model_dump(mode="json"), forgot=False)
    assert recorded == ([] if update else [("n", decision)])


def test_report_of_a_run_with_nothing_new_has_the_last_verdict_and_no_cost(paths: Path) -> None:
    _, _, last = run(paths)
    spent = [CostItem.actual("augmentation", "paraphrases", 5, 0.25)]
    checked = {"forecast": CostForecast.of(spent, 1.0), "last_summary": last.model_dump(mode="json")}
    BudgetReport.read(paths / "budget").model_copy(update=checked).write(paths / "budget")
    report.run_unchanged(str(paths / "budget"), ("job-2", "{{$.unresolved}}"), outputs(paths), vertex={"project": "p"})
    summary = RunSummary.read(paths / "json")
    assert (summary.verdict, summary.passed, summary.cost.actual) == ("keep_champion", False, 0.25)
    assert "unchanged: rows, settings and champion are those of the last decision" in summary.reasons[0]
    assert summary.reasons[0] in (paths / "html").read_text()
    assert summary.reasons[0] in (paths / "md").read_text()
    assert (summary.outcome, summary.variants) == (last.outcome, last.variants)
    assert (last.identity.job, summary.identity.job) == ("job-1", "job-2")


def test_report_that_fails_leaves_summary_and_verdict(paths: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> str:
        raise ValueError("<no> row")

    monkeypatch.setattr(report, "_now", lambda: "2026-11-26T06:00:00+00:00")
    expected = run(paths)
    monkeypatch.setattr(report_page, "changes", fail)
    page, verdict, summary = run(paths)
    assert (verdict, summary) == expected[1:]
    assert "# Deploy the tuned model" in page
    assert "The full page could not be rendered: ValueError: &lt;no&gt; row" in page


def test_report_summary_has_the_numbers_of_the_steps(paths: Path) -> None:
    page, _, summary = run(paths)
    decision = DecisionRecord.read(paths / "decision")
    assert (summary.verdict, summary.passed) == (decision.verdict, decision.passed) == ("deploy", True)
    assert [row.name for row in summary.variants] == ["zero_shot", "t@2"]
    tuned = summary.variants[1]
    assert tuned.invalid_rate == pytest.approx(0.25)
    assert tuned.tokens_per_row == pytest.approx(375_000)
    assert tuned.cost == pytest.approx(2.0)  # a million tokens at 1, half a million at 2
    assert summary.cost.actual == pytest.approx(0.5 + 1.0 + 2 * 2.0)
    assert summary.cost.forecast == pytest.approx(3.0)
    assert all(item.stage == "actual" for item in summary.cost.items)
    assert [checkpoint.name for checkpoint in summary.checkpoints] == ["t@2"]
    assert summary.test_set_usage is not None
    assert summary.test_set_usage.candidates == 2
    assert "These test rows were used for 2 candidates in 3 evaluations." in page
    assert summary.slices["channel"]["web"]["scores"]["t@2"] == SCORE.model_dump()


@pytest.mark.parametrize("verdict", ["none_usable", "use_tfidf_baseline"])
def test_report_of_a_verdict_that_lets_nothing_serve(paths: Path, verdict: Verdict) -> None:
    DecisionRecord.read(paths / "decision").model_copy(update={"verdict": verdict}).write(paths / "decision")
    page, _, summary = run(paths, action="none")
    assert (summary.verdict, summary.passed) == (verdict, False)
    assert summary.headline == report.HEADLINES[verdict]
    assert "Nothing: no variant of this run is to serve." in page
    assert "Nothing: no variant of this run is to serve." not in run(paths)[0]


@pytest.mark.parametrize(("verdict", "first"), [("deploy", "it is better"), ("keep_prompt", "zero_shot is not usable")])
def test_report_reasons_of_a_deployment_begin_with_those_for_it(paths: Path, verdict: Verdict, first: str) -> None:
    """A prompt that did not count is no reason to deploy; where nothing is deployed it is reported first."""
    plan, decision = TuningPlan.read(paths / "plan"), DecisionRecord.read(paths / "decision")
    plan.model_copy(update={"unusable": ["zero_shot is not usable"]}).write(paths / "plan")
    decision.model_copy(update={"verdict": verdict}).write(paths / "decision")
    _, text, summary = run(paths)
    assert summary.reasons[0] == first
    assert text.splitlines()[2] == f"- {first}"
    assert "zero_shot is not usable" in [*summary.reasons, *summary.notes]


def test_report_reasons_leave_out_prompts_that_did_not_count_where_one_is_usable(paths: Path) -> None:
    plan, decision = TuningPlan.read(paths / "plan"), DecisionRecord.read(paths / "decision")
    prompts = evaluated(reported("zero_shot", "baseline"), reported("few_shot", "baseline"))
    plan.model_copy(update={"unusable": ["few_shot is not usable"], "baselines": prompts}).write(paths / "plan")
    decision.model_copy(update={"verdict": "use_tfidf_baseline", "passed": False}).write(paths / "decision")
    summary = run(paths)[2]
    assert summary.reasons == decision.reasons
    assert "few_shot is not usable" in summary.notes


def test_report_costs_include_ranking_and_the_champion_test_set(paths: Path) -> None:
    old = evaluated(reported("t@2", "candidate"), reported("champion", "champion"), ranker="judge")
    old = old.model_copy(update={"ranking_tokens": TokenUsage(input=2_000_000, requests=5)})
    judge = JudgeReport(model="judge", rubric="Is it right?")
    tested = EvaluationReport.read(paths / "tested")
    ranking = TokenUsage(input=1_000_000, requests=5)
    tested.model_copy(update={"champion_test_set": old, "ranking_tokens": ranking, "judge": judge}).write(
        paths / "tested"
    )
    items = {item.label: item.cost.expected for item in run(paths)[2].cost.items}
    assert items["ranking the finalists"] == pytest.approx(1.0)
    assert items["ranking the champion's test set"] == pytest.approx(2.0)
    assert items["champion on the champion's test set"] == pytest.approx(2.0)


def test_report_example_request_equals_the_evaluation_request(paths: Path) -> None:
    _, _, summary = run(paths)
    request = summary.outcome["example_request"]
    assert "Choose." in request["systemInstruction"]["parts"][0]["text"]
    text = request["contents"][-1]["parts"][0]["text"]
    assert text.index("shown") < text.index("asked")  # training rows only
    assert "<script>" not in text


def test_report_verdict_is_markdown(paths: Path) -> None:
    _, verdict, _ = run(paths)
    assert verdict.startswith("# Deploy the tuned model")
    assert "| t@2 | 0.750 | 0.500 to 0.900 |" in verdict


@pytest.mark.parametrize(("verdict", "roles", "name"), [
    ("deploy", ["baseline", "candidate"], "candidate"),
    ("keep_champion", ["baseline", "champion"], "champion"),
    ("none_usable", ["baseline", "champion"], "champion"),
    ("none_usable", ["baseline"], "baseline"),
    ("keep_prompt", ["baseline"], "baseline"),
    ("keep_prompt", ["baseline", "champion"], "baseline"),
])  # fmt: skip
def test_report_details_are_of_the_decided_variant(paths: Path, verdict: Verdict, roles: list[Any], name: str) -> None:
    summary = run(paths)[2]
    variants = [summary.variants[0].model_copy(update={"name": role, "role": role}) for role in roles]
    assert report._in_focus(summary.model_copy(update={"verdict": verdict, "variants": variants})).name == name
