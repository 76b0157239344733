# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Batch prediction instead of online requests, for many requests to one model: half the price, no quota, but slow.

Guarantees: one output per request, in order, whatever the output file of the job contains. An output line is matched by
the request it repeats, not by its position; a permanent failure is an error of its row; a request whose line is missing
or has a transient error is sent online. A tuned model is called by batch jobs where the service supports that, and only
at the default checkpoint of its version: a job cannot select another.
"""

import json
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from gemtune.config import JsonObject
from gemtune.contents import ModelOutput
from gemtune.inference.generate import GenerateAll, GenerateRequest
from gemtune.inference.response_cache import SqliteResponseCache

log = logging.getLogger("gemtune")


@dataclass(frozen=True)
class BatchJobs:
    """Batch prediction of a service: the body of a request, and `run_job`, which submits a job or resumes it, waits,
    and returns (request as the service repeats it, output; None: a transient error) of every line.

    `target` returns the model name that a job needs for a request; empty if a job cannot call that model.
    """

    min_requests: int
    target: Callable[[GenerateRequest], Awaitable[str]]
    body: Callable[[GenerateRequest], JsonObject]
    run_job: Callable[[str, Sequence[JsonObject]], Awaitable[Iterable[tuple[JsonObject, ModelOutput | None]]]]


async def generate_by_batch(
    requests: Sequence[GenerateRequest],
    online: GenerateAll,
    batches: BatchJobs,
    cache: SqliteResponseCache | None = None,
    on_done: Callable[[], None] = lambda: None,
) -> list[ModelOutput]:
    """One `ModelOutput` per request, in order. Cached requests, small groups and failed lines go to `online`."""
    outputs: dict[int, ModelOutput] = {}
    waiting: dict[tuple[str, str], list[int]] = defaultdict(list)
    for index, request in enumerate(requests):
        if not (cache and cache.get(request)):
            waiting[request.model, request.version].append(index)
    for indices in waiting.values():
        if len(indices) > batches.min_requests and (target := await batches.target(requests[indices[0]])):
            outputs.update(await _run_batch(target, indices, requests, batches))
    for index, output in outputs.items():
        if cache and not output.error:
            cache.put(requests[index], output)
        on_done()
    remaining = [index for index in range(len(requests)) if index not in outputs]
    online_outputs = await online([requests[index] for index in remaining], on_done=on_done)
    outputs.update(zip(remaining, online_outputs, strict=True))
    return [outputs[index] for index in range(len(requests))]


async def _run_batch(
    model: str, indices: Sequence[int], requests: Sequence[GenerateRequest], batches: BatchJobs
) -> dict[int, ModelOutput]:
    bodies = {index: batches.body(requests[index]) for index in indices}
    lines = await batches.run_job(model, list(bodies.values()))
    waiting: dict[str, list[int]] = defaultdict(list)
    for index, body in bodies.items():
        waiting[request_key(body)].append(index)
    outputs: dict[int, ModelOutput] = {}
    for request, output in lines:
        rows = waiting.get(request_key(request))
        if rows and output is not None:
            outputs[rows.pop(0)] = output
    missing = len(bodies) - len(outputs)
    if missing:
        log.info("%d of %d batch outputs are missing or have a transient error: sent online", missing, len(bodies))
    return outputs


def request_key(body: JsonObject) -> str:
    """A key of a request that survives how the service rewrites it when repeating it: turns, system, seed."""
    plain = _plain(body)
    config = plain.get("generationconfig") or {}
    turns = [[str(turn.get("role", "user")).lower(), turn.get("parts")] for turn in plain.get("contents", [])]
    system = (plain.get("systeminstruction") or {}).get("parts")
    return json.dumps([turns, system, config.get("seed")], sort_keys=True, ensure_ascii=False)


def _plain(value: Any) -> Any:
    """Keys without case and underscores, no empty values, integral floats as int, single objects as lists."""
    if isinstance(value, dict):
        plain = {key.replace("_", "").lower(): _plain(item) for key, item in value.items()}
        kept = {key: item for key, item in plain.items() if item not in (None, [], {})}
        for key in ("parts", "contents"):
            if isinstance(kept.get(key), dict):
                kept[key] = [kept[key]]
        return kept
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
