# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Requests sent to Vertex AI one by one or as batch prediction jobs, with the response cache that a run configures."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from gemtune.config import Evaluate, Vertex
from gemtune.inference.batch import Batches, waited
from gemtune.inference.generate import Ask, Effort, Memory, Question

if TYPE_CHECKING:
    from gemtune.vertex import GenerationSettings

log = logging.getLogger("gemtune")


def vertex_ask(config: Evaluate, settings: Vertex) -> tuple[Ask, Effort]:
    """Questions put to Vertex AI."""
    from gemtune import vertex

    client = vertex.connect(settings)

    async def ask(question: Question) -> vertex.GenerateResponse:
        settings = _settings_of(config, question)
        return await vertex.generate(client, question.model, question.system, question.contents, settings)

    errors = ((vertex.TransientError,), (vertex.PermanentError,))
    effort = Effort(config.concurrency, config.attempts, *errors, config.seed, deadline_s=3600 * config.deadline_h)
    return ask, effort


def generation_settings(config: Evaluate) -> dict[str, Any]:
    """The settings by which one asks and is sure, for serving to do the same."""
    names = ("base_model", "temperature", "max_output_tokens", "thinking_budget", "seed", "timeout_s", "attempts")
    return config.model_dump(include={*names, "concurrency", "confidence", "samples", "sample_temperature"})


def _settings_of(config: Evaluate, question: Question) -> GenerationSettings:
    """How one question is asked: as configured, unless it says otherwise."""
    from gemtune import vertex

    generation = vertex.GenerationSettings.of(config)
    return replace(
        generation,
        seed=config.seed + question.sample,
        temperature=generation.temperature if question.temperature is None else question.temperature,
        max_output_tokens=question.max_output_tokens or generation.max_output_tokens,
    )


def vertex_batches(config: Evaluate, settings: Vertex) -> Batches:
    """The same questions put to Vertex AI by batch jobs."""
    from gemtune import vertex
    from gemtune.vertex import batches

    client = vertex.connect(settings)

    async def target(question: Question) -> str:
        found = partial(batches.batch_model, client, question.model, question.version, config.base_model)
        return await asyncio.to_thread(vertex.with_retries, found)

    def body(question: Question) -> dict[str, Any]:
        asked = _settings_of(config, question)
        return batches.build_request(client, question.model, question.system, question.contents, asked)

    async def answered(model: str, bodies: Sequence[dict[str, Any]]) -> list[batches.BatchResult]:
        found: list[batches.BatchResult] = []
        for start in range(0, len(bodies), batches.MAX_REQUESTS):
            part = bodies[start : start + batches.MAX_REQUESTS]
            submit = partial(batches.get_or_create, client, model, part)
            job = await asyncio.to_thread(vertex.with_retries, submit)
            log.info("progress: batch job %s (%d rows)", job.name, len(part))
            job = await waited(
                job,
                lambda job: vertex.with_retries(batches.refresh, client, job),
                config.batch_poll_s,
                3600 * config.batch_deadline_h,
            )
            found += await asyncio.to_thread(vertex.with_retries, batches.read_results, client, job)
        return found

    return Batches(config.batch_above, target, body, answered)


def response_cache(config: Evaluate) -> contextlib.AbstractContextManager[Memory | None]:
    """The store of answers, when one is configured."""
    if not config.cache:
        return contextlib.nullcontext()
    from gemtune.inference.response_cache import AnswerStore

    # What changes an answer; seeds of resampling, effort and intervals do not.
    names = {"base_model", "temperature", "max_output_tokens", "thinking_budget", "seed"}
    more = {"logprobs": True} if config.confidence == "logprobs" else {}
    return AnswerStore(config.cache, {**config.model_dump(include=names), **more})
