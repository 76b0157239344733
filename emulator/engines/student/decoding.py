# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Batched decoding with a cache: one forward pass per token for all requests of a batch, whatever their settings.

Candidates of one prompt share its prefill; finished rows leave the batch. Each row has its own random generator, seeded
by request and candidate, so an answer does not depend on the rest of the batch (up to rounding). A mask restricts what
a row may continue with: the tokens of an enumeration or of a grammar. The most likely answer to a prompt is kept, and
given again where a mask allows it: an evaluation sends its best prompt freely and restricted to the labels.
"""

from array import array
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from llguidance import LLMatcher, LLTokenizer, TokenizerWrapper

from emulator.engines.base import Candidate, GenerateRequest, Generation, TokenLogprob
from emulator.engines.grammar import COMPLETE_ATTEMPTS, answer_schema, calls_or_text, grammar_of
from emulator.engines.student.chat import ChatEncoder
from emulator.engines.student.forward import prefill_of

# The embedded tokenizer writes words in lower case: this mark before a word is a space where it follows a letter, and
# the other one is its own token before a letter that is a capital.
_WORD, _CAPITAL = "\ue001".encode(), "\ue000".encode()
_NEVER, _END = 0, 1


class EnumMask:
    """One of several answers, in their usual tokens."""

    complete = False  # whether nothing can follow

    def __init__(self, answers: Iterable[Sequence[int]]) -> None:
        self._node: dict[int, Any] = {}
        for ids in answers:
            node = self._node
            for token in ids:
                node = node.setdefault(token, {})

    def options(self) -> torch.Tensor:
        """The ids of the tokens that may follow: the next of the answers that begin like this."""
        return torch.tensor(list(self._node))

    def append(self, token: int) -> None:
        """Continue with one of them."""
        self._node = self._node[token]


class Vocabulary:
    """The texts of a tokenizer's tokens, by what precedes them: a letter (1) and the mark of a capital (2)."""

    def __init__(self, tokenizer: Any, end_ids: Iterable[int]) -> None:
        if not tokenizer.is_fast:
            raise ValueError("this model's tokenizer is not a fast one: its answers cannot be restricted to a schema")
        plain = LLTokenizer(tokenizer.backend_tokenizer.to_str(), slices=[])
        special, ends = set(tokenizer.all_special_ids), set(end_ids)
        raw = [b"" if i in special else plain.decode_bytes([i]) for i in range(plain.vocab_size)]
        self.capital = raw.index(_CAPITAL) if _CAPITAL in raw else None
        numbers = self._numbers = {b"": _NEVER, b"<end>": _END}
        self.tables = torch.tensor(
            [
                [
                    _END if i in ends and context < 2 else numbers.setdefault(self._text(token, context), len(numbers))
                    for i, token in enumerate(raw)
                ]
                for context in range(1 if self.capital is None else 4)
            ]
        )
        self.tokens = tuple(numbers)
        self.eos_token_id, self.bos_token_id, self.special_token_ids = _END, None, (_NEVER, _END)
        self.tokenizer = LLTokenizer(TokenizerWrapper(self))

    def __call__(self, text: bytes) -> list[int]:
        """The text in tokens of one byte each."""
        return [self._numbers[bytes([byte])] for byte in text]

    def _text(self, token: bytes, context: int) -> bytes:
        """The text of a token; empty for one that must not follow."""
        if self.capital is None:
            return token
        is_word = token.startswith(_WORD)
        body = token.removeprefix(_WORD)
        if b"\xee" in body or (context & 2 and not body[:1].islower()):
            return b""
        body = body[:1].upper() + body[1:] if context & 2 else body
        return b" " + body if is_word and body and context & 1 else body


class GrammarMask:
    """An answer of a grammar."""

    def __init__(self, vocabulary: Vocabulary, grammar: str) -> None:
        self._vocabulary = vocabulary
        self._matcher = LLMatcher(vocabulary.tokenizer, grammar, log_level=0)
        self._context = 0

    @property
    def complete(self) -> bool:
        """Whether nothing can follow."""
        return self._matcher.is_stopped()

    def options(self) -> torch.Tensor:
        """The ids of the tokens that may follow; none is an error of the grammar."""
        tables, capital = self._vocabulary.tables, self._vocabulary.capital
        bias = torch.frombuffer(bytearray(self._matcher.compute_logit_bias()), dtype=torch.uint8)
        allowed = bias[tables[self._context]]
        if capital is not None and self._context < 2:
            allowed[capital] = bias[tables[self._context | 2]].any()
        return allowed.nonzero().squeeze(1)

    def append(self, token: int) -> None:
        """Continue with one of them."""
        if token == self._vocabulary.capital:
            self._context |= 2
            return
        number = int(self._vocabulary.tables[self._context, token])
        self._matcher.consume_token(number)
        last = self._vocabulary.tokens[number][-1:]
        self._context = int(last.isalpha() and self._vocabulary.capital is not None)


BATCH_ROWS = 64
BATCH_TOKENS = 24_576  # padded prompt tokens of one batch
_KNOWN_ANSWERS, _KNOWN_TOKENS = 2048, 64  # that are kept, and the most tokens of one


Tops = tuple[tuple[str, int, float], ...]


@dataclass
class Row:
    """One candidate being generated."""

    request: GenerateRequest
    prompt: list[int]
    generator: torch.Generator
    mask: EnumMask | GrammarMask | None
    ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    tops: list[Tops] = field(default_factory=list)
    is_likeliest: bool = True  # each token, of all
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
        self._known: OrderedDict[bytes, list[tuple[int, float]]] = OrderedDict()  # tokens with their logprobs
        self.limit = int(getattr(model.config, "max_position_embeddings", 1 << 20))

    def generate(self, requests: Sequence[GenerateRequest], prompts: Sequence[list[int]]) -> list[Generation]:
        """One generation per request, in order."""
        groups = [self._rows(request, prompt) for request, prompt in zip(requests, prompts, strict=True)]
        unknown = [group for group in groups if not all(map(self._recall, group))]
        with torch.inference_mode():
            for batch in self._batches(unknown):
                self._run(batch)
        for row, *_ in unknown:
            self._remember(row)
        return [Generation(tuple(map(self._candidate, group)), len(group[0].prompt)) for group in groups]

    def _rows(self, request: GenerateRequest, prompt: list[int]) -> list[Row]:
        seed = request.seed if request.seed is not None else self._new_seed()
        return [
            Row(request, prompt, torch.Generator().manual_seed((seed * 1_000_003 + n) % (1 << 63)), self._mask(request))
            for n in range(request.candidate_count)
        ]

    def _recall(self, row: Row) -> bool:
        """Whether the row is answered with the most likely answer, which is known and allowed."""
        is_greedy = row.request.temperature <= 0 and row.request.logprobs is None
        answer = self._known.get(array("I", row.prompt).tobytes()) if is_greedy else None
        for token, logprob in answer or ():
            if row.mask is not None and token not in row.mask.options().tolist():
                row.mask, row.ids, row.logprobs, row.tops = self._mask(row.request), [], [], []
                return False
            self._append(row, token, logprob)
            if row.finish:
                break
        return row.finish is not None

    def _remember(self, row: Row) -> None:
        if row.is_likeliest and 0 < len(row.ids) <= _KNOWN_TOKENS and row.ids[-1] in self.encoder.end_ids:
            self._known[array("I", row.prompt).tobytes()] = list(zip(row.ids, row.logprobs, strict=True))
            if len(self._known) > _KNOWN_ANSWERS:
                self._known.popitem(last=False)

    def _mask(self, request: GenerateRequest) -> EnumMask | GrammarMask | None:
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

    def _batches(self, groups: Iterable[list[Row]]) -> Iterator[list[list[Row]]]:
        """These candidates, of similar prompt length together, within the limits of rows and padded tokens."""
        batch: list[list[Row]] = []
        rows = 0
        for group in sorted(groups, key=lambda group: len(group[0].prompt)):
            length = len(group[0].prompt)
            if length + 1 > self.limit:
                raise ValueError(f"the prompt has {length} tokens, the model accepts {self.limit - 1}")
            rows += len(group)
            if batch and (rows > BATCH_ROWS or rows * length > BATCH_TOKENS):
                yield batch
                batch, rows = [], len(group)
            batch.append(group)
        if batch:
            yield batch

    def _run(self, groups: list[list[Row]]) -> None:
        """Prefill the prompts, expand them to the candidates, then generate token by token."""
        steps, logits = self._prefill([group[0].prompt for group in groups])
        expanded = [n for n, group in enumerate(groups) for _ in group]
        if len(expanded) > len(groups):
            steps.select(torch.tensor(expanded))
            logits = logits[expanded]
        active = [row for group in groups for row in group]
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
            row.is_likeliest &= token == greedy[i]
            tops: Tops = ()
            if row.request.logprobs:
                top = scores[i].topk(row.request.logprobs)
                pairs = zip(top.indices.tolist(), top.values.tolist(), strict=True)
                tops = tuple((self.encoder.decode([t]), t, v) for t, v in pairs)
            self._append(row, token, float(scores[i][token]), tops)

    def _append(self, row: Row, token: int, logprob: float, tops: Tops = ()) -> None:
        request = row.request
        row.ids.append(token)
        row.logprobs.append(logprob)
        row.tops.append(tops)
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
            parts = zip(body, row.logprobs, row.tops, strict=False)
            tokens = tuple(TokenLogprob(self.encoder.decode([i]), i, lp, top) for i, lp, top in parts)
        average = sum(row.logprobs) / max(1, len(row.logprobs))
        return Candidate(text, row.finish or "STOP", len(body), average, tokens)
