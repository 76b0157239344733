# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""How fast the student is: its tuning loop beside TRL's SFTTrainer, its batched answers beside one by one.

    python -m tools.pretrain_student.bench.speed [--threads 1] [--rows 500] [--epochs 4] [--rank 8] [--rounds 3]

Both loops train the same base on the same rows (the English sample) in the same process: same rank, batch, epochs,
rate, precision, loss on the answer only, without evaluation. Then the student trains in float32 and in bfloat16,
whichever of them this processor uses. Ratios are of seconds and of processor seconds; the latter are more
reliable on a busy machine. TRL is in the extra `bench`, which `make bench` installs; without
it that half is skipped with a message.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import io
import logging
import os
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any
from unittest import mock

from emulator.engines.base import GenerateRequest, TrainingRow, TuningSpec, TuningTask, Turn, schedule
from emulator.engines.student import training
from emulator.engines.student.engine import Student
from tools.pretrain_student.bench.samples import support_tickets

INSTRUCTION = "Classify the support ticket into exactly one intent."


def sample(count: int) -> list[TrainingRow]:
    """Rows of the English sample that are sound, the first `count` of them."""
    rows: list[TrainingRow] = []
    for row in support_tickets():
        turns = (Turn("user", f"Ticket: {row['text']}\nIntent:"), Turn("model", row["label"]))
        rows.append(TrainingRow(turns, INSTRUCTION))
    return rows[:count]


class Spent:
    """Seconds and processor seconds of a block of code."""

    def __enter__(self) -> Spent:
        self.seconds, self.processor = -time.perf_counter(), -time.process_time()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds += time.perf_counter()
        self.processor += time.process_time()

    def __str__(self) -> str:
        return f"{self.seconds:6.2f} s ({self.processor:6.2f} of processor)"

    def times(self, other: Spent) -> str:
        """How many times longer the other took."""
        return f"ratio {other.seconds / self.seconds:.2f} ({other.processor / self.processor:.2f} of processor)"


def student_spent(student: Student, rows: list[TrainingRow], spec: TuningSpec) -> Spent:
    """What one job took, its checkpoint included."""
    with tempfile.TemporaryDirectory() as out, Spent() as spent:
        student.tune(TuningTask(rows, [], spec, Path(out)))
    return spent


def trl_spent(student: Student, rows: list[TrainingRow], spec: TuningSpec) -> Spent:
    """What TRL's trainer took on the same job."""
    import torch
    from datasets import Dataset, disable_progress_bars
    from peft import LoraConfig
    from trl import SFTConfig, SFTTrainer

    disable_progress_bars()
    torch.set_num_threads(os.cpu_count() or 1)  # what its users get
    tokenizer = student.encoder.tokenizer
    settings = student.settings
    warmup = round(settings.warmup_share * schedule(rows, spec, settings.batch_size).total)
    pairs = [
        {
            "prompt": tokenizer.decode(student.encoder.prompt(row.turns[:-1], row.system)),
            "completion": row.turns[-1].text + student.encoder.turn_end,
        }
        for row in rows
    ]
    with tempfile.TemporaryDirectory() as out:
        arguments = SFTConfig(
            output_dir=out, per_device_train_batch_size=settings.batch_size, num_train_epochs=spec.epoch_count,
            learning_rate=settings.learning_rate, completion_only_loss=True, logging_steps=1, save_strategy="no",
            report_to=[], use_cpu=True, bf16=training.bf16_is_fast(), gradient_checkpointing=False, seed=spec.seed,
            disable_tqdm=True, warmup_steps=warmup, max_length=settings.max_tokens,
        )  # fmt: skip
        lora = LoraConfig(
            r=spec.adapter_size, lora_alpha=round(settings.alpha_per_rank * spec.adapter_size),
            target_modules="all-linear", task_type="CAUSAL_LM",
        )  # fmt: skip
        with contextlib.redirect_stdout(io.StringIO()), Spent() as spent:  # it prints a line per step
            trainer = SFTTrainer(
                model=student.load_model(), args=arguments, processing_class=tokenizer, peft_config=lora,
                train_dataset=Dataset.from_list(pairs),
            )  # fmt: skip
            trainer.train()
    return spent


def answers_spent(student: Student, prompts: list[str], size: int, length: int) -> tuple[Spent, list[str]]:
    """What the student took for its answers, `size` requests at a time, and the answers, which it must not know yet."""
    student.generate([GenerateRequest((Turn("user", "warm up"),), temperature=0, max_output_tokens=4)])
    requests = [GenerateRequest((Turn("user", p),), temperature=0, max_output_tokens=length) for p in prompts]
    with Spent() as spent:
        answers = [g for at in range(0, len(requests), size) for g in student.generate(requests[at : at + size])]
    return spent, [a.candidates[0].text for a in answers]


def one_by_one_spent(student: Student, prompts: list[str], length: int) -> tuple[Spent, list[str]]:
    """What `transformers.generate` took, a call per prompt, and its answers."""
    import torch

    model: Any = student.load_model().eval()
    ends = sorted(student.encoder.end_ids)
    answers = []
    with Spent() as spent:
        for prompt in prompts:
            ids = torch.tensor([student.encoder.prompt((Turn("user", prompt),), None)])
            out = model.generate(ids, max_new_tokens=length, do_sample=False, eos_token_id=ends, pad_token_id=0)
            answers.append(student.encoder.decode(out[0, ids.shape[1] :].tolist()))
    return spent, answers


def main() -> None:
    """Print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("threads", 0), ("rows", 500), ("epochs", 4), ("rank", 8), ("answers", 200), ("rounds", 3)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--weights", type=Path, help="another base's directory (default: the embedded one)")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    student = Student(arguments.weights, threads=arguments.threads)
    rows = sample(arguments.rows)
    spec = TuningSpec(arguments.epochs, 1.0, arguments.rank, seed=1)
    student_spent(student, rows[:32], spec)  # what is imported and compiled on first use is not counted
    own = student_spent(student, rows, spec)
    print(f"tuning   {len(rows)} rows x {arguments.epochs} epochs, rank {arguments.rank}: student {own}")
    if importlib.util.find_spec("trl") is None:
        print("         TRL is not installed (pip install -c requirements.lock '.[bench]'): no ratio")
    else:
        trl = trl_spent(student, rows, spec)
        print(f"         TRL SFTTrainer {trl}: {own.times(trl)}")
    spent = []
    for bf16 in (False, True):
        with mock.patch.object(training, "bf16_is_fast", return_value=bf16):
            spent.append(student_spent(student, rows, spec))
    used = "bfloat16" if training.bf16_is_fast() else "float32"
    print(f"         float32 {spent[0]}, bfloat16 {spent[1]}: {spent[0].times(spent[1])}; {used} is used")
    prompts = [row.turns[0].text for row in sample(arguments.answers)]
    fresh = [Student(arguments.weights, threads=arguments.threads) for _ in range(arguments.rounds)]
    rounds = [(answers_spent(own, prompts, 16, 12), one_by_one_spent(student, prompts, 12)) for own in fresh]
    (_, ours), (_, theirs) = rounds[0]
    batched, single = (min((pair[k][0] for pair in rounds), key=lambda spent: spent.seconds) for k in (0, 1))
    same = sum(a == b for a, b in zip(ours, theirs, strict=True))
    print(f"answers  {len(prompts)} short ones, best of {arguments.rounds}: 16 at a time {batched}")
    print(f"         one by one {single}: {batched.times(single)}; {same} of {len(prompts)} the same text")


if __name__ == "__main__":
    main()
