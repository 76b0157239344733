# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The champion's record: which model variant is in production under a name, which were before, what was kept with it.

A tuned model's endpoint cannot be looked up from an alias, so the champion is defined by its record, and changing the
record is the only act of promotion and of rollback. Each change counts the record's `generation` up and states which
generation it was decided against: of two promotions decided against the same champion one wins. The record holds all
champions, newest last in `history`; the previous one stays deployed, so that a rollback takes seconds.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

from gemtune.artifacts.records import Candidate, ChampionEntry, ChampionRecord, SmokeTestAnswers, StoredTestSet
from gemtune.config import ModelVariant, Task
from gemtune.data.labels import spelling_key
from gemtune.errors import UserError
from gemtune.state import store
from gemtune.vertex import Client, storage


def read(client: Client, name: str) -> ChampionRecord:
    """The champion's record of a name; an empty one when there is none."""
    return store.read(client, ChampionRecord, name) or ChampionRecord()


def update(client: Client, name: str, edit: Callable[[ChampionRecord], ChampionRecord]) -> None:
    """Replace the record by `edit` of it, of an empty one when there is none."""

    def edited(record: ChampionRecord | None) -> ChampionRecord | None:
        changed = edit(record or ChampionRecord())
        return None if changed == ChampionRecord() else changed

    store.update(client, ChampionRecord, name, edited)


def is_same(variant: ModelVariant, other: ModelVariant) -> bool:
    """Whether two variants are one tuned model, or one prompt on one base model."""
    return variant.model == other.model and (variant.is_tuned or variant.prompt == other.prompt)


def require_same_task(client: Client, name: str, task: Task) -> None:
    """Raise `UserError` where the champion of a name has another task: another kind, or fewer than half of the labels.

    The shared labels are counted against the smaller set, so that labels may be added and dropped; spellings of one
    label are one.
    """
    if not (current := read(client, name).current):
        return
    before, now = ({*map(spelling_key, own.labels)} for own in (current.task, task))
    if current.task.kind == task.kind and 2 * len(before & now) >= min(len(before), len(now)):
        return
    raise UserError(
        f"the champion of {name!r} has another task: {_described(current.task)}; this run: "
        f"{_described(task)}; shared labels: {len(before & now)}",
        remedy=f"set another name; or delete {ChampionRecord.key(name)} in the bucket to start anew under this one",
    )


def _described(task: Task) -> str:
    labels: Sequence[str] = task.labels
    listed = ", ".join(labels[:5]) + (f" and {len(labels) - 5} more" if len(labels) > 5 else "")
    return f"{task.kind} ({listed})" if labels else task.kind


def keep_test_set(client: Client, test: str) -> StoredTestSet:
    """Upload the test rows, equal content once; returns their URI and count."""
    with open(test, encoding="utf-8") as rows:
        count = sum(1 for _ in rows)
    return StoredTestSet(uri=storage.upload(client, test, "tests"), rows=count)


def known_models(client: Client) -> tuple[set[str], dict[str, UserError]]:
    """Models that are, or were, in production under any name, or wait for it: equal jobs are shared between names.

    With them the names whose record cannot be read, and why: which models it names is unknown.
    """
    models: set[str] = set()
    unreadable = {}

    def collect(name: str) -> None:
        try:
            models.update(entry.variant.model for _, entry in read(client, name).states)
        except UserError as error:
            unreadable[name] = error

    with ThreadPoolExecutor(8) as pool:  # one for each name in the bucket
        list(pool.map(collect, store.names(client, ChampionRecord)))
    return models, unreadable


def propose(
    client: Client, name: str, against: int, alias: str, entry: ChampionEntry, smoke: SmokeTestAnswers | None = None
) -> None:
    """Record a candidate that passed the gate and waits for approval; an earlier one is replaced."""
    candidate = Candidate(entry=entry, against=against, alias=alias, **({"smoke": smoke} if smoke else {}))
    update(client, name, lambda record: record.model_copy(update={"candidate": candidate}))


def promote(client: Client, name: str, against: int, alias: str, entry: ChampionEntry) -> None:
    """Make the variant of `entry` the champion; changes nothing when it is already.

    Raises `UserError` when the champion has changed since generation `against`, which the decision was made against.
    """

    def edit(record: ChampionRecord) -> ChampionRecord:
        current = record.current
        if current and is_same(current.variant, entry.variant):
            return record
        _require_generation(record, name, against)
        changed = {
            "generation": against + 1,
            "alias": alias,
            "current": entry.model_copy(update={"since": now()}),
            "history": [*record.history, *([current] if current else [])],
            "candidate": None,  # decided against the champion that goes
        }
        return record.model_copy(update=changed)

    update(client, name, edit)


def record_manifest(client: Client, name: str, variant: ModelVariant, digest: str) -> None:
    """Add the digest of the manifest of the run that decided on a variant to its entry, whether it serves or waits."""

    def updated(entry: ChampionEntry) -> ChampionEntry:
        if entry.manifest.digest or not is_same(entry.variant, variant):
            return entry
        return entry.model_copy(update={"manifest": entry.manifest.model_copy(update={"digest": digest})})

    def edit(record: ChampionRecord) -> ChampionRecord:
        own = {"current": updated(record.current)} if record.current else {}
        waiting = record.candidate
        candidate = {"candidate": waiting.model_copy(update={"entry": updated(waiting.entry)})} if waiting else {}
        return record.model_copy(update={**own, **candidate})

    update(client, name, edit)


def roll_back(client: Client, name: str, against: int) -> None:
    """Make the previous champion the champion again, from now on; the last one moves to `rolled_back`.

    Raises `UserError` when the champion has changed since generation `against`.
    """

    def edit(record: ChampionRecord) -> ChampionRecord:
        _require_generation(record, name, against)
        *older, entry = record.history
        moment = now()
        assert record.current is not None  # the generation is not 0
        changed = {
            "generation": against + 1,
            # windows, and labels, between are not its own
            "current": entry.model_copy(update={"since": moment, "labels_since": moment}),
            "history": older,
            "rolled_back": [*record.rolled_back, record.current.model_copy(update={"until": moment})],
        }
        return record.model_copy(update=changed)

    update(client, name, edit)


def _require_generation(record: ChampionRecord, name: str, against: int) -> None:
    if record.generation != against:
        current = record.current
        serving = f"it is {current.variant.name} ({current.variant.model})" if current else "there is none"
        raise UserError(
            f"the champion of {name!r} has changed meanwhile: {serving}, generation "
            f"{record.generation}; this decision was made against generation {against} and changes nothing",
            remedy="run again: the decision is then made against the new champion",
        )


def now() -> datetime:
    """The time as records have it."""
    return datetime.now(UTC).replace(microsecond=0)
