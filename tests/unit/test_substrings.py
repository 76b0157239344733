# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Repeated spans: exactly the windows that occur twice."""

import random
from collections import Counter
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracles import kernels as oracle

from gemtune.dedup.substrings import Span, repeated_spans, shared_passages

TEXTS = st.lists(st.text(alphabet="abÿ\uffff👍", max_size=25), max_size=8)


def windows_of(texts: list[str], length: int) -> set[tuple[int, int]]:
    counts = Counter(text[i : i + length] for text in texts for i in range(len(text) - length + 1))
    return {
        (k, i)
        for k, text in enumerate(texts)
        for i in range(len(text) - length + 1)
        if counts[text[i : i + length]] > 1
    }


def covered(spans: list[Span], length: int) -> set[tuple[int, int]]:
    return {(span.text, i) for span in spans for i in range(span.begin, span.end - length + 1)}


@pytest.mark.parametrize("search", [repeated_spans, oracle.repeated_spans])
@given(texts=TEXTS | st.lists(st.text(alphabet="ab", max_size=25), max_size=8), length=st.integers(2, 9))
def test_repeated_spans_cover_exactly_the_repeated_windows(
    search: Callable[[list[str], int], list[Span]], texts: list[str], length: int
) -> None:
    assert covered(search(texts, length), length) == windows_of(texts, length)


@given(texts=TEXTS, length=st.integers(2, 9))
def test_kernels_agree_with_the_plain_oracle(texts: list[str], length: int) -> None:
    assert repeated_spans(texts, length) == oracle.repeated_spans(texts, length)


@pytest.mark.parametrize("search", [shared_passages, oracle.shared_passages])
@given(
    texts=TEXTS | st.lists(st.text(alphabet="ab", max_size=25), max_size=8),
    cut=st.integers(0, 8),
    length=st.integers(2, 9),
)
def test_shared_passages_equal_brute_force(
    search: Callable[[list[str], list[str], int], list[int]], texts: list[str], cut: int, length: int
) -> None:
    mine, others = texts[:cut], texts[cut:]
    known = {text[i : i + length] for text in others for i in range(len(text) - length + 1)}
    shared = [
        k for k, text in enumerate(mine) if any(text[i : i + length] in known for i in range(len(text) - length + 1))
    ]
    assert search(mine, others, length) == shared


def test_repeated_spans_find_planted_passages() -> None:
    draw = random.Random(9)
    passage = "".join(draw.choices("abcdefgh ", k=300))
    texts = ["".join(draw.choices("abcdefgh ", k=2000)) for _ in range(30)]
    texts[3] = texts[3][:700] + passage + texts[3][700:]
    texts[11] = passage + texts[11]
    assert repeated_spans(texts, 100) == [Span(3, 700, 1000, False), Span(11, 0, 300, True)]


def test_repeated_spans_never_cross_texts() -> None:
    assert repeated_spans(["abcd", "ef", "abcd", "ef"], 5) == []


def test_repeated_spans_refuse_a_length_below_two() -> None:
    with pytest.raises(ValueError, match="length"):
        repeated_spans(["a"], 1)
