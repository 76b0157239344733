# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The judge and people: a sheet goes out, ratings come back, and the judge is measured by them."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Annotated, Any

import typer

from gemtune import evaluate
from gemtune.config import Config
from gemtune.data import read_examples, write_json
from gemtune.errors import UserError
from gemtune.scoring import judging

judge_app = typer.Typer(no_args_is_help=True, help="The autorater: a sheet for people to rate, and how it agrees.")


def drawn(predictions: str | Path, rows: int, seed: int) -> list[dict[str, Any]]:
    """Prediction rows for people to rate, drawn by seed; rows without an answer are not worth a person's time."""
    with open(predictions, encoding="utf-8") as lines:
        answered = [row for row in map(json.loads, lines) if row["answer"]]
    if not answered:
        raise UserError("no row has an answer", file=predictions)
    return random.Random(seed).sample(answered, min(rows, len(answered)))


@judge_app.command()
def sheet(
    predictions: Annotated[Path, typer.Argument(help="Predictions of an evaluation (JSONL).")],
    examples: Annotated[Path, typer.Argument(help="The rows that were asked about (JSONL, as step split wrote them).")],
    out: Annotated[Path, typer.Option(help="Where the sheet goes (CSV).")],
    rows: Annotated[int, typer.Option(min=1, help="Answers to rate.")] = 100,
    seed: Annotated[int, typer.Option(help="Seed of the draw.")] = 7,
) -> None:
    """Write a sheet with an empty column `rating`, for people to fill in; who answered is not shown."""
    texts = {example.id: example.text for example in read_examples(examples)}
    chosen = drawn(predictions, rows, seed)
    judging.write_sheet(out, chosen, texts)
    typer.echo(f"{len(chosen)} answers to rate in {out}; name it in evaluate.judge.sheet")


@judge_app.command()
def check(
    config: Annotated[
        Path, typer.Argument(help="Configuration with evaluate.judge.model and .sheet.", metavar="CONFIG")
    ],
    overrides: Annotated[list[str] | None, typer.Option("--set", metavar="SECTION.FIELD=VALUE")] = None,
    out: Annotated[Path | None, typer.Option(help="Also write everything to this file (JSON).")] = None,
) -> None:
    """Let the judge rate what people rated, and say whether a gate rule may use it; exit code 1 when not."""
    settings = Config.load(config, overrides or [])
    found = evaluate.check_judge(settings.task, settings.evaluate, settings.vertex)
    if out is not None:
        write_json(out, found)
    for line in lines_of(found):
        typer.echo(line)
    if not found["admitted"]:
        raise typer.Exit(1)


def lines_of(found: dict[str, Any]) -> list[str]:
    """What a person wants to read about a checked judge."""
    measures = ("exact", "kappa", "quadratic_kappa", "spearman", "leniency", "unrated")
    told = {**found["agreement"], "length_lean": found["length_lean"]}
    table = [
        f"{name:16} {told[name]['value']:6.2f}  ({told[name]['low']:.2f} to {told[name]['high']:.2f})"
        for name in (*measures, "length_lean")
        if name in told
    ]
    cut = found["threshold"]
    if cut:
        kappa = cut["kappa"]
        table.append(
            f"good from a score of {cut['score']:g}: kappa with people {kappa['value']:.2f} "
            f"({kappa['low']:.2f} to {kappa['high']:.2f}) on held-out rows"
        )
    return [*table, found["sentence"]]
