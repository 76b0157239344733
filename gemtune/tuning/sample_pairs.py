# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Pairs out of a model's own answers: several are sampled for each labelled row, the best stands against the worst.

With `chosen_from: reference` the row's reference stands against the worst, which makes pairs of a model's errors. The
model is asked as the tuned one will be. Promise: nothing is asked when it may cost more than `plan.max_cost`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from gemtune.config import Evaluate, ModelVariant, Preference, Task
from gemtune.cost import spend
from gemtune.cost.counting import Count
from gemtune.cost.spend import Amount, Line
from gemtune.data.example import Dropped, Example
from gemtune.data.pairs import Pair, Pairs
from gemtune.errors import UserError
from gemtune.evaluation.ranker import Referee
from gemtune.evaluation.reference_ranking import made_pair
from gemtune.inference import prompts
from gemtune.inference.generate import GenerateRequest
from gemtune.inference.requests import build_requests
from gemtune.tuning.pair_plan import Terms, told_judge

SAMPLED_FOR_COST = 32  # requests whose tokens are counted before any is sent


def make(
    rows: Sequence[Example], task: Task, terms: Terms, count: Count, referee: Referee
) -> tuple[Pairs, dict[str, int]]:
    """A pair for each row whose answers differ enough in grade, the other rows dropped; and the tokens spent.

    Raises `UserError` before asking when that may cost more than the limit.
    """
    config, asked = terms.rules, _requests(rows, task, terms.rules, terms.asking)
    cost, limit = spend.total(foreseen(rows, task, terms, count)).most, terms.limits.max_cost
    if cost > limit:
        raise UserError(
            f"sampling {len(asked)} answers may cost {cost:.2f} USD, more than plan.max_cost {limit:.2f}",
            remedy="lower preference.samples or preprocess.max_rows, or raise the limit",
        )
    given = referee.put(asked)
    texts = [[one.text or "" for one in given[i : i + config.samples]] for i in range(0, len(given), config.samples)]
    pairs: list[Pair] = []
    kept: list[Example] = []
    dropped: list[Dropped] = []
    for example, answers, grades in zip(rows, texts, referee.grades(rows, texts), strict=True):
        pair = made_pair(example, answers, grades, config)
        if isinstance(pair, Dropped):
            dropped.append(pair)
        else:
            pairs.append(pair)
            kept.append(example)
    sampled = {
        "input": sum(one.input_tokens for one in given),
        "output": sum(one.output_tokens for one in given),
    }
    return Pairs(kept, pairs, dropped, len(rows)), sampled


def stand_ins(rows: Sequence[Example]) -> Pairs:
    """A pair for every row, its reference on both sides: what can be counted before any answer is sampled."""
    return Pairs(list(rows), [Pair(row.id, row.target, row.target, row.line) for row in rows], [], len(rows))


def foreseen(rows: Sequence[Example], task: Task, terms: Terms, count: Count) -> list[Line]:
    """What sampling the answers, and judging them, is expected to cost, and may cost at most."""
    config, asking = terms.rules, terms.asking
    asked = _requests(rows, task, config, asking)
    if not asked:
        return []
    sample = asked[:: max(1, len(asked) // SAMPLED_FOR_COST)]
    counts = [count(one.system, one.contents) for one in sample]
    mean, longest = sum(counts) / len(counts), max(counts)
    put, got = Amount(mean, max(1.5 * mean, longest)), Amount(asking.max_output_tokens / 2, asking.max_output_tokens)
    lines = [spend.asking_line("answers sampled for pairs", len(asked), put, got, terms.price)]
    if terms.judge:
        shown = told_judge(config.judge) + Amount(mean, longest) + got.times(2)
        said = Amount(config.judge.max_output_tokens / 4, config.judge.max_output_tokens)
        rated = len(asked) * config.judge.samples
        lines.append(spend.asking_line("judging answers for pairs", rated, shown, said, terms.judge))
    return lines


def _requests(rows: Sequence[Example], task: Task, config: Preference, asking: Evaluate) -> list[GenerateRequest]:
    base = ModelVariant(name="base", model=asking.base_model, prompt=prompts.tuned_prompt(task))
    return [
        replace(request, sample=number, temperature=config.sample_temperature)
        for request in build_requests(task, base, rows, [])
        for number in range(config.samples)
    ]
