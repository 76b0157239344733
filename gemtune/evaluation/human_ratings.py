# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Ratings files (CSV) for people to fill in: a rating per answer, or which of two answers is better.

The files do not name the variants.
"""

import random
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gemtune.config import Judge
from gemtune.data import csv_safe
from gemtune.data.example import Example
from gemtune.data.sources import local_path
from gemtune.errors import UserError
from gemtune.evaluation.agreement import PairwiseChoice
from gemtune.evaluation.verdicts import CHOICES, score_of, verdict_of
from gemtune.inference.field_values import read_number

RATINGS = ("id", "text", "reference", "answer", "rating")
PAIRS = ("id", "text", "reference", "first", "second", "better")


@dataclass(frozen=True)
class HumanRating:
    """An answer with its row and the mean of its ratings by people."""

    example: Example
    answer: str
    rating: float


@dataclass(frozen=True)
class HumanPairRating:
    """Two answers that people compared, and the majority for `better` (first, second, tie; equal votes: tie).

    `flipped`: shown in both orders, with opposite majorities. `choices` are the single votes in the order shown.
    """

    example: Example
    first: str
    second: str
    better: str
    flipped: bool
    choices: Sequence[PairwiseChoice]


def write_ratings_file(path: str | Path, rows: Iterable[Mapping[str, Any]], texts: Mapping[str, str]) -> None:
    """Write prediction rows with an empty column `rating`."""
    cells = ([row["id"], texts.get(row["id"], ""), row["reference"], row["answer"] or "", ""] for row in rows)
    csv_safe.write(path, RATINGS, cells)


def write_pair_ratings_file(
    path: str | Path,
    pairs: Iterable[tuple[Mapping[str, Any], Mapping[str, Any]]],
    texts: Mapping[str, str],
    *,
    seed: int,
    both_orders: bool = False,
) -> None:
    """Write pairs of prediction rows with an empty column `better`: first, second or tie.

    The order within a pair is random by `seed`; with `both_orders` every pair appears a second time, reversed, after
    all others.
    """
    rng = random.Random(seed)
    shuffled = [pair if rng.random() < 0.5 else pair[::-1] for pair in pairs]
    reversed_pairs = [pair[::-1] for pair in shuffled] if both_orders else []
    cells = (
        [left["id"], texts.get(left["id"], ""), left["reference"], left["answer"] or "", right["answer"] or "", ""]
        for left, right in (*shuffled, *reversed_pairs)
    )
    csv_safe.write(path, PAIRS, cells)


def load_human_ratings(judge: Judge) -> list[HumanRating]:
    """The human ratings, if the settings name a judge and a ratings file; the file may be in a bucket."""
    if not (judge.model and judge.ratings):
        return []
    with local_path(judge.ratings) as path:
        return read_ratings(path, judge.scale)


def read_ratings(path: str | Path, scale: Sequence[int]) -> list[HumanRating]:
    """The ratings in a filled file with texts and answers; several ratings of one answer are averaged.

    Raises `UserError` with the line of an invalid rating, or the missing columns.
    """
    by_answer: dict[tuple[str, str], tuple[Example, list[float]]] = {}
    for line, row in _filled_rows(path, RATINGS):
        example = Example(row["id"], row["text"], row["reference"], line)
        _, ratings = by_answer.setdefault((row["id"], row["answer"]), (example, []))
        ratings.append(_rating(path, line, row["rating"], scale))
    return [HumanRating(example, key[1], sum(values) / len(values)) for key, (example, values) in by_answer.items()]


def read_pair_ratings(path: str | Path) -> list[HumanPairRating]:
    """The compared pairs in a filled file; all votes on one pair, in either order, are counted together.

    Raises `UserError` with the line of an invalid vote, or the missing columns.
    """
    by_pair: dict[tuple[str, frozenset[str]], list[tuple[int, dict[str, str]]]] = {}
    for line, row in _filled_rows(path, PAIRS):
        vote = verdict_of(row["better"])
        if vote is None:
            raise UserError(
                f"{row['better']!r} is not one of {', '.join(CHOICES)}", file=path, line=line, remedy="correct it"
            )
        row["better"] = vote
        by_pair.setdefault((row["id"], frozenset((row["first"], row["second"]))), []).append((line, row))
    return [_pair(votes) for votes in by_pair.values()]


def _pair(votes: Sequence[tuple[int, Mapping[str, str]]]) -> HumanPairRating:
    line, first_vote = votes[0]
    votes_as_shown = [row["better"] for _, row in votes if row["first"] == first_vote["first"]]
    reversed_votes = [_REVERSED[row["better"]] for _, row in votes if row["first"] != first_vote["first"]]
    choices = [PairwiseChoice(row["better"], len(row["first"]), len(row["second"])) for _, row in votes]
    flipped = {majority(votes_as_shown), majority(reversed_votes)} == {"first", "second"}
    example = Example(first_vote["id"], first_vote["text"], first_vote["reference"], line)
    better = majority([*votes_as_shown, *reversed_votes])
    return HumanPairRating(example, first_vote["first"], first_vote["second"], better, flipped, choices)


_REVERSED = {"first": "second", "second": "first", "tie": "tie"}


def majority(votes: Sequence[str]) -> str:
    """The choice with most votes; equal votes are a tie."""
    counts = Counter(votes).most_common(2)
    return counts[0][0] if counts and (len(counts) == 1 or counts[0][1] > counts[1][1]) else "tie"


def _filled_rows(path: str | Path, columns: Sequence[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """Lines whose last column is not empty."""
    any_filled = False
    for line, row in csv_safe.read(path, columns):
        if (row[columns[-1]] or "").strip():
            any_filled = True
            yield line, {name: cell or "" for name, cell in row.items()}
    if not any_filled:
        raise UserError("no row is rated", file=path, remedy=f"fill in the column {columns[-1]}")


def _rating(path: str | Path, line: int, text: str, scale: Sequence[int]) -> float:
    number = read_number(text)
    rating = float(number) if isinstance(number, int | float) else score_of(text, scale)
    if rating is None or not scale[0] <= rating <= scale[1]:
        raise UserError(
            f"{text!r} is not a rating from {scale[0]} to {scale[1]}", file=path, line=line, remedy="correct it"
        )
    return rating
