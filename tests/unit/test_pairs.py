# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Pairs: every row is read or rejected with its reason; equal answers, copies and contradictions are rejected."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemtune.config import Preference, Preprocess, Task
from gemtune.data import pairs
from gemtune.data.cleaning import text_key
from gemtune.data.example import Example, Pair, read_examples, write_examples
from gemtune.data.pairs import Pairs
from gemtune.data.row_validation import ReadStats
from gemtune.errors import UserError

TASK = Task(kind="generation", instruction="Answer.", text_name="Request", target_name="Answer")


def read(folder: Path, *rows: Any, **rules: Any) -> Pairs:
    path = folder / "pairs.jsonl"
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    return pairs.read(str(path), TASK, Preprocess.of(rules), Preference(), ReadStats({}))


def plain(prompt: str = "p", chosen: str = "good", rejected: str = "bad", **more: Any) -> dict[str, Any]:
    return {"prompt": prompt, "chosen": chosen, "rejected": rejected, **more}


def turn(role: str, text: str) -> dict[str, Any]:
    return {"role": role, "content": text}


def gemini(prompt: str, chosen: str, rejected: str) -> dict[str, Any]:
    completions = [
        {"score": score, "completion": {"role": "model", "parts": [{"text": text}]}}
        for score, text in ((0, rejected), (1, chosen))
    ]
    return {"contents": [{"role": "user", "parts": [{"text": prompt}]}], "completions": completions}


def openai(prompt: str, preferred: Any, other: Any) -> dict[str, Any]:
    answers = {"preferred_output": [turn("assistant", preferred)], "non_preferred_output": [turn("assistant", other)]}
    return {"input": {"messages": [turn("user", prompt)], "tools": [], "parallel_tool_calls": True}, **answers}


@pytest.mark.parametrize(
    "row",
    [
        plain(),
        gemini("p", "good", "bad"),
        {"prompt": "p", "chosen": [turn("assistant", "good")], "rejected": [turn("assistant", "bad")]},
        {"chosen": [turn("user", "p"), turn("assistant", "good")], "rejected": [turn("user", "p"), turn("x", "bad")]},
        {"prompt": [turn("user", "p")], "chosen": "good", "rejected": "bad"},
        {"chosen": "\n\nHuman: p\n\nAssistant: good", "rejected": "\n\nHuman: p\n\nAssistant: bad"},
        {"prompt": "p", "chosen": [turn("user", "p"), turn("assistant", "good")], "rejected": [turn("x", "bad")]},
        {"chosen": "[{'from': 'human', 'value': 'p'}, {'from': 'gpt', 'value': 'good'}]",
         "rejected": '[{"from": "human", "value": "p"}, {"from": "gpt", "value": "bad"}]'},
        {name: json.dumps(value) for name, value in gemini("p", "good", "bad").items()},
        openai("p", "good", "bad"),
        openai("p", [{"type": "text", "text": "good"}], [{"type": "text", "text": "bad"}]),
    ],
)  # fmt: skip
def test_read_pairs_gives_the_same_pair_for_every_format(tmp_path: Path, row: dict[str, Any]) -> None:
    found = read(tmp_path, row)
    assert not found.dropped
    contents = None if row == plain() else ({"role": "user", "parts": [{"text": "p"}]},)  # turns are kept as turns
    assert [(p.text, p.contents, p.system) for p in found.prompts] == [("p", contents, None)]
    assert [(p.prompt, p.chosen, p.rejected, p.line) for p in found.pairs] == [(found.prompts[0].id, "good", "bad", 1)]


@pytest.mark.parametrize(
    ("columns", "winner", "better"),
    [
        (("response_0", "response_1"), 1, 1),
        (("response_0", "response_1"), 0.0, 0),
        (("answer_1", "answer_2"), "2.0", 1),
        (("Answer A", "Answer B"), "b", 1),
        (("回答A", "回答B"), "Ａ", 0),
        (("conversation_a", "conversation_b"), "model_b", 1),
        (("completionA", "completionB"), "completionA", 0),
        (("answer_a", "answer_b"), "tie (bothbad)", None),
        (("answer_a", "answer_b"), 1, None),  # the first, or the second counted from 0
        (("response_0", "response_1"), "0 or 1", None),
        (("answer_a", "answer_b"), None, None),
    ],
)
def test_named_side_is_the_column_that_a_value_names(columns: tuple[str, str], winner: Any, better: int | None) -> None:
    assert pairs.named_side(winner, columns) == better


def test_read_pairs_with_a_winner_leaves_out_ties(tmp_path: Path) -> None:
    rows = [{"prompt": f"p{n}", "a": "one", "b": "two", "winner": winner} for n, winner in enumerate(["a", "b", "tie"])]
    (tmp_path / "rows.jsonl").write_text("".join(map("{}\n".format, map(json.dumps, rows))))
    columns = Preference(chosen_column="a", rejected_column="b", winner_column="winner")
    found = pairs.read(str(tmp_path / "rows.jsonl"), TASK, Preprocess(), columns, ReadStats({}))
    assert [(pair.chosen, pair.rejected) for pair in found.pairs] == [("one", "two"), ("two", "one")]
    assert [row.detail[:51] for row in found.dropped] == ["'winner' is 'tie', which names neither of a, b; exp"]


@pytest.mark.parametrize(
    "row",
    [
        plain(),
        {**plain(), "prompt": [turn("user", "p")]},
        {"prompt": "p", "chosen": [turn("user", "p"), turn("assistant", "good")], "rejected": [turn("x", "bad")]},
        {"prompt": [turn("system", "now"), turn("user", "p")], "chosen": "good", "rejected": "bad"},
    ],
)
@pytest.mark.parametrize("name", ["system", "system_prompt"])
def test_read_pairs_keeps_the_system_instruction_of_every_form(tmp_path: Path, row: dict[str, Any], name: str) -> None:
    (prompt,) = read(tmp_path, {**row, name: "be kind"}).prompts
    assert (prompt.system or "").split("\n")[0] == "be kind"


def test_read_pairs_keeps_turns_and_system_instruction(tmp_path: Path) -> None:
    before = [turn("user", "a"), turn("assistant", "b"), turn("user", "c")]
    found = read(tmp_path, plain(system="be kind"), {**plain(), "prompt": before})
    assert found.prompts[0].system == "be kind"
    assert found.prompts[1].text == "c"
    assert [t["role"] for t in found.prompts[1].contents or ()] == ["user", "model", "user"]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"prompt": "q", "chosen": "a"}, "not_a_pair"),
        ({"chosen": "a", "rejected": "b"}, "not_a_pair"),
        (plain(chosen=3), "not_a_pair"),  # type: ignore[arg-type]
        ({"contents": [], "completions": [{"score": 1, "completion": {"parts": [{"text": "a"}]}}]}, "not_a_pair"),
        (plain(rejected=" Good "), "equal_answers"),
        (plain(rejected=" "), "empty_answer"),
        (plain(chosen=""), "empty_target"),
        (plain(prompt=" "), "empty_text"),
        ([1], "wrong_type"),
    ],
)
def test_read_pairs_rejects_lines_with_a_reason(tmp_path: Path, row: Any, reason: str) -> None:
    found = read(tmp_path, plain(), row)
    assert [(d.line, d.reason) for d in found.dropped] == [(2, reason)]
    assert len(found.pairs) == 1
    assert found.rows == 2


def test_read_pairs_masks_personal_data_in_all_texts(tmp_path: Path) -> None:
    mail = "write to ann@example.org"
    found = read(tmp_path, plain(f"{mail}?", f"{mail} good", f"{mail} bad"), pii="mask")
    texts = [found.prompts[0].text, found.pairs[0].chosen, found.pairs[0].rejected]
    assert not any("ann@" in text for text in texts)
    assert read(tmp_path, plain(rejected=mail), pii="drop").dropped[0].reason == "personal_data"


def test_read_pairs_test_file_is_the_test_split(tmp_path: Path) -> None:
    (tmp_path / "test.jsonl").write_text(json.dumps(plain("asked?", "kind", "rude")) + "\n{}\n")
    rows = [plain("asked?", "other", "worse"), plain("new?", "a", "b")]
    found = read(tmp_path, *rows, test_data=str(tmp_path / "test.jsonl"))
    assert {prompt.text: prompt.split for prompt in found.prompts} == {"asked?": "test", "new?": "train"}
    assert [(row.reason, row.detail.startswith("in test_data: ")) for row in found.dropped] == [
        ("not_a_pair", True),
        ("split_conflict", False),
    ]


words = st.text(alphabet="ab cdé", min_size=1, max_size=8).filter(str.strip)
some = st.lists(st.tuples(st.sampled_from("pq"), words, words), max_size=12)


@given(some, st.sampled_from(["drop", "majority", "keep"]))
def test_resolve_pairs_keeps_each_once_without_contradictions(rows: list[tuple[str, str, str]], conflicts: str) -> None:
    made = [Pair(p, a, b, n) for n, (p, a, b) in enumerate(rows, 1) if text_key(a) != text_key(b)]
    prompts = [Example(p, p, "") for p in "pq"]
    rules = Preprocess(conflicts=conflicts, jaccard_threshold=0)
    found = pairs.deduplicate(Pairs(prompts, made, [], len(made)), rules)
    assert sorted([p.line for p in found.pairs] + [d.line for d in found.dropped]) == [p.line for p in made]
    keys = [(p.prompt, text_key(p.chosen), text_key(p.rejected)) for p in found.pairs]
    assert len(set(keys)) == len(keys)
    if conflicts != "keep":
        assert not {(p, b, a) for p, a, b in keys} & set(keys)
    again = pairs.deduplicate(Pairs(found.prompts, found.pairs, [], len(found.pairs)), rules)
    assert again.pairs == found.pairs
    assert {p.id for p in found.prompts} == {p.prompt for p in found.pairs}


def test_resolve_pairs_by_majority() -> None:
    rows = [Pair("p", "a", "b", 1), Pair("p", "a", "b", 2), Pair("p", "b", "a", 3)]
    found = pairs.deduplicate(Pairs([Example("p", "p", "")], rows, [], 3), Preprocess(conflicts="majority"))
    assert [(p.line) for p in found.pairs] == [1]
    assert {d.line: d.reason for d in found.dropped} == {2: "exact_duplicate", 3: "contradiction"}
    assert not pairs.deduplicate(Pairs([Example("p", "p", "")], rows, [], 3), Preprocess()).pairs


def test_near_pairs_need_near_prompt_and_answers(tmp_path: Path) -> None:
    long = "the parcel with the lamp that I ordered for my mother last week has not arrived at all"
    kind, curt = (
        "we are sorry, it will arrive in two days, please wait until then",
        "just wait for it, as everybody has to",
    )
    rows = [
        plain(long, kind, curt),
        plain(long + "!", kind + ".", curt + "!"),  # near in all three
        plain(long, kind, "something else altogether, which nobody would like to read"),
        plain(long, curt, "a third answer that has nothing to do with the others at all"),
    ]
    found = pairs.deduplicate(read(tmp_path, *rows), Preprocess())
    assert len(found.pairs) == 3
    assert [d.reason for d in found.dropped] == ["near_duplicate"]


def test_pairs_references_are_never_rejected() -> None:
    chain = [Pair("p", "full", "plain"), Pair("p", "plain", "curt"), Pair("p", "full", "curt")]
    assert pairs.references(chain) == ["full"]
    circle = [Pair("p", "a", "b"), Pair("p", "b", "a")]
    assert pairs.references(circle) == ["a", "b"]
    assert pairs.references_of(Example("p", "p", "labelled", pairs=tuple(chain))) == ["labelled"]
    assert pairs.references_of(Example("p", "p", "full", pairs=tuple(chain))) == ["full"]


def test_examples_file_keeps_the_pairs(tmp_path: Path) -> None:
    prompts = [Example("p", "p", "a", pairs=(Pair("p", "a", "b", 3), Pair("p", "a", "c", 4))), Example("q", "q", "d")]
    write_examples(tmp_path / "examples", prompts)
    assert list(read_examples(tmp_path / "examples")) == prompts
    (tmp_path / "examples").write_text('{"schema_version": 1, "id": "p", "pairs": [{"prompt": "p"}]}\n')
    with pytest.raises(UserError, match="examples:1: not an example"):
        list(read_examples(tmp_path / "examples"))
