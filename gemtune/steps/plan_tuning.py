# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Before money is spent: the best prompt, whether tuning is worth trying, which trials, and the bill.

Source: the published advice on when prompting is enough and how to start tuning. Promise: what is planned stays under
`max_cost` by its upper bound, tokens of a trial beyond the plan cancel its job, and every "no" says why.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from gemtune.config import (
    Augment,
    Evaluate,
    Hard,
    Larger,
    ModelVariant,
    Plan,
    Section,
    Task,
    Trial,
    Vertex,
    fingerprint,
)
from gemtune.cost import spend
from gemtune.cost.bill import (
    Asked,
    Beside,
    Bill,
    draw_up,
    opinions_paid,
    paid_line,
    replies_of,
    searched_line,
    with_follow_ups,
)
from gemtune.cost.counting import Count, by_service, count_opinions, count_rows, guess
from gemtune.cost.prompted import Baselines, Prompting
from gemtune.cost.spend import Amount, Line, Rows
from gemtune.data.example import Example, read_examples, write_json
from gemtune.data.row_validation import LABELLED
from gemtune.errors import UserError
from gemtune.evaluation.intervals import smallest_detectable_lift
from gemtune.evaluation.metrics import primary_metric
from gemtune.inference import prompts
from gemtune.state import store
from gemtune.steps import augment, select_model
from gemtune.tuning.hard_examples import key
from gemtune.vertex import Client, connect

log = logging.getLogger("gemtune")


@dataclass(frozen=True, slots=True)
class Prompted:
    """A baseline's result on validation data."""

    variant: ModelVariant
    value: float
    low: float
    high: float
    rows: int
    input_tokens: int
    output_tokens: int
    batched: float = 0.0
    """Share of its tokens that batch jobs took."""

    @property
    def asked(self) -> Asked:
        """Its tokens, a row each."""
        asked, answered = (Amount(n / self.rows, n / self.rows) for n in (self.input_tokens, self.output_tokens))
        return Asked(self.variant, asked, answered, self.rows, batched=self.batched)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a plan is asked to decide on: the settings, the task with its labels, the rows."""

    task: Task
    asking: Evaluate
    settings: Plan
    weight: Hard
    larger: Larger
    name: str
    splits: Sequence[Sequence[Example]]

    @property
    def sizes(self) -> list[int]:
        """Rows of training, validation and test."""
        return [len(split) for split in self.splits]

    def prompting(self, count: Count, client: Client) -> Prompting:
        """What bounds the asking of prompts."""
        return Prompting(count, self.asking, self.settings, client.catalogue, self.task, self.splits)


@dataclass(frozen=True, slots=True)
class Decided:
    """Everything a plan says."""

    bill: Bill
    reasons: list[str]
    fingerprint: str
    trials: list[dict[str, Any]]
    probe: list[dict[str, Any]]

    @property
    def larger(self) -> list[dict[str, Any]]:
        """One trial per larger model."""
        return [trial.model_dump(mode="json") for trial in self.bill.larger] if not self.reasons else []


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
    hard: dict[str, Any] | None = None,
    larger: dict[str, Any] | None = None,
    augmented: str = "",
) -> dict[str, Any]:
    """Write the plan to `plan`; return what the steps after it are to do.

    `augmented` is the augmentation's report: what it has spent stands on the bill.

    That is `worthwhile`, `trials` and `best_prompt`, `probe` (who is asked about the training rows: the best prompt or
    nobody), and `larger` (a trial per larger model that may come after). Raises `UserError` for a model, region or
    adapter size that cannot be tuned, before anything is spent on it.
    """
    wanted = _wanted(task, evaluate, config, hard or {}, larger or {}, name, [train, validation, test])
    client = connect(Vertex.of(vertex))
    metric = primary_metric(wanted.task)
    told = [json.loads(Path(path).read_text("utf-8")) for path in reports]
    baselines = [result for report in told for result in _prompted(report, metric)]
    best = best_prompt(baselines)
    price = client.catalogue.price("", wanted.asking.base_model)
    paid = [searched_line(report["search_tokens"], price) for report in told if "search_tokens" in report]
    paid += [paid_line(**line) for line in opinions_paid(told, client.catalogue)]
    paid += [paid_line(**line) for line in json.loads(Path(augmented).read_text("utf-8"))["spent"]] if augmented else []
    count = by_service(client, wanted.asking.base_model)
    asked = [result.asked for result in baselines]
    decided = _decide(client, wanted, count, asked, best.asked, best, paid, replies=replies_of(told))
    document = _document(decided, wanted, metric, best)
    write_json(plan, {**document, "baselines": told})
    _say(decided, best)
    return {
        "worthwhile": not decided.reasons,
        "trials": decided.trials,
        "best_prompt": best.variant.model_dump(mode="json"),
        "probe": decided.probe,
        "larger": decided.larger,
    }


def forecast(
    splits: list[str], sections: Mapping[str, dict[str, Any]], baselines: Baselines, name: str, offline: bool
) -> dict[str, Any]:
    """The plan before any prompt was asked: what asking, tuning and testing would cost, what speaks against.

    `sections` are those of `Config.parameters`. Nothing is spent; tokens are counted by the service, or guessed when
    `offline`. Whether a prompt is good enough, only asking can show.
    """
    s = sections
    wanted = _wanted(s["task"], s["evaluate"], s["plan"], s["hard"], s["larger"], name, splits)
    client = connect(Vertex.of({**s["vertex"], **({"project": "offline"} if offline else {})}))
    more, paid = Augment.of(s["augment"]), list[Line]()
    if more.below and wanted.task.kind in LABELLED:
        terms = augment.Terms.of(wanted.task, wanted.asking, more, wanted.settings, client.catalogue)
        line, train = augment.forecast(wanted.splits[0], terms)
        wanted, paid = replace(wanted, splits=[train, *wanted.splits[1:]]), [line]
    count: Count = guess if offline else by_service(client, wanted.asking.base_model)
    asked, searches = wanted.prompting(count, client).foresee(baselines)
    paid += searches
    dearest = max(asked, key=lambda one: one.input.most)
    decided = _decide(None if offline else client, wanted, count, asked, dearest, None, paid, client)
    return _document(decided, wanted, primary_metric(wanted.task), None)


def _wanted(
    task: dict[str, Any],
    evaluate: dict[str, Any],
    config: dict[str, Any],
    weight: dict[str, Any],
    larger: dict[str, Any],
    name: str,
    paths: Sequence[str],
) -> Wanted:
    splits = [list(read_examples(path)) for path in paths]
    resolved = prompts.resolve(Task.of(task), splits[0])
    sections = Evaluate.of(evaluate), Plan.of(config), Hard.of(weight), Larger.of(larger)
    return Wanted(resolved, *sections, name, splits)


def _decide(
    service: Client | None,
    wanted: Wanted,
    count: Count,
    asked: Sequence[Asked],
    opponent: Asked,
    best: Prompted | None,
    paid: Sequence[Line],
    client: Client | None = None,
    replies: Mapping[str, float] | None = None,
) -> Decided:
    """The bill and the reasons; without a `service` no record is read, with no `best` no score speaks.

    `replies` are mean tokens of a rater's or a judge's reply by model, as far as they were counted.
    """
    client = service or client
    assert client is not None
    settings, asking, splits = wanted.settings, wanted.asking, wanted.splits
    failing = 1 - best.value if best else 0.5
    rows = count_rows(count, asking, settings, wanted.weight, wanted.task, splits, failing)
    everything, sample = [row for split in splits for row in split], settings.token_sample
    judging = count_opinions(count, asking, client.catalogue, wanted.task, everything, sample, replies or {})
    rows = replace(rows, samples=asking.samples_per_row, judging=judging)
    trials = _trials(client, wanted, rows)
    larger = _larger(client, wanted, trials, rows)
    champion = select_model.read_champion(service, wanted.name) if service else None
    if settings.continue_champion:
        trials = spend.continued(trials, champion)
    mark = wanted.weight if wanted.weight.share else None
    print_ = plan_fingerprint(splits, asking.base_model, trials, [mark] if mark else [])
    trials = [trial.model_copy(update={"plan": print_}) for trial in trials]
    probe = _probe(service, wanted, opponent.variant)
    prompting = wanted.prompting(count, client)
    tested = prompting.sizes(opponent.variant)[1].times(asking.samples_per_row)
    goes_on = any(trial.base.startswith("projects/") for trial in trials)
    remembered = select_model.old_rows(service, wanted.name) if service and goes_on else 0
    beside = Beside(asked, opponent, tested, paid, remembered=remembered, champion=champion)
    if probe:
        one = prompting.size_on_train(opponent.variant).times(asking.samples_per_row)
        beside = replace(beside, probed=len(splits[0]), probe=one)
    bill = draw_up(client.catalogue, asking, settings, trials, larger, rows, beside)
    bill.warnings.extend(judging.unread(asking.judge.sheet))
    reasons = reasons_against(settings, best, wanted.sizes)
    if settings.skip_unchanged and service and store.last_plan(service, wanted.name) == print_:
        reasons.append("nothing is new: the same rows, model and trials were decided on last time")
    if not reasons and not bill.trials:
        least = spend.least({t.name: bill.per_trial[t.name] for t in trials}, [*bill.spent, *bill.fixed])
        reasons.append(
            f"the cheapest trial may cost {least:.2f} USD in all, more than max_cost {settings.max_cost:.2f}"
        )
    bill = with_follow_ups(client.catalogue, asking, settings, bill, rows)
    if best and reasons:
        bill = replace(bill, kept=[*bill.spent, *prompting.finals([opponent], champion, judging)])
    # the longest first: it takes longest, and in a race it shows the others early what there is to reach
    ordered = sorted(bill.trials, key=lambda trial: -trial.forecast_tokens)
    rounds, tokens = settings.follow_ups, bill.follow_up_tokens
    further = {name: {"follow_up_tokens": left, "follow_ups": rounds} for name, left in tokens.items() if left}
    chosen = [trial.model_copy(update=further.get(trial.name, {})).model_dump(mode="json") for trial in ordered]
    return Decided(bill, reasons, print_, [] if reasons else chosen, [] if reasons else probe)


def _probe(service: Client | None, wanted: Wanted, prompt: ModelVariant) -> list[dict[str, Any]]:
    """The best prompt, when it is to be asked about the training rows; nobody when that is known or not wanted."""
    if not wanted.weight.share:
        return []
    if service and store.read(service, key(wanted.splits[0], prompt, wanted.weight)):
        return []
    return [prompt.model_dump(mode="json")]


# The prompt to beat.


def best_prompt(baselines: Sequence[Prompted]) -> Prompted:
    """The highest score; of equals the one that costs fewer tokens."""
    if not baselines:
        raise UserError("no prompted baseline was evaluated", remedy="list one in evaluate.baselines")
    return max(baselines, key=lambda result: (result.value, -result.input_tokens - result.output_tokens))


def _prompted(report: dict[str, Any], metric: str) -> list[Prompted]:
    return [
        Prompted(
            variant=ModelVariant.of(entry["variant"]),
            value=entry["metrics"][metric]["value"],
            low=entry["metrics"][metric]["low"],
            high=entry["metrics"][metric]["high"],
            rows=report["rows"],
            input_tokens=entry["tokens"]["input"],
            output_tokens=entry["tokens"]["output"],
            batched=entry["tokens"].get("batch_input", 0) / max(1, entry["tokens"]["input"]),
        )
        for entry in report["variants"]
    ]


# Whether.


def reasons_against(settings: Plan, best: Prompted | None, rows: Sequence[int]) -> list[str]:
    """Why tuning is not worth trying; empty when it is. `rows` are those of training, validation and test."""
    reasons = []
    if rows[0] < settings.min_train_rows:
        reasons.append(f"{rows[0]} training rows, fewer than {settings.min_train_rows}: too few to tune on")
    if best and best.low >= settings.good_enough:
        name = best.variant.name
        reasons.append(
            f"the prompt {name} is good enough: its score is at least {best.low:.3f} of {settings.good_enough}"
        )
    lift = detectable_lift(best.value if best else 0.5, rows[2])
    if 0 < settings.wanted_lift < lift:
        reasons.append(
            f"{rows[2]} test rows notice a lift of {lift:.3f} at best, not the wanted {settings.wanted_lift:.3f}: "
            "label more test rows first"
        )
    return reasons


def detectable_lift(score: float, test_rows: int) -> float:
    """The smallest true lift that so many test rows show (80 % power), were the tuned model to change every error."""
    return smallest_detectable_lift(max(1, test_rows), min(1.0, max(0.05, 1 - score)))


def plan_fingerprint(
    splits: Sequence[Sequence[Example]], base_model: str, trials: Sequence[Trial], others: Sequence[Section] = ()
) -> str:
    """Names training and validation rows, model, trials and further settings; equal when there is nothing new."""
    ids = [sorted(example.id for example in split) for split in splits[:2]]
    hyper = [
        trial.model_dump(mode="json", exclude={*spend.TOLD, "name"} | ({"weighted"} if not trial.weighted else set()))
        for trial in trials
    ]
    return fingerprint(*ids, base_model, hyper, *others)


# Which trials.


def _trials(client: Client, wanted: Wanted, rows: Rows) -> list[Trial]:
    """The trials of the settings or of a preset, each checked against the catalogue and named."""
    settings, train, base_model = wanted.settings, wanted.splits[0], wanted.asking.base_model
    trials = list(settings.trials)
    if settings.preset == "grid":
        trials = list(client.catalogue.grid)
    elif settings.preset == "recommended":
        mean = rows.prompt_tokens.expected + rows.answer_tokens.expected
        trials = [client.catalogue.start(base_model, modality(train), len(train), mean)]
    named = spend.named(trials, settings.share_epochs)
    for trial in named:
        _require(client, trial.base or base_model, trial)
    return [_allowed(trial, rows) for trial in _both_arms(named, wanted.weight)]


def _require(client: Client, base: str, trial: Trial) -> None:
    if not base.startswith("projects/"):
        key = client.settings.encryption_key
        sizes = (trial.adapter_size,)
        client.catalogue.require(base, "supervised", client.location, adapter_sizes=sizes, encryption_key=key)


def _both_arms(trials: Sequence[Trial], weight: Hard) -> list[Trial]:
    """The trials on weighted rows, and for the ablation the first one on the rows as they come too."""
    if not weight.share:
        return list(trials)
    first = trials[0]
    plain = [first.model_copy(update={"name": f"{first.name}{select_model.PLAIN}"})] if weight.ablation else []
    return [*(trial.model_copy(update={"weighted": True}) for trial in trials), *plain]


def _larger(client: Client, wanted: Wanted, trials: Sequence[Trial], rows: Rows) -> list[Trial]:
    """For each larger model a trial that no trial so far outlasts; its hyperparameters are those that win."""
    found = []
    for model in wanted.larger.models:
        most = {"epoch_count": max(t.epoch_count for t in trials), "weighted": any(t.weighted for t in trials)}
        trial = trials[0].model_copy(update={"name": model, "base": model, "checkpoint_id": "", **most})
        for size in {one.adapter_size for one in trials}:
            _require(client, model, trial.model_copy(update={"adapter_size": size}))
        found.append(_allowed(trial, rows))
    return found


def _allowed(trial: Trial, rows: Rows) -> Trial:
    """A trial with what it is expected to bill, and what it may at most."""
    tokens = rows.tokens_of(trial)
    told = {"forecast_tokens": round(tokens.expected), "max_billable_tokens": int(tokens.most) + 1}
    return trial.model_copy(update=told)


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


# What is told.


def _document(decided: Decided, wanted: Wanted, metric: str, best: Prompted | None) -> dict[str, Any]:
    """The plan as its artifact; without a best prompt it says so."""
    bill, settings = decided.bill, wanted.settings
    told = {**asdict(best), "variant": best.variant.model_dump(mode="json")} if best else None
    return {
        "worthwhile": not decided.reasons,
        "verdict": "tune" if not decided.reasons else "keep_prompt",
        "reasons": decided.reasons,
        "metric": metric,
        "best_prompt": told,
        "detectable_lift": detectable_lift(best.value if best else 0.5, wanted.sizes[2]),
        "test_rows": wanted.sizes[2],
        "rows": wanted.sizes,
        "trials": decided.trials,
        "larger": decided.larger,
        "left_out": bill.left_out,
        "prices": bill.prices,
        "model_prices": bill.model_prices,
        "service_prices": bill.service_prices,
        "warnings": bill.warnings,
        **spend.told(bill.lines, settings.max_cost),
        "fingerprint": decided.fingerprint,
    }


def _say(decided: Decided, best: Prompted) -> None:
    bill = decided.bill
    for warning in [*bill.warnings, *bill.left_out]:
        log.warning("%s", warning)
    for line in bill.lines:
        log.info("bill: %-45s %12.0f tokens %10.4f USD", line.what, line.tokens.expected, line.cost.expected)
    if not decided.reasons:
        money = spend.total(bill.lines)
        said = f"{len(bill.trials)} trials, {money.expected:.2f} USD (at most {money.most:.2f})"
        log.info("done: %s", f"{said}, to beat {best.variant.name} at {best.value:.3f}")
    else:
        log.info("done: %s", f"keep {best.variant.name} at {best.value:.3f}: {decided.reasons[0]}")
