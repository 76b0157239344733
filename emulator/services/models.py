# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The model registry: models with versions, aliases, checkpoints and a default checkpoint.

One stored resource per model holds all its versions, so an alias moves between versions in one transaction. Every
model has exactly one version with the alias `default`.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from emulator.core.filters import matching
from emulator.core.google_rest import (
    ApiError,
    Call,
    Json,
    Route,
    bad_field,
    canonical,
    failed_precondition,
    labels_of,
    not_found,
    now,
    page,
    public,
    typed,
)
from emulator.core.state import State
from emulator.services.operations import EMPTY, Operations

_ALIAS = re.compile(r"[a-z][a-zA-Z0-9-]{0,126}[a-z0-9]")


class Deployments:
    """Where model versions are deployed, read anew only when an endpoint was written."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._known: tuple[int, dict[str, list[tuple[str, Json]]]] = (-1, {})

    def of(self, version: str) -> list[tuple[str, Json]]:
        """(endpoint name, deployed model) of `.../models/ID@N`, oldest endpoint first."""
        writes = self._state.writes("endpoints")
        if self._known[0] != writes:
            index: dict[str, list[tuple[str, Json]]] = {}
            for _, endpoint in reversed(self._state.all("endpoints")):
                for item in endpoint["deployedModels"]:
                    index.setdefault(item["model"], []).append((endpoint["name"], item))
            self._known = (writes, index)
        return self._known[1].get(version, [])


class Models:
    """The registry of one state; tuning adds versions, endpoints and callers read them."""

    def __init__(self, state: State, operations: Operations, deployments: Deployments) -> None:
        self._state = state
        self._operations = operations
        self._deployments = deployments

    def routes(self) -> list[Route]:
        """Everything under models/."""
        return [
            Route("GET", "models", self.list),
            Route("POST", "models:copy", self.copy, "partial", "within one location"),
            Route("GET", "models/{model}", self.get),
            Route("PATCH", "models/{model}", self.patch),
            Route("DELETE", "models/{model}", self.delete),
            Route("GET", "models/{model}:listVersions", self.list_versions),
            Route("GET", "models/{model}:listCheckpoints", self.list_checkpoints),
            Route("POST", "models/{model}:mergeVersionAliases", self.merge_aliases),
            Route("DELETE", "models/{model}:deleteVersion", self.delete_version),
        ]

    # --- what other modules use

    def resolve(self, name: str) -> tuple[Json, Json]:
        """(model, version) for `.../models/ID`, `@number` or `@alias`; the default version without; 404 if missing."""
        name = canonical(name)
        base, _, wanted = name.partition("@")
        model = self._state.get(base)
        if model is None or "/models/" not in base:
            raise not_found(f'The Model "{name}"')
        for version in model["_versions"].values():
            if wanted == version["versionId"] or (wanted or "default") in version["versionAliases"]:
                return model, version
        raise not_found(f'The Model "{name}"')

    def add_version(self, parent: str, model_id: str | None, version: Json) -> str:
        """Add a version to a model (a new model without `model_id`); the full name `.../models/ID@N`."""
        with self._state.transaction():
            name = f"{parent}/models/{model_id or self._state.new_id('models')}"
            stamp = now()
            model = self._state.get(name) or {"name": name, "createTime": stamp, "_last": 0, "_versions": {}}
            model["_last"] += 1
            number = str(model["_last"])
            aliases = [] if model["_versions"] else ["default"]
            version = {
                "versionId": number,
                "versionAliases": aliases,
                "versionCreateTime": stamp,
                "versionUpdateTime": stamp,
                **version,
            }
            model["_versions"][number] = version
            self._state.put("models", name, model)
        return f"{name}@{number}"

    def change_version(self, name: str, changes: Json) -> None:
        """Set fields of one version."""
        base, _, number = name.partition("@")

        def edit(model: Json) -> None:
            model["_versions"][number].update(changes, versionUpdateTime=now())

        self._state.change(base, edit)

    def drop_version(self, name: str) -> None:
        """Forget a version of an unfinished job, and the model with its last version."""
        base, _, number = name.partition("@")
        with self._state.transaction():
            model = self._state.get(base)
            if model is None or number not in model["_versions"]:
                return
            gone = model["_versions"].pop(number)
            if not model["_versions"]:
                self._state.delete(base)
                return
            _keep_default(model, gone)
            self._state.put("models", base, model)

    def checkpoint(self, name: str, checkpoint_id: str = "") -> tuple[str, Path, str]:
        """(base model, adapter directory, checkpoint id) of a version; its default checkpoint without an id."""
        _, version = self.resolve(name)
        wanted = checkpoint_id or version.get("defaultCheckpointId", "")
        adapters = version.get("_adapters", {})
        if wanted not in adapters:
            raise ApiError(400, f'Checkpoint "{wanted}" does not exist in model {canonical(name)}.')
        return version["_baseModel"], self._state.directory / adapters[wanted], wanted

    def render(self, model: Json, version: Json) -> Json:
        """The Model resource of one version."""
        full = f"{model['name']}@{version['versionId']}"
        deployed = [
            {"endpoint": endpoint, "deployedModelId": item["id"], "checkpointId": item.get("checkpointId", "")}
            for endpoint, item in self._deployments.of(full)
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

    # --- routes

    def _name(self, call: Call) -> str:
        return f"{call.parent}/models/{call.params['model']}"

    def list(self, call: Call) -> Json:
        """A page of models, each in its default version; `filter` may come twice."""
        found = [
            (seq, self.render(*self.resolve(model["name"]))) for seq, model in self._state.all("models", call.parent)
        ]
        return page(call, matching(call.query.get("filter", ()), found), "models")

    def get(self, call: Call) -> Json:
        """One version of a model."""
        return self.render(*self.resolve(self._name(call)))

    def list_versions(self, call: Call) -> Json:
        """A page of versions, newest first."""
        model, _ = self.resolve(self._name(call))
        found = [(int(n), self.render(model, version)) for n, version in model["_versions"].items()]
        found = matching(call.query.get("filter", ()), sorted(found, key=lambda item: -item[0]))
        return page(call, found, "models")

    def list_checkpoints(self, call: Call) -> Json:
        """A page of a version's checkpoints, oldest first."""
        _, version = self.resolve(self._name(call))
        found = [(-n, item) for n, item in enumerate(version.get("checkpoints", []))]
        return page(call, found, "checkpoints")

    def patch(self, call: Call) -> Json:
        """The model changed; without an update mask every given field counts, as google-genai sends it."""
        fields = call.fields("model")
        mask = [part for part in call.first("updateMask").split(",") if part]
        given = {item.partition(".")[0] for item in mask} or set(call.body)
        with self._state.transaction():
            model, version = self.resolve(self._name(call))
            changes: Json = {}
            for key in ("displayName", "description", "versionDescription"):
                if key in given or _snake_in(key, given):
                    changes[key] = fields.text(key, "")
            if "labels" in given:
                changes["labels"] = labels_of(fields)
            if "defaultCheckpointId" in given or "default_checkpoint_id" in given:
                wanted = fields.text("defaultCheckpointId")
                if wanted not in version.get("_adapters", {}):
                    raise bad_field(("model.default_checkpoint_id", f'Checkpoint "{wanted}" does not exist.'))
                changes["defaultCheckpointId"] = wanted
            self.change_version(f"{model['name']}@{version['versionId']}", changes)
            return self.render(*self.resolve(self._name(call)))

    def merge_aliases(self, call: Call) -> Json:
        """The version with aliases added (`a`) and removed (`-a`); an alias moves away from other versions."""
        aliases = call.fields("merge_version_aliases_request").texts("versionAliases")
        if not aliases:
            raise bad_field(("version_aliases", "must hold at least one alias."))
        with self._state.transaction():
            model, version = self.resolve(self._name(call))
            for alias in aliases:
                _merge_alias(model, version, alias)
            version["versionUpdateTime"] = now()
            self._state.put("models", model["name"], model)
        return self.render(model, version)

    def copy(self, call: Call) -> Json:
        """An operation with the copied model: checkpoints and their default go along, aliases do not."""
        fields = call.fields("copy_model_request")
        _, version = self.resolve(fields.text("sourceModel"))
        parent_model = fields.text("parentModel", "")
        wanted = fields.text("modelId", "") or None
        if parent_model:
            wanted = self.resolve(parent_model)[0]["name"].rsplit("/", 1)[1]
        elif wanted and (self._state.get(f"{call.parent}/models/{wanted}") or not re.fullmatch(r"[\w-]{1,63}", wanted)):
            raise ApiError(409, f'The model id "{wanted[:80]}" is taken or not valid.')
        dropped = ("versionId", "versionAliases", "versionCreateTime", "versionUpdateTime")
        copied = {key: value for key, value in version.items() if key not in dropped}
        copied["modelSourceInfo"] = {"sourceType": "GENIE", "copy": True}
        name = self.add_version(call.parent, wanted, copied)
        base, _, number = name.partition("@")
        response = typed(call, "CopyModelResponse", {"model": base, "modelVersionId": number})
        return self._operations.done(call, base, "CopyModelOperationMetadata", response)

    def delete(self, call: Call) -> Json:
        """An operation; refused while a version is deployed."""
        with self._state.transaction():
            model, _ = self.resolve(self._name(call))
            for version in model["_versions"].values():
                self._refuse_deployed(model, version)
            self._state.delete(model["name"])
        self._remove_adapters(model["_versions"].values())
        return self._operations.done(call, model["name"], "DeleteOperationMetadata", EMPTY)

    def delete_version(self, call: Call) -> Json:
        """An operation; the default version and deployed ones stay."""
        name = self._name(call)
        if "@" not in name:
            raise bad_field(("name", "must name a version: models/ID@VERSION."))
        with self._state.transaction():
            model, version = self.resolve(name)
            self._refuse_deployed(model, version)
            if "default" in version["versionAliases"]:
                raise failed_precondition(f"Version {name} is the default version and can't be deleted.")
            del model["_versions"][version["versionId"]]
            self._state.put("models", model["name"], model)
        self._remove_adapters([version])
        return self._operations.done(call, model["name"], "DeleteOperationMetadata", EMPTY)

    def _refuse_deployed(self, model: Json, version: Json) -> None:
        deployed = self.render(model, version)["deployedModels"]
        if deployed:
            where = ", ".join(item["endpoint"] for item in deployed)
            raise failed_precondition(f"Model {model['name']}@{version['versionId']} is deployed to {where}.")

    def _remove_adapters(self, versions: Sequence[Json]) -> None:
        kept = {
            path
            for _, model in self._state.all("models")
            for version in model["_versions"].values()
            for path in version.get("_adapters", {}).values()
        }
        for version in versions:
            for path in version.get("_adapters", {}).values():
                if path not in kept:
                    shutil.rmtree(self._state.directory / path, ignore_errors=True)


def _snake_in(key: str, given: set[str]) -> bool:
    return re.sub(r"([A-Z])", lambda m: "_" + m[1].lower(), key) in given


def _merge_alias(model: Json, version: Json, alias: str) -> None:
    name = alias.removeprefix("-")
    if not _ALIAS.fullmatch(name):
        raise bad_field(("version_aliases", f"'{alias[:140]}' is not a valid alias."))
    if alias.startswith("-"):
        if name == "default":
            raise bad_field(("version_aliases", "The default alias can be moved to a version, not removed."))
        if name in version["versionAliases"]:
            version["versionAliases"].remove(name)
        return
    for other in model["_versions"].values():
        if name in other["versionAliases"]:
            other["versionAliases"].remove(name)
    version["versionAliases"].append(name)


def _keep_default(model: Json, gone: Json) -> None:
    if "default" in gone["versionAliases"]:
        newest = max(model["_versions"], key=int)
        model["_versions"][newest]["versionAliases"].append("default")
