# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Select the candidate among all checkpoints on validation rows, and name what it is compared with on test rows."""

from collections.abc import Sequence

from gemtune.artifacts.cost import CostItem, read_spent
from gemtune.artifacts.evaluation import EvaluationReport, invalid_rate
from gemtune.artifacts.tuning import (
    Ablation,
    AblationArm,
    CheckpointScore,
    Diagnosis,
    PriceList,
    Selection,
    TrialRecord,
    TrialSummary,
    TuningPlan,
    TuningRecord,
)
from gemtune.config import ModelVariant
from gemtune.cost.items import checkpoint_items, ranking_items, tuning_items, variant_items
from gemtune.errors import without_values
from gemtune.state import champion
from gemtune.steps.context import Section, StepContext, log
from gemtune.tuning.checkpoint_selection import (
    Z95,
    VariantScore,
    choose,
    compare_scores,
    difference,
    learned_nothing,
    other_prompts,
    variant_scores,
)
from gemtune.tuning.loss_diagnostics import hacked
from gemtune.tuning.objective import Objective


def run(
    tuning_plan: str,
    selection: str,
    name: str,
    tuning: Sequence[str] = (),
    evaluated: str = "",
    start: str = "",
    larger: tuple[str, str] = ("", ""),
    spent: str = "",
    **sections: Section,
) -> None:
    """Write the selection; without `tuning` records it has no candidate.

    `evaluated` is the report on the checkpoints, `start` the record of the job they started from, `larger` the record
    and the report of larger models, `spent` the report of reweighting hard examples. Reads the sections task,
    evaluate, select, vertex, preference.
    """
    context, planned = StepContext(sections), TuningPlan.read(tuning_plan)
    trials_records = [TuningRecord.read(path) for path in [*tuning, *filter(None, larger[:1])]]
    first = TuningRecord.read(start) if start else None
    records = [*([first] if first else []), *trials_records]
    reports = [EvaluationReport.read(path) for path in (evaluated, larger[1]) if path]
    metric = context.objective.metric(context.task, context.select.metric, "select.metric")
    jobs = [job for record in records for job in record.jobs]
    trials = [job for record in trials_records for job in record.jobs]
    scores = [scored for report in reports for scored in variant_scores(report, metric, jobs, context.objective)]
    candidates = [scored for scored in scores if scored.variant.role == "candidate"]
    chosen, reason = choose(candidates, context.select.one_standard_error)
    prompt, others, notes = _prompts(planned, reports[1:], metric)
    record = champion.read(context.client, name)
    serving = record.variant
    candidate = chosen.variant if chosen and not (serving and serving.model == chosen.variant.model) else None
    ablation = _ablation(candidates, trials)
    notes += [*([ablation.summary] if ablation else []), *(note for record in records for note in record.notes)]
    notes += [note for report in reports for note in report.notes]
    summaries = [_trial(job, candidates, context.objective, reports) for job in jobs]
    notes += filter(None, (difference(own) for summary in summaries for own in summary.service_scores))
    confusions = {result.variant.model: result.confusion for report in reports for result in report.variants}
    document = Selection(
        metric=metric,
        reason=reason,
        notes=notes,
        best_prompt=prompt,
        other_prompts=others,
        start=first.start if first else None,
        candidate=candidate,
        selected=chosen.variant if chosen else None,
        confusion=confusions[chosen.variant.model] if chosen else None,
        champion=serving,
        champion_generation=record.generation,
        regression_variants=[candidate, serving] if candidate and serving else [],
        continued=_is_continued(candidate, jobs),
        rejected=[v for record in records for v in record.variants if not chosen or v.model != chosen.variant.model],
        uses=sorted({job.use for job in jobs if job.use}),
        checkpoints=[
            CheckpointScore(name=own.variant.name, variant=own.variant, score=own.score, selected=own is chosen)
            for own in candidates
        ],
        trials=summaries,
        ablation=ablation,
        spent=[*read_spent(spent), *_spent(context.evaluate.judge.model, planned.prices, records, reports)],
    )
    document.write(selection)
    for note in notes:
        log.info("%s", without_values(note))
    log.info("done: %s", f"{chosen.variant.name} at {chosen.score.value:.3f}: {reason}" if chosen else reason)


def _prompts(
    planned: TuningPlan, escalated: Sequence[EvaluationReport], metric: str
) -> tuple[ModelVariant, list[ModelVariant], list[str]]:
    """The best prompt (the plan's, unless a larger model with the same prompt scores higher), those that may be as
    good, and notes on both.
    """
    assert planned.best_prompt is not None  # the plan of a run has one
    planned_best = planned.best_prompt.variant
    prompts = planned.baselines.variants if planned.baselines else []
    larger = [
        result
        for report in escalated
        for result in report.variants
        if result.variant.role == "baseline" and invalid_rate(result.outcomes) <= planned.max_invalid_rate
    ]
    planned_report = next((prompt for prompt in prompts if prompt.variant == planned_best), None)
    best = max(larger, key=lambda result: result.metrics[metric].value, default=planned_report)
    if best is None:
        return planned_best, [], []
    notes = [f"the best prompt is that of {best.variant.model}: {best.metrics[metric].value:.3f}"] if larger else []
    level = planned.baselines.confidence_level if planned.baselines else 0.95
    near = other_prompts(best, prompts, planned.metric, level)
    others = [prompt.variant for prompt in near]
    if others:
        names = ", ".join(variant.name for variant in others)
        notes.append(f"on validation rows these prompts may be as good as {best.variant.name}: {names}")
    return best.variant, others, notes


def _is_continued(candidate: ModelVariant | None, jobs: Sequence[TrialRecord]) -> bool:
    """Whether the candidate was continued from a model tuned before this run."""
    # a preference trial continues the supervised job of its run, which counts for it
    tuned_here = {job.job.model: job.trial for job in jobs if job.job.model}
    continued = {job.trial.name for job in jobs if tuned_here.get(job.trial.base, job.trial).is_continued}
    return candidate is not None and candidate.trial in continued


def _ablation(scores: Sequence[VariantScore], trials: Sequence[TrialRecord]) -> Ablation | None:
    """The trial on reweighted rows and the same trial without reweighting; None: there is no such pair."""
    twin = next((job.trial for job in trials if job.trial.ablation_of), None)
    if twin is None:
        return None
    arms = {
        arm: [s for s in scores if s.variant.trial == name]
        for arm, name in (("reweighted", twin.ablation_of), ("unweighted", twin.name))
    }
    if not all(arms.values()):
        return None
    best = {arm: max(own, key=lambda s: s.score.value) for arm, own in arms.items()}
    reweighted, unweighted = best["reweighted"], best["unweighted"]
    gain = reweighted.score.value - unweighted.score.value
    half = Z95 * reweighted.standard_error_to(unweighted)
    finding = "better" if gain > half else "worse" if gain < -half else "no significant difference"
    summary = (
        f"hard examples reweighted: {reweighted.score.value:.3f} on validation, not reweighted: "
        f"{unweighted.score.value:.3f} ({gain:+.3f}, between {gain - half:+.3f} and {gain + half:+.3f}): {finding}"
    )
    if reweighted.near_hard is not None and unweighted.near_hard is not None:
        summary += f"; on rows near the hard examples {reweighted.near_hard:.3f} and {unweighted.near_hard:.3f}"
    reports = {
        arm: AblationArm(name=s.variant.name, value=s.score.value, near_hard=s.near_hard) for arm, s in best.items()
    }
    return Ablation(**reports, gain=gain, low=gain - half, high=gain + half, summary=summary)


def _trial(
    job: TrialRecord, scores: Sequence[VariantScore], objective: Objective, reports: Sequence[EvaluationReport]
) -> TrialSummary:
    """A trial as the report shows it; checkpoints no better than chance turn a settled curve into a data problem.

    A curve that has not settled (undertrained, diverged, too short) explains by itself why nothing is learned yet.
    """
    diagnosis = job.diagnosis or Diagnosis("unknown", "the job was not diagnosed", "none")
    own = [scored for scored in scores if scored.variant.trial == job.trial.name]
    if diagnosis.kind in ("fine", "overfitting") and (evidence := learned_nothing(own)):
        action = "check the labels: they do not follow from the texts (shuffled?), or train far longer"
        if objective.is_pairwise:
            action = "check the pairs: nothing shows that their preferred answers are better, or train longer"
        log.warning("%s: %s; %s", job.trial.name, evidence, action)
        diagnosis = Diagnosis("data_problem", evidence, action)
    by_step = [(scored.variant.step, scored.score.value) for scored in own]
    error = max((scored.standard_error_to(own[0]) for scored in own[1:]), default=0.0)
    if evidence := hacked(job.curve, by_step, error):
        log.warning("%s: %s", job.trial.name, evidence)
        diagnosis = Diagnosis("reward_hacking", evidence, "gemtune reward check, and a reward without the hole")
    names = ["epoch_count", "learning_rate_multiplier", "adapter_size"]
    names += {"preference": ["beta"], "reinforcement": ["samples_per_prompt", "batch_size"]}.get(job.trial.method, [])
    return TrialSummary(
        name=job.trial.name,
        method=job.trial.method,
        hyperparameters={name: getattr(job.trial, name) for name in names},
        job=job.job.name,
        base_model=job.base_model,
        states=job.states,
        diagnosis=diagnosis,
        curve=job.curve,
        dropped=job.job.dropped,
        dropped_reasons=job.job.dropped_reasons,
        service_scores=compare_scores(job, reports),
    )


def _spent(
    judge: str, prices: PriceList, records: Sequence[TuningRecord], reports: Sequence[EvaluationReport]
) -> list[CostItem]:
    jobs = [job for record in records for job in record.jobs]
    spent = tuning_items(records)
    for report in reports[:1]:  # what larger models cost is in their record
        spent += checkpoint_items(report, jobs, prices)
        for result in report.variants:
            if result.variant.role == "baseline":
                spent += variant_items(result, "best prompt on validation, again", "best_prompt", prices)
        spent += ranking_items(report, "checkpoints", judge, prices)
    return [*spent, *(item for record in records for item in record.spent)]
