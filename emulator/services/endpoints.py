# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Endpoints: what is deployed where, and how traffic is split.

A deployment fixes its checkpoint when it is made. Traffic is split by a counter, not by chance: over any hundred
requests each deployed model gets exactly its share.
"""

from __future__ import annotations

import itertools
import re
from collections import defaultdict

from emulator.core.filters import matching
from emulator.core.google_rest import (
    Call,
    Fields,
    Json,
    Route,
    bad_field,
    failed_precondition,
    labels_of,
    not_found,
    now,
    page,
    public,
    typed,
)
from emulator.core.state import State
from emulator.services.models import Deployments, Models
from emulator.services.operations import EMPTY, Operations


class Endpoints:
    """The endpoints of one state."""

    def __init__(self, state: State, models: Models, operations: Operations, deployments: Deployments) -> None:
        self._state = state
        self._deployments = deployments
        self._models = models
        self._operations = operations
        self._counters: defaultdict[str, itertools.count[int]] = defaultdict(itertools.count)

    def routes(self) -> list[Route]:
        """Everything under endpoints/ but inference."""
        return [
            Route("POST", "endpoints", self.create),
            Route("GET", "endpoints", self.list),
            Route("GET", "endpoints/{endpoint}", self.get),
            Route("PATCH", "endpoints/{endpoint}", self.patch),
            Route("DELETE", "endpoints/{endpoint}", self.delete),
            Route("POST", "endpoints/{endpoint}:deployModel", self.deploy),
            Route("POST", "endpoints/{endpoint}:undeployModel", self.undeploy),
        ]

    # --- what other modules use

    def create_for_checkpoint(
        self, parent: str, model: str, checkpoint_id: str, display_name: str, labels: dict[str, str]
    ) -> str:
        """A new endpoint that serves one checkpoint; its name."""
        with self._state.transaction():
            name = f"{parent}/endpoints/{self._state.new_id('endpoints')}"
            self._state.put("endpoints", name, self._new(name, {"displayName": display_name, "labels": labels}))
            self._add(name, model, checkpoint_id, display_name, {"0": 100})
        return name

    def target(self, name: str) -> tuple[str, str]:
        """(model version, checkpoint id) that answers the next request; 404 or 400 when nothing does."""
        endpoint = self._find(name)
        split = [(key, int(share)) for key, share in endpoint.get("trafficSplit", {}).items() if int(share) > 0]
        if not split:
            raise failed_precondition(f"Endpoint {name} has no deployed model that takes traffic.")
        # 61 and 100 share no factor: a hundred requests in a row visit every hundredth once, well mixed
        position = next(self._counters[name]) * 61 % 100
        chosen = next(key for key, end in _ends(split) if position < end)
        deployed = next(item for item in endpoint["deployedModels"] if item["id"] == chosen)
        return deployed["model"], deployed.get("checkpointId", "")

    def deployed_id(self, name: str, model: str, checkpoint_id: str) -> str:
        """The id under which an endpoint serves this checkpoint; empty when it does no longer."""
        found = (item for item in self._find(name)["deployedModels"] if item["model"] == model)
        return next((str(item["id"]) for item in found if item.get("checkpointId", "") == checkpoint_id), "")

    def serving(self, model: str, checkpoint_id: str) -> str:
        """An endpoint that now serves this checkpoint, the oldest; empty when none does."""
        found = (endpoint for endpoint, item in self._deployments.of(model) if item["checkpointId"] == checkpoint_id)
        return next(found, "")

    def take_over(self, name: str, model: str, checkpoint_id: str, display_name: str) -> None:
        """Serve a checkpoint from an endpoint that is there, with all its traffic; what was deployed stays, idle."""
        with self._state.transaction():
            self._add(name, model, checkpoint_id, display_name, {"0": 100})

    def remove(self, name: str) -> None:
        """Forget an endpoint of an unfinished job."""
        self._state.delete(name)

    # --- routes

    def _name(self, call: Call) -> str:
        return f"{call.parent}/endpoints/{call.params['endpoint']}"

    def _find(self, name: str) -> Json:
        found = self._state.get(name)
        if found is None or "/endpoints/" not in name:
            raise not_found(f"Endpoint {name}")
        return found

    def _new(self, name: str, given: Json) -> Json:
        stamp = now()
        times = {"createTime": stamp, "updateTime": stamp}
        return {"name": name, "deployedModels": [], "trafficSplit": {}, **times, **given}

    def create(self, call: Call) -> Json:
        """An operation with the new, empty endpoint."""
        fields = call.fields("endpoint")
        given: Json = {"displayName": _display_name(fields), "description": fields.text("description", "")}
        given["labels"] = labels_of(fields)
        if "encryptionSpec" in fields:
            given["encryptionSpec"] = fields.object("encryptionSpec").value
        wanted = call.first("endpointId")
        if wanted and not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,62}", wanted):
            raise bad_field(("endpoint_id", f"'{wanted[:80]}' is not a valid id."))
        with self._state.transaction():
            name = f"{call.parent}/endpoints/{wanted or self._state.new_id('endpoints')}"
            if self._state.get(name):
                raise failed_precondition(f"Endpoint {name} exists.")
            endpoint = self._state.put("endpoints", name, self._new(name, given))
        return self._operations.done(call, name, "CreateEndpointOperationMetadata", typed(call, "Endpoint", endpoint))

    def list(self, call: Call) -> Json:
        """A page of endpoints."""
        found = matching(call.query.get("filter", ()), self._state.all("endpoints", call.parent))
        return page(call, found, "endpoints")

    def get(self, call: Call) -> Json:
        """One endpoint."""
        return public(self._find(self._name(call)))

    def patch(self, call: Call) -> Json:
        """The endpoint with another name, description, labels or traffic split."""
        fields = call.fields("endpoint")
        mask = {part.partition(".")[0] for part in call.first("updateMask").split(",") if part} or set(call.body)
        with self._state.transaction():
            endpoint = self._find(self._name(call))
            if mask & {"displayName", "display_name"}:
                endpoint["displayName"] = _display_name(fields)
            if "description" in mask:
                endpoint["description"] = fields.text("description", "")
            if "labels" in mask:
                endpoint["labels"] = labels_of(fields)
            if mask & {"trafficSplit", "traffic_split"}:
                endpoint["trafficSplit"] = _split(fields, [item["id"] for item in endpoint["deployedModels"]])
            endpoint["updateTime"] = now()
            self._state.put("endpoints", endpoint["name"], endpoint)
        return public(endpoint)

    def delete(self, call: Call) -> Json:
        """An operation; refused while a model is deployed."""
        with self._state.transaction():
            endpoint = self._find(self._name(call))
            if endpoint["deployedModels"]:
                raise failed_precondition(f"Endpoint {endpoint['name']} has deployed models; undeploy them first.")
            self._state.delete(endpoint["name"])
        return self._operations.done(call, endpoint["name"], "DeleteOperationMetadata", EMPTY)

    def deploy(self, call: Call) -> Json:
        """An operation with the deployed model; `trafficSplit` names it "0"."""
        fields = call.fields("deploy_model_request")
        given = fields.object("deployedModel")
        split = fields.value.get("trafficSplit")
        with self._state.transaction():
            endpoint = self._find(self._name(call))
            if split is None:
                split = {**endpoint["trafficSplit"], "0": 0} if endpoint["deployedModels"] else {"0": 100}
            deployed = self._add(
                endpoint["name"],
                given.text("model"),
                given.text("checkpointId", ""),
                given.text("displayName", ""),
                split,
                given.text("id", ""),
            )
        response = typed(call, "DeployModelResponse", {"deployedModel": deployed})
        return self._operations.done(call, endpoint["name"], "DeployModelOperationMetadata", response)

    def _add(self, name: str, model: str, checkpoint_id: str, display_name: str, split: object, id: str = "") -> Json:
        endpoint = self._find(name)
        found, version = self._models.resolve(model)
        full = f"{found['name']}@{version['versionId']}"
        _, _, checkpoint = self._models.checkpoint(full, checkpoint_id)
        if any(item["id"] == id for item in endpoint["deployedModels"]):
            raise failed_precondition(f"Deployed model {id} exists on {name}.")
        deployed = {
            "id": id or self._state.new_id("deployedModels"),
            "model": full,
            "modelVersionId": version["versionId"],
            "displayName": display_name or version.get("displayName", ""),
            "checkpointId": checkpoint,
            "createTime": now(),
        }
        endpoint["deployedModels"].append(deployed)
        fields = Fields({"trafficSplit": split}, "deploy_model_request")
        known = [item["id"] for item in endpoint["deployedModels"]]
        shares = _split(fields, [*known, "0"])
        if "0" in shares:
            shares[deployed["id"]] = shares.pop("0")
        endpoint["trafficSplit"] = {key: share for key, share in shares.items() if share}
        endpoint["updateTime"] = now()
        self._state.put("endpoints", name, endpoint)
        return deployed

    def undeploy(self, call: Call) -> Json:
        """An operation; a model with traffic goes only with a new split, or as the last one."""
        fields = call.fields("undeploy_model_request")
        wanted = fields.text("deployedModelId")
        with self._state.transaction():
            endpoint = self._find(self._name(call))
            left = [item for item in endpoint["deployedModels"] if item["id"] != wanted]
            if len(left) == len(endpoint["deployedModels"]):
                raise not_found(f"Deployed model {wanted} on {endpoint['name']}")
            if not left:
                split: dict[str, int] = {}
            elif fields.value.get("trafficSplit"):
                split = _split(fields, [item["id"] for item in left])
            elif endpoint["trafficSplit"].get(wanted):
                raise failed_precondition(f"Deployed model {wanted} takes traffic; give a trafficSplit of the others.")
            else:
                split = endpoint["trafficSplit"]
            endpoint.update(deployedModels=left, trafficSplit=split, updateTime=now())
            self._state.put("endpoints", endpoint["name"], endpoint)
        response = typed(call, "UndeployModelResponse", {})
        return self._operations.done(call, endpoint["name"], "UndeployModelOperationMetadata", response)


def _ends(split: list[tuple[str, int]]) -> list[tuple[str, int]]:
    keys, shares = zip(*split, strict=True)
    return list(zip(keys, itertools.accumulate(shares), strict=True))


def _display_name(fields: Fields) -> str:
    name = fields.text("displayName")
    if not 1 <= len(name) <= 128:
        raise bad_field((fields.name("displayName"), "must have 1 to 128 characters."))
    return name


def _split(fields: Fields, known: list[str]) -> dict[str, int]:
    where = fields.name("trafficSplit")
    value = fields.value.get("trafficSplit")
    if not isinstance(value, dict):
        raise bad_field((where, "must be a map."))
    shares = {key: Fields(value, where).integer(key, 0) for key in value}
    for key, share in shares.items():
        if key not in known:
            raise bad_field((where, f"'{key[:40]}' is not a deployed model of this endpoint."))
        if share < 0:
            raise bad_field((where, "shares must not be negative."))
    if sum(shares.values()) not in (0, 100) or (sum(shares.values()) == 0 and shares and "0" not in shares):
        raise bad_field((where, f"shares must sum to 100, not {sum(shares.values())}."))
    return shares
