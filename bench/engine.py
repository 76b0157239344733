# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""How fast the student is: its tuning loop beside TRL's SFTTrainer, its batched answers beside one by one.

    python bench/engine.py [--threads 2] [--rows 500] [--epochs 4] [--rank 8]

Both loops train the same base on the same rows (the English sample) in the same process: same rank, batch, epochs,
rate, loss on the answer only, without evaluation. TRL is no dependency of the project: without it (`pip install
trl==1.16.0`) its half is skipped and said so.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import io
import json
import logging
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from emulator.engine import GenerateRequest, TrainingRow, TuningSpec, Turn  # noqa: E402
from emulator.student import Student  # noqa: E402

INSTRUCTION = "Classify the support ticket into exactly one intent."


def sample(count: int) -> list[TrainingRow]:
    """Rows of the English sample that are sound, the first `count` of them."""
    rows: list[TrainingRow] = []
    for line in (ROOT / "examples/support_en/rows.jsonl").read_text(encoding="utf-8").splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict) and isinstance(row.get("text"), str) and isinstance(row.get("label"), str):
            turns = (Turn("user", f"Ticket: {row['text']}\nIntent:"), Turn("model", row["label"]))
            rows.append(TrainingRow(turns, INSTRUCTION))
    return rows[:count]


def student_seconds(student: Student, rows: list[TrainingRow], spec: TuningSpec) -> float:
    """Seconds of one job, its checkpoint included."""
    with tempfile.TemporaryDirectory() as out:
        begun = time.perf_counter()
        student.tune(rows, [], spec, Path(out), lambda _: None, lambda _: None, lambda: False)
        return time.perf_counter() - begun


def trl_seconds(student: Student, rows: list[TrainingRow], spec: TuningSpec) -> float:
    """Seconds of TRL's trainer on the same job."""
    from datasets import Dataset  # type: ignore[import-not-found, unused-ignore]
    from peft import LoraConfig
    from trl import SFTConfig, SFTTrainer  # type: ignore[import-not-found, unused-ignore]

    tokenizer = student.encoder.tokenizer
    settings = student.settings
    warmup = round(settings.warmup_share * student.step_count(len(rows), spec))
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
            report_to=[], use_cpu=True, bf16=True, gradient_checkpointing=False, seed=spec.seed, disable_tqdm=True,
            warmup_steps=warmup, max_length=settings.max_tokens,
        )  # fmt: skip
        lora = LoraConfig(
            r=spec.adapter_size, lora_alpha=round(settings.alpha_per_rank * spec.adapter_size),
            target_modules="all-linear", task_type="CAUSAL_LM",
        )  # fmt: skip
        begun = time.perf_counter()
        with contextlib.redirect_stdout(io.StringIO()):  # it prints a line per step
            trainer = SFTTrainer(
                model=student._fresh_model(), args=arguments, processing_class=tokenizer, peft_config=lora,
                train_dataset=Dataset.from_list(pairs),
            )  # fmt: skip
            trainer.train()
        return time.perf_counter() - begun


def answer_seconds(student: Student, prompts: list[str], size: int, length: int) -> tuple[float, list[str]]:
    """Seconds and answers of the student, `size` requests at a time."""
    requests = [GenerateRequest((Turn("user", p),), temperature=0, max_output_tokens=length) for p in prompts]
    begun = time.perf_counter()
    answers = [g for at in range(0, len(requests), size) for g in student.generate(requests[at : at + size])]
    return time.perf_counter() - begun, [a.candidates[0].text for a in answers]


def one_by_one_seconds(student: Student, prompts: list[str], length: int) -> tuple[float, list[str]]:
    """Seconds and answers of `transformers.generate`, a call per prompt."""
    import torch

    model: Any = student._fresh_model().eval()
    ends = sorted(student.encoder.end_ids)
    answers = []
    begun = time.perf_counter()
    for prompt in prompts:
        ids = torch.tensor([student.encoder.prompt((Turn("user", prompt),), None)])
        out = model.generate(ids, max_new_tokens=length, do_sample=False, eos_token_id=ends, pad_token_id=0)
        answers.append(student.encoder.decode(out[0, ids.shape[1] :].tolist()))
    return time.perf_counter() - begun, answers


def main() -> None:
    """Print the two ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("threads", 2), ("rows", 500), ("epochs", 4), ("rank", 8), ("answers", 200)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--weights", type=Path, help="another base's directory (default: the embedded one)")
    given = parser.parse_args()
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    student = Student(given.weights, threads=given.threads)
    rows = sample(given.rows)
    spec = TuningSpec(given.epochs, 1.0, given.rank, seed=1)
    student_seconds(student, rows[:32], spec)  # what is imported and compiled on first use is not counted
    own = student_seconds(student, rows, spec)
    print(f"tuning   {len(rows)} rows x {given.epochs} epochs, rank {given.rank}: student {own:6.1f} s")
    if importlib.util.find_spec("trl") is None:
        print("         TRL is not installed (pip install trl==1.16.0): no ratio")
    else:
        trl = trl_seconds(student, rows, spec)
        print(f"         TRL SFTTrainer {trl:6.1f} s: ratio {trl / own:.2f}")
    prompts = [row.turns[0].text for row in sample(given.answers)]
    student.generate([GenerateRequest((Turn("user", "warm up"),), temperature=0, max_output_tokens=4)])
    batched, ours = answer_seconds(student, prompts, 16, 12)
    single, theirs = one_by_one_seconds(student, prompts, 12)
    same = sum(a == b for a, b in zip(ours, theirs, strict=True))
    print(
        f"answers  {len(prompts)} short ones: 16 at a time {batched:5.2f} s, one by one {single:5.2f} s:"
        f" ratio {single / batched:.1f}; {same} of {len(prompts)} the same text"
    )


if __name__ == "__main__":
    main()
