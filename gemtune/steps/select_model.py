# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Who meets on test data: the best prompt, the best checkpoint of all trials, the model in service.

The choice is made on validation data by the task's own metric, with the one-standard-error rule (Breiman et al. 1984):
among the checkpoints whose score lies within one standard error of the best, the one whose model is the cheapest to
ask, and of those the one that was trained least. It is as good as the best for all the data can tell, costs no more,
and is less likely to have learned the training rows by heart.
"""

from __future__ import annotations

import json
import logging
import math
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from gemtune.catalogue import Catalogue
from gemtune.config import Deploy, ModelVariant, Pick, Task, Vertex
from gemtune.cost import spend
from gemtune.data.example import Example, read_examples, write_examples, write_json
from gemtune.evaluation.metrics import primary_metric
from gemtune.state import store
from gemtune.steps.tune import billed_tokens
from gemtune.vertex import Client, connect, patiently, storage

log = logging.getLogger("gemtune")

PLAIN = "-as-they-come"  # ends the name of the trial whose rows are not weighted, beside one whose rows are
Z95 = 1.959964  # half-width of a 95 % interval in standard errors


@dataclass(frozen=True, slots=True)
class Standing:
    """A checkpoint's validation score with its interval, and what it took to train (epochs, adapter size)."""

    variant: ModelVariant
    value: float
    low: float
    high: float
    adapter_size: int = 0
    guess: float = 0.0
    """Share of the commonest label: what always answering it would score."""
    like_hard: float | None = None
    """Score on validation rows like the hard ones, where step hard marked them."""
    price: float = 0.0
    """US dollars for a million tokens in and a million out of the model that it was made of."""

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
    train: str = "",
    old_test: str = "",
) -> dict[str, list[dict[str, Any]]]:
    """Choose the candidate; writes everything it rests on to `picked` and returns who is evaluated on which rows.

    `finalists` meet on test data. `remembering` are asked the rows written to `old_test`: candidate and champion those
    that the champion was tested on and that are not in `train` now, when the candidate was tuned on from a tuned model
    (what has it forgotten?); else nobody, and the file is empty.
    """
    settings, client = Pick.of(config), connect(Vertex.of(vertex))
    metric = settings.metric or primary_metric(Task.of(task))
    tuned = [job for path in jobs for job in read_jobs(path)]
    everyone = read_standings(reports, metric, tuned)
    standings = [one for one in everyone if one.variant.role == "candidate"]
    chosen, reason = choose(standings, settings.one_standard_error)
    prompt, notes = _opponent(best_prompt, [one for one in everyone if one.variant.role == "baseline"])
    champion = read_champion(client, name)
    candidate = _unless_same(chosen, champion)
    finalists = [prompt, *candidate, *([champion] if champion else [])]
    found = _ablation(standings)
    if old_test:
        old = _old_rows(client, name, train) if champion and candidate and _continued(candidate[0], tuned) else []
        write_examples(old_test, old)
        remembering = finalists[1:] if old else []
    else:
        remembering = []
    notes += [*([found["sentence"]] if found else []), *_told_of(jobs, "notes")]
    choice = Choice(metric, reason, prompt, chosen, champion, found, notes, Deploy.of(deploy).alias)
    counted = _told_of(jobs, "asked")
    _write(picked, choice, standings, tuned, [*_scored(reports, tuned, counted, client.catalogue), *counted])
    for note in notes:
        log.info("%s", note)
    headline = f"{chosen.variant.name} at {chosen.value:.3f}: {reason}" if chosen else reason
    log.info("done: %s", headline)
    told = {"finalists": finalists, "remembering": remembering}
    return {what: [one.model_dump(mode="json") for one in who] for what, who in told.items()}


@dataclass(frozen=True, slots=True)
class Choice:
    """What was chosen, against whom, and why."""

    metric: str
    reason: str
    prompt: ModelVariant
    chosen: Standing | None
    champion: ModelVariant | None
    ablation: dict[str, Any]
    notes: list[str] = field(default_factory=list)
    alias: str = ""


def choose(standings: Sequence[Standing], one_standard_error: bool = True) -> tuple[Standing | None, str]:
    """The candidate and why; None when there is no checkpoint."""
    if not standings:
        return None, "no checkpoint to choose from"
    best = max(standings, key=lambda s: (s.value, -s.price, -s.variant.epoch, -s.adapter_size))
    if not one_standard_error:
        return best, "the best score"
    floor = best.value - best.standard_error
    near = [s for s in standings if s.value >= floor]
    least = min(near, key=lambda s: (s.price, s.variant.epoch, s.adapter_size, -s.value, s.variant.name))
    if least is best:
        return best, "the best score, and none trained less comes within one standard error"
    less = "its model costs less" if least.price < best.price else "trained less"
    return least, f"within one standard error ({best.standard_error:.3f}) of {best.variant.name} and {less}"


def read_champion(client: Client, name: str) -> ModelVariant | None:
    """The model in service under a name; None when none is."""
    current = store.read(client, store.champion_key(name)).get("current")
    if not current:
        return None
    return ModelVariant.of(current["variant"]).model_copy(update={"name": "champion", "role": "champion"})


def _opponent(best_prompt: dict[str, Any], others: Sequence[Standing]) -> tuple[ModelVariant, list[str]]:
    """The prompt to beat: the plan's, unless a larger model prompted the same way was shown to score higher."""
    prompt = ModelVariant.of(best_prompt).model_copy(update={"role": "baseline"})
    ahead = max(others, key=lambda one: one.value, default=None)
    if ahead is None:
        return prompt, []
    return ahead.variant, [f"the prompt to beat is asked of {ahead.variant.model}: {ahead.value:.3f}"]


def _told_of(jobs: Sequence[str], what: str) -> list[Any]:
    """What the step `larger` says of itself: why it went on or stopped (`notes`), what its questions cost (`asked`)."""
    told = [json.loads(Path(path).read_text("utf-8")) for path in jobs]
    return [one for record in told for one in record.get(what, [])]


# What was tested before.


def old_rows(client: Client, name: str) -> int:
    """How many test rows the champion of a name was decided on; 0 when there is none, or nobody kept them."""
    current = store.read(client, store.champion_key(name)).get("current") or {}
    return int(current.get("test", {}).get("rows", 0))


def _old_rows(client: Client, name: str, train: str) -> list[Example]:
    """The champion's test rows, less those that are trained on now."""
    current = store.read(client, store.champion_key(name)).get("current") or {}
    if not current.get("test"):
        log.warning("the champion's test rows were not kept: what a new one forgets is not measured")
        return []
    trained = {row.id for row in read_examples(train)} if train else set()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "test.jsonl"
        patiently(storage.download, client, current["test"]["uri"], path)
        # they no longer are the sealed rows of this run, or were read by its gate anyway
        return [replace(row, split=None) for row in read_examples(path) if row.id not in trained]


def _continued(candidate: ModelVariant, tuned: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the candidate was tuned on from a tuned model."""
    bases = {job["trial"]["name"]: str(job["trial"]["base"]) for job in tuned}
    return bases.get(candidate.trial, "").startswith("projects/")


# What the weight of hard rows was worth.


def _ablation(standings: Sequence[Standing]) -> dict[str, Any]:
    """The trial on weighted rows beside the same trial on the rows as they come; {} when there is no such pair."""
    twin = next((s.variant.trial for s in standings if s.variant.trial.endswith(PLAIN)), "")
    arms = {
        "with": [s for s in standings if s.variant.trial == twin.removesuffix(PLAIN)],
        "without": [s for s in standings if s.variant.trial == twin],
    }
    if not (twin and all(arms.values())):
        return {}
    best = {arm: max(found, key=lambda s: s.value) for arm, found in arms.items()}
    gain = best["with"].value - best["without"].value
    half = Z95 * math.hypot(best["with"].standard_error, best["without"].standard_error)
    said = "better" if gain > half else "worse" if gain < -half else "no different for all the rows can tell"
    sentence = (
        f"hard rows weighted: {best['with'].value:.3f} on validation, as they come: {best['without'].value:.3f} "
        f"({gain:+.3f}, between {gain - half:+.3f} and {gain + half:+.3f}): {said}"
    )
    alike = {arm: found.like_hard for arm, found in best.items()}
    if None not in alike.values():
        sentence += f"; on rows like the hard ones {alike['with']:.3f} and {alike['without']:.3f}"
    scores = {arm: {"name": s.variant.name, "value": s.value, "like_hard": s.like_hard} for arm, s in best.items()}
    return {**scores, "gain": gain, "low": gain - half, "high": gain + half, "sentence": sentence}


def _unless_same(chosen: Standing | None, champion: ModelVariant | None) -> list[ModelVariant]:
    """The candidate, unless it is the very checkpoint that serves already (a job was reused)."""
    if chosen is None or (champion and champion.model == chosen.variant.model):
        return []
    return [chosen.variant.model_copy(update={"role": "candidate"})]


def read_jobs(path: str) -> list[dict[str, Any]]:
    """A trial's job and those that followed it up; several trials' where a step ran several."""
    told = json.loads(Path(path).read_text("utf-8"))
    firsts = told.get("jobs", [told])
    return [job for first in firsts for job in (first, *first.get("follow_ups", []))]


def read_standings(reports: Sequence[str], metric: str, jobs: Sequence[Mapping[str, Any]]) -> list[Standing]:
    """How every variant of the reports did; their jobs' records tell the adapter sizes and prices."""
    adapter_sizes = {job["trial"]["name"]: job["trial"]["adapter_size"] for job in jobs}
    prices = {job["trial"]["name"]: job["price"]["input"] + job["price"]["output"] for job in jobs}
    found = []
    for path in reports:
        for entry in json.loads(Path(path).read_text("utf-8"))["variants"]:
            variant, score = ModelVariant.of(entry["variant"]), entry["metrics"][metric]
            size = adapter_sizes.get(variant.trial, 0)
            supports = [one.get("support", 0) for one in entry.get("per_class", [])]
            guess = max(supports, default=0) / max(1, sum(supports)) if metric == "accuracy" else 0.0
            alike = entry.get("slices", {}).get("like_hard", {}).get("yes")
            on_alike = alike["metrics"][metric]["value"] if alike else None
            bounds, price = (score["value"], score["low"], score["high"]), prices.get(variant.trial, 0.0)
            found.append(Standing(variant, *bounds, size, guess, on_alike, price))
    return found


def _write(
    path: str,
    choice: Choice,
    standings: Sequence[Standing],
    jobs: Sequence[dict[str, Any]],
    asked: Sequence[dict[str, Any]],
) -> None:
    chosen, champion = choice.chosen, choice.champion
    losers = [s.variant.model_dump(mode="json") for s in standings if chosen is None or s is not chosen]
    write_json(
        path,
        {
            "metric": choice.metric,
            "reason": choice.reason,
            "notes": choice.notes,
            "ablation": choice.ablation,
            "best_prompt": choice.prompt.model_dump(mode="json"),
            "candidate": chosen.variant.model_dump(mode="json") if chosen else None,
            "champion": champion.model_dump(mode="json") if champion else None,
            "losers": losers,
            "checkpoints": [_told(s, s is chosen) for s in standings],
            "trials": [_trial(job, standings) for job in jobs],
            "ledger": [*_ledger(jobs), *asked],
            "plan": next((job["trial"]["plan"] for job in jobs), ""),
            "alias": choice.alias,
        },
    )


def _ledger(jobs: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """A line per job; trials that turned out equal share one job, which is paid once."""
    once = {job["job"]["name"] or f"none-{number}": job for number, job in enumerate(jobs)}
    return [_spent(job) for job in once.values()]


def _scored(
    reports: Sequence[str],
    jobs: Sequence[Mapping[str, Any]],
    counted: Sequence[Mapping[str, Any]],
    catalogue: Catalogue,
) -> list[dict[str, Any]]:
    """Lines per trial for asking its checkpoints, and for opinions on their answers, as the service counted it; those
    counted already are left out.
    """
    prices = {job["trial"]["name"]: job["price"] for job in jobs}
    lines: dict[str, dict[str, Any]] = {}
    for path in reports:
        for entry in json.loads(Path(path).read_text("utf-8"))["variants"]:
            if (trial := entry["variant"]["trial"]) not in prices:
                continue
            what, tokens = f"checkpoints of {trial} on validation", entry["tokens"]
            took = tokens["input"] + tokens["output"]
            for one in (
                {"what": what, "tokens": took, "cost": spend.charged(tokens, prices[trial])},
                *spend.opinions_charged(what, entry, catalogue.full_price, catalogue.service),
            ):
                line = lines.setdefault(one["what"], {"what": one["what"], "tokens": 0, "cost": 0.0})
                line["tokens"] += one["tokens"]
                line["cost"] += one["cost"]
    known = {line["what"] for line in counted}
    return [line for line in lines.values() if line["what"] not in known]


def _told(standing: Standing, chosen: bool) -> dict[str, Any]:
    score = {"value": standing.value, "low": standing.low, "high": standing.high}
    return {"variant": standing.variant.model_dump(mode="json"), **score, "chosen": chosen}


def learned_nothing(standings: Sequence[Standing]) -> str:
    """Evidence that no checkpoint beats guessing, which a loss curve cannot show; "" when one does."""
    best = max(standings, key=lambda s: s.value, default=None)
    if best is None or best.guess == 0 or best.low > best.guess:
        return ""
    scored = f"the best checkpoint scores {best.value:.3f} (perhaps only {best.low:.3f})"
    return f"{scored}, always giving the commonest label {best.guess:.3f}"


def _trial(job: dict[str, Any], standings: Sequence[Standing]) -> dict[str, Any]:
    """What a report tells of a job; answers no better than guesses make a curve that settled a data problem.

    One that has not settled (undertrained, diverged, too short to tell) says itself why nothing is learned yet.
    """
    settled = job["diagnosis"]["kind"] in ("fine", "overfitting")
    if settled and (evidence := learned_nothing([s for s in standings if s.variant.trial == job["trial"]["name"]])):
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
    tokens, trial = billed_tokens(job), job["trial"]
    cost = tokens * job["price"]["train"] / 1_000_000
    return {
        "what": f"tuning {trial['name']}",
        "tokens": tokens,
        "cost": cost,
        "tokens_forecast": trial["forecast_tokens"],
        "tokens_allowed": trial["max_billable_tokens"],
    }
