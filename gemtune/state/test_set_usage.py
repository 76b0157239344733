# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""How often a set of test rows was used to decide: kept in the bucket, for every run and every user of it.

Each candidate that is tried on the same rows gets its own chance to pass by luck, so an interval that holds for one
use is too optimistic for the best of many (Dwork et al. 2015, arXiv 1506.02629). The record of a test set is named by
the fingerprint of its rows and written before the first request: a run killed in between has used it all the same. The
same candidate tried again is no new chance; the use is counted, but not as one more candidate. Rows are what is used
up: a test set that has grown, or lost rows, counts the candidates of every set that it shares rows with.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from gemtune.artifacts.evaluation import TestSetUsage
from gemtune.config import ModelVariant, fingerprint
from gemtune.state import store
from gemtune.state.store import Record
from gemtune.vertex import Client

FOLDER = "test_sets"


def record(client: Client, name: str, rows: Iterable[str], variants: Sequence[ModelVariant]) -> TestSetUsage:
    """Record that the run called `name` uses the rows with these ids.

    Returns the uses so far of these rows, including this one: of this set, and of others that share rows with it.
    """
    ids = sorted(rows)
    test = fingerprint(ids)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    own = f"{FOLDER}/{test}.json"
    current = store.update(client, own, lambda current: with_use(current, name, ids, variants, now))
    others = (store.read(client, key) for key in store.keys(client, FOLDER) if key != own)
    return usage_of(test, [current, *(other for other in others if not set(ids).isdisjoint(other["rows"]))])


def with_use(current: Record, name: str, rows: Sequence[str], variants: Sequence[ModelVariant], now: str) -> Record:
    """The record of a test set with one more use."""
    uses = {**current.get("uses", {})}
    candidate = next((variant for variant in variants if variant.role == "candidate"), None)
    key = _key(candidate) if candidate else ""
    before = uses.get(key, {"name": name, "model": candidate.model if candidate else "", "first": now, "times": 0})
    uses[key] = {**before, "last": now, "times": before["times"] + 1}
    return {"schema_version": store.SCHEMA_VERSION, "rows": list(rows), "uses": uses}


def usage_of(test: str, records: Sequence[Record]) -> TestSetUsage:
    """The number of candidates and of uses in the records of sets that share rows."""
    candidates = {key for record in records for key in record["uses"] if key}
    uses = sum(use["times"] for record in records for use in record["uses"].values())
    return TestSetUsage(test=test, candidates=len(candidates), uses=uses)


def _key(candidate: ModelVariant) -> str:
    """Identity of a candidate: model, checkpoint and prompt, not its name in a run."""
    return fingerprint(candidate.model_dump(include={"model", "tuned_model", "checkpoint_id", "prompt"}))
