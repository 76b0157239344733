# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Who has looked at sealed test rows is counted once per candidate, in the bucket, whoever looks at the same time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from emulator_process import Emulator

from gemtune import vertex
from gemtune.config import Contestant, Prompt, Vertex
from gemtune.state import store
from gemtune.state.test_set_usage import note, noted, told
from gemtune.vertex import Client

PROMPT = Contestant(name="zero_shot", model="m")


def candidate(number: int, name: str = "t@1") -> Contestant:
    return Contestant(name=name, model=f"projects/p/locations/l/endpoints/{number}", role="candidate")


def test_test_set_usage_counts_candidates_once_and_uses_each_time() -> None:
    record = noted({}, "run", 60, [PROMPT, candidate(1)], "monday")
    assert told(record) == {"candidates": 1, "readings": 1}
    record = noted(record, "run", 60, [PROMPT, candidate(1, name="renamed")], "tuesday")
    assert told(record) == {"candidates": 1, "readings": 2}
    record = noted(record, "other", 60, [PROMPT, candidate(2)], "friday")
    record = noted(record, "other", 60, [PROMPT], "sunday")  # nothing can pass: no chance taken
    assert told(record) == {"candidates": 2, "readings": 4}
    asked = candidate(2).model_copy(update={"prompt": Prompt(name="p", shots=4)})
    assert told(noted(record, "other", 60, [asked], "monday")) == {"candidates": 3, "readings": 5}
    first = next(one for one in record["readings"].values() if one["model"].endswith("/1"))
    assert (first["first"], first["last"], first["times"]) == ("monday", "tuesday", 2)


def test_test_set_usage_ignores_row_order(client: Client) -> None:
    one = note(client, "a", ["x", "y", "z"], [candidate(1)])
    two = note(client, "b", ["z", "x", "y"], [candidate(2)])
    other = note(client, "a", ["x", "y"], [candidate(1)])
    assert one["test"] == two["test"] != other["test"]
    assert (one["candidates"], two["candidates"], other["candidates"]) == (1, 2, 1)
    kept = store.read(client, f"readings/{one['test']}.json")
    assert kept["rows"] == 3
    assert {entry["name"] for entry in kept["readings"].values()} == {"a", "b"}


def test_test_set_usage_keeps_concurrent_uses(emulator: Emulator, client: Client) -> None:
    def read(number: int) -> int:
        mine = vertex.connect(Vertex.of({}))
        return int(note(mine, f"run-{number}", ["many"], [candidate(number)])["candidates"])

    with ThreadPoolExecutor(4) as pool:
        seen = list(pool.map(read, range(8)))
    assert sorted(seen) == list(range(1, 9))  # each is told of the ones before it
