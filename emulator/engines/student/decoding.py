# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Batched decoding with a cache: one forward pass per token for all requests of a batch, whatever their settings.

Candidates of one prompt share its prefill; finished rows leave the batch. Each row has its own random generator, seeded
by request and candidate, so an answer does not depend on the rest of the batch (up to rounding). A mask restricts what
a row may continue with.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch

from emulator.engines.base import Candidate, GenerateRequest, Generation, TokenLogprob
from emulator.engines.grammar import COMPLETE_ATTEMPTS, answer_schema, calls_or_text, grammar_of
from emulator.engines.student.chat import ChatEncoder
from emulator.engines.student.forward import prefill_of
from emulator.engines.student.masks import EnumMask, GrammarMask, Mask, Vocabulary

BATCH_ROWS = 64
BATCH_TOKENS = 24_576  # padded prompt tokens of one batch


@dataclass
class Row:
    """One candidate being generated."""

    request: GenerateRequest
    prompt: int
    generator: torch.Generator
    mask: Mask | None
    ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    tops: list[tuple[tuple[str, int, float], ...]] = field(default_factory=list)
    cut: str | None = None  # the text before a stop sequence
    finish: str | None = None


def next_token(logits: torch.Tensor, request: GenerateRequest, generator: torch.Generator) -> int:
    """The next token of one row: the most likely at temperature 0, otherwise sampled after top-k and top-p."""
    if request.temperature <= 0 or request.top_k == 1:
        return int(logits.argmax())
    scaled = logits / request.temperature
    if not request.top_k and request.top_p >= 1:
        return int(torch.multinomial(torch.softmax(scaled, -1), 1, generator=generator))
    values, indices = scaled.sort(descending=True)
    if request.top_k:
        values = values[: request.top_k]
    probabilities = torch.softmax(values, -1)
    if request.top_p < 1:  # the tokens whose predecessors have less than top_p together, at least one
        nucleus = probabilities[(probabilities.cumsum(0) - probabilities) < request.top_p]
        probabilities = nucleus if len(nucleus) else probabilities[:1]
    return int(indices[torch.multinomial(probabilities, 1, generator=generator)])


class Decoder:
    """Generates with one model."""

    def __init__(self, model: Any, encoder: ChatEncoder, new_seed: Callable[[], int]) -> None:
        self.model = model
        self.encoder = encoder
        self._new_seed = new_seed
        self._prefill = prefill_of(model)
        self.limit = int(getattr(model.config, "max_position_embeddings", 1 << 20))

    def generate(self, requests: Sequence[GenerateRequest], prompts: Sequence[list[int]]) -> list[Generation]:
        """One generation per request, in order."""
        rows = [self._rows(request, number) for number, request in enumerate(requests)]
        with torch.inference_mode():
            for numbers in self._batches(requests, prompts):
                self._run([row for n in numbers for row in rows[n]], numbers, prompts)
        return [
            Generation(tuple(self._candidate(row) for row in rows[n]), len(prompts[n])) for n in range(len(requests))
        ]

    def _rows(self, request: GenerateRequest, number: int) -> list[Row]:
        seed = request.seed if request.seed is not None else self._new_seed()
        return [
            Row(request, number, torch.Generator().manual_seed((seed * 1_000_003 + n) % (1 << 63)), self._mask(request))
            for n in range(request.candidate_count)
        ]

    def _mask(self, request: GenerateRequest) -> Mask | None:
        if request.response_enum:
            return EnumMask(self.encoder.answer(text) for text in request.response_enum)
        tuned = request.adapter is not None
        if request.functions and tuned and not request.must_call:  # a tuned model decides whether it calls
            return GrammarMask(self._vocabulary, calls_or_text(request.functions))
        schema = answer_schema(request)
        if schema is None:
            return None
        complete = not tuned and request.attempt < COMPLETE_ATTEMPTS
        return GrammarMask(self._vocabulary, grammar_of(schema, complete, short=not tuned))

    @cached_property
    def _vocabulary(self) -> Vocabulary:
        return Vocabulary(self.encoder.tokenizer, self.encoder.end_ids)

    def _batches(self, requests: Sequence[GenerateRequest], prompts: Sequence[list[int]]) -> Iterator[list[int]]:
        """Requests of similar prompt length together, within the limits of rows and padded tokens."""
        batch: list[int] = []
        rows = 0
        for n in sorted(range(len(prompts)), key=lambda i: len(prompts[i])):
            if len(prompts[n]) + 1 > self.limit:
                raise ValueError(f"the prompt has {len(prompts[n])} tokens, the model accepts {self.limit - 1}")
            count = requests[n].candidate_count
            if batch and (rows + count > BATCH_ROWS or (rows + count) * len(prompts[n]) > BATCH_TOKENS):
                yield batch
                batch, rows = [], 0
            batch.append(n)
            rows += count
        if batch:
            yield batch

    def _run(self, rows: list[Row], numbers: list[int], prompts: Sequence[list[int]]) -> None:
        """Prefill the prompts, expand them to the candidates, then generate token by token."""
        steps, logits = self._prefill([prompts[n] for n in numbers])
        position = {n: i for i, n in enumerate(numbers)}
        expanded = [position[row.prompt] for row in rows]
        if expanded != list(range(len(numbers))):
            steps.select(torch.tensor(expanded))
            logits = logits[expanded]
        active = rows
        while True:
            self._append_tokens(active, logits)
            unfinished = [i for i, row in enumerate(active) if row.finish is None]
            if not unfinished:
                return
            if len(unfinished) < len(active):
                steps.select(torch.tensor(unfinished))
                active = [active[i] for i in unfinished]
            logits = steps.next([row.ids[-1] for row in active])

    def _append_tokens(self, rows: list[Row], logits: torch.Tensor) -> None:
        """Append each row's next token, which may finish the row."""
        logits = logits.float()
        scores = torch.log_softmax(logits, -1)
        greedy = logits.argmax(-1).tolist()
        for i, row in enumerate(rows):
            if row.mask is not None:
                options = row.mask.options()
                if not len(options):
                    row.finish = "OTHER"
                    continue
                token = int(options[next_token(logits[i][options], row.request, row.generator)])
            elif row.request.temperature <= 0:
                token = greedy[i]
            else:
                token = next_token(logits[i], row.request, row.generator)
            self._append(row, token, scores[i])

    def _append(self, row: Row, token: int, scores: torch.Tensor) -> None:
        request = row.request
        row.ids.append(token)
        row.logprobs.append(float(scores[token]))
        if request.logprobs:
            top = scores.topk(request.logprobs)
            pairs = zip(top.indices.tolist(), top.values.tolist(), strict=True)
            row.tops.append(tuple((self.encoder.decode([t]), t, v) for t, v in pairs))
        if row.mask is not None:
            row.mask.append(token)
        if token in self.encoder.end_ids or (row.mask and row.mask.complete) or self._stopped(row):
            row.finish = "STOP"
        elif len(row.ids) >= min(request.max_output_tokens, self.limit):
            row.finish = "MAX_TOKENS"

    def _stopped(self, row: Row) -> bool:
        """Whether the text has a stop sequence, before which it is cut."""
        stops = row.request.stop_sequences
        text = self.encoder.decode(row.ids) if stops else ""
        positions = [at for at in (text.find(stop) for stop in stops if stop) if at >= 0]
        if positions:
            row.cut = text[: min(positions)]
        return bool(positions)

    def _candidate(self, row: Row) -> Candidate:
        ended = bool(row.ids) and row.ids[-1] in self.encoder.end_ids
        body = row.ids[:-1] if ended else row.ids
        text = self.encoder.decode(body) if row.cut is None else row.cut
        tokens: tuple[TokenLogprob, ...] = ()
        if row.request.logprobs is not None:
            tops = row.tops or [()] * len(row.ids)
            tokens = tuple(
                TokenLogprob(self.encoder.decode([i]), i, lp, top)
                for i, lp, top in list(zip(row.ids, row.logprobs, tops, strict=True))[: len(body)]
            )
        average = sum(row.logprobs) / max(1, len(row.logprobs))
        return Candidate(text, row.finish or "STOP", len(body), average, tokens)
