# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""`gemtune annotations`: labelled production rows go to the quality estimate and to the data set."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gemtune.cli.options import At, Json, echo, with_client
from gemtune.errors import UserError

if TYPE_CHECKING:
    from gemtune.config import Config, Task
    from gemtune.monitoring.labelling import Annotation

annotations_app = typer.Typer(
    no_args_is_help=True, help="Labels of production rows, drawn by a monitoring run or known later."
)

NewLabels = Annotated[list[str] | None, typer.Option(help="Label that the task does not have yet; repeatable.")]


@annotations_app.command()
@with_client()
def add(
    file: Annotated[Path, typer.Argument(help="Annotation file with its column `label` filled in (CSV).")],
    at: At,
    new_label: NewLabels = None,
    as_json: Json = False,
) -> None:
    """Keep the labels for the quality estimate, and append the rows to the data set.

    Rows of the estimate are marked for validation or test, those to learn from for training. Nothing is changed where
    any label is not one of the task's. Rows that were labelled before are not appended again.
    """
    from gemtune.monitoring import labelling

    task = _task(at)
    _keep(at, task, labelling.read(file, task, new_label or ()), as_json)


@annotations_app.command()
@with_client()
def join(
    file: Annotated[
        str,
        typer.Argument(help="Rows with `id` and a label: a file, gs:// or bq://PROJECT.DATASET.TABLE.", metavar="ROWS"),
    ],
    at: At,
    column: Annotated[str, typer.Option(help="Column of the label; empty: that of the data.")] = "",
    new_label: NewLabels = None,
    as_json: Json = False,
) -> None:
    """Keep labels that became known later, by the id of the logged request, and append the rows to the data set.

    Each counts in the window in which its row was served. The run that reads the data divides the rows. Nothing is
    changed where any label is not one of the task's.
    """
    from datetime import UTC, datetime, timedelta

    from gemtune.artifacts.production_log import LogRow
    from gemtune.monitoring import labelling, logs, records
    from gemtune.monitoring.traffic import served_rows

    settings, client, task = at.settings, at.client, _task(at)
    logs.require_source(settings.monitor.logs)
    columns = settings.preprocess.model_copy(update={"target_column": column or settings.preprocess.target_column})
    labels = labelling.read_later_labels(file, columns, task, new_label or ())
    served = records.read(client, settings.name)
    since = records.read_history(client, settings.name, served).since  # windows are counted from there, also back
    span = (min(since, served.served_from), datetime.max.replace(tzinfo=UTC))  # whatever the clock of the logs
    template, limit = served.reference.template, settings.monitor.max_bytes_billed
    logged, _ = logs.load_logs(settings.monitor.logs, span, served.endpoints, template, limit, client)
    answered = served_rows([row for row in logged if isinstance(row, LogRow)], task, served.entry.variant)
    labelled = {row.id for row in records.read_labels(client, settings.name)}
    own = {row: label for row, label in labels.items() if row not in labelled}
    rows = labelling.joined(answered, own, since, timedelta(days=settings.monitor.window_days))
    if not rows:
        remedy = "the column id must have the request_id of the log, or the id of its rows"
        raise UserError(f"none of {len(labels)} labels is of a logged request without one", remedy=remedy)
    _keep(at, task, rows, as_json, divides=False)


def _task(at: At) -> Task:
    """The champion's task; refuses data that rows cannot be appended to."""
    from gemtune.monitoring import records

    if not at.settings.data.endswith(".jsonl"):
        remedy = "convert it: gemtune data convert ROWS --out rows.jsonl --to columns"
        raise UserError(f"rows can be appended to a .jsonl file only, not to {at.settings.data!r}", remedy=remedy)
    return records.read(at.client, at.settings.name).entry.task


def _keep(at: At, task: Task, rows: list[Annotation], as_json: bool, divides: bool = True) -> None:
    """Append the rows that are new to the data, where `divides` with their split, and keep all labels."""
    from gemtune.monitoring import labelling, records

    settings, client = at.settings, at.client
    earlier = {row.id for row in records.read_labels(client, settings.name)}
    added = [row for row in rows if row.id not in earlier]
    _append(settings, added, divides)
    texts = [row.text for row in rows]
    total = records.add_labels(client, settings.name, labelling.labelled(rows, task), texts)
    line = f"{len(rows)} labels kept ({total} in all), {len(added)} rows appended to {settings.data}"
    echo({"kept": len(rows), "all": total, "appended": len(added), "data": settings.data}, as_json, line)


def _append(settings: Config, rows: list[Annotation], divides: bool) -> None:
    """Append rows to the data set, whole or not at all."""
    from gemtune.artifacts.base import open_atomic
    from gemtune.data.sources import local_path, output_path
    from gemtune.monitoring.labelling import training_columns

    own = settings.preprocess
    columns = {"text": own.text_column, "target": own.target_column}
    columns |= {"split": own.split_column or "split"} if divides else {}
    with local_path(settings.data) as source:
        before = source.read_text(encoding="utf-8")
    lines = [json.dumps(row, ensure_ascii=False) for row in training_columns(rows, columns)]
    before += "\n" if before and not before.endswith("\n") else ""
    with output_path(settings.data) as target, open_atomic(target) as file:
        file.write(before + "".join(f"{line}\n" for line in lines))
