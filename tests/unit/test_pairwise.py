# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Pairwise comparison: which answer is better, by references or by the judge, and which variants are compared."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import pytest

from gemtune.artifacts.cost import TokenUsage
from gemtune.config import Evaluate, Gate, Judge, ModelVariant, Preference, Task
from gemtune.contents import ModelOutput
from gemtune.data.example import Example, Pair
from gemtune.errors import UserError
from gemtune.evaluation.comparison import ComparePairwise
from gemtune.evaluation.judge import PairwiseResult
from gemtune.evaluation.pairwise import (
    Ranker,
    baseline_pairings,
    checkpoint_pairings,
    compare_all,
    compare_to_references,
    final_pairings,
    mirrored,
    reference_grader,
)
from gemtune.evaluation.predictions import ScoredVariant
from gemtune.evaluation.scorers import score_sample
from gemtune.inference.generate import GenerateRequest

TASK = Task(kind="generation", instruction="Answer.", text_name="Request", target_name="Answer")


def test_reference_grader_prefers_the_nearer_answer_and_ties() -> None:
    grade = reference_grader(TASK, ["we are sorry for the delay", "another good answer"])
    assert grade("we are sorry for the delay") == grade("another good answer") == 100
    assert compare_to_references("we are sorry for the delay", "just wait", grade, 2).winner == "candidate"
    assert compare_to_references("just wait", "we are sorry for the delay", grade, 2).winner == "baseline"
    assert compare_to_references("just wait", "just wait", grade, 0).winner == "tie"
    assert compare_to_references(None, "zzz", grade, 50).winner == "baseline"
    assert compare_to_references("zzz", None, grade, 50).winner == "candidate"
    assert compare_to_references(None, None, grade, 0).winner == "tie"


def test_reference_grader_compares_labels_exactly() -> None:
    grade = reference_grader(Task(kind="classification", labels=["yes", "no"]), ["yes"])
    assert (grade("Yes"), grade("no"), grade("who knows")) == (100, 0, 0)


async def courtesy_judge(requests: Sequence[GenerateRequest]) -> list[ModelOutput]:
    """Prefers the answer that says please; when neither or both do, the one shown first (a biased judge)."""
    replies = []
    for request in requests:
        shown = json.loads(request.contents[0]["parts"][0]["text"])
        second = "please" in shown["second"] and "please" not in shown["first"]
        replies.append(
            ModelOutput(json.dumps({"better": "second" if second else "first"}), input_tokens=10, output_tokens=2)
        )
    return replies


def ranker(**settings: Any) -> Ranker:
    return Ranker(TASK, Preference.of(settings), Evaluate(judge=Judge(model="m")), courtesy_judge)


def test_ranker_judges_both_orders_only_where_needed() -> None:
    judging = ranker(ranker="judge")
    rows = [Example(str(n), "t", "r") for n in range(5)]
    one = ["wait please", "wait", "same", None, "no"]
    two = ["wait", "wait longer", "same", "x", None]
    results = asyncio.run(judging.compare(rows, one, two))
    assert [result.winner for result in results] == ["candidate", "tie", "tie", "baseline", "candidate"]
    assert [result.flipped for result in results] == [False, True, False, False, False]
    assert judging.usage == TokenUsage(input=40, output=8, requests=4)


def test_ranker_refuses_to_rank_without_the_judges_replies() -> None:
    async def unreachable(requests: Sequence[GenerateRequest]) -> list[ModelOutput]:
        return [ModelOutput(error="503")] * len(requests)

    rows = [Example(str(n), "t", "r") for n in range(5)]
    judging = Ranker(TASK, Preference.of({"ranker": "judge"}), Evaluate(judge=Judge(model="m")), unreachable)
    with pytest.raises(UserError, match="10 of 10 requests to 'm' failed: 503"):
        asyncio.run(judging.compare(rows, ["a"] * 5, ["b"] * 5))
    with pytest.raises(UserError, match="10 of 10 requests to 'm' failed: 503"):
        asyncio.run(judging.grades(rows, [["a", "b"]] * 5))


def test_ranker_counts_no_pair_without_a_verdict_and_refuses_when_most_have_none() -> None:
    def judging(unreadable: int) -> Ranker:
        async def send(requests: Sequence[GenerateRequest]) -> list[ModelOutput]:
            verdicts = ["first", "second"] * (len(requests) // 2)
            return [ModelOutput("hm" if n < 2 * unreadable else v) for n, v in enumerate(verdicts)]

        return Ranker(TASK, Preference.of({"ranker": "judge"}), Evaluate(judge=Judge(model="m")), send)

    rows = [Example(str(n), "t", "r") for n in range(4)]
    results = asyncio.run(judging(2).compare(rows, ["a"] * 4, ["b"] * 4))
    assert [result.winner for result in results] == ["unreadable"] * 2 + ["candidate"] * 2
    assert [result.winner for result in mirrored(results)] == ["unreadable"] * 2 + ["baseline"] * 2
    with pytest.raises(UserError, match="no verdict of the judge 'm' can be read on 3 of 4 pairs"):
        asyncio.run(judging(3).compare(rows, ["a"] * 4, ["b"] * 4))


def test_ranker_by_reference_sends_no_request() -> None:
    judging = ranker()
    rows = [Example("p", "t", "sorry for it", pairs=(Pair("p", "sorry for it", "no"), Pair("p", "we regret it", "no")))]
    (result,) = asyncio.run(judging.compare(rows, ["we regret it"], ["go away"]))
    assert result.winner == "candidate"
    ((best, worst),) = asyncio.run(judging.grades(rows, [["sorry for it", "go away"]]))
    assert best == 100
    assert worst is not None
    assert worst < 50
    assert judging.usage == TokenUsage()


def test_compare_all_judges_a_pair_once_for_both_ways_round() -> None:
    judging, rows = ranker(ranker="judge"), [Example(str(n), "t", "r") for n in range(3)]
    task = Task(kind="generation")
    scores = {
        name: [score_sample(task, variant(name, "baseline"), row, ModelOutput(text), task) for row in rows]
        for name, text in (("a", "wait please"), ("b", "wait"))
    }
    both = asyncio.run(compare_all(judging, rows, scores, [("a", "b"), ("b", "a")]))
    assert [result.winner for result in both["a", "b"]] == ["candidate"] * 3
    assert [result.winner for result in both["b", "a"]] == ["baseline"] * 3
    assert judging.usage.requests == 2 * 3


# -- who is compared with whom, and by what --------------------------------------------------------------------------


def variant(name: str, role: str) -> ModelVariant:
    return ModelVariant.of({"name": name, "model": name, "role": role})


def test_final_pairings_include_candidate_and_best_prompt() -> None:
    finalists = [
        variant(*one) for one in (("p", "baseline"), ("s", "supervised"), ("c", "candidate"), ("m", "champion"))
    ]
    pairings = [("c", "p"), ("c", "s"), ("c", "m"), ("s", "p"), ("m", "p"), ("p", "m")]
    assert final_pairings(finalists) == pairings
    several = [finalists[0], variant("q", "baseline"), finalists[2]]
    assert final_pairings(several) == [("c", "p"), ("c", "q"), ("q", "p")]
    assert final_pairings(finalists[:1]) == []
    assert final_pairings([finalists[0], finalists[3]]) == [("m", "p"), ("p", "m")]


def test_checkpoint_and_baseline_pairings() -> None:
    checkpoints = [variant("p", "baseline"), variant("s", "supervised"), variant("c@1", "candidate")]
    assert checkpoint_pairings(checkpoints) == [("c@1", "p"), ("c@1", "s")]
    assert baseline_pairings([variant(name, "baseline") for name in "pqr"]) == [("q", "p"), ("r", "p")]


def test_pairwise_results_are_compared_on_all_rows_and_slices() -> None:
    results = [PairwiseResult(one) for one in ["candidate"] * 30 + ["tie"] * 10 + ["baseline"] * 20]
    candidate = ScoredVariant(variant("c", "candidate"), [], [], [], [], [], pairwise={"b": results})
    baseline = ScoredVariant(variant("b", "baseline"), [], [], [], [], [])
    compare = ComparePairwise(Gate(), [None] * 60)
    comparison = compare(candidate, baseline)
    assert (comparison.metric, comparison.versus, comparison.role) == ("win_rate", "b", "baseline")
    assert comparison.candidate == pytest.approx(35 / 60)
    assert comparison.delta == pytest.approx(10 / 60)
    assert (comparison.wins, comparison.losses) == (30, 20)
    assert compare(candidate, baseline, range(40, 60)).candidate == 0
