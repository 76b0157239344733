# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Hard examples are repeated up to the share and no further; validation rows near them are never the same rows."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st
from samples import examples

from gemtune.config import HardExamples, ModelVariant, Prompt
from gemtune.tuning.hard_examples import max_added_rows, near_hard, record_name, repeated_count, reweight

ROWS = examples(60, 1)


@given(st.sets(st.sampled_from([row.id for row in ROWS])), st.floats(0, 0.95), st.integers(1, 5), st.integers(0, 9))
def test_reweight_keeps_every_row_and_reaches_the_share(ids: set[str], share: float, most: int, seed: int) -> None:
    settings = HardExamples(target_share=share, max_repeats=most, seed=seed)
    result = reweight(ROWS, ids, settings)
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
    assert result == reweight(ROWS, ids, settings)


@given(st.integers(0, 200), st.floats(0, 0.95), st.integers(1, 5))
def test_reweight_added_rows_stay_under_the_bound(rows: int, share: float, most: int) -> None:
    settings = HardExamples(target_share=share, max_repeats=most)
    bound = max_added_rows(rows, settings)
    assert 0 <= bound <= (most - 1) * rows
    assert all(repeated_count(rows - n, n, settings) - n <= bound for n in range(rows + 1))


def test_reweight_is_off_at_share_zero() -> None:
    assert HardExamples().target_share == 0
    assert reweight(ROWS, {ROWS[0].id}, HardExamples()) == ROWS
    assert max_added_rows(60, HardExamples()) == 0
    assert near_hard(ROWS, examples(40, 9), set()) == set()


def test_record_name_changes_with_rows_prompt_and_settings_but_not_with_the_ablation() -> None:
    prompt, settings = ModelVariant(name="zero_shot", model="m"), HardExamples(target_share=0.2)
    key = record_name(ROWS, prompt, settings)
    assert record_name(reversed(ROWS), prompt, settings.model_copy(update={"ablation": False})) == key
    reworded = prompt.model_copy(update={"prompt": Prompt(instruction="Decide.")})
    others = [
        record_name(ROWS[1:], prompt, settings),
        record_name(ROWS, reworded, settings),
        record_name(ROWS, prompt, HardExamples(target_share=0.25)),
    ]
    assert len({key, *others}) == 4
