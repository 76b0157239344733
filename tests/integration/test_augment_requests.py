# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Augmentation by a model behind the emulator: checked rows, paid for once."""

import json
import random
from pathlib import Path
from typing import Any

import pytest
from emulator_process import Emulator, Taken, cost_of
from oracles.shingles import jaccard, shingles

from gemtune.artifacts.cost import total
from gemtune.artifacts.data import AugmentationReport
from gemtune.data.example import Example, example_id, read_examples, write_examples
from gemtune.steps.augment import run

WORDS = {
    "refund": ["money", "back", "refund", "cash", "return", "repay", "credit", "charge"],
    "delivery": ["parcel", "package", "late", "courier", "shipping", "arrive", "address", "door"],
}
FILLERS = ["please", "the", "today", "my", "order", "again", "really", "want", "where", "soon", "tell", "you", "about"]


def made(label: str, seed: int, **more: Any) -> Example:
    draw = random.Random(f"{label} {seed}")
    words = draw.choices(FILLERS, k=6) + draw.choices(WORDS[label], k=4)
    draw.shuffle(words)
    text = " ".join(words)
    return Example(id=example_id(text, label), text=text, target=label, **more)


TRAIN = [*(made("refund", n) for n in range(60)), *(made("delivery", n) for n in range(12))]
HELD_OUT = {
    name: [made(label, n) for label in WORDS for n in range(at, at + 10)]
    for name, at in (("validation", 100), ("test", 200))
}
SPLITS = {"train": TRAIN, **HELD_OUT}


def augmented(folder: Path, **settings: Any) -> tuple[list[Example], AugmentationReport]:
    folder.mkdir()
    for name, rows in SPLITS.items():
        write_examples(folder / name, rows)
    evaluate, plan = {"base_model": "gemini-2.5-flash", "attempts": 2}, settings.pop("plan", {})
    paths = [str(folder / name) for name in SPLITS]
    output, report = str(folder / "augmented"), str(folder / "report")
    counts = run(paths, output, report, "rare", evaluate=evaluate, augment=settings, plan=plan)
    document = AugmentationReport.read(report)
    assert counts == {
        "new": document.new, "near": document.near, "relabelled": document.relabelled, "cost": cost(document)
    }  # fmt: skip
    return list(read_examples(output)), document


def cost(report: AugmentationReport) -> float:
    return total(report.spent).expected


def test_augment_writes_checked_rows_and_is_paid_for_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, taken: Taken
) -> None:
    reply = "1. where {} is my courier, late parcel number {}\n2. i want money back cash refund {}"
    answers = {row.text: reply.format(row.text.split()[0], n, n) for n, row in enumerate(TRAIN[60:])}
    (tmp_path / "script.json").write_text(json.dumps({"answers": answers, "base_accuracy": 1.0}))
    server = Emulator(tmp_path / "state", "--engine", f"scripted:{tmp_path / 'script.json'}")
    try:
        server.point(monkeypatch)
        settings = {"min_rows_per_label": 40, "methods": ["paraphrase", "perturb"], "max_per_row": 3}
        rows, report = augmented(tmp_path / "one", **settings)
        paid = cost_of(taken)
        again, unpaid = augmented(tmp_path / "two", **settings)
        assert cost_of(taken) == paid
        _, bounded = augmented(tmp_path / "three", plan={"max_cost": report.limit / 2000}, **settings)
    finally:
        server.kill()
    new = rows[len(TRAIN) :]
    assert rows[: len(TRAIN)] == TRAIN
    assert {row.target for row in new} == {"delivery"}
    assert {row.slices["made_by"] for row in new} == {"paraphrase", "perturb"}
    assert not any("refund" in row.text for row in new)
    assert report.relabelled >= 12
    assert report.new == len(new) == report.rows - len(TRAIN)
    assert cost(report) == pytest.approx(paid)
    assert report.leakage_report.clean
    held_out = [shingles(row.text) for name in HELD_OUT for row in HELD_OUT[name]]
    assert all(jaccard(shingles(row.text), other) < 0.8 for row in new for other in held_out)
    assert again == rows
    assert unpaid.spent == []
    assert [item.label for item in report.spent] == ["paraphrases"]
    assert all(item.stage == "actual" for item in report.spent)
    assert 0 < cost(bounded) <= bounded.limit == report.limit / 2000
    assert cost(bounded) < cost(report)
