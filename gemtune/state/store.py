# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Small JSON records in the bucket that outlive a run.

Records change by compare-and-set on the object's generation: of two runs that end together none overwrites the other
unseen. A record that is damaged, or of another schema version, is never read as none, nor changed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pydantic import ValidationError

from gemtune.errors import UserError
from gemtune.state.schemas import SCHEMAS
from gemtune.vertex import Client
from gemtune.vertex.storage import damage_remedy, list_times, read_record, write_record

Record = dict[str, Any]
SCHEMA_VERSION = 1


def read(client: Client, key: str) -> Record:
    """The record; {} when there is none. Raises `UserError` for a damaged one, or one of another schema version."""
    return _read(client, key)[0]


def _read(client: Client, key: str) -> tuple[Record, int]:
    record, generation = read_record(client, key)
    return checked(record, client, key), generation


def checked(record: Record | None, client: Client, key: str) -> Record:
    """The record, {} for none. Raises `UserError` for a damaged one, or one of another schema version."""
    if record is None:
        return {}
    where, version = f"gs://{client.bucket}/{key}", record.get("schema_version")
    if version not in (None, SCHEMA_VERSION):
        problem = f"the record has schema version {version!r}, expected {SCHEMA_VERSION}"
        raise UserError(problem, file=where, remedy="use the version of gemtune that wrote it")
    if problem := "no schema_version" if version is None else _damage(record, key):
        raise UserError(f"the record is damaged: {problem}", file=where, remedy=damage_remedy(where))
    return record


def _damage(record: Record, key: str) -> str:
    """What the schema of its folder says against a record; "" for nothing, or a folder without one (leases)."""
    try:
        if schema := SCHEMAS.get(key.partition("/")[0]):
            schema.model_validate(record)
    except ValidationError as error:
        first = error.errors()[0]
        return ": ".join([*map(str, first["loc"]), first["msg"].removeprefix("Value error, ")])
    return ""


def keys(client: Client, folder: str) -> list[str]:
    """The keys of all records under a folder."""
    return list(list_times(client, folder))


def update(client: Client, key: str, edit: Callable[[Record], Record]) -> Record:
    """Replace a record by `edit` of it; if it changed meanwhile, read and edit again. Returns the new one."""
    for _ in range(20):
        current, generation = _read(client, key)
        edited = edit(current)
        if edited:
            edited = {"schema_version": SCHEMA_VERSION, **edited}
        if edited == current or write_record(client, key, edited, generation):
            return edited
    raise UserError(f"{key} keeps being changed by other runs", remedy="let one run of this name end first")
