# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The model registry: models with versions, aliases, checkpoints and a default checkpoint.

One stored resource per model holds all its versions, so an alias moves between versions in one transaction. Every
model has exactly one version with the alias `default`.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path

from emulator.core.filters import Filters
from emulator.core.google_rest import ApiError, Call, Json, canonical, now, paginate, public
from emulator.core.messages import changes
from emulator.core.state import State
from emulator.services.collection import Collection


class Models(Collection):
    """The models collection; tuning adds versions, endpoints and inference read them."""

    kind, title, parameter = "models", "Model", "model"
    shows_stored_labels = False  # those of the default version

    def __init__(self, state: State) -> None:
        super().__init__(state)
        self._deployments: tuple[int, dict[str, list[tuple[str, Json]]]] = (-1, {})

    def deployments(self, version: str) -> list[tuple[str, Json]]:
        """(endpoint name, deployed model) of `.../models/ID@N`, oldest endpoint first.

        The index is rebuilt only after an endpoint was written.
        """
        writes = self._state.writes("endpoints")
        if self._deployments[0] != writes:
            index: dict[str, list[tuple[str, Json]]] = {}
            for _, endpoint in reversed(self._state.all("endpoints")):
                for item in endpoint["deployedModels"]:
                    index.setdefault(item["model"], []).append((endpoint["name"], item))
            self._deployments = (writes, index)
        return self._deployments[1].get(version, [])

    def resolve(self, name: str) -> tuple[Json, Json]:
        """(model, version) for `.../models/ID`, `@number` or `@alias`; the default version without; 404 if missing."""
        name = canonical(name)
        base, _, reference = name.partition("@")
        model = self._state.get(base)
        if model is not None and "/models/" in base:
            for version in model["_versions"].values():
                if reference == version["versionId"] or (reference or "default") in version["versionAliases"]:
                    return model, version
        raise ApiError.not_found(f'The Model "{name}"')

    def add_version(self, parent: str, model_id: str | None, version: Json) -> str:
        """Add a version to a model (a new model without `model_id`); the full name `.../models/ID@N`."""
        with self._state.transaction():
            name = f"{parent}/models/{model_id or self._state.new_id('models')}"
            stamp = now()
            model = self._state.get(name) or {"name": name, "createTime": stamp, "_last": 0, "_versions": {}}
            model["_last"] += 1
            number = str(model["_last"])
            model["_versions"][number] = {
                "versionId": number,
                "versionAliases": [] if model["_versions"] else ["default"],
                "versionCreateTime": stamp,
                "versionUpdateTime": stamp,
                **version,
            }
            self._state.put("models", name, model)
        return f"{name}@{number}"

    def change_version(self, name: str, changes: Json) -> None:
        """Set fields of one version."""
        base, _, number = name.partition("@")

        def edit(model: Json) -> None:
            model["_versions"][number].update(changes, versionUpdateTime=now())

        self._state.change(base, edit)

    def drop_version(self, name: str) -> None:
        """Remove a version of an unfinished job, and the model with its last version."""
        base, _, number = name.partition("@")
        with self._state.transaction():
            model = self._state.get(base)
            if model is None or number not in model["_versions"]:
                return
            dropped = model["_versions"].pop(number)
            if not model["_versions"]:
                self._state.delete(base)
                return
            if "default" in dropped["versionAliases"]:
                newest = max(model["_versions"], key=int)
                model["_versions"][newest]["versionAliases"].append("default")
            self._state.put("models", base, model)

    def checkpoint(self, name: str, checkpoint_id: str = "") -> tuple[str, Path, str]:
        """(base model, adapter directory, checkpoint id) of a version; its default checkpoint without an id."""
        _, version = self.resolve(name)
        checkpoint_id = checkpoint_id or version.get("defaultCheckpointId", "")
        adapters = version.get("_adapters", {})
        if checkpoint_id not in adapters:
            raise ApiError(400, f'Checkpoint "{checkpoint_id}" does not exist in model {canonical(name)}.')
        return version["_baseModel"], self._state.directory / adapters[checkpoint_id], checkpoint_id

    def version_view(self, model: Json, version: Json) -> Json:
        """The Model resource of one version."""
        full = f"{model['name']}@{version['versionId']}"
        deployed = [
            {"endpoint": endpoint, "deployedModelId": item["id"], "checkpointId": item.get("checkpointId", "")}
            for endpoint, item in self.deployments(full)
        ]
        return {
            "name": model["name"],
            "createTime": model["createTime"],
            "updateTime": version["versionUpdateTime"],
            "supportedDeploymentResourcesTypes": ["SHARED_RESOURCES"],
            **public(version),
            "deployedModels": deployed,
            "etag": version["versionUpdateTime"],
        }

    def view(self, resource: Json) -> Json:
        """The default version of a model."""
        versions = resource["_versions"].values()
        return self.version_view(resource, next(item for item in versions if "default" in item["versionAliases"]))

    def _requested_version(self, call: Call) -> tuple[Json, Json]:
        return self.resolve(self.name(call))

    def get(self, call: Call) -> Json:
        """One version of a model."""
        return self.version_view(*self._requested_version(call))

    def list_versions(self, call: Call) -> Json:
        """A page of versions, newest first."""
        model, _ = self._requested_version(call)
        views = [(int(n), self.version_view(model, version)) for n, version in model["_versions"].items()]
        newest_first = sorted(views, key=lambda item: -item[0])
        return paginate(call, Filters(call.query.get("filter", ())).matching(newest_first), "models")

    def list_checkpoints(self, call: Call) -> Json:
        """A page of a version's checkpoints, oldest first."""
        _, version = self._requested_version(call)
        checkpoints = [(-n, item) for n, item in enumerate(version.get("checkpoints", []))]
        return paginate(call, checkpoints, "checkpoints")

    def patch(self, call: Call) -> Json:
        """The changed model; without an update mask every field sent is changed, as google-genai expects."""
        changed = changes(call, "Model")
        with self._state.transaction():
            model, version = self._requested_version(call)
            checkpoint_id = changed.get("defaultCheckpointId")
            if checkpoint_id is not None and checkpoint_id not in version.get("_adapters", {}):
                raise ApiError.field("model.default_checkpoint_id", f'Checkpoint "{checkpoint_id}" does not exist.')
            self.change_version(f"{model['name']}@{version['versionId']}", changed)
            return self.get(call)

    def merge_aliases(self, call: Call) -> Json:
        """The version with aliases added (`a`) and removed (`-a`); an alias moves away from other versions."""
        with self._state.transaction():
            model, version = self._requested_version(call)
            for alias in call.body["versionAliases"]:
                _merge_alias(model, version, alias)
            version["versionUpdateTime"] = now()
            self._state.put("models", model["name"], model)
        return self.version_view(model, version)

    def copy(self, call: Call) -> Json:
        """An operation with the copied model, with checkpoints and their default, without aliases."""
        _, version = self.resolve(call.body["sourceModel"])
        model_id = call.body.get("modelId") or None
        if call.body.get("parentModel"):
            model_id = self.resolve(call.body["parentModel"])[0]["name"].rsplit("/", 1)[1]
        elif model_id and self._state.get(f"{call.parent}/models/{model_id}"):
            raise ApiError(409, f"Model {call.parent}/models/{model_id} already exists.")
        dropped = ("versionId", "versionAliases", "versionCreateTime", "versionUpdateTime")
        copied = {key: value for key, value in version.items() if key not in dropped}
        copied["modelSourceInfo"] = {"sourceType": "GENIE", "copy": True}
        base, _, number = self.add_version(call.parent, model_id, copied).partition("@")
        body = {"model": base, "modelVersionId": number}
        return self._operations.done(call, base, "CopyModel", "CopyModelResponse", body)

    def delete(self, call: Call) -> Json:
        """An operation; refused while a version is deployed."""
        with self._state.transaction():
            model, _ = self._requested_version(call)
            for version in model["_versions"].values():
                self._check_not_deployed(model, version)
            self._state.delete(model["name"])
        self._remove_adapters(model["_versions"].values())
        return self._operations.deleted(call, model["name"])

    def delete_version(self, call: Call) -> Json:
        """An operation; refused for the default version and for deployed ones."""
        name = self.name(call)
        if "@" not in name:
            raise ApiError.field("name", "must name a version: models/ID@VERSION.")
        with self._state.transaction():
            model, version = self.resolve(name)
            self._check_not_deployed(model, version)
            if "default" in version["versionAliases"]:
                raise ApiError.precondition(f"Version {name} is the default version and can't be deleted.")
            del model["_versions"][version["versionId"]]
            self._state.put("models", model["name"], model)
        self._remove_adapters([version])
        return self._operations.deleted(call, model["name"])

    def _check_not_deployed(self, model: Json, version: Json) -> None:
        name = f"{model['name']}@{version['versionId']}"
        endpoints = ", ".join(endpoint for endpoint, _ in self.deployments(name))
        if endpoints:
            raise ApiError.precondition(f"Model {name} is deployed to {endpoints}.")

    def _remove_adapters(self, versions: Sequence[Json]) -> None:
        in_use = {
            path
            for _, model in self._state.all("models")
            for version in model["_versions"].values()
            for path in version.get("_adapters", {}).values()
        }
        for version in versions:
            for path in version.get("_adapters", {}).values():
                if path not in in_use:
                    shutil.rmtree(self._state.directory / path, ignore_errors=True)


def _merge_alias(model: Json, version: Json, alias: str) -> None:
    name = alias.removeprefix("-")
    if alias == "-default":
        place = "merge_version_aliases_request.version_aliases"
        raise ApiError.field(place, "The default alias can be moved to a version, not removed.")
    for holder in [version] if alias.startswith("-") else model["_versions"].values():
        if name in holder["versionAliases"]:
            holder["versionAliases"].remove(name)
    if name == alias:
        version["versionAliases"].append(name)
