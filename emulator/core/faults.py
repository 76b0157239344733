# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Injected faults, and how long job states last.

A `FaultPlan` is read from a file or set by `PUT /emulator/faults`. Randomness depends on the plan's seed, the request
and how often that same request was seen, so a failure is reproducible whatever the order of concurrent requests.
"""

import hashlib
import threading
import time
from collections.abc import Callable
from typing import Literal

import re2  # matches in linear time, whatever the pattern
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from emulator.core.messages import RE2_OPTIONS

Rate = Field(default=0.0, ge=0.0, le=1.0)
Code = Literal[429, 500, 503, 504]


class Pace(BaseModel):
    """How long PENDING and RUNNING last at least: a number of polls of the job, or seconds; default: no time."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    polls: int = Field(default=0, ge=0)
    seconds: float = Field(default=0.0, ge=0.0, allow_inf_nan=False)


class FaultPlan(BaseModel):
    """The faults to inject. Rates are shares of requests in [0, 1]; `paths` limits request faults to matching paths.

    `error_rate` returns `error_code` (a random one of several); `drop_rate` closes the connection in the middle of
    a response, before the request is handled, `lost_rate` after it; `slow_rate` waits `slow_seconds`.
    `quota_per_minute` fills a bucket of `quota_burst` tokens for generate calls, 429 when it is empty.
    `tuning_quota` returns 429 for a new tuning job when that many have not ended. `blocked_rate` and
    `truncated_rate` return responses without candidates and answers cut by MAX_TOKENS. `job_failure` fails tuning
    jobs (those whose display name matches `job_names`) at a stage. `drop_rows` is the share of training rows the
    service drops; `lenient_rows` drops malformed rows instead of failing the job. Bearer tokens listed in
    `expired_tokens` are rejected. Logged requests can be read `log_lag_seconds` later, a share of `log_double_rate`
    twice. With `metrics_in_storage` a job that ended has no experiment, and its metrics are the JSON lines that
    `gcsMetricsUri` names. `pace` is how long PENDING and RUNNING last at least.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    seed: int = 0
    paths: str = "."
    error_rate: float = Rate
    error_code: Code | tuple[Code, ...] = 503
    drop_rate: float = Rate
    lost_rate: float = Rate
    slow_rate: float = Rate
    slow_seconds: float = Field(default=1.0, ge=0.0, le=600.0)
    quota_per_minute: float | None = Field(default=None, ge=0.0)
    quota_burst: int = Field(default=1, ge=1)
    tuning_quota: int | None = Field(default=None, ge=0)
    blocked_rate: float = Rate
    truncated_rate: float = Rate
    job_failure: Literal["start", "midway", "end"] | None = None
    job_failure_rate: float = Field(default=1.0, ge=0.0, le=1.0)
    job_names: str = "."
    drop_rows: float = Rate
    lenient_rows: bool = False
    expired_tokens: tuple[str, ...] = ()
    log_lag_seconds: float = Field(default=0.0, ge=0.0)
    log_double_rate: float = Rate
    metrics_in_storage: bool = False
    pace: Pace = Pace()

    @field_validator("paths", "job_names")
    @classmethod
    def _is_pattern(cls, value: str) -> str:
        try:
            re2.compile(value, RE2_OPTIONS)
        except re2.error as error:
            raise ValueError(f"is not a regular expression in RE2 syntax: {error}") from error
        return value


def parse_speed(text: str) -> Pace:
    """The pace for `immediate`, `polls:N` or `seconds:T`; `ValueError` otherwise."""
    name, _, amount = text.partition(":")
    try:
        return Pace() if text == "immediate" else Pace.model_validate({name: amount})
    except ValidationError as error:
        raise ValueError(f"speed is immediate, polls:N or seconds:T, not {text!r}") from error


class Faults:
    """The current plan with its counters, quota bucket and polls of jobs. Thread-safe."""

    def __init__(self, plan: FaultPlan | None = None) -> None:
        self._lock = threading.Lock()
        self._polled = threading.Condition()
        self._polls: dict[str, int] = {}
        self.set(plan or FaultPlan())

    def set(self, plan: FaultPlan) -> None:
        """Replace the plan; counters start again."""
        with self._lock:
            self.plan = plan
            self._seen: dict[bytes, int] = {}
            self._tokens = float(plan.quota_burst)
            self._filled = time.monotonic()

    def happens(self, kind: str, rate: float, *key: bytes) -> bool:
        """Whether a fault of this rate happens to this request, by seed, key and how often the key was seen."""
        if rate <= 0:
            return False
        digest = hashlib.sha256(b"".join((b"%d/%s/" % (self.plan.seed, kind.encode()), *key))).digest()
        with self._lock:
            if len(self._seen) > 100_000:
                self._seen.clear()
            count = self._seen[digest] = self._seen.get(digest, -1) + 1
        draw = hashlib.sha256(digest + b"%d" % count).digest()
        return int.from_bytes(draw[:8], "big") / 2**64 < rate

    def error_code(self, *key: bytes) -> int:
        """The code of an error for this request."""
        codes = self.plan.error_code
        codes = (codes,) if isinstance(codes, int) else codes
        return codes[hashlib.sha256(b"".join((b"code/", *key))).digest()[0] % len(codes)]

    def apply_to(self, path: str) -> bool:
        """Whether request faults apply to a path."""
        return re2.search(self.plan.paths, path) is not None

    def take_quota(self) -> bool:
        """Whether one more generate call is within the quota."""
        plan = self.plan
        if plan.quota_per_minute is None:
            return True
        with self._lock:
            now = time.monotonic()
            refill = (now - self._filled) * plan.quota_per_minute / 60
            self._tokens = min(float(plan.quota_burst), self._tokens + refill)
            self._filled = now
            if self._tokens < 1:
                return False
            self._tokens -= 1
            return True

    def job_fails(self, stage: str, display_name: str, job: str) -> bool:
        """Whether a tuning job fails at a stage."""
        plan = self.plan
        return (
            plan.job_failure == stage
            and re2.search(plan.job_names, display_name) is not None
            and self.happens("job", plan.job_failure_rate, job.encode())
        )

    def polled(self, name: str) -> None:
        """Count a poll of a job."""
        with self._polled:
            if name in self._polls:
                self._polls[name] += 1
                self._polled.notify_all()

    def hold(self, name: str, should_stop: Callable[[], bool]) -> None:
        """Return when a job's state has lasted as long as the pace now requires, or when `should_stop` is true."""
        started = time.monotonic()
        with self._polled:
            self._polls[name] = 0
            while not should_stop():
                pace = self.plan.pace
                left = pace.seconds - (time.monotonic() - started)
                if self._polls[name] >= pace.polls and left <= 0:
                    break
                self._polled.wait(min(0.1, left) if left > 0 else 0.1)
            del self._polls[name]
