# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The whole run on one page (HTML), its verdict in a few lines (Markdown), and all of it for machines (JSON).

Reads the steps' documents and computes nothing that decides: a number here is a number from a step. Texts and answers
are data: the template escapes them, and shows control characters as symbols. The page is one file that requests
nothing, so that it can be mailed and archived; its script only filters rows.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, Self

from gemtune import __version__
from gemtune.artifacts.base import open_atomic
from gemtune.artifacts.cost import BudgetReport, CostItem, total
from gemtune.artifacts.data import DataReport, SplitReport
from gemtune.artifacts.decision import (
    CostSummary,
    DecisionRecord,
    DeploymentRecord,
    RunIdentity,
    RunSummary,
    VariantSummary,
    Verdict,
)
from gemtune.artifacts.evaluation import EvaluationReport, VariantReport, VariantResult
from gemtune.artifacts.manifest import Manifest, key_id, public_key, versions
from gemtune.artifacts.records import LastDecision
from gemtune.artifacts.tuning import Selection, TuningPlan
from gemtune.config import ModelVariant, Task
from gemtune.cost.items import ranking_items, variant_items
from gemtune.data.example import Example, read_examples
from gemtune.evaluation.predictions import read_predictions
from gemtune.inference import few_shot, prompts
from gemtune.inference.prompts import response_schema
from gemtune.state import champion, store
from gemtune.steps import report_page, templates
from gemtune.steps.context import Section, StepContext, log
from gemtune.vertex import schema_mime_type

HEADLINES = {
    "deploy": "Deploy the tuned model",
    "keep_prompt": "Keep the prompt",
    "keep_champion": "Keep the champion",
    "use_tfidf_baseline": "Use the TF-IDF baseline",
    "none_usable": "No variant may serve",
    "not_enough_data": "Not enough data to decide",
}
_ONLINE = {"batch_input": 0, "batch_output": 0}  # in production no call waits for a batch job


@dataclass(frozen=True)
class Documents:
    """What the steps wrote, read."""

    data: DataReport
    split: SplitReport
    plan: TuningPlan
    selection: Selection
    tested: EvaluationReport
    decision: DecisionRecord
    deployment: DeploymentRecord
    train: list[Example]
    test: list[Example]

    @classmethod
    def read(cls, paths: Mapping[str, str], outcome: Mapping[str, Any]) -> Self:
        """All documents; raises `UserError` for a file that no step wrote."""
        return cls(
            data=DataReport.read(paths["data"]),
            split=SplitReport.read(paths["split"]),
            plan=TuningPlan.read(paths["plan"]),
            selection=Selection.read(paths["selection"]),
            tested=EvaluationReport.read(paths["tested"]),
            decision=DecisionRecord.read(paths["decision"]),
            deployment=DeploymentRecord.model_validate(dict(outcome)),
            train=list(read_examples(paths["train"])),
            test=list(read_examples(paths["test"])),
        )


def run(
    paths: Mapping[str, str],
    outcome: Mapping[str, Any],
    name: str,
    job: tuple[str, str],
    outputs: Mapping[str, str],
    **sections: Section,
) -> None:
    """Write the outputs: `page` (HTML), `verdict` (Markdown), `summary` (JSON) and the `manifest` of all that is read.

    `paths` are those of the `Documents`, of the predictions, the rows and the budget check, `outcome` is the deployment
    record, as the step before returned it, `job` is the pipeline job's name and its start. Records what was decided on,
    unless the verdict leaves something to repeat. Reads the sections reporting, vertex; keeps all others.
    """
    documents, context = Documents.read(paths, outcome), StepContext(sections)
    client, settings = context.client, context.settings
    covered = Manifest.of(
        outputs["manifest"],
        paths,
        settings,
        name=name,
        job=job[0],
        verdict=documents.decision.verdict,
        data=documents.data.data,
        rows_fingerprint=documents.split.leakage_report.splits,
    )
    identity = RunIdentity(
        **_identity(context, job, covered),
        version=__version__,
        base_model=documents.plan.prices.base_model,
        data=covered.data,
        rows_fingerprint=covered.rows_fingerprint,
        emulated=client.token() is not None,
    )
    content = summarize(documents, name, identity, settings)
    _write(content, outputs, context, covered, lambda: _details(content, documents, paths))
    if documents.decision.verdict in ("deploy", "keep_prompt"):
        champion.record_manifest(client, name, documents.deployment.variant, covered.digest)
    if content.verdict == "not_enough_data" or documents.decision.failed_rows:
        return
    deployed = documents.deployment
    serving = deployed.variant.model if deployed.action == "deployed" else deployed.champion_before
    digest = BudgetReport.read(paths["budget"]).fingerprint
    on_old_rows = documents.decision.regression
    forgot = bool(documents.selection.continued and on_old_rows and on_old_rows.high < 0)
    decided = LastDecision(fingerprint=digest, model=serving, summary=content.model_dump(mode="json"), forgot=forgot)
    store.update(client, LastDecision, name, lambda _: decided)


def run_unchanged(budget: str, job: tuple[str, str], outputs: Mapping[str, str], **sections: Section) -> None:
    """Write the same of a run that found nothing new: the last run's summary, with its verdict as it stands now."""
    context, checked = StepContext(sections), BudgetReport.read(budget)
    last = RunSummary.model_validate(checked.last_summary)
    kept: Verdict = "keep_champion" if last.verdict == "deploy" else last.verdict
    unchanged = f"unchanged: rows, settings and champion are those of the last decision ({last.headline})"
    spent, before = checked.forecast, last.identity
    summary = "cost: no request was sent"
    cost = CostSummary(actual=spent.cost.expected, forecast=0, items=spent.items, summary=summary)
    covered = Manifest.of(
        outputs["manifest"],
        {"budget": budget},
        last.configuration,
        name=last.name,
        job=job[0],
        verdict=kept,
        data=before.data,
        rows_fingerprint=before.rows_fingerprint,
    )
    identity = before.model_copy(update=_identity(context, job, covered))
    update = {"verdict": kept, "passed": False, "headline": HEADLINES[kept], "cost": cost, "identity": identity}
    reasons = [f"{unchanged}; nothing was evaluated", *last.reasons]
    _write(last.model_copy(update={**update, "reasons": reasons}), outputs, context, covered)


def _identity(context: StepContext, job: tuple[str, str], covered: Manifest) -> dict[str, str]:
    """Of this run itself. Its start is empty where the backend left its placeholder."""
    return {
        "job": job[0],
        "started": "" if "{" in job[1] else job[1],
        "decided": _now(),
        "digest": covered.digest,
        "key": key_id(public_key(context.signing_key)) if context.signing_key else "",
    }


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _details(summary: RunSummary, documents: Documents, paths: Mapping[str, str]) -> report_page.Details:
    predictions = read_predictions(paths["predictions"], "test")
    assert documents.plan.baselines is not None  # the plan of a run has them
    return report_page.Details(
        changes=report_page.changes(report_page.compared(summary), summary.metric, predictions, documents.test),
        dropped=report_page.dropped_samples(paths["dropped"]),
        requests={
            report.variant.name: example_request(documents.tested.task, report.variant, documents.train)
            for report in documents.plan.baselines.variants
        },
    )


def _write(
    content: RunSummary,
    outputs: Mapping[str, str],
    context: StepContext,
    covered: Manifest,
    details: Callable[[], report_page.Details] | None = None,
) -> None:
    content.write(outputs["summary"])
    with open_atomic(outputs["verdict"]) as out:
        out.write(markdown(content, context.reporting.language))
    with open_atomic(outputs["page"]) as out:
        out.write(_page_or_verdict(content, context.reporting.language, details))
    rendered = [path for name, path in outputs.items() if name != "manifest"]
    covered.finished(outputs["manifest"], rendered, context.signing_key).write(outputs["manifest"])
    log.info("done: %s", content.headline)


def _page_or_verdict(summary: RunSummary, language: str, details: Callable[[], report_page.Details] | None) -> str:
    """The page; the verdict and the error where it cannot be rendered: tuning is paid, a page must not lose it."""
    from markupsafe import escape

    try:
        return report_page.render(summary, _in_focus(summary), details() if details else None, language)
    except Exception as error:
        log.exception("the page shows the verdict alone; the summary is complete")
        problem = f"The full page could not be rendered: {type(error).__name__}: {error}"
        shown = escape(f"{markdown(summary, language)}\n{problem}")
        return f'<!doctype html><meta charset="utf-8"><pre>{shown}</pre>\n'


def summarize(documents: Documents, name: str, identity: RunIdentity, settings: Mapping[str, Section]) -> RunSummary:
    """Everything of a run for machines, from the steps' documents."""
    decision, plan, selection, tested = documents.decision, documents.plan, documents.selection, documents.tested
    metric, prices = decision.metric, plan.prices
    finalists = [_summary(result, metric, tested.rows, prices.of(result.variant)) for result in tested.variants]
    baselines = plan.baselines
    assert baselines is not None  # the plan of a run has them
    items = actual_items(documents)
    actual = total(items).expected
    serving = documents.deployment.variant
    task = tested.task
    # prompts that did not count are a reason where none is left, and where nothing is deployed
    is_left = len(plan.unusable) < len(baselines.variants)
    before = [*([] if is_left else plan.unusable), *([] if plan.should_tune else plan.reasons)]
    aside = [*(plan.unusable if is_left else []), *(before if decision.passed else [])]
    return RunSummary(
        name=name,
        identity=identity,
        verdict=decision.verdict,
        passed=decision.passed,
        headline=HEADLINES[decision.verdict],
        reasons=[*([] if decision.passed else before), *decision.reasons],
        notes=[*decision.notes, *aside],
        metric=metric,
        confidence_level=documents.tested.confidence_level,
        test_rows=tested.rows,
        test_set_usage=decision.test_set_usage,
        detectable_lift=plan.detectable_lift,
        variants=finalists,
        free_baselines=[
            _summary(result, metric, tested.rows, {}) for result in tested.free_baselines if metric in result.metrics
        ],
        baselines=[
            _summary(result, metric, baselines.rows, prices.of(result.variant)) for result in baselines.variants
        ],
        judge=tested.judge,
        comparisons=decision.comparisons,
        free_comparisons=decision.free_comparisons,
        rules=decision.rules,
        pairwise=tested.pairwise,
        injection=tested.injection,
        slices=slice_tables(tested.variants, metric),
        trials=selection.trials,
        checkpoints=selection.checkpoints,
        selection="; ".join([selection.reason, *selection.notes]),
        plan=plan.model_dump(mode="json", exclude={"baselines"}),
        cost=CostSummary(
            actual=actual,
            forecast=plan.forecast.cost.expected,
            items=items,
            summary=f"cost: {actual:.2f} USD at list prices; {plan.forecast.summary}",
        ),
        data=documents.data.model_dump(mode="json", exclude={"schema_version"}),
        splits=documents.split.model_dump(mode="json"),
        configuration=dict(settings),
        versions=versions(),
        outcome={
            **documents.deployment.model_dump(mode="json"),
            "model": serving.model,
            "example_request": example_request(task, serving, documents.train),
            "recipe": recipe(task, serving, tested.generation, documents.deployment.cleaning, documents.train),
        },
    )


def actual_items(documents: Documents) -> list[CostItem]:
    """What the run cost, as the service counted it: prompts, tuning and checkpoints, test answers (US dollars)."""
    plan, tested = documents.plan, documents.tested
    prices = plan.prices
    actual = [item for item in plan.forecast.items if item.stage == "actual"]
    items = [*actual, *documents.selection.spent]
    for result in tested.variants:
        items += variant_items(result, f"{result.variant.name} on test", "finalists", prices)
    for probed in tested.injection:
        own = prices.of(next(result.variant for result in tested.variants if result.variant.name == probed.variant))
        label = f"injection probe of {probed.variant}"
        items.append(CostItem.actual("finalists", label, probed.tokens.total, probed.tokens.cost(own)))
    judge = tested.judge.model if tested.judge else ""
    items += ranking_items(tested, "the finalists", judge, prices)
    if smoke := documents.deployment.smoke_test:
        variant = documents.deployment.variant
        cost = smoke.tokens.cost(prices.of(variant))
        items.append(CostItem.actual("finalists", f"smoke test of {variant.name}", smoke.tokens.total, cost))
    if tested.champion_test_set:
        for result in tested.champion_test_set.variants:
            label = f"{result.variant.name} on the champion's test set"
            items += variant_items(result, label, "champion_test_set", prices)
        items += ranking_items(tested.champion_test_set, "the champion's test set", judge, prices)
    return items


def _summary(report: VariantReport, metric: str, rows: int, prices: Mapping[str, float]) -> VariantSummary:
    return VariantSummary(
        **{name: getattr(report, name) for name in VariantResult.model_fields},
        name=report.variant.name,
        role=report.variant.role,
        model=report.variant.model,
        constrained_output=report.variant.prompt.constrained_output,
        rows=rows,
        score=report.metrics[metric],
        invalid_rate=report.invalid_rate,
        tokens_per_row=report.tokens.total / max(rows, 1),
        latency_s=report.latency_s.median,
        cost=report.tokens.cost(prices),
        cost_per_1000=1000 * report.tokens.model_copy(update=_ONLINE).cost(prices) / max(rows, 1),
    )


def slice_tables(reports: Sequence[VariantReport], metric: str) -> dict[str, dict[str, Any]]:
    """Column -> value -> rows and each variant's score."""
    tables: dict[str, dict[str, Any]] = {}
    for report in reports:
        for column, values in report.slices.items():
            for value, cell in values.items():
                if metric in cell.metrics:
                    into = tables.setdefault(column, {}).setdefault(value, {"rows": cell.rows, "scores": {}})
                    into["scores"][report.variant.name] = cell.metrics[metric].model_dump()
    return tables


def example_request(task: Task, variant: ModelVariant, train: Sequence[Example]) -> dict[str, Any]:
    """The body of a request to a variant for a training row, in the form in which the evaluation sent test rows."""
    row = train[0]
    (shown,) = few_shot.select_shots(variant.prompt, train, [row])
    rendered = prompts.render(task, variant.prompt, row, shown)
    system = {"systemInstruction": {"parts": [{"text": rendered.system}]}} if rendered.system else {}
    schema = response_schema(task, variant.prompt)
    shape = {"responseMimeType": schema_mime_type(schema), "responseSchema": schema} if schema else {}
    generation = {**rendered.fields.get("generationConfig", {}), "temperature": 0, **shape}
    return {**rendered.fields, **system, "contents": rendered.contents, "generationConfig": generation}


def recipe(
    task: Task,
    variant: ModelVariant,
    generation: Mapping[str, Any],
    cleaning: Mapping[str, Any],
    train: Sequence[Example],
) -> dict[str, Any]:
    """What `predictor.Predictor` needs; training rows are included only where the prompt shows some of them."""
    names = ("id", "text", "target", "system", "contents", "answer", "request")
    shown = [{name: getattr(row, name) for name in names} for row in train] if variant.prompt.shots else []
    return {
        "task": task.model_dump(exclude_none=True),
        "variant": variant.model_dump(),
        "generation": dict(generation),
        "cleaning": dict(cleaning),
        "train": [{name: value for name, value in row.items() if value} for row in shown],
        "takes_requests": bool(train) and all(row.contents is not None for row in train),
    }


def markdown(summary: RunSummary, language: str = "en") -> str:
    """The verdict in a few lines, for the console's artifact view."""
    t = partial(templates.text, language=language)
    rows = [
        f"| {templates.markdown(row.name)} | {row.score.value:.3f} | "
        f"{t('{low} to {high}', low=f'{row.score.low:.3f}', high=f'{row.score.high:.3f}')} | {row.cost:.4f} |"
        for row in summary.variants
    ]
    reasons = [f"- {templates.markdown(templates.message(reason, language))}" for reason in summary.reasons]
    interval = t("{level} interval", level=f"{summary.confidence_level:.0%}")
    head = f"| {t('Variant').lower()} | {summary.metric} | {interval} | {t('Cost').lower()}, USD |"
    return "\n".join([f"# {t(summary.headline)}", "", *reasons, "", head, "| --- | --- | --- | --- |", *rows, ""])


def _in_focus(summary: RunSummary) -> VariantSummary:
    """The variant whose classes and confusions the page shows: the candidate, else what stays."""
    roles = ["candidate", "baseline" if summary.verdict == "keep_prompt" else "champion", "baseline"]
    return next(variant for role in roles for variant in summary.variants if variant.role == role)
