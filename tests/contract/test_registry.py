# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Models, versions, aliases, checkpoints and endpoints through google-genai and google-cloud-aiplatform over REST."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from emulated import LOCATION, NUMBER, PARENT, PROJECT, Server, gapic, genai_client, supervised_lines, upload, wait
from google.api_core import exceptions
from google.genai import errors, types

from emulator.core.faults import Faults
from emulator.core.state import State
from emulator.services.endpoints import Endpoints
from emulator.services.models import Models
from emulator.services.request_logs import BigQuery, RequestLogs
from emulator.services.storage import Storage


@pytest.fixture(scope="module")
def job(server: Server) -> Any:
    client = genai_client(server.url)
    uri = upload(server.url, "train.jsonl", supervised_lines())
    config = types.CreateTuningJobConfig(epoch_count=3, tuned_model_display_name="clf")
    base = "gemini-2.5-flash"
    dataset = types.TuningDataset(gcs_uri=uri)
    return wait(client, client.tunings.tune(base_model=base, training_dataset=dataset, config=config))


@pytest.fixture(scope="module")
def second(server: Server, job: Any) -> Any:
    """A second version of the same model."""
    client = genai_client(server.url)
    dataset = types.TuningDataset(gcs_uri="gs://tuning-data/train.jsonl")
    config = types.CreateTuningJobConfig(epoch_count=1)
    return wait(client, client.tunings.tune(base_model=job.tuned_model.model, training_dataset=dataset, config=config))


@pytest.fixture
def aip(server: Server) -> Iterator[Any]:
    from google.auth.credentials import AnonymousCredentials
    from google.cloud import aiplatform

    aiplatform.init(
        project=PROJECT,
        location=LOCATION,
        credentials=AnonymousCredentials(),
        api_endpoint=server.url,
        api_transport="rest",
    )
    yield aiplatform
    aiplatform.initializer.global_config._api_endpoint = None


def test_genai_reads_and_updates_models(server: Server, job: Any) -> None:
    client = genai_client(server.url)
    model = client.models.get(model=job.tuned_model.model)
    assert [c.checkpoint_id for c in model.checkpoints] == ["1", "2", "3"]
    assert model.default_checkpoint_id == "3"
    assert model.labels["tune-type"] == "sft"
    assert model.display_name == "clf"
    assert job.tuned_model.model.split("@")[0] in [m.name for m in client.models.list(config={"query_base": False})]
    assert "publishers/google/models/gemini-2.5-pro" in [m.name for m in client.models.list()]
    updated = client.models.update(
        model=job.tuned_model.model, config=types.UpdateModelConfig(default_checkpoint_id="1", display_name="new")
    )
    assert (updated.default_checkpoint_id, updated.display_name) == ("1", "new")
    moved = client.tunings.get(name=job.name)
    assert moved.tuned_model.endpoint == job.tuned_model.checkpoints[0].endpoint
    config = types.UpdateModelConfig(default_checkpoint_id="3", display_name="clf")
    client.models.update(model=job.tuned_model.model, config=config)
    with pytest.raises(errors.ClientError, match="default_checkpoint_id"):
        client.models.update(model=job.tuned_model.model, config=types.UpdateModelConfig(default_checkpoint_id="9"))


def test_versions_and_aliases(aip: Any, job: Any, second: Any) -> None:
    name = job.tuned_model.model.split("@")[0]
    registry = aip.models.ModelRegistry(name)
    assert {v.version_id: v.version_aliases for v in registry.list_versions()} == {"1": ["default"], "2": []}
    registry.add_version_aliases(["champion"], "1")
    assert aip.Model(f"{name}@champion").version_id == "1"
    registry.add_version_aliases(["champion"], "2")
    assert aip.Model(f"{name}@champion").version_id == "2"
    assert "champion" not in aip.Model(f"{name}@1").version_aliases
    registry.remove_version_aliases(["champion"], "2")
    with pytest.raises(exceptions.NotFound):
        aip.Model(f"{name}@champion")
    registry.add_version_aliases(["default"], "2")
    assert aip.Model(name).version_id == "2"
    registry.add_version_aliases(["default"], "1")
    with pytest.raises(exceptions.BadRequest):
        registry.remove_version_aliases(["default"], "1")
    with pytest.raises(exceptions.BadRequest):
        registry.add_version_aliases(["7"], "1")
    assert aip.Model.list(filter='labels.tune-type="sft"')
    assert not aip.Model.list(filter='labels.tune-type="none"')


def test_list_checkpoints(server: Server, job: Any) -> None:
    from google.cloud.aiplatform_v1beta1 import ModelServiceClient

    checkpoints = list(gapic(ModelServiceClient, server.url).list_model_version_checkpoints(name=job.tuned_model.model))
    assert [(c.checkpoint_id, c.epoch) for c in checkpoints] == [("1", 1), ("2", 2), ("3", 3)]


def test_copy_and_delete(aip: Any, job: Any) -> None:
    copy = aip.Model(job.tuned_model.model).copy(destination_location=LOCATION, destination_model_id="the-copy")
    assert copy.resource_name == f"{PARENT}/models/the-copy"
    assert copy.version_aliases == ["default"]
    copy.delete()
    with pytest.raises(exceptions.NotFound):
        aip.Model("the-copy")
    with pytest.raises(exceptions.BadRequest, match="is deployed"):
        aip.Model(job.tuned_model.model).delete()


def test_deleting_a_model_removes_its_adapters(start: Callable[..., Server], tmp_path: Path) -> None:
    server = start()
    client = genai_client(server.url)
    dataset = types.TuningDataset(gcs_uri=upload(server.url, "train.jsonl", supervised_lines()))
    config = types.CreateTuningJobConfig(epoch_count=2)
    job = wait(client, client.tunings.tune(base_model="gemini-2.5-flash", training_dataset=dataset, config=config))
    adapters = tmp_path / "state" / "adapters"
    assert len(list(adapters.glob("*/checkpoint-*"))) == 2
    with pytest.raises(errors.ClientError, match="is deployed"):
        client.models.delete(model=job.tuned_model.model)
    for checkpoint in job.tuned_model.checkpoints:
        endpoint = httpx.get(f"{server.url}/v1/{checkpoint.endpoint}").json()
        body = {"deployedModelId": endpoint["deployedModels"][0]["id"]}
        assert httpx.post(f"{server.url}/v1/{checkpoint.endpoint}:undeployModel", json=body).status_code == 200
    assert client.tunings.get(name=job.name).tuned_model.endpoint in (None, "")
    client.models.delete(model=job.tuned_model.model.split("@")[0])
    assert list(adapters.glob("*/checkpoint-*")) == []
    assert client.tunings.get(name=job.name).state == "JOB_STATE_SUCCEEDED"


@pytest.mark.difference("projects", "must exist", "any id; each has a number")
def test_project_id_and_number_are_one(server: Server, job: Any) -> None:
    from google.cloud.aiplatform_v1 import ModelServiceClient

    models = gapic(ModelServiceClient, server.url)
    by_id = models.get_model(name=job.tuned_model.model.replace(NUMBER, PROJECT))
    assert by_id == models.get_model(name=job.tuned_model.model)


def test_endpoint_lifecycle_with_exact_checkpoint(server: Server, aip: Any, job: Any, second: Any) -> None:
    from google.cloud.aiplatform_v1 import DeployedModel, EndpointServiceClient

    endpoint = aip.Endpoint.create(display_name="serving", labels={"a": "b"})
    client = gapic(EndpointServiceClient, server.url)
    first = client.deploy_model(
        endpoint=endpoint.resource_name,
        deployed_model=DeployedModel(model=job.tuned_model.model, checkpoint_id="1", display_name="c1"),
        traffic_split={"0": 100},
    ).result()
    assert first.deployed_model.checkpoint_id == "1"
    other = client.deploy_model(
        endpoint=endpoint.resource_name,
        deployed_model=DeployedModel(model=second.tuned_model.model),
        traffic_split={"0": 25, first.deployed_model.id: 75},
    ).result()
    current = client.get_endpoint(name=endpoint.resource_name)
    assert dict(current.traffic_split) == {other.deployed_model.id: 25, first.deployed_model.id: 75}
    assert [e.display_name for e in aip.Endpoint.list(filter='display_name="serving"')] == ["serving"]
    with pytest.raises(exceptions.BadRequest, match="deployed models"):
        client.delete_endpoint(name=endpoint.resource_name)
    with pytest.raises(exceptions.BadRequest, match="sum to 100"):
        client.deploy_model(
            endpoint=endpoint.resource_name,
            deployed_model=DeployedModel(model=second.tuned_model.model),
            traffic_split={"0": 25},
        )
    with pytest.raises(exceptions.BadRequest, match="takes traffic"):
        client.undeploy_model(endpoint=endpoint.resource_name, deployed_model_id=other.deployed_model.id)
    split = {first.deployed_model.id: 100}
    client.undeploy_model(
        endpoint=endpoint.resource_name, deployed_model_id=other.deployed_model.id, traffic_split=split
    ).result()
    aip.Endpoint(endpoint.resource_name).undeploy_all()
    aip.Endpoint(endpoint.resource_name).delete()
    with pytest.raises(exceptions.NotFound):
        client.get_endpoint(name=endpoint.resource_name)


def test_deploy_through_the_model_class(aip: Any, job: Any) -> None:
    endpoint = aip.Endpoint.create(display_name="by-model")
    aip.Model(job.tuned_model.model).deploy(endpoint=endpoint, traffic_percentage=100)
    (deployed,) = endpoint.list_models()
    assert deployed.model == job.tuned_model.model
    assert deployed.checkpoint_id == "3"


@pytest.mark.parametrize("split", [{"a": 70, "b": 25, "c": 5}, {"c": 5, "a": 0, "b": 95}, {"b": 100}])
def test_endpoint_target_follows_the_split(tmp_path: Path, split: dict[str, int]) -> None:
    state = State(tmp_path)
    tables = BigQuery(state, Storage(tmp_path / "storage"), Faults(), lambda: datetime.now(UTC))
    logs = RequestLogs(state, tables)
    endpoints = Endpoints(state, Models(state), logs)
    deployed = [{"id": key, "model": f"model-{key}@1", "checkpointId": "1"} for key in "abc"]
    name = f"{PARENT}/endpoints/1"
    state.put("endpoints", name, {"name": name, "deployedModels": deployed, "trafficSplit": split})
    for _ in range(3):
        requests = Counter(endpoints.target(name) for _ in range(100))
        assert requests == {(f"model-{key}@1", "1"): share for key, share in split.items() if share}
    state.close()


@pytest.mark.difference("operations", "take time", "are done in the first response")
def test_operations_are_found_again(server: Server, aip: Any) -> None:
    created = httpx.post(f"{server.url}/v1/{PARENT}/endpoints", json={"displayName": "e"}).json()
    assert created["done"]
    assert created["response"]["@type"].endswith("aiplatform.v1.Endpoint")
    for prefix in ("/v1", "/ui"):
        path = prefix + "/" + created["name"].replace(NUMBER, PROJECT)
        assert httpx.get(server.url + path).json() == created
    missing = httpx.get(f"{server.url}/v1/{PARENT}/operations/1")
    assert missing.status_code == 404


def test_endpoint_patch_and_missing(server: Server) -> None:
    from google.cloud.aiplatform_v1 import Endpoint, EndpointServiceClient
    from google.protobuf.field_mask_pb2 import FieldMask

    client = gapic(EndpointServiceClient, server.url)
    created = client.create_endpoint(parent=PARENT, endpoint=Endpoint(display_name="old")).result()
    changed = client.update_endpoint(
        endpoint=Endpoint(name=created.name, display_name="new", description="ignored"),
        update_mask=FieldMask(paths=["display_name"]),
    )
    assert (changed.display_name, changed.description) == ("new", "")
    empty = genai_client(server.url)
    with pytest.raises(errors.ClientError, match="no deployed model"):
        empty.models.generate_content(model=created.name, contents="x")
    with pytest.raises(errors.ClientError, match="not found"):
        empty.models.generate_content(model=f"{PARENT}/endpoints/1", contents="x")
