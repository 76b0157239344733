# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Rules on rows: shared instructions, near conflicts, repeated passages, meaning, and the guard."""

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gemtune.config import Preprocess, Task
from gemtune.data.compared_text import remove_shared_frame, shared_frame
from gemtune.data.duplicates import (
    check_removal_limits,
    drop_near_duplicates,
    drop_semantic_duplicates,
    near_conflicts,
    remove_repeated_passages,
    resolve_exact_duplicates,
)
from gemtune.data.example import Example, example_id
from gemtune.dedup.embedding import embed, leaders
from gemtune.errors import UserError

FRAME = "Read the ticket below and answer with exactly one of the known labels.\n\nTicket: "
END = "\n\nAnswer with the label only, and nothing else please."


def example(text: str, label: str = "a", line: int = 0) -> Example:
    return Example(id=example_id(text, label), text=text, target=label, line=line)


def sentences(count: int, seed: int = 0) -> list[str]:
    draw = random.Random(seed)
    words = ["".join(draw.choices("abcdefghijklmnop", k=6)) for _ in range(300)]
    return [" ".join(draw.choices(words, k=5)) for _ in range(count)]


def test_near_duplicates_ignore_a_shared_instruction() -> None:
    plain = sentences(40)
    framed = [example(FRAME + text + END, line=i) for i, text in enumerate(plain)]
    assert remove_shared_frame([row.text for row in framed[:34]] + plain[34:]) == plain
    assert len(drop_near_duplicates(framed, Task(), Preprocess())[0]) == 40


OPENINGS = st.sampled_from(["", "an instruction of words ", "an instruction of words, and more ", "an instruction "])
FRAMED = st.tuples(OPENINGS, st.text("ab ", max_size=4)).map("".join)
MOSTLY = st.just("an instruction of words ") | FRAMED


@given(st.lists(FRAMED, min_size=20, max_size=22) | st.lists(MOSTLY, min_size=20, max_size=22))
@settings(max_examples=60, deadline=None)
def test_frame_is_the_longest_shared_by_four_fifths(texts: list[str]) -> None:
    size = len(texts) * 4 // 5
    starts = {text[:n] for text in texts for n in range(len(text) + 1)}
    shared = max((start for start in starts if sum(text.startswith(start) for text in texts) >= size), key=len)
    words = shared[: max((i + 1 for i, letter in enumerate(shared) if letter == " "), default=0)]
    assert shared_frame(texts)[0] == (words if len(words) >= 20 else "")
    assert shared_frame([text[::-1] for text in texts])[1] == (words[::-1] if len(words) >= 20 else "")


@given(st.lists(st.text(alphabet="ab c", max_size=60), min_size=20, max_size=30))
@settings(max_examples=60, deadline=None)
def test_without_frame_never_empties_a_text(texts: list[str]) -> None:
    for before, after in zip(texts, remove_shared_frame(texts), strict=True):
        assert after in before
        assert bool(after.strip()) == bool(before.strip())


def test_near_duplicates_with_other_labels_are_kept_and_reported() -> None:
    rows = [
        example("please cancel the order I made on monday", "cancel", 1),
        example("please cancel the order I made on Monday.", "keep", 2),
    ]
    kept, dropped = drop_near_duplicates(rows, Task(), Preprocess())
    assert (len(kept), dropped) == (2, [])
    assert [{a.line, b.line} for a, b in near_conflicts(rows, Task(), Preprocess())] == [{1, 2}]


PASSAGE = "This message is confidential and meant for the person it is addressed to; delete it if that is not you."


@pytest.mark.parametrize(("action", "kept", "dropped"), [("report", 3, 0), ("trim", 3, 0), ("drop", 2, 1)])
def test_repeated_passages_are_reported_cut_or_dropped(action: str, kept: int, dropped: int) -> None:
    rows = [example(f"first words here {PASSAGE}"), example(f"{PASSAGE} other words"), example("nothing in common")]
    stay, leave, found = remove_repeated_passages(rows, Preprocess.of({"repeated": action, "repeated_chars": 50}))
    assert (len(stay), len(leave)) == (kept, dropped)
    assert found.rows == 1
    assert PASSAGE in found.longest
    assert sum(PASSAGE in row.text for row in stay) == (2 if action == "report" else 1)
    if action == "trim":
        assert {"first words here", "other words"} & {row.text for row in stay}


@given(st.integers(0, 1000), st.sampled_from([0.5, 0.9]))
@settings(max_examples=25, deadline=None)
def test_semantic_leaders_agree_with_a_slow_version(seed: int, threshold: float) -> None:
    draw = np.random.default_rng(seed)
    vectors = draw.normal(size=(700, 3)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    classes = draw.integers(0, 2, 700).tolist()
    kept: list[int] = []
    for i in range(700):
        if not any(classes[j] == classes[i] and vectors[i] @ vectors[j] >= threshold - 1e-6 for j in kept):
            kept.append(i)
    assert np.flatnonzero(leaders(vectors, threshold, classes) == np.arange(700)).tolist() == kept


def test_semantic_duplicates_match_reordered_words_only() -> None:
    texts = sentences(30)
    shuffled = " ".join(reversed(texts[0].split(" ")))
    rows = [example(text, line=i) for i, text in enumerate([*texts, shuffled])]
    kept, dropped = drop_semantic_duplicates(rows, Task(), Preprocess(semantic_threshold=0.9))
    assert len(kept) == 30
    assert {dropped[0].line, next(row.line for row in rows if row.id == dropped[0].kept_id)} == {0, 30}
    assert np.allclose(np.linalg.norm(embed(texts), axis=1), 1, atol=1e-5)


def test_removal_limits_stop_on_a_large_cluster() -> None:
    rows = [example("the same text" + " " * i, line=i) for i in range(30)]
    kept, dropped = resolve_exact_duplicates(rows, Task(), Preprocess())
    config = Preprocess(max_removed_share=1, max_cluster=20)
    with pytest.raises(UserError, match=r"cluster of 30 rows.*the same text as line"):
        check_removal_limits(30, len(kept), "exact deduplication", config, dropped)
    check_removal_limits(30, len(kept), "exact deduplication", Preprocess(max_removed_share=1), dropped)
