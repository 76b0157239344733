# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Batched decoding with a cache: one forward pass per token for all requests of a batch, whatever their settings.

Candidates of one prompt share its prefill; finished rows leave the batch. Each row has its own random generator, seeded
by request and candidate, so an answer does not depend on the rest of the batch (up to rounding). Allowed answers are a
token trie that restricts the logits.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from emulator.engines.base import Candidate, GenerateRequest, Generation, TokenLogprob
from emulator.engines.student.chat import ChatEncoder
from emulator.engines.student.forward import prefill_of

BATCH_ROWS = 64
BATCH_TOKENS = 24_576  # padded prompt tokens of one batch
Trie = dict[int, Any]


def allowed_answers(request: GenerateRequest) -> tuple[str, ...] | None:
    """The strings an answer is restricted to: `response_enum`, or the enumeration of a schema."""
    if request.response_enum:
        return request.response_enum
    enumeration = (request.response_json_schema or {}).get("enum")
    return tuple(str(value) for value in enumeration) if enumeration else None


def json_is_complete(text: str) -> bool:
    """Whether the text is one complete JSON object or array."""
    stripped = text.strip()
    if not stripped.endswith(("}", "]")):
        return False
    try:
        json.loads(stripped)
    except ValueError:
        return False
    return True


def trie_of(answers: Sequence[list[int]]) -> Trie:
    """Nested dictionaries from a token to the tokens that may follow."""
    root: Trie = {}
    for ids in answers:
        node = root
        for token in ids:
            node = node.setdefault(token, {})
    return root


@dataclass
class Row:
    """One candidate being generated."""

    request: GenerateRequest
    prompt: int
    generator: torch.Generator
    trie: Trie | None
    ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    tops: list[tuple[tuple[str, int, float], ...]] = field(default_factory=list)
    text: str = ""
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
        answers = allowed_answers(request)
        trie = None if answers is None else trie_of([self.encoder.answer(a) for a in answers])
        seed = request.seed if request.seed is not None else self._new_seed()
        return [
            Row(request, number, torch.Generator().manual_seed((seed * 1_000_003 + candidate) % (1 << 63)), trie)
            for candidate in range(request.candidate_count)
        ]

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
            if row.trie is not None:
                token = self._token_of_trie(row, logits[i])
            elif row.request.temperature <= 0:
                token = greedy[i]
            else:
                token = next_token(logits[i], row.request, row.generator)
            self._append(row, token, scores[i])

    def _token_of_trie(self, row: Row, logits: torch.Tensor) -> int:
        node = row.trie or {}
        if len(node) == 1:
            return int(next(iter(node)))
        options = torch.tensor(list(node))
        return int(options[next_token(logits[options], row.request, row.generator)])

    def _append(self, row: Row, token: int, scores: torch.Tensor) -> None:
        request = row.request
        row.ids.append(token)
        row.logprobs.append(float(scores[token]))
        if request.logprobs:
            top = scores.topk(request.logprobs)
            pairs = zip(top.indices.tolist(), top.values.tolist(), strict=True)
            row.tops.append(tuple((self.encoder.decode([t]), t, v) for t, v in pairs))
        if row.trie is not None:
            row.trie = row.trie[token]
        if token in self.encoder.end_ids or self._stopped(row):
            row.finish = "STOP"
        elif len(row.ids) >= min(request.max_output_tokens, self.limit):
            row.finish = "MAX_TOKENS"

    def _stopped(self, row: Row) -> bool:
        """Whether the text has a stop sequence, before which it is cut, or is complete JSON."""
        request = row.request
        if request.stop_sequences:
            text = self.encoder.decode(row.ids)
            positions = [at for at in (text.find(stop) for stop in request.stop_sequences if stop) if at >= 0]
            if positions:
                row.text = text[: min(positions)]
                return True
        if request.response_json_schema is None or row.trie is not None:
            return False
        return json_is_complete(self.encoder.decode(row.ids))

    def _candidate(self, row: Row) -> Candidate:
        ended = bool(row.ids) and row.ids[-1] in self.encoder.end_ids
        body = row.ids[:-1] if ended else row.ids
        cut_by_stop = row.finish == "STOP" and not ended and bool(row.request.stop_sequences)
        text = row.text if cut_by_stop else self.encoder.decode(body)
        tokens: tuple[TokenLogprob, ...] = ()
        if row.request.logprobs is not None:
            tops = row.tops or [()] * len(row.ids)
            tokens = tuple(
                TokenLogprob(self.encoder.decode([i]), i, lp, top)
                for i, lp, top in list(zip(row.ids, row.logprobs, tops, strict=True))[: len(body)]
            )
        average = sum(row.logprobs) / len(row.logprobs)
        return Candidate(text, row.finish or "STOP", len(body), average, tokens)
