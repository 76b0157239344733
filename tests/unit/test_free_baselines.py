# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Free baselines: which there are for each kind of task, what they answer, and that any rows have some."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.constants import study
from gemtune.config import Prompt, Task
from gemtune.data.example import Example
from gemtune.inference.free_baselines import DESCRIPTIONS, free_baselines, leading_sentences
from gemtune.inference.parsing import parse

QUERY = [Example("q", "the third parcel is late again", "")]
OBJECTS = [{"a": 1, "b": "x"}, {"a": 1}, {"a": 1, "c": 2}, {}, {}]


def rows(targets: list[str]) -> list[Example]:
    words = ["first", "second", "third", "fourth", "fifth"]
    return [Example(str(i), f"the {words[i % 5]} parcel. It is late", target) for i, target in enumerate(targets)]


def answers(task: Task, targets: list[str], tfidf: bool = True) -> dict[str, str | None]:
    return {variant.name: outputs[0].text for variant, outputs in free_baselines(task, rows(targets), QUERY, tfidf)}


def test_free_baselines_of_labels() -> None:
    task = Task(labels=["a", "b"])
    assert answers(task, ["a", "b", "b", "a", "b"]) == {"majority_class": "b", "tfidf_baseline": "b"}
    assert answers(task, ["a", "b", "b", "a", "b"], tfidf=False) == {"majority_class": "b"}
    several = Task(labels=["a", "b"], label_separator=";")
    assert answers(several, ["a", "a;b", "b", "a;b", "b;a"]) == {"majority_class": "a;b", "nearest_row": "b"}


def test_free_baselines_of_objects() -> None:
    free = answers(Task(kind="extraction"), list(map(json.dumps, OBJECTS)))
    assert list(map(json.loads, map(str, free.values()))) == [{}, {}, {"a": 1}, {"a": 1, "c": 2}]
    assert list(free) == ["empty_object", "commonest_object", "constant_fields", "nearest_row"]
    schema = {"type": "object", "required": ["a"], "properties": {"a": {"type": "integer"}}}
    required = Task(kind="extraction", output_schema=schema)
    assert list(answers(required, ['{"a": 1}', '{"a": 2}', '{"a": 1}'])) == [
        "commonest_object", "constant_fields", "nearest_row",
    ]  # fmt: skip


@pytest.mark.parametrize("kind", ["summarization", "generation"])
def test_free_baselines_of_texts(kind: str) -> None:
    free = answers(Task(kind=kind), ["late now", "very late", "late", "xyz", "late"])
    assert free == {
        "commonest_text": "late",
        "central_text": "late",
        "nearest_row": "late",
        "leading_sentences": "the third parcel is late again",
    }


@pytest.mark.parametrize(
    ("text", "length", "leading"),
    [
        ("One. Two. Three.", 4, "One."),
        ("One. Two. Three.", 9, "One. Two."),
        ("One. Two. Three.", 0, "One."),
        ("One. Two. Three.", 99, "One. Two. Three."),
        ("It costs 3.50 now. Buy it.", 5, "It costs 3.50 now."),
        ("一つ目。二つ目！三つ目。", 4, "一つ目。"),
        ("「行く。」と言った。次。", 5, "「行く。」"),
        ("पहला वाक्य। दूसरा।", 3, "पहला वाक्य।"),
        ("هل وصلت؟ نعم.", 3, "هل وصلت؟"),
        ("first line\nsecond line", 3, "first line"),
        ("no end", 1, "no end"),
        ("", 5, ""),
    ],
)
def test_leading_sentences_come_nearest_to_a_length(text: str, length: int, leading: str) -> None:
    assert leading_sentences(text, length) == leading


TEXTS = st.text(max_size=12) | st.sampled_from(["", " ", "。", "👍", "1", "\ud800", "a. b", "返金して"])


@given(
    st.sampled_from(["classification", "sentiment", "extraction", "summarization", "generation"]),
    st.lists(st.tuples(TEXTS, st.sampled_from(["a", "b", '{"a": 1}', "", "x y"])), max_size=6),
    st.lists(TEXTS, min_size=1, max_size=3),
)
def test_free_baselines_answer_any_rows(kind: str, train: list[tuple[str, str]], queries: list[str]) -> None:
    task = Task(kind=kind, labels=["a", "b"] if kind in ("classification", "sentiment") else [])
    shown = [Example(str(i), text, target) for i, (text, target) in enumerate(train)]
    free = free_baselines(task, shown, [Example(f"q{i}", text, "") for i, text in enumerate(queries)])
    assert all(len(outputs) == len(queries) for _, outputs in free)
    assert {variant.name for variant, _ in free} <= set(DESCRIPTIONS)
    constants = [outputs[0].text for variant, outputs in free if variant.role == "constant"]
    assert all(parse(task, Prompt(), text).value is not None for text in constants)


def test_constants_study_keeps_its_promises_on_a_few_tasks() -> None:
    found = study(tasks=2, equal=1)  # bench/constants.py has 200
    assert found.kept
    assert (found.deployed_below, found.equal) == (0, 2)
    assert found.deployed_above == found.above > 0
