# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Weight goes to hard rows, never to likely label errors, and never beyond what was asked."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rehearsed import PHRASES, examples

from gemtune.config import Hard
from gemtune.data import Example, example_id, read_examples, write_examples
from gemtune.errors import UserError
from gemtune.tuning import hard

ROWS = examples(60, 1)


@given(st.sets(st.sampled_from([row.id for row in ROWS])), st.floats(0, 0.95), st.integers(1, 5), st.integers(0, 9))
def test_every_row_stays_and_hard_rows_fill_their_share(ids: set[str], share: float, most: int, seed: int) -> None:
    result = hard.weighted(ROWS, ids, Hard(share=share, most_copies=most, seed=seed))
    copies = Counter(row.id for row in result)
    assert set(copies) == {row.id for row in ROWS}
    assert all(copies[row.id] == 1 for row in ROWS if row.id not in ids)
    counts = [copies[identity] for identity in ids]
    assert max(counts, default=1) <= max(1, most)
    assert max(counts, default=1) - min(counts, default=1) <= 1
    reached = sum(counts) / len(result)
    assert reached <= max(share, len(ids) / len(ROWS)) + 1 / len(result)
    if ids and len(ids) < len(ROWS) and max(counts) < most:
        assert reached >= share - 1 / len(result)
    assert result == hard.weighted(ROWS, ids, Hard(share=share, most_copies=most, seed=seed))


def answers(path: Path, rows: list[Example], wrong: set[str]) -> str:
    def told(row: Example) -> dict[str, Any]:
        parsed = None if row.id in wrong else row.target
        return {"contestant": "zero_shot", "id": row.id, "reference": row.target, "parsed": parsed}

    path.write_text("".join(json.dumps(told(row)) + "\n" for row in rows))
    return str(path)


def ran(folder: Path, rows: list[Example], wrong: set[str], **settings: Any) -> tuple[list[Example], dict[str, Any]]:
    train, out = str(folder / "train.jsonl"), str(folder / "weighted.jsonl")
    write_examples(train, rows)
    predictions = answers(folder / "predictions.jsonl", rows, wrong)
    report = hard.run(train, predictions, settings, out, str(folder / "report.json"))
    return list(read_examples(out)), report


def test_planted_label_errors_get_no_weight(tmp_path: Path) -> None:
    planted = []
    for row in ROWS[:3]:
        lie = next(label for label in PHRASES if label != row.target)
        planted.append(Example(id=example_id(row.text, lie), text=row.text, target=lie))
    rows = [*planted, *ROWS[3:], *examples(90, 2)]
    really = {row.id for row in ROWS[10:20]}
    result, report = ran(tmp_path, rows, really | {row.id for row in planted}, share=0.3)
    copies = Counter(row.id for row in result)
    assert {row.id for row in planted} <= set(report["suspect"])
    assert [copies[row.id] for row in planted] == [1, 1, 1]
    assert min(copies[identity] for identity in really - set(report["suspect"])) == 3


def test_share_zero_is_the_other_arm_of_an_ablation(tmp_path: Path) -> None:
    result, report = ran(tmp_path, ROWS, {ROWS[0].id})
    assert result == ROWS
    assert (report["hard"], report["weighted_rows"]) == (1, 60)


def test_answers_to_other_rows_are_refused(tmp_path: Path) -> None:
    write_examples(tmp_path / "train.jsonl", ROWS[:30])
    predictions = answers(tmp_path / "p.jsonl", ROWS, {ROWS[40].id})
    paths = [str(tmp_path / name) for name in ("out.jsonl", "report.json")]
    with pytest.raises(UserError, match="not training rows"):
        hard.run(str(tmp_path / "train.jsonl"), predictions, {"share": 0.5}, *paths)
