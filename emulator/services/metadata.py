# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""ML Metadata: stores with contexts, artifacts and executions."""

from collections.abc import Callable

from emulator.core.google_rest import Call, Json, bad_field, canonical, not_found, now, public
from emulator.core.state import State
from emulator.services.collection import Collection, Operations


def check_id(field: str, id: str) -> str:
    """The id when it is valid: 1 to 128 letters, digits, `-` and `_`; otherwise a 400."""
    if not id or not all(ch.isalnum() or ch in "-_" for ch in id) or len(id) > 128:
        raise bad_field((field, f"'{id[:80]}' is not a valid id."))
    return id


class _Nodes(Collection):
    """One of the collections of a metadata store."""

    parameter = "id"

    def __init__(self, state: State, kind: str) -> None:
        super().__init__(state)
        self.kind = kind
        self.title = kind[:-1].capitalize()

    def parent(self, call: Call) -> str:
        """The metadata store."""
        return f"{call.parent}/metadataStores/{call.params['store']}"

    def create(self, call: Call) -> Json:
        """A new context, artifact or execution; 409 when its id is taken."""
        id = call.first(f"{self.kind[:-1]}Id") or self._state.new_id(self.kind)
        return self.insert(self.parent(call), _writable(call), check_id(f"{self.kind[:-1]}_id", id))

    def patch(self, call: Call) -> Json:
        """The node with the fields sent; metadata is merged."""
        changes = _writable(call)

        def edit(node: Json) -> None:
            if isinstance(changes.get("metadata"), dict):
                changes["metadata"] = {**node.get("metadata", {}), **changes["metadata"]}
            node.update(changes, updateTime=now())

        return public(self._state.change(self.requested(call)["name"], edit))


class _Contexts(_Nodes):
    """Contexts, which group artifacts, executions and other contexts."""

    def add_members(self, call: Call) -> Json:
        """Nothing; artifacts and executions now belong to the context."""
        fields = call.fields("add_context_artifacts_and_executions_request")
        members = {f"_{key}": [canonical(name) for name in fields.texts(key)] for key in ("artifacts", "executions")}
        context = self.requested(call)["name"]
        with self._state.transaction():
            for key, names in members.items():
                self._state.change(context, _adding(key, names))
                for name in names:
                    self._change(name, _adding("_contexts", [context]))
        return {}

    def add_children(self, call: Call) -> Json:
        """Nothing; the children have this context as a parent."""
        parent = self.requested(call)["name"]
        for child in call.fields("add_context_children_request").texts("childContexts"):
            self._change(canonical(child), _adding("parentContexts", [parent]))
        return {}

    def _change(self, name: str, edit: Callable[[Json], None]) -> None:
        try:
            self._state.change(name, edit)
        except KeyError as error:
            raise not_found(name) from error

    def lineage(self, call: Call) -> Json:
        """The artifacts and executions of a context."""
        context = self.requested(call)
        members = {
            key: [public(item) for name in context.get(f"_{key}", []) if (item := self._state.get(name))]
            for key in ("artifacts", "executions")
        }
        return {key: items for key, items in members.items() if items}


def _writable(call: Call) -> Json:
    fixed = ("name", "createTime", "updateTime")
    return {key: value for key, value in public(call.body).items() if key not in fixed}


def _adding(key: str, names: list[str]) -> Callable[[Json], None]:
    return lambda node: node.update({key: list(dict.fromkeys([*node.get(key, []), *names]))})


class Metadata:
    """Everything under metadataStores/."""

    def __init__(self, state: State) -> None:
        self._operations = Operations(state)
        self.contexts = _Contexts(state, "contexts")
        self.artifacts, self.executions = (_Nodes(state, kind) for kind in ("artifacts", "executions"))

    def get_store(self, call: Call) -> Json:
        """A metadata store; every store exists."""
        return {"name": f"{call.parent}/metadataStores/{call.params['store']}", "createTime": "2025-01-01T00:00:00Z"}

    def create_store(self, call: Call) -> Json:
        """An operation with the store."""
        name = f"{call.parent}/metadataStores/{call.first('metadataStoreId', 'default')}"
        return self._operations.done(call, name, "CreateMetadataStore", "MetadataStore", {"name": name})
