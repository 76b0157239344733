# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Endpoints: which models are deployed where, and how traffic is split.

A deployment keeps the checkpoint it was created with. Traffic is split by a counter, not at random: of any hundred
consecutive requests each deployed model gets exactly its share.
"""

import itertools
from collections import defaultdict

from emulator.core.google_rest import ApiError, Call, Json, check_key, now, public, snake
from emulator.core.messages import changes
from emulator.core.state import State
from emulator.services.collection import Collection
from emulator.services.models import Models
from emulator.services.request_logs import CONFIG, RequestLogs

_SETTINGS = ("displayName", "description", "labels", "encryptionSpec")


class Endpoints(Collection):
    """The endpoints collection."""

    kind, title, parameter = "endpoints", "Endpoint", "endpoint"

    def __init__(self, state: State, models: Models, logs: RequestLogs) -> None:
        super().__init__(state)
        self._models = models
        self._logs = logs
        self._counters: defaultdict[str, itertools.count[int]] = defaultdict(itertools.count)

    def create_for_checkpoint(
        self, parent: str, model: str, checkpoint_id: str, display_name: str, labels: dict[str, str]
    ) -> str:
        """The name of a new endpoint that serves one checkpoint of a model version with all its traffic."""
        with self._state.transaction():
            name = str(self._insert_empty(parent, {"displayName": display_name, "labels": labels})["name"])
            self._deploy(name, model, checkpoint_id, display_name, {"0": 100})
        return name

    def target(self, name: str) -> tuple[str, str]:
        """(model version, checkpoint id) that serves the next request; 404 or 400 when none does."""
        endpoint = self.find(name)
        split = [(key, int(share)) for key, share in endpoint["trafficSplit"].items() if int(share) > 0]
        if not split:
            raise ApiError.precondition(f"Endpoint {name} has no deployed model that takes traffic.")
        # 61 and 100 are coprime: a hundred consecutive requests visit every hundredth once, well mixed
        position = next(self._counters[endpoint["name"]]) * 61 % 100
        ends = itertools.accumulate(share for _, share in split)
        chosen = next(key for (key, _), end in zip(split, ends, strict=True) if position < end)
        deployed = next(item for item in endpoint["deployedModels"] if item["id"] == chosen)
        return deployed["model"], deployed.get("checkpointId", "")

    def deployed_id(self, name: str, model: str, checkpoint_id: str) -> str:
        """The id under which an endpoint serves this checkpoint; empty when it no longer does."""
        for item in self.find(name)["deployedModels"]:
            if item["model"] == model and item.get("checkpointId", "") == checkpoint_id:
                return str(item["id"])
        return ""

    def serving(self, model: str, checkpoint_id: str) -> str:
        """The oldest endpoint that serves this checkpoint; empty when none does."""
        deployments = self._models.deployments(model)
        return next((endpoint for endpoint, item in deployments if item["checkpointId"] == checkpoint_id), "")

    def take_over(self, name: str, model: str) -> None:
        """Serve a model's default checkpoint with all traffic of an endpoint; its other deployments stay without."""
        with self._state.transaction():
            self._deploy(name, model, "", "", {"0": 100})

    def _insert_empty(self, parent: str, fields: Json, id: str = "") -> Json:
        return self.insert(parent, {"deployedModels": [], "trafficSplit": {}, **fields}, id)

    def create(self, call: Call) -> Json:
        """An operation with the new, empty endpoint."""
        check_key(call.body, call.params["location"], "endpoint")
        fields = {key: call.body[key] for key in _SETTINGS if key in call.body}
        endpoint = self._insert_empty(call.parent, fields, call.id("endpointId", r"[a-z0-9][a-z0-9-]{0,62}"))
        return self._operations.done(call, endpoint["name"], "CreateEndpoint", "Endpoint", endpoint)

    def patch(self, call: Call) -> Json:
        """The endpoint with another name, description, labels, traffic split or request-response logging."""
        changed = changes(call, "EndpointChanges")
        with self._state.transaction():
            endpoint = self.requested(call)
            if "trafficSplit" in changed:
                _check_split(changed["trafficSplit"], _ids(endpoint), "endpoint")
            if CONFIG in changed:
                changed[CONFIG] = self._logs.read(call, changed[CONFIG], endpoint, f"endpoint.{snake(CONFIG)}")
            self._store(endpoint | changed)
        return public(endpoint | changed)

    def _store(self, endpoint: Json) -> None:
        endpoint["updateTime"] = now()
        self._state.put("endpoints", endpoint["name"], endpoint)

    def check_deletable(self, resource: Json) -> None:
        """An endpoint with deployed models cannot be deleted."""
        if resource["deployedModels"]:
            raise ApiError.precondition(f"Endpoint {resource['name']} has deployed models; undeploy them first.")

    def deploy(self, call: Call) -> Json:
        """An operation with the deployed model; `trafficSplit` names it "0"."""
        model, split = call.body["deployedModel"], call.body.get("trafficSplit")
        with self._state.transaction():
            endpoint = self.requested(call)
            if split is None:
                split = {**endpoint["trafficSplit"], "0": 0} if endpoint["deployedModels"] else {"0": 100}
            checkpoint_id, display_name = model["checkpointId"], model["displayName"]
            deployed = self._deploy(endpoint["name"], model["model"], checkpoint_id, display_name, split, model["id"])
        body = {"deployedModel": deployed}
        return self._operations.done(call, endpoint["name"], "DeployModel", "DeployModelResponse", body)

    def _deploy(
        self, name: str, model: str, checkpoint_id: str, display_name: str, split: dict[str, int], id: str = ""
    ) -> Json:
        endpoint = self.find(name)
        resolved, version = self._models.resolve(model)
        full = f"{resolved['name']}@{version['versionId']}"
        _, _, checkpoint = self._models.checkpoint(full, checkpoint_id)
        if id in _ids(endpoint):
            raise ApiError.precondition(f"Deployed model {id} exists on {name}.")
        deployed = {
            "id": id or self._state.new_id("deployedModels"),
            "model": full,
            "modelVersionId": version["versionId"],
            "displayName": display_name or version.get("displayName", ""),
            "checkpointId": checkpoint,
            "createTime": now(),
        }
        endpoint["deployedModels"].append(deployed)
        _check_split(split, [*_ids(endpoint), "0"], "deploy_model_request")
        shares = {deployed["id"] if key == "0" else key: share for key, share in split.items() if share}
        endpoint["trafficSplit"] = shares
        self._store(endpoint)
        return deployed

    def undeploy(self, call: Call) -> Json:
        """An operation; a model with traffic needs a new split of the others, unless it is the last one."""
        deployed_id, split = call.body["deployedModelId"], call.body.get("trafficSplit")
        with self._state.transaction():
            endpoint = self.requested(call)
            if deployed_id not in _ids(endpoint):
                raise ApiError.not_found(f"Deployed model {deployed_id} on {endpoint['name']}")
            endpoint["deployedModels"] = [item for item in endpoint["deployedModels"] if item["id"] != deployed_id]
            if not endpoint["deployedModels"]:
                endpoint["trafficSplit"] = {}
            elif split:
                _check_split(split, _ids(endpoint), "undeploy_model_request")
                endpoint["trafficSplit"] = split
            elif endpoint["trafficSplit"].get(deployed_id):
                message = f"Deployed model {deployed_id} takes traffic; set a trafficSplit of the others."
                raise ApiError.precondition(message)
            self._store(endpoint)
        return self._operations.done(call, endpoint["name"], "UndeployModel", "UndeployModelResponse", {})


def _ids(endpoint: Json) -> list[str]:
    return [item["id"] for item in endpoint["deployedModels"]]


def _check_split(split: dict[str, int], ids: list[str], place: str) -> None:
    total, others = sum(split.values()), [key for key in split if key not in ids]
    if others:
        raise ApiError.field(f"{place}.traffic_split", f"'{others[0][:40]}' is not a deployed model of this endpoint.")
    if total not in (0, 100) or (total == 0 and split and "0" not in split):
        raise ApiError.field(f"{place}.traffic_split", f"shares must sum to 100, not {total}.")
