# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Larger base models: tried one after another while tuning the smaller one helps and still misses the target score.

Each is prompted like the best prompt first; if that does not reach the target, it is tuned with the hyperparameters of
the best trial so far, within what the plan allows it to cost.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gemtune.artifacts.cost import CostItem, Kind
from gemtune.artifacts.evaluation import EvaluationReport, VariantReport
from gemtune.artifacts.tuning import TrialRecord, TuningPlan, TuningRecord
from gemtune.config import Escalation, ModelVariant, Trial
from gemtune.cost import usage
from gemtune.cost.items import price_list
from gemtune.data.example import Example, read_before_gate
from gemtune.evaluation.evaluator import Dataset
from gemtune.steps.context import Section, StepContext
from gemtune.tuning.checkpoint_selection import VariantScore, choose, variant_scores
from gemtune.tuning.tuner import Tuner, TuningData

log = logging.getLogger("gemtune")


@dataclass
class EscalationState:
    """What was reached so far, and what it left."""

    prompt_score: float
    best: VariantScore | None
    jobs: list[TrialRecord] = field(default_factory=list)
    reports: list[VariantReport] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    spent: list[CostItem] = field(default_factory=list)


@dataclass(frozen=True)
class Files:
    """The files that the step reads and writes (paths)."""

    train: str
    reweighted: str
    validation: str
    plan: str
    job: str
    report: str
    events: str


def run(
    paths: Mapping[str, str], tuning: Sequence[str], evaluated: str, name: str, **sections: Section
) -> dict[str, float]:
    """Escalate as long as it is worth it; writes the jobs' record and the report on their checkpoints; returns counts.

    `paths` are those of `Files`, `tuning` are the trials' records, `evaluated` the report on their
    checkpoints. Reads the sections task, evaluate, tune, escalation, select, vertex.
    """
    files = Files(**paths)
    context, plan = StepContext(sections), TuningPlan.read(files.plan)
    assert plan.best_prompt is not None  # the plan of a run has one
    metric = context.objective.metric(context.task, context.select.metric, "select.metric")
    records = [job for path in tuning for job in TuningRecord.read(path).jobs]
    report = EvaluationReport.read(evaluated)
    best, _ = choose(
        [s for s in variant_scores(report, metric, records, context.objective) if s.variant.role == "candidate"]
    )
    state = EscalationState(plan.best_prompt.score.value, best)
    rows, train = read_before_gate(files.validation), read_before_gate(files.train)
    reweighted = read_before_gate(files.reweighted) if files.reweighted else []
    for trial in plan.escalation:
        if reason := reason_to_stop(state.prompt_score, state.best, context.escalation):
            state.notes.append(f"{trial.base} was not tried: {reason}")
            break
        with_larger = context.with_base_model(trial.base)
        if not _prompt(with_larger, plan, trial, state, metric, rows, train):
            break
        like_best = like_the_best(trial, state.best, [*records, *state.jobs])
        path = f"{files.job}.{trial.name}"
        own_rows = reweighted if like_best.reweighted and files.reweighted else train
        data = TuningData.of(context.task, like_best.method, own_rows, rows)
        Tuner(context.client, context.tune, trial.base, name, data, Path(path), Path(files.events)).run(like_best)
        _score(with_larger, TuningRecord.read(path), trial, state, metric, rows, train)
        Path(path).unlink()
    TuningRecord(jobs=state.jobs, notes=state.notes, spent=state.spent).write(files.job)
    EvaluationReport(dataset="validation", rows=len(rows), task=context.task, variants=state.reports).write(
        files.report
    )
    log.info("done: %s", state.notes[-1] if state.notes else "no larger model fits the plan")
    return {"tried": float(len(state.jobs))}


def _prompt(
    context: StepContext,
    plan: TuningPlan,
    trial: Trial,
    state: EscalationState,
    metric: str,
    rows: Sequence[Example],
    train: Sequence[Example],
) -> bool:
    """Evaluate the best prompt with a larger model; whether it is worth tuning that one."""
    assert plan.best_prompt is not None
    prompt = plan.best_prompt.variant
    variant = prompt.model_copy(update={"name": f"{prompt.name}-of-{trial.name}", "model": trial.base})
    (report,) = _evaluated(context, [variant], rows, train)
    state.spent += _items(context, f"{trial.base} prompted on validation", [report], trial.base, "escalation")
    value = report.metrics[metric].value
    state.notes.append(f"{trial.base} with the best prompt scores {value:.3f} on validation")
    if value > state.prompt_score:
        state.prompt_score = value
        state.reports = [kept for kept in state.reports if kept.variant.role != "baseline"] + [report]
    target = context.escalation.stop_at_score
    if value >= target:
        state.notes.append(f"{trial.base} was not tuned: its prompt reaches the target of {target:g}")
        return False
    return True


def _score(
    context: StepContext,
    record: TuningRecord,
    trial: Trial,
    state: EscalationState,
    metric: str,
    rows: Sequence[Example],
    train: Sequence[Example],
) -> None:
    """Evaluate a larger model's checkpoints, and keep the best."""
    state.jobs += record.jobs
    reports = _evaluated(context, record.variants, rows, train)
    state.reports += reports
    label = f"checkpoints of {trial.name} on validation"
    state.spent += _items(context, label, reports, trial.base, "checkpoints") if reports else []
    document = EvaluationReport(dataset="validation", rows=len(rows), task=context.task, variants=reports)
    scores = variant_scores(document, metric, state.jobs, context.objective)
    state.best, _ = choose([scored for scored in [state.best, *scores] if scored])
    top = max((scored.score.value for scored in scores), default=0)
    state.notes.append(f"{trial.base} was tuned: {top:.3f} at best")


def _evaluated(
    context: StepContext, variants: Sequence[ModelVariant], rows: Sequence[Example], train: Sequence[Example]
) -> list[VariantReport]:
    return context.evaluator.evaluate(Dataset("validation", rows), train, variants).report.variants


def _items(
    context: StepContext, label: str, reports: Sequence[VariantReport], model: str, kind: Kind
) -> list[CostItem]:
    """What the answers of `model`, and judging them, cost."""
    prices = price_list(context.catalogue, context.evaluate, model)
    item = usage.answers_item(kind, label, reports, prices.models[model])
    return [item, *usage.judging_items(label, reports, prices)]


def reason_to_stop(prompt_score: float, best: VariantScore | None, settings: Escalation) -> str:
    """Why no larger model is tried; "" when one is."""
    if best is None:
        return "no smaller model was tuned to the end"
    if best.score.value >= settings.stop_at_score:
        return f"{best.variant.name} reaches {best.score.value:.3f}, the target is {settings.stop_at_score:g}"
    if best.score.value - prompt_score < settings.min_gain:
        gain = f"tuning gained {best.score.value - prompt_score:+.3f} over the prompt, less than {settings.min_gain:g}"
        return f"{gain}: more or better rows first"
    return ""


def like_the_best(trial: Trial, best: VariantScore | None, records: Sequence[TrialRecord]) -> Trial:
    """The larger model's trial with the hyperparameters of the best so far, within what the plan allowed it."""
    won = next((r.trial for r in records if best and r.trial.name == best.variant.trial), None)
    if won is None:
        return trial
    copied: dict[str, Any] = {
        name: getattr(won, name) for name in ("learning_rate_multiplier", "adapter_size", "reweighted")
    }
    return trial.model_copy(update={**copied, "epoch_count": min(won.epoch_count, trial.epoch_count)})
