# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""What all collections of resources have in common: names, creation, reading, lists, deletion."""

from emulator.core.faults import StateTransitions
from emulator.core.filters import Filters
from emulator.core.google_rest import (
    ApiError,
    Call,
    Json,
    canonical,
    failed_precondition,
    not_found,
    now,
    page_start,
    paginate,
    public,
)
from emulator.core.state import State
from emulator.services.operations import ENDED, Operations


class Collection:
    """Resources of one kind below a parent; the public methods that take a `Call` are route handlers.

    A subclass sets `kind` (the collection's segment in resource names), `title` (the resource in error messages) and
    `parameter` (its id in route templates). It may override `parent` (default: the location), `view` (what callers see
    of a stored resource) and `check_deletable`.
    """

    kind = ""
    title = ""
    parameter = ""
    shows_stored_labels = True  # False where `view` adds labels, which are in no index
    list_key = ""  # the key of a page, where it is not `kind`

    def __init__(self, state: State, operations: Operations) -> None:
        self._state = state
        self._operations = operations

    def parent(self, call: Call) -> str:
        """The name of the resource the collection belongs to."""
        return call.parent

    def name(self, call: Call) -> str:
        """The name of the resource a request is about."""
        return f"{self.parent(call)}/{self.kind}/{call.params[self.parameter]}"

    def view(self, resource: Json) -> Json:
        """A stored resource as callers see it; private keys are removed later."""
        return resource

    def check_deletable(self, resource: Json) -> None:
        """Raise FAILED_PRECONDITION when the resource cannot be deleted now."""

    def find(self, name: str) -> Json:
        """The stored resource of this name; 404 when the collection has none."""
        name = canonical(name)
        resource = self._state.get(name)
        if resource is None or name.rsplit("/", 2)[-2] != self.kind:
            raise not_found(f"{self.title} {name}")
        return resource

    def requested(self, call: Call) -> Json:
        """The stored resource a request is about; 404 when there is none."""
        return self.find(self.name(call))

    def insert(self, parent: str, fields: Json, id: str = "") -> Json:
        """A new stored resource with its name and times; 409 when its id is taken."""
        with self._state.transaction():
            name = f"{parent}/{self.kind}/{id or self._state.new_id(self.kind)}"
            if self._state.get(name) is not None:
                raise ApiError(409, f"{self.title} {name} already exists.")
            stamp = now()
            return self._state.put(self.kind, name, {"name": name, "createTime": stamp, "updateTime": stamp, **fields})

    def get(self, call: Call) -> Json:
        """One resource."""
        return public(self.view(self.requested(call)))

    def list(self, call: Call) -> Json:
        """A page of resources, newest first; `filter` may be repeated."""
        filters = Filters(call.query.get("filter", ()))
        labels = filters.labels if self.shows_stored_labels else ()
        stored = self._state.walk(self.kind, self.parent(call), page_start(call), labels)
        items = filters.matching((seq, self.view(item)) for seq, item in stored)
        return paginate(call, items, self.list_key or self.kind)

    def delete(self, call: Call) -> Json:
        """An operation; the resource no longer exists."""
        with self._state.transaction():
            resource = self.requested(call)
            self.check_deletable(resource)
            self._state.delete(resource["name"])
        return self._operations.deleted(call, resource["name"])


class JobCollection(Collection):
    """Jobs that end by themselves, or are cancelled."""

    def __init__(self, state: State, operations: Operations, states: StateTransitions) -> None:
        super().__init__(state, operations)
        self._states = states

    def get(self, call: Call) -> Json:
        """One job; counts as a poll."""
        self._states.polled(self.name(call))
        return super().get(call)

    def cancel(self, call: Call) -> Json:
        """Nothing; the job will be CANCELLED."""
        with self._state.transaction():
            job = self.requested(call)
            if job["state"] in ENDED:
                message = f"The {self.title.lower()} {job['name']} is in state {job['state']} and can't be cancelled."
                raise failed_precondition(message)
            self._state.update(job["name"], state="JOB_STATE_CANCELLING", updateTime=now())
        return {}
