# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Racing: a trial that cannot catch up any more is cancelled, so that its remaining epochs are not paid for.

Trials tell each other the lowest validation loss they reached, through a record in the bucket. A trial gives up when
even an optimistic continuation of its own curve (each fall a fixed share of the one before, as in the learning-curve
extrapolation of Domhan et al. 2015, simplified) stays above what another has reached already. The best trial can
never be hopeless, nor can two trials each give up for the other. Loss stands in for the task's metric here, so a
margin is kept: a trial is dropped for being far behind, not for being second.
"""

from __future__ import annotations

from collections.abc import Sequence

from gemtune.tuning import records
from gemtune.vertex import Client

MARGIN = 1.10  # the reachable loss must be so many times the rival's
HOPE = 0.8  # share of a fall that the next one is believed to have, when two points say nothing about it
MOST = 0.9  # a share above this would reach anything


def reachable(losses: Sequence[float], remaining: int) -> float:
    """The lowest validation loss that a curve may still reach in so many more points, believed optimistically."""
    lowest = min(losses)
    if len(losses) < 2 or losses[-1] >= losses[-2]:
        return lowest
    fall = losses[-2] - losses[-1]
    before = losses[-3] - losses[-2] if len(losses) > 2 else 0.0
    share = min(MOST, fall / before) if before > 0 else HOPE
    return min(lowest, losses[-1] - fall * sum(share**n for n in range(1, remaining + 1)))


def hopeless(losses: Sequence[float], remaining: int, rival: float) -> bool:
    """Whether a curve cannot come near what a rival has reached."""
    return reachable(losses, remaining) > rival * MARGIN


def tell(client: Client, race: str, runner: str, losses: Sequence[float]) -> float:
    """Enter a trial's lowest loss; returns the lowest of all others, infinity when none has one."""
    mine = {"lowest": min(losses), "points": len(losses)}
    record = records.change(client, _key(race), lambda now: {**now, runner: {**now.get(runner, {}), **mine}})
    return min((entry["lowest"] for name, entry in record.items() if name != runner), default=float("inf"))


def lose(client: Client, race: str, runner: str, why: str) -> None:
    """Enter that a trial gave up, so that it is not begun again."""
    records.change(client, _key(race), lambda now: {**now, runner: {**now.get(runner, {}), "out": why}})


def gave_up(client: Client, race: str, runner: str) -> str:
    """Why a trial gave up earlier in this race; "" when it did not."""
    return str(records.read(client, _key(race)).get(runner, {}).get("out", ""))


def _key(race: str) -> str:
    return f"races/{race}.json"
