# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Splits partition, stay put as data grows, and nothing crosses."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracles.shingles import jaccard, shingles

from gemtune.artifacts.data import LeakageReport, SplitReport
from gemtune.artifacts.records import SplitRecord
from gemtune.config import Split
from gemtune.data.example import Example, example_id, read_examples, write_examples
from gemtune.data.leakage import leakage_report
from gemtune.data.split_assignment import SPLITS, SplitAssignments, SplitUnit, fill_shares
from gemtune.errors import UserError
from gemtune.steps.split import run, split_examples

NOUNS = ["red", "green", "blue", "tall", "small", "river", "stone", "bread", "paper", "glass"]
WORDS = st.lists(st.sampled_from(NOUNS), min_size=1, max_size=6)


def made(text: str, label: str = "a", **more: Any) -> Example:
    return Example(id=example_id(text, label), text=text, target=label, **more)


@st.composite
def corpora(draw: st.DrawFn) -> list[Example]:
    texts = draw(st.lists(WORDS.map(" ".join), unique=True, max_size=30))
    groups = st.sampled_from([None, "g1", "g2", "g3"])
    asked = st.sampled_from([None, None, None, "train", "validation", "test"])
    return [made(text, draw(st.sampled_from("ab")), group=draw(groups), split=draw(asked)) for text in texts]


@given(corpora())
def test_split_partitions_the_examples(examples: list[Example]) -> None:
    splits, left = split_examples(examples, Split())
    placed = [e.id for name in SPLITS for e in splits[name]] + [e.id for e, _ in left]
    assert sorted(placed) == sorted(e.id for e in examples)


@given(corpora())
def test_split_never_separates_groups_or_near_pairs(examples: list[Example]) -> None:
    splits, _ = split_examples(examples, Split())
    for name in SPLITS:
        for other in SPLITS:
            if name != other:
                assert not {e.group for e in splits[name]} & {e.group for e in splits[other]} - {None}
                for a in splits[name]:
                    assert all(jaccard(shingles(a.text), shingles(b.text)) < 0.8 for b in splits[other])


def stands(splits: dict[str, list[Example]]) -> dict[str, str]:
    return {example.id: name for name in SPLITS for example in splits[name]}


@given(corpora(), corpora(), st.integers(0, 5))
def test_split_assignments_do_not_move_when_rows_are_added(few: list[Example], more: list[Example], seed: int) -> None:
    config = Split(seed=seed)
    few = [replace(example, split=None) for example in few]
    before, _ = split_examples(few, config)
    record = SplitRecord.model_validate_json(SplitAssignments().with_rows(before).record(config).model_dump_json())
    known = {example.id for example in few}
    added = [replace(e, split=None, group=None) for e in more if e.id not in known]
    after, _ = split_examples([*few, *added], config, SplitAssignments.of(record, config))
    assert all(stands(after).get(key, home) == home for key, home in stands(before).items())


LABELS = st.dictionaries(
    st.text(alphabet="abcdef", min_size=1, max_size=3), st.integers(5, 60), min_size=1, max_size=12
)
SHARES = st.tuples(st.floats(0.05, 0.3), st.floats(0.05, 0.3))


def singles(labels: dict[str, int], made_before: int = 0) -> list[SplitUnit]:
    return [
        SplitUnit(f"{label} {i}", Counter([label]))
        for label, n in labels.items()
        for i in range(made_before, made_before + n)
    ]


@given(LABELS, SHARES, st.integers(0, 99))
def test_split_shares_hold_for_every_label(labels: dict[str, int], shares: tuple[float, float], seed: int) -> None:
    wanted = dict(zip(("test", "validation"), shares, strict=True))
    homes = fill_shares(singles(labels), wanted, seed)
    for label, count in labels.items():
        got = Counter(homes[f"{label} {i}"] for i in range(count))
        assert all(abs(got[home] - count * share) <= 1 + 1e-9 for home, share in wanted.items())
    total = sum(labels.values())
    assert all(abs(Counter(homes.values())[h] - total * share) <= 1 + 1e-9 for h, share in wanted.items())


@given(LABELS, st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 60), max_size=6), SHARES)
def test_split_shares_hold_as_labels_grow(
    labels: dict[str, int], more: dict[str, int], shares: tuple[float, float]
) -> None:
    wanted = dict(zip(("test", "validation"), shares, strict=True))
    first = fill_shares(singles(labels), wanted, 7)
    known = [SplitUnit(key, Counter([key.split()[0]]), home) for key, home in first.items()]
    grown = [SplitUnit(f"new {label} {i}", Counter([label])) for label, n in more.items() for i in range(n)]
    homes = first | fill_shares([*known, *grown], wanted, 7)
    for label in {*labels, *more}:
        got = Counter(home for key, home in homes.items() if key.split()[-2] == label)
        assert all(abs(got[home] - got.total() * share) <= 2.01 for home, share in wanted.items())


def test_split_moves_few_rows_without_a_record() -> None:
    examples = [made(f"{i * 7919} tells of {i * 104729}", "abcd"[i % 4]) for i in range(2000)]
    before, after = (
        stands(split_examples(some, Split(jaccard_threshold=0))[0]) for some in (examples[:1500], examples)
    )
    assert sum(after[key] != home for key, home in before.items()) < 150


def test_split_assigns_groups_by_the_largest_deficit() -> None:
    examples = [made(f"{i * 7919} tells of {i * 104729}", "ab"[i % 2], group=f"g{i // 10}") for i in range(400)]
    splits, _ = split_examples(examples, Split(jaccard_threshold=0))
    assert {name: len(rows) for name, rows in splits.items()} == {"train": 240, "validation": 60, "test": 100}
    assert all(Counter(e.target for e in rows)["a"] == len(rows) / 2 for rows in splits.values())


def test_split_keeps_near_duplicates_together() -> None:
    said = "the parcel with my {} kettle never came to {} though you said it would"
    examples = [made(said.format(i * 7919, i * 104729) + end, end) for i in range(60) for end in ("a", "b")]
    examples = [replace(e, text=f"{i // 2 * 7919} {e.text} {i // 2 * 104729}") for i, e in enumerate(examples)]
    splits, left = split_examples(examples, Split(jaccard_threshold=0.9))
    assert not left
    assert leakage_report(splits, Split(jaccard_threshold=0.9)).clean is True


def test_split_assignments_are_dropped_with_another_seed() -> None:
    record = SplitAssignments({"x": "test"}, {"g": "train"}).record(Split(seed=7))
    assert SplitAssignments.of(record, Split(seed=7)) == SplitAssignments({"x": "test"}, {"g": "train"})
    assert SplitAssignments.of(record, Split(seed=8)) == SplitAssignments() == SplitAssignments.of(None, Split())


def test_split_excludes_a_row_whose_group_moved() -> None:
    rows = [made("one of them", group="g"), made("another of those", group="g", split="test")]
    splits, left = split_examples(rows, Split(), SplitAssignments({rows[0].id: "train"}, {}))
    assert [e.text for e in splits["test"]] == ["another of those"]
    assert [reason for _, reason in left] == ["was in train in an earlier run, but its group 'g' is now in test"]


def test_split_respects_a_given_split() -> None:
    examples = [made(f"text number {i} about {i * 37}", split="train" if i % 4 else "test") for i in range(200)]
    splits, _ = split_examples(examples, Split(jaccard_threshold=0))
    assert all(example.split == "test" for example in splits["test"])
    assert len(splits["test"]) == 50
    assert 15 <= len(splits["validation"]) <= 45


def test_split_prefers_test_over_train(tmp_path: Path) -> None:
    examples = [
        made("the parcel with my blue kettle never came", split="test"),
        made("the parcel with my blue kettle never come", split="train"),
        made("something else altogether", split="train"),
    ]
    splits, left = split_examples(examples, Split())
    assert [example.text for example in splits["test"]] == ["the parcel with my blue kettle never came"]
    assert [example.text for example, _ in left] == ["the parcel with my blue kettle never come"]


def test_split_keeps_copies_that_differ_in_spaces_together() -> None:
    examples = [made("top up", split="test"), made("topup", split="train"), made("withdraw", split="train")]
    splits, left = split_examples(examples, Split())
    assert [example.text for example, _ in left] == ["topup"]
    assert leakage_report(splits, Split(jaccard_threshold=0.8)).clean is True


def test_split_names_a_split_with_too_few_rows(tmp_path: Path) -> None:
    path = tmp_path / "examples"
    write_examples(path, [made(f"row {i}") for i in range(10)])
    outputs = [str(tmp_path / name) for name in (*SPLITS, "report")]
    with pytest.raises(UserError, match=r"split\.min_rows requires 20"):
        run(str(path), {}, *outputs)
    assert not any(Path(name).exists() for name in outputs)


def test_split_run_writes_three_files_and_a_leakage_report(tmp_path: Path) -> None:
    path = tmp_path / "examples"
    write_examples(path, [made(f"{i * 7919} tells of {i * 104729}", "ab"[i % 2]) for i in range(200)])
    outputs = [str(tmp_path / name) for name in SPLITS]
    counts = run(str(path), outputs, str(tmp_path / "report"), str(tmp_path / "leakage"), "", split={"seed": 3.0})
    report = json.loads((tmp_path / "report").read_text())
    assert report["rows"] == {name: counts[name] for name in SPLITS}
    assert report["leakage_report"]["clean"] is True
    assert LeakageReport.read(tmp_path / "leakage") == SplitReport.read(tmp_path / "report").leakage_report
    assert sum(report["rows"].values()) + counts["excluded"] == 200
    for name, output in zip(SPLITS, outputs, strict=True):  # later steps refuse test rows by this
        assert {example.split for example in read_examples(output)} == {name}
    written = [example.id for output in outputs for example in read_examples(output)]
    given = {example.id for example in read_examples(path)}
    assert len(written) == len(set(written)) == 200 - counts["excluded"]
    assert set(written) <= given


@pytest.mark.parametrize("numbers", [True, False])
def test_split_by_time_tests_the_newest_rows(numbers: bool) -> None:
    times = [str(i) if numbers else f"2026-01-{i // 24 + 1:02d}T{i % 24:02d}:00:00" for i in range(200)]
    examples = [made(f"row {i * 7919}", slices={"at": times[(i * 37) % 200]}) for i in range(200)]
    splits, _ = split_examples(examples, Split(time_column="at", jaccard_threshold=0))
    assert [len(splits[name]) for name in SPLITS] == [120, 30, 50]
    place = {name: [times.index(example.slices["at"]) for example in splits[name]] for name in SPLITS}
    assert max(place["train"]) < min(place["validation"]) <= max(place["validation"]) < min(place["test"])


@pytest.mark.parametrize(("moments", "reported"), [(200, False), (10, True)])
def test_split_report_has_times_without_a_slice_per_moment(tmp_path: Path, moments: int, reported: bool) -> None:
    rows = [made(f"{i * 7919} tells", "ab"[i % 2], slices={"at": str(i % moments), "kind": "x"}) for i in range(200)]
    write_examples(tmp_path / "examples", rows)
    outputs = [str(tmp_path / name) for name in SPLITS]
    run(str(tmp_path / "examples"), outputs, str(tmp_path / "report"), "", "", split={"time_column": "at"})
    report = json.loads((tmp_path / "report").read_text())
    assert report["times"]["train"][0] == "0"
    assert report["times"]["test"][1] == str(moments - 1)
    assert set(report["slices"]) == {"kind", *(["at"] if reported else [])}
    assert all(("at" in example.slices) == reported for example in read_examples(outputs[0]))


def test_split_by_time_names_a_bad_time() -> None:
    with pytest.raises(UserError, match="'at' is 'soon', not a time"):
        split_examples([made("a", slices={"at": "soon"})], Split(time_column="at"))
