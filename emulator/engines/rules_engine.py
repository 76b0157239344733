# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""An engine whose truth a test can set: answers from a table, right at a given rate, curves of a given shape.

The answer to a prompt is looked up in the table (exact, else the longest key that the prompt contains), else in the
rows the adapter was tuned on (the row that shares most words, the longer the more exact: a nearest neighbour), else
made up from the words of the prompt. It is then spoilt with probability 1 - accuracy. All chance comes from a hash of
the seed, the adapter and the prompt, so an answer never depends on order or company.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from emulator.engines.base import (
    Cancelled,
    Candidate,
    Checkpoint,
    GenerateRequest,
    Generation,
    PreferenceRow,
    StepMetrics,
    TokenLogprob,
    TrainingRow,
    TuningResult,
    TuningSpec,
)

_TOKEN = re.compile(r"\w+|[^\w\s]|\s+")


class Script(BaseModel):
    """What the engine knows. `answers` maps prompts (or parts of prompts) to truths; accuracies are probabilities.

    A tuned model's accuracy rises from `base_accuracy` to `tuned_accuracy` over the steps. `answer` may be a function
    of the prompt, for tests in process.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)

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
    answer: Callable[[str], str] | None = None


def load_script(path: Path) -> Script:
    """A script from a JSON file; `ValueError` with the place of an error."""
    try:
        return Script.model_validate_json(path.read_text("utf-8"))
    except (OSError, ValidationError) as error:
        raise ValueError(f"{path}: {error}") from error


@dataclass(frozen=True, slots=True)
class _Adapter:
    accuracy: float
    rows: tuple[tuple[frozenset[str], str, str], ...]


class ScriptedEngine:
    """An `Engine` that computes its answers from a script."""

    def __init__(self, script: Script | None = None) -> None:
        self.script = script or Script()

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Words, marks and runs of space."""
        return [len(_TOKEN.findall(text)) for text in texts]

    def tokenize(self, text: str) -> list[tuple[int, str]]:
        """Each piece with a checksum as its id."""
        return [(zlib.crc32(piece.encode()) % 65536, piece) for piece in _TOKEN.findall(text)]

    def row_tokens(self, row: TrainingRow | PreferenceRow) -> tuple[int, int]:
        """(input, output) tokens of a row."""
        output = (
            [turn.text for turn in row.turns if turn.role == "model"]
            if isinstance(row, TrainingRow)
            else [row.chosen, row.rejected]
        )
        inputs = [turn.text for turn in row.turns if isinstance(row, PreferenceRow) or turn.role == "user"]
        return sum(self.count_tokens([*inputs, row.system or ""])), sum(self.count_tokens(output))

    def step_count(self, rows: int, spec: TuningSpec) -> int:
        """Steps of `batch_size` rows."""
        return math.ceil(rows / self.script.batch_size) * spec.epoch_count

    def tune(
        self,
        train: Sequence[TrainingRow] | Sequence[PreferenceRow],
        validation: Sequence[TrainingRow] | Sequence[PreferenceRow],
        spec: TuningSpec,
        out: Path,
        on_metrics: Callable[[StepMetrics], None],
        on_checkpoint: Callable[[Checkpoint], None],
        should_stop: Callable[[], bool],
    ) -> TuningResult:
        """Walk the scripted curve; checkpoints remember the rows and the accuracy reached."""
        total = self.step_count(len(train), spec)
        count = max(1, min(spec.checkpoint_count, spec.epoch_count))
        saves = {round(total * (n + 1) / count): n + 1 for n in range(count)}
        checkpoints: list[Checkpoint] = []
        output = sum(self.row_tokens(row)[1] for row in train)
        for step in range(1, total + 1):
            if should_stop():
                raise Cancelled
            time.sleep(self.script.step_seconds)
            saved = step in saves
            values = self._values(train[0], step / total, output / max(1, len(train)), bool(validation) and saved)
            on_metrics(StepMetrics(step, total, spec.epoch_count * step / total, values))
            if saved:
                checkpoint = self._save(train, spec, out, str(saves[step]), step, total)
                checkpoints.append(checkpoint)
                on_checkpoint(checkpoint)
        return TuningResult(tuple(checkpoints), total)

    def _values(self, row: Any, done: float, tokens: float, validate: bool) -> dict[str, float]:
        script = self.script
        loss = script.last_loss + (script.first_loss - script.last_loss) * math.exp(-4 * done)
        eval_loss = loss + 0.05 + script.overfit * done**2
        if isinstance(row, PreferenceRow):
            values = {"/preference_optimization_train_loss": loss}
            return values | ({"/eval_total_loss": eval_loss} if validate else {})
        reach = script.base_accuracy + (script.tuned_accuracy - script.base_accuracy) * done
        count = max(1.0, round(tokens * script.batch_size))
        values = {
            "/train_total_loss": loss,
            "/train_fraction_of_correct_next_step_preds": reach,
            "/train_num_predictions": count,
        }
        if validate:
            values |= {
                "/eval_total_loss": eval_loss,
                "/eval_fraction_of_correct_next_step_preds": reach - 0.02,
                "/eval_num_predictions": count,
            }
        return values

    def _save(self, train: Any, spec: TuningSpec, out: Path, name: str, step: int, total: int) -> Checkpoint:
        script = self.script
        path = out / f"checkpoint-{name}"
        path.mkdir(parents=True, exist_ok=True)
        rows = [
            [row.turns[-1].text, row.chosen]
            if isinstance(row, PreferenceRow)
            else [" ".join(turn.text for turn in row.turns[:-1]), row.turns[-1].text]
            for row in train
        ]
        accuracy = script.base_accuracy + (script.tuned_accuracy - script.base_accuracy) * step / total
        (path / "adapter.json").write_text(json.dumps({"accuracy": accuracy, "rows": rows}), "utf-8")
        return Checkpoint(name, step, max(1, round(spec.epoch_count * step / total)), path)

    def generate(self, requests: Sequence[GenerateRequest]) -> list[Generation]:
        """Answer each request by itself."""
        return [self._answer(request) for request in requests]

    def _answer(self, request: GenerateRequest) -> Generation:
        prompt = "\n".join([request.system or "", *(turn.text for turn in request.turns)])
        adapter = _load_adapter(request.adapter) if request.adapter else _Adapter(self.script.base_accuracy, ())
        candidates = []
        for index in range(request.candidate_count):
            draw = index if request.temperature > 0 else 0
            key = f"{self.script.seed}/{request.adapter}/{prompt}/{draw}/{request.seed if request.temperature else 0}"
            text = _shaped(self._text(request, prompt, adapter, key), request.response_json_schema, key)
            candidates.append(self._candidate(request, text, adapter.accuracy))
        tokens = sum(self.count_tokens([request.system or "", *(turn.text for turn in request.turns)]))
        return Generation(tuple(candidates), tokens)

    def _text(self, request: GenerateRequest, prompt: str, adapter: _Adapter, key: str) -> str:
        truth = self._truth(prompt, request.turns[-1].text, adapter)
        choices = list(request.response_enum or self.script.labels or sorted({a for _, _, a in adapter.rows}))
        if truth is None:
            truth = _pick(choices, key) if choices else " ".join(prompt.split()[-4:]) or "nothing"
            return truth
        if request.response_enum and truth not in request.response_enum:
            return _pick(list(request.response_enum), key)
        if _chance(key) < adapter.accuracy:
            return truth
        others = [choice for choice in choices or list(self.script.answers.values()) if choice != truth]
        return _pick(others, key) if others else f"not {truth}"

    def _truth(self, prompt: str, last: str, adapter: _Adapter) -> str | None:
        if self.script.answer is not None:
            return self.script.answer(prompt)
        if last in self.script.answers:
            return self.script.answers[last]
        held = [key for key in self.script.answers if key in prompt]
        if held:
            # the last mention counts: earlier ones may be examples in the prompt
            return self.script.answers[max(held, key=lambda key: (prompt.rfind(key) + len(key), len(key)))]
        words = frozenset(re.findall(r"\w+", last.lower()))
        best = max(adapter.rows, key=lambda row: _overlap(words, row[0]), default=None)
        return best[2] if best else None

    def _candidate(self, request: GenerateRequest, text: str, accuracy: float) -> Candidate:
        pieces = self.tokenize(text)
        reason = "STOP"
        if len(pieces) > request.max_output_tokens:
            pieces, reason = pieces[: request.max_output_tokens], "MAX_TOKENS"
        text = "".join(piece for _, piece in pieces)
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


def _shaped(text: str, schema: dict[str, Any] | None, key: str) -> str:
    """The text as JSON of a schema's shape: enumerations keep to their choices, other strings are the text."""
    if not schema:
        return text
    try:
        json.loads(text)
        return text
    except ValueError:
        return json.dumps(_fill(schema, text, key, 0), ensure_ascii=False)


def _fill(schema: Any, text: str, key: str, depth: int) -> Any:
    if not isinstance(schema, dict) or depth > 20:
        return text
    if isinstance(schema.get("enum"), list) and schema["enum"]:
        return text if text in schema["enum"] else schema["enum"][int(_chance("fill/" + key) * len(schema["enum"]))]
    kind = schema.get("type")
    if kind == "object":
        properties = schema.get("properties")
        names = properties if isinstance(properties, dict) else {}
        return {name: _fill(inner, text, key, depth + 1) for name, inner in names.items()}
    if kind == "array":
        return [_fill(schema.get("items"), text, key, depth + 1)]
    return {"integer": 0, "number": 0.5, "boolean": True}.get(str(kind), text)


def _overlap(one: frozenset[str], other: frozenset[str]) -> float:
    return len(one & other) / (len(one | other) or 1)


def _chance(key: str) -> float:
    return int.from_bytes(hashlib.sha256(key.encode("utf-8", "replace")).digest()[:8], "big") / 2**64


def _pick(choices: list[str], key: str) -> str:
    return choices[int(_chance("pick/" + key) * len(choices))]


@lru_cache(maxsize=8)
def _load_adapter(path: Path) -> _Adapter:
    data = json.loads((path / "adapter.json").read_text("utf-8"))
    rows = tuple((frozenset(re.findall(r"\w+", prompt.lower())), prompt, answer) for prompt, answer in data["rows"])
    return _Adapter(data["accuracy"], rows)
