# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Preference tuning, step by step: pairs gathered, planned, tuned on in two jobs, checkpoints chosen, a decision made.

Source: Vertex AI preference tuning (two completions, scores 1 and 0; the KL weight `beta`; Rafailov et al. 2023). The
advised recipe is two jobs: supervised tuning on the better answers, then preference tuning from its checkpoint. What
counts is how often the answers win, on prompts none of the jobs saw, against the best prompt, against the supervised
model and against the model in service; the gate that decides is that of supervised tuning.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from gemtune import evaluate as evaluation
from gemtune import gate as gates
from gemtune import pick as picking
from gemtune import preprocess as preprocessing
from gemtune.config import (
    Contestant,
    Deploy,
    Evaluate,
    Gate,
    Pick,
    Plan,
    Preference,
    Preprocess,
    Task,
    Trial,
    Tune,
    Vertex,
)
from gemtune.data import Dropped, Example, plain, read_examples, write_examples, write_json, write_rows
from gemtune.dedup.duplicates import guard
from gemtune.errors import UserError
from gemtune.gate import Comparison
from gemtune.prompting import prompts
from gemtune.prompting.asking import Given, Question, ask_all
from gemtune.rows import pairs as paired
from gemtune.rows import portrait
from gemtune.rows.accept import Tally
from gemtune.rows.pairs import Pair
from gemtune.scoring.judging import Duel, WinRate, win_rate
from gemtune.scoring.predictions import Scored
from gemtune.scoring.referee import Answers, Put, Referee
from gemtune.tune import Step
from gemtune.tuning import own_pairs, pair_choice, pair_plan, records
from gemtune.tuning.curve import VALIDATION
from gemtune.tuning.pair_plan import METRIC
from gemtune.vertex import Client, connect

log = logging.getLogger("gemtune")

SAMPLED_FOR_COST = 32  # rows whose tokens are counted before answers are sampled


# -- pairs -----------------------------------------------------------------------------------------------------------


def gather(
    data: str,
    task: dict[str, Any],
    preprocess: dict[str, Any],
    config: dict[str, Any],
    evaluate: dict[str, Any],
    plan: dict[str, Any],
    vertex: dict[str, Any],
    examples: str,
    pairs: str,
    dropped: str,
    report: str,
) -> dict[str, Any]:
    """Sound pairs out of the file `data`, read or made from the base model's own answers; returns the counts.

    Writes `examples` (a prompt each), `pairs`, `dropped` (with reasons) and `report`. Raises `UserError` when nothing
    is left, or when sampling answers may cost more than `plan.max_cost`.
    """
    asked, rules, settings = Task.of(task), Preprocess.of(preprocess), Preference.of(config)
    tally = Tally({})
    spent: dict[str, dict[str, int]] = {}
    if settings.pairs_from == "rows":
        if rules.test_data or rules.corrections:
            raise UserError("preprocess.test_data and corrections are for labelled rows", remedy="leave them out")
        found = paired.read(data, asked, rules, settings, tally)
        before = len(found.pairs)
        found = paired.settled(found, rules)
        guard(before, len(found.pairs), "comparing pairs", rules, found.dropped)
    else:
        asking, client = Evaluate.of(evaluate), connect(Vertex.of(vertex))
        referee = Referee(asked, settings, asking, _put(asking, client.settings))
        rows, lost = _labelled(data, asked, rules, tally)
        made, sampled = own_pairs.make(rows, asked, settings, asking, Plan.of(plan), client, referee)
        found = replace(made, dropped=[*lost, *made.dropped], rows=len(rows) + len(lost))
        spent = {"sampled": sampled, "judged": referee.tokens}
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
    told_more = {"labels": {}, **portrait.portrait(kept, False), **tally.told(), "preferences": paired.portrait(sound)}
    asked_before = {"spent_tokens": spent, "settings": rules.model_dump(), "data": data}
    write_json(report, {**summary, **told_more, **asked_before})
    gone = "; dropped: " + ", ".join(f"{count} {reason}" for reason, count in reasons.items()) if reasons else ""
    log.info("done: %s", f"{len(sound)} pairs of {len(kept)} prompts, from {found.rows} rows{gone}")
    return {**summary, "prompts": len(kept)}


def _labelled(data: str, task: Task, rules: Preprocess, tally: Tally) -> tuple[list[Example], list[Dropped]]:
    """Labelled rows without duplicates, as supervised tuning would take them, and those that left."""
    rows, dropped = preprocessing.gather(data, task, rules, tally)
    for what, rule in preprocessing.RULES.items():
        before = len(rows)
        rows, gone = rule(rows, task, rules)
        guard(before, len(rows), what, rules, gone)
        dropped += gone
    rows, gone = preprocessing.draw(rows, rules)
    return rows, [*dropped, *gone]


def _put(asking: Evaluate, vertex: Vertex) -> Put:
    """Asks questions of Vertex AI; answers in order, or a `UserError` when too many get none for technical reasons."""

    def put(questions: Sequence[Question]) -> list[Given]:
        if not questions:
            return []
        ask, effort = evaluation.vertex_ask(asking, vertex)
        given = asyncio.run(ask_all(questions, ask, effort))
        failed = [one for one in given if one.error]
        if len(failed) > asking.max_error_share * len(given):
            raise UserError(
                f"{len(failed)} of {len(given)} requests to {questions[0].model} failed: {failed[0].error}",
                remedy="nothing was decided; try again later",
            )
        return given

    return put


# -- the plan --------------------------------------------------------------------------------------------------------


def plan(
    reports: list[str],
    predictions: list[str],
    gathered: str,
    train: str,
    validation: str,
    test: str,
    pairs: str,
    task: dict[str, Any],
    evaluate: dict[str, Any],
    config: dict[str, Any],
    settings: dict[str, Any],
    vertex: dict[str, Any],
    name: str,
    planned: str,
) -> dict[str, Any]:
    """Write the plan to `planned`; return `worthwhile`, `supervised` ({}: none), `trials` and `best_prompt`.

    `config` is section `preference`, `settings` section `plan`. Raises `UserError` for a model or a setting that cannot
    be used for preference tuning, before anything is spent on it.
    """
    limits, preference, asking = Plan.of(settings), Preference.of(config), Evaluate.of(evaluate)
    client, asked = connect(Vertex.of(vertex)), Task.of(task)
    splits = [list(read_examples(path)) for path in (train, validation, test)]
    resolved = prompts.resolve(asked, splits[0])
    all_pairs = paired.read_written(pairs)
    referee = Referee(resolved, preference, asking, _put(asking, Vertex.of(vertex)))
    told, best = _best_prompt(reports, predictions, validation, pairs, resolved, referee)
    first, trials = pair_plan.jobs(limits, preference)
    pair_plan.require(client, asking.base_model, first, trials)
    if limits.continue_champion and (champion := picking.read_champion(client, name)):
        first, trials = pair_plan.continued(first, trials, champion)
    sizes = pair_plan.sizes(client, resolved, asking, limits, preference, splits, all_pairs)
    price, judge = client.catalogue.price("", asking.base_model), None
    if preference.ranked_by == "judge":
        judge = client.catalogue.price("", preference.judge.model)
    spent = pair_plan.spent(told, json.loads(Path(gathered).read_text("utf-8")), referee, client, price)
    drawn_up = pair_plan.bill(limits, preference, asking, first, trials, sizes, spent, price, judge)
    print_ = pair_plan.name_of(splits, all_pairs, asking.base_model, drawn_up.supervised, drawn_up.trials)
    reasons = pair_plan.reasons_against(limits, sizes, drawn_up)
    if limits.skip_unchanged and records.last_plan(client, name) == print_:
        reasons.append("nothing is new: the same pairs, model and trials were decided on last time")
    wanted = [] if reasons else [trial.model_copy(update={"plan": print_}) for trial in drawn_up.trials]
    begun = drawn_up.supervised.model_copy(update={"plan": print_}) if wanted and drawn_up.supervised else None
    document = pair_plan.document(limits, drawn_up, reasons, sizes, price, client, asking)
    decided = {
        "baselines": told,
        "best_prompt": {"contestant": best.model_dump(mode="json")},
        "supervised": begun.model_dump(mode="json") if begun else {},
        "trials": [trial.model_dump(mode="json") for trial in wanted],
        "fingerprint": print_,
    }
    write_json(planned, {**document, **decided})
    pair_plan.say(document, drawn_up, reasons, best)
    return {**decided, "worthwhile": not reasons, "best_prompt": best.model_dump(mode="json")}


def _best_prompt(
    reports: Sequence[str], predictions: Sequence[str], validation: str, pairs: str, task: Task, referee: Referee
) -> tuple[list[dict[str, Any]], Contestant]:
    """The reports with each prompt's win rate against the first one, and the prompt that wins oftenest."""
    told = [json.loads(Path(path).read_text("utf-8")) for path in reports]
    files = {
        entry["contestant"]["name"]: (path, entry)
        for report, path in zip(told, predictions, strict=True)
        for entry in report["contestants"]
    }
    if not files:
        raise UserError("no prompted baseline was evaluated", remedy="list one in evaluate.baselines")
    rates: dict[str, float] = {}
    against: list[str | None] = []
    for name, (path, entry) in files.items():
        who = Contestant.of(entry["contestant"])
        answers = Answers.read(path, validation, pairs, task, [who])
        texts = answers.texts(name)
        against = against or texts
        duels = referee.duels(answers.rows, answers.references, texts, against)
        found = _rate(duels, answers.groups, referee.asking)
        entry["metrics"][METRIC] = _bounds(found)
        rates[name] = found.value
    best = max(rates, key=lambda name: (rates[name], -sum(files[name][1]["tokens"].values())))
    return told, Contestant.of(files[best][1]["contestant"])


def _rate(duels: Sequence[Duel], groups: Sequence[str | None], asking: Evaluate) -> WinRate:
    return win_rate(
        duels, groups=groups, level=asking.confidence_level, resamples=asking.resamples, seed=asking.seed
    )  # fmt: skip


# -- tuning ----------------------------------------------------------------------------------------------------------


def supervise(
    train: str,
    validation: str,
    pairs: str,
    trial: dict[str, Any],
    task: dict[str, Any],
    evaluate: dict[str, Any],
    config: dict[str, Any],
    vertex: dict[str, Any],
    name: str,
    job: str,
) -> dict[str, Any]:
    """Tune on the better answers; writes the job's record and returns `start` (a contestant) and `metrics`.

    `start` is the checkpoint of the lowest validation loss, from which the preference jobs go on. An empty `trial`
    means that none is wanted: then `start` is empty too.
    """
    if not trial:
        write_json(job, {"jobs": [], "start": {}})
        log.info("done: %s", "no supervised job is wanted; preferences start from the base model")
        return {"start": {}, "metrics": {}}
    own = paired.read_written(pairs)
    tuned = _step(train, validation, own, paired.chosen_rows, task, evaluate, config, vertex, name, job).run(
        Trial.of(trial)
    )
    record = json.loads(Path(job).read_text("utf-8"))
    best = start_of(tuned["contestants"], record["curve"].get(VALIDATION, []))
    start = {**best, "role": "supervised"}
    write_json(job, {**record, "start": start})
    return {"start": start, "metrics": tuned["metrics"]}


def start_of(contestants: Sequence[dict[str, Any]], losses: Sequence[Sequence[float]]) -> dict[str, Any]:
    """The checkpoint whose validation loss (points of step and value) is lowest; the last one when none is known."""
    known = {int(step): value for step, value in losses}

    def loss(one: dict[str, Any]) -> float:
        near = min(known, key=lambda step: abs(step - one["step"]), default=None)
        return known[near] if near is not None else -float(one["step"])

    return min(contestants, key=loss)


def prefer(
    train: str,
    validation: str,
    pairs: str,
    trial: dict[str, Any],
    supervised: str,
    task: dict[str, Any],
    evaluate: dict[str, Any],
    config: dict[str, Any],
    vertex: dict[str, Any],
    name: str,
    job: str,
) -> dict[str, float]:
    """Tune one trial on pairs, from where the job recorded in `supervised` ended, if any; writes the job's record.

    Returns the job's metrics. Raises `UserError` for pairs or settings that the service would reject.
    """
    asked = Trial.of(trial)
    if start := json.loads(Path(supervised).read_text("utf-8"))["start"]:
        begun = Contestant.of(start)
        asked = asked.model_copy(update={"base": begun.tuned_model, "checkpoint_id": begun.checkpoint_id})
    own = paired.read_written(pairs)
    step = _step(train, validation, own, paired.preference_rows, task, evaluate, config, vertex, name, job)
    metrics: dict[str, float] = step.run(asked)["metrics"]
    return metrics


def _step(
    train: str,
    validation: str,
    pairs: Sequence[Pair],
    rows_of: Callable[[Task, Sequence[Example], Iterable[Pair]], list[dict[str, Any]]],
    task: dict[str, Any],
    evaluate: dict[str, Any],
    config: dict[str, Any],
    vertex: dict[str, Any],
    name: str,
    job: str,
) -> Step:
    splits = [list(read_examples(path)) for path in (train, validation)]
    resolved = prompts.resolve(Task.of(task), splits[0])
    rows = [rows_of(resolved, split, pairs) for split in splits]
    base_model = Evaluate.of(evaluate).base_model
    return Step(connect(Vertex.of(vertex)), Tune.of(config), base_model, name, resolved, rows[0], rows[1], job)


def line_up(jobs: list[str], start: dict[str, Any], best_prompt: dict[str, Any]) -> list[dict[str, Any]]:
    """Who is asked the validation prompts: the best prompt, the supervised model, every checkpoint of every trial."""
    records = [json.loads(Path(path).read_text("utf-8")) for path in jobs]
    checkpoints = [one for record in records for one in record.get("contestants", [])]
    log.info("done: %s", f"{len(checkpoints)} checkpoints of {len(records)} trials")
    return [best_prompt, *([start] if start else []), *checkpoints]


# -- the choice ------------------------------------------------------------------------------------------------------


def choose(
    supervised: str,
    jobs: list[str],
    predictions: str,
    examples: str,
    pairs: str,
    contestants: list[dict[str, Any]],
    task: dict[str, Any],
    evaluate: dict[str, Any],
    config: dict[str, Any],
    pick: dict[str, Any],
    deploy: dict[str, Any],
    vertex: dict[str, Any],
    name: str,
    picked: str,
) -> list[dict[str, Any]]:
    """Choose the candidate by its win rate on validation prompts; writes `picked`, returns who meets on test data.

    The win rate is the mean of those against the best prompt and against the supervised model.
    """
    settings, asking = Preference.of(config), Evaluate.of(evaluate)
    client, who = connect(Vertex.of(vertex)), [Contestant.of(one) for one in contestants]
    resolved = prompts.resolve(Task.of(task), list(read_examples(examples)))
    referee = Referee(resolved, settings, asking, _put(asking, Vertex.of(vertex)))
    answers = Answers.read(predictions, examples, pairs, resolved, who)
    opponents = [one for one in who if one.role != "candidate"]
    records = [json.loads(Path(path).read_text("utf-8")) for path in (supervised, *jobs)]
    tuned = [record for record in records if record.get("trial")]
    sizes = {record["trial"]["name"]: record["trial"]["adapter_size"] for record in tuned}
    standings = [
        _standing(one, opponents, answers, referee, sizes.get(one.trial, 0)) for one in who if one.role == "candidate"
    ]
    chosen, reason = picking.choose(standings, Pick.of(pick).one_standard_error)
    finalists = _finalists(client, name, opponents, chosen)
    losers = [one for record in tuned for one in record.get("contestants", [])]
    losers = [one for one in losers if chosen is None or one["model"] != chosen.contestant.model]
    judged = pair_plan.judging(referee, client, "judging checkpoints")
    write_json(
        picked, pair_choice.told(finalists, standings, chosen, reason, tuned, losers, judged, Deploy.of(deploy).alias)
    )
    log.info("done: %s", f"{chosen.contestant.name} wins {chosen.value:.3f}: {reason}" if chosen else reason)
    return [one.model_dump(mode="json") for one in finalists]


def choose_without_tuning(
    best_prompt: dict[str, Any], deploy: dict[str, Any], vertex: dict[str, Any], name: str, picked: str
) -> list[dict[str, Any]]:
    """Line up the best prompt and the model in service when no tuning was worth trying."""
    client = connect(Vertex.of(vertex))
    finalists = _finalists(client, name, [Contestant.of(best_prompt)], None)
    reason = "no checkpoint to choose from"
    write_json(picked, pair_choice.told(finalists, [], None, reason, [], [], [], Deploy.of(deploy).alias))
    log.info("done: %s", reason)
    return [one.model_dump(mode="json") for one in finalists]


def _standing(
    one: Contestant, opponents: Sequence[Contestant], answers: Answers, referee: Referee, adapter_size: int
) -> picking.Standing:
    """A checkpoint's win rate over all opponents, a prompt's duels counting as one observation."""
    duels, groups = [], []
    for opponent in opponents:
        duels += answers.duels(referee, one.name, opponent.name)
        groups += [group or row.id for row, group in zip(answers.rows, answers.groups, strict=True)]
    rate = _rate(duels, groups if len(opponents) > 1 else answers.groups, referee.asking)
    return picking.Standing(one, rate.value, rate.low, rate.high, adapter_size)


def _finalists(
    client: Client, name: str, opponents: Sequence[Contestant], chosen: picking.Standing | None
) -> list[Contestant]:
    """The best prompt, the supervised model, the candidate (unless it serves already), the champion."""
    champion = picking.read_champion(client, name)
    prompt = next(one for one in opponents if one.role == "baseline")
    if chosen is None or (champion and champion.model == chosen.contestant.model):
        return [prompt, *([champion] if champion else [])]
    begun = [one for one in opponents if one.role == "supervised"]
    return [prompt, *begun, chosen.contestant, *([champion] if champion else [])]


# -- the decision ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ByDuels:
    """Compares two contestants by who wins how many prompts; a gate asks it in place of a metric."""

    gate: Gate
    duels: Mapping[tuple[str, str], Sequence[Duel]]
    groups: Sequence[str | None]
    metric: str = METRIC

    def __call__(self, candidate: Scored, opponent: Scored, part: Sequence[int] | None = None) -> Comparison:
        """The share of prompts won (ties half) by the one and by the other, on all prompts or on those of `part`."""
        who, duels = opponent.contestant, self.duels[candidate.contestant.name, opponent.contestant.name]
        part = range(len(duels)) if part is None else part
        rate = win_rate(
            [duels[i] for i in part],
            groups=[self.groups[i] for i in part],
            level=self.gate.confidence_level,
            resamples=self.gate.resamples,
            seed=self.gate.seed,
        )
        return Comparison(who.name, who.role, self.metric, rate.value, 1 - rate.value, rate.lift)


def decide(
    tested: str,
    predictions: str,
    examples: str,
    pairs: str,
    contestants: list[dict[str, Any]],
    plan: str,
    task: dict[str, Any],
    evaluate: dict[str, Any],
    config: dict[str, Any],
    gate: dict[str, Any],
    vertex: dict[str, Any],
    decision: str,
    report: str,
) -> bool:
    """Decide from test answers; writes `decision` and `report` (the evaluation's, with win rates), returns the verdict.

    The candidate must win against the best prompt and the model in service by more than the interval, and must not be
    shown to be worse than the supervised model by more than `gate.min_lift_over_supervised`; then come the gate's other
    rules.
    """
    rules, settings, asking = Gate.of(gate), Preference.of(config), Evaluate.of(evaluate)
    if rules.metric not in ("", METRIC):
        raise UserError(f"gate.metric is {rules.metric!r}", remedy=f"preference tuning is decided by {METRIC}")
    told, who = json.loads(Path(tested).read_text("utf-8")), [Contestant.of(one) for one in contestants]
    resolved, client = Task.of(told["task"]), connect(Vertex.of(vertex))
    referee = Referee(resolved, settings, asking, _put(asking, Vertex.of(vertex)))
    answers = Answers.read(predictions, examples, pairs, resolved, who)
    duels = {pair: answers.duels(referee, *pair) for pair in _meetings(who)}
    prices = json.loads(Path(plan).read_text("utf-8"))["prices"]
    sealed = told.get("sealed", {})
    made = gates.decide(
        resolved,
        rules,
        [answers.scored[one.name] for one in who],
        answers.groups,
        prices,
        sealed.get("candidates", 1),
        lambda gate: ByDuels(gate, duels, answers.groups),
    )
    if settings.ranked_by == "judge":
        made = only_proven(made, _judge_validity(resolved, settings, asking, Vertex.of(vertex)), who)
    made = replace(made, notes=[*made.notes, *_notes(made, settings)])
    gates.write(decision, made, rules, who, sealed)
    results = {pair: _rate(found, answers.groups, asking) for pair, found in duels.items()}
    _add_win_rates(told, who, duels, answers, asking)
    table = [_result(pair, rate) for pair, rate in results.items()]
    judged = pair_plan.judging(referee, client, "judging the finalists")
    write_json(report, {**told, "duels": table, "ranked_by": settings.ranked_by, "spent": judged})
    for reason in [*made.reasons, *made.notes]:
        log.info("%s", reason)
    log.info("done: %s", made.verdict.replace("_", " "))
    return made.passed


def _judge_validity(task: Task, config: Preference, asking: Evaluate, vertex: Vertex) -> gates.Rule:
    """Whether people were shown to agree with the judge: it rates what they rated on its sheet."""
    if not config.judge.sheet:
        said = "no judge was checked against people (preference.judge.sheet), so its win rates inform and do not decide"
        return gates.Rule("judge_validity", False, 0.0, config.judge.min_agreement, said)
    found = evaluation.check_judge(task, asking.model_copy(update={"judge": config.judge}), vertex)
    shown = found["shown"]["low"]
    return gates.Rule("judge_validity", found["admitted"], shown, found["required"], found["sentence"])


def only_proven(made: gates.Decision, proof: gates.Rule, who: Sequence[Contestant]) -> gates.Decision:
    """The decision with the judge's proof among its rules; without proof nothing is deployed on the judge's word."""
    made = replace(made, rules=[*made.rules, proof])
    if made.verdict != "deploy" or proof.passed:
        return replace(made, reasons=[*made.reasons, proof.sentence])
    stays: gates.Verdict = "keep_champion" if any(one.role == "champion" for one in who) else "keep_prompt"
    return replace(made, verdict=stays, reasons=[proof.sentence, *made.reasons])


def _meetings(who: Sequence[Contestant]) -> list[tuple[str, str]]:
    """Who meets whom: the candidate all others, everyone the best prompt, the best prompt the champion."""
    by_role = {one.role: one.name for one in who}
    prompt, ahead = by_role["baseline"], by_role.get("candidate")
    met = [(ahead, one.name) for one in who if one.name != ahead] if ahead else []
    met += [(one.name, prompt) for one in who if one.name not in (prompt, ahead)]
    return [*met, *([(prompt, by_role["champion"])] if "champion" in by_role else [])]


def _notes(made: gates.Decision, config: Preference) -> list[str]:
    """What a reader must know about how the win rates came about."""
    level = 1 - made.confidence_level
    notes = []
    for one in made.comparisons:
        if one.role == "supervised" and not (one.paired.low > 0 and one.paired.p_value <= level):
            notes.append(
                f"preference tuning is not shown to add to the supervised model {one.versus} "
                f"(win rate {one.candidate:.3f}): the simpler recipe may do"
            )
    if made.comparisons and config.ranked_by == "reference":
        notes.append(
            "answers are ranked by their nearness to preferred answers (no judge was asked): what those do not show "
            "does not count"
        )
    return notes


def _add_win_rates(
    told: dict[str, Any],
    who: Sequence[Contestant],
    duels: Mapping[tuple[str, str], Sequence[Duel]],
    answers: Answers,
    asking: Evaluate,
) -> None:
    """Each contestant's win rate against the best prompt, among the metrics of its report and of its slices."""
    prompt = next(one.name for one in who if one.role == "baseline")
    for entry in told["contestants"]:
        name = entry["contestant"]["name"]
        own = duels.get((name, prompt)) or [Duel("tie")] * len(answers.rows)
        entry["metrics"] = {METRIC: _bounds(_rate(own, answers.groups, asking)), **entry["metrics"]}
        slices = answers.scored[name].slices
        for column, values in entry["slices"].items():
            for value, cell in values.items():
                part = [i for i, row in enumerate(slices) if row.get(column) == value]
                rate = _rate([own[i] for i in part], [answers.groups[i] for i in part], asking)
                cell["metrics"][METRIC] = _bounds(rate)


def _bounds(rate: WinRate) -> dict[str, float]:
    return {"value": rate.value, "low": rate.low, "high": rate.high}


def _result(pair: tuple[str, str], rate: WinRate) -> dict[str, Any]:
    """A line of the table of duels."""
    told = asdict(rate)
    lift = told.pop("lift")
    return {"candidate": pair[0], "opponent": pair[1], **told, "p_value": lift["p_value"]}
