# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""What data steps that send requests cost: paraphrases of rows with rare labels, answers sampled for pairs. Pure.

Paraphrases are bounded by bytes: a text has no more tokens than bytes. Several answers of the base model per row are
ranked by references or by the judge.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

from gemtune.artifacts.cost import CostItem, Estimate, merged
from gemtune.catalogue import Catalogue, Price
from gemtune.config import Augment, Evaluate, ModelVariant, Plan, Preference, Task
from gemtune.cost.items import RequestTokens, requests_item
from gemtune.cost.tokens import TokenCounter, TokenEstimates, count_offline
from gemtune.data.example import Example
from gemtune.data.profile import estimate_tokens
from gemtune.evaluation.judge import pairwise_requests
from gemtune.inference import prompts
from gemtune.inference.generate import GenerateRequest
from gemtune.inference.prompts import build_requests

COUNTED = 32  # requests whose tokens are counted before any is sent


@dataclass(frozen=True)
class AugmentationCost:
    """How new rows are generated, at what price, and what that may cost at most (US dollars)."""

    model: str
    settings: Augment
    price: Price
    limit: float

    @classmethod
    def of(cls, model: str, settings: Augment, plan: Plan, catalogue: Catalogue) -> Self:
        """The cost under these settings. Raises `UserError` for a base model without a price."""
        return cls(model, settings, catalogue.price("", model), min(settings.max_cost, plan.max_cost))

    def item(self, example: Example, count: int) -> CostItem:
        """Forecast of `count` new rows generated from one row; perturbing it is free."""
        if "paraphrase" not in self.settings.methods:
            return CostItem(kind="augmentation", label="augmentation")
        request = paraphrase_request(example, count, self.model, self.settings)
        text = f"{request.system}{request.contents[0]['parts'][0]['text']}"
        # a tokenizer that falls back to bytes never makes more of a text
        sent = Estimate(expected=estimate_tokens(text), upper=len(text.encode()))
        reply = Estimate(expected=count * (estimate_tokens(example.text) + 4.0), upper=request.max_output_tokens or 0)
        return requests_item("augmentation", "augmentation", 1, RequestTokens(sent, reply), self.price)


def paraphrase_request(example: Example, count: int, model: str, settings: Augment) -> GenerateRequest:
    """A request for `count` paraphrases of a row; the row is quoted as JSON data."""
    system = (
        f"Say the text in the JSON object below in {count} other ways, each on a line of its own that begins with a "
        "number. Keep its language, its meaning and everything that makes its label right; change wording, order and "
        "tone as other people would. Do not answer the text."
    )
    shown = json.dumps({"text": example.text, "label": example.target}, ensure_ascii=False)
    turn = {"role": "user", "parts": [{"text": shown}]}
    longest = min(8192, 64 + count * (32 + len(example.text) // 2))
    return GenerateRequest(
        example.id, model, system, [turn], temperature=settings.temperature, max_output_tokens=longest
    )


def missing_rows(train: Sequence[Example], settings: Augment) -> dict[str, int]:
    """Number of new rows from each row (by id), so that its label has `min_rows_per_label` rows; spread evenly."""
    by_label: dict[str, list[Example]] = {}
    for example in train:
        if example.contents is None:
            by_label.setdefault(example.target, []).append(example)
    counts = Counter(example.target for example in train)
    new = {}
    for label, rows in by_label.items():
        missing = min(settings.min_rows_per_label - counts[label], settings.max_per_row * len(rows))
        ordered = sorted(rows, key=lambda row: hashlib.sha256(f"augment {settings.seed} {row.id}".encode()).digest())
        for at, row in enumerate(ordered):
            share = missing // len(ordered) + (at < missing % len(ordered)) if missing > 0 else 0
            if share:
                new[row.id] = share
    return new


def affordable_rows(train: Sequence[Example], cost: AugmentationCost) -> dict[str, int]:
    """`missing_rows` of the first rows that stay under the limit together, should every reply be as long as it may."""
    missing, total, rows = missing_rows(train, cost.settings), 0.0, {}
    for example in train:
        if example.id not in missing:
            continue
        total += cost.item(example, missing[example.id]).cost.upper
        if total > cost.limit:
            break
        rows[example.id] = missing[example.id]
    return rows


def augmentation_forecast(train: Sequence[Example], cost: AugmentationCost) -> tuple[CostItem, list[Example]]:
    """What the step will cost, and the largest set of training rows after it, with copies instead of new rows."""
    new_rows = affordable_rows(train, cost)
    items = [cost.item(example, new_rows[example.id]) for example in train if example.id in new_rows]
    new = [replace(e, id=f"{e.id} {n}") for e in train for n in range(new_rows.get(e.id, 0))]
    return merged("augmentation", "augmentation", items), [*train, *new]


def sampling_requests(rows: Sequence[Example], task: Task, settings: Preference, model: str) -> list[GenerateRequest]:
    """`settings.samples` requests per row, prompted as the tuned model will be."""
    base = ModelVariant(name="base", model=model, prompt=prompts.tuned_prompt(task))
    return [
        replace(request, sample=number, temperature=settings.sample_temperature)
        for request in build_requests(task, base, rows, [])
        for number in range(settings.samples)
    ]


def sampling_forecast(
    rows: Sequence[Example], counter: TokenCounter, settings: Preference, catalogue: Catalogue
) -> list[CostItem]:
    """What sampling the answers, and judging them, is expected to cost, and may cost at most."""
    evaluate = counter.evaluate
    requests = sampling_requests(rows, counter.task, settings, evaluate.base_model)
    if not requests:
        return []
    counts = [counter.count(r.system, r.contents) for r in requests[:: max(1, len(requests) // COUNTED)]]
    mean, longest = sum(counts) / len(counts), max(counts)
    reply = Estimate(expected=evaluate.max_output_tokens / 2, upper=evaluate.max_output_tokens)
    sizes = RequestTokens(Estimate(expected=mean, upper=max(1.5 * mean, longest)), reply)
    price = catalogue.price("", evaluate.base_model)
    items = [requests_item("pair_sampling", "answers sampled for pairs", len(requests), sizes, price)]
    if settings.ranker == "judge":
        judge = evaluate.judge
        shown = _judge_prompt(counter) + Estimate(expected=mean, upper=longest) + reply.times(2)
        verdict = Estimate(expected=judge.max_output_tokens / 4, upper=judge.max_output_tokens)
        count = len(requests) * judge.samples
        judging = RequestTokens(shown, verdict)
        items.append(
            requests_item("ranking", "ranking answers for pairs", count, judging, catalogue.price("", judge.model))
        )
    return items


def _judge_prompt(counter: TokenCounter) -> Estimate:
    """Tokens of a judge's prompt besides the texts it compares: an offline count, and no more than there are bytes."""
    request = pairwise_requests(counter.evaluate.judge, Task(), Example("", "", ""), "", "")[0]
    text = f"{request.system}{request.contents[0]['parts'][0]['text']}"
    return Estimate(expected=count_offline(request.system, request.contents), upper=len(text.encode()))


def with_unknown_answers(tokens: TokenEstimates, evaluate: Evaluate, settings: Preference) -> TokenEstimates:
    """Estimates before answers are sampled: references instead, bounded by the longest answer."""
    longest = Estimate(expected=0, upper=tokens.train * evaluate.max_output_tokens)
    training = dict(tokens.training)
    training["preference"] += longest
    if settings.chosen_from == "samples":
        training["preference"] += longest
        training["supervised"] += longest
    return replace(tokens, training=training)
