# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Batch prediction jobs: many requests in one file, at half the price, in hours instead of seconds.

Source: google-genai `batches`; requests and responses are JSONL in Cloud Storage. A job's display name is a fingerprint
of its requests, so that a restarted run finds its job instead of paying for a second one.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from gemtune.artifacts.base import open_atomic
from gemtune.config import JsonObject, fingerprint
from gemtune.vertex import (
    Client,
    GenerateResponse,
    GenerationSettings,
    models,
    parse_response,
    schema_mime_type,
    serving_location,
    storage,
)
from gemtune.vertex.calls import retried, translate_errors

FAILED = frozenset({"FAILED", "CANCELLED", "CANCELLING", "EXPIRED"})
ENDED = FAILED | {"SUCCEEDED", "PARTIALLY_SUCCEEDED"}
MAX_REQUESTS = 200_000  # per job, as published


@dataclass(frozen=True, slots=True)
class BatchJob:
    """A batch job; `state` is the service's value without its prefix."""

    name: str
    state: str
    folder: str = ""
    error: str = ""

    @property
    def ended(self) -> bool:
        """Whether the job is in a final state."""
        return self.state in ENDED

    @property
    def failed(self) -> bool:
        """Whether the job ended without results."""
        return self.state in FAILED


@dataclass(frozen=True, slots=True)
class BatchResult:
    """One line of the results: its request, and the response or the error (`code` is its HTTP status)."""

    request: JsonObject
    answer: GenerateResponse | None
    error: str = ""
    code: int = 0


@retried
def batch_model(client: Client, model: str, version: str, base_model: str) -> str:
    """The model name for batch jobs of `model`; "" when only online requests are possible.

    A base model keeps its name. An endpoint of a tuned model (`version`: projects/P/locations/L/models/M@V, # and a
    checkpoint) has the name of its version, if the base model supports batch jobs of tuned models and the checkpoint is
    the version's default.
    """
    if not model.startswith("projects/"):
        return model
    tuned, _, checkpoint = version.partition("#")
    base = client.catalogue.models.get(base_model)
    if not tuned or base is None or not base.batch:
        return ""
    return tuned if checkpoint in ("", models.default_checkpoint(client, tuned)) else ""


def build_request(
    client: Client,
    model: str,
    system: str | None,
    contents: list[JsonObject],
    settings: GenerationSettings,
    fields: Mapping[str, Any] = MappingProxyType({}),
) -> JsonObject:
    """The request body that `vertex.generate` would send."""
    budget, level = client.catalogue.thinking(settings.base_model or model, settings.thinking_budget)
    config: JsonObject = {"temperature": settings.temperature, "maxOutputTokens": settings.max_output_tokens}
    if settings.seed is not None:
        config["seed"] = settings.seed
    if settings.candidates > 1:
        config["candidateCount"] = settings.candidates
    if level:
        config["thinkingConfig"] = {"thinkingLevel": level}
    elif budget is not None:
        config["thinkingConfig"] = {"thinkingBudget": budget}
    if settings.logprobs:
        config["responseLogprobs"] = True
    if (schema := settings.response_schema) and client.catalogue.takes_schema(model):
        config |= {"responseMimeType": schema_mime_type(schema), "responseSchema": schema}
    config = {**fields.get("generationConfig", {}), **config}
    body: JsonObject = {**fields, "contents": contents, "generationConfig": config}
    if system:
        body["systemInstruction"] = {"role": "user", "parts": [{"text": system}]}
    return body


@retried
def get_or_create(client: Client, model: str, requests: Sequence[JsonObject]) -> BatchJob:
    """The job with these requests to `model`: an existing one that has not failed, else a new one.

    Raises `TransientError` or `PermanentError`.
    """
    lines = [json.dumps({"request": body}, ensure_ascii=False) + "\n" for body in requests]
    location = serving_location(client, model)
    display_name = f"gemtune-batch-{fingerprint(model, location, lines)}"
    usable = [job for job in _list_by_display_name(client, location, display_name) if not job.failed]
    return usable[0] if usable else _create(client, model, location, display_name, lines)


@retried
def refresh(client: Client, batch: BatchJob) -> BatchJob:
    """The current state of the job."""
    location = batch.name.split("/")[3]
    return _batch(translate_errors(lambda: client.genai(location).batches.get(name=batch.name)))


@retried
def read_results(client: Client, batch: BatchJob) -> list[BatchResult]:
    """The results of a job that succeeded, in no particular order."""
    results: list[BatchResult] = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "answers.jsonl"
        for uri in storage.list_objects(client, batch.folder):
            if uri.endswith(".jsonl"):
                storage.download(client, uri, path)
                with path.open(encoding="utf-8") as answers:
                    results += [_result(json.loads(line)) for line in answers if line.strip()]
    return results


def _list_by_display_name(client: Client, location: str, display_name: str) -> list[BatchJob]:
    jobs = client.genai(location).batches
    listed = translate_errors(
        lambda: list(jobs.list(config={"filter": f'display_name="{display_name}"', "page_size": 100}))
    )
    return [_batch(job) for job in listed if job.display_name == display_name]


def _create(client: Client, model: str, location: str, display_name: str, lines: Sequence[str]) -> BatchJob:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "requests.jsonl"
        with open_atomic(path) as file:
            file.writelines(lines)
        source = storage.upload(client, path, "batches")
    config = {"display_name": display_name, "dest": f"gs://{client.bucket}/batches/{display_name}"}
    jobs = client.genai(location).batches
    return _batch(translate_errors(lambda: jobs.create(model=model, src=source, config=config)))


def _batch(job: Any) -> BatchJob:
    state = str(getattr(job.state, "value", job.state) or "").removeprefix("JOB_STATE_")
    folder = job.output_info.gcs_output_directory if job.output_info else ""
    return BatchJob(str(job.name), state, str(folder or ""), str(job.error.message or "") if job.error else "")


def _result(row: JsonObject) -> BatchResult:
    """A line of the output file. A failed one has a status (a text, then the service's error as JSON), no response."""
    from google.genai import types

    request = row.get("request") or {}
    if not row.get("status") and row.get("response"):
        answer = parse_response(types.GenerateContentResponse.model_validate(row["response"]))
        return BatchResult(request, replace(answer, batch=True))
    status = str(row.get("status") or "the line has no response")
    return BatchResult(request, None, status[:500], _status_code(status))


def _status_code(status: str) -> int:
    """The HTTP status within a line's status; 0 when there is none."""
    try:
        return int(json.loads(status[status.index("{") :])["error"]["code"])
    except (ValueError, KeyError, TypeError):
        return 400 if status.startswith("Bad Request") else 0
