# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Tuned models in the registry and on their endpoints: aliases, default checkpoint, deployed or not.

Source: the generated Model and Endpoint clients, and google-genai for the default checkpoint (which they lack). A
tuned Gemini model costs nothing while idle on its shared endpoint, but every checkpoint has one and nobody else
removes them. Every call may be repeated: what is so already stays so.
"""

from __future__ import annotations

from typing import Any

from gemtune.vertex import Client, PermanentError, translate_errors

LONG = 1800.0  # seconds that a deployment may take


def aliases(client: Client, model: str) -> list[str]:
    """The aliases of a model version (projects/P/locations/L/models/M@V)."""
    return list(translate_errors(lambda: _models(client, model).get_model(name=model)).version_aliases)


def set_alias(client: Client, model: str, alias: str) -> None:
    """Give a version an alias; another version of the same model loses it."""
    translate_errors(lambda: _models(client, model).merge_version_aliases(name=model, version_aliases=[alias]))


def remove_alias(client: Client, model: str, alias: str) -> None:
    """Take an alias from a version that has it."""
    if exists(client, model) and alias in aliases(client, model):
        translate_errors(
            lambda: _models(client, model).merge_version_aliases(name=model, version_aliases=[f"-{alias}"])
        )


def set_default_checkpoint(client: Client, model: str, checkpoint_id: str) -> None:
    """Make a checkpoint the one that the model version stands for."""
    from google.genai import types

    config = types.UpdateModelConfig(default_checkpoint_id=checkpoint_id)
    translate_errors(lambda: client.genai(_place(model)).models.update(model=model, config=config))


def default_checkpoint(client: Client, model: str) -> str:
    """The checkpoint that the model version stands for."""
    return str(
        translate_errors(lambda: client.genai(_place(model)).models.get(model=model)).default_checkpoint_id or ""
    )


def exists(client: Client, model: str) -> bool:
    """Whether the model version is still in the registry."""
    try:
        translate_errors(lambda: _models(client, model).get_model(name=model))
    except PermanentError as error:
        if error.code == 404:
            return False
        raise
    return True


def deployed(client: Client, endpoint: str) -> list[tuple[str, str]]:
    """(deployed model id, checkpoint id) of all that an endpoint serves; empty when there is no such endpoint."""
    try:
        found = translate_errors(lambda: _endpoints(client, endpoint).get_endpoint(name=endpoint))
    except PermanentError as error:
        if error.code == 404:
            return []
        raise
    return [(str(model.id), str(model.checkpoint_id)) for model in found.deployed_models]


def deploy(client: Client, endpoint: str, model: str, checkpoint_id: str) -> None:
    """Have an endpoint serve a checkpoint, alone; nothing is done when it does."""
    if deployed(client, endpoint):
        return
    from google.cloud.aiplatform_v1.types import DeployedModel

    wanted = DeployedModel(model=model, checkpoint_id=checkpoint_id, display_name=f"checkpoint-{checkpoint_id}")
    asked = _endpoints(client, endpoint)
    _wait(lambda: asked.deploy_model(endpoint=endpoint, deployed_model=wanted, traffic_split={"0": 100}))


def undeploy(client: Client, endpoint: str) -> bool:
    """Take everything off an endpoint; False when there was nothing."""
    serving = deployed(client, endpoint)
    asked = _endpoints(client, endpoint)
    for deployed_id, _ in serving:
        _wait(lambda number=deployed_id: asked.undeploy_model(endpoint=endpoint, deployed_model_id=number))
    return bool(serving)


def _wait(start: Any) -> None:
    """Start a long-running operation and wait for its end; its failure leaves like any other."""
    operation = translate_errors(start)
    translate_errors(lambda: operation.result(timeout=LONG))


def _models(client: Client, name: str) -> Any:
    from google.cloud.aiplatform_v1.services.model_service import ModelServiceClient

    return client.generated(ModelServiceClient, _place(name))


def _endpoints(client: Client, name: str) -> Any:
    from google.cloud.aiplatform_v1.services.endpoint_service import EndpointServiceClient

    return client.generated(EndpointServiceClient, _place(name))


def _place(name: str) -> str:
    return name.split("/")[3]
