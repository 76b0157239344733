# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Limits of the gate: rules on a variant's own answers, on the recall of classes, and on a judge's scores."""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from gemtune.artifacts.decision import Rule
from gemtune.artifacts.evaluation import InjectionReport, JudgeReport, invalid_rate
from gemtune.config import Gate, ModelVariant, Task
from gemtune.evaluation import calibration, intervals, metrics, pairwise
from gemtune.evaluation.intervals import Measure
from gemtune.evaluation.judge import UNREADABLE, PairwiseResult
from gemtune.evaluation.predictions import ScoredVariant
from gemtune.evaluation.scorers import describe_unusable, unusable_forms

MIN_PER_GROUP = 10
"""Fewer rows of a class, a slice or an old test set show nothing."""


def share_unusable(scored: ScoredVariant) -> float:
    """The share of unusable answers."""
    return invalid_rate(Counter(scored.outcomes))


def is_usable(gate: Gate, scored: ScoredVariant) -> bool:
    """Whether the share of unusable answers is within the limit, one for all variants."""
    return share_unusable(scored) <= gate.max_invalid_rate


def unusable_problem(task: Task, gate: Gate, scored: ScoredVariant) -> str:
    """How many answers are unusable and in which forms; "" for a usable variant."""
    forms = unusable_forms(task.labels, zip(scored.outcomes, (row.answer for row in scored.rows), strict=True))
    return describe_unusable(Counter(scored.outcomes), forms, gate.max_invalid_rate)


def limit_rules(
    task: Task,
    gate: Gate,
    candidate: ScoredVariant,
    prompt: ScoredVariant | None,
    prices: Mapping[str, float],
    groups: Sequence[str | None],
) -> list[Rule]:
    """Limits of what was observed (unusable answers, latency, tokens, cost, calibration), and of recall by class, which
    must be shown.
    """
    invalid = share_unusable(candidate)
    rules = [_maximum("invalid_rate", invalid, gate.max_invalid_rate, "share of unusable answers")]
    if gate.max_latency_s:
        rules.append(_latency_rule(gate, candidate))
    for name, counts, limit in (
        ("input_tokens", candidate.input_tokens, gate.max_input_tokens),
        ("output_tokens", candidate.output_tokens, gate.max_output_tokens),
    ):
        if limit:
            rules.append(_maximum(name, sum(counts) / len(counts), limit, f"mean {name.replace('_', ' ')} per request"))
    if gate.max_cost_per_1000:
        cost = sum(candidate.input_tokens) * prices["input"] + sum(candidate.output_tokens) * prices["output"]
        each = cost / 1e6 / len(candidate.rows)
        rules.append(_maximum("cost", 1000 * each, gate.max_cost_per_1000, "USD for 1,000 answers at list prices"))
    if gate.max_ece:
        rules.append(_calibration_rule(gate, candidate))
    if task.is_labelled:
        rules += _class_rules(task, gate, candidate, prompt, groups)
    return rules


def _calibration_rule(gate: Gate, candidate: ScoredVariant) -> Rule:
    stated = [(c, row) for c, row in zip(candidate.confidence, candidate.rows, strict=True) if c is not None]
    correct = [float(row.parsed == row.reference) for _, row in stated]
    confidence = calibration.apply_calibration(candidate.variant.calibration, [c for c, _ in stated])
    error = calibration.ece(confidence, correct).value()
    return _maximum("calibration", error, gate.max_ece, "calibration error (ECE, calibrated on validation rows)")


def injection_rules(gate: Gate, reports: Sequence[InjectionReport]) -> list[Rule]:
    """Whether no attack turned more of the candidate's answers than allowed; [] without a limit."""
    limit = gate.max_injection_rate
    if not limit:
        return []
    report = next((report for report in reports if report.role == "candidate"), None)
    if report is None:
        summary = "injection was not measured: set evaluate.injection_rows, and more labels than an attacker can use"
        return [Rule(name="injection_rate", passed=False, measured=1.0, required=limit, summary=summary)]
    worst = report.worst
    failed = f", {worst.failed} failed requests counted as turned" if worst.failed else ""
    name = f"share of {worst.rows} answers turned by a {worst.attack} (perhaps {worst.share.high:.3f}{failed})"
    return [_maximum("injection_rate", worst.worst_case, limit, name)]


def _latency_rule(gate: Gate, candidate: ScoredVariant) -> Rule:
    """Answers of batch jobs, and failed requests, have no latency; a maximum needs those of most rows."""
    timed = [seconds for seconds in candidate.latency_s if seconds is not None]
    if 2 * len(timed) < len(candidate.latency_s):
        summary = f"latency was measured on {len(timed)} of {len(candidate.latency_s)} rows: set evaluate.batch_above=0"
        return Rule(name="latency_s", passed=False, measured=0.0, required=gate.max_latency_s, summary=summary)
    ordered = sorted(timed)
    slow = ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))] if ordered else 0.0
    return _maximum("latency_s", slow, gate.max_latency_s, "95th percentile of latency in seconds")


def _maximum(name: str, measured: float, limit: float, description: str) -> Rule:
    passed = measured <= limit
    summary = f"{description}: {measured:.3g}, {'within' if passed else 'above'} {limit:g}"
    return Rule(name=name, passed=passed, measured=measured, required=limit, summary=summary)


def _class_rules(
    task: Task, gate: Gate, candidate: ScoredVariant, prompt: ScoredVariant | None, groups: Sequence[str | None]
) -> list[Rule]:
    """What is shown of the recall of every class with enough test rows: that it is high enough, or not lost."""
    if not gate.min_class_recall and gate.max_class_drop >= 1:
        return []
    own, rules = metrics.label_sets(task, candidate.rows), list[Rule]()
    parts = {k: rows for k, rows in enumerate(map(np.flatnonzero, own.reference.T)) if len(rows) >= MIN_PER_GROUP}
    within = {k: [groups[row] for row in rows.tolist()] for k, rows in parts.items()}
    if not parts:
        summary = f"recall by class was not measured: no class has {MIN_PER_GROUP} test rows"
        return [Rule(name="class_recall", passed=False, measured=0.0, required=gate.min_class_recall, summary=summary)]

    def recall(sets: metrics.LabelSets, k: int) -> Measure:
        return intervals.mean(sets.predicted[parts[k], k])

    level, required, allowed = gate.confidence_level, gate.min_class_recall, gate.max_class_drop
    if required:
        shown = {k: intervals.interval(recall(own, k), level=level, groups=within[k], exact=True) for k in parts}
        worst = min(shown, key=lambda k: shown[k].low)
        value, low = shown[worst].value, shown[worst].low
        summary = (
            f"class {own.labels[worst]!r} has a recall of {value:.3f} on {len(parts[worst])} rows (perhaps only "
            f"{low:.3f}); required to be shown of every class: {required:g}"
        )
        passed = low >= required
        rules.append(Rule(name="class_recall", passed=passed, measured=low, required=required, summary=summary))
    if allowed < 1 and prompt is not None:
        before, how = metrics.label_sets(task, prompt.rows), {"resamples": gate.resamples, "seed": gate.seed}
        drops = {
            k: intervals.paired(recall(own, k), recall(before, k), level=level, groups=within[k], **how) for k in parts
        }
        worst = min(drops, key=lambda k: (intervals.is_above(drops[k], -allowed, level), drops[k].low))
        delta, low = drops[worst].delta, drops[worst].low
        summary = (
            f"class {own.labels[worst]!r} loses {max(-delta, 0):.3f} recall against the best prompt on "
            f"{len(parts[worst])} rows (perhaps {max(-low, 0):.3f}); a loss of {allowed:g} must be ruled out for each "
            "class"
        )
        passed = intervals.is_above(drops[worst], -allowed, level)
        rules.append(Rule(name="class_drop", passed=passed, measured=low, required=-allowed, summary=summary))
    return rules


def judge_rules(
    gate: Gate,
    judge: JudgeReport | None,
    variants: tuple[ModelVariant, ModelVariant | None],
    groups: Sequence[str | None],
    ranks: bool,
) -> list[Rule]:
    """The judge's scores of the candidate, where a rule needs them and the judge was validated on human ratings.

    `variants` are the candidate and the best prompt; `ranks`: the judge ranked the answers that are compared. A judge
    that was not validated is never used; the gate then stays shut.
    """
    candidate, prompt = variants
    if not (ranks or gate.min_judge_good or gate.min_judge_win_rate):
        return []
    validation = judge.validation if judge else None
    if not validation:
        what = "its win rates inform and do not decide" if ranks else "though a rule needs one"
        summary = f"no judge was validated against human ratings (evaluate.judge.ratings), {what}"
        return [Rule(name="judge_validation", passed=False, measured=0.0, required=1.0, summary=summary)]
    rules = [
        Rule(
            name="judge_validation",
            passed=validation.validated,
            measured=validation.shown.low,
            required=validation.required,
            summary=validation.summary,
        )
    ]
    if not validation.validated or judge is None:
        return rules
    if gate.min_judge_good:
        rules.append(_judge_good_rule(gate, judge, candidate, groups))
    if gate.min_judge_win_rate and prompt is not None:
        rules.append(_judge_win_rule(gate, judge, candidate, prompt, groups))
    return rules


def _judge_win_rule(
    gate: Gate, judge: JudgeReport, candidate: ModelVariant, prompt: ModelVariant, groups: Sequence[str | None]
) -> Rule:
    names, required = (candidate.name, prompt.name), gate.min_judge_win_rate
    compared = next(pair for pair in judge.pairwise if (pair.candidate, pair.baseline) == names)
    rate = pairwise.rate([PairwiseResult(winner) for winner in compared.winners], groups, gate)
    summary = (
        f"by the judge the candidate wins {rate.value:.3f} against the best prompt (between {rate.low:.3f} "
        f"and {rate.high:.3f}; {compared.ties} ties of {compared.pairs} pairs, {compared.order_flips} order flips, "
        f"{compared.winners.count(UNREADABLE)} without a verdict), "
        f"required: more than {required:g}"
    )
    passed = intervals.is_above(rate.lift, 2 * required - 1, gate.confidence_level)
    return Rule(name="judge_win_rate", passed=passed, measured=rate.low, required=required, summary=summary)


def _judge_good_rule(gate: Gate, judge: JudgeReport, candidate: ModelVariant, groups: Sequence[str | None]) -> Rule:
    threshold, required = judge.validation.threshold if judge.validation else None, gate.min_judge_good
    if threshold is None:
        summary = "people rate all answers good, or none: no threshold can be fitted"
        return Rule(name="judge_good", passed=False, measured=0.0, required=required, summary=summary)
    scores = judge.ratings[candidate.name].scores
    good = [float(score is not None and score >= threshold.score) for score in scores]
    share = intervals.interval(intervals.mean(good), level=gate.confidence_level, groups=groups, exact=True)
    summary = (
        f"the judge rates {share.value:.3f} of the candidate's answers good (between {share.low:.3f} and "
        f"{share.high:.3f}; good is a score of at least {threshold.score:g}), required: at least {required:g}"
    )
    return Rule(name="judge_good", passed=share.low >= required, measured=share.low, required=required, summary=summary)
