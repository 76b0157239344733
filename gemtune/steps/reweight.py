# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Repeat training rows that the best prompt gets wrong, and mark validation rows near them (`tuning.hard_examples`).

Which rows are hard is decided once per data, prompt and settings, and recorded in the bucket: a repeated run tunes on
the same rows, so that it finds its jobs again, and sends no request.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from gemtune.artifacts.cost import CostItem
from gemtune.artifacts.data import HardExamplesReport
from gemtune.artifacts.records import HardRows
from gemtune.artifacts.tuning import TuningPlan
from gemtune.config import HardExamples
from gemtune.cost.items import variant_items
from gemtune.data.example import Example, read_before_gate, write_examples
from gemtune.evaluation.evaluator import Dataset
from gemtune.state import store
from gemtune.steps.context import Section, StepContext, log
from gemtune.tuning.hard_examples import near_hard, record_name, reweight


def run(
    train: str, validation: str, tuning_plan: str, reweighted: str, marked: str, report: str, **sections: Section
) -> dict[str, float]:
    """Write reweighted training rows, validation rows marked with the slice `near_hard`, and a report with counts.

    Reads the sections task, evaluate, hard_examples, vertex.
    """
    context, planned = StepContext(sections), TuningPlan.read(tuning_plan)
    settings, rows, held_out = context.hard_examples, read_before_gate(train), read_before_gate(validation)
    hard_ids, spared, spent = _hard_rows(context, planned, rows)
    result, near = reweight(rows, hard_ids, settings), near_hard(rows, held_out, hard_ids)
    write_examples(reweighted, result)
    write_examples(
        marked,
        (replace(row, slices={**row.slices, "near_hard": "yes" if row.id in near else "no"}) for row in held_out),
    )
    repeated = Counter(row.id for row in result)
    document = HardExamplesReport(
        rows=len(rows),
        reweighted_rows=len(result),
        hard_rows=len(hard_ids),
        label_issues=len(spared),
        share=sum(repeated[identity] for identity in hard_ids) / max(1, len(result)),
        max_repeats=max((repeated[identity] for identity in hard_ids), default=0),
        near_hard=len(near),
        hard_ids=sorted(hard_ids),
        spent=spent,
        settings=settings,
    )
    document.write(report)
    share = f"{document.share:.0%} of the training rows"
    log.info(
        "done: %s", f"{len(hard_ids)} of {len(rows)} rows are hard, now {share}; {len(near)} validation rows near them"
    )
    counts = ("rows", "reweighted_rows", "hard_rows", "label_issues", "share", "max_repeats", "near_hard")
    return {name: float(getattr(document, name)) for name in counts}


def _hard_rows(
    context: StepContext, plan: TuningPlan, rows: Sequence[Example]
) -> tuple[set[str], set[str], list[CostItem]]:
    """Ids of the hard rows, of missed rows whose label is likely wrong, and the cost: an earlier run's, else new."""
    if not context.hard_examples.target_share:  # the plan has no trial for them, and its forecast no request
        return set(), set(), []
    assert plan.best_prompt is not None  # the plan of a run has one
    prompt = plan.best_prompt.variant
    spent = list[CostItem]()

    def create() -> HardRows:
        evaluation = context.evaluator.evaluate(Dataset("train", rows, judging=False), rows, [prompt])
        own = [row for row in evaluation.predictions if row["variant"] == prompt.name]
        missed = {row["id"] for row in own if row["parsed"] != row["reference"]}
        variant = evaluation.report.variants[0]
        spent.extend(variant_items(variant, "best prompt on training rows", "train_probe", plan.prices))
        mislabelled = _label_issues(rows, context.hard_examples)
        return HardRows(hard_ids=sorted(missed - mislabelled), label_issues=sorted(missed & mislabelled))

    record = store.once(context.client, HardRows, record_name(rows, prompt, context.hard_examples), create)
    return set(record.hard_ids), set(record.label_issues), spent


def _label_issues(rows: Sequence[Example], settings: HardExamples) -> set[str]:
    if not settings.skip_label_issues:
        return set()
    from gemtune.data.label_issues import rank_label_issues

    issues = rank_label_issues(rows, settings.seed).rows
    return {issue.id for issue in issues if issue.margin >= settings.label_issue_margin}
