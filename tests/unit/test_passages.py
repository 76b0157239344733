# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Passages that many texts have in common: found in any share and place, never in copies of one text."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemtune.dedup.passages import find_passages, without_passages

FOOTER = "This message is confidential and meant for the person it is addressed to; delete it if that is not you."


def sentences(count: int, words: int, seed: int = 0) -> list[str]:
    draw = random.Random(seed)
    known = ["".join(draw.choices("abcdefghijklmnop", k=6)) for _ in range(300)]
    return [" ".join(draw.choices(known, k=words)) for _ in range(count)]


@pytest.mark.parametrize("holders", [5, 20, 200])
@pytest.mark.parametrize("shape", ["{} FOOTER", "FOOTER {}", "Dear all FOOTER {}", "{}\n<p>FOOTER</p>\n<br/>"])
def test_passages_are_found_in_any_share_and_place(holders: int, shape: str) -> None:
    plain = sentences(200, 8)
    texts = [shape.replace("FOOTER", FOOTER).format(t) if i < holders else t for i, t in enumerate(plain)]
    for i, (left, text) in enumerate(zip(without_passages(texts), plain, strict=True)):
        assert text in left.text
        assert FOOTER not in left.text
        assert bool(left.passages) == (i < holders)


def test_passages_between_slots_are_found_and_the_slots_are_left() -> None:
    slots = [(f"{n:05d}", word) for n, word in enumerate(sentences(40, 1))]
    texts = [
        f"We write about your order {n}, which was handed to our driver {word}, who will bring it tomorrow. {FOOTER}"
        for n, word in slots
    ]
    for (number, word), left in zip(slots, without_passages(texts), strict=True):
        assert left.text.split() == [f"{number},", f"{word},"]


@pytest.mark.parametrize("copies", [2, 6, 30])
def test_passages_are_not_the_text_of_copies(copies: int) -> None:
    draw = random.Random(copies)
    (original,) = sentences(1, 60, 1)
    edited = []
    for _ in range(copies):
        words = original.split()
        words[draw.randrange(60)] = "edited"
        edited.append(" ".join(words))
    texts = [*sentences(50, 20), original, *edited]
    assert [left.text for left in without_passages(texts)] == texts
    with_footers = [f"{text}. {FOOTER}" if i % 3 else text for i, text in enumerate(texts)]
    assert [left.text.rstrip(".") for left in without_passages(with_footers)] == texts


def test_passages_found_in_some_texts_are_removed_from_others() -> None:
    passages = find_passages([f"{text} {FOOTER}" for text in sentences(30, 8)])
    (left,) = passages.remainders([f"something else. {FOOTER.upper()}"])
    assert left.text == "something else."
    assert passages.remainders(["", "nothing"]) == [(("",), ()), (("nothing",), ())]


PIECES = st.sampled_from(["on monday", "in the new flat", FOOTER[:60], FOOTER, "届かない荷物について", "😀", "a", ""])


@given(st.lists(st.lists(PIECES, max_size=4).map(" ".join), max_size=30))
def test_passages_leave_lines_of_the_text(texts: list[str]) -> None:
    remainders = without_passages(texts)
    assert len(remainders) == len(texts)
    for text, left in zip(texts, remainders, strict=True):
        assert all(line in text for line in left.text.split("\n"))
        assert left.passages or left.text == text
