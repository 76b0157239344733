# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Batch prediction jobs: many requests in one file, half the price, hours instead of seconds.

Source: google-genai `batches`; requests and answers as JSONL in Cloud Storage. A job bears a name made of what it asks,
so that a run that was killed finds its job again instead of paying for a second one.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gemtune.config import fingerprint
from gemtune.vertex import Answer, Client, GenerationSettings, answer_of, classified, models, serving_location, storage

GONE = frozenset({"FAILED", "CANCELLED", "CANCELLING", "EXPIRED"})
ENDED = GONE | {"SUCCEEDED", "PARTIALLY_SUCCEEDED"}
MOST_REQUESTS = 200_000  # of one job, as published


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch job as the service tells it; `state` is its word without the prefix."""

    name: str
    state: str
    folder: str = ""
    error: str = ""

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.state in ENDED

    @property
    def failed(self) -> bool:
        """Whether it ended without answers."""
        return self.state in GONE


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the answers: the request it repeats, and the answer or the trouble (`code` is its HTTP status)."""

    request: dict[str, Any]
    answer: Answer | None
    error: str = ""
    code: int = 0


def target(client: Client, model: str, version: str, base_model: str) -> str:
    """The name by which a job asks `model`; empty when it must be asked online.

    A base model is asked by its own name. An endpoint of a tuned one (`version`: projects/P/locations/L/models/M@V, #
    and a checkpoint) by that of its version, where tuned models of that base have batch jobs and the checkpoint is the
    version's default.
    """
    if not model.startswith("projects/"):
        return model
    tuned, _, checkpoint = version.partition("#")
    known = client.catalogue.models.get(base_model)
    if not tuned or known is None or not known.batch:
        return ""
    return tuned if checkpoint in ("", models.default_checkpoint(client, tuned)) else ""


def request_of(
    client: Client, model: str, system: str | None, contents: list[dict[str, Any]], settings: GenerationSettings
) -> dict[str, Any]:
    """The request body that `vertex.generate` would send."""
    budget, level = client.catalogue.thinking(settings.base_model or model, settings.thinking_budget)
    config: dict[str, Any] = {"temperature": settings.temperature, "maxOutputTokens": settings.max_output_tokens}
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
    body: dict[str, Any] = {"contents": contents, "generationConfig": config}
    if system:
        body["systemInstruction"] = {"role": "user", "parts": [{"text": system}]}
    return body


def submitted(client: Client, model: str, requests: Sequence[dict[str, Any]]) -> Batch:
    """The job that asks `model` these requests: the one that exists, else a new one.

    A job that failed or was cancelled is not taken for it. Raises `Retryable` or `Refused`.
    """
    lines = [json.dumps({"request": body}, ensure_ascii=False) + "\n" for body in requests]
    place = serving_location(client, model)
    title = f"gemtune-batch-{fingerprint(model, place, lines)}"
    found = [one for one in _named(client, place, title) if not one.failed]
    return found[0] if found else _created(client, model, place, title, lines)


def look(client: Client, batch: Batch) -> Batch:
    """The job as it is now."""
    place = batch.name.split("/")[3]
    return _batch(classified(lambda: client.genai(place).batches.get(name=batch.name)))


def lines(client: Client, batch: Batch) -> list[Line]:
    """The answers of a job that succeeded, in no particular order."""
    found: list[Line] = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "answers.jsonl"
        for uri in storage.list_objects(client, batch.folder):
            if uri.endswith(".jsonl"):
                storage.download(client, uri, path)
                with path.open(encoding="utf-8") as answers:
                    found += [_line(json.loads(line)) for line in answers if line.strip()]
    return found


def _named(client: Client, place: str, title: str) -> list[Batch]:
    jobs = client.genai(place).batches
    found = classified(lambda: list(jobs.list(config={"filter": f'display_name="{title}"', "page_size": 100})))
    return [_batch(job) for job in found if job.display_name == title]


def _created(client: Client, model: str, place: str, title: str, lines: Sequence[str]) -> Batch:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "requests.jsonl"
        path.write_text("".join(lines), encoding="utf-8")
        source = storage.upload(client, path, "batches")
    config = {"display_name": title, "dest": f"gs://{client.bucket}/batches/{title}"}
    jobs = client.genai(place).batches
    return _batch(classified(lambda: jobs.create(model=model, src=source, config=config)))


def _batch(job: Any) -> Batch:
    state = str(getattr(job.state, "value", job.state) or "").removeprefix("JOB_STATE_")
    folder = job.output_info.gcs_output_directory if job.output_info else ""
    return Batch(str(job.name), state, str(folder or ""), str(job.error.message or "") if job.error else "")


def _line(row: dict[str, Any]) -> Line:
    """An answer line. A failed one has a status (its words, then the service's error as JSON) and no response."""
    from google.genai import types

    request = row.get("request") or {}
    if not row.get("status") and row.get("response"):
        answer = answer_of(types.GenerateContentResponse.model_validate(row["response"]))
        return Line(request, replace(answer, batch=True))
    said = str(row.get("status") or "the line has no response")
    return Line(request, None, said[:500], _code(said))


def _code(status: str) -> int:
    """The HTTP status within a line's status; 0 when none is told."""
    try:
        return int(json.loads(status[status.index("{") :])["error"]["code"])
    except (ValueError, KeyError, TypeError):
        return 400 if status.startswith("Bad Request") else 0
