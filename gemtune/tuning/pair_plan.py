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
from dataclasses import dataclass, field, replace
from typing import Any

from gemtune.catalogue import Catalogue, Price
from gemtune.config import Evaluate, Judge, ModelVariant, Plan, Preference, Task, Trial, fingerprint
from gemtune.cost import spend
from gemtune.cost.bill import Asked, Bill, opinions_paid, paid_line, replies_of
from gemtune.cost.counting import Count, bounded, count_opinions, count_tuned, guess
from gemtune.cost.prompted import Prompting
from gemtune.cost.spend import NOTHING, Amount, Line, Opinions, Request
from gemtune.data import pairs as paired
from gemtune.data.example import Example
from gemtune.data.pairs import Pair
from gemtune.errors import UserError
from gemtune.evaluation.intervals import smallest_detectable_lift
from gemtune.evaluation.judge import pairwise_requests
from gemtune.inference.requests import answer_token_limit
from gemtune.inference.tuning_rows import chosen_rows, preference_rows
from gemtune.vertex import Client

log = logging.getLogger("gemtune")

METRIC = "win_rate"
BETA_LOW, BETA_HIGH = 0.01, 0.5  # recommended, both included
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Terms:
    """What a plan is bound by: the settings, the prices, and the model in service (None: none)."""

    asking: Evaluate
    limits: Plan
    rules: Preference
    catalogue: Catalogue
    champion: ModelVariant | None = None

    @property
    def price(self) -> Price:
        """Of the base model."""
        return self.catalogue.price("", self.asking.base_model)

    @property
    def judge(self) -> Price | None:
        """Of the judge that ranks answers; None when references rank them."""
        judged = self.rules.ranked_by == "judge"
        return self.catalogue.price("", self.rules.judge.model) if judged else None


@dataclass(frozen=True, slots=True)
class Sizes:
    """What is trained on and asked: prompts of the held-out splits, tokens of the rows and of one request."""

    pairs: int
    validation: int
    test: int
    supervised_tokens: Amount
    preference_tokens: Amount
    prompt_tokens: Amount
    answer_tokens: Amount
    judging: Opinions = field(default_factory=Opinions)
    ranking: Opinions = field(default_factory=Opinions)
    """What the judge that ranks answers is asked; nothing when references rank them."""
    best: Request | None = None
    """Tokens a validation row of the best prompt, where they are known; else it is asked as the tuned models are."""
    best_on_test: Request | None = None


def jobs(terms: Terms) -> tuple[Trial | None, list[Trial]]:
    """The supervised job that comes first (None when not wanted) and the preference trials, named.

    By setting they start from the champion. Raises `UserError` for settings that belong to supervised tuning alone;
    warns of a `beta` outside the advice.
    """
    limits, rules = terms.limits, terms.rules
    if limits.preset != "trials":
        raise UserError(f"plan.preset={limits.preset} is for supervised tuning", remedy="list plan.trials")
    if limits.follow_ups:
        raise UserError("plan.follow_ups is for supervised tuning", remedy="list further plan.trials")
    trials = [trial.model_copy(update={"method": "preference"}) for trial in limits.trials]
    trials = spend.named(trials, limits.share_epochs)
    for trial in trials:
        if not BETA_LOW <= trial.beta <= BETA_HIGH:
            log.warning(
                "%s: beta %g lies outside the recommended %g to %g", trial.name, trial.beta, BETA_LOW, BETA_HIGH
            )
    first = _supervised(rules, trials)
    if limits.continue_champion:
        trials = spend.continued(trials, terms.champion)
        first = spend.continued([first], terms.champion)[0] if first else None
    return first, trials


def _supervised(rules: Preference, trials: Sequence[Trial]) -> Trial | None:
    if not rules.supervised_epochs:
        return None
    if len(sizes := sorted({trial.adapter_size for trial in trials})) > 1:
        raise UserError(
            f"trials of adapter sizes {', '.join(map(str, sizes))} cannot continue one supervised job",
            remedy="use one adapter_size, or preference.supervised_epochs=0",
        )
    return Trial(
        name="supervised",
        epoch_count=rules.supervised_epochs,
        learning_rate_multiplier=rules.supervised_learning_rate_multiplier,
        adapter_size=trials[0].adapter_size,
    )


def require(client: Client, base_model: str, trials: Sequence[Trial]) -> None:
    """Raise `UserError` unless the base model can be tuned as each of these jobs is, here and with its adapter."""
    for trial in trials:
        base = trial.base or base_model
        if not base.startswith("projects/"):
            client.catalogue.require(
                base,
                trial.method,
                client.location,
                adapter_sizes=(trial.adapter_size,),
                encryption_key=client.settings.encryption_key,
            )


# -- tokens ----------------------------------------------------------------------------------------------------------


def sizes(
    count: Count,
    task: Task,
    splits: Sequence[Sequence[Example]],
    pairs: Sequence[Pair],
    terms: Terms,
    told: Sequence[Mapping[str, Any]] = (),
) -> Sizes:
    """What is trained on and asked, its tokens counted on a sample; `told` are the reports on prompts asked already."""
    sample = terms.limits.token_sample
    preferred = preference_rows(task, splits[0], pairs)
    tokens, answer = tokens_of(count, preferred, sample)
    prompt = count_tuned(count, terms.asking, terms.limits, task, splits[1:])
    chosen = chosen_rows(task, splits[0], pairs) if terms.rules.supervised_epochs else []
    supervised = tokens_of(count, chosen, sample)[0] if chosen else NOTHING
    everything = [row for split in splits for row in split]
    judging = count_opinions(count, terms.asking, terms.catalogue, task, everything, sample, replies_of(told))
    ranking = ranked(count, task, everything, terms)
    return Sizes(len(preferred), len(splits[1]), len(splits[2]), supervised, tokens, prompt, answer, judging, ranking)


def ranked(count: Count, task: Task, rows: Sequence[Example], terms: Terms) -> Opinions:
    """What the judge that ranks answers is asked about such rows, and about what people rated."""
    if terms.judge is None:
        return Opinions()
    alone = terms.asking.without_judging().model_copy(update={"judge": terms.rules.judge})
    return count_opinions(count, alone, terms.catalogue, task, rows, terms.limits.token_sample, {})


def best_of(sizes: Sizes, best: ModelVariant, told: Sequence[Mapping[str, Any]], prompting: Prompting) -> Sizes:
    """The sizes with what a row put to the best prompt took, as its report says, and may take at most."""
    asking = prompting.asking
    longest = asking.samples_per_row * (answer_token_limit(best.prompt) or asking.max_output_tokens)
    for report in told:
        for entry in report["variants"]:
            if entry["variant"]["name"] == best.name:
                put, got = (entry["tokens"][side] / max(1, report["rows"]) for side in ("input", "output"))
                return with_best(sizes, best, Request(Amount(put, put), Amount(got, longest)), prompting)
    return sizes


def with_best(sizes: Sizes, best: ModelVariant, row: Request, prompting: Prompting) -> Sizes:
    """The sizes with the best prompt's tokens: `row` those of a validation row; its test rows are counted."""
    on_test = prompting.sizes(best)[1].times(prompting.asking.samples_per_row)
    return replace(sizes, best=row, best_on_test=Request(on_test, row.got))


def tokens_of(count: Count, rows: Sequence[Row], sample: int) -> tuple[Amount, Amount]:
    """Billed tokens of tuning rows of either kind, and those of one answer.

    `count` counts a sample of the rows; the others are scaled by their length.
    """
    lengths = [len(json.dumps(row, ensure_ascii=False)) for row in rows]
    # by content, not by place, so that the sample of equal data is equal
    ordered = sorted(range(len(rows)), key=lambda i: json.dumps(rows[i], sort_keys=True))
    chosen = ordered[:: max(1, len(rows) // sample)][:sample]
    with ThreadPoolExecutor(8) as pool:
        parts = list(pool.map(lambda i: _parts(count, rows[i]), chosen))
    billed = {i: prompt * len(answers) + sum(answers) for i, (prompt, answers) in zip(chosen, parts, strict=True)}
    answered = [tokens for _, answers in parts for tokens in answers]
    mean = sum(answered) / max(1, len(answered))
    return bounded(count, spend.estimate(lengths, billed)), Amount(mean, max([1.5 * mean, *answered]))


def _parts(count: Count, row: Row) -> tuple[int, list[int]]:
    """Tokens of a row's prompt, and of its answers: one in a supervised row, two in a preference row."""
    system = "".join(part["text"] for part in row.get("systemInstruction", {}).get("parts", [])) or None
    if "completions" in row:
        return count(system, row["contents"]), [count(None, [one["completion"]]) for one in row["completions"]]
    return count(system, row["contents"][:-1]), [count(None, row["contents"][-1:])]


# -- the bill --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Drawn:
    """The bill, its trials those that fit under the limit, and the supervised job that comes before them."""

    bill: Bill
    supervised: Trial | None


def draw_up(terms: Terms, first: Trial | None, trials: Sequence[Trial], sizes: Sizes, spent: Sequence[Line]) -> Drawn:
    """The forecast. `spent` is what has been, or will be, asked before any job."""
    bounded_first = _bounded(first, sizes.supervised_tokens) if first else None
    allowed = [_bounded(trial, sizes.preference_tokens) for trial in trials]
    fixed = _fixed(terms, bounded_first, sizes)
    per_trial = {trial.name: _lines(terms, trial, sizes) for trial in allowed}
    limit = terms.limits.max_cost
    chosen = spend.affordable(allowed, per_trial, spend.total([*spent, *fixed]), limit)
    left_out = spend.left_out([trial.name for trial in allowed if trial not in chosen], per_trial)
    warnings = terms.catalogue.warnings(terms.asking.base_model)
    warnings += sizes.judging.unread(terms.asking.judge.sheet)
    warnings += sizes.ranking.unread(terms.rules.judge.sheet)
    prices = terms.price.model_dump(mode="json")
    asked = filter(None, [terms.asking.base_model, terms.asking.judge.model])
    known = {model: terms.catalogue.full_price(model) for model in asked}
    scored: dict[str, float] = {metric: terms.catalogue.scoring_price(metric) for metric in terms.asking.service}
    bill = Bill(list(spent), fixed, per_trial, chosen, left_out, prices, warnings, (), known, scored)
    return Drawn(bill, bounded_first)


def _fixed(terms: Terms, first: Trial | None, sizes: Sizes) -> list[Line]:
    """What every path pays."""
    judging, held = sizes.judging, sizes.validation
    again = _prompted(terms, "best prompt on validation, again", held, sizes, sizes.best)
    asked = [again, *judging.lines(again.what, held, 0, terms.price)]
    if first is not None:
        checkpoints = _asking(terms, "checkpoints of supervised on validation", held, sizes, first)
        asked += [_tuning(terms, first, sizes.supervised_tokens), checkpoints]
        asked += judging.lines(checkpoints.what, held, held, terms.price)
    champion = Trial(base="projects/", base_model=terms.champion.base_model) if terms.champion else None
    what = "the finalists on test"
    met = [
        _prompted(terms, what, sizes.test, sizes, sizes.best_on_test),
        _asking(terms, what, 2 * sizes.test, sizes),
        _asking(terms, what, sizes.test, sizes, champion),
    ]
    asked.append(Line(what, sum((one.tokens for one in met), NOTHING), spend.total(met)))
    there = 2 + (first is not None) + (champion is not None)
    likely, most = (judging.lines(what, n * sizes.test, (n - 1) * sizes.test, terms.price) for n in (there, 4))
    asked += [spend.between(one, other) for one, other in zip(likely, most, strict=True)]
    asked += judging.check()
    judged = [judging_line(terms, "judging the finalists", 4 * sizes.test, sizes)]
    return [*asked, Line("idle endpoints", NOTHING, NOTHING), *filter(None, judged), *sizes.ranking.check()]


def _lines(terms: Terms, trial: Trial, sizes: Sizes) -> list[Line]:
    """What one trial adds."""
    requests = sizes.validation * spend.checkpoint_count(trial.epoch_count)
    asked = _asking(terms, f"checkpoints of {trial.name} on validation", requests, sizes, trial)
    lines = [
        _tuning(terms, trial, sizes.preference_tokens),
        asked,
        *sizes.judging.lines(asked.what, requests, requests, terms.price),
        judging_line(terms, f"judging checkpoints of {trial.name}", 2 * requests, sizes),
    ]
    return [line for line in lines if line]


def _bounded(trial: Trial, once: Amount) -> Trial:
    tokens = once.times(trial.epoch_count)
    told = {"forecast_tokens": round(tokens.expected), "max_billable_tokens": int(tokens.most) + 1}
    return trial.model_copy(update=told)


def _tuning(terms: Terms, trial: Trial, once: Amount) -> Line:
    tokens, price = once.times(trial.epoch_count), terms.catalogue.price_of(trial, terms.asking.base_model)
    return Line(f"tuning {trial.name}", tokens, tokens.times(price.train / spend.MILLION))


def _asking(terms: Terms, what: str, requests: int, sizes: Sizes, of: Trial | None = None) -> Line:
    """Rows put to the base model, or to what a trial makes."""
    answer = Amount(sizes.answer_tokens.expected, terms.asking.max_output_tokens)
    price = terms.catalogue.price_of(of, terms.asking.base_model) if of else terms.price
    return spend.asking_line(what, requests * terms.asking.samples_per_row, sizes.prompt_tokens, answer, price)


def _prompted(terms: Terms, what: str, rows: int, sizes: Sizes, row: Request | None) -> Line:
    """Rows put to the best prompt."""
    if row is None:
        return _asking(terms, what, rows, sizes)
    return spend.asking_line(what, rows, row.put, row.got, terms.price)


def told_judge(judge: Judge) -> Amount:
    """Tokens that a judge is told beside the texts it compares: guessed, and no more than there are bytes."""
    asked = pairwise_requests(judge, Task(), Example("", "", ""), "", "")[0]
    text = f"{asked.system}{asked.contents[0]['parts'][0]['text']}"
    return Amount(guess(asked.system, asked.contents), len(text.encode()))


def judging_line(terms: Terms, what: str, pair_results: int, sizes: Sizes) -> Line | None:
    """Both orders, so many samples each; a request shows prompt, reference and two answers. None without a judge."""
    judge, asked = terms.judge, sizes.ranking.comparison
    if judge is None or asked is None:
        return None
    return spend.asking_line(what, 2 * terms.rules.judge.samples * pair_results, asked.put, asked.got, judge)


# -- the decision ----------------------------------------------------------------------------------------------------


def reasons_against(limits: Plan, sizes: Sizes, bill: Bill) -> list[str]:
    """Why preference tuning is not worth trying; empty when it is."""
    reasons = []
    if sizes.pairs < limits.min_train_rows:
        reasons.append(f"{sizes.pairs} training pairs, fewer than {limits.min_train_rows}: too few to tune on")
    lift = detectable_lift(sizes.test)
    if 0 < limits.wanted_lift < lift:
        reasons.append(
            f"{sizes.test} test prompts notice a lift of {lift:.3f} at best, not the wanted {limits.wanted_lift:.3f}"
        )
    if not bill.trials:
        least = spend.least(bill.per_trial, [*bill.spent, *bill.fixed])
        reasons.append(f"the cheapest trial may cost {least:.2f} USD in all, more than max_cost {limits.max_cost:.2f}")
    return reasons


def detectable_lift(test_prompts: int) -> float:
    """The smallest surplus of wins over losses that so many prompts show (80 % power), when no two answers tie."""
    return smallest_detectable_lift(max(1, test_prompts), 1.0)


def name_of(
    splits: Sequence[Sequence[Example]], pairs: Sequence[Pair], base_model: str, trials: Sequence[Trial]
) -> str:
    """Names training and validation pairs, model and jobs; equal when there is nothing new to learn."""
    own = paired.by_prompt(pairs)
    rows = [sorted([p.prompt, p.chosen, p.rejected] for e in split for p in own[e.id]) for split in splits[:2]]
    return fingerprint(*rows, base_model, [trial.model_dump(mode="json", exclude=set(spend.TOLD)) for trial in trials])


@dataclass(frozen=True, slots=True)
class Decided:
    """Everything a plan says: the bill, the jobs, what speaks against them, and the plan's own name."""

    drawn: Drawn
    sizes: Sizes
    reasons: list[str]
    fingerprint: str
    limits: Plan

    @property
    def supervised(self) -> dict[str, Any]:
        """The job that comes first; {} for none."""
        return self._marked(self.drawn.supervised) if self.drawn.supervised and not self.reasons else {}

    @property
    def trials(self) -> list[dict[str, Any]]:
        """The preference jobs; none when there is a reason against."""
        return [self._marked(trial) for trial in self.drawn.bill.trials] if not self.reasons else []

    def _marked(self, trial: Trial) -> dict[str, Any]:
        return trial.model_copy(update={"plan": self.fingerprint}).model_dump(mode="json")

    def document(self) -> dict[str, Any]:
        """The plan as its report tells it, in the words of the supervised one."""
        bill = self.drawn.bill
        return {
            "worthwhile": not self.reasons,
            "verdict": "keep_prompt" if self.reasons else "tune",
            "reasons": self.reasons,
            "metric": METRIC,
            "detectable_lift": detectable_lift(self.sizes.test),
            "test_rows": self.sizes.test,
            "rows": [self.sizes.pairs, self.sizes.validation, self.sizes.test],
            "supervised": self.supervised,
            "trials": self.trials,
            "left_out": bill.left_out,
            "prices": bill.prices,
            "model_prices": bill.model_prices,
            "service_prices": bill.service_prices,
            "warnings": bill.warnings,
            **spend.told(bill.lines, self.limits.max_cost),
            "fingerprint": self.fingerprint,
        }


def decide(
    client: Client,
    terms: Terms,
    sizes: Sizes,
    rows: tuple[Sequence[Sequence[Example]], Sequence[Pair]],
    spent: Sequence[Line],
    last: str = "",
    kept: Callable[[], list[Line]] | None = None,
) -> Decided:
    """Jobs, bill and reasons; `rows` are splits and pairs, `last` names the plan that was decided on last time.

    `kept` gives what is still paid when there are reasons.

    Raises `UserError` for a model or a setting that cannot be used for preference tuning.
    """
    first, trials = jobs(terms)
    base_model = terms.asking.base_model
    require(client, base_model, [*filter(None, [first]), *trials])
    drawn = draw_up(terms, first, trials, sizes, spent)
    name = name_of(*rows, base_model, [*filter(None, [drawn.supervised]), *drawn.bill.trials])
    reasons = reasons_against(terms.limits, sizes, drawn.bill)
    if terms.limits.skip_unchanged and name == last:
        reasons.append("nothing is new: the same pairs, model and trials were decided on last time")
    if reasons and kept:
        drawn = replace(drawn, bill=replace(drawn.bill, kept=[*spent, *kept()]))
    return Decided(drawn, sizes, reasons, name, terms.limits)


def keeping(best: ModelVariant, sizes: Sizes, terms: Terms, prompting: Prompting) -> list[Line]:
    """What is paid after the plan when nothing is tuned: the best prompt and the model in service meet on test data."""
    row = sizes.best or Request(sizes.prompt_tokens, sizes.answer_tokens)
    asked = Asked(best, row.put, row.got, sizes.validation)
    judged = judging_line(terms, "judging the finalists", sizes.test, sizes)
    judged = judged if terms.champion or not judged else spend.unlikely(judged)
    lines = prompting.finals([asked], terms.champion, sizes.judging)
    return [*lines, *filter(None, [judged]), *sizes.ranking.check()]


def without_knowing_answers(sizes: Sizes, terms: Terms) -> Sizes:
    """The sizes when the worse answers (here stood in for by the references) are not written yet: any may be long."""
    longest = Amount(0, sizes.pairs * terms.asking.max_output_tokens)
    sizes = replace(sizes, preference_tokens=sizes.preference_tokens + longest)
    if terms.rules.chosen_from == "reference":
        return sizes
    supervised = sizes.supervised_tokens + longest if sizes.supervised_tokens.most else sizes.supervised_tokens
    return replace(sizes, supervised_tokens=supervised, preference_tokens=sizes.preference_tokens + longest)


def paid(told: Sequence[Mapping[str, Any]], gathered: Mapping[str, Any], terms: Terms) -> list[Line]:
    """What has been asked so far: samples for pairs and their judge, prompts on validation."""
    lines = list(gathered["spent"])
    for report in told:
        for entry in report["variants"]:
            lines += ledger_line(entry["tokens"], terms.price, f"{entry['variant']['name']} on validation (spent)")
        lines += ledger_line(report.get("search_tokens", {}), terms.price, "prompt search on validation (spent)")
    return [paid_line(**line) for line in [*lines, *opinions_paid(told, terms.catalogue)]]


def judged(tokens: Mapping[str, int], judge: Price | None, what: str) -> list[dict[str, Any]]:
    """What a judge took, as a line of the ledger; none when no judge was asked."""
    return ledger_line(tokens, judge, what) if judge else []


def ledger_line(tokens: Mapping[str, int], price: Price, what: str) -> list[dict[str, Any]]:
    """What so many tokens (`input`, `output`) cost (US dollars); none when there are none."""
    both = {side: tokens.get(side, 0) for side in ("input", "output")}
    cost = spend.charged({**tokens, **both}, price.model_dump(mode="json"))
    return [{"what": what, "tokens": sum(both.values()), "cost": cost}] if any(both.values()) else []
