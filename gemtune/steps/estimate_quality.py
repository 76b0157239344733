# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Estimate the quality of the answers from labels, and draw the rows of the newest window that people should label."""

import re
from math import sqrt

import numpy as np

from gemtune.artifacts.monitoring import Check, DriftReport, QualityReport
from gemtune.artifacts.production_log import read_log_rows
from gemtune.config import Task
from gemtune.data.cleaning import load_cleaner
from gemtune.data.example import Example
from gemtune.data.sources import stored_examples
from gemtune.monitoring import labelling, quality, records, windows
from gemtune.monitoring.similarity import TrainingRows
from gemtune.monitoring.traffic import ServedRow, distinct, served_rows
from gemtune.state import champion
from gemtune.steps.context import Section, StepContext, log
from gemtune.vertex import Client


def run(rows: str, drift: str, report: str, to_label: str, name: str, **sections: Section) -> None:
    """Write the report and the annotation file. Reads the sections evaluate, monitor, vertex.

    With `monitor.judge_rows` the judge rates answers of the newest window, where it is validated: paid requests.
    """
    context, examined = StepContext(sections), DriftReport.read(drift).history.windows
    monitor, client = context.monitor, context.client
    served = records.read(client, name)
    labelled = records.read_labels(client, name)
    score = served.entry.decision.score if served.entry.decision else None
    limit = None if score is None else score - monitor.max_drop
    estimates, checks = quality.assess(examined, labelled, limit, monitor)
    chosen, ratings, judged = list[labelling.Annotation](), list[float](), dict[str, float]()
    if examined:
        newest = examined[-1]
        logged = [row for row in read_log_rows(rows) if newest.start <= row.time < newest.end]
        answered = served_rows(logged, served.entry.task, served.entry.variant)
        texts, _ = distinct(answered, load_cleaner(served.cleaning), monitor.max_rows)
        if monitor.judge_rows and texts:
            check, ratings = _judged(context, served.entry.task, texts[: monitor.judge_rows])
            checks = [*checks, check]
        order, count = [topic.ids[0] for topic in DriftReport.read(drift).topics], monitor.labels_a_window
        considered = [texts[i] for i in labelling.candidates(texts, order, count, ratings)]
        left_out = {*(row.id for row in labelled), *_near_duplicates(client, name, served, considered)}
        chosen = labelling.choose(newest.start, texts, order, left_out, count, ratings)
        drawn = {row.id for row in chosen if row.pi is not None}
        rated = zip(texts, ratings, strict=False)
        judged = {item.row.id: rating for item, rating in rated if item.row.id in drawn}
    labelling.write(to_label, chosen)
    QualityReport(
        estimates=estimates,
        limit=limit,
        checks=checks,
        labelled=[row for row in labelled if row.added and row.added > served.entry.labels_since],
        to_label=len(chosen),
        proxy=windows.moments([""] * len(ratings), ratings)[""] if ratings else None,
        judged=judged,
    ).write(report)
    headline = checks[0].summary if checks else "no labels and no confidence"
    log.info("done: %s", f"{headline}; {len(chosen)} rows to label")


def _judged(context: StepContext, task: Task, texts: list[ServedRow]) -> tuple[Check, list[float]]:
    """What the judge's ratings of these answers cost and show, and the ratings; [] where it is not validated."""
    from gemtune.evaluation.evaluator import rate_answers
    from gemtune.evaluation.human_ratings import load_human_ratings

    answers = [(Example(item.row.id, item.row.text, ""), item.row.answer or "") for item in texts]
    most = (len(texts) + len(load_human_ratings(context.evaluate.judge))) * context.evaluate.judge.samples
    log.info("the judge is sent %d requests at most", most)
    ratings, tokens = rate_answers(task, context.evaluate, context.vertex, answers)
    cost, mean = tokens.cost(context.prices.models[context.evaluate.judge.model]), float(np.mean(ratings or [0.0]))
    half = 1.96 * float(np.std(ratings or [0.0])) / sqrt(len(texts))
    summary = (
        f"the judge rates {len(ratings)} answers {mean:.3f} of 1 on average, as the proxy of quality: "
        f"{tokens.requests} requests for ${cost:.4f}"
    )
    if not ratings:
        summary = (
            "the judge is not validated by evaluate.judge.ratings, confidence stays the proxy: "
            f"{tokens.requests} requests for ${cost:.4f}"
        )
    check = Check(name="judge", value=mean, low=mean - half, high=mean + half, rows=len(ratings), summary=summary)
    return check, ratings


def _near_duplicates(client: Client, name: str, served: records.Champion, texts: list[ServedRow]) -> list[str]:
    """Ids of rows whose text is a near-duplicate of a training, test or labelled row: learning from it adds nothing, or
    leaks.
    """
    kept = (served.reference.train, champion.read(client, name).test_uri)
    examples = [row.text for uri in kept for row in stored_examples(client, uri)]
    taken = [*examples, *records.labelled_texts(client, name)]
    near = TrainingRows(list(map(_words, taken))).cosines([_words(item.row.text) for item in texts])
    return [item.row.id for item, cosine in zip(texts, near, strict=True) if cosine >= labelling.NEAR]


def _words(text: str) -> str:
    """The text without punctuation and case, by which short texts would differ most."""
    return " ".join(re.findall(r"\w+", text.casefold()))
