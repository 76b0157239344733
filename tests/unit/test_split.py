# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Splits partition, stay put as data grows, and nothing crosses."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gemtune.config import Split
from gemtune.data import Example, example_id, write_examples
from gemtune.dedup import jaccard, shingles
from gemtune.dedup.leakage import certificate
from gemtune.errors import UserError
from gemtune.split import NAMES, absent, divide, run

NOUNS = ["red", "green", "blue", "tall", "small", "river", "stone", "bread", "paper", "glass"]
WORDS = st.lists(st.sampled_from(NOUNS), min_size=1, max_size=6)


def made(text: str, label: str = "a", **more: Any) -> Example:
    return Example(id=example_id(text, label), text=text, target=label, **more)


@st.composite
def corpora(draw: st.DrawFn) -> list[Example]:
    texts = draw(st.lists(WORDS.map(" ".join), unique=True, max_size=30))
    groups = st.sampled_from([None, "g1", "g2", "g3"])
    asked = st.sampled_from([None, None, None, "train", "validation", "test"])
    return [made(text, draw(st.sampled_from("ab")), group=draw(groups), split=draw(asked)) for text in texts]


@given(corpora())
@settings(max_examples=60, deadline=None)
def test_splits_and_left_out_rows_partition_the_examples(examples: list[Example]) -> None:
    splits, left = divide(examples, Split())
    placed = [e.id for name in NAMES for e in splits[name]] + [e.id for e, _ in left]
    assert sorted(placed) == sorted(e.id for e in examples)


@given(corpora())
@settings(max_examples=60, deadline=None)
def test_no_group_and_no_near_pair_crosses(examples: list[Example]) -> None:
    splits, _ = divide(examples, Split())
    for name in NAMES:
        for other in NAMES:
            if name != other:
                assert not {e.group for e in splits[name]} & {e.group for e in splits[other]} - {None}
                for a in splits[name]:
                    assert all(jaccard(shingles(a.text), shingles(b.text)) < 0.8 for b in splits[other])


@given(st.lists(WORDS.map(" ".join), unique=True, min_size=2, max_size=30), st.integers(0, 29), st.integers(0, 5))
@settings(max_examples=60, deadline=None)
def test_adding_rows_moves_none(texts: list[str], cut: int, seed: int) -> None:
    examples = [made(text) for text in texts]
    config = Split(seed=seed)
    homes = [
        {e.id: name for name in NAMES for e in divide(some, config)[0][name]} for some in (examples[:cut], examples)
    ]
    assert all(homes[1].get(key, home) == home for key, home in homes[0].items())


def test_a_given_split_is_respected_and_validation_carved_from_train() -> None:
    examples = [made(f"text number {i} about {i * 37}", split="train" if i % 4 else "test") for i in range(200)]
    splits, _ = divide(examples, Split(near_threshold=0))
    assert all(example.split == "test" for example in splits["test"])
    assert len(splits["test"]) == 50
    assert 15 <= len(splits["validation"]) <= 45


def test_test_wins_over_train(tmp_path: Path) -> None:
    examples = [
        made("the parcel with my blue kettle never came", split="test"),
        made("the parcel with my blue kettle never come", split="train"),
        made("something else altogether", split="train"),
    ]
    splits, left = divide(examples, Split())
    assert [example.text for example in splits["test"]] == ["the parcel with my blue kettle never came"]
    assert [example.text for example, _ in left] == ["the parcel with my blue kettle never come"]


def test_a_copy_that_differs_in_spaces_alone_does_not_cross() -> None:
    examples = [made("top up", split="test"), made("topup", split="train"), made("withdraw", split="train")]
    splits, left = divide(examples, Split())
    assert [example.text for example, _ in left] == ["topup"]
    assert certificate(splits, 0.8)["clean"] is True


def test_too_few_rows_is_an_error_that_names_the_split(tmp_path: Path) -> None:
    path = tmp_path / "examples"
    write_examples(path, [made(f"row {i}") for i in range(10)])
    outputs = [str(tmp_path / name) for name in (*NAMES, "report")]
    with pytest.raises(UserError, match=r"split\.min_rows asks for 20"):
        run(str(path), {}, *outputs)
    assert not any(Path(name).exists() for name in outputs)


def test_run_writes_three_files_and_a_certificate(tmp_path: Path) -> None:
    path = tmp_path / "examples"
    write_examples(path, [made(f"{i * 7919} tells of {i * 104729}", "ab"[i % 2]) for i in range(200)])
    outputs = [str(tmp_path / name) for name in (*NAMES, "report")]
    counts = run(str(path), {"seed": 3.0}, *outputs)
    report = json.loads((tmp_path / "report").read_text())
    assert report["rows"] == {name: counts[name] for name in NAMES}
    assert report["certificate"]["clean"] is True
    assert sum(report["rows"].values()) + counts["left_out"] == 200


@pytest.mark.parametrize("numbers", [True, False])
def test_by_time_the_newest_rows_are_test(numbers: bool) -> None:
    times = [str(i) if numbers else f"2026-01-{i // 24 + 1:02d}T{i % 24:02d}:00:00" for i in range(200)]
    examples = [made(f"row {i * 7919}", slices={"at": times[(i * 37) % 200]}) for i in range(200)]
    splits, _ = divide(examples, Split(time_column="at", near_threshold=0))
    assert [len(splits[name]) for name in NAMES] == [120, 30, 50]
    place = {name: [times.index(example.slices["at"]) for example in splits[name]] for name in NAMES}
    assert max(place["train"]) < min(place["validation"]) <= max(place["validation"]) < min(place["test"])


def test_a_time_that_is_none_is_named() -> None:
    with pytest.raises(UserError, match="'at' is 'soon', not a time"):
        divide([made("a", slices={"at": "soon"})], Split(time_column="at"))


def test_labels_that_nothing_measures_are_named() -> None:
    train = [made(f"row {n}", "a" if n % 2 else "b") for n in range(20)]
    splits = {"train": train, "validation": [made("v", "a")], "test": [made("x", "a"), made("y", "b")]}
    assert absent(splits) == {"validation": ["b"]}
    free = [made(f"row {n}", f"a text of its own {n}") for n in range(20)]
    assert absent({"train": free, "validation": [], "test": []}) == {}
