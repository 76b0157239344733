# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Supervised, reinforcement and preference tuning by what the data offers, the cost of a job and its evidence. Pure.

The jobs compared have the default hyperparameters of a trial, on all training rows, with the cheapest model that takes
the method today; the base model of the configuration, if it does.
"""

from collections.abc import Sequence
from datetime import date

from gemtune.artifacts.tuning import MethodComparison
from gemtune.catalogue import METHODS, Catalogue, price_field, price_setting
from gemtune.config import Evaluate, Task, Trial
from gemtune.cost.items import tuning_item
from gemtune.cost.tokens import TokenEstimates
from gemtune.data.example import Example


def compare_methods(
    task: Task, evaluate: Evaluate, catalogue: Catalogue, train: Sequence[Example], tokens: TokenEstimates,
    lifts: tuple[float, float],
) -> list[MethodComparison]:  # fmt: skip
    """A row per method; `lifts` are the smallest detectable ones of the task's metric and of a win rate."""
    offers = _offers(task, evaluate, train, sampled="preference" in tokens.training)
    rows = []
    for method in METHODS:
        names, trial = catalogue.tunable(method, date.today()), Trial(name=method, method=method)
        model = evaluate.base_model if evaluate.base_model in names else next(iter(names), "")
        cost, obstacle = None, offers[method][1]
        if not model:
            obstacle = obstacle or "a model that takes it today (gemtune models)"
        elif not obstacle:
            if price := getattr(catalogue.models[model].price, price_field(method)):
                cost = tuning_item(trial, tokens.training_of(trial), price).cost
            else:
                obstacle = f"a price, which no source gives: {price_setting(model, price_field(method))}"
        lift = lifts[method == "preference"]
        evidence = f"{'win rate' if method == 'preference' else 'metric'}: a lift from {lift:.3f} is detected"
        row = MethodComparison(
            method=method, model=model, data=offers[method][0], cost=cost, evidence=evidence, obstacle=obstacle
        )
        rows.append(row)
    return rows


def _offers(task: Task, evaluate: Evaluate, train: Sequence[Example], sampled: bool) -> dict[str, tuple[str, str]]:
    """By method: what the data has for it, and what is missing."""
    pairs = sum(len(example.pairs) for example in train)
    references = f"{len(train)} rows with references"
    if pairs:
        references = f"{len(train)} prompts with preferred answers"
    judged = bool(evaluate.judge.rubric and evaluate.judge.model)
    if task.is_free_text:
        reward = "a judge's rating by evaluate.judge.rubric" if judged else "references, but no judge"
        missing = "" if judged else "a reward: evaluate.judge with rubric and model, or code in rewards"
    else:
        reward, missing = "references: the reward is the metric", ""
    lacking = "pairs: rows with chosen and rejected answers (method: preference), or preference.pairs_from: samples"
    return {
        "supervised": (references, ""),
        "reinforcement": (f"{len(train)} rows; {reward}", missing),
        "preference": (
            f"{pairs} pairs" if pairs or not sampled else "pairs are sampled",
            "" if pairs or sampled else lacking,
        ),
    }
