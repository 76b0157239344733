# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""When the next request may start: at the quota and not above it, although some 429s do not depend on the rate.

Concurrency grows with each answer until the cap, or a lasting rise of latency. Once 429s indicate a quota, requests are
sent at a rate. A service may also return 429 at any rate (shared capacity); slowing down for those would cost
throughput and gain nothing. The share of 429s is therefore modelled by a quota Q and a background b: at a rate r it is
b + (1 - b) max(0, 1 - Q / r). Every few dozen requests both are re-estimated from the last samples (their posterior on
a grid, with binomial likelihood; older samples have less weight), and the next rate is close to Q. A sample that does
not fit discards the older ones: the quota has changed. Pure: the time is an argument, in seconds.
"""

from collections import deque
from dataclasses import dataclass, field
from math import comb, exp, log, sqrt

MIN_REQUESTS = 30  # completed requests before a share of 429s counts as evidence
BACKGROUNDS = (0.0, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.13, 0.16, 0.2, 0.25, 0.3, 0.4, 0.5, 0.65, 0.8)
DECAY = 0.85  # weight of a sample relative to the next one
OUTLIERS = 0.05  # share of samples that say nothing of the quota
DITHER = (1.0, 0.96, 1.0, 0.8)  # factors around the quota: one rate alone cannot separate quota and background


def refusal_threshold(count: int) -> float:
    """The share of 429s among `count` requests from which a quota is assumed; unlikely by chance alone."""
    return 0.25 + 0.4 / sqrt(count)


@dataclass
class RateSample:
    """The first `size` requests started at a new rate; complete when nine tenths of them have ended.

    Selected by start, not by end: 429s return faster than answers, so the first to end would be a biased sample.
    """

    size: int
    sent: int = 0
    first_start: float = 0.0
    last_start: float = 0.0
    ended: int = 0
    refused: int = 0

    def start(self, now: float) -> None:
        """Count one more request sent; a pause before it discards the others: their mean rate was never the rate."""
        if 1 < self.sent < self.size and now - self.last_start > 0.2 + 10 / self.rate:
            self.sent = self.ended = self.refused = 0
        if self.sent < self.size:
            self.sent += 1
            self.first_start = self.first_start if self.sent > 1 else now
            self.last_start = now

    def end(self, started: float, *, refused: bool) -> bool:
        """Count a request that ended; whether the sample is complete."""
        if self.sent and self.first_start <= started <= self.last_start:
            self.ended += 1
            self.refused += refused
        return self.ended >= 0.9 * self.size

    @property
    def rate(self) -> float:
        """Requests per second."""
        return (self.sent - 1) / max(1e-3, self.last_start - self.first_start)

    @property
    def share(self) -> float:
        """Share of 429s."""
        return self.refused / self.ended


@dataclass(frozen=True)
class QuotaEstimate:
    """The quota (requests per second) and the share of 429s at any rate, estimated from the samples.

    `lower_bound`: the 20 % quantile of the quota; `unreached`: the probability that no sample reached the quota.
    """

    quota: float
    background: float
    lower_bound: float
    unreached: float

    def refused(self, rate: float) -> float:
        """The expected share of 429s at a rate."""
        return self.background + (1 - self.background) * max(0.0, 1 - self.quota / rate)

    def fits(self, sample: RateSample) -> bool:
        """Whether the sample is within chance of the estimate."""
        share = self.refused(sample.rate)
        return abs(sample.refused - sample.ended * share) <= 3 * sqrt(sample.ended * share * (1 - share)) + 3


def estimate_quota(samples: list[RateSample]) -> QuotaEstimate:
    """Posterior means of quota and background; the last sample weighs most. Half of the prior is on no background."""
    import numpy as np

    rates = np.array([sample.rate for sample in samples])
    weights = DECAY ** np.arange(len(samples))[::-1]
    lowest = min(sample.rate * (1 - sample.share) for sample in samples)
    quotas = np.geomspace(max(0.5, 0.7 * lowest), max(1.0, 1.2 * rates.max()), 80)
    backgrounds = np.array(BACKGROUNDS)[:, None, None]
    share = backgrounds + (1 - backgrounds) * np.clip(1 - quotas[:, None] / rates, 0, 1)
    share = np.clip(share, 0.003, 0.997)
    refused, ended = (np.array([getattr(sample, name) for sample in samples]) for name in ("refused", "ended"))
    # An outlier (a stall, a burst before it) is as likely to have any number of 429s, so no sample alone decides.
    outlier = np.array(
        [log(OUTLIERS / (count + 1)) - log(comb(count, own)) for count, own in zip(ended, refused, strict=True)]
    )
    log_likelihood = np.logaddexp(refused * np.log(share) + (ended - refused) * np.log1p(-share), outlier)
    log_posterior = (log_likelihood * weights).sum(axis=-1)
    log_posterior[1:] -= np.log(len(BACKGROUNDS) - 1)
    posterior = np.exp(log_posterior - log_posterior.max())
    posterior /= posterior.sum()
    quota_posterior = posterior.sum(axis=0)
    return QuotaEstimate(
        float((quota_posterior * quotas).sum()),
        float((posterior.sum(axis=1) * BACKGROUNDS).sum()),
        float(quotas[np.searchsorted(quota_posterior.cumsum(), 0.2)]),
        float(quota_posterior[quotas >= rates.max()].sum()),
    )


@dataclass
class RateController:
    """A limit on requests in flight and, once a quota is detected, a rate close to it.

    When a quarter of the requests get 429, the rate is set to the accepted throughput; it doubles every second until a
    sample reaches the quota again, and follows the estimate from then on. While no sample has reached the quota the
    rate rises by growing steps; by small steps when there is no background, because then every 429 is avoidable.
    """

    max_in_flight: int
    limit: float = 8.0
    rate: float | None = None
    quota_estimate: QuotaEstimate | None = None
    _samples: deque[RateSample] = field(default_factory=lambda: deque(maxlen=16))
    _sample: RateSample | None = None
    _steps: int = 0
    _raises: int = 0
    _next_start: float = 0.0
    _reduced_until: float = 0.0
    _raised_at: float = 0.0
    _held_back: bool = False
    _min_latency: float = float("inf")
    _mean_latency: float = 0.0
    _ended: deque[tuple[float, bool]] = field(
        default_factory=deque
    )  # of the last second, at least MIN_REQUESTS; True: a 429
    _refused: int = 0  # of those
    _failures: deque[bool] = field(default_factory=lambda: deque(maxlen=MIN_REQUESTS))

    def __post_init__(self) -> None:
        self.limit = min(self.limit, float(self.max_in_flight))

    def wait_s(self, now: float, in_flight: int) -> float | None:
        """Seconds until a request may start (0: now), None when one must end first."""
        if in_flight >= int(self.limit):
            return None
        wait = 0.0 if self.rate is None else max(0.0, self._next_start - now)
        self._held_back |= wait > 0
        return wait

    def on_start(self, now: float) -> None:
        """A request was sent."""
        if self.rate is not None:
            # Catch up on at most 50 ms: quotas penalise bursts.
            self._next_start = max(self._next_start, now - 0.05) + 1 / self.rate
        if self._sample is not None:
            self._sample.start(now)

    def on_answer(self, now: float, started: float) -> None:
        """An answer arrived: raise the limit, unless answers have become slow."""
        latency_s = now - started
        self._failures.append(False)
        self._mean_latency = latency_s if not self._mean_latency else 0.9 * self._mean_latency + 0.1 * latency_s
        self._min_latency = min(self._min_latency, latency_s)
        slow = self._mean_latency > 8 * self._min_latency and self._mean_latency > 2.0
        self.limit = (
            max(min(4.0, self.max_in_flight), self.limit - 0.1)
            if slow
            else min(float(self.max_in_flight), self.limit + 1)
        )
        if self.rate is not None and self.quota_estimate is None and self._held_back:
            self.rate *= exp(0.7 * min(1.0, now - self._raised_at))
            self._raised_at, self._held_back = now, False
        self._record(now, started, refused=False)

    def on_rate_limited(self, now: float, started: float) -> None:
        """A 429 arrived."""
        self._failures.append(True)
        self._record(now, started, refused=True)

    def on_error(self, now: float, started: float) -> None:
        """A server error, timeout or lost connection: lower the limit a little; not a sign of the quota."""
        self._failures.append(True)
        self._record(now, started, refused=False)
        if now >= self._reduced_until:
            self.limit = max(min(4.0, self.max_in_flight), self.limit * 0.9)
            self._reduced_until = now + max(0.1, self._mean_latency)

    def backoff_s(self, attempt: int, initial_s: float, max_s: float) -> float:
        """The longest wait (seconds) before a failed request is retried; the caller draws from 0 to this.

        It doubles with each attempt. While most requests succeed it is shorter, for the first four attempts no longer
        than a request takes: backing off relieves an overloaded service, and this one is healthy.
        """
        wait = min(max_s, initial_s * 2.0 ** (attempt - 1))
        healthy = self._mean_latency and 2 * sum(self._failures) < len(self._failures)
        if not healthy:
            return wait
        return min(wait, max(0.05, self._mean_latency)) if attempt <= 4 else wait / 4

    def _record(self, now: float, started: float, *, refused: bool) -> None:
        if self._sample is not None:
            if self._sample.end(started, refused=refused):
                self._update_rate(now, self._sample)
        elif self._quota_detected(now, refused=refused):
            # Answers of the first requests may still be pending, while 429s return at once.
            allowed = sum(not sample for _, sample in self._ended)
            self._set_rate(now, max(allowed / max(0.5, now - self._ended[0][0]), self.limit))

    def _quota_detected(self, now: float, *, refused: bool) -> bool:
        """Whether the share of 429s among the latest requests indicates a quota."""
        self._ended.append((now, refused))
        self._refused += refused
        while len(self._ended) > MIN_REQUESTS and self._ended[0][0] < now - 1:
            self._refused -= self._ended.popleft()[1]
        count = len(self._ended)
        return count >= MIN_REQUESTS and self._refused >= refusal_threshold(count) * count

    def _update_rate(self, now: float, sample: RateSample) -> None:
        """A sample is complete: update the estimate and set the next rate."""
        if self.quota_estimate is not None and not self.quota_estimate.fits(sample):
            while len(self._samples) > 3:
                self._samples.popleft()
        self._samples.append(sample)
        if self.quota_estimate is None and sample.share < refusal_threshold(sample.ended):
            self._sample = self._new_sample()
            return
        quota_estimate = self.quota_estimate = estimate_quota(list(self._samples))
        if quota_estimate.unreached > 0.5:
            self._raises += 1
            max_step = 2.0 if quota_estimate.background >= 0.02 else 1.04
            rate = max(sample.rate for sample in self._samples) * min(max_step, 1 + 0.01 * 2.0**self._raises)
        else:
            self._raises = 0
            self._steps += 1
            factor = DITHER[self._steps % len(DITHER)]
            rate = (
                quota_estimate.quota * factor
                if quota_estimate.background >= 0.02
                else 0.98 * quota_estimate.lower_bound
            )
        # At most twice the rate achieved: with too few requests in flight a higher one cannot be reached.
        self._set_rate(now, min(rate, 2 * sample.rate))

    def _set_rate(self, now: float, rate: float) -> None:
        self.rate = max(1.0, rate)
        self._sample = self._new_sample()
        self._next_start = now + 1 / self.rate
        self._raised_at = now

    def _new_sample(self) -> RateSample:
        return RateSample(int(min(40.0, max(12.0, 1.5 * (self.rate or 0)))))
