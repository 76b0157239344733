# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The decision: each verdict, each rule, and honesty under equality."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

from gemtune.config import Contestant, Gate, Task
from gemtune.evaluation.metrics import Row
from gemtune.evaluation.predictions import Scored
from gemtune.steps.gate import decide

TASK = Task(labels=["a", "b"])
FAST = Gate(resamples=2000)


def scored(role, right, name=None, outcomes=None, latency=0.1, tokens=10):
    """A contestant that is right on the rows marked 1; every other row is of class b."""
    rows = []
    for i, hit in enumerate(right):
        reference = "ab"[i % 2]
        value = reference if hit else "ba"[i % 2]
        rows.append(Row(reference, value, value, reference))
    count = len(rows)
    return Scored(
        Contestant(name=name or role, model="m", role=role),
        rows, outcomes or ["ok"] * count, [latency] * count, [tokens] * count, [2] * count, confidence=[0.9] * count,
    )  # fmt: skip


def share(hits, rows=200):
    return [1] * hits + [0] * (rows - hits)


def test_decide_deploys_a_clear_winner():
    made = decide(TASK, FAST, [scored("baseline", share(120)), scored("candidate", share(160))])
    assert made.verdict == "deploy"
    assert made.passed
    assert made.comparisons[0].paired.delta == pytest.approx(0.2)
    assert "better than the best prompt (baseline): accuracy 0.800 against 0.600" in made.reasons[0]


def test_decide_refuses_an_equal_candidate():
    made = decide(TASK, FAST, [scored("baseline", share(120)), scored("candidate", share(120))])
    assert made.verdict == "keep_prompt"
    assert not made.passed
    assert "not shown" in made.reasons[0]


def test_decide_keeps_the_champion_unless_beaten():
    prompt, champion = scored("baseline", share(100)), scored("champion", share(160))
    assert decide(TASK, FAST, [prompt, scored("candidate", share(161)), champion]).verdict == "keep_champion"
    assert decide(TASK, FAST, [prompt, scored("candidate", share(185)), champion]).verdict == "deploy"
    assert decide(TASK, FAST, [prompt, champion]).verdict == "keep_champion"


def test_decide_reports_a_champion_below_the_prompt():
    made = decide(
        TASK, FAST, [scored("baseline", share(160)), scored("candidate", share(150)), scored("champion", share(90))]
    )
    assert made.verdict == "keep_prompt"
    assert "go back to the prompt" in made.reasons[-1]


def test_decide_keeps_the_prompt_without_a_candidate():
    assert decide(TASK, FAST, [scored("baseline", share(100))]).verdict == "keep_prompt"


def test_decide_needs_enough_test_rows():
    made = decide(TASK, FAST, [scored("baseline", [0] * 40), scored("candidate", [1] * 40)])
    assert made.verdict == "not_enough_data"
    assert "40 test rows, at least 50" in made.reasons[0]


def test_decide_estimates_rows_needed_for_an_unclear_lead():
    rng = np.random.default_rng(1)
    before = rng.random(100) < 0.6
    after = np.where(rng.random(100) < 0.2, rng.random(100) < 0.75, before)
    made = decide(TASK, FAST, [scored("baseline", before.astype(int)), scored("candidate", after.astype(int))])
    assert made.comparisons[0].paired.delta > 0
    assert any("takes about" in reason for reason in made.reasons)


@pytest.mark.parametrize(
    ("setting", "candidate", "rule"),
    [
        ({"min_lift": 0.3}, {}, "lift_over_prompt"),
        ({}, {"outcomes": ["invalid"] * 20 + ["ok"] * 180}, "invalid_rate"),
        ({"max_latency_s": 0.05}, {}, "latency_s"),
        ({"max_input_tokens": 5}, {}, "input_tokens"),
        ({"max_output_tokens": 1}, {}, "output_tokens"),
        ({"min_class_recall": 0.9}, {}, "class_recall"),
        ({"max_cost_per_1000": 0.005}, {}, "cost"),
        ({"max_ece": 0.05}, {}, "calibration"),
    ],
)
def test_decide_each_rule_can_stop_a_winner(setting, candidate, rule):
    both = [scored("baseline", share(120)), scored("candidate", share(160), **candidate)]
    prices = {"input": 0.3, "output": 2.5}  # 10 and 2 tokens an answer: 0.008 US$ for 1,000
    made = decide(TASK, Gate(resamples=2000, **setting), both, prices=prices)
    assert made.verdict == "keep_prompt"
    assert [r.name for r in made.rules if not r.passed] == [rule]
    assert len(made.reasons) == 2


def test_decide_latency_limit_needs_latencies():
    half_timed = replace(scored("candidate", share(160)), latency_s=[None] * 150 + [0.1] * 50)
    both = [scored("baseline", share(120)), half_timed]
    made = decide(TASK, Gate(resamples=2000, max_latency_s=1), both)
    assert [rule.sentence for rule in made.rules if not rule.passed] == [
        "answer time was measured on 50 of 200 rows: set evaluate.batch_above=0"
    ]


def test_decide_lists_limits_that_hold():
    config = Gate(resamples=2000, max_cost_per_1000=0.01, max_ece=0.2, max_latency_s=1)
    both = [scored("baseline", share(120)), scored("candidate", share(160))]
    made = decide(TASK, config, both, prices={"input": 0.3, "output": 2.5})
    assert made.verdict == "deploy"
    assert {rule.name: round(rule.measured, 4) for rule in made.rules if rule.name in ("cost", "calibration")} == {
        "cost": 0.008, "calibration": 0.1,
    }  # fmt: skip


def test_decide_stops_on_a_lost_class():
    prompt = [1 if i % 2 else int(i < 60) for i in range(200)]
    lopsided = [1 if i % 2 == 0 else int(i < 160) for i in range(200)]
    both = [scored("baseline", prompt), scored("candidate", lopsided)]
    assert decide(TASK, FAST, both).verdict == "deploy"
    made = decide(TASK, Gate(resamples=2000, max_class_drop=0.1), both)
    assert [r.name for r in made.rules if not r.passed] == ["class_drop"]


def test_decide_is_exact_with_few_disagreements():
    before = [1] * 196 + [0] * 4
    made = decide(TASK, FAST, [scored("baseline", before), scored("candidate", [1] * 200)])
    assert made.comparisons[0].paired.low > 0
    assert made.comparisons[0].paired.p_value == 0.125
    assert made.verdict == "keep_prompt"


@pytest.mark.parametrize("metric", ["accuracy", "macro_f1"])
def test_decide_error_rate_holds_for_equal_models(metric):
    rng = np.random.default_rng(5)
    passed = 0
    for _ in range(300):
        rows = int(rng.integers(50, 200))
        pair = [rng.random(rows) < 0.7 for _ in range(2)]
        both = [scored(role, hits.astype(int)) for role, hits in zip(("baseline", "candidate"), pair, strict=True)]
        passed += decide(TASK, Gate(resamples=1000, metric=metric), both).passed
    assert passed / 300 <= 0.05  # stated: 0.025


def tried(candidates, **settings):
    both = [scored("baseline", share(120)), scored("candidate", share(160))]
    return decide(TASK, Gate(resamples=2000, **settings), both, candidates=candidates)


def test_decide_reports_or_stops_on_test_set_reuse():
    assert tried(1).notes == []
    (note,) = tried(3).notes
    assert "3 candidates have been tried" in note
    assert "up to 7.5%" in note
    assert tried(3).passed
    assert tried(3, planned_readings=3).notes == []
    stopped = tried(3, worn_test="stop")
    assert stopped.verdict == "not_enough_data"
    assert [rule.name for rule in stopped.rules] == ["test_readings"]
    assert "fresh test rows" in stopped.reasons[0]


def test_decide_divides_the_error_rate_among_planned_candidates():
    made = tried(1, planned_readings=5)
    assert made.confidence_level == pytest.approx(0.99)
    assert made.comparisons[0].paired.low < tried(1).comparisons[0].paired.low
    rng, passed = np.random.default_rng(8), 0
    for _ in range(60):  # series of five equal candidates on one test set: one look each, the best of them counts
        baseline = scored("baseline", (rng.random(120) < 0.7).astype(int))
        looks = [scored("candidate", (rng.random(120) < 0.7).astype(int)) for _ in range(5)]
        config = Gate(resamples=1000, planned_readings=5)
        passed += any(decide(TASK, config, [baseline, one], candidates=i).passed for i, one in enumerate(looks, 1))
    assert passed <= 4  # stated: 2.5 % of series


def judged(admitted=True, scores=None, low=0.7, cut=4.0):
    """What an evaluation says of a judge."""
    return {
        "admission": {
            "admitted": admitted,
            "shown": {"value": 0.8, "low": 0.7 if admitted else 0.2, "high": 0.9},
            "required": 0.6,
            "sentence": "people agree" if admitted else "people do not agree: it informs",
            "threshold": {"score": cut} if cut else {},
        },
        "ratings": {"candidate": {"scores": scores or [5.0] * 190 + [None] * 10}},
        "duels": [
            {
                "candidate": "candidate", "baseline": "baseline", "pairs": 200, "ties": 20, "flips": 5,
                "win_rate": {"value": 0.8, "low": low, "high": 0.9},
            }
        ],
    }  # fmt: skip


JUDGED = {"min_judge_good": 0.8, "min_judge_win_rate": 0.5}


@pytest.mark.parametrize(
    ("settings", "autorater", "failed", "named"),
    [
        (JUDGED, judged(), [], ["judge_validity", "judge_good", "judge_win_rate"]),
        (JUDGED, judged(scores=[5.0] * 150 + [3.0] * 50), ["judge_good"], None),
        (JUDGED, judged(low=0.45), ["judge_win_rate"], None),
        (JUDGED, judged(cut=None), ["judge_good"], None),
        (JUDGED, judged(admitted=False), ["judge_validity"], ["judge_validity"]),
        (JUDGED, {}, ["judge_validity"], ["judge_validity"]),
        ({}, judged(low=0.1, scores=[1.0] * 200), [], []),
        ({}, judged(admitted=False), [], []),
    ],
)
def test_decide_uses_only_a_validated_judge(settings, autorater, failed, named):
    both = [scored("baseline", share(120)), scored("candidate", share(160))]
    made = decide(TASK, Gate(resamples=2000, **settings), both, autorater=autorater)
    assert [rule.name for rule in made.rules if not rule.passed] == failed
    assert made.passed is not bool(failed)
    if named is not None:  # a judge that is not proven says nothing but that
        assert [rule.name for rule in made.rules if rule.name.startswith("judge")] == named


def test_gate_section_accepts_the_example_of_the_docs():
    page = (Path(__file__).parents[2] / "docs" / "gate.md").read_text(encoding="utf-8")
    told = yaml.safe_load(page.split("```yaml")[1].split("```")[0])["gate"]
    assert Gate.of(told).planned_readings == told["planned_readings"]
    assert Gate.of(told) != Gate()


def in_slices(one, values):
    return replace(one, slices=[{"source": value} for value in values])


def test_decide_reports_or_stops_on_slice_regression():
    # Better by far on the web, worse by mail.
    where = ["mail"] * 40 + ["web"] * 160
    prompt = in_slices(scored("baseline", [1] * 40 + [0] * 160), where)
    tuned = in_slices(scored("candidate", [0] * 40 + [1] * 160), where)
    made = decide(TASK, FAST, [prompt, tuned])
    assert made.verdict == "deploy"
    assert made.notes == [n for n in made.notes if "source is 'mail': -1.000 on 40 rows" in n] != []
    stopped = decide(TASK, Gate(resamples=2000, worse_slices="stop"), [prompt, tuned])
    assert [r.name for r in stopped.rules if not r.passed] == ["worse_slices"]


def test_decide_corrects_for_many_slices():
    rng, told = np.random.default_rng(6), 0
    for _ in range(40):
        values = [str(v) for v in rng.integers(0, 20, 400)]
        pair = [
            in_slices(scored(role, (rng.random(400) < 0.7).astype(int)), values) for role in ("baseline", "candidate")
        ]
        told += bool(decide(TASK, Gate(resamples=1000), pair).notes)
    assert told <= 5  # the family's error is 5 %, two-sided: 2 of 40 expected at most


def test_decide_counts_a_group_as_one_observation():
    copies = [1] * 50 + [0] * 50
    both = [scored("baseline", [0] * 100), scored("candidate", copies)]
    assert decide(TASK, FAST, both).passed
    assert not decide(TASK, FAST, both, ["same"] * 50 + ["other"] * 50).passed


def test_decide_refuses_a_model_below_the_majority_class():
    rows = [Row("b", "a", "a", "b")] * 30 + [Row("a", "a", "a", "a")] * 30 + [Row("a", "b", "b", "a")] * 60
    few = replace(scored("candidate", [1] * 120), rows=rows)
    none = replace(scored("baseline", [0] * 120), rows=[Row(r.reference, None, None, r.reference) for r in rows])
    made = decide(TASK, FAST, [none, few])
    assert not made.passed
    (rule,) = [rule for rule in made.rules if rule.name == "beats_constant"]
    assert not rule.passed
    assert rule.wanted == pytest.approx(0.75)
