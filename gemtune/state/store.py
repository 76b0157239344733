# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Small JSON records in the bucket that outlive a run (`artifacts.records`): their only reader and writer.

Records change by compare-and-set on the object's generation: of two runs that end together none overwrites the other
unseen. A record that is damaged, or of another schema version, is never read as none, nor changed.
"""

import contextlib
import itertools
import logging
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from pydantic import ValidationError

from gemtune.artifacts.records import SCHEMA_VERSION, Lease, Record
from gemtune.config import JsonObject
from gemtune.errors import UserError
from gemtune.vertex import Client
from gemtune.vertex.storage import damage_remedy, list_times, read_record, write_record

log = logging.getLogger("gemtune")

LEASE_S = 90.0  # a killed holder blocks others for this long
PAUSE_S = 0.5
R = TypeVar("R", bound=Record)
Edited = TypeVar("Edited", bound=Record | None)


def read(client: Client, kind: type[R], name: str) -> R | None:
    """The record; None when there is none. Raises `UserError` for a damaged one, or one of another schema version."""
    return read_generation(client, kind, name)[0]


def read_generation(client: Client, kind: type[R], name: str) -> tuple[R | None, int]:
    """The same, with the object's generation (0: there is none)."""
    content, generation = read_record(client, kind.key(name))
    return parsed(client, kind, name, content), generation


def parsed(client: Client, kind: type[R], name: str, content: JsonObject | None) -> R | None:
    """The record with this content, None for none. Raises `UserError` as `read` does."""
    if content is None:
        return None
    version = content.get("schema_version")
    if version not in (None, SCHEMA_VERSION):
        message = f"the record has schema version {version!r}, expected {SCHEMA_VERSION}"
        raise UserError(message, file=_uri(client, kind, name), remedy="use the version of gemtune that wrote it")
    if version is None:
        raise damaged(client, kind, name, "no schema_version")
    problem: str | ValidationError
    try:
        record = kind.model_validate(content)
        problem = _converted(content, record.document())
    except ValidationError as error:
        problem = error
    except (ValueError, RecursionError):  # more levels than can be written again
        problem = "nested too deeply"
    if problem:
        raise damaged(client, kind, name, problem)
    return record


def damaged(client: Client, kind: type[Record], name: str, problem: str | ValidationError) -> UserError:
    """What to raise for a damaged record: names its object, the problem and the remedy."""
    if isinstance(problem, ValidationError):
        first = problem.errors()[0]
        problem = ": ".join([*map(str, first["loc"]), first["msg"].removeprefix("Value error, ")])
    where = _uri(client, kind, name)
    return UserError(f"the record is damaged: {problem}", file=where, remedy=damage_remedy(where))


def _uri(client: Client, kind: type[Record], name: str) -> str:
    return f"gs://{client.bucket}/{kind.key(name)}"


def _converted(stored: Any, read: Any, place: str = "") -> str:
    """Where a value was read as one of another type, as `"7"` for a number or 7 for a time; "" where none was."""
    if isinstance(stored, dict) and isinstance(read, dict):
        parts = [(value, read[key], f"{place}{key}: ") for key, value in stored.items() if key in read]
    elif isinstance(stored, list) and isinstance(read, list):
        parts = [(*both, f"{place}{n}: ") for n, both in enumerate(zip(stored, read, strict=True))]
    else:
        is_same = type(stored) is type(read) or (type(stored) is int and type(read) is float)
        return "" if is_same else f"{place}{stored!r:.80} is not a value of this field"
    return next(filter(None, itertools.starmap(_converted, parts)), "")


def names(client: Client, kind: type[Record]) -> list[str]:
    """The names of all records of a kind."""
    return [key.removeprefix(f"{kind.FOLDER}/").removesuffix(".json") for key in list_times(client, kind.FOLDER)]


def replace(client: Client, name: str, record: Record, generation: int) -> bool:
    """Write a record if the object still has this generation; False when it has changed."""
    return write_record(client, record.key(name), record.document(), generation)


def update(client: Client, kind: type[R], name: str, edit: Callable[[R | None], Edited]) -> Edited:
    """Replace a record by `edit` of it; if it changed meanwhile, read and edit again. Returns the new one."""
    for _ in range(20):
        current, generation = read_generation(client, kind, name)
        edited = edit(current)
        if edited is None or edited == current or replace(client, name, edited, generation):
            return edited
    raise UserError(f"{kind.key(name)} keeps being changed by other runs", remedy="let one run of this name end first")


def once(client: Client, kind: type[R], name: str, create: Callable[[], R]) -> R:
    """The record, created where there is none; of two runs that create it together both get the first one."""
    if kept := read(client, kind, name):
        return kept
    created = create()
    return update(client, kind, name, lambda current: current or created)


@contextlib.contextmanager
def lease(client: Client, name: str) -> Iterator[None]:
    """Hold the lease of a name for at most `LEASE_S`; waits while another process holds it.

    One process at a time does something that must not happen twice. A holder that was killed is noticed by its record,
    which stays unchanged for `LEASE_S`: the clocks of the machines may differ, and jump.
    """
    owner, holder, since = uuid.uuid4().hex, "", time.monotonic()

    def take(current: Lease | None) -> Lease:
        outlived = current and current.owner == holder and time.monotonic() - since > LEASE_S
        return current if current and current.owner and not outlived else Lease(owner=owner)

    def release(current: Lease | None) -> Lease | None:
        return Lease(owner="") if current and current.owner == owner else current

    while (other := update(client, Lease, name, take).owner) != owner:
        if other != holder:
            holder, since = other, time.monotonic()
            log.info(
                "waiting for another process that holds %s; %d s, should it have been killed", Lease.key(name), LEASE_S
            )
        time.sleep(PAUSE_S)
    try:
        yield
    finally:
        update(client, Lease, name, release)
