# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Extracted values are compared by the rules of their fields, alike in references, answers, metrics and reports."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemtune.config import ModelVariant, Prompt, Task
from gemtune.contents import ModelOutput
from gemtune.data.example import Example
from gemtune.errors import UserError
from gemtune.evaluation import metrics
from gemtune.evaluation.metrics import Row
from gemtune.evaluation.scorers import score_sample
from gemtune.inference.field_values import canonical_object
from gemtune.inference.parsing import canonical, parse
from gemtune.predictor import Predictor
from gemtune.steps.report import recipe

RULES = ("exact", "number", "date", "ignore_case", "set", "sequence")


def are_equal(rules: list[str], left: Any, right: Any) -> bool:
    return canonical_object({"x": left}, {"x": rules}) == canonical_object({"x": right}, {"x": rules})


SPELLED_DATES = ["1. März 2026", "1er mars 2026", "1 de marzo de 2026", "1 marzo 2026", "1 de março de 2026"]


@pytest.mark.parametrize(
    ("rules", "left", "right", "equal"),
    [
        ([], " Bern\n", "Ｂｅｒｎ", True), ([], "Bern", "bern", False), (["ignore_case"], "Bern", "BERN ", True),
        ([], "ab  c", "ab c", True), (["exact"], "ab  c", "ab c", False), (["exact"], "12", "１２", False),
        ([], "12", 12, False), ([], 12.0, 12, True), (["number"], "12", 12, True), (["number"], "12.50", 12.5, True),
        (["number"], "1,234.50", "1.234,50", True), (["number"], "1,234", 1234, True), (["number"], "1,5", 1.5, True),
        (["number"], "12,34,567.5", 1234567.5, True), (["date"], "2024-03-05", "令和６年3月5日", True),
        (["date"], "2019-05-01", "令和元年5月1日", True), (["date"], "2024-03-05", "民國113年3月5日", True),
        (["number"], "−3", -3, True), (["number"], "12 EUR", 12, False), (["number"], "n/a", "N/A", False),
        (["number"], "0.1", 0.1000001, False), (["number"], True, 1, False), (["number"], "5 kg", "5 g", False),
        (["number"], "12345678901234567890.1", "12345678901234567890.2", False),
        (["date"], "2026-10-28", "28.10.2026", True), (["date"], "October 28, 2026", "2026年10月28日", True),
        *((["date"], "2026-03-01", spelled, True) for spelled in SPELLED_DATES),
        (["date"], "3 mai 2026", "3 juin 2026", False),
        (["date"], "2026-10-28", "2026-10-29", False), (["date"], "3/4/2026", "2026-04-03", False),
        (["date"], "3/4/2026", "3/4/2026", True), (["date"], "Oct 2026", "2026-10-01", False),
        (["date"], "2026-10-28T14:00:00+02:00", "2026-10-28T12:00:00Z", True),
        (["date"], "2026-01-02 10:30 EST", "2026-01-02 10:30 PST", False), (["date"], "unknown", "Unknown", False),
        ([], ["a", "b"], ["b", "a"], True), ([], ["a", "a"], ["a"], False),
        (["set"], ["a", "b", "a"], ["b", "a"], True),
        (["sequence"], ["a", "b"], ["b", "a"], False), (["sequence"], ["a", "b"], ["a", " b"], True),
        (["sequence", "number"], ["1", "2"], [1, 2.0], True),
        (["set", "ignore_case"], ["A", "b"], ["B", "a", "a"], True),
        (["set", "exact"], ["1"], [1], False),
    ],
)  # fmt: skip
def test_field_rules_decide_which_values_are_equal(rules: list[str], left: Any, right: Any, equal: bool) -> None:
    assert are_equal(rules, left, right) is equal


def test_field_rules_reach_into_objects_and_lists() -> None:
    rules = {"items": ["sequence"], "items.price": ["number"], "buyer.name": ["ignore_case"]}
    left = {"items": [{"price": "1.50"}, {"price": 2}], "buyer": {"name": "Ann"}, "note": None}
    right = {"items": [{"price": 1.5}, {"price": "2,0"}], "buyer": {"name": "ANN"}}
    assert canonical_object(left, rules) == canonical_object(right, rules)
    right["items"].reverse()  # type: ignore[attr-defined]
    assert canonical_object(left, rules) != canonical_object(right, rules)


SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(
    st.sampled_from("0123456789.,-+e '年月日/:TZaBß ﬁ"), max_size=14)  # fmt: skip
VALUES = SCALARS | st.lists(SCALARS, max_size=4)
SOME_RULES = st.lists(st.sampled_from(RULES), max_size=2)


@given(VALUES, SOME_RULES)
def test_canonical_objects_are_stable(value: Any, rules: list[str]) -> None:
    once = canonical_object({"x": value}, {"x": rules})
    assert canonical_object(json.loads(once), {"x": rules}) == once


@given(st.decimals(-(10**9), 10**9, places=2), st.sampled_from(["{:.2f}", "{:,.2f}", " {:.2f} ", "{:.3f}"]))
def test_numbers_are_equal_in_every_notation(number: Decimal, notation: str) -> None:
    german = f"{number:,.2f}".translate(str.maketrans(",.", ".,"))
    assert are_equal(["number"], notation.format(number), float(number))
    assert are_equal(["number"], german, float(number))


@given(st.dates(), st.sampled_from(["%Y-%m-%d", "%Y/%m/%d", "%Y年%m月%d日", "%B %d, %Y", "%d %b %Y", "%Y%m%d"]))
def test_dates_are_equal_in_every_unambiguous_notation(day: Any, notation: str) -> None:
    if day.year >= 1000:
        assert are_equal(["date"], day.strftime(notation), day.isoformat())


@given(st.lists(st.sampled_from("abc"), max_size=5), st.lists(st.sampled_from("abc"), max_size=5))
def test_sequences_are_equal_only_in_order(left: list[str], right: list[str]) -> None:
    assert are_equal(["sequence"], left, right) == (left == right)
    assert are_equal(["set"], left, right) == ({*left} == {*right})
    assert are_equal([], left, right) == (sorted(left) == sorted(right))


def test_metrics_and_the_report_compare_by_the_same_rules() -> None:
    rules = {"steps": "sequence", "total": "number", "who": "ignore_case"}
    task = Task.of({"kind": "extraction", "field_rules": rules})
    target = '{"steps": ["a", "b", "c"], "total": "826.97", "who": "Ann", "day": "x"}'
    reference = canonical(task, target)
    assert reference is not None
    right = parse(task, Prompt(), '{"total": 826.970, "who": "ANN", "steps": ["a", "b", "c"], "day": "x"}').value
    wrong = parse(task, Prompt(), '{"total": 826.97, "who": "ann", "steps": ["c", "a", "b"], "day": "X"}').value
    rows = [Row(reference, right), Row(reference, wrong)]
    assert metrics.measure(task, "exact_match", rows).value() == 0.5
    assert {c.label: (c.recall, c.support) for c in metrics.per_field(task, rows)} == {
        "steps": (5 / 6, 6), "total": (1.0, 2), "who": (1.0, 2), "day": (0.5, 2),
    }  # fmt: skip
    assert metrics.measure(task, "field_recall", rows).value() == pytest.approx(10 / 12)


def test_a_schema_accepts_what_a_rule_reads() -> None:
    schema = {"type": "object", "properties": {"total": {"type": "number"}, "name": {"type": "string"}}}
    task = Task.of({"kind": "extraction", "output_schema": schema, "field_rules": {"total": "number"}})
    assert parse(task, Prompt(), '{"total": "1,234.5"}').value == '{"total": 1234.5}'
    assert "total" in (parse(task, Prompt(), '{"total": "much"}').problem or "")
    plain = task.model_copy(update={"field_rules": {}})
    assert "total" in (parse(plain, Prompt(), '{"total": "1,234.5"}').problem or "")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kind": "generation", "field_rules": {"a": "number"}}, "for kind extraction"),
        ({"kind": "extraction", "field_rules": {"a": ["number", "date"]}}, "exclude each other"),
        ({"kind": "extraction", "field_rules": {"a": ["set", "sequence"]}}, "exclude each other"),
        ({"kind": "extraction", "field_rules": {"a": "fuzzy"}}, "field_rules.a"),
        ({"kind": "extraction", "field_rules": {"b": "date"},
          "output_schema": {"type": "object", "properties": {"a": {"type": "string"}}}}, "'b' is not in"),
        ({"kind": "extraction", "field_rules": {"a.c": "date"}, "output_schema": {"type": "object", "properties": {
            "a": {"type": "array", "items": {"type": "object", "properties": {"b": {}}}}}}}, "'c' is not in"),
    ],
)  # fmt: skip
def test_wrong_field_rules_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Task.of(settings)


def test_predictor_returns_values_as_the_model_wrote_them() -> None:
    rules = {"who": "ignore_case", "steps": "sequence", "total": "number"}
    schema = {"type": "object", "properties": {"who": {}, "steps": {}, "total": {"type": "number"}}}
    task = Task.of({"kind": "extraction", "field_rules": rules, "output_schema": schema})
    served = ModelVariant.of({"name": "c", "model": "m"})
    answer = '{"steps": ["b", "a"], "total": "1,234.50", "who": "Ann"}'
    score = score_sample(task, served, Example("1", "t", '{"who": "ANN"}'), ModelOutput(text=answer))
    assert score.row.parsed == '{"steps": ["b", "a"], "total": 1234.5, "who": "ann"}'
    assert (
        Predictor(recipe(task, served, {"base_model": "m"}, {}, []), {"project": "p"})._prediction(score).value
        == answer
    )


@pytest.mark.parametrize(
    "text",
    ["Tuesday, March 5, 2024", "Dienstag, 5. März 2024", "le mardi 5 mars 2024", "el martes, 5 de marzo de 2024",
     "martedì 5 marzo 2024", "terça-feira, 5 de março de 2024", "2024年3月5日（火）", "2024年3月5日 火曜日",
     "2024年3月5日星期二", "2024년 3월 5일 화요일", "2024년 3월 5일(화)"],
)  # fmt: skip
def test_dates_are_read_with_their_weekday_and_article(text: str) -> None:
    assert json.loads(canonical_object({"at": text}, {"at": ["date"]})) == {"at": "2024-03-05"}
    assert json.loads(canonical_object({"at": "Sunday 2024"}, {"at": ["date"]})) == {"at": "Sunday 2024"}
