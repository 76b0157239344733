# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Pairs: every row read or dropped with its reason, nothing that teaches nothing kept, and who is preferred."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from examples import preferences
from gemtune.config import Evaluate, Preference, Preprocess, Task
from gemtune.data import pairs
from gemtune.data.cleaning import same_text
from gemtune.data.example import Dropped, Example
from gemtune.data.pairs import Pair, Pairs
from gemtune.data.row_validation import Tally
from gemtune.evaluation.ranker import Referee
from gemtune.evaluation.reference_ranking import duel, extremes, grader, made_pair
from gemtune.inference.generate import Given, Question
from gemtune.inference.tuning_rows import chosen_rows, preference_rows
from gemtune.steps import preference

TASK = Task(kind="generation", instruction="Answer.", text_name="Request", target_name="Answer")


def read(folder: Path, *rows: Any, **rules: Any) -> Pairs:
    path = folder / "pairs.jsonl"
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    return pairs.read(str(path), TASK, Preprocess.of(rules), Preference(), Tally({}))


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


@pytest.mark.parametrize(
    "row",
    [
        plain(),
        gemini("p", "good", "bad"),
        {"prompt": "p", "chosen": [turn("assistant", "good")], "rejected": [turn("assistant", "bad")]},
        {"chosen": [turn("user", "p"), turn("assistant", "good")], "rejected": [turn("user", "p"), turn("x", "bad")]},
        {"prompt": [turn("user", "p")], "chosen": "good", "rejected": "bad"},
    ],
)
def test_read_pairs_gives_the_same_pair_for_every_format(tmp_path: Path, row: dict[str, Any]) -> None:
    found = read(tmp_path, row)
    assert not found.dropped
    assert [(p.text, p.contents, p.system) for p in found.prompts] == [("p", None, None)]
    assert [(p.prompt, p.chosen, p.rejected, p.line) for p in found.pairs] == [(found.prompts[0].id, "good", "bad", 1)]


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
    told = [found.prompts[0].text, found.pairs[0].chosen, found.pairs[0].rejected]
    assert not any("ann@" in text for text in told)
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
    made = [Pair(p, a, b, n) for n, (p, a, b) in enumerate(rows, 1) if same_text(a) != same_text(b)]
    prompts = [Example(p, p, "") for p in "pq"]
    rules = Preprocess(conflicts=conflicts, fuzzy_threshold=0)
    found = pairs.settled(Pairs(prompts, made, [], len(made)), rules)
    assert sorted([p.line for p in found.pairs] + [d.line for d in found.dropped]) == [p.line for p in made]
    keys = [(p.prompt, same_text(p.chosen), same_text(p.rejected)) for p in found.pairs]
    assert len(set(keys)) == len(keys)
    if conflicts != "keep":
        assert not {(p, b, a) for p, a, b in keys} & set(keys)
    again = pairs.settled(Pairs(found.prompts, found.pairs, [], len(found.pairs)), rules)
    assert again.pairs == found.pairs
    assert {p.id for p in found.prompts} == {p.prompt for p in found.pairs}


def test_resolve_pairs_by_majority() -> None:
    rows = [Pair("p", "a", "b", 1), Pair("p", "a", "b", 2), Pair("p", "b", "a", 3)]
    found = pairs.settled(Pairs([Example("p", "p", "")], rows, [], 3), Preprocess(conflicts="majority"))
    assert [(p.line) for p in found.pairs] == [1]
    assert {d.line: d.reason for d in found.dropped} == {2: "exact_duplicate", 3: "contradiction"}
    assert not pairs.settled(Pairs([Example("p", "p", "")], rows, [], 3), Preprocess()).pairs


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
    found = pairs.settled(read(tmp_path, *rows), Preprocess())
    assert len(found.pairs) == 3
    assert [d.reason for d in found.dropped] == ["near_duplicate"]


def test_pairs_references_are_never_rejected() -> None:
    chain = [Pair("p", "full", "plain"), Pair("p", "plain", "curt"), Pair("p", "full", "curt")]
    assert pairs.references(chain) == ["full"]
    circle = [Pair("p", "a", "b"), Pair("p", "b", "a")]
    assert pairs.references(circle) == ["a", "b"]
    assert pairs.references_of(Example("p", "p", "labelled"), chain) == ["labelled"]
    assert pairs.references_of(Example("p", "p", "full"), chain) == ["full"]


def test_preference_rows_use_the_serving_prompt() -> None:
    example = Example("p", "help me", "kind")
    own = [Pair("p", "kind", "rude"), Pair("p", "kind", "curt"), Pair("other", "a", "b")]
    asked = {
        "systemInstruction": {"role": "system", "parts": [{"text": "Answer."}]},
        "contents": [{"role": "user", "parts": [{"text": "Request: help me\nAnswer:"}]}],
    }
    answer = {"role": "model", "parts": [{"text": "kind"}]}
    assert chosen_rows(TASK, [example], own) == [{**asked, "contents": [*asked["contents"], answer]}]
    rows = preference_rows(TASK, [example], own)
    assert [{name: row[name] for name in asked} for row in rows] == [asked, asked]
    assert rows[0]["completions"][0] == {"score": 1, "completion": answer}
    assert [c["score"] for c in rows[1]["completions"]] == [1, 0]


# -- who is preferred ------------------------------------------------------------------------------------------------


def test_grader_prefers_the_nearer_answer_and_ties() -> None:
    grade = grader(TASK, ["we are sorry for the delay", "another good answer"])
    assert grade("we are sorry for the delay") == grade("another good answer") == 100
    assert duel("we are sorry for the delay", "just wait", grade, 2).winner == "candidate"
    assert duel("just wait", "we are sorry for the delay", grade, 2).winner == "baseline"
    assert duel("just wait", "just wait", grade, 0).winner == "tie"
    assert duel(None, "zzz", grade, 50).winner == "baseline"
    assert duel("zzz", None, grade, 50).winner == "candidate"
    assert duel(None, None, grade, 0).winner == "tie"


def test_grader_compares_labels_exactly() -> None:
    grade = grader(Task(kind="classification", labels=["yes", "no"]), ["yes"])
    assert (grade("Yes"), grade("no"), grade("who knows")) == (100, 0, 0)


@given(st.lists(st.none() | st.floats(0, 100), max_size=6), st.floats(0, 60))
def test_extremes_are_far_enough_apart(grades: list[float | None], gap: float) -> None:
    known = [grade for grade in grades if grade is not None]
    found = extremes(grades, gap)
    if found is None:
        assert len(known) < 2 or max(known) - min(known) < max(gap, 1e-9)
    else:
        assert grades[found[0]] == max(known)
        assert grades[found[1]] == min(known)
        assert max(known) - min(known) >= gap


def test_build_pair_uses_extremes_or_the_reference() -> None:
    row, answers, grades = Example("r", "text", "reference", line=4), ["a", "b", "c"], [40.0, None, 80.0]
    made = made_pair(row, answers, grades, Preference())
    assert made == Pair("r", "c", "a", 4)
    errors = Preference(chosen_from="reference")
    assert made_pair(row, answers, grades, errors) == Pair("r", "reference", "a", 4)
    right = made_pair(row, ["reference"], [100.0], errors)
    assert isinstance(right, Dropped)
    assert right.reason == "no_gap"


def judge_who_likes_courtesy(questions: list[Question]) -> list[Given]:
    """Prefers the answer that says please; when neither or both do, the one shown first (a biased judge)."""
    given = []
    for question in questions:
        shown = json.loads(question.contents[0]["parts"][0]["text"])
        second = "please" in shown["second"] and "please" not in shown["first"]
        given.append(Given(json.dumps({"better": "second" if second else "first"}), input_tokens=10, output_tokens=2))
    return given


def test_ranker_judges_both_orders_only_where_needed() -> None:
    config = Preference.of({"ranked_by": "judge", "judge": {"model": "m"}})
    referee = Referee(TASK, config, Evaluate(), judge_who_likes_courtesy)
    rows = [Example(str(n), "t", "r") for n in range(5)]
    one = ["wait please", "wait", "same", None, "no"]
    two = ["wait", "wait longer", "same", "x", None]
    found = referee.duels(rows, {}, one, two)
    assert [d.winner for d in found] == ["candidate", "tie", "tie", "baseline", "candidate"]
    assert [d.flipped for d in found] == [False, True, False, False, False]
    assert referee.tokens == {"input": 40, "output": 8}


# -- the sample ------------------------------------------------------------------------------------------------------


def test_preference_example_is_reproduced_by_its_generator() -> None:
    recipe = yaml.safe_load((preferences.FOLDER / "phrasings.yaml").read_text(encoding="utf-8"))
    rows, truth = preferences.sample(recipe)
    assert rows.encode() == (preferences.FOLDER / "pairs.jsonl").read_bytes()
    assert truth == json.loads((preferences.FOLDER / "planted.json").read_text())


def test_load_pairs_finds_exactly_the_planted_problems(tmp_path: Path) -> None:
    files = [str(tmp_path / name) for name in ("examples", "pairs", "dropped", "report")]
    preference.gather(
        str(preferences.FOLDER / "pairs.jsonl"),
        files[0],
        files[1],
        files[2],
        files[3],
        task=TASK.model_dump(),
        preprocess={"slice_columns": ["topic"]},
        preference={},
        evaluate={},
        vertex={},
    )
    truth = json.loads((preferences.FOLDER / "planted.json").read_text())
    dropped = {row["line"]: row["reason"] for row in map(json.loads, (tmp_path / "dropped").open())}
    kept = [pair.line for pair in pairs.read_written(files[1])]
    assert sorted([*kept, *dropped]) == list(range(1, truth["lines"] + 1))
    for kind in ("exact_duplicates", "near_duplicates"):
        for copy in truth[kind]:
            assert (copy["line"] in dropped) != (copy["of"] in dropped)
    for pair in truth["contradictions"]:
        assert dropped[pair["line"]] == dropped[pair["with"]] == "contradiction"
    for fault in truth["broken"]:
        assert dropped[fault["line"]] == fault["reason"]
    planted = len(truth["exact_duplicates"]) + len(truth["near_duplicates"]) + 2 * len(truth["contradictions"])
    assert len(dropped) == planted + len(truth["broken"])
    report = json.loads((tmp_path / "report").read_text())
    assert report["preferences"]["prompts"] == truth["prompts"]
    assert Counter(dropped.values()) == report["dropped"]
