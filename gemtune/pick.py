# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Who meets on test data: the best prompt, the best checkpoint of all trials, the model in service.

The choice is made on validation data by the task's own metric, with the one-standard-error rule (Breiman et al. 1984):
among the checkpoints whose score lies within one standard error of the best, the one that was trained least. It is as
good as the best for all the data can tell, and less likely to have learned the training rows by heart.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gemtune.config import Contestant, Deploy, Pick, Task, Vertex
from gemtune.data import write_json
from gemtune.scoring.metrics import primary_metric
from gemtune.tuning import records
from gemtune.vertex import Client, connect

log = logging.getLogger("gemtune")

Z95 = 1.959964  # half-width of a 95 % interval in standard errors


@dataclass(frozen=True, slots=True)
class Standing:
    """A checkpoint's validation score with its interval, and what it took to train (epochs, adapter size)."""

    contestant: Contestant
    value: float
    low: float
    high: float
    adapter_size: int = 0
    guess: float = 0.0
    """Share of the commonest label: what always answering it would score."""

    @property
    def standard_error(self) -> float:
        """From the interval's width."""
        return (self.high - self.low) / (2 * Z95)


def run(
    jobs: list[str],
    reports: list[str],
    best_prompt: dict[str, Any],
    task: dict[str, Any],
    config: dict[str, Any],
    deploy: dict[str, Any],
    vertex: dict[str, Any],
    name: str,
    picked: str,
) -> list[dict[str, Any]]:
    """Choose the candidate; writes everything it rests on to `picked` and returns who is evaluated on test data."""
    settings, client = Pick.of(config), connect(Vertex.of(vertex))
    metric = settings.metric or primary_metric(Task.of(task))
    tuned = [job for path in jobs for job in _jobs(path)]
    standings = _standings(reports, metric, {job["trial"]["name"]: job["trial"]["adapter_size"] for job in tuned})
    chosen, reason = choose(standings, settings.one_standard_error)
    prompt = Contestant.of(best_prompt).model_copy(update={"role": "baseline"})
    champion = read_champion(client, name)
    finalists = [prompt, *_unless_same(chosen, champion), *([champion] if champion else [])]
    _write(picked, metric, reason, prompt, chosen, champion, standings, tuned, Deploy.of(deploy).alias)
    headline = f"{chosen.contestant.name} at {chosen.value:.3f}: {reason}" if chosen else reason
    log.info("done: %s", headline)
    return [finalist.model_dump(mode="json") for finalist in finalists]


def choose(standings: Sequence[Standing], one_standard_error: bool = True) -> tuple[Standing | None, str]:
    """The candidate and why; None when there is no checkpoint."""
    if not standings:
        return None, "no checkpoint to choose from"
    best = max(standings, key=lambda s: (s.value, -s.contestant.epoch, -s.adapter_size))
    if not one_standard_error:
        return best, "the best score"
    floor = best.value - best.standard_error
    near = [s for s in standings if s.value >= floor]
    least = min(near, key=lambda s: (s.contestant.epoch, s.adapter_size, -s.value, s.contestant.name))
    if least is best:
        return best, "the best score, and none trained less comes within one standard error"
    return least, f"within one standard error ({best.standard_error:.3f}) of {best.contestant.name} and trained less"


def read_champion(client: Client, name: str) -> Contestant | None:
    """The model in service under a name; None when none is."""
    current = records.read(client, records.champion_key(name)).get("current")
    if not current:
        return None
    return Contestant.of(current["contestant"]).model_copy(update={"name": "champion", "role": "champion"})


def _unless_same(chosen: Standing | None, champion: Contestant | None) -> list[Contestant]:
    """The candidate, unless it is the very checkpoint that serves already (a job was reused)."""
    if chosen is None or (champion and champion.model == chosen.contestant.model):
        return []
    return [chosen.contestant.model_copy(update={"role": "candidate"})]


def _jobs(path: str) -> list[dict[str, Any]]:
    """A trial's job and those that followed it up."""
    first = json.loads(Path(path).read_text("utf-8"))
    return [first, *first.get("follow_ups", [])]


def _standings(reports: Sequence[str], metric: str, adapter_sizes: dict[str, int]) -> list[Standing]:
    found = []
    for path in reports:
        for entry in json.loads(Path(path).read_text("utf-8"))["contestants"]:
            contestant, score = Contestant.of(entry["contestant"]), entry["metrics"][metric]
            size = adapter_sizes.get(contestant.trial, 0)
            supports = [one.get("support", 0) for one in entry.get("per_class", [])]
            guess = max(supports, default=0) / max(1, sum(supports)) if metric == "accuracy" else 0.0
            found.append(Standing(contestant, score["value"], score["low"], score["high"], size, guess))
    return found


def _write(
    path: str,
    metric: str,
    reason: str,
    prompt: Contestant,
    chosen: Standing | None,
    champion: Contestant | None,
    standings: Sequence[Standing],
    jobs: Sequence[dict[str, Any]],
    alias: str,
) -> None:
    candidate = chosen.contestant.model_dump(mode="json") if chosen else None
    losers = [s.contestant.model_dump(mode="json") for s in standings if chosen is None or s is not chosen]
    write_json(
        path,
        {
            "metric": metric,
            "reason": reason,
            "best_prompt": prompt.model_dump(mode="json"),
            "candidate": candidate,
            "champion": champion.model_dump(mode="json") if champion else None,
            "losers": losers,
            "checkpoints": [_told(s, s is chosen) for s in standings],
            "trials": [_trial(job, standings) for job in jobs],
            "ledger": [_spent(job) for job in jobs],
            "plan": next((job["trial"]["plan"] for job in jobs), ""),
            "alias": alias,
        },
    )


def _told(standing: Standing, chosen: bool) -> dict[str, Any]:
    score = {"value": standing.value, "low": standing.low, "high": standing.high}
    return {"contestant": standing.contestant.model_dump(mode="json"), **score, "chosen": chosen}


def learned_nothing(standings: Sequence[Standing]) -> str:
    """Evidence that no checkpoint beats guessing, which a loss curve cannot show; "" when one does."""
    best = max(standings, key=lambda s: s.value, default=None)
    if best is None or best.guess == 0 or best.low > best.guess:
        return ""
    scored = f"the best checkpoint scores {best.value:.3f} (perhaps only {best.low:.3f})"
    return f"{scored}, always giving the commonest label {best.guess:.3f}"


def _trial(job: dict[str, Any], standings: Sequence[Standing]) -> dict[str, Any]:
    """What a report tells of a job; answers no better than guesses make any curve a data problem."""
    if evidence := learned_nothing([s for s in standings if s.contestant.trial == job["trial"]["name"]]):
        action = "check the labels: they do not follow from the texts (shuffled?), or train far longer"
        log.warning("%s: %s; %s", job["trial"]["name"], evidence, action)
        job = {**job, "diagnosis": {"kind": "data_problem", "evidence": evidence, "action": action}}
    return {
        "name": job["trial"]["name"],
        "hyperparameters": {k: job["trial"][k] for k in ("epoch_count", "learning_rate_multiplier", "adapter_size")},
        "job": job["job"]["name"],
        "base_model": job["base_model"],
        "states": job["states"],
        "diagnosis": job["diagnosis"],
        "curve": job["curve"],
        "truncated": job["job"]["truncated"],
        "dropped": job["job"]["dropped"],
    }


def _spent(job: dict[str, Any]) -> dict[str, Any]:
    """What a job billed, beside what the plan expected and allowed (0 where no plan did)."""
    out = job["diagnosis"]["kind"] == "out_of_race"
    epochs = job["job"]["completed_epochs"] if out else job["trial"]["epoch_count"]
    tokens = job["job"]["billable_tokens"] * epochs
    trial, cost = job["trial"], tokens * job["price"]["train"] / 1_000_000
    return {
        "what": f"tuning {trial['name']}",
        "tokens": tokens,
        "cost": cost,
        "tokens_forecast": trial["forecast_tokens"],
        "tokens_allowed": trial["max_billable_tokens"],
    }
