# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Step hard_examples on the emulator's answers."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from samples import PHRASES, examples, sections

from gemtune.config import Contestant
from gemtune.data.example import Example, example_id, read_examples, write_examples
from gemtune.errors import UserError
from gemtune.steps import hard_examples
from gemtune.vertex import Client

PROMPT = Contestant(name="zero_shot", model="gemini-3.1-flash-lite").model_dump(mode="json")
ROWS = examples(60, 1)


def answers(path: Path, rows: list[Example], wrong: set[str]) -> str:
    def told(row: Example) -> dict[str, Any]:
        parsed = None if row.id in wrong else row.target
        return {"contestant": "zero_shot", "id": row.id, "reference": row.target, "parsed": parsed}

    path.write_text("".join(json.dumps(told(row)) + "\n" for row in rows))
    return str(path)


class Ran:
    """The step, run on rows of which some were answered wrongly; validation rows are others of the same kind."""

    def __init__(self, folder: Path, rows: list[Example], wrong: set[str] | None, **settings: Any) -> None:
        folder.mkdir(exist_ok=True)
        names = ("train", "validation", "predictions", "weighted", "marked", "report")
        train, held_out, said, out, marked, told = (str(folder / f"{name}.jsonl") for name in names)
        write_examples(train, rows)
        write_examples(held_out, examples(40, 9))
        Path(said).write_text("")
        if wrong is not None:
            answers(Path(said), rows, wrong)
        c = sections()
        self.counts = hard_examples.run(train, held_out, said, PROMPT, settings, c["vertex"], out, marked, told)
        self.rows, self.marked = list(read_examples(out)), list(read_examples(marked))
        self.report = json.loads(Path(told).read_text())


def test_reweight_skips_planted_label_issues(client: Client, tmp_path: Path) -> None:
    planted = []
    for row in ROWS[:3]:
        lie = next(label for label in PHRASES if label != row.target)
        planted.append(Example(id=example_id(row.text, lie), text=row.text, target=lie))
    rows = [*planted, *ROWS[3:], *examples(90, 2)]
    really = {row.id for row in ROWS[10:20]}
    ran = Ran(tmp_path, rows, really | {row.id for row in planted}, share=0.3)
    copies = Counter(row.id for row in ran.rows)
    assert {row.id for row in planted} <= set(ran.report["suspect"])
    assert [copies[row.id] for row in planted] == [1, 1, 1]
    assert min(copies[identity] for identity in really - set(ran.report["suspect"])) == 3


def test_reweight_finds_hard_rows_once(client: Client, tmp_path: Path) -> None:
    first = Ran(tmp_path / "a", ROWS, {ROWS[0].id, ROWS[1].id}, share=0.2)
    unasked = Ran(tmp_path / "b", ROWS, None, share=0.2)
    otherwise = Ran(tmp_path / "c", ROWS, {ROWS[5].id}, share=0.2)
    assert first.rows == unasked.rows == otherwise.rows
    assert first.counts == {**otherwise.counts}
    with pytest.raises(UserError, match="nobody was asked"):
        Ran(tmp_path / "d", ROWS, None, share=0.25)


def test_reweight_marks_near_hard_validation_rows(client: Client, tmp_path: Path) -> None:
    rows = examples(90, 5)
    wrong = {row.id for row in rows if row.target == "refund"}
    ran = Ran(tmp_path, rows, wrong, share=0.5, skip_suspects=False)
    alike = [row for row in ran.marked if row.slices["like_hard"] == "yes"]
    assert len(alike) == ran.counts["like_hard"]
    assert sum(row.target == "refund" for row in alike) > 0.8 * len(alike) > 0
    assert [row.id for row in ran.marked] == [row.id for row in examples(40, 9)]
    assert not {row.id for row in alike} & {row.id for row in ran.rows}


def test_reweight_refuses_predictions_of_other_rows(client: Client, tmp_path: Path) -> None:
    train, said = str(tmp_path / "train.jsonl"), tmp_path / "said.jsonl"
    write_examples(train, ROWS[:30])
    answers(said, ROWS, {ROWS[40].id})
    outs = [str(tmp_path / name) for name in ("out", "marked", "report")]
    with pytest.raises(UserError, match="answers to other rows"):
        hard_examples.run(train, train, str(said), PROMPT, {"share": 0.5}, sections()["vertex"], *outs)
