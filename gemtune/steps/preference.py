# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Preference tuning, step by step: pairs gathered, planned, tuned on in two jobs, checkpoints chosen, a decision made.

Source: Vertex AI preference tuning (two completions, scores 1 and 0; the KL weight `beta`; Rafailov et al. 2023). The
advised recipe is two jobs: supervised tuning on the better answers, then preference tuning from its checkpoint. What
counts is how often the answers win, on prompts none of the jobs saw, against the best prompt, against the supervised
model and against the model in service; the gate that decides is that of supervised tuning.

Each step takes its files, then the sections of the configuration that it reads, by their names.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from gemtune.catalogue import Price
from gemtune.config import (
    Deploy,
    Evaluate,
    Gate,
    ModelVariant,
    Pick,
    Plan,
    Preference,
    Preprocess,
    Task,
    Trial,
    Tune,
    Vertex,
)
from gemtune.cost import spend
from gemtune.cost.bill import paid_line
from gemtune.cost.counting import Count, by_service, guess
from gemtune.cost.prompted import Baselines, Prompting
from gemtune.cost.spend import Line, Request
from gemtune.data import pairs as paired
from gemtune.data import profile
from gemtune.data.dataflow_job import require_one_machine
from gemtune.data.duplicates import guard
from gemtune.data.example import Dropped, Example, plain, read_examples, write_examples, write_json, write_rows
from gemtune.data.pairs import Pair, Pairs
from gemtune.data.row_validation import Tally
from gemtune.errors import UserError
from gemtune.evaluation.judge import PairwiseResult
from gemtune.evaluation.judge_validation import validate_judge
from gemtune.evaluation.ranker import Answers, Referee
from gemtune.inference import prompts
from gemtune.inference.generate import GenerateRequest, ModelOutput, generate_all
from gemtune.inference.tuning_rows import chosen_rows, preference_rows
from gemtune.inference.vertex_generation import vertex_generate
from gemtune.state import store
from gemtune.steps import gate as gates
from gemtune.steps import preprocess as preprocessing
from gemtune.steps import select_model as picking
from gemtune.steps import split as splitting
from gemtune.steps.tune import Step
from gemtune.tuning import pair_choice, pair_decision, pair_plan, sample_pairs
from gemtune.tuning.loss_diagnostics import VALIDATION
from gemtune.tuning.pair_decision import ByDuels, rate
from gemtune.tuning.pair_plan import METRIC, Terms
from gemtune.vertex import Client, connect

log = logging.getLogger("gemtune")

Sections = dict[str, Any]


class Setting:
    """The sections of the configuration that a step was given, each read when it is asked for, and what they open."""

    def __init__(self, sections: Mapping[str, Sections], offline: bool = False) -> None:
        self._sections, self.offline = sections, offline
        self.task, self.asking = Task.of(sections["task"]), Evaluate.of(sections["evaluate"])

    @cached_property
    def rules(self) -> Preference:
        """Section `preference`."""
        return Preference.of(self._sections["preference"])

    @cached_property
    def vertex(self) -> Vertex:
        """Section `vertex`; offline with a project that is never asked."""
        return Vertex.of({**self._sections["vertex"], **({"project": "offline"} if self.offline else {})})

    @cached_property
    def client(self) -> Client:
        """The service."""
        return connect(self.vertex)

    @property
    def judge(self) -> Price | None:
        """The price of the judge that ranks answers; None when references rank them."""
        return self.client.catalogue.price("", self.rules.judge.model) if self.rules.ranked_by == "judge" else None

    @property
    def count(self) -> Count:
        """Counts tokens, or guesses them offline."""
        return guess if self.offline else by_service(self.client, self.asking.base_model)

    def on(self, examples: Iterable[Example]) -> Task:
        """The task with what only the rows tell (labels)."""
        return prompts.resolve(self.task, list(examples))

    def terms(self, name: str = "") -> Terms:
        """What a plan is bound by; `name` is that of the model in service."""
        champion = picking.read_champion(self.client, name) if name and not self.offline else None
        return Terms(self.asking, Plan.of(self._sections["plan"]), self.rules, self.client.catalogue, champion)

    def referee(self, task: Task) -> Referee:
        """Who says which answer is better."""
        return Referee(task, self.rules, self.asking, self.put)

    def put(self, requests: Sequence[GenerateRequest]) -> list[ModelOutput]:
        """Answers of Vertex AI in order, or a `UserError` when too many get none for technical reasons."""
        if not requests:
            return []
        generate, retry_policy = vertex_generate(self.asking, self.vertex)
        given = asyncio.run(generate_all(requests, generate, retry_policy))
        failed = [one for one in given if one.error]
        if len(failed) > self.asking.max_error_share * len(given):
            raise UserError(
                f"{len(failed)} of {len(given)} requests to {requests[0].model} failed: {failed[0].error}",
                remedy="nothing was decided; try again later",
            )
        return given


# -- pairs -----------------------------------------------------------------------------------------------------------


def gather(
    data: str, examples: str, pairs: str, dropped: str, report: str, generate: bool = True, **sections: Sections
) -> dict[str, Any]:
    """Sound pairs out of the file `data`, read or made from the base model's own answers; returns the counts.

    Writes `examples` (a prompt each), `pairs`, `dropped` (with reasons) and `report`. Reads the sections task,
    preprocess, preference, evaluate, plan, vertex. Without `ask` the references stand in for sampled answers. Raises
    `UserError` when nothing is left, when sampling answers may cost more than `plan.max_cost`, or when the data is more
    than one machine should hold.
    """
    setting, rules, tally = Setting(sections), Preprocess.of(sections["preprocess"]), Tally({})
    require_one_machine(data, setting.task, rules, setting.vertex)
    spent: list[dict[str, Any]] = []
    if setting.rules.pairs_from == "rows":
        found = _read(data, setting, rules, tally)
    else:
        found, spent = _made(data, setting, rules, tally, generate)
    kept, not_drawn = preprocessing.draw(found.prompts, rules)
    drawn = {example.id for example in kept}
    left = sorted([*found.dropped, *not_drawn], key=lambda row: row.line)
    sound = [pair for pair in found.pairs if pair.prompt in drawn]
    if not sound:
        told = ", ".join(f"{count} {reason}" for reason, count in Counter(d.reason for d in left).most_common())
        first = left[0] if left else Dropped(0, "empty", "the file holds no rows", {})
        raise UserError(
            f"no pair is left; {told}: {first.detail}", file=data, line=first.line or None, remedy="see docs/tuning.md"
        )
    write_examples(examples, kept)
    paired.write(pairs, sound)
    write_rows(dropped, map(plain, left))
    reasons = dict(Counter(d.reason for d in left).most_common())
    summary = {"rows": found.rows, "examples": len(sound), "dropped": reasons}
    told_more = {"labels": {}, **profile.portrait(kept, False), **tally.told(), "preferences": paired.portrait(sound)}
    asked_before = {"spent": spent, "settings": rules.model_dump(), "data": data}
    write_json(report, {**summary, **told_more, **asked_before})
    gone = "; dropped: " + ", ".join(f"{count} {reason}" for reason, count in reasons.items()) if reasons else ""
    log.info("done: %s", f"{len(sound)} pairs of {len(kept)} prompts, from {found.rows} rows{gone}")
    return {**summary, "prompts": len(kept)}


def _read(data: str, setting: Setting, rules: Preprocess, tally: Tally) -> Pairs:
    """The pairs that the data holds."""
    if rules.corrections:
        raise UserError("preprocess.corrections is for labelled rows", remedy="leave it out")
    found = paired.read(data, setting.task, rules, setting.rules, tally)
    before = len(found.pairs)
    found = paired.settled(found, rules)
    guard(before, len(found.pairs), "comparing pairs", rules, found.dropped)
    return found


def _made(
    data: str, setting: Setting, rules: Preprocess, tally: Tally, generate: bool
) -> tuple[Pairs, list[dict[str, Any]]]:
    """Pairs of answers to labelled rows, which are what supervised tuning would take; and what they cost, by lines."""
    rows, dropped = preprocessing.gather(data, setting.task, rules, tally)
    for what, rule in preprocessing.RULES.items():
        before = len(rows)
        rows, gone = rule(rows, setting.task, rules, setting.vertex)
        guard(before, len(rows), what, rules, gone)
        dropped += gone
    rows, gone = preprocessing.draw(rows, rules)
    dropped += gone
    if not generate:
        return replace(sample_pairs.stand_ins(rows), dropped=dropped, rows=len(rows) + len(dropped)), []
    referee, terms = setting.referee(setting.task), setting.terms()
    made, sampled = sample_pairs.make(rows, setting.task, terms, setting.count, referee)
    found = replace(made, dropped=[*dropped, *made.dropped], rows=len(rows) + len(dropped))
    spent = pair_plan.ledger_line(sampled, terms.price, "answers sampled for pairs (spent)")
    return found, [*spent, *pair_plan.judged(referee.tokens, terms.judge, "judging answers for pairs (spent)")]


# -- the plan --------------------------------------------------------------------------------------------------------


def plan(
    reports: list[str],
    predictions: list[str],
    gathered: str,
    splits: list[str],
    pairs: str,
    name: str,
    planned: str,
    **sections: Sections,
) -> dict[str, Any]:
    """Write the plan to `planned`; return `worthwhile`, `supervised` ({}: none), `trials` and `best_prompt`.

    `splits` are the prompts of training, validation and test. Reads the sections task, evaluate, preference, plan,
    vertex. Raises `UserError` for a model or a setting that cannot be used for preference tuning, before anything is
    spent on it.
    """
    setting, rows = Setting(sections), ([list(read_examples(path)) for path in splits], paired.read_written(pairs))
    task, terms = setting.on(rows[0][0]), setting.terms(name)
    referee = setting.referee(task)
    told, best = _best_prompt(reports, predictions, splits[1], pairs, task, referee)
    spent = pair_plan.paid(told, json.loads(Path(gathered).read_text("utf-8")), terms)
    for line in pair_plan.judged(referee.tokens, terms.judge, "judging prompts (spent)"):
        spent.append(paid_line(**line))
    sizes = pair_plan.sizes(setting.count, task, *rows, terms, told)
    prompting = Prompting(setting.count, setting.asking, terms.limits, terms.catalogue, task, rows[0])
    sizes = pair_plan.best_of(sizes, best, told, prompting)
    last, kept = store.last_plan(setting.client, name), partial(pair_plan.keeping, best, sizes, terms, prompting)
    decided = pair_plan.decide(setting.client, terms, sizes, rows, spent, last, kept)
    best_prompt = best.model_dump(mode="json")
    write_json(planned, {**decided.document(), "baselines": told, "best_prompt": {"variant": best_prompt}})
    _say(decided, best)
    further = {"supervised": decided.supervised, "trials": decided.trials, "best_prompt": best_prompt}
    return {"worthwhile": not decided.reasons, **further}


def forecast(
    data: str, sections: Mapping[str, Sections], baselines: Baselines, name: str, offline: bool, folder: str
) -> dict[str, Any]:
    """The plan's document before anything was asked: what a run would cost, what speaks against it.

    Nothing is spent and no record is changed; `folder` takes the intermediate files. Worse answers that are still to
    be sampled are counted as the references, and bounded by the longest answer.
    """
    setting = Setting(sections, offline)
    examples, pairs, dropped, told, cut = (f"{folder}/{what}" for what in ("rows", "pairs", "dropped", "told", "cut"))
    splits = [f"{folder}/{what}" for what in ("train", "validation", "test")]
    wanted = ("task", "preprocess", "preference", "evaluate", "plan", "vertex")
    gather(data, examples, pairs, dropped, told, generate=False, **{what: sections[what] for what in wanted})
    vertex = None if offline else sections["vertex"]
    splitting.run(examples, sections["split"], splits[0], splits[1], splits[2], cut, vertex, name, keep=False)
    rows = [list(read_examples(path)) for path in splits], paired.read_written(pairs)
    task, terms = setting.on(rows[0][0]), setting.terms(name)
    sizes, spent = pair_plan.sizes(setting.count, task, *rows, terms), list[Line]()
    if setting.rules.pairs_from == "answers":
        spent += sample_pairs.foreseen(list(read_examples(examples)), task, terms, setting.count)
        sizes = pair_plan.without_knowing_answers(sizes, terms)
    prompting = Prompting(setting.count, setting.asking, terms.limits, terms.catalogue, task, rows[0])
    asked, searches = prompting.foresee(baselines)
    spent += [*(line for one in asked for line in one.lines(sizes.judging, terms.price)), *searches]
    dearest = max(asked, key=lambda one: one.input.most)
    sizes = pair_plan.with_best(sizes, dearest.variant, Request(dearest.input, dearest.output), prompting)
    pair_results = (len(asked) - 1) * sizes.validation
    spent += filter(
        None, [pair_plan.judging_line(terms, "judging prompts", pair_results, sizes) if pair_results else None]
    )
    last = "" if offline else store.last_plan(setting.client, name)
    return pair_plan.decide(setting.client, terms, sizes, rows, spent, last).document()


def _best_prompt(
    reports: Sequence[str], predictions: Sequence[str], validation: str, pairs: str, task: Task, referee: Referee
) -> tuple[list[dict[str, Any]], ModelVariant]:
    """The reports with each prompt's win rate against the first one, and the prompt that wins oftenest."""
    told = [json.loads(Path(path).read_text("utf-8")) for path in reports]
    files = {
        entry["variant"]["name"]: (path, entry)
        for report, path in zip(told, predictions, strict=True)
        for entry in report["variants"]
    }
    if not files:
        raise UserError("no prompted baseline was evaluated", remedy="list one in evaluate.baselines")
    rates: dict[str, float] = {}
    against: list[str | None] = []
    for name, (path, entry) in files.items():
        who = ModelVariant.of(entry["variant"])
        answers = Answers.read(path, validation, pairs, task, [who])
        texts = answers.texts(name)
        against = against or texts
        pair_results = referee.pair_results(answers.rows, answers.references, texts, against)
        found = rate(pair_results, answers.groups, referee.asking)
        entry["metrics"][METRIC] = pair_decision.bounds(found)
        rates[name] = found.value
    best = max(rates, key=lambda name: (rates[name], -sum(files[name][1]["tokens"].values())))
    return told, ModelVariant.of(files[best][1]["variant"])


def _say(decided: pair_plan.Decided, best: ModelVariant) -> None:
    """The bill, line by line, and the step's last line."""
    bill, document = decided.drawn.bill, decided.document()
    for warning in [*bill.warnings, *bill.left_out]:
        log.warning("%s", warning)
    for line in bill.lines:
        log.info("bill: %-45s %12.0f tokens %10.4f USD", line.what, line.tokens.expected, line.cost.expected)
    if decided.reasons:
        log.info("done: %s", f"keep {best.name}: {decided.reasons[0]}")
        return
    jobs = f"{len(bill.trials)} trials" + (" after a supervised job" if decided.supervised else "")
    money = f"{document['cost']:.2f} USD (at most {document['cost_at_most']:.2f})"
    log.info("done: %s", f"{jobs}, {money}, to beat {best.name}")


# -- tuning ----------------------------------------------------------------------------------------------------------


def supervise(
    train: str, validation: str, pairs: str, trial: dict[str, Any], name: str, job: str, **sections: Sections
) -> dict[str, Any]:
    """Tune on the better answers; writes the job's record and returns `start` (a variant) and `metrics`.

    `start` is the checkpoint of the lowest validation loss, from which the preference jobs go on. An empty `trial`
    means that none is wanted: then `start` is empty too. Reads the sections task, evaluate, tune, vertex.
    """
    if not trial:
        write_json(job, {"jobs": [], "start": {}})
        log.info("done: %s", "no supervised job is wanted; preferences start from the base model")
        return {"start": {}, "metrics": {}}
    tuned = _step(train, validation, pairs, chosen_rows, name, job, sections).run(Trial.of(trial))
    record = json.loads(Path(job).read_text("utf-8"))
    best = start_of(tuned["variants"], record["curve"].get(VALIDATION, []))
    start = {**best, "role": "supervised"}
    write_json(job, {**record, "start": start})
    return {"start": start, "metrics": tuned["metrics"]}


def start_of(variants: Sequence[dict[str, Any]], losses: Sequence[Sequence[float]]) -> dict[str, Any]:
    """The checkpoint whose validation loss (points of step and value) is lowest; the last one when none is known."""
    known = {int(step): value for step, value in losses}

    def loss(one: dict[str, Any]) -> float:
        near = min(known, key=lambda step: abs(step - one["step"]), default=None)
        return known[near] if near is not None else -float(one["step"])

    return min(variants, key=loss)


def prefer(
    train: str,
    validation: str,
    pairs: str,
    trial: dict[str, Any],
    supervised: str,
    name: str,
    job: str,
    **sections: Sections,
) -> dict[str, float]:
    """Tune one trial on pairs, from where the job recorded in `supervised` ended, if any; writes the job's record.

    Returns the job's metrics. Reads the sections task, evaluate, tune, vertex. Raises `UserError` for pairs or settings
    that the service would reject.
    """
    asked = Trial.of(trial)
    if start := json.loads(Path(supervised).read_text("utf-8"))["start"]:
        asked = asked.model_copy(update={"base": ""})  # the supervised job stands on what the trial would have
        (asked,) = spend.continued([asked], ModelVariant.of(start))
    tuned = _step(train, validation, pairs, preference_rows, name, job, sections).run(asked)
    metrics: dict[str, float] = tuned["metrics"]
    return metrics


def _step(
    train: str,
    validation: str,
    pairs: str,
    rows_of: Callable[[Task, Sequence[Example], Iterable[Pair]], list[dict[str, Any]]],
    name: str,
    job: str,
    sections: Mapping[str, Sections],
) -> Step:
    setting, own = Setting(sections), paired.read_written(pairs)
    splits = [list(read_examples(path)) for path in (train, validation)]
    task = setting.on(splits[0])
    rows = [rows_of(task, split, own) for split in splits]
    tune, base_model = Tune.of(sections["tune"]), setting.asking.base_model
    return Step(setting.client, tune, base_model, name, task, rows[0], rows[1], job)


def line_up(jobs: list[str], start: dict[str, Any], best_prompt: dict[str, Any]) -> list[dict[str, Any]]:
    """Who is asked the validation prompts: the best prompt, the supervised model, every checkpoint of every trial."""
    records = [json.loads(Path(path).read_text("utf-8")) for path in jobs]
    checkpoints = [one for record in records for one in record.get("variants", [])]
    log.info("done: %s", f"{len(checkpoints)} checkpoints of {len(records)} trials")
    return [best_prompt, *([start] if start else []), *checkpoints]


# -- the choice ------------------------------------------------------------------------------------------------------


def choose(
    supervised: str,
    jobs: list[str],
    predictions: str,
    examples: str,
    pairs: str,
    variants: list[dict[str, Any]],
    name: str,
    picked: str,
    **sections: Sections,
) -> list[dict[str, Any]]:
    """Choose the candidate by its win rate on validation prompts; writes `picked`, returns who meets on test data.

    The win rate is the mean of those against the best prompt and against the supervised model. Reads the sections
    task, evaluate, preference, pick, deploy, vertex.
    """
    setting, who = Setting(sections), [ModelVariant.of(one) for one in variants]
    task = setting.on(read_examples(examples))
    referee, answers = setting.referee(task), Answers.read(predictions, examples, pairs, task, who)
    opponents = [one for one in who if one.role != "candidate"]
    told = [json.loads(Path(path).read_text("utf-8")) for path in (supervised, *jobs)]
    tuned = [record for record in told if record.get("trial")]
    sizes = {record["trial"]["name"]: record["trial"]["adapter_size"] for record in tuned}
    standings = [
        _standing(one, opponents, answers, referee, sizes.get(one.trial, 0)) for one in who if one.role == "candidate"
    ]
    chosen, reason = picking.choose(standings, Pick.of(sections["pick"]).one_standard_error)
    choice = pair_choice.Choice(
        _finalists(setting.client, name, opponents, chosen),
        reason,
        Deploy.of(sections["deploy"]).alias,
        chosen,
        standings,
        tuned,
        pair_plan.judged(referee.tokens, setting.judge, "judging checkpoints"),
    )
    return _chosen(choice, picked)


def choose_without_tuning(
    best_prompt: dict[str, Any], name: str, picked: str, **sections: Sections
) -> list[dict[str, Any]]:
    """Line up the best prompt and the model in service when no tuning was worth trying.

    Reads the sections deploy, vertex.
    """
    client = connect(Vertex.of(sections["vertex"]))
    finalists = _finalists(client, name, [ModelVariant.of(best_prompt)], None)
    alias = Deploy.of(sections["deploy"]).alias
    return _chosen(pair_choice.Choice(finalists, "no checkpoint to choose from", alias), picked)


def _chosen(choice: pair_choice.Choice, picked: str) -> list[dict[str, Any]]:
    write_json(picked, choice.told())
    chosen, reason = choice.chosen, choice.reason
    log.info("done: %s", f"{chosen.variant.name} wins {chosen.value:.3f}: {reason}" if chosen else reason)
    return [one.model_dump(mode="json") for one in choice.finalists]


def _standing(
    one: ModelVariant, opponents: Sequence[ModelVariant], answers: Answers, referee: Referee, adapter_size: int
) -> picking.Standing:
    """A checkpoint's win rate over all opponents, a prompt's duels counting as one observation."""
    pair_results: list[PairwiseResult] = []
    groups: list[str | None] = []
    for opponent in opponents:
        pair_results += answers.pair_results(referee, one.name, opponent.name)
        groups += [group or row.id for row, group in zip(answers.rows, answers.groups, strict=True)]
    won = rate(pair_results, groups if len(opponents) > 1 else answers.groups, referee.asking)
    return picking.Standing(one, won.value, won.low, won.high, adapter_size)


def _finalists(
    client: Client, name: str, opponents: Sequence[ModelVariant], chosen: picking.Standing | None
) -> list[ModelVariant]:
    """The best prompt, the supervised model, the candidate (unless it serves already), the champion."""
    champion = picking.read_champion(client, name)
    prompt = next(one for one in opponents if one.role == "baseline")
    if chosen is None or (champion and champion.model == chosen.variant.model):
        return [prompt, *([champion] if champion else [])]
    begun = [one for one in opponents if one.role == "supervised"]
    return [prompt, *begun, chosen.variant, *([champion] if champion else [])]


# -- the decision ----------------------------------------------------------------------------------------------------


def decide(
    tested: str,
    predictions: str,
    examples: str,
    pairs: str,
    variants: list[dict[str, Any]],
    plan: str,
    decision: str,
    report: str,
    **sections: Sections,
) -> bool:
    """Decide from test answers; writes `decision` and `report` (the evaluation's, with win rates), returns the verdict.

    The candidate must win against the best prompt and the model in service by more than the interval, and must not be
    shown to be worse than the supervised model by more than `gate.min_lift_over_supervised`; then come the gate's other
    rules. Reads the sections task, evaluate, preference, gate, vertex.
    """
    setting, rules, who = Setting(sections), Gate.of(sections["gate"]), [ModelVariant.of(one) for one in variants]
    if rules.metric not in ("", METRIC):
        raise UserError(f"gate.metric is {rules.metric!r}", remedy=f"preference tuning is decided by {METRIC}")
    told = json.loads(Path(tested).read_text("utf-8"))
    task, usage = Task.of(told["task"]), told.get("test_set_usage", {})
    referee, answers = setting.referee(task), Answers.read(predictions, examples, pairs, task, who)
    pair_results = {pair: answers.pair_results(referee, *pair) for pair in pair_decision.meetings(who)}
    prices = json.loads(Path(plan).read_text("utf-8"))["prices"]
    made = gates.decide(
        task,
        rules,
        [answers.scored[one.name] for one in who],
        answers.groups,
        prices,
        usage.get("candidates", 1),
        lambda gate: ByDuels(gate, pair_results, answers.groups),
    )
    checked: list[dict[str, Any]] = []
    if setting.rules.ranked_by == "judge":
        validity, tokens = _judge_validity(task, setting)
        made = pair_decision.only_proven(made, validity, who)
        checked = pair_plan.judged(tokens, setting.judge, f"{spend.OPINIONS}{spend.SHEET}")
    made = replace(made, notes=[*made.notes, *pair_decision.notes(made, setting.rules)])
    gates.write(decision, made, rules, who, usage)
    judged = pair_plan.judged(referee.tokens, setting.judge, "judging the finalists")
    found = pair_decision.with_win_rates(told, who, pair_results, answers, setting.asking)
    write_json(report, {**found, "ranked_by": setting.rules.ranked_by, "spent": [*judged, *checked]})
    for reason in [*made.reasons, *made.notes]:
        log.info("%s", reason)
    log.info("done: %s", made.verdict.replace("_", " "))
    return made.passed


def _judge_validity(task: Task, setting: Setting) -> tuple[gates.Rule, dict[str, int]]:
    """Whether people were shown to agree with the judge: it rates what they rated on its sheet. And its tokens."""
    judge = setting.rules.judge
    if not judge.sheet:
        said = "no judge was checked against people (preference.judge.sheet), so its win rates inform and do not decide"
        return gates.Rule("judge_validity", False, 0.0, judge.min_agreement, said), {}
    found = validate_judge(task, setting.asking.model_copy(update={"judge": judge}), setting.vertex)
    shown = found["shown"]["low"]
    rule = gates.Rule("judge_validity", found["validated"], shown, found["required"], found["sentence"])
    return rule, found["tokens"]
