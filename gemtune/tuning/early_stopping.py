# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Racing: of several trials only the one that learns best goes on, so that the others' epochs are not paid for.

Trials of a plan tell each other, through a record in the bucket, their loss at rungs: after `first` epochs, twice as
many, four times. At each rung the lowest loss of those that came so far and are still in the race goes on and the
others are out (successive halving: Jamieson and Talwalkar 2016, in its asynchronous form: Li et al. 2020; here one
stays, not half, for an epoch of one more trial costs more than a second opinion is worth). A trial that has ended
cannot be out, but later ones must keep ahead of it at every rung. What counts is the loss on rows not trained on:
within the first epoch that of the training rows themselves, each measured before it is learned (progressive validation:
Blum, Kalai and Langford 1999), after it that of the validation rows. So a trial can be out before its second epoch
begins. Promise: who is out is decided in one atomic change and only against trials still in the race, so that one
always stays.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from statistics import fmean
from typing import Any, Literal

from gemtune.config import Trial, fingerprint
from gemtune.state import store
from gemtune.tuning.loss_diagnostics import TRAIN, VALIDATION, Points
from gemtune.vertex import Client

HOPELESS = 1e9  # stands for a loss that is no number

Record = dict[str, Any]


def name_of(trial: Trial, who: Literal["some", "always", "never"]) -> str:
    """The race that a trial runs in: with trials of its plan whose losses mean the same; "": in none."""
    if not trial.plan or who == "never" or (who == "some" and not trial.races):
        return ""
    alike = (trial.base, trial.method, trial.beta if trial.method == "preference" else 0, trial.weighted)
    return fingerprint(trial.plan, *alike)


def due(measured: Mapping[str, float], first: float, epochs: float) -> bool:
    """Whether after so many epochs there is more to tell than was measured."""
    known = max(map(float, measured), default=0.0)
    return epochs >= next(rung for rung in _rungs(first) if rung > known)


def measure(series: Mapping[str, Points], steps_per_epoch: float, first: float) -> dict[str, float]:
    """Losses on rows not trained on, by rung (epochs, as text), as far as a curve has come."""
    train = next((_epochs(series[name], steps_per_epoch) for name in TRAIN if series.get(name)), [])
    validation = _epochs(series.get(VALIDATION, ()), steps_per_epoch)
    found: dict[str, float] = {}
    last = max((epoch for epoch, _ in [*train, *validation]), default=0.0)
    for rung in _rungs(first):
        if rung > last:
            return found
        loss = _mean(train, rung) if rung <= 1 else _between(validation, rung)
        if loss is not None:
            found[str(rung)] = loss if math.isfinite(loss) else HOPELESS
    return found


def losers(now: Record) -> dict[str, str]:
    """Who is out by the latest rung that they share with a better trial still in the race, and why."""
    running = {name: one["losses"] for name, one in now.items() if not one.get("out")}
    told = {}
    for name in sorted(running):
        mine = running[name]
        rivals = [other for rival, other in running.items() if rival != name]
        worse = [(rung, other[rung]) for other in rivals for rung in [_shared(mine, other)] if rung]
        better = min(((other, rung) for rung, other in worse if other < mine[rung]), default=None)
        if better and not now[name].get("ended"):
            other, rung = better
            told[name] = f"after {rung} epochs its loss is {mine[rung]:.3g}, another trial's was {other:.3g}"
            del running[name]
    return told


def tell(client: Client, race: str, runner: str, losses: Mapping[str, float], ended: bool) -> str:
    """Enter a trial's losses; says why it is out of the race (for good, from now on), or "".

    Others whom it beats are out, too. One that has `ended` is not out any more, whatever was said before.
    """

    def enter(now: Record) -> Record:
        told = {"losses": dict(losses), **({"ended": True} if ended else {})}
        why = "" if ended else now.get(runner, {}).get("out", "")
        entered = {**now, runner: {**told, **({"out": why} if why else {})}}
        return {
            name: {**one, "out": out} if (out := losers(entered).get(name)) else one for name, one in entered.items()
        }

    return str(store.change(client, _key(race), enter)[runner].get("out", ""))


def gave_up(client: Client, race: str, runner: str) -> str:
    """Why a trial is out of this race; "" when it is not."""
    return str(store.read(client, _key(race)).get(runner, {}).get("out", ""))


def _rungs(first: float) -> Iterator[float]:
    while True:
        yield first
        first *= 2


def _shared(mine: Mapping[str, float], other: Mapping[str, float]) -> str:
    """The latest rung that both have; "" when there is none."""
    return max(mine.keys() & other.keys(), key=float, default="")


def _epochs(points: Points, steps_per_epoch: float) -> list[tuple[float, float]]:
    return [(step / steps_per_epoch, value) for step, value in points]


def _mean(points: Sequence[tuple[float, float]], rung: float) -> float | None:
    """Of the second half of what came before a rung, where a first fall is over."""
    values = [value for epoch, value in points if rung / 2 < epoch <= rung]
    return fmean(values) if values else None


def _between(points: Sequence[tuple[float, float]], rung: float) -> float | None:
    """A curve's value at a rung, on the line between its neighbours; None before its first and after its last point."""
    for (before, left), (after, right) in pairwise(points):
        if before <= rung <= after:
            return left + (right - left) * (rung - before) / (after - before)
    return None


def _key(race: str) -> str:
    return f"races/{race}.json"
