# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Compare the windows since the last run with the tuned prompt and with the windows of the past."""

from collections import Counter
from datetime import timedelta

from gemtune.artifacts.monitoring import DriftReport
from gemtune.artifacts.production_log import LogWindow, read_log_rows, read_unreadable_rows
from gemtune.data.cleaning import load_cleaner
from gemtune.data.embedders import load_embedder
from gemtune.data.profile import length_stats, script
from gemtune.data.sources import stored_examples
from gemtune.monitoring import drift, records, similarity, skew
from gemtune.monitoring.differences import differences
from gemtune.monitoring.windows import MIN_ROWS
from gemtune.steps.context import Section, StepContext, log


def run(rows: str, counts: str, report: str, name: str, **sections: Section) -> None:
    """Write the report of the windows in `rows`. Reads the sections gate, monitor, vertex."""
    context = StepContext(sections)
    monitor, loaded = context.monitor, LogWindow.read(counts)
    served = records.read(context.client, name)
    history = records.read_history(context.client, name, served)
    examples = stored_examples(context.client, served.reference.train)
    embedder = served.reference.embedder
    training = similarity.TrainingRows(
        [row.text for row in examples],
        [row.target for row in examples] if served.entry.task.is_labelled else (),
        None if embedder in ("", "builtin") else load_embedder(embedder, context.vertex),
    )
    cleaner = load_cleaner(served.cleaning)
    monitored = drift.Monitored(served, training, cleaner, monitor, context.gate.max_invalid_rate)
    examined = [window for window in history.windows if window.end <= loaded.start]
    logged, length, window = list(read_log_rows(rows)), timedelta(days=monitor.window_days), None
    unreadable = [row.time for row in read_unreadable_rows(rows) if row.time]
    start, share = loaded.start, 0.0
    while start < loaded.end:
        end = start + length
        own = [row for row in logged if start <= row.time < end]
        lost = sum(start <= moment < end for moment in unreadable)
        share = lost / max(1, len(own) + lost)
        window = drift.examine(monitored, (start, end), own, examined)
        readable = share <= drift.MAX_UNREADABLE  # else it is none of the past windows that were fine
        examined.append(window.record if readable else window.record.model_copy(update={"verdict": "cannot_tell"}))
        start = end
    problems, share = [], max(share, loaded.unreadable_share)
    if share > drift.MAX_UNREADABLE:
        listed = ", ".join(f"{reason} ({count})" for reason, count in Counter(loaded.unreadable).most_common(3))
        problems.append(f"{share:.1%} of the logged rows cannot be read: {listed}")
    if window and not drift.comparable(window.record):
        what = f"{window.record.texts} distinct texts" if window.record.rows else "no rows: is the endpoint logging?"
        problems.append(f"the newest window has {what} (at least {MIN_ROWS} are compared)")
    if window and window.unanswered > drift.MAX_UNREADABLE * window.record.rows:
        lost, count = window.unanswered, window.record.rows
        problems.append(f"{lost} of {count} rows of the newest window have no answer: log the answers in monitor.logs")
    texts = [item.row.text for item in window.texts] if window else []
    ids = [item.row.id for item in window.texts] if window else []
    confusion, is_first = served.reference.confusion, len(examined) == 1
    mix, method = skew.label_mix(drift.labels_of(examined[-1:]), confusion) if confusion and window else ({}, "")
    comparable = sum(drift.comparable(record) for record in examined)
    DriftReport(
        history=history.model_copy(update={"windows": examined}),
        missing_windows=max(0, monitor.baseline_windows + 1 - comparable),
        excluded=loaded.excluded,
        problems=problems,
        detectable=drift.detectable(monitored, examined),
        topics=training.new_topics(ids, texts, window.scores) if window else [],
        label_mix=mix,
        label_mix_method=method,
        scripts=dict(Counter(map(script, texts)).most_common()),
        characters=length_stats(map(len, texts)),
        training_difference=[item.summary for item in differences([row.text for row in examples], training, texts)]
        if is_first
        else [],
    ).write(report)
    alarms = [check.name for check in examined[-1].checks if check.alarm] if window else []
    log.info("done: %s", f"{len(examined)} windows; {', '.join(dict.fromkeys(alarms)) or 'no'} alarm")
