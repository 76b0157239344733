# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""What outlives a run, kept as small JSON objects in the bucket: who serves, who served before, what was decided last.

A tuned model's endpoint cannot be looked up from an alias, so the champion is whatever its record says. Records change
by compare-and-set on the object's generation: two runs that end together cannot both win unseen.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gemtune.errors import UserError
from gemtune.vertex import Client, with_retries
from gemtune.vertex.storage import list_records, read_record, write_record

Record = dict[str, Any]


def champion_key(name: str) -> str:
    """Where a name's champion record lies in the bucket."""
    return f"champions/{name}.json"


def read(client: Client, key: str) -> Record:
    """The record; {} when there is none."""
    return with_retries(read_record, client, key)[0] or {}


def champions(client: Client) -> list[Record]:
    """The champion records of every name in the bucket."""
    return [read(client, key) for key in with_retries(list_records, client, champion_key("x").rpartition("/")[0])]


def change(client: Client, key: str, edit: Callable[[Record], Record]) -> Record:
    """Replace a record by `edit` of it; if somebody changed it meanwhile, read and edit again. Returns the new one."""
    for _ in range(20):
        held, generation = with_retries(read_record, client, key)
        wanted = edit(held or {})
        if wanted == held or with_retries(write_record, client, key, wanted, generation):
            return wanted
    raise UserError(f"{key} is changed by others all the time", remedy="let one run of this name end first")


def last_plan(client: Client, name: str) -> str:
    """Fingerprint of the plan that was decided on last; "" when there was none."""
    return str(read(client, f"decisions/{name}.json").get("plan", ""))
