# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The shipped samples are what their generator writes, and preprocessing finds exactly what was planted."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from examples import generate
from gemtune.data.example import Example, read_examples
from gemtune.data.split_assignment import SPLITS
from gemtune.steps import preprocess, split

COLUMNS: dict[str, Any] = {"split_column": "split", "group_column": "template", "slice_columns": ["phrasing"]}


@pytest.mark.parametrize("name", generate.SAMPLES)
def test_example_generator_reproduces_the_shipped_files(name: str) -> None:
    folder = generate.HERE / name
    rows, truth = generate.sample(yaml.safe_load((folder / "phrasings.yaml").read_text(encoding="utf-8")))
    assert rows.encode() == (folder / "rows.jsonl").read_bytes()
    assert truth == json.loads((folder / "planted.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module", params=generate.SAMPLES)
def outcome(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder, out = generate.HERE / request.param, tmp_path_factory.mktemp(request.param)
    files = [str(out / name) for name in ("examples", "dropped", "report")]
    preprocess.run(str(folder / "rows.jsonl"), *files, preprocess=COLUMNS)
    split.run(files[0], [str(out / name) for name in SPLITS], str(out / "split_report"), "", "")
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
