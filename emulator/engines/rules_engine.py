# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""An engine that computes its answers from rules, for tests with known expectations.

The correct answer to a prompt is looked up in a table (exactly, otherwise the longest key that the prompt contains),
otherwise in the rows the adapter was tuned on (the row with the largest word overlap); without either it is derived
from the words of the prompt. A wrong answer replaces it with probability 1 - accuracy. All randomness is a hash of the
seed, the adapter and the prompt, so an answer never depends on the order or the batch of the requests.
"""

import hashlib
import json
import math
import re
import time
import zlib
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from emulator.engines.base import (
    Candidate,
    Checkpoint,
    Engine,
    GenerateRequest,
    Generation,
    PreferenceRow,
    ReinforcementRow,
    Row,
    TokenLogprob,
    TrainingRow,
    TuningTask,
    Turn,
    follow,
    schedule,
)
from emulator.engines.grammar import answer_schema, write_answer

_TOKEN, _WORD = re.compile(r"\w+|[^\w\s]|\s+"), re.compile(r"\w+")


class Rules(BaseModel):
    """The engine's answers and curves. `answers` maps prompts (or parts of prompts) to correct answers.

    A tuned model's accuracy, a probability, rises from `base_accuracy` to `tuned_accuracy` over the steps.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    answers: dict[str, str] = {}
    labels: tuple[str, ...] = ()
    base_accuracy: float = 0.5
    tuned_accuracy: float = 0.9
    seed: int = 0
    batch_size: int = 16
    step_seconds: float = 0.0
    first_loss: float = 2.0
    last_loss: float = 0.1
    overfit: float = 0.0


@dataclass(frozen=True, slots=True)
class _Adapter:
    accuracy: float
    rows: tuple[tuple[frozenset[str], str], ...]  # words of the prompt, answer
    digest: str = ""


class RulesEngine(Engine):
    """An `Engine` over rules."""

    def __init__(self, rules: Rules | None = None) -> None:
        self.rules = rules or Rules()
        self.batch_size = self.rules.batch_size

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Words, punctuation marks and runs of space."""
        return [len(_TOKEN.findall(text)) for text in texts]

    def tokenize(self, text: str) -> list[tuple[int, str]]:
        """Each piece with a checksum as its id."""
        return [(zlib.crc32(piece.encode()) % 65536, piece) for piece in _TOKEN.findall(text)]

    def tune(self, task: TuningTask) -> list[Checkpoint]:
        """Follow the loss curve of the rules; a checkpoint holds the rows and the accuracy reached."""
        steps = schedule(task.train, task.spec, self.batch_size)
        tokens_per_row = sum(self.row_tokens(row)[1] for row in task.train) / len(task.train)

        def step(number: int, evaluate: bool) -> dict[str, float]:
            time.sleep(self.rules.step_seconds)
            values = self._values(task.train[0], number / steps.total, tokens_per_row)
            is_shown = evaluate and task.validation
            return {key: value for key, value in values.items() if is_shown or not key.startswith("/eval")}

        return follow(task, steps, step, lambda path, number: self._save(task, path, number / steps.total))

    def _accuracy(self, progress: float) -> float:
        rules = self.rules
        return rules.base_accuracy + (rules.tuned_accuracy - rules.base_accuracy) * progress

    def _values(self, row: Row, progress: float, tokens_per_row: float) -> dict[str, float]:
        rules, accuracy = self.rules, self._accuracy(progress)
        loss = rules.last_loss + (rules.first_loss - rules.last_loss) * math.exp(-4 * progress)
        eval_loss = loss + 0.05 + rules.overfit * progress**2
        if isinstance(row, ReinforcementRow):
            return {"/train_mean_reward": 2 * accuracy - 1, "/eval_mean_reward": 2 * accuracy - 1}
        if isinstance(row, PreferenceRow):
            return {"/preference_optimization_train_loss": loss, "/eval_total_loss": eval_loss}
        count = max(1.0, round(tokens_per_row * rules.batch_size))
        return {
            "/train_total_loss": loss,
            "/train_fraction_of_correct_next_step_preds": accuracy,
            "/train_num_predictions": count,
            "/eval_total_loss": eval_loss,
            "/eval_fraction_of_correct_next_step_preds": accuracy - 0.02,
            "/eval_num_predictions": count,
        }

    def _save(self, task: TuningTask, path: Path, progress: float) -> None:
        path.mkdir(parents=True, exist_ok=True)
        rows, spec = [_learned(row) for row in task.train], task.spec
        name = path.name.rpartition("-")[2]
        tuned = [spec.epoch_count, spec.learning_rate_multiplier, spec.adapter_size, spec.beta, name]
        digest = hashlib.sha256(json.dumps([tuned, rows]).encode()).hexdigest()
        content = {"accuracy": self._accuracy(progress), "rows": rows, "digest": digest}
        (path / "adapter.json").write_text(json.dumps(content), "utf-8")

    def generate(self, requests: Sequence[GenerateRequest]) -> list[Generation]:
        """The answer to each request by itself."""
        return [self._generation(request) for request in requests]

    def _generation(self, request: GenerateRequest) -> Generation:
        texts = [request.system or "", *(turn.text for turn in request.turns)]
        prompt = "\n".join(texts)
        adapter = _load_adapter(request.adapter) if request.adapter else _Adapter(self.rules.base_accuracy, ())
        schema = answer_schema(request)
        candidates = []
        for index in range(request.candidate_count):
            draw = index if request.temperature > 0 else 0
            key = f"{self.rules.seed}/{adapter.digest}/{prompt}/{draw}/{request.seed if request.temperature else 0}"
            text = self._text(request, prompt, adapter, key)
            if schema is not None:
                text = write_answer(schema, text, f"{self.rules.seed}/{prompt}/{draw}", request.attempt)
            candidates.append(self._candidate(request, text, adapter.accuracy))
        return Generation(tuple(candidates), sum(self.count_tokens(texts)))

    def _text(self, request: GenerateRequest, prompt: str, adapter: _Adapter, key: str) -> str:
        correct = self._correct_answer(prompt, request.turns[-1].text, adapter)
        choices = list(request.response_enum or self.rules.labels or sorted({answer for _, answer in adapter.rows}))
        if correct is None:
            return _pick(choices, key) if choices else _last_words(request.turns[-1])
        if request.response_enum and correct not in request.response_enum:
            return _pick(list(request.response_enum), key)
        if _random(key) < adapter.accuracy:
            return correct
        wrong = [choice for choice in choices or list(self.rules.answers.values()) if choice != correct]
        return _pick(wrong, key) if wrong else f"not {correct}"

    def _correct_answer(self, prompt: str, last: str, adapter: _Adapter) -> str | None:
        if last in self.rules.answers:
            return self.rules.answers[last]
        words, (by_word, others) = set(_WORD.findall(prompt)), self._keys
        possible = [*others, *(key for word in words & by_word.keys() for key in by_word[word])]
        if contained := [key for key in possible if key in prompt]:
            # the last mention counts: earlier ones may be examples in the prompt
            return self.rules.answers[max(contained, key=lambda key: (prompt.rfind(key) + len(key), len(key)))]
        own = frozenset(_WORD.findall(last.lower()))
        nearest = max(adapter.rows, key=lambda row: len(own & row[0]) / (len(own | row[0]) or 1), default=None)
        return nearest[1] if nearest else None

    @cached_property
    def _keys(self) -> tuple[dict[str, list[str]], list[str]]:
        """Keys of the table by their rarest inner word, and those without one: a prompt that contains a key has each of
        its words as a word, but for the first and the last, which may be parts of longer ones.
        """
        inner = {key: _WORD.findall(key)[1:-1] for key in self.rules.answers}
        counts, by_word = Counter(word for words in inner.values() for word in words), defaultdict[str, list[str]](list)
        for key, words in inner.items():
            if words:
                by_word[min(words, key=counts.__getitem__)].append(key)
        return by_word, [key for key, words in inner.items() if not words]

    def _candidate(self, request: GenerateRequest, text: str, accuracy: float) -> Candidate:
        pieces, limit = self.tokenize(text), request.max_output_tokens
        reason = "STOP" if len(pieces) <= limit else "MAX_TOKENS"
        text = "".join(piece for _, piece in pieces[:limit])
        for stop in request.stop_sequences:
            if stop and stop in text:
                text = text[: text.index(stop)]
        pieces = self.tokenize(text)
        logprob = math.log(min(0.999, max(0.001, accuracy)))
        top = request.logprobs or 0
        tokens = tuple(
            TokenLogprob(piece, number, logprob, ((piece, number, logprob),)[:top]) for number, piece in pieces
        )
        return Candidate(text, reason, len(pieces), logprob, tokens if request.logprobs is not None else ())


def _learned(row: Row) -> list[str]:
    """A row as an adapter keeps it: prompt and answer; of a prompt with references the first one is the answer."""
    if isinstance(row, TrainingRow):
        return [" ".join(turn.text for turn in row.turns[:-1]), row.turns[-1].text]
    answer = row.chosen if isinstance(row, PreferenceRow) else next((value for _, value in row.references), "")
    return [row.turns[-1].text, answer]


def _last_words(turn: Turn) -> str:
    words = turn.text.split() if turn.role == "user" else re.findall(r"[\w.]+", turn.text)
    return " ".join(words[-4:]) or "nothing"


def _random(key: str) -> float:
    return int.from_bytes(hashlib.sha256(key.encode("utf-8", "replace")).digest()[:8], "big") / 2**64


def _pick(choices: list[str], key: str) -> str:
    return choices[int(_random("pick/" + key) * len(choices))]


@lru_cache(maxsize=8)
def _load_adapter(path: Path) -> _Adapter:
    data = json.loads((path / "adapter.json").read_text("utf-8"))
    rows = tuple((frozenset(_WORD.findall(prompt.lower())), answer) for prompt, answer in data["rows"])
    return _Adapter(data["accuracy"], rows, data["digest"])
