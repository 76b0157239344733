# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Batch prediction instead of online calls, for a model asked many rows: half the price, no quota, no hurry.

Promise: one answer per question in the order asked, whatever the job's file holds. An answer line is matched by the
request it repeats, not by its place; a line that failed for good is an error of its row; a row whose line is missing or
failed for a passing reason is asked online. A tuned model is asked by a job where the service has such jobs for it, and
where the checkpoint asked is the one its version stands for: a job cannot name another.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Any, Protocol, TypeVar

from gemtune.errors import UserError
from gemtune.inference.generate import Answer, GenerateRequest, ModelOutput, ResponseCache, to_model_output

log = logging.getLogger("gemtune")

PASSING = frozenset({0, 408, 429, 500, 502, 503, 504})


class BatchLine(Protocol):
    """An answer line; the shape of `vertex.batches.Line`."""

    @property
    def request(self) -> dict[str, Any]:
        """The request as the service repeats it."""

    @property
    def answer(self) -> Answer | None:
        """The answer; None for a line that failed."""

    @property
    def error(self) -> str:
        """Why it failed, in the service's words."""

    @property
    def code(self) -> int:
        """The HTTP status of the failure; 0 when none is told."""


Online = Callable[..., Awaitable[list[ModelOutput]]]


@dataclass(frozen=True)
class BatchJobs:
    """How a batch is asked: the body of a question, and a job's answer lines (submitted or found again, waited for).

    `target` names what a job asks for a question's model and version; empty when none can stand for it.
    """

    above: int
    target: Callable[[GenerateRequest], Awaitable[str]]
    body: Callable[[GenerateRequest], dict[str, Any]]
    run_job: Callable[[str, Sequence[dict[str, Any]]], Awaitable[Iterable[BatchLine]]]


async def generate_by_batch(
    requests: Sequence[GenerateRequest],
    online: Online,
    batches: BatchJobs,
    cache: ResponseCache | None = None,
    on_done: Callable[[], None] = lambda: None,
) -> list[ModelOutput]:
    """One `Given` per question, in order. What is known, too few, or beyond a job goes to `online`."""
    given: dict[int, ModelOutput] = {}
    waiting: dict[tuple[str, str], list[int]] = defaultdict(list)
    for index, request in enumerate(requests):
        if not (cache and cache.get(request)):
            waiting[request.model, request.version].append(index)
    for indices in waiting.values():
        if len(indices) > batches.above and (target := await batches.target(requests[indices[0]])):
            given.update(await _from_job(target, indices, requests, batches))
    for index, found in given.items():
        if cache and not found.error:
            cache.put(requests[index], found)
        on_done()
    rest = [index for index in range(len(requests)) if index not in given]
    answers = await online([requests[index] for index in rest], on_done=on_done)
    given.update(zip(rest, answers, strict=True))
    return [given[index] for index in range(len(requests))]


async def _from_job(
    model: str, indices: Sequence[int], requests: Sequence[GenerateRequest], batches: BatchJobs
) -> dict[int, ModelOutput]:
    bodies = {index: batches.body(requests[index]) for index in indices}
    lines = await batches.run_job(model, list(bodies.values()))
    wanted: dict[str, list[int]] = defaultdict(list)
    for index, body in bodies.items():
        wanted[identity(body)].append(index)
    given: dict[int, ModelOutput] = {}
    for line in lines:
        rows = wanted.get(identity(line.request))
        found = _given(line)
        if rows and found is not None:
            given[rows.pop(0)] = found
    missing = len(bodies) - len(given)
    if missing:
        log.info("%d of %d batch lines are missing or failed in passing: asked online", missing, len(bodies))
    return given


def _given(line: BatchLine) -> ModelOutput | None:
    """What a line says of its row; None when asking again may help."""
    if line.answer is not None:
        return to_model_output(line.answer, latency_s=0.0, attempts=1)
    # a model without log-probabilities is found out, and asked without them, online
    return None if line.code in PASSING or "logprob" in line.error.lower() else ModelOutput(error=line.error)


def identity(body: dict[str, Any]) -> str:
    """What tells a request from others, however the service spells it when it repeats it: turns, system, seed."""
    plain = _plain(body)
    config = plain.get("generationconfig") or {}
    turns = [[str(turn.get("role", "user")).lower(), turn.get("parts")] for turn in plain.get("contents", [])]
    system = (plain.get("systeminstruction") or {}).get("parts")
    return json.dumps([turns, system, config.get("seed")], sort_keys=True, ensure_ascii=False)


def _plain(value: Any) -> Any:
    """Keys without case and underscores, nothing empty, whole numbers as such, lone objects as lists of one."""
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


class BatchJob(Protocol):
    """A batch job; the shape of `vertex.batches.Batch`."""

    @property
    def name(self) -> str:
        """Its resource name."""

    @property
    def state(self) -> str:
        """Its state, in a word."""

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen to it."""

    @property
    def gone(self) -> bool:
        """Whether it ended without answers."""

    @property
    def error(self) -> str:
        """Why, in the service's words."""


J = TypeVar("J", bound=BatchJob)


async def wait_for_job(job: J, look: Callable[[J], J], poll_s: float, deadline_s: float) -> J:
    """The job when it has ended with answers. Raises `UserError` when it failed, or is not done by the deadline."""
    start = said = monotonic()
    while not job.ended:
        if monotonic() - start > deadline_s:
            raise UserError(
                f"batch job {job.name} is {job.state} after {deadline_s / 3600:g} hours",
                remedy="run again to wait on for it, or ask online: evaluate.batch_above=0",
            )
        await asyncio.sleep(poll_s)
        job = await asyncio.to_thread(look, job)
        if monotonic() - said >= 30:
            said = monotonic()
            log.info("progress: batch job %s, %d s", job.state, said - start)
    if job.gone:
        raise UserError(
            f"batch job {job.name} ended as {job.state}: {job.error or 'no reason given'}",
            remedy="run again, or ask online: evaluate.batch_above=0",
        )
    return job
