# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The decision on supervised tuning: each verdict, each rule, unusable variants, free baselines, and honesty."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from gate_evidence import FAST, PRICES, decided, failed, judged, ranked, scored, share
from hypothesis import given
from hypothesis import strategies as st

from bench.wear import promotes
from gemtune.artifacts.decision import DecisionRecord
from gemtune.artifacts.evaluation import (
    JudgeReport,
)
from gemtune.config import Gate, ModelVariant
from gemtune.evaluation.gate import error_divisor
from gemtune.evaluation.metrics import Row
from gemtune.evaluation.predictions import ScoredVariant


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
        ({"min_class_recall": 0.9}, {}, "class_recall", "recall of 0.800 on 100 rows (perhaps only 0.708)"),
        # reached on these rows, but not shown
        ({"min_class_recall": 0.75}, {}, "class_recall", "required to be shown of every class: 0.75"),
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
    for _ in range(100):
        rows = int(rng.integers(50, 200))
        pair = [rng.random(rows) < 0.7 for _ in range(2)]
        both = [scored(role, hits.astype(int)) for role, hits in zip(("baseline", "candidate"), pair, strict=True)]
        passed += decided(Gate(resamples=1000, metric=metric), both).passed
    assert passed / 100 <= 0.05  # stated: 0.025


def tried(candidates: int, **settings: Any) -> DecisionRecord:
    both = [scored("baseline", share(120)), scored("candidate", share(160))]
    return decided(Gate(resamples=2000, **settings), both, candidates=candidates)


def test_decide_reports_or_stops_on_test_set_reuse() -> None:
    assert tried(1).notes == []
    (note,) = tried(3).notes
    assert "3 candidates have used a test row on average" in note
    assert "passes by luck in 0.42%" in note
    assert "at most 2.5% of series" in note
    assert tried(3).confidence_level == pytest.approx(1 - 0.05 / 6)
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


@pytest.mark.parametrize("planned", [1, 3, 10])
def test_error_divisor_spends_the_error_rate_once_within_the_plan_and_once_beyond(planned: int) -> None:
    shares = [1 / error_divisor(planned, count) for count in range(1, 2000)]
    assert sum(shares[:planned]) == pytest.approx(1)
    assert sum(shares[planned:]) <= 1
    assert shares == sorted(shares, reverse=True)


def test_decide_reports_apart_the_rows_that_no_earlier_decision_used() -> None:
    fresh = [row >= 150 for row in range(200)]
    both = [scored("baseline", share(120)), scored("candidate", share(160))]
    notes = decided(FAST, both, fresh=fresh).notes
    assert any("on the 50 test rows that no earlier decision used: accuracy 0.200 against 0.000" in n for n in notes)
    assert not any("no earlier decision" in note for note in decided(FAST, both).notes)


def test_a_growing_test_set_promotes_no_equal_candidate_more_often_than_promised() -> None:
    assert sum(promotes(seed, rows=60, weeks=8) for seed in range(12)) <= 2  # at most 5 % of series: bench/wear.py


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
