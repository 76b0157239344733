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
from gemtune.state.formats import FORMATS
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
    where = f"gs://{client.bucket}/{key}"
    if "schema_version" in record and record["schema_version"] != SCHEMA_VERSION:
        remedy = "use the version of gemtune that wrote it"
        problem = f"the record has schema version {record['schema_version']!r}, expected {SCHEMA_VERSION}"
        raise UserError(problem, file=where, remedy=remedy)
    declared, problem = FORMATS.get(key.partition("/")[0]), "" if "schema_version" in record else "no schema_version"
    try:
        if declared:
            declared.model_validate(record)
    except ValidationError as error:
        first = error.errors()[0]
        place, what = ".".join(map(str, first["loc"])), first["msg"].removeprefix("Value error, ")
        problem = f"{place}: {what}" if place else what
    if problem:
        raise UserError(f"the record is damaged: {problem}", file=where, remedy=damage_remedy(where))
    return record


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
