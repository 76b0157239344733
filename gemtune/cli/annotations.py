# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""`gemtune annotations`: labelled production rows go to the quality estimate and to the data set."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gemtune.cli.config import Overrides
from gemtune.cli.output import Json, echo
from gemtune.errors import UserError

if TYPE_CHECKING:
    from gemtune.config import Config
    from gemtune.monitoring.labelling import Annotation

annotations_app = typer.Typer(no_args_is_help=True, help="Labels of production rows that a monitoring run has drawn.")


@annotations_app.command()
def add(
    file: Annotated[Path, typer.Argument(help="Annotation file with its column `label` filled in (CSV).")],
    config: Annotated[Path, typer.Argument(help="Configuration of the run.", metavar="CONFIG")],
    new_label: Annotated[
        list[str] | None, typer.Option(help="Label that the task does not have yet; repeatable.")
    ] = None,
    overrides: Overrides = None,
    as_json: Json = False,
) -> None:
    """Keep the labels for the quality estimate, and append the rows to the data set.

    Rows of the estimate are marked for validation or test, those to learn from for training. Nothing is changed where
    any label is not one of the task's. Rows that were labelled before are not appended again.
    """
    from gemtune.config import Config
    from gemtune.monitoring import labelling, records
    from gemtune.vertex import connect

    settings = Config.load(config, overrides or [])
    if not settings.data.endswith(".jsonl"):
        remedy = "convert it: gemtune data convert ROWS --out rows.jsonl --to columns"
        raise UserError(f"rows can be appended to a .jsonl file only, not to {settings.data!r}", remedy=remedy)
    client = connect(settings.vertex)
    task = records.read(client, settings.name).task
    rows = labelling.read(file, task, new_label or ())
    earlier = {row.id for row in records.read_labels(client, settings.name)}
    added = [row for row in rows if row.id not in earlier]
    _append(settings, added)
    texts = [row.text for row in rows]
    total = records.add_labels(client, settings.name, labelling.labelled(rows, task), texts)
    line = f"{len(rows)} labels kept ({total} in all), {len(added)} rows appended to {settings.data}"
    echo({"kept": len(rows), "all": total, "appended": len(added), "data": settings.data}, as_json, line)


def _append(settings: Config, rows: list[Annotation]) -> None:
    """Append rows to the data set, whole or not at all."""
    from gemtune.artifacts.base import open_atomic
    from gemtune.data.sources import local_path, output_path
    from gemtune.monitoring.labelling import training_columns

    own = settings.preprocess
    columns = {"text": own.text_column, "target": own.target_column, "split": own.split_column or "split"}
    with local_path(settings.data) as source:
        before = source.read_text(encoding="utf-8")
    lines = [json.dumps(row, ensure_ascii=False) for row in training_columns(rows, columns)]
    before += "\n" if before and not before.endswith("\n") else ""
    with output_path(settings.data) as target, open_atomic(target) as file:
        file.write(before + "".join(f"{line}\n" for line in lines))
