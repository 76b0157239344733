# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Overlaps between splits: exactly the pairs that brute force finds, and the oracle."""

import random
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from oracles import kernels as oracle
from oracles.shingles import jaccard, shingles

from gemtune.dedup.overlaps import overlaps

LINE = "a parcel of my kettle never came although you said it would arrive naïve 届かない荷物"
WORDS = LINE.split(" ")
TEXTS = st.lists(st.lists(st.sampled_from(WORDS), max_size=8).map(" ".join), max_size=15)


def brute(texts: list[str], guarded: list[str], threshold: float) -> list[list[int]]:
    mine, theirs = [shingles(text) for text in texts], [shingles(text) for text in guarded]
    return [[i, j] for i, a in enumerate(mine) for j, b in enumerate(theirs) if jaccard(a, b) >= threshold]


@pytest.mark.parametrize("search", [overlaps, oracle.overlaps])
@given(TEXTS, TEXTS, st.sampled_from([0.2, 0.5, 0.8, 1.0]))
def test_overlaps_equal_brute_force(
    search: Callable[..., NDArray[np.int64]], texts: list[str], guarded: list[str], threshold: float
) -> None:
    assert search(texts, guarded, threshold).tolist() == brute(texts, guarded, threshold)


def test_overlaps_find_many_edited_copies() -> None:
    draw = random.Random(4)
    vocabulary = ["".join(draw.choices("abcdefghij", k=5)) for _ in range(400)]
    guarded = [" ".join(draw.choices(vocabulary, k=40)) for _ in range(60)]
    texts = []
    for _ in range(400):
        parts = draw.choice(guarded).split(" ")
        for _ in range(draw.randrange(8)):
            parts[draw.randrange(len(parts))] = draw.choice(vocabulary)
        texts.append(" ".join(parts))
    found = overlaps(texts, guarded, 0.8).tolist()
    assert found == brute(texts, guarded, 0.8)
    assert len(found) > 100


def test_overlaps_handle_more_pairs_than_one_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gemtune.dedup.overlaps._PAIRS_PER_CALL", 3)
    monkeypatch.setattr("gemtune.dedup.overlaps._CHARS_PER_BLOCK", 100)  # of references: some in each block
    texts = [f"{LINE} {n % 7}" for n in range(40)]
    found = overlaps(texts, texts[:9], 0.8).tolist()
    assert found == brute(texts, texts[:9], 0.8)
    assert len(found) == 40 * 9
