# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Tokens of what will be sent: counted by the service (free of charge) on a sample, scaled by length beyond it.

Without the service (a dry run that shall touch no network) a token is taken to be four characters, or one Chinese,
Japanese or Korean character, which errs on the dear side for most texts; such counts carry a wide bound.
"""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

from gemtune.catalogue import Catalogue
from gemtune.config import Evaluate, Hard, ModelVariant, Plan, Task
from gemtune.cost import spend
from gemtune.cost.spend import NOTHING, Amount, Opinions, Request, Rows
from gemtune.data.example import Example
from gemtune.evaluation.confidence import verbal_confidence_request
from gemtune.evaluation.judge import pairwise_requests, rating_requests
from gemtune.evaluation.judge_validation import load_human_ratings
from gemtune.inference import prompts
from gemtune.inference.generate import GenerateRequest
from gemtune.inference.requests import answer_token_limit, build_requests
from gemtune.tuning.hard_examples import copies, most_added
from gemtune.vertex import Client, count_tokens, patiently

Count = Callable[[str | None, list[dict[str, Any]]], int]
GUESS_MARGIN = 1.5  # upper bound of a guessed count; a tokenizer rarely spends more on prose
WORDS = 3.0  # tokens of a confidence in words
MOST_RENDERED = 1_000  # rows that a prompt is written out for, to tell its length
WIDE = 0x2E80  # first of the scripts written without spaces, whose characters are about a token each


def by_service(client: Client, model: str) -> Count:
    """A counter that asks the service, trying again while it is busy."""
    return lambda system, contents: patiently(count_tokens, client, model, system, contents)


def guess(system: str | None, contents: list[dict[str, Any]]) -> int:
    """A counter that asks nobody."""
    text = (system or "") + "".join(part.get("text", "") for turn in contents for part in turn["parts"])
    task_with_all_labels = sum(ord(character) >= WIDE for character in text)
    return task_with_all_labels + (len(text) - task_with_all_labels + 3) // 4


def count_rows(
    count: Count,
    asking: Evaluate,
    settings: Plan,
    weight: Hard,
    task: Task,
    splits: Sequence[Sequence[Example]],
    failing: float,
) -> Rows:
    """Tokens of the training rows and of a tuned prompt. `failing` is the share of rows the best prompt gets wrong."""
    prompt, train = prompts.tuned_prompt(task), splits[0]
    rendered = [prompts.training_row(task, prompt, example) for example in train]
    lengths = [len(json.dumps(row["contents"], ensure_ascii=False)) for row in rendered]
    by_id = sorted(range(len(train)), key=lambda index: train[index].id)
    sample = by_id[: settings.token_sample]
    with ThreadPoolExecutor(8) as pool:
        counted = list(pool.map(lambda index: _count(count, rendered[index]), sample))
    whole = dict(zip(sample, (prompt + answer for prompt, answer in counted), strict=True))
    tokens = bounded(count, spend.estimate(lengths, whole))
    likely = round(failing * len(train))
    factor = (len(train) - likely + copies(len(train) - likely, likely, weight)) / max(1, len(train))
    added = most_added(len(train), weight)
    return Rows(
        validation=len(splits[1]),
        test=len(splits[2]),
        training_tokens=tokens,
        prompt_tokens=count_tuned(count, asking, settings, task, splits[1:]),
        answer_tokens=Amount(
            sum(answer for _, answer in counted) / max(1, len(counted)), max(asking.max_output_tokens, 1)
        ),
        train=len(train),
        weighted_tokens=spend.weighted(lengths, tokens, factor, added, weight.most_copies) if weight.share else None,
    )


def count_tuned(
    count: Count, asking: Evaluate, settings: Plan, task: Task, held_out: Sequence[Sequence[Example]]
) -> Amount:
    """Tokens of a tuned model's request, on average: of the rows that are held out, since it is asked about those."""
    one = ModelVariant(name="tuned", model=asking.base_model, prompt=prompts.tuned_prompt(task))
    sizes, rows = count_prompt(count, settings, task, one, held_out, []), [len(split) for split in held_out]
    expected = sum(size.expected * n for size, n in zip(sizes, rows, strict=True)) / max(1, sum(rows))
    return Amount(expected, max((size.most for size in sizes), default=0.0))


def count_prompt(
    count: Count,
    settings: Plan,
    task: Task,
    variant: ModelVariant,
    groups: Sequence[Sequence[Example]],
    train: Sequence[Example],
) -> list[Amount]:
    """Tokens of a request of a prompt about a row of each group, on average: some counted, the others by their length.

    Of more rows than `MOST_RENDERED` in all only so many are written out, in the order of their ids, which are hashes;
    what stands around the text of the others is taken to be as long on average, and how sure that is is in the bound.
    """
    everyone = sorted(
        ((row.id, number, row) for number, rows in enumerate(groups) for row in rows), key=lambda one: one[:2]
    )
    if not everyone:
        return [NOTHING for _ in groups]
    asked = build_requests(task, variant, [row for _, _, row in everyone[:MOST_RENDERED]], train)
    written = [len(f"{one.system}{json.dumps(one.contents, ensure_ascii=False)}") for one in asked]
    around = [length - _own(row) for length, (_, _, row) in zip(written, everyone, strict=False)]
    usual = round(statistics.fmean(around))
    lengths = [*written, *(max(1, _own(row) + usual) for _, _, row in everyone[MOST_RENDERED:])]
    with ThreadPoolExecutor(8) as pool:
        counted = dict(enumerate(pool.map(lambda one: count(one.system, one.contents), asked[: settings.token_sample])))
    off, found = spend.CERTAIN * statistics.pstdev(around) / math.sqrt(len(around)), []
    for number in range(len(groups)):
        own = [index for index, (_, group, _) in enumerate(everyone) if group == number]
        tokens, unseen = spend.estimate(lengths, counted, own), sum(index >= len(asked) for index in own)
        error = off * unseen / max(1, sum(lengths[index] for index in own))
        mean = Amount(tokens.expected / max(1, len(own)), tokens.most * (1 + error) / max(1, len(own)))
        found.append(bounded(count, mean))
    return found


def _own(row: Example) -> int:
    """Characters that a row itself brings into its request."""
    return len(json.dumps(row.contents, ensure_ascii=False)) if row.contents else len(row.text)


def count_opinions(
    count: Count,
    asking: Evaluate,
    catalogue: Catalogue,
    task: Task,
    rows: Sequence[Example],
    sample: int,
    replies: Mapping[str, float],
) -> Opinions:
    """What these settings ask about each answer, and about what people rated; references stand in for the answers.

    A sheet in a bucket is not read where nobody is asked (`guess`). `replies` are mean tokens of a reply by model where
    some were counted. Raises `UserError` for a judge, or a metric of the evaluation service, whose price is not known.
    """
    judge, base = asking.judge, asking.base_model
    longest = max([asking.max_output_tokens, *(answer_token_limit(one) or 0 for one in asking.baselines)])

    def request(asked: Sequence[GenerateRequest], answers: int, model: str, said: Amount) -> Request:
        most = 2.0 * longest * answers  # quoted in JSON, an answer may have more tokens than it had
        return Request(_shown(count, asked, sample, most), Amount(replies.get(model, said.expected), said.most))

    found = Opinions(scored=sum(catalogue.scoring_price(metric) for metric in asking.service) / 1000)
    if asking.confidence == "verbal":
        words = [verbal_confidence_request(task, base, one, one.target) for one in rows]
        found = replace(found, words=request(words, 1, base, Amount(WORDS, asking.max_output_tokens)))
    if not judge.model:
        return found
    said = Amount(judge.max_output_tokens / 4, judge.max_output_tokens)
    rating = [rating_requests(judge, task, one, one.target)[0] for one in rows]
    comparison = [pairwise_requests(judge, task, one, one.target, one.target)[0] for one in rows]
    people = [] if count is guess and judge.sheet.startswith("gs://") else load_human_ratings(asking)
    sheet = [rating_requests(judge, task, one.example, one.answer)[0] for one in people]
    return replace(
        found,
        rating=request(rating, 1, judge.model, said),
        comparison=request(comparison, 2, judge.model, said),
        judge=catalogue.price("", judge.model),
        samples=judge.samples,
        sheet=request(sheet, 0, judge.model, said) if sheet else None,
        sheet_rows=len(sheet),
    )


def _shown(count: Count, asked: Sequence[GenerateRequest], sample: int, more: float) -> Amount:
    """Tokens of one of these requests: the mean of a sample, and as many as the longest may have and `more`."""
    sizes = [len(f"{one.system}{one.contents[0]['parts'][0]['text']}") for one in asked]
    ordered = sorted(range(len(asked)), key=lambda index: asked[index].key)[:sample]
    with ThreadPoolExecutor(8) as pool:
        counted = list(pool.map(lambda index: count(asked[index].system, asked[index].contents), ordered))
    densest = max((tokens / sizes[index] for index, tokens in zip(ordered, counted, strict=True)), default=0.0)
    most = densest * max(sizes, default=0) * (1 + spend.MARGIN) + more
    return bounded(count, Amount(sum(counted) / max(1, len(counted)), most))


def bounded(count: Count, amount: Amount) -> Amount:
    """The amount, with a wider bound when it was guessed."""
    return Amount(amount.expected, amount.most * GUESS_MARGIN) if count is guess else amount


def _count(count: Count, row: dict[str, Any]) -> tuple[int, int]:
    """(tokens before the answer, tokens of the answer) of a training row."""
    system = "".join(part["text"] for part in row.get("systemInstruction", {}).get("parts", [])) or None
    return count(system, row["contents"][:-1]), count(None, row["contents"][-1:])
