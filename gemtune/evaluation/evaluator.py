# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Evaluate model variants on a dataset: requests to Vertex AI, scores, judge, pairwise comparisons, free baselines."""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeVar

from gemtune.artifacts.cost import TokenUsage
from gemtune.artifacts.evaluation import (
    EvaluationReport,
    InjectionReport,
    JudgeReport,
    JudgeValidation,
    Score,
    VariantReport,
    VertexMetric,
)
from gemtune.catalogue import Catalogue
from gemtune.config import Evaluate, Judge, ModelVariant, Preference, Role, Task, Vertex
from gemtune.data.example import Example
from gemtune.errors import UserError, without_values
from gemtune.evaluation import injection, intervals, pairwise
from gemtune.evaluation import judge as llm_judge
from gemtune.evaluation.human_ratings import load_human_ratings, read_pair_ratings
from gemtune.evaluation.predictions import Prediction, prediction_rows, write_predictions
from gemtune.evaluation.scorers import SampleScore, describe_unusable, score_sample, variant_report
from gemtune.evaluation.slices import with_auto_slices
from gemtune.evaluation.variant_scores import Evaluated, VariantScorer
from gemtune.inference.free_baselines import free_baselines
from gemtune.inference.generate import GenerateAll
from gemtune.inference.prompt_search import constraint_problem
from gemtune.inference.prompts import resolve
from gemtune.inference.vertex_generation import generation_settings, sending
from gemtune.vertex import connect
from gemtune.vertex.calls import PermanentError, TransientError

log = logging.getLogger("gemtune")

SERVICE_SCALE = {"rubric": (1.0, 4.0)}  # lowest score and span; other metrics go from 0 to 1
# our metrics of the same name, with their maximum
OWN_SCALE = {"exact_match": 1.0, "bleu": 100.0, "rouge_1": 1.0, "rouge_2": 1.0, "rouge_l": 1.0}

T = TypeVar("T")
Pairings = Callable[[Sequence[ModelVariant]], list[tuple[str, str]]]
FetchScores = Callable[[str, Sequence[tuple[str, str, str]]], list[float]]
"""Metric and rows (text, reference, answer) to a score per row."""


@dataclass(frozen=True)
class Dataset:
    """Rows to answer, by which name; which variants are compared on them, and over the first variant of which roles
    win rates are taken.

    With `judging` off only answers are generated: no judge, no verbal confidence, no evaluation service. With
    `constrain_best` the best prompt is also tried with constrained output.
    """

    name: str
    rows: Sequence[Example]
    pairings: Pairings = pairwise.baseline_pairings
    win_over: tuple[str, ...] = ("baseline",)
    judging: bool = True
    ratings: bool = False
    """Whether the judge is validated against human ratings."""
    injection: bool = False
    """Whether the injection probe is sent, where it is configured."""
    free_baselines: bool = False
    """Whether free baselines answer the rows too."""
    optional: Role | None = None
    """Role whose variants are left out where the service refuses their requests, as long as one is left."""
    constrain_best: bool = False
    answers: str = ""
    """File to which the answers are written before anything else is computed: they are paid; "": none."""


@dataclass(frozen=True)
class Ranking:
    """Which answers were better, by what ("": none were compared); `free`: the results against free baselines.

    Where the judge ranked them, its tokens and (on finalists) its validation.
    """

    ranker: Literal["", "reference", "judge"] = ""
    results: pairwise.Results = field(default_factory=dict)
    tokens: TokenUsage | None = None
    judge: JudgeReport | None = None
    free: pairwise.Results = field(default_factory=dict)


@dataclass(frozen=True)
class Evaluation:
    """The report on a dataset, and its predictions."""

    report: EvaluationReport
    predictions: list[Prediction] = field(default_factory=list)


@dataclass(frozen=True)
class Evaluator:
    """Evaluates variants by requests to Vertex AI; with `ranking`, answers are compared pair by pair (win rates)."""

    task: Task
    settings: Evaluate
    vertex: Vertex
    ranking: Preference | None = None

    def evaluate(self, dataset: Dataset, train: Sequence[Example], variants: Sequence[ModelVariant]) -> Evaluation:
        """Generate, score and compare: the report on a dataset, and its predictions.

        Raises `UserError` without rows, for variants of the same name, or when too many requests fail.
        """
        rows = (
            with_auto_slices(list(dataset.rows)) if self.settings.auto_slices and dataset.rows else list(dataset.rows)
        )
        if not variants:  # every trial was stopped early
            return Evaluation(EvaluationReport(dataset=dataset.name, rows=len(rows), task=self.task, variants=[]))
        if not rows:
            raise UserError(f"no {dataset.name} rows to evaluate")
        names = Counter(variant.name for variant in variants)
        if len(names) < len(variants):
            raise UserError(f"variants need unique names, got {sorted(names.elements())}")
        # a label that only scored rows have must not reach a prompt: prompts come from training rows or settings
        task, all_labels = resolve(self.task, train), resolve(self.task, [*train, *rows])
        problem = ""
        if dataset.constrain_best:
            problem = constraint_problem(task, self.settings, Catalogue.load(self.vertex.catalogue))
        settings = self._settings_for(dataset, constrain=dataset.constrain_best and not problem)
        if settings.confidence != "none" and task.is_free_text:
            raise UserError(
                f"no confidence for {task.kind}: two texts are seldom equal", remedy="evaluate.confidence=none"
            )
        ratings = load_human_ratings(self.settings.judge) if dataset.ratings else []

        free: list[tuple[ModelVariant, list[SampleScore]]] = []

        def keep(variants: Sequence[ModelVariant], scores: Mapping[str, Sequence[SampleScore]]) -> None:
            answers = (row for v in variants for row in prediction_rows(dataset.name, v, scores[v.name], {}))
            if dataset.answers:
                write_predictions(dataset.answers, answers)
            if dataset.free_baselines:
                free.extend(self._free_baselines(task, all_labels, train, rows, names))

        probed: list[InjectionReport] = []

        async def run(send: GenerateAll) -> tuple[Evaluated, Ranking]:
            scorer = VariantScorer(task, all_labels, settings, rows, train, send, keep)
            evaluated = await scorer.evaluate(variants, ratings, dataset.optional)
            if dataset.injection:
                reports, note = await injection.probe(scorer, evaluated.variants, evaluated.scores, settings)
                probed.extend(reports)
                evaluated = replace(evaluated, notes=(*evaluated.notes, *filter(None, [note])))
            if self.ranking is None:
                return evaluated, Ranking()
            ranker = pairwise.Ranker(task, self.ranking, self.settings, send)
            pairs = dataset.pairings(evaluated.variants)
            results = await pairwise.compare_all(ranker, rows, evaluated.scores, pairs)
            if ranker.by_reference:
                scores = {**evaluated.scores, **{variant.name: own for variant, own in free}}
                against = [(v.name, f.name) for v in evaluated.variants for f, _ in free]
                compared = await pairwise.compare_all(ranker, rows, scores, [*against, *((f, v) for v, f in against)])
                return evaluated, Ranking("reference", results, free=compared)
            judge = self.settings.judge
            validation = await llm_judge.validate_on_ratings(self.settings, task, ratings, send) if ratings else None
            report = (
                JudgeReport(model=judge.model, rubric=judge.rubric, validation=validation) if dataset.ratings else None
            )
            return evaluated, Ranking("judge", results, ranker.usage, report)

        with sending(settings, self.vertex) as send:
            evaluated, ranking = asyncio.run(run(send))
        reports = [self._report(settings, variant, evaluated, task) for variant in evaluated.variants]
        free_reports = [variant_report(task, settings, variant, scores) for variant, scores in free]
        if ranking.ranker:
            first = {v.role: v.name for v in reversed(evaluated.variants)}
            over = [first[role] for role in dataset.win_over if role in first]
            slices = [score.example.slices for score in evaluated.scores[evaluated.variants[0].name]]
            reports = [
                pairwise.with_win_rate(
                    r, rows, slices, ranking.results, settings, [n for n in over if n != r.variant.name]
                )
                for r in reports
            ]
            if ranking.free:
                free_reports = [
                    pairwise.with_win_rate(r, rows, slices, ranking.free, settings, over) for r in free_reports
                ]
        document = EvaluationReport(
            dataset=dataset.name,
            rows=len(rows),
            task=task,
            generation=generation_settings(settings),
            variants=reports,
            free_baselines=free_reports,
            search_tokens=evaluated.search_tokens,
            judge=evaluated.judge or ranking.judge,
            pairwise=pairwise.pairwise_reports(ranking.results, rows, settings),
            ranker=ranking.ranker,
            ranking_tokens=ranking.tokens,
            injection=probed,
            notes=[*filter(None, [problem]), *evaluated.notes],
            confidence_level=settings.confidence_level,
        )
        for variant in document.variants:
            _hint(variant, len(rows))
        results = {**ranking.results, **ranking.free}
        answered = [*((v, evaluated.scores[v.name]) for v in evaluated.variants), *free]
        predictions = [row for v, own in answered for row in prediction_rows(dataset.name, v, own, results)]
        return Evaluation(document, predictions)

    def _free_baselines(
        self, task: Task, all_labels: Task, train: Sequence[Example], rows: Sequence[Example], names: Container[str]
    ) -> list[tuple[ModelVariant, list[SampleScore]]]:
        """The free baselines' answers, scored like any other variant's; `names` of variants are not used twice."""
        return [
            (variant, [score_sample(task, variant, *each, all_labels) for each in zip(rows, outputs, strict=True)])
            for variant, outputs in free_baselines(task, train, rows, self.settings.tfidf_baseline)
            if variant.name not in names
        ]

    def _settings_for(self, dataset: Dataset, *, constrain: bool) -> Evaluate:
        """A judge that ranks pairs of answers rates none besides."""
        settings = self.settings if dataset.judging else self.settings.without_judging()
        settings = settings.model_copy(update={"constrain_best_prompt": constrain and settings.constrain_best_prompt})
        ranks = self.ranking and self.ranking.ranker == "judge"
        return settings.model_copy(update={"judge": Judge()}) if ranks else settings

    def _report(self, settings: Evaluate, variant: ModelVariant, evaluated: Evaluated, task: Task) -> VariantReport:
        """A variant's report, with what judging its answers took and the evaluation service's metrics."""
        scores = evaluated.scores[variant.name]
        report = variant_report(task, settings, variant, scores)
        if judge := evaluated.judge:
            tokens = report.judging.get(judge.model, TokenUsage()) + judge.tokens_of(variant.name)
            report = report.model_copy(update={"judging": {**report.judging, judge.model: tokens}})
        if settings.vertex_metrics:
            report = report.model_copy(update=self._vertex_metrics(settings, scores, report))
        return report

    def _vertex_metrics(
        self, settings: Evaluate, scores: Sequence[SampleScore], report: VariantReport
    ) -> dict[str, Any]:
        """Metrics of the evaluation service on a variant's answers; its failure is reported and stops nothing."""
        from gemtune.vertex import evaluation

        client = connect(self.vertex)

        score = partial(evaluation.scores, client, rubric=settings.judge.rubric)

        try:
            return {"vertex_metrics": compare_with_vertex(settings, scores, report.metrics, score)}
        except (TransientError, PermanentError) as failure:
            log.warning("the evaluation service returned no scores: %s", failure)
            return {"vertex_metrics_error": str(failure)}


def validate_judge(task: Task, settings: Evaluate, vertex: Vertex, pairs: str | Path = "") -> JudgeValidation:
    """The agreement of the configured judge with the human ratings; see `judge.validate_on_ratings`.

    With `pairs`, a ratings file of compared pairs, it compares those instead; see `judge.validate_on_pairs`. Raises
    `UserError` where no judge or no ratings are configured.
    """
    _require_judge(settings, bool(pairs))

    async def validate(send: GenerateAll) -> JudgeValidation:
        if pairs:
            return await llm_judge.validate_on_pairs(settings, task, read_pair_ratings(pairs), send)
        return await llm_judge.validate_on_ratings(settings, task, load_human_ratings(settings.judge), send)

    with sending(settings, vertex, online=True) as send:  # a person waits
        return asyncio.run(validate(send))


def rate_answers(
    task: Task, settings: Evaluate, vertex: Vertex, answers: Sequence[tuple[Example, str]]
) -> tuple[list[float], TokenUsage]:
    """The configured judge's ratings of these answers, from 0 to 1 (0: without a rating), [] where it is not validated;
    and the tokens of both. Raises `UserError` where no judge or no ratings are configured.
    """
    _require_judge(settings)
    judge, (low, high) = settings.judge, settings.judge.scale

    async def judged(send: GenerateAll) -> tuple[list[float], TokenUsage]:
        validation = await llm_judge.validate_on_ratings(settings, task, load_human_ratings(judge), send)
        if not validation.validated:
            return [], validation.tokens
        ratings, tokens = await llm_judge.rate(judge, task, answers, send)
        scores = [low if rating.score is None else rating.score for rating in ratings]
        return [(score - low) / (high - low) for score in scores], validation.tokens + tokens

    with sending(settings, vertex) as send:
        return asyncio.run(judged(send))


def _require_judge(settings: Evaluate, has_pairs: bool = False) -> None:
    if not (settings.judge.model and (settings.judge.ratings or has_pairs)):
        raise UserError("no judge to validate", remedy="set evaluate.judge.model and evaluate.judge.ratings")


def _hint(report: VariantReport, rows: int) -> None:
    """Say what to do when many answers of a variant were unusable."""
    name, outcomes = report.variant.name, report.outcomes
    if outcomes.get("truncated", 0) > 0.02 * rows:
        log.info("%d of %d answers of %s were truncated: raise max_output_tokens", outcomes["truncated"], rows, name)
    if unusable := describe_unusable(outcomes, report.unusable_forms, 0.1):
        log.info("%s: %s", name, without_values(unusable))


def compare_with_vertex(
    config: Evaluate, scores: Sequence[SampleScore], own_metrics: Mapping[str, Score], fetch_scores: FetchScores
) -> dict[str, VertexMetric]:
    """By metric: the service's mean with its interval, the number of scored rows, and our value (if there is one).

    `own_metrics` are the metrics of the report. A row without an answer is not sent and gets the lowest score, because
    it is a miss here too. The service scores row by row, so its BLEU is a mean over sentences, ours a corpus score.
    """
    answered = [i for i, score in enumerate(scores) if (score.output.text or "").strip()]
    texts = [
        (scores[i].example.prompt_text, scores[i].row.target, (scores[i].output.text or "").strip()) for i in answered
    ]
    groups = [score.example.group for score in scores]
    table: dict[str, VertexMetric] = {}
    for metric in config.vertex_metrics:
        lowest, span = SERVICE_SCALE.get(metric, (0.0, 1.0))
        values = [0.0] * len(scores)
        for i, value in zip(answered, fetch_scores(metric, texts) if texts else [], strict=True):
            values[i] = (value - lowest) / span
        interval = intervals.interval(intervals.mean(values), level=config.confidence_level, groups=groups)
        comparable = metric in OWN_SCALE and metric in own_metrics
        table[metric] = VertexMetric(
            value=lowest + span * interval.value,
            low=lowest + span * interval.low,
            high=lowest + span * interval.high,
            scored=len(answered),
            ours=own_metrics[metric].value / OWN_SCALE[metric] if comparable else None,
        )
    return table
