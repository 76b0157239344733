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

from gemtune.config import Evaluate, ModelVariant, Task
from gemtune.data.example import Example
from gemtune.errors import UserError
from gemtune.evaluation import judge
from gemtune.evaluation.confidence import (
    score_votes,
    verbal_confidence_request,
    with_logprob_confidence,
    with_verbal_confidence,
)
from gemtune.evaluation.human_ratings import HumanRating
from gemtune.evaluation.scorers import SampleScore, score_sample
from gemtune.inference import prompt_search
from gemtune.inference.generate import ModelOutput
from gemtune.inference.requests import build_requests

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


GenerateAll = Callable[
    ..., Awaitable[list[ModelOutput]]
]  # questions in, answers out, in order; `settled` is told of each


async def score_variant(
    task: Task,
    task_with_all_labels: Task,
    config: Evaluate,
    variant: ModelVariant,
    examples: Sequence[Example],
    train: Sequence[Example],
    send: GenerateAll,
    progress: Callable[[], None] = lambda: None,
) -> list[SampleScore]:
    """One variant's judged answers, in the order of the rows; `wide` knows the labels of the rows themselves too."""
    voting = config.confidence == "votes"
    samples = config.samples_per_row
    asked = build_requests(task, variant, examples, train)
    if voting:
        asked = [replace(q, sample=i, temperature=config.sample_temperature) for q in asked for i in range(samples)]
    answers = await send(asked, on_done=progress)
    _check_errors(variant, config, answers)
    rows = [answers[i : i + samples] for i in range(0, len(answers), samples)]
    read = score_votes if voting else _judge_one
    judged = [read(task, variant, e, given, task_with_all_labels) for e, given in zip(examples, rows, strict=True)]
    if config.confidence == "verbal":
        asked = [verbal_confidence_request(task, config.base_model, one.example, one.row.parsed) for one in judged]
        ratings = await send(asked)
        judged = [with_verbal_confidence(one, rating) for one, rating in zip(judged, ratings, strict=True)]
    if config.confidence == "logprobs":
        judged = with_logprob_confidence(judged)
        if not any(one.confidence is not None for one in judged):
            log.info("%s tells no log-probabilities: no confidence for %s", variant.model, variant.name)
    return judged


async def _searched(
    task: Task, config: Evaluate, variants: Sequence[ModelVariant], train: Sequence[Example], send: GenerateAll
) -> tuple[list[ModelVariant], dict[str, int]]:
    """The variants with those that a prompt search adds, and the tokens the search cost."""
    found: list[ModelVariant] = []
    cost = {"input": 0, "output": 0}
    for variant in variants:
        given = ModelOutput()
        if variant.prompt.rewrites:
            (given,) = await send([prompt_search.rewrite_request(task, variant, train, config.base_model)])
        found += [*prompt_search.rewritten(variant, given), *prompt_search.grid(variant)]
        cost = {"input": cost["input"] + given.input_tokens, "output": cost["output"] + given.output_tokens}
    return found, cost


async def evaluate_all(
    task: Task,
    task_with_all_labels: Task,
    config: Evaluate,
    variants: Sequence[ModelVariant],
    examples: Sequence[Example],
    train: Sequence[Example],
    send: GenerateAll,
    human_ratings: Sequence[HumanRating] = (),
) -> tuple[list[ModelVariant], dict[str, list[SampleScore]], dict[str, Any]]:
    """The variants as asked, their judged answers by name, and what else the report shall say."""
    variants, cost = await _searched(task, config, variants, train, send)
    samples = config.samples_per_row
    progress = Progress(len(variants) * len(examples) * samples)
    found = {
        one.name: await score_variant(task, task_with_all_labels, config, one, examples, train, send, progress)
        for one in variants
    }
    beside: dict[str, Any] = {"search_tokens": cost} if any(cost.values()) else {}
    if config.judge.model:
        texts = {name: [one.given.text or "" for one in judged] for name, judged in found.items()}
        beside["judge"] = await judge.judged(config, task, examples, texts, _pairs(variants), send, human_ratings)
    return list(variants), found, beside


def _pairs(variants: Sequence[ModelVariant]) -> list[tuple[str, str]]:
    """Who is compared with whom by the autorater: the candidate with every other, else each with the first."""
    ahead = next((one for one in variants if one.role == "candidate"), None)
    if ahead is not None:
        return [(ahead.name, one.name) for one in variants if one is not ahead]
    return [(one.name, variants[0].name) for one in variants[1:]]


def _judge_one(
    task: Task, variant: ModelVariant, example: Example, given: Sequence[ModelOutput], task_with_all_labels: Task
) -> SampleScore:
    return score_sample(task, variant, example, given[0], task_with_all_labels)


def _check_errors(variant: ModelVariant, config: Evaluate, answers: Sequence[ModelOutput]) -> None:
    failed = [given for given in answers if given.error]
    if len(failed) > config.max_error_share * len(answers):
        raise UserError(
            f"{len(failed)} of {len(answers)} rows got no answer from {variant.name!r}: {failed[0].error}",
            remedy="nothing was decided; try again later, or raise evaluate.attempts or evaluate.max_error_share",
        )
