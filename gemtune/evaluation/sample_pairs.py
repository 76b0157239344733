# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Pairs from a model's own answers: several are sampled for each labelled row, the best is paired with the worst.

With `chosen_from: reference` the row's reference is paired with the worst, which makes pairs of a model's errors. The
model is prompted as the tuned one will be.
"""

from __future__ import annotations

from collections.abc import Sequence

from gemtune.config import Preference
from gemtune.data.example import Example, Pair, RejectedRow, to_row


def extremes(grades: Sequence[float | None], min_gap: float) -> tuple[int, int] | None:
    """Places of the best and the worst grade; None when they are nearer than `min_gap`, or there are not two.

    Of equal grades the first counts; answers without a grade are left out.
    """
    graded = [(grade, place) for place, grade in enumerate(grades) if grade is not None]
    if len(graded) < 2:
        return None
    best = max(graded, key=lambda item: (item[0], -item[1]))
    worst = min(graded, key=lambda item: (item[0], item[1]))
    return (best[1], worst[1]) if best[0] - worst[0] >= max(min_gap, 1e-9) else None


def build_pair(
    example: Example, answers: Sequence[str], grades: Sequence[float | None], settings: Preference
) -> Pair | RejectedRow:
    """The best answer over the worst, or the reference over the worst; rejected when their grades are too near."""
    if settings.chosen_from == "reference":
        answers, grades = [example.target, *answers], [100.0, *grades]
    places = extremes(grades, settings.min_gap)
    if places is None or not answers[places[1]].strip() or not answers[places[0]].strip():
        listed = ", ".join("none" if grade is None else f"{grade:.0f}" for grade in grades)
        return RejectedRow(example.line, "no_gap", f"the answers' grades are too near: {listed}", to_row(example))
    return Pair(example.id, answers[places[0]].strip(), answers[places[1]].strip(), example.line)


def sampled_pairs(
    rows: Sequence[Example],
    answers: Sequence[Sequence[str]],
    grades: Sequence[Sequence[float | None]],
    settings: Preference,
) -> tuple[list[Pair], list[RejectedRow]]:
    """A pair for each row whose answers differ enough in grade, and the rejected rows."""
    pairs: list[Pair] = []
    rejected: list[RejectedRow] = []
    for example, own, own_grades in zip(rows, answers, grades, strict=True):
        pair = build_pair(example, own, own_grades, settings)
        if isinstance(pair, RejectedRow):
            rejected.append(pair)
        else:
            pairs.append(pair)
    return pairs, rejected
