# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The interface of the models that the emulator serves and tunes, independent of HTTP.

`student` is the engine that trains (a small causal language model with LoRA adapters), `rules_engine` the one whose
answers a test can set. Metrics are computed, never constants: a tuning job that learns nothing must show it.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass as checked_dataclass


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn of a conversation; `role` is `user`, `model`, or `function` for the results of function calls."""

    role: str
    text: str


@dataclass(frozen=True, slots=True)
class TrainingRow:
    """A conversation; the loss is taken on its model turns only."""

    turns: tuple[Turn, ...]
    system: str | None = None


@dataclass(frozen=True, slots=True)
class PreferenceRow:
    """A prompt with its chosen and its rejected answer."""

    turns: tuple[Turn, ...]
    chosen: str
    rejected: str
    system: str | None = None


@dataclass(frozen=True, slots=True)
class ReinforcementRow:
    """A prompt without an answer, and the references that rewards compare answers with: pairs of key and value."""

    turns: tuple[Turn, ...]
    references: tuple[tuple[str, str], ...] = ()
    system: str | None = None


Reward = Callable[[Sequence[tuple[ReinforcementRow, str]]], list[float]]
"""The rewards of answers, each between -1 and 1."""


@checked_dataclass(frozen=True, slots=True)
class TuningSpec:
    """Hyperparameters of one job, under the service's names; `ValueError` for one that is out of range.

    `adapter_size` is the LoRA rank. `initial_adapter` continues from a saved adapter (continuous tuning), which keeps
    its own rank. With fewer than `checkpoint_count` epochs there is a checkpoint after each, otherwise that many,
    evenly spaced; the last step is always a checkpoint. `beta` is used by preference tuning only; at 0 nothing is
    learned.

    The other values are used by reinforcement tuning only: prompts per step, sampled answers per prompt and their
    longest length in tokens, the number of steps (0: by `epoch_count`), and the steps between two evaluations and two
    checkpoints (0: an epoch).
    """

    epoch_count: PositiveInt
    learning_rate_multiplier: PositiveFloat
    adapter_size: PositiveInt
    seed: int
    checkpoint_count: PositiveInt = 10
    beta: NonNegativeFloat = 0.1
    initial_adapter: Path | None = None
    batch_size: PositiveInt = 32
    samples_per_prompt: PositiveInt = 16
    max_output_tokens: PositiveInt = 64
    step_count: int = 0
    evaluate_interval: int = 0
    checkpoint_interval: int = 0


@dataclass(frozen=True, slots=True)
class StepMetrics:
    """One point of a curve: `values` maps the service's metric names to numbers, at an optimizer step (from 1)."""

    step: int
    total_steps: int
    epoch: float
    values: dict[str, float]


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A saved adapter: directory in PEFT's format, with the step and the (estimated) epoch it was taken at."""

    checkpoint_id: str
    step: int
    epoch: int
    path: Path


@dataclass(frozen=True, slots=True)
class TuningTask:
    """One tuning job for an engine: rows (all of one type), hyperparameters, output directory, callbacks.

    The rows' type selects the method; reinforcement tuning needs a `reward`. `should_stop` is called before every
    optimizer step.
    """

    train: Sequence[TrainingRow] | Sequence[PreferenceRow] | Sequence[ReinforcementRow]
    validation: Sequence[TrainingRow] | Sequence[PreferenceRow] | Sequence[ReinforcementRow]
    spec: TuningSpec
    out: Path
    on_metrics: Callable[[StepMetrics], None] = lambda metrics: None
    on_checkpoint: Callable[[Checkpoint], None] = lambda checkpoint: None
    should_stop: Callable[[], bool] = lambda: False
    reward: Reward | None = None


@dataclass(frozen=True, slots=True)
class Function:
    """A function that an answer may call, with the JSON Schema of its arguments."""

    name: str
    description: str
    parameters: dict[str, Any]


@dataclass(frozen=True, slots=True)
class GenerateRequest:
    """One prompt with its decoding settings. `adapter` None means the untuned base.

    `response_enum` restricts the answer to one of these strings, `response_json_schema` to JSON of a JSON Schema. With
    `functions` the answer may be a JSON list of calls, `{"name", "args"}`; with `must_call` it is. `attempt` counts the
    answers to this request that did not have the required shape.
    """

    turns: tuple[Turn, ...]
    system: str | None = None
    adapter: Path | None = None
    temperature: float = 1.0
    top_p: float = 0.95
    top_k: int | None = None
    max_output_tokens: int = 64
    candidate_count: int = 1
    seed: int | None = None
    stop_sequences: tuple[str, ...] = ()
    logprobs: int | None = None
    response_enum: tuple[str, ...] | None = None
    response_json_schema: dict[str, Any] | None = None
    functions: tuple[Function, ...] = ()
    must_call: bool = False
    attempt: int = 0


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """A generated token with its log-probability and, if requested, the most likely alternatives."""

    token: str
    token_id: int
    logprob: float
    top: tuple[tuple[str, int, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Candidate:
    """One answer: text, finish reason (`STOP` or `MAX_TOKENS`), length in tokens, log-probabilities."""

    text: str
    finish_reason: str
    token_count: int
    avg_logprob: float
    tokens: tuple[TokenLogprob, ...] = ()


@dataclass(frozen=True, slots=True)
class Generation:
    """The answer to one `GenerateRequest`."""

    candidates: tuple[Candidate, ...]
    prompt_token_count: int


Row = TrainingRow | PreferenceRow | ReinforcementRow


def row_texts(row: Row) -> tuple[list[str], list[str]]:
    """(input texts, output texts) of a row; a preference row's output is both answers, a prompt has none."""
    if isinstance(row, TrainingRow):
        inputs, outputs = ([turn.text for turn in row.turns if (turn.role == "model") is own] for own in (False, True))
    else:
        inputs = [turn.text for turn in row.turns]
        outputs = [row.chosen, row.rejected] if isinstance(row, PreferenceRow) else []
    return [row.system or "", *inputs], outputs


MAX_REINFORCEMENT_STEPS = 500


@dataclass(frozen=True, slots=True)
class Schedule:
    """Rows of a batch, steps in all and of an epoch, the steps with a checkpoint and those with an evaluation."""

    batch_size: int
    total: int
    per_epoch: int
    saves: Sequence[int]
    evaluations: Sequence[int]


def schedule(rows: Sequence[Row], spec: TuningSpec, batch_size: int) -> Schedule:
    """The steps of a job over these rows; reinforcement tuning has its own batch size, and intervals in steps."""
    if isinstance(rows[0], ReinforcementRow):
        per_epoch = -(-len(rows) // spec.batch_size)
        total = min(spec.step_count or spec.epoch_count * per_epoch, MAX_REINFORCEMENT_STEPS)
        saves, evaluations = (
            sorted({*range(interval or per_epoch, total, interval or per_epoch), total})
            for interval in (spec.checkpoint_interval, spec.evaluate_interval)
        )
        return Schedule(spec.batch_size, total, per_epoch, saves, evaluations)
    per_epoch, count = -(-len(rows) // batch_size), min(spec.epoch_count, spec.checkpoint_count)
    total = spec.epoch_count * per_epoch
    saves = [round(total * k / count) for k in range(1, count + 1)]
    return Schedule(batch_size, total, per_epoch, saves, saves)


class FailedPrecondition(ValueError):
    """The engine cannot do this now: weights are not available, or an adapter belongs to another base."""


class Cancelled(Exception):
    """Raised by `tune` at most one optimizer step after `should_stop` returned True."""


def follow(
    task: TuningTask, steps: Schedule, step: Callable[[int, bool], dict[str, float]], save: Callable[[Path, int], None]
) -> list[Checkpoint]:
    """Take all steps of a job with its callbacks; raises `Cancelled` before the step after a stop.

    `step` takes a step (from 1), evaluates after it if it should, and returns the metrics; `save` writes the directory
    of a checkpoint at a step.
    """
    checkpoints: list[Checkpoint] = []
    for number in range(1, steps.total + 1):
        if task.should_stop():
            raise Cancelled(f"stopped before step {number} of {steps.total}")
        values = step(number, number in steps.evaluations)
        task.on_metrics(StepMetrics(number, steps.total, number / steps.per_epoch, values))
        if number in steps.saves:
            name = str(len(checkpoints) + 1)
            path = task.out / f"checkpoint-{name}"
            save(path, number)
            checkpoints.append(Checkpoint(name, number, math.ceil(number / steps.per_epoch), path))
            task.on_checkpoint(checkpoints[-1])
    return checkpoints


class Engine(Protocol):
    """A model that can be tuned and prompted. All methods may be called from several threads."""

    batch_size: int  # rows of an optimizer step

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Number of tokens of each text, without chat markup."""

    def tokenize(self, text: str) -> list[tuple[int, str]]:
        """Token ids with the piece of text of each."""

    def row_tokens(self, row: Row) -> tuple[int, int]:
        """(input tokens, output tokens) of a row without chat markup, so that costs can be computed in advance."""
        inputs, outputs = row_texts(row)
        return sum(self.count_tokens(inputs)), sum(self.count_tokens(outputs))

    def tune(self, task: TuningTask) -> list[Checkpoint]:
        """The checkpoints of a new adapter, oldest first. Raises `Cancelled`, `ValueError`."""

    def generate(self, requests: Sequence[GenerateRequest]) -> list[Generation]:
        """The answers to all requests, in their order. Greedy when `temperature` is 0."""
