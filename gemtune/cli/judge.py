# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""`gemtune judge`: export answers for human rating, and validate the LLM judge against the ratings."""

from __future__ import annotations

import random
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gemtune.cli.options import Json, Overrides, echo, load
from gemtune.errors import UserError, did_you_mean

if TYPE_CHECKING:
    from gemtune.artifacts.evaluation import JudgeValidation
    from gemtune.config import JsonObject

judge_app = typer.Typer(
    no_args_is_help=True, help="Export answers for human rating, and validate the LLM judge against the ratings."
)

Predictions = Annotated[Path, typer.Argument(help="Predictions of an evaluation (JSONL).")]
MEASURES = ("exact", "kappa", "quadratic_kappa", "spearman", "leniency", "unrated")

Examples = Annotated[Path, typer.Argument(help="The evaluated rows (JSONL, as written by step split).")]


def sample_pairs(
    predictions: str | Path, first: str, second: str, rows: int, seed: int
) -> list[tuple[JsonObject, JsonObject]]:
    """A random sample of rows on which two variants gave different answers; raises `UserError` if there are none."""
    answers: dict[str, dict[str, JsonObject]] = {}
    for row in _rows(predictions):
        answers.setdefault(row["variant"], {})[row["id"]] = row
    if missing := [name for name in (first, second) if name not in answers]:
        remedy = f"one of {', '.join(sorted(answers))}{did_you_mean(missing[0], tuple(answers))}"
        raise UserError(f"no variant is called {missing[0]!r}", file=predictions, remedy=remedy)
    both = [(row, answers[second][key]) for key, row in answers[first].items() if key in answers[second]]
    distinct = [(a, b) for a, b in both if a["answer"] and b["answer"] and a["answer"].strip() != b["answer"].strip()]
    if not distinct:
        raise UserError(f"{first!r} and {second!r} gave the same answer to every row", file=predictions)
    return random.Random(seed).sample(distinct, min(rows, len(distinct)))


def _rows(predictions: str | Path) -> list[JsonObject]:
    from gemtune.evaluation.predictions import read_predictions

    return [row for rows in read_predictions(str(predictions)).answers.values() for row in rows]


@judge_app.command()
def export(
    predictions: Predictions,
    examples: Examples,
    out: Annotated[Path, typer.Option(help="Ratings file to write (CSV).")],
    rows: Annotated[int, typer.Option(min=1, help="Number of answers to rate.")] = 100,
    seed: Annotated[int, typer.Option(help="Seed of the random sample.")] = 7,
    as_json: Json = False,
) -> None:
    """Export a random sample of answers for people to rate.

    Fill in the column `rating` of the CSV file, name the file in evaluate.judge.ratings, then run `gemtune judge
    validate`. The file does not name the variants.
    """
    from gemtune.data.example import read_examples
    from gemtune.evaluation import human_ratings

    texts = {example.id: example.text for example in read_examples(examples)}
    if not (answered := [row for row in _rows(predictions) if row["answer"]]):
        raise UserError("no row has an answer", file=predictions)
    sample = random.Random(seed).sample(answered, min(rows, len(answered)))
    human_ratings.write_ratings_file(out, sample, texts)
    line = f"{len(sample)} answers to rate in {out}; set evaluate.judge.ratings to this file"
    echo({"answers": len(sample), "out": str(out)}, as_json, line)


@judge_app.command()
def export_pairs(
    predictions: Predictions,
    examples: Examples,
    variants: Annotated[tuple[str, str], typer.Option(help="Names of the two variants to compare.")],
    out: Annotated[Path, typer.Option(help="Ratings file to write (CSV).")],
    rows: Annotated[int, typer.Option(min=1, help="Number of pairs to compare.")] = 100,
    both_orders: Annotated[
        bool, typer.Option("--both-orders", help="Include each pair twice, the second time reversed.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Seed of the random sample and of the order within a pair.")] = 7,
    as_json: Json = False,
) -> None:
    """Export pairs of different answers to the same row, for people to say which is better.

    Fill in the column `better` of the CSV file (first, second or tie), then run `gemtune judge validate --pairs FILE`.
    The file does not name the variants.
    """
    from gemtune.data.example import read_examples
    from gemtune.evaluation import human_ratings

    texts = {example.id: example.text for example in read_examples(examples)}
    sample = sample_pairs(predictions, *variants, rows, seed)
    human_ratings.write_pair_ratings_file(out, sample, texts, seed=seed, both_orders=both_orders)
    line = f"{len(sample)} pairs to compare in {out}; then: gemtune judge validate CONFIG --pairs {out}"
    echo({"pairs": len(sample), "out": str(out)}, as_json, line)


@judge_app.command()
def validate(
    config: Annotated[
        Path, typer.Argument(help="Configuration with evaluate.judge.model and .ratings.", metavar="CONFIG")
    ],
    overrides: Overrides = None,
    pairs: Annotated[
        Path | None, typer.Option(help="Ratings file of `export-pairs`, used instead of evaluate.judge.ratings.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Compare the LLM judge with human ratings: agreement, bias, and whether a gate rule may use it.

    The judge rates the same answers (these requests are billed). Exit code 1 if the lower bound of the agreement is
    below evaluate.judge.min_agreement.
    """
    from gemtune.evaluation.evaluator import validate_judge

    settings = load(config, overrides)
    result = validate_judge(settings.task, settings.evaluate, settings.vertex, pairs or "")
    echo(result.model_dump(mode="json"), as_json, *report_lines(result))
    if not result.validated:
        raise typer.Exit(1)


def report_lines(result: JudgeValidation) -> list[str]:
    """The result of a judge validation as lines of text."""
    biases = {"judge": result.judge_biases, "people": result.human_biases}
    values = {name: result.agreement[name] for name in MEASURES if name in result.agreement}
    if result.length_correlation:
        values["length_correlation"] = result.length_correlation
    for side, bias in biases.items():
        if bias:
            values |= {f"{side} chose_first": bias.chose_first, f"{side} chose_longer": bias.chose_longer}
    table = [f"{name:19} {score.value:6.2f}  ({score.low:.2f} to {score.high:.2f})" for name, score in values.items()]
    table += [f"{side}: {bias.ties} ties, {bias.order_flips} order flips" for side, bias in biases.items() if bias]
    if threshold := result.threshold:
        kappa = threshold.kappa
        table.append(
            f"good from a score of {threshold.score:g}: kappa with people {kappa.value:.2f} "
            f"({kappa.low:.2f} to {kappa.high:.2f}) on held-out rows"
        )
    return [*table, result.summary]
