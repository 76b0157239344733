# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Augmentation by a model behind the emulator: checked rows, paid for once."""

import json
import random
from pathlib import Path
from typing import Any

import pytest
from emulator_process import Emulator

from gemtune.catalogue import Catalogue
from gemtune.config import Split
from gemtune.data.example import Example, example_id, read_examples, write_examples
from gemtune.dedup import jaccard, shingles
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


def run_it(folder: Path, plan: Any = None, **config: Any) -> tuple[list[Example], dict[str, Any], dict[str, float]]:
    folder.mkdir(exist_ok=True)
    for name, rows in SPLITS.items():
        write_examples(folder / name, rows)
    outputs = [str(folder / name) for name in ("augmented", "report")]
    asking = {"base_model": "gemini-2.5-flash", "attempts": 2}
    paths = [str(folder / name) for name in SPLITS]
    counts = run(*paths, {}, Split().model_dump(), asking, config, {}, *outputs, plan)
    return list(read_examples(outputs[0])), json.loads(Path(outputs[1]).read_text()), counts


def test_augment_writes_checked_rows_and_is_paid_for_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reply = "1. where {} is my courier, late parcel number {}\n2. i want money back cash refund {}"
    asked = {row.text: reply.format(row.text.split()[0], n, n) for n, row in enumerate(TRAIN[60:])}
    (tmp_path / "script.json").write_text(json.dumps({"answers": asked, "base_accuracy": 1.0}))
    server = Emulator(tmp_path / "state", "--engine", f"scripted:{tmp_path / 'script.json'}")
    try:
        server.point(monkeypatch)
        setting = {"below": 40, "methods": ["paraphrase", "perturb"], "per_row": 3}
        rows, report, counts = run_it(tmp_path / "one", **setting)
        again, free, unpaid = run_it(tmp_path / "two", **setting)
        checking = {**setting, "recheck": "model"}
        _, checked, asked = run_it(tmp_path / "three", **checking)
        _, poor, few = run_it(tmp_path / "four", {"max_cost": checked["limit"] / 2000}, **checking)
    finally:
        server.kill()
    new = rows[len(TRAIN) :]
    assert rows[: len(TRAIN)] == TRAIN
    assert {row.target for row in new} == {"delivery"}
    assert {row.slices["made_by"] for row in new} == {"paraphrase", "perturb"}
    assert not any("refund" in row.text for row in new)
    assert counts["relabelled"] >= 12
    assert counts["made"] == len(new) == report["rows"] - len(TRAIN)
    price = Catalogue.load({}).price("", "gemini-2.5-flash")
    assert counts["cost"] == pytest.approx((counts["input"] * price.input + counts["output"] * price.output) / 1e6)
    assert counts["requests"] == 12
    assert report["certificate"]["clean"] is True
    guarded = [shingles(row.text) for name in HELD_OUT for row in HELD_OUT[name]]
    assert all(jaccard(shingles(row.text), held) < 0.8 for row in new for held in guarded)
    assert again == rows
    assert (unpaid["requests"], unpaid["cost"], free["spent"]) == (0, 0, [])
    assert [line["what"] for line in report["spent"]] == ["paraphrases (spent)"]
    assert [line["what"] for line in checked["spent"]] == ["paraphrases (spent)", "label checks of new rows (spent)"]
    assert asked["requests"] > 12
    assert sum(line["cost"] for line in checked["spent"]) == pytest.approx(asked["cost"])
    assert 0 < few["requests"] < asked["requests"]
    assert few["cost"] <= poor["limit"] == checked["limit"] / 2000
