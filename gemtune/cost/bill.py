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

from gemtune.catalogue import Catalogue, Price
from gemtune.config import Evaluate, ModelVariant, Plan, Trial
from gemtune.cost import spend
from gemtune.cost.spend import NOTHING, Amount, Line, Opinions, Rows
from gemtune.evaluation.scorers import sum_by_model
from gemtune.inference.requests import answer_token_limit

OTHER_ROWS = 1.5  # how much longer rows may be that were not counted


@dataclass(frozen=True, slots=True)
class Asked:
    """A prompted baseline's tokens: those of one row, and whether its validation rows were asked already.

    `compared` are rows whose answers a judge compares with another's, `wording` the tokens of an instruction that is
    not written yet (they are in `input` too), `batched` the share of its tokens that batch jobs take.
    """

    variant: ModelVariant
    input: Amount
    output: Amount
    rows: int
    spent: bool = True
    compared: int = 0
    wording: Amount = NOTHING
    batched: float = 0.0

    @classmethod
    def unasked(cls, asking: Evaluate, variant: ModelVariant, prompt: Amount, rows: int) -> Asked:
        """What can be told of it before it is asked, from the tokens of one request."""
        longest = answer_token_limit(variant.prompt) or asking.max_output_tokens
        put, got = (one.times(asking.samples_per_row) for one in (prompt, Amount(longest / 2, longest)))
        batched = spend.by_batch(asking, rows * asking.samples_per_row)
        return cls(variant, put, got, rows, spent=False, batched=float(batched))

    def line(self, price: Price) -> Line:
        """What asking it about the validation rows costs, or has cost."""
        what = f"{self.variant.name} on validation{' (spent)' if self.spent else ''}"
        line = spend.asking_line(what, self.rows, self.input, self.output, price)
        paid = 1 - self.batched * (1 - price.batch)
        return Line(what, line.tokens, Amount(line.cost.expected * paid, line.cost.most * (paid if self.spent else 1)))

    def lines(self, judging: Opinions, price: Price) -> list[Line]:
        """The same, and the opinions on its answers; those on answers given already were counted."""
        line = self.line(price)
        return [line, *([] if self.spent else judging.lines(line.what, self.rows, self.compared, price))]


@dataclass(frozen=True, slots=True)
class Beside:
    """What is asked beside the trials' checkpoints, and what was paid before.

    `best` is the prompt to beat, `tested` its tokens for a test row, `paid` what was or will be spent before (prompt
    searches, augmentation), `probed` the training rows that the best prompt is asked about (`probe` its tokens for
    one), `remembered` the champion's old test rows that it and the candidate are asked about.
    """

    baselines: Sequence[Asked]
    best: Asked
    tested: Amount
    paid: Sequence[Line] = ()
    probed: int = 0
    probe: Amount = NOTHING
    remembered: int = 0
    champion: ModelVariant | None = None

    @property
    def most_asked(self) -> Amount:
        """Tokens that the best prompt takes for a validation row when another model is asked."""
        expected = self.best.input.expected
        return Amount(expected, max(self.best.input.most, OTHER_ROWS * expected))

    def answered(self, asking: Evaluate, samples: int) -> Amount:
        """Tokens of its answers to such a row."""
        longest = answer_token_limit(self.best.variant.prompt) or asking.max_output_tokens
        return Amount(self.best.output.expected, samples * longest)


@dataclass(frozen=True, slots=True)
class Bill:
    """The forecast: what is spent anyway, what each trial would add, and the trials that fit under the limit.

    `kept` is what is paid when the prompt is kept; empty while nothing speaks against tuning. `prices` are those of the
    base model, `model_prices` those of every base model that may be asked, and of the judge, `service_prices` what the
    evaluation service takes for 1,000 answers by metric.
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
    service_prices: dict[str, float] = field(default_factory=dict)
    follow_up_tokens: dict[str, int] = field(default_factory=dict)
    kept: list[Line] = field(default_factory=list)

    @property
    def lines(self) -> list[Line]:
        """Every line of what is planned."""
        if self.kept:
            return self.kept
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
    spent = [*(line for one in beside.baselines for line in one.lines(rows.judging, price)), *beside.paid]
    answered = beside.answered(asking, rows.samples)
    dearest = _dearest([price, champion, *prices.values()])
    fixed = [
        *_prompted(asking, (price, dearest), rows, beside, answered),
        *_finalists((prices[trials[0].name], champion, dearest, price), rows, beside),
        *rows.judging.check(),
        Line("idle endpoints", NOTHING, NOTHING),
    ]
    per_trial = {trial.name: _lines(trial, rows, prices[trial.name], price) for trial in trials}
    per_trial |= {trial.name: _if_needed(trial, rows, beside, prices[trial.name], answered) for trial in larger}
    anyway = spend.total([*spent, *fixed])
    chosen = spend.affordable(trials, per_trial, anyway, settings.max_cost)
    with_them = anyway + sum((spend.total(per_trial[trial.name]) for trial in chosen), NOTHING)
    kept = spend.affordable(larger, per_trial, with_them, settings.max_cost) if chosen else []
    left_out = spend.left_out([t.name for t in everyone if t not in (*chosen, *kept)], per_trial)
    asked = [*_bases(trials, larger, base, beside.champion), *filter(None, [asking.judge.model])]
    known = {model: catalogue.price(model, base).model_dump(mode="json") for model in asked}
    return Bill(
        spent, fixed, per_trial, chosen, left_out, price.model_dump(mode="json"), catalogue.warnings(base), tuple(kept),
        known, {metric: catalogue.scoring_price(metric) for metric in asking.service},
    )  # fmt: skip


def _bases(
    trials: Sequence[Trial], larger: Sequence[Trial], base_model: str, champion: ModelVariant | None
) -> Iterable[str]:
    """Base models of all that may be asked."""
    named = [trial.base_model or trial.base for trial in (*trials, *larger)]
    named += [base_model, champion.base_model if champion else ""]
    return dict.fromkeys(name for name in named if name and not name.startswith("projects/"))


def _dearest(prices: Sequence[Price]) -> Price:
    return max(prices, key=lambda one: (one.input, one.output))


def _prompted(asking: Evaluate, prices: tuple[Price, Price], rows: Rows, beside: Beside, answer: Amount) -> list[Line]:
    """The best prompt on test data and on training rows; on test it may be asked of the dearest model of all.

    `prices` are those of the base model and of the dearest.
    """
    asked = [("best prompt on test", rows.test, beside.tested, prices[1])]
    asked += [("best prompt on training rows", beside.probed, beside.probe, prices[0])] if beside.probed else []
    return [
        spend.expected_by_batch(_up_to(what, count, put, answer, prices[0], most), asking, count, prices[0])
        for what, count, put, most in asked
    ]


def _finalists(prices: tuple[Price, Price, Price, Price], rows: Rows, beside: Beside) -> list[Line]:
    """Candidate and champion on test data and on the champion's old rows, and the opinions on all that meet there.

    `prices` are those of the likely candidate, of the champion, of the dearest model of all, and of the base model. No
    champion is expected where there is none now, but there may be one by then.
    """
    candidate, champion, dearest, base = prices

    def tuned(what: str, count: int, put: Amount = rows.prompt_tokens) -> Line:
        requests, got = count * rows.samples, rows.answer_tokens
        ours = _up_to(what, requests, put, got, candidate, dearest)
        theirs = spend.asking_line(what, requests, put, got, champion)
        theirs = theirs if beside.champion else spend.unlikely(theirs)
        return Line(what, ours.tokens + theirs.tokens, ours.cost + theirs.cost)

    lines, met, there = [tuned("candidate and champion on test", rows.test)], "the finalists on test", 2
    if beside.champion:
        there = 3
    likely, most = (rows.judging.lines(met, n * rows.test, (n - 1) * rows.test, base) for n in (there, 3))
    lines += [spend.between(one, other) for one, other in zip(likely, most, strict=True)]
    if beside.remembered:
        longer = Amount(rows.prompt_tokens.expected, OTHER_ROWS * rows.prompt_tokens.most)
        lines.append(tuned("candidate and champion on the champion's old test rows", beside.remembered, longer))
    return lines


def _up_to(what: str, requests: int, put: Amount, got: Amount, likely: Price, most: Price) -> Line:
    """Requests at the likely price, bounded by the other."""
    return spend.between(*(spend.asking_line(what, requests, put, got, price) for price in (likely, most)))


def _lines(trial: Trial, rows: Rows, price: Price, rater: Price) -> list[Line]:
    """What one trial adds."""
    return [spend.tuning_line(trial, rows, price), *spend.checkpoints_lines(trial, rows, price, rater)]


def _if_needed(trial: Trial, rows: Rows, beside: Beside, price: Price, answered: Amount) -> list[Line]:
    """A larger model's lines: the best prompt asked, the job, its checkpoints; nothing is expected of them."""
    prompted = f"{beside.best.variant.name} of {trial.name} on validation"
    lines = [
        spend.asking_line(prompted, rows.validation, beside.most_asked, answered, price),
        *rows.judging.lines(prompted, rows.validation, 0, price),
        *_lines(trial, rows, price, price),
    ]
    return [spend.unlikely(replace(line, what=f"{line.what}, if needed")) for line in lines]


def with_follow_ups(catalogue: Catalogue, asking: Evaluate, settings: Plan, bill: Bill, rows: Rows) -> Bill:
    """The bill with a line for each trial's follow-ups, and the training tokens that they may bill.

    A round at most doubles the epochs. Trials have equal parts of the room under the limit; the follow-ups' checkpoints
    are scored too, which is set aside first.
    """
    if not (settings.follow_ups and bill.trials):
        return bill
    rater = catalogue.price("", asking.base_model)
    part = (settings.max_cost - spend.total(bill.lines).most) / len(bill.trials)
    per_trial, tokens = dict(bill.per_trial), {}
    for trial in bill.trials:
        price = catalogue.price_of(trial, asking.base_model)
        longer = [trial.epoch_count * 2**n for n in range(1, settings.follow_ups + 1)]
        follow_ups = [trial.model_copy(update={"epoch_count": n}) for n in longer]
        asked = [line for one in follow_ups for line in spend.checkpoints_lines(one, rows, price, rater)]
        # each round's first is compared with the trial's own
        asked += rows.judging.lines("", 0, rows.validation * len(longer), rater)
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


def opinions_paid(told: Sequence[Mapping[str, Any]], catalogue: Catalogue) -> list[dict[str, Any]]:
    """What was asked about the baselines' answers on validation data, from their reports, as lines that were paid."""
    return [
        line
        for report in told
        for entry in report["variants"]
        for line in spend.opinions_charged(
            f"{entry['variant']['name']} on validation (spent)", entry, catalogue.full_price, catalogue.service
        )
    ]


def replies_of(told: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Mean tokens of a rater's and of a judge's reply, by model, as those on the baselines' answers show."""
    found = sum_by_model(*(entry.get("judging", {}) for report in told for entry in report["variants"]))
    return {model: one["output"] / one["requests"] for model, one in found.items() if one["requests"]}
