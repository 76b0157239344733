# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Before the first prompt is sent: whether there is anything new to decide on, and whether evaluating all prompts, and
testing the best, stays under `plan.max_cost`.

The plan holds the trials under the limit, but it comes after the prompts were evaluated, and the best of them is tested
on every path. So what every path costs is bounded first; a run that could not even end with "keep the prompt" under its
limit is refused while it has cost nothing.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from pydantic import ValidationError

from gemtune import __version__
from gemtune.artifacts.cost import BudgetReport, CostForecast, CostItem, read_spent
from gemtune.artifacts.decision import RunSummary
from gemtune.artifacts.records import LastDecision
from gemtune.config import Plan, fingerprint
from gemtune.cost.baselines import BaselineForecast, baseline_variants
from gemtune.data.example import Example, read_examples, to_row
from gemtune.errors import OverBudgetError
from gemtune.evaluation.human_ratings import load_human_ratings
from gemtune.inference import prompts
from gemtune.state import champion, store
from gemtune.state.reconcile import reconcile
from gemtune.steps.context import Section, StepContext, log
from gemtune.vertex.calls import PermanentError


def run(splits: Sequence[str], budget: str, name: str, spent: str = "", **sections: Section) -> bool:
    """Write to `budget` what every path costs; returns whether anything is new since the last decision.

    `splits` are the rows of train, validation and test, `spent` the report of a data step before (what it has spent).
    Reads the sections task, evaluate, plan, vertex, preference; a change in any other one that it receives is new, too.
    Tokens are counted by the service, free of charge.
    Raises `OverBudgetError` when every path may cost more than `plan.max_cost`, `UserError` when the name's champion
    has another task.
    """
    context = StepContext(sections)
    rows = [list(read_examples(path)) for path in splits]
    task, evaluate, catalogue = prompts.resolve(context.task, rows[0]), context.evaluate, context.catalogue
    champion.require_same_task(context.client, name, task)
    try:
        reconcile(context.client, name)  # what an interrupted promotion or rollback left undone
    except PermanentError as error:
        log.warning("the champion of %s cannot be served as its record says: %s", name, error)
    decided_on = {section: value for section, value in sections.items() if section != "vertex"}
    digest = fingerprint(__version__, decided_on, _human_ratings(context), *map(_row_digests, rows))
    serving = champion.read(context.client, name).variant
    last = store.read(context.client, LastDecision, name) if context.plan.skip_unchanged else None
    if last and (last.fingerprint, last.model) == (digest, serving.model if serving else ""):
        try:
            RunSummary.model_validate(last.summary)
        except ValidationError as error:
            raise store.damaged(context.client, LastDecision, name, error) from None
        forecast = CostForecast.of(read_spent(spent), context.plan.max_cost)
        BudgetReport(name=name, forecast=forecast, fingerprint=digest, last_summary=last.summary).write(budget)
        log.info("done: %s", "unchanged: rows, settings and champion are those of the last decision")
        return False
    counter = context.token_counter(task)
    ranks = context.objective.judge_ranks
    judging = counter.judging(catalogue, [*rows[1], *rows[2]], {}, pairwise_only=ranks)
    baselines = BaselineForecast(counter, catalogue, rows)
    variants, notes = baselines.fitting(baseline_variants(evaluate))
    for note in notes:
        log.warning("%s", note)
    usages, items = baselines.usages(variants)
    items += [item for usage in usages for item in usage.items(judging, baselines.price)]
    items += judging.ranking("prompts", (len(usages) - 1) * len(rows[1]))
    items += baselines.finals(usages, serving, judging)
    items += read_spent(spent)
    forecast = CostForecast.of(items, context.plan.max_cost)
    BudgetReport(name=name, forecast=forecast, fingerprint=digest).write(budget)
    _require_affordable(forecast, context.plan, len(usages), [len(split) for split in rows])
    return True


def _row_digests(rows: Sequence[Example]) -> list[str]:
    """A digest of each row, wherever it stands in its file."""
    return sorted(fingerprint(to_row(replace(row, line=0))) for row in rows)


def _human_ratings(context: StepContext) -> list[Any]:
    """The human ratings: their file may change while the setting does not."""
    ratings = load_human_ratings(context.evaluate.judge)
    return [[to_row(rating.example), rating.answer, rating.rating] for rating in ratings]


def _require_affordable(forecast: CostForecast, plan: Plan, prompts_: int, sizes: Sequence[int]) -> None:
    cost = forecast.cost
    prompts = "1 prompt" if prompts_ == 1 else f"{prompts_} prompts"
    what = f"evaluating {prompts} on {sizes[1]} validation rows, and the best on {sizes[2]} test rows,"
    if cost.upper > plan.max_cost:
        dearest: CostItem = max(forecast.items, key=lambda item: item.cost.upper)
        raise OverBudgetError(
            f"{what} may cost {cost.upper:.4f} USD, more than plan.max_cost {plan.max_cost:.4f}; "
            f"the most expensive item: {dearest.label}, {dearest.cost.upper:.4f}",
            remedy="raise plan.max_cost, or reduce evaluate.baselines, evaluate.max_output_tokens or split.validation",
        )
    log.info(
        "done: %s", f"{what} costs {cost.expected:.4f} USD (at most {cost.upper:.4f} of {plan.max_cost:.2f} allowed)"
    )
