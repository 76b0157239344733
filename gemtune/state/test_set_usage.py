# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""How often a set of test rows was used to decide: kept in the bucket, for every run and every user of it.

Each candidate that is tried on the same rows gets its own chance to pass by luck, so an interval that holds for one
use is too optimistic for the best of many (Dwork et al. 2015, arXiv 1506.02629). The record of a test set is named by
the fingerprint of its rows and written before the first request: a run killed in between has used it all the same. The
same candidate tried again is no new chance; the use is counted, but not as one more candidate. Rows are what is used
up: a test set that has grown, or lost rows, counts the candidates of every set that it shares rows with, each on the
rows that it used.
"""

import logging
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from gemtune.artifacts.evaluation import TestSetUsage
from gemtune.artifacts.records import SharedTestSet, TestSetUse
from gemtune.config import ModelVariant, fingerprint
from gemtune.errors import UserError
from gemtune.state import store
from gemtune.vertex import Client

log = logging.getLogger("gemtune")


def record(client: Client, name: str, rows: Iterable[str], variants: Sequence[ModelVariant]) -> TestSetUsage:
    """Record that the run called `name` uses the rows with these ids.

    Returns the uses so far of these rows, including this one: of this set, and of others that share rows with it.
    """
    ids = sorted(rows)
    test = fingerprint(ids)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    current = store.update(client, SharedTestSet, test, lambda current: with_use(current, name, ids, variants, now))
    others = (_other(client, own) for own in store.names(client, SharedTestSet) if own != test)
    shared = [other for other in others if other and not set(ids).isdisjoint(other.rows)]
    return usage_of(test, current, shared, variants)


def _other(client: Client, test: str) -> SharedTestSet | None:
    """The record of another test set; None for a damaged one: the damage of one name stops no other."""
    try:
        return store.read(client, SharedTestSet, test)
    except UserError as error:
        log.warning("the uses of another test set are not counted: %s", error)
        return None


def with_use(
    current: SharedTestSet | None, name: str, rows: Sequence[str], variants: Sequence[ModelVariant], now: str
) -> SharedTestSet:
    """The record of a test set with one more use."""
    current = current or SharedTestSet(rows=list(rows), uses={})
    uses = dict(current.uses)
    candidate, key = _candidate(variants)
    before = uses.get(key) or TestSetUse(name=name, model=candidate.model if candidate else "", first=now, times=0)
    uses[key] = before.model_copy(update={"last": now, "times": before.times + 1})
    return current.model_copy(update={"uses": uses})


def usage_of(
    test: str, current: SharedTestSet, others: Sequence[SharedTestSet], variants: Sequence[ModelVariant]
) -> TestSetUsage:
    """The uses of a set by its own record, this one included, and by the records of sets that share rows with it."""
    records, ids = [current, *others], set(current.rows)
    uses = sum(use.times for record in records for use in record.uses.values())
    rows: dict[str, set[str]] = {}  # that each candidate used
    for record in records:
        for key in record.uses:
            rows[key] = rows.get(key, set()) | ids.intersection(record.rows)
    earlier = {key: own for key, own in rows.items() if key != _candidate(variants)[1]}
    fresh = sorted(ids.difference(*earlier.values()))
    return TestSetUsage(
        test=test,
        candidates=sum(1 for key in rows if key),
        uses=uses,
        earlier_per_row=sum(len(own) for key, own in earlier.items() if key) / max(1, len(ids)),
        fresh=fresh if len(fresh) < len(ids) else [],
    )


def _candidate(variants: Sequence[ModelVariant]) -> tuple[ModelVariant | None, str]:
    """The candidate and its identity: model, checkpoint and prompt, not its name in a run; "" without one."""
    candidate = next((variant for variant in variants if variant.role == "candidate"), None)
    if candidate is None:
        return None, ""
    return candidate, fingerprint(candidate.model_dump(include={"model", "tuned_model", "checkpoint_id", "prompt"}))
