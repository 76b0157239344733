# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""What the prompted baselines cost, forecast before the first request: on validation rows, and the best on test rows.

Every run pays this, even one that ends with "keep the prompt"; so it has to fit under the limit by itself. A prompt
that a search will propose is not known yet: it is bounded by the longest that is accepted.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from gemtune.artifacts.cost import ZERO, CostItem, Estimate, Kind
from gemtune.artifacts.evaluation import VariantReport
from gemtune.catalogue import Catalogue, Price
from gemtune.config import Evaluate, ModelVariant, Role
from gemtune.contents import ModelOutput
from gemtune.cost.items import JudgingCost, RequestTokens, injection_items, requests_item, uses_batch, with_batch_price
from gemtune.cost.tokens import TokenCounter
from gemtune.data.example import Example
from gemtune.errors import UserError
from gemtune.evaluation.pairwise import final_pairings
from gemtune.inference import prompt_search, prompts
from gemtune.inference.generate import GenerateRequest
from gemtune.inference.prompts import answer_token_limit, build_requests

MAX_COUNTED = 20  # longest rows whose requests are compared, where a request may be too long
WORDING_TOKENS = 64.0  # tokens of a proposed instruction, expected


def baseline_variants(evaluate: Evaluate) -> list[ModelVariant]:
    """The configured prompts, each with the base model."""
    return [ModelVariant(name=prompt.name, model=evaluate.base_model, prompt=prompt) for prompt in evaluate.baselines]


def _with_shots(variant: ModelVariant, shots: int, **changes: object) -> ModelVariant:
    prompt = variant.prompt.model_copy(update={"shots": shots, **changes})
    return variant.model_copy(update={"prompt": prompt})


def _bytes(request: GenerateRequest) -> int:
    return len(f"{request.system}{json.dumps(request.contents, ensure_ascii=False)}".encode())


def judged_finalists(
    judging: JudgingCost,
    rows: int,
    roles: Sequence[Role],
    champion: ModelVariant | None,
    price: Price,
    conditional: int = 0,
) -> list[CostItem]:
    """Judging and ranking the answers of finalists of these roles, and of the champion, to so many test rows.

    No champion is expected where there is none now, but there may be one by then; nor are so many `conditional`
    finalists. `price` is the base model's.
    """
    label, with_champion = "the finalists on test", [*roles, "champion"]
    expected, upper = (
        [
            *judging.items(label, count * rows, (count - 1) * rows, price),
            *judging.ranking(label, rows * _final_pairs(own)),
        ]
        for own, count in (
            (with_champion if champion else roles, len(roles) + (champion is not None) - conditional),
            (with_champion, len(with_champion)),
        )
    )
    return [item.bounded_by(other) for item, other in zip(expected, upper, strict=True)]


def _final_pairs(roles: Sequence[Role]) -> int:
    """How many pairs of finalists of these roles are compared, each one way round."""
    pairs = final_pairings([ModelVariant(name=str(n), model="", role=role) for n, role in enumerate(roles)])
    return len({frozenset(pair) for pair in pairs})


@dataclass(frozen=True, slots=True)
class BaselineUsage:
    """A baseline's tokens per validation row, counted (`actual`) or forecast.

    `compared` are rows whose answers a judge compares with another's, `wording` the tokens of an instruction that is
    not written yet (part of `tokens.input` too), `batch_share` the share of its tokens that batch jobs take.
    """

    variant: ModelVariant
    tokens: RequestTokens
    rows: int
    actual: bool = False
    compared: int = 0
    wording: Estimate = ZERO
    batch_share: float = 0.0

    @classmethod
    def of_report(cls, report: VariantReport, rows: int) -> BaselineUsage:
        """The usage that an evaluation counted."""
        sides = (Estimate.exact(count / max(1, rows)) for count in (report.tokens.input, report.tokens.output))
        share = report.tokens.batch_input / max(1, report.tokens.input)
        return cls(report.variant, RequestTokens(*sides), rows, actual=True, batch_share=share)

    def items(self, judging: JudgingCost, price: Price) -> list[CostItem]:
        """What its answers to the validation rows cost, and judging them; actual judging was counted by itself."""
        label, share = f"{self.variant.name} on validation", 1 - self.batch_share * (1 - price.batch)
        item = requests_item("baseline", label, self.rows, self.tokens, price, self.variant.name)
        upper = item.cost.upper * (share if self.actual else 1)
        cost = Estimate(expected=item.cost.expected * share, upper=upper)
        item = item.model_copy(update={"cost": cost, "stage": "actual" if self.actual else "forecast"})
        if self.actual:
            return [item]
        return [item, *judging.items(label, self.rows, self.compared, price, self.variant.name)]


@dataclass(frozen=True)
class BaselineForecast:
    """Forecasts baselines from counted tokens, list prices, and the rows of train, validation and test."""

    counter: TokenCounter
    catalogue: Catalogue
    splits: Sequence[Sequence[Example]]
    _counted: dict[str, list[Estimate]] = field(default_factory=dict)

    @property
    def evaluate(self) -> Evaluate:
        """The settings of generation."""
        return self.counter.evaluate

    @property
    def price(self) -> Price:
        """Of the base model."""
        return self.catalogue.price("", self.evaluate.base_model)

    def request_sizes(self, variant: ModelVariant) -> list[Estimate]:
        """Tokens of a request for a validation row, and for a test row; each prompt is counted once."""
        key = variant.prompt.model_dump_json()
        if key not in self._counted:
            self._counted[key] = self.counter.prompt(variant, self.splits[1:], self.splits[0])
        return self._counted[key]

    def on_train(self, variant: ModelVariant) -> RequestTokens:
        """Tokens of a training row's requests and answers."""
        size = self.counter.prompt(variant, self.splits[:1], self.splits[0])[0]
        return self._per_row(variant, size)

    def on_test(self, variant: ModelVariant) -> RequestTokens:
        """Tokens of a test row's requests and answers."""
        return self._per_row(variant, self.request_sizes(variant)[1])

    def fitting(self, variants: Sequence[ModelVariant]) -> tuple[list[ModelVariant], list[str]]:
        """The variants whose requests the model can read, with fewer shots where that is needed; a note on each change.

        Tokens are counted only where a request could be too long by its bytes. Raises `UserError` when none is left.
        """
        kept, notes = [], list[str]()
        for variant in variants:
            shortened, own_notes = self._shortened(variant)
            kept += [shortened] if shortened else []
            notes += own_notes
        if not kept:
            raise UserError(
                f"no prompt is left: {'; '.join(notes)}", remedy="shorten the prompts in evaluate.baselines"
            )
        return kept, notes

    def _shortened(self, variant: ModelVariant) -> tuple[ModelVariant | None, list[str]]:
        prompt, limit = variant.prompt, self.catalogue.input_tokens(variant.model)
        where = f"more than the {limit} input tokens of {variant.model}"
        tokens, shots = self._longest_request(variant, prompt.shots), prompt.shots
        while shots and tokens > limit:
            shots //= 2
            tokens = self._longest_request(variant, shots)
        if tokens > limit:
            return None, [
                f"the prompt {variant.name!r} is left out: its longest request has {tokens:.0f} tokens, {where}"
            ]
        notes = []
        if shots < prompt.shots:
            notes.append(f"the prompt {variant.name!r} has {shots} of {prompt.shots} shots: with all, it has {where}")
        tried = [count for count in prompt.try_shots if self._longest_request(variant, count) <= limit]
        if dropped := [count for count in prompt.try_shots if count not in tried]:
            notes.append(f"the prompt {variant.name!r} is not tried with {dropped} shots: it has {where}")
        return _with_shots(variant, shots, try_shots=tried), notes

    def _longest_request(self, variant: ModelVariant, shots: int) -> float:
        """Most tokens of a request for a validation row with so many shots; its bytes, if so many tokens fit too."""
        train, rows = self.splits[0], sorted(self.splits[1], key=lambda row: len(row.text), reverse=True)
        if not rows:
            return 0.0
        request = partial(build_requests, self.counter.task)
        longest_shot = max((len((row.text + row.target).encode()) for row in train), default=0)
        (bare,) = request(_with_shots(variant, 0), rows[:1], ())
        size = _bytes(bare) + shots * (longest_shot + _bytes(bare) - len(rows[0].text.encode()))
        if size <= self.catalogue.input_tokens(variant.model):
            return float(size)
        longest = max(request(_with_shots(variant, shots), rows[:MAX_COUNTED], train), key=_bytes)
        return self.counter.bounded(Estimate.exact(self.counter.count(longest.system, longest.contents))).upper

    def usages(self, variants: Sequence[ModelVariant]) -> tuple[list[BaselineUsage], list[CostItem]]:
        """The variants that evaluating these on validation rows makes, and what their prompt searches cost.

        Raises `UserError` for a variant of another model: at the base model's price it would escape the limit; and for
        one whose answers no response schema can restrict to the labels.
        """
        base = self.evaluate.base_model
        other = next((variant for variant in variants if variant.model != base), None)
        if other:
            raise UserError(
                f"the baseline {other.name!r} uses {other.model!r}, but evaluate.base_model is {base!r}",
                remedy="use one base model per run; escalation.models tries others",
            )
        for variant in variants:
            problem = self.catalogue.enumeration_problem(base, len(self.counter.task.labels))
            if variant.prompt.constrained_output and problem:
                raise UserError(
                    f"the baseline {variant.name!r} cannot have constrained output: {problem}",
                    remedy="remove constrained_output from it in evaluate.baselines",
                )
        usages: list[BaselineUsage] = []
        for variant in variants:
            own = self._searched(variant)
            # a judge compares each proposed prompt with the one it was searched from
            usages += [replace(usage, compared=usage.rows if n else 0) for n, usage in enumerate(own)]
        usages += self._constrained(usages)
        return usages, [self._search(variant) for variant in variants if variant.prompt.rewrites]

    def _constrained(self, usages: Sequence[BaselineUsage]) -> list[BaselineUsage]:
        """The best prompt with constrained output: which one is best is not known, so the longest stands for it."""
        task, evaluate = self.counter.task, self.evaluate
        names = {v.name for v in prompt_search.constrainable(task, [usage.variant for usage in usages])}
        if not names or not evaluate.constrain_best_prompt:
            return []
        if prompt_search.constraint_problem(task, evaluate, self.catalogue):
            return []
        longest = max((u for u in usages if u.variant.name in names), key=lambda usage: usage.tokens.input.upper)
        variant = prompt_search.constrained(longest.variant)
        own = self._forecast(variant.model_copy(update={"name": "the best prompt with constrained output"}))
        tokens = RequestTokens(own.tokens.input + longest.wording, own.tokens.output)
        return [replace(own, tokens=tokens, compared=own.rows, wording=longest.wording)]

    def _searched(self, variant: ModelVariant) -> list[BaselineUsage]:
        (own,) = prompt_search.rewritten(variant, ModelOutput())
        forecasts = [self._forecast(v) for v in (own, *prompt_search.grid(variant))]
        wording = Estimate(expected=0, upper=self.evaluate.samples_per_row * prompt_search.MAX_INSTRUCTION_CHARS)
        first, name = forecasts[0], forecasts[0].variant.name
        tokens = RequestTokens(first.tokens.input + wording, first.tokens.output)
        for number in range(1, variant.prompt.rewrites + 1):
            reworded = first.variant.model_copy(update={"name": f"{name}_r{number}", "searched_from": name})
            forecasts.append(replace(first, variant=reworded, tokens=tokens, wording=wording))
        return forecasts

    def _forecast(self, variant: ModelVariant) -> BaselineUsage:
        rows = len(self.splits[1])
        tokens = self._per_row(variant, self.request_sizes(variant)[0])
        batched = uses_batch(self.evaluate, rows * self.evaluate.samples_per_row)
        return BaselineUsage(variant, tokens, rows, batch_share=float(batched))

    def _per_row(self, variant: ModelVariant, request: Estimate) -> RequestTokens:
        longest = answer_token_limit(variant.prompt) or self.evaluate.max_output_tokens
        samples = self.evaluate.samples_per_row
        answer = Estimate(expected=longest / 2, upper=longest)
        return RequestTokens(request.times(samples), answer.times(samples))

    def _search(self, variant: ModelVariant) -> CostItem:
        request = prompt_search.rewrite_request(self.counter.task, variant, self.splits[0], self.evaluate.base_model)
        tokens = self.counter.count(request.system, request.contents)
        longest = request.max_output_tokens or self.evaluate.max_output_tokens
        reply = Estimate(expected=min(longest, variant.prompt.rewrites * WORDING_TOKENS), upper=longest)
        sizes = RequestTokens(Estimate(expected=tokens, upper=1.5 * tokens), reply)
        label = f"prompt search for {variant.name} on validation"
        return requests_item("prompt_search", label, 1, sizes, self.price, variant.name)

    def finals(
        self, usages: Sequence[BaselineUsage], champion: ModelVariant | None, judging: JudgingCost
    ) -> list[CostItem]:
        """The most expensive of these prompts and the champion on test rows, and judging both.

        No champion is expected where there is none now, but there may be one by then.
        """
        rows = len(self.splits[2])
        dearest = max((self.prompt_on_test(u, "best prompt on test") for u in usages), key=lambda i: i.cost.upper)
        placeholder = ModelVariant(name="champion", model="", prompt=prompts.tuned_prompt(self.counter.task))
        label = "the champion on test"
        served = self._item_on_test("finalists", label, champion or placeholder)
        items = [dearest, served if champion else served.if_needed()]
        probed: list[CostItem] = []
        for usage in usages:
            tokens = self.on_test(usage.variant)
            tokens = replace(tokens, input=tokens.input + usage.wording)
            probed += injection_items(self.evaluate, rows, "the best prompt", tokens, self.price)
        items += sorted(probed, key=lambda item: item.cost.upper)[-1:]
        price = self.catalogue.price(champion.base_model if champion else "", self.evaluate.base_model)
        probe = injection_items(self.evaluate, rows, "the champion", self.on_test(champion or placeholder), price)
        items += [item if champion else item.if_needed() for item in probe]
        items += judged_finalists(judging, rows, ["baseline"], champion, self.price)
        return [*items, *judging.validating()]

    def prompt_on_test(self, usage: BaselineUsage, label: str) -> CostItem:
        """What a prompt's answers to the test rows cost."""
        item = self._item_on_test("best_prompt", label, usage.variant, usage.wording)
        if not usage.actual:
            return item
        # how long its answers are is known by now
        bounded = self._item_on_test("best_prompt", item.label, usage.variant, answer=usage.tokens.output)
        return bounded.bounded_by(item)

    def _item_on_test(
        self, kind: Kind, label: str, variant: ModelVariant, wording: Estimate = ZERO, answer: Estimate | None = None
    ) -> CostItem:
        rows, price = len(self.splits[2]), self.catalogue.price(variant.base_model, self.evaluate.base_model)
        tokens = self.on_test(variant)
        sizes = RequestTokens(tokens.input + wording, answer or tokens.output)
        item = requests_item(kind, label, rows, sizes, price, variant.name)
        return item if variant.tuned_model else with_batch_price(item, self.evaluate, rows, price)
