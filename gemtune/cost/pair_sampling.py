# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""What sampling pairs costs: several answers of the base model per row, ranked by references or by the judge. Pure."""

from collections.abc import Sequence
from dataclasses import replace

from gemtune.artifacts.cost import CostItem, Estimate
from gemtune.catalogue import Catalogue
from gemtune.config import Evaluate, ModelVariant, Preference, Task
from gemtune.cost.items import RequestTokens, requests_item
from gemtune.cost.tokens import TokenCounter, TokenEstimates, count_offline
from gemtune.data.example import Example
from gemtune.evaluation.judge import pairwise_requests
from gemtune.inference import prompts
from gemtune.inference.generate import GenerateRequest
from gemtune.inference.prompts import build_requests

COUNTED = 32  # requests whose tokens are counted before any is sent


def sampling_requests(rows: Sequence[Example], task: Task, settings: Preference, model: str) -> list[GenerateRequest]:
    """`settings.samples` requests per row, prompted as the tuned model will be."""
    base = ModelVariant(name="base", model=model, prompt=prompts.tuned_prompt(task))
    return [
        replace(request, sample=number, temperature=settings.sample_temperature)
        for request in build_requests(task, base, rows, [])
        for number in range(settings.samples)
    ]


def forecast(
    rows: Sequence[Example], counter: TokenCounter, settings: Preference, catalogue: Catalogue
) -> list[CostItem]:
    """What sampling the answers, and judging them, is expected to cost, and may cost at most."""
    evaluate = counter.evaluate
    requests = sampling_requests(rows, counter.task, settings, evaluate.base_model)
    if not requests:
        return []
    counts = [counter.count(r.system, r.contents) for r in requests[:: max(1, len(requests) // COUNTED)]]
    mean, longest = sum(counts) / len(counts), max(counts)
    reply = Estimate(expected=evaluate.max_output_tokens / 2, upper=evaluate.max_output_tokens)
    sizes = RequestTokens(Estimate(expected=mean, upper=max(1.5 * mean, longest)), reply)
    price = catalogue.price("", evaluate.base_model)
    items = [requests_item("pair_sampling", "answers sampled for pairs", len(requests), sizes, price)]
    if settings.ranker == "judge":
        judge = evaluate.judge
        shown = _judge_prompt(counter) + Estimate(expected=mean, upper=longest) + reply.times(2)
        verdict = Estimate(expected=judge.max_output_tokens / 4, upper=judge.max_output_tokens)
        count = len(requests) * judge.samples
        judging = RequestTokens(shown, verdict)
        items.append(
            requests_item("ranking", "ranking answers for pairs", count, judging, catalogue.price("", judge.model))
        )
    return items


def _judge_prompt(counter: TokenCounter) -> Estimate:
    """Tokens of a judge's prompt besides the texts it compares: an offline count, and no more than there are bytes."""
    request = pairwise_requests(counter.evaluate.judge, Task(), Example("", "", ""), "", "")[0]
    text = f"{request.system}{request.contents[0]['parts'][0]['text']}"
    return Estimate(expected=count_offline(request.system, request.contents), upper=len(text.encode()))


def with_unknown_answers(tokens: TokenEstimates, evaluate: Evaluate, settings: Preference) -> TokenEstimates:
    """Estimates before answers are sampled: references instead, bounded by the longest answer."""
    longest = Estimate(expected=0, upper=tokens.train * evaluate.max_output_tokens)
    training = dict(tokens.training)
    training["preference"] += longest
    if settings.chosen_from == "samples":
        training["preference"] += longest
        training["supervised"] += longest
    return replace(tokens, training=training)
