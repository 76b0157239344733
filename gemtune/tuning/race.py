# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Racing: a trial that cannot catch up any more is cancelled, so that its remaining epochs are not paid for.

Trials tell each other their validation losses, a point an epoch, through a record in the bucket. A trial loses to one
still in the race when it is behind after as many epochs (by a margin that shrinks as epochs go by, as in successive
halving: Jamieson and Talwalkar 2016), or when even an optimistic continuation of its own curve (each fall a fixed share
of the one before, as in the learning-curve extrapolation of Domhan et al. 2015, simplified) stays above what another
has reached. Loss stands in for the task's metric here, so margins are kept: a trial is dropped for being far behind,
not for being second. Promise: who loses is decided in one atomic change and only against trials still in the race, so
that one always stays.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gemtune.tuning import records
from gemtune.vertex import Client

MARGIN = 1.10  # the reachable loss must be so many times the rival's
BEHIND = 0.30  # share above the rival's loss after one epoch that is too far behind; half of it after two, ...
HOPE = 0.8  # share of a fall that the next one is believed to have, when two points say nothing about it
MOST = 0.9  # a share above this would reach anything

Record = dict[str, Any]


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
    """Whether a curve cannot come near what a rival has reached; one point alone says nothing about it."""
    return len(losses) > 1 and reachable(losses, remaining) > rival * MARGIN


def behind(losses: Sequence[float], rival: Sequence[float]) -> bool:
    """Whether a curve is too far above a rival's after as many points as both have."""
    both = min(len(losses), len(rival))
    return both > 0 and min(losses[:both]) > min(rival[:both]) * (1 + BEHIND / both)


def beaten(losses: Sequence[float], remaining: int, rivals: Mapping[str, Sequence[float]]) -> str:
    """Why a trial has lost to one of its rivals, in numbers; "" when it has not."""
    for rival in rivals.values():
        both = min(len(losses), len(rival))
        if behind(losses, rival):
            mine, other = min(losses[:both]), min(rival[:both])
            return f"after {both} epochs its validation loss is {mine:.3g}, another trial's was {other:.3g}"
        if hopeless(losses, remaining, min(rival)):
            within = reachable(losses, remaining)
            return f"after {len(losses)} epochs {within:.3g} is within reach, another trial has {min(rival):.3g}"
    return ""


def tell(client: Client, race: str, runner: str, losses: Sequence[float], remaining: int, after: int) -> str:
    """Enter a trial's losses; says why it is out of the race (for good, from now on), or "".

    It cannot lose before it has `after` points, nor when nothing remains to be saved.
    """

    def enter(now: Record) -> Record:
        rivals = {name: one["losses"] for name, one in now.items() if name != runner and not one.get("out")}
        why = now.get(runner, {}).get("out", "")
        if not why and remaining and len(losses) >= after:
            why = beaten(losses, remaining, rivals)
        return {**now, runner: {"losses": list(losses), **({"out": why} if why and remaining else {})}}

    return str(records.change(client, _key(race), enter)[runner].get("out", ""))


def gave_up(client: Client, race: str, runner: str) -> str:
    """Why a trial gave up earlier in this race; "" when it did not."""
    return str(records.read(client, _key(race)).get(runner, {}).get("out", ""))


def _key(race: str) -> str:
    return f"races/{race}.json"
