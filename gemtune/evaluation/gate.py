# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The decision: may the candidate be deployed?

All finalists answered the same held-out test rows and are compared row by row. The candidate must be significantly
better than the best prompt, than every prompt that may be as good, and than the champion, which is evaluated again in
each run: the lower bound of the paired interval is above the required lift, and a test agrees
(`PairedDifference.is_above`). Then come the minimum and maximum rules. Guarantees: a candidate whose lift over any of
them is only the required one passes no more often than (1 - confidence_level) / 2; to require all of them makes no
error more likely. Each further candidate on the same rows has its own chance to pass by luck: that error rate is
divided among the candidates the test set is planned for (Bonferroni); more than planned are reported or rejected. Pure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from gemtune.artifacts.decision import (
    ComparisonReport,
    DecisionRecord,
    Rule,
    SliceComparison,
    Verdict,
)
from gemtune.artifacts.evaluation import JudgeReport
from gemtune.config import Gate, ModelVariant, Task
from gemtune.evaluation import calibration, intervals, metrics, pairwise
from gemtune.evaluation.intervals import PairedDifference
from gemtune.evaluation.judge import PairwiseResult
from gemtune.evaluation.predictions import ScoredVariant
from gemtune.evaluation.slices import by_number

MIN_PER_GROUP = 10
"""Fewer rows of a class, a slice or an old test set show nothing."""


@dataclass(frozen=True)
class Comparison:
    """Candidate against one other variant on one metric, in the metric's unit."""

    versus: str
    role: str
    metric: str
    candidate: float
    baseline: float
    paired: PairedDifference

    def report(self) -> ComparisonReport:
        """The comparison as the decision's document has it."""
        paired = self.paired
        return ComparisonReport(
            versus=self.versus,
            role=self.role,
            metric=self.metric,
            candidate=self.candidate,
            baseline=self.baseline,
            delta=paired.delta,
            low=paired.low,
            high=paired.high,
            p_value=paired.p_value,
            test=paired.test,
            wins=paired.wins,
            losses=paired.losses,
            disagreement=paired.disagreement,
        )


class Compare(Protocol):
    """A way to compare two variants on the same rows, or on those of `part`; `metric` is its name."""

    @property
    def metric(self) -> str:
        """The name of what is compared."""

    def __call__(
        self, candidate: ScoredVariant, baseline: ScoredVariant, part: Sequence[int] | None = None
    ) -> Comparison:
        """The comparison, candidate minus baseline."""


@dataclass(frozen=True)
class CompareByMetric:
    """Compares by the task's metric, paired row by row; `groups` names rows that count as one observation."""

    task: Task
    gate: Gate
    metric: str
    groups: Sequence[str | None] | None = None

    def __call__(
        self, candidate: ScoredVariant, baseline: ScoredVariant, part: Sequence[int] | None = None
    ) -> Comparison:
        """Compare on all rows, or on those of `part`."""
        part = range(len(candidate.rows)) if part is None else part
        left = metrics.measure(self.task, self.metric, [candidate.rows[i] for i in part])
        right = metrics.measure(self.task, self.metric, [baseline.rows[i] for i in part])
        paired = intervals.paired(
            left,
            right,
            level=self.gate.confidence_level,
            resamples=self.gate.resamples,
            seed=self.gate.seed,
            groups=[self.groups[i] for i in part] if self.groups else None,
        )
        variant = baseline.variant
        return Comparison(variant.name, variant.role, self.metric, left.value(), right.value(), paired)


@dataclass(frozen=True)
class ComparePairwise:
    """Compares by the share of rows won (ties half), from the results that the evaluation recorded."""

    gate: Gate
    groups: Sequence[str | None]
    metric: str = field(default=pairwise.WIN_RATE)

    def __call__(
        self, candidate: ScoredVariant, baseline: ScoredVariant, part: Sequence[int] | None = None
    ) -> Comparison:
        """Compare on all rows, or on those of `part`."""
        results = candidate.pairwise[baseline.variant.name]
        part = range(len(results)) if part is None else part
        won = pairwise.rate([results[i] for i in part], [self.groups[i] for i in part], self.gate)
        variant = baseline.variant
        return Comparison(variant.name, variant.role, self.metric, won.value, 1 - won.value, won.lift)


@dataclass(frozen=True)
class Evidence:
    """What the gate decides on: every finalist's answers to the test rows, and what is known besides.

    `groups` names rows that belong together (None: alone). `prices` are US dollars per million `input` and `output`
    tokens of the candidate's base model. `candidates` have been tried on these rows, this one included. `judge` is the
    judge's report; its rules apply only when its agreement with people was shown. `ranked_by_judge`: it ranked the
    answers that are compared. `tfidf` are the TF-IDF baseline's
    answers, `regression` candidate and champion on the champion's test set with the groups of those rows.
    """

    variants: Sequence[ScoredVariant]
    groups: Sequence[str | None]
    prices: Mapping[str, float] = field(default_factory=dict)
    candidates: int = 1
    judge: JudgeReport | None = None
    ranked_by_judge: bool = False
    tfidf: ScoredVariant | None = None
    regression: tuple[ScoredVariant, ScoredVariant] | None = None
    regression_groups: Sequence[str | None] = ()

    def role(self, name: str) -> ScoredVariant | None:
        """The finalist of a role, if there is one."""
        return next((scored for scored in self.variants if scored.variant.role == name), None)


Comparing = Callable[[Gate, Sequence[str | None]], Compare]


def decide(task: Task, gate: Gate, evidence: Evidence, comparing: Comparing) -> DecisionRecord:
    """Decide whether the candidate (the variant of that role, if any) may be deployed.

    It is compared with the best prompt, the champion and, after preference tuning, the supervised model it started
    from. `comparing` makes the comparison at the gate's (Bonferroni-adjusted) confidence level.
    """
    nominal = gate.confidence_level
    adjusted = gate.model_copy(update={"confidence_level": 1 - (1 - nominal) / gate.planned_candidates})
    decision = _Decider(task, adjusted, evidence, comparing(adjusted, evidence.groups)).decide()
    notes = list(decision.notes)
    if decision.rules and (reuse := _reuse_note(gate, evidence.candidates, nominal)):
        notes.append(reuse)
    notes += _tfidf_note(task, gate, evidence, decision.metric)  # one more comparison, but no further candidate
    decision = decision.model_copy(
        update={
            "notes": notes,
            "confidence_level": adjusted.confidence_level,
            "variants": [scored.variant for scored in evidence.variants],
            "settings": gate,
        }
    )
    return _with_regression(decision, adjusted, evidence, comparing)


@dataclass(frozen=True)
class _Decider:
    task: Task
    gate: Gate
    evidence: Evidence
    compare: Compare

    def decide(self) -> DecisionRecord:
        evidence, gate = self.evidence, self.gate
        rows = len(evidence.variants[0].rows) if evidence.variants else 0
        prompt, candidate = evidence.role("baseline"), evidence.role("candidate")
        if rows < gate.min_test_rows:
            summary = f"{rows} test rows; a decision requires at least {gate.min_test_rows}"
            return self._no_data(Rule(
                name="test_rows", passed=False, measured=rows, required=gate.min_test_rows, summary=summary
            ), rows)  # fmt: skip
        used = evidence.candidates
        if candidate is not None and used > gate.planned_candidates and gate.on_test_set_reuse == "fail":
            summary = (
                f"{used} candidates have used this test set, which was planned for {gate.planned_candidates}: "
                "take new test rows (another split.seed, or newer data)"
            )
            return self._no_data(Rule(
                name="test_set_reuse", passed=False, measured=used, required=gate.planned_candidates, summary=summary
            ), rows)  # fmt: skip
        if candidate is None:
            return self._without_candidate(prompt, rows)
        comparisons = [
            self.compare(candidate, other)
            for role in _BASELINES
            for other in evidence.variants
            if other.variant.role == role
        ]
        slices = self._slices(candidate, prompt) if prompt is not None else []
        best = prompt.variant.name if prompt else ""
        rules = [_lift_rule(gate, comparison, best) for comparison in comparisons]
        rules += _limit_rules(self.task, gate, candidate, prompt, evidence.prices)
        rules += _judge_rules(gate, evidence)
        rules += [_slice_rule(gate, slices)] if gate.on_slice_regression == "fail" and slices else []
        notes = [_worse(cell) for cell in slices if cell.delta < 0 and cell.p_value <= 1 - gate.confidence_level]
        if all(rule.passed for rule in rules):
            verdict: Verdict = "deploy"
            reasons = [rule.summary for rule in rules]
        else:
            verdict, why = self._fallback(prompt)
            failed = [rule.summary for rule in rules if not rule.passed]
            power = [
                _power_note(comparison, rows, gate)
                for comparison, rule in zip(comparisons, rules, strict=False)
                if not rule.passed
            ]
            reasons = [*failed, *filter(None, power), why]
        return self._record(verdict, reasons, rows, rules=rules, comparisons=comparisons, slices=slices, notes=notes)

    def _record(self, verdict: Verdict, reasons: list[str], rows: int, **more: object) -> DecisionRecord:
        comparisons = [comparison.report() for comparison in more.pop("comparisons", [])]  # type: ignore[attr-defined]
        return DecisionRecord(
            verdict=verdict,
            reasons=reasons,
            task=self.task,
            metric=self.compare.metric,
            rows=rows,
            confidence_level=self.gate.confidence_level,
            settings=self.gate,
            comparisons=comparisons,
            **more,
        )

    def _no_data(self, rule: Rule, rows: int) -> DecisionRecord:
        return self._record("not_enough_data", [rule.summary], rows, rules=[rule])

    def _without_candidate(self, prompt: ScoredVariant | None, rows: int) -> DecisionRecord:
        verdict, why = self._fallback(prompt)
        champion = self.evidence.role("champion")
        comparisons = [self.compare(prompt, champion)] if prompt is not None and champion is not None else []
        return self._record(verdict, ["there is no tuned candidate", why], rows, comparisons=comparisons)

    def _fallback(self, prompt: ScoredVariant | None) -> tuple[Verdict, str]:
        """What stays in production: the champion, unless there is none or the best prompt is significantly better."""
        champion = self.evidence.role("champion")
        if champion is None:
            return "keep_prompt", "keeping the best prompt"
        if prompt is not None:
            against = self.compare(prompt, champion)
            if against.paired.is_above(0, self.gate.confidence_level):
                return "keep_prompt", (
                    f"the best prompt is also significantly better than the champion ({against.candidate:.3f} against "
                    f"{against.baseline:.3f} on {against.metric}): use the prompt"
                )
        return "keep_champion", f"keeping the model in production ({champion.variant.name})"

    def _slices(self, candidate: ScoredVariant, prompt: ScoredVariant) -> list[SliceComparison]:
        """Every slice of enough rows, compared; p-values adjusted together."""
        parts: dict[tuple[str, str], list[int]] = {}
        for i, row in enumerate(candidate.slices):
            for column, value in sorted(row.items()):
                parts.setdefault((column, value), []).append(i)
        ordered = sorted(parts.items(), key=lambda item: (item[0][0], by_number(item[0][1])))
        large = {key: part for key, part in ordered if len(part) >= MIN_PER_GROUP}
        differences = [self.compare(candidate, prompt, part).paired for part in large.values()]
        adjusted = intervals.holm([difference.p_value for difference in differences])
        return [
            SliceComparison(
                column=column, value=value, rows=len(part), delta=d.delta, low=d.low, high=d.high, p_value=p
            )
            for ((column, value), part), d, p in zip(large.items(), differences, adjusted, strict=True)
        ]


# -- rules -----------------------------------------------------------------------------------------------------------


def _slice_rule(gate: Gate, slices: Sequence[SliceComparison]) -> Rule:
    worst = min(slices, key=lambda cell: (cell.p_value if cell.delta < 0 else 2.0, cell.delta))
    bad = worst.delta < 0 and worst.p_value <= 1 - gate.confidence_level
    summary = _worse(worst) if bad else f"none of {len(slices)} slices is shown to be worse than under the best prompt"
    return Rule(name="slice_regression", passed=not bad, measured=worst.delta, required=0.0, summary=summary)


def _worse(cell: SliceComparison) -> str:
    return (
        f"worse than the best prompt where {cell.column} is {cell.value!r}: {cell.delta:+.3f} on {cell.rows} rows "
        f"(p = {cell.p_value:.2g}, adjusted for the number of slices)"
    )


def _lift_rule(gate: Gate, comparison: Comparison, best_prompt: str) -> Rule:
    over, required, description = _BASELINES[comparison.role](gate)
    if over == "prompt" and comparison.versus != best_prompt:
        description = "a prompt that may be as good as the best"
    paired = comparison.paired
    passed = paired.is_above(required, gate.confidence_level)
    claim = "as good as" if required < 0 else "better than"
    summary = (
        f"the candidate is {'shown' if passed else 'not shown'} to be {claim} {description} "
        f"({comparison.versus}): {comparison.metric} {comparison.candidate:.3f} against {comparison.baseline:.3f}, "
        f"difference {paired.delta:+.3f} (between {paired.low:+.3f} and {paired.high:+.3f}; p = {paired.p_value:.2g}), "
        f"required: more than {required:+g}"
    )
    return Rule(name=f"lift_over_{over}", passed=passed, measured=paired.low, required=required, summary=summary)


_BASELINES: dict[str, Callable[[Gate], tuple[str, float, str]]] = {
    "baseline": lambda gate: ("prompt", gate.min_lift, "the best prompt"),
    "supervised": lambda gate: ("supervised", gate.min_lift_over_supervised, "the supervised model it started from"),
    "champion": lambda gate: ("champion", gate.min_lift_over_champion, "the model in production"),
}


def _limit_rules(
    task: Task, gate: Gate, candidate: ScoredVariant, prompt: ScoredVariant | None, prices: Mapping[str, float]
) -> list[Rule]:
    invalid = sum(outcome != "ok" for outcome in candidate.outcomes) / len(candidate.outcomes)
    rules = [_maximum("invalid_rate", invalid, gate.max_invalid_rate, "share of unusable answers")]
    if task.kind in metrics.LABELLED_KINDS and not task.label_separator:
        rules.append(_majority_rule(candidate))
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
    if task.kind in metrics.LABELLED_KINDS:
        rules += _class_rules(task, gate, candidate, prompt)
    return rules


def _calibration_rule(gate: Gate, candidate: ScoredVariant) -> Rule:
    stated = [(c, row) for c, row in zip(candidate.confidence, candidate.rows, strict=True) if c is not None]
    correct = [float(row.parsed == row.reference) for _, row in stated]
    confidence = calibration.apply_calibration(candidate.variant.calibration, [c for c, _ in stated])
    error = calibration.ece(confidence, correct).value()
    return _maximum("calibration", error, gate.max_ece, "calibration error (ECE, calibrated on validation rows)")


def _majority_rule(candidate: ScoredVariant) -> Rule:
    """A model must not be less accurate than always answering the most frequent label."""
    references = Counter(row.reference for row in candidate.rows)
    (label, count), correct = references.most_common(1)[0], sum(r.reference == r.parsed for r in candidate.rows)
    majority, measured = count / len(candidate.rows), correct / len(candidate.rows)
    passed = measured >= majority
    how = "at or above" if passed else "below"
    summary = f"accuracy {measured:.3f} is {how} the majority-class baseline ({majority:.3f}, always {label!r})"
    return Rule(name="beats_majority_class", passed=passed, measured=measured, required=majority, summary=summary)


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


def _class_rules(task: Task, gate: Gate, candidate: ScoredVariant, prompt: ScoredVariant | None) -> list[Rule]:
    table = [c for c in metrics.per_class(task, candidate.rows) if c.support >= MIN_PER_GROUP]
    rules = []
    if gate.min_class_recall and table:
        worst = min(table, key=lambda c: c.recall)
        required = gate.min_class_recall
        summary = f"class {worst.label!r} has the lowest recall, {worst.recall:.3f}; required: {required:g}"
        passed = worst.recall >= required
        rules.append(
            Rule(name="class_recall", passed=passed, measured=worst.recall, required=required, summary=summary)
        )
    if gate.max_class_drop < 1 and prompt is not None and table:
        before = {c.label: c.recall for c in metrics.per_class(task, prompt.rows)}
        worst = max(table, key=lambda c: before[c.label] - c.recall)
        drop, limit = before[worst.label] - worst.recall, gate.max_class_drop
        summary = f"class {worst.label!r} loses {max(drop, 0):.3f} recall against the best prompt"
        rules.append(Rule(name="class_drop", passed=drop <= limit, measured=drop, required=limit, summary=summary))
    return rules


# -- the judge -------------------------------------------------------------------------------------------------------


def _judge_rules(gate: Gate, evidence: Evidence) -> list[Rule]:
    """The judge's scores of the candidate, where a rule needs them and the judge was validated on human ratings.

    A judge that was not validated is never used; the gate then stays shut.
    """
    judge, candidate, prompt = evidence.judge, evidence.role("candidate"), evidence.role("baseline")
    ranks = evidence.ranked_by_judge
    if candidate is None or not (ranks or gate.min_judge_good or gate.min_judge_win_rate):
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
        rules.append(_judge_good_rule(gate, judge, candidate.variant, evidence.groups))
    if gate.min_judge_win_rate and prompt is not None:
        rules.append(_judge_win_rule(gate, judge, candidate.variant, prompt.variant, evidence.groups))
    return rules


def _judge_win_rule(
    gate: Gate, judge: JudgeReport, candidate: ModelVariant, prompt: ModelVariant, groups: Sequence[str | None]
) -> Rule:
    names, required = (candidate.name, prompt.name), gate.min_judge_win_rate
    compared = next(pair for pair in judge.pairwise if (pair.candidate, pair.baseline) == names)
    rate = pairwise.rate([PairwiseResult(winner) for winner in compared.winners], groups, gate)
    summary = (
        f"by the judge the candidate wins {rate.value:.3f} against the best prompt (between {rate.low:.3f} "
        f"and {rate.high:.3f}; {compared.ties} ties of {compared.pairs} pairs, {compared.order_flips} order flips), "
        f"required: more than {required:g}"
    )
    passed = rate.lift.is_above(2 * required - 1, gate.confidence_level)
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


# -- notes -----------------------------------------------------------------------------------------------------------


def _reuse_note(gate: Gate, candidates: int, nominal: float) -> str:
    """What repeated use of one test set does to the error rate; "" within the plan."""
    if candidates <= gate.planned_candidates:
        return ""
    chance = (1 - nominal) / 2 * candidates / gate.planned_candidates
    return (
        f"{candidates} candidates have used this test set (planned: {gate.planned_candidates}), which makes the "
        f"intervals optimistic: a candidate that is no better passes by luck in up to {min(1, chance):.1%} of such "
        "series; take new test rows, or set gate.planned_candidates"
    )


def _power_note(comparison: Comparison, rows: int, gate: Gate) -> str:
    """The number of rows that would confirm the lift, when the candidate is better but not significantly."""
    paired = comparison.paired
    if paired.delta <= 0 or not paired.disagreement:
        return ""
    level = gate.confidence_level
    smallest = intervals.smallest_detectable_lift(rows, paired.disagreement, level=level)
    needed = intervals.rows_needed(paired.delta, paired.disagreement, level=level)
    if needed <= rows:
        return ""
    return (
        f"with {rows} test rows, a true lift of {smallest:.3f} is detected with 80 % power; confirming a lift of "
        f"{paired.delta:.3f} over {comparison.versus} takes about {needed} rows"
    )


def _tfidf_note(task: Task, gate: Gate, evidence: Evidence, metric: str) -> list[str]:
    """The score of the TF-IDF baseline on the same rows, compared with the candidate (otherwise the best prompt)."""
    tfidf = evidence.tfidf
    if tfidf is None or metric == pairwise.WIN_RATE or len(tfidf.rows) < gate.min_test_rows:
        return []
    leading = evidence.role("candidate") or evidence.variants[0]
    comparison = CompareByMetric(task, gate, metric, evidence.groups)(leading, tfidf)
    significant = comparison.paired.p_value <= 1 - gate.confidence_level
    better, worse = significant and comparison.paired.low > 0, significant and comparison.paired.high < 0
    finding = "shown to be better" if better else "shown to be worse" if worse else "not shown to be better"
    return [
        f"TF-IDF with logistic regression reaches {comparison.metric} {comparison.baseline:.3f} on the same rows "
        f"without a model call; {leading.variant.name} ({comparison.candidate:.3f}) is {finding}"
    ]


def _with_regression(decision: DecisionRecord, gate: Gate, evidence: Evidence, comparing: Comparing) -> DecisionRecord:
    """The decision with what the candidate lost on the champion's test set (catastrophic forgetting: McCloskey and
    Cohen 1989): a note, or a rule where `max_champion_test_regression` is set.
    """
    if evidence.regression is None or len(evidence.regression_groups) < MIN_PER_GROUP:
        return decision
    candidate, champion = evidence.regression
    nominal = gate.model_copy(update={"confidence_level": decision.settings.confidence_level})
    comparison = comparing(nominal, evidence.regression_groups)(candidate, champion)
    paired, allowed = comparison.paired, gate.max_champion_test_regression
    what = "is worse than" if paired.high < 0 else "is not shown to be worse than"
    summary = (
        f"the candidate {what} the champion on the champion's test set: {comparison.metric} "
        f"{comparison.candidate:.3f} against {comparison.baseline:.3f} on {len(evidence.regression_groups)} rows, "
        f"difference {paired.delta:+.3f} (between {paired.low:+.3f} and {paired.high:+.3f})"
    )
    if allowed >= 1:
        return decision.model_copy(update={"notes": [*decision.notes, summary]})
    passed = paired.is_above(-allowed, nominal.confidence_level)
    rule = Rule(name="champion_test_regression", passed=passed, measured=paired.low, required=-allowed, summary=summary)
    rules = [*decision.rules, rule]
    if passed or decision.verdict != "deploy":
        return decision.model_copy(update={"rules": rules, "reasons": [*decision.reasons, summary]})
    why = f"a regression of more than {allowed:g} is not ruled out, so the champion stays in production"
    kept = {"verdict": "keep_champion", "rules": rules, "reasons": [f"{summary}; {why}"]}
    return decision.model_copy(update=kept)
