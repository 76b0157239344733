# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""What augmentation costs: paraphrases and label checks, bounded by bytes: a text has no more tokens than bytes."""

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Self

from gemtune.artifacts.cost import CostItem, Estimate, merged
from gemtune.catalogue import Catalogue, Price
from gemtune.config import Augment, Evaluate, Plan, Prompt, Task
from gemtune.cost.items import RequestTokens, requests_item
from gemtune.data.example import Example
from gemtune.data.profile import estimate_tokens
from gemtune.inference.generate import GenerateRequest
from gemtune.inference.prompts import render

LABEL_TOKENS = 8  # expected tokens of a reply to a label check


@dataclass(frozen=True)
class AugmentationCost:
    """How new rows are generated and checked, at what price, and what that may cost at most (US dollars)."""

    task: Task
    evaluate: Evaluate
    settings: Augment
    price: Price
    limit: float

    @classmethod
    def of(cls, task: Task, evaluate: Evaluate, settings: Augment, plan: Plan, catalogue: Catalogue) -> Self:
        """The cost under these settings; `task` with its labels. Raises `UserError` for a model without a price."""
        price = catalogue.price("", evaluate.base_model)
        return cls(task, evaluate, settings, price, min(settings.max_cost, plan.max_cost))

    @property
    def pays_checks(self) -> bool:
        """Whether the base model checks the labels of new rows."""
        return self.settings.label_check == "model"

    def item(self, example: Example, count: int) -> CostItem:
        """Forecast of `count` new rows generated from one row: paraphrases and their label checks."""
        parts = [self._paraphrasing(example, count)] if "paraphrase" in self.settings.methods else []
        parts += [self._checking(example, count)] if self.pays_checks else []
        return merged("augmentation", "augmentation", parts)

    def _paraphrasing(self, example: Example, count: int) -> CostItem:
        request = paraphrase_request(example, count, self.evaluate.base_model, self.settings)
        sent = _size(f"{request.system}{request.contents[0]['parts'][0]['text']}")
        reply = Estimate(expected=count * (estimate_tokens(example.text) + 4.0), upper=request.max_output_tokens or 0)
        return requests_item("augmentation", "", 1, RequestTokens(sent, reply), self.price)

    def _checking(self, example: Example, count: int) -> CostItem:
        """Paraphrases have no more tokens than the reply they come in, perturbed rows few bytes more than the row."""
        own, methods = _size(example.text), self.settings.methods
        paraphrased = max_reply_tokens(example, count) / count if "paraphrase" in methods else 0
        perturbed = own.upper + len(example.text.split()) if "perturb" in methods else 0
        sent = self._prompt + Estimate(expected=own.expected, upper=paraphrased + perturbed)
        reply = Estimate(expected=LABEL_TOKENS, upper=self.evaluate.max_output_tokens)
        return requests_item("augmentation", "", count, RequestTokens(sent, reply), self.price)

    @cached_property
    def _prompt(self) -> Estimate:
        """Tokens of a label check besides the text."""
        empty = render(self.task, Prompt(), Example("", "", ""))
        return _size(f"{empty.system or ''}{json.dumps(empty.contents, ensure_ascii=False)}")


def _size(text: str) -> Estimate:
    """A text's expected tokens, and its bytes: a tokenizer that falls back to bytes never makes more of it."""
    return Estimate(expected=estimate_tokens(text), upper=len(text.encode()))


def paraphrase_request(example: Example, count: int, model: str, settings: Augment) -> GenerateRequest:
    """A request for `count` paraphrases of a row; the row is quoted as JSON data."""
    system = (
        f"Say the text in the JSON object below in {count} other ways, each on a line of its own that begins with a "
        "number. Keep its language, its meaning and everything that makes its label right; change wording, order and "
        "tone as other people would. Do not answer the text."
    )
    shown = json.dumps({"text": example.text, "label": example.target}, ensure_ascii=False)
    turn = {"role": "user", "parts": [{"text": shown}]}
    longest = max_reply_tokens(example, count)
    return GenerateRequest(
        example.id, model, system, [turn], temperature=settings.temperature, max_output_tokens=longest
    )


def max_reply_tokens(example: Example, count: int) -> int:
    """Most tokens of a reply with `count` paraphrases."""
    return min(8192, 64 + count * (32 + len(example.text) // 2))


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
    """`missing_rows` of the first rows that stay under the limit together, should every reply be as long as it may.

    Where only paraphrases are paid for, the rows beyond the limit may still be perturbed.
    """
    missing, total, rows = missing_rows(train, cost.settings), 0.0, {}
    for example in train:
        if example.id not in missing:
            continue
        total += cost.item(example, missing[example.id]).cost.upper
        if total > cost.limit:
            break
        rows[example.id] = missing[example.id]
    return rows


def forecast(train: Sequence[Example], cost: AugmentationCost) -> tuple[CostItem, list[Example]]:
    """What the step will cost, and the largest set of training rows after it, with copies instead of new rows."""
    affordable = affordable_rows(train, cost)
    items = [cost.item(example, affordable[example.id]) for example in train if example.id in affordable]
    free = "perturb" in cost.settings.methods and not cost.pays_checks
    new_rows = missing_rows(train, cost.settings) if free else affordable
    new = [replace(e, id=f"{e.id} {n}") for e in train for n in range(new_rows.get(e.id, 0))]
    return merged("augmentation", "augmentation", items), [*train, *new]
