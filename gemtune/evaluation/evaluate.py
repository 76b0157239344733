# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Generate and score: every variant answers the same rows, and its answers are parsed and scored by the same code.

A row without a usable answer counts as a miss (invalid, refusal, blocked, truncated, error) and is never excluded.
When too many rows have no answer for technical reasons the run stops: transport errors must not count against a model.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
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
from gemtune.inference.generate import GenerateAll, ModelOutput
from gemtune.inference.requests import build_requests

log = logging.getLogger("gemtune")


class Progress:
    """Logs rate and remaining time, at most every two seconds."""

    def __init__(self, total: int, clock: Callable[[], float] = monotonic) -> None:
        self.total, self.clock, self.done = total, clock, 0
        self.start = self.last_log = clock()

    def __call__(self) -> None:
        """Count one more row."""
        self.done += 1
        now = self.clock()
        if now - self.last_log >= 2 and self.done < self.total:
            self.last_log = now
            rate = self.done / max(1e-9, now - self.start)
            seconds_left = (self.total - self.done) / rate
            log.info("progress: %d/%d rows, %.0f/s, %.0f s left", self.done, self.total, rate, seconds_left)


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
    """One variant's scored answers, in the order of `examples`; references may use `task_with_all_labels`."""
    voting = config.confidence == "votes"
    count = config.samples_per_row
    requests = build_requests(task, variant, examples, train)
    if voting:
        requests = [replace(r, sample=i, temperature=config.sample_temperature) for r in requests for i in range(count)]
    outputs = await send(requests, on_done=progress)
    _check_errors(variant, config, outputs)
    by_row = [outputs[i : i + count] for i in range(0, len(outputs), count)]
    score = score_votes if voting else _score_first
    scores = [
        score(task, variant, e, samples, task_with_all_labels) for e, samples in zip(examples, by_row, strict=True)
    ]
    if config.confidence == "verbal":
        outputs = await send(
            [verbal_confidence_request(task, config.base_model, s.example, s.row.parsed) for s in scores]
        )
        scores = [with_verbal_confidence(score, output) for score, output in zip(scores, outputs, strict=True)]
    if config.confidence == "logprobs":
        scores = with_logprob_confidence(scores)
        if not any(score.confidence is not None for score in scores):
            log.info("%s returns no log-probabilities: no confidence for %s", variant.model, variant.name)
    return scores


async def _with_search(
    task: Task, config: Evaluate, variants: Sequence[ModelVariant], train: Sequence[Example], send: GenerateAll
) -> tuple[list[ModelVariant], dict[str, int]]:
    """The variants and those that a prompt search adds, with the tokens of the search."""
    extended: list[ModelVariant] = []
    tokens = {"input": 0, "output": 0}
    for variant in variants:
        output = ModelOutput()
        if variant.prompt.rewrites:
            (output,) = await send([prompt_search.rewrite_request(task, variant, train, config.base_model)])
        extended += [*prompt_search.rewritten(variant, output), *prompt_search.grid(variant)]
        tokens = {"input": tokens["input"] + output.input_tokens, "output": tokens["output"] + output.output_tokens}
    return extended, tokens


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
    """The variants including those of the prompt search, their scores by name, and further fields of the report."""
    variants, tokens = await _with_search(task, config, variants, train, send)
    progress = Progress(len(variants) * len(examples) * config.samples_per_row)
    scores = {
        variant.name: await score_variant(task, task_with_all_labels, config, variant, examples, train, send, progress)
        for variant in variants
    }
    further: dict[str, Any] = {"search_tokens": tokens} if any(tokens.values()) else {}
    if config.judge.model:
        texts = {name: [score.output.text or "" for score in rows] for name, rows in scores.items()}
        further["judge"] = await judge.run_judge(config, task, examples, texts, _pairs(variants), send, human_ratings)
    return list(variants), scores, further


def _pairs(variants: Sequence[ModelVariant]) -> list[tuple[str, str]]:
    """The pairs that the judge compares: the candidate with every other variant, else each with the first."""
    candidate = next((variant for variant in variants if variant.role == "candidate"), None)
    if candidate is not None:
        return [(candidate.name, variant.name) for variant in variants if variant is not candidate]
    return [(variant.name, variants[0].name) for variant in variants[1:]]


def _score_first(
    task: Task, variant: ModelVariant, example: Example, samples: Sequence[ModelOutput], task_with_all_labels: Task
) -> SampleScore:
    return score_sample(task, variant, example, samples[0], task_with_all_labels)


def _check_errors(variant: ModelVariant, config: Evaluate, outputs: Sequence[ModelOutput]) -> None:
    failed = [output for output in outputs if output.error]
    if len(failed) > config.max_error_share * len(outputs):
        raise UserError(
            f"{len(failed)} of {len(outputs)} requests to {variant.name!r} failed: {failed[0].error}",
            remedy="nothing was decided; try again later, or raise evaluate.attempts or evaluate.max_error_share",
        )
