# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The plan's cost forecast: what every path costs, what each trial adds, and the trials that fit under the limit. Pure.

Guarantees: whatever may be spent on some path is under the limit by its upper bound. An item that is paid only if
something turns out so (a larger model, a follow-up) is expected to cost nothing and bounded by all it may cost.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from gemtune.artifacts.cost import MILLION, ZERO, CostItem, Estimate, Kind, TokenEstimate, total
from gemtune.artifacts.tuning import PriceList
from gemtune.catalogue import Catalogue, Price, trial_base_model
from gemtune.config import Evaluate, ModelVariant, Plan, Role, Trial
from gemtune.cost.baselines import BaselineUsage, judged_finalists
from gemtune.cost.items import (
    IDLE,
    LONGER_ROWS,
    RequestTokens,
    affordable,
    injection_items,
    price_list,
    requests_item,
    tuning_item,
    with_batch_price,
)
from gemtune.cost.tokens import TokenEstimates
from gemtune.evaluation import smoke_test
from gemtune.inference.prompts import answer_token_limit
from gemtune.tuning.trials import checkpoint_count, supervised_start


@dataclass(frozen=True, slots=True)
class Forecast:
    """What is paid anyway, what each trial would add, the trials that fit under the limit.

    `keep_prompt` is what is paid when nothing is tuned; empty while there is no reason against tuning.
    """

    spent: list[CostItem]
    fixed: list[CostItem]
    per_trial: dict[str, list[CostItem]]
    trials: list[Trial]
    over_budget: list[str]
    prices: PriceList
    warnings: list[str]
    escalation: tuple[Trial, ...] = ()
    follow_up_tokens: dict[str, int] = field(default_factory=dict)
    keep_prompt: list[CostItem] = field(default_factory=list)

    @property
    def items(self) -> list[CostItem]:
        """Every item of what is planned."""
        if self.keep_prompt:
            return self.keep_prompt
        planned = [*self.trials, *self.escalation]
        return [*self.spent, *(item for trial in planned for item in self.per_trial[trial.name]), *self.fixed]


@dataclass(frozen=True)
class Forecaster:
    """Forecasts a plan's cost from token estimates, list prices, and what costs besides the trials.

    `best` is the best prompt, `on_test` are its tokens per row (`on_train`: where it answers the training rows too),
    `champion_rows` the rows of the champion's test set that are no test rows today, `first` the job that the trials
    start from. `other_prompts` are the answers of further prompts to the test rows: those that may be as good as the
    best.
    """

    catalogue: Catalogue
    evaluate: Evaluate
    plan: Plan
    tokens: TokenEstimates
    baselines: Sequence[BaselineUsage]
    best: BaselineUsage
    on_test: RequestTokens
    spent: Sequence[CostItem] = ()
    on_train: RequestTokens | None = None
    champion_rows: int = 0
    champion: ModelVariant | None = None
    first: Trial | None = None
    is_pairwise: bool = False
    location: str = ""
    rates_texts: bool = False
    """Whether a judge rates the answers of a reinforcement trial without rewards of its own."""
    other_prompts: Sequence[CostItem] = ()

    def forecast(self, trials: Sequence[Trial], escalation: Sequence[Trial] = ()) -> Forecast:
        """The forecast with the trials, and then the larger models, that fit under the limit, in their order."""
        everything = [*trials, *escalation]
        judging = self.tokens.judging
        spent = [item for usage in self.baselines for item in usage.items(judging, self._base)]
        unranked = sum(not usage.actual for usage in self.baselines[1:])  # each is compared with the first
        spent += judging.ranking("prompts", unranked * self.tokens.validation) if unranked else []
        spent += self.spent
        fixed = [
            *self._best_prompt(everything),
            *(self._trial(self.first) if self.first else []),
            *self._other_prompts(escalation),
            *self._finalists(everything, escalation),
            *judging.validating(),
            IDLE,
        ]
        per_trial = {trial.name: self._trial(trial) for trial in trials}
        per_trial |= {trial.name: self._larger_model(trial) for trial in escalation}
        anyway, limit = total([*spent, *fixed]), self.plan.max_cost
        chosen = affordable(trials, per_trial, anyway, limit)
        with_trials = anyway + sum((total(per_trial[trial.name]) for trial in chosen), ZERO)
        escalated = affordable(escalation, per_trial, with_trials, limit) if chosen else []
        planned = (*chosen, *escalated)
        served = self.champion.base_model if self.champion else ""
        names = [*(trial.base_model or trial.base for trial in everything), served]
        excluded = {t.name: total(per_trial[t.name]).upper for t in everything if t not in planned}
        return Forecast(
            spent,
            fixed,
            per_trial,
            chosen,
            [f"{name} may cost {upper:.2f} USD: over max_cost beside the others" for name, upper in excluded.items()],
            price_list(self.catalogue, self.evaluate, self.evaluate.base_model, names),
            [*self.catalogue.warnings(self.evaluate.base_model), *judging.warnings(self.evaluate.judge.ratings)],
            tuple(escalated),
        )

    @property
    def _base(self) -> Price:
        return self.catalogue.price("", self.evaluate.base_model)

    def _price(self, trial: Trial) -> Price:
        return self.catalogue.price(trial_base_model(trial, self.evaluate.base_model), self.evaluate.base_model)

    def _tuning_price(self, trial: Trial) -> float:
        return self.catalogue.tuning_price(trial, self.evaluate.base_model)

    @property
    def _longest_answer(self) -> int:
        return answer_token_limit(self.best.variant.prompt) or self.evaluate.max_output_tokens

    @property
    def _champion(self) -> Price:
        return self.catalogue.price(self.champion.base_model if self.champion else "", self.evaluate.base_model)

    def _dearest(self, trials: Iterable[Trial]) -> Price:
        prices = [self._base, self._champion, *map(self._price, trials)]
        return max(prices, key=lambda price: (price.input, price.output))

    def _best_prompt(self, trials: Sequence[Trial]) -> list[CostItem]:
        """The best prompt on test rows, where it may be the prompt of the dearest model; on training rows; and on
        validation rows again, where checkpoints are compared with its answers.
        """
        rows, name = self.tokens, self.best.variant.name
        likely = RequestTokens(self.on_test.input, self.best.tokens.output)
        items = [self._bounded("best_prompt", "best prompt on test", rows.test, likely, self._dearest(trials), name)]
        if self.on_train:
            probe = RequestTokens(self.on_train.input, self.best.tokens.output)
            label = "best prompt on training rows"
            items.append(self._bounded("train_probe", label, rows.train, probe, self._base, name))
        if self.is_pairwise:
            again = "best prompt on validation, again"
            items.append(self._bounded("best_prompt", again, rows.validation, self.best.tokens, self._base, name))
            items += rows.judging.items(again, rows.validation, 0, self._base)
        return items

    def _other_prompts(self, escalation: Sequence[Trial]) -> list[CostItem]:
        """Further prompts on test rows; with a larger model's prompt as the best, that of the base model is one."""
        rows, best = self.tokens.test, self.best
        items = list(self.other_prompts)
        if escalation:
            label = f"{best.variant.name} with the base model on test, if needed"
            tokens = RequestTokens(self.on_test.input, best.tokens.output)
            items.append(self._bounded("best_prompt", label, rows, tokens, self._base, best.variant.name).if_needed())
        return items

    def _bounded(
        self, kind: Kind, label: str, count: int, tokens: RequestTokens, dearest: Price, subject: str
    ) -> CostItem:
        """Prompted rows at the base model's price, bounded by the longest answers at the dearest price."""
        upper = max(tokens.output.upper, self.tokens.samples * self._longest_answer)
        sizes = RequestTokens(tokens.input, Estimate(expected=tokens.output.expected, upper=upper))
        expected, bound = (requests_item(kind, label, count, sizes, price, subject) for price in (self._base, dearest))
        return with_batch_price(expected.bounded_by(bound), self.evaluate, count, self._base)

    def _finalists(self, trials: Sequence[Trial], escalation: Sequence[Trial]) -> list[CostItem]:
        """Candidate, start and champion on test rows and on the champion's test set, and judging all finalists.

        No champion is expected where there is none now, but there may be one by then.
        """
        rows, judging = self.tokens, self.tokens.judging
        tuned = 1 + (self.first is not None)
        items = [self._tuned("finalists", "candidate and champion on test", rows.test, tuned, rows.request, trials)]
        smoke = min(smoke_test.ROWS, rows.test) * rows.samples
        label, dearest = "smoke test of the candidate", self._dearest(trials)
        items.append(requests_item("finalists", label, smoke, rows.request, dearest).if_needed())
        certain = 1 + sum(not item.conditional for item in self.other_prompts)
        possible = 1 + len(self.other_prompts) + bool(escalation)
        tuned_roles: tuple[Role, ...] = ("candidate", "supervised")
        prompts: list[Role] = ["baseline"] * possible
        roles = [*prompts, *tuned_roles[:tuned]]
        items += judged_finalists(judging, rows.test, roles, self.champion, self._base, possible - certain)
        items += self._injection(trials)
        if self.champion_rows:
            longer = Estimate(expected=rows.prompt.expected, upper=LONGER_ROWS * rows.prompt.upper)
            sizes = RequestTokens(longer, rows.answer)
            label = "candidate and champion on the champion's test set"
            items.append(self._tuned("champion_test_set", label, self.champion_rows, 1, sizes, trials))
            items += judging.ranking(label, self.champion_rows)
        return items

    def _injection(self, trials: Sequence[Trial]) -> list[CostItem]:
        """The injection probe of the best prompt, the candidate and the champion, at the dearest price."""
        dearest = self._dearest(trials)
        answer = self.best.tokens.output
        longest = Estimate(expected=answer.expected, upper=max(self._longest_answer, answer.upper))
        prompted = RequestTokens(self.on_test.input, longest)
        tuned = RequestTokens(self.tokens.prompt.times(self.tokens.samples), self.tokens.answer)
        sent = {"the best prompt": prompted, "the candidate": tuned, "the champion": tuned}
        items = [
            item
            for name, tokens in sent.items()
            for item in injection_items(self.evaluate, self.tokens.test, name, tokens, dearest)
        ]
        return [item if self.champion or item.label != items[-1].label else item.if_needed() for item in items]

    def _tuned(
        self, kind: Kind, label: str, rows: int, tuned: int, sizes: RequestTokens, trials: Sequence[Trial]
    ) -> CostItem:
        """Answers of new tuned models at the first trial's price, bounded by the dearest, and the champion's."""
        count = rows * self.tokens.samples
        likely, dearest = self._price(trials[0]), self._dearest(trials)
        own = requests_item(kind, label, tuned * count, sizes, likely)
        own = own.bounded_by(requests_item(kind, label, tuned * count, sizes, dearest))
        served = requests_item(kind, label, count, sizes, self._champion)
        served = served if self.champion else served.if_needed()
        return own.model_copy(update={"tokens": own.tokens + served.tokens, "cost": own.cost + served.cost})

    def _trial(self, trial: Trial, rater: Price | None = None) -> list[CostItem]:
        """What one trial adds: its job, and its checkpoints on validation rows."""
        start = supervised_start(trial)
        items = self._trial(start, rater) if start else []
        items.append(tuning_item(trial, self.tokens.training_of(trial), self._tuning_price(trial)))
        return [*items, *self._rewards(trial), *self._checkpoints(trial, rater or self._base)]

    def _rewards(self, trial: Trial) -> list[CostItem]:
        """The judge's ratings of a reinforcement trial's answers, where it gives a reward."""
        judging, rows = self.tokens.judging, self.tokens
        rubrics = sum(bool(reward.rubric) for reward in trial.rewards)
        rubrics += self.rates_texts and not trial.rewards
        if trial.method != "reinforcement" or not rubrics or not (judging.rating and judging.judge):
            return []
        sampled = -(-rows.train // trial.batch_size) * trial.batch_size * trial.samples_per_prompt
        answers = rubrics * trial.epoch_count * (sampled + rows.validation)
        label = f"ratings as rewards of {trial.name}"
        return [requests_item("judging", label, answers, judging.rating, judging.judge, trial.name)]

    def _checkpoints(self, trial: Trial, rater: Price) -> list[CostItem]:
        """Every checkpoint on every validation row, and judging the answers; each but one is compared with another.

        `rater` is the price of the model that rates its confidence in words.
        """
        rows, count, judging = self.tokens, checkpoint_count(trial.epoch_count), self.tokens.judging
        first = self.first is not None and trial.name == self.first.name
        count = 1 if first else count
        label = f"checkpoints of {trial.name} on validation"
        requests = rows.validation * count
        item = requests_item(
            "checkpoints", label, requests * rows.samples, rows.request, self._price(trial), trial.name
        )
        in_job = self._in_job(trial)
        compared = requests if self.is_pairwise else rows.validation * (count - 1)
        items = [item, *in_job, *judging.items(label, requests, compared, rater, trial.name)]
        return items if first else [*items, *judging.ranking(label, 2 * requests, trial.name)]

    def _in_job(self, trial: Trial) -> list[CostItem]:
        """What the job's own evaluation of its checkpoints costs, where it is offered: batch prediction."""
        offered = self.catalogue.evaluates_in_job(trial, self.evaluate.base_model, self.location)
        if not (self.evaluate.in_job and offered):
            return []
        count, label = self.tokens.validation * checkpoint_count(trial.epoch_count), f"evaluation in {trial.name}"
        item = requests_item("checkpoints", label, count, self.tokens.request, self._price(trial), trial.name)
        return [item.model_copy(update={"cost": item.cost.times(self._price(trial).batch)})]

    def _larger_model(self, trial: Trial) -> list[CostItem]:
        """A larger model, if needed: the best prompt with it, the job, its checkpoints."""
        price, rows, best = self._price(trial), self.tokens, self.best
        sent = best.tokens.input.expected
        sizes = RequestTokens(
            Estimate(expected=sent, upper=max(best.tokens.input.upper, LONGER_ROWS * sent)),
            Estimate(expected=best.tokens.output.expected, upper=rows.samples * self._longest_answer),
        )
        label = f"{best.variant.name} of {trial.name} on validation"
        items = [
            requests_item("escalation", label, rows.validation, sizes, price, trial.name),
            *rows.judging.items(label, rows.validation, 0, price, trial.name),
            *self._trial(trial, price),
        ]
        return [i.if_needed().model_copy(update={"label": f"{i.label}, if needed"}) for i in items]

    def with_follow_ups(self, forecast: Forecast) -> Forecast:
        """The forecast with an item for each trial's follow-ups, and the training tokens that they may bill.

        A round at most doubles the epochs. Trials have equal parts of the room under the limit; scoring the follow-ups'
        checkpoints is set aside first.
        """
        rounds = self.plan.follow_ups
        if not (rounds and forecast.trials):
            return forecast
        room = (self.plan.max_cost - total(forecast.items).upper) / len(forecast.trials)
        per_trial, tokens = dict(forecast.per_trial), {}
        for trial in forecast.trials:
            if trial.method == "reinforcement":
                tokens[trial.name] = 0
                continue
            longer = [trial.epoch_count * 2**n for n in range(1, rounds + 1)]
            follow_ups = [trial.model_copy(update={"epoch_count": n}) for n in longer]
            scored = [item for follow_up in follow_ups for item in self._checkpoints(follow_up, self._base)]
            # each round's first checkpoint is compared with the trial's own
            scored += self.tokens.judging.items("", 0, self.tokens.validation * len(longer), self._base)
            scoring, per_token = total(scored).upper, self._tuning_price(trial) / MILLION
            needed, left = self.tokens.training_of(trial).upper * sum(longer), room - scoring
            tokens[trial.name] = int(min(needed, left / per_token if per_token else needed)) if left > 0 else 0
            if follow_up_tokens := tokens[trial.name]:
                item = CostItem(
                    kind="follow_ups",
                    label=f"follow-ups of {trial.name}, if needed",
                    subject=trial.name,
                    tokens=TokenEstimate(upper=follow_up_tokens + sum(item.tokens.upper for item in scored)),
                    cost=Estimate(expected=0, upper=follow_up_tokens * per_token + scoring),
                    conditional=True,
                )
                per_trial[trial.name] = [*per_trial[trial.name], item]
        return replace(forecast, per_trial=per_trial, follow_up_tokens=tokens)
