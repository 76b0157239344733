# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Split assignments recorded in a bucket of the emulator."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from emulator_process import Emulator

from gemtune.artifacts.data import SplitReport
from gemtune.data.example import Example, example_id, read_examples, write_examples
from gemtune.data.split_assignment import SPLITS
from gemtune.steps.split import run


def made(text: str, label: str = "a", **more: Any) -> Example:
    return Example(id=example_id(text, label), text=text, target=label, **more)


def test_split_records_assignments_between_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    examples = [made(f"{i * 7919} tells of {i * 104729}", "ab"[i % 2]) for i in range(300)]
    server = Emulator(tmp_path / "state")
    try:
        server.point(monkeypatch)
        homes = []
        for count in (200, 300):
            outputs, report = [str(tmp_path / f"{name}{count}") for name in SPLITS], str(tmp_path / f"report{count}")
            write_examples(tmp_path / "examples", examples[-count:])
            run(str(tmp_path / "examples"), outputs, report, "", "support", vertex={"location": "us-central1"})
            homes.append({e.id: n for n, p in zip(SPLITS, outputs, strict=True) for e in read_examples(p)})
        assert SplitReport.read(report).assignments_kept == len(homes[0]) == 200
    finally:
        server.kill()
    assert {key: homes[1][key] for key in homes[0]} == homes[0]
    assert Counter(homes[1].values()) == {"train": 180, "validation": 45, "test": 75}
