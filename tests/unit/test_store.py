# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Records in the bucket: whatever is damaged is named with its object, and never read as none."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from gemtune.errors import UserError
from gemtune.monitoring import records
from gemtune.state import store
from gemtune.state.schemas import SCHEMAS

NOW = "2026-11-26T09:00:00+00:00"
ENTRY = {"variant": {"name": "tuned", "model": "endpoint"}, "since": NOW}
CHAMPION = {"generation": 2, "alias": "champion", "current": ENTRY, "history": [ENTRY]}
EXAMPLES: dict[str, dict[str, Any]] = {
    "champions": {**CHAMPION, "candidate": {**ENTRY, "entry": ENTRY, "against": 2, "alias": "champion"}},
    "test_sets": {"rows": ["a"], "uses": {"model": {"times": 1}}},
    "decisions": {"fingerprint": "f", "model": "", "summary": {}, "forgot": False},
    "early_stopping": {"trials": {"a": {"losses": {"0.4": 1.0}}}},
    "splits": {"seed": 7, "rows": {"train": ["a"]}, "groups": {"train": []}},
    "augmented": {"rows": [{"source": "a", "text": "b", "method": "perturb"}], "relabelled": 0},
    "hard_examples": {"hard_ids": ["a"], "label_issues": []},
    "sampled_pairs": {"pairs": {"a": {"chosen": "x", "rejected": "y"}}, "no_gap": {}},
    "monitoring": {"retrained": ["a"], "windows": [], "claim": {"ids": ["a"], "decision": "gs://b/d", "until": NOW}},
    "annotations": {"rows": [{"id": "a", "window": NOW, "pi": 0.5, "confidence": 0.9, "correct": 1.0}]},
    "schedules": {"owner": "a"},
    "jobs": {"claimed": NOW, "job": "projects/p"},
}


def checked(folder: str, record: dict[str, Any] | None) -> dict[str, Any]:
    return store.checked(record, SimpleNamespace(bucket="b"), f"{folder}/name.json")  # type: ignore[arg-type]


@pytest.mark.parametrize("folder", SCHEMAS)
def test_checked_names_every_damaged_record(folder):
    record = {"schema_version": 1, **EXAMPLES[folder]}
    assert checked(folder, record) == record
    assert checked(folder, {**record, "of_a_later_patch": 1})
    assert checked(folder, None) == {}, "there is none"
    damaged = [{}, {"unrelated": 1}, EXAMPLES[folder], {**record, "schema_version": "1"}]
    damaged += [{**record, field: [3.5]} for field, value in EXAMPLES[folder].items() if value not in (None, False)]
    for content in damaged:
        with pytest.raises(
            UserError, match=rf"^gs://b/{folder}/name\.json: the record (is damaged|has schema version)"
        ):
            checked(folder, content)


@pytest.mark.parametrize(
    "damage",
    [{"generation": 0}, {"alias": ""}, {"current": {}}, {"history": [{}]}, {"candidate": ENTRY}, {"current": None}],
)
def test_checked_refuses_a_champion_that_nothing_can_be_derived_from(damage):
    with pytest.raises(
        UserError, match=r"champions/name\.json: the record is damaged: .* \(restore an earlier version"
    ):
        checked("champions", {"schema_version": 1, **CHAMPION, **damage})


def test_read_history_reads_a_record_with_fields_of_a_later_patch(monkeypatch):
    record = {"schema_version": 1, "generation": 2, "since": NOW, "windows": [], "of_a_later_patch": 1}
    monkeypatch.setattr(store, "read", lambda client, key: record)
    served: Any = SimpleNamespace(generation=2)
    assert records.read_history(None, "a", served).generation == 2  # type: ignore[arg-type]
