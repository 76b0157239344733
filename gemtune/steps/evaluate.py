# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Ask every contestant the same rows, read the answers by one code, and report with intervals.

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

from gemtune.artifacts.base import open_atomic
from gemtune.config import Contestant, Evaluate, Task, Vertex
from gemtune.data.example import Example, read_examples, write_json, write_rows
from gemtune.errors import UserError
from gemtune.evaluation import judge, vertex_metrics
from gemtune.evaluation.evaluate import Put, evaluate_all
from gemtune.evaluation.judge_validation import rated_by_people
from gemtune.evaluation.metrics import primary_metric
from gemtune.evaluation.scorers import SampleScore, prediction, report_on, score_sample, together
from gemtune.evaluation.slices import sliced
from gemtune.inference import tfidf_baseline
from gemtune.inference.batch import ask_by_batch
from gemtune.inference.generate import ask_all
from gemtune.inference.prompts import resolve
from gemtune.inference.tfidf_baseline import CLASSICAL
from gemtune.inference.vertex_generation import generation_settings, response_cache, vertex_ask, vertex_batches

log = logging.getLogger("gemtune")


def run(
    examples: str,
    train: str,
    contestants: list[dict[str, Any]],
    task: dict[str, Any],
    config: dict[str, Any],
    vertex: dict[str, Any],
    predictions: str,
    report: str,
    sealed: str = "",
    opinions: bool = True,
) -> dict[str, Any]:
    """Evaluate contestants on the rows of `examples`; writes `predictions` (JSONL) and `report` (JSON).

    Without `opinions` only answers are asked for: no judge, no confidence in words, no evaluation service.

    Test rows are sealed: `sealed` names the run whose gate reads them, and the reading is written down in the bucket;
    without it they are refused with a `UserError`.
    Returns `metrics` (flat) and `confusion` (of the best contestant), each in the form its pipeline artifact shows.
    """
    settings, who = Evaluate.of(config), [Contestant.of(contestant) for contestant in contestants]
    settings = settings if opinions else settings.without_opinions()
    rows, shown = list(read_examples(examples)), list(read_examples(train))
    if not rows and who:
        raise UserError("no rows to evaluate", file=examples)
    if not sealed and any(row.split == "test" for row in rows):
        raise UserError(
            "these are sealed test rows: prompts and checkpoints are chosen on validation rows",
            file=examples,
            remedy="evaluate the validation split; only the evaluation before the gate reads the test split",
        )
    if settings.length_and_script and rows:
        rows = sliced(rows)
    names = Counter(one.name for one in who)
    if len(names) < len(who):
        raise UserError(f"contestants need unique names, got {sorted(names.elements())}")
    # A label that only scored rows bear must not reach a prompt: what is asked comes from training rows or settings.
    resolved = resolve(Task.of(task), shown)
    wide = resolve(Task.of(task), [*shown, *rows])
    if not who:  # a trial that lost its race leaves nobody to ask
        write_rows(predictions, [])
        write_json(report, {"rows": len(rows), "task": resolved.model_dump(), "contestants": []})
        log.info("done: %s", "nobody to evaluate")
        return {"metrics": {}, "confusion": {}}
    if settings.confidence != "none" and resolved.kind in ("summarization", "generation"):
        raise UserError(
            f"no confidence for {resolved.kind}: two texts are seldom equal", remedy="evaluate.confidence=none"
        )
    seal = _unsealed(Vertex.of(vertex), sealed, rows, who) if sealed else {}
    rated = rated_by_people(settings) if sealed else []
    ask, effort = vertex_ask(settings, Vertex.of(vertex))
    with response_cache(settings) as memory:
        put: Put = partial(ask_all, ask=ask, effort=effort, memory=memory)
        if settings.batch_above:
            put = partial(ask_by_batch, online=put, batches=vertex_batches(settings, Vertex.of(vertex)), memory=memory)
        who, judged, further = asyncio.run(evaluate_all(resolved, wide, settings, who, rows, shown, put, rated))
    reports = [report_on(resolved, settings, one, judged[one.name]) for one in who]
    for told in reports if settings.judge.model else []:
        took = judge.opinions(further["autorater"], told["contestant"]["name"])
        told["opinions"] = together(told.get("opinions", {}), took)
    if settings.judge.model:
        further["opinions"] = judge.opinions(further["autorater"], "")
    if settings.service:
        for told in reports:
            told["service"] = _service(settings, Vertex.of(vertex), judged[told["contestant"]["name"]], told["metrics"])
    beside = _classical(resolved, wide, settings, rows, shown) if CLASSICAL.name not in names else []
    with open_atomic(predictions) as out:
        for one in who:
            out.writelines(_line(one, answer) for answer in judged[one.name])
        out.writelines(_line(CLASSICAL, answer) for answer in beside)
    document = {
        "rows": len(rows),
        "task": resolved.model_dump(),
        "asking": generation_settings(settings),
        "contestants": reports,
    }
    if beside:
        document["classical"] = report_on(resolved, settings, CLASSICAL, beside)
    write_json(report, {**document, **further, **seal})
    for told in reports:
        _hint(told, len(rows))
    log.info("done: %s", _headline(resolved, reports))
    return {"metrics": _flat(reports), "confusion": _console_confusion(resolved, reports)}


def _unsealed(settings: Vertex, name: str, rows: Sequence[Example], who: Sequence[Contestant]) -> dict[str, Any]:
    """What the report says of the reading of sealed rows, after it was written down."""
    from gemtune import vertex
    from gemtune.state import test_set_usage

    return {"sealed": test_set_usage.note(vertex.connect(settings), name, [row.id for row in rows], who)}


def _service(config: Evaluate, settings: Vertex, judged: Sequence[SampleScore], ours: dict[str, Any]) -> dict[str, Any]:
    """What the evaluation service says of a contestant's answers; `error` when it says nothing, which stops nobody."""
    from gemtune import vertex
    from gemtune.vertex import evaluation

    client = vertex.connect(settings)

    def score(metric: str, rows: Sequence[vertex_metrics.Text]) -> list[float]:
        return evaluation.scores(client, metric, rows, config.judge.rubric)

    try:
        return vertex_metrics.beside(config, judged, ours, score)
    except (vertex.TransientError, vertex.PermanentError) as failure:
        log.warning("the evaluation service gave no scores: %s", failure)
        return {"error": str(failure)}


def _hint(report: dict[str, Any], rows: int) -> None:
    """Say what to do when many answers of a contestant were unusable."""
    name, outcomes = report["contestant"]["name"], report["outcomes"]
    if outcomes.get("truncated", 0) > 0.02 * rows:
        log.info("%d of %d answers of %s were cut off: raise max_output_tokens", outcomes["truncated"], rows, name)
    unusable = outcomes.get("invalid", 0) + outcomes.get("refusal", 0)
    if unusable > 0.1 * rows:
        said = "; ".join(str(problem) for problem, _ in report["problems"][:2])
        log.info("%d of %d answers of %s were no valid answer: %s", unusable, rows, name, said)


def _classical(
    task: Task, wide: Task, config: Evaluate, examples: Sequence[Example], train: Sequence[Example]
) -> list[SampleScore]:
    """The classical opponent's answers, read and scored like any other's; none when it does not apply."""
    if not config.classical or not tfidf_baseline.applies(task, train):
        return []
    given = tfidf_baseline.answers(train, examples)
    return [
        score_sample(task, CLASSICAL, example, answer, wide) for example, answer in zip(examples, given, strict=True)
    ]


def _flat(reports: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Every number under one name, as the Cloud console lists them."""
    return {
        f"{one['contestant']['name']} {metric}": round(found["value"], 6)
        for one in reports
        for metric, found in one["metrics"].items()
    }


def _console_confusion(task: Task, reports: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The best contestant's confusion matrix in the form of a ClassificationMetrics artifact; {} for other kinds."""
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
    name = best["contestant"]["name"]
    return f"{primary} {found['value']:.3f} ({found['low']:.3f} to {found['high']:.3f}) {name}"


def _line(contestant: Contestant, one: SampleScore) -> str:
    return json.dumps(prediction(contestant, one), ensure_ascii=False) + "\n"
