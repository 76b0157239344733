# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Is the gate honest? Simulated runs with a known truth, through the very `gate.decide` a pipeline calls.

Each rule is measured at its own bound: a candidate whose true difference is the required one passes no more often than
stated ((1 - confidence_level) / 2 = 2.5 %); so does the best of 6 checkpoints, and one that equals the best of 5
prompts. A candidate better by twice the smallest detectable lift passes in at least 80 %, and intervals contain the
truth as often as they say. Prints a table, writes a plot, and exits 1 when a promise is broken (binomial error aside).

    python bench/gate_honesty.py [--runs 1000] [--only TEXT] [--plot build/gate_honesty.png]
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import sqrt
from pathlib import Path
from time import process_time
from typing import Any, Literal

import numpy as np
from scipy.special import ndtri

from gemtune.artifacts.cost import TokenUsage
from gemtune.artifacts.decision import DecisionRecord
from gemtune.artifacts.evaluation import (
    GoodThreshold,
    JudgeComparison,
    JudgeRatings,
    JudgeReport,
    JudgeValidation,
    Latency,
    Score,
    VariantReport,
)
from gemtune.config import Gate, ModelVariant, Role, Task
from gemtune.data.group_columns import GroupColumns
from gemtune.evaluation.comparison import Compare, CompareByMetric, ComparePairwise
from gemtune.evaluation.gate import Evidence, decide
from gemtune.evaluation.intervals import Measure, interval, mean, paired, smallest_detectable_lift, wilson
from gemtune.evaluation.judge import PairwiseResult
from gemtune.evaluation.metrics import Row, measure
from gemtune.evaluation.predictions import ScoredVariant
from gemtune.tuning.checkpoint_selection import VariantScore, choose, other_prompts

Rng = np.random.Generator
Flags = np.ndarray[Any, np.dtype[np.bool_]]

SIZES = (50, 100, 200, 500, 1000)
DISAGREEMENTS = (0.05, 0.1, 0.2, 0.35)
MULTIPLES = (0.0, 0.5, 1.0, 1.5, 2.0, 2.5)
STATED, POWER, LEVEL = 0.025, 0.8, 0.95
LABELS = [f"class {i}" for i in range(8)]
TASK = Task(labels=LABELS)
EXTRACTION = Task(kind="extraction")
SUMMARY = Task(kind="summarization")
FIELDS = 3
NOT_WORSE = -0.05


# -- simulated models ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """The size of a simulated test set, the share of rows on which two models differ, and their true difference."""

    rows: int
    disagreement: float
    lift: float = 0.0


def drawn_case(rng: Rng, multiple: float = 0.0, bound: float = 0.0) -> Case:
    """A case whose lift exceeds `bound` by so many times the smallest detectable one; no lift exceeds the share."""
    while True:
        rows, disagreement = int(rng.choice(SIZES)), float(rng.choice(DISAGREEMENTS))
        lift = bound + multiple * smallest_detectable_lift(rows, disagreement)
        if abs(lift) <= disagreement:
            return Case(rows, disagreement, lift)


def outcomes(case: Case, rng: Rng) -> tuple[Flags, Flags]:
    """Rows that the candidate and the other model answer correctly."""
    both = (1 - case.disagreement) * rng.uniform(0.5, 0.95)
    win, loss = (case.disagreement + case.lift) / 2, (case.disagreement - case.lift) / 2
    kind = rng.choice(4, case.rows, p=[both, win, loss, 1 - both - win - loss])
    return (kind == 0) | (kind == 1), (kind == 0) | (kind == 2)


def scripted(role: Role, rows: Sequence[Row], name: str = "", **more: Any) -> ScoredVariant:
    """A model with these answers."""
    variant, count = ModelVariant(name=name or role, model="scripted", role=role), len(rows)
    return ScoredVariant(variant, list(rows), ["ok"] * count, [0.1] * count, [1] * count, [1] * count, **more)


def labelled(labels: Any, correct: Flags, classes: int, rng: Rng) -> list[Row]:
    """Answers with a label: correct where marked so, else another label by chance."""
    wrong = (labels + rng.integers(1, classes, len(labels))) % classes
    predicted = np.where(correct, labels, wrong)
    return [
        Row(LABELS[a], LABELS[b], scores={"accuracy": float(a == b)}) for a, b in zip(labels, predicted, strict=True)
    ]


def by_accuracy(case: Case, rng: Rng) -> list[list[Row]]:
    """Candidate and other model on classes of uneven size."""
    classes = int(rng.integers(2, 9))
    labels = rng.choice(classes, case.rows, p=rng.dirichlet(np.ones(classes) * 3))
    return [labelled(labels, correct, classes, rng) for correct in outcomes(case, rng)]


def by_macro_f1(case: Case, rng: Rng) -> list[list[Row]]:
    """The same on classes of even size, where macro F1 and accuracy have one true difference."""
    classes = int(rng.integers(2, 9))
    labels = rng.integers(0, classes, case.rows)
    return [labelled(labels, correct, classes, rng) for correct in outcomes(case, rng)]


def by_field_f1(case: Case, rng: Rng) -> list[list[Row]]:
    """Objects of three fields, each correct or not."""
    whole = replace(case, rows=FIELDS * case.rows)
    reference = json.dumps({f"field {i}": "x" for i in range(FIELDS)})
    return [
        [Row(reference, json.dumps({f"field {i}": "x" if hit else "y" for i, hit in enumerate(own)})) for own in hits]
        for hits in (correct.reshape(-1, FIELDS) for correct in outcomes(whole, rng))
    ]


def by_rouge(case: Case, rng: Rng) -> list[list[Row]]:
    """Texts with a score between 0 and 1, equal on most rows; a row differs by 0.3 on average."""
    differs = rng.random(case.rows) < case.disagreement
    wins = rng.random(case.rows) < (1 + case.lift / 0.3 / case.disagreement) / 2
    size = np.where(differs, rng.beta(6, 4, case.rows) / 2, 0.0)
    low = rng.beta(4, 4, case.rows) * (1 - size)
    pair = np.where(wins, low + size, low), np.where(wins, low, low + size)
    return [[Row("", "", scores={"rouge_l": float(score)}) for score in scores] for scores in pair]


METRICS: dict[str, tuple[Task, Callable[[Case, Rng], list[list[Row]]]]] = {
    "accuracy": (TASK, by_accuracy),
    "macro_f1": (TASK, by_macro_f1),
    "field_f1": (EXTRACTION, by_field_f1),
    "rouge_l": (SUMMARY, by_rouge),
}


def decided(
    variants: Sequence[ScoredVariant],
    seed: int,
    metric: str = "accuracy",
    groups: Sequence[str | None] = (),
    evidence: dict[str, Any] | None = None,
    **settings: Any,
) -> DecisionRecord:
    """The gate's decision about these models."""
    task = METRICS[metric][0] if metric in METRICS else TASK
    gate = Gate(resamples=1000, seed=seed, metric=metric if metric in METRICS else "", **settings)

    def comparing(gate: Gate, own: Sequence[str | None]) -> Compare:
        return CompareByMetric(task, gate, metric, own) if metric in METRICS else ComparePairwise(gate, own)

    no_groups: list[str | None] = [None] * len(variants[0].rows)
    return decide(task, gate, Evidence(variants, groups or no_groups, **(evidence or {})), comparing)


def passes(record: DecisionRecord, rule: str) -> bool:
    """Whether all rules of a name passed."""
    own = [found.passed for found in record.rules if found.name == rule]
    assert own, f"{rule} is not among {[found.name for found in record.rules]}"
    return all(own)


# -- one run of a rule -----------------------------------------------------------------------------------------------


def lift(seed: int, metric: str = "accuracy", min_lift: float = 0.0, multiple: float = 0.0) -> bool:
    """The lift over the best prompt is the required one, or exceeds it by a multiple of the detectable lift."""
    rng = np.random.default_rng([seed, 1])
    case = drawn_case(rng, multiple, min_lift)
    if metric == "rouge_l":
        case = replace(case, lift=0.3 * case.lift)  # the scores of a row differ by 0.3 on average
    candidate, prompt = METRICS[metric][1](case, rng)
    variants = [scripted("baseline", prompt), scripted("candidate", candidate)]
    return passes(decided(variants, seed, metric, min_lift=min_lift), "lift_over_prompt")


def deployed(seed: int, multiple: float = 0.0) -> bool:
    """All rules of the default settings, on 8 classes of even size: no constant answer comes near such models."""
    rng = np.random.default_rng([seed, 14])
    case = drawn_case(rng, multiple)
    labels = rng.integers(0, len(LABELS), case.rows)
    candidate, prompt = (labelled(labels, correct, len(LABELS), rng) for correct in outcomes(case, rng))
    return decided([scripted("baseline", prompt), scripted("candidate", candidate)], seed).passed


def not_worse(seed: int, metric: str = "accuracy", role: Role = "champion", multiple: float = 0.0) -> bool:
    """The candidate is worse by what is allowed, or equal where a multiple of the detectable lift is allowed."""
    rng = np.random.default_rng([seed, 2])
    case = drawn_case(rng, multiple, 0.0 if multiple else NOT_WORSE)
    allowed, case = (case.lift, replace(case, lift=0.0)) if multiple else (-NOT_WORSE, case)
    if metric == "rouge_l":
        case = replace(case, disagreement=max(0.2, case.disagreement))
    candidate, other = METRICS[metric][1](case, rng)
    variants = [scripted("baseline", other), scripted("candidate", candidate), scripted(role, other)]
    record = decided(variants, seed, metric, **{f"min_lift_over_{role}": -allowed})
    return passes(record, f"lift_over_{role}")


def regression(seed: int) -> bool:
    """A continued model lost on the champion's test set what is allowed."""
    rng = np.random.default_rng([seed, 3])
    case = drawn_case(rng, 0.0, NOT_WORSE)
    candidate, champion = by_accuracy(case, rng)
    pair = scripted("candidate", candidate), scripted("champion", champion)
    evidence = {"regression": pair, "regression_groups": [None] * case.rows}
    variants = [scripted("baseline", champion), pair[0]]
    return passes(
        decided(variants, seed, evidence=evidence, max_champion_test_regression=-NOT_WORSE), "champion_test_regression"
    )


def ranked(case: Case, rng: Rng) -> list[PairwiseResult]:
    """Rows that the candidate wins, loses or ties."""
    shares = [(case.disagreement + case.lift) / 2, (case.disagreement - case.lift) / 2, 1 - case.disagreement]
    return [PairwiseResult(winner) for winner in rng.choice(["candidate", "baseline", "tie"], case.rows, p=shares)]


def win_rate(seed: int, role: Role = "baseline", bound: float = 0.0, multiple: float = 0.0) -> bool:
    """Preference tuning: wins minus losses are the required share of rows."""
    rng = np.random.default_rng([seed, 4])
    case = drawn_case(rng, multiple, bound)
    rows = [Row("a", "a")] * case.rows
    results = {"baseline": ranked(case, rng), role: ranked(case, rng)}
    variants = [scripted("baseline", rows), scripted("candidate", rows, pairwise=results)]
    variants += [scripted(role, rows)] if role != "baseline" else []
    name = "prompt" if role == "baseline" else role
    setting = {"min_lift" if role == "baseline" else f"min_lift_over_{role}": bound}
    return passes(decided(variants, seed, "win_rate", **setting), f"lift_over_{name}")


def judged(seed: int, rule: Literal["judge_good", "judge_win_rate"], required: float) -> bool:
    """The share of answers that the judge rates good, or its win rate, is the required one."""
    rng = np.random.default_rng([seed, 5])
    case = drawn_case(rng, 0.0, 2 * required - 1) if rule == "judge_win_rate" else drawn_case(rng)
    share = Score(value=0.8, low=0.7, high=0.9)
    good = rng.random(case.rows) < required
    winners = [result.winner for result in ranked(case, rng)]
    validation = JudgeValidation(
        validated=True, measure="kappa", shown=share, required=0.6, summary="",
        threshold=GoodThreshold(score=4, kappa=share, precision=1, recall=1),
    )  # fmt: skip
    ratings = JudgeRatings(
        score=share, refusal_rate=0, unreadable_rate=0, scores=[5.0 if is_good else 1.0 for is_good in good]
    )
    comparison = JudgeComparison(
        candidate="candidate", baseline="baseline", winners=winners, win_rate=share, pairs=case.rows, wins=0, losses=0,
        ties=0, order_flips=0, p_value=1, chose_first=share, chose_longer=share, unreadable=0,
    )  # fmt: skip
    judge = JudgeReport(
        model="", rubric="", ratings={"candidate": ratings}, pairwise=[comparison], validation=validation
    )
    rows = [Row(LABELS[0], LABELS[0], scores={"accuracy": 1.0})] * case.rows
    variants = [scripted("baseline", rows), scripted("candidate", rows)]
    return passes(decided(variants, seed, evidence={"judge": judge}, **{f"min_{rule}": required}), rule)


def latent(accuracies: Sequence[float], rows: int, rng: Rng, shared: float = 0.6) -> Flags:
    """Which rows (down) models of these accuracies (across) answer correctly; rows are hard or easy for all of them."""
    difficulty, own = rng.standard_normal((rows, 1)), rng.standard_normal((rows, len(accuracies)))
    correct: Flags = sqrt(shared) * difficulty + sqrt(1 - shared) * own < ndtri(accuracies)
    return correct


def rows_of(correct: Flags) -> list[Row]:
    """Answers of two classes."""
    return [Row("a", "a" if hit else "b", scores={"accuracy": float(hit)}) for hit in correct]


def score_of(correct: Flags) -> Score:
    """Accuracy with its interval."""
    share = wilson(int(correct.sum()), len(correct))
    return Score(value=share.value, low=share.low, high=share.high)


def best_of_checkpoints(seed: int, count: int = 6) -> bool:
    """All checkpoints equal the prompt; the candidate is selected on validation rows."""
    rng = np.random.default_rng([seed, 6])
    case = drawn_case(rng)
    accuracies = [float(rng.uniform(0.6, 0.9))] * (count + 1)
    validation, test = (latent(accuracies, rows, rng) for rows in (max(50, case.rows // 2), case.rows))
    names = [ModelVariant(name=str(n), model="m", epoch=n) for n in range(count)]
    scores = [VariantScore(name, score_of(validation[:, n])) for n, name in enumerate(names)]
    chosen = choose(scores, one_standard_error=False)[0]
    assert chosen is not None
    candidate = scripted("candidate", rows_of(test[:, chosen.variant.epoch]))
    return passes(decided([scripted("baseline", rows_of(test[:, count])), candidate], seed), "lift_over_prompt")


def best_of_prompts(seed: int, count: int = 5, multiple: float = 0.0, validation_share: float = 0.6) -> bool:
    """The candidate equals the prompt that is truly best by up to 8 points, or is better than it; prompts are compared
    as the validation rows decide, of which there are so many per test row.
    """
    rng = np.random.default_rng([seed, 7])
    test_rows = int(rng.choice([100, 250, 500]))
    ahead = float(rng.choice([0, 0.02, 0.04, 0.06, 0.08]))
    accuracies = np.full(count, rng.uniform(0.65, 0.85))
    accuracies[rng.integers(count)] += ahead
    own = accuracies.max() + multiple * smallest_detectable_lift(test_rows, 0.2)
    validation = latent(accuracies.tolist(), max(60, round(validation_share * test_rows)), rng)
    test = latent([*accuracies, min(0.98, own)], test_rows, rng)
    reports = [
        VariantReport(
            variant=ModelVariant(name=f"p{n}", model="m"), metrics={"accuracy": score_of(validation[:, n])},
            outcomes={}, tokens=TokenUsage(), latency_s=Latency(median=0, p95=0), attempts=0, cached=0,
        )
        for n in range(count)
    ]  # fmt: skip
    best = max(reports, key=lambda report: report.metrics["accuracy"].value)
    finalists = [best, *other_prompts(best, reports, "accuracy", 0.95)]
    variants = [
        scripted("baseline", rows_of(test[:, reports.index(report)]), report.variant.name) for report in finalists
    ]
    record = decided([*variants, scripted("candidate", rows_of(test[:, count]))], seed)
    return passes(record, "lift_over_prompt")


def planned_candidates(seed: int, count: int = 3) -> bool:
    """One of several candidates that equal the prompt passes, on a test set that is planned for them."""
    rng = np.random.default_rng([seed, 8])
    test = latent([float(rng.uniform(0.6, 0.9))] * (count + 1), drawn_case(rng).rows, rng)
    prompt = scripted("baseline", rows_of(test[:, count]))
    return any(
        passes(
            decided([prompt, scripted("candidate", rows_of(test[:, n]))], seed, planned_candidates=count),
            "lift_over_prompt",
        )
        for n in range(count)
    )


def clustered(
    seed: int, bound: float = 0.0, metric: str = "accuracy", grouped: bool = True, multiple: float = 0
) -> bool:
    """Rows come in threads of about 5 that mostly share their outcome; the group is the column that is offered."""
    rng = np.random.default_rng([seed, 9])
    case = drawn_case(rng, multiple, bound)
    while case.rows < 100:  # 50 rows are 10 threads
        case = drawn_case(rng, multiple, bound)
    threads = np.sort(rng.integers(0, case.rows // 5, case.rows))
    both = (1 - case.disagreement) * 0.8
    win, loss = (case.disagreement + case.lift) / 2, (case.disagreement - case.lift) / 2
    by_thread, own = (rng.choice(4, case.rows, p=[both, win, loss, 1 - both - win - loss]) for _ in range(2))
    kind = np.where(rng.random(case.rows) < 0.8, by_thread[threads], own)
    classes = 4
    labels = rng.integers(0, classes, case.rows)
    pair = ((kind == 0) | (kind == 1), (kind == 0) | (kind == 2))
    candidate, other = (labelled(labels, correct, classes, rng) for correct in pair)
    groups: list[str | None] = [None] * case.rows
    if grouped:
        columns = GroupColumns()
        for n, thread in enumerate(threads):
            columns.add({"thread": f"t{thread}", "source": "web"}, f"text {n}", set())
        assert [note.rsplit(" ", 1)[1] for note in columns.notes()] == ["thread"]
        groups = [f"t{thread}" for thread in threads]
    variants = [scripted("baseline", other), scripted("candidate", candidate), scripted("champion", other)]
    record = decided(variants, seed, metric, groups, min_lift_over_champion=min(0.0, bound))
    return passes(record, "lift_over_champion" if bound < 0 else "lift_over_prompt")


def slice_regression(seed: int) -> bool:
    """An equal candidate is stopped for one of 6 slices."""
    rng = np.random.default_rng([seed, 10])
    case = drawn_case(rng)
    slices = [{"source": str(n)} for n in rng.integers(0, 6, case.rows)]
    candidate, prompt = by_accuracy(case, rng)
    variants = [scripted("baseline", prompt), scripted("candidate", candidate, slices=slices)]
    record = decided(variants, seed, on_slice_regression="fail")
    return any(rule.name == "slice_regression" and not rule.passed for rule in record.rules)


def class_recall(seed: int, bound: float = 0.0) -> bool:
    """The recall of the one class is the required one, or (`bound`) lower than the prompt's by what is allowed."""
    rng = np.random.default_rng([seed, 15])
    case = drawn_case(rng, 0.0, bound)
    candidate, prompt = outcomes(case, rng) if bound else (rng.random(case.rows) < 0.7, np.ones(case.rows, bool))
    zeros = np.zeros(case.rows, int)
    variants = [
        scripted(role, labelled(zeros, correct, 2, rng))
        for role, correct in (("baseline", prompt), ("candidate", candidate))
    ]
    setting = {"max_class_drop": -bound} if bound else {"min_class_recall": 0.7}
    return passes(decided(variants, seed, **setting), "class_drop" if bound else "class_recall")


def observed(seed: int) -> bool:
    """The true share of unusable answers is the limit; the rule compares what was observed and states no rate."""
    rng = np.random.default_rng([seed, 11])
    rows = [Row("a", "a")] * drawn_case(rng).rows
    outcome = np.where(rng.random(len(rows)) < 0.05, "invalid", "ok").tolist()
    candidate = replace(scripted("candidate", rows), outcomes=outcome)
    return passes(decided([scripted("baseline", rows), candidate], seed), "invalid_rate")


# -- lines -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Line:
    """A simulated rule: the share of runs that pass, and at most (`most`) or at least (`least`) what is stated."""

    name: str
    run: Callable[[int], bool]
    most: float = 1.0
    least: float = 0.0

    def kept(self, passed: int, runs: int) -> bool:
        """Whether the share agrees with what is stated, three standard errors aside."""
        share = passed / runs
        return (
            self.least - 3 * sqrt(self.least * (1 - self.least) / runs)
            <= share
            <= self.most + 3 * sqrt(self.most * (1 - self.most) / runs)
        )


def lines() -> Iterator[Line]:
    """Every rule at its bound, then the power at twice the detectable lift, then what states no rate."""
    for metric in METRICS:
        yield Line(f"lift over the prompt, {metric}, equal", partial(lift, metric=metric), STATED)
    yield Line("deployed by all rules, equal", deployed, STATED)
    yield Line("lift over the prompt, accuracy, required 0.02", partial(lift, min_lift=0.02), STATED)
    for metric in METRICS:
        yield Line(f"not worse than the champion by 0.05, {metric}", partial(not_worse, metric=metric), STATED)
    yield Line("not worse than the supervised model by 0.05", partial(not_worse, role="supervised"), STATED)
    yield Line("champion test set, loss of 0.05", regression, STATED)
    yield Line("win rate over the prompt, equal", win_rate, STATED)
    yield Line(
        "win rate, not worse than the supervised by 0.1", partial(win_rate, role="supervised", bound=-0.1), STATED
    )
    yield Line("judged good, required 0.8", partial(judged, rule="judge_good", required=0.8), STATED)
    yield Line("judged better, required 0.5", partial(judged, rule="judge_win_rate", required=0.5), STATED)
    yield Line("judged better, required 0.55", partial(judged, rule="judge_win_rate", required=0.55), STATED)
    yield Line("best of 6 checkpoints, all equal", best_of_checkpoints, STATED)
    yield Line("best of 5 prompts, equal to the best", best_of_prompts, STATED)
    yield Line("... with few validation rows", partial(best_of_prompts, validation_share=0.12), STATED)
    yield Line("any of 3 planned candidates, all equal", planned_candidates, STATED)
    yield Line("clustered rows with the offered group, equal", clustered, STATED)
    yield Line("... macro F1", partial(clustered, metric="macro_f1"), STATED)
    yield Line("... not worse by 0.05", partial(clustered, bound=NOT_WORSE), STATED)
    yield Line("recall of a class, required 0.7", class_recall, STATED)
    yield Line("recall of a class, loss of 0.05", partial(class_recall, bound=NOT_WORSE), STATED)
    yield Line("slice regression stops an equal candidate", slice_regression, 2 * STATED)
    for metric in METRICS:
        yield Line(f"power, lift, {metric}", partial(lift, metric=metric, multiple=2), least=POWER)
    yield Line("power, deployed by all rules", partial(deployed, multiple=2), least=POWER)
    yield Line("power, not worse, accuracy", partial(not_worse, multiple=2), least=POWER)
    yield Line("power, not worse, macro_f1", partial(not_worse, metric="macro_f1", multiple=2), least=POWER)
    yield Line("power, win rate", partial(win_rate, multiple=2), least=POWER)
    yield Line("power, best of 5 prompts", partial(best_of_prompts, multiple=2), least=POWER)
    yield Line("not stated: clustered rows without a group, equal", partial(clustered, grouped=False))
    yield Line("not stated: observed share of unusable answers at its limit", observed)


def coverages() -> Iterator[Line]:
    """How often 95 % intervals contain the truth, at small sizes too."""
    for rows in (60, 200):
        yield Line(f"95 % interval, proportion, {rows} rows", partial(covers, "proportion", rows), least=LEVEL)
        yield Line(f"95 % interval, mean score, {rows} rows", partial(covers, "scores", rows), least=LEVEL)
        yield Line(f"95 % interval, ... in groups of 5, {rows} rows", partial(covers, "groups", rows), least=LEVEL)
        yield Line(f"95 % interval, macro F1, {rows} rows", partial(covers, "macro_f1", rows), least=LEVEL)
        for metric in METRICS:
            yield Line(f"95 % interval, paired {metric}, {rows} rows", partial(covers_pair, metric, rows), least=LEVEL)


def covers(kind: str, rows: int, seed: int) -> bool:
    """Whether the interval of one model contains the truth."""
    rng = np.random.default_rng([seed, 12, rows])
    groups: list[str | None] | None = None
    if kind == "macro_f1":
        own, truth = labels_of_three(rng, rows), MACRO_F1
    elif kind == "proportion":
        truth = float(rng.uniform(0.55, 0.95))
        own = mean((rng.random(rows) < truth).astype(float))
    else:
        scores, truth = rng.beta(4, 2, rows), 2 / 3
        if kind == "groups":
            scores, groups = np.repeat(scores[: rows // 5], 5), [str(i // 5) for i in range(rows)]
        own = mean(scores)
    found = interval(own, groups=groups)
    return found.low <= truth <= found.high


SHARES, ACCURACY = np.array([0.55, 0.3, 0.15]), 0.85
# hits, rows and answers of each class: errors are spread evenly over the two others
MACRO_F1 = float((2 * ACCURACY * SHARES / (SHARES + ACCURACY * SHARES + (1 - ACCURACY) / 2 * (1 - SHARES))).mean())


def labels_of_three(rng: Rng, rows: int) -> Measure:
    """Macro F1 of three classes of uneven size."""
    labels = rng.choice(3, rows, p=SHARES)
    return measure(Task(labels=LABELS[:3]), "macro_f1", labelled(labels, rng.random(rows) < ACCURACY, 3, rng))


def covers_pair(metric: str, rows: int, seed: int) -> bool:
    """Whether the interval of a difference contains the truth: here 0.05."""
    rng = np.random.default_rng([seed, 13, rows])
    task, draw = METRICS[metric]
    left, right = (measure(task, metric, own) for own in draw(Case(rows, 0.2, 0.05), rng))
    found = paired(left, right, resamples=200, seed=seed)
    return found.low <= 0.05 <= found.high


def plot(path: Path, rates: Sequence[float]) -> None:
    """Pass rate against the true lift."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6, 3.6))
    axes.plot(MULTIPLES, rates, marker="o", label="accuracy")
    axes.axhline(STATED, color="grey", linestyle=":", label="stated for equal models: 2.5 %")
    axes.axhline(POWER, color="grey", linestyle="--", label="80 %")
    axes.set(xlabel="true lift / smallest detectable lift", ylabel="share of runs that pass", ylim=(-0.02, 1.02))
    axes.legend(fontsize=8)
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120, metadata={"Software": None})


def main() -> int:
    """Run the simulations; 0 when every promise is kept."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1000, help="runs per line")
    parser.add_argument("--only", default="", help="only lines whose name contains this text")
    parser.add_argument("--plot", type=Path, default=Path("build/gate_honesty.png"))
    arguments = parser.parse_args()
    runs, broken = arguments.runs, list[str]()
    print(f"{runs} runs a line; test rows {SIZES}, disagreement {DISAGREEMENTS}", flush=True)
    for line in [*lines(), *coverages()]:
        if arguments.only not in line.name:
            continue
        passed = sum(line.run(seed) for seed in range(runs))
        stated = f"at most {line.most:.1%}" if line.most < 1 else f"at least {line.least:.0%}" if line.least else ""
        verdict = "" if line.kept(passed, runs) else "BROKEN"
        broken += [line.name] if verdict else []
        print(f"{line.name:55} {passed / runs:7.1%}  {stated:14} {verdict}", flush=True)
    if not arguments.only:
        rates = [sum(lift(seed, multiple=multiple) for seed in range(runs)) / runs for multiple in MULTIPLES]
        by_multiple = ", ".join(f"{m:g}x: {rate:.1%}" for m, rate in zip(MULTIPLES, rates, strict=True))
        print(f"passes at a true lift of ... smallest detectable (accuracy): {by_multiple}")
        plot(arguments.plot, rates)
    print(f"promises {'BROKEN: ' + ', '.join(broken) if broken else 'kept'}; {process_time():.0f} s of CPU time")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
