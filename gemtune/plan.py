# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Before money is spent: the best prompt, whether tuning is worth trying, which trials, and the bill.

Source: the published advice on when prompting is enough and how to start tuning. Promise: what is planned stays under
`max_cost` by its upper bound, tokens of a trial beyond the plan cancel its job, and every "no" says why.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gemtune import pick
from gemtune.config import Contestant, Evaluate, Plan, Task, Trial, Vertex, fingerprint
from gemtune.data import Example, read_examples, write_json
from gemtune.errors import UserError
from gemtune.prompting import prompts
from gemtune.scoring.intervals import smallest_detectable_lift
from gemtune.scoring.metrics import primary_metric
from gemtune.tuning import records, spend
from gemtune.tuning.catalogue import Price
from gemtune.tuning.spend import Amount, Line, Rows
from gemtune.vertex import Client, connect, count_tokens, patiently

log = logging.getLogger("gemtune")


TOLD = {"name", "plan", "forecast_tokens", "max_billable_tokens", "follow_up_tokens"}  # of a trial, by the plan


@dataclass(frozen=True, slots=True)
class Prompted:
    """A baseline's result on validation data."""

    contestant: Contestant
    value: float
    low: float
    high: float
    rows: int
    input_tokens: int
    output_tokens: int


def run(
    reports: list[str],
    train: str,
    validation: str,
    test: str,
    task: dict[str, Any],
    evaluate: dict[str, Any],
    config: dict[str, Any],
    vertex: dict[str, Any],
    name: str,
    plan: str,
) -> dict[str, Any]:
    """Write the plan to `plan`; return `worthwhile`, `trials` and `best_prompt`.

    Raises `UserError` for a model, region or adapter size that cannot be tuned, before anything is spent on it.
    """
    settings, asking, client = Plan.of(config), Evaluate.of(evaluate), connect(Vertex.of(vertex))
    splits = [list(read_examples(path)) for path in (train, validation, test)]
    resolved = prompts.resolve(Task.of(task), splits[0])
    metric = primary_metric(resolved)
    told = [json.loads(Path(path).read_text("utf-8")) for path in reports]
    baselines = [result for report in told for result in _prompted(report, metric)]
    best = best_prompt(baselines)
    rows = _rows(client, asking, settings, resolved, splits)
    trials = _trials(client, asking.base_model, settings, splits[0], rows)
    if settings.continue_champion:
        trials = continued(trials, pick.read_champion(client, name))
    print_ = plan_fingerprint(splits, asking.base_model, trials)
    trials = [trial.model_copy(update={"plan": print_}) for trial in trials]
    reasons = reasons_against(settings, best, [len(split) for split in splits])
    if settings.skip_unchanged and records.last_plan(client, name) == print_:
        reasons.append("nothing is new: the same rows, model and trials were decided on last time")
    searched = [report["search_tokens"] for report in told if "search_tokens" in report]
    bill = _bill(client, asking, settings, trials, rows, baselines, best, searched)
    if not reasons and not bill.trials:
        least = min(spend.total(lines).most for lines in bill.per_trial.values()) + spend.total(bill.fixed).most
        reasons.append(
            f"the cheapest trial may cost {least:.2f} USD in all, more than max_cost {settings.max_cost:.2f}"
        )
    worthwhile = not reasons
    tokens = _follow_up_tokens(settings, bill, rows, client.catalogue.price("", asking.base_model))
    chosen = [t.model_copy(update={"follow_up_tokens": tokens}).model_dump(mode="json") for t in bill.trials]
    chosen = chosen if worthwhile else []
    _write(plan, metric, best, reasons, bill, settings, len(splits[2]), print_, chosen, reports)
    _say(worthwhile, reasons, bill, best)
    return {"worthwhile": worthwhile, "trials": chosen, "best_prompt": best.contestant.model_dump(mode="json")}


# The prompt to beat.


def best_prompt(baselines: Sequence[Prompted]) -> Prompted:
    """The highest score; of equals the one that costs fewer tokens."""
    if not baselines:
        raise UserError("no prompted baseline was evaluated", remedy="list one in evaluate.baselines")
    return max(baselines, key=lambda result: (result.value, -result.input_tokens - result.output_tokens))


def _prompted(report: dict[str, Any], metric: str) -> list[Prompted]:
    return [
        Prompted(
            contestant=Contestant.of(entry["contestant"]),
            value=entry["metrics"][metric]["value"],
            low=entry["metrics"][metric]["low"],
            high=entry["metrics"][metric]["high"],
            rows=report["rows"],
            input_tokens=entry["tokens"]["input"],
            output_tokens=entry["tokens"]["output"],
        )
        for entry in report["contestants"]
    ]


# Whether.


def reasons_against(settings: Plan, best: Prompted, rows: Sequence[int]) -> list[str]:
    """Why tuning is not worth trying; empty when it is. `rows` are those of training, validation and test."""
    reasons = []
    if rows[0] < settings.min_train_rows:
        reasons.append(f"{rows[0]} training rows, fewer than {settings.min_train_rows}: too few to tune on")
    if best.low >= settings.good_enough:
        name = best.contestant.name
        reasons.append(
            f"the prompt {name} is good enough: its score is at least {best.low:.3f} of {settings.good_enough}"
        )
    lift = detectable_lift(best.value, rows[2])
    if 0 < settings.wanted_lift < lift:
        reasons.append(
            f"{rows[2]} test rows notice a lift of {lift:.3f} at best, not the wanted {settings.wanted_lift:.3f}: "
            "label more test rows first"
        )
    return reasons


def detectable_lift(score: float, test_rows: int) -> float:
    """The smallest true lift that so many test rows show (80 % power), were the tuned model to change every error."""
    return smallest_detectable_lift(max(1, test_rows), min(1.0, max(0.05, 1 - score)))


def plan_fingerprint(splits: Sequence[Sequence[Example]], base_model: str, trials: Sequence[Trial]) -> str:
    """Names training and validation rows, model and trials; equal when there is nothing new to learn."""
    ids = [sorted(example.id for example in split) for split in splits[:2]]
    hyper = [trial.model_dump(mode="json", exclude=TOLD) for trial in trials]
    return fingerprint(*ids, base_model, hyper)


# Which trials.


def _trials(client: Client, base_model: str, settings: Plan, train: Sequence[Example], rows: Rows) -> list[Trial]:
    """The trials of the settings or of a preset, each checked against the catalogue and named."""
    trials = list(settings.trials)
    if settings.preset == "grid":
        trials = list(client.catalogue.grid)
    elif settings.preset == "recommended":
        mean = rows.prompt_tokens.expected + rows.answer_tokens.expected
        trials = [client.catalogue.start(base_model, modality(train), len(train), mean)]
    if settings.share_epochs:
        trials = spend.shared(trials)
    for trial in trials:
        base = trial.base or base_model
        if not base.startswith("projects/"):
            key = client.settings.encryption_key
            sizes = (trial.adapter_size,)
            client.catalogue.require(base, "supervised", client.location, adapter_sizes=sizes, encryption_key=key)
    names = [trial.name or f"trial-{number}" for number, trial in enumerate(trials, 1)]
    if len(set(names)) < len(names):
        raise UserError(f"trials need names of their own, got {', '.join(names)}", remedy="set plan.trials")
    return [_named(trial, name, rows) for name, trial in zip(names, trials, strict=True)]


def _named(trial: Trial, name: str, rows: Rows) -> Trial:
    """A trial with its name, what it is expected to bill, and what it may at most."""
    tokens = rows.training_tokens.times(trial.epoch_count)
    told = {"name": name, "forecast_tokens": round(tokens.expected), "max_billable_tokens": int(tokens.most) + 1}
    return trial.model_copy(update=told)


def continued(trials: Sequence[Trial], champion: Contestant | None) -> list[Trial]:
    """The trials, started from the champion's checkpoint unless they name a start of their own."""
    if champion is None:
        return list(trials)
    start = {"base": champion.tuned_model, "checkpoint_id": champion.checkpoint_id}
    return [trial if trial.base else trial.model_copy(update=start) for trial in trials]


def modality(examples: Sequence[Example]) -> str:
    """The heaviest modality that a row carries: audio, image (video and documents too), else text."""
    kinds = {
        str(part["fileData"].get("mimeType", "")).partition("/")[0]
        for example in examples
        for turn in example.contents or ()
        for part in turn.get("parts", [])
        if "fileData" in part
    }
    return "audio" if "audio" in kinds else "image" if kinds else "text"


# At what price.


@dataclass(frozen=True, slots=True)
class Bill:
    """The forecast: what is spent anyway, what each trial would add, and the trials that fit under the limit."""

    spent: list[Line]
    fixed: list[Line]
    per_trial: dict[str, list[Line]]
    trials: list[Trial]
    left_out: list[str]
    prices: dict[str, Any]
    warnings: list[str]

    @property
    def lines(self) -> list[Line]:
        """Every line of what is planned."""
        return [*self.spent, *(line for trial in self.trials for line in self.per_trial[trial.name]), *self.fixed]


def _rows(client: Client, asking: Evaluate, settings: Plan, task: Task, splits: Sequence[Sequence[Example]]) -> Rows:
    """Tokens of the training rows and of a tuned prompt: counted on a sample, estimated beyond."""
    prompt, train = prompts.tuned_prompt(task), splits[0]
    rendered = [prompts.training_row(task, prompt, example) for example in train]
    lengths = [len(json.dumps(row["contents"], ensure_ascii=False)) for row in rendered]
    by_id = sorted(range(len(train)), key=lambda index: train[index].id)
    sample = by_id[: settings.token_sample]
    with ThreadPoolExecutor(8) as pool:
        counted = list(pool.map(lambda index: _count(client, asking.base_model, rendered[index]), sample))
    whole = dict(zip(sample, (prompt + answer for prompt, answer in counted), strict=True))
    largest = max((prompt for prompt, _ in counted), default=0)
    mean = sum(prompt for prompt, _ in counted) / max(1, len(counted))
    longest = max(lengths, default=1) / max(1, sum(lengths) / max(1, len(lengths)))
    return Rows(
        validation=len(splits[1]),
        test=len(splits[2]),
        training_tokens=spend.estimate(lengths, whole),
        prompt_tokens=Amount(mean, max(largest, mean * longest) if len(sample) < len(train) else largest),
        answer_tokens=Amount(
            sum(answer for _, answer in counted) / max(1, len(counted)), max(asking.max_output_tokens, 1)
        ),
    )


def _count(client: Client, model: str, row: dict[str, Any]) -> tuple[int, int]:
    """(tokens before the answer, tokens of the answer) of a training row, as the service counts them."""
    system = "".join(part["text"] for part in row.get("systemInstruction", {}).get("parts", [])) or None
    asked = patiently(count_tokens, client, model, system, row["contents"][:-1])
    return asked, patiently(count_tokens, client, model, None, row["contents"][-1:])


def _bill(
    client: Client,
    asking: Evaluate,
    settings: Plan,
    trials: Sequence[Trial],
    rows: Rows,
    baselines: Sequence[Prompted],
    best: Prompted,
    searched: Sequence[dict[str, int]],
) -> Bill:
    price = client.catalogue.price("", asking.base_model)
    spent = [
        _asked_line(result.contestant.name, result.input_tokens, result.output_tokens, price) for result in baselines
    ]
    spent += [_asked_line("prompt search", tokens["input"], tokens["output"], price) for tokens in searched]
    per_row = Amount(best.input_tokens / best.rows, best.input_tokens / best.rows * 1.5)
    fixed = [
        spend.asking_line("best prompt on test", rows.test, per_row, rows.answer_tokens, price),
        spend.asking_line(
            "candidate and champion on test", 2 * rows.test, rows.prompt_tokens, rows.answer_tokens, price
        ),
        Line("idle endpoints", Amount(0, 0), Amount(0, 0)),
    ]
    per_trial = {
        trial.name: [spend.tuning_line(trial, rows, own), spend.checkpoints_line(trial, rows, own)]
        for trial in trials
        for own in [client.catalogue.price(trial.base, asking.base_model)]
    }
    anyway = spend.total([*spent, *fixed])
    chosen = spend.affordable(trials, per_trial, anyway, settings.max_cost)
    names = {trial.name for trial in chosen}
    dear = {trial.name: spend.total(per_trial[trial.name]).most for trial in trials if trial.name not in names}
    left_out = [f"{name} may cost {most:.2f} USD: over max_cost beside the others" for name, most in dear.items()]
    warnings = client.catalogue.warnings(asking.base_model)
    return Bill(spent, fixed, per_trial, chosen, left_out, price.model_dump(mode="json"), warnings)


def _follow_up_tokens(settings: Plan, bill: Bill, rows: Rows, price: Price) -> int:
    """Training tokens that each trial's follow-ups may bill: an equal part of the room under the limit.

    A follow-up's checkpoints are scored too, at most ten a round; that is set aside first.
    """
    if not (settings.follow_ups and bill.trials):
        return 0
    scoring = spend.checkpoints_line(Trial(epoch_count=10), rows, price).cost.most * settings.follow_ups
    room = (settings.max_cost - spend.total(bill.lines).most) / len(bill.trials) - scoring
    tokens = room / price.train * spend.MILLION if price.train else 0.0
    return int(min(max(tokens, 0.0), 1e15))


def _asked_line(what: str, input_tokens: int, output_tokens: int, price: Price) -> Line:
    """What was asked already: counted, not estimated."""
    asked, answered = (Amount(float(n), float(n)) for n in (input_tokens, output_tokens))
    return spend.asking_line(f"{what} on validation (spent)", 1, asked, answered, price)


# What is told.


def _write(
    path: str,
    metric: str,
    best: Prompted,
    reasons: list[str],
    bill: Bill,
    settings: Plan,
    test_rows: int,
    print_: str,
    trials: list[dict[str, Any]],
    reports: list[str],
) -> None:
    forecast, limit = spend.total(bill.lines), settings.max_cost
    sentence = f"forecast {forecast.expected:.2f} USD, at most {forecast.most:.2f} of {limit:.2f} allowed"
    write_json(
        path,
        {
            "worthwhile": not reasons,
            "verdict": "tune" if not reasons else "keep_prompt",
            "reasons": reasons,
            "metric": metric,
            "baselines": [json.loads(Path(report).read_text("utf-8")) for report in reports],
            "best_prompt": {**asdict(best), "contestant": best.contestant.model_dump(mode="json")},
            "detectable_lift": detectable_lift(best.value, test_rows),
            "test_rows": test_rows,
            "trials": trials,
            "left_out": bill.left_out,
            "prices": bill.prices,
            "warnings": bill.warnings,
            "costs": [
                {"what": x.what, "tokens": x.tokens.expected, "cost": x.cost.expected, "at_most": x.cost.most}
                for x in bill.lines
            ],
            "cost": forecast.expected,
            "cost_at_most": forecast.most,
            "max_cost": settings.max_cost,
            "sentence": sentence,
            "fingerprint": print_,
        },
    )


def _say(worthwhile: bool, reasons: list[str], bill: Bill, best: Prompted) -> None:
    for warning in [*bill.warnings, *bill.left_out]:
        log.warning("%s", warning)
    for line in bill.lines:
        log.info("bill: %-45s %12.0f tokens %10.4f USD", line.what, line.tokens.expected, line.cost.expected)
    if worthwhile:
        money = spend.total(bill.lines)
        said = f"{len(bill.trials)} trials, {money.expected:.2f} USD (at most {money.most:.2f})"
        log.info("done: %s", f"{said}, to beat {best.contestant.name} at {best.value:.3f}")
    else:
        log.info("done: %s", f"keep {best.contestant.name} at {best.value:.3f}: {reasons[0]}")
