# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Evaluations with scripted models: what tests of evaluation, confidence, judge and prompt search share."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from gemtune.artifacts.cost import CostForecast
from gemtune.artifacts.evaluation import EvaluationReport
from gemtune.artifacts.tuning import PriceList, Selection, TuningPlan
from gemtune.config import ModelVariant
from gemtune.data.example import read_examples
from gemtune.evaluation.evaluator import Dataset
from gemtune.inference import vertex_generation
from gemtune.inference.generate import GenerateRequest, RetryPolicy
from gemtune.steps import evaluate
from gemtune.steps.context import StepContext

Console = dict[str, dict[str, Any]]


def script(monkeypatch, generate: Callable[[GenerateRequest], Awaitable[Any]], retry_policy=None) -> None:
    """Let `generate` answer the requests of every evaluation."""
    policy = retry_policy or RetryPolicy(8, 2, (OSError,), (ValueError,))
    monkeypatch.setattr(vertex_generation, "vertex_generate", lambda config, vertex: (generate, policy))


def evaluated(
    folder: Path,
    variants: Sequence[ModelVariant],
    *,
    rows: str = "rows",
    train: str = "train",
    free: bool = False,
    constrain: bool = False,
    **sections: Any,
) -> tuple[Console, EvaluationReport]:
    """Evaluate variants on the rows of a folder; writes its `predictions` and `report`."""
    name = "test" if rows == "test" else "validation"
    answers = str(folder / "predictions")
    examples = list(read_examples(folder / rows))
    part = Dataset(name, examples, free_baselines=free, constrain_best=constrain, answers=answers)
    evaluation = StepContext(sections).evaluator.evaluate(part, list(read_examples(folder / train)), variants)
    console = evaluate.write(evaluation, answers, str(folder / "report"), evaluation.report.task.labels)
    return console, EvaluationReport.read(folder / "report")


def predictions(folder: Path) -> list[dict[str, Any]]:
    """The rows of the predictions file that `evaluated` wrote."""
    with open(folder / "predictions", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def selection(path: Path, variants: Sequence[ModelVariant], metric: str = "accuracy") -> str:
    """A selection of these variants by role, written to `path`."""
    by_role = {variant.role: variant for variant in variants}
    Selection(
        metric=metric,
        reason="the only checkpoint",
        best_prompt=by_role["baseline"],
        candidate=by_role.get("candidate"),
        champion=by_role.get("champion"),
    ).write(path)
    return str(path)


def tuning_plan(
    path: Path, base_model: str, prices: dict[str, float], baselines: EvaluationReport | None = None
) -> str:
    """A plan of no trials with these prices, written to `path`."""
    TuningPlan(
        should_tune=True,
        reasons=[],
        metric="accuracy",
        best_prompt=None,
        detectable_lift=0.1,
        rows={},
        trials=[],
        prices=PriceList(base_model=base_model, models={base_model: prices, "judge": prices}),
        forecast=CostForecast.of([], 10.0),
        fingerprint="",
        baselines=baselines,
    ).write(path)
    return str(path)
