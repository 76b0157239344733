# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The judge and people: a sheet goes out, ratings come back, and the judge is measured by them."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Annotated, Any

import typer

from gemtune.config import Config
from gemtune.data.example import read_examples, write_json
from gemtune.errors import UserError
from gemtune.evaluation import human_ratings
from gemtune.evaluation.judge_validation import validate_judge

judge_app = typer.Typer(no_args_is_help=True, help="The autorater: a sheet for people to rate, and how it agrees.")


def sample_rows(predictions: str | Path, rows: int, seed: int) -> list[dict[str, Any]]:
    """Prediction rows for people to rate, drawn by seed; rows without an answer are not worth a person's time."""
    answered = [row for row in _rows(predictions) if row["answer"]]
    if not answered:
        raise UserError("no row has an answer", file=predictions)
    return random.Random(seed).sample(answered, min(rows, len(answered)))


def sample_pairs(
    predictions: str | Path, one: str, two: str, rows: int, seed: int
) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Answers of two variants to the same rows, drawn by seed; equal answers are not worth a person's time."""
    answers: dict[str, dict[str, dict[str, Any]]] = {}
    for row in _rows(predictions):
        answers.setdefault(row["variant"], {})[row["id"]] = row
    if missing := [name for name in (one, two) if name not in answers]:
        raise UserError(f"no variant is called {missing[0]!r}", file=predictions, remedy=f"one of {sorted(answers)}")
    both = [(row, answers[two][key]) for key, row in answers[one].items() if key in answers[two]]
    apart = [(a, b) for a, b in both if a["answer"] and b["answer"] and a["answer"].strip() != b["answer"].strip()]
    if not apart:
        raise UserError(f"{one!r} and {two!r} answered every row alike", file=predictions)
    return random.Random(seed).sample(apart, min(rows, len(apart)))


def _rows(predictions: str | Path) -> list[dict[str, Any]]:
    with open(predictions, encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


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
    chosen = sample_rows(predictions, rows, seed)
    human_ratings.write_ratings_file(out, chosen, texts)
    typer.echo(f"{len(chosen)} answers to rate in {out}; name it in evaluate.judge.sheet")


@judge_app.command()
def pairs(
    predictions: Annotated[Path, typer.Argument(help="Predictions of an evaluation (JSONL).")],
    examples: Annotated[Path, typer.Argument(help="The rows that were asked about (JSONL, as step split wrote them).")],
    variants: Annotated[tuple[str, str], typer.Option(help="The two whose answers are compared.")],
    out: Annotated[Path, typer.Option(help="Where the sheet goes (CSV).")],
    rows: Annotated[int, typer.Option(min=1, help="Pairs to compare.")] = 100,
    both_orders: Annotated[bool, typer.Option("--both-orders", help="Show each pair twice, turned around.")] = False,
    seed: Annotated[int, typer.Option(help="Seed of the draw and of the order within a pair.")] = 7,
) -> None:
    """Write a sheet of pairs with an empty column `better` (first, second, tie); who answered is not shown."""
    texts = {example.id: example.text for example in read_examples(examples)}
    chosen = sample_pairs(predictions, *variants, rows, seed)
    human_ratings.write_pair_ratings_file(out, chosen, texts, seed=seed, both_orders=both_orders)
    typer.echo(f"{len(chosen)} pairs to compare in {out}; then: gemtune judge check CONFIG --pairs {out}")


@judge_app.command()
def check(
    config: Annotated[
        Path, typer.Argument(help="Configuration with evaluate.judge.model and .sheet.", metavar="CONFIG")
    ],
    overrides: Annotated[list[str] | None, typer.Option("--set", metavar="SECTION.FIELD=VALUE")] = None,
    pairs: Annotated[
        Path | None, typer.Option(help="A sheet of pairs that people compared, in place of .sheet.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Also write everything to this file (JSON).")] = None,
) -> None:
    """Let the judge rate what people rated, and say whether a gate rule may use it; exit code 1 when not."""
    settings = Config.load(config, overrides or [])
    found = validate_judge(settings.task, settings.evaluate, settings.vertex, pairs or "")
    if out is not None:
        write_json(out, found)
    for line in report_lines(found):
        typer.echo(line)
    if not found["validated"]:
        raise typer.Exit(1)


def report_lines(found: dict[str, Any]) -> list[str]:
    """What a person wants to read about a checked judge."""
    measures = ["exact", "kappa", "quadratic_kappa", "spearman", "leniency", "unrated", "length_correlation"]
    told = {**found["agreement"], "length_correlation": found.get("length_correlation")}
    for side in ("judge", "people"):
        if isinstance(biases := found.get(side), dict):
            told |= {f"{side} {name}": biases[name] for name in ("chose_first", "chose_longer")}
            measures += [f"{side} chose_first", f"{side} chose_longer"]
    table = [
        f"{name:19} {told[name]['value']:6.2f}  ({told[name]['low']:.2f} to {told[name]['high']:.2f})"
        for name in measures
        if told.get(name)
    ]
    table += [
        f"{side}: {found[side]['ties']} ties, {found[side]['flips']} turned with the order"
        for side in ("judge", "people")
        if isinstance(found.get(side), dict)
    ]
    cut = found.get("threshold")
    if cut:
        kappa = cut["kappa"]
        table.append(
            f"good from a score of {cut['score']:g}: kappa with people {kappa['value']:.2f} "
            f"({kappa['low']:.2f} to {kappa['high']:.2f}) on held-out rows"
        )
    return [*table, found["sentence"]]
