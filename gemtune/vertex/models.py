# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Tuned models in the registry and on endpoints: aliases, default checkpoint, deployment.

Source: the generated Model and Endpoint clients, and google-genai for the default checkpoint (which they lack). A
tuned Gemini model costs nothing while idle on its shared endpoint, but every checkpoint has one and
nothing else removes them. All calls are idempotent.
"""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from gemtune.config import JsonObject, is_resource_name
from gemtune.vertex import Client, location_of, service_host, serving_location
from gemtune.vertex.calls import retried, translate_errors

DEPLOY_TIMEOUT_S = 1800.0  # seconds that a deployment may take


@retried
def exists(client: Client, model: str) -> bool:
    """Whether a model (projects/P/locations/L/models/M), or a version of one (@V), was not deleted."""
    return _version(client, model) is not None


@retried
def aliases(client: Client, model: str) -> list[str]:
    """The aliases of a model version (projects/P/locations/L/models/M@V); [] when it does not exist."""
    version = _version(client, model)
    return list(version.version_aliases) if version else []


def _version(client: Client, model: str) -> Any:
    return translate_errors(lambda: _models(client, model).get_model(name=model), {404: None})


@retried
def versions(client: Client, model: str) -> list[str]:
    """All versions (projects/P/locations/L/models/M@V) of a model; [] when it does not exist."""
    listed: list[Any] = translate_errors(
        lambda: list(_models(client, model).list_model_versions(name=model)), {404: []}
    )
    return [f"{model}@{version.version_id}" for version in listed]


@retried
def delete(client: Client, model: str, endpoints: Iterable[str]) -> None:
    """Delete a model with all of its versions, and these endpoints of it; nothing is deployed there."""
    for endpoint in endpoints:
        _wait(lambda name=endpoint: _endpoints(client, name).delete_endpoint(name=name), {404: None})
    _wait(lambda: _models(client, model).delete_model(name=model), {404: None})


@retried
def set_alias(client: Client, model: str, alias: str) -> None:
    """Set an alias of a version; it is removed from other versions of the model."""
    translate_errors(lambda: _models(client, model).merge_version_aliases(name=model, version_aliases=[alias]))


@retried
def remove_alias(client: Client, model: str, alias: str) -> None:
    """Remove an alias of a version, if it has it."""
    if alias in aliases(client, model):
        translate_errors(
            lambda: _models(client, model).merge_version_aliases(name=model, version_aliases=[f"-{alias}"])
        )


@retried
def set_default_checkpoint(client: Client, model: str, checkpoint_id: str) -> None:
    """Set the default checkpoint of a model version."""
    from google.genai import types

    config = types.UpdateModelConfig(default_checkpoint_id=checkpoint_id)
    translate_errors(lambda: client.genai(location_of(model)).models.update(model=model, config=config))


@retried
def default_checkpoint(client: Client, model: str) -> str:
    """The default checkpoint of a model version."""
    return str(
        translate_errors(lambda: client.genai(location_of(model)).models.get(model=model)).default_checkpoint_id or ""
    )


@retried
def deployed(client: Client, endpoint: str) -> list[tuple[str, str]]:
    """(deployed model id, checkpoint id) of everything deployed to an endpoint; empty when it does not exist."""
    resource = translate_errors(lambda: _endpoints(client, endpoint).get_endpoint(name=endpoint), {404: None})
    return [(str(model.id), str(model.checkpoint_id)) for model in resource.deployed_models] if resource else []


@retried
def request_logging(client: Client, endpoint: str) -> tuple[str, float]:
    """Table (bq://...) and sampling rate of an endpoint's, or a base model's, request-response logging.

    ("", 0.0) when it is off.
    """
    if not is_resource_name(endpoint):
        configured = translate_errors(lambda: _model_config(client, "GET", endpoint, "fetch"), {404: None}) or {}
        own = configured.get("loggingConfig", {})
        return (own["bigqueryDestination"]["outputUri"], own["samplingRate"]) if own.get("enabled") else ("", 0.0)
    config = translate_errors(lambda: _endpoints(client, endpoint).get_endpoint(name=endpoint))
    logging = config.predict_request_response_logging_config
    return (logging.bigquery_destination.output_uri, logging.sampling_rate) if logging.enabled else ("", 0.0)


@retried
def set_request_logging(client: Client, endpoint: str, table: str, sampling_rate: float) -> None:
    """Log a share of the requests and answers of an endpoint, or of a base model in this project and location, to a
    BigQuery table (bq://...); 0: none. A base model follows within minutes.
    """
    if not is_resource_name(endpoint):
        own = {"enabled": True, "samplingRate": sampling_rate, "bigqueryDestination": {"outputUri": table}}
        body = {"publisherModelConfig": {"loggingConfig": own if sampling_rate else {"enabled": False}}}
        _model_config(client, "POST", endpoint, "set", body)
        return
    from google.cloud.aiplatform_v1 import types
    from google.protobuf.field_mask_pb2 import FieldMask

    logging = types.PredictRequestResponseLoggingConfig(enabled=bool(sampling_rate), sampling_rate=sampling_rate)
    logging.bigquery_destination.output_uri = table
    changed = types.Endpoint(name=endpoint, predict_request_response_logging_config=logging)
    mask = FieldMask(paths=["predict_request_response_logging_config"])
    translate_errors(lambda: _endpoints(client, endpoint).update_endpoint(endpoint=changed, update_mask=mask))


@retried
def deploy(client: Client, endpoint: str, model: str, checkpoint_id: str) -> None:
    """Deploy a checkpoint to an endpoint with all traffic; no effect when something is deployed there."""
    if deployed(client, endpoint):
        return
    from google.cloud.aiplatform_v1.types import DeployedModel

    deployed_model = DeployedModel(model=model, checkpoint_id=checkpoint_id, display_name=f"checkpoint-{checkpoint_id}")
    endpoints = _endpoints(client, endpoint)
    _wait(lambda: endpoints.deploy_model(endpoint=endpoint, deployed_model=deployed_model, traffic_split={"0": 100}))


@retried
def undeploy(client: Client, endpoint: str) -> bool:
    """Undeploy everything from an endpoint; False when nothing was deployed."""
    serving = deployed(client, endpoint)
    endpoints = _endpoints(client, endpoint)
    for deployed_id, _ in serving:
        _wait(lambda number=deployed_id: endpoints.undeploy_model(endpoint=endpoint, deployed_model_id=number))
    return bool(serving)


def _wait(start: Any, expected: Mapping[int, None] = MappingProxyType({})) -> None:
    """Start a long-running operation and wait for it; it fails like any other call (see `translate_errors`)."""
    if operation := translate_errors(start, expected):
        translate_errors(lambda: operation.result(timeout=DEPLOY_TIMEOUT_S))


def _model_config(client: Client, method: str, model: str, action: str, body: JsonObject | None = None) -> JsonObject:
    location = serving_location(client, model)
    parent = f"projects/{client.project}/locations/{location}"
    path = f"v1beta1/{parent}/publishers/google/models/{model}:{action}PublisherModelConfig"
    return client.rest(method, service_host(location), path, body)


def _models(client: Client, name: str) -> Any:
    from google.cloud.aiplatform_v1.services.model_service import ModelServiceClient

    return client.generated(ModelServiceClient, location_of(name))


def _endpoints(client: Client, name: str) -> Any:
    from google.cloud.aiplatform_v1.services.endpoint_service import EndpointServiceClient

    return client.generated(EndpointServiceClient, location_of(name))
