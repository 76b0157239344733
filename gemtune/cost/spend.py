# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The bill before it is spent: tokens of the rows, lines of cost, what fits under a hard limit.

Tuning is billed per token of the training rows and epoch, asking per token in and out; a tuned Gemini model costs
nothing while idle. Tokens are counted by the service on a sample and scaled by length beyond it (a ratio estimator,
Cochran 1977), with an upper bound of three standard errors. Whatever is decided is decided by the upper bound. Pure.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gemtune.catalogue import Price
from gemtune.config import Evaluate, ModelVariant, Trial
from gemtune.errors import UserError

MILLION = 1_000_000
CERTAIN = 3.0
# what the plan says of a trial; it does not change what the job makes
TOLD = frozenset({"plan", "forecast_tokens", "max_billable_tokens", "follow_up_tokens", "follow_ups", "base_model"})
OPINIONS = "opinions on "  # begins the lines of what is asked about answers
SHEET = "the sheet that people rated"
MARGIN = 0.05  # of an estimated (not of a counted) number: guards a sample too small to know its own error


@dataclass(frozen=True, slots=True)
class Amount:
    """An expected number and a bound that it will not exceed."""

    expected: float
    most: float

    def __add__(self, other: Amount) -> Amount:
        return Amount(self.expected + other.expected, self.most + other.most)

    def times(self, factor: float) -> Amount:
        """Both numbers multiplied."""
        return Amount(self.expected * factor, self.most * factor)


NOTHING = Amount(0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the bill: tokens and US dollars."""

    what: str
    tokens: Amount
    cost: Amount


@dataclass(frozen=True, slots=True)
class Request:
    """Tokens of one request, and of its reply."""

    put: Amount
    got: Amount


@dataclass(frozen=True, slots=True)
class Opinions:
    """What is asked about each answer: a rater's words, a judge's ratings and comparisons, the service's scores.

    `judge` is the judge's price, `samples` its ratings of an answer, `sheet` its ratings of what people rated; `scored`
    are US dollars that the evaluation service takes for an answer.
    """

    words: Request | None = None
    rating: Request | None = None
    comparison: Request | None = None
    judge: Price | None = None
    samples: int = 1
    sheet: Request | None = None
    sheet_rows: int = 0
    scored: float = 0.0

    def lines(self, of: str, answers: float, pairs: float, rater: Price) -> list[Line]:
        """What so many answers and compared pairs of them cost: one line, or none when nothing is asked.

        `rater` is the price of the model that puts its confidence into words.
        """
        parts = [asking_line("", answers, self.words.put, self.words.got, rater)] if self.words else []
        if self.rating and self.comparison and self.judge:
            parts.append(asking_line("", answers * self.samples, self.rating.put, self.rating.got, self.judge))
            parts.append(
                asking_line("", 2 * pairs * self.samples, self.comparison.put, self.comparison.got, self.judge)
            )
        if self.scored:
            parts.append(Line("", NOTHING, Amount(answers * self.scored, answers * self.scored)))
        return [_merged(f"{OPINIONS}{of}", parts)] if parts else []

    def check(self) -> list[Line]:
        """What asking the judge about people's sheet costs; none when there is no sheet."""
        if not (self.sheet and self.judge):
            return []
        what = f"{OPINIONS}{SHEET}"
        return [asking_line(what, self.sheet_rows * self.samples, self.sheet.put, self.sheet.got, self.judge)]

    def unread(self, sheet: str) -> list[str]:
        """A warning where a sheet is named that nobody read."""
        missing = sheet and self.judge and not self.sheet_rows
        return [f"{sheet} was not read: what judging its answers costs is not on this bill"] if missing else []


@dataclass(frozen=True, slots=True)
class Rows:
    """What a run asks and trains on: rows of each split, tokens of all training rows, tokens of one tuned prompt.

    `weighted_tokens` are those of the training rows with hard ones weighted, where that is wanted. Each row is asked
    `samples` times, and `opinions` on each answer.
    """

    validation: int
    test: int
    training_tokens: Amount
    prompt_tokens: Amount
    answer_tokens: Amount
    train: int = 0
    weighted_tokens: Amount | None = None
    samples: int = 1
    judging: Opinions = Opinions()

    def tokens_of(self, trial: Trial) -> Amount:
        """Training tokens that the trial bills."""
        once = self.weighted_tokens if trial.weighted and self.weighted_tokens else self.training_tokens
        return once.times(trial.epoch_count)


def weighted(lengths: Sequence[int], tokens: Amount, factor: float, added: int, most_copies: int) -> Amount:
    """Tokens after hard rows were repeated: `factor` times as many rows expected, at most `added` more, the longest."""
    most_extra = max(1, most_copies - 1)
    longest = sorted(lengths, reverse=True)[: math.ceil(added / most_extra)]
    extra = most_extra * sum(longest) * tokens.most / max(1, sum(lengths))
    return Amount(tokens.expected * factor, tokens.most + extra)


def estimate(lengths: Sequence[int], counted: Mapping[int, int], wanted: Sequence[int] | None = None) -> Amount:
    """Tokens of the rows, from their lengths (characters) and the counted tokens of some (index to tokens).

    `wanted` are the indices of the rows meant; all of them without it.
    """
    wanted = range(len(lengths)) if wanted is None else wanted
    known = float(sum(counted.get(index, 0) for index in wanted))
    left = [lengths[index] for index in wanted if index not in counted]
    if not left:
        return Amount(known, known)
    chars = sum(lengths[index] for index in counted)
    ratio = sum(counted.values()) / chars
    residuals = [tokens - ratio * lengths[index] for index, tokens in counted.items()]
    size = len(counted)
    spread = math.sqrt(sum(r * r for r in residuals) / max(1, size - 1))
    error = spread * len(left) * math.sqrt(1 / size + 1 / len(left))
    guessed = ratio * sum(left)
    return Amount(known + guessed, known + guessed * (1 + MARGIN) + CERTAIN * error)


def tuning_line(trial: Trial, rows: Rows, price: Price) -> Line:
    """Training tokens times epochs."""
    tokens = rows.tokens_of(trial)
    return Line(f"tuning {trial.name}", tokens, tokens.times(price.train / MILLION))


def checkpoints_line(trial: Trial, rows: Rows, price: Price) -> Line:
    """Every checkpoint asked every validation row."""
    return asking_line(
        f"checkpoints of {trial.name} on validation",
        rows.validation * checkpoint_count(trial.epoch_count) * rows.samples,
        rows.prompt_tokens,
        rows.answer_tokens,
        price,
    )


def checkpoints_lines(trial: Trial, rows: Rows, price: Price, rater: Price) -> list[Line]:
    """The same, and the opinions on the answers; each checkpoint but one is compared with another."""
    line, count = checkpoints_line(trial, rows, price), checkpoint_count(trial.epoch_count)
    return [line, *rows.judging.lines(line.what, rows.validation * count, rows.validation * (count - 1), rater)]


def _merged(what: str, parts: Sequence[Line]) -> Line:
    return Line(what, sum((part.tokens for part in parts), NOTHING), total(parts))


def asking_line(what: str, requests: float, prompt: Amount, answer: Amount, price: Price) -> Line:
    """Requests of so many tokens in and out each."""
    asked, answered = prompt.times(requests), answer.times(requests)
    cost = asked.times(price.input / MILLION) + answered.times(price.output / MILLION)
    return Line(what, asked + answered, cost)


def by_batch(asking: Evaluate, requests: int) -> bool:
    """Whether so many requests to a base model go to batch jobs."""
    return 0 < asking.batch_above < requests


def expected_by_batch(line: Line, asking: Evaluate, requests: int, price: Price) -> Line:
    """The line at what batch jobs take, where they are asked; it stays bounded by the full price."""
    paid = price.batch if by_batch(asking, requests) else 1.0
    return Line(line.what, line.tokens, Amount(line.cost.expected * paid, line.cost.most))


def between(likely: Line, most: Line) -> Line:
    """What the one expects, bounded by both."""
    tokens = Amount(likely.tokens.expected, max(likely.tokens.most, most.tokens.most))
    return Line(likely.what, tokens, Amount(likely.cost.expected, max(likely.cost.most, most.cost.most)))


def unlikely(line: Line) -> Line:
    """The line, expected to cost nothing."""
    return Line(line.what, Amount(0.0, line.tokens.most), Amount(0.0, line.cost.most))


def checkpoint_count(epochs: int) -> int:
    """Checkpoints the service keeps: one an epoch, ten at most."""
    return min(epochs, 10)


def covers(longer: int, shorter: int) -> bool:
    """Whether a job of `longer` epochs leaves a checkpoint at the end of epoch `shorter`."""
    if longer <= 10:
        return shorter <= longer
    return shorter <= longer and any(round(longer * k / 10) == shorter for k in range(1, 11))


def shared(trials: Sequence[Trial]) -> list[Trial]:
    """Trials that differ in epochs alone become the longest of them, where its checkpoints stand for the others."""
    kept: list[Trial] = []
    for trial in sorted(trials, key=lambda t: -t.epoch_count):
        alike = {"epoch_count": trial.epoch_count, "name": trial.name}
        if not any(k.model_copy(update=alike) == trial and covers(k.epoch_count, trial.epoch_count) for k in kept):
            kept.append(trial)
    order = {id(t): n for n, t in enumerate(trials)}
    return sorted(kept, key=lambda t: order[id(t)])


def named(trials: Sequence[Trial], share_epochs: bool) -> list[Trial]:
    """The trials to run, each with a name of its own; raises `UserError` for a name given twice."""
    wanted = shared(trials) if share_epochs else list(trials)
    names = [trial.name or f"trial-{number}" for number, trial in enumerate(wanted, 1)]
    if len(set(names)) < len(names):
        raise UserError(f"trials need names of their own, got {', '.join(names)}", remedy="set plan.trials")
    return [trial.model_copy(update={"name": name}) for name, trial in zip(names, wanted, strict=True)]


def continued(trials: Sequence[Trial], champion: ModelVariant | None) -> list[Trial]:
    """The trials, started from the champion's checkpoint unless they name a start of their own."""
    if champion is None:
        return list(trials)
    start = {
        "base": champion.tuned_model,
        "checkpoint_id": champion.checkpoint_id,
        "base_model": champion.base_model,
    }
    return [trial if trial.base else trial.model_copy(update=start) for trial in trials]


def total(lines: Sequence[Line]) -> Amount:
    """The sum of the bill in US dollars."""
    return sum((line.cost for line in lines), NOTHING)


def affordable(trials: Sequence[Trial], lines: dict[str, list[Line]], fixed: Amount, limit: float) -> list[Trial]:
    """The trials, in their order, that fit under the limit beside what is spent anyway; a dear one is passed over."""
    room = limit - fixed.most
    chosen = []
    for trial in trials:
        cost = total(lines[trial.name]).most
        if cost <= room:
            room -= cost
            chosen.append(trial)
    return chosen


def charged(tokens: Mapping[str, int], prices: Mapping[str, float]) -> float:
    """What asking cost (US dollars) by the tokens that the service counted; batch jobs cost a share of the price."""
    saved = 1 - prices.get("batch", 1.0)
    full = (
        (tokens[side] - saved * tokens.get(f"batch_{side}", 0)) * prices.get(side, 0.0) for side in ("input", "output")
    )
    return sum(full) / MILLION


def opinions_charged(
    of: str, told: Mapping[str, Any], price: Callable[[str], Mapping[str, float]], scored: Mapping[str, float]
) -> list[dict[str, Any]]:
    """The ledger's line of the opinions on a variant's answers, as its report counts them; none when there are none.

    `price` gives that of a model, `scored` what the evaluation service takes for 1,000 answers by metric (US dollars).
    """
    asked: Mapping[str, Mapping[str, int]] = told.get("judging", {})
    rows = {metric: one["scored"] for metric, one in told.get("service", {}).items() if metric in scored}
    if not asked and not rows:
        return []
    tokens = sum(one["input"] + one["output"] for one in asked.values())
    cost = sum(charged(one, price(model)) for model, one in asked.items())
    cost += sum(count * scored[metric] / 1000 for metric, count in rows.items())
    return [{"what": f"{OPINIONS}{of}", "tokens": tokens, "cost": cost}]


def left_out(names: Sequence[str], lines: dict[str, list[Line]]) -> list[str]:
    """What to say of the trials that do not fit."""
    dear = {name: total(lines[name]).most for name in names}
    return [f"{name} may cost {most:.2f} USD: over max_cost beside the others" for name, most in dear.items()]


def least(lines: dict[str, list[Line]], anyway: Sequence[Line]) -> float:
    """Upper bound (US dollars) of the whole bill with the cheapest trial alone."""
    return min(total(own).most for own in lines.values()) + total(anyway).most


def told(lines: Sequence[Line], limit: float) -> dict[str, Any]:
    """The bill as a plan's artifact has it: its lines, their sum and the limit (US dollars)."""
    money = total(lines)
    return {
        "costs": [
            {"what": x.what, "tokens": x.tokens.expected, "cost": x.cost.expected, "at_most": x.cost.most}
            for x in lines
        ],
        "cost": money.expected,
        "cost_at_most": money.most,
        "max_cost": limit,
        "sentence": f"forecast {money.expected:.2f} USD, at most {money.most:.2f} of {limit:.2f} allowed",
    }
