# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Estimate the quality of the answers from labels, and draw the rows of the newest window that people should label."""

from __future__ import annotations

import logging
import re

from gemtune.artifacts.monitoring import DriftReport, QualityReport
from gemtune.artifacts.production_log import read_log_rows
from gemtune.data.cleaning import load_cleaner
from gemtune.data.sources import stored_examples
from gemtune.monitoring import labelling, quality, records
from gemtune.monitoring.similarity import TrainingRows
from gemtune.monitoring.traffic import ServedRow, distinct, served_rows
from gemtune.state import champion
from gemtune.steps.context import Section, StepContext
from gemtune.vertex import Client

log = logging.getLogger("gemtune")


def run(rows: str, drift: str, report: str, to_label: str, name: str, **sections: Section) -> None:
    """Write the report and the annotation file. Reads the sections monitor, vertex."""
    context, examined = StepContext(sections), DriftReport.read(drift).history.windows
    monitor, client = context.monitor, context.client
    served = records.read(client, name)
    labelled = records.read_labels(client, name)
    limit = None if served.score is None else served.score - monitor.max_drop
    estimates, checks = quality.assess(examined, labelled, limit, monitor)
    chosen: list[labelling.Annotation] = []
    if examined:
        newest = examined[-1]
        logged = [row for row in read_log_rows(rows) if newest.start <= row.time < newest.end]
        answered = served_rows(logged, served.task, served.variant)
        texts, _ = distinct(answered, load_cleaner(served.cleaning), monitor.max_rows)
        left_out = {*(row.id for row in labelled), *_near_duplicates(client, name, served, texts)}
        order = [topic.ids[0] for topic in DriftReport.read(drift).topics]
        chosen = labelling.choose(newest.start, texts, order, left_out, monitor.labels_a_window)
    labelling.write(to_label, chosen)
    QualityReport(
        estimates=estimates,
        limit=limit,
        checks=checks,
        labelled=[row for row in labelled if row.added and row.added > served.labels_since],
        to_label=len(chosen),
    ).write(report)
    headline = checks[0].summary if checks else "no labels and no confidence"
    log.info("done: %s", f"{headline}; {len(chosen)} rows to label")


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
