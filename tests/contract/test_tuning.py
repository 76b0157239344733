# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Tuning jobs through google-genai: creation, states, curves, checkpoints, lists, cancel, refusals."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from emulated import (
    LOCATION,
    NUMBER,
    PARENT,
    Server,
    gapic,
    genai_client,
    preference_lines,
    supervised_lines,
    upload,
    wait,
)
from google.genai import errors, types


def tune(client: Any, train: str, base: str = "gemini-2.5-flash", **config: Any) -> Any:
    return client.tunings.tune(
        base_model=base,
        training_dataset=types.TuningDataset(gcs_uri=train),
        config=types.CreateTuningJobConfig(**config),
    )


@pytest.fixture(scope="module")
def train_uri(server: Server) -> str:
    return upload(server.url, "train.jsonl", supervised_lines())


@pytest.fixture(scope="module")
def valid_uri(server: Server) -> str:
    return upload(server.url, "valid.jsonl", supervised_lines(10))


def test_supervised_job_runs_to_a_served_model(server: Server, train_uri: str, valid_uri: str) -> None:
    client = genai_client(server.url)
    job = tune(
        client,
        train_uri,
        validation_dataset=types.TuningValidationDataset(gcs_uri=valid_uri),
        epoch_count=3,
        learning_rate_multiplier=2.0,
        adapter_size="ADAPTER_SIZE_EIGHT",
        tuned_model_display_name="clf",
        description="d",
        labels={"run": "x"},
        http_options=types.HttpOptions(extra_body={"serviceAccount": "sa@p.iam.gserviceaccount.com"}),
    )
    assert job.state == "JOB_STATE_PENDING"
    assert job.name.startswith(f"{PARENT}/tuningJobs/")
    job = wait(client, job)
    assert job.state == "JOB_STATE_SUCCEEDED"
    assert job.error is None
    assert [(c.checkpoint_id, c.epoch) for c in job.tuned_model.checkpoints] == [("1", 1), ("2", 2), ("3", 3)]
    assert job.tuned_model.endpoint == job.tuned_model.checkpoints[-1].endpoint
    assert job.tuned_model.model.startswith(f"{PARENT}/models/")
    assert job.tuned_model.model.endswith("@1")
    stats = job.tuning_data_stats.supervised_tuning_data_stats
    assert stats.tuning_dataset_example_count == 40
    assert stats.total_billable_token_count > 0
    assert job.tuning_job_metadata.completed_step_count == stats.tuning_step_count
    assert job.service_account == "sa@p.iam.gserviceaccount.com"
    spec = job.supervised_tuning_spec.hyper_parameters
    assert (spec.epoch_count, spec.adapter_size, spec.learning_rate_multiplier) == (3, "ADAPTER_SIZE_EIGHT", 2.0)
    answer = client.models.generate_content(
        model=job.tuned_model.endpoint, contents="where is my parcel now", config={"temperature": 0}
    )
    assert answer.text in ("shipping", "refund")
    model = job.tuned_model.endpoint
    chunks = client.models.generate_content_stream(
        model=model, contents="where is my parcel now", config={"temperature": 0}
    )
    assert "".join(chunk.text for chunk in chunks) == answer.text
    assert client.models.count_tokens(model=model, contents="one two").total_tokens == 3
    assert answer.usage_metadata.total_token_count == (
        answer.usage_metadata.prompt_token_count + answer.usage_metadata.candidates_token_count
    )


def test_curves_are_read_as_googles_notebooks_do(server: Server, train_uri: str, valid_uri: str) -> None:
    from google.cloud.aiplatform_v1 import MetadataServiceClient, TensorboardServiceClient

    client = genai_client(server.url)
    validation = types.TuningValidationDataset(gcs_uri=valid_uri)
    job = wait(client, tune(client, train_uri, validation_dataset=validation, epoch_count=4))
    context = gapic(MetadataServiceClient, server.url).get_context(name=job.experiment)
    board = context.metadata["backing_tensorboard_resource"]
    boards = gapic(TensorboardServiceClient, server.url)
    (run,) = boards.list_tensorboard_runs(parent=f"{board}/experiments/{context.name.rsplit('/', 1)[1]}")
    series = {s.display_name: s for s in boards.list_tensorboard_time_series(parent=run.name)}
    assert set(series) == {
        f"/{split}_{metric}"
        for split in ("train", "eval")
        for metric in ("total_loss", "fraction_of_correct_next_step_preds", "num_predictions")
    }
    names = [s.name for s in series.values()]
    data = boards.batch_read_tensorboard_time_series_data(request={"tensorboard": board, "time_series": names})
    values = {d.tensorboard_time_series_id: [v.scalar.value for v in d.values] for d in data.time_series_data}
    train = values[series["/train_total_loss"].name.rsplit("/", 1)[1]]
    evaluated = values[series["/eval_total_loss"].name.rsplit("/", 1)[1]]
    assert len(train) == 12
    assert train[0] > train[-1]
    assert len(evaluated) == 4
    single = boards.read_tensorboard_time_series_data(tensorboard_time_series=series["/train_total_loss"].name)
    assert [v.scalar.value for v in single.time_series_data.values] == train


def test_preference_job(server: Server) -> None:
    client = genai_client(server.url)
    uri = upload(server.url, "pairs.jsonl", preference_lines())
    job = wait(client, tune(client, uri, method="PREFERENCE_TUNING", beta=0.1, epoch_count=1))
    assert job.state == "JOB_STATE_SUCCEEDED"
    assert job.preference_optimization_spec.hyper_parameters.beta == 0.1
    stats = job.tuning_data_stats.preference_optimization_data_stats
    prompt, answers = stats.user_input_token_distribution.sum, stats.user_output_token_distribution.sum
    assert stats.total_billable_token_count == 2 * int(prompt) + int(answers)
    model = client.models.get(model=job.tuned_model.model)
    assert model.labels["tune-type"] == "preference"


def test_continuous_tuning_adds_a_version(server: Server, train_uri: str) -> None:
    client = genai_client(server.url)
    first = wait(client, tune(client, train_uri, epoch_count=2, tuned_model_display_name="parent"))
    second = wait(client, tune(client, train_uri, first.tuned_model.model, pre_tuned_model_checkpoint_id="1"))
    assert second.tuned_model.model == first.tuned_model.model.replace("@1", "@2")
    assert second.pre_tuned_model.checkpoint_id == "1"
    third = wait(client, tune(client, train_uri, first.tuned_model.model, tuned_model_display_name="another"))
    assert third.tuned_model.model.endswith("@1")
    assert third.tuned_model.model != first.tuned_model.model


def test_a_model_is_rebased_at_its_endpoint(server: Server, train_uri: str) -> None:
    from google.cloud.aiplatform_v1 import GenAiTuningServiceClient

    client = genai_client(server.url)
    old = wait(client, tune(client, train_uri, "gemini-2.5-flash", epoch_count=2, labels={"run": "x"}))
    service = gapic(GenAiTuningServiceClient, server.url)
    request = {
        "parent": PARENT,
        "tuned_model_ref": {"tuned_model": old.tuned_model.model},
        "tuning_job": {"base_model": "gemini-2.5-flash-lite"},
        "deploy_to_same_endpoint": True,
    }
    job = service.rebase_tuned_model(request=request).result(timeout=60)
    assert job.base_model == "gemini-2.5-flash-lite"
    assert job.labels == {"run": "x"}
    assert job.supervised_tuning_spec.hyper_parameters.epoch_count == 2
    assert job.tuned_model.model != old.tuned_model.model
    endpoint = httpx.get(f"{server.url}/v1/{old.tuned_model.endpoint}").json()
    serving = {item["model"] for item in endpoint["deployedModels"] if endpoint["trafficSplit"].get(item["id"])}
    assert serving == {job.tuned_model.model}
    ask = {"model": old.tuned_model.endpoint, "contents": "where is my parcel"}
    assert client.models.generate_content(**ask).text in ("shipping", "refund")


def test_what_cannot_be_rebased_is_refused(server: Server, train_uri: str) -> None:
    client = genai_client(server.url)
    old = wait(client, tune(client, train_uri, epoch_count=1))
    lite = {"baseModel": "gemini-2.5-flash-lite"}
    ref = {"tuningJob": old.name}
    for body, code in (
        ({"tunedModelRef": {}, "tuningJob": lite}, 400),
        ({"tunedModelRef": ref}, 400),
        ({"tunedModelRef": ref, "tuningJob": {"baseModel": "gemini-2.5-flash"}}, 400),  # where it stands already
        ({"tunedModelRef": {"tuningJob": f"{PARENT}/tuningJobs/1"}, "tuningJob": lite}, 404),
        ({"tunedModelRef": ref, "tuningJob": {**lite, "supervisedTuningSpec": "x"}}, 400),
        ({"tunedModelRef": ref, "tuningJob": {**lite, "supervisedTuningSpec": {"hyperParameters": None}}}, 200),
        ({"tunedModelRef": {"pipelineJob": "p"}, "tuningJob": lite}, 400),
        ({"tunedModelRef": ref, "tuningJob": {"baseModel": "gemini-3.5-flash"}, "deployToSameEndpoint": True}, 400),
    ):
        answer = httpx.post(f"{server.url}/v1/{PARENT}/tuningJobs:rebaseTunedModel", json=body)
        assert answer.status_code == code, (body, answer.text)


def test_a_cancelled_rebase_ends_its_operation(start: Callable[..., Server], tmp_path: Path) -> None:
    server = start("--speed", "seconds:30")
    client = genai_client(server.url)
    httpx.put(f"{server.url}/emulator/faults", json={})
    old = wait(client, tune(client, upload(server.url, "t.jsonl", supervised_lines()), epoch_count=1))
    httpx.delete(f"{server.url}/emulator/faults")
    body = {"tunedModelRef": {"tuningJob": old.name}, "tuningJob": {"baseModel": "gemini-2.5-flash-lite"}}
    operation = httpx.post(f"{server.url}/v1/{PARENT}/tuningJobs:rebaseTunedModel", json=body).json()
    assert not operation["done"]
    client.tunings.cancel(name=operation["name"].split("/operations/")[0])
    deadline = time.monotonic() + 30
    while not operation["done"]:
        assert time.monotonic() < deadline
        time.sleep(0.05)
        operation = httpx.get(f"{server.url}/ui/{operation['name']}").json()
    assert (operation["done"], operation["error"]["code"]) == (True, 1)


def test_export_last_checkpoint_only_and_many_epochs(server: Server, train_uri: str) -> None:
    client = genai_client(server.url)
    job = wait(client, tune(client, train_uri, epoch_count=3, export_last_checkpoint_only=True))
    assert len(job.tuned_model.checkpoints) == 1
    assert job.tuned_model.checkpoints[0].epoch == 3
    job = wait(client, tune(client, train_uri, epoch_count=25))
    assert len(job.tuned_model.checkpoints) == 10
    assert job.tuned_model.checkpoints[-1].epoch == 25


def test_list_filters_and_pages(server: Server, train_uri: str) -> None:
    client = genai_client(server.url)
    names = [tune(client, train_uri, epoch_count=1, labels={"batch": "a-1"}).name for _ in range(3)]
    config = {"page_size": 1, "filter": 'labels.batch="a-1"'}
    assert [job.name for job in client.tunings.list(config=config)] == names[::-1]
    assert list(client.tunings.list(config={"filter": 'labels.batch="none"'})) == []
    with pytest.raises(errors.ClientError):
        list(client.tunings.list(config={"filter": "((("}))


def test_gemini_3_is_served_from_the_multi_region(server: Server, train_uri: str) -> None:
    client = genai_client(server.url)
    job = wait(client, tune(client, train_uri, "gemini-3.5-flash", epoch_count=1))
    assert f"projects/{NUMBER}/locations/us/endpoints/" in job.tuned_model.endpoint
    multi_region = genai_client(server.url, "us")
    answer = multi_region.models.generate_content(model=job.tuned_model.endpoint, contents="parcel")
    assert answer.text


def test_cancel_stops_a_running_job(start: Callable[..., Server], tmp_path: Path) -> None:
    script = tmp_path / "slow.json"
    script.write_text('{"step_seconds": 0.2}')
    server = start("--engine", f"scripted:{script}")
    client = genai_client(server.url)
    uri = upload(server.url, "train.jsonl", supervised_lines())
    running, waiting = tune(client, uri, epoch_count=100), tune(client, uri, epoch_count=1)
    while running.state != "JOB_STATE_RUNNING":
        time.sleep(0.05)
        running = client.tunings.get(name=running.name)
    assert client.tunings.get(name=waiting.name).state == "JOB_STATE_PENDING"
    client.tunings.cancel(name=running.name)
    running = wait(client, running, 5)
    assert running.state == "JOB_STATE_CANCELLED"
    assert running.error.code == 1
    assert not running.tuned_model
    assert wait(client, waiting).state == "JOB_STATE_SUCCEEDED"
    with pytest.raises(errors.ClientError, match="can't be cancelled"):
        client.tunings.cancel(name=running.name)


def test_restart_resumes_and_sigterm_is_quick(start: Callable[..., Server], tmp_path: Path) -> None:
    script = tmp_path / "slow.json"
    script.write_text('{"step_seconds": 0.3}')
    server = start("--engine", f"scripted:{script}")
    client = genai_client(server.url)
    uri = upload(server.url, "train.jsonl", supervised_lines(16))
    job = tune(client, uri, epoch_count=4)
    while not client.tunings.get(name=job.name).tuned_model:
        time.sleep(0.05)
    assert server.stop() < 2
    client = genai_client(start("--engine", f"scripted:{script}").url)
    job = wait(client, client.tunings.get(name=job.name))
    assert job.state == "JOB_STATE_SUCCEEDED"
    assert len(job.tuned_model.checkpoints) == 4
    assert len(list(client.models.list(config={"query_base": False}))) == 1
    assert job.tuned_model.model == next(iter(client.models.list(config={"query_base": False}))).name + "@1"


@pytest.mark.parametrize(
    ("base", "config", "field"),
    [
        ("gemini-2.5-pro", {"adapter_size": "ADAPTER_SIZE_SIXTEEN"}, "adapter_size"),
        ("gemini-2.5-flash", {"adapter_size": "ADAPTER_SIZE_THIRTY_TWO"}, "adapter_size"),
        ("gemini-1.0-pro", {}, "base_model"),
        ("gemini-2.5-pro", {"method": "PREFERENCE_TUNING"}, "base_model"),
        ("gemini-2.5-flash", {"epoch_count": -1}, "epoch_count"),
        ("gemini-2.5-flash", {"learning_rate_multiplier": -1.0}, "learning_rate_multiplier"),
        ("gemini-2.5-flash", {"beta": 0.1}, "tuning_spec"),
        ("gemini-2.5-flash", {"labels": {"Run": "x"}}, "labels"),
        ("gemini-2.5-flash", {"tuned_model_display_name": "x" * 129}, "tuned_model_display_name"),
        ("gemini-3.5-flash", {"encryption_spec": types.EncryptionSpec(kms_key_name="k")}, "encryption_spec"),
        (
            "gemini-2.5-flash",
            {"validation_dataset": types.TuningValidationDataset(gcs_uri="gs://tuning-data/none.jsonl")},
            "validation_dataset_uri",
        ),
    ],
)
def test_refusals_name_the_field(server: Server, train_uri: str, base: str, config: Any, field: str) -> None:
    client = genai_client(server.url)
    with pytest.raises(errors.ClientError) as caught:
        tune(client, train_uri, base, **config)
    assert caught.value.code == 400
    assert caught.value.status == "INVALID_ARGUMENT"
    violations = caught.value.details["error"]["details"][0]["fieldViolations"]
    assert field in violations[0]["field"]


def test_bad_files_are_refused(server: Server) -> None:
    client = genai_client(server.url)
    for uri in ("gs://tuning-data/train.csv", "gs://no-bucket/x.jsonl", "file:///x.jsonl"):
        with pytest.raises(errors.ClientError, match="training_dataset_uri"):
            tune(client, uri)
    rows: list[Any] = supervised_lines(4)
    rows.insert(2, {"contents": [{"role": "user", "parts": [{"text": "no answer"}]}]})
    job = wait(client, tune(client, upload(server.url, "broken.jsonl", rows), epoch_count=1))
    assert job.state == "JOB_STATE_FAILED"
    assert job.error.code == 3
    assert "line 3" in job.error.message


def test_location_and_unknown_names(server: Server, train_uri: str) -> None:
    far, client = genai_client(server.url, "asia-east1"), genai_client(server.url)
    with pytest.raises(errors.ClientError, match="not supported in asia-east1"):
        tune(far, train_uri, "gemini-3.5-flash")
    with pytest.raises(errors.ClientError) as caught:
        client.tunings.get(name=f"projects/{NUMBER}/locations/{LOCATION}/tuningJobs/1")
    assert caught.value.code == 404


def test_deprecated_sft_train_sends_enum_numbers(server: Server, train_uri: str) -> None:
    from google.cloud.aiplatform_v1beta1 import GenAiTuningServiceClient
    from google.cloud.aiplatform_v1beta1.types import SupervisedHyperParameters, SupervisedTuningSpec, TuningJob

    sizes = SupervisedHyperParameters.AdapterSize
    hyper = SupervisedHyperParameters(epoch_count=1, adapter_size=sizes.ADAPTER_SIZE_EIGHT)
    spec = SupervisedTuningSpec(training_dataset_uri=train_uri, hyper_parameters=hyper)
    job = gapic(GenAiTuningServiceClient, server.url).create_tuning_job(
        parent=f"projects/demo-project/locations/{LOCATION}",
        tuning_job=TuningJob(base_model="gemini-2.5-flash", supervised_tuning_spec=spec),
    )
    assert job.supervised_tuning_spec.hyper_parameters.adapter_size == sizes.ADAPTER_SIZE_EIGHT
