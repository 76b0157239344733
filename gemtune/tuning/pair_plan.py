# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Preference tuning before money is spent: its two kinds of jobs, their tokens, the bill, and what speaks against it.

Source: Vertex AI preference tuning bills a pair as its prompt twice and both answers; the supervised job before it
bills prompt and better answer. Promise: the bill is held under the limit by its upper bound, and a setting the service
would refuse, or that teaches nothing, is refused here by name.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from gemtune.config import Contestant, Evaluate, Plan, Preference, Task, Trial, fingerprint
from gemtune.data import Example
from gemtune.errors import UserError
from gemtune.rows import pairs as paired
from gemtune.rows.pairs import Pair
from gemtune.scoring.intervals import smallest_detectable_lift
from gemtune.scoring.referee import Referee
from gemtune.tuning import spend
from gemtune.tuning.catalogue import Price
from gemtune.tuning.spend import Amount, Line
from gemtune.vertex import Client, count_tokens, patiently

log = logging.getLogger("gemtune")

METRIC = "win_rate"
BETA_LOW, BETA_HIGH = 0.01, 0.5  # recommended, both included
RUBRIC_TOKENS = 200  # what a judge is told beside the texts it compares
Row = dict[str, Any]
Count = Callable[[str | None, list[dict[str, Any]]], int]


@dataclass(frozen=True)
class Sizes:
    """What is trained on and asked: prompts of the held-out splits, tokens of the rows and of one request."""

    pairs: int
    validation: int
    test: int
    supervised_tokens: Amount
    preference_tokens: Amount
    prompt_tokens: Amount
    answer_tokens: Amount


def jobs(settings: Plan, config: Preference) -> tuple[Trial | None, list[Trial]]:
    """The supervised job that comes first (None when not wanted) and the preference trials, named.

    Raises `UserError` for settings that belong to supervised tuning alone; warns of a `beta` outside the advice.
    """
    if settings.preset != "trials":
        raise UserError(f"plan.preset={settings.preset} is for supervised tuning", remedy="list plan.trials")
    if settings.follow_ups:
        raise UserError("plan.follow_ups is for supervised tuning", remedy="list further plan.trials")
    trials = [trial.model_copy(update={"method": "preference"}) for trial in settings.trials]
    trials = spend.shared(trials) if settings.share_epochs else trials
    names = [trial.name or f"trial-{number}" for number, trial in enumerate(trials, 1)]
    if len(set(names)) < len(names):
        raise UserError(f"trials need names of their own, got {', '.join(names)}", remedy="set plan.trials")
    trials = [trial.model_copy(update={"name": name}) for name, trial in zip(names, trials, strict=True)]
    for trial in trials:
        if not BETA_LOW <= trial.beta <= BETA_HIGH:
            log.warning(
                "%s: beta %g lies outside the recommended %g to %g", trial.name, trial.beta, BETA_LOW, BETA_HIGH
            )
    if not config.supervised_epochs:
        return None, trials
    if len(sizes := sorted({trial.adapter_size for trial in trials})) > 1:
        raise UserError(
            f"trials of adapter sizes {', '.join(map(str, sizes))} cannot continue one supervised job",
            remedy="use one adapter_size, or preference.supervised_epochs=0",
        )
    first = Trial(
        name="supervised",
        epoch_count=config.supervised_epochs,
        learning_rate_multiplier=config.supervised_learning_rate_multiplier,
        adapter_size=trials[0].adapter_size,
    )
    return first, trials


# -- tokens ----------------------------------------------------------------------------------------------------------


def tokens_of(count: Count, rows: Sequence[Row], sample: int) -> tuple[Amount, Amount, Amount]:
    """Billed tokens of tuning rows of either kind, and those of one prompt and of one answer.

    `count` counts a sample of the rows; the others are scaled by their length.
    """
    lengths = [len(json.dumps(row, ensure_ascii=False)) for row in rows]
    # by content, not by place, so that the sample of equal data is equal
    ordered = sorted(range(len(rows)), key=lambda i: json.dumps(rows[i], sort_keys=True))
    chosen = ordered[:: max(1, len(rows) // sample)][:sample]
    with ThreadPoolExecutor(8) as pool:
        parts = list(pool.map(lambda i: _parts(count, rows[i]), chosen))
    billed = {i: prompt * len(answers) + sum(answers) for i, (prompt, answers) in zip(chosen, parts, strict=True)}
    asked = [prompt for prompt, _ in parts]
    answered = [tokens for _, answers in parts for tokens in answers]
    return spend.estimate(lengths, billed), _spread(asked), _spread(answered)


def _parts(count: Count, row: Row) -> tuple[int, list[int]]:
    """Tokens of a row's prompt, and of its answers: one in a supervised row, two in a preference row."""
    system = "".join(part["text"] for part in row.get("systemInstruction", {}).get("parts", [])) or None
    if "completions" in row:
        return count(system, row["contents"]), [count(None, [one["completion"]]) for one in row["completions"]]
    return count(system, row["contents"][:-1]), [count(None, row["contents"][-1:])]


def _spread(counts: Sequence[int]) -> Amount:
    mean = sum(counts) / max(1, len(counts))
    return Amount(mean, max([1.5 * mean, *counts]))


# -- the bill --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Bill:
    """What is spent anyway, what each trial adds, and the trials that fit under the limit beside it."""

    spent: list[Line]
    fixed: list[Line]
    per_trial: dict[str, list[Line]]
    supervised: Trial | None
    trials: list[Trial]
    left_out: list[str]

    @property
    def lines(self) -> list[Line]:
        """Every line of what is planned."""
        return [*self.spent, *(line for trial in self.trials for line in self.per_trial[trial.name]), *self.fixed]

    @property
    def least(self) -> float:
        """Upper bound of the whole bill with the cheapest trial alone (US dollars)."""
        cheapest = min(spend.total(lines).most for lines in self.per_trial.values())
        return cheapest + spend.total([*self.spent, *self.fixed]).most


def bill(
    settings: Plan,
    config: Preference,
    asking: Evaluate,
    first: Trial | None,
    trials: Sequence[Trial],
    sizes: Sizes,
    spent: Sequence[Line],
    price: Price,
    judge: Price | None,
) -> Bill:
    """The forecast. `spent` is what has been asked already; `judge` prices a judge's tokens, if one ranks answers."""
    answer = Amount(sizes.answer_tokens.expected, asking.max_output_tokens)
    fixed = [
        spend.asking_line("best prompt on validation, again", sizes.validation, sizes.prompt_tokens, answer, price),
        spend.asking_line("the finalists on test", 4 * sizes.test, sizes.prompt_tokens, answer, price),
        Line("idle endpoints", Amount(0, 0), Amount(0, 0)),
    ]
    if first is not None:
        first = _bounded(first, sizes.supervised_tokens)
        fixed.insert(0, _tuning(first, sizes.supervised_tokens, price))
        fixed.insert(
            1,
            spend.asking_line(
                "checkpoints of supervised on validation", sizes.validation, sizes.prompt_tokens, answer, price
            ),
        )
    bounded = [_bounded(trial, sizes.preference_tokens) for trial in trials]
    if judge is not None:
        fixed.append(_judging("judging the finalists", 4 * sizes.test, config, asking, sizes, judge))
    per_trial = {}
    for trial in bounded:
        requests = sizes.validation * spend.checkpoint_count(trial.epoch_count)
        lines = [_tuning(trial, sizes.preference_tokens, price)]
        lines.append(
            spend.asking_line(
                f"checkpoints of {trial.name} on validation", requests, sizes.prompt_tokens, answer, price
            )
        )
        if judge is not None:
            lines.append(_judging(f"judging checkpoints of {trial.name}", 2 * requests, config, asking, sizes, judge))
        per_trial[trial.name] = lines
    chosen = spend.affordable(bounded, per_trial, spend.total([*spent, *fixed]), settings.max_cost)
    names = {trial.name for trial in chosen}
    dear = {trial.name: spend.total(per_trial[trial.name]).most for trial in bounded if trial.name not in names}
    left_out = [f"{name} may cost {most:.2f} USD: over max_cost beside the others" for name, most in dear.items()]
    return Bill(list(spent), fixed, per_trial, first, chosen, left_out)


def _bounded(trial: Trial, once: Amount) -> Trial:
    tokens = once.times(trial.epoch_count)
    told = {"forecast_tokens": round(tokens.expected), "max_billable_tokens": int(tokens.most) + 1}
    return trial.model_copy(update=told)


def _tuning(trial: Trial, once: Amount, price: Price) -> Line:
    tokens = once.times(trial.epoch_count)
    return Line(f"tuning {trial.name}", tokens, tokens.times(price.train / spend.MILLION))


def _judging(what: str, duels: int, config: Preference, asking: Evaluate, sizes: Sizes, price: Price) -> Line:
    """Both orders, so many samples each; a request shows prompt, reference and two answers."""
    rubric = Amount(RUBRIC_TOKENS, 2 * RUBRIC_TOKENS)
    answers = Amount(3 * sizes.answer_tokens.expected, 3 * max(sizes.answer_tokens.most, asking.max_output_tokens))
    said = Amount(config.judge.max_output_tokens / 4, config.judge.max_output_tokens)
    return spend.asking_line(
        what, 2 * config.judge.samples * duels, sizes.prompt_tokens + answers + rubric, said, price
    )


def reasons_against(settings: Plan, sizes: Sizes, drawn_up: Bill) -> list[str]:
    """Why preference tuning is not worth trying; empty when it is."""
    reasons = []
    if sizes.pairs < settings.min_train_rows:
        reasons.append(f"{sizes.pairs} training pairs, fewer than {settings.min_train_rows}: too few to tune on")
    lift = detectable_lift(sizes.test)
    if 0 < settings.wanted_lift < lift:
        reasons.append(
            f"{sizes.test} test prompts notice a lift of {lift:.3f} at best, not the wanted {settings.wanted_lift:.3f}"
        )
    if not drawn_up.trials:
        least = f"the cheapest trial may cost {drawn_up.least:.2f} USD in all"
        reasons.append(f"{least}, more than max_cost {settings.max_cost:.2f}")
    return reasons


def detectable_lift(test_prompts: int) -> float:
    """The smallest surplus of wins over losses that so many prompts show (80 % power), when no two answers tie."""
    return smallest_detectable_lift(max(1, test_prompts), 1.0)


# -- what is asked of the service, and what is told ------------------------------------------------------------------


def require(client: Client, base_model: str, first: Trial | None, trials: Sequence[Trial]) -> None:
    """Raise `UserError` unless the base model can be tuned by both methods, here and with these adapters."""
    for method, wanted in (("supervised", [first] if first else []), ("preference", list(trials))):
        for trial in wanted:
            base, key = trial.base or base_model, client.settings.encryption_key
            if not base.startswith("projects/"):
                client.catalogue.require(
                    base,
                    "preference" if method == "preference" else "supervised",
                    client.location,
                    adapter_sizes=(trial.adapter_size,),
                    encryption_key=key,
                )


def continued(first: Trial | None, trials: Sequence[Trial], champion: Contestant) -> tuple[Trial | None, list[Trial]]:
    """The jobs started from the champion's checkpoint, unless they name a start of their own."""
    start = {"base": champion.tuned_model, "checkpoint_id": champion.checkpoint_id}
    moved = [trial if trial.base else trial.model_copy(update=start) for trial in trials]
    return (first.model_copy(update=start) if first else None), moved


def sizes(
    client: Client,
    task: Task,
    asking: Evaluate,
    limits: Plan,
    config: Preference,
    splits: Sequence[Sequence[Example]],
    pairs: Sequence[Pair],
) -> Sizes:
    """What is trained on and asked, its tokens counted by the service on a sample."""

    def count(system: str | None, contents: list[dict[str, Any]]) -> int:
        return patiently(count_tokens, client, asking.base_model, system, contents)

    preferred = paired.preference_rows(task, splits[0], pairs)
    tokens, prompt, answer = tokens_of(count, preferred, limits.token_sample)
    chosen = paired.chosen_rows(task, splits[0], pairs) if config.supervised_epochs else []
    supervised = tokens_of(count, chosen, limits.token_sample)[0] if chosen else Amount(0, 0)
    return Sizes(len(preferred), len(splits[1]), len(splits[2]), supervised, tokens, prompt, answer)


def spent(
    told: Sequence[Mapping[str, Any]], gathered: Mapping[str, Any], referee: Referee, client: Client, price: Price
) -> list[Line]:
    """What has been asked so far: samples for pairs, prompts on validation, a judge between several prompts."""
    entries = [entry for report in told for entry in report["contestants"]]
    asked = {f"{entry['contestant']['name']} on validation": entry["tokens"] for entry in entries}
    lines = []
    before = gathered.get("spent_tokens", {})
    if any(before.get("judged", {}).values()):
        judge = client.catalogue.price("", referee.config.judge.model)
        put, got = (
            Amount(float(before["judged"][side]), float(before["judged"][side])) for side in ("input", "output")
        )
        lines.append(spend.asking_line("judging answers for pairs (spent)", 1, put, got, judge))
    if any(before.get("sampled", {}).values()):
        asked = {"answers sampled for pairs": before["sampled"], **asked}
    for what, tokens in asked.items():
        put, got = (Amount(float(tokens[side]), float(tokens[side])) for side in ("input", "output"))
        lines.append(spend.asking_line(f"{what} (spent)", 1, put, got, price))
    if judged := judging(referee, client, "judging prompts (spent)"):
        amounts = (Amount(judged[0][what], judged[0][what]) for what in ("tokens", "cost"))
        lines.append(Line(judged[0]["what"], *amounts))
    return lines


def judging(referee: Referee, client: Client, what: str) -> list[dict[str, Any]]:
    """The judge's tokens and what they cost (US dollars), as a line of the ledger; none when no judge was asked."""
    tokens = referee.tokens
    if not any(tokens.values()):
        return []
    price = client.catalogue.price("", referee.config.judge.model)
    cost = (tokens["input"] * price.input + tokens["output"] * price.output) / spend.MILLION
    return [{"what": what, "tokens": sum(tokens.values()), "cost": cost}]


def name_of(
    splits: Sequence[Sequence[Example]],
    pairs: Sequence[Pair],
    base_model: str,
    first: Trial | None,
    trials: Sequence[Trial],
) -> str:
    """Names training and validation pairs, model and jobs; equal when there is nothing new to learn."""
    own = paired.by_prompt(pairs)
    rows = [sorted([p.prompt, p.chosen, p.rejected] for e in split for p in own[e.id]) for split in splits[:2]]
    told = {"plan", "forecast_tokens", "max_billable_tokens", "follow_up_tokens"}
    jobs = [trial.model_dump(mode="json", exclude=told) for trial in (*filter(None, [first]), *trials)]
    return fingerprint(*rows, base_model, jobs)


def document(
    limits: Plan,
    drawn_up: Bill,
    reasons: list[str],
    sizes: Sizes,
    price: Price,
    client: Client,
    asking: Evaluate,
) -> dict[str, Any]:
    """The plan as its report tells it, in the words of the supervised one."""
    forecast = spend.total(drawn_up.lines)
    costs = [
        {"what": line.what, "tokens": line.tokens.expected, "cost": line.cost.expected, "at_most": line.cost.most}
        for line in drawn_up.lines
    ]
    return {
        "worthwhile": not reasons,
        "verdict": "keep_prompt" if reasons else "tune",
        "reasons": reasons,
        "metric": METRIC,
        "detectable_lift": detectable_lift(sizes.test),
        "test_rows": sizes.test,
        "left_out": drawn_up.left_out,
        "prices": price.model_dump(mode="json"),
        "warnings": client.catalogue.warnings(asking.base_model),
        "costs": costs,
        "cost": forecast.expected,
        "cost_at_most": forecast.most,
        "max_cost": limits.max_cost,
        "sentence": (
            f"forecast {forecast.expected:.2f} USD, at most {forecast.most:.2f} of {limits.max_cost:.2f} allowed"
        ),
    }


def say(document: Mapping[str, Any], drawn_up: Bill, reasons: Sequence[str], best: Contestant) -> None:
    """The bill, line by line, and the step's last line."""
    for warning in [*document["warnings"], *drawn_up.left_out]:
        log.warning("%s", warning)
    for line in drawn_up.lines:
        log.info("bill: %-45s %12.0f tokens %10.4f USD", line.what, line.tokens.expected, line.cost.expected)
    if reasons:
        log.info("done: %s", f"keep {best.name}: {reasons[0]}")
        return
    jobs = f"{len(drawn_up.trials)} trials" + (" after a supervised job" if drawn_up.supervised else "")
    money = f"{document['cost']:.2f} USD (at most {document['cost_at_most']:.2f})"
    log.info("done: %s", f"{jobs}, {money}, to beat {best.name}")
