# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Sheets (CSV) that people fill in: a rating of each answer, or which of two answers is better. Out and in.

Who answered is not shown.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gemtune.data import csv_safe
from gemtune.data.example import Example
from gemtune.errors import UserError
from gemtune.evaluation.agreement import PairwiseChoice

RATINGS = ("id", "text", "reference", "answer", "rating")
PAIRS = ("id", "text", "reference", "first", "second", "better")
BETTER = ("first", "second", "tie")


@dataclass(frozen=True)
class HumanRating:
    """An answer that people rated, the mean of their ratings, and the row it answers."""

    example: Example
    answer: str
    rating: float


@dataclass(frozen=True)
class HumanPairRating:
    """Two answers that people compared, and which most of them call `better` (first, second, tie; equal votes: tie).

    `flipped`: it was shown in both orders, and the order decided. `choices` are the single votes as they were shown.
    """

    example: Example
    first: str
    second: str
    better: str
    flipped: bool
    choices: Sequence[PairwiseChoice]


def write_ratings_file(path: str | Path, rows: Iterable[Mapping[str, Any]], texts: Mapping[str, str]) -> None:
    """A sheet of prediction rows with an empty column `rating`."""
    told = ([row["id"], texts.get(row["id"], ""), row["reference"], row["answer"] or "", ""] for row in rows)
    csv_safe.write(path, RATINGS, told)


def write_pair_ratings_file(
    path: str | Path,
    pairs: Iterable[tuple[Mapping[str, Any], Mapping[str, Any]]],
    texts: Mapping[str, str],
    *,
    seed: int,
    both_orders: bool = False,
) -> None:
    """A sheet of pairs of prediction rows with an empty column `better`: first, second or tie.

    Which answer stands first is drawn by seed; with `both_orders` each pair stands there twice, the second time turned
    around and far from the first.
    """
    rng = random.Random(seed)
    shown = [pair if rng.random() < 0.5 else pair[::-1] for pair in pairs]
    turned = [pair[::-1] for pair in shown] if both_orders else []
    told = (
        [one["id"], texts.get(one["id"], ""), one["reference"], one["answer"] or "", two["answer"] or "", ""]
        for one, two in (*shown, *turned)
    )
    csv_safe.write(path, PAIRS, told)


def read_ratings(path: str | Path, scale: Sequence[int]) -> list[HumanRating]:
    """The rated rows of a filled sheet with their texts and answers; several ratings of one answer are averaged.

    Raises `UserError` naming the line of a wrong rating, or the columns that are missing.
    """
    found: dict[tuple[str, str], tuple[Example, list[float]]] = {}
    for line, row in _filled(path, RATINGS):
        example = Example(row["id"], row["text"], row["reference"], line)
        found.setdefault((row["id"], row["answer"]), (example, []))[1].append(_rating(path, line, row["rating"], scale))
    return [HumanRating(example, key[1], sum(values) / len(values)) for key, (example, values) in found.items()]


def read_pair_ratings(path: str | Path) -> list[HumanPairRating]:
    """The compared pairs of a filled sheet; several votes on one pair, in either order, are counted together.

    Raises `UserError` naming the line of a wrong word, or the columns that are missing.
    """
    found: dict[tuple[str, frozenset[str]], list[tuple[int, dict[str, str]]]] = {}
    for line, row in _filled(path, PAIRS):
        row["better"] = row["better"].strip().lower()
        if row["better"] not in BETTER:
            raise UserError(
                f"{row['better']!r} is none of {', '.join(BETTER)}", file=path, line=line, remedy="correct it"
            )
        found.setdefault((row["id"], frozenset((row["first"], row["second"]))), []).append((line, row))
    return [_pair(votes) for votes in found.values()]


def _pair(votes: Sequence[tuple[int, Mapping[str, str]]]) -> HumanPairRating:
    line, shown = votes[0]
    straight = [row["better"] for _, row in votes if row["first"] == shown["first"]]
    around = [_TURNED[row["better"]] for _, row in votes if row["first"] != shown["first"]]
    choices = [PairwiseChoice(row["better"], len(row["first"]), len(row["second"])) for _, row in votes]
    flipped = {_most(straight), _most(around)} == {"first", "second"}
    example = Example(shown["id"], shown["text"], shown["reference"], line)
    return HumanPairRating(example, shown["first"], shown["second"], _most([*straight, *around]), flipped, choices)


_TURNED = {"first": "second", "second": "first", "tie": "tie"}


def _most(votes: Sequence[str]) -> str:
    counts = Counter(votes).most_common(2)
    return counts[0][0] if counts and (len(counts) == 1 or counts[0][1] > counts[1][1]) else "tie"


def _filled(path: str | Path, columns: Sequence[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """Lines whose last column is filled in."""
    found = 0
    for line, row in csv_safe.read(path, columns):
        if (row[columns[-1]] or "").strip():
            found += 1
            yield line, {name: cell or "" for name, cell in row.items()}
    if not found:
        raise UserError("no row of the sheet is rated", file=path, remedy=f"fill in the column {columns[-1]}")


def _rating(path: str | Path, line: int, text: str, scale: Sequence[int]) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not scale[0] <= value <= scale[1]:
        raise UserError(
            f"{text!r} is no rating from {scale[0]} to {scale[1]}", file=path, line=line, remedy="correct it"
        )
    return value
