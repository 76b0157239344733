# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The generation loop: every question answered or accounted for, exactly once, as fast as the quota bears.

`pace.Pace` says when the next request may start. What may be retried is, with growing waits under full jitter (AWS,
2015). Nothing here knows what is asked: `ask` is any coroutine function. The clock is the event loop's, so tests run
thousands of rows in virtual time.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import random
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from gemtune.errors import UserError
from gemtune.inference.rate_control import RateController


class Answer(Protocol):
    """What `ask` comes back with; the shape of `vertex.Answer`."""

    @property
    def text(self) -> str | None:
        """The text, None when there is none."""

    @property
    def finish_reason(self) -> str:
        """STOP, MAX_TOKENS, SAFETY, ..."""

    @property
    def block_reason(self) -> str:
        """Why the prompt was blocked; empty when it was not."""

    @property
    def input_tokens(self) -> int:
        """Tokens of the request."""

    @property
    def output_tokens(self) -> int:
        """Tokens of the answer."""


@dataclass(frozen=True)
class GenerateRequest:
    """One request: the model and what it is asked. `key` names its row; `version` tells apart what one model name
    has stood for over time; `sample` numbers repeated questions; what is None is as configured.
    """

    key: str
    model: str
    system: str | None
    contents: list[dict[str, Any]]
    version: str = ""
    sample: int = 0
    temperature: float | None = None
    max_output_tokens: int | None = None


@dataclass(frozen=True)
class ModelOutput:
    """How a question ended: an answer, or the error that stood at the end of all tries.

    `logprob` is the logarithm of the answer's probability, where the model tells it; `batch`: answered by a batch job,
    so that it has its price and no time of its own.
    """

    text: str | None = None
    finish_reason: str = ""
    block_reason: str = ""
    input_tokens: int = 0
    output_tokens: int = 0
    latency_s: float = 0.0
    attempts: int = 1
    error: str = ""
    cached: bool = False
    logprob: float | None = None
    batch: bool = False


Generate = Callable[[GenerateRequest], Awaitable[Answer]]


class ResponseCache(Protocol):
    """Where answers already paid for are kept."""

    def get(self, request: GenerateRequest) -> ModelOutput | None:
        """The answer to this very question, if it is known."""

    def put(self, request: GenerateRequest, given: ModelOutput) -> None:
        """Keep an answer; on return it survives the process."""


@dataclass(frozen=True)
class RetryPolicy:
    """How hard to try: `retryable` errors are tried again (their `code` 429 means too fast), `refused` never.

    What is not answered after `deadline_s` seconds is an error; 0: there is no deadline.
    """

    concurrency: int
    attempts: int
    transient: tuple[type[Exception], ...]
    permanent: tuple[type[Exception], ...]
    seed: int = 7
    initial_backoff_s: float = 0.25
    max_backoff_s: float = 30.0
    deadline_s: float = 0.0


MAX_INITIAL_FAILURES = 20  # rows that fail first, without one answer between them, before the loop gives up


async def generate_all(
    requests: Sequence[GenerateRequest],
    generate: Generate,
    retry_policy: RetryPolicy,
    *,
    cache: ResponseCache | None = None,
    on_done: Callable[[], None] = lambda: None,
) -> list[ModelOutput]:
    """One `Given` per question, in order; `settled` is called for each. A question whose tries all failed has an error.

    What concerns every row (no such model, no right to ask it) is raised as `UserError`.
    """
    return await _Loop(requests, generate, retry_policy, cache, on_done).run()


class _Loop:
    """One scheduler: starts tries when the pace allows, puts failed ones back with a time before which they rest."""

    def __init__(
        self,
        requests: Sequence[GenerateRequest],
        generate: Generate,
        retry_policy: RetryPolicy,
        cache: ResponseCache | None,
        on_done: Callable[[], None],
    ) -> None:
        self.requests, self.generate, self.retry_policy, self.cache, self.on_done = (
            requests,
            generate,
            retry_policy,
            cache,
            on_done,
        )
        self.pace = RateController(retry_policy.concurrency)
        self.random = random.Random(retry_policy.seed)
        self.given: dict[int, ModelOutput] = {}
        self.ready: deque[tuple[int, int]] = deque()  # (question, attempt)
        self.resting: list[tuple[float, int, int]] = []  # heap of (time, question, attempt)
        self.in_flight = 0
        self.tasks: set[asyncio.Task[None]] = set()
        self.broken: list[BaseException] = []
        self.changed = asyncio.Event()

    async def run(self) -> list[ModelOutput]:
        for index, request in enumerate(self.requests):
            known = self.cache.get(request) if self.cache else None
            if known is None:
                self.ready.append((index, 1))
            else:
                self._settle(index, known)
        try:
            async with asyncio.timeout(self.retry_policy.deadline_s or None):
                while len(self.given) < len(self.requests) and not self.broken:
                    await self._step()
        except TimeoutError:
            self._close()
        finally:
            for task in self.tasks:
                task.cancel()
            await asyncio.gather(*self.tasks, return_exceptions=True)
        if self.broken:
            raise self.broken[0]
        return [self.given[i] for i in range(len(self.requests))]

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()

    def _close(self) -> None:
        """The time is over: every row without an answer is an error."""
        for index in range(len(self.requests)):
            if index not in self.given:
                self._settle(index, ModelOutput(error=f"no answer within {self.retry_policy.deadline_s:g} s"))

    async def _step(self) -> None:
        """Start one try, or sleep until something may have changed."""
        now = self._now()
        while self.resting and self.resting[0][0] <= now:
            _, index, attempt = heapq.heappop(self.resting)
            self.ready.appendleft((index, attempt))
        wait = self.pace.wait_s(now, self.in_flight) if self.ready else None
        if wait == 0.0:
            index, attempt = self.ready.popleft()
            self.in_flight += 1
            self.pace.started(now)
            task = asyncio.create_task(self._try(index, attempt))
            self.tasks.add(task)
            task.add_done_callback(self._ended)
            return
        rests = self.resting[0][0] - now if self.resting else None
        waits = [w for w in (wait, rests) if w is not None]
        self.changed.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(min(waits) if waits else None):
                await self.changed.wait()

    def _ended(self, task: asyncio.Task[None]) -> None:
        """A try is over; what it raised concerns the whole run."""
        self.tasks.discard(task)
        self.in_flight -= 1
        self.changed.set()
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self.broken.append(error)

    async def _try(self, index: int, attempt: int) -> None:
        request, start = self.requests[index], self._now()
        try:
            answer = await self.generate(request)
        except self.retry_policy.permanent as refusal:
            self._settle(index, self._refused(request, refusal, attempt))
        except self.retry_policy.transient as failure:
            self._failed(index, attempt, failure, start)
        else:
            now = self._now()
            self.pace.answered(now, start)
            given = to_model_output(answer, now - start, attempt)
            if self.cache:
                self.cache.put(request, given)
            self._settle(index, given)

    def _settle(self, index: int, given: ModelOutput) -> None:
        self.given[index] = given
        self.on_done()

    def _failed(self, index: int, attempt: int, failure: Exception, start: float) -> None:
        now = self._now()
        if getattr(failure, "code", None) == 429:
            self.pace.on_rate_limited(now, start)
        else:
            self.pace.failed(now, start)
        if attempt >= self.retry_policy.attempts:
            self._settle(index, ModelOutput(error=f"{_said(failure)} (after {attempt} tries)", attempts=attempt))
            self._give_up_early(failure)
            return
        most = self.pace.backoff_s(attempt, self.retry_policy.initial_backoff_s, self.retry_policy.max_backoff_s)
        heapq.heappush(self.resting, (now + self.random.uniform(0, most), index, attempt + 1))

    def _give_up_early(self, failure: Exception) -> None:
        """Stop when every row so far failed all its tries: nobody is there."""
        if len(self.given) >= MAX_INITIAL_FAILURES and all(given.error for given in self.given.values()):
            raise UserError(
                f"{len(self.given)} rows and no answer, each tried {self.retry_policy.attempts} times: "
                f"{_said(failure)}",
                remedy="check the network, the region and the quota, then run again",
            ) from failure

    def _refused(self, request: GenerateRequest, refusal: Exception, attempt: int) -> ModelOutput:
        if getattr(refusal, "code", None) in (401, 403, 404):
            raise UserError(
                f"{request.model!r} cannot be asked: {refusal}", remedy="check evaluate.base_model, region and rights"
            ) from refusal
        return ModelOutput(error=_said(refusal), attempts=attempt)


def _said(error: Exception) -> str:
    return str(error) or type(error).__name__


def to_model_output(answer: Answer, latency_s: float, attempts: int) -> ModelOutput:
    """An answer with how long it took (seconds) and which try it was."""
    return ModelOutput(
        text=answer.text,
        finish_reason=answer.finish_reason,
        block_reason=answer.block_reason,
        input_tokens=answer.input_tokens,
        output_tokens=answer.output_tokens,
        latency_s=latency_s,
        attempts=attempts,
        logprob=getattr(answer, "logprob", None),
        batch=getattr(answer, "batch", False),
    )
