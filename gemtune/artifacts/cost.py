# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""What a run costs: items with an expected value and an upper bound, forecast or actual, in US dollars."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pydantic import BaseModel

from gemtune.artifacts.base import Artifact, Part
from gemtune.errors import UserError

MILLION = 1_000_000

Kind = Literal[
    "augmentation", "pair_sampling", "baseline", "prompt_search", "train_probe", "tuning", "checkpoints",
    "follow_ups", "escalation", "best_prompt", "finalists", "champion_test_set", "ranking", "judging",
    "judge_validation", "idle_endpoints",
]  # fmt: skip


class Estimate(Part):
    """An expected number and an upper bound that it will not exceed."""

    expected: float
    upper: float

    @classmethod
    def exact(cls, value: float) -> Self:
        """A number that is known."""
        return cls(expected=value, upper=value)

    def __add__(self, other: Estimate) -> Estimate:
        return Estimate(expected=self.expected + other.expected, upper=self.upper + other.upper)

    def times(self, factor: float) -> Estimate:
        """Both numbers multiplied."""
        return Estimate(expected=self.expected * factor, upper=self.upper * factor)


class TokenEstimate(Part):
    """A whole number of tokens and an upper bound that it will not exceed."""

    expected: int = 0
    upper: int = 0

    @classmethod
    def of(cls, tokens: Estimate) -> Self:
        """The estimate in whole tokens, its bound rounded up."""
        return cls(expected=round(tokens.expected), upper=math.ceil(tokens.upper))

    def __add__(self, other: TokenEstimate) -> TokenEstimate:
        return TokenEstimate(expected=self.expected + other.expected, upper=self.upper + other.upper)


ZERO = Estimate(expected=0.0, upper=0.0)


class TokenUsage(Part):
    """Tokens of requests as the service counted them; `batch_*` is the part that batch prediction jobs took."""

    input: int = 0
    output: int = 0
    batch_input: int = 0
    batch_output: int = 0
    requests: int = 0

    @property
    def total(self) -> int:
        """Input and output together."""
        return self.input + self.output

    def __add__(self, other: TokenUsage) -> TokenUsage:
        return TokenUsage(**{name: getattr(self, name) + getattr(other, name) for name in type(self).model_fields})

    def cost(self, prices: Mapping[str, float]) -> float:
        """US dollars at `prices` (per million tokens: input, output; batch: share of the price that batch jobs pay)."""
        saved = 1 - prices.get("batch", 1.0)
        return (
            (self.input - saved * self.batch_input) * prices.get("input", 0.0)
            + (self.output - saved * self.batch_output) * prices.get("output", 0.0)
        ) / MILLION


class CostItem(Part):
    """One item of a forecast, or of what was spent: what kind, about what, tokens and US dollars.

    `subject` names the prompt, trial or set it is about; `on` says what a `judging` item judges; `conditional` items
    are paid only if something turns out so.
    """

    kind: Kind
    label: str
    stage: Literal["forecast", "actual"] = "forecast"
    subject: str = ""
    tokens: TokenEstimate = TokenEstimate()
    cost: Estimate = ZERO
    conditional: bool = False
    tokens_forecast: int | None = None
    """Training tokens the plan expected of this job; None where there was no plan."""
    tokens_allowed: int | None = None
    """Training tokens above which the job would have been cancelled."""

    @classmethod
    def actual(cls, kind: Kind, label: str, tokens: int, cost: float, subject: str = "") -> Self:
        """An item that was paid."""
        counted = TokenEstimate(expected=tokens, upper=tokens)
        return cls(kind=kind, label=label, stage="actual", subject=subject, tokens=counted, cost=Estimate.exact(cost))

    def bounded_by(self, other: CostItem) -> CostItem:
        """The item, its upper bounds raised to those of `other`."""
        tokens = TokenEstimate(expected=self.tokens.expected, upper=max(self.tokens.upper, other.tokens.upper))
        cost = Estimate(expected=self.cost.expected, upper=max(self.cost.upper, other.cost.upper))
        return self.model_copy(update={"tokens": tokens, "cost": cost})

    @property
    def is_unpriced(self) -> bool:
        """Whether it is tuning at an unknown price, which counts as 0 where nothing is billed."""
        return self.kind in ("tuning", "follow_ups") and self.tokens.upper > 0 and self.cost.upper == 0

    def if_needed(self) -> CostItem:
        """The item, expected to cost nothing."""
        zero = {
            "tokens": TokenEstimate(upper=self.tokens.upper),
            "cost": Estimate(expected=0, upper=self.cost.upper),
        }
        return self.model_copy(update={**zero, "conditional": True})


def total(items: Iterable[CostItem]) -> Estimate:
    """The sum in US dollars."""
    return sum((item.cost for item in items), ZERO)


def merged(kind: Kind, label: str, parts: Iterable[CostItem], subject: str = "") -> CostItem:
    """One item with the tokens and the cost of several."""
    parts = list(parts)
    tokens = sum((part.tokens for part in parts), TokenEstimate())
    return CostItem(kind=kind, label=label, subject=subject, tokens=tokens, cost=total(parts))


class CostForecast(Part):
    """The items of a plan, their sum and the limit (US dollars)."""

    items: list[CostItem]
    cost: Estimate
    max_cost: float

    @classmethod
    def of(cls, items: Iterable[CostItem], max_cost: float) -> Self:
        """The forecast of these items."""
        items = list(items)
        return cls(items=items, cost=total(items), max_cost=max_cost)

    @property
    def summary(self) -> str:
        """The forecast in words."""
        spent = f"{self.cost.expected:.2f} USD, at most {self.cost.upper:.2f} of {self.max_cost:.2f} allowed"
        return f"forecast {spent}{self.unpriced}"

    @property
    def unpriced(self) -> str:
        """What the sum lacks, in words after it; empty: nothing."""
        return ", without tuning at an unknown price" if any(item.is_unpriced for item in self.items) else ""


class BudgetReport(Artifact):
    """What every path of a run costs, checked against the limit before the first prompt is sent."""

    STEP: ClassVar[str] = "check-budget"

    name: str
    forecast: CostForecast
    fingerprint: str
    """Of rows and settings; equal in runs that decide on the same."""
    last_summary: dict[str, Any] = {}
    """Summary of the last run where that decided on the same; {}: something is new."""


class _Spent(BaseModel):
    """The one field that the reports of these steps share."""

    spent: list[CostItem] = []


def read_spent(path: str | Path) -> list[CostItem]:
    """What a step (augmentation, pair sampling, reweighting) has spent, from its report; [] without a report."""
    try:
        return _Spent.model_validate_json(Path(path).read_text("utf-8")).spent if path else []
    except ValueError:  # also UnicodeDecodeError
        raise UserError("not a step's report", file=path, remedy="rerun the step that wrote it") from None
