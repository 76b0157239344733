# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""A name belongs to one task: the rule's laws, on any label sets."""

from __future__ import annotations

from typing import Any
from unittest import mock

from hypothesis import given
from hypothesis import strategies as st
from samples import entry

from gemtune.artifacts.records import ChampionRecord
from gemtune.config import ModelVariant, Task
from gemtune.errors import UserError
from gemtune.state import champion

LABELS = st.sets(st.sampled_from("abcdefghijkl"), min_size=1)


def is_same(before: set[str], now: set[str], kind: Any = "classification") -> bool:
    """Whether a run with labels `now` is accepted under the name of a champion with labels `before`."""
    current = entry(ModelVariant(name="m", model="m"), task=Task(labels=sorted(before)))
    record = ChampionRecord(generation=1, alias="champion", current=current)
    with mock.patch.object(champion.store, "read", return_value=record):
        try:
            champion.require_same_task(mock.Mock(), "n", Task(kind=kind, labels=sorted(now)))
        except UserError:
            return False
    return True


@given(LABELS, LABELS)
def test_require_same_task_accepts_added_and_dropped_labels(labels: set[str], others: set[str]) -> None:
    assert is_same(labels, labels | others)
    assert is_same(labels | others, labels)
    assert is_same(labels, {label.upper() for label in labels})


@given(LABELS, LABELS)
def test_require_same_task_refuses_fewer_than_half_of_the_labels_and_another_kind(
    labels: set[str], others: set[str]
) -> None:
    assert is_same(labels, others) == (len(labels & others) >= min(len(labels), len(others)) / 2)
    assert is_same(labels, others) == is_same(others, labels)
    assert not is_same(labels, labels, "sentiment")
