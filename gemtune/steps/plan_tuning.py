# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Before tuning: the best prompt, whether tuning is worth trying, which trials, and the cost forecast.

Source: the published advice on when prompting is enough and how to start tuning. Guarantees: what is planned stays
under `max_cost` by its upper bound, tokens of a trial beyond the plan cancel its job, and every "no" has a reason.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from gemtune import contents
from gemtune.artifacts.cost import CostForecast, CostItem, read_spent, total
from gemtune.artifacts.evaluation import EvaluationReport, VariantReport
from gemtune.artifacts.records import ChampionEntry, ChampionRecord, HardRows, LastDecision
from gemtune.artifacts.tuning import BestPrompt, TuningPlan
from gemtune.catalogue import trial_base_model
from gemtune.config import HardExamples, ModelVariant, Plan, Task, Trial, fingerprint
from gemtune.cost import data_steps
from gemtune.cost.baselines import BaselineForecast, BaselineUsage, baseline_variants
from gemtune.cost.forecast import Forecast, Forecaster
from gemtune.cost.items import judging_items, ranking_items, replies_by_model, search_item
from gemtune.cost.method_comparison import compare_methods
from gemtune.cost.tokens import MARGIN, TokenCounter, TokenEstimates
from gemtune.data.example import Example, read_examples
from gemtune.data.sources import stored_examples
from gemtune.errors import UserError, without_values
from gemtune.evaluation.intervals import smallest_detectable_lift
from gemtune.evaluation.scorers import describe_unusable
from gemtune.inference import prompts
from gemtune.inference.prompt_search import constraint_problem
from gemtune.state import champion, store
from gemtune.steps.context import Section, StepContext, log
from gemtune.tuning.checkpoint_selection import MAX_PROMPTS, other_prompts
from gemtune.tuning.hard_examples import record_name
from gemtune.tuning.rewards import equivalent_values, require_steps
from gemtune.tuning.submission import upload_rows
from gemtune.tuning.trials import (
    SET_BY_PLAN,
    named,
    reasons_for_a_fresh_start,
    require_tunable,
    started_from,
    supervised_start,
    with_continued,
)
from gemtune.vertex.assessment import assess


@dataclass(frozen=True)
class PlanRequest:
    """What a plan decides on: the settings, the task with its labels, the rows of train, validation and test.

    `online` is off in a dry run: then no record is read, and tokens are counted offline where the context is.
    """

    context: StepContext
    task: Task
    name: str
    splits: Sequence[Sequence[Example]]
    online: bool = True

    @property
    def counter(self) -> TokenCounter:
        """Counts tokens by the service, or offline."""
        return self.context.token_counter(self.task)

    @cached_property
    def baselines(self) -> BaselineForecast:
        """Forecasts the prompts' cost."""
        return BaselineForecast(self.counter, self.context.catalogue, self.splits)

    @cached_property
    def champion(self) -> ChampionRecord:
        """The record of what is in production under the name; an empty one in a dry run."""
        return champion.read(self.context.client, self.name) if self.online else ChampionRecord()


def run(
    splits: Sequence[str], evaluated: str, tuning_plan: str, name: str, spent: str = "", **sections: Section
) -> dict[str, Any]:
    """Write the plan; returns `should_tune`, `trials` and `first_trial` ({}: none).

    `evaluated` is the report on the baselines, `spent` the report of a data step before (what it has spent). Reads the
    sections task, evaluate, plan, gate, vertex, hard_examples, escalation, preference. Raises `UserError` for a model,
    region or adapter size that cannot be tuned, before anything is spent on it.
    """
    request = _request(StepContext(sections), name, splits)
    context, report = request.context, EvaluationReport.read(evaluated)
    metric = context.objective.metric(request.task)
    best = best_prompt(report, metric, context.gate.max_invalid_rate)
    usages = [BaselineUsage.of_report(result, report.rows) for result in report.variants]
    actual = _paid(context, report, spent)
    near = other_prompts(best, report.variants, metric, report.confidence_level)
    others = [BaselineUsage.of_report(prompt, report.rows) for prompt in near]
    baseline, replies = BaselineUsage.of_report(best, report.rows), replies_by_model(report)
    plan = make_plan(request, usages, baseline, best, actual, replies, _on_test(request, others))
    allowed = context.gate.max_invalid_rate
    more = {"baselines": report, "unusable": unusable(report, allowed), "max_invalid_rate": allowed}
    plan = plan.model_copy(update={**more, "warnings": [*report.notes, *plan.warnings]})
    plan = _assessed(plan, request)
    plan.write(tuning_plan)
    _log(plan, best)
    return {
        "should_tune": plan.should_tune,
        "trials": [trial.model_dump(mode="json") for trial in plan.trials],
        "first_trial": plan.first_trial.model_dump(mode="json") if plan.first_trial else {},
    }


def dry_run(
    splits: Sequence[str], sections: Mapping[str, Section], name: str, offline: bool, rows: Sequence[Example] = ()
) -> TuningPlan:
    """The plan before any prompt was evaluated: what a run would cost, and reasons against tuning.

    Nothing is spent; tokens are counted by the service, or offline. `rows` are the labelled rows that pairs would be
    sampled for. Whether a prompt is good enough, only an evaluation can show. Raises `UserError` when the champion of
    the name has another task; not offline.
    """
    request = _request(StepContext(sections, offline), name, splits, online=not offline)
    context, actual = request.context, list[CostItem]()
    if not offline:
        champion.require_same_task(context.client, name, request.task)
    if context.augment.min_rows_per_label and request.task.is_labelled:
        model, catalogue = context.evaluate.base_model, context.catalogue
        cost = data_steps.AugmentationCost.of(model, context.augment, context.plan, catalogue)
        item, train = data_steps.augmentation_forecast(request.splits[0], cost)
        request, actual = replace(request, splits=[train, *request.splits[1:]]), [item]
    if rows and (ranking := context.objective.ranking):
        actual += data_steps.sampling_forecast(rows, request.counter, ranking, context.catalogue)
    variants, notes = request.baselines.fitting(baseline_variants(context.evaluate))
    usages, searches = request.baselines.usages(variants)
    dearest = max(usages, key=lambda baseline: baseline.tokens.input.upper)
    others = _on_test(request, [baseline for baseline in usages if baseline is not dearest])
    others = [item.if_needed() for item in sorted(others, key=lambda item: -item.cost.upper)[: MAX_PROMPTS - 1]]
    plan = make_plan(request, usages, dearest, None, [*actual, *searches], {}, others, sampled=bool(rows))
    problem = constraint_problem(request.task, context.evaluate, context.catalogue)
    plan = _assessed(plan, request)
    models = dict.fromkeys(trial_base_model(t, context.evaluate.base_model) for t in (*plan.trials, *plan.escalation))
    prices = [note for model in models for note in context.catalogue.price_notes(model)]
    return plan.model_copy(update={"warnings": [*notes, *filter(None, [problem]), *plan.warnings, *prices]})


def _assessed(plan: TuningPlan, request: PlanRequest) -> TuningPlan:
    """The plan with the service's assessments of its rows, where they are configured; raises `UserError` for errors."""
    context, dataset = request.context, request.context.plan.assessment_dataset
    jobs = [trial for planned in plan.trials for trial in (supervised_start(planned), planned)]
    supervised = [job for job in (plan.first_trial, *jobs) if job and job.method == "supervised"]
    if not (dataset and request.online and plan.should_tune):
        return plan
    if not supervised:
        note = "plan.assessment_dataset: the service assesses the rows of supervised jobs only"
        return plan.model_copy(update={"warnings": [*plan.warnings, note]})
    model = trial_base_model(supervised[0], context.evaluate.base_model)
    own, warnings = [], list(plan.warnings)
    for split, rows in zip(("train", "validation"), request.splits, strict=False):
        lines = prompts.tuning_rows(request.task, rows, "supervised")
        if not lines:
            continue
        uri = upload_rows(context.client, [row for _, row in lines])
        result = assess(context.client, uri, model, split, dataset)
        if result.errors:
            raise UserError(
                f"the service's assessment of the {split} rows: {'; '.join(result.errors[:3])}",
                remedy=f"correct the rows ({len(result.errors)} errors); nothing was tuned",
            )
        if split == "train":
            planned = round(request.counter.training_rows(lines)[0].expected)
            result = result.model_copy(update={"planned_tokens": planned})
        own.append(result)
        log.info("%s", result.summary)
        if abs(result.difference) > MARGIN:
            warnings.append(f"{result.summary}: costs of tuning may differ by as much")
    return plan.model_copy(update={"assessments": own, "warnings": warnings})


def _on_test(request: PlanRequest, prompts_: Sequence[BaselineUsage]) -> list[CostItem]:
    return [request.baselines.prompt_on_test(prompt, f"{prompt.variant.name} on test") for prompt in prompts_]


def _request(context: StepContext, name: str, paths: Sequence[str], online: bool = True) -> PlanRequest:
    splits = [list(read_examples(path)) for path in paths]
    return PlanRequest(context, prompts.resolve(context.task, splits[0]), name, splits, online)


def _paid(context: StepContext, report: EvaluationReport, spent: str) -> list[CostItem]:
    """What was spent before: data steps, prompt searches, judging the baselines' answers, ranking them."""
    prices = context.prices
    actual = [*search_item(report, prices.models[prices.base_model]), *read_spent(spent)]
    for result in report.variants:
        actual += judging_items(f"{result.variant.name} on validation", [result], prices, result.variant.name)
    return [*actual, *ranking_items(report, "prompts", context.evaluate.judge.model, prices)]


def best_prompt(report: EvaluationReport, metric: str, max_invalid_rate: float) -> VariantReport:
    """The usable prompt with the highest score, of equals the one with fewer tokens; any prompt if none is usable."""
    if not report.variants:
        raise UserError("no prompted baseline was evaluated", remedy="list one in evaluate.baselines")
    usable = [result for result in report.variants if result.invalid_rate <= max_invalid_rate]
    return max(usable or report.variants, key=lambda result: (result.metrics[metric].value, -result.tokens.total))


def unusable(report: EvaluationReport, max_invalid_rate: float) -> list[str]:
    """A sentence for each prompt with too many unusable answers: how many, their commonest forms, the remedy."""
    return [
        f"the prompt {result.variant.name} is not usable, and being better than it does not count: {problem}"
        for result in report.variants
        if (problem := describe_unusable(result.outcomes, result.unusable_forms, max_invalid_rate))
    ]


def make_plan(
    request: PlanRequest,
    usages: Sequence[BaselineUsage],
    baseline: BaselineUsage,
    best: VariantReport | None,
    spent: Sequence[CostItem],
    replies: Mapping[str, float],
    others_on_test: Sequence[CostItem] = (),
    sampled: bool = False,
) -> TuningPlan:
    """The plan: trials, forecast and reasons against; without `best` no score counts.

    `baseline` is the best prompt, `others_on_test` are the test answers of those that may be as good, `replies` are
    mean tokens of a judge's reply by model, as far as they were counted; `sampled`: the worse answers of pairs are
    still to be sampled, and may be long.
    """
    context, settings, plan = request.context, request.context.evaluate, request.context.plan
    objective, catalogue = context.objective, context.catalogue
    metric = objective.metric(request.task)
    score = best.metrics[metric] if best else None
    tokens = _tokens(request, replies, 1 - score.value if score and not objective.is_pairwise else 0.5, sampled)
    serving, lifts = request.champion.variant, detectable_lifts(request, score.value if score else 0.5)
    trials = _trials(request, tokens)
    escalation = _escalation(request, trials, tokens)
    first = objective.first_trial(trials)
    notes: list[str] = []
    if plan.start_from_champion and serving and serving.is_tuned:
        against = _reasons_for_a_fresh_start(request)
        notes = [f"trials start from the base model: {'; '.join(against)}"] if against else []
        if first and not against:  # one job comes before all preference trials
            first, trials = started_from(serving, [first])[0], started_from(serving, trials)
        elif not against:
            trials = with_continued(serving, trials)
    first = _bounded(first, tokens) if first else None
    digest = _fingerprint(request, [*([first] if first else []), *trials])
    trials = [trial.model_copy(update={"plan": digest}) for trial in trials]
    first = first.model_copy(update={"plan": digest}) if first else None
    hard_examples = context.hard_examples
    probe = bool(hard_examples.target_share) and not _is_known(request, baseline.variant)
    forecaster = Forecaster(
        catalogue,
        settings,
        plan,
        tokens,
        baselines=usages,
        best=baseline,
        on_test=request.baselines.on_test(baseline.variant),
        spent=spent,
        on_train=request.baselines.on_train(baseline.variant) if probe else None,
        champion_rows=_other_test_rows(request) if serving else 0,
        champion=serving,
        first=first,
        is_pairwise=objective.is_pairwise,
        location=context.client.location,
        rates_texts=request.task.is_free_text,
        other_prompts=others_on_test,
    )
    forecast = forecaster.forecast(trials, escalation)
    reasons = reasons_against(request, best, metric, tokens.train)
    over_budget = [] if reasons else forecast.over_budget  # what is not wanted anyway is not too expensive
    if not reasons and not forecast.trials:
        least = min(total(forecast.per_trial[trial.name]).upper for trial in trials)
        least += total([*forecast.spent, *forecast.fixed]).upper
        reasons.append(f"the cheapest trial may cost {least:.2f} USD in all, more than max_cost {plan.max_cost:.2f}")
    forecast = forecaster.with_follow_ups(forecast)
    if best and reasons:
        finals = request.baselines.finals([baseline], serving, tokens.judging)
        forecast = replace(forecast, keep_prompt=[*forecast.spent, *finals])
    return TuningPlan(
        should_tune=not reasons,
        reasons=reasons,
        metric=metric,
        best_prompt=BestPrompt(variant=best.variant, score=best.metrics[metric]) if best else None,
        detectable_lift=lifts[objective.is_pairwise],
        rows={"train": tokens.train, "validation": tokens.validation, "test": tokens.test},
        first_trial=None if reasons else first,
        trials=[] if reasons else _ordered(forecast, plan),
        escalation=[] if reasons else list(forecast.escalation),
        over_budget=over_budget,
        prices=forecast.prices,
        warnings=[*notes, *forecast.warnings, *(n for trial in trials for n in equivalent_values(trial, request.task))],
        methods=compare_methods(request.task, settings, catalogue, request.splits[0], tokens, lifts),
        forecast=CostForecast.of(forecast.items, plan.max_cost),
        fingerprint=digest,
    )


def _reasons_for_a_fresh_start(request: PlanRequest) -> list[str]:
    """Why the champion is not continued; empty where it may be."""
    current, context = request.champion.current, request.context
    assert current is not None  # it serves
    last = store.read(context.client, LastDecision, request.name)
    reasons = reasons_for_a_fresh_start(
        current, _new_share(request, current), context.evaluate.base_model, request.task, context.plan.fresh_start_share
    )
    if last and last.forgot:
        reasons.append("the last continuation was shown to be worse on the champion's test set")
    return reasons


def _new_share(request: PlanRequest, current: ChampionEntry) -> float:
    """The share of training rows that the champion was not trained on, by the sample that was kept; 0: none was."""
    if not (reference := current.reference):
        return 0.0
    own = {row.id for row in request.splits[0]}
    kept = [row.id in own for row in stored_examples(request.context.client, reference.train)]
    return 1 - min(1.0, reference.train_rows * sum(kept) / max(1, len(kept)) / max(1, len(own)))


def _other_test_rows(request: PlanRequest) -> int:
    """Rows of the champion's test set that are neither test nor training rows today."""
    own = {row.id for split in (request.splits[0], request.splits[2]) for row in split}
    return sum(row.id not in own for row in stored_examples(request.context.client, request.champion.test_uri))


def _ordered(forecast: Forecast, plan: Plan) -> list[Trial]:
    """The trials with what their follow-ups may bill, the longest first: it ends last, and its losses come early."""
    trials = sorted(forecast.trials, key=lambda trial: -trial.forecast_tokens)
    left = forecast.follow_up_tokens
    return [
        trial.model_copy(update={"follow_up_tokens": left[trial.name], "follow_ups": plan.follow_ups})
        if left.get(trial.name)
        else trial
        for trial in trials
    ]


def _is_known(request: PlanRequest, prompt: ModelVariant) -> bool:
    """Whether an earlier run recorded which training rows this prompt misses."""
    name = record_name(request.splits[0], prompt, request.context.hard_examples)
    return request.online and bool(store.read(request.context.client, HardRows, name))


def _fingerprint(request: PlanRequest, trials: Sequence[Trial]) -> str:
    hard_examples = request.context.hard_examples
    plain = {*SET_BY_PLAN, "name"}
    hyperparameters = [
        trial.model_dump(mode="json", exclude=plain | (set() if trial.reweighted else {"reweighted"}))
        for trial in trials
    ]
    others = [hard_examples] if hard_examples.target_share else []
    base = request.context.evaluate.base_model
    content = [
        sorted([example.id, *((pair.chosen, pair.rejected) for pair in example.pairs)] for example in split)
        for split in request.splits[:2]
    ]
    return fingerprint(*content, base, hyperparameters, *others)


# -- whether ---------------------------------------------------------------------------------------------------------


def reasons_against(request: PlanRequest, best: VariantReport | None, metric: str, train_rows: int) -> list[str]:
    """Reasons against tuning; empty when there are none."""
    plan, objective, test = request.context.plan, request.context.objective, len(request.splits[2])
    unit, held_out = ("pairs", "prompts") if objective.is_pairwise else ("rows", "rows")
    reasons = []
    if best and best.invalid_rate > request.context.gate.max_invalid_rate:
        reasons.append("no prompt is usable, so nothing can be compared with a tuned model: correct the prompts first")
    if train_rows < plan.min_train_rows:
        reasons.append(f"{train_rows} training {unit}, fewer than {plan.min_train_rows}: too few to tune on")
    if best and not objective.is_pairwise and best.metrics[metric].low >= plan.skip_if_baseline_reaches:
        name, low = best.variant.name, best.metrics[metric].low
        target = plan.skip_if_baseline_reaches
        reasons.append(f"the prompt {name} is good enough: its {metric} is at least {low:.3f}, the target is {target}")
    lift = detectable_lifts(request, best.metrics[metric].value if best else 0.5)[objective.is_pairwise]
    if 0 < plan.required_lift < lift:
        reasons.append(
            f"with {test} test {held_out}, a lift of {lift:.3f} or more can be detected, not the required "
            f"{plan.required_lift:.3f}: label more test rows first"
        )
    return reasons


def detectable_lifts(request: PlanRequest, score: float) -> tuple[float, float]:
    """The smallest true lifts of the metric and of a win rate that are detected with 80 % power on the test rows.

    For win rates every row may change: the error rate is 1, when no two answers tie.
    """
    rows = max(1, len(request.splits[2]))
    return smallest_detectable_lift(rows, max(0.05, 1 - score)), smallest_detectable_lift(rows, 1.0)


# -- which trials ----------------------------------------------------------------------------------------------------


def _tokens(request: PlanRequest, replies: Mapping[str, float], error_rate: float, sampled: bool) -> TokenEstimates:
    context, counter = request.context, request.counter
    objective = context.objective
    everything = [row for split in request.splits for row in split]
    judging = counter.judging(context.catalogue, everything, replies, pairwise_only=objective.judge_ranks)
    tokens = counter.all_rows(objective, request.splits, judging, context.hard_examples, error_rate)
    if sampled and objective.ranking:
        return data_steps.with_unknown_answers(tokens, context.evaluate, objective.ranking)
    return tokens


def _trials(request: PlanRequest, tokens: TokenEstimates) -> list[Trial]:
    """The trials of the settings or of a preset, each checked against the catalogue, named and bounded."""
    context, plan, train = request.context, request.context.plan, request.splits[0]
    trials, base_model = list(plan.trials), context.evaluate.base_model
    if plan.preset == "grid":
        trials = list(context.catalogue.grid)
    elif plan.preset == "recommended":
        mean = tokens.prompt.expected + tokens.answer.expected
        trials = [context.catalogue.starting_trial(base_model, modality(train), len(train), mean)]
    trials = context.objective.prepared(named(trials, plan.merge_epoch_variants))
    first = context.objective.first_trial(trials)
    starts = [supervised_start(trial) for trial in trials]
    _require(request, [*filter(None, [first, *starts]), *trials])
    for trial in trials:
        require_steps(trial, len(train))
    return [_bounded(trial, tokens) for trial in _ablation_arms(context.hard_examples, trials)]


def _require(request: PlanRequest, trials: Sequence[Trial]) -> None:
    client, base_model = request.context.client, request.context.evaluate.base_model
    require_tunable(client.catalogue, client.location, client.settings.encryption_key, base_model, trials)


def _ablation_arms(hard_examples: HardExamples, trials: Sequence[Trial]) -> list[Trial]:
    """The trials on reweighted rows, and for the ablation the first one without reweighting too."""
    if not hard_examples.target_share:
        return list(trials)
    first = trials[0]
    twin = first.model_copy(update={"name": f"{first.name}-unweighted", "ablation_of": first.name})
    return [*(t.model_copy(update={"reweighted": True}) for t in trials), *([twin] if hard_examples.ablation else [])]


def _escalation(request: PlanRequest, trials: Sequence[Trial], tokens: TokenEstimates) -> list[Trial]:
    """For each larger model a trial as long as the longest; its hyperparameters will be those of the best trial."""
    bounded = []
    for model in request.context.escalation.models:
        longest = {
            "epoch_count": max(t.epoch_count for t in trials),
            "reweighted": any(t.reweighted for t in trials),
        }
        trial = trials[0].model_copy(update={"name": model, "base": model, "checkpoint_id": "", **longest})
        sizes = {t.adapter_size for t in trials}
        _require(request, [trial.model_copy(update={"adapter_size": size}) for size in sizes])
        bounded.append(_bounded(trial, tokens))
    return bounded


def _bounded(trial: Trial, tokens: TokenEstimates) -> Trial:
    """A trial with the tokens it is expected to bill, and may bill at most."""
    billed = tokens.training_of(trial).times(trial.epoch_count)
    bounds = {"forecast_tokens": round(billed.expected), "max_billable_tokens": int(billed.upper) + 1}
    if start := supervised_start(trial):
        bounds["supervised_max_tokens"] = _bounded(start, tokens).max_billable_tokens
    return trial.model_copy(update=bounds)


def modality(examples: Sequence[Example]) -> str:
    """The heaviest modality that a row has: audio, image (video and documents too), else text."""
    kinds = {
        str(file.get("mimeType", "")).partition("/")[0]
        for example in examples
        for file in contents.files_of(example.contents or ())
    }
    return "audio" if "audio" in kinds else "image" if kinds else "text"


def _log(plan: TuningPlan, best: VariantReport) -> None:
    """The forecast, item by item, and the step's last line."""
    for warning in [*plan.unusable, *plan.warnings, *plan.over_budget]:
        log.warning("%s", without_values(warning))
    for item in plan.forecast.items:
        log.info("forecast: %-45s %12.0f tokens %10.4f USD", item.label, item.tokens.expected, item.cost.expected)
    name, score = best.variant.name, best.metrics[plan.metric].value
    if plan.reasons:
        log.info("done: %s", f"keep {name}: {without_values(plan.reasons[0])}")
        return
    jobs = f"{len(plan.trials)} trial{'' if len(plan.trials) == 1 else 's'} planned"
    jobs += " after a supervised job" if plan.first_trial else ""
    cost = total(plan.forecast.items)
    money = f"expected ${cost.expected:.2f}, at most ${cost.upper:.2f}{plan.forecast.unpriced}"
    log.info("done: %s", f"{jobs}: {money}. Baseline: {name} {score:.3f}")
