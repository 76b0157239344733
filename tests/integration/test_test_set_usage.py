# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Uses of a test set are counted once per candidate, in the bucket, whatever runs at the same time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from emulator_process import Emulator

from gemtune import vertex
from gemtune.artifacts.records import SharedTestSet
from gemtune.config import ModelVariant, Prompt, Vertex
from gemtune.state import store
from gemtune.state.test_set_usage import record, usage_of, with_use
from gemtune.vertex import Client

PROMPT = ModelVariant(name="zero_shot", model="m")

ROWS = [f"row {number}" for number in range(60)]


def candidate(number: int, name: str = "t@1") -> ModelVariant:
    return ModelVariant(name=name, model=f"projects/p/locations/l/endpoints/{number}", role="candidate")


def counts(current: SharedTestSet) -> tuple[int, int]:
    """Candidates and uses of a record."""
    usage = usage_of("test", current, [], [])
    return usage.candidates, usage.uses


def test_test_set_usage_counts_candidates_once_and_uses_each_time() -> None:
    known = with_use(None, "run", ROWS, [PROMPT, candidate(1)], "monday")
    assert counts(known) == (1, 1)
    known = with_use(known, "run", ROWS, [PROMPT, candidate(1, name="renamed")], "tuesday")
    assert counts(known) == (1, 2)
    known = with_use(known, "other", ROWS, [PROMPT, candidate(2)], "friday")
    known = with_use(known, "other", ROWS, [PROMPT], "sunday")  # nothing can pass: no chance taken
    assert counts(known) == (2, 4)
    prompted = candidate(2).model_copy(update={"prompt": Prompt(name="p", shots=4)})
    assert counts(with_use(known, "other", ROWS, [prompted], "monday")) == (3, 5)
    first = next(use for use in known.uses.values() if use.model.endswith("/1"))
    assert (first.first, first.last, first.times) == ("monday", "tuesday", 2)


def test_test_set_usage_ignores_row_order(client: Client) -> None:
    one = record(client, "a", ["x", "y", "z"], [candidate(1)])
    two = record(client, "b", ["z", "x", "y"], [candidate(2)])
    other = record(client, "a", ["x", "y"], [candidate(1)])
    assert one.test == two.test != other.test
    assert (one.candidates, two.candidates, other.candidates) == (1, 2, 2)
    kept = store.read(client, SharedTestSet, one.test)
    assert kept is not None
    assert kept.rows == ["x", "y", "z"]
    assert {use.name for use in kept.uses.values()} == {"a", "b"}


def test_test_set_usage_counts_rows_of_a_grown_set(client: Client) -> None:
    rows = [f"row-{number}" for number in range(20)]
    for week in range(5):  # each week one row more, and another candidate
        usage = record(client, "grown", rows[: 10 + week], [candidate(100 + week)])
        assert usage.candidates == usage.uses == week + 1
        # each earlier candidate counts on the rows that it used, and only the new row is fresh
        assert usage.earlier_per_row == pytest.approx(sum(range(10, 10 + week)) / (10 + week))
        assert usage.fresh == ([rows[9 + week]] if week else [])
    assert record(client, "fresh", rows[15:], [candidate(200)]).candidates == 1
    assert record(client, "grown", rows[10:], [candidate(200)]).candidates == 5  # all but the first week's


def test_test_set_usage_keeps_concurrent_uses(emulator: Emulator, client: Client) -> None:
    def use(number: int) -> int:
        own = vertex.connect(Vertex.of({}))
        return record(own, f"run-{number}", ["many"], [candidate(number)]).candidates

    with ThreadPoolExecutor(4) as pool:
        counted = list(pool.map(use, range(8)))
    assert sorted(counted) == list(range(1, 9))  # each counts the ones before it
