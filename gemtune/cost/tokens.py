# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Tokens of what will be sent: counted by the service (free of charge) on a sample, scaled by length beyond it.

Tokens of rows beyond the sample come from their length by a ratio estimator (Cochran 1977), with an upper bound of
three standard errors. Offline, a token is taken to be four characters, or one Chinese, Japanese or Korean character,
which errs on the high side for most texts; such counts carry a wide bound.
"""

import json
import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from gemtune.artifacts.cost import ZERO, Estimate
from gemtune.catalogue import Catalogue
from gemtune.config import Evaluate, HardExamples, ModelVariant, Task, Trial
from gemtune.contents import text_of
from gemtune.cost.items import JudgingCost, RequestTokens
from gemtune.data.example import Example
from gemtune.evaluation.confidence import verbal_confidence_request
from gemtune.evaluation.human_ratings import load_human_ratings
from gemtune.evaluation.judge import pairwise_requests, rating_requests
from gemtune.inference import prompts
from gemtune.inference.generate import GenerateRequest
from gemtune.inference.prompts import answer_token_limit, build_requests, tuning_rows
from gemtune.tuning.hard_examples import max_added_rows, repeated_count
from gemtune.tuning.objective import Objective

CountTokens = Callable[[str | None, list[dict[str, Any]]], int]
OFFLINE_MARGIN = 1.5  # upper bound of an offline count; a tokenizer rarely spends more on prose
VERBAL_TOKENS = 3.0  # tokens of a confidence in words
MAX_RENDERED = 1_000  # rows that a prompt is rendered for, to learn its length
FIRST_WIDE = 0x2E80  # first of the scripts written without spaces, whose characters are about a token each
STANDARD_ERRORS = 3.0
MARGIN = 0.05  # of an estimated (not of a counted) number: guards a sample too small to know its own error


def count_offline(system: str | None, contents: list[dict[str, Any]]) -> int:
    """A counter without requests, from the length of the text."""
    text = (system or "") + "".join(text_of(turn["parts"]) for turn in contents)
    wide_characters = sum(ord(character) >= FIRST_WIDE for character in text)
    return wide_characters + (len(text) - wide_characters + 3) // 4


@dataclass(frozen=True, slots=True)
class TokenEstimates:
    """Rows of train, validation and test, and tokens of what is trained on and sent.

    `training` are billed tokens of all training rows, once, by method (`reweighted`: with hard examples repeated);
    `prompt` and `answer` those of one request to a tuned model. Each row is answered `samples` times.
    """

    train: int
    validation: int
    test: int
    training: Mapping[str, Estimate]
    prompt: Estimate
    answer: Estimate
    samples: int = 1
    judging: JudgingCost = field(default_factory=JudgingCost)

    def training_of(self, trial: Trial) -> Estimate:
        """Tokens that one epoch of the trial bills.

        Of a reinforcement trial these are the prompt with each sampled answer, at most the longest, in full batches,
        and at most an answer to every validation row.
        """
        if trial.method != "reinforcement":
            return self.training["reweighted" if trial.reweighted else trial.method]
        once, samples, longest = self.training["supervised"], trial.samples_per_prompt, self.answer.upper
        full = -(-self.train // trial.batch_size) * trial.batch_size / max(1, self.train)
        validated = self.validation * (self.prompt.upper + longest)
        sampled = samples * (once.upper + self.train * longest) * full
        return Estimate(expected=samples * once.expected, upper=sampled + validated)

    @property
    def request(self) -> RequestTokens:
        """Tokens of one request to a tuned model."""
        return RequestTokens(self.prompt, self.answer)


def estimate(lengths: Sequence[int], counted: Mapping[int, int], subset: Sequence[int] | None = None) -> Estimate:
    """Tokens of the rows, from their lengths (characters) and the counted tokens of some (index to tokens).

    `subset` are the indices of the rows to add up; all rows without it.
    """
    subset = range(len(lengths)) if subset is None else subset
    exact = float(sum(counted.get(index, 0) for index in subset))
    rest = [lengths[index] for index in subset if index not in counted]
    if not rest:
        return Estimate.exact(exact)
    characters = sum(lengths[index] for index in counted)
    ratio = sum(counted.values()) / characters
    residuals = [tokens - ratio * lengths[index] for index, tokens in counted.items()]
    size = len(counted)
    spread = math.sqrt(sum(r * r for r in residuals) / max(1, size - 1))
    error = spread * len(rest) * math.sqrt(1 / size + 1 / len(rest))
    scaled = ratio * sum(rest)
    return Estimate(expected=exact + scaled, upper=exact + scaled * (1 + MARGIN) + STANDARD_ERRORS * error)


def with_repeats(lengths: Sequence[int], tokens: Estimate, factor: float, added: int, max_repeats: int) -> Estimate:
    """Tokens after hard examples were repeated: `factor` times the rows expected, at most `added` more, the longest."""
    copies = max(1, max_repeats - 1)
    longest = sorted(lengths, reverse=True)[: math.ceil(added / copies)]
    extra = copies * sum(longest) * tokens.upper / max(1, sum(lengths))
    return Estimate(expected=tokens.expected * factor, upper=tokens.upper + extra)


@dataclass(frozen=True)
class TokenCounter:
    """Counts what a run will send: by `count`, a sample of `sample` rows each, at the settings `evaluate`."""

    count: CountTokens
    evaluate: Evaluate
    sample: int
    task: Task

    def bounded(self, amount: Estimate) -> Estimate:
        """The estimate, with a wider bound when it was counted offline."""
        margin = OFFLINE_MARGIN if self.count is count_offline else 1.0
        return Estimate(expected=amount.expected, upper=amount.upper * margin)

    def all_rows(
        self,
        objective: Objective,
        splits: Sequence[Sequence[Example]],
        judging: JudgingCost,
        hard_examples: HardExamples | None = None,
        error_rate: float = 0.5,
    ) -> TokenEstimates:
        """Everything a plan needs; `error_rate` is the share of training rows the best prompt is expected to miss."""
        methods = objective.methods
        counted: dict[str, tuple[Estimate, float, list[int]]] = {
            method: self.training_rows(tuning_rows(self.task, splits[0], method)) for method in methods
        }
        training = {method: tokens for method, (tokens, _, _) in counted.items()}
        _, mean_answer, lengths = counted[methods[-1]]
        if hard_examples and hard_examples.target_share:
            rows = len(splits[0])
            missed = round(error_rate * rows)
            factor = (rows - missed + repeated_count(rows - missed, missed, hard_examples)) / max(1, rows)
            added = max_added_rows(rows, hard_examples)
            training["reweighted"] = with_repeats(
                lengths, training["supervised"], factor, added, hard_examples.max_repeats
            )
        return TokenEstimates(
            train=objective.training_size(splits[0]),
            validation=len(splits[1]),
            test=len(splits[2]),
            training=training,
            prompt=self.tuned_prompt(splits[1:]),
            answer=Estimate(expected=mean_answer, upper=max(self.evaluate.max_output_tokens, 1)),
            samples=self.evaluate.samples_per_row,
            judging=judging,
        )

    def training_rows(self, rows: Sequence[tuple[str, dict[str, Any]]]) -> tuple[Estimate, float, list[int]]:
        """Billed tokens of tuning rows (example id, row), mean tokens of an answer, and lengths (characters)."""
        lengths = [
            sum(len(json.dumps(row[part], ensure_ascii=False)) for part in ("contents", "completions") if part in row)
            for _, row in rows
        ]
        # by id (a hash of the content), not by place, so that the sample of equal data is equal
        chosen = sorted(range(len(rows)), key=lambda index: rows[index][0])[: self.sample]
        with ThreadPoolExecutor(8) as pool:
            parts = list(pool.map(lambda index: self._parts(rows[index][1]), chosen))
        billed = {i: prompt * len(answers) + sum(answers) for i, (prompt, answers) in zip(chosen, parts, strict=True)}
        answers = [tokens for _, own in parts for tokens in own]
        return self.bounded(estimate(lengths, billed)), sum(answers) / max(1, len(answers)), lengths

    def _parts(self, row: dict[str, Any]) -> tuple[int, list[int]]:
        """Tokens of a row's prompt, and of its answers: one in a supervised row, two in a preference row."""
        system = _with_tools(text_of(row.get("systemInstruction", {}).get("parts", [])), row)
        if "completions" in row:
            prompt = self.count(system, row["contents"])
            return prompt, [self.count(None, [completion["completion"]]) for completion in row["completions"]]
        return self.count(system, row["contents"][:-1]), [self.count(None, row["contents"][-1:])]

    def tuned_prompt(self, held_out: Sequence[Sequence[Example]]) -> Estimate:
        """Mean tokens of a request to a tuned model, over the held-out rows."""
        variant = ModelVariant(name="tuned", model=self.evaluate.base_model, prompt=prompts.tuned_prompt(self.task))
        sizes, rows = self.prompt(variant, held_out, []), [len(split) for split in held_out]
        expected = sum(size.expected * n for size, n in zip(sizes, rows, strict=True)) / max(1, sum(rows))
        return Estimate(expected=expected, upper=max((size.upper for size in sizes), default=0.0))

    def prompt(
        self, variant: ModelVariant, groups: Sequence[Sequence[Example]], train: Sequence[Example]
    ) -> list[Estimate]:
        """Mean tokens of a request for a row of each group: some counted, the others from their length.

        Of more rows than `MAX_RENDERED` in all only so many are rendered, in the order of their ids, which are hashes;
        the text around the other rows is taken to be as long on average, and its uncertainty is in the bound.
        """
        rows = sorted(
            ((row.id, number, row) for number, group in enumerate(groups) for row in group), key=lambda entry: entry[:2]
        )
        if not rows:
            return [Estimate.exact(0) for _ in groups]
        requests = build_requests(self.task, variant, [row for _, _, row in rows[:MAX_RENDERED]], train)
        systems = [_with_tools(r.system, r.fields) for r in requests]
        rendered = [
            len(f"{system}{json.dumps(r.contents, ensure_ascii=False)}")
            for system, r in zip(systems, requests, strict=True)
        ]
        around = [length - _own_length(row) for length, (_, _, row) in zip(rendered, rows, strict=False)]
        usual = round(statistics.fmean(around))
        lengths = [*rendered, *(max(1, _own_length(row) + usual) for _, _, row in rows[MAX_RENDERED:])]
        counted = dict(enumerate(self._count_all(requests[: self.sample])))
        schema = self._schema_bound(requests)
        deviation = STANDARD_ERRORS * statistics.pstdev(around) / math.sqrt(len(around))
        means = []
        for number in range(len(groups)):
            own = [index for index, (_, group, _) in enumerate(rows) if group == number]
            tokens, unseen = estimate(lengths, counted, own), sum(index >= len(requests) for index in own)
            error = deviation * unseen / max(1, sum(lengths[index] for index in own))
            size = max(1, len(own))
            mean = Estimate(expected=tokens.expected / size, upper=tokens.upper * (1 + error) / size)
            means.append(self.bounded(mean + schema))
        return means

    def judging(
        self, catalogue: Catalogue, rows: Sequence[Example], replies: Mapping[str, float], pairwise_only: bool = False
    ) -> JudgingCost:
        """Requests of these settings for each answer and for human ratings, with references instead of answers.

        A ratings file in a bucket is not read offline. `replies` are mean tokens of a reply by model where some were
        counted. Raises `UserError` for a judge, or a metric of the evaluation service, without a known price.
        """
        evaluate, judge, task = self.evaluate, self.evaluate.judge, self.task
        longest = max([evaluate.max_output_tokens, *(answer_token_limit(p) or 0 for p in evaluate.baselines)])

        def request(requests: Sequence[GenerateRequest], answers: int, model: str, reply: Estimate) -> RequestTokens:
            quoted = 2.0 * longest * answers  # quoted in JSON, an answer may have more tokens than it had
            reply = Estimate(expected=replies.get(model, reply.expected), upper=reply.upper)
            return RequestTokens(self._quoting(requests, quoted), reply)

        verbal = None
        if evaluate.confidence == "verbal":
            ratings = [verbal_confidence_request(task, evaluate.base_model, row, row.target) for row in rows]
            reply = Estimate(expected=VERBAL_TOKENS, upper=evaluate.max_output_tokens)
            verbal = request(ratings, 1, evaluate.base_model, reply)
        metrics = sum(catalogue.vertex_metric_price(metric) for metric in evaluate.vertex_metrics) / 1000
        if not judge.model:
            return JudgingCost(verbal=verbal, vertex_metrics=metrics)
        reply = Estimate(expected=judge.max_output_tokens / 4, upper=judge.max_output_tokens)
        remote = self.count is count_offline and judge.ratings.startswith("gs://")
        people = [] if remote else load_human_ratings(judge)
        validation = [rating_requests(judge, task, rated.example, rated.answer)[0] for rated in people]
        rating = [rating_requests(judge, task, row, row.target)[0] for row in rows]
        comparison = [pairwise_requests(judge, task, row, row.target, row.target)[0] for row in rows]
        return JudgingCost(
            verbal=verbal,
            rating=None if pairwise_only else request(rating, 1, judge.model, reply),
            comparison=request(comparison, 2, judge.model, reply),
            judge=catalogue.price("", judge.model),
            samples=judge.samples,
            validation=request(validation, 0, judge.model, reply) if validation else None,
            validation_rows=len(validation),
            vertex_metrics=metrics,
            pairwise_only=pairwise_only,
        )

    def _quoting(self, requests: Sequence[GenerateRequest], more: float) -> Estimate:
        """Tokens of one of these requests: the mean of a sample, and as many as the longest may have and `more`."""
        sizes = [len(f"{r.system}{r.contents[0]['parts'][0]['text']}") for r in requests]
        ordered = sorted(range(len(requests)), key=lambda index: requests[index].key)[: self.sample]
        counted = self._count_all([requests[index] for index in ordered])
        densest = max((tokens / sizes[index] for index, tokens in zip(ordered, counted, strict=True)), default=0.0)
        upper = densest * max(sizes, default=0) * (1 + MARGIN) + more
        mean = Estimate(expected=sum(counted) / max(1, len(counted)), upper=upper)
        return self.bounded(mean + self._schema_bound(requests))

    def _count_all(self, requests: Sequence[GenerateRequest]) -> list[int]:
        with ThreadPoolExecutor(8) as pool:
            return list(pool.map(lambda r: self.count(_with_tools(r.system, r.fields), r.contents), requests))

    def _schema_bound(self, requests: Sequence[GenerateRequest]) -> Estimate:
        """Tokens of the requests' response schema: it counts towards their limit; no source says that it is billed."""
        schema = requests[0].response_schema if requests else None
        if not schema:
            return ZERO
        turn = {"role": "user", "parts": [{"text": json.dumps(schema, ensure_ascii=False)}]}
        return Estimate(expected=0, upper=self.count(None, [turn]))


def _with_tools(system: str | None, fields: Mapping[str, Any]) -> str | None:
    """The system instruction, and the tools of a request as text: they are billed as input, too."""
    tools = json.dumps(fields["tools"], ensure_ascii=False) if "tools" in fields else ""
    return f"{system or ''}{tools}" or None


def _own_length(row: Example) -> int:
    """Characters that a row itself adds to its request."""
    return len(json.dumps(row.contents, ensure_ascii=False)) if row.contents else len(row.text)
