# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""One contract, two places: these tests run on the emulator always, and on the real cloud with `--live`.

For the cloud set GEMTUNE_LIVE_PROJECT, GEMTUNE_LIVE_BUCKET and GEMTUNE_LIVE_MODEL (a base model that can be tuned) and
have application default credentials. Nothing here starts a tuning job that could cost: all of them are refused.
"""

from __future__ import annotations

import contextlib
import os
import uuid
from dataclasses import dataclass
from typing import Any

import pytest
from emulated import LOCATION, Server, genai_client, storage_client
from google.api_core import exceptions
from google.genai import errors, types


@dataclass(frozen=True)
class Place:
    """Where the contract is tried: clients, a bucket, a base model."""

    genai: Any
    storage: Any
    bucket: str
    model: str


def cloud() -> Place:
    from google import genai
    from google.cloud import storage

    settings = [os.environ.get(f"GEMTUNE_LIVE_{name}") for name in ("PROJECT", "BUCKET", "MODEL")]
    if not all(settings):
        pytest.skip("set GEMTUNE_LIVE_PROJECT, GEMTUNE_LIVE_BUCKET and GEMTUNE_LIVE_MODEL")
    project, bucket, model = (value or "" for value in settings)
    client = genai.Client(vertexai=True, project=project, location=LOCATION)
    return Place(client, storage.Client(project=project), bucket, model)


@pytest.fixture(params=["emulator", pytest.param("cloud", marks=pytest.mark.live)])
def place(request: pytest.FixtureRequest) -> Place:
    if request.param == "cloud":
        return cloud()
    server: Server = request.getfixturevalue("server")
    client = storage_client(server.url)
    with contextlib.suppress(exceptions.Conflict):
        client.create_bucket("both-places")
    return Place(genai_client(server.url), client, "both-places", "gemini-2.5-flash")


@pytest.fixture
def blob(place: Place) -> Any:
    blob = place.storage.bucket(place.bucket).blob(f"gemtune-contract/{uuid.uuid4().hex}.jsonl")
    yield blob
    with contextlib.suppress(exceptions.NotFound):
        blob.delete()


def test_an_answer_has_its_fields(place: Place) -> None:
    config = types.GenerateContentConfig(temperature=0, max_output_tokens=200)
    answer = place.genai.models.generate_content(model=place.model, contents="Say yes.", config=config)
    usage = answer.usage_metadata
    assert answer.candidates[0].finish_reason in ("STOP", "MAX_TOKENS")
    assert usage.prompt_token_count > 0
    assert usage.total_token_count >= usage.prompt_token_count + (usage.candidates_token_count or 0)
    assert answer.model_version


def test_an_enum_is_kept(place: Place) -> None:
    choices = ["positive", "negative"]
    config = types.GenerateContentConfig(
        temperature=0, response_mime_type="text/x.enum", response_schema={"type": "STRING", "enum": choices}
    )
    answer = place.genai.models.generate_content(model=place.model, contents="I love it.", config=config)
    assert answer.text in choices


def test_tokens_are_counted(place: Place) -> None:
    short = place.genai.models.count_tokens(model=place.model, contents="one")
    longer = place.genai.models.count_tokens(model=place.model, contents="one two three four five six")
    assert 0 < short.total_tokens < longer.total_tokens


@pytest.mark.parametrize("config", [{"temperature": 9.0}, {"top_p": 3.0}])
def test_ranges_are_checked(place: Place, config: Any) -> None:
    with pytest.raises(errors.ClientError) as caught:
        place.genai.models.generate_content(model=place.model, contents="x", config=config)
    assert (caught.value.code, caught.value.status) == (400, "INVALID_ARGUMENT")


def test_unknown_models_and_jobs_are_not_found(place: Place) -> None:
    with pytest.raises(errors.ClientError) as caught:
        place.genai.models.generate_content(model="gemini-0.0-none", contents="x")
    assert (caught.value.code, caught.value.status) == (404, "NOT_FOUND")
    with pytest.raises(errors.ClientError) as caught:
        place.genai.tunings.get(name="tuningJobs/1234567890123456789")
    assert caught.value.code == 404


@pytest.mark.parametrize("change", ["suffix", "size", "both specs"])
def test_tuning_refuses_before_it_costs(place: Place, change: str) -> None:
    uri = f"gs://{place.bucket}/gemtune-contract/absent." + ("csv" if change == "suffix" else "jsonl")
    config: dict[str, Any] = {"epoch_count": 1}
    if change == "size":
        config["adapter_size"] = "ADAPTER_SIZE_THIRTY_TWO"
    if change == "both specs":
        config["beta"] = 0.1
    with pytest.raises(errors.ClientError) as caught:
        place.genai.tunings.tune(
            base_model=place.model,
            training_dataset=types.TuningDataset(gcs_uri=uri),
            config=types.CreateTuningJobConfig(**config),
        )
    assert caught.value.code == 400


def test_create_once(blob: Any) -> None:
    blob.upload_from_string(b"one", if_generation_match=0)
    with pytest.raises(exceptions.PreconditionFailed):
        blob.upload_from_string(b"two", if_generation_match=0)
    assert blob.download_as_bytes() == b"one"


def test_compare_and_set(blob: Any) -> None:
    blob.upload_from_string(b"one")
    first = blob.generation
    blob.upload_from_string(b"two", if_generation_match=first)
    with pytest.raises(exceptions.PreconditionFailed):
        blob.upload_from_string(b"three", if_generation_match=first)
    assert blob.generation > first
