# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""What is really sent for a tuning job, and every trap of the SDK's `tunings.tune` refused or avoided.

- a plain dict as config loses the checkpoint to continue from: test_continued_job_keeps_its_checkpoint
- `beta` without the method makes two specs in one body: test_wrong_orders_are_refused_before_a_request and
  test_preference_job_has_its_own_spec_alone; the service's refusal: test_refusals_name_the_field (contract)
- an adapter size as a number: test_adapter_sizes_are_sent_as_words
- the training data as a text, not a `TuningDataset`: test_choices_left_to_the_service_are_not_sent
- validation data of the wrong type warn: test_no_warning_reaches_the_user
- a Vertex data set's name is sent as the URI: test_wrong_orders_are_refused_before_a_request
- inline examples, fields of open models:
  test_what_is_for_open_models_or_elsewhere_cannot_be_asked_for
- there is no field for a service account: test_everything_asked_for_is_sent
- a bare id is asked for, or cancelled, under a wrong path: test_bare_id_is_refused_before_a_request
- every call warns that it is experimental: test_no_warning_reaches_the_user
- further pages need the filter again: test_every_page_is_read_with_the_same_filter
"""

from __future__ import annotations

import dataclasses
import logging
import warnings
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from test_vertex import Server

from gemtune import vertex
from gemtune.config import Reward, Vertex
from gemtune.tuning.rewards import wire_config
from gemtune.vertex import jobs
from gemtune.vertex.jobs import TuningJobSpec

NAME = "projects/1/locations/us-central1/tuningJobs/7"
TUNED = "projects/1/locations/us-central1/models/777@2"
SUPERVISED = TuningJobSpec("gemini-3.5-flash", "supervised", "gs://b/train.jsonl")
PREFERENCE = TuningJobSpec("gemini-2.5-flash", "preference", "gs://b/pairs.jsonl", beta=0.1)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    running = Server()
    running.reply = (200, {"name": NAME, "state": "JOB_STATE_PENDING", "createTime": "2026-11-20T10:00:00Z"})
    monkeypatch.setenv("GOOGLE_VERTEX_BASE_URL", running.url)
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "demo")
    monkeypatch.setenv("GOOGLE_CLOUD_LOCATION", "us-central1")
    yield running
    running.close()


def sent(server: Server, order: TuningJobSpec) -> dict[str, Any]:
    jobs.create(vertex.connect(Vertex.of({})), order)
    body: dict[str, Any] = server.asked[-1][2]
    return body


def test_create_job_sends_every_setting(server: Server) -> None:
    full = replace(
        SUPERVISED,
        validation_uri="gs://b/val.jsonl",
        epoch_count=3,
        learning_rate_multiplier=0.5,
        adapter_size=8,
        last_checkpoint_only=True,
        display_name="mine",
        description="d",
        labels={"a": "b"},
        service_account="sa@p.iam.gserviceaccount.com",
        encryption_key="projects/p/locations/l/keyRings/r/cryptoKeys/k",
    )
    body = sent(server, full)
    assert body["supervisedTuningSpec"] == {
        "trainingDatasetUri": "gs://b/train.jsonl",
        "validationDatasetUri": "gs://b/val.jsonl",
        "hyperParameters": {"epochCount": 3, "learningRateMultiplier": 0.5, "adapterSize": "ADAPTER_SIZE_EIGHT"},
        "exportLastCheckpointOnly": True,
    }
    assert body["baseModel"] == "gemini-3.5-flash"
    assert body["tunedModelDisplayName"] == "mine"
    assert body["labels"] == {"a": "b"}
    assert body["serviceAccount"] == "sa@p.iam.gserviceaccount.com"
    assert body["encryptionSpec"] == {"kms_key_name": full.encryption_key}


def test_create_job_omits_defaults_of_the_service(server: Server) -> None:
    assert sent(server, SUPERVISED) == {
        "baseModel": "gemini-3.5-flash",
        "supervisedTuningSpec": {"trainingDatasetUri": "gs://b/train.jsonl"},
    }


def test_create_job_preference_has_only_its_spec(server: Server) -> None:
    body = sent(server, replace(PREFERENCE, epoch_count=1, adapter_size=1))
    hyper = {"epochCount": 1, "adapterSize": "ADAPTER_SIZE_ONE", "beta": 0.1}
    assert body["preferenceOptimizationSpec"] == {"trainingDatasetUri": "gs://b/pairs.jsonl", "hyperParameters": hyper}
    assert "supervisedTuningSpec" not in body


def test_create_job_reinforcement_is_the_body_that_the_sdk_was_seen_to_send(server: Server) -> None:
    reward = Reward(name="label", extract="<a>(.*)</a>", wrong=-1, expression="{{references.label}}")
    fields = {**wire_config([reward], "j"), "samples_per_prompt": 16, "batch_size": 32, "max_output_tokens": 1024}
    fields |= {"evaluate_interval": 10, "checkpoint_interval": 20, "thinking_level": "MINIMAL"}
    order = TuningJobSpec("gemini-3.5-flash", "reinforcement", "gs://b/t.jsonl", "gs://b/v.jsonl", 2, 1.0, 4)
    hyper = {"epochCount": 2, "learningRateMultiplier": 1.0, "adapterSize": "ADAPTER_SIZE_FOUR", "batchSize": 32,
             "samplesPerPrompt": 16, "evaluateInterval": 10, "checkpointInterval": 20, "maxOutputTokens": 1024,
             "thinkingLevel": "MINIMAL"}  # fmt: skip
    match = {"match_operation": "EXACT_MATCH", "expression": "{{references.label}}"}
    scorer = {"correct_answer_reward": 1.0, "wrong_answer_reward": -1.0, "string_match_expression": match}
    single = {
        "rewardName": "label",
        "parseResponseConfig": {"parse_type": "REGEX_EXTRACT", "regex_extract_expression": "<a>(.*)</a>"},
        "stringMatchRewardScorer": scorer,
    }
    assert sent(server, replace(order, reinforcement=fields, display_name="r")) == {
        "baseModel": "gemini-3.5-flash",
        "tunedModelDisplayName": "r",
        "reinforcementTuningSpec": {
            "trainingDatasetUri": "gs://b/t.jsonl",
            "validationDatasetUri": "gs://b/v.jsonl",
            "hyperParameters": hyper,
            "singleRewardConfig": single,
        },
    }


@pytest.mark.parametrize(
    ("metric", "spec"),
    [("exact_match", {"exact_match_spec": {}}), ("rouge_l", {"rouge_spec": {"rouge_type": "rougeL"}})],
)
def test_create_job_evaluation_is_the_body_that_the_sdk_was_seen_to_send(
    server: Server, metric: str, spec: dict[str, Any]
) -> None:
    fields = {"metric": metric, "inference_generation_config": {"temperature": 0.0, "max_output_tokens": 8}}
    config = sent(server, replace(SUPERVISED, evaluation=fields))["supervisedTuningSpec"]["evaluationConfig"]
    (given,) = config.pop("metrics")
    given = {name: value for name, value in given.items() if value is not None}
    assert {k: v if k != "rouge_spec" else {"rouge_type": v["rouge_type"]} for k, v in given.items()} == {
        **spec, "aggregation_metrics": ["AVERAGE", "STANDARD_DEVIATION"]
    }  # fmt: skip
    assert config == {
        "outputConfig": {"gcs_destination": {"output_uri_prefix": "gs://demo-gemtune/evaluation"}},
        "inferenceGenerationConfig": {"temperature": 0.0, "maxOutputTokens": 8},
    }


@pytest.mark.parametrize("order", [SUPERVISED, PREFERENCE])
def test_create_job_keeps_the_checkpoint_it_continues(server: Server, order: TuningJobSpec) -> None:
    body = sent(server, replace(order, base=TUNED, checkpoint_id="3"))
    assert body["preTunedModel"] == {"tuned_model_name": TUNED, "checkpoint_id": "3"}
    assert "baseModel" not in body


@pytest.mark.parametrize("size", [1, 2, 4, 8, 16])
def test_create_job_sends_adapter_sizes_as_enums(server: Server, size: int) -> None:
    word = sent(server, replace(SUPERVISED, adapter_size=size))["supervisedTuningSpec"]["hyperParameters"][
        "adapterSize"
    ]
    assert word == f"ADAPTER_SIZE_{jobs.ADAPTER_WORDS[size]}"


def test_create_job_refuses_settings_of_other_models(server: Server) -> None:
    fields = {field.name for field in dataclasses.fields(TuningJobSpec)}
    foreign = {"examples", "evaluation_config", "batch_size", "learning_rate", "custom_base_model", "output_uri"}
    assert not fields & (foreign | {"tuning_mode", "vertex_dataset_resource", "reward_config", "base_teacher_model"})
    full = replace(
        PREFERENCE, epoch_count=1, learning_rate_multiplier=1.0, adapter_size=4, validation_uri="gs://b/v.jsonl"
    )
    spec = sent(server, full)["preferenceOptimizationSpec"]
    assert set(spec) == {"trainingDatasetUri", "validationDatasetUri", "hyperParameters"}
    assert set(spec["hyperParameters"]) == {"epochCount", "learningRateMultiplier", "adapterSize", "beta"}


def test_find_jobs_reads_every_page_with_the_filter(server: Server) -> None:
    pages = iter([{"tuningJobs": [{"name": f"{NAME}0", "labels": {"k": "v"}}], "nextPageToken": "t2"}])
    last = {"tuningJobs": [{"name": f"{NAME}1", "labels": {"k": "v"}}]}
    server.reply = lambda _: (200, next(pages, last))
    found = jobs.find(vertex.connect(Vertex.of({})), "k", "v")
    assert {job.name[-1] for job in found} == {"0", "1"}
    assert all("filter=labels.k%3D%22v%22" in path for _, path, _ in server.asked)
    assert "pageToken=t2" in server.asked[1][1]


def test_create_job_prints_no_warnings(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sent(server, replace(SUPERVISED, validation_uri="gs://b/val.jsonl"))
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_get_job_uses_the_full_name(server: Server) -> None:
    client = vertex.connect(Vertex.of({}))
    jobs.get(client, NAME)
    jobs.cancel(client, NAME)
    assert [path for _, path, _ in server.asked] == [f"/v1beta1/{NAME}", f"/v1beta1/{NAME}:cancel"]


def test_find_jobs_checks_the_label_itself(server: Server) -> None:
    listed = [{"name": f"{NAME}{n}", "labels": {"gemtune-job": value}} for n, value in enumerate("aba")]
    server.reply = (200, {"tuningJobs": listed})
    found = jobs.find(vertex.connect(Vertex.of({})), "gemtune-job", "a")
    assert {job.name[-1] for job in found} == {"0", "2"}
    assert "filter=labels.gemtune-job%3D%22a%22" in server.asked[0][1]


def test_get_job_accepts_missing_fields(server: Server) -> None:
    server.reply = (200, {"name": NAME})
    job = jobs.get(vertex.connect(Vertex.of({})), NAME)
    assert (job.state, job.detail, job.ended, job.succeeded, job.checkpoints) == ("", "", False, False, ())


@pytest.mark.parametrize(
    ("state", "ended", "succeeded"),
    [
        ("QUEUED", False, False),
        ("PENDING", False, False),
        ("CANCELLING", False, False),
        ("SUCCEEDED", True, True),
        ("PARTIALLY_SUCCEEDED", True, True),
        ("FAILED", True, False),
        ("CANCELLED", True, False),
        ("EXPIRED", True, False),
        ("A_NEW_ONE", False, False),
    ],
)
def test_get_job_maps_states(server: Server, state: str, ended: bool, succeeded: bool) -> None:
    tuned = {"model": TUNED, "checkpoints": [{"checkpointId": "1", "epoch": "1", "step": "10", "endpoint": "e"}]}
    server.reply = (200, {"name": NAME, "state": f"JOB_STATE_{state}", "tunedModel": tuned})
    job = jobs.get(vertex.connect(Vertex.of({})), NAME)
    assert (job.ended, job.succeeded) == (ended, succeeded)
    assert job.checkpoints == (jobs.Checkpoint("1", 1, 10, "e"),)


def test_job_label_fits_the_service() -> None:
    assert jobs.label("My Run: ÄÖ/1") == "my-run-----1"
    assert len(jobs.label("x" * 100)) == 63
