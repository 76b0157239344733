# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The production logs of the windows that have not been examined yet."""

from gemtune.artifacts.production_log import LogRow, LogWindow, UnreadableRow, write_log_rows
from gemtune.monitoring import logs, records, windows
from gemtune.steps.context import Section, StepContext, log


def run(rows: str, counts: str, name: str, now: str = "", **sections: Section) -> None:
    """Write the logged rows of the champion to `rows`, their counts to `counts`. Reads the sections monitor, vertex.

    `now` is a time in ISO 8601; empty: the current time. Until the first window after the promotion is complete there
    are no rows. Raises `UserError` when there is no champion, or the logs cannot be read.
    """
    context = StepContext(sections)
    monitor, client = context.monitor, context.client
    logs.require_source(monitor.logs)
    served = records.read(client, name)
    history = records.read_history(client, name, served)
    last = history.windows[-1].end if history.windows else None
    due = windows.due(history.since, last, windows.moment(now), monitor.window_days)
    loaded: list[LogRow | UnreadableRow] = []
    window = LogWindow(source=monitor.logs, start=history.since, end=history.since, rows=0)
    if due:
        span, template = (due[0][0], due[-1][1]), served.reference.template
        limit = monitor.max_bytes_billed
        loaded, window = logs.load_logs(monitor.logs, span, served.endpoints, template, limit, client)
    write_log_rows(rows, loaded)
    window.write(counts)
    excluded = f"; left out: {window.excluded}" if window.excluded else ""
    unreadable = sum(window.unreadable.values())
    log.info("done: %s", f"{window.rows} rows of {len(due)} windows, {unreadable} unreadable{excluded}")
