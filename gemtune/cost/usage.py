# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""What was spent, as the service counted it: actual cost items from reports and job records, in US dollars. Pure."""

from collections.abc import Iterable, Mapping, Sequence

from gemtune.artifacts.cost import MILLION, CostItem, Kind, TokenUsage
from gemtune.artifacts.evaluation import EvaluationReport, VariantReport
from gemtune.artifacts.tuning import PriceList, TrialRecord, TuningRecord


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
    return [_tuning_item(job) for job in once.values()]


def _tuning_item(record: TrialRecord) -> CostItem:
    tokens, trial = record.billed_tokens, record.trial
    item = CostItem.actual(
        "tuning", f"tuning {trial.name}", tokens, tokens * record.price["train"] / MILLION, trial.name
    )
    planned = {"tokens_forecast": trial.forecast_tokens, "tokens_allowed": trial.max_billable_tokens}
    return item.model_copy(update=planned)


def replies_by_model(report: EvaluationReport | None) -> dict[str, float]:
    """Mean tokens of a reply about an answer, by model, where some were counted."""
    usage = _judging_usage(report.variants if report else [])
    return {model: tokens.output / tokens.requests for model, tokens in usage.items() if tokens.requests}
