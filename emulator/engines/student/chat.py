# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Conversations as token ids, by the chat template of any Hugging Face tokenizer.

Prompt and answer of a training row are encoded separately, exactly as a prompt is encoded for generation, so training
and inference see the same tokens. The loss is on model turns, including their end-of-turn token.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emulator.engines.base import PreferenceRow, TrainingRow, Turn


@dataclass(frozen=True, slots=True)
class Encoded:
    """Token ids of a conversation; `answer` marks the tokens with a loss."""

    ids: tuple[int, ...]
    answer: tuple[bool, ...]


def _clean(text: str) -> str:
    # JSON may contain half of a surrogate pair, which no tokenizer accepts.
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


class ChatEncoder:
    """Encodes prompts and rows with the tokenizer of a model directory."""

    def __init__(self, base_dir: Path) -> None:
        from transformers import AutoTokenizer

        self.tokenizer: Any = AutoTokenizer.from_pretrained(base_dir, local_files_only=True)
        if not self.tokenizer.chat_template:
            raise ValueError(f"{base_dir}: the tokenizer has no chat template; choose an instruction-tuned model")
        self._supports_system = self._find_system_support()
        self.turn_end = self._find_turn_end()
        self.end_ids = self._find_end_ids(base_dir)

    def _find_system_support(self) -> bool:
        from jinja2 import TemplateError

        try:
            messages = [{"role": "system", "content": "mark"}, {"role": "user", "content": "x"}]
            return "mark" in self._render(messages, for_generation=True)
        except TemplateError:
            return False

    def _find_turn_end(self) -> str:
        """The special token that the template writes after a model turn, where generation ends."""
        user = {"role": "user", "content": "x"}
        rendered = self._render([user, {"role": "assistant", "content": "answer"}], for_generation=False)
        tail = rendered.rpartition("answer")[2]
        for special in self.tokenizer.all_special_tokens:
            if tail.startswith(special):
                return str(special)
        return str(self.tokenizer.eos_token)

    def _find_end_ids(self, base_dir: Path) -> frozenset[int]:
        ends = {int(self.tokenizer.convert_tokens_to_ids(self.turn_end))}
        if self.tokenizer.eos_token_id is not None:
            ends.add(int(self.tokenizer.eos_token_id))
        settings = base_dir / "generation_config.json"
        if settings.exists():
            listed = json.loads(settings.read_text()).get("eos_token_id") or []
            ends.update(listed if isinstance(listed, list) else [listed])
        return frozenset(ends)

    def _render(self, messages: list[dict[str, str]], for_generation: bool) -> str:
        return str(self.tokenizer.apply_chat_template(messages, add_generation_prompt=for_generation, tokenize=False))

    def _messages(self, turns: Sequence[Turn], system: str | None) -> list[dict[str, str]]:
        messages = [{"role": "assistant" if t.role == "model" else "user", "content": _clean(t.text)} for t in turns]
        if system and self._supports_system:
            messages.insert(0, {"role": "system", "content": _clean(system)})
        elif system and messages:
            messages[0] = {**messages[0], "content": f"{_clean(system)}\n\n{messages[0]['content']}"}
        return messages

    def ids(self, text: str) -> list[int]:
        """Token ids of a text without special tokens."""
        return list(self.tokenizer(_clean(text), add_special_tokens=False).input_ids)

    def pieces(self, text: str) -> list[tuple[int, str]]:
        """Token ids with the text each covers."""
        text = _clean(text)
        if not self.tokenizer.is_fast:
            return [(i, str(self.tokenizer.decode([i]))) for i in self.ids(text)]
        encoding = self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        return [(i, text[a:b]) for i, (a, b) in zip(encoding.input_ids, encoding.offset_mapping, strict=True)]

    def prompt(self, turns: Sequence[Turn], system: str | None) -> list[int]:
        """Ids of a conversation up to the start of the model's turn."""
        return self.ids(self._render(self._messages(turns, system), for_generation=True))

    def answer(self, text: str) -> list[int]:
        """Ids of an answer with its end-of-turn token."""
        return [*self.ids(text), int(self.tokenizer.convert_tokens_to_ids(self.turn_end))]

    def row(self, row: TrainingRow, limit: int) -> Encoded:
        """A row with the loss on its model turns; beyond `limit` tokens the beginning is cut off."""
        ids: list[int] = []
        mask: list[bool] = []
        encoded = ""
        for position, turn in enumerate(row.turns):
            if turn.role != "model":
                continue
            prompt = self._render(self._messages(row.turns[:position], row.system), for_generation=True)
            # A template that rewrites earlier turns (dropping thoughts, say) turns them into plain context.
            rest = prompt[len(encoded) :] if prompt.startswith(encoded) else prompt
            if len(rest) == len(prompt):
                ids, mask = [], []
            context, answer = self.ids(rest), self.answer(turn.text)
            ids += context + answer
            mask += [False] * len(context) + [True] * len(answer)
            encoded = prompt + _clean(turn.text) + self.turn_end
        if not any(mask):
            raise ValueError("a training row has no model turn")
        return Encoded(tuple(ids[-limit:]), tuple(mask[-limit:]))

    def pair(self, row: PreferenceRow, limit: int) -> tuple[Encoded, Encoded]:
        """The chosen and the rejected conversation, with the loss on the answers."""
        prompt = self.prompt(row.turns, row.system)

        def joined(text: str) -> Encoded:
            answer = self.answer(text)
            ids = (prompt + answer)[-limit:]
            return Encoded(tuple(ids), tuple(i >= len(ids) - len(answer) for i in range(len(ids))))

        return joined(row.chosen), joined(row.rejected)

    def decode(self, ids: Sequence[int]) -> str:
        """Text of generated ids, without special tokens."""
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=True))
