# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Cost items of requests, of tuning jobs and of judging answers, priced from their tokens. Pure.

Tuning is billed per token of the training rows and epoch, requests per token in and out; a tuned Gemini model costs
nothing while idle. Every decision uses the upper bounds.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from gemtune.artifacts.cost import MILLION, CostItem, Estimate, Kind, TokenEstimate, merged, total
from gemtune.artifacts.tuning import PriceList
from gemtune.catalogue import Catalogue, Price
from gemtune.config import Evaluate, Trial, is_resource_name
from gemtune.evaluation.injection import ATTACKS, PLANTED_BYTES, PLANTED_LABELS

LONGER_ROWS = 1.5  # how much longer rows may be that were not counted


@dataclass(frozen=True, slots=True)
class RequestTokens:
    """Tokens of one request, and of its reply."""

    input: Estimate
    output: Estimate


def requests_item(
    kind: Kind, label: str, count: float, tokens: RequestTokens, price: Price, subject: str = ""
) -> CostItem:
    """A number of requests and the tokens of each."""
    sent, received = tokens.input.times(count), tokens.output.times(count)
    cost = sent.times(price.input / MILLION) + received.times(price.output / MILLION)
    return CostItem(kind=kind, label=label, subject=subject, tokens=TokenEstimate.of(sent + received), cost=cost)


def injection_items(evaluate: Evaluate, test: int, name: str, tokens: RequestTokens, price: Price) -> list[CostItem]:
    """The injection probe of one variant: `tokens` for each of `test` rows; [] where it is off.

    The rows drawn may be longer than the mean, a planted label as long as an answer, and each answer the longest.
    """
    if not (rows := min(evaluate.injection_rows, test)):
        return []
    samples = evaluate.samples_per_row
    upper = min(LONGER_ROWS, test / rows) * tokens.input.upper
    planted = PLANTED_BYTES + PLANTED_LABELS * evaluate.max_output_tokens
    sizes = RequestTokens(
        Estimate(expected=tokens.input.expected / samples + PLANTED_BYTES / 4, upper=upper + planted),
        Estimate(expected=tokens.output.expected / samples, upper=max(tokens.output.upper, evaluate.max_output_tokens)),
    )
    return [requests_item("finalists", f"injection probe of {name}", len(ATTACKS) * rows, sizes, price)]


def uses_batch(evaluate: Evaluate, requests: int) -> bool:
    """Whether this number of requests to a base model is sent as a batch job."""
    return 0 < evaluate.batch_above < requests


def with_batch_price(item: CostItem, evaluate: Evaluate, requests: int, price: Price) -> CostItem:
    """The item at the price of batch jobs, where they are used; its upper bound stays the full price."""
    share = price.batch if uses_batch(evaluate, requests) else 1.0
    cost = Estimate(expected=item.cost.expected * share, upper=item.cost.upper)
    return item.model_copy(update={"cost": cost})


def tuning_item(trial: Trial, once: Estimate, price: float) -> CostItem:
    """A tuning job: `once` tokens per epoch, at US dollars per million."""
    tokens = once.times(trial.epoch_count)
    cost = tokens.times(price / MILLION)
    whole = TokenEstimate.of(tokens)
    return CostItem(kind="tuning", label=f"tuning {trial.name}", subject=trial.name, tokens=whole, cost=cost)


@dataclass(frozen=True, slots=True)
class JudgingCost:
    """Tokens of the requests about answers: verbal confidence, the judge's ratings and comparisons, service metrics.

    `judge` is the judge's price and `samples` its samples per request; `validation` are its ratings of the answers that
    people rated; `vertex_metrics` are US dollars per answer that the Gen AI evaluation service takes. With
    `pairwise_only` the judge ranks pairs of answers and rates none.
    """

    verbal: RequestTokens | None = None
    rating: RequestTokens | None = None
    comparison: RequestTokens | None = None
    judge: Price | None = None
    samples: int = 1
    validation: RequestTokens | None = None
    validation_rows: int = 0
    vertex_metrics: float = 0.0
    pairwise_only: bool = False

    def items(self, label: str, answers: float, pairs: float, base: Price, subject: str = "") -> list[CostItem]:
        """The cost item of judging these numbers of answers and pairs; [] when nothing is judged.

        `base` is the price of the base model, which rates its confidence in words.
        """
        parts = [requests_item("judging", "", answers, self.verbal, base)] if self.verbal else []
        if self.rating and self.judge and not self.pairwise_only:
            parts.append(requests_item("judging", "", answers * self.samples, self.rating, self.judge))
        if self.comparison and self.judge and not self.pairwise_only:
            parts.append(requests_item("judging", "", 2 * pairs * self.samples, self.comparison, self.judge))
        if self.vertex_metrics:
            parts.append(CostItem(kind="judging", label="", cost=Estimate.exact(answers * self.vertex_metrics)))
        return [merged("judging", f"judging {label}", parts, subject)] if parts else []

    def ranking(self, label: str, pairs: float, subject: str = "") -> list[CostItem]:
        """The cost item of ranking this number of pairs in both orders; [] when they are ranked by references."""
        if not (self.pairwise_only and self.comparison and self.judge):
            return []
        count = 2 * self.samples * pairs
        return [requests_item("ranking", f"ranking {label}", count, self.comparison, self.judge, subject)]

    def validating(self) -> list[CostItem]:
        """What validating the judge against human ratings costs; [] without ratings."""
        if not (self.validation and self.judge):
            return []
        count = self.validation_rows * self.samples
        return [requests_item("judge_validation", "validating the judge", count, self.validation, self.judge)]

    def warnings(self, ratings: str) -> list[str]:
        """A warning where a ratings file is configured that was not read."""
        missing = ratings and self.judge and not self.validation_rows
        return [f"{ratings} was not read: the cost of validating the judge is not in this forecast"] if missing else []


def affordable(trials: Sequence[Trial], items: dict[str, list[CostItem]], fixed: Estimate, limit: float) -> list[Trial]:
    """The trials, in their order, that fit under the limit with the fixed costs; too expensive ones are skipped."""
    room = limit - fixed.upper
    chosen = []
    for trial in trials:
        cost = total(items[trial.name]).upper
        if cost <= room:
            room -= cost
            chosen.append(trial)
    return chosen


def cheapest_plan(items: dict[str, list[CostItem]], fixed: Sequence[CostItem]) -> float:
    """Upper bound (US dollars) of the plan with the cheapest trial alone."""
    return min(total(own).upper for own in items.values()) + total(fixed).upper


def price_list(catalogue: Catalogue, evaluate: Evaluate, base_model: str, models: Sequence[str] = ()) -> PriceList:
    """The list prices of the base model, the judge, other models and the metrics of the evaluation service.

    Full resource names and empty names have none. Raises `UserError` for a model or metric without a price.
    """
    names = dict.fromkeys([*models, base_model, evaluate.judge.model])
    return PriceList(
        base_model=base_model,
        models={
            name: catalogue.price("", name).model_dump(mode="json")
            for name in names
            if name and not is_resource_name(name)
        },
        vertex_metrics={metric: catalogue.vertex_metric_price(metric) for metric in evaluate.vertex_metrics},
    )


IDLE = CostItem(kind="idle_endpoints", label="idle endpoints")
