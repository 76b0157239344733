# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""What early stopping would have saved on recorded grids: `python bench/early_stopping.py FOLDER [--all]`.

FOLDER is what `bench/tuning.py --only grid --folder FOLDER` keeps: each trial of the published grid run to its end.
The rule of `gemtune.tuning.early_stopping` is applied at every rung of every trial, with so many jobs side by side at
an equal pace; a cancelled job stops a tenth of an epoch later, billed for every epoch that it began. Its checkpoints
are lost, and the candidate is selected among the others. Seconds where a grid takes an hour: training is the same until
a job is cancelled, so that a real run comes to the same.
"""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass
from pathlib import Path

from gemtune.artifacts.evaluation import EvaluationReport
from gemtune.artifacts.records import TrialLosses
from gemtune.artifacts.tuning import TuningRecord
from gemtune.catalogue import Catalogue
from gemtune.config import Trial, Tune
from gemtune.tuning import early_stopping, loss_diagnostics
from gemtune.tuning.checkpoint_selection import choose, variant_scores
from gemtune.tuning.objective import SupervisedObjective
from gemtune.tuning.trials import merge_epoch_variants

STOP_DELAY = 0.1  # epochs from the decision to the end of a job


@dataclass(frozen=True)
class Recorded:
    """A trial that ran to its end."""

    trial: Trial
    steps_per_epoch: float
    series: dict[str, list[tuple[int, float]]]

    def losses(self, epoch: float, first: float) -> dict[str, float]:
        """The losses that it could report after so many epochs."""
        until = epoch * self.steps_per_epoch + 1e-6
        seen = {name: [point for point in points if point[0] <= until] for name, points in self.series.items()}
        return early_stopping.losses_at_rungs(seen, self.steps_per_epoch, first)

    def reports(self, first: float) -> list[float]:
        """Epochs at which it has something new to report: rungs, validations and its end."""
        steps, last = self.steps_per_epoch, self.trial.epoch_count
        rungs = {math.ceil(first * 2**n * steps - 1e-9) / steps for n in range(12)}
        validations = {step / steps for step, _ in self.series[loss_diagnostics.VALIDATION]}
        return sorted({min(epoch, last) for epoch in rungs | validations | {last}})


def replayed(trials: list[Recorded], first: float, slots: int, stop_all: bool) -> list[float]:
    """Epochs that each trial trained, `slots` at a time, in order; only marked trials are compared, or all."""
    ended: dict[int, float] = {}
    began: dict[int, float] = {}
    group: dict[str, TrialLosses] = {}
    now, due = 0.0, list[tuple[float, int, float]]()
    while len(ended) < len(trials):
        while len(began) < len(trials) and len(began) - len(ended) < slots:
            number = len(began)
            began[number] = now
            due += [(now + epoch, number, epoch) for epoch in trials[number].reports(first)]
        now, number, epoch = min(due)
        due.remove((now, number, epoch))
        if number in ended:
            continue
        whole = epoch >= trials[number].trial.epoch_count
        if stop_all or trials[number].trial.early_stop:
            group[str(number)] = TrialLosses(losses=trials[number].losses(epoch, first), ended=whole)
            for name, reason in early_stopping.to_stop(group).items():
                group[name] = group[name].model_copy(update={"stopped": reason})
                ended[int(name)] = now - began[int(name)] + STOP_DELAY
        if whole:
            ended[number] = float(epoch)
    return [ended[number] for number in range(len(trials))]


def grid(folder: Path, first: float, slots: int, stop_all: bool) -> tuple[float, float, float]:
    """(score of the whole grid's candidate, score with early stopping, share of the tokens) of one recording."""
    jobs = [job for path in folder.glob("trial-[0-9].json") for job in TuningRecord.read(path).jobs]
    published = {(t.epoch_count, t.learning_rate_multiplier, t.adapter_size): t for t in Catalogue.load().grid}
    recorded: dict[str, Recorded] = {}
    for job in jobs:
        own = job.trial
        trial = published[own.epoch_count, own.learning_rate_multiplier, own.adapter_size]
        named = trial.model_copy(update={"name": own.name})
        recorded[own.name] = Recorded(named, job.job.steps / trial.epoch_count, job.curve)
    merged = merge_epoch_variants([recorded[name].trial for name in sorted(recorded)])
    order = [recorded[trial.name] for trial in sorted(merged, key=lambda trial: -trial.epoch_count)]
    epochs = replayed(order, first, slots, stop_all)
    whole = {one.trial.name for one, trained in zip(order, epochs, strict=True) if trained == one.trial.epoch_count}
    report = EvaluationReport.read(folder / "checkpoints.json")
    scores = variant_scores(report, "accuracy", jobs, SupervisedObjective())
    stopped, _ = choose([score for score in scores if score.variant.trial in whole])
    best, _ = choose(scores)
    assert stopped
    assert best
    begun = sum(math.ceil(trained) for trained in epochs)
    share = begun / sum(one.trial.epoch_count for one in recorded.values())
    return best.score.value, stopped.score.value, share


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", help="grids recorded by bench/tuning.py --only grid --folder")
    parser.add_argument("--first", type=float, default=Tune().first_rung_epochs, help="tune.first_rung_epochs")
    parser.add_argument("--slots", type=int, default=1, help="jobs side by side")
    parser.add_argument("--all", action="store_true", help="compare every trial (tune.early_stopping: all)")
    arguments = parser.parse_args()
    if arguments.folder is None:
        print("needs recorded grids: python bench/tuning.py --only grid --folder FOLDER FILE ...")
        return
    print("| set and seed | full grid: score | stopped early: score | tokens spent | score lost |")
    print("| --- | --- | --- | --- | --- |")
    results = []
    for done in sorted(arguments.folder.glob("full/*/done")):
        best, stopped, share = grid(done.parent, arguments.first, arguments.slots, arguments.all)
        results.append((share, best - stopped))
        print(f"| {done.parent.name} | {best:.3f} | {stopped:.3f} | {share:.1%} | {best - stopped:+.3f} |")
    if results:
        share, lost = (sum(values) / len(results) for values in zip(*results, strict=True))
        print(f"| mean of {len(results)} | | | {share:.1%} | {lost:+.4f} |")


if __name__ == "__main__":
    main()
