# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Batch prediction jobs: many requests in one file, at half the price, in hours instead of seconds.

Source: google-genai `batches`; requests and responses are JSONL in Cloud Storage. A job's display name is a fingerprint
of its requests, so that a restarted run finds its job instead of paying for a second one.
"""

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from gemtune.config import JsonObject, fingerprint
from gemtune.contents import ModelOutput, text_turn
from gemtune.vertex import (
    Client,
    GenerationSettings,
    enum_value,
    location_of,
    models,
    parse_response,
    request_config,
    serving_location,
    storage,
)
from gemtune.vertex.calls import retried, translate_errors

FAILED = frozenset({"FAILED", "CANCELLED", "CANCELLING", "EXPIRED"})
ENDED = FAILED | {"SUCCEEDED", "PARTIALLY_SUCCEEDED"}
MAX_REQUESTS = 200_000  # per job, as published
TRANSIENT_CODES = frozenset({0, 408, 429, 500, 502, 503, 504})  # 0: unknown
BatchLine = tuple[JsonObject, ModelOutput | None]
"""A request as the service repeats it, and its output; None if it may succeed when it is sent again."""


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
    config = request_config(client, model, system, settings, fields)
    plain: JsonObject = config.model_dump(mode="json", by_alias=True, exclude_none=True)
    own: JsonObject = {name: plain.pop(name) for name in ("tools", "toolConfig") if name in plain}
    if plain.pop("systemInstruction", None):
        own["systemInstruction"] = text_turn("user", system or "")
    return {**own, "contents": contents, "generationConfig": plain}


@retried
def get_or_create(client: Client, model: str, requests: Sequence[JsonObject]) -> BatchJob:
    """The job with these requests to `model`: an existing one that has not failed, else a new one.

    Raises `TransientError` or `PermanentError`.
    """
    lines = [json.dumps({"request": body}, ensure_ascii=False) for body in requests]
    location = serving_location(client, model)
    display_name = f"gemtune-batch-{fingerprint(model, location, lines)}"
    query = {"filter": f'display_name="{display_name}"', "page_size": 100}
    jobs = client.genai(location).batches
    listed = translate_errors(lambda: list(jobs.list(config=query)))
    usable = [job for job in map(_batch, (raw for raw in listed if raw.display_name == display_name)) if not job.failed]
    if usable:
        return usable[0]
    source = storage.upload_lines(client, lines, "batches")
    config = {"display_name": display_name, "dest": f"gs://{client.bucket}/batches/{display_name}"}
    return _batch(translate_errors(lambda: jobs.create(model=model, src=source, config=config)))


@retried
def refresh(client: Client, batch: BatchJob) -> BatchJob:
    """The current state of the job."""
    return _batch(translate_errors(lambda: client.genai(location_of(batch.name)).batches.get(name=batch.name)))


@retried
def read_results(client: Client, batch: BatchJob) -> list[BatchLine]:
    """The results of a job that succeeded, in no particular order."""
    results: list[BatchLine] = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "answers.jsonl"
        for key in storage.list_times(client, batch.folder.removeprefix(f"gs://{client.bucket}/").rstrip("/")):
            if key.endswith(".jsonl"):
                storage.download(client, f"gs://{client.bucket}/{key}", path)
                with path.open(encoding="utf-8") as answers:
                    results += [_result(json.loads(line)) for line in answers if line.strip()]
    return results


def _batch(job: Any) -> BatchJob:
    state = enum_value(job.state).removeprefix("JOB_STATE_")
    folder = job.output_info.gcs_output_directory if job.output_info else ""
    return BatchJob(str(job.name), state, str(folder or ""), str(job.error.message or "") if job.error else "")


def _result(row: JsonObject) -> BatchLine:
    """A line of the output file. A failed one has a status (a text, then the service's error as JSON), no response."""
    from google.genai import types

    request = row.get("request") or {}
    if not row.get("status") and row.get("response"):
        answer = parse_response(types.GenerateContentResponse.model_validate(row["response"]))
        return request, replace(answer, batch=True)
    status = str(row.get("status") or "the line has no response")[:500]
    # a model without log-probabilities is detected online, and called without them there
    if _status_code(status) in TRANSIENT_CODES or "logprob" in status.lower():
        return request, None
    return request, ModelOutput(error=status, permanent=True)


def _status_code(status: str) -> int:
    """The HTTP status within a line's status; 0 when there is none."""
    try:
        return int(json.loads(status[status.index("{") :])["error"]["code"])
    except (ValueError, KeyError, TypeError):
        return 400 if status.startswith("Bad Request") else 0
