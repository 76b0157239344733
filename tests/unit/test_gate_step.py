# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The decision for both objectives, by the step: the champion's test set, and preference tuning."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gate_evidence import FAST, PRICES, TASK, by_metric, decided, failed, judged, pairwise, ranked, scored, share, won

from gemtune.artifacts.cost import CostForecast, TokenUsage
from gemtune.artifacts.decision import DecisionRecord
from gemtune.artifacts.evaluation import (
    EvaluationReport,
    JudgeReport,
    Latency,
    Score,
    TestSetUsage,
    VariantReport,
)
from gemtune.artifacts.tuning import PriceList, Selection, TuningPlan
from gemtune.config import Gate, Task
from gemtune.errors import UserError
from gemtune.evaluation.comparison import Comparing
from gemtune.evaluation.gate import Evidence, decide
from gemtune.evaluation.judge import PairwiseResult
from gemtune.evaluation.metrics import Row
from gemtune.evaluation.predictions import Prediction, ScoredVariant, write_predictions
from gemtune.inference.tfidf_baseline import TFIDF_BASELINE
from gemtune.steps import gate as step
from gemtune.steps.context import StepContext

# -- the champion's test set -----------------------------------------------------------------------------------------


def regression(rows: int, candidate: int, champion: int) -> dict[str, Any]:
    """Evidence of so many right answers of both on the champion's test set; all pairwise results follow from them."""
    results = [
        PairwiseResult("candidate" if n >= champion else "baseline" if n >= candidate else "tie")
        for n in range(rows)
        if min(candidate, champion) <= n < max(candidate, champion)
    ]
    ties = [PairwiseResult("tie")] * (rows - len(results))
    both = (
        scored("candidate", share(candidate, rows), pairwise={"champion": [*results, *ties]}),
        scored("champion", share(champion, rows)),
    )
    return {"regression": both, "regression_groups": [None] * rows}


WINNER = [
    scored("baseline", share(120)),
    scored("candidate", share(160), pairwise={"baseline": won(200, 90, 30)}),
]
IN_SERVICE = [
    scored("baseline", share(120), pairwise={"champion": won(200, 30, 30)}),
    scored("candidate", share(160), pairwise={"baseline": won(200, 90, 30), "champion": won(200, 90, 30)}),
    scored("champion", share(120)),
]
OBJECTIVES = pytest.mark.parametrize("comparing", [by_metric, pairwise], ids=["supervised", "preference"])


@OBJECTIVES
@pytest.mark.parametrize(
    ("candidate", "allowed", "verdict", "words"),
    [
        (60, 1.0, "deploy", "is worse than the champion on the champion's test set"),  # a note, not a rule
        (60, 0.05, "keep_champion", "a regression of more than 0.05 is not ruled out"),
        (90, 0.05, "deploy", "is not shown to be worse than the champion"),
        (96, 0.0, "deploy", "is not shown to be worse than the champion"),
    ],
)
def test_decide_reports_or_stops_on_champion_regression(
    comparing: Comparing, candidate: int, allowed: float, verdict: str, words: str
) -> None:
    gate = Gate(resamples=2000, max_champion_test_regression=allowed)
    evidence = Evidence(IN_SERVICE, [None] * 200, **regression(100, candidate, 90))
    record = decide(TASK, gate, evidence, comparing)
    assert record.verdict == verdict
    assert words in " ".join([*record.reasons, *record.notes])
    rules = [rule for rule in record.rules if rule.name == "champion_test_regression"]
    assert [rule.passed for rule in rules] == ([] if allowed == 1 else [verdict == "deploy"])
    assert f"difference {(candidate - 90) / 100:+.3f}" in " ".join([*record.reasons, *record.notes])
    assert "on 100 rows" in " ".join([*record.reasons, *record.notes])


@OBJECTIVES
def test_decide_ignores_a_missing_or_small_champion_test_set(comparing: Comparing) -> None:
    gate = Gate(resamples=2000, max_champion_test_regression=0.0)
    without = decide(TASK, gate, Evidence(WINNER, [None] * 200), comparing)
    few = decide(TASK, gate, Evidence(WINNER, [None] * 200, **regression(9, 0, 9)), comparing)
    assert without == few
    assert without.passed
    assert "champion_test_regression" not in [rule.name for rule in without.rules]


def test_decide_regression_never_turns_a_refusal_into_a_deployment() -> None:
    gate = Gate(resamples=2000, max_champion_test_regression=0.05)
    equal = [scored("baseline", share(160)), scored("candidate", share(160))]
    record = decided(gate, equal, **regression(100, 95, 90))
    assert record.verdict == "keep_prompt"
    assert failed(record) == ["lift_over_prompt"]
    assert "is not shown to be worse" in record.notes[-1]


# -- preference tuning -----------------------------------------------------------------------------------------------


def test_decide_pairwise_deploys_a_clear_winner_and_refuses_an_equal_one() -> None:
    record = ranked(FAST, {"baseline": (90, 30)})
    assert record.verdict == "deploy"
    assert (record.metric, record.comparisons[0].candidate) == ("win_rate", pytest.approx(0.65))
    assert "better than the best prompt (baseline): win_rate 0.650 against 0.350" in record.reasons[0]
    equal = ranked(FAST, {"baseline": (60, 60)})
    assert (equal.verdict, failed(equal)) == ("keep_prompt", ["lift_over_prompt"])


def test_decide_pairwise_error_rate_holds_for_equal_models() -> None:
    rng, passed = np.random.default_rng(5), 0
    for _ in range(300):
        wins = int(rng.binomial(120, 0.5))
        passed += ranked(Gate(resamples=1000), {"baseline": (wins, 120 - wins)}).passed
    assert passed / 200 <= 0.05  # stated: 0.025


def test_decide_pairwise_needs_the_supervised_model_not_to_be_clearly_better() -> None:
    as_good = ranked(FAST, {"baseline": (90, 30), "supervised": (30, 28)}, ["supervised"])
    assert as_good.passed
    assert "as good as the supervised model it started from (supervised)" in as_good.reasons[1]
    worse = ranked(FAST, {"baseline": (90, 30), "supervised": (30, 90)}, ["supervised"])
    assert failed(worse) == ["lift_over_supervised"]
    strict = Gate(resamples=2000, min_lift_over_supervised=0)
    assert not ranked(strict, {"baseline": (90, 30), "supervised": (30, 28)}, ["supervised"]).passed


def test_decide_pairwise_keeps_the_champion_unless_beaten() -> None:
    beaten = {"baseline": (90, 30), "champion": (80, 30)}
    assert ranked(FAST, beaten, ["champion"]).verdict == "deploy"
    equal = {**beaten, "champion": (40, 38)}
    candidate = scored("candidate", share(160), pairwise={role: won(200, *score) for role, score in equal.items()})
    prompt = scored("baseline", share(120), pairwise={"champion": won(200, 30, 60)})
    evidence = Evidence([prompt, candidate, scored("champion", share(120))], [None] * 200)
    record = decide(TASK, FAST, evidence, pairwise)
    assert (record.verdict, failed(record)) == ("keep_champion", ["lift_over_champion"])


@pytest.mark.parametrize(
    ("judge", "verdict", "words"),
    [
        (judged(), "deploy", "people agree"),
        (judged(validated=False), "keep_prompt", "people do not agree"),
        (None, "keep_prompt", "no judge was validated against human ratings"),
    ],
)
def test_decide_pairwise_ranked_by_judge_needs_its_validation(
    judge: JudgeReport | None, verdict: str, words: str
) -> None:
    record = ranked(FAST, {"baseline": (90, 30)}, judge=judge, ranked_by_judge=True)
    assert record.verdict == verdict
    assert words in record.reasons[0 if verdict != "deploy" else -1]
    assert failed(record) == ([] if verdict == "deploy" else ["judge_validation"])


# -- the step --------------------------------------------------------------------------------------------------------


def predictions(dataset: str, answers: ScoredVariant) -> list[Prediction]:
    """Rows of the predictions file."""
    return [
        {
            "dataset": dataset,
            "variant": answers.variant.name,
            "id": str(number),
            "group": None,
            "reference": row.reference,
            "target": row.target,
            "parsed": row.parsed,
            "answer": row.answer,
            "outcome": answers.outcomes[number],
            "latency_s": 0.1,
            "input_tokens": 10,
            "output_tokens": 2,
            "scores": {
                "exact_match": float(row.parsed == row.reference),
                "accuracy": float(row.parsed == row.reference),
            },
            "pairwise": {
                other: {"winner": results[number].winner, "flipped": False}
                for other, results in answers.pairwise.items()
            },
        }
        for number, row in enumerate(answers.rows)
    ]


def gate_step(
    folder: Path, test: Sequence[ScoredVariant], old: Sequence[ScoredVariant] = (), task: Task = TASK, **sections: Any
) -> DecisionRecord:
    """The step's decision on test rows, and on the champion's test set."""
    rows = [row for answers in test for row in predictions("test", answers)]
    rows += [row for answers in old for row in predictions("champion_test_set", answers)]
    write_predictions(str(folder / "predictions"), rows)
    roles = {answers.variant.role: answers.variant for answers in test}
    score = Score(value=0.5, low=0.4, high=0.6)
    free_reports = [
        VariantReport(
            variant=answers.variant,
            metrics={"accuracy": score},
            outcomes={"ok": 200},
            tokens=TokenUsage(),
            latency_s=Latency(median=0, p95=0),
            attempts=0,
            cached=0,
        )
        for answers in test
        if answers.variant.role in ("free_baseline", "constant")
    ]
    Selection(
        metric="",
        reason="best",
        best_prompt=roles["baseline"],
        candidate=roles.get("candidate"),
        champion=roles.get("champion"),
        regression_variants=[answers.variant for answers in old],
    ).write(folder / "selection")
    TuningPlan(
        should_tune=True,
        reasons=[],
        metric="accuracy",
        best_prompt=None,
        detectable_lift=0.1,
        rows={},
        trials=[],
        prices=PriceList(base_model="m", models={"m": PRICES}),
        forecast=CostForecast.of([], 1.0),
        fingerprint="f",
    ).write(folder / "plan")
    usage = TestSetUsage(test="t", candidates=3, uses=4, earlier_per_row=2)
    report = EvaluationReport(dataset="test", rows=200, task=task, variants=[], test_set_usage=usage)
    report.model_copy(update={"free_baselines": free_reports}).write(folder / "tested")
    paths = [str(folder / name) for name in ("predictions", "selection", "plan", "tested", "decision")]
    gate = {"resamples": 2000, **sections.pop("gate", {})}
    passed = step.run(*paths, task=task.model_dump(mode="json"), gate=gate, **sections)
    record = DecisionRecord.read(folder / "decision")
    assert passed is record.passed
    return record


@pytest.mark.parametrize("sections", [{}, {"preference": {"ranker": "reference"}}], ids=["supervised", "preference"])
def test_gate_step_finds_the_planted_winner_for_both_objectives(tmp_path: Path, sections: dict[str, Any]) -> None:
    record = gate_step(tmp_path, WINNER, **sections)
    assert record.verdict == "deploy"
    assert record.metric == ("win_rate" if sections else "accuracy")
    assert [answers.versus for answers in record.comparisons] == ["baseline"]
    assert record.test_set_usage == TestSetUsage(test="t", candidates=3, uses=4, earlier_per_row=2)
    assert any("3 candidates have used a test row on average" in note for note in record.notes)
    assert any("ranked by their similarity" in note for note in record.notes) is bool(sections)
    weaker = [WINNER[0], replace(scored("candidate", share(100)), pairwise={"baseline": won(200, 30, 90)})]
    assert gate_step(tmp_path, weaker, **sections).verdict == "keep_prompt"


@pytest.mark.parametrize("sections", [{}, {"preference": {"ranker": "reference"}}], ids=["supervised", "preference"])
def test_gate_step_reads_the_champion_test_set_for_both_objectives(tmp_path: Path, sections: dict[str, Any]) -> None:
    champion = scored("champion", share(120))
    won_all = {"baseline": won(200, 90, 30), "champion": won(200, 90, 30)}
    prompt = scored("baseline", share(120), pairwise={"champion": won(200, 60, 60)})
    finalists = [prompt, scored("candidate", share(160), pairwise=won_all), champion]
    old = list(regression(100, 60, 90)["regression"])
    strict = {"max_champion_test_regression": 0.05}
    assert gate_step(tmp_path, finalists, old, gate=strict, **sections).verdict == "keep_champion"
    record = gate_step(tmp_path, finalists, old, **sections)
    assert record.verdict == "deploy"
    assert any("is worse than the champion on the champion's test set" in note for note in record.notes)


def test_gate_step_compares_labels_that_only_the_champion_test_set_has(tmp_path: Path) -> None:
    finalists = [WINNER[0], WINNER[1], scored("champion", share(100))]
    old = [
        replace(answers, rows=[Row("c", "c" if row.parsed == row.reference else "a", "c", "c") for row in answers.rows])
        for answers in regression(100, 60, 90)["regression"]
    ]
    settings = {"metric": "macro_f1", "max_champion_test_regression": 0.05}
    record = gate_step(tmp_path, finalists, old, Task(), gate=settings)
    assert failed(record) == ["champion_test_regression"]


@pytest.mark.parametrize(
    ("hits", "words", "verdict"),
    [
        (190, "is shown to be worse", "use_tfidf_baseline"),
        (100, "is shown to be better", "deploy"),
        (158, "is not shown to be better", "deploy"),
    ],
)
def test_gate_step_reports_or_stops_on_the_tfidf_baseline(tmp_path: Path, hits: int, words: str, verdict: str) -> None:
    tfidf = replace(scored("baseline", share(hits)), variant=TFIDF_BASELINE)
    record = gate_step(tmp_path, [*WINNER, tfidf])
    assert record.verdict == verdict
    sentence = "TF-IDF with logistic regression reaches accuracy"
    assert [text for text in record.reasons if sentence in text and f"candidate (0.800) {words}" in text]
    warned = gate_step(tmp_path, [*WINNER, tfidf], gate={"on_worse_than_free_baseline": "warn"})
    assert warned.verdict == "deploy"
    assert [note for note in warned.notes if sentence in note and words in note]
    preference = gate_step(tmp_path, [*WINNER, tfidf], preference={"ranker": "reference"})  # not compared pair by pair
    assert preference.verdict == "deploy"
    assert not [text for text in [*preference.notes, *preference.reasons] if "TF-IDF" in text]


def test_gate_step_compares_the_tfidf_baseline_at_the_nominal_level(tmp_path: Path) -> None:
    tfidf = replace(scored("baseline", share(152)), variant=TFIDF_BASELINE)
    for planned in (1, 10):
        reasons = gate_step(tmp_path, [*WINNER, tfidf], gate={"planned_candidates": planned}).reasons
        assert [text for text in reasons if "TF-IDF" in text and "(0.800) is shown to be better" in text]


def test_gate_step_says_where_preference_tuning_adds_nothing(tmp_path: Path) -> None:
    both = {"baseline": won(200, 90, 30), "supervised": won(200, 30, 28)}
    rows = [WINNER[0], scored("supervised", share(150)), scored("candidate", share(160), pairwise=both)]
    record = decide(TASK, FAST, Evidence(rows, [None] * 200), pairwise)
    context = StepContext({"preference": {"ranker": "reference"}})
    notes = step._pairwise_notes(context, record)
    assert "preference tuning is not shown to add to the supervised model supervised (win rate 0.505)" in notes[0]
    assert step._pairwise_notes(StepContext({}), record) == []


def test_gate_step_refuses_a_calibration_limit_without_confidences(tmp_path: Path) -> None:
    silent = [replace(answers, confidence=[None] * 200) for answers in WINNER]
    with pytest.raises(UserError, match=r"gate\.max_ece needs confidences.*evaluate\.confidence=votes"):
        gate_step(tmp_path, silent, gate={"max_ece": 0.1})


@pytest.mark.parametrize(
    ("sections", "words"),
    [({}, "can be decided by accuracy"), ({"preference": {"ranker": "judge"}}, "decided by win_rate")],
)
def test_gate_step_refuses_an_unknown_metric(tmp_path: Path, sections: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        gate_step(tmp_path, WINNER, gate={"metric": "rouge_l"}, **sections)
