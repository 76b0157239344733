# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Deduplication: the laws, planted truth against brute force, and kernels that agree with their oracle."""

import random
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from oracles import kernels as oracle
from oracles.shingles import jaccard, normalize, shingles

from gemtune.dedup import (
    BOUNDARY,
    band_shape,
    build_sketches,
    keep,
    leaders,
    letter_table,
    similarities,
)
from gemtune.dedup._numba import minhash

ALPHABET = f"abc  D1é.，カ価👍👎\U0001d54f{BOUNDARY}"
ROUGH = st.lists(st.text(alphabet=ALPHABET, max_size=14), max_size=20)
LINE = "the parcel of my kettle never came although you said it would arrive on monday morning"
WORDS = LINE.split(" ")


def corpus(seed: int, count: int, words: list[str]) -> list[str]:
    """Texts and edited copies of them, at all similarities."""
    draw = random.Random(seed)
    texts = [" ".join(draw.choices(words, k=draw.randrange(3, 60)))]
    while len(texts) < count:
        parts = draw.choice(texts).split() if draw.random() < 0.6 else draw.choices(words, k=draw.randrange(3, 60))
        for _ in range(draw.randrange(6)):
            parts[draw.randrange(len(parts))] = draw.choice(words)
        texts.append(" ".join(parts))
    return texts


@pytest.mark.parametrize("words", [WORDS, [*WORDS, "naïve", "届かない荷物", "Größe"]])
def test_keep_has_full_precision_and_high_recall(words: list[str]) -> None:
    draw = random.Random(5)
    texts = corpus(1, 300, [*words, *("".join(draw.choices("abcdefghij", k=6)) for _ in range(300))])
    kept = keep(texts)
    sets = [shingles(text) for text in texts]
    for i in np.flatnonzero(~kept):
        assert any(kept[j] and jaccard(sets[i], sets[j]) >= 0.8 for j in range(i))
    pairs = [(i, j) for i, j in combinations(range(len(texts)), 2) if jaccard(sets[i], sets[j]) >= 0.8]
    assert len(pairs) > 50
    assert sum(kept[i] and kept[j] for i, j in pairs) <= len(pairs) * 0.002


@given(ROUGH, st.sampled_from([0.3, 0.8, 1.0]))
@example([f"{BOUNDARY}👍", f"{BOUNDARY}👎", BOUNDARY], 0.8)  # no letter, but a boundary
def test_kernels_agree_with_the_numpy_oracle(texts: list[str], threshold: float) -> None:
    if texts:
        fast, slow = build_sketches(texts, threshold), oracle.build_sketches(texts, threshold)
        for sketches in (fast, slow):
            compared = [oracle.compared_text(sketches, i) for i in range(len(texts))]
            assert compared == [normalize(text) for text in texts]
        assert (
            fast.wide.tolist() == slow.wide.tolist() == [max(normalize(text), default=" ") > "\xff" for text in texts]
        )
        assert (fast.low == slow.low).all()
        assert (fast.keys == slow.keys).all()
    assert leaders(texts, threshold).tolist() == oracle.leaders(texts, threshold).tolist()


def test_compiled_works_where_no_folder_can_keep_the_machine_code() -> None:
    defined: dict[str, Any] = {}
    exec(compile("def twice(number): return 2 * number", "of no file", "exec"), defined)
    assert minhash.compiled(defined["twice"])(21) == 42


def test_kernels_agree_with_the_numpy_oracle_on_longer_texts() -> None:
    texts = corpus(2, 300, [*WORDS, "naïve", "届かない荷物"])
    assert leaders(texts).tolist() == oracle.leaders(texts).tolist()


@given(ROUGH)
def test_keep_is_idempotent(texts: list[str]) -> None:
    kept = [text for text, stays in zip(texts, keep(texts), strict=True) if stays]
    assert keep(kept).all()


def test_keep_ignores_the_number_of_threads() -> None:
    texts = corpus(3, 6000, WORDS)
    assert (keep(texts, threads=1) == keep(texts, threads=3)).all()


def test_leaders_have_the_same_class() -> None:
    texts = ["please cancel my order", "Please cancel my order!", "please cancel my order."]
    assert leaders(texts, classes=["a", "b", "a"]).tolist() == [0, 1, 0]


def test_keep_separates_emoji_but_not_punctuation() -> None:
    assert keep(["👍", "👎", "👍", "!!", "?", ""]).tolist() == [True, True, False, True, False, False]


def test_keep_compares_whole_texts_whatever_is_in_them() -> None:
    assert keep([f"hello{BOUNDARY}a", f"hello{BOUNDARY}b", f"👍{BOUNDARY}", f"👎{BOUNDARY}"]).all()


def test_letter_table_is_complete() -> None:
    table = letter_table(wide=True)
    assert all(table[code] == 32 for code in range(0x40000, 0x110000))
    assert not any(chr(code).isalnum() for code in range(0x40000, 0x110000))


@pytest.mark.parametrize("threshold", [0, -1, 1.1])
def test_keep_refuses_a_threshold_out_of_range(threshold: float) -> None:
    with pytest.raises(ValueError, match="threshold"):
        keep(["a"], threshold)


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.7, 0.8, 0.9, 0.95])
def test_band_shape_misses_few_pairs_at_the_threshold(threshold: float) -> None:
    bands, rows = band_shape(threshold)
    assert (1 - threshold**rows) ** bands < 0.001


@given(st.lists(st.text(f"abc é日本語{BOUNDARY}", max_size=40), min_size=2, max_size=8))
def test_similarities_are_those_of_python_sets(texts: list[str]) -> None:
    pairs = np.array([(i, j) for i in range(len(texts)) for j in range(i)])
    expected = [jaccard(shingles(texts[i]), shingles(texts[j])) for i, j in pairs.tolist()]
    assert np.allclose(similarities(texts, pairs), expected)
