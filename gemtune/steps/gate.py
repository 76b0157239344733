# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The decision: may the candidate serve?

All variants answered the same held-out test rows; they are compared row by row. The candidate must beat the best
prompt, and the model in service re-scored today, by more than the interval: the lower bound of the paired bootstrap
lies above the wanted lift, and an exact test agrees (few disagreeing rows make the bootstrap too bold). Then come the
floors and ceilings. The promise: an equal candidate passes no more often than (1 - confidence_level) / 2. Each further
candidate on the same rows has its own chance to pass by luck: that error is divided among the candidates the test
set is planned for (Bonferroni), and more than planned are told of, or refused. `decide` is pure.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Protocol

from gemtune.config import Gate, ModelVariant, Task
from gemtune.data.example import write_json
from gemtune.errors import UserError
from gemtune.evaluation import calibration, forgetting, intervals, metrics
from gemtune.evaluation.intervals import PairedDifference
from gemtune.evaluation.predictions import Scored, groups_of, read_predictions, scored_of
from gemtune.inference.tfidf_baseline import TFIDF_BASELINE

log = logging.getLogger("gemtune")

Verdict = Literal["deploy", "keep_prompt", "keep_champion", "not_enough_data"]
FEWEST_PER_CLASS = 10


@dataclass(frozen=True)
class Rule:
    """One thing that was checked: what was measured, what was wanted, whether it held."""

    name: str
    passed: bool
    measured: float
    wanted: float
    sentence: str


@dataclass(frozen=True)
class Comparison:
    """Candidate against one opponent on one metric, in the metric's unit."""

    versus: str
    role: str
    metric: str
    candidate: float
    opponent: float
    paired: PairedDifference


@dataclass(frozen=True)
class SliceComparison:
    """Candidate against the best prompt within one slice; `p_value` is adjusted for the number of slices (Holm)."""

    column: str
    value: str
    rows: int
    delta: float
    low: float
    high: float
    p_value: float


@dataclass(frozen=True)
class Decision:
    """The verdict with everything it rests on."""

    verdict: Verdict
    reasons: list[str]
    rules: list[Rule]
    comparisons: list[Comparison]
    metric: str
    rows: int
    slices: list[SliceComparison] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    confidence_level: float = 0.95

    @property
    def passed(self) -> bool:
        """Whether the candidate may serve."""
        return self.verdict == "deploy"


def decide(
    task: Task,
    config: Gate,
    scored: Sequence[Scored],
    groups: Sequence[str | None] | None = None,
    prices: Mapping[str, float] | None = None,
    candidates: int = 1,
    comparing: Callable[[Gate], Compare] | None = None,
    judge: Mapping[str, Any] | None = None,
) -> Decision:
    """Judge the candidate (the one with that role, if any) against the best prompt, the champion and, after preference
    tuning, the supervised model it began with.

    `groups` names rows that belong together (None: alone); they count as one observation. `prices` are US dollars a
    million `input` and `output` tokens. `candidates` have been tried on these rows, this one included.
    `autorater` is what the evaluation's judge says; its rules apply only when people were shown to agree with it.
    `comparing` gives another way to compare two variants than by the metric, at the gate's settings.
    """
    asked = config.confidence_level
    config = config.model_copy(update={"confidence_level": 1 - (1 - asked) / config.planned_readings})
    compare = comparing(config) if comparing else _Comparer(task, config, _metric(task, config), groups)
    judged = _judge_rules(config, judge or {}, scored, groups)
    made = _decided(task, config, scored, compare, prices or {}, candidates, judged)
    worn = _worn(config, candidates, asked) if made.rules else ""
    return replace(made, notes=[*made.notes, *filter(None, [worn])], confidence_level=config.confidence_level)


def _decided(
    task: Task,
    config: Gate,
    scored: Sequence[Scored],
    compare: Compare,
    prices: Mapping[str, float],
    candidates: int,
    judged: Sequence[Rule],
) -> Decision:
    metric = compare.metric
    rows = len(scored[0].rows) if scored else 0
    by_role = {one.variant.role: one for one in scored}
    prompt, champion, candidate = by_role.get("baseline"), by_role.get("champion"), by_role.get("candidate")
    if rows < config.min_test_rows:
        return _too_few(config, metric, rows)
    if candidate is not None and candidates > config.planned_readings and config.worn_test == "stop":
        return _worn_out(config, metric, rows, candidates)
    if candidate is None:
        return _no_candidate(config, compare, prompt, champion, rows)
    others = (prompt, by_role.get("supervised"), champion)
    comparisons = [compare(candidate, other) for other in others if other is not None]
    slices = _slices(compare, candidate, prompt) if prompt is not None else []
    rules = [_lift_rule(config, c) for c in comparisons] + _floor_rules(task, config, candidate, prompt, prices)
    rules += judged
    rules += [_slice_rule(config, slices)] if config.worse_slices == "stop" and slices else []
    notes = [_worse(one) for one in slices if one.delta < 0 and one.p_value <= 1 - config.confidence_level]
    if all(rule.passed for rule in rules):
        reasons = [rule.sentence for rule in rules]
        return Decision("deploy", reasons, rules, comparisons, metric, rows, slices, notes)
    verdict, why = _fallback(config, compare, prompt, champion)
    failed = [rule.sentence for rule in rules if not rule.passed]
    power = [_power_note(c, rows, config) for c, rule in zip(comparisons, rules, strict=False) if not rule.passed]
    reasons = [*failed, *filter(None, power), why]
    return Decision(verdict, reasons, rules, comparisons, metric, rows, slices, notes)


def _metric(task: Task, config: Gate) -> str:
    return config.metric or metrics.primary_metric(task)


class Compare(Protocol):
    """A way to compare two variants on the same rows, or on those of `part`; `metric` is what it is called."""

    @property
    def metric(self) -> str:
        """The name of what is compared."""

    def __call__(self, candidate: Scored, opponent: Scored, part: Sequence[int] | None = None) -> Comparison:
        """The comparison, candidate minus opponent."""


@dataclass(frozen=True)
class _Comparer:
    task: Task
    config: Gate
    metric: str
    groups: Sequence[str | None] | None

    def __call__(self, candidate: Scored, opponent: Scored, part: Sequence[int] | None = None) -> Comparison:
        """Compare on all rows, or on those of `part`."""
        part = range(len(candidate.rows)) if part is None else part
        left = metrics.measure(self.task, self.metric, [candidate.rows[i] for i in part])
        right = metrics.measure(self.task, self.metric, [opponent.rows[i] for i in part])
        paired = intervals.paired(
            left,
            right,
            level=self.config.confidence_level,
            resamples=self.config.resamples,
            seed=self.config.seed,
            groups=[self.groups[i] for i in part] if self.groups else None,
        )
        who = opponent.variant
        return Comparison(who.name, who.role, self.metric, left.value(), right.value(), paired)


def _slices(compare: Compare, candidate: Scored, prompt: Scored) -> list[SliceComparison]:
    """Every slice of enough rows, compared; p-values adjusted together."""
    parts: dict[tuple[str, str], list[int]] = {}
    for i, row in enumerate(candidate.slices):
        for column, value in sorted(row.items()):
            parts.setdefault((column, value), []).append(i)
    kept = {key: part for key, part in sorted(parts.items()) if len(part) >= FEWEST_PER_CLASS}
    found = [compare(candidate, prompt, part).paired for part in kept.values()]
    adjusted = intervals.holm([one.p_value for one in found])
    return [
        SliceComparison(column, value, len(part), one.delta, one.low, one.high, p)
        for ((column, value), part), one, p in zip(kept.items(), found, adjusted, strict=True)
    ]


def _slice_rule(config: Gate, slices: Sequence[SliceComparison]) -> Rule:
    worst = min(slices, key=lambda one: (one.p_value if one.delta < 0 else 2.0, one.delta))
    bad = worst.delta < 0 and worst.p_value <= 1 - config.confidence_level
    said = _worse(worst) if bad else f"none of {len(slices)} slices is shown to be worse than under the best prompt"
    return Rule("worse_slices", not bad, worst.delta, 0.0, said)


def _worse(one: SliceComparison) -> str:
    return (
        f"worse than the best prompt where {one.column} is {one.value!r}: {one.delta:+.3f} on {one.rows} rows "
        f"(p = {one.p_value:.2g}, adjusted for the number of slices)"
    )


def _lift_rule(config: Gate, comparison: Comparison) -> Rule:
    over, wanted, who = _OPPONENTS[comparison.role](config)
    found = comparison.paired
    # The exact test asks whether the two are equal, so it speaks only where equality must be refuted.
    surprising = wanted < 0 or found.p_value <= 1 - config.confidence_level
    passed = found.low > wanted and surprising
    claim = "is as good as" if wanted < 0 else "is better than"
    sentence = (
        f"{'it is shown' if passed else 'it is not shown'} that the candidate {claim} {who} ({comparison.versus}): "
        f"{comparison.metric} {comparison.candidate:.3f} against {comparison.opponent:.3f}, "
        f"difference {found.delta:+.3f} (between {found.low:+.3f} and {found.high:+.3f}; p = {found.p_value:.2g}), "
        f"wanted: more than {wanted:+g}"
    )
    return Rule(f"lift_over_{over}", passed, found.low, wanted, sentence)


_OPPONENTS: dict[str, Callable[[Gate], tuple[str, float, str]]] = {
    "baseline": lambda gate: ("prompt", gate.min_lift, "the best prompt"),
    "champion": lambda gate: ("champion", gate.min_lift_over_champion, "the model in service"),
    "supervised": lambda gate: ("supervised", gate.min_lift_over_supervised, "the supervised model it began with"),
}


def _floor_rules(
    task: Task, config: Gate, candidate: Scored, prompt: Scored | None, prices: Mapping[str, float]
) -> list[Rule]:
    unusable = sum(outcome != "ok" for outcome in candidate.outcomes) / len(candidate.outcomes)
    rules = [_ceiling("invalid_rate", unusable, config.max_invalid_rate, "share of unusable answers")]
    if task.kind in metrics.LABELLED and not task.label_separator:
        rules.append(_constant_rule(candidate))
    if config.max_latency_s:
        rules.append(_latency_rule(config, candidate))
    for name, counts, limit in (
        ("input_tokens", candidate.input_tokens, config.max_input_tokens),
        ("output_tokens", candidate.output_tokens, config.max_output_tokens),
    ):
        if limit:
            rules.append(_ceiling(name, sum(counts) / len(counts), limit, f"mean {name.replace('_', ' ')} a request"))
    if config.max_cost_per_1000:
        spent = sum(candidate.input_tokens) * prices["input"] + sum(candidate.output_tokens) * prices["output"]
        each = spent / 1e6 / len(candidate.rows)
        rules.append(_ceiling("cost", 1000 * each, config.max_cost_per_1000, "US$ for 1,000 answers at list prices"))
    if config.max_ece:
        known = [
            (sure, row) for sure, row in zip(candidate.confidence, candidate.rows, strict=True) if sure is not None
        ]
        right = [float(row.parsed == row.reference) for _, row in known]
        sure = calibration.apply_calibration(candidate.variant.calibration, [sure for sure, _ in known])
        error = calibration.ece(sure, right).value()
        rules.append(_ceiling("calibration", error, config.max_ece, "calibration error (ECE, by the validation map)"))
    if task.kind in metrics.LABELLED:
        rules += _class_rules(task, config, candidate, prompt)
    return rules


def _constant_rule(candidate: Scored) -> Rule:
    """A model must not be right less often than always giving the commonest label would be."""
    references = Counter(row.reference for row in candidate.rows)
    (label, count), right = references.most_common(1)[0], sum(row.reference == row.parsed for row in candidate.rows)
    constant, measured = count / len(candidate.rows), right / len(candidate.rows)
    passed = measured >= constant
    how = "no less often" if passed else "less often"
    said = f"right {how} ({measured:.3f}) than always answering {label!r} would be ({constant:.3f})"
    return Rule("beats_constant", passed, measured, constant, said)


def _latency_rule(config: Gate, candidate: Scored) -> Rule:
    """Answers of batch jobs, and those that never came, have no time; a ceiling needs those of most rows."""
    timed = [seconds for seconds in candidate.latency_s if seconds is not None]
    if 2 * len(timed) < len(candidate.latency_s):
        said = (
            f"answer time was measured on {len(timed)} of {len(candidate.latency_s)} rows: set evaluate.batch_above=0"
        )
        return Rule("latency_s", False, 0.0, config.max_latency_s, said)
    slow = _quantile(timed, 0.95)
    return _ceiling("latency_s", slow, config.max_latency_s, "95th percentile of answer time in seconds")


def _ceiling(name: str, measured: float, limit: float, what: str) -> Rule:
    passed = measured <= limit
    return Rule(name, passed, measured, limit, f"{what}: {measured:.3g}, {'within' if passed else 'above'} {limit:g}")


def _class_rules(task: Task, config: Gate, candidate: Scored, prompt: Scored | None) -> list[Rule]:
    table = [c for c in metrics.per_class(task, candidate.rows) if c["support"] >= FEWEST_PER_CLASS]
    rules = []
    if config.min_class_recall and table:
        worst = min(table, key=lambda c: c["recall"])
        passed = worst["recall"] >= config.min_class_recall
        said = f"weakest class {worst['label']!r} has recall {worst['recall']:.3f}, wanted {config.min_class_recall:g}"
        rules.append(Rule("class_recall", passed, worst["recall"], config.min_class_recall, said))
    if config.max_class_drop < 1 and prompt is not None and table:
        before = {c["label"]: c["recall"] for c in metrics.per_class(task, prompt.rows)}
        worst = max(table, key=lambda c: before[c["label"]] - c["recall"])
        drop = before[worst["label"]] - worst["recall"]
        said = f"class {worst['label']!r} loses {max(drop, 0):.3f} recall against the best prompt"
        rules.append(Rule("class_drop", drop <= config.max_class_drop, drop, config.max_class_drop, said))
    return rules


def _judge_rules(
    config: Gate,
    told: Mapping[str, Any],
    scored: Sequence[Scored],
    groups: Sequence[str | None] | None,
) -> list[Rule]:
    """What a judge says of the candidate, when a rule asks for it and people were shown to agree with the judge.

    A judge that is not proven never speaks here; since what was asked for then cannot be shown, the gate stays shut.
    """
    by_role = {one.variant.role: one for one in scored}
    candidate, prompt = by_role.get("candidate"), by_role.get("baseline")
    if candidate is None or not (config.min_judge_good or config.min_judge_win_rate):
        return []
    checked = told.get("validation")
    if not checked:
        return [
            Rule("judge_validity", False, 0.0, 1.0, "no judge was checked against people, though a rule asks for one")
        ]
    rules = [
        Rule("judge_validity", checked["validated"], checked["shown"]["low"], checked["required"], checked["sentence"])
    ]
    if not checked["validated"]:
        return rules
    if config.min_judge_good:
        rules.append(_judged_good(config, told, candidate.variant.name, groups))
    if config.min_judge_win_rate and prompt is not None:
        pair = (candidate.variant.name, prompt.variant.name)
        pair_result = next(one for one in told["pairwise"] if (one["candidate"], one["baseline"]) == pair)
        rate, wanted = pair_result["win_rate"], config.min_judge_win_rate
        said = (
            f"by the judge the candidate wins {rate['value']:.3f} against the best prompt (between {rate['low']:.3f} "
            f"and {rate['high']:.3f}; {pair_result['ties']} ties of {pair_result['pairs']} pairs, "
            f"{pair_result['order_flips']} by order), wanted: more than {wanted:g}"
        )
        rules.append(Rule("judge_win_rate", rate["low"] > wanted, rate["low"], wanted, said))
    return rules


def _judged_good(config: Gate, told: Mapping[str, Any], name: str, groups: Sequence[str | None] | None) -> Rule:
    cut, wanted = told["validation"]["threshold"], config.min_judge_good
    if not cut:
        return Rule(
            "judge_good", False, 0.0, wanted, "people call all rated answers good, or none: no threshold to fit"
        )
    good = [float(score is not None and score >= cut["score"]) for score in told["ratings"][name]["scores"]]
    found = intervals.interval(
        intervals.mean(good),
        level=config.confidence_level,
        resamples=config.resamples,
        seed=config.seed,
        groups=groups,
    )
    said = (
        f"the judge calls {found.value:.3f} of the candidate's answers good (between {found.low:.3f} and "
        f"{found.high:.3f}; good is a score from {cut['score']:g} up), wanted: at least {wanted:g}"
    )
    return Rule("judge_good", found.low >= wanted, found.low, wanted, said)


def _fallback(config: Gate, compare: Compare, prompt: Scored | None, champion: Scored | None) -> tuple[Verdict, str]:
    """What stays: the champion, unless there is none or the best prompt is shown to beat it."""
    if champion is None:
        return "keep_prompt", "so the best prompt stays"
    if prompt is not None:
        against = compare(prompt, champion)
        if against.paired.low > 0 and against.paired.p_value <= 1 - config.confidence_level:
            return "keep_prompt", (
                f"the best prompt beats the model in service too ({against.candidate:.3f} against "
                f"{against.opponent:.3f} on {against.metric}): go back to the prompt"
            )
    return "keep_champion", f"so the model in service ({champion.variant.name}) stays"


def _no_candidate(
    config: Gate, compare: Compare, prompt: Scored | None, champion: Scored | None, rows: int
) -> Decision:
    verdict, why = _fallback(config, compare, prompt, champion)
    comparisons = [compare(prompt, champion)] if prompt is not None and champion is not None else []
    return Decision(verdict, ["there is no tuned candidate", why], [], comparisons, compare.metric, rows)


def _too_few(config: Gate, metric: str, rows: int) -> Decision:
    said = f"{rows} test rows, at least {config.min_test_rows} are wanted for a decision"
    rule = Rule("test_rows", False, rows, config.min_test_rows, said)
    return Decision("not_enough_data", [said], [rule], [], metric, rows)


def _worn_out(config: Gate, metric: str, rows: int, candidates: int) -> Decision:
    said = (
        f"{candidates} candidates have been tried on these test rows, they were planned for {config.planned_readings}: "
        "take fresh test rows (another split.seed, or newer data)"
    )
    rule = Rule("test_readings", False, candidates, config.planned_readings, said)
    return Decision("not_enough_data", [said], [rule], [], metric, rows)


def _worn(config: Gate, candidates: int, asked: float) -> str:
    """What repeated looks at one test set do to the promise."""
    if candidates <= config.planned_readings:
        return ""
    chance = (1 - asked) / 2 * candidates / config.planned_readings
    return (
        f"{candidates} candidates have been tried on these test rows (planned: {config.planned_readings}), which makes "
        f"the intervals optimistic: one that is no better passes by luck in up to {min(1, chance):.1%} of such series; "
        "take fresh test rows, or set gate.planned_readings"
    )


def _power_note(comparison: Comparison, rows: int, config: Gate) -> str:
    """What it would take to know: said when the candidate leads, but not clearly."""
    found = comparison.paired
    if found.delta <= 0 or not found.disagreement:
        return ""
    level = config.confidence_level
    smallest = intervals.smallest_detectable_lift(rows, found.disagreement, level=level)
    needed = intervals.rows_needed(found.delta, found.disagreement, level=level)
    if needed <= rows:
        return ""
    return (
        f"{rows} test rows notice a lift of {smallest:.3f} four times in five; to confirm one of {found.delta:.3f} "
        f"over {comparison.versus} takes about {needed} rows"
    )


def _quantile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


# -- files -----------------------------------------------------------------------------------------------------------


def run(
    predictions: str,
    variants: list[dict[str, Any]],
    task: dict[str, Any],
    config: dict[str, Any],
    plan: str,
    tested: str,
    decision: str,
    remembered: str = "",
) -> bool:
    """Decide from test predictions; writes `decision` (JSON) and returns whether the candidate may serve.

    `plan` (JSON, may be missing) holds the prices that a cost ceiling needs, `tested` (JSON, may be missing) the report
    of the evaluation: how often its rows were read. `remembered` are answers to the champion's old test rows.
    """
    gate = Gate.of(config)
    resolved, answers = read_predictions(predictions, Task.of(task))
    known = metrics.metric_names(resolved)
    if gate.metric and gate.metric not in known:
        raise UserError(
            f"gate.metric is {gate.metric!r}; {resolved.kind} can be decided by {', '.join(known)}",
            remedy="a judge enters by gate.min_judge_good and gate.min_judge_win_rate",
        )
    who = [ModelVariant.of(variant) for variant in variants]
    groups = groups_of(answers)
    scored = [scored_of(predictions, one, answers) for one in who]
    prices, report = _prices(gate, plan, who), _json(tested)
    usage = report.get("test_set_usage", {})
    asked = [one for one in scored if one.variant.role == "candidate"]
    if gate.max_ece and any(all(sure is None for sure in one.confidence) for one in asked):
        raise UserError("gate.max_ece needs confidences", file=predictions, remedy="set evaluate.confidence=votes")
    told = report.get("judge", {})
    made = decide(resolved, gate, scored, groups, prices, usage.get("candidates", 1), judge=told)
    if TFIDF_BASELINE.name in answers and TFIDF_BASELINE.name not in {one.name for one in who}:
        opponent = scored_of(predictions, TFIDF_BASELINE, answers)
        made = replace(made, notes=[*made.notes, *_classical_note(resolved, gate, scored, opponent, groups)])
    forgot = forgetting.measured(remembered, who, resolved, gate)
    made = _with_forgetting(made, gate, forgot) if forgot else made
    write_json(decision, {**_document(made, gate, who), "test_set_usage": usage})
    for reason in [*made.reasons, *made.notes]:
        log.info("%s", reason)
    log.info("done: %s", made.verdict.replace("_", " "))
    return made.passed


def _with_forgetting(made: Decision, config: Gate, found: forgetting.Forgetting) -> Decision:
    """The decision with what the candidate forgot: a note, or a rule where `max_forgetting` is set."""
    if config.max_forgetting >= 1:
        return replace(made, notes=[*made.notes, found.sentence])
    passed = found.passes(config.max_forgetting)
    rule = Rule("forgetting", passed, found.low, -config.max_forgetting, found.sentence)
    rules = [*made.rules, rule]
    if passed or made.verdict != "deploy":
        return replace(made, rules=rules, reasons=[*made.reasons, found.sentence])
    why = f"a loss of more than {config.max_forgetting:g} is not ruled out, so the model in service stays"
    return replace(made, verdict="keep_champion", rules=rules, reasons=[f"{found.sentence}; {why}"])


def _classical_note(
    task: Task, config: Gate, scored: Sequence[Scored], opponent: Scored, groups: Sequence[str | None]
) -> list[str]:
    """What the free classical model does on the same rows, beside the candidate (else the best prompt)."""
    if not scored or len(opponent.rows) < config.min_test_rows:
        return []
    ahead = next((one for one in scored if one.variant.role == "candidate"), scored[0])
    found = _Comparer(task, config, _metric(task, config), groups)(ahead, opponent)
    sure = found.paired.p_value <= 1 - config.confidence_level
    better, worse = sure and found.paired.low > 0, sure and found.paired.high < 0
    told = "shown to be better" if better else "shown to be WORSE" if worse else "not shown to be better"
    return [
        f"TF-IDF with logistic regression reaches {found.metric} {found.opponent:.3f} on the same rows without a model "
        f"call; {ahead.variant.name} ({found.candidate:.3f}) is {told}"
    ]


def write(path: str, made: Decision, config: Gate, who: list[ModelVariant], usage: Mapping[str, Any]) -> None:
    """Write a decision with the settings it was made by and what is known of the readings of its rows."""
    write_json(path, {**_document(made, config, who), "test_set_usage": dict(usage)})


def _document(made: Decision, config: Gate, who: list[ModelVariant]) -> dict[str, Any]:
    comparisons = [asdict(c) for c in made.comparisons]
    return {
        "verdict": made.verdict,
        "passed": made.passed,
        "reasons": made.reasons,
        "metric": made.metric,
        "rows": made.rows,
        "comparisons": [{**c, **c.pop("paired")} for c in comparisons],
        "rules": [asdict(rule) for rule in made.rules],
        "slices": [asdict(one) for one in made.slices],
        "notes": made.notes,
        "confidence_level": made.confidence_level,
        "variants": [one.model_dump() for one in who],
        "settings": config.model_dump(),
    }


def _prices(config: Gate, plan: str, who: Sequence[ModelVariant]) -> dict[str, float]:
    """List prices of the candidate's base model from the plan; raises `UserError` when a cost ceiling needs them and
    they are not there.
    """
    told = _json(plan)
    base = next((one.base_model for one in who if one.role == "candidate"), "")
    found: dict[str, float] = told.get("model_prices", {}).get(base) or told.get("prices", {})
    if config.max_cost_per_1000 and not found:
        raise UserError("gate.max_cost_per_1000 needs the plan's prices", file=plan, remedy="run plan first")
    return found


def _json(path: str) -> dict[str, Any]:
    """What a step wrote; {} when there is no such file."""
    found: dict[str, Any] = json.loads(Path(path).read_text(encoding="utf-8")) if Path(path).is_file() else {}
    return found
