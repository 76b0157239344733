# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""When the next request may start: at the quota and not above it, though some 429s have nothing to do with our speed.

Concurrency grows with each answer until the cap, or a lasting rise of latency. When 429s show a quota, requests are
paced. A service may also answer 429 at any speed (shared capacity, chance); slowing down for those would lose
everything and gain nothing. So what is refused is explained by two numbers, a quota Q and a background b: at a rate r
the share refused is b + (1 - b) max(0, 1 - Q / r). Every few dozen requests both are estimated anew from the last
samples (their posterior on a grid, with binomial likelihood; old samples count less), and the next rate lies near Q. A
sample that does not fit sheds the older ones: the quota has changed. Pure: it is told the time, in seconds.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from math import exp, sqrt

ENOUGH = 30  # ended requests from which a share of refusals is more than chance
BACKGROUNDS = (0.0, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.13, 0.16, 0.2, 0.25, 0.3, 0.4, 0.5, 0.65, 0.8)
FORGOTTEN = 0.85  # what a sample counts less with each that follows
DITHER = (1.0, 0.96, 1.0, 0.8)  # around the quota where there is a background: one speed alone tells the two not apart


def shown(count: int) -> float:
    """The share refused of `count` requests by which a quota shows at first; chance alone would need luck for it."""
    return 0.25 + 0.4 / sqrt(count)


@dataclass
class RateSample:
    """The first `size` requests started at a new rate; nine tenths of them must have ended to say something.

    They are chosen as they start: refusals are quicker than answers, so those that end first are no fair sample.
    """

    size: int
    begun: int = 0
    first_start: float = 0.0
    last_start: float = 0.0
    ended: int = 0
    refused: int = 0

    def start(self, now: float) -> None:
        """One more request left."""
        if self.begun < self.size:
            self.begun += 1
            self.first_start = self.first_start if self.begun > 1 else now
            self.last_start = now

    def end(self, started: float, *, refused: bool) -> bool:
        """A request ended; whether the sample now says something."""
        if self.begun and self.first_start <= started <= self.last_start:
            self.ended += 1
            self.refused += refused
        return self.ended >= 0.9 * self.size

    @property
    def rate(self) -> float:
        """Requests a second."""
        return (self.begun - 1) / max(1e-3, self.last_start - self.first_start)

    @property
    def share(self) -> float:
        """Share refused."""
        return self.refused / self.ended


@dataclass(frozen=True)
class QuotaEstimate:
    """What the samples say: requests a second that a quota lets through, and the share refused at any rate.

    `cautious`: the quota is at least so much, at four to one; `higher`: the chance that no sample reached it.
    """

    quota: float
    background: float
    cautious: float
    higher: float

    def refused(self, rate: float) -> float:
        """The share of requests refused at a rate."""
        return self.background + (1 - self.background) * max(0.0, 1 - self.quota / rate)

    def fits(self, sample: RateSample) -> bool:
        """Whether chance alone explains the sample."""
        share = self.refused(sample.rate)
        return abs(sample.refused - sample.ended * share) <= 3 * sqrt(sample.ended * share * (1 - share)) + 3


def estimate_quota(samples: list[RateSample]) -> QuotaEstimate:
    """Posterior means of quota and background; the last sample counts most. Half of the prior is on no background."""
    import numpy as np

    rates = np.array([one.rate for one in samples])
    weights = FORGOTTEN ** np.arange(len(samples))[::-1]
    lowest = min(one.rate * (1 - one.share) for one in samples)
    quotas = np.geomspace(max(0.5, 0.7 * lowest), max(1.0, 1.2 * rates.max()), 80)
    backgrounds = np.array(BACKGROUNDS)[:, None, None]
    share = backgrounds + (1 - backgrounds) * np.clip(1 - quotas[:, None] / rates, 0, 1)
    share = np.clip(share, 0.003, 0.997)
    refused, ended = (np.array([getattr(one, name) for one in samples]) for name in ("refused", "ended"))
    told = ((refused * np.log(share) + (ended - refused) * np.log1p(-share)) * weights).sum(axis=-1)
    told[1:] -= np.log(len(BACKGROUNDS) - 1)
    chance = np.exp(told - told.max())
    chance /= chance.sum()
    of_quota = chance.sum(axis=0)
    return QuotaEstimate(
        float((of_quota * quotas).sum()),
        float((chance.sum(axis=1) * BACKGROUNDS).sum()),
        float(quotas[np.searchsorted(of_quota.cumsum(), 0.2)]),
        float(of_quota[quotas >= rates.max()].sum()),
    )


@dataclass
class RateController:
    """A limit on requests in flight, and, once a quota showed, a rate near it.

    When a quarter is refused, requests are paced at what was let through; the rate doubles every second until a sample
    shows the quota again, and follows the estimate from then on. While no sample has reached the quota it climbs, ever
    faster, but slowly where every 429 is a sign.
    """

    most: int
    limit: float = 8.0
    rate: float | None = None
    known: QuotaEstimate | None = None
    _samples: deque[RateSample] = field(default_factory=lambda: deque(maxlen=16))
    _sample: RateSample | None = None
    _steps: int = 0
    _climbs: int = 0
    _next_start: float = 0.0
    _eased_until: float = 0.0
    _grown_at: float = 0.0
    _held_back: bool = False
    _fastest: float = float("inf")
    _usual: float = 0.0
    _ended: deque[tuple[float, bool]] = field(default_factory=deque)  # of a second, ENOUGH at least; True: a 429
    _failing: deque[bool] = field(default_factory=lambda: deque(maxlen=ENOUGH))

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
        if self._sample is not None:
            self._sample.start(now)

    def answered(self, now: float, started: float) -> None:
        """An answer came: grow, unless answers have become slow."""
        latency_s = now - started
        self._failing.append(False)
        self._usual = latency_s if not self._usual else 0.9 * self._usual + 0.1 * latency_s
        self._fastest = min(self._fastest, latency_s)
        slow = self._usual > 8 * self._fastest and self._usual > 2.0
        self.limit = max(min(4.0, self.most), self.limit - 0.1) if slow else min(float(self.most), self.limit + 1)
        if self.rate is not None and self.known is None and self._held_back:
            self.rate *= exp(0.7 * min(1.0, now - self._grown_at))
            self._grown_at, self._held_back = now, False
        self._note(now, started, refused=False)

    def on_rate_limited(self, now: float, started: float) -> None:
        """A 429 came."""
        self._failing.append(True)
        self._note(now, started, refused=True)

    def failed(self, now: float, started: float) -> None:
        """A server error, timeout or lost connection: ease off a little; no quota refused it."""
        self._failing.append(True)
        self._note(now, started, refused=False)
        if now >= self._eased_until:
            self.limit = max(min(4.0, self.most), self.limit * 0.9)
            self._eased_until = now + max(0.1, self._usual)

    def backoff_s(self, attempt: int, first_s: float, longest_s: float) -> float:
        """The longest wait before a failed request is tried again (the caller draws from 0 to this).

        It doubles with each try. While most requests are answered it is shorter, the first four times no longer than an
        answer takes: backing off relieves a service in trouble, and this one is not.
        """
        wait = min(longest_s, first_s * 2.0 ** (attempt - 1))
        healthy = self._usual and 2 * sum(self._failing) < len(self._failing)
        if not healthy:
            return wait
        return min(wait, max(0.05, self._usual)) if attempt <= 4 else wait / 4

    def _note(self, now: float, started: float, *, refused: bool) -> None:
        if self._sample is not None:
            if self._sample.end(started, refused=refused):
                self._learn(now, self._sample)
        elif self._shows(now, refused=refused):
            # Answers of the first requests may still be on their way, while refusals are quick.
            passed = sum(not one for _, one in self._ended)
            self._run_at(now, max(passed / max(0.5, now - self._ended[0][0]), self.limit))

    def _shows(self, now: float, *, refused: bool) -> bool:
        """Whether so many of the requests that ended lately were refused that there must be a quota."""
        self._ended.append((now, refused))
        while len(self._ended) > ENOUGH and self._ended[0][0] < now - 1:
            self._ended.popleft()
        count = len(self._ended)
        return count >= ENOUGH and sum(one for _, one in self._ended) >= shown(count) * count

    def _learn(self, now: float, sample: RateSample) -> None:
        """A sample is whole: where is the quota, and how fast shall the next one be?"""
        if self.known is not None and not self.known.fits(sample):
            while len(self._samples) > 3:
                self._samples.popleft()
        self._samples.append(sample)
        if self.known is None and sample.share < shown(sample.ended):
            self._sample = self._new_sample()
            return
        known = self.known = estimate_quota(list(self._samples))
        if known.higher > 0.5:
            self._climbs += 1
            steepest = 2.0 if known.background >= 0.02 else 1.04
            rate = max(one.rate for one in self._samples) * min(steepest, 1 + 0.01 * 2.0**self._climbs)
        else:
            self._climbs = 0
            self._steps += 1
            turn = DITHER[self._steps % len(DITHER)]
            rate = known.quota * turn if known.background >= 0.02 else 0.98 * known.cautious
        # No more than twice what was truly asked: without enough in flight a rate is only a wish.
        self._run_at(now, min(rate, 2 * sample.rate))

    def _run_at(self, now: float, rate: float) -> None:
        self.rate = max(1.0, rate)
        self._sample = self._new_sample()
        self._next_start = now + 1 / self.rate
        self._grown_at = now

    def _new_sample(self) -> RateSample:
        return RateSample(int(min(40.0, max(12.0, 1.5 * (self.rate or 0)))))
