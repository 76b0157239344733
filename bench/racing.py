# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""What racing would have saved on recorded grids: `python bench/racing.py FOLDER [--everyone]`.

FOLDER is what `bench/tuning.py --only grid --folder FOLDER` keeps: each trial of the published grid run to its end.
The rule of `gemtune.tuning.early_stopping` is applied at every rung of every trial, with so many jobs side by side at
an equal pace, and a cancelled job stops a tenth of an epoch later, billed for every epoch that it began. Its
checkpoints are lost, the choice among the others is made by `gemtune.steps.select_model`. Seconds where a grid takes an
hour; training is the same until a job is cancelled, so a real race comes to the same.
"""

from __future__ import annotations

import argparse
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gemtune.catalogue import Catalogue
from gemtune.config import Trial, Tune
from gemtune.cost import spend
from gemtune.steps import select_model
from gemtune.tuning import early_stopping, loss_diagnostics

LATE = 0.1  # epochs from the decision to the end of a job


@dataclass(frozen=True)
class Recorded:
    """A trial that ran to its end."""

    trial: Trial
    steps: float  # an epoch
    series: dict[str, Any]

    def told(self, epoch: float, first: float) -> dict[str, float]:
        """What it had to tell its race after so many epochs."""
        until = epoch * self.steps + 1e-6
        seen = {name: [point for point in points if point[0] <= until] for name, points in self.series.items()}
        return early_stopping.measure(seen, self.steps, first)

    def looks(self, first: float) -> list[float]:
        """Epochs at which it has something new to tell: rungs, validations and its end."""
        rungs = {math.ceil(first * 2**n * self.steps - 1e-9) / self.steps for n in range(12)}
        validations = {step / self.steps for step, _ in self.series[loss_diagnostics.VALIDATION]}
        last = self.trial.epoch_count
        return sorted({min(epoch, last) for epoch in rungs | validations | {last}})


def replayed(trials: list[Recorded], first: float, slots: int, everyone: bool) -> list[float]:
    """Epochs that each trial trained; they begin in their order, `slots` at a time. Those race that say so, or all."""
    ended: dict[int, float] = {}
    began: dict[int, float] = {}
    told: dict[str, Any] = {}
    now, looks = 0.0, []
    while len(ended) < len(trials):
        while len(began) < len(trials) and len(began) - len(ended) < slots:
            number = len(began)
            began[number] = now
            looks += [(now + epoch, number, epoch) for epoch in trials[number].looks(first)]
        now, number, epoch = min(looks)
        looks.remove((now, number, epoch))
        if number in ended:
            continue
        whole = epoch >= trials[number].trial.epoch_count
        if everyone or trials[number].trial.races:
            told[str(number)] = {"losses": trials[number].told(epoch, first), **({"ended": True} if whole else {})}
            for name, why in early_stopping.losers(told).items():
                told[name]["out"] = why
                ended[int(name)] = now - began[int(name)] + LATE
        if whole:
            ended[number] = float(epoch)
    return [ended[number] for number in range(len(trials))]


def grid(folder: Path, first: float, slots: int, everyone: bool) -> tuple[float, float, float]:
    """(score of the whole grid's choice, score of the raced one's, share of the tokens) of one recording."""
    records = [json.loads(path.read_text("utf-8")) for path in folder.glob("trial-[0-9].json")]
    published = {(t.epoch_count, t.learning_rate_multiplier, t.adapter_size): t for t in Catalogue.load().grid}
    found: dict[str, Recorded] = {}
    for record in records:
        hyper = record["trial"]
        trial = published[hyper["epoch_count"], hyper["learning_rate_multiplier"], hyper["adapter_size"]]
        named = trial.model_copy(update={"name": hyper["name"]})
        found[hyper["name"]] = Recorded(named, record["job"]["steps"] / trial.epoch_count, record["curve"])
    shared = spend.shared([found[name].trial for name in sorted(found)])
    order = [found[trial.name] for trial in sorted(shared, key=lambda trial: -trial.epoch_count)]
    epochs = replayed(order, first, slots, everyone)
    left = {one.trial.name for one, trained in zip(order, epochs, strict=True) if trained == one.trial.epoch_count}
    reports = [str(path) for path in sorted(folder.glob("trial-[0-9]-scored.json"))]
    standings = select_model.read_standings(reports, "accuracy", records)
    raced, _ = select_model.choose([one for one in standings if one.variant.trial in left])
    best, _ = select_model.choose(standings)
    assert raced
    assert best
    begun = sum(math.ceil(trained) for trained in epochs)
    return best.value, raced.value, begun / sum(one.trial.epoch_count for one in found.values())


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", help="grids recorded by bench/tuning.py --only grid --folder")
    parser.add_argument("--first", type=float, default=Tune().race_after, help="tune.race_after")
    parser.add_argument("--slots", type=int, default=1, help="jobs side by side")
    parser.add_argument("--everyone", action="store_true", help="the defaults race too (tune.race: always)")
    arguments = parser.parse_args()
    if arguments.folder is None:
        print("needs recorded grids: python bench/tuning.py --only grid --folder FOLDER FILE ...")
        return
    print("| set and seed | full grid: score | raced: score | tokens spent | score lost |")
    print("| --- | --- | --- | --- | --- |")
    found = []
    for done in sorted(arguments.folder.glob("full/*/done")):
        best, raced, share = grid(done.parent, arguments.first, arguments.slots, arguments.everyone)
        found.append((share, best - raced))
        print(f"| {done.parent.name} | {best:.3f} | {raced:.3f} | {share:.1%} | {best - raced:+.3f} |")
    if found:
        share, lost = (sum(values) / len(found) for values in zip(*found, strict=True))
        print(f"| mean of {len(found)} | | | {share:.1%} | {lost:+.4f} |")


if __name__ == "__main__":
    main()
