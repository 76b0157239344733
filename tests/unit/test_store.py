# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Records in the bucket: whatever is damaged is named with its object, and never read as none."""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy
from types import SimpleNamespace
from typing import Any

import pytest

from gemtune.artifacts.monitoring import MonitoringRecord
from gemtune.artifacts.records import Record
from gemtune.errors import UserError
from gemtune.monitoring import records
from gemtune.state import store, test_set_usage
from gemtune.tuning import early_stopping
from gemtune.vertex import storage

NOW = "2026-11-26T09:00:00Z"
ENTRY = {
    "variant": {"name": "tuned", "model": "endpoint"},
    "since": NOW,
    "labels_since": NOW,
    "task": {"labels": ["a", "b"]},
    "generation": {"temperature": 0.5},
    "cleaning": {"pii": "off"},
}
CHAMPION = {"generation": 2, "alias": "champion", "current": ENTRY, "history": [ENTRY]}
SMOKE = {"answers": {"a": "b"}, "max_disagreement": 0.1}
EXAMPLES: dict[str, dict[str, Any]] = {
    "champions": {**CHAMPION, "candidate": {"entry": ENTRY, "against": 2, "alias": "champion"}},
    "test_sets": {"rows": ["a"], "uses": {"model": {"times": 1}}},
    "decisions": {"fingerprint": "f", "model": "", "summary": {}, "forgot": False},
    "early_stopping": {"trials": {"a": {"losses": {"0.4": 1.0}}}},
    "splits": {"seed": 7, "rows": {"train": ["a"]}, "groups": {"train": []}},
    "augmented": {"rows": [{"source": "a", "text": "b", "method": "perturb"}], "relabelled": 0},
    "hard_examples": {"hard_ids": ["a"], "label_issues": []},
    "sampled_pairs": {"pairs": {"a": {"chosen": "x", "rejected": "y"}}, "no_gap": {}},
    "monitoring": {
        "generation": 2,
        "since": NOW,
        "retrained": ["a"],
        "windows": [],
        "claim": {"ids": ["a"], "decision": "gs://b/d", "until": NOW},
    },
    "annotations": {"rows": [{"id": "a", "window": NOW, "pi": 0.5, "confidence": 0.9, "correct": 1.0}]},
    "schedules": {"owner": "a"},
    "jobs": {"claimed": NOW, "job": "projects/p"},
}


KINDS = {kind.FOLDER: kind for kind in Record.__subclasses__()}


def parsed(folder: str, content: dict[str, Any] | None) -> Record | None:
    return store.parsed(SimpleNamespace(bucket="b"), KINDS[folder], "name", content)  # type: ignore[arg-type]


def later(folder: str) -> Any:
    """A record with a field of a later patch."""
    return parsed(folder, {"schema_version": 1, **EXAMPLES[folder], "of_a_later_patch": 1})


def wrong_values(content: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """The place of each value, but for those of settings, with a value that a lenient reader takes for one of it."""
    if isinstance(content, (dict, list)):
        for key, value in content.items() if isinstance(content, dict) else enumerate(content):
            if path[-1:] not in {("generation",), ("cleaning",)}:
                yield from wrong_values(value, (*path, key))
    elif isinstance(content, str):
        yield from ((path, wrong) for wrong in (7, True, 1.5))
    elif isinstance(content, bool):
        yield from ((path, wrong) for wrong in (0, 1, "true", "yes"))
    else:
        yield from ((path, wrong) for wrong in ("7", True))


def changed(content: Any, path: tuple[Any, ...], value: Any) -> Any:
    if not path:
        return value
    copied = copy(content)
    copied[path[0]] = changed(copied[path[0]], path[1:], value)
    return copied


@pytest.mark.parametrize("folder", KINDS)
def test_parsed_names_every_damaged_record(folder):
    content = {"schema_version": 1, **EXAMPLES[folder]}
    record = parsed(folder, content)
    assert parsed(folder, record.document()) == record, "what is written is what was read"
    assert parsed(folder, {**content, "of_a_later_patch": 1}).document()["of_a_later_patch"] == 1
    assert parsed(folder, None) is None
    damaged = [{}, {"unrelated": 1}, EXAMPLES[folder], {"schema_version": 1}]
    damaged += [{**content, "schema_version": version} for version in ("1", True, 2)]
    damaged += [{**content, field: [3.5]} for field, value in EXAMPLES[folder].items() if value not in (None, False)]
    damaged += [changed(content, path, wrong) for path, wrong in wrong_values(content)]
    deep: list[Any] = []
    for _ in range(600):
        deep = [deep]
    damaged.append({**content, "of_a_later_patch": deep})
    for content in damaged:
        with pytest.raises(
            UserError, match=rf"^gs://b/{folder}/name\.json: the record (is damaged|has schema version)"
        ):
            parsed(folder, content)


def test_parsed_reads_the_leakage_report_of_an_earlier_champion():
    counts = dict.fromkeys(("rows", "exact", "group", "near", "passage", "semantic"), 0)
    sample = {"kind": "semantic", "line": 1, "other_line": 2}
    overlap = {"split": "test", "other_split": "train", **counts, "samples": [sample]}
    sizes = {"jaccard_threshold": 0.8, "passage_chars": 50, "cosine_threshold": 0.9, "embedded": {}, "rows": {}}
    report = {"schema_version": 1, **sizes, "overlaps": [overlap], "clean": True, "splits": "f"}
    record = parsed("champions", {"schema_version": 1, **CHAMPION, "current": {**ENTRY, "leakage_report": report}})
    assert record.current.leakage_report.overlaps[0].rows == 0


@pytest.mark.parametrize(
    "damage",
    [
        {"generation": 0}, {"alias": ""}, {"current": {}},
        {"current": None, "candidate": {"entry": ENTRY, "against": 2, "alias": "champion"}},
        {"current": None, "generation": 0, "alias": "", "logging": {"table": "t", "sampling_rate": 1}},
        {"history": [{}]}, {"candidate": ENTRY}, {"current": None}, {"history": None}, {"rolled_back": [ENTRY]},
        {"current": {**ENTRY, "generation": {"samples": 0}}}, {"current": {**ENTRY, "cleaning": {"strip_htm": True}}},
        {"current": {**ENTRY, "since": "yesterday"}}, {"current": {**ENTRY, "task": {"labels": 3}}},
        {"current": {**ENTRY, "task": {"kind": []}}}, {"current": {**ENTRY, "task": {}}},
        {"current": {**ENTRY, "variant": {"name": "tuned", "model": "projects/p/locations/us/endpoints/1"}}},
        {"candidate": {"entry": ENTRY, "against": 2, "alias": "champion", "smoke": SMOKE}},
    ],
)  # fmt: skip
def test_parsed_refuses_a_champion_that_nothing_can_be_derived_from(damage):
    content = {"schema_version": 1, **CHAMPION, **damage}
    content = {key: value for key, value in content.items() if key == "current" or value is not None}
    with pytest.raises(
        UserError, match=r"champions/name\.json: the record is damaged: .* \(restore an earlier version"
    ):
        parsed("champions", content)


@pytest.mark.parametrize(
    ("folder", "damage"),
    [
        ("monitoring", {"windows": None}), ("monitoring", {"since": None}), ("monitoring", {"retrained": None}),
        ("splits", {"rows": {"dev": ["a"]}}),
        ("early_stopping", {"trials": {"a": {"losses": {"first": 1.0}}}}),
    ],
)  # fmt: skip
def test_parsed_refuses_what_would_be_read_as_less(folder, damage):
    content = {key: value for key, value in {"schema_version": 1, **EXAMPLES[folder], **damage}.items() if value}
    with pytest.raises(UserError, match=rf"^gs://b/{folder}/name\.json: the record is damaged"):
        parsed(folder, content)


def test_edits_keep_fields_of_a_later_patch(monkeypatch):
    def update(client, kind, name, edit):
        record = later(kind.FOLDER)
        edited.append(edit(record).document())
        return record

    edited: list[dict[str, Any]] = []
    client: Any = SimpleNamespace(bucket="b")
    monkeypatch.setattr(store, "update", update)
    monkeypatch.setattr(storage, "upload_lines", lambda *_: None)
    early_stopping.report(client, "name", "a", {"0.8": 1.0}, False)
    records.add_labels(client, "name", [], [])
    records.finish_retraining(client, "name")
    edited.append(test_set_usage.with_use(later("test_sets"), "n", ["a"], [], NOW).document())
    assert [own["of_a_later_patch"] for own in edited] == [1] * 4


def test_parsed_refuses_a_champions_record_with_nothing_in_it():
    with pytest.raises(UserError, match="the record is damaged: neither champion nor candidate"):
        parsed("champions", {"schema_version": 1})


def test_read_history_reads_a_record_with_fields_of_a_later_patch(monkeypatch):
    record = MonitoringRecord.model_validate(
        {"generation": 2, "since": NOW, "windows": [], "retrained": [], "of_a_later_patch": 1}
    )
    monkeypatch.setattr(store, "read", lambda client, kind, name: record)
    served: Any = SimpleNamespace(generation=2)
    assert records.read_history(None, "a", served).generation == 2  # type: ignore[arg-type]
