# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Options of the data commands: `gemtune data check|convert|describe` and `gemtune dedup`.

Guarantees: exit code 0 when no problem was found (rows that settings leave out are none), 1 when `check` found one;
each problem is one line with file, line and reason. What the commands do is in `data_commands`, which is imported when
one of them runs.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from gemtune.cli.options import Json, Overrides, taking

data_app = typer.Typer(no_args_is_help=True, help="Check, convert and describe rows before money is spent on them.")


File = Annotated[
    str,
    typer.Argument(
        help="Rows: .jsonl, .csv, .tsv, .xlsx, .parquet, also .gz; local or gs://...; or bq://PROJECT.DATASET.TABLE."
    ),
]
Configuration = Annotated[Path | None, typer.Option("--config", help="YAML file of settings.")]
Method = Annotated[
    str,
    typer.Option(help="supervised (labelled rows) or preference (pairs of answers); default: the setting method."),
]


@data_app.command()
def check(
    file: File,
    method: Method = "",
    model: Annotated[str, typer.Option(help="Base model; default: evaluate.base_model of the settings.")] = "",
    config: Configuration = None,
    settings: Overrides = None,
    as_json: Json = False,
) -> None:
    """Check the rows, and whether the tuning service accepts them, for a model and a method.

    Nothing is uploaded or written. Exit code 0: all rows can be used, but those that settings leave out; 1: there are
    problems.
    """
    from gemtune.cli import data_commands

    overrides = [*(settings or []), *([f"evaluate.base_model={model}"] if model else [])]
    data_commands.check(file, method, config, overrides, as_json)


@data_app.command()
def convert(
    file: File,
    out: Annotated[str, typer.Option(help="Output file, local or gs://: .jsonl; .csv, .tsv for columns; also .gz.")],
    to: Annotated[str, typer.Option(help="Format: gemini, messages, chat, columns.")] = "gemini",
    method: Method = "",
    config: Configuration = None,
    settings: Overrides = None,
    as_json: Json = False,
) -> None:
    """Write the rows in another format, texts unchanged; rows that cannot be read are listed and left out.

    With --method preference the rows are preference pairs: gemini writes contents and completions; messages and chat
    write prompt, chosen and rejected as lists of turns, columns as plain texts.
    """
    from gemtune.cli import data_commands

    data_commands.convert(file, out, to, method, config, settings or [], as_json)


@data_app.command()
def compare(
    train: Annotated[str, typer.Argument(help="Training rows.", metavar="TRAIN")],
    logs: Annotated[
        str,
        typer.Argument(
            help="Production texts, unlabelled: rows with a text, or requests as Vertex AI logs them.", metavar="LOGS"
        ),
    ],
    config: Configuration = None,
    settings: Overrides = None,
    as_json: Json = False,
) -> None:
    """Show how production texts differ from training rows, before anything is tuned, and what to do.

    Compared are languages, lengths, formats, vocabulary, context and similarity, each text once. No model is called. Of
    a table (bq://PROJECT.DATASET.TABLE) the last eight windows are read (monitor.window_days).
    """
    from gemtune.cli import data_commands

    data_commands.compare(train, logs, config, settings or [], as_json)


@data_app.command()
def describe(
    file: File,
    audit: Annotated[str | None, typer.Option(help="Write likely label issues to a review file (CSV).")] = None,
    config: Configuration = None,
    settings: Overrides = None,
    as_json: Json = False,
) -> None:
    """Print a profile of the data: label balance, lengths, scripts, duplicates, conflicts, label issues."""
    from gemtune.cli import data_commands

    data_commands.describe(file, audit, config, settings or [], as_json)


@dataclass
class Runner:
    """What deduplicates, and its options."""

    runner: Annotated[
        str, typer.Option(help="local, or dataflow for data that exceed one machine's memory (extra beam).")
    ] = "local"
    beam_option: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="Option of the Dataflow runner; repeatable.")
    ] = None


@taking("on", Runner)
def dedup_command(
    on: Runner,
    file: File,
    out: Annotated[str, typer.Option(help="File for the kept rows; local or gs://...")],
    dropped: Annotated[str | None, typer.Option(help="File for the dropped rows, with reason and kept row.")] = None,
    threshold: Annotated[float, typer.Option(min=0.05, max=1, help="Jaccard of character 5-grams.")] = 0.8,
    config: Configuration = None,
    settings: Overrides = None,
    as_json: Json = False,
) -> None:
    """Drop exact duplicates, near-duplicates and conflicting labels from a file of rows.

    A row is dropped only for a kept row; which one is kept is decided by content, not by order. Locally, kept rows are
    written as examples (text, target, line of the source); on Dataflow as they are. Dropped rows have a reason.
    """
    from gemtune.cli import data_commands

    overrides = [*(settings or []), f"preprocess.jaccard_threshold={threshold}"]
    data_commands.deduplicate(file, out, dropped, on.runner, on.beam_option or [], config, overrides, as_json)
