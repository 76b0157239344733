# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The decision: may the candidate be deployed?

All finalists answered the same held-out test rows and are compared row by row. The candidate must be significantly
better than the best prompt, than every prompt that may be as good, than the champion, which is evaluated again in each
run, and than the best constant answer: the lower bound of the paired interval is above the required lift, and a test
agrees (`intervals.is_above`). Being better than a variant with too many unusable answers does not count. Then
come the minimum and maximum rules. Guarantees: a candidate whose lift over any of them is only the required one passes
no more often than (1 - confidence_level) / 2; to require all of them makes no error more likely. Each further candidate
on the same rows has its own chance to pass by luck: that error rate is divided among the candidates the test set is
planned for (Bonferroni). More than planned are rejected, or share that error rate once more: the j-th has 1 / (j (j +
1)) of it, which sums to one, where candidates count by the rows that they used. Pure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from gemtune.artifacts.decision import Comparison, DecisionRecord, Rule, SliceComparison, Verdict
from gemtune.artifacts.evaluation import InjectionReport, JudgeReport
from gemtune.config import Gate, ModelVariant, Task
from gemtune.errors import UserError
from gemtune.evaluation import intervals, metrics, pairwise
from gemtune.evaluation.comparison import Compare, ComparePairwise, Comparing
from gemtune.evaluation.failed_rows import failed_rows, judge_without_rows, judge_worst_case, without_rows, worst_case
from gemtune.evaluation.gate_limits import (
    MIN_PER_GROUP,
    injection_rules,
    is_usable,
    judge_rules,
    limit_rules,
    share_unusable,
    unusable_problem,
)
from gemtune.evaluation.intervals import is_above
from gemtune.evaluation.metrics import Row
from gemtune.evaluation.predictions import ScoredVariant
from gemtune.evaluation.slices import by_number
from gemtune.inference.free_baselines import DESCRIPTIONS
from gemtune.inference.tfidf_baseline import TFIDF_BASELINE


@dataclass(frozen=True)
class Evidence:
    """What the gate decides on: every finalist's answers to the test rows, and what is known besides.

    `groups` names rows that belong together (None: alone). `prices` are US dollars per million `input` and `output`
    tokens of the candidate's base model. `candidates` have been tried on a row, this one included, on average; `fresh`
    marks rows that no earlier decision used. `judge` is the judge's report; its rules apply only when its agreement
    with people was shown. `ranked_by_judge`: it ranked the answers that are compared. `free` are the free baselines'
    answers, `regression` candidate and champion on the champion's test set with the groups of those rows, `injection`
    what the injection probe measured.
    """

    variants: Sequence[ScoredVariant]
    groups: Sequence[str | None]
    prices: Mapping[str, float] = field(default_factory=dict)
    candidates: float = 1
    fresh: Sequence[bool] = ()
    judge: JudgeReport | None = None
    ranked_by_judge: bool = False
    free: Sequence[ScoredVariant] = ()
    regression: Sequence[ScoredVariant] = ()
    regression_groups: Sequence[str | None] = ()
    injection: Sequence[InjectionReport] = ()

    def role(self, name: str) -> ScoredVariant | None:
        """The finalist of a role, if there is one."""
        return next((scored for scored in self.variants if scored.variant.role == name), None)

    def without_rows(self, left_out: set[int], old: set[int]) -> Evidence:
        """The evidence on the other test rows, and on the other rows of the champion's test set."""
        return replace(
            self,
            variants=[without_rows(scored, left_out) for scored in self.variants],
            free=[without_rows(scored, left_out) for scored in self.free],
            groups=[group for row, group in enumerate(self.groups) if row not in left_out],
            fresh=[fresh for row, fresh in enumerate(self.fresh) if row not in left_out],
            judge=judge_without_rows(self.judge, left_out) if self.judge else None,
            regression=[without_rows(scored, old) for scored in self.regression],
            regression_groups=[group for row, group in enumerate(self.regression_groups) if row not in old],
        )

    def worst_case(self, task: Task, failed: Mapping[str, Sequence[int]], old: Mapping[str, Sequence[int]]) -> Evidence:
        """The evidence as if every missing answer, to test rows and `old` ones, went against the candidate."""

        def against(variants: Sequence[ScoredVariant], own: Mapping[str, Sequence[int]]) -> list[ScoredVariant]:
            rows = {row for rows in own.values() for row in rows}
            return [worst_case(task, scored, own.get(scored.variant.name, ()), rows) for scored in variants]

        rows = {row for rows in failed.values() for row in rows}
        judge = judge_worst_case(self.judge, rows) if self.judge else None
        regression = against(self.regression, old)
        return replace(self, judge=judge, variants=against(self.variants, failed), regression=regression)


def decide(task: Task, gate: Gate, evidence: Evidence, comparing: Comparing) -> DecisionRecord:
    """Decide whether the candidate (the variant of that role, if any) may be deployed.

    It is compared with the best prompt, the champion and, after preference tuning, the supervised model it started
    from. `comparing` makes the comparison at the gate's (Bonferroni-adjusted) confidence level. Rows that failed for
    technical reasons are left out, and `deploy` must hold in their worst case too. Raises `UserError` for a candidate
    that nothing is there to compare with.
    """
    failed, old = failed_rows(evidence.variants), failed_rows(evidence.regression)
    if not failed and not old:
        return _decide(task, gate, evidence, comparing)
    left_out, old_rows = ({row for rows in own.values() for row in rows} for own in (failed, old))
    decision = _decide(task, gate, evidence.without_rows(left_out, old_rows), comparing)
    counts = {name: len(rows) for name, rows in failed.items()}
    listed = ", ".join(f"{count} of {name}" for name, count in counts.items())
    what = [f"{len(left_out)} test rows without an answer for technical reasons ({listed})"] if failed else []
    what += [f"{len(old_rows)} such rows of the champion's test set"] if old else []
    note = f"{' and '.join(what)} are left out"
    update: dict[str, object] = {"failed_rows": counts, "notes": [*decision.notes, note]}
    if decision.passed and not _decide(task, gate, evidence.worst_case(task, failed, old), comparing).passed:
        why = f"{note}, and if they all went against the candidate, it would not pass: ask the failed rows again"
        update |= {"verdict": "not_enough_data", "reasons": [why], "notes": decision.notes}
    return decision.model_copy(update=update)


def _decide(task: Task, gate: Gate, evidence: Evidence, comparing: Comparing) -> DecisionRecord:
    nominal, divisor = gate.confidence_level, error_divisor(gate.planned_candidates, evidence.candidates)
    adjusted = gate.model_copy(update={"confidence_level": 1 - (1 - nominal) / divisor})
    decision = _Decider(task, adjusted, gate, evidence, comparing).decide()
    notes = list(decision.notes)
    if decision.rules and (reuse := _reuse_note(gate, evidence.candidates, nominal)):
        notes.append(reuse)
    return decision.model_copy(
        update={
            "notes": notes,
            "confidence_level": adjusted.confidence_level,
            "variants": [scored.variant for scored in evidence.variants],
            "settings": gate,
        }
    )


def error_divisor(planned: int, candidates: float) -> float:
    """What the error rate is divided by: within the plan by the planned candidates, beyond it by more with each."""
    beyond = max(0.0, candidates - planned)
    return max(float(planned), beyond * (beyond + 1))


@dataclass(frozen=True)
class _Decider:
    """The decision with the adjusted `gate`.

    The gate as `stated` decides on free models and the champion's test set: they are no further candidates.
    """

    task: Task
    gate: Gate
    stated: Gate
    evidence: Evidence
    comparing: Comparing

    @cached_property
    def compare(self) -> Compare:
        """Compares at the adjusted level."""
        return self.comparing(self.gate, self.evidence.groups)

    @cached_property
    def compare_as_stated(self) -> Compare:
        """Compares at the stated level."""
        return self.comparing(self.stated, self.evidence.groups)

    def decide(self) -> DecisionRecord:
        evidence, gate = self.evidence, self.gate
        rows = len(evidence.variants[0].rows) if evidence.variants else 0
        prompt, candidate = evidence.role("baseline"), evidence.role("candidate")
        if rule := self._too_little_data(rows):
            return self._record("not_enough_data", [rule.summary], rows, rules=[rule])
        if candidate is None:
            return self._without_candidate(prompt, rows)
        if prompt is None and evidence.role("champion") is None:
            raise UserError("the candidate has neither a prompt nor a champion to be compared with")
        others = [own for role in _BASELINES for own in evidence.variants if own.variant.role == role]
        comparisons = [self.compare(candidate, other) for other in others]
        constant = self._best_constant(candidate)
        to_beat = [*comparisons, *([self.compare(candidate, constant[0])] if constant else [])]
        best = prompt.variant.name if prompt else ""
        lifts = [_lift_rule(gate, comparison, best) for comparison in to_beat]
        # of the prompts only the best has to be usable: to beat further ones is required in addition
        usable = [_usable_rule(self.task, gate, own) for own in others if own is evidence.role(own.variant.role)]
        free = self._free_models(candidate)
        slices = self._slices(candidate, prompt) if prompt is not None else []
        rules = [*lifts, *limit_rules(self.task, gate, candidate, prompt, evidence.prices, evidence.groups), *usable]
        rules += [_free_rule(self.stated, candidate, comparison) for comparison in free] if self._free_decides else []
        rules += [*injection_rules(gate, evidence.injection), *self._judge_rules(candidate, prompt)]
        rules += [_slice_rule(gate, slices)] if gate.on_slice_regression == "fail" and slices else []
        old = self._on_champion_test_set()
        regression = self._regression_rule(old) if old else None
        rules += [regression] if regression and gate.max_champion_test_regression < 1 else []
        notes = [_worse(cell) for cell in slices if cell.delta < 0 and cell.p_value <= 1 - gate.confidence_level]
        if all(rule.passed for rule in rules):
            verdict: Verdict = "deploy"
            reasons = [rule.summary for rule in rules]
        else:
            verdict, why = self._fallback(prompt, ahead=all(rule.passed for rule in lifts))
            failed = [rule.summary for rule in (*usable, *rules) if not rule.passed]
            missed = [own for own, rule in zip(to_beat, lifts, strict=True) if not rule.passed]
            power = [_power_note(comparison, rows, gate) for comparison in missed]
            reasons = list(dict.fromkeys([*failed, *filter(None, power), *why]))
        notes += [_free_summary(self.stated, candidate, comparison) for comparison in free]
        notes += [regression.summary] if regression else []
        notes += self._on_fresh_rows(candidate, others)
        notes = [note for note in notes if note not in reasons]
        compared = {"comparisons": comparisons, "free_comparisons": free, "slices": slices, "regression": old}
        return self._record(verdict, reasons, rows, rules=rules, notes=notes, **compared)

    def _judge_rules(self, candidate: ScoredVariant, prompt: ScoredVariant | None) -> list[Rule]:
        evidence = self.evidence
        variants = (candidate.variant, prompt.variant if prompt else None)
        return judge_rules(self.gate, evidence.judge, variants, evidence.groups, evidence.ranked_by_judge)

    def _on_fresh_rows(self, candidate: ScoredVariant, others: Sequence[ScoredVariant]) -> list[str]:
        """The comparison on the rows that no earlier decision used: no choice was made on them."""
        part = [row for row, fresh in enumerate(self.evidence.fresh) if fresh]
        comparisons = [self.compare_as_stated(candidate, other, part) for other in others] if part else []
        return [
            f"on the {len(part)} test rows that no earlier decision used: {own.metric} {own.candidate:.3f} against "
            f"{own.baseline:.3f} of {own.versus}, "
            f"difference {own.delta:+.3f} (between {own.low:+.3f} and {own.high:+.3f})"
            for own in comparisons
        ]

    def _record(self, verdict: Verdict, reasons: list[str], rows: int, **more: object) -> DecisionRecord:
        return DecisionRecord(
            verdict=verdict,
            reasons=reasons,
            task=self.task,
            metric=self.compare.metric,
            rows=rows,
            confidence_level=self.gate.confidence_level,
            settings=self.gate,
            **more,
        )

    def _too_little_data(self, rows: int) -> Rule | None:
        """Why these test rows decide nothing: too few of them, or used by more candidates than planned."""
        gate, used = self.gate, self.evidence.candidates
        measured: float
        if rows < gate.min_test_rows:
            name, measured, required = "test_rows", rows, gate.min_test_rows
            summary = f"{rows} test rows; a decision requires at least {required}"
        elif self.evidence.role("candidate") and used > gate.planned_candidates and gate.on_test_set_reuse == "fail":
            name, measured, required = "test_set_reuse", used, gate.planned_candidates
            summary = (
                f"{used:.3g} candidates have used this test set, which was planned for {required}: "
                "take new test rows (another split.seed, or newer data)"
            )
        else:
            return None
        return Rule(name=name, passed=False, measured=measured, required=required, summary=summary)

    def _without_candidate(self, prompt: ScoredVariant | None, rows: int) -> DecisionRecord:
        verdict, why = self._fallback(prompt)
        champion = self.evidence.role("champion")
        others = [variant for variant in (prompt, champion) if variant is not None]
        usable = [_usable_rule(self.task, self.gate, other) for other in others]
        comparisons = [self.compare(prompt, champion)] if prompt is not None and champion is not None else []
        reasons = [*(rule.summary for rule in usable if not rule.passed), "there is no tuned candidate", *why]
        kept = self._kept(prompt)[1]
        free = self._free_models(kept) if kept is not None else []
        notes = [_free_summary(self.stated, kept, own) for own in free] if kept is not None else []
        notes = [note for note in notes if note not in reasons]
        return self._record(verdict, reasons, rows, comparisons=comparisons, free_comparisons=free, notes=notes)

    def _fallback(self, prompt: ScoredVariant | None, ahead: bool = False) -> tuple[Verdict, list[str]]:
        """What is to serve instead of the candidate, with reasons; `ahead`: the candidate is better than what is kept.

        What is in production is kept unless too many of its answers are unusable, or a free baseline is shown to be
        better: then the TF-IDF baseline is to be used if it is the better one, otherwise no variant may serve.
        """
        verdict, kept, why = self._kept(prompt)
        candidate = self.evidence.role("candidate")
        if kept is None:
            return verdict, [why]
        problem = self._serving_problem(kept)
        compared = [kept, *([candidate] if candidate is not None and (ahead or problem) else [])]
        for variant in compared if self._free_decides else []:
            if is_usable(self.gate, variant) and (summary := self._tfidf_lead(variant)):
                return "use_tfidf_baseline", [summary, "use the TF-IDF baseline instead (docs/explain/gate.md)"]
        if problem:
            return "none_usable", [f"no variant may serve: {problem}"]
        return verdict, [why]

    def _tfidf_lead(self, variant: ScoredVariant) -> str:
        """That the TF-IDF baseline is shown to be better than the variant; "" unless it is, and than every constant."""
        tfidf = next((c for c in self._free_models(variant) if c.versus == TFIDF_BASELINE.name), None)
        _, lead = self._best_constant(variant) or (None, 0.0)
        if tfidf is None or not _is_worse(self.stated, tfidf) or lead > -tfidf.delta:
            return ""
        return _free_summary(self.stated, variant, tfidf)

    @property
    def _free_decides(self) -> bool:
        return self.gate.on_worse_than_free_baseline == "fail"

    def _kept(self, prompt: ScoredVariant | None) -> tuple[Verdict, ScoredVariant | None, str]:
        """What is in production: the champion, unless there is none or the best prompt is significantly better."""
        champion = self.evidence.role("champion")
        if champion is None:
            return "keep_prompt", prompt, "keeping the best prompt"
        if prompt is not None and not self._serving_problem(prompt):
            against = self.compare(prompt, champion)
            if (problem := self._serving_problem(champion)) and not _is_worse(self.stated, against):
                return "keep_prompt", prompt, f"use the prompt, then run again: {problem}"
            if is_above(against, 0, self.gate.confidence_level):
                return "keep_prompt", prompt, (
                    f"the best prompt is also significantly better than the champion ({against.candidate:.3f} against "
                    f"{against.baseline:.3f} on {against.metric}): use the prompt"
                )  # fmt: skip
        return "keep_champion", champion, f"keeping the model in production ({champion.variant.name})"

    def _serving_problem(self, variant: ScoredVariant) -> str:
        """Why a variant may not serve, even if nothing better exists; "" when it may."""
        if not is_usable(self.gate, variant):
            return f"too many answers of {variant.variant.name} are unusable"
        constant, lead = self._best_constant(variant) or (None, 0.0)
        if constant is None or lead <= 0:
            return ""
        comparison = self.compare_as_stated(variant, constant)
        return _free_summary(self.stated, variant, comparison) if _is_worse(self.stated, comparison) else ""

    def _free_models(self, variant: ScoredVariant) -> list[Comparison]:
        """The variant against every free baseline that is no constant."""
        free = [own for own in self.evidence.free if own.variant.role == "free_baseline"]
        return [self.compare_as_stated(variant, own) for own in free if self._is_comparable(variant, own)]

    def _best_constant(self, variant: ScoredVariant) -> tuple[ScoredVariant, float] | None:
        """The best constant answer on these rows, that of the most frequent reference included, and its lead."""
        leads = [(own, self._lead(own, variant)) for own in self._constants if self._is_comparable(variant, own)]
        return max(leads, key=lambda lead: lead[1], default=None)

    @cached_property
    def _constants(self) -> list[ScoredVariant]:
        constants = [own for own in self.evidence.free if own.variant.role == "constant"]
        if self.compare.metric != pairwise.WIN_RATE:
            constants.append(_most_frequent_reference(self.task, self.evidence.variants[0]))
        return constants

    def _lead(self, constant: ScoredVariant, variant: ScoredVariant) -> float:
        """How much better the constant answer scores than the variant."""
        compare = self.compare
        if isinstance(compare, ComparePairwise):
            winners = Counter(result.winner for result in variant.pairwise[constant.variant.name])
            return (winners["baseline"] - winners["candidate"]) / winners.total()
        return compare.measure(constant).value() - compare.measure(variant).value()

    def _is_comparable(self, variant: ScoredVariant, other: ScoredVariant) -> bool:
        """Whether the two can be compared; pair by pair only where they were: a judge ranks no free baseline."""
        return self.compare.metric != pairwise.WIN_RATE or other.variant.name in variant.pairwise

    def _on_champion_test_set(self) -> Comparison | None:
        """Candidate and champion on the champion's test set; None where too few of its rows were answered."""
        evidence = self.evidence
        if not evidence.regression or len(evidence.regression_groups) < MIN_PER_GROUP:
            return None
        candidate, champion = evidence.regression
        return self.comparing(self.stated, evidence.regression_groups)(candidate, champion)

    def _regression_rule(self, comparison: Comparison) -> Rule:
        """What the candidate lost on the champion's test set (catastrophic forgetting: McCloskey and Cohen 1989)."""
        evidence, allowed = self.evidence, self.gate.max_champion_test_regression
        what = "is worse than" if comparison.high < 0 else "is not shown to be worse than"
        summary = (
            f"the candidate {what} the champion on the champion's test set: {comparison.metric} "
            f"{comparison.candidate:.3f} against {comparison.baseline:.3f} on {len(evidence.regression_groups)} rows, "
            f"difference {comparison.delta:+.3f} (between {comparison.low:+.3f} and {comparison.high:+.3f})"
        )
        passed = allowed >= 1 or is_above(comparison, -allowed, self.stated.confidence_level)
        summary += "" if passed else f"; a regression of more than {allowed:g} is not ruled out"
        return Rule(
            name="champion_test_regression", passed=passed, measured=comparison.low, required=-allowed, summary=summary
        )

    def _slices(self, candidate: ScoredVariant, prompt: ScoredVariant) -> list[SliceComparison]:
        """Every slice of enough rows, compared; p-values adjusted together."""
        parts: dict[tuple[str, str], list[int]] = {}
        for i, row in enumerate(candidate.slices):
            for column, value in sorted(row.items()):
                parts.setdefault((column, value), []).append(i)
        ordered = sorted(parts.items(), key=lambda item: (item[0][0], by_number(item[0][1])))
        large = {key: part for key, part in ordered if len(part) >= MIN_PER_GROUP}
        differences = [self.compare(candidate, prompt, part) for part in large.values()]
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
    passed = is_above(comparison, required, gate.confidence_level)
    claim = "as good as" if required < 0 else "better than"
    summary = (
        f"the candidate is {'shown' if passed else 'not shown'} to be {claim} {description} "
        f"({comparison.versus}): {comparison.metric} {comparison.candidate:.3f} against {comparison.baseline:.3f}, "
        f"difference {comparison.delta:+.3f} (between {comparison.low:+.3f} and {comparison.high:+.3f}; "
        f"p = {comparison.p_value:.2g}), required: more than {required:+g}"
    )
    return Rule(name=f"lift_over_{over}", passed=passed, measured=comparison.low, required=required, summary=summary)


_BASELINES: dict[str, Callable[[Gate], tuple[str, float, str]]] = {
    "baseline": lambda gate: ("prompt", gate.min_lift, "the best prompt"),
    "supervised": lambda gate: ("supervised", gate.min_lift_over_supervised, "the supervised model it started from"),
    "champion": lambda gate: ("champion", gate.min_lift_over_champion, "the model in production"),
    "constant": lambda gate: ("constant", 0.0, "the best constant answer"),
}


def _usable_rule(task: Task, gate: Gate, other: ScoredVariant) -> Rule:
    """Being better than a variant that is not usable does not count."""
    over, _, description = _BASELINES[other.variant.role](gate)
    problem = unusable_problem(task, gate, other)
    name, measured = f"{description} ({other.variant.name})", share_unusable(other)
    summary = f"{name} is not usable, and being better than it does not count: {problem}"
    if not problem:
        summary = f"{name} is usable: share of unusable answers {measured:.3g}, within {gate.max_invalid_rate:g}"
    return Rule(
        name=f"invalid_rate_of_{over}",
        passed=not problem,
        measured=measured,
        required=gate.max_invalid_rate,
        summary=summary,
    )


def _most_frequent_reference(task: Task, scored: ScoredVariant) -> ScoredVariant:
    """Always the most frequent reference of these rows, in its commonest spelling: no constant is right more often."""
    counts = Counter(row.reference for row in scored.rows)
    reference = min(counts, key=lambda value: (-counts[value], value))
    spellings = Counter(row.target for row in scored.rows if row.reference == reference)
    target = min(spellings, key=lambda value: (-spellings[value], value))
    rows = [Row(row.reference, reference, target, row.target) for row in scored.rows]
    rows = [replace(row, scores=metrics.row_scores(task, row)) for row in rows]
    variant = ModelVariant(name="most_frequent_reference", model="local:most_frequent_reference", role="constant")
    return replace(scored, variant=variant, rows=rows)


def _is_worse(gate: Gate, comparison: Comparison) -> bool:
    """Whether the variant is shown to be worse than what it is compared with."""
    return comparison.high < 0 and comparison.p_value <= 1 - gate.confidence_level


def _free_rule(gate: Gate, candidate: ScoredVariant, comparison: Comparison) -> Rule:
    return Rule(
        name=f"not_worse_than_{comparison.versus}",
        passed=not _is_worse(gate, comparison),
        measured=comparison.high,
        required=0.0,
        summary=_free_summary(gate, candidate, comparison),
    )


# -- notes -----------------------------------------------------------------------------------------------------------


def _reuse_note(gate: Gate, candidates: float, nominal: float) -> str:
    """What repeated use of the test rows does to the error rate; "" within the plan."""
    if candidates <= gate.planned_candidates:
        return ""
    own = (1 - nominal) / 2 / error_divisor(gate.planned_candidates, candidates)
    return (
        f"{candidates:.3g} candidates have used a test row on average (planned: {gate.planned_candidates}): one that "
        f"is no better now passes by luck in {own:.2%}, any beyond the plan in at most {(1 - nominal) / 2:.1%} of "
        "series; new test rows, or a larger gate.planned_candidates, make a lift easier to show"
    )


def _power_note(comparison: Comparison, rows: int, gate: Gate) -> str:
    """The number of rows that would confirm the lift, when the candidate is better but not significantly."""
    above = comparison.delta - _BASELINES[comparison.role](gate)[1]
    if above <= 0 or comparison.delta <= 0 or not comparison.disagreement:
        return ""
    level = gate.confidence_level
    smallest = intervals.smallest_detectable_lift(rows, comparison.disagreement, level=level)
    needed = intervals.rows_needed(above, comparison.disagreement, level=level)
    if needed <= rows:
        return ""
    return (
        f"with {rows} test rows, a true lift of {smallest:.3f} is detected with 80% power; confirming a lift of "
        f"{comparison.delta:.3f} over {comparison.versus} takes about {needed} rows"
    )


def _free_summary(gate: Gate, variant: ScoredVariant, comparison: Comparison) -> str:
    """The score of a free baseline on the same rows, beside that of the variant compared with it."""
    better = is_above(comparison, 0, gate.confidence_level)
    worse = _is_worse(gate, comparison)
    finding = "shown to be better" if better else "shown to be worse" if worse else "not shown to be better"
    return (
        f"{DESCRIPTIONS[comparison.versus]} reaches {comparison.metric} {comparison.baseline:.3f} on the same rows "
        f"without a model call; {variant.variant.name} ({comparison.candidate:.3f}) is {finding}: "
        f"difference {comparison.delta:+.3f} (between {comparison.low:+.3f} and {comparison.high:+.3f})"
    )
