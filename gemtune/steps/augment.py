# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""More training rows for rare labels, generated from existing ones: paraphrased by the base model, or perturbed.

Only training rows are augmented, after the split, so that no validation or test row is generated from a row the model
learns. A new row stays only if a check predicts the label of its source, and if it is no near-duplicate of any row of
any split, nor of another new row. New rows are recorded in the bucket by what they were generated from: a repeated run
pays nothing and tunes on the same rows. Before the first request, all of them (paraphrases and label checks) are held
under `max_cost` and the plan's by their upper bound.
"""

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import compress
from typing import Any

from gemtune import dedup
from gemtune.artifacts.cost import CostItem, TokenUsage
from gemtune.artifacts.data import AugmentationReport
from gemtune.artifacts.records import AugmentedRows, NewText
from gemtune.config import Prompt, fingerprint
from gemtune.cost.augmentation import AugmentationCost, affordable_rows, missing_rows, paraphrase_request
from gemtune.data.example import Example, example_id, read_examples, write_examples
from gemtune.data.leakage import find_overlaps, leakage_report
from gemtune.errors import UserError
from gemtune.evaluation.scorers import request_usage
from gemtune.inference import tfidf_baseline
from gemtune.inference.generate import GenerateAll, GenerateRequest
from gemtune.inference.parsing import parse
from gemtune.inference.prompt_search import numbered_lines
from gemtune.inference.prompts import render, resolve
from gemtune.inference.vertex_generation import sending
from gemtune.state import champion, store
from gemtune.steps.context import Section, StepContext

log = logging.getLogger("gemtune")

PURPOSES = ("paraphrases", "label checks of new rows")
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
    cost = AugmentationCost.of(task, context.evaluate, context.augment, context.plan, context.catalogue)
    texts, relabelled, spent = _recorded(rows["train"], cost, context)
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
    train: list[Example], cost: AugmentationCost, context: StepContext
) -> tuple[list[NewText], int, list[CostItem]]:
    """New texts that passed the label check, how many did not, what was spent: an earlier run's, else generated now."""
    ids = sorted(example.id for example in train)
    digest = fingerprint(ids, cost.task, cost.evaluate.base_model, cost.settings, cost.limit)
    spent = list[CostItem]()

    def create() -> AugmentedRows:
        with sending(cost.evaluate, context.vertex, online=True) as send:
            texts, relabelled, usage = asyncio.run(_generate(train, cost, send))
        spent.extend(_items(usage, cost))
        return AugmentedRows(rows=texts, relabelled=relabelled)

    record = store.once(context.client, AugmentedRows, digest, create)
    return record.rows, record.relabelled, spent


def _items(usage: dict[str, TokenUsage], cost: AugmentationCost) -> list[CostItem]:
    prices: dict[str, Any] = {"input": cost.price.input, "output": cost.price.output}
    return [
        CostItem.actual("augmentation", purpose, tokens.total, tokens.cost(prices))
        for purpose, tokens in usage.items()
        if tokens.requests
    ]


async def _generate(
    train: list[Example], cost: AugmentationCost, send: GenerateAll
) -> tuple[list[NewText], int, dict[str, TokenUsage]]:
    """New texts whose label was confirmed, how many were refused, and the tokens by purpose."""
    settings = cost.settings
    usage: dict[str, TokenUsage] = {purpose: TokenUsage() for purpose in PURPOSES}
    texts: list[NewText] = []
    missing, affordable = missing_rows(train, settings), affordable_rows(train, cost)
    if len(affordable) < len(missing):
        log.warning("%d of %d rows fit within %.2f USD", len(affordable), len(missing), cost.limit)
    missing = affordable if cost.pays_checks else missing
    if "paraphrase" in settings.methods:
        rows = [example for example in train if example.id in affordable]
        requests = [paraphrase_request(row, affordable[row.id], cost.evaluate.base_model, settings) for row in rows]
        replies = await send(requests)
        usage[PURPOSES[0]] = request_usage(replies)
        for row, reply in zip(rows, replies, strict=True):
            paraphrases = parse_paraphrases(reply.text, row.text, missing[row.id])
            texts += [NewText(row.id, text, "paraphrase") for text in paraphrases]
            missing[row.id] -= len(paraphrases)
    if "perturb" in settings.methods:
        for row in train:
            perturbed = perturb(row.text, missing.get(row.id, 0), settings.seed, row.id)
            texts += [NewText(row.id, text, "perturb") for text in perturbed]
    confirmed, usage[PURPOSES[1]] = await _confirmed(texts, train, cost, send)
    return confirmed, len(texts) - len(confirmed), usage


async def _confirmed(
    texts: Sequence[NewText], train: list[Example], cost: AugmentationCost, send: GenerateAll
) -> tuple[list[NewText], TokenUsage]:
    """The new texts for which the check predicts the label of their source, and the check's tokens."""
    if cost.settings.label_check == "none" or not texts:
        return list(texts), TokenUsage()
    labels = {row.id: row.target for row in train}
    rows = [Example(str(n), text.text, labels[text.source]) for n, text in enumerate(texts)]
    if cost.settings.label_check == "tfidf":
        predicted, usage = [output.text for output in tfidf_baseline.predict(train, rows)], TokenUsage()
    else:
        prompt, model = Prompt(), cost.evaluate.base_model
        rendered = [render(cost.task, prompt, row) for row in rows]
        requests = [GenerateRequest(f"check {n}", model, r.system, r.contents) for n, r in enumerate(rendered)]
        replies = await send(requests)
        predicted, usage = [parse(cost.task, prompt, reply.text).value for reply in replies], request_usage(replies)
    return [text for text, row, label in zip(texts, rows, predicted, strict=True) if label == row.target], usage
