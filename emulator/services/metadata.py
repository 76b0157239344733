# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""ML Metadata contexts and TensorBoard time series: where the curves of tuning jobs are read.

The way of a reader: a job's `experiment` is a context; its metadata names the TensorBoard; the TensorBoard's experiment
of the same name has one run; the run has one time series per metric, under the service's metric names.
"""

from __future__ import annotations

from collections.abc import Callable

from emulator.core.filters import matching
from emulator.core.google_rest import (
    ApiError,
    Call,
    Json,
    Route,
    bad_field,
    canonical,
    not_found,
    now,
    page,
    public,
    typed,
)
from emulator.core.state import State
from emulator.services.operations import Operations

_STORE = "metadataStores/{store}"
_COLLECTIONS = ("contexts", "artifacts", "executions")


class Metadata:
    """Contexts, artifacts, executions, TensorBoards and their points."""

    def __init__(self, state: State, operations: Operations) -> None:
        self._state = state
        self._operations = operations

    def routes(self) -> list[Route]:
        """Everything under metadataStores/ and tensorboards/."""
        found = [
            Route("GET", _STORE, self.get_store),
            Route("POST", "metadataStores", self.create_store),
            Route("POST", _STORE + "/contexts/{id}:addContextArtifactsAndExecutions", self.add_to_context),
            Route("POST", _STORE + "/contexts/{id}:addContextChildren", self.add_children),
            Route("GET", _STORE + "/contexts/{id}:queryContextLineageSubgraph", self.lineage, "partial", "no events"),
        ]
        for kind in _COLLECTIONS:
            found += [
                Route("GET", f"{_STORE}/{kind}", self.list_nodes),
                Route("POST", f"{_STORE}/{kind}", self.create_node),
                Route("GET", f"{_STORE}/{kind}/{{id}}", self.get_node),
                Route("PATCH", f"{_STORE}/{kind}/{{id}}", self.patch_node),
                Route("DELETE", f"{_STORE}/{kind}/{{id}}", self.delete_node),
            ]
        return found

    # --- metadata store

    def get_store(self, call: Call) -> Json:
        """A metadata store; `default` is always there."""
        return {"name": f"{call.parent}/metadataStores/{call.params['store']}", "createTime": "2025-01-01T00:00:00Z"}

    def create_store(self, call: Call) -> Json:
        """An operation with the store."""
        name = f"{call.parent}/metadataStores/{call.first('metadataStoreId', 'default')}"
        return self._operations.done(
            call, name, "CreateMetadataStoreOperationMetadata", typed(call, "MetadataStore", {"name": name})
        )

    def _nodes(self, call: Call) -> tuple[str, str]:
        kind = next(part for part in call.path.split("/")[::-1] if part.split(":")[0] in _COLLECTIONS).split(":")[0]
        return kind, f"{call.parent}/metadataStores/{call.params['store']}/{kind}"

    def _node(self, call: Call) -> Json:
        _, prefix = self._nodes(call)
        found = self._state.get(f"{prefix}/{call.params['id']}")
        if found is None:
            raise not_found(f"{prefix}/{call.params['id']}")
        return found

    def list_nodes(self, call: Call) -> Json:
        """A page of contexts, artifacts or executions."""
        kind, prefix = self._nodes(call)
        found = self._state.all(kind, prefix.rsplit("/", 1)[0])
        return page(call, matching(call.query.get("filter", ()), found), kind)

    def create_node(self, call: Call) -> Json:
        """A new context, artifact or execution; 409 when its id is taken."""
        kind, prefix = self._nodes(call)
        id = call.first(f"{kind[:-1]}Id") or self._state.new_id(kind)
        if not all(ch.isalnum() or ch in "-_" for ch in id) or len(id) > 128:
            raise bad_field((f"{kind[:-1]}_id", f"'{id[:80]}' is not a valid id."))
        stamp = now()
        given = public(call.body)
        body = {**given, "name": f"{prefix}/{id}", "createTime": stamp, "updateTime": stamp}
        with self._state.transaction():
            if self._state.get(body["name"]):
                raise ApiError(409, f"{body['name']} already exists.")
            return self._state.put(kind, body["name"], body)

    def get_node(self, call: Call) -> Json:
        """One context, artifact or execution."""
        return public(self._node(call))

    def patch_node(self, call: Call) -> Json:
        """The node with the given fields; metadata is merged."""
        changes = {k: v for k, v in call.body.items() if k not in ("name", "createTime") and not k.startswith("_")}

        def edit(body: Json) -> None:
            if isinstance(changes.get("metadata"), dict):
                changes["metadata"] = {**body.get("metadata", {}), **changes["metadata"]}
            body.update(changes, updateTime=now())

        return public(self._state.change(self._node(call)["name"], edit))

    def delete_node(self, call: Call) -> Json:
        """An operation."""
        name = self._node(call)["name"]
        self._state.delete(name)
        empty = {"@type": "type.googleapis.com/google.protobuf.Empty"}
        return self._operations.done(call, name, "DeleteOperationMetadata", empty)

    def add_to_context(self, call: Call) -> Json:
        """Nothing; artifacts and executions now belong to the context."""
        fields = call.fields("add_context_artifacts_and_executions_request")
        artifacts, executions = fields.texts("artifacts"), fields.texts("executions")

        context = self._node(call)["name"]

        def join(key: str, names: list[str]) -> Callable[[Json], None]:
            return lambda body: body.update({key: list(dict.fromkeys([*body.get(key, []), *names]))})

        with self._state.transaction():
            for key, names in (("_artifacts", artifacts), ("_executions", executions)):
                members = [canonical(name) for name in names]
                self._state.change(context, join(key, members))
                for member in members:
                    if self._state.get(member) is None:
                        raise not_found(member)
                    self._state.change(member, join("_contexts", [context]))
        return {}

    def add_children(self, call: Call) -> Json:
        """Nothing; the children name this context as a parent."""
        parent = self._node(call)["name"]
        for child in call.fields("add_context_children_request").texts("childContexts"):

            def edit(body: Json) -> None:
                body["parentContexts"] = [*body.get("parentContexts", []), parent]

            try:
                self._state.change(canonical(child), edit)
            except KeyError as error:
                raise not_found(child) from error
        return {}

    def lineage(self, call: Call) -> Json:
        """The artifacts and executions added to a context."""
        context = self._node(call)
        found = {
            key: [public(item) for name in context.get(f"_{key}", []) if (item := self._state.get(name))]
            for key in ("artifacts", "executions")
        }
        return {key: items for key, items in found.items() if items}
