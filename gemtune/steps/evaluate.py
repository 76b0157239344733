# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Ask every variant the same rows, read the answers by one code, and report with intervals.

A row without a usable answer is a miss of its own kind (invalid, refusal, blocked, truncated, error), never left out.
Shots come from training rows alone. When too many rows have no answer for technical reasons the run stops: trouble on
the line must not decide about a model.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections import Counter
from collections.abc import Sequence
from functools import partial
from typing import Any

from gemtune.config import Evaluate, ModelVariant, Task, Vertex
from gemtune.data.example import Example, read_examples, whole_file, write_json, write_rows
from gemtune.errors import UserError
from gemtune.evaluation import judge, vertex_metrics
from gemtune.evaluation.evaluate import evaluate_all
from gemtune.evaluation.judge_validation import load_human_ratings
from gemtune.evaluation.metrics import primary_metric
from gemtune.evaluation.scorers import SampleScore, prediction_row, score_sample, sum_by_model, variant_report
from gemtune.evaluation.slices import with_auto_slices
from gemtune.inference import tfidf_baseline
from gemtune.inference.batch import generate_by_batch
from gemtune.inference.generate import GenerateAll, generate_all
from gemtune.inference.prompts import resolve
from gemtune.inference.tfidf_baseline import TFIDF_BASELINE
from gemtune.inference.vertex_generation import generation_settings, response_cache, vertex_batch_jobs, vertex_generate

log = logging.getLogger("gemtune")


def run(
    examples: str,
    train: str,
    variants: list[dict[str, Any]],
    task: dict[str, Any],
    config: dict[str, Any],
    vertex: dict[str, Any],
    predictions: str,
    report: str,
    gate_run: str = "",
    judging: bool = True,
) -> dict[str, Any]:
    """Evaluate variants on the rows of `examples`; writes `predictions` (JSONL) and `report` (JSON).

    Without `opinions` only answers are asked for: no judge, no confidence in words, no evaluation service.

    Test rows are sealed: `sealed` names the run whose gate reads them, and the reading is written down in the bucket;
    without it they are refused with a `UserError`.
    Returns `metrics` (flat) and `confusion` (of the best variant), each in the form its pipeline artifact shows.
    """
    settings, who = Evaluate.of(config), [ModelVariant.of(variant) for variant in variants]
    settings = settings if judging else settings.without_judging()
    rows, shown = list(read_examples(examples)), list(read_examples(train))
    if not rows and who:
        raise UserError("no rows to evaluate", file=examples)
    if not gate_run and any(row.split == "test" for row in rows):
        raise UserError(
            "these are held-out test rows: prompts and checkpoints are chosen on validation rows",
            file=examples,
            remedy="evaluate the validation split; only the evaluation before the gate reads the test split",
        )
    if settings.length_and_script and rows:
        rows = with_auto_slices(rows)
    names = Counter(one.name for one in who)
    if len(names) < len(who):
        raise UserError(f"variants need unique names, got {sorted(names.elements())}")
    # A label that only scored rows bear must not reach a prompt: what is asked comes from training rows or settings.
    resolved = resolve(Task.of(task), shown)
    task_with_all_labels = resolve(Task.of(task), [*shown, *rows])
    if not who:  # a trial that lost its race leaves nobody to ask
        write_rows(predictions, [])
        write_json(report, {"rows": len(rows), "task": resolved.model_dump(), "variants": []})
        log.info("done: %s", "nobody to evaluate")
        return {"metrics": {}, "confusion": {}}
    if settings.confidence != "none" and resolved.kind in ("summarization", "generation"):
        raise UserError(
            f"no confidence for {resolved.kind}: two texts are seldom equal", remedy="evaluate.confidence=none"
        )
    seal = _unsealed(Vertex.of(vertex), gate_run, rows, who) if gate_run else {}
    human_ratings = load_human_ratings(settings) if gate_run else []
    generate, retry_policy = vertex_generate(settings, Vertex.of(vertex))
    with response_cache(settings) as cache:
        send: GenerateAll = partial(generate_all, generate=generate, retry_policy=retry_policy, cache=cache)
        if settings.batch_above:
            send = partial(
                generate_by_batch, online=send, batches=vertex_batch_jobs(settings, Vertex.of(vertex)), cache=cache
            )
        who, judged, further = asyncio.run(
            evaluate_all(resolved, task_with_all_labels, settings, who, rows, shown, send, human_ratings)
        )
    reports = [variant_report(resolved, settings, one, judged[one.name]) for one in who]
    for told in reports if settings.judge.model else []:
        took = judge.judging(further["judge"], told["variant"]["name"])
        told["judging"] = sum_by_model(told.get("judging", {}), took)
    if settings.judge.model:
        further["judging"] = judge.judging(further["judge"], "")
    if settings.service:
        for told in reports:
            told["service"] = _service(settings, Vertex.of(vertex), judged[told["variant"]["name"]], told["metrics"])
    beside = (
        _classical(resolved, task_with_all_labels, settings, rows, shown) if TFIDF_BASELINE.name not in names else []
    )
    with whole_file(predictions) as out:
        for one in who:
            out.writelines(_line(one, answer) for answer in judged[one.name])
        out.writelines(_line(TFIDF_BASELINE, answer) for answer in beside)
    document = {
        "rows": len(rows),
        "task": resolved.model_dump(),
        "generation": generation_settings(settings),
        "variants": reports,
    }
    if beside:
        document["classical"] = variant_report(resolved, settings, TFIDF_BASELINE, beside)
    write_json(report, {**document, **further, **seal})
    for told in reports:
        _hint(told, len(rows))
    log.info("done: %s", _headline(resolved, reports))
    return {"metrics": _flat(reports), "confusion": _console_confusion(resolved, reports)}


def _unsealed(settings: Vertex, name: str, rows: Sequence[Example], who: Sequence[ModelVariant]) -> dict[str, Any]:
    """What the report says of the reading of sealed rows, after it was written down."""
    from gemtune import vertex
    from gemtune.state import test_set_usage

    return {"test_set_usage": test_set_usage.note(vertex.connect(settings), name, [row.id for row in rows], who)}


def _service(config: Evaluate, settings: Vertex, judged: Sequence[SampleScore], ours: dict[str, Any]) -> dict[str, Any]:
    """What the evaluation service says of a variant's answers; `error` when it says nothing, which stops nobody."""
    from gemtune import vertex
    from gemtune.vertex import evaluation

    client = vertex.connect(settings)

    def score(metric: str, rows: Sequence[vertex_metrics.Text]) -> list[float]:
        return evaluation.scores(client, metric, rows, config.judge.rubric)

    try:
        return vertex_metrics.compare_with_vertex(config, judged, ours, score)
    except (vertex.Retryable, vertex.Refused) as failure:
        log.warning("the evaluation service gave no scores: %s", failure)
        return {"error": str(failure)}


def _hint(report: dict[str, Any], rows: int) -> None:
    """Say what to do when many answers of a variant were unusable."""
    name, outcomes = report["variant"]["name"], report["outcomes"]
    if outcomes.get("truncated", 0) > 0.02 * rows:
        log.info("%d of %d answers of %s were cut off: raise max_output_tokens", outcomes["truncated"], rows, name)
    unusable = outcomes.get("invalid", 0) + outcomes.get("refusal", 0)
    if unusable > 0.1 * rows:
        said = "; ".join(str(problem) for problem, _ in report["problems"][:2])
        log.info("%d of %d answers of %s were no valid answer: %s", unusable, rows, name, said)


def _classical(
    task: Task, task_with_all_labels: Task, config: Evaluate, examples: Sequence[Example], train: Sequence[Example]
) -> list[SampleScore]:
    """The classical opponent's answers, read and scored like any other's; none when it does not apply."""
    if not config.classical or not tfidf_baseline.is_applicable(task, train):
        return []
    given = tfidf_baseline.predict(train, examples)
    return [
        score_sample(task, TFIDF_BASELINE, example, answer, task_with_all_labels)
        for example, answer in zip(examples, given, strict=True)
    ]


def _flat(reports: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Every number under one name, as the Cloud console lists them."""
    return {
        f"{one['variant']['name']} {metric}": round(found["value"], 6)
        for one in reports
        for metric, found in one["metrics"].items()
    }


def _console_confusion(task: Task, reports: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The best variant's confusion matrix in the form of a ClassificationMetrics artifact; {} for other kinds."""
    best = _best(task, reports)
    if "confusion" not in best:
        return {}
    found = best["confusion"]
    matrix = [*found["matrix"], [0] * len(found["columns"])]
    return {
        "confusionMatrix": {
            "annotationSpecs": [{"displayName": label} for label in found["columns"]],
            "rows": [{"row": row} for row in matrix],
        }
    }


def _best(task: Task, reports: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return max(reports, key=lambda r: float(r["metrics"][primary_metric(task)]["value"]))


def _headline(task: Task, reports: Sequence[dict[str, Any]]) -> str:
    primary = primary_metric(task)
    best = _best(task, reports)
    found = best["metrics"][primary]
    name = best["variant"]["name"]
    return f"{primary} {found['value']:.3f} ({found['low']:.3f} to {found['high']:.3f}) {name}"


def _line(variant: ModelVariant, one: SampleScore) -> str:
    return json.dumps(prediction_row(variant, one), ensure_ascii=False) + "\n"
