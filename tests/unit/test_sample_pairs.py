# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Pairs of sampled answers: grades far enough apart, the best answer or the reference over the worst."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gemtune.config import Preference
from gemtune.data.example import Example, Pair, RejectedRow
from gemtune.data.pairs import build_pair, extremes, sampled_pairs


@given(st.lists(st.none() | st.floats(0, 100), max_size=6), st.floats(0, 60))
def test_extremes_are_far_enough_apart(grades: list[float | None], gap: float) -> None:
    known = [grade for grade in grades if grade is not None]
    found = extremes(grades, gap)
    if found is None:
        assert len(known) < 2 or max(known) - min(known) < max(gap, 1e-9)
    else:
        assert grades[found[0]] == max(known)
        assert grades[found[1]] == min(known)
        assert max(known) - min(known) >= gap


def test_build_pair_uses_extremes_or_the_reference() -> None:
    row, answers, grades = Example("r", "text", "reference", line=4), ["a", "b", "c"], [40.0, None, 80.0]
    assert build_pair(row, answers, grades, Preference()) == Pair("r", "c", "a", 4)
    errors = Preference(chosen_from="reference")
    assert build_pair(row, answers, grades, errors) == Pair("r", "reference", "a", 4)
    right = build_pair(row, ["reference"], [100.0], errors)
    assert isinstance(right, RejectedRow)
    assert right.reason == "no_gap"


def test_sampled_pairs_are_of_rows_whose_answers_differ_enough() -> None:
    rows = [Example(name, f"text {name}", "reference", line=n) for n, name in enumerate("pq", 1)]
    pairs, rejected = sampled_pairs(rows, [["a", "b"]] * 2, [[90.0, 10.0], [50.0, 50.0]], Preference())
    assert pairs == [Pair("p", "a", "b", 1)]
    assert [(row.line, row.reason) for row in rejected] == [(2, "no_gap")]
