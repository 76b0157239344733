# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""What a restricted answer may continue with: the tokens of an enumeration or of a grammar."""

from collections.abc import Iterable, Sequence
from typing import Any, Protocol

import torch
from llguidance import LLMatcher, LLTokenizer, TokenizerWrapper

# The embedded tokenizer writes words in lower case: this mark before a word is a space where it follows a letter, and
# the other one is its own token before a letter that is a capital.
_WORD, _CAPITAL = "\ue001".encode(), "\ue000".encode()
_NEVER, _END = 0, 1


class Mask(Protocol):
    """The state of a restricted answer."""

    @property
    def complete(self) -> bool:
        """Whether nothing can follow."""
        ...

    def options(self) -> torch.Tensor:
        """The ids of the tokens that may follow; none is an error of the grammar."""
        ...

    def append(self, token: int) -> None:
        """Continue with one of them."""
        ...


class EnumMask:
    """One of several answers, in their usual tokens."""

    complete = False

    def __init__(self, answers: Iterable[Sequence[int]]) -> None:
        self._node: dict[int, Any] = {}
        for ids in answers:
            node = self._node
            for token in ids:
                node = node.setdefault(token, {})

    def options(self) -> torch.Tensor:
        """The next tokens of the answers that begin like this."""
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
        """The ids of the tokens that may follow."""
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
