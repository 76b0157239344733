# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Pairs of a better and a worse answer: read from the data, or sampled from the base model; each prompt with its pairs.

What leaves this step are examples, one per prompt, that carry their pairs, so that every later step (split, tuning,
evaluation) handles them like other rows. Sampled pairs are recorded in the bucket by rows and settings: a repeated run
pays nothing for them and tunes on the same pairs, so that it finds its jobs again. Guarantees: nothing is sampled when
it may cost more than `plan.max_cost`.
"""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from gemtune.artifacts.cost import CostItem, total
from gemtune.artifacts.data import DataReport
from gemtune.artifacts.records import SampledPair, SampledPairs
from gemtune.config import Preference, fingerprint
from gemtune.cost import data_steps
from gemtune.data import pairs as pair_data
from gemtune.data import profile
from gemtune.data.dataflow_job import require_local_runner
from gemtune.data.duplicates import check_removal_limits, deduplicate, sample_rows
from gemtune.data.example import Example, Pair, RejectedRow, to_row, write_examples, write_rows
from gemtune.data.pairs import Pairs, sampled_pairs
from gemtune.data.row_validation import ReadStats
from gemtune.data.source_rows import read_all
from gemtune.errors import OverBudgetError, UserError
from gemtune.evaluation.pairwise import Ranker
from gemtune.evaluation.scorers import token_usage
from gemtune.inference import data_fit
from gemtune.inference.generate import GenerateAll, require_answers
from gemtune.inference.vertex_generation import sending
from gemtune.state import champion, store
from gemtune.steps.context import Section, StepContext, log


def run(
    data: str,
    examples: str,
    dropped: str,
    report: str,
    name: str,
    *,
    sample: bool = True,
    offline: bool = False,
    **sections: Section,
) -> dict[str, object]:
    """Write prompts with their pairs to `examples`, `dropped` rows with reasons, and a report; returns the counts.

    `name` is the run's. Reads the sections task, preprocess, preference, evaluate, plan, vertex. Without `sample`
    references take the place of sampled answers. Raises `UserError` when no pair is left, when sampling answers may
    cost more than `plan.max_cost`, when the name's champion has another task, or when the data is meant for Dataflow.
    """
    context, stats = StepContext(sections, offline), ReadStats({})
    settings = context.objective.ranking or Preference()
    require_local_runner(context.preprocess)
    spent: list[CostItem] = []
    if settings.pairs_from == "data":
        pairs = _read(data, context, settings, stats)
    else:
        if sample:
            champion.require_same_task(context.client, name, context.task)
        pairs, spent = _sample(data, context, settings, stats, sample)
    kept, not_sampled = sample_rows(pairs.prompts, context.preprocess)
    rejected = sorted([*pairs.dropped, *not_sampled], key=lambda row: row.line)
    ids = {example.id for example in kept}
    own = pair_data.by_prompt(pair for pair in pairs.pairs if pair.prompt in ids)
    if not own:
        raise _no_pair_left(data, rejected)
    rows = [replace(example, pairs=tuple(own[example.id])) for example in kept]
    write_examples(examples, rows)
    write_rows(dropped, map(to_row, rejected))
    reasons = dict(Counter(row.reason for row in rejected).most_common())
    pair_count = sum(map(len, own.values()))
    DataReport(
        data=data,
        settings=settings.model_dump(),
        rows=pairs.rows,
        examples=pair_count,
        dropped=reasons,
        **dict(stats.to_report()),
        **dict(profile.profile_rows(rows, False)),
        spent=tuple(spent),
    ).write(report)
    counts = "; dropped: " + ", ".join(f"{count} {reason}" for reason, count in reasons.items()) if reasons else ""
    log.info("done: %s", f"{pair_count} pairs of {len(rows)} prompts, from {pairs.rows} rows{counts}")
    return {"rows": pairs.rows, "examples": pair_count, "dropped": reasons, "prompts": len(rows)}


def _no_pair_left(data: str, rejected: Sequence[RejectedRow]) -> UserError:
    counts = ", ".join(f"{n} {reason}" for reason, n in Counter(row.reason for row in rejected).most_common())
    first = rejected[0] if rejected else RejectedRow(0, "empty", "the file holds no rows", {})
    problem = f"no pair is left; {counts}: {first.detail}"
    return UserError(problem, file=data, line=first.line or None, remedy="see docs/how-to/preference.md")


def _read(data: str, context: StepContext, settings: Preference, stats: ReadStats) -> Pairs:
    if context.preprocess.corrections:
        raise UserError("preprocess.corrections is for labelled rows", remedy="leave it out")
    pairs = pair_data.read(data, context.task, context.preprocess, settings, stats)
    before = len(pairs.pairs)
    pairs = pair_data.deduplicate(pairs, context.preprocess)
    check_removal_limits(before, len(pairs.pairs), "deduplicating pairs", context.preprocess, pairs.dropped)
    return pairs


def _sample(
    data: str, context: StepContext, settings: Preference, stats: ReadStats, sample: bool
) -> tuple[Pairs, list[CostItem]]:
    """Pairs of sampled answers to labelled rows, as supervised tuning would use them, and their cost."""
    rows, rejected = read_all(data, context.task, context.preprocess, stats)
    rows, duplicates = deduplicate(rows, context.task, context.preprocess, context.vertex)
    rows, dropped = sample_rows(rows, context.preprocess)
    rejected += [*duplicates, *dropped]
    read = len(rows) + len(rejected)
    if not sample:
        placeholders = [Pair(row.id, row.target, row.target, row.line) for row in rows]
        return Pairs(list(rows), placeholders, rejected, read), []
    profile = data_fit.RowProfile.of(context.task, rows)
    data_fit.require_fit(context.task, context.evaluate, None, profile, data)
    pairs, without_gap, spent = _recorded(rows, context, settings)
    prompts = {pair.prompt for pair in pairs}
    kept_rows = [row for row in rows if row.id in prompts]
    return Pairs(kept_rows, pairs, [*rejected, *without_gap], read), spent


def _recorded(
    rows: Sequence[Example], context: StepContext, settings: Preference
) -> tuple[list[Pair], list[RejectedRow], list[CostItem]]:
    """Pairs, rows whose answers differ too little, and what was spent: an earlier run's, else sampled now."""
    evaluate, names = context.evaluate, {"samples", "sample_temperature", "chosen_from", "min_gap", "ranker"}
    judge = evaluate.judge if settings.ranker == "judge" else None
    digest = fingerprint(
        sorted(row.id for row in rows),
        context.task,
        evaluate.base_model,
        evaluate.max_output_tokens,
        settings.model_dump(mode="json", include=names),
        judge,
    )
    spent = list[CostItem]()

    def create() -> SampledPairs:
        _require_affordable(rows, context, settings)
        with sending(evaluate, context.vertex, online=True) as send:
            pairs, without_gap, items = asyncio.run(_sampled(rows, context, settings, send))
        spent.extend(items)
        return SampledPairs(
            pairs={pair.prompt: SampledPair(chosen=pair.chosen, rejected=pair.rejected) for pair in pairs},
            no_gap={row.row["id"]: row.detail for row in without_gap},
        )

    record = store.once(context.client, SampledPairs, digest, create)
    own, no_gap = record.pairs, record.no_gap
    answered = [(row, own[row.id]) for row in rows if row.id in own]
    return (
        [Pair(prompt=row.id, line=row.line, chosen=p.chosen, rejected=p.rejected) for row, p in answered],
        [RejectedRow(row.line, "no_gap", no_gap[row.id], to_row(row)) for row in rows if row.id in no_gap],
        spent,
    )


def _require_affordable(rows: Sequence[Example], context: StepContext, settings: Preference) -> None:
    counter = context.token_counter(context.task)
    items = data_steps.sampling_forecast(rows, counter, settings, context.catalogue)
    cost, limit = total(items).upper, context.plan.max_cost
    if cost > limit:
        raise OverBudgetError(
            f"sampling {len(rows) * settings.samples} answers may cost {cost:.2f} USD, more than plan.max_cost "
            f"{limit:.2f}",
            remedy="lower preference.samples or preprocess.max_rows, or raise the limit",
        )


async def _sampled(
    rows: Sequence[Example], context: StepContext, settings: Preference, send: GenerateAll
) -> tuple[list[Pair], list[RejectedRow], list[CostItem]]:
    evaluate, prices = context.evaluate, context.prices.models
    outputs = await send(data_steps.sampling_requests(rows, context.task, settings, evaluate.base_model))
    require_answers(outputs, evaluate.base_model, evaluate.max_error_share)
    size = settings.samples
    texts = [[output.text or "" for output in outputs[i : i + size]] for i in range(0, len(outputs), size)]
    ranker = Ranker(context.task, settings, evaluate, send)
    pairs, rejected = sampled_pairs(rows, texts, await ranker.grades(rows, texts), settings)
    usage = token_usage(outputs)
    cost = usage.cost(prices[evaluate.base_model])
    spent = [CostItem.actual("pair_sampling", "answers sampled for pairs", usage.total, cost)]
    if ranker.usage.requests:
        cost = ranker.usage.cost(prices[evaluate.judge.model])
        spent.append(CostItem.actual("ranking", "ranking answers for pairs", ranker.usage.total, cost))
    return pairs, rejected, spent
