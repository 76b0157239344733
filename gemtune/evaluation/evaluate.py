# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Generate and score: every variant answers the same rows, and its answers are parsed and scored by the same code.

A row without a usable answer is a miss of its own kind (invalid, refusal, blocked, truncated, error), never left out.
When too many rows have no answer for technical reasons the run stops: transport errors must not count against a model.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from time import monotonic
from typing import Any

from gemtune.config import Contestant, Evaluate, Task
from gemtune.data.example import Example
from gemtune.errors import UserError
from gemtune.evaluation import human_ratings, judge
from gemtune.evaluation.confidence import by_logprob, rated, rating_question, score_votes
from gemtune.evaluation.scorers import SampleScore, score_sample
from gemtune.inference import prompt_search
from gemtune.inference.generate import Given
from gemtune.inference.requests import questions

log = logging.getLogger("gemtune")


class Progress:
    """Lines on rate and time left, at most one every two seconds."""

    def __init__(self, total: int, clock: Callable[[], float] = monotonic) -> None:
        self.total, self.clock, self.done = total, clock, 0
        self.start = self.said = clock()

    def __call__(self) -> None:
        """One more row is settled."""
        self.done += 1
        now = self.clock()
        if now - self.said >= 2 and self.done < self.total:
            self.said = now
            rate = self.done / max(1e-9, now - self.start)
            left = (self.total - self.done) / rate
            log.info("progress: %d/%d rows, %.0f/s, %.0f s left", self.done, self.total, rate, left)


Put = Callable[..., Awaitable[list[Given]]]  # questions in, answers out, in order; `settled` is told of each


async def answers_of(
    task: Task,
    wide: Task,
    config: Evaluate,
    contestant: Contestant,
    examples: Sequence[Example],
    train: Sequence[Example],
    put: Put,
    progress: Callable[[], None] = lambda: None,
) -> list[SampleScore]:
    """One contestant's judged answers, in the order of the rows; `wide` knows the labels of the rows themselves too."""
    voting = config.confidence == "votes"
    samples = config.samples_asked
    asked = questions(task, contestant, examples, train)
    if voting:
        asked = [replace(q, sample=i, temperature=config.sample_temperature) for q in asked for i in range(samples)]
    answers = await put(asked, settled=progress)
    _check_errors(contestant, config, answers)
    rows = [answers[i : i + samples] for i in range(0, len(answers), samples)]
    read = score_votes if voting else _judge_one
    judged = [read(task, contestant, e, given, wide) for e, given in zip(examples, rows, strict=True)]
    if config.confidence == "verbal":
        asked = [rating_question(task, config.base_model, one.example, one.row.parsed) for one in judged]
        ratings = await put(asked)
        judged = [rated(one, rating) for one, rating in zip(judged, ratings, strict=True)]
    if config.confidence == "logprobs":
        judged = by_logprob(judged)
        if not any(one.confidence is not None for one in judged):
            log.info("%s tells no log-probabilities: no confidence for %s", contestant.model, contestant.name)
    return judged


async def _searched(
    task: Task, config: Evaluate, contestants: Sequence[Contestant], train: Sequence[Example], put: Put
) -> tuple[list[Contestant], dict[str, int]]:
    """The contestants with those that a prompt search adds, and the tokens the search cost."""
    found: list[Contestant] = []
    cost = {"input": 0, "output": 0}
    for contestant in contestants:
        given = Given()
        if contestant.prompt.rewrites:
            (given,) = await put([prompt_search.proposal(task, contestant, train, config.base_model)])
        found += [*prompt_search.variants(contestant, given), *prompt_search.grid(contestant)]
        cost = {"input": cost["input"] + given.input_tokens, "output": cost["output"] + given.output_tokens}
    return found, cost


async def evaluate_all(
    task: Task,
    wide: Task,
    config: Evaluate,
    contestants: Sequence[Contestant],
    examples: Sequence[Example],
    train: Sequence[Example],
    put: Put,
    rated: Sequence[human_ratings.Rated] = (),
) -> tuple[list[Contestant], dict[str, list[SampleScore]], dict[str, Any]]:
    """The contestants as asked, their judged answers by name, and what else the report shall say."""
    contestants, cost = await _searched(task, config, contestants, train, put)
    samples = config.samples_asked
    progress = Progress(len(contestants) * len(examples) * samples)
    found = {one.name: await answers_of(task, wide, config, one, examples, train, put, progress) for one in contestants}
    beside: dict[str, Any] = {"search_tokens": cost} if any(cost.values()) else {}
    if config.judge.model:
        texts = {name: [one.given.text or "" for one in judged] for name, judged in found.items()}
        beside["autorater"] = await judge.judged(config, task, examples, texts, _pairs(contestants), put, rated)
    return list(contestants), found, beside


def _pairs(contestants: Sequence[Contestant]) -> list[tuple[str, str]]:
    """Who is compared with whom by the autorater: the candidate with every other, else each with the first."""
    ahead = next((one for one in contestants if one.role == "candidate"), None)
    if ahead is not None:
        return [(ahead.name, one.name) for one in contestants if one is not ahead]
    return [(one.name, contestants[0].name) for one in contestants[1:]]


def _judge_one(task: Task, contestant: Contestant, example: Example, given: Sequence[Given], wide: Task) -> SampleScore:
    return score_sample(task, contestant, example, given[0], wide)


def _check_errors(contestant: Contestant, config: Evaluate, answers: Sequence[Given]) -> None:
    failed = [given for given in answers if given.error]
    if len(failed) > config.max_error_share * len(answers):
        raise UserError(
            f"{len(failed)} of {len(answers)} rows got no answer from {contestant.name!r}: {failed[0].error}",
            remedy="nothing was decided; try again later, or raise evaluate.attempts or evaluate.max_error_share",
        )
