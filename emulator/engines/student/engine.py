# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The engine that truly learns: a causal language model of Hugging Face's format, tuned by LoRA on the CPU.

The default model is the small base shipped in `emulator/base`; any directory that `AutoModelForCausalLM` reads works,
and any such repository of the Hugging Face hub. Each job trains a copy of its own, so answers go on meanwhile; adapters
are merged into copies for serving and the latest few are kept. Importing this module loads no framework; constructing a
`Student` does.
"""

from __future__ import annotations

import itertools
import json
import os
import threading
import warnings
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emulator.engines.base import (
    Checkpoint,
    FailedPrecondition,
    GenerateRequest,
    Generation,
    PreferenceRow,
    StepMetrics,
    TrainingRow,
    TuningResult,
    TuningSpec,
)
from emulator.engines.student.chat import ChatEncoder
from emulator.engines.student.weights import fingerprint, located, require, stamp

if TYPE_CHECKING:
    from emulator.engines.student.decoding import Decoder
    from emulator.engines.student.training import TrainingSettings

# Steps of a small model are short: threads that spin while they wait for each other made answers fifteen times slower
# on a busy machine, and sleeping ones cost an idle one nothing measurable. Read when the framework is loaded: set here.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

SERVING_PARAMETERS = 400_000_000  # parameters of all merged copies kept, at most; never fewer than one copy
SERVING_COPIES = 12
SMALL_BYTES = 100_000_000  # weights below this are worked through faster by one thread than by several that wait


def _threads_that_pay(base_dir: Path) -> int:
    """One for a small model, whose matrices are not worth sharing; else one a core."""
    small = sum(path.stat().st_size for path in base_dir.glob("*.safetensors")) < SMALL_BYTES
    return 1 if small else os.cpu_count() or 1


class Student:
    """A base model with its tuned adapters; an `emulator.engine.Engine`.

    `weights` is a directory, or the name of a hub repository as a string; None is the embedded base. `threads` are the
    CPU threads of one job and of one batch of answers; 0: as many as pay. `seed` feeds requests that bring no seed.
    """

    def __init__(self, weights: Path | str | None = None, threads: int = 0, seed: int = 0) -> None:
        self.base_dir = located(weights)
        self._stamp, self.fingerprint = stamp(self.base_dir), fingerprint(self.base_dir)
        self.threads = threads or _threads_that_pay(self.base_dir)
        self.encoder = ChatEncoder(self.base_dir)
        self.settings = self._read_settings()
        self._serving = threading.Lock()
        self._copies: OrderedDict[str, Decoder] = OrderedDict()
        self._seeds = itertools.count(seed)

    def _read_settings(self) -> TrainingSettings:
        from emulator.engines.student.training import TrainingSettings

        path = self.base_dir / "student.json"
        given: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
        unknown = given.keys() - {f.name for f in fields(TrainingSettings)}
        if unknown:
            raise ValueError(f"{path}: unknown setting {sorted(unknown)[0]!r}")
        return TrainingSettings(**given)

    def _fresh_model(self) -> Any:
        import torch
        from transformers import AutoModelForCausalLM

        if stamp(self.base_dir) != self._stamp and fingerprint(self.base_dir) != self.fingerprint:
            raise FailedPrecondition(f"the base weights in {self.base_dir} were replaced meanwhile: start anew")
        from transformers.utils import logging

        # PEFT asks Transformers by a name that the latter renamed; neither is ours to change.
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)
        logging.disable_progress_bar()
        logging.set_verbosity_error()
        torch.set_num_threads(self.threads)
        return AutoModelForCausalLM.from_pretrained(self.base_dir, local_files_only=True, dtype=torch.float32)

    # -- tokens ------------------------------------------------------------------------------------------------------

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Number of tokens of each text, without chat markup."""
        return [len(self.encoder.ids(text)) for text in texts]

    def tokenize(self, text: str) -> list[tuple[int, str]]:
        """Token ids with the stretch of text each covers; a character of several tokens is given with each."""
        return self.encoder.pieces(text)

    def row_tokens(self, row: TrainingRow | PreferenceRow) -> tuple[int, int]:
        """(input, output) tokens of a row, without chat markup, as `count_tokens` counts them: what is billed can be
        known before it is. A preference row's output is both answers.
        """
        asked = [turn.text for turn in row.turns if isinstance(row, PreferenceRow) or turn.role == "user"]
        answers = [t.text for t in row.turns if t.role == "model"]
        if isinstance(row, PreferenceRow):
            answers = [row.chosen, row.rejected]
        return sum(self.count_tokens([row.system or "", *asked])), sum(self.count_tokens(answers))

    def step_count(self, rows: int, spec: TuningSpec) -> int:
        """Optimizer steps a job over `rows` rows would take."""
        return spec.epoch_count * -(-rows // self.settings.batch_size)

    # -- tuning ------------------------------------------------------------------------------------------------------

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
        """Tune an adapter; rows' type chooses supervised or preference tuning.

        `initial_adapter` keeps its own rank. Raises `Cancelled` when stopped, `ValueError` for rows or
        hyperparameters that cannot be trained on, `FailedPrecondition` for an adapter of another base.
        """
        from emulator.engines.student import training

        self._check(train, spec)
        limit = self.settings.max_tokens
        job: training.LoraRun
        encode: Callable[[Any], Any]
        if isinstance(train[0], PreferenceRow):
            job = training.PreferenceRun(self._fresh_model(), spec, self.settings)
            encode = lambda row: self.encoder.pair(row, limit)  # noqa: E731
        else:
            job = training.SupervisedRun(self._fresh_model(), spec, self.settings)
            encode = lambda row: self.encoder.row(row, limit)  # noqa: E731
        watch = training.Watch(on_metrics, on_checkpoint, should_stop)
        coded = [encode(row) for row in train], [encode(row) for row in validation]
        return training.run(job, *coded, out, watch, self.fingerprint)

    def _check(self, train: Sequence[Any], spec: TuningSpec) -> None:
        if not train:
            raise ValueError("there are no training rows")
        if len({type(row) for row in train}) > 1:
            raise ValueError("training rows are of one kind: conversations or preferences, not both")
        for name in ("epoch_count", "adapter_size", "learning_rate_multiplier", "checkpoint_count"):
            if getattr(spec, name) <= 0:
                raise ValueError(f"{name} must be above 0, not {getattr(spec, name)}")
        if spec.beta < 0:
            raise ValueError(f"beta must not be below 0, not {spec.beta}")
        if spec.initial_adapter is not None:
            if not (spec.initial_adapter / "adapter_config.json").exists():
                raise ValueError(f"{spec.initial_adapter}: no adapter to continue from")
            require(spec.initial_adapter, self.fingerprint, self.base_dir)

    # -- answers -----------------------------------------------------------------------------------------------------

    def generate(self, requests: Sequence[GenerateRequest]) -> list[Generation]:
        """Answer all requests, batched by adapter; order kept. Greedy when `temperature` is 0."""
        by_adapter: dict[Path | None, list[int]] = {}
        for number, request in enumerate(requests):
            if request.max_output_tokens < 1 or request.candidate_count < 1:
                raise ValueError("max_output_tokens and candidate_count must be at least 1")
            by_adapter.setdefault(request.adapter, []).append(number)
        answers: dict[int, Generation] = {}
        for adapter, numbers in by_adapter.items():
            group = [requests[n] for n in numbers]
            prompts = [self.encoder.prompt(request.turns, request.system) for request in group]
            with self._serving:
                answers.update(zip(numbers, self._decoder(adapter).answer(group, prompts), strict=True))
        return [answers[n] for n in range(len(requests))]

    def _decoder(self, adapter: Path | None) -> Decoder:
        """The serving copy for an adapter, merged on first use; the least recently used one makes room."""
        import torch

        from emulator.engines.student.decoding import Decoder

        torch.set_num_threads(self.threads)
        key = "" if adapter is None else self._adapter_key(adapter)
        if key in self._copies:
            self._copies.move_to_end(key)
            return self._copies[key]
        model = self._fresh_model()
        if adapter is not None:
            from peft import PeftModel

            require(adapter, self.fingerprint, self.base_dir)
            model = PeftModel.from_pretrained(model, str(adapter)).merge_and_unload()
        decoder = Decoder(model.eval(), self.encoder, lambda: next(self._seeds))
        size = sum(p.numel() for p in model.parameters())
        while len(self._copies) >= max(1, min(SERVING_COPIES, SERVING_PARAMETERS // size)):
            self._copies.popitem(last=False)
        self._copies[key] = decoder
        return decoder

    def _adapter_key(self, adapter: Path) -> str:
        config = adapter / "adapter_config.json"
        if not config.exists():
            raise ValueError(f"{adapter}: no adapter there")
        return f"{adapter.resolve()}@{config.stat().st_mtime_ns}"
