# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""What the student scores on real data: prompted, tuned, beside TF-IDF and other baselines. Prints a table.

    python bench/student_real.py --data DIR [--epochs 6] [--seeds 1] [--rank 8] [--threads 1]

DIR holds public sets as JSON lines (gzipped or not): `classification/banking77/{train,test}`, of which the ten most
frequent labels are taken; `sentiment/sentence_polarity/derived_{train,test}`;
`sentiment/ja_economy_watchers/derived_{train,test}` with `text` and `label`; and `extraction/snips_slots/{train,valid}`
with `text` and `fields`, a JSON object. 500 training rows and 300 test rows are drawn by seed 0 from the set's own
splits, no text twice, none in both. Prompts, parsing, metrics and intervals are gemtune's.

Nothing is chosen on these rows. Labels are scored by accuracy, extraction by micro F1 over field values. Cells are the
value with its 95 % interval over test rows (tuned: over rows, averaged over seeds, with the lowest and highest seed).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench.public_data import data_folder, data_rows  # noqa: E402
from emulator.engines.base import GenerateRequest, TrainingRow, TuningSpec, TuningTask, Turn  # noqa: E402
from emulator.engines.student.engine import Student  # noqa: E402
from gemtune.config import Prompt, Task  # noqa: E402
from gemtune.data.example import Example  # noqa: E402
from gemtune.evaluation import metrics  # noqa: E402
from gemtune.evaluation.intervals import Measure, interval  # noqa: E402
from gemtune.inference import few_shot, prompts, tfidf_baseline  # noqa: E402
from gemtune.inference.parsing import canonical, parse  # noqa: E402

LABELS = ("Classify the customer's question into exactly one intent.", "Question", "Intent")
REVIEW = ("Say whether the review is positive or negative.", "Review", "Sentiment")
ECONOMY = ("Say how the writer finds the state of business.", "Comment", "Outlook")
SLOTS = ("Extract the intent and the slots of the request as a JSON object.", "Request", "JSON")
SETS = {  # folder, training file, test file, kind, wording, shots
    "banking77, 10 classes": ("classification/banking77", "train", "test", "classification", LABELS, 10),
    "sentence_polarity": ("sentiment/sentence_polarity", "derived_train", "derived_test", "sentiment", REVIEW, 4),
    "ja_economy_watchers": ("sentiment/ja_economy_watchers", "derived_train", "derived_test", "sentiment", ECONOMY, 5),
    "snips_slots": ("extraction/snips_slots", "train", "valid", "extraction", SLOTS, 4),
}


@dataclass(frozen=True)
class Set:
    """One task with the rows drawn for it."""

    task: Task
    train: list[Example]
    test: list[Example]
    shots: int

    @property
    def metric(self) -> str:
        """What the set is scored by."""
        return "field_f1" if self.task.kind == "extraction" else "accuracy"

    def measure(self, answers: Sequence[str | None], prompt: Prompt) -> Measure:
        """The score of answers to the test rows."""
        rows = [
            metrics.Row(canonical(self.task, e.target) or "", parse(self.task, prompt, a).value, a, e.target)
            for e, a in zip(self.test, answers, strict=True)
        ]
        return metrics.measure(self.task, self.metric, rows)


def examples(rows: Sequence[dict[str, Any]]) -> list[Example]:
    """Rows as examples; a text that comes again is left out."""
    found: dict[str, Example] = {}
    for row in rows:
        target = row["label"] if "label" in row else json.dumps(row["fields"], ensure_ascii=False)
        key = row["text"].casefold()
        found.setdefault(key, Example(hashlib.sha256(key.encode()).hexdigest()[:12], row["text"], target))
    return list(found.values())


def drawn(name: str, data: Path, most_train: int, most_test: int) -> Set:
    """The rows of a set, drawn by a seed."""
    folder, train_name, test_name, kind, (instruction, text_name, target_name), count = SETS[name]
    train, test = (examples(data_rows(data / folder, part)) for part in (train_name, test_name))
    if kind == "classification":
        kept = {label for label, _ in Counter(e.target for e in train).most_common(10)}
        train, test = ([e for e in part if e.target in kept] for part in (train, test))
    seen = {e.id for e in test}
    train = [e for e in train if e.id not in seen]
    rng = random.Random(0)
    train, test = (rng.sample(part, min(most, len(part))) for part, most in ((train, most_train), (test, most_test)))
    fields: dict[str, Any] = {"kind": kind, "instruction": instruction, "text_name": text_name}
    task = Task.of({**fields, "target_name": target_name})
    if kind == "extraction":
        names = sorted({name for e in train for name in json.loads(e.target)})
        schema = {"type": "object", "properties": {name: {} for name in names}}
        return Set(task.model_copy(update={"output_schema": schema}), train, test, count)
    return Set(prompts.resolve(task, train), train, test, count)


def request(work: Set, prompt: Prompt, example: Example, chosen: Sequence[Example], how: dict[str, Any]) -> Any:
    """The engine's request for a row, as gemtune renders it."""
    asked = prompts.render(work.task, prompt, example, chosen)
    turns = tuple(Turn(c["role"], c["parts"][0]["text"]) for c in asked.contents)
    json_only = {"type": "object"} if work.task.kind == "extraction" else None
    length = 100 if json_only else 24
    return GenerateRequest(
        turns, asked.system, temperature=0, max_output_tokens=length, response_json_schema=json_only, **how
    )


def ask(student: Student, work: Set, prompt: Prompt, **how: Any) -> list[str | None]:
    """Greedy answers to the test rows."""
    chosen = few_shot.select_shots(prompt, work.train, work.test)
    requests = [request(work, prompt, e, s, how) for e, s in zip(work.test, chosen, strict=True)]
    return [generation.candidates[0].text for generation in student.generate(requests)]


def tuned(student: Student, work: Set, spec: TuningSpec) -> Measure:
    """The score after one job on the training rows."""
    prompt = prompts.tuned_prompt(work.task)
    rows = []
    for example in work.train:
        asked = request(work, prompt, example, (), {})
        rows.append(TrainingRow((*asked.turns, Turn("model", example.target)), asked.system))
    with tempfile.TemporaryDirectory() as out:
        result = student.tune(TuningTask(rows, [], spec, Path(out)))
        return work.measure(ask(student, work, prompt, adapter=result[-1].path), prompt)


# -- free baselines ---------------------------------------------------------------------------------------------


def most_frequent(work: Set) -> list[str | None]:
    """The most frequent answer of training, to every row; for extraction the most frequent intent alone."""
    targets = [e.target for e in work.train]
    if work.task.kind == "extraction":
        targets = [json.dumps({"intent": json.loads(target)["intent"]}) for target in targets]
    return [Counter(targets).most_common(1)[0][0]] * len(work.test)


def nearest(work: Set) -> list[str | None]:
    """The answer of the training row most alike: what a prompt with examples gives away."""
    chosen = few_shot.select_shots(
        Prompt.of({"name": "alike", "shots": 1, "selection": "similar"}), work.train, work.test
    )
    return [shown[0].target for shown in chosen]


def regression(work: Set) -> list[str | None]:
    """TF-IDF with logistic regression; for extraction that for the intent, and a logistic regression per word."""
    if work.task.kind != "extraction":
        return [given.text for given in tfidf_baseline.predict(work.train, work.test)]
    intents = [Example(e.id, e.text, json.loads(e.target)["intent"]) for e in work.train]
    found = [given.text for given in tfidf_baseline.predict(intents, work.test)]
    return [
        json.dumps({"intent": intent, **slots}, ensure_ascii=False)
        for intent, slots in zip(found, word_slots(work.train, work.test), strict=True)
    ]


def word_features(words: Sequence[str], at: int) -> dict[str, Any]:
    """A word with its ending, its shape and two neighbours on each side."""
    word = words[at]
    around = {f"word{k:+d}": words[at + k].casefold() for k in range(-2, 3) if 0 <= at + k < len(words)}
    return {
        **around,
        "end": word[-3:].casefold(),
        "title": word[:1].isupper(),
        "digit": word.isdigit(),
        "at": min(at, 3),
    }


def tagged(example: Example) -> tuple[list[str], list[str]]:
    """(words, the field each word belongs to or `-`): a value's words, where they first stand free in the text."""
    words = example.text.split()
    tags = ["-"] * len(words)
    alphanumeric_key = [word.strip(".,!?").casefold() for word in words]
    for name, value in json.loads(example.target).items():
        for text in value if isinstance(value, list) else [value]:
            part = [word.strip(".,!?").casefold() for word in text.split()]
            for start in range(len(words) - len(part) + 1):
                span = slice(start, start + len(part))
                if name != "intent" and alphanumeric_key[span] == part and set(tags[span]) == {"-"}:
                    tags[span] = [name] * len(part)
                    break
    return words, tags


def word_slots(train: Sequence[Example], test: Sequence[Example]) -> list[dict[str, str]]:
    """Fields of the test rows: neighbouring words of one predicted field are its value."""
    from sklearn.feature_extraction import DictVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    pairs = [(word_features(words, i), tag) for words, tags in map(tagged, train) for i, tag in enumerate(tags)]
    model = make_pipeline(DictVectorizer(), LogisticRegression(C=10, max_iter=300))
    model.fit([features for features, _ in pairs], [tag for _, tag in pairs])
    found = []
    for example in test:
        words = example.text.split()
        slots: dict[str, str] = {}
        for word, tag in zip(words, model.predict([word_features(words, i) for i in range(len(words))]), strict=True):
            if tag != "-":
                slots[tag] = f"{slots[tag]} {word.strip('.,!?')}" if tag in slots else word.strip(".,!?")
        found.append(slots)
    return found


# -- the table -------------------------------------------------------------------------------------------------------


def shown(measure: Measure) -> str:
    """A value with its interval."""
    found = interval(measure)
    return f"{found.value:.2f} ({found.low:.2f} to {found.high:.2f})"


def over_seeds(measures: Sequence[Measure]) -> str:
    """Rows' sums added over seeds, so that the interval is over rows; of several seeds, the lowest and highest too."""
    summed = Measure(sum(m.sums for m in measures), measures[0].formula)
    single = sorted(m.value() for m in measures)
    return shown(summed) + (f"; {single[0]:.2f}, {single[-1]:.2f}" if len(single) > 1 else "")


def variants(student: Student, work: Set, given: argparse.Namespace) -> Iterator[tuple[str, str]]:
    """(name, cell) of everything that answers the set."""
    zero = Prompt.of({})
    yield "always the most frequent", shown(work.measure(most_frequent(work), zero))
    yield "TF-IDF + logistic regression", shown(work.measure(regression(work), zero))
    yield "the answer of the most alike row", shown(work.measure(nearest(work), zero))
    yield "zero-shot", shown(work.measure(ask(student, work, zero), zero))
    if work.task.labels:
        kept = ask(student, work, zero, response_enum=tuple(work.task.labels))
        yield "zero-shot, kept to the labels", shown(work.measure(kept, zero))
    for selection, named in (
        ("balanced" if work.task.labels else "random", "few-shot"),
        ("similar", "few-shot, alike"),
    ):
        prompt = Prompt.of({"name": "few", "shots": work.shots, "selection": selection})
        yield named, shown(work.measure(ask(student, work, prompt), prompt))
    specs = [TuningSpec(given.epochs, 1.0, given.rank, seed) for seed in given.seeds]
    yield "tuned", over_seeds([tuned(student, work, spec) for spec in specs])


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--seeds", type=int, nargs="*", default=[1])
    for name, default in (("epochs", 6), ("rank", 8), ("threads", 0), ("train", 500), ("test", 300)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--sets", nargs="*", default=list(SETS), choices=list(SETS))
    parser.add_argument("--weights", type=Path, help="another base's directory (default: the embedded one)")
    given = parser.parse_args()
    files = [f"{SETS[name][0]}/{split}" for name in given.sets for split in SETS[name][1:3]]
    data_folder(parser, given.data, files, "a key `text`, and `label` or `fields`")
    warnings.filterwarnings("ignore")
    student = Student(given.weights, threads=given.threads)
    begun = time.process_time()
    table: dict[str, dict[str, str]] = {}
    for name in given.sets:
        work = drawn(name, given.data, given.train, given.test)
        for variant, cell in variants(student, work, given):
            table.setdefault(variant, {})[name] = cell
            print(f"{name}, {len(work.train)} + {len(work.test)} rows: {variant} {cell}", file=sys.stderr, flush=True)
    print(f"| model | {' | '.join(given.sets)} |\n| --- |{' --- |' * len(given.sets)}")
    for variant, cells in table.items():
        print(f"| {variant} | {' | '.join(cells.get(name, '–') for name in given.sets)} |")
    print(
        f"\n{given.epochs} epochs, rank {given.rank}; {time.process_time() - begun:.0f} CPU seconds.", file=sys.stderr
    )


if __name__ == "__main__":
    main()
