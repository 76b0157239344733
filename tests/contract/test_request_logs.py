# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Request-response logging through Google's own clients: set on endpoints and base models, read from BigQuery."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from emulated import NUMBER, PARENT, PROJECT, Server, gapic, genai_client, supervised_lines, upload, wait
from google.api_core import exceptions
from google.cloud import aiplatform_v1, aiplatform_v1beta1, bigquery
from google.genai import types
from google.protobuf.field_mask_pb2 import FieldMask

BASE = f"{PARENT}/publishers/google/models/gemini-2.5-flash"
SPAN = "logging_time >= @start AND logging_time < @end"


@pytest.fixture(scope="module")
def endpoint(server: Server) -> str:
    client = genai_client(server.url)
    dataset = types.TuningDataset(gcs_uri=upload(server.url, "train.jsonl", supervised_lines()))
    config = types.CreateTuningJobConfig(epoch_count=1, tuned_model_display_name="clf")
    job = client.tunings.tune(base_model="gemini-2.5-flash", training_dataset=dataset, config=config)
    return str(wait(client, job).tuned_model.endpoint)


@pytest.fixture
def tables(server: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    from google.auth.credentials import AnonymousCredentials

    monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", server.url)
    with bigquery.Client(project=PROJECT, credentials=AnonymousCredentials()) as client:
        yield client
    httpx.delete(f"{server.url}/emulator/faults")


def set_logging(server: Server, endpoint: str, enabled: bool = True, **fields: Any) -> Any:
    client = gapic(aiplatform_v1.EndpointServiceClient, server.url)
    config = {"enabled": enabled, "sampling_rate": 1.0, **fields}
    body = {"name": endpoint, "predict_request_response_logging_config": config}
    mask = FieldMask(paths=["predict_request_response_logging_config"])
    return client.update_endpoint(endpoint=body, update_mask=mask).predict_request_response_logging_config


def generate(server: Server, model: str, text: str) -> None:
    client = genai_client(server.url)
    client.models.generate_content(model=model, contents=text)


def to_table(name: str) -> dict[str, Any]:
    return {"bigquery_destination": {"output_uri": f"bq://{PROJECT}.{name}"}}


def rows_of(tables: Any, name: str, **options: Any) -> list[Any]:
    moment = datetime.now(UTC)
    parameters = [
        bigquery.ScalarQueryParameter("start", "TIMESTAMP", options.pop("start", moment - timedelta(days=1))),
        bigquery.ScalarQueryParameter("end", "TIMESTAMP", options.pop("end", moment + timedelta(days=60))),
    ]
    sql = f"SELECT logging_time, request_id, full_request FROM `{PROJECT}.{name}` WHERE {options.pop('where', SPAN)}"
    config = bigquery.QueryJobConfig(query_parameters=parameters, maximum_bytes_billed=options.pop("most", 10**9))
    return list(tables.query_and_wait(sql, job_config=config, **options))


def test_an_endpoint_logs_requests_as_rows(server: Server, endpoint: str, tables: Any) -> None:
    config = set_logging(server, endpoint, **to_table("support.log"))
    assert config.enabled
    assert config.bigquery_destination.output_uri == f"bq://{PROJECT}.support.log"
    client = genai_client(server.url)
    answer = client.models.generate_content(
        model=endpoint,
        contents="where is my parcel",
        config=types.GenerateContentConfig(system_instruction="Classify.", temperature=0.0, seed=3),
    )
    list(client.models.generate_content_stream(model=endpoint, contents="money back please"))
    table = tables.get_table(f"{PROJECT}.support.log")
    assert (table.location, table.num_rows, table.table_type) == ("us-central1", 2, "TABLE")
    first, second = tables.list_rows(table)
    assert first.endpoint == endpoint
    assert first.deployed_model_id
    assert (first.model.rsplit("/", 1)[0], first.model_version) == (f"{PARENT}/models", "1")
    assert (first.api_method, second.api_method) == ("generateContent", "streamGenerateContent")
    assert abs(first.logging_time - datetime.now(UTC)) < timedelta(minutes=1)
    assert int(first.request_id) != int(second.request_id)
    assert first.full_request["systemInstruction"]["parts"] == [{"text": "Classify."}]
    assert first.full_request["generationConfig"] == {"temperature": 0.0, "seed": 3}
    assert first.full_response["candidates"][0]["content"]["parts"][0]["text"] == answer.text
    assert json.loads(first.request_payload[0]) == first.full_request
    assert first.full_response["usageMetadata"]["totalTokenCount"] == answer.usage_metadata.total_token_count


def test_logging_can_be_switched_off_and_samples_by_count(server: Server, endpoint: str, tables: Any) -> None:
    client = genai_client(server.url)
    set_logging(server, endpoint, sampling_rate=0.25, **to_table("support.sampled"))
    for number in range(12):
        client.models.generate_content(model=endpoint, contents=f"parcel {number}")
    assert len(rows_of(tables, "support.sampled")) == 3
    assert not set_logging(server, endpoint, enabled=False).enabled
    client.models.generate_content(model=endpoint, contents="parcel")
    assert len(rows_of(tables, "support.sampled")) == 3


def test_a_base_model_logs_by_its_own_configuration(server: Server, tables: Any) -> None:
    client = gapic(aiplatform_v1beta1.EndpointServiceClient, server.url)
    config = {"enabled": True, "sampling_rate": 1.0, "enable_otel_logging": True, **to_table("support.base")}
    operation = client.set_publisher_model_config(
        request={"name": BASE, "publisher_model_config": {"logging_config": config}}
    )
    assert operation.result().logging_config.sampling_rate == 1.0
    assert client.fetch_publisher_model_config(name=BASE).logging_config.enabled
    generate(server, "gemini-2.5-flash", "hello")
    (row,) = tables.list_rows(tables.get_table(f"{PROJECT}.support.base"))
    assert (row.endpoint, row.deployed_model_id, row.model) == (None, None, BASE)


def test_names_left_out_of_the_destination_follow_the_endpoint(server: Server, endpoint: str, tables: Any) -> None:
    client = gapic(aiplatform_v1.EndpointServiceClient, server.url)
    display = client.get_endpoint(name=endpoint).display_name.replace("-", "_")
    set_logging(server, endpoint, bigquery_destination={"output_uri": f"bq://{PROJECT}"})
    dataset = f"logging_{display}_{endpoint.rsplit('/', 1)[-1]}"
    assert tables.get_table(f"{PROJECT}.{dataset}.request_response_logging").num_rows == 0


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"sampling_rate": 0.0, **to_table("a.b")}, "range"),
        ({"sampling_rate": 1.5, **to_table("a.b")}, "range"),
        ({"bigquery_destination": {"output_uri": "gs://bucket/log"}}, "must be bq://"),
        ({}, "output_uri"),
    ],
)
def test_invalid_logging_is_refused(server: Server, endpoint: str, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(exceptions.BadRequest, match=message):
        set_logging(server, endpoint, **fields)


@pytest.mark.difference("BigQuery", "SQL", "one form of query; others are a 400")
def test_queries_page_and_select_a_span_of_time(server: Server, endpoint: str, tables: Any) -> None:
    set_logging(server, endpoint, **to_table("support.span"))
    client = genai_client(server.url)
    moments = []
    for number in range(7):
        client.models.generate_content(model=endpoint, contents=f"parcel {number}")
        moments.append(datetime.now(UTC))
    everything = rows_of(tables, "support.span")
    texts = [row.full_request["contents"][0]["parts"][0]["text"] for row in everything]
    assert texts == [f"parcel {number}" for number in range(7)]
    assert rows_of(tables, "support.span", page_size=3, location="us-central1") == everything
    assert rows_of(tables, "support.span", start=moments[1], end=moments[4]) == everything[2:5]
    with pytest.raises(exceptions.BadRequest, match="bytes billed: 10"):
        rows_of(tables, "support.span", most=10)
    with pytest.raises(exceptions.NotFound, match="location"):
        rows_of(tables, "support.span", location="EU")
    with pytest.raises(exceptions.BadRequest, match="one form of query"):
        rows_of(tables, "support.span", where=f"{SPAN} OR TRUE")
    with pytest.raises(exceptions.NotFound, match=r"support\.none"):
        rows_of(tables, "support.none")


@pytest.mark.difference("rows of request logs", "may be late", "at once, unless a fault plan delays them")
def test_log_faults_show_rows_late_and_twice(server: Server, endpoint: str, tables: Any) -> None:
    set_logging(server, endpoint, **to_table("support.late"))
    plan = {"log_lag_seconds": 3600, "log_double_rate": 1.0}
    httpx.put(f"{server.url}/emulator/faults", json=plan).raise_for_status()
    generate(server, endpoint, "parcel")
    assert rows_of(tables, "support.late") == []
    httpx.post(f"{server.url}/emulator/clock", json={"seconds": 4000}).raise_for_status()
    first, second = rows_of(tables, "support.late")
    assert first == second
    assert first.logging_time < datetime.now(UTC)
    generate(server, endpoint, "parcel")
    httpx.post(f"{server.url}/emulator/clock", json={"seconds": 4000}).raise_for_status()
    assert rows_of(tables, "support.late")[-1].logging_time > datetime.now(UTC) + timedelta(minutes=60)


def test_ids_and_numbers_name_the_same_table(server: Server, endpoint: str, tables: Any) -> None:
    set_logging(server, endpoint, **to_table("support.number"))
    assert tables.get_table(f"{NUMBER}.support.number").num_rows == 0
