# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The shipped samples are what their generator writes, and preprocessing finds exactly what was planted."""

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from examples import generate
from gemtune.config import Config
from gemtune.data.example import Example, read_examples
from gemtune.data.split_assignment import SPLITS
from gemtune.inference import tfidf_baseline
from gemtune.steps import preprocess, split

CONFIGS = generate.HERE.parent / "configs"
TICKETS = ("support_en", "support_ja")
MENTIONS = ("quoted", "negated", "two_wishes")
COLUMNS: dict[str, Any] = {
    "split_column": "split", "group_column": "template", "slice_columns": ["phrasing", *MENTIONS]
}  # fmt: skip


@pytest.mark.parametrize("name", generate.SAMPLES)
def test_example_generator_reproduces_the_shipped_files(name: str) -> None:
    folder = generate.HERE / name
    rows, truth = generate.sample(generate.read_recipe(name))
    assert rows.encode() == (folder / "rows.jsonl").read_bytes()
    assert truth == json.loads((folder / "planted.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module", params=TICKETS)
def outcome(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder, out = generate.HERE / request.param, tmp_path_factory.mktemp(request.param)
    files = [str(out / name) for name in ("examples", "dropped", "report")]
    preprocess.run(str(folder / "rows.jsonl"), *files, preprocess={**COLUMNS, "find_label_issues": False})
    splits = [str(out / name) for name in SPLITS]
    split.run(files[0], splits, str(out / "split_report"), "", "", split={"semantic_threshold": 0})
    return folder, out


def test_preprocess_finds_exactly_the_planted_problems(outcome: tuple[Path, Path]) -> None:
    folder, out = outcome
    truth = json.loads((folder / "planted.json").read_text())
    dropped = {row["line"]: row for row in map(json.loads, (out / "dropped").open())}
    kept = {example.line for example in read_examples(out / "examples")}
    assert kept | set(dropped) == set(range(1, truth["lines"] + 1))
    copies = truth["exact_duplicates"] + truth["near_duplicates"]
    for copy in copies:
        assert (copy["line"] in kept) != (copy["of"] in kept)
    for pair in truth["conflicts"]:
        assert dropped[pair["line"]]["reason"] == dropped[pair["with"]]["reason"] == "label_conflict"
    for fault in truth["broken"]:
        assert dropped[fault["line"]]["reason"] == fault["reason"]
    assert len(dropped) == len(copies) + 2 * len(truth["conflicts"]) + len(truth["broken"])


def test_example_test_rows_have_a_third_of_unseen_phrasings(outcome: tuple[Path, Path]) -> None:
    _, out = outcome
    splits = {name: list(read_examples(out / name)) for name in ("train", "validation", "test")}
    rare = [example for example in splits["test"] if example.slices["phrasing"] == "rare"]
    assert 0.3 < len(rare) / len(splits["test"]) < 0.4
    assert all(example.slices["phrasing"] == "common" for name in ("train", "validation") for example in splits[name])
    assert all(min(labels(splits[name]).values()) >= 3 for name in splits)


def labels(examples: list[Example]) -> Counter[str]:
    return Counter(example.target for example in examples)


def test_example_tickets_with_a_void_quotation_are_a_third_and_cost_tfidf_half(outcome: tuple[Path, Path]) -> None:
    _, out = outcome
    splits = {name: list(read_examples(out / name)) for name in SPLITS}
    rows = [example for split in splits.values() for example in split]
    shares = {kind: sum(row.slices[kind] == "yes" for row in rows) / len(rows) for kind in MENTIONS}
    assert 0.3 <= shares["quoted"] <= 0.35
    assert 0.02 <= shares["negated"] <= 0.1
    assert 0.02 <= shares["two_wishes"] <= 0.1
    predicted = tfidf_baseline.predict(splits["train"], splits["test"])
    right = [output.text == row.target for output, row in zip(predicted, splits["test"], strict=True)]
    quoted = [hit for hit, row in zip(right, splits["test"], strict=True) if row.slices["quoted"] == "yes"]
    assert 0.7 <= sum(right) / len(right) <= 0.85
    assert sum(quoted) / len(quoted) < 0.65


def test_example_frames_of_rare_tickets_are_in_no_training_row(outcome: tuple[Path, Path]) -> None:
    folder, out = outcome
    rare = [
        max(re.split(r"\{\w+\}", frame), key=len)  # the longest part without a slot
        for mention in generate.read_recipe(folder.name)["mentions"].values()
        for frame in mention["rare"]
    ]
    texts = {name: [row.text for row in read_examples(out / name)] for name in SPLITS}
    for part in rare:
        assert not any(part in text for name in ("train", "validation") for text in texts[name]), part
    assert sum(any(part in text for text in texts["test"]) for part in rare) >= len(rare) - 1


def test_shipped_configurations_have_names_of_their_own_and_data_that_exist() -> None:
    configs = [Config.load(path) for path in sorted(CONFIGS.glob("*.yaml"))]
    assert len({config.name for config in configs}) == len(configs)
    assert all(config.data.startswith("gs://") or (CONFIGS.parent / config.data).exists() for config in configs)
