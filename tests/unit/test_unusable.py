# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Variants with too many unusable answers: shares, forms, and what the report says of them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemtune.artifacts.evaluation import UnusableForm, invalid_rate
from gemtune.evaluation.scorers import describe_unusable, unusable_forms

OUTCOMES = ["ok", "invalid", "refusal", "blocked", "truncated", "error"]
ODD = st.text() | st.sampled_from(["\ud800", '{"a": "b', "[" * 200, "返金です", "", " \n", "९९"])


@pytest.mark.parametrize(
    ("outcomes", "share"),
    [
        ({}, 0.0),
        ({"ok": 10}, 0.0),
        ({"ok": 4, "invalid": 1, "refusal": 2, "blocked": 2, "truncated": 1}, 0.6),
        ({"ok": 4, "truncated": 1, "error": 95}, 0.2),  # failed requests are no answers
        ({"error": 3}, 0.0),
    ],
)
def test_invalid_rate_counts_unusable_answers_only(outcomes: dict[str, int], share: float) -> None:
    assert invalid_rate(outcomes) == pytest.approx(share)


@pytest.mark.parametrize(
    ("answers", "form"),
    [
        (["答えは返金です", "答えは配送です"], "答えは<label>です"),
        (["It is REFUND, 95 %", "It is return,  7 %"], "It is <label>, 0 %"),
        (["it returns", "it returns"], "it returns"),  # a label is a word, not a part of one
        (['{"name": "Ann", "n": 3', '{"name": "Bob \\"B\\"", "n": 12'], '{"name": "…", "n": 0'),
        ([None, None], ""),
        (["x" * 200, "x" * 300], "x" * 80 + "…"),
    ],
)
def test_unusable_forms_differ_in_labels_numbers_and_values_only(answers: list[Any], form: str) -> None:
    labels = ["refund", "return", "返金", "配送"]
    rows = [("invalid", answer) for answer in answers] + [("ok", "refund"), ("error", None)]
    assert unusable_forms(labels, rows) == [UnusableForm(outcome="invalid", form=form, rows=2)]


@given(st.lists(st.tuples(st.sampled_from(OUTCOMES), st.none() | ODD)), st.lists(ODD, max_size=3))
def test_unusable_forms_count_no_row_twice_and_can_be_written(answers: list[Any], labels: list[str]) -> None:
    forms = unusable_forms(labels, answers)
    assert sum(form.rows for form in forms) <= sum(outcome not in ("ok", "error") for outcome, _ in answers)
    assert len(forms) <= 5
    assert all(form.model_dump_json() for form in forms)


def test_describe_unusable_names_counts_forms_and_remedy() -> None:
    forms = [UnusableForm(outcome="truncated", form="Well, <label>", rows=60)]
    problem = describe_unusable({"ok": 2, "truncated": 72, "invalid": 1}, forms, 0.05)
    assert problem == (
        "97.3% of its answers are unusable, at most 5.0% may be (72 truncated, 1 invalid; most often 'Well, <label>' "
        "(60)): raise max_output_tokens"
    )
    assert "correct the prompt" in describe_unusable({"ok": 1, "invalid": 1}, [], 0.4)
    assert describe_unusable({"ok": 95, "invalid": 5}, forms, 0.05) == ""
