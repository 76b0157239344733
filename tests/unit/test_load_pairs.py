# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Step load-pairs on the shipped sample of preferences."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

from examples import generate, preferences
from gemtune.artifacts.data import DataReport
from gemtune.config import Task
from gemtune.data.example import read_examples
from gemtune.steps import load_pairs

FOLDER = generate.HERE / preferences.NAME
TASK = Task(kind="generation", instruction="Answer.", text_name="Request", target_name="Answer")


def test_preference_example_is_reproduced_by_its_generator() -> None:
    rows, truth = preferences.sample(generate.read_recipe(preferences.NAME))
    assert rows.encode() == (FOLDER / "pairs.jsonl").read_bytes()
    assert truth == json.loads((FOLDER / "planted.json").read_text())


def test_load_pairs_finds_exactly_the_planted_problems(tmp_path: Path) -> None:
    files = [str(tmp_path / name) for name in ("examples", "dropped", "report")]
    data, preprocess = str(FOLDER / "pairs.jsonl"), {"slice_columns": ["topic"]}
    counts = load_pairs.run(data, *files, "tone", task=TASK.model_dump(), preprocess=preprocess, preference={})
    truth = json.loads((FOLDER / "planted.json").read_text())
    dropped = {row["line"]: row["reason"] for row in map(json.loads, (tmp_path / "dropped").open())}
    kept = [pair.line for example in read_examples(files[0]) for pair in example.pairs]
    assert sorted([*kept, *dropped]) == list(range(1, truth["lines"] + 1))
    for kind in ("exact_duplicates", "near_duplicates"):
        for copy in truth[kind]:
            assert (copy["line"] in dropped) != (copy["of"] in dropped)
    for pair in truth["contradictions"]:
        assert dropped[pair["line"]] == dropped[pair["with"]] == "contradiction"
    for fault in truth["broken"]:
        assert dropped[fault["line"]] == fault["reason"]
    planted = len(truth["exact_duplicates"]) + len(truth["near_duplicates"]) + 2 * len(truth["contradictions"])
    assert len(dropped) == planted + len(truth["broken"])
    report = DataReport.read(tmp_path / "report")
    assert counts["prompts"] == truth["prompts"]
    assert Counter(dropped.values()) == report.dropped
