# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The leakage certificate: every kind of planted overlap is counted, and only where it was planted."""

import random
from typing import Any

import numpy as np
import pytest

from gemtune.data.example import Example, example_id
from gemtune.data.leakage import Looked, certificate, near
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


def counts(told: dict[str, Any]) -> dict[tuple[str, str], dict[str, int]]:
    kinds = ("exact", "group", "near", "passage", "meaning")
    return {(pair["of"], pair["in"]): {k: pair[k] for k in kinds if pair[k]} for pair in told["overlaps"]}


def test_leakage_report_is_clean_without_planted_leaks() -> None:
    told = certificate(splits())
    assert told["clean"] is True
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
            {"exact": 1, "near": 1, "meaning": 1},
        ),
        (
            {"train": said(5001), "validation": "another " + said(5001)},
            ("validation", "train"),
            {"near": 1, "passage": 1, "meaning": 1},
        ),
        (
            {"validation": f"{said(5003)} {said(5002)[:120]}", "test": f"{said(5002)[:120]} {said(5004)}"},
            ("test", "validation"),
            {"passage": 1},
        ),
        ({"train": said(5001), "test": shuffled(said(5001))}, ("test", "train"), {"meaning": 1}),
    ],
    ids=["exact", "near", "passage", "meaning"],
)
def test_leakage_report_counts_each_planted_kind(
    planted: dict[str, str], pair: tuple[str, str], found: dict[str, int]
) -> None:
    told = certificate(splits(**{name: [made(text)] for name, text in planted.items()}))
    none: dict[tuple[str, str], dict[str, int]] = {key: {} for key in counts(told)}
    assert counts(told) == {**none, pair: found}
    assert told["clean"] is not ("near" in found)


def test_leakage_report_counts_crossing_groups() -> None:
    some = splits(train=[made(said(5005), group="g")], test=[made(said(5006), group="g")])
    told = certificate(some, Looked(meaning=0))
    assert counts(told)["test", "train"] == {"group": 1}
    assert told["clean"] is False


def test_leakage_report_skips_disabled_checks() -> None:
    text = said(5000, 60)
    some = splits(train=[made(text)], test=[made(text)])
    told = certificate(some, Looked(near=0, passage=0, meaning=0))
    (pair,) = [pair for pair in told["overlaps"] if (pair["of"], pair["in"]) == ("test", "train")]
    assert [pair[kind] for kind in ("exact", "near", "passage", "meaning")] == [1, 0, 0, 0]
    assert told["embedded"] == {}


def test_leakage_report_states_sampling_of_large_splits() -> None:
    told = certificate(splits(), Looked(most=10))
    assert told["embedded"] == {"train": 10, "validation": 10, "test": 10}


@pytest.mark.parametrize("swap", [False, True])
def test_leakage_near_is_symmetric(swap: bool) -> None:
    few, many = [said(1), said(2), said(3)], [said(n) + " more" for n in (9, 3, 8, 1, 3, 7)]
    found = near(many, few, 0.7) if swap else near(few, many, 0.7)
    assert found == ({1: 2, 3: 0, 4: 2} if swap else {0: 3, 2: 1})


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
