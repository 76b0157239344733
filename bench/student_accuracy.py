# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""What the samples' configurations reach: TF-IDF, prompts and the tuned student. Prints a Markdown table for each.

    python bench/student_accuracy.py [quickstart quickstart_ja] [--seeds 1 2 3 4 5] [--threads 1] [--write]

The steps preprocess and split make the rows, once for each split seed; prompts, trial, parsing and the selection of the
checkpoint are the configuration's, without the emulator. Accuracy on test rows, its lowest and highest of all split
seeds, by phrasing and by whether the ticket quotes another intent. `--write` puts the tables into docs/student.md.
Exit code 1: TF-IDF is not between 0.70 and 0.85, the tuned student is below the limit of `LIMITS`, or it is not better
than TF-IDF and every prompt by more than the interval of the difference.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from emulator.engines.base import GenerateRequest, TrainingRow, TuningSpec, TuningTask, Turn  # noqa: E402
from emulator.engines.student.engine import Student  # noqa: E402
from gemtune.artifacts.evaluation import Score  # noqa: E402
from gemtune.config import Config, ModelVariant, Prompt  # noqa: E402
from gemtune.data.example import Example, read_examples  # noqa: E402
from gemtune.data.split_assignment import SPLITS  # noqa: E402
from gemtune.evaluation import intervals  # noqa: E402
from gemtune.inference import few_shot, prompts, tfidf_baseline  # noqa: E402
from gemtune.inference.parsing import parse  # noqa: E402
from gemtune.steps import preprocess, split  # noqa: E402
from gemtune.tuning.checkpoint_selection import VariantScore, choose  # noqa: E402

LIMITS = {"quickstart": 0.88, "quickstart_ja": 0.80}  # lowest accuracy of the tuned student
TFIDF_RANGE = (0.70, 0.85)
TFIDF, TUNED = "TF-IDF with logistic regression", "tuned"
SLICES = {"phrasing": ("common", "rare"), "quoted": ("no", "yes")}
Scores = dict[str, list[bool]]
"""Model -> for each test row whether its answer is right."""


@dataclass(frozen=True)
class Sample:
    """A configuration with its rows of one split seed."""

    config: Config
    rows: dict[str, list[Example]]

    @classmethod
    def read(cls, name: str, seed: int) -> Sample:
        """The rows that a run of configs/NAME.yaml would have with this split seed."""
        config = Config.load(ROOT / "configs" / f"{name}.yaml", [f"split.seed={seed}"])
        sections = config.parameters()
        with tempfile.TemporaryDirectory() as folder:
            examples, splits = f"{folder}/examples", (f"{folder}/train", f"{folder}/validation", f"{folder}/test")
            section = {**sections["preprocess"], "find_label_issues": False}
            preprocess.run(
                str(ROOT / config.data), examples, f"{folder}/dropped", f"{folder}/report", preprocess=section
            )
            split.run(examples, splits, f"{folder}/split_report", "", "", split=sections["split"], preprocess=section)
            rows = {name: list(read_examples(path)) for name, path in zip(SPLITS, splits, strict=True)}
        task = prompts.resolve(config.task, rows["train"])
        return cls(config.model_copy(update={"task": task}), rows)

    def scores(self, student: Student) -> Scores:
        """Every model's answers to the test rows."""
        test, predicted = self.rows["test"], tfidf_baseline.predict(self.rows["train"], self.rows["test"])
        scores = {TFIDF: [output.text == row.target for output, row in zip(predicted, test, strict=True)]}
        for prompt in self.config.evaluate.baselines:
            scores[prompt.name] = self.answered(student, prompt, test)
            scores[f"{prompt.name}, kept to the labels"] = self.answered(student, prompt, test, kept=True)
        return scores | {TUNED: self.tuned(student)}

    def answered(
        self, student: Student, prompt: Prompt, rows: Sequence[Example], adapter: Path | None = None, kept: bool = False
    ) -> list[bool]:
        """For each row whether the model's answer is right."""
        shots = few_shot.select_shots(prompt, self.rows["train"], rows)
        requests = []
        for row, shown in zip(rows, shots, strict=True):
            rendered = prompts.render(self.config.task, prompt, row, shown)
            requests.append(
                GenerateRequest(
                    (Turn("user", rendered.contents[-1]["parts"][0]["text"]),),
                    system=rendered.system,
                    adapter=adapter,
                    temperature=0.0,
                    max_output_tokens=self.config.evaluate.max_output_tokens,
                    response_enum=tuple(self.config.task.labels) if kept else None,
                )
            )
        texts = [generation.candidates[0].text for generation in student.generate(requests)]
        parsed = [parse(self.config.task, prompt, text).value for text in texts]
        return [value == row.target for value, row in zip(parsed, rows, strict=True)]

    def tuned(self, student: Student) -> list[bool]:
        """The test rows' results of the checkpoint that a run would select."""
        prompt, trial = prompts.tuned_prompt(self.config.task), self.config.plan.trials[0]
        spec = TuningSpec(trial.epoch_count, trial.learning_rate_multiplier, trial.adapter_size, 1)
        with tempfile.TemporaryDirectory() as out:
            rows = [self.training_row(prompt, row) for row in self.rows["train"]]
            checkpoints = student.tune(TuningTask(rows, [], spec, Path(out))).checkpoints
            scored = []
            for checkpoint in checkpoints:
                hits = self.answered(student, prompt, self.rows["validation"], checkpoint.path)
                interval = intervals.wilson(sum(hits), len(hits))
                variant = ModelVariant.of(
                    {"name": checkpoint.checkpoint_id, "model": "student", "epoch": checkpoint.epoch}
                )
                score = Score(value=interval.value, low=interval.low, high=interval.high)
                own = tuple(intervals.deviations(intervals.mean(hits)))
                scored.append(VariantScore(variant, score, deviations=own))
            best, _ = choose(scored, self.config.select.one_standard_error)
            assert best is not None
            path = next(c.path for c in checkpoints if c.checkpoint_id == best.variant.name)
            return self.answered(student, prompt, self.rows["test"], path)

    def training_row(self, prompt: Prompt, row: Example) -> TrainingRow:
        """The row as the student is tuned on it."""
        rendered = prompts.render(self.config.task, prompt, row)
        user = Turn("user", rendered.contents[-1]["parts"][0]["text"])
        return TrainingRow((user, Turn("model", row.target)), rendered.system)

    def shares(self, right: Sequence[bool]) -> list[float]:
        """Accuracy on all test rows, then on each of `SLICES`."""
        rows = list(zip(self.rows["test"], right, strict=True))
        parts = [
            [hit for row, hit in rows if row.slices[name] == value]
            for name, values in SLICES.items()
            for value in values
        ]
        return [sum(part) / len(part) for part in ([hit for _, hit in rows], *parts)]


def failures(name: str, scores: Scores) -> Iterable[str]:
    """What of the promise does not hold."""
    share = {model: sum(right) / len(right) for model, right in scores.items()}
    if not TFIDF_RANGE[0] <= share[TFIDF] <= TFIDF_RANGE[1]:
        yield f"TF-IDF {share[TFIDF]:.3f} is not in {TFIDF_RANGE}"
    if share[TUNED] < LIMITS[name]:
        yield f"tuned {share[TUNED]:.3f} is below {LIMITS[name]}"
    for model in scores.keys() - {TUNED}:
        difference = intervals.paired(intervals.mean(scores[TUNED]), intervals.mean(scores[model]))
        if difference.low <= 0:
            yield f"tuned is not shown to be better than {model}: {difference.delta:+.3f}, from {difference.low:+.3f}"


def table(samples: Sequence[Sample], scores: Sequence[Scores]) -> str:
    """Lowest and highest accuracy of the split seeds, by model and slice."""
    lines = [
        "| model | all | common phrasing | rare phrasing | nothing quoted | another intent quoted |",
        "| --- " * 6 + "|",
    ]
    for model in scores[0]:
        columns = zip(*(s.shares(own[model]) for s, own in zip(samples, scores, strict=True)), strict=True)
        cells = [f"{min(column):.2f} to {max(column):.2f}" for column in columns]
        lines.append(f"| {model} | {' | '.join(cells)} |")
    return "\n".join(lines)


def write(name: str, text: str) -> None:
    """Replace the table between the markers of the configuration in docs/student.md."""
    path = ROOT / "docs" / "student.md"
    marked = re.compile(rf"(<!-- {name} -->\n).*?(\n<!-- end -->)", re.DOTALL)
    content = path.read_text(encoding="utf-8")
    path.write_text(marked.sub(lambda match: f"{match[1]}{text}{match[2]}", content), encoding="utf-8")


def main() -> int:
    """Print the tables; 0 when the promise holds on every split seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("configs", nargs="*", default=list(LIMITS), choices=list(LIMITS))
    parser.add_argument("--seeds", type=int, nargs="*", default=[1, 2, 3, 4, 5])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    student, broken = Student(None, threads=options.threads), 0
    for name in options.configs:
        samples, scores = [], []
        for seed in options.seeds:
            samples.append(Sample.read(name, seed))
            scores.append(samples[-1].scores(student))
            problems = list(failures(name, scores[-1]))
            broken += len(problems)
            print(f"{name}, split seed {seed}: {'; '.join(problems) or 'holds'}", file=sys.stderr, flush=True)
        text = table(samples, scores)
        print(f"{name}\n\n{text}\n", flush=True)
        if options.write:
            write(name, text)
    return min(broken, 1)


if __name__ == "__main__":
    sys.exit(main())
