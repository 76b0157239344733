# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Before the first prompt is sent: whether evaluating all prompts, and testing the best, stays under `plan.max_cost`.

The plan holds the trials under the limit, but it comes after the prompts were evaluated, and the best of them is tested
on every path. So what every path costs is bounded first; a run that could not even end with "keep the prompt" under its
limit is refused while it has cost nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from gemtune.artifacts.cost import BudgetReport, CostForecast, CostItem, read_spent
from gemtune.config import Plan
from gemtune.cost.baselines import BaselineForecast, baseline_variants
from gemtune.data.example import read_examples
from gemtune.errors import UserError
from gemtune.inference import prompts
from gemtune.state import champion
from gemtune.state.reconcile import reconcile
from gemtune.steps.context import Section, StepContext
from gemtune.vertex.calls import PermanentError

log = logging.getLogger("gemtune")


def run(splits: Sequence[str], budget: str, name: str, spent: str = "", **sections: Section) -> None:
    """Write to `budget` what every path costs.

    `splits` are the rows of train, validation and test, `spent` the report of a data step before (what it has spent).
    Reads the sections task, evaluate, plan, vertex, preference. Tokens are counted by the service, free of charge.
    Raises `UserError` when every path may cost more than `plan.max_cost`, or the name's champion has another task.
    """
    context = StepContext(sections)
    rows = [list(read_examples(path)) for path in splits]
    task, evaluate, catalogue = prompts.resolve(context.task, rows[0]), context.evaluate, context.catalogue
    champion.require_same_task(context.client, name, task)
    try:
        reconcile(context.client, name)  # what an interrupted promotion or rollback left undone
    except PermanentError as error:
        log.warning("the champion of %s cannot be served as its record says: %s", name, error)
    counter = context.token_counter(task)
    ranks = context.objective.judge_ranks
    judging = counter.judging(catalogue, [*rows[1], *rows[2]], {}, pairwise_only=ranks)
    forecast = BaselineForecast(counter, catalogue, rows)
    variants, notes = forecast.fitting(baseline_variants(evaluate))
    for note in notes:
        log.warning("%s", note)
    usages, items = forecast.usages(variants)
    items += [item for usage in usages for item in usage.items(judging, forecast.price)]
    items += judging.ranking("prompts", (len(usages) - 1) * len(rows[1]))
    items += forecast.finals(usages, champion.read(context.client, name), judging)
    items += read_spent(spent)
    report = BudgetReport(name=name, forecast=CostForecast.of(items, context.plan.max_cost))
    report.write(budget)
    _require_affordable(report.forecast, context.plan, len(usages), [len(split) for split in rows])


def _require_affordable(forecast: CostForecast, plan: Plan, prompts_: int, sizes: Sequence[int]) -> None:
    cost = forecast.cost
    prompts = "1 prompt" if prompts_ == 1 else f"{prompts_} prompts"
    what = f"evaluating {prompts} on {sizes[1]} validation rows, and the best on {sizes[2]} test rows,"
    if cost.upper > plan.max_cost:
        dearest: CostItem = max(forecast.items, key=lambda item: item.cost.upper)
        raise UserError(
            f"{what} may cost {cost.upper:.4f} USD, more than plan.max_cost {plan.max_cost:.4f}; "
            f"the most expensive item: {dearest.label}, {dearest.cost.upper:.4f}",
            remedy="raise plan.max_cost, or reduce evaluate.baselines, evaluate.max_output_tokens or split.validation",
        )
    log.info(
        "done: %s", f"{what} costs {cost.expected:.4f} USD (at most {cost.upper:.4f} of {plan.max_cost:.2f} allowed)"
    )
