# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The decision: each verdict, each rule, for both objectives, and honesty under equality."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from gemtune.artifacts.cost import CostForecast, TokenUsage
from gemtune.artifacts.decision import DecisionRecord
from gemtune.artifacts.evaluation import (
    EvaluationReport,
    GoodThreshold,
    JudgeComparison,
    JudgeRatings,
    JudgeReport,
    JudgeValidation,
    Latency,
    Score,
    TestSetUsage,
    VariantReport,
)
from gemtune.artifacts.tuning import PriceList, Selection, TuningPlan
from gemtune.config import Gate, ModelVariant, Task
from gemtune.errors import UserError
from gemtune.evaluation.comparison import Compare, CompareByMetric, ComparePairwise, Comparing
from gemtune.evaluation.gate import Evidence, decide
from gemtune.evaluation.judge import PairwiseResult
from gemtune.evaluation.metrics import Row
from gemtune.evaluation.predictions import Prediction, ScoredVariant, write_predictions
from gemtune.inference.tfidf_baseline import TFIDF_BASELINE
from gemtune.steps import gate as step
from gemtune.steps.context import StepContext

TASK = Task(labels=["a", "b"])
FAST = Gate(resamples=2000)
PRICES = {"input": 0.3, "output": 2.5}


def by_metric(gate: Gate, groups: Sequence[str | None], task: Task = TASK) -> Compare:
    return CompareByMetric(task, gate, gate.metric or "accuracy", groups)


def decided(gate: Gate, variants: Sequence[ScoredVariant], **evidence: Any) -> DecisionRecord:
    """The decision of supervised tuning; rows belong to no group unless said otherwise."""
    groups = evidence.pop("groups", [None] * len(variants[0].rows))
    return decide(TASK, gate, Evidence(variants, groups, **evidence), by_metric)


def failed(record: DecisionRecord) -> list[str]:
    return [rule.name for rule in record.rules if not rule.passed]


def scored(
    role: Any,
    right: Any,
    name: str = "",
    outcomes: list[str] | None = None,
    pairwise: dict[str, list[PairwiseResult]] | None = None,
) -> ScoredVariant:
    """A variant that is right on the rows marked 1; every other row is of class b."""
    rows = []
    for i, hit in enumerate(right):
        reference = "ab"[i % 2]
        value = reference if hit else "ba"[i % 2]
        rows.append(Row(reference, value, value, reference))
    count = len(rows)
    return ScoredVariant(
        ModelVariant(name=name or role, model="m", role=role),
        rows,
        outcomes or ["ok"] * count,
        [0.1] * count,
        [10] * count,
        [2] * count,
        confidence=[0.9] * count,
        pairwise=pairwise or {},
    )


def share(hits: int, rows: int = 200) -> list[int]:
    return [1] * hits + [0] * (rows - hits)


def test_decide_deploys_a_clear_winner() -> None:
    record = decided(FAST, [scored("baseline", share(120)), scored("candidate", share(160))])
    assert record.verdict == "deploy"
    assert record.passed
    assert record.comparisons[0].delta == pytest.approx(0.2)
    assert "better than the best prompt (baseline): accuracy 0.800 against 0.600" in record.reasons[0]


def test_decide_compares_with_every_prompt_that_may_be_best() -> None:
    """The candidate beats the prompt with the best validation score and not the one that is better on test rows."""
    prompts = [scored("baseline", share(120), "best"), scored("baseline", share(158), "other")]
    record = decided(FAST, [*prompts, scored("candidate", share(160))])
    assert record.verdict == "keep_prompt"
    assert [(c.versus, round(c.delta, 3)) for c in record.comparisons] == [("best", 0.2), ("other", 0.01)]
    assert [rule.passed for rule in record.rules if rule.name == "lift_over_prompt"] == [True, False]
    assert "not shown to be better than a prompt that may be as good as the best (other)" in record.reasons[0]
    assert decided(FAST, [*prompts, scored("candidate", share(180))]).passed


def test_decide_refuses_an_equal_candidate() -> None:
    record = decided(FAST, [scored("baseline", share(120)), scored("candidate", share(120))])
    assert record.verdict == "keep_prompt"
    assert not record.passed
    assert "not shown" in record.reasons[0]


def test_decide_keeps_the_champion_unless_beaten() -> None:
    prompt, champion = scored("baseline", share(100)), scored("champion", share(160))
    assert decided(FAST, [prompt, scored("candidate", share(161)), champion]).verdict == "keep_champion"
    assert decided(FAST, [prompt, scored("candidate", share(185)), champion]).verdict == "deploy"
    assert decided(FAST, [prompt, champion]).verdict == "keep_champion"


def test_decide_reports_a_champion_below_the_prompt() -> None:
    record = decided(
        FAST, [scored("baseline", share(160)), scored("candidate", share(150)), scored("champion", share(90))]
    )
    assert record.verdict == "keep_prompt"
    assert "use the prompt" in record.reasons[-1]


def test_decide_keeps_the_prompt_without_a_candidate() -> None:
    assert decided(FAST, [scored("baseline", share(100))]).verdict == "keep_prompt"


def test_decide_needs_enough_test_rows() -> None:
    record = decided(FAST, [scored("baseline", [0] * 40), scored("candidate", [1] * 40)])
    assert record.verdict == "not_enough_data"
    assert "40 test rows; a decision requires at least 50" in record.reasons[0]


def test_decide_estimates_rows_needed_for_an_unclear_lead() -> None:
    rng = np.random.default_rng(1)
    before = rng.random(100) < 0.6
    after = np.where(rng.random(100) < 0.2, rng.random(100) < 0.75, before)
    record = decided(FAST, [scored("baseline", before.astype(int)), scored("candidate", after.astype(int))])
    assert record.comparisons[0].delta > 0
    assert any("takes about" in reason for reason in record.reasons)


@pytest.mark.parametrize(
    ("setting", "candidate", "rule", "words"),
    [
        (
            {"min_lift": 0.3},
            {},
            "lift_over_prompt",
            "the candidate is not shown to be better than the best prompt",
        ),
        (
            {},
            {"outcomes": ["invalid"] * 20 + ["ok"] * 180},
            "invalid_rate",
            "unusable answers: 0.1, above 0.05",
        ),
        ({"max_latency_s": 0.05}, {}, "latency_s", "95th percentile of latency in seconds: 0.1, above 0.05"),
        ({"max_input_tokens": 5}, {}, "input_tokens", "mean input tokens per request: 10, above 5"),
        ({"max_output_tokens": 1}, {}, "output_tokens", "mean output tokens per request: 2, above 1"),
        ({"min_class_recall": 0.9}, {}, "class_recall", "has the lowest recall, 0.800; required: 0.9"),
        ({"max_cost_per_1000": 0.005}, {}, "cost", "USD for 1,000 answers at list prices: 0.008, above 0.005"),
        (
            {"max_ece": 0.05},
            {},
            "calibration",
            "(ECE, calibrated on validation rows): 0.1, above 0.05",
        ),
    ],
)
def test_decide_each_rule_can_stop_a_winner(
    setting: dict[str, Any], candidate: dict[str, Any], rule: str, words: str
) -> None:
    both = [scored("baseline", share(120)), scored("candidate", share(160), **candidate)]
    # 10 and 2 tokens an answer: 0.008 USD for 1,000
    record = decided(Gate(resamples=2000, **setting), both, prices=PRICES)
    assert record.verdict == "keep_prompt"
    assert failed(record) == [rule]
    assert words in record.reasons[0]
    assert record.reasons[-1] == "keeping the best prompt"
    assert len(record.reasons) == 2


def test_decide_latency_limit_needs_latencies() -> None:
    half_timed = replace(scored("candidate", share(160)), latency_s=[None] * 150 + [0.1] * 50)
    both = [scored("baseline", share(120)), half_timed]
    record = decided(Gate(resamples=2000, max_latency_s=1), both)
    assert [rule.summary for rule in record.rules if not rule.passed] == [
        "latency was measured on 50 of 200 rows: set evaluate.batch_above=0"
    ]


def test_decide_lists_limits_that_hold() -> None:
    config = Gate(resamples=2000, max_cost_per_1000=0.01, max_ece=0.2, max_latency_s=1)
    both = [scored("baseline", share(120)), scored("candidate", share(160))]
    record = decided(config, both, prices=PRICES)
    assert record.verdict == "deploy"
    assert {rule.name: round(rule.measured, 4) for rule in record.rules if rule.name in ("cost", "calibration")} == {
        "cost": 0.008, "calibration": 0.1,
    }  # fmt: skip


def test_decide_stops_on_a_lost_class() -> None:
    prompt = [1 if i % 2 else int(i < 60) for i in range(200)]
    lopsided = [1 if i % 2 == 0 else int(i < 160) for i in range(200)]
    both = [scored("baseline", prompt), scored("candidate", lopsided)]
    assert decided(FAST, both).verdict == "deploy"
    record = decided(Gate(resamples=2000, max_class_drop=0.1), both)
    assert failed(record) == ["class_drop"]
    assert "recall against the best prompt" in record.reasons[0]


def test_decide_is_exact_with_few_disagreements() -> None:
    before = [1] * 196 + [0] * 4
    record = decided(FAST, [scored("baseline", before), scored("candidate", [1] * 200)])
    assert record.comparisons[0].low > 0
    assert record.comparisons[0].p_value == 0.125
    assert record.verdict == "keep_prompt"


@pytest.mark.parametrize("metric", ["accuracy", "macro_f1"])
def test_decide_error_rate_holds_for_equal_models(metric: str) -> None:
    rng = np.random.default_rng(5)
    passed = 0
    for _ in range(200):
        rows = int(rng.integers(50, 200))
        pair = [rng.random(rows) < 0.7 for _ in range(2)]
        both = [scored(role, hits.astype(int)) for role, hits in zip(("baseline", "candidate"), pair, strict=True)]
        passed += decided(Gate(resamples=1000, metric=metric), both).passed
    assert passed / 200 <= 0.05  # stated: 0.025


def tried(candidates: int, **settings: Any) -> DecisionRecord:
    both = [scored("baseline", share(120)), scored("candidate", share(160))]
    return decided(Gate(resamples=2000, **settings), both, candidates=candidates)


def test_decide_reports_or_stops_on_test_set_reuse() -> None:
    assert tried(1).notes == []
    (note,) = tried(3).notes
    assert "3 candidates have used this test set" in note
    assert "up to 7.5%" in note
    assert tried(3).passed
    assert tried(3, planned_candidates=3).notes == []
    stopped = tried(3, on_test_set_reuse="fail")
    assert stopped.verdict == "not_enough_data"
    assert [rule.name for rule in stopped.rules] == ["test_set_reuse"]
    assert "take new test rows" in stopped.reasons[0]


def test_decide_divides_the_error_rate_among_planned_candidates() -> None:
    record = tried(1, planned_candidates=5)
    assert record.confidence_level == pytest.approx(0.99)
    assert record.comparisons[0].low < tried(1).comparisons[0].low
    rng, passed = np.random.default_rng(8), 0
    for _ in range(40):  # series of five equal candidates on one test set: one look each, the best of them counts
        baseline = scored("baseline", (rng.random(120) < 0.7).astype(int))
        looks = [scored("candidate", (rng.random(120) < 0.7).astype(int)) for _ in range(5)]
        config = Gate(resamples=1000, planned_candidates=5)
        passed += any(decided(config, [baseline, answers], candidates=i).passed for i, answers in enumerate(looks, 1))
    assert passed <= 3  # stated: 2.5 % of series


def won(rows: int, wins: int, losses: int) -> list[PairwiseResult]:
    outcomes = ["candidate"] * wins + ["baseline"] * losses + ["tie"] * (rows - wins - losses)
    return [PairwiseResult(outcome) for outcome in outcomes]


def judged(
    validated: bool = True, scores: list[float | None] | None = None, wins: int = 150, threshold: float | None = 4.0
) -> JudgeReport:
    """A judge's report on the candidate, which wins so many of 180 untied pairs."""
    share = Score(value=0.5, low=0.4, high=0.6)
    agreement = Score(value=0.8, low=0.7 if validated else 0.2, high=0.9)
    validation = JudgeValidation(
        validated=validated,
        measure="kappa",
        shown=agreement,
        required=0.6,
        summary="people agree" if validated else "people do not agree: it informs",
        threshold=GoodThreshold(score=threshold, kappa=agreement, precision=0.9, recall=0.9) if threshold else None,
    )
    ratings = JudgeRatings(
        score=share, refusal_rate=0, unreadable_rate=0, scores=scores or [*[5.0] * 190, *[None] * 10]
    )
    comparison = JudgeComparison(
        candidate="candidate",
        baseline="baseline",
        winners=[result.winner for result in won(200, wins, 180 - wins)],
        win_rate=share,
        pairs=200,
        wins=wins,
        losses=180 - wins,
        ties=20,
        order_flips=5,
        p_value=0.01,
        chose_first=share,
        chose_longer=share,
        unreadable=0,
    )
    return JudgeReport(
        model="judge",
        rubric="Is it right?",
        ratings={"candidate": ratings},
        pairwise=[comparison],
        validation=validation,
    )


JUDGED = {"min_judge_good": 0.8, "min_judge_win_rate": 0.5}


@pytest.mark.parametrize(
    ("settings", "judge", "rules", "named"),
    [
        (JUDGED, judged(), [], ["judge_validation", "judge_good", "judge_win_rate"]),
        (JUDGED, judged(scores=[5.0] * 150 + [3.0] * 50), ["judge_good"], None),
        (JUDGED, judged(wins=100), ["judge_win_rate"], None),
        (JUDGED, judged(threshold=None), ["judge_good"], None),
        (JUDGED, judged(validated=False), ["judge_validation"], ["judge_validation"]),
        (JUDGED, None, ["judge_validation"], ["judge_validation"]),
        ({}, judged(wins=10, scores=[1.0] * 200), [], []),
        ({}, judged(validated=False), [], []),
    ],
)
def test_decide_uses_only_a_validated_judge(
    settings: dict[str, Any], judge: JudgeReport | None, rules: list[str], named: list[str] | None
) -> None:
    both = [scored("baseline", share(120)), scored("candidate", share(160))]
    record = decided(Gate(resamples=2000, **settings), both, judge=judge)
    assert failed(record) == rules
    assert record.passed is not bool(rules)
    if named is not None:  # an unvalidated judge gives no other rule
        assert [rule.name for rule in record.rules if rule.name.startswith("judge")] == named


def test_gate_section_accepts_the_example_of_the_docs() -> None:
    page = (Path(__file__).parents[2] / "docs" / "gate.md").read_text(encoding="utf-8")
    settings = yaml.safe_load(page.split("```yaml")[1].split("```")[0])["gate"]
    assert Gate.of(settings).planned_candidates == settings["planned_candidates"]
    assert Gate.of(settings) != Gate()


def in_slices(answers: ScoredVariant, values: Sequence[str]) -> ScoredVariant:
    return replace(answers, slices=[{"source": value} for value in values])


def test_decide_reports_or_stops_on_slice_regression() -> None:
    # Better by far on the web, worse by mail.
    where = ["mail"] * 40 + ["web"] * 160
    prompt = in_slices(scored("baseline", [1] * 40 + [0] * 160), where)
    tuned = in_slices(scored("candidate", [0] * 40 + [1] * 160), where)
    record = decided(FAST, [prompt, tuned])
    assert record.verdict == "deploy"
    assert record.notes == [n for n in record.notes if "source is 'mail': -1.000 on 40 rows" in n] != []
    stopped = decided(Gate(resamples=2000, on_slice_regression="fail"), [prompt, tuned])
    assert failed(stopped) == ["slice_regression"]


def test_decide_corrects_for_many_slices() -> None:
    rng, noted = np.random.default_rng(6), 0
    for _ in range(24):
        values = [str(v) for v in rng.integers(0, 20, 400)]
        pair = [
            in_slices(scored(role, (rng.random(400) < 0.7).astype(int)), values) for role in ("baseline", "candidate")
        ]
        noted += bool(decided(Gate(resamples=1000), pair).notes)
    assert noted <= 4  # the family's error is 5 %, two-sided: 1.2 of 24 expected at most


def test_decide_counts_a_group_as_one_observation() -> None:
    copies = [1] * 80 + [0] * 20
    both = [scored("baseline", [0] * 100), scored("candidate", copies)]
    assert decided(FAST, both).passed
    assert not decided(FAST, both, groups=["same"] * 80 + ["other"] * 20).passed


def test_decide_refuses_a_model_not_better_than_the_majority_class() -> None:
    references = ["b"] * 30 + ["a"] * 90
    for right, passed in ((60, False), (90, False), (93, False), (110, True)):
        rows = [Row(r, r if i >= 120 - right else "c", r, r) for i, r in enumerate(references)]
        few = replace(scored("candidate", [1] * 120), rows=rows)
        none = replace(few, variant=scored("baseline", [1]).variant, rows=[Row(r, "c", "c", r) for r in references])
        record = decided(FAST, [none, few])
        assert record.passed is passed
        assert failed(record) == ([] if passed else ["lift_over_constant"])
        (rule,) = [rule for rule in record.rules if rule.name == "lift_over_constant"]
        assert f"(most_frequent_reference): accuracy {right / 120:.3f} against 0.750" in rule.summary


# -- unusable variants and free baselines ----------------------------------------------------------------------------


def unreadable(rows: int, of: int = 200, outcome: str = "invalid") -> list[str]:
    return [outcome] * rows + ["ok"] * (of - rows)


def free(name: str, hits: int, role: Any = "free_baseline", rows: int = 200) -> ScoredVariant:
    variant = ModelVariant(name=name, model=f"local:{name}", role=role)
    return replace(scored(role, share(hits, rows)), variant=variant)


TFIDF = "tfidf_baseline"


@pytest.mark.parametrize(
    ("finalists", "tfidf", "verdict", "words"),
    [
        # a variant with unusable answers is not beaten, whatever its score
        (
            {"baseline": (60, 120), "candidate": (180, 0)},
            None,
            "none_usable",
            "the best prompt (baseline) is not usable",
        ),
        ({"baseline": (60, 11), "candidate": (180, 0)}, None, "none_usable", "11 invalid; most often '<label>' (11)"),
        ({"baseline": (120, 10), "candidate": (180, 0)}, None, "deploy", "the best prompt (baseline) is usable"),
        (
            {"baseline": (120, 0), "candidate": (180, 0), "champion": (60, 120)},
            None,
            "keep_prompt",
            "the model in production (champion) is not usable",
        ),
        (
            {"baseline": (60, 120), "candidate": (180, 0), "champion": (150, 0)},
            None,
            "keep_champion",
            "the best prompt (baseline) is not usable",
        ),
        (
            {"baseline": (60, 120), "candidate": (180, 0), "champion": (60, 120)},
            None,
            "none_usable",
            "the model in production (champion) is not usable",
        ),
        ({"baseline": (0, 195)}, None, "none_usable", "no variant may serve: too many answers of baseline"),
        (
            {"baseline": (0, 195), "champion": (150, 0)},
            None,
            "keep_champion",
            "the best prompt (baseline) is not usable",
        ),
        ({"baseline": (0, 195)}, 190, "none_usable", "TF-IDF with logistic regression reaches accuracy 0.950"),
        (
            {"baseline": (60, 120), "candidate": (160, 0)},
            190,
            "use_tfidf_baseline",
            "candidate (0.800) is shown to be worse",
        ),
        (
            {"baseline": (60, 120), "candidate": (190, 0)},
            190,
            "none_usable",
            "too many answers of baseline are unusable",
        ),
        # worse than a constant (0.5): nothing may serve
        (
            {"baseline": (0, 0)},
            None,
            "none_usable",
            "always the most frequent reference of these rows reaches accuracy",
        ),
        (
            {"baseline": (0, 0), "candidate": (40, 0)},
            None,
            "none_usable",
            "not shown to be better than the best constant",
        ),
        ({"baseline": (140, 0), "champion": (40, 0)}, None, "keep_prompt", "champion (0.200) is shown to be worse"),
        # TF-IDF against the candidate, and against what would be kept
        (
            {"baseline": (120, 0), "candidate": (160, 0)},
            190,
            "use_tfidf_baseline",
            "candidate (0.800) is shown to be worse",
        ),
        ({"baseline": (185, 0), "candidate": (160, 0)}, 190, "keep_prompt", "candidate (0.800) is shown to be worse"),
        (
            {"baseline": (120, 0), "candidate": (125, 0)},
            190,
            "use_tfidf_baseline",
            "baseline (0.600) is shown to be worse",
        ),
        (
            {"baseline": (120, 0), "candidate": (160, 0), "champion": (188, 0)},
            190,
            "keep_champion",
            "candidate (0.800) is shown to be worse",
        ),
        (
            {"baseline": (120, 0), "champion": (150, 0)},
            190,
            "use_tfidf_baseline",
            "champion (0.750) is shown to be worse",
        ),
        (
            {"baseline": (120, 0), "champion": (188, 0)},
            190,
            "keep_champion",
            "champion (0.940) is not shown to be better",
        ),
        ({"baseline": (120, 0)}, 190, "use_tfidf_baseline", "baseline (0.600) is shown to be worse"),
        ({"baseline": (120, 0)}, 110, "keep_prompt", "baseline (0.600) is shown to be better"),
        ({"baseline": (0, 0)}, 40, "none_usable", "baseline (0.000) is shown to be worse"),  # TF-IDF below a constant
    ],
)
def test_decide_says_what_to_use_instead(
    finalists: dict[str, tuple[int, int]], tfidf: int | None, verdict: str, words: str
) -> None:
    variants = [scored(role, share(hits), outcomes=unreadable(bad)) for role, (hits, bad) in finalists.items()]
    record = decided(FAST, variants, free=[free(TFIDF, tfidf)] if tfidf is not None else [])
    assert record.verdict == verdict
    assert words in " | ".join([*record.reasons, *record.notes])


def test_decide_names_an_unusable_variant_first() -> None:
    variants = [scored("baseline", share(0), outcomes=unreadable(195, outcome="truncated"))]
    for more in ([], [scored("candidate", share(101))]):
        record = decided(FAST, [*variants, *more])
        assert record.reasons[0].startswith(
            "the best prompt (baseline) is not usable, and being better than it does not"
        )
        assert "195 truncated" in record.reasons[0]
        assert "raise max_output_tokens" in record.reasons[0]


def test_decide_has_one_limit_of_unusable_answers_for_all() -> None:
    strict, lenient = Gate(resamples=1000, max_invalid_rate=0.02), Gate(resamples=1000, max_invalid_rate=0.7)
    for role in ("baseline", "candidate"):
        bad = {role: unreadable(6)}
        both = [
            scored(name, share(hits), outcomes=bad.get(name)) for name, hits in (("baseline", 120), ("candidate", 180))
        ]
        assert failed(decided(strict, both)) == ["invalid_rate" if role == "candidate" else "invalid_rate_of_prompt"]
        assert decided(lenient, both).passed


def test_decide_needs_only_the_best_prompt_to_be_usable() -> None:
    """A further prompt that may be as good has to be beaten, usable or not."""
    further = scored("baseline", share(150), "further", outcomes=unreadable(50))
    for hits, verdict in ((152, "keep_prompt"), (180, "deploy")):
        record = decided(FAST, [scored("baseline", share(120)), further, scored("candidate", share(hits))])
        assert record.verdict == verdict
        names = [rule.name for rule in record.rules]
        assert (names.count("lift_over_prompt"), names.count("invalid_rate_of_prompt")) == (2, 1)


def test_decide_counts_no_failed_request_as_an_unusable_answer() -> None:
    both = [
        scored(role, share(hits), outcomes=unreadable(30, outcome="error"))
        for role, hits in (("baseline", 100), ("candidate", 170))
    ]
    assert decided(FAST, both).passed


def test_decide_warns_of_free_baselines_where_configured() -> None:
    warn = Gate(resamples=2000, on_worse_than_free_baseline="warn")
    better, variants = [free(TFIDF, 190), free("nearest_row", 195)], [scored("baseline", share(120))]
    tuned = scored("candidate", share(160))
    assert decided(warn, [*variants, tuned], free=better).verdict == "deploy"
    assert decided(warn, variants, free=better).verdict == "keep_prompt"
    stopped = decided(FAST, [*variants, tuned], free=better)
    assert failed(stopped) == ["not_worse_than_tfidf_baseline", "not_worse_than_nearest_row"]
    assert "a copy of the answer of the nearest training row reaches accuracy 0.975" in " ".join(stopped.reasons)
    constant = [free("majority_class", 158, "constant")]  # no setting lets a constant be as good
    assert failed(decided(warn, [*variants, tuned], free=constant)) == ["lift_over_constant"]


def test_decide_pairwise_compares_free_baselines_that_were_ranked() -> None:
    constant = free("central_text", 0, "constant")
    beaten = ranked(FAST, {"baseline": (90, 30), "central_text": (90, 30)}, free=[constant])
    assert beaten.passed
    assert "better than the best constant answer (central_text): win_rate 0.650" in " ".join(beaten.reasons)
    assert failed(ranked(FAST, {"baseline": (90, 30), "central_text": (40, 40)}, free=[constant])) == [
        "lift_over_constant"
    ]
    copied = ranked(FAST, {"baseline": (90, 30), "nearest_row": (30, 90)}, free=[free("nearest_row", 0)])
    assert failed(copied) == ["not_worse_than_nearest_row"]
    assert ranked(FAST, {"baseline": (90, 30)}, free=[constant]).passed  # the judge ranks no free baseline


def counts(low: int, high: int) -> Any:
    """Right answers, unusable answers and their outcome, of 60 rows."""
    return st.tuples(
        st.integers(low, high),
        st.sampled_from([0, 0, 0, 3, 4, 36]),
        st.sampled_from(["invalid", "refusal", "blocked", "truncated"]),
    )


@settings(max_examples=120)
@given(
    st.fixed_dictionaries(
        {"baseline": counts(0, 50)}, optional={"champion": counts(20, 50), "supervised": counts(20, 60)}
    ),
    st.none() | counts(0, 60) | counts(50, 60),
    st.dictionaries(
        st.sampled_from([TFIDF, "nearest_row", "majority_class"]), st.sampled_from([30, 45, 60]), max_size=2
    ),
    st.sampled_from([0.05, 0.5]),
    st.sampled_from([0.0, -0.1]),
)
def test_decide_never_deploys_over_an_unusable_or_under_a_free_variant(
    others_drawn: dict[str, Any], candidate: Any, known: dict[str, int], limit: float, lift: float
) -> None:
    finalists = {**others_drawn, **({"candidate": candidate} if candidate else {})}
    variants = [
        scored(role, share(min(hits, 60 - bad), 60), outcomes=unreadable(bad, 60, outcome)[::-1])
        for role, (hits, bad, outcome) in finalists.items()
    ]
    roles = {"majority_class": "constant"}
    others = [free(name, hits, roles.get(name, "free_baseline"), 60) for name, hits in known.items()]
    gate = Gate(resamples=1000, max_invalid_rate=limit, min_lift_over_champion=lift)
    record = decided(gate, variants, free=others)
    unusable = {role for role, (_, bad, _) in finalists.items() if bad > limit * 60}
    texts = [*record.reasons, *record.notes]
    if record.verdict == "deploy":
        assert not unusable
        assert not [text for text in texts if "shown to be worse" in text and "not shown" not in text]
        score = {
            answers.variant.name: sum(r.parsed == r.reference for r in answers.rows) for answers in [*variants, *others]
        }
        assert score["candidate"] > max(30, score.get("majority_class", 0))
    kept = {"keep_prompt": "baseline", "keep_champion": "champion"}.get(record.verdict)
    assert kept not in unusable
    worse = [text for text in texts if f"{kept} (" in text and "is shown to be worse" in text]
    assert all("nearest training row" in text for text in worse)  # reported, not used instead
    assert (record.verdict == "use_tfidf_baseline") <= (TFIDF in known)


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


def pairwise(gate: Gate, groups: Sequence[str | None]) -> Compare:
    return ComparePairwise(gate, groups)


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


def ranked(gate: Gate, others: dict[str, tuple[int, int]], roles: Sequence[str] = (), **more: Any) -> DecisionRecord:
    """The decision on a candidate with so many wins and losses against each other finalist over 200 rows."""
    candidate = scored("candidate", share(160), pairwise={role: won(200, *score) for role, score in others.items()})
    variants = [scored(role, share(120)) for role in ("baseline", *roles)]
    return decide(TASK, gate, Evidence([*variants, candidate], [None] * 200, **more), pairwise)


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
    usage = TestSetUsage(test="t", candidates=3, uses=4)
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
    assert record.test_set_usage == TestSetUsage(test="t", candidates=3, uses=4)
    assert any("3 candidates have used this test set" in note for note in record.notes)
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
