# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Pairs out of a model's own answers: several are sampled for each labelled row, the best stands against the worst.

With `chosen_from: reference` the row's reference stands against the worst, which makes pairs of a model's errors. The
model is asked as the tuned one will be. Promise: nothing is asked when it may cost more than `plan.max_cost`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from gemtune.config import Contestant, Evaluate, Plan, Preference, Task
from gemtune.data import Dropped, Example
from gemtune.errors import UserError
from gemtune.evaluate import questions
from gemtune.prompting import prompts
from gemtune.prompting.asking import Question
from gemtune.rows.pairs import Pair, Pairs
from gemtune.scoring.preferred import made_pair
from gemtune.scoring.referee import Referee
from gemtune.tuning import spend
from gemtune.tuning.pair_plan import RUBRIC_TOKENS
from gemtune.vertex import Client, count_tokens, patiently

SAMPLED_FOR_COST = 32  # requests whose tokens are counted before any is sent


def make(
    rows: Sequence[Example], task: Task, config: Preference, asking: Evaluate, plan: Plan, client: Client,
    referee: Referee,
) -> tuple[Pairs, dict[str, int]]:  # fmt: skip
    """A pair for each row whose answers differ enough in grade, the other rows dropped; and the tokens spent.

    Raises `UserError` before asking when that may cost more than the limit.
    """
    base = Contestant(name="base", model=asking.base_model, prompt=prompts.tuned_prompt(task))
    asked = [
        replace(question, sample=number, temperature=config.sample_temperature)
        for question in questions(task, base, rows, [])
        for number in range(config.samples)
    ]
    refuse_dear(client, asking, config, plan, asked)
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


def refuse_dear(client: Client, asking: Evaluate, config: Preference, plan: Plan, asked: Sequence[Question]) -> None:
    """Raise `UserError` when these questions, and judging their answers, may cost more than the plan's limit."""
    if not asked:
        return
    price = client.catalogue.price("", asking.base_model)
    sample = asked[:: max(1, len(asked) // SAMPLED_FOR_COST)]
    counts = [patiently(count_tokens, client, asking.base_model, one.system, one.contents) for one in sample]
    most = max(1.5 * sum(counts) / len(counts), max(counts)) * len(asked)
    cost = (most * price.input + len(asked) * asking.max_output_tokens * price.output) / spend.MILLION
    if config.ranked_by == "judge":
        judge = client.catalogue.price("", config.judge.model)
        each = 2 * RUBRIC_TOKENS + max(counts) + 2 * asking.max_output_tokens
        once = each * judge.input + config.judge.max_output_tokens * judge.output
        cost += len(asked) * config.judge.samples * once / spend.MILLION
    if cost > plan.max_cost:
        raise UserError(
            f"sampling {len(asked)} answers may cost {cost:.2f} USD, more than plan.max_cost {plan.max_cost:.2f}",
            remedy="lower preference.samples or preprocess.max_rows, or raise the limit",
        )
