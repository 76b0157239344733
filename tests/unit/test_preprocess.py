# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Every row ends in examples or in dropped, once; bad input is one clear message; order does not decide."""

import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracles.shingles import jaccard, shingles

from gemtune.config import Preprocess, Split, Task
from gemtune.data import compared_text, label_issues
from gemtune.data.duplicates import FilterResult, drop_near_duplicates, resolve_exact_duplicates, sample_rows
from gemtune.data.example import Example, example_id, read_examples
from gemtune.data.split_assignment import split_by_hash
from gemtune.errors import UserError
from gemtune.steps.preprocess import run

GOOD = ['{"text": "where is my parcel", "label": "order"}', '{"text": "give me my money back", "label": "refund"}']


def outcome(
    folder: Path, content: bytes, name: str = "rows.jsonl", **config: Any
) -> tuple[list[Example], list[dict[str, Any]]]:
    (folder / name).write_bytes(content)
    files = [str(folder / part) for part in ("examples", "dropped", "report")]
    run(str(folder / name), *files, preprocess=config)
    return list(read_examples(files[0])), [json.loads(line) for line in Path(files[1]).open()]


def test_preprocess_lists_rejected_rows_with_line_and_reason(tmp_path: Path) -> None:
    bad = {
        '{"text": "no label"}': "missing_target",
        '{"label": "order"}': "missing_text",
        '{"text": " ", "label": "order"}': "empty_text",
        '{"text": "x", "label": ""}': "empty_target",
        '{"text": 7, "label": "order"}': "wrong_type",
        '{"text": "x", "label": 1.5}': "wrong_type",
        "[1, 2]": "wrong_type",
        '{"text": "x", "label"': "invalid_json",
        '{"text": "x", "text": "y", "label": "a"}': "invalid_json",
        '{"text": "\\ud800", "label": "a"}': "invalid_json",
        '{"text": NaN, "label": "a"}': "invalid_json",
        "[" * 5000: "invalid_json",
    }
    examples, dropped = outcome(tmp_path, "\n".join([GOOD[0], *bad, GOOD[1]]).encode())
    assert [example.line for example in examples] == [1, len(bad) + 2]
    assert [(row["line"], row["reason"]) for row in dropped] == list(enumerate(bad.values(), 2))
    assert all(row["detail"] for row in dropped)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty"),
        (b"\n \n", "no rows"),
        (b'{"text": "a"}\n', "no usable row among 1: 1 missing_target"),
        (GOOD[0].encode(), "only one label"),
        (b'{"text": "caf\xc3\xa9"}\n{"text": "caf\xe9", "label": "x"}', r"rows.jsonl:2: byte 14 \(0xe9\) is not UTF-8"),
        ("\ufefftext".encode("utf-16"), "no usable row among 1: 1 invalid_json"),
    ],
)
def test_preprocess_names_an_unusable_file(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(UserError, match=message):
        outcome(tmp_path, content)
    assert [path.name for path in tmp_path.iterdir()] == ["rows.jsonl"]


def test_preprocess_names_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere\.jsonl: no such file \(check the path"):
        run(str(tmp_path / "nowhere.jsonl"), *[str(tmp_path / part) for part in "abc"])


def test_preprocess_stops_when_too_much_is_removed(tmp_path: Path) -> None:
    rows = [*GOOD, *['{"text": "Where is  my parcel", "label": "order"}'] * 10]
    with pytest.raises(UserError, match=r"max_removed_share.*the same text as line"):
        outcome(tmp_path, "\n".join(rows).encode())


def example(text: str, label: str, line: int = 0) -> Example:
    return Example(id=example_id(text, label), text=text, target=label, line=line)


@pytest.mark.parametrize(
    ("setting", "kept"),
    [("drop", []), ("majority", [("same text", "a")]), ("keep", [("same text", "a"), ("SAME  text", "b")])],
)
def test_resolve_conflicts_follows_the_setting(setting: str, kept: list[tuple[str, str]]) -> None:
    rows = [example("same text", "a", 1), example("Same text", "a", 2), example("SAME  text", "b", 3)]
    left, gone = resolve_exact_duplicates(rows, Task(), Preprocess.of({"conflicts": setting}))
    assert sorted(e.target for e in left) == sorted(label for _, label in kept)
    assert len(left) + len(gone) == 3


WORDS = ["Red", "red", "green", "blue", "tall", "small", "river", "STONE", "bread"]
LINE = "the parcel of my kettle never came although you said that it would arrive on monday morning at nine"
LONG = LINE.split(" ")
TEXTS = st.lists(st.sampled_from(WORDS), min_size=1, max_size=5).map(" ".join)
# one or two words of a long line replaced: some are near each other, some are linked only through a third
EDITED = st.lists(st.tuples(st.integers(0, len(LONG) - 1), st.sampled_from(WORDS)), max_size=2).map(
    lambda edits: " ".join(dict(edits).get(i, word) for i, word in enumerate(LONG))
)
LABELLED_TEXTS = st.lists(st.tuples(TEXTS | EDITED, st.sampled_from("ab")), max_size=25)


def thinned(rows: list[Example]) -> FilterResult:
    return drop_near_duplicates(resolve_exact_duplicates(rows, Task(), Preprocess())[0], Task(), Preprocess())


@given(LABELLED_TEXTS, st.randoms(use_true_random=False))
def test_near_duplicates_ignore_row_order(pairs: list[tuple[str, str]], random: Any) -> None:
    rows = [example(text, label, line) for line, (text, label) in enumerate(pairs)]
    (kept, gone), (kept_too, gone_too) = thinned(rows), thinned(random.sample(rows, len(rows)))
    assert {e.id for e in kept} == {e.id for e in kept_too}
    assert {(d.row["id"], d.kept_id) for d in gone} == {(d.row["id"], d.kept_id) for d in gone_too}


@given(LABELLED_TEXTS)
def test_near_duplicates_keep_a_near_row_of_the_label(pairs: list[tuple[str, str]]) -> None:
    kept, gone = thinned([example(text, label, line) for line, (text, label) in enumerate(pairs)])
    staying = {e.id: e for e in kept}
    for row in gone:
        near = staying[str(row.kept_id)]
        assert near.target == row.row["target"]
        assert jaccard(shingles(near.text), shingles(row.row["text"])) >= Preprocess().jaccard_threshold
    assert thinned(kept) == (kept, [])


def test_sample_rows_is_stable_and_capped() -> None:
    rows = [example(f"row {i}", "ab"[i % 2], i) for i in range(100)]
    few, _ = sample_rows(rows, Preprocess(max_rows=20))
    fewer, gone = sample_rows(rows, Preprocess(max_rows=12))
    assert len(few) == 20
    assert len(fewer) == 12
    assert len(gone) == 88
    assert {e.id for e in fewer} <= {e.id for e in few}


def test_sample_rows_keeps_the_split_shares() -> None:
    rows = [example(f"text number {n}", "a", n) for n in range(2000)]
    kept, _ = sample_rows(rows, Preprocess(max_rows=600, seed=7))
    places = [split_by_hash(row.id, Split(seed=7)) for row in kept]
    assert abs(places.count("test") / 600 - Split().test) < 0.06
    assert abs(places.count("validation") / 600 - Split().validation) < 0.05


def test_preprocess_requires_deciding_columns_only(tmp_path: Path, caplog: Any) -> None:
    content = "\n".join(GOOD).encode()
    for setting in ({"group_column": "customer"}, {"split_column": "part"}):
        with pytest.raises(UserError, match="no row has the column"):
            outcome(tmp_path, content, **setting)
    kept, _ = outcome(tmp_path, content, slice_columns=["channel"])
    assert len(kept) == 2
    assert "no slice is reported for it" in caplog.text


def test_preprocess_respects_a_split_column(tmp_path: Path) -> None:
    given = GOOD[0].replace("}", ', "split": "test"}')
    kept, _ = outcome(tmp_path, f"{given}\n{GOOD[1]}".encode())
    assert [example.split for example in kept] == ["test", None]


BASE = "the parcel number seven went missing somewhere between the depot and the door of my old house"


def sentences(count: int, seed: int) -> list[str]:
    draw = random.Random(seed)
    words = ["".join(draw.choices("abcdefghijklmnop", k=6)) for _ in range(300)]
    return [" ".join(draw.choices(words, k=5)) for _ in range(count)]


ALIKE = {
    "exact deduplication": [BASE + " " * n for n in range(40)],
    "near-deduplication": [f"{BASE} {n}" for n in range(40)],
    "semantic deduplication": [" ".join(random.Random(n).sample(BASE.split(), len(BASE.split()))) for n in range(40)],
    "dropping repeated passages": [f"{' '.join(sentences(1, n))} {BASE}" for n in range(40)],
}


@pytest.mark.parametrize("what", ALIKE)
def test_preprocess_each_kind_stops_when_it_removes_too_much(tmp_path: Path, what: str) -> None:
    texts = [*ALIKE[what], *sentences(20, 99)]
    rows = [{"text": text, "label": "ab"[n >= 40 and n % 2]} for n, text in enumerate(texts)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    files = [str(tmp_path / name) for name in ("examples", "dropped", "report")]
    rules = {"repeated_chars": 60, "repeated": "drop", "find_label_issues": False}
    rules |= {"semantic_threshold": 0.9} if "semantic" in what else {}
    rules |= {} if "near" in what else {"jaccard_threshold": 0}
    for limits, said in (
        ({}, f"{what} would remove .* more than preprocess.max_removed_share=0.5; .*"),
        ({"max_removed_share": 1, "max_cluster": 10}, f"{what} found a cluster of .* preprocess.max_cluster=10; .*"),
    ):
        with pytest.raises(UserError, match=said) as error:
            run(str(tmp_path / "rows.jsonl"), *files, preprocess={**rules, **limits})
        assert any(word in str(error.value) for word in ("depot", "parcel"))
    run(str(tmp_path / "rows.jsonl"), *files, preprocess={**rules, "max_removed_share": 1, "max_cluster": 0})


@pytest.mark.parametrize(("rows", "characters", "looked_at"), [(120, 10_000, 120), (300, 1000, 71), (300, 9000, 300)])
def test_label_issues_sample_a_large_set(
    monkeypatch: pytest.MonkeyPatch, rows: int, characters: int, looked_at: int
) -> None:
    monkeypatch.setattr(label_issues, "MAX_AUDITED", rows)
    monkeypatch.setattr(label_issues, "MAX_AUDITED_CHARS", characters)
    given = [Example(f"{n:03}", f"{'money' if n % 2 else 'boxes'} number {n % 9}", "ab"[n % 2]) for n in range(300)]
    given[10] = replace(given[10], target="b")
    some = label_issues._sample_for_audit(given, 7)
    assert some == sorted(some, key=lambda row: row.id)
    assert len(some) == looked_at
    found = label_issues.find_label_issues(given, Task(), Preprocess())
    assert [row.id for row in found.rows if row.confident] == ["010"] * (given[10] in some)


@pytest.mark.parametrize("semantic", [0, 0.95])
def test_preprocess_searches_common_passages_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, semantic: float
) -> None:
    """Near-duplicates, semantic duplicates, label issues and near conflicts compare the same remainders."""
    searched = []
    search = compared_text.without_passages
    monkeypatch.setattr(compared_text, "without_passages", lambda texts: searched.append(len(texts)) or search(texts))
    footer = "This message is for the addressee only; whoever receives it in error deletes it."
    rows = [{"text": f"ticket {n} says {n * 7919} {footer if n % 2 else ''}", "label": "ab"[n % 2]} for n in range(40)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    files = [str(tmp_path / name) for name in ("examples", "dropped", "report")]
    run(str(tmp_path / "rows.jsonl"), *files, preprocess={"semantic_threshold": semantic, "max_removed_share": 1})
    assert searched == [40]
