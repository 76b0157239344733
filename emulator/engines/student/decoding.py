# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Batched decoding with a cache: one forward pass per token for all requests of a batch, whatever each asked for.

Candidates of one prompt share its reading; rows that have ended leave the batch. Each
row draws from a generator of its own, seeded by request and candidate, so an answer does not depend on its neighbours
(up to rounding). Allowed answers are a token trie that masks the logits.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from emulator.engines.base import Candidate, GenerateRequest, Generation, TokenLogprob
from emulator.engines.student.chat import ChatEncoder
from emulator.engines.student.forward import reader_of

BATCH_ROWS = 64
BATCH_TOKENS = 24_576  # padded prompt tokens of one batch
Trie = dict[int, Any]


def allowed_answers(request: GenerateRequest) -> tuple[str, ...] | None:
    """The strings an answer must be one of: `response_enum`, or a schema that is an enumeration of strings."""
    if request.response_enum:
        return request.response_enum
    schema = request.response_json_schema or {}
    listed = schema.get("enum")
    if not listed:
        return None
    plain = [str(x) for x in listed]
    return tuple(plain)


def json_is_whole(text: str) -> bool:
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
    """Nested dictionaries from token to what may follow."""
    root: Trie = {}
    for ids in answers:
        node = root
        for token in ids:
            node = node.setdefault(token, {})
    return root


@dataclass
class Row:
    """One candidate in the making."""

    request: GenerateRequest
    prompt: int
    generator: torch.Generator
    trie: Trie | None
    ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    tops: list[tuple[tuple[str, int, float], ...]] = field(default_factory=list)
    text: str = ""
    finish: str | None = None


def choose(logits: torch.Tensor, request: GenerateRequest, generator: torch.Generator) -> int:
    """The next token of one row: the strongest at temperature 0, else drawn after top-k and top-p."""
    if request.temperature <= 0 or request.top_k == 1:
        return int(logits.argmax())
    scaled = logits / request.temperature
    values, indices = scaled.sort(descending=True)
    if request.top_k:
        values = values[: request.top_k]
    chances = torch.softmax(values, -1)
    # Kept: every token before which less than top_p was gathered; so at least one.
    kept = chances[(chances.cumsum(0) - chances) < request.top_p] if request.top_p < 1 else chances
    kept = kept if len(kept) else chances[:1]
    return int(indices[torch.multinomial(kept, 1, generator=generator)])


class Decoder:
    """Answers requests with one model."""

    def __init__(self, model: Any, encoder: ChatEncoder, draw_seed: Callable[[], int]) -> None:
        self.model = model
        self.encoder = encoder
        self._draw_seed = draw_seed
        self._read = reader_of(model)
        self.limit = int(getattr(model.config, "max_position_embeddings", 1 << 20))

    def answer(self, requests: Sequence[GenerateRequest], prompts: Sequence[list[int]]) -> list[Generation]:
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
        seed = request.seed if request.seed is not None else self._draw_seed()
        return [
            Row(request, number, torch.Generator().manual_seed((seed * 1_000_003 + candidate) % (1 << 63)), trie)
            for candidate in range(request.candidate_count)
        ]

    def _batches(self, requests: Sequence[GenerateRequest], prompts: Sequence[list[int]]) -> Iterator[list[int]]:
        """Requests of like prompt length together, within the limits of rows and padded tokens."""
        batch: list[int] = []
        rows = 0
        for n in sorted(range(len(prompts)), key=lambda i: len(prompts[i])):
            if len(prompts[n]) + 1 > self.limit:
                raise ValueError(f"the prompt has {len(prompts[n])} tokens, the model takes {self.limit - 1}")
            more = requests[n].candidate_count
            if batch and (rows + more > BATCH_ROWS or (rows + more) * len(prompts[n]) > BATCH_TOKENS):
                yield batch
                batch, rows = [], 0
            batch.append(n)
            rows += more
        if batch:
            yield batch

    def _run(self, rows: list[Row], numbers: list[int], prompts: Sequence[list[int]]) -> None:
        """Prefill the prompts, spread them over the candidates, then go token by token."""
        steps, logits = self._read([prompts[n] for n in numbers])
        place = {n: i for i, n in enumerate(numbers)}
        spread = [place[row.prompt] for row in rows]
        if spread != list(range(len(numbers))):
            steps.keep(torch.tensor(spread))
            logits = logits[spread]
        active = rows
        while True:
            self._take(active, logits)
            alive = [i for i, row in enumerate(active) if row.finish is None]
            if not alive:
                return
            if len(alive) < len(active):
                steps.keep(torch.tensor(alive))
                active = [active[i] for i in alive]
            logits = steps.next([row.ids[-1] for row in active])

    def _take(self, rows: list[Row], logits: torch.Tensor) -> None:
        """Choose each row's next token and see whether the row has ended."""
        logits = logits.float()
        scores = torch.log_softmax(logits, -1)
        greedy = logits.argmax(-1).tolist()
        for i, row in enumerate(rows):
            if row.trie is not None:
                token = self._within(row, logits[i])
            elif row.request.temperature <= 0:
                token = greedy[i]
            else:
                token = choose(logits[i], row.request, row.generator)
            self._append(row, token, scores[i])

    def _within(self, row: Row, logits: torch.Tensor) -> int:
        node = row.trie or {}
        if len(node) == 1:
            return int(next(iter(node)))
        options = torch.tensor(list(node))
        return int(options[choose(logits[options], row.request, row.generator)])

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
        """Whether a stop sequence or the end of the JSON has come; the text is cut before a stop sequence."""
        request = row.request
        if request.stop_sequences:
            text = self.encoder.decode(row.ids)
            found = [at for at in (text.find(stop) for stop in request.stop_sequences if stop) if at >= 0]
            if found:
                row.text = text[: min(found)]
                return True
        if request.response_json_schema is None or row.trie is not None:
            return False
        return json_is_whole(self.encoder.decode(row.ids))

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
