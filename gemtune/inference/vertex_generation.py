# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Requests sent to Vertex AI one by one or as batch prediction jobs, with the response cache that a run configures."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from tempfile import TemporaryDirectory
from time import monotonic
from typing import TYPE_CHECKING

from gemtune.artifacts.production_log import OWN_REQUEST
from gemtune.config import Evaluate, JsonObject, Vertex, fingerprint
from gemtune.contents import ModelOutput
from gemtune.data.sources import local_path
from gemtune.errors import ServiceError, UserError
from gemtune.inference.batch import BatchJobs, generate_by_batch
from gemtune.inference.generate import Generate, GenerateAll, GenerateRequest, RetryPolicy, generate_all
from gemtune.inference.response_cache import MAX_AGE_DAYS, Row, Segments, SqliteResponseCache, read_line
from gemtune.interruption import ended_by_signals

if TYPE_CHECKING:
    from gemtune.vertex import Client, GenerationSettings
    from gemtune.vertex.batches import BatchJob, BatchLine

RUN_ANSWERS = "GEMTUNE_RUN_ANSWERS"  # the folder of a local run's own answers

log = logging.getLogger("gemtune")


def vertex_generate(
    config: Evaluate, settings: Vertex, labels: Mapping[str, str] = OWN_REQUEST
) -> tuple[Generate, RetryPolicy]:
    """Online requests to Vertex AI with these labels, and the retry policy of the configuration."""
    from gemtune import vertex
    from gemtune.vertex import calls

    client = vertex.connect(settings)

    async def generate(request: GenerateRequest) -> ModelOutput:
        settings = _settings_of(config, request)
        fields = {**request.fields, "labels": dict(labels)} if labels else request.fields
        return await vertex.generate(client, request.model, request.system, request.contents, settings, fields)

    errors = ((calls.TransientError,), (calls.PermanentError,))
    retry_policy = RetryPolicy(
        config.concurrency, config.attempts, *errors, config.seed, deadline_s=3600 * config.deadline_h, rounds=3
    )
    return generate, retry_policy


def generation_settings(config: Evaluate) -> JsonObject:
    """The generation and confidence settings that serving must repeat."""
    names = ("base_model", "temperature", "max_output_tokens", "thinking_budget", "seed", "timeout_s", "attempts")
    return config.model_dump(include={*names, "concurrency", "confidence", "samples", "sample_temperature"})


def _settings_of(config: Evaluate, request: GenerateRequest) -> GenerationSettings:
    """The settings of one request: those of the configuration, overridden by those of the request."""
    from gemtune import vertex

    generation = vertex.GenerationSettings.of(config)
    return replace(
        generation,
        base_model=request.base_model or generation.base_model,
        seed=config.seed + request.sample,
        temperature=generation.temperature if request.temperature is None else request.temperature,
        max_output_tokens=request.max_output_tokens or generation.max_output_tokens,
        response_schema=request.response_schema,
    )


def vertex_batch_jobs(config: Evaluate, settings: Vertex) -> BatchJobs:
    """The same requests as Vertex AI batch prediction jobs."""
    from gemtune import vertex
    from gemtune.vertex import batches

    client = vertex.connect(settings)

    async def target(request: GenerateRequest) -> str:
        base_model = request.base_model or config.base_model
        resolve = partial(batches.batch_model, client, request.model, request.version, base_model)
        return await asyncio.to_thread(resolve)

    def body(request: GenerateRequest) -> JsonObject:
        settings = _settings_of(config, request)
        return batches.build_request(client, request.model, request.system, request.contents, settings, request.fields)

    async def run_job(model: str, bodies: Sequence[JsonObject]) -> list[BatchLine]:
        lines: list[BatchLine] = []
        for start in range(0, len(bodies), batches.MAX_REQUESTS):
            chunk = bodies[start : start + batches.MAX_REQUESTS]
            submit = partial(batches.get_or_create, client, model, chunk)
            job = await asyncio.to_thread(submit)
            log.info("progress: batch job %s (%d rows)", job.name, len(chunk))
            job = await wait_for_job(
                job,
                lambda job: vertex.batches.refresh(client, job),
                config.batch_poll_s,
                3600 * config.batch_deadline_h,
            )
            lines += await asyncio.to_thread(batches.read_results, client, job)
        return lines

    return BatchJobs(config.batch_above, target, body, run_job)


async def wait_for_job(
    job: BatchJob, refresh: Callable[[BatchJob], BatchJob], poll_s: float, deadline_s: float
) -> BatchJob:
    """The job once it has succeeded. Raises `UserError` when it failed or is not done by the deadline."""
    start = last_log = monotonic()
    while not job.ended:
        if monotonic() - start > deadline_s:
            raise UserError(
                f"batch job {job.name} is {job.state} after {deadline_s / 3600:g} hours",
                remedy="run again to continue waiting, or send requests online: evaluate.batch_above=0",
            )
        await asyncio.sleep(poll_s)
        job = await asyncio.to_thread(refresh, job)
        if monotonic() - last_log >= 30:
            last_log = monotonic()
            log.info("progress: batch job %s, %d s", job.state, last_log - start)
    if job.failed:
        raise UserError(
            f"batch job {job.name} ended as {job.state}: {job.error or 'no reason given'}",
            remedy="run again, or send requests online: evaluate.batch_above=0",
        )
    return job


@contextlib.contextmanager
def sending(config: Evaluate, settings: Vertex, online: bool = False) -> Iterator[GenerateAll]:
    """What sends requests to Vertex AI through the response cache: by batch jobs where configured, else `online`.

    A signal that ends the step leaves the answers until then in the cache.
    """
    generate, retry_policy = vertex_generate(config, settings)
    with ended_by_signals(), response_cache(config, settings) as cache:
        send: GenerateAll = partial(generate_all, generate=generate, retry_policy=retry_policy, cache=cache)
        if config.batch_above and not online:
            send = partial(generate_by_batch, online=send, batches=vertex_batch_jobs(config, settings), cache=cache)
        yield send


def response_cache(config: Evaluate, settings: Vertex) -> contextlib.AbstractContextManager[SqliteResponseCache | None]:
    """The response cache, if there is one: of answers from the same server, project and location.

    A local run names its own folder in the environment, so that no setting differs between two runs.
    """
    place = config.response_cache or os.environ.get(RUN_ANSWERS, "off")
    if place == "off":
        return contextlib.nullcontext()
    from gemtune import vertex

    client = vertex.connect(settings)
    more: JsonObject = {"server": client.server, "project": client.project, "location": client.location}
    # Settings that change an answer; resampling, retries and intervals do not.
    names = {"base_model", "temperature", "max_output_tokens", "thinking_budget", "seed"}
    more |= {"logprobs": True} if config.confidence == "logprobs" else {}
    values = {**config.model_dump(include=names), **more}
    return _bucket_cache(client, values) if place == "bucket" else SqliteResponseCache(place, values)


@contextlib.contextmanager
def _bucket_cache(client: Client, settings: JsonObject) -> Iterator[SqliteResponseCache]:
    """A response cache of the answers under `responses/` in the bucket, to which new ones are added."""
    from gemtune.vertex import storage

    folder = f"responses/{fingerprint(settings)}"
    oldest = datetime.now(UTC) - timedelta(days=MAX_AGE_DAYS)

    def write(name: str, lines: list[str]) -> None:
        try:
            storage.put_lines(client, lines, f"{folder}/{name}.jsonl")
        except (ServiceError, UserError) as error:
            log.warning("%d answers are not kept for the next run: %s", len(lines), error)

    with (
        TemporaryDirectory() as directory,
        Segments(write) as segments,
        SqliteResponseCache(directory, settings, save=segments.add) as cache,
    ):
        rows: list[Row] = []
        recent = [key for key, written in storage.list_times(client, folder).items() if written > oldest]
        for uri in (f"gs://{client.bucket}/{key}" for key in recent):
            with local_path(uri, client) as saved:
                read = [read_line(line) for line in saved.read_bytes().split(b"\n") if line]
            rows += filter(None, read)
            if damaged := read.count(None):
                log.warning("%s: %d of %d answers are damaged and not used: delete it", uri, damaged, len(read))
        cache.load(rows)
        yield cache
