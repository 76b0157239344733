# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Labels of rows: one reference for one set of labels, whatever file it comes from, and one label for its spellings."""

import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemtune.config import Preprocess, Task
from gemtune.data import row_validation
from gemtune.data.example import Example, RejectedRow
from gemtune.data.labels import find_spellings, joining_mark, label_set, spelling_key
from gemtune.data.row_validation import ReadStats, read
from gemtune.data.source_rows import read_all

SEVERAL = Task(label_separator="; ")
LABEL = st.text("abcdé-_/ 1", min_size=1, max_size=6).map(str.strip).filter(bool)
SETS = st.lists(LABEL, min_size=1, max_size=4)


def targets(path: Path, task: Task = SEVERAL) -> list[str]:
    return [
        row.reason if isinstance(row, RejectedRow) else row.target
        for row in read(path, task, Preprocess(), ReadStats())
    ]


@given(labels=st.lists(SETS, min_size=1, max_size=4))
def test_label_sets_are_the_same_from_every_source(
    tmp_path_factory: pytest.TempPathFactory, labels: list[list[str]]
) -> None:
    folder = tmp_path_factory.mktemp("rows")
    frame = pd.DataFrame({"text": [f"text {k}" for k in range(len(labels))], "label": labels})
    frame.to_parquet(folder / "a.parquet")
    frame.to_json(folder / "a.jsonl", orient="records", lines=True)
    frame.to_json(folder / "b.json", orient="records")
    frame.to_csv(folder / "a.csv", index=False)
    frame.assign(label=frame.label.map(json.dumps)).to_csv(folder / "b.csv", index=False)
    frame.assign(label=frame.label.map(" ;".join)).to_csv(folder / "c.csv", index=False)
    frame.assign(label=frame.label.map("; ".join)).to_excel(folder / "a.xlsx", index=False)
    with (folder / "c.jsonl").open("w", encoding="utf-8") as out:
        for names in labels:
            annotations = [{"displayName": name} for name in names]
            out.write(json.dumps({"textContent": "t", "classificationAnnotations": annotations}) + "\n")
    with (folder / "d.csv").open("w", encoding="utf-8") as out:
        out.writelines(f"TRAIN,text {k},{','.join(names)}\n" for k, names in enumerate(labels))
    expected = ["; ".join(sorted(set(names))) for names in labels]
    assert {path.name: targets(path) for path in folder.iterdir()} == {path.name: expected for path in folder.iterdir()}


@given(names=SETS, seed=st.integers(0, 9))
def test_label_set_ignores_order_and_repetition(names: list[str], seed: int) -> None:
    shuffled = random.Random(seed).sample([*names, *names], 2 * len(names))
    target = label_set(names, "; ")
    assert label_set(shuffled, "; ") == target == label_set(target, "; ")


@pytest.mark.parametrize(
    ("value", "target"),
    [
        ([1, 1.0, "1"], "1"), ([True, "b"], "b; true"), ([], ""), ("[]", ""), ("a", "a"), ("a;b ; c;", "a; b; c"),
        ('["b", "a"]', "a; b"), ("['b', 'a']", "a; b"), ("[b]", "[b]"), (3.0, "3"), (7, "7"),
        ("['b' 'a']", "a; b"), ("{'b', 'a'}", "a; b"), ("('a',)", "a"), ("[1 2]", "1; 2"), ("[1. 2.]", "1; 2"),
        ("(a)", "(a)"), ({"b": True, "c": False, "a": True}, "a; b"), ('{"b": 1, "c": 0}', "b"), ({"a": False}, ""),
        ([{"name": "b"}, {"label": "a", "id": 7}], "a; b"), ("['a b' 'c']", "a b; c"),
        ("{b,a}", "a; b"), ("{}", ""), ("#b #a", "a; b"), ("#b", "b"), ("b\na\r\n", "a; b"), ("C# and F#", "C# and F#"),
    ],
)  # fmt: skip
def test_label_set_reads_notations(value: Any, target: str) -> None:
    assert label_set(value, "; ") == target


@pytest.mark.parametrize(
    "value",
    [
        *(["a", None], ["a; b"], ["a", ["b"]], {"a": 1}, {"a": 1, "b": 2}, [{"x": "a"}], [0.5], None),
        [{"name": "f", "arguments": {"a": 1}}],
    ],
)
def test_label_set_refuses_what_is_no_label(value: Any) -> None:
    with pytest.raises(ValueError, match=r"label"):
        label_set(value, "; ")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ('{"text": "a", "label": 0.0}\n{"text": "b", "label": 1.0}\n{"text": "c", "label": 1}', ["0", "1", "1"]),
        ('{"text": "a", "label": 0.5}\n{"text": "b", "label": 1e300}', ["wrong_type", "wrong_type"]),
        ('{"text": "a", "label": ["x"]}\n{"text": "b", "label": true}', ["wrong_type", "true"]),
    ],
)
def test_whole_number_floats_are_labels(tmp_path: Path, content: str, expected: list[str]) -> None:
    (tmp_path / "a.jsonl").write_text(content)
    assert targets(tmp_path / "a.jsonl", Task()) == expected


def test_read_notes_labels_that_stand_for_a_missing_value(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,label\na b,nan\nc d,None\ne f,nan\ng h,none\ni j,x\n")
    stats = ReadStats()
    assert targets(tmp_path / "a.csv", Task()) == ["nan", "None", "nan", "none", "x"]
    read_all(tmp_path / "a.csv", Task(), Preprocess(), stats)
    assert [note[:35] for note in stats.notes if "missing value" in note] == [
        "2 rows: the label is 'nan', as prog",
        "1 row: the label is 'None', as prog",
    ]


def test_frame_with_a_missing_label_keeps_the_others(tmp_path: Path) -> None:
    pd.DataFrame({"text": ["a b", "c d", "e f"], "label": [1, 0, None]}).to_parquet(tmp_path / "f.parquet")
    assert targets(tmp_path / "f.parquet", Task()) == ["1", "0", "missing_target"]


SPELLINGS = {
    "refund": ["Refund", "REFUND", " refund ", "Ｒefund", "refund.", "refund\u200b", "refund\u00a0", "re\u00adfund"],
    "1": ["1.0", "01", "+1", "１", "1.00"],
    "-2": ["-2.0", "－2"],
    "true": ["True", "TRUE"],
    "straße": ["STRASSE", "Straße"],
    "配送": ["配送。", "配送\ufeff"],
    "ｶﾞｽ": ["ガス"],
    "a b": ["A  b", "a\u3000b"],
    "money back": ["money_back", "Money-Back", "money - back", "money‑back"],
    "cancel": ['"cancel"', "- cancel", "“Cancel.”", "• cancel", "「cancel」", "'- cancel'"],
    "3": ["٣", "३"],
    "iade": ["İade"],
}


@pytest.mark.parametrize("label", SPELLINGS)
def test_spelling_key_is_equal_for_spellings_of_a_label(label: str) -> None:
    assert {spelling_key(spelled) for spelled in [label, *SPELLINGS[label]]} == {spelling_key(label)}


def test_spelling_key_differs_between_labels() -> None:
    labels = [
        "c",
        "c++",
        "c#",
        "re fund",
        "refund",
        "1",
        "-1",
        "1.5",
        "10",
        "a-b",
        "ab",
        "a*",
        "a-",
        "a+",
        "1-2",
        "1 2",
        "a/b",
        "é",
        "e",
        ".",
        "?",
        "はい",
        "ばい",
    ]
    assert len({spelling_key(label) for label in labels}) == len(labels)


@given(st.text(max_size=12))
def test_spelling_key_is_idempotent(label: str) -> None:
    key = spelling_key(label)
    assert spelling_key(key) == key


@pytest.mark.parametrize("mark", ["|", ", ", ";", "、", " / ", "+", "&"])
def test_joining_mark_is_what_joins_labels_that_recur(mark: str) -> None:
    joined = Counter({"a": 9, "b": 4, f"a{mark}b": 3, f"b{mark}c": 2, f"a{mark}b{mark}c": 1, f"c{mark}a": 1})
    assert joining_mark(joined, 10) == mark
    assert joining_mark(Counter({f"a{mark}b": 9, f"c{mark}d": 9, "e": 2}), 10) == ""  # parts that do not recur
    assert joining_mark(Counter({"a": 9, "b": 9, "c": 9, f"a{mark}": 3}), 10) == ""


def test_joining_mark_is_empty_for_names_of_labels() -> None:
    for labels in (["c", "c++", "c#"], ["a", "a+", "a-"], ["food & drink", "health & care"], ["n/a", "yes", "no"]):
        assert joining_mark(Counter(dict.fromkeys(labels, 9)), 10) == ""


def test_find_spellings_keeps_allowed_labels_apart() -> None:
    counts = Counter({"refund": 2, "Refund": 3, "x": 1})
    assert [found.model_dump() for found in find_spellings(counts, [])] == [
        {"label": "Refund", "rows": {"Refund": 3, "refund": 2}}
    ]
    assert [found.label for found in find_spellings(counts, ["refund", "x"])] == ["refund"]
    assert find_spellings(counts, ["refund", "Refund"]) == ()


@pytest.mark.parametrize(
    ("task", "separator"), [(Task(), ""), (SEVERAL, "; "), (Task(labels=["REFUND", "CANCEL"]), "")]
)
def test_read_all_reports_or_merges_spellings(tmp_path: Path, task: Task, separator: str) -> None:
    path = tmp_path / "a.csv"
    labels = ["Refund", "refund", "refund", "Cancel", "cancel", "cancel\u200b"]
    path.write_text("text,label\n" + "".join(f"text {k},{label}\n" for k, label in enumerate(labels)), encoding="utf-8")
    for setting in ("report", "merge"):
        stats = ReadStats()
        rows, rejected = read_all(str(path), task, Preprocess.of({"label_spellings": setting}), stats)
        report = stats.to_report()
        assert [sum(found.rows.values()) for found in report.label_spellings] == [3, 3]
        assert len([note for note in report.notes if "rows by spelling" in note]) == 2
        if setting == "merge":
            refund, cancel = task.labels or ["refund", "Cancel"]
            assert [row.target for row in rows] == [refund] * 3 + [cancel] * 3
            assert not rejected
        else:
            assert {row.target for row in rows} == (set() if task.labels else set(labels))
    assert all(isinstance(row, Example) for row in rows)


def test_read_all_compares_no_spellings_of_free_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_validation, "MAX_LABELS", 3)
    (tmp_path / "a.csv").write_text(
        "text,label\n" + "".join(f"text {k},answer {k}\nt {k},Answer {k}\n" for k in range(5))
    )
    stats = ReadStats()
    read_all(str(tmp_path / "a.csv"), Task(), Preprocess(), stats)
    assert len(stats.labels) == 3
    assert stats.label_spellings == ()
