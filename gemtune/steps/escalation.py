# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Larger base models: small first, large only if the small one's data shows a gain and it still misses the target.

Source: the published advice to test the tuning data on the small model and to go to the large one when quality is
short. A larger model is prompted first, since it may be good enough untuned, and becomes the prompt to beat when it
scores higher; then it is tuned once, with the hyperparameters that did best so far. Promise: no larger model is asked
or tuned that the plan did not allow for, and why one was or was not tried is told.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gemtune.catalogue import Catalogue
from gemtune.config import Larger, ModelVariant, Pick, Task, Trial, Vertex
from gemtune.cost import spend
from gemtune.data.example import write_json
from gemtune.evaluation.metrics import primary_metric
from gemtune.steps import evaluate as scoring
from gemtune.steps import select_model as choice
from gemtune.steps import tune as tuning
from gemtune.steps.select_model import Standing

log = logging.getLogger("gemtune")


@dataclass
class Climb:
    """What was reached so far, and what it left: job records, report entries, what asking cost, why it went on."""

    prompted: float
    best: Standing | None
    jobs: list[dict[str, Any]] = field(default_factory=list)
    entries: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    asked: list[dict[str, Any]] = field(default_factory=list)


def run(
    jobs: list[str],
    reports: list[str],
    trials: list[dict[str, Any]],
    train: str,
    weighted: str,
    validation: str,
    plan: str,
    task: dict[str, Any],
    evaluate: dict[str, Any],
    tune: dict[str, Any],
    config: dict[str, Any],
    pick: dict[str, Any],
    vertex: dict[str, Any],
    name: str,
    job: str,
    report: str,
) -> dict[str, float]:
    """Climb as long as it is worth it; writes the jobs' records to `job`, all scores to `report`; returns counts.

    `trials` are the plan's, one per larger model; both files say nothing but why when none was tried.
    """
    settings, metric = Larger.of(config), Pick.of(pick).metric or primary_metric(Task.of(task))
    records = [record for path in jobs for record in choice.read_jobs(path)]
    standings = choice.read_standings(reports, metric, records)
    best_prompt = json.loads(Path(plan).read_text("utf-8"))["best_prompt"]
    best, _ = choice.choose([s for s in standings if s.variant.role == "candidate"])
    climb = Climb(float(best_prompt["value"]), best)
    for trial in map(Trial.of, trials):
        if why := declined(climb.prompted, climb.best, settings):
            climb.notes.append(f"{trial.base} was not tried: {why}")
            break
        catalogue = Catalogue.load(Vertex.of(vertex).catalogue)
        asked = {**evaluate, "base_model": trial.base}
        prompt = ModelVariant.of(best_prompt["variant"])
        prompt = prompt.model_copy(update={"name": f"{prompt.name}-of-{trial.name}", "model": trial.base})
        scored = _scored(
            [prompt.model_dump(mode="json")], f"{job}.{trial.name}.prompted", validation, train, task, asked, vertex
        )
        climb.asked += _paid(f"{trial.base} prompted on validation", scored, trial.base, catalogue)
        value = float(scored[0]["metrics"][metric]["value"])
        climb.notes.append(f"{trial.base} prompted alike scores {value:.3f} on validation")
        if value > climb.prompted:
            climb.prompted = value
            climb.entries = [e for e in climb.entries if e["variant"]["role"] != "baseline"] + scored
        if value >= settings.target:
            climb.notes.append(f"{trial.base} was not tuned: its prompt reaches the target of {settings.target:g}")
            break
        wanted = like_the_best(trial, climb.best, [*records, *climb.jobs])
        path = f"{job}.{trial.name}"
        made = tuning.run(
            train, validation, wanted.model_dump(mode="json"), task, asked, tune, vertex, name, path, weighted
        )
        climb.jobs.append(json.loads(Path(path).read_text("utf-8")))
        found = _scored(made["variants"], f"{path}.scored", validation, train, task, asked, vertex)
        climb.entries += found
        climb.asked += _paid(f"checkpoints of {trial.name} on validation", found, trial.base, catalogue)
        tuned = choice.read_standings([f"{path}.scored.json"], metric, climb.jobs)
        climb.best, _ = choice.choose([s for s in [climb.best, *tuned] if s])
        climb.notes.append(f"{trial.base} was tuned: {max((s.value for s in tuned), default=0):.3f} at best")
    write_json(job, {"jobs": climb.jobs, "notes": climb.notes, "asked": climb.asked})
    rows = json.loads(Path(reports[0]).read_text("utf-8")).get("rows", 0) if reports else 0
    write_json(report, {"rows": rows, "task": task, "variants": climb.entries})
    log.info("done: %s", climb.notes[-1] if climb.notes else "no larger model is configured")
    return {"tried": float(len(climb.jobs))}


def declined(prompted: float, best: Standing | None, settings: Larger) -> str:
    """Why no larger model shall be tried; "" when one shall."""
    if best is None:
        return "no smaller one was tuned to an end"
    if best.value >= settings.target:
        return f"{best.variant.name} reaches {best.value:.3f}, the target is {settings.target:g}"
    if best.value - prompted < settings.min_gain:
        gain = f"tuning gained {best.value - prompted:+.3f} over the prompt, less than {settings.min_gain:g}"
        return f"{gain}: more or better rows first"
    return ""


def like_the_best(trial: Trial, best: Standing | None, records: Sequence[dict[str, Any]]) -> Trial:
    """The larger model's trial with the hyperparameters of the best so far, within what the plan allowed it."""
    won = next((r["trial"] for r in records if best and r["trial"]["name"] == best.variant.trial), None)
    if won is None:
        return trial
    copied = ("learning_rate_multiplier", "adapter_size", "weighted")
    epochs = min(int(won["epoch_count"]), trial.epoch_count)
    return Trial.of({**trial.model_dump(mode="json"), **{name: won[name] for name in copied}, "epoch_count": epochs})


def _paid(what: str, entries: Sequence[dict[str, Any]], model: str, catalogue: Catalogue) -> list[dict[str, Any]]:
    """The ledger's lines: what asking `model` took, and opinions on its answers, as the service counted it."""
    cost = sum(spend.charged(entry["tokens"], catalogue.full_price(model)) for entry in entries)
    tokens = sum(entry["tokens"][kind] for entry in entries for kind in ("input", "output"))
    further = (spend.opinions_charged(what, entry, catalogue.full_price, catalogue.service) for entry in entries)
    judging = [line for lines in further for line in lines]
    lines = [{"what": what, "tokens": tokens, "cost": cost}]
    if judging:
        sums = {kind: sum(line[kind] for line in judging) for kind in ("tokens", "cost")}
        lines.append({"what": judging[0]["what"], **sums})
    return lines


def _scored(
    variants: list[dict[str, Any]],
    path: str,
    validation: str,
    train: str,
    task: dict[str, Any],
    evaluate: dict[str, Any],
    vertex: dict[str, Any],
) -> list[dict[str, Any]]:
    """The report's entry of each variant on validation data."""
    scoring.run(validation, train, variants, task, evaluate, vertex, f"{path}.jsonl", f"{path}.json")
    found: list[dict[str, Any]] = json.loads(Path(f"{path}.json").read_text("utf-8"))["variants"]
    return found
