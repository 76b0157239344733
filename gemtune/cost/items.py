# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Cost items of requests, of tuning jobs and of judging answers, in US dollars: forecast, and what was spent. Pure.

Tuning is billed per token of the training rows and epoch, requests per token in and out; a tuned Gemini model costs
nothing while idle. Every decision uses the upper bounds. What was spent is as the service counted it, from reports and
job records.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from gemtune.artifacts.cost import MILLION, CostItem, Estimate, Kind, TokenEstimate, TokenUsage, merged, total
from gemtune.artifacts.evaluation import EvaluationReport, VariantReport
from gemtune.artifacts.tuning import PriceList, TrialRecord, TuningRecord
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


# -- what was spent ---------------------------------------------------------------------------------------------------


def answers_item(kind: Kind, label: str, reports: Sequence[VariantReport], prices: Mapping[str, float]) -> CostItem:
    """What the answers of these variants cost, all at the same prices."""
    usage = sum((report.tokens for report in reports), TokenUsage())
    subject = reports[0].variant.trial or reports[0].variant.name
    return CostItem.actual(kind, label, usage.total, usage.cost(prices), subject)


def judging_items(label: str, reports: Sequence[VariantReport], prices: PriceList, subject: str = "") -> list[CostItem]:
    """What judging these variants' answers cost: one item, or none when nothing was judged."""
    usage = _judging_usage(reports)
    scored = [
        (metric, comparison.scored)
        for report in reports
        for metric, comparison in report.vertex_metrics.items()
        if metric in prices.vertex_metrics
    ]
    if not usage and not scored:
        return []
    cost = sum(tokens.cost(prices.models[model]) for model, tokens in usage.items())
    cost += sum(count * prices.vertex_metrics[metric] / 1000 for metric, count in scored)
    total = sum(tokens.total for tokens in usage.values())
    return [CostItem.actual("judging", f"judging {label}", total, cost, subject)]


def _judging_usage(reports: Sequence[VariantReport]) -> dict[str, TokenUsage]:
    usage: dict[str, TokenUsage] = {}
    for report in reports:
        for model, tokens in report.judging.items():
            usage[model] = usage.get(model, TokenUsage()) + tokens
    return usage


def ranking_items(report: EvaluationReport, label: str, judge: str, prices: PriceList) -> list[CostItem]:
    """What the judge that ranked answers, or was validated, cost."""
    items = []
    if report.ranking_tokens and report.ranking_tokens.requests:
        tokens = report.ranking_tokens
        items.append(CostItem.actual("ranking", f"ranking {label}", tokens.total, tokens.cost(prices.models[judge])))
    if report.judge and report.judge.validation:
        tokens = report.judge.validation.tokens
        cost = tokens.cost(prices.models[judge])
        items.append(CostItem.actual("judge_validation", "validating the judge", tokens.total, cost))
    return items


def checkpoint_items(report: EvaluationReport, records: Iterable[TrialRecord], prices: PriceList) -> list[CostItem]:
    """What evaluating checkpoints on validation rows cost: an item per trial, and judging its checkpoints."""
    items = []
    for name, record in {record.trial.name: record for record in records}.items():
        if own := [result for result in report.variants if result.variant.trial == name]:
            label = f"checkpoints of {name} on validation"
            items.append(answers_item("checkpoints", label, own, record.price))
            items += judging_items(label, own, prices, name)
            items += _in_job_items(name, own, record)
    return items


def _in_job_items(name: str, reports: Sequence[VariantReport], record: TrialRecord) -> list[CostItem]:
    """What a job's own evaluation of its checkpoints cost; the service counts no tokens: those of the same answers."""
    if not (evaluated := len(record.job.service_scores)):
        return []
    item, share = answers_item("checkpoints", "", reports, record.price), evaluated / len(reports)
    cost = share * item.cost.expected * float(record.price["batch"])
    return [CostItem.actual("checkpoints", f"evaluation in {name}", round(share * item.tokens.expected), cost, name)]


def variant_items(report: VariantReport, label: str, kind: Kind, prices: PriceList) -> list[CostItem]:
    """What one variant's answers, and judging them, cost."""
    variant = report.variant
    item = answers_item(kind, label, [report], prices.of(variant))
    return [item, *judging_items(label, [report], prices, variant.name)]


def search_item(report: EvaluationReport, base_prices: Mapping[str, float]) -> list[CostItem]:
    """What prompt searches cost; none when there was none."""
    if not (tokens := report.search_tokens):
        return []
    return [CostItem.actual("prompt_search", "prompt search on validation", tokens.total, tokens.cost(base_prices))]


def tuning_items(records: Iterable[TuningRecord]) -> list[CostItem]:
    """An item per job; trials that turned out equal share one job, which is paid once."""
    jobs = [job for record in records for job in record.jobs]
    once = {job.job.name or f"none-{number}": job for number, job in enumerate(jobs)}
    items = []
    for job in once.values():
        tokens, trial = job.billed_tokens, job.trial
        cost = tokens * job.price["train"] / MILLION
        item = CostItem.actual("tuning", f"tuning {trial.name}", tokens, cost, trial.name)
        planned = {"tokens_forecast": trial.forecast_tokens, "tokens_allowed": trial.max_billable_tokens}
        items.append(item.model_copy(update=planned))
    return items


def replies_by_model(report: EvaluationReport | None) -> dict[str, float]:
    """Mean tokens of a reply about an answer, by model, where some were counted."""
    usage = _judging_usage(report.variants if report else [])
    return {model: tokens.output / tokens.requests for model, tokens in usage.items() if tokens.requests}
