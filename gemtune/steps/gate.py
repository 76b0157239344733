# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Decide from test predictions whether the candidate may be deployed (`evaluation.gate` has the rules)."""

from collections.abc import Sequence

from gemtune.artifacts.decision import DecisionRecord
from gemtune.artifacts.evaluation import EvaluationReport
from gemtune.artifacts.tuning import Selection, TuningPlan
from gemtune.config import Gate
from gemtune.errors import UserError, without_values
from gemtune.evaluation.comparison import Compare, CompareByMetric, ComparePairwise
from gemtune.evaluation.gate import Evidence, decide
from gemtune.evaluation.predictions import CHAMPION_TEST_SET, ScoredVariant, read_predictions
from gemtune.steps.context import Section, StepContext, log


def run(predictions: str, selection: str, tuning_plan: str, tested: str, decision: str, **sections: Section) -> bool:
    """Write the decision; returns whether the candidate may be deployed.

    `tested` is the report of the finalists' evaluation, `tuning_plan` has the prices that a cost limit needs. Raises
    `UserError` for a metric that the task has not, and for a limit whose measurement is missing.
    """
    context, report, chosen = StepContext(sections), EvaluationReport.read(tested), Selection.read(selection)
    gate, finals = context.gate, read_predictions(predictions, "test")
    task, objective = finals.task(context.task), context.objective
    metric = objective.metric(task, gate.metric)
    scored = [finals.of(variant) for variant in chosen.finalists]
    _require_confidence(gate, scored, predictions)

    def comparing(gate: Gate, groups: Sequence[str | None]) -> Compare:
        return ComparePairwise(gate, groups) if objective.is_pairwise else CompareByMetric(task, gate, metric, groups)

    old = read_predictions(predictions, CHAMPION_TEST_SET)
    plan, usage = TuningPlan.read(tuning_plan), report.test_set_usage
    fresh = set(usage.fresh) if usage else set()
    evidence = Evidence(
        variants=scored,
        groups=finals.groups,
        prices=plan.prices.of(chosen.candidate or chosen.best_prompt),
        candidates=1 + (usage.earlier_per_row if usage else 0),
        fresh=[row in fresh for row in finals.ids] if fresh else (),
        judge=report.judge,
        ranked_by_judge=report.ranker == "judge",
        free=[finals.of(result.variant) for result in report.free_baselines],
        regression=[old.of(variant) for variant in chosen.regression_variants] if old.size else (),
        regression_groups=old.groups,
        injection=report.injection,
    )
    record = decide(task, gate, evidence, comparing)
    cached = {variant.variant.name: variant.cached for variant in report.variants if variant.cached}
    notes = [*record.notes, *report.notes, *_pairwise_notes(context, record)]
    notes += plan.baselines.notes if plan.baselines else []
    notes += [f"{n} of {report.rows} answers of {name} are from the response cache" for name, n in cached.items()]
    more = {"task": report.task, "test_set_usage": usage, "notes": notes, "cached_answers": cached}
    record = record.model_copy(update=more)
    record.write(decision)
    for sentence in [*record.reasons, *record.notes]:
        log.info("%s", without_values(sentence))
    log.info("done: %s", record.verdict.replace("_", " "))
    return record.passed


def _require_confidence(gate: Gate, scored: Sequence[ScoredVariant], predictions: str) -> None:
    candidates = [answers for answers in scored if answers.variant.role == "candidate"]
    if gate.max_ece and any(all(c is None for c in answers.confidence) for answers in candidates):
        raise UserError("gate.max_ece needs confidences", file=predictions, remedy="set evaluate.confidence=votes")


def _pairwise_notes(context: StepContext, record: DecisionRecord) -> list[str]:
    """Limits of the win rates that a reader must know."""
    ranking = context.objective.ranking
    if ranking is None:
        return []
    level = 1 - record.confidence_level
    notes = [
        f"preference tuning is not shown to add to the supervised model {comparison.versus} "
        f"(win rate {comparison.candidate:.3f}): supervised tuning alone may be enough"
        for comparison in record.comparisons
        if comparison.role == "supervised" and not (comparison.low > 0 and comparison.p_value <= level)
    ]
    if record.comparisons and ranking.ranker == "reference":
        notes.append(
            "answers are ranked by their similarity to preferred answers (no judge): other qualities do not count"
        )
    return notes
