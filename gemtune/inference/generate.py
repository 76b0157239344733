# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The generation loop: sends every request, returns one output or error for each, as fast as the quota allows.

`rate_control.RateController` decides when the next request may start. Transient errors are retried with exponential
backoff and full jitter (AWS, 2015). The loop is independent of the service: `generate` is any coroutine function. The
clock is the event loop's, so tests run thousands of rows in virtual time.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import random
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from gemtune.config import JsonObject
from gemtune.contents import ModelOutput
from gemtune.errors import UserError
from gemtune.inference.rate_control import RateController

if TYPE_CHECKING:
    from gemtune.inference.response_cache import SqliteResponseCache


@dataclass(frozen=True)
class GenerateRequest:
    """One request to a model. `key` is the id of its row; `version` distinguishes the tuned models that an endpoint
    has served over time, and `base_model` is theirs ("": the configured one); `sample` numbers repeated requests; None
    means the configured value. The answer fits `response_schema` (Gemini's form), if there is one and the model takes
    schemas. `fields` are further fields of the body in the API's form: tools, toolConfig, generationConfig (the
    configured values take precedence).
    """

    key: str
    model: str
    system: str | None
    contents: list[JsonObject]
    version: str = ""
    base_model: str = ""
    sample: int = 0
    temperature: float | None = None
    max_output_tokens: int | None = None
    response_schema: JsonObject | None = None
    fields: JsonObject = field(default_factory=dict)


Generate = Callable[[GenerateRequest], Awaitable[ModelOutput]]
GenerateAll = Callable[..., Awaitable[list[ModelOutput]]]  # requests to outputs, in order; `on_done` after each


@dataclass(frozen=True)
class RetryPolicy:
    """How requests are retried: `transient` errors are (`code` 429 means rate limited), `permanent` ones are not.

    A request without an answer after `deadline_s` seconds is an error; 0: no deadline. In each of the `rounds` after
    the first, all requests that have failed are sent again, after a pause of `max_backoff_s`.
    """

    concurrency: int
    max_attempts: int
    transient: tuple[type[Exception], ...]
    permanent: tuple[type[Exception], ...]
    seed: int = 7
    initial_backoff_s: float = 0.25
    max_backoff_s: float = 30.0
    deadline_s: float = 0.0
    rounds: int = 1


MAX_INITIAL_FAILURES = 20  # the loop stops when this many requests have failed and none was answered or refused


async def generate_all(
    requests: Sequence[GenerateRequest],
    generate: Generate,
    retry_policy: RetryPolicy,
    *,
    cache: SqliteResponseCache | None = None,
    on_done: Callable[[], None] = lambda: None,
) -> list[ModelOutput]:
    """One `ModelOutput` per request, in order, or an error after the last attempt; `on_done` is called for each.

    An error that concerns every row (model not found, permission denied) is raised as `UserError`.
    """
    return await _Loop(requests, generate, retry_policy, cache, on_done).run()


@dataclass
class _Loop:
    """The scheduler: starts attempts when the rate controller allows, and queues failed ones with their retry time."""

    requests: Sequence[GenerateRequest]
    generate: Generate
    retry_policy: RetryPolicy
    cache: SqliteResponseCache | None
    on_done: Callable[[], None]
    outputs: dict[int, ModelOutput] = field(default_factory=dict)
    ready: deque[tuple[int, int]] = field(default_factory=deque)  # (request, attempt)
    waiting: list[tuple[float, int, int]] = field(default_factory=list)  # heap of (retry time, request, attempt)
    in_flight: int = 0
    tasks: set[asyncio.Task[None]] = field(default_factory=set)
    fatal: list[BaseException] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.rate_controller = RateController(self.retry_policy.concurrency)
        self.random = random.Random(self.retry_policy.seed)
        self.rounds_left = self.retry_policy.rounds - 1
        self.counted: set[int] = set()

    async def run(self) -> list[ModelOutput]:
        for index, request in enumerate(self.requests):
            cached = self.cache.get(request) if self.cache else None
            if cached is None:
                self.ready.append((index, 1))
            else:
                self._finish(index, cached)
        try:
            async with asyncio.timeout(self.retry_policy.deadline_s or None):
                while not self.fatal and (
                    len(self.outputs) < len(self.requests) or self._requeue_outdated() or self._requeue_failed()
                ):
                    await self._step()
        except TimeoutError:
            self._close()
        finally:
            for task in self.tasks:
                task.cancel()
            await asyncio.gather(*self.tasks, return_exceptions=True)
        if self.fatal:
            raise self.fatal[0]
        return [self.outputs[i] for i in range(len(self.requests))]

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()

    def _close(self) -> None:
        """The deadline has passed: every request without an output becomes an error."""
        for index in range(len(self.requests)):
            if index not in self.outputs:
                self._finish(index, ModelOutput(error=f"no answer within {self.retry_policy.deadline_s:g} s"))

    def _requeue_outdated(self) -> bool:
        """Queue again what was answered from the cache, if a new answer came from another version of the model."""
        if self.cache is None or all(output.cached for output in self.outputs.values()):
            return False
        cached = [index for index, output in self.outputs.items() if output.cached]
        outdated = [index for index in cached if self.cache.get(self.requests[index]) is None]
        for index in outdated:
            del self.outputs[index]
            self.ready.append((index, 1))
        return bool(outdated)

    def _requeue_failed(self) -> bool:
        """Queue again what failed for technical reasons, after a pause: trouble must not decide which rows count."""
        failed = [index for index, output in self.outputs.items() if output.error and not output.permanent]
        if not failed or not self.rounds_left:
            return False
        self.rounds_left -= 1
        resume = self._now() + self.retry_policy.max_backoff_s
        for index in failed:
            del self.outputs[index]
            heapq.heappush(self.waiting, (resume, index, 1))
        return True

    async def _step(self) -> None:
        """Start one attempt, or sleep until something may have changed."""
        now = self._now()
        while self.waiting and self.waiting[0][0] <= now:
            _, index, attempt = heapq.heappop(self.waiting)
            self.ready.appendleft((index, attempt))
        wait = self.rate_controller.wait_s(now, self.in_flight) if self.ready else None
        if wait == 0.0:
            index, attempt = self.ready.popleft()
            self.in_flight += 1
            self.rate_controller.on_start(now)
            task = asyncio.create_task(self._try(index, attempt))
            self.tasks.add(task)
            task.add_done_callback(self._on_end)
            return
        until_retry = self.waiting[0][0] - now if self.waiting else None
        waits = [w for w in (wait, until_retry) if w is not None]
        self.changed.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(min(waits) if waits else None):
                await self.changed.wait()

    def _on_end(self, task: asyncio.Task[None]) -> None:
        """An attempt has ended; an exception from it concerns the whole run."""
        self.tasks.discard(task)
        self.in_flight -= 1
        self.changed.set()
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self.fatal.append(error)

    async def _try(self, index: int, attempt: int) -> None:
        request, start = self.requests[index], self._now()
        try:
            answer = await self.generate(request)
        except self.retry_policy.permanent as error:
            self._finish(index, self._on_permanent_error(request, error, attempt))
        except self.retry_policy.transient as failure:
            self._on_transient_error(index, attempt, failure, start)
        else:
            now = self._now()
            self.rate_controller.on_answer(now, start)
            output = replace(answer, latency_s=now - start, attempts=attempt)
            if self.cache:
                self.cache.put(request, output)
            self._finish(index, output)

    def _finish(self, index: int, output: ModelOutput) -> None:
        self.outputs[index] = output
        if index not in self.counted:  # a request may be sent again
            self.counted.add(index)
            self.on_done()

    def _on_transient_error(self, index: int, attempt: int, failure: Exception, start: float) -> None:
        now = self._now()
        if getattr(failure, "code", None) == 429:
            self.rate_controller.on_rate_limited(now, start)
        else:
            self.rate_controller.on_error(now, start)
        if attempt >= self.retry_policy.max_attempts:
            self._finish(index, ModelOutput(error=f"{_message(failure)} (after {attempt} attempts)", attempts=attempt))
            self._stop_if_hopeless(failure)
            return
        backoff_s = self.rate_controller.backoff_s(
            attempt, self.retry_policy.initial_backoff_s, self.retry_policy.max_backoff_s
        )
        heapq.heappush(self.waiting, (now + self.random.uniform(0, backoff_s), index, attempt + 1))

    def _stop_if_hopeless(self, failure: Exception) -> None:
        """Stop when every request so far has failed, none refused: the service cannot be reached."""
        failed = [output.error and not output.permanent for output in self.outputs.values()]
        if len(failed) >= MAX_INITIAL_FAILURES and all(failed):
            raise UserError(
                f"the first {len(self.outputs)} requests all failed after {self.retry_policy.max_attempts} attempts: "
                f"{_message(failure)}",
                remedy="check the network, the region and the quota, then run again",
            ) from failure

    def _on_permanent_error(self, request: GenerateRequest, error: Exception, attempt: int) -> ModelOutput:
        if getattr(error, "code", None) in (401, 403, 404):
            raise UserError(
                f"{request.model!r} cannot be called: {error}",
                remedy="check evaluate.base_model, region and permissions",
            ) from error
        return ModelOutput(error=_message(error), attempts=attempt, permanent=True)


def _message(error: Exception) -> str:
    return str(error) or type(error).__name__


class RefusedRequests(UserError):
    """Too many requests of a model variant have an error that a repeated request has too."""


def require_answers(outputs: Sequence[ModelOutput], name: str, max_error_share: float) -> None:
    """Raise `UserError` where a larger share of the requests to `name` failed: transport errors must not decide.

    It is `RefusedRequests` where permanent errors alone are so many.
    """
    failed = [output for output in outputs if output.error]
    refused = [output for output in failed if output.permanent]
    if len(refused) > max_error_share * len(outputs):
        raise RefusedRequests(
            f"the service refuses {len(refused)} of {len(outputs)} requests to {name!r}: {refused[0].error}",
            remedy="correct what the message names: the prompt, its shots, or settings in evaluate",
        )
    if len(failed) > max_error_share * len(outputs):
        raise UserError(
            f"{len(failed)} of {len(outputs)} requests to {name!r} failed: {failed[0].error}",
            remedy="nothing was decided; try again later, or raise evaluate.attempts or evaluate.max_error_share",
        )
