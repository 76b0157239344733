# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Who wins, prompt by prompt: answers of variants ranked by references or by a judge that is asked in both orders.

An answer that cannot be used loses against any that can; equal answers tie without a judge being asked. What asking a
judge took is counted. How questions get their answers is the caller's business.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from gemtune.config import Evaluate, ModelVariant, Preference, Task
from gemtune.data import pairs as paired
from gemtune.data.example import Example, read_examples
from gemtune.errors import UserError
from gemtune.evaluation.judge import PairwiseResult, pairwise_requests, parse_pairwise, parse_rating, rating_requests
from gemtune.evaluation.predictions import Scored, groups_of, read_predictions, scored_of
from gemtune.evaluation.reference_ranking import grader, pair_result
from gemtune.inference.generate import GenerateRequest, ModelOutput

GenerateAll = Callable[[Sequence[GenerateRequest]], list[ModelOutput]]


class Referee:
    """Says which answers are better, by the references or by a judge; `tokens` counts what the judge took."""

    def __init__(self, task: Task, config: Preference, asking: Evaluate, put: GenerateAll) -> None:
        if config.ranked_by == "judge" and not config.judge.model:
            raise UserError("preference.ranked_by=judge needs a judge", remedy="set preference.judge.model")
        self.task, self.config, self.asking, self.put = task, config, asking, put
        self.tokens = {"input": 0, "output": 0}

    def grades(self, rows: Sequence[Example], texts: Sequence[Sequence[str]]) -> list[list[float | None]]:
        """Grades (0 to 100) of several answers to each row; None where the judge gave none."""
        if self.config.ranked_by == "reference":
            graders = [grader(self.task, [row.target]) for row in rows]
            return [[grade(text) for text in own] for grade, own in zip(graders, texts, strict=True)]
        judge = self.config.judge
        flat = [(row, text) for row, own in zip(rows, texts, strict=True) for text in own]
        given = self._judged(request for row, text in flat for request in self._rating(row, text))
        size, (low, high) = judge.samples, judge.scale
        scores = [parse_rating(judge, given[i : i + size]).score for i in range(0, len(given), size)]
        scaled = [None if score is None else 100 * (score - low) / (high - low) for score in scores]
        ends = [sum(map(len, texts[: n + 1])) for n in range(len(texts))]
        return [scaled[end - len(own) : end] for end, own in zip(ends, texts, strict=True)]

    def _rating(self, row: Example, text: str) -> list[GenerateRequest]:
        return rating_requests(self.config.judge, self.task, row, text)

    def _judged(self, requests: Iterable[GenerateRequest]) -> list[ModelOutput]:
        given = self.put(list(requests))
        self.tokens["input"] += sum(one.input_tokens for one in given)
        self.tokens["output"] += sum(one.output_tokens for one in given)
        return given

    def pair_results(
        self, rows: Sequence[Example], references: Mapping[str, list[str]], one: Sequence[str | None],
        two: Sequence[str | None],
    ) -> list[PairwiseResult]:  # fmt: skip
        """Who wins on each row; None is an answer that cannot be used: it loses, unless both are."""
        if self.config.ranked_by == "reference":
            return [
                pair_result(a, b, grader(self.task, references[row.id]), self.config.tie_margin)
                for row, a, b in zip(rows, one, two, strict=True)
            ]
        found = [
            PairwiseResult("tie" if a == b else "baseline" if a is None else "candidate")
            for a, b in zip(one, two, strict=True)
        ]
        open_ = [(n, a, b) for n, (a, b) in enumerate(zip(one, two, strict=True)) if a and b and a != b]
        judge = self.config.judge
        given = self._judged(q for n, a, b in open_ for q in pairwise_requests(judge, self.task, rows[n], a, b))
        size = 2 * judge.samples
        for place, (n, a, b) in enumerate(open_):
            found[n] = parse_pairwise(given[place * size : (place + 1) * size], a, b)
        return found


@dataclass(frozen=True)
class Answers:
    """Every variant's usable answers to the same prompts (None: unusable), with the prompts and their references."""

    rows: list[Example]
    references: dict[str, list[str]]
    groups: list[str | None]
    scored: dict[str, Scored]

    @classmethod
    def read(cls, predictions: str, examples: str, pairs: str, task: Task, who: Sequence[ModelVariant]) -> Answers:
        """The answers in a predictions file; raises `UserError` when one of the variants is missing in it."""
        _, told = read_predictions(predictions, task)
        own = paired.by_prompt(paired.read_written(pairs))
        by_id = {example.id: example for example in read_examples(examples)}
        ids = [row["id"] for row in next(iter(told.values()), [])]
        rows = [by_id[i] for i in ids]
        scored = {one.name: scored_of(predictions, one, told) for one in who}
        return cls(rows, {i: paired.references_of(by_id[i], own[i]) for i in ids}, groups_of(told), scored)

    def texts(self, name: str) -> list[str | None]:
        """One variant's answers."""
        one = self.scored[name]
        return [row.answer if outcome == "ok" else None for row, outcome in zip(one.rows, one.outcomes, strict=True)]

    def pair_results(self, referee: Referee, one: str, two: str) -> list[PairwiseResult]:
        """Who wins on each prompt."""
        return referee.pair_results(self.rows, self.references, self.texts(one), self.texts(two))
