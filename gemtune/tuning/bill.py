# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The plan's bill: what is spent anyway, what each trial adds, what a larger model may add, and what fits. Pure.

Whatever may be spent on some path is under the limit by its upper bound: a line that is paid only if something turns
out so (a larger model) is expected to cost nothing and bounded by all it may cost.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from gemtune.config import Contestant, Evaluate, Plan, Trial
from gemtune.tuning import spend
from gemtune.tuning.catalogue import Catalogue, Price
from gemtune.tuning.spend import Amount, Line, Rows


@dataclass(frozen=True, slots=True)
class Asked:
    """A prompted baseline's tokens: those of one request, and whether its validation rows were asked already."""

    contestant: Contestant
    input: Amount
    output: Amount
    rows: int
    spent: bool = True

    def line(self, price: Price) -> Line:
        """What asking it about the validation rows costs, or has cost."""
        word = " (spent)" if self.spent else ""
        return spend.asking_line(
            f"{self.contestant.name} on validation{word}", self.rows, self.input, self.output, price
        )


@dataclass(frozen=True, slots=True)
class Beside:
    """What is asked beside the trials' checkpoints, and what was paid before.

    `best` is the prompt to beat, `paid` what was or will be spent before (prompt searches, augmentation), `probed` the
    training rows that the best prompt is asked about, `remembered` the champion's old test rows that it and the
    candidate are asked about.
    """

    baselines: Sequence[Asked]
    best: Asked
    paid: Sequence[Line] = ()
    probed: int = 0
    remembered: int = 0
    champion: Contestant | None = None

    @property
    def most_asked(self) -> Amount:
        """Tokens of one request of the best prompt on rows it was not asked about yet."""
        expected = self.best.input.expected
        return Amount(expected, max(self.best.input.most, expected * 1.5))


@dataclass(frozen=True, slots=True)
class Bill:
    """The forecast: what is spent anyway, what each trial would add, and the trials that fit under the limit.

    `prices` are those of the base model, `model_prices` those of every base model that may be asked.
    """

    spent: list[Line]
    fixed: list[Line]
    per_trial: dict[str, list[Line]]
    trials: list[Trial]
    left_out: list[str]
    prices: dict[str, Any]
    warnings: list[str]
    larger: tuple[Trial, ...] = ()
    model_prices: dict[str, Any] = field(default_factory=dict)
    follow_up_tokens: dict[str, int] = field(default_factory=dict)

    @property
    def lines(self) -> list[Line]:
        """Every line of what is planned."""
        planned = [*self.trials, *self.larger]
        return [*self.spent, *(line for trial in planned for line in self.per_trial[trial.name]), *self.fixed]


def draw_up(
    catalogue: Catalogue,
    asking: Evaluate,
    settings: Plan,
    trials: Sequence[Trial],
    larger: Sequence[Trial],
    rows: Rows,
    beside: Beside,
) -> Bill:
    """The bill with the trials, and then the larger models, that fit under the limit, in their order."""
    base, everyone = asking.base_model, [*trials, *larger]
    price, prices = catalogue.price("", base), {trial.name: catalogue.price_of(trial, base) for trial in everyone}
    champion = catalogue.price(beside.champion.base_model if beside.champion else "", base)
    spent = [*(one.line(price) for one in beside.baselines), *beside.paid]
    fixed = _fixed(price, prices[trials[0].name], champion, list(prices.values()), rows, beside)
    per_trial = {trial.name: _lines(trial, rows, prices[trial.name]) for trial in trials}
    per_trial |= {trial.name: _if_needed(trial, rows, beside, prices[trial.name]) for trial in larger}
    anyway = spend.total([*spent, *fixed])
    chosen = spend.affordable(trials, per_trial, anyway, settings.max_cost)
    with_them = anyway + sum((spend.total(per_trial[trial.name]) for trial in chosen), Amount(0, 0))
    kept = spend.affordable(larger, per_trial, with_them, settings.max_cost) if chosen else []
    left_out = spend.left_out([t.name for t in everyone if t not in (*chosen, *kept)], per_trial)
    known = {model: catalogue.price(model, base) for model in _bases(trials, larger, base, beside.champion)}
    return Bill(
        spent, fixed, per_trial, chosen, left_out, price.model_dump(mode="json"), catalogue.warnings(base), tuple(kept),
        {model: one.model_dump(mode="json") for model, one in known.items()},
    )  # fmt: skip


def _bases(
    trials: Sequence[Trial], larger: Sequence[Trial], base_model: str, champion: Contestant | None
) -> Iterable[str]:
    """Base models of all that may be asked."""
    named = [trial.base_model or trial.base for trial in (*trials, *larger)]
    named += [base_model, champion.base_model if champion else ""]
    return dict.fromkeys(name for name in named if name and not name.startswith("projects/"))


def _fixed(
    price: Price, candidate: Price, champion: Price, all_prices: Sequence[Price], rows: Rows, beside: Beside
) -> list[Line]:
    """What every path pays; the candidate, and the prompt to beat, may be of the dearest model of all."""
    dearest = max([price, candidate, champion, *all_prices], key=lambda one: (one.input, one.output))

    def asked(what: str, requests: int, prompt: Amount, likely: Price, most: Price) -> Line:
        line, bound = (spend.asking_line(what, requests, prompt, rows.answer_tokens, p) for p in (likely, most))
        return replace(line, cost=Amount(line.cost.expected, max(line.cost.most, bound.cost.most)))

    def tuned(what: str, requests: int) -> Line:
        ours = asked(what, requests, rows.prompt_tokens, candidate, dearest)
        theirs = asked(what, requests, rows.prompt_tokens, champion, champion)
        return Line(what, ours.tokens + theirs.tokens, ours.cost + theirs.cost)

    lines = [
        asked("best prompt on test", rows.test, beside.most_asked, price, dearest),
        tuned("candidate and champion on test", rows.test),
        Line("idle endpoints", Amount(0, 0), Amount(0, 0)),
    ]
    if beside.probed:
        lines.append(asked("best prompt on training rows", beside.probed, beside.most_asked, price, price))
    if beside.remembered:
        lines.append(tuned("candidate and champion on the champion's old test rows", beside.remembered))
    return lines


def _lines(trial: Trial, rows: Rows, price: Price) -> list[Line]:
    """What one trial adds."""
    return [spend.tuning_line(trial, rows, price), spend.checkpoints_line(trial, rows, price)]


def _if_needed(trial: Trial, rows: Rows, beside: Beside, price: Price) -> list[Line]:
    """A larger model's lines: the best prompt asked, the job, its checkpoints; nothing is expected of them."""
    prompted = f"{beside.best.contestant.name} of {trial.name} on validation"
    lines = [
        spend.asking_line(prompted, rows.validation, beside.most_asked, rows.answer_tokens, price),
        *_lines(trial, rows, price),
    ]
    none = 0.0
    return [Line(f"{one.what}, if needed", Amount(none, one.tokens.most), Amount(none, one.cost.most)) for one in lines]


def with_follow_ups(catalogue: Catalogue, asking: Evaluate, settings: Plan, bill: Bill, rows: Rows) -> Bill:
    """The bill with a line for each trial's follow-ups, and the training tokens that they may bill.

    A round at most doubles the epochs. Trials have equal parts of the room under the limit; the follow-ups' checkpoints
    are scored too, which is set aside first.
    """
    if not (settings.follow_ups and bill.trials):
        return bill
    part = (settings.max_cost - spend.total(bill.lines).most) / len(bill.trials)
    per_trial, tokens = dict(bill.per_trial), {}
    for trial in bill.trials:
        price = catalogue.price_of(trial, asking.base_model)
        longer = [trial.epoch_count * 2**n for n in range(1, settings.follow_ups + 1)]
        asked = [spend.checkpoints_line(trial.model_copy(update={"epoch_count": n}), rows, price) for n in longer]
        scoring, once = spend.total(asked).most, price.train / spend.MILLION
        wanted, room = rows.tokens_of(trial).most / trial.epoch_count * sum(longer), part - scoring
        tokens[trial.name] = int(min(wanted, room / once if once else wanted)) if room > 0 else 0
        if left := tokens[trial.name]:
            most = Amount(0.0, left + sum(line.tokens.most for line in asked))
            line = Line(f"follow-ups of {trial.name}, if needed", most, Amount(0.0, left * once + scoring))
            per_trial[trial.name] = [*per_trial[trial.name], line]
    return replace(bill, per_trial=per_trial, follow_up_tokens=tokens)


def searched_line(tokens: Mapping[str, int], price: Price) -> Line:
    """What a prompt search has cost."""
    asked, answered = (Amount(float(tokens[kind]), float(tokens[kind])) for kind in ("input", "output"))
    return spend.asking_line("prompt search on validation (spent)", 1, asked, answered, price)


def paid_line(what: str, tokens: float, cost: float) -> Line:
    """What a step before has spent, as it counted it."""
    return Line(what, Amount(tokens, tokens), Amount(cost, cost))
