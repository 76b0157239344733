# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The engine that trains: a causal language model in Hugging Face's format, tuned by LoRA on the CPU.

The default model is the small base in `base/`; any directory that `AutoModelForCausalLM` reads works, and any such
repository of the Hugging Face hub. Each job trains its own copy, so inference continues meanwhile; adapters are merged
into copies for serving, of which the most recently used are kept.
"""

import contextlib
import gc
import itertools
import os
import threading
import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM
from transformers.utils import logging

from emulator.documents import read_document
from emulator.engines.base import (
    Checkpoint,
    Engine,
    FailedPrecondition,
    GenerateRequest,
    Generation,
    PreferenceRow,
    ReinforcementRow,
    TuningTask,
)
from emulator.engines.student import training
from emulator.engines.student.chat import ChatEncoder
from emulator.engines.student.decoding import Decoder
from emulator.engines.student.weights import check_base, fingerprint, locate

SERVING_PARAMETERS = 400_000_000  # limit of the parameters of all merged copies; at least one copy is kept
SERVING_COPIES = 12
SMALL_BYTES = 100_000_000  # models with smaller weights are faster with one thread


@contextlib.contextmanager
def _kept() -> Iterator[None]:
    """What is loaded stays: the garbage collector does not look through it again and again, a fifth of the time."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


class Student(Engine):
    """A base model with its tuned adapters; an `emulator.engines.base.Engine`.

    `weights` is a directory, or the name of a hub repository as a string; None is the embedded base. `threads` are the
    CPU threads of one job and of one batch of requests; 0: chosen by the model's size. `seed` is for requests without
    a seed.
    """

    def __init__(self, weights: Path | str | None = None, threads: int = 0, seed: int = 0) -> None:
        self.base_dir = locate(weights)
        self.fingerprint = fingerprint(self.base_dir)
        # one for a small model, whose matrices are too small to split; otherwise one per core
        is_small = sum(path.stat().st_size for path in self.base_dir.glob("*.safetensors")) < SMALL_BYTES
        self.threads = threads or (1 if is_small else os.cpu_count() or 1)
        self.encoder = ChatEncoder(self.base_dir)
        settings = self.base_dir / "student.json"
        self.settings = (
            read_document(settings, training.TrainingSettings) if settings.exists() else training.TrainingSettings()
        )
        self.batch_size = self.settings.batch_size
        self._serving = threading.Lock()
        self._copies: OrderedDict[str, Decoder] = OrderedDict()
        self._seeds = itertools.count(seed)

    @_kept()
    def load_model(self) -> Any:
        """A new copy of the base model."""
        if fingerprint(self.base_dir) != self.fingerprint:
            raise FailedPrecondition(f"the base weights in {self.base_dir} have been replaced: restart the emulator")
        # PEFT uses an attribute that Transformers has deprecated.
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)
        logging.disable_progress_bar()
        logging.set_verbosity_error()
        torch.set_num_threads(self.threads)
        return AutoModelForCausalLM.from_pretrained(self.base_dir, local_files_only=True, dtype=torch.float32)

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Number of tokens of each text, without chat markup."""
        return [len(self.encoder.ids(text)) for text in texts]

    def tokenize(self, text: str) -> list[tuple[int, str]]:
        """Token ids with the text each covers; a character of several tokens is repeated for each."""
        return self.encoder.pieces(text)

    def tune(self, task: TuningTask) -> list[Checkpoint]:
        """The checkpoints of a new adapter, oldest first.

        Raises `Cancelled` when stopped, `ValueError` for invalid rows, `FailedPrecondition` for an initial adapter of
        another base.
        """
        if not task.train:
            raise ValueError("there are no training rows")
        if task.spec.initial_adapter is not None:
            check_base(task.spec.initial_adapter, self.fingerprint, self.base_dir)
        row, arguments = task.train[0], (self.load_model(), task.spec, self.settings)
        run: training.LoraRun
        encode: Callable[[Any, int], Any]
        if isinstance(row, ReinforcementRow):
            if task.reward is None:
                raise ValueError("reinforcement tuning needs a reward")
            run, encode = training.ReinforcementRun(*arguments, self.encoder, task.reward), lambda row, _: row
        elif isinstance(row, PreferenceRow):
            run, encode = training.PreferenceRun(*arguments), self.encoder.pair
        else:
            run, encode = training.SupervisedRun(*arguments), self.encoder.row
        parts: tuple[Sequence[Any], ...] = (task.train, task.validation)
        train, validation = ([encode(row, self.settings.max_tokens) for row in rows] for rows in parts)
        return training.train(run, train, validation, task, self.fingerprint)

    def generate(self, requests: Sequence[GenerateRequest]) -> list[Generation]:
        """The answers to all requests, batched by adapter, in their order. Greedy when `temperature` is 0."""
        by_adapter: dict[Path | None, list[int]] = {}
        for number, request in enumerate(requests):
            by_adapter.setdefault(request.adapter, []).append(number)
        generations: dict[int, Generation] = {}
        for adapter, numbers in by_adapter.items():
            group = [requests[n] for n in numbers]
            prompts = [self.encoder.prompt(request.turns, request.system) for request in group]
            with self._serving:
                generations.update(zip(numbers, self._decoder(adapter).generate(group, prompts), strict=True))
        return [generations[n] for n in range(len(requests))]

    def _decoder(self, adapter: Path | None) -> Decoder:
        """The serving copy for an adapter, merged on first use; the least recently used copy is dropped."""
        torch.set_num_threads(self.threads)
        key = ""
        if adapter is not None:
            check_base(adapter, self.fingerprint, self.base_dir)
            key = f"{adapter.resolve()}@{(adapter / 'adapter_config.json').stat().st_mtime_ns}"
        if key in self._copies:
            self._copies.move_to_end(key)
            return self._copies[key]
        model = self.load_model()
        if adapter is not None:
            from peft import PeftModel

            model = PeftModel.from_pretrained(model, str(adapter)).merge_and_unload()
        decoder = Decoder(model.eval(), self.encoder, lambda: next(self._seeds))
        size = sum(p.numel() for p in model.parameters())
        while len(self._copies) >= max(1, min(SERVING_COPIES, SERVING_PARAMETERS // size)):
            self._copies.popitem(last=False)
        self._copies[key] = decoder
        return decoder
