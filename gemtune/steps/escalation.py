# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Larger base models: tried one after another while tuning the smaller one helps and still misses the target score.

Each is prompted like the best prompt first; if that does not reach the target, it is tuned with the hyperparameters of
the best trial so far, within what the plan allows it to cost.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gemtune.artifacts.cost import CostItem, Kind
from gemtune.artifacts.evaluation import EvaluationReport, VariantReport, invalid_rate
from gemtune.artifacts.tuning import TrialRecord, TuningPlan, TuningRecord
from gemtune.config import Escalation, ModelVariant, Trial
from gemtune.cost.items import answers_item, judging_items
from gemtune.data.example import Example, read_before_gate
from gemtune.evaluation.evaluator import Dataset
from gemtune.steps.context import Section, StepContext, log
from gemtune.tuning.checkpoint_selection import VariantScore, choose, variant_scores
from gemtune.tuning.tuner import Tuner


def run(
    paths: Mapping[str, str], tuning: Sequence[str], evaluated: str, name: str, **sections: Section
) -> dict[str, float]:
    """Escalate as long as it is worth it; writes the jobs' record and the report on their checkpoints; returns counts.

    `paths` are the files train, reweighted ("": none), validation and plan, and those that are written: job, report and
    events. `tuning` are the trials' records, `evaluated` the report on their checkpoints. Reads the sections task,
    evaluate, tune, escalation, select, vertex.
    """
    context, plan = StepContext(sections), TuningPlan.read(paths["plan"])
    assert plan.best_prompt is not None  # the plan of a run has one
    metric = context.objective.metric(context.task, context.select.metric, "select.metric")
    records = [job for path in tuning for job in TuningRecord.read(path).jobs]
    report = EvaluationReport.read(evaluated)
    best, _ = choose(
        [s for s in variant_scores(report, metric, records, context.objective) if s.variant.role == "candidate"]
    )
    rows, train = read_before_gate(paths["validation"]), read_before_gate(paths["train"])
    reweighted = read_before_gate(paths["reweighted"]) if paths["reweighted"] else train
    prompt = plan.best_prompt
    state = EscalationState(metric, rows, train, prompt.variant, prompt.score.value, plan.max_invalid_rate, best)
    for trial in plan.escalation:
        if reason := reason_to_stop(state.prompt_score, state.best, context.escalation):
            state.notes.append(f"{trial.base} was not tried: {reason}")
            break
        with_larger = context.with_base_model(trial.base)
        if not state.prompt_helps(with_larger, trial):
            break
        like_best = like_the_best(trial, state.best, [*records, *state.jobs])
        path = Path(f"{paths['job']}.{trial.name}")
        own_rows = reweighted if like_best.reweighted else train
        settings = context.client, context.tune, context.task, with_larger.evaluate
        Tuner(*settings, name, own_rows, rows, path, Path(paths["events"])).run(like_best)
        state.add_job(with_larger, TuningRecord.read(path), trial)
        path.unlink()
    TuningRecord(jobs=state.jobs, notes=state.notes, spent=state.spent).write(paths["job"])
    level = context.evaluate.confidence_level
    document = EvaluationReport(
        dataset="validation", rows=len(rows), task=context.task, variants=state.reports, confidence_level=level
    )
    document.write(paths["report"])
    log.info("done: %s", state.notes[-1] if state.notes else "no larger model fits the plan")
    return {"tried": float(len(state.jobs))}


@dataclass
class EscalationState:
    """What larger models are evaluated by, what was reached so far, and what it left."""

    metric: str
    rows: Sequence[Example]
    """Validation rows."""
    train: Sequence[Example]
    prompt: ModelVariant
    prompt_score: float
    max_invalid_rate: float
    best: VariantScore | None
    jobs: list[TrialRecord] = field(default_factory=list)
    reports: list[VariantReport] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    spent: list[CostItem] = field(default_factory=list)

    def prompt_helps(self, context: StepContext, trial: Trial) -> bool:
        """Evaluate the best prompt with a larger model; whether it is worth tuning that one."""
        update = {"name": f"{self.prompt.name}-of-{trial.name}", "model": trial.base}
        label = f"{trial.base} prompted on validation"
        (report,) = self._evaluated(context, [self.prompt.model_copy(update=update)], label, "escalation")
        value = report.metrics[self.metric].value
        self.notes.append(f"{trial.base} with the best prompt scores {value:.3f} on validation")
        if value > self.prompt_score and invalid_rate(report.outcomes) <= self.max_invalid_rate:
            self.prompt_score = value
            self.reports = [kept for kept in self.reports if kept.variant.role != "baseline"] + [report]
        target = context.escalation.stop_at_score
        if value >= target:
            self.notes.append(f"{trial.base} was not tuned: its prompt reaches the target of {target:g}")
        return value < target

    def add_job(self, context: StepContext, record: TuningRecord, trial: Trial) -> None:
        """Evaluate a larger model's checkpoints, and keep the best."""
        self.jobs += record.jobs
        label = f"checkpoints of {trial.name} on validation"
        reports = self._evaluated(context, record.variants, label, "checkpoints")
        self.reports += reports
        document = EvaluationReport(dataset="validation", rows=len(self.rows), task=context.task, variants=reports)
        scores = variant_scores(document, self.metric, self.jobs, context.objective)
        self.best, _ = choose([scored for scored in [self.best, *scores] if scored])
        top = max((scored.score.value for scored in scores), default=0)
        self.notes.append(f"{trial.base} was tuned: {top:.3f} at best")

    def _evaluated(
        self, context: StepContext, variants: Sequence[ModelVariant], label: str, kind: Kind
    ) -> list[VariantReport]:
        """The reports on variants of the context's base model; what their answers, and judging them, cost is added."""
        dataset = Dataset("validation", self.rows)
        reports = context.evaluator.evaluate(dataset, self.train, variants).report.variants
        if reports:
            prices = context.prices
            self.spent.append(answers_item(kind, label, reports, prices.models[prices.base_model]))
            self.spent += judging_items(label, reports, prices)
        return reports


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
