# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""More training rows for rare labels, generated from existing ones: paraphrased by the base model, or perturbed.

Only training rows are augmented, after the split, so that no validation or test row is generated from a row the model
learns. A new row stays only if a check predicts the label of its source, and if it is no near-duplicate of any row of
any split, nor of another new row. New rows are recorded in the bucket by what they were generated from: a repeated run
pays nothing and tunes on the same rows. Before the first request, all of them are held under `max_cost` and the plan's
by their upper bound.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import compress

from gemtune import dedup
from gemtune.artifacts.cost import CostItem
from gemtune.artifacts.data import AugmentationReport
from gemtune.artifacts.records import AugmentedRows, NewText
from gemtune.config import Task, fingerprint
from gemtune.cost.data_steps import AugmentationCost, affordable_rows, missing_rows, paraphrase_request
from gemtune.data.example import Example, example_id, read_examples, write_examples
from gemtune.data.leakage import find_overlaps, leakage_report
from gemtune.errors import UserError
from gemtune.evaluation.scorers import request_usage
from gemtune.inference import tfidf_baseline
from gemtune.inference.generate import GenerateAll
from gemtune.inference.prompt_search import numbered_lines
from gemtune.inference.prompts import resolve
from gemtune.inference.vertex_generation import sending
from gemtune.state import champion, store
from gemtune.steps.context import Section, StepContext, log

NEAR_ONLY = {"passage_chars": 0, "semantic_threshold": 0}  # what the leakage report of the new rows counts


def perturb(text: str, count: int, seed: int, key: str) -> list[str]:
    """`count` different variants of a text: words dropped or swapped, letters dropped, doubled or swapped.

    About one word in six changes, one at least; a text of one short word may give fewer variants.
    """
    variants: dict[str, None] = {}
    for attempt in range(4 * count):
        draw = random.Random(f"{seed} {key} {attempt}")
        words = text.split()
        for _ in range(max(1, round(len(words) / 6))):
            at = draw.randrange(len(words))
            if len(words) > 3 and draw.random() < 0.4:
                del words[at]
            elif len(words) > 3 and draw.random() < 0.3:
                other = min(at + 1, len(words) - 1)
                words[at], words[other] = words[other], words[at]
            else:
                words[at] = _misspell(words[at], draw)
        variant = " ".join(words)
        if variant and variant != text:
            variants[variant] = None
        if len(variants) == count:
            break
    return list(variants)


def _misspell(word: str, draw: random.Random) -> str:
    if len(word) < 3:
        return word
    at = draw.randrange(len(word) - 1)
    kind = draw.randrange(3)
    if kind == 0:
        return word[:at] + word[at + 1 :]
    if kind == 1:
        return word[:at] + word[at] + word[at:]
    return word[:at] + word[at + 1] + word[at] + word[at + 2 :]


def parse_paraphrases(reply: str | None, text: str, count: int) -> list[str]:
    """The numbered lines of a reply that differ from the text, without quotes and repetitions."""
    return [line for line in numbered_lines(reply) if line and line != text][:count]


def without_overlaps(
    texts: Sequence[NewText], splits: dict[str, list[Example]], threshold: float
) -> tuple[list[Example], list[NewText]]:
    """New training rows that are near no row of any split nor each other; and the texts that are."""
    sources = {example.id: example for example in splits["train"]}
    rows = [_row(text, sources[text.source]) for text in texts]
    existing = [example for name in ("test", "validation", "train") for example in splits[name]]
    near = set(find_overlaps(rows, existing, threshold))
    apart = [i for i in range(len(rows)) if i not in near]
    stay = set(compress(apart, dedup.keep([rows[i].text for i in apart], threshold)))
    new = [row for i, row in enumerate(rows) if i in stay]
    return new, [text for i, text in enumerate(texts) if i not in stay]


def _row(text: NewText, source: Example) -> Example:
    identity = example_id(text.text, source.target, source.system)
    slices = {**source.slices, "made_by": text.method}
    return replace(source, id=identity, text=text.text, split="train", slices=slices)


# -- the step --------------------------------------------------------------------------------------------------------


def run(splits: tuple[str, str, str], augmented: str, report: str, name: str, **sections: Section) -> dict[str, float]:
    """Write the training rows with the new ones to `augmented`, and a report; returns the counts.

    `splits` are the files of train, validation and test, `name` is the run's. Reads the sections task, split, augment,
    evaluate, plan, vertex. The requests cost `augment.max_cost` at most, and never more than the plan allows the whole
    run. Raises `UserError` for a task without labels, and when the name's champion has another task.
    """
    context = StepContext(sections)
    if not context.task.is_labelled:
        raise UserError(
            f"augment is for labels; the task is {context.task.kind}", remedy="augment.min_rows_per_label=0"
        )
    rows = {
        split: list(read_examples(path)) for split, path in zip(("train", "validation", "test"), splits, strict=True)
    }
    task, threshold = resolve(context.task, rows["train"]), context.split.jaccard_threshold
    champion.require_same_task(context.client, name, task)
    cost = AugmentationCost.of(context.evaluate.base_model, context.augment, context.plan, context.catalogue)
    texts, relabelled, spent = _recorded(rows["train"], task, cost, context)
    new, near = without_overlaps(texts, rows, threshold or 1.0)
    rows["train"] += new
    write_examples(augmented, rows["train"])
    document = AugmentationReport(
        rows=len(rows["train"]),
        new=len(new),
        near=len(near),
        relabelled=relabelled,
        spent=spent,
        limit=cost.limit,
        samples=[{"text": row.text, "label": row.target, "made_by": row.slices["made_by"]} for row in new[:20]],
        labels=dict(Counter(example.target for example in new)),
        leakage_report=leakage_report(rows, context.split.model_copy(update=NEAR_ONLY)),
        settings=context.augment,
    )
    document.write(report)
    cost_paid = sum(item.cost.expected for item in spent)
    counts = f"{len(new)} rows added, {relabelled} rejected by the label check, {len(near)} near-duplicates"
    log.info("done: %s", f"{counts}, {cost_paid:.4f} of at most {cost.limit:.2f} USD")
    return {"new": float(len(new)), "near": float(len(near)), "relabelled": float(relabelled), "cost": cost_paid}


def _recorded(
    train: list[Example], task: Task, cost: AugmentationCost, context: StepContext
) -> tuple[list[NewText], int, list[CostItem]]:
    """New texts that passed the label check, how many did not, what was spent: an earlier run's, else generated now."""
    ids = sorted(example.id for example in train)
    digest = fingerprint(ids, task, cost.model, cost.settings, cost.limit)
    spent = list[CostItem]()

    def create() -> AugmentedRows:
        with sending(context.evaluate, context.vertex, online=True) as send:
            texts, items = asyncio.run(_generate(train, cost, send))
        spent.extend(items)
        confirmed = _confirmed(texts, train)
        return AugmentedRows(rows=confirmed, relabelled=len(texts) - len(confirmed))

    record = store.once(context.client, AugmentedRows, digest, create)
    return record.rows, record.relabelled, spent


async def _generate(
    train: list[Example], cost: AugmentationCost, send: GenerateAll
) -> tuple[list[NewText], list[CostItem]]:
    settings, price = cost.settings, {"input": cost.price.input, "output": cost.price.output}
    missing, texts, spent = affordable_rows(train, cost), list[NewText](), list[CostItem]()
    if len(missing) < (count := len(missing_rows(train, settings))):
        log.warning("%d of %d rows fit within %.2f USD", len(missing), count, cost.limit)
    rows = [example for example in train if example.id in missing]
    if "paraphrase" in settings.methods and rows:
        replies = await send([paraphrase_request(row, missing[row.id], cost.model, settings) for row in rows])
        usage = request_usage(replies)
        spent.append(CostItem.actual("augmentation", "paraphrases", usage.total, usage.cost(price)))
        for row, reply in zip(rows, replies, strict=True):
            paraphrases = parse_paraphrases(reply.text, row.text, missing[row.id])
            texts += [NewText(row.id, text, "paraphrase") for text in paraphrases]
            missing[row.id] -= len(paraphrases)
    if "perturb" in settings.methods:
        for row in rows:
            perturbed = perturb(row.text, missing[row.id], settings.seed, row.id)
            texts += [NewText(row.id, text, "perturb") for text in perturbed]
    return texts, spent


def _confirmed(texts: Sequence[NewText], train: list[Example]) -> list[NewText]:
    """The new texts for which TF-IDF with logistic regression predicts the label of their source."""
    labels = {row.id: row.target for row in train}
    rows = [Example(str(n), text.text, labels[text.source]) for n, text in enumerate(texts)]
    predicted = tfidf_baseline.predict(train, rows) if rows else []
    return [text for text, row, output in zip(texts, rows, predicted, strict=True) if output.text == row.target]
