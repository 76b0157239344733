# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The plan's bill: what is spent anyway, what each trial adds, what a larger model may add, and what fits. Pure.

Whatever may be spent on some path is under the limit by its upper bound: a line that is paid only if something turns
out so (a larger model) is expected to cost nothing and bounded by all it may cost.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
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
class Bill:
    """The forecast: what is spent anyway, what each trial would add, and the trials that fit under the limit."""

    spent: list[Line]
    fixed: list[Line]
    per_trial: dict[str, list[Line]]
    trials: list[Trial]
    left_out: list[str]
    prices: dict[str, Any]
    warnings: list[str]
    larger: tuple[Trial, ...] = ()

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
    baselines: Sequence[Asked],
    best: Asked,
    paid: Sequence[Line],
    probed: int,
    remembered: int,
) -> Bill:
    """The bill with the trials, and then the larger models, that fit under the limit, in their order.

    `paid` is what was or will be spent before (prompt searches, augmentation), `probed` the training rows that the
    best prompt is asked about, and `remembered` the champion's old test rows that candidate and champion are asked
    about.
    """
    price = catalogue.price("", asking.base_model)
    spent = [*(one.line(price) for one in baselines), *paid]
    fixed = _fixed(catalogue, asking, [*trials, *larger], rows, best, price, probed, remembered)
    per_trial = {
        trial.name: [spend.tuning_line(trial, rows, own), spend.checkpoints_line(trial, rows, own)]
        for trial in trials
        for own in [catalogue.price(trial.base, asking.base_model)]
    }
    per_trial |= {trial.name: _if_needed(trial, rows, best, catalogue.price(trial.base, "")) for trial in larger}
    anyway = spend.total([*spent, *fixed])
    chosen = spend.affordable(trials, per_trial, anyway, settings.max_cost)
    beside = anyway + sum((spend.total(per_trial[trial.name]) for trial in chosen), Amount(0, 0))
    kept = spend.affordable(larger, per_trial, beside, settings.max_cost) if chosen else []
    names = {trial.name for trial in [*chosen, *kept]}
    dear = {t.name: spend.total(per_trial[t.name]).most for t in [*trials, *larger] if t.name not in names}
    left_out = [f"{name} may cost {most:.2f} USD: over max_cost beside the others" for name, most in dear.items()]
    warnings = catalogue.warnings(asking.base_model)
    return Bill(spent, fixed, per_trial, chosen, left_out, price.model_dump(mode="json"), warnings, tuple(kept))


def _fixed(
    catalogue: Catalogue,
    asking: Evaluate,
    trials: Sequence[Trial],
    rows: Rows,
    best: Asked,
    price: Price,
    probed: int,
    remembered: int,
) -> list[Line]:
    """What every path pays; the candidate may come from the dearest model of all."""
    prices = [price, *(catalogue.price(trial.base, asking.base_model) for trial in trials)]
    dearest = max(prices, key=lambda one: (one.input, one.output))
    asked = Amount(best.input.expected, max(best.input.most, best.input.expected * 1.5))

    def tuned(what: str, requests: int) -> Line:
        line, bound = (
            spend.asking_line(what, requests, rows.prompt_tokens, rows.answer_tokens, p) for p in (price, dearest)
        )
        return replace(line, cost=Amount(line.cost.expected, max(line.cost.most, bound.cost.most)))

    lines = [
        replace(
            spend.asking_line("best prompt on test", rows.test, asked, rows.answer_tokens, price),
            cost=Amount(
                spend.asking_line("", rows.test, asked, rows.answer_tokens, price).cost.expected,
                spend.asking_line("", rows.test, asked, rows.answer_tokens, dearest).cost.most,
            ),
        ),
        tuned("candidate and champion on test", 2 * rows.test),
        Line("idle endpoints", Amount(0, 0), Amount(0, 0)),
    ]
    if probed:
        lines.append(spend.asking_line("best prompt on training rows", probed, asked, rows.answer_tokens, price))
    if remembered:
        lines.append(tuned("candidate and champion on the champion's old test rows", 2 * remembered))
    return lines


def _if_needed(trial: Trial, rows: Rows, best: Asked, price: Price) -> list[Line]:
    """A larger model's lines: the best prompt asked, the job, its checkpoints; nothing is expected of them."""
    asked = Amount(best.input.expected, max(best.input.most, best.input.expected * 1.5))
    prompted = f"{best.contestant.name} of {trial.name} on validation"
    lines = [
        spend.asking_line(prompted, rows.validation, asked, rows.answer_tokens, price),
        spend.tuning_line(trial, rows, price),
        spend.checkpoints_line(trial, rows, price),
    ]
    none = 0.0
    return [Line(f"{one.what}, if needed", Amount(none, one.tokens.most), Amount(none, one.cost.most)) for one in lines]


def follow_up_tokens(catalogue: Catalogue, asking: Evaluate, settings: Plan, bill: Bill, rows: Rows) -> dict[str, int]:
    """Training tokens that each trial's follow-ups may bill: an equal part of the room under the limit, by name.

    A follow-up's checkpoints are scored too, at most ten a round; that is set aside first.
    """
    if not (settings.follow_ups and bill.trials):
        return {trial.name: 0 for trial in bill.trials}
    part = (settings.max_cost - spend.total(bill.lines).most) / len(bill.trials)
    found = {}
    for trial in bill.trials:
        price = catalogue.price(trial.base, asking.base_model)
        scoring = spend.checkpoints_line(Trial(epoch_count=10), rows, price).cost.most * settings.follow_ups
        tokens = (part - scoring) / price.train * spend.MILLION if price.train else 0.0
        found[trial.name] = int(min(max(tokens, 0.0), 1e15))
    return found


def searched_line(tokens: Mapping[str, int], price: Price) -> Line:
    """What a prompt search has cost."""
    asked, answered = (Amount(float(tokens[kind]), float(tokens[kind])) for kind in ("input", "output"))
    return spend.asking_line("prompt search on validation (spent)", 1, asked, answered, price)


def paid_line(what: str, tokens: float, cost: float) -> Line:
    """What a step before has spent, as it counted it."""
    return Line(what, Amount(tokens, tokens), Amount(cost, cost))
