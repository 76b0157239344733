# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The pace: at the quota and not above it, whatever else goes wrong. The real loop runs here, in virtual time."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field
from functools import partial
from statistics import mean

import pytest

from gemtune.contents import ModelOutput
from gemtune.inference.generate import GenerateRequest, RetryPolicy, generate_all
from gemtune.inference.rate_control import QuotaEstimate, RateController, RateSample, estimate_quota


class VirtualLoop(asyncio.SelectorEventLoop):
    """Whoever sleeps is woken at once, and the clock says that the time has passed."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        select = self._selector.select

        def leap(timeout):
            self.now += timeout or 0.0
            return select(0)

        self._selector.select = leap

    def time(self) -> float:
        return self.now


class Failed(Exception):
    def __init__(self, code: int) -> None:
        super().__init__(str(code))
        self.code = code


class PermanentError(Exception):
    code = 400


Said = partial(ModelOutput, "x", finish_reason="STOP", input_tokens=1, output_tokens=1)


@dataclass
class Service:
    """A token bucket, answers of `latency_s` (20 % more or less), and faults of three kinds that come at any speed.

    Every request takes from the quota, those that fail by chance too; 429s of the quota come at once, or `late`.
    """

    quota: float | None = None
    burst: float = 20
    latency_s: float = 0.2
    late: bool = True
    share_429: float = 0.0
    share_503: float = 0.0
    share_lost: float = 0.0
    stalled: tuple[float, float] = (0, 0)  # between these times requests wait
    seed: int = 1
    tries: int = 0
    answered: list[float] = field(default_factory=list)
    by_quota: list[float] = field(default_factory=list)
    _tokens: float = -1.0
    _filled: float = 0.0

    def run(self, rows: int, concurrency: int = 64) -> tuple[float, int]:
        """Seconds that the loop takes for so many rows, and how many had no answer in the end."""
        self.rng, self._tokens = random.Random(self.seed), self.burst
        asked = [GenerateRequest(str(i), "m", None, []) for i in range(rows)]
        retry_policy = RetryPolicy(concurrency, 8, (Failed,), (PermanentError,), self.seed)

        async def timed():
            given = await generate_all(asked, self.generate, retry_policy)
            return asyncio.get_running_loop().time(), sum(bool(one.error) for one in given)

        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            return runner.run(timed())

    async def generate(self, _question):
        clock = asyncio.get_running_loop()
        self.tries += 1
        latency_s = self.latency_s * self.rng.uniform(0.8, 1.2)
        chance = self.rng.random()
        if self.stalled[0] <= clock.time() < self.stalled[1]:
            await asyncio.sleep(self.stalled[1] - clock.time())
        if self.quota is not None:
            gained = (clock.time() - self._filled) * self.quota
            self._tokens, self._filled = min(self.burst, self._tokens + gained), clock.time()
            if self._tokens < 1:
                await asyncio.sleep(latency_s if self.late else 0.0)
                self.by_quota.append(clock.time())
                raise Failed(429)
            self._tokens -= 1
        await asyncio.sleep(latency_s)
        for code, share in ((429, self.share_429), (503, self.share_503), (0, self.share_lost)):
            if chance < share:
                raise Failed(code)
            chance -= share
        self.answered.append(clock.time())
        return Said()


@pytest.mark.parametrize(("quota", "latency_s"), [(20, 0.2), (100, 0.2), (100, 0.6)])
@pytest.mark.parametrize("burst", [5, 40])
@pytest.mark.parametrize("late", [False, True])
def test_rate_controller_uses_the_quota_and_rarely_exceeds_it(quota, latency_s, burst, late):
    service = Service(quota, burst, latency_s, late)
    seconds, errors = service.run(quota * 30, concurrency=128)
    warm = seconds / 2
    passed = sum(at > warm for at in service.answered)
    refused = sum(at > warm for at in service.by_quota)
    assert errors == 0
    assert passed / (quota * (seconds - warm)) >= 0.9
    assert refused / (passed + refused) <= (0.02 if quota >= 100 and latency_s <= 0.2 else 0.07)


FAULTS = {"share_429": 0.07, "share_503": 0.07, "share_lost": 0.06}


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("seed", [1, 2])
def test_rate_controller_faults_under_a_quota_cost_little(late, seed):
    service = Service(100, late=late, seed=seed, **FAULTS)
    seconds, errors = service.run(1500)
    assert errors == 0
    assert len(service.answered) == 1500
    assert seconds <= 1.2 * 1500 / 0.8 / 100


def test_rate_controller_recovers_from_a_stalled_service():
    """A sample with a pause in it has a low mean rate and many 429s: once it fixed the rate at a fifth of the quota."""
    for seed in (4, 23, 32):
        seconds, errors = Service(100, stalled=(1, 2), seed=seed, **FAULTS).run(1000)
        assert errors == 0
        assert seconds <= 2.2 * 1000 / 100


@pytest.mark.parametrize("faults", [FAULTS, {"share_429": 0.2}, {"share_503": 0.2}])
def test_rate_controller_faults_without_a_quota_cost_little(faults):
    for seed in (1, 2):
        seconds, errors = Service(seed=seed, **faults).run(1500)
        assert errors == 0
        assert seconds <= 1.5 * 1500 / 0.8 / (64 / 0.2)


def test_rate_controller_separates_random_429s_from_quota_429s():
    for seed in (1, 2):
        seconds, errors = Service(100, share_429=0.2, seed=seed).run(1500)
        assert errors == 0
        assert seconds <= 1.5 * 1500 / 0.8 / 100


def drawn(rate: float, quota: QuotaEstimate, rng: random.Random, size: int = 40) -> RateSample:
    sample = RateSample(size)
    for i in range(size):
        sample.start(i / rate)
    for i in range(size):
        sample.end(i / rate, refused=rng.random() < quota.refused(rate))
    return sample


@pytest.mark.parametrize(("background", "lowest", "highest"), [(0.0, 0.0, 0.01), (0.08, 0.06, 0.09), (0.3, 0.12, 0.3)])
def test_estimate_recovers_quota_and_background(background, lowest, highest):
    """The mean of 20 draws; a large background is underestimated, since half of the prior is on none."""
    truth, rates, found = QuotaEstimate(100, background, 0, 0), (100, 80, 130, 96, 150, 100, 80, 110, 120, 90), []
    for seed in range(20):
        rng = random.Random(seed)
        found.append(estimate_quota([drawn(rate, truth, rng) for rate in rates]))
    assert mean(one.quota for one in found) == pytest.approx(100, rel=0.15)
    assert lowest <= mean(one.background for one in found) <= highest
    assert all(one.lower_bound <= one.quota and one.unreached < 0.5 for one in found)


def test_estimate_of_an_unreached_quota_is_higher():
    truth, rng = QuotaEstimate(1000, 0.2, 0, 0), random.Random(5)
    found = estimate_quota([drawn(rate, truth, rng) for rate in (20, 40, 80, 160, 320, 300, 320)])
    assert found.unreached > 0.5
    assert found.background == pytest.approx(0.2, abs=0.07)


def test_sample_counts_requests_by_start():
    sample = RateSample(20)
    for i in range(30):
        sample.start(float(i))
    assert [sample.end(float(i), refused=True) for i in range(20, 30)] == [False] * 10
    assert [sample.end(float(i), refused=i < 5) for i in range(18)] == [False] * 17 + [True]
    assert sample.share == pytest.approx(5 / 18)
    assert sample.rate == pytest.approx(1.0)


def test_rate_controller_reaches_the_cap_without_a_quota():
    pace = RateController(64)
    for i in range(100):
        pace.on_answer(i * 0.01, i * 0.01 - 0.2)
    assert pace.limit == 64
    assert pace.wait_s(2.0, 63) == 0.0
    assert pace.wait_s(2.0, 64) is None


def test_rate_controller_slow_answers_and_failures_lower_the_limit():
    pace = RateController(64)
    for i in range(100):
        pace.on_answer(i * 0.01, i * 0.01 - 0.2)
    for i in range(300):
        pace.on_answer(2.0 + i, i - 7.0)
    assert pace.limit < 50
    before = pace.limit
    pace.on_error(1000.0, 999.0)
    assert pace.limit < before


def test_rate_controller_backoff_doubles_while_failing():
    pace = RateController(64)
    for i in range(40):
        pace.on_answer(i * 0.01, i * 0.01 - 0.2)
    assert [pace.backoff_s(n, 0.25, 30.0) for n in (1, 4)] == pytest.approx([0.2, 0.2])
    assert [pace.backoff_s(n, 0.25, 30.0) for n in (5, 9)] == [1.0, 7.5]
    for i in range(20):
        pace.on_error(1.0 + i * 0.01, 0.9)
    assert [pace.backoff_s(n, 0.25, 30.0) for n in (1, 3, 5)] == [0.25, 1.0, 4.0]
