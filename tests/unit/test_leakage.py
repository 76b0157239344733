# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The leakage certificate: every kind of planted overlap is counted, and only where it was planted."""

import random
from typing import Any

import numpy as np
import pytest

from gemtune.artifacts.data import LeakageReport
from gemtune.data.example import Example, example_id
from gemtune.data.leakage import LeakageConfig, leakage_report, near_matches
from gemtune.dedup.embedding import neighbours

VOCABULARY = ["".join(random.Random(n).choices("abcdefghijklmnop", k=6)) for n in range(4000)]


def said(seed: int, words: int = 25) -> str:
    return " ".join(random.Random(seed).choices(VOCABULARY, k=words))


def made(text: str, **more: Any) -> Example:
    return Example(id=example_id(text, "a"), text=text, target="a", **more)


def splits(**planted: list[Example]) -> dict[str, list[Example]]:
    """Random texts that have nothing in common, and what is planted among them."""
    start = {"train": 0, "validation": 1000, "test": 2000}
    return {name: [*(made(said(n + k)) for k in range(40)), *planted.get(name, [])] for name, n in start.items()}


def counts(told: LeakageReport) -> dict[tuple[str, str], dict[str, int]]:
    kinds = ("exact", "group", "near", "passage", "semantic")
    return {
        (pair.split, pair.other_split): {kind: getattr(pair, kind) for kind in kinds if getattr(pair, kind)}
        for pair in told.overlaps
    }


def test_nothing_planted_is_clean() -> None:
    told = leakage_report(splits())
    assert told.clean is True
    assert counts(told) == {("test", "validation"): {}, ("test", "train"): {}, ("validation", "train"): {}}


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
def test_each_kind_is_counted_where_it_was_planted(
    planted: dict[str, str], pair: tuple[str, str], found: dict[str, int]
) -> None:
    told = leakage_report(splits(**{name: [made(text)] for name, text in planted.items()}))
    none: dict[tuple[str, str], dict[str, int]] = {key: {} for key in counts(told)}
    assert counts(told) == {**none, pair: found}
    assert told.clean is not ("near" in found)


def test_groups_that_cross_are_counted() -> None:
    some = splits(train=[made(said(5005), group="g")], test=[made(said(5006), group="g")])
    told = leakage_report(some, LeakageConfig(cosine=0))
    assert counts(told)["test", "train"] == {"group": 1}
    assert told.clean is False


def test_what_is_turned_off_is_not_looked_for() -> None:
    text = said(5000, 60)
    some = splits(train=[made(text)], test=[made(text)])
    told = leakage_report(some, LeakageConfig(jaccard=0, passage_chars=0, cosine=0))
    (pair,) = [pair for pair in told.overlaps if (pair.split, pair.other_split) == ("test", "train")]
    assert [getattr(pair, kind) for kind in ("exact", "near", "passage", "semantic")] == [1, 0, 0, 0]
    assert told.embedded == {}


def test_large_splits_are_sampled_and_the_certificate_says_so() -> None:
    told = leakage_report(splits(), LeakageConfig(max_embedded=10))
    assert told.embedded == {"train": 10, "validation": 10, "test": 10}


@pytest.mark.parametrize("swap", [False, True])
def test_near_is_the_same_whichever_side_is_indexed(swap: bool) -> None:
    few, many = [said(1), said(2), said(3)], [said(n) + " more" for n in (9, 3, 8, 1, 3, 7)]
    found = near_matches(many, few, 0.7) if swap else near_matches(few, many, 0.7)
    assert found == ({1: 2, 3: 0, 4: 2} if swap else {0: 3, 2: 1})


def test_neighbours_are_those_of_brute_force() -> None:
    draw = np.random.default_rng(4)
    vectors = draw.normal(size=(1300, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    mine, others = vectors[:900], vectors[900:]
    cosines = mine @ others.T
    expected = {i: int(row.argmax()) for i, row in enumerate(cosines) if row.max() >= 0.9}
    assert neighbours(mine, others, 0.9) == expected
    assert len(expected) > 10
    assert neighbours(mine, others[:0], 0.9) == {}
