# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The generation loop: every question answered or accounted for, exactly once, as fast as the quota bears.

Concurrency grows with each answer until the cap, a 429 or a lasting rise of latency; after a 429 requests are paced
just below the rate that last got through, and the pace creeps up again (slow increase, quick decrease, as in TCP;
Jacobson 1988), so the loop sits at the quota instead of knocking on it. What may be retried is, with exponential
waits under full jitter (AWS, 2015). `Pace` is pure: it is told the time, so tests run it in virtual time. Nothing here
knows what is asked: `ask` is any coroutine function.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import random
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from math import exp
from time import monotonic
from typing import Any, Protocol

from gemtune.errors import UserError


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
class Question:
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
class Given:
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


Ask = Callable[[Question], Awaitable[Answer]]


class Memory(Protocol):
    """Where answers already paid for are kept."""

    def get(self, question: Question) -> Given | None:
        """The answer to this very question, if it is known."""

    def put(self, question: Question, given: Given) -> None:
        """Keep an answer; on return it survives the process."""


@dataclass(frozen=True)
class Effort:
    """How hard to try: `retryable` errors are tried again (their `code` 429 means too fast), `refused` never.

    What is not answered after `deadline_s` seconds is an error; 0: there is no deadline.
    """

    concurrency: int
    attempts: int
    retryable: tuple[type[Exception], ...]
    refused: tuple[type[Exception], ...]
    seed: int = 7
    first_wait_s: float = 0.25
    longest_wait_s: float = 30.0
    deadline_s: float = 0.0


HOPELESS = 20  # rows that fail first, without one answer between them, before the loop gives up
ENOUGH = 30  # ended requests from which a share of refusals is more than chance


@dataclass
class Pace:
    """When the next request may start: a limit on requests in flight, and, once a quota showed, a rate below it.

    A quota shows when 25 % are refused. The rate then doubles every second until it shows again; from then on it
    creeps up ever faster since the last 429 and falls to 95 % of the best that was let through lately when one comes:
    about one 429 every five seconds. 429s that come at any rate (by chance, from elsewhere) do not drive it to nothing:
    below 85 % of what lately passed it falls no further, unless more than 40 % are refused.
    """

    most: int
    limit: float = 8.0
    rate: float | None = None
    _next_start: float = 0.0
    _cut_until: float = 0.0
    _eased_until: float = 0.0
    _grown_at: float = 0.0
    _settled: bool = False
    _held_back: bool = False
    _fastest: float = float("inf")
    _usual: float = 0.0
    _ended: deque[tuple[float, bool]] = field(
        default_factory=deque
    )  # answers (True) and 429s: of a second, ENOUGH at least
    _best: deque[tuple[float, float]] = field(default_factory=deque)  # rates let through, at 429s of ten seconds

    def __post_init__(self) -> None:
        self.limit = min(self.limit, float(self.most))

    def wait_s(self, now: float, in_flight: int) -> float | None:
        """Seconds until a request may start (0: now), None when one must end first."""
        if in_flight >= int(self.limit):
            return None
        wait = 0.0 if self.rate is None else max(0.0, self._next_start - now)
        self._held_back |= wait > 0
        return wait

    def started(self, now: float) -> None:
        """A request left."""
        if self.rate is not None:
            # Up to 50 ms of lost time is made up for, no more: a burst is what quotas punish.
            self._next_start = max(self._next_start, now - 0.05) + 1 / self.rate

    def answered(self, now: float, latency_s: float) -> None:
        """An answer came: grow, unless answers have become slow."""
        self._end(now, True)
        self._usual = latency_s if not self._usual else 0.9 * self._usual + 0.1 * latency_s
        self._fastest = min(self._fastest, latency_s)
        slow = self._usual > 8 * self._fastest and self._usual > 2.0
        self.limit = max(min(4.0, self.most), self.limit - 0.1) if slow else min(float(self.most), self.limit + 1)
        if self.rate is not None and self._held_back and now > self._cut_until:
            calm = now - self._cut_until
            speed = min(0.7, 0.005 * 2 ** (calm / 2)) if self._settled else 0.7
            self.rate *= exp(speed * min(1.0, now - max(self._grown_at, self._cut_until)))
            self._grown_at, self._held_back = now, False

    def too_fast(self, now: float) -> None:
        """A 429 came: pace below what is let through; further ones of the same burst change nothing."""
        self._end(now, False)
        if now < self._cut_until:
            return
        ended, through, refused = self._let_through(now)
        if not self._settled and (ended < ENOUGH or refused < 0.25):
            return  # too few to tell a quota from chance
        if refused > 0.4 and ended >= ENOUGH:
            self._best.clear()
        self._best.append((now, through))
        while self._best[0][0] < now - 10:
            self._best.popleft()
        best = max(rate for _, rate in self._best)
        if self._settled and self.rate is not None and self.rate < 0.85 * best:
            return  # slower than what passed lately: our speed is not the reason
        self._settled = self.rate is not None
        self.rate = max(1.0, 0.95 * min(self.rate or best, best))
        self._cut_until = now + max(0.5, 1.5 * min(self._usual, 2.0))
        self._next_start = now + 1 / self.rate

    def failed(self, now: float) -> None:
        """A server error, timeout or lost connection: ease off a little."""
        if now >= self._eased_until:
            self.limit = max(min(4.0, self.most), self.limit * 0.9)
            self._eased_until = now + max(0.1, self._usual)

    def _end(self, now: float, passed: bool) -> None:
        self._ended.append((now, passed))
        while len(self._ended) > ENOUGH and self._ended[0][0] < now - 1:
            self._ended.popleft()

    def _let_through(self, now: float) -> tuple[int, float, float]:
        """Of the requests that ended lately: how many, those let through a second, the share refused."""
        passed = sum(ok for _, ok in self._ended)
        count = len(self._ended)
        return count, passed / max(0.5, now - self._ended[0][0]), 1 - passed / count


async def ask_all(
    questions: Sequence[Question],
    ask: Ask,
    effort: Effort,
    *,
    memory: Memory | None = None,
    settled: Callable[[], None] = lambda: None,
) -> list[Given]:
    """One `Given` per question, in order; `settled` is called for each. A question whose tries all failed has an error.

    What concerns every row (no such model, no right to ask it) is raised as `UserError`.
    """
    return await _Loop(questions, ask, effort, memory, settled).run()


class _Loop:
    """One scheduler: starts tries when the pace allows, puts failed ones back with a time before which they rest."""

    def __init__(
        self,
        questions: Sequence[Question],
        ask: Ask,
        effort: Effort,
        memory: Memory | None,
        settled: Callable[[], None],
    ) -> None:
        self.questions, self.ask, self.effort, self.memory, self.settled = questions, ask, effort, memory, settled
        self.pace = Pace(effort.concurrency)
        self.random = random.Random(effort.seed)
        self.given: dict[int, Given] = {}
        self.ready: deque[tuple[int, int]] = deque()  # (question, attempt)
        self.resting: list[tuple[float, int, int]] = []  # heap of (time, question, attempt)
        self.in_flight = 0
        self.tasks: set[asyncio.Task[None]] = set()
        self.broken: list[BaseException] = []
        self.changed = asyncio.Event()

    async def run(self) -> list[Given]:
        for index, question in enumerate(self.questions):
            known = self.memory.get(question) if self.memory else None
            if known is None:
                self.ready.append((index, 1))
            else:
                self._settle(index, known)
        try:
            async with asyncio.timeout(self.effort.deadline_s or None):
                while len(self.given) < len(self.questions) and not self.broken:
                    await self._step()
        except TimeoutError:
            self._close()
        finally:
            for task in self.tasks:
                task.cancel()
            await asyncio.gather(*self.tasks, return_exceptions=True)
        if self.broken:
            raise self.broken[0]
        return [self.given[i] for i in range(len(self.questions))]

    def _close(self) -> None:
        """The time is over: every row without an answer is an error."""
        for index in range(len(self.questions)):
            if index not in self.given:
                self._settle(index, Given(error=f"no answer within {self.effort.deadline_s:g} s"))

    async def _step(self) -> None:
        """Start one try, or sleep until something may have changed."""
        now = monotonic()
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
        question, start = self.questions[index], monotonic()
        try:
            answer = await self.ask(question)
        except self.effort.refused as refusal:
            self._settle(index, self._refused(question, refusal, attempt))
        except self.effort.retryable as failure:
            self._failed(index, attempt, failure)
        else:
            latency_s = monotonic() - start
            self.pace.answered(monotonic(), latency_s)
            given = given_of(answer, latency_s, attempt)
            if self.memory:
                self.memory.put(question, given)
            self._settle(index, given)

    def _settle(self, index: int, given: Given) -> None:
        self.given[index] = given
        self.settled()

    def _failed(self, index: int, attempt: int, failure: Exception) -> None:
        now = monotonic()
        if getattr(failure, "code", None) == 429:
            self.pace.too_fast(now)
        else:
            self.pace.failed(now)
        if attempt >= self.effort.attempts:
            self._settle(index, Given(error=f"{_said(failure)} (after {attempt} tries)", attempts=attempt))
            self._give_up_early(failure)
            return
        most = min(self.effort.longest_wait_s, self.effort.first_wait_s * 2 ** (attempt - 1))
        heapq.heappush(self.resting, (now + self.random.uniform(0, most), index, attempt + 1))

    def _give_up_early(self, failure: Exception) -> None:
        """Stop when every row so far failed all its tries: nobody is there."""
        if len(self.given) >= HOPELESS and all(given.error for given in self.given.values()):
            raise UserError(
                f"{len(self.given)} rows and no answer, each tried {self.effort.attempts} times: {_said(failure)}",
                remedy="check the network, the region and the quota, then run again",
            ) from failure

    def _refused(self, question: Question, refusal: Exception, attempt: int) -> Given:
        if getattr(refusal, "code", None) in (401, 403, 404):
            raise UserError(
                f"{question.model!r} cannot be asked: {refusal}", remedy="check evaluate.base_model, region and rights"
            ) from refusal
        return Given(error=_said(refusal), attempts=attempt)


def _said(error: Exception) -> str:
    return str(error) or type(error).__name__


def given_of(answer: Answer, latency_s: float, attempts: int) -> Given:
    """An answer with how long it took (seconds) and which try it was."""
    return Given(
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
