# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The leakage certificate: every kind of planted overlap is counted, and only where it was planted."""

import random
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from gemtune.artifacts.data import LeakageReport
from gemtune.config import Split, Task
from gemtune.data import leakage
from gemtune.data.compared_text import Remainders
from gemtune.data.example import Example, example_id
from gemtune.data.leakage import leakage_report
from gemtune.dedup.embedding import neighbours
from gemtune.dedup.overlaps import overlaps

VOCABULARY = ["".join(random.Random(n).choices("abcdefghijklmnop", k=6)) for n in range(4000)]


def said(seed: int, words: int = 25) -> str:
    return " ".join(random.Random(seed).choices(VOCABULARY, k=words))


def made(text: str, **more: Any) -> Example:
    return Example(id=example_id(text, "a"), text=text, target="a", **more)


def splits(**planted: list[Example]) -> dict[str, list[Example]]:
    """Random texts that have nothing in common, and what is planted among them."""
    start = {"train": 0, "validation": 1000, "test": 2000}
    return {name: [*(made(said(n + k)) for k in range(40)), *planted.get(name, [])] for name, n in start.items()}


def counts(report: LeakageReport) -> dict[tuple[str, str], dict[str, int]]:
    kinds = ("exact", "group", "near", "passage", "semantic")
    return {
        (pair.split, pair.other_split): {kind: getattr(pair, kind) for kind in kinds if getattr(pair, kind)}
        for pair in report.overlaps
    }


def test_leakage_report_is_clean_without_planted_leaks() -> None:
    report = leakage_report(splits())
    assert report.clean is True
    assert counts(report) == {("test", "validation"): {}, ("test", "train"): {}, ("validation", "train"): {}}


def shuffled(text: str) -> str:
    words = text.split()
    random.Random(1).shuffle(words)
    return " ".join(words)


@pytest.mark.parametrize(
    ("planted", "pair", "found"),
    [
        (
            {"train": said(5000), "test": said(5000).upper() + "!"},
            ("test", "train"),
            {"exact": 1, "near": 1, "semantic": 1},
        ),
        (
            {"train": said(5001), "validation": "another " + said(5001)},
            ("validation", "train"),
            {"near": 1, "passage": 1, "semantic": 1},
        ),
        (
            {"validation": f"{said(5003)} {said(5002)[:120]}", "test": f"{said(5002)[:120]} {said(5004)}"},
            ("test", "validation"),
            {"passage": 1},
        ),
        ({"train": said(5001), "test": shuffled(said(5001))}, ("test", "train"), {"semantic": 1}),
    ],
    ids=["exact", "near", "passage", "semantic"],
)
def test_leakage_report_counts_each_planted_kind(
    planted: dict[str, str], pair: tuple[str, str], found: dict[str, int]
) -> None:
    report = leakage_report(splits(**{name: [made(text)] for name, text in planted.items()}))
    none: dict[tuple[str, str], dict[str, int]] = {key: {} for key in counts(report)}
    assert counts(report) == {**none, pair: found}
    assert report.clean is not ("near" in found)


def test_leakage_report_compares_what_is_left_without_common_passages() -> None:
    footer = f" -- {said(7000, 30)}"
    some = {name: [made(row.text[:40] + footer) for row in rows] for name, rows in splits().items()}
    some["train"].append(made(some["test"][3].text.removesuffix(footer)))
    report = leakage_report(some, Split(semantic_threshold=0))
    assert counts(report)["test", "train"] == {"exact": 1, "near": 1}
    assert counts(report)["validation", "train"] == {}


@pytest.mark.parametrize(("kind", "near"), [("extraction", 0), ("classification", 1)])
def test_leakage_report_counts_no_row_whose_derived_target_differs(kind: str, near: int) -> None:
    texts = {"train": said(5000) + " 12345", "test": said(5000) + " 12346"}
    planted = {name: [replace(made(text), target=f'{{"n": "{text[-5:]}"}}')] for name, text in texts.items()}
    report = leakage_report(
        splits(**planted), Split(passage_chars=0, semantic_threshold=0), task=Task.of({"kind": kind})
    )
    assert counts(report)["test", "train"] == ({"near": near} if near else {})


def test_find_overlaps_derives_the_values_of_a_row_once(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, asked = [made(f"{said(5000 + n % 10)} {n:05}", line=n) for n in range(40)], list[int]()
    assert len(overlaps([row.text for row in rows[:20]], [row.text for row in rows[20:]], 0.7)) == 40
    monkeypatch.setattr(leakage, "derived_values", lambda row, task: asked.append(row.line) or str(row.line))
    assert leakage.find_overlaps(rows[:20], rows[20:], 0.7) == {}
    assert sorted(asked) == [row.line for row in rows]


def test_leakage_report_counts_crossing_groups() -> None:
    some = splits(train=[made(said(5005), group="g")], test=[made(said(5006), group="g")])
    report = leakage_report(some, Split(semantic_threshold=0))
    assert counts(report)["test", "train"] == {"group": 1}
    assert report.clean is False


def test_leakage_report_skips_disabled_checks() -> None:
    text = said(5000, 60)
    some = splits(train=[made(text)], test=[made(text)])
    report = leakage_report(some, Split(jaccard_threshold=0, passage_chars=0, semantic_threshold=0))
    (pair,) = [pair for pair in report.overlaps if (pair.split, pair.other_split) == ("test", "train")]
    assert [getattr(pair, kind) for kind in ("exact", "near", "passage", "semantic")] == [1, 0, 0, 0]
    assert report.embedded == {}


def test_leakage_report_states_sampling_of_large_splits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leakage, "MAX_EMBEDDED", 10)
    report = leakage_report(splits())
    assert report.embedded == {"train": 10, "validation": 10, "test": 10}


@pytest.mark.parametrize("swap", [False, True])
def test_leakage_near_is_symmetric(swap: bool) -> None:
    few, many = [said(1), said(2), said(3)], [said(n) + " more" for n in (9, 3, 8, 1, 3, 7)]
    found = overlaps(many, few, 0.7) if swap else overlaps(few, many, 0.7)
    assert found.tolist() == ([[1, 2], [3, 0], [4, 2]] if swap else [[0, 3], [2, 1], [2, 4]])


def test_near_pairs_of_rows_that_were_searched_are_not_searched_again(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [made(said(n % 40) + " again" * (n // 40)) for n in range(120)]
    remainders, searches = Remainders(), 0

    def counted(*searched: Any) -> Any:
        nonlocal searches
        searches += 1
        return overlaps(*searched)

    monkeypatch.setattr("gemtune.dedup.overlaps.overlaps", counted)
    train, test = rows[:70], rows[70:]
    assert len(remainders.near_pairs(train, test, 0.7)) > 50
    for few, many in ((test[::-2], train[5:60]), (train[::3], test[9:]), (test, train)):
        texts = remainders.compared([*few, *many])
        expected = overlaps(texts[: len(few)], texts[len(few) :], 0.7)
        assert remainders.near_pairs(few, many, 0.7).tolist() == expected.tolist()
    assert searches == 1
    remainders.near_pairs(train, test, 0.8)
    remainders.near_pairs(train[:50], train[50:], 0.7)
    assert searches == 3


def test_leakage_neighbours_agree_with_brute_force() -> None:
    draw = np.random.default_rng(4)
    vectors = draw.normal(size=(1300, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    mine, others = vectors[:900], vectors[900:]
    cosines = mine @ others.T
    expected = {i: int(row.argmax()) for i, row in enumerate(cosines) if row.max() >= 0.9}
    assert neighbours(mine, others, 0.9) == expected
    assert len(expected) > 10
    assert neighbours(mine, others[:0], 0.9) == {}


def test_leakage_neighbours_of_many_dimensions_agree_with_brute_force() -> None:
    draw = np.random.default_rng(5)
    vectors = draw.normal(size=(700, 200)).astype(np.float32) / np.arange(1, 201, dtype=np.float32) ** 0.5
    vectors[500:] = vectors[:200] + draw.normal(size=(200, 200)) * np.geomspace(0.01, 1, 200)[:, None] * 0.2
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    cosines = vectors[:500] @ vectors[500:].T
    expected = {i: int(row.argmax()) for i, row in enumerate(cosines) if row.max() >= 0.95}
    assert neighbours(vectors[:500], vectors[500:], 0.95) == expected
    assert 50 < len(expected) < 200
