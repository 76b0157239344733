# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Weight goes to hard rows, never to likely label errors, and never beyond what was asked."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from samples import examples, sections

from gemtune.config import Contestant, Hard
from gemtune.data.example import Example, read_examples, write_examples
from gemtune.steps import hard_examples
from gemtune.tuning.hard_examples import copies, most_added, weighted

PROMPT = Contestant(name="zero_shot", model="gemini-3.1-flash-lite").model_dump(mode="json")
ROWS = examples(60, 1)


@given(st.sets(st.sampled_from([row.id for row in ROWS])), st.floats(0, 0.95), st.integers(1, 5), st.integers(0, 9))
def test_reweight_keeps_every_row_and_reaches_the_share(ids: set[str], share: float, most: int, seed: int) -> None:
    result = weighted(ROWS, ids, Hard(share=share, most_copies=most, seed=seed))
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
    assert result == weighted(ROWS, ids, Hard(share=share, most_copies=most, seed=seed))


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


def test_reweight_is_off_at_share_zero(tmp_path: Path) -> None:
    ran = Ran(tmp_path, ROWS, None)
    assert (ran.rows, ran.marked, ran.counts) == (ROWS, examples(40, 9), {})


@given(st.integers(0, 200), st.floats(0, 0.95), st.integers(1, 5))
def test_reweight_added_rows_stay_under_the_bound(rows: int, share: float, most: int) -> None:
    settings = Hard(share=share, most_copies=most)
    bound = most_added(rows, settings)
    assert 0 <= bound <= (most - 1) * rows
    assert all(copies(rows - n, n, settings) - n <= bound for n in range(rows + 1))
