# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Does the student behave as theory says? An experiment on the English sample, printed as a Markdown table.

    python -m tools.pretrain_student.bench.theory [--rows 300] [--threads 1]

Loss falls; a larger rank and more epochs fit better; a far too large multiplier diverges and far too many epochs on few
rows overfit; shuffled labels give no gain on rows not seen; DPO raises the margin between chosen and rejected answers
and a smaller beta moves further. Each line ends with `yes` or `NO`; the command fails when there is a `NO`.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import warnings
from dataclasses import dataclass, replace
from pathlib import Path

from emulator.engines.base import GenerateRequest, PreferenceRow, StepMetrics, TrainingRow, TuningSpec, TuningTask, Turn
from emulator.engines.student.engine import Student
from tools.pretrain_student.bench.samples import support_tickets

INSTRUCTION = "Classify the support ticket into exactly one intent."
SPEC = TuningSpec(epoch_count=4, learning_rate_multiplier=1.0, adapter_size=8, seed=1)


def sample() -> list[tuple[str, str]]:
    """Sound rows of the English sample, (text, label), labels of more than twenty rows."""
    pairs: list[tuple[str, str]] = []
    for row in support_tickets():
        pairs.append((row["text"], row["label"]))
    labels = [label for _, label in pairs]
    return [pair for pair in dict.fromkeys(pairs) if labels.count(pair[1]) > 20]


def conversation(text: str) -> tuple[Turn, ...]:
    """The prompt of a row."""
    return (Turn("user", f"Ticket: {text}\nIntent:"),)


@dataclass
class Outcome:
    """What a job left: its curve, and accuracy of its last checkpoint on rows it did not see."""

    curve: list[StepMetrics]
    accuracy: float

    def last(self, name: str) -> float:
        """The last value of a metric."""
        return [p.values[name] for p in self.curve if name in p.values][-1]

    @property
    def fitted(self) -> float:
        """Mean training loss of the last epoch."""
        losses = [p.values["/train_total_loss"] for p in self.curve if p.epoch > self.curve[-1].epoch - 1]
        return sum(losses) / len(losses)


class Lab:
    """Runs jobs on fixed splits of the sample."""

    def __init__(self, student: Student, rows: int) -> None:
        self.student = student
        pairs = sample()
        random.Random(0).shuffle(pairs)
        self.train, self.unseen = pairs[:rows], pairs[rows : rows + 200]

    def run(self, spec: TuningSpec, pairs: list[tuple[str, str]] | None = None) -> Outcome:
        """Tune on `pairs` (the training rows if none are given), look at the unseen rows."""
        curve: list[StepMetrics] = []
        train, unseen = (
            [TrainingRow((*conversation(t), Turn("model", label)), INSTRUCTION) for t, label in part]
            for part in (pairs or self.train, self.unseen)
        )
        with tempfile.TemporaryDirectory() as out:
            result = self.student.tune(TuningTask(train, unseen, spec, Path(out), curve.append))
            requests = [
                GenerateRequest(conversation(t), INSTRUCTION, result[-1].path, temperature=0, max_output_tokens=12)
                for t, _ in self.unseen
            ]
            answers = [g.candidates[0].text for g in self.student.generate(requests)]
        right = sum(a == label for a, (_, label) in zip(answers, self.unseen, strict=True))
        return Outcome(curve, right / len(answers))

    def margin(self, beta: float) -> float:
        """Mean growth of log p(chosen) - log p(rejected) over the rows of a DPO job, from its own loss curve's data."""
        import torch

        from emulator.engines.student.training import PreferenceRun

        labels = sorted({label for _, label in self.train})
        rng = random.Random(0)
        rows = [
            PreferenceRow(conversation(t), label, rng.choice([x for x in labels if x != label]), INSTRUCTION)
            for t, label in self.train[:160]
        ]
        spec = replace(SPEC, epoch_count=2, beta=beta, learning_rate_multiplier=0.2)
        coded = [self.student.encoder.pair(row, 2048) for row in rows]
        with tempfile.TemporaryDirectory() as out:
            result = self.student.tune(TuningTask(rows, [], spec, Path(out)))
            margins = []
            for adapter in (None, result[-1].path):
                start = replace(spec, initial_adapter=adapter)
                job = PreferenceRun(self.student.load_model(), start, self.student.settings)
                with torch.no_grad():
                    margins.append(float(torch.cat([job.margins(coded[i : i + 32]) for i in range(0, 160, 32)]).mean()))
        return margins[1] - margins[0]


def claims(lab: Lab) -> list[tuple[str, str, bool]]:
    """(claim, figures, holds)."""
    base = lab.run(SPEC)
    first = base.curve[0].values["/train_total_loss"]
    ranks = {rank: lab.run(replace(SPEC, adapter_size=rank)).fitted for rank in (1, 4)} | {8: base.fitted}
    epochs = {n: lab.run(replace(SPEC, epoch_count=n)).fitted for n in (1, 2)} | {4: base.fitted}
    wild = lab.run(replace(SPEC, learning_rate_multiplier=40.0))
    few = lab.run(replace(SPEC, epoch_count=80, learning_rate_multiplier=2.0, checkpoint_count=20), lab.train[:40])
    evals = [p.values["/eval_total_loss"] for p in few.curve if "/eval_total_loss" in p.values]
    labels = [label for _, label in lab.train]
    random.Random(5).shuffle(labels)
    noise = lab.run(SPEC, [(t, label) for (t, _), label in zip(lab.train, labels, strict=True)])
    chance = 1 / len(set(labels))
    margins = {beta: lab.margin(beta) for beta in (0.05, 0.2, 1.0)}

    def listed(values: dict[float, float] | dict[int, float]) -> str:
        return ", ".join(f"{k}: {v:.3f}" for k, v in values.items())

    return [
        ("loss falls", f"{first:.2f} to {base.fitted:.3f}", base.fitted < first / 4),
        ("a larger rank fits better (last epoch's loss)", listed(ranks), ranks[1] > ranks[4] > ranks[8]),
        ("more epochs fit better (last epoch's loss)", listed(epochs), epochs[1] > epochs[2] > epochs[4]),
        (
            "a multiplier of 40 diverges (loss, accuracy)",
            f"{wild.fitted:.2f}, {wild.accuracy:.2f} beside {base.fitted:.3f}, {base.accuracy:.2f}",
            wild.fitted > 5 * base.fitted and wild.accuracy < base.accuracy - 0.2,
        ),
        (
            "80 epochs at multiplier 2 on 40 rows overfit (training loss; lowest, last evaluation loss)",
            f"{few.fitted:.4f}; {min(evals):.2f}, {evals[-1]:.2f}",
            few.fitted < 0.05 and evals[-1] > 1.1 * min(evals),
        ),
        (
            "shuffled labels give no gain (accuracy on unseen rows)",
            f"{noise.accuracy:.2f} beside {base.accuracy:.2f}, chance {chance:.2f}",
            noise.accuracy < chance + 0.1 < base.accuracy,
        ),
        (
            "DPO raises the margin, smaller beta further",
            listed(margins),
            margins[0.05] > margins[0.2] > margins[1.0] > 0,
        ),
    ]


def main() -> int:
    """Print the table; 1 when a claim does not hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=300)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--weights", type=Path, help="another base's directory (default: the embedded one)")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    results = claims(Lab(Student(arguments.weights, threads=arguments.threads), arguments.rows))
    print("| claim | measured | holds |\n| --- | --- | --- |")
    for claim, figures, holds in results:
        print(f"| {claim} | {figures} | {'yes' if holds else 'NO'} |")
    return 0 if all(holds for _, _, holds in results) else 1


if __name__ == "__main__":
    sys.exit(main())
