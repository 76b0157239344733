# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Generate and score: every variant answers the same rows, and its answers are parsed and scored by the same code.

A row without a usable answer counts as a miss (invalid, refusal, blocked, truncated, error) and is never excluded.
When too many rows have no answer for technical reasons the run stops: transport errors must not count against a model.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from time import monotonic

from gemtune.artifacts.cost import TokenUsage
from gemtune.artifacts.evaluation import JudgeReport
from gemtune.config import Evaluate, ModelVariant, Role, Task
from gemtune.contents import ModelOutput
from gemtune.data.example import Example
from gemtune.evaluation import judge
from gemtune.evaluation.confidence import (
    score_votes,
    verbal_confidence_request,
    with_logprob_confidence,
    with_verbal_confidence,
)
from gemtune.evaluation.human_ratings import HumanRating
from gemtune.evaluation.metrics import primary_metric
from gemtune.evaluation.scorers import SampleScore, score_sample, token_usage
from gemtune.inference import prompt_search
from gemtune.inference.generate import GenerateAll, RefusedRequests, require_answers
from gemtune.inference.prompts import build_requests

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


@dataclass(frozen=True)
class Evaluated:
    """The variants including those of the prompt search, their scores by name in the order of the rows, and more.

    `search_tokens` is None when no prompt search sent requests, `judge` when no judge is configured. `notes` list the
    variants that were left out because the service refuses their requests.
    """

    variants: list[ModelVariant]
    scores: dict[str, list[SampleScore]]
    search_tokens: TokenUsage | None = None
    judge: JudgeReport | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class VariantScorer:
    """Scores variants on the same rows: answers are parsed with `task`, references with `task_with_all_labels`."""

    task: Task
    task_with_all_labels: Task
    config: Evaluate
    examples: Sequence[Example]
    train: Sequence[Example]
    send: GenerateAll
    keep: Callable[[Sequence[ModelVariant], Mapping[str, Sequence[SampleScore]]], None] = lambda variants, scores: None
    """Receives all answers before anything else is computed from them."""

    async def score(self, variant: ModelVariant, progress: Callable[[], None] = lambda: None) -> list[SampleScore]:
        """One variant's scored answers, in the order of the rows."""
        task, config, count = self.task, self.config, self.config.samples_per_row
        requests = build_requests(task, variant, self.examples, self.train)
        if voting := config.confidence == "votes":
            temperature = config.sample_temperature
            requests = [replace(r, sample=i, temperature=temperature) for r in requests for i in range(count)]
        outputs = await self.send(requests, on_done=progress)
        require_answers(outputs, variant.name, config.max_error_share)
        by_row = zip(self.examples, (outputs[i : i + count] for i in range(0, len(outputs), count)), strict=True)
        scores = [
            score_votes(task, variant, example, samples, self.task_with_all_labels)
            if voting
            else score_sample(task, variant, example, samples[0], self.task_with_all_labels)
            for example, samples in by_row
        ]
        if config.confidence == "verbal":
            outputs = await self.send(
                [verbal_confidence_request(task, config.base_model, s.example, s.row.parsed) for s in scores]
            )
            scores = [with_verbal_confidence(score, output) for score, output in zip(scores, outputs, strict=True)]
        if config.confidence == "logprobs":
            scores = with_logprob_confidence(scores)
            if not any(score.confidence is not None for score in scores):
                log.info("%s returns no log-probabilities: no confidence for %s", variant.model, variant.name)
        return scores

    async def evaluate(
        self,
        variants: Sequence[ModelVariant],
        human_ratings: Sequence[HumanRating] = (),
        optional: Role | None = None,
    ) -> Evaluated:
        """Run the prompt search, score every variant, and let the judge (if there is one) rate and compare the answers.

        Of variants in the role `optional`, those whose requests the service refuses are left out, as long as one is
        left. With `config.constrain_best_prompt` the best prompt of a task with labels is scored with constrained
        output, too, and left out where the service refuses that.
        """
        task, config = self.task, self.config
        variants, tokens = await self._with_search(variants)
        progress = Progress(len(variants) * len(self.examples) * config.samples_per_row)
        scores: dict[str, list[SampleScore]] = {}
        refused: list[RefusedRequests] = []
        for variant in variants:
            try:
                scores[variant.name] = own = await self.score(variant, progress)
                mean = sum(score.scores[primary_metric(task)] for score in own) / len(own)
                log.info("score: %s %.3f", variant.name, mean)
            except RefusedRequests as error:
                if variant.role != optional:
                    raise
                refused.append(error)
        variants = [variant for variant in variants if variant.name in scores]
        if refused and not any(variant.role == optional for variant in variants):
            raise refused[0]
        if config.constrain_best_prompt and (prompts := prompt_search.constrainable(task, variants)):
            variant = prompt_search.constrained(_best(task, prompts, scores))
            try:
                scores[variant.name] = await self.score(variant)
                variants.append(variant)
            except RefusedRequests as error:  # one more prompt to compare with, not a condition of the run
                refused.append(error)
        self.keep(variants, scores)
        report = None
        if config.judge.model:
            texts = {name: [score.output.text or "" for score in rows] for name, rows in scores.items()}
            pairs = _pairs(variants)
            report = await judge.run_judge(config, task, self.examples, texts, pairs, self.send, human_ratings)
        notes = tuple(f"left out: {error}" for error in refused)
        return Evaluated(variants, scores, tokens if tokens.total else None, report, notes)

    async def _with_search(self, variants: Sequence[ModelVariant]) -> tuple[list[ModelVariant], TokenUsage]:
        """The variants and those that a prompt search adds, with the tokens of the search."""
        extended: list[ModelVariant] = []
        tokens = TokenUsage()
        for variant in variants:
            output = ModelOutput()
            if variant.prompt.rewrites:
                request = prompt_search.rewrite_request(self.task, variant, self.train, self.config.base_model)
                (output,) = await self.send([request])
            extended += [*prompt_search.rewritten(variant, output), *prompt_search.grid(variant)]
            tokens += token_usage([output])
        return extended, tokens


def _best(task: Task, variants: Sequence[ModelVariant], scores: Mapping[str, Sequence[SampleScore]]) -> ModelVariant:
    """The variant with most correct answers; of equals the one with fewer tokens, as in the plan."""

    def rank(variant: ModelVariant) -> tuple[float, int]:
        own = scores[variant.name]
        correct = sum(score.scores[primary_metric(task)] for score in own)
        return correct, -token_usage([score.output for score in own]).total

    return max(variants, key=rank)


def _pairs(variants: Sequence[ModelVariant]) -> list[tuple[str, str]]:
    """The pairs that the judge compares: checkpoints with the first of their trial, the first candidate with every
    other variant; without a candidate a proposed prompt with the one it was searched from, the champion with the first.
    """
    candidates = [variant for variant in variants if variant.role == "candidate"]
    others = [variant for variant in variants if variant.role != "candidate"]
    first_of_trial: dict[str, ModelVariant] = {}
    pairs = []
    for variant in candidates:
        first = first_of_trial.setdefault(variant.trial, variant)
        pairs += [(first.name, variant.name)] if first is not variant else []
    if candidates:
        return [*pairs, *((candidates[0].name, other.name) for other in others)]
    names = {variant.name for variant in others}  # the searched prompt is no finalist beside the best proposed one
    pairs += [(variant.name, variant.searched_from) for variant in others if variant.searched_from in names]
    return [*pairs, *((v.name, others[0].name) for v in others if v.role != "baseline")]
