# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Early stopping: of several trials, only the one with the lowest loss continues, which saves the others' epochs.

Trials of a plan report their loss at rungs in a record in the bucket: after `first` epochs, twice as many, four times.
At each rung, the trial with the lowest loss among those that reached it and are still running continues, and the others
are stopped (successive halving: Jamieson and Talwalkar 2016, in its asynchronous form, ASHA: Li et al. 2020; here one
continues, not half, because an epoch of one more trial costs more than a second candidate is worth). A trial that has
ended cannot be stopped, but later ones need a lower loss at every rung. The loss is measured on rows not trained on:
within the first epoch on the training rows, each measured before it is used for training (progressive validation:
Blum, Kalai and Langford 1999), later on the validation rows. So a trial can be stopped before its second epoch.
Guarantees: which trials are stopped is decided in one atomic change and only against trials that still run, so that
one always stays.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from statistics import fmean
from typing import Literal

from gemtune.artifacts.records import EarlyStoppingRecord, TrialLosses
from gemtune.config import Trial, fingerprint
from gemtune.state import store
from gemtune.tuning.loss_diagnostics import TRAIN, VALIDATION, Points
from gemtune.vertex import Client

INFINITE_LOSS = 1e9  # in place of a loss that is not a number


def group_of(trial: Trial, setting: Literal["marked", "all", "off"]) -> str:
    """The group that a trial is compared in: trials of its plan whose losses mean the same; "": none."""
    if (
        not trial.plan
        or trial.method == "reinforcement"
        or setting == "off"
        or (setting == "marked" and not trial.early_stop)
    ):
        return ""
    same = (trial.base, trial.method, trial.beta if trial.method == "preference" else 0, trial.reweighted)
    return fingerprint(trial.plan, *same)


def is_due(reported: Mapping[str, float], first: float, epochs: float) -> bool:
    """Whether a rung after the reported ones is reached at this number of epochs."""
    last = max(map(float, reported), default=0.0)
    return epochs >= next(rung for rung in _rungs(first) if rung > last)


def losses_at_rungs(series: Mapping[str, Points], steps_per_epoch: float, first: float) -> dict[str, float]:
    """Losses on rows not trained on, by rung (epochs, as text), as far as a curve has come."""
    train = next((_epochs(series[name], steps_per_epoch) for name in TRAIN if series.get(name)), [])
    validation = _epochs(series.get(VALIDATION, ()), steps_per_epoch)
    losses: dict[str, float] = {}
    last = max((epoch for epoch, _ in [*train, *validation]), default=0.0)
    for rung in _rungs(first):
        if rung > last:
            return losses
        loss = _mean(train, rung) if rung <= 1 else _between(validation, rung)
        if loss is not None:
            losses[str(rung)] = loss if math.isfinite(loss) else INFINITE_LOSS
    return losses


def to_stop(trials: Mapping[str, TrialLosses]) -> dict[str, str]:
    """The trials to stop, with the reason: at the latest rung they share with a running trial, that one is better."""
    running = {name: trial.losses for name, trial in trials.items() if not trial.stopped}
    reasons = {}
    for name in sorted(running):
        mine = running[name]
        rivals = [other for rival, other in running.items() if rival != name]
        shared = [(max(mine.keys() & other, key=float), other) for other in rivals if mine.keys() & other]
        better = min(((other[rung], rung) for rung, other in shared if other[rung] < mine[rung]), default=None)
        if better and not trials[name].ended:
            other, rung = better
            reasons[name] = f"after {rung} epochs its loss is {mine[rung]:.3g}, another trial's was {other:.3g}"
            del running[name]
    return reasons


def report(client: Client, group: str, trial: str, losses: Mapping[str, float], ended: bool) -> str:
    """Record a trial's losses; returns why it is stopped, or "". A stopped trial stays stopped.

    Trials with a higher loss are stopped, too. A trial that has `ended` is never stopped.
    """

    def edit(record: EarlyStoppingRecord | None) -> EarlyStoppingRecord:
        record = record or EarlyStoppingRecord(trials={})
        trials = record.trials
        reason = "" if ended else _reason(record, trial)
        trials = {**trials, trial: TrialLosses(losses=dict(losses), ended=ended, stopped=reason)}
        stopped = {name: trials[name].model_copy(update={"stopped": why}) for name, why in to_stop(trials).items()}
        return record.model_copy(update={"trials": {**trials, **stopped}})

    return _reason(store.update(client, EarlyStoppingRecord, group, edit), trial)


def reason_to_stop(client: Client, group: str, trial: str) -> str:
    """Why a trial of this group was stopped; "" when it was not."""
    return _reason(store.read(client, EarlyStoppingRecord, group), trial)


def _reason(record: EarlyStoppingRecord | None, trial: str) -> str:
    return record.trials[trial].stopped if record and trial in record.trials else ""


def _rungs(first: float) -> Iterator[float]:
    while True:
        yield first
        first *= 2


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
