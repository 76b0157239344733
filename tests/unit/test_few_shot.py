# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Few-shot examples, slices and the TF-IDF baseline."""

from __future__ import annotations

import tracemalloc
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemtune.config import Prompt, Task
from gemtune.data.example import Example
from gemtune.data.profile import script
from gemtune.evaluation.slices import by_number, with_auto_slices
from gemtune.inference import tfidf_baseline
from gemtune.inference.few_shot import _highest, select_shots

TRAIN = [
    *(Example(f"o{i}", f"cancel my order number {i}", "cancel") for i in range(12)),
    *(Example(f"r{i}", f"please refund payment {i}", "refund") for i in range(6)),
    *(Example(f"j{i}", f"注文{i}を返品したい", "return") for i in range(3)),
]
QUERIES = [Example("q1", "refund the payment of May", "refund"), Example("q2", "昨日の注文を返品します", "return")]


@given(st.integers(1, 30), st.integers(0, 5), st.sampled_from(["random", "balanced", "similar"]))
def test_choose_shots_never_repeats_or_takes_the_query(count, seed, selection):
    prompt = Prompt(shots=count, seed=seed, selection=selection)
    queries = [*QUERIES, TRAIN[0]]
    chosen = select_shots(prompt, TRAIN, queries)
    for query, shots in zip(queries, chosen, strict=True):
        assert len(shots) == min(count, len(TRAIN) - (query in TRAIN))
        assert len({s.id for s in shots}) == len(shots)
        assert all(s in TRAIN and s.text != query.text for s in shots)
    assert chosen == select_shots(prompt, TRAIN, queries)


def test_choose_balanced_shots_alternates_classes():
    shots = select_shots(Prompt(shots=6), TRAIN, QUERIES)[0]
    assert Counter(s.target for s in shots) == {"cancel": 2, "refund": 2, "return": 2}


def test_choose_shots_ignores_row_order():
    prompt = Prompt(shots=5, selection="random")
    assert select_shots(prompt, TRAIN, QUERIES) == select_shots(prompt, TRAIN[::-1], QUERIES)
    assert select_shots(prompt, TRAIN, QUERIES) != select_shots(
        Prompt(shots=5, selection="random", seed=8), TRAIN, QUERIES
    )


def test_choose_similar_shots_puts_the_nearest_last():
    chosen = select_shots(Prompt(shots=3, selection="similar"), TRAIN, QUERIES)
    assert [[s.target for s in shots] for shots in chosen] == [["refund"] * 3, ["return"] * 3]
    near = Example("q3", "cancel my order number 11 now", "cancel")
    assert select_shots(Prompt(shots=2, selection="similar"), TRAIN, [near])[0][-1].id == "o11"


@given(st.lists(st.sampled_from([0.0, 0.1, 0.25, 0.5, 1.0]), min_size=1, max_size=40), st.integers(1, 50))
def test_highest_agrees_with_a_stable_sort(scores, count):
    whole = np.argsort(-np.array(scores), kind="stable")[:count]
    assert _highest(np.array(scores), count).tolist() == whole.tolist()


def test_choose_shots_is_empty_without_rows_or_shots():
    assert select_shots(Prompt(), TRAIN, QUERIES) == [[], []]
    assert select_shots(Prompt(shots=3), [], QUERIES) == [[], []]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("hello", "latin"), ("東京へ行く", "japanese"), ("カタカナ", "japanese"), ("北京是首都", "chinese"),
        ("서울특별시 API", "korean"), ("Привет", "cyrillic"), ("123!", "none"), ("ＡＢＣ", "latin"),
    ],
)  # fmt: skip
def test_script_separates_writing_systems(text, name):
    assert script(text) == name


def test_sliced_adds_informative_slices_and_keeps_the_datas_own():
    rows = with_auto_slices(
        [Example(str(i), "x" * (i + 1), "a", slices={"length": "mine"} if i == 0 else {}) for i in range(9)]
    )
    assert rows[0].slices == {"length": "mine"}
    assert Counter(r.slices["length"] for r in rows[1:]) == {
        "at most 4 characters": 3, "at most 7 characters": 3, "over 7 characters": 2,
    }  # fmt: skip
    assert all("script" not in row.slices for row in rows)


@pytest.mark.parametrize(
    "ordered",
    [
        ["at most 8 characters", "at most 44 characters", "at most 118 characters", "over 118 characters"],
        ["-3", "0.25", "0.5", "2", "10", "1e3"],
        ["<5", "5-10", "10-20", ">20"],
        ["2023-9", "2023-12", "2024-01"],
        ["0.25 EUR", "0.5 EUR", "10 EUR"],
        ["web", "week 2", "week 10"],
        ["", "nan", "web", "١", "٢", "١٠"],
    ],
)
def test_by_number_orders_values_by_their_numbers(ordered):
    assert sorted(reversed(ordered), key=by_number) == ordered


@given(st.lists(st.text() | st.floats().map(str), unique=True))
def test_by_number_orders_any_values_in_one_way(values):
    assert sorted(values, key=by_number) == sorted(reversed(values), key=by_number)


def test_tfidf_baseline_learns_and_states_when_it_does_not_apply():
    task = Task(labels=["cancel", "refund", "return"])
    assert [a.text for a in tfidf_baseline.predict(TRAIN, QUERIES)] == ["refund", "return"]
    assert tfidf_baseline.is_applicable(task, TRAIN)
    assert not tfidf_baseline.is_applicable(task, TRAIN[:12])
    assert not tfidf_baseline.is_applicable(Task(kind="extraction"), TRAIN)
    assert not tfidf_baseline.is_applicable(Task(labels=["a"], label_separator=";"), TRAIN)


def test_tfidf_baseline_needs_no_more_memory_for_more_labels():
    """A model of all labels at once would take their number times as much."""

    def peak(labels: int) -> int:
        rows = [Example(str(n), f"word{n % labels} of row {n}, {n * n} in all", f"l{n % labels}") for n in range(200)]
        tracemalloc.start()
        predicted = tfidf_baseline.predict(rows, rows)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert sum(a.text == row.target for a, row in zip(predicted, rows, strict=True)) > 190
        return most

    peak(2)  # what is imported and compiled once
    assert peak(60) < 1.3 * peak(2)
