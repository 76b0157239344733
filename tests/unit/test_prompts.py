# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Rendering and parsing: one prompt for all, lenient in form, strict in meaning."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemtune.config import Prompt, Task
from gemtune.data.example import Example
from gemtune.errors import UserError
from gemtune.inference.parsing import canonical, parse
from gemtune.inference.prompts import render, resolve, training_row, tuned_prompt

LABELS = ["cancel_order", "refund", "other", "not refund", "C", "C++", "返品"]
TASK = Task(labels=LABELS, text_name="Ticket", target_name="Intent")
ROW = Example(id="1", text="I want my money back", target="refund")
SHOT = Example(id="2", text="Stop my order", target="cancel_order")
ZERO = Prompt()
COT = Prompt(name="cot", chain_of_thought=True)
EXTRACTION = Task(
    kind="extraction",
    target_name="JSON",
    output_schema={
        "type": "object",
        "properties": {"city": {"type": "string"}, "people": {"type": "array", "items": {"type": "string"}}},
        "required": ["city"],
    },
)


def test_render_writes_a_schema_whatever_the_order_of_its_keys():
    schema = EXTRACTION.output_schema
    reordered = EXTRACTION.model_copy(update={"output_schema": dict(reversed(schema.items()))})
    assert list(reordered.output_schema) != list(schema)
    assert render(reordered, ZERO, ROW) == render(EXTRACTION, ZERO, ROW)


def test_render_puts_task_in_system_and_row_in_user_turn():
    rendered = render(TASK, ZERO, ROW, [SHOT])
    assert rendered.system is not None
    assert rendered.system.startswith(TASK.instruction)
    assert all(label in rendered.system for label in LABELS)
    text = rendered.contents[0]["parts"][0]["text"]
    assert text == "Ticket: Stop my order\nIntent: cancel_order\n\nTicket: I want my money back\nIntent:"


def test_render_puts_an_instance_instruction_before_the_row():
    system = render(TASK, ZERO, ROW, [SHOT])
    turn = render(TASK, ZERO.model_copy(update={"level": "instance"}), ROW, [SHOT])
    assert turn.system is None
    assert turn.contents[0]["parts"][0]["text"] == f"{system.system}\n\n{system.contents[0]['parts'][0]['text']}"
    assert [one["role"] for one in turn.contents] == ["user"]


def test_render_of_a_tuned_prompt_equals_its_training_row():
    prompt = tuned_prompt(TASK)
    row, asked = training_row(TASK, prompt, ROW), render(TASK, prompt, ROW)
    assert row["contents"][:-1] == asked.contents
    assert row["systemInstruction"]["parts"][0]["text"] == asked.system
    assert row["contents"][-1] == {"role": "model", "parts": [{"text": "refund"}]}


def test_render_keeps_turns_parts_and_own_instruction():
    image = {"fileData": {"mimeType": "image/png", "fileUri": "gs://b/x.png"}}
    turns = (
        {"role": "user", "parts": [{"text": "hello"}]},
        {"role": "model", "parts": [{"text": "hi"}]},
        {"role": "user", "parts": [image, {"text": ROW.text}]},
    )
    rendered = render(TASK, ZERO, Example(id="3", text=ROW.text, target="x", contents=turns, system="Be brief."))
    assert rendered.contents == list(turns)
    assert rendered.system is not None
    assert rendered.system.startswith("Be brief.")


def test_render_lists_labels_with_commas_or_descriptions_by_line():
    task = Task(labels=["a, b", "c"], label_descriptions={"c": "all else"})
    system = render(task, ZERO, ROW).system
    assert system is not None
    assert "\n- a, b\n- c: all else\n" in system


def test_resolve_sorts_labels_and_refuses_a_single_one():
    assert resolve(Task(), [ROW, SHOT, ROW]).labels == ["cancel_order", "refund"]
    assert resolve(TASK, [ROW]).labels == LABELS
    assert resolve(Task(label_separator="; "), [Example("1", "t", "b; a"), Example("2", "t", "b")]).labels == ["a", "b"]
    with pytest.raises(UserError, match="two labels"):
        resolve(Task(), [ROW])


@pytest.mark.parametrize(
    "answer",
    [
        "refund", " Refund.", "**refund**", '"refund"', "Intent: refund", "**Intent:** refund", "The intent is: refund",
        "the correct label is refund.", '{"label": "refund"}', '```json\n{"intent": "Refund"}\n```', "REFUND!",
        "ｒｅｆｕｎｄ", "refund\nThe customer wants money.", "refund\n\nTicket: where is it\nIntent: other", "Re-fund",
    ],
)  # fmt: skip
def test_parse_ignores_form(answer):
    assert parse(TASK, ZERO, answer).value == "refund"


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        ("refund or cancel_order", "not one of"), ("I would not refund", "not one of"), ("refun", "not one of"),
        ("refunds", "not one of"), ("other\nIntent: refund", "several"), ("", "empty"), (None, "empty"),
        ("I'm sorry, I can't help with that.", "refusal"), ("申し訳ありませんが", "refusal"), ("neither", "not one of"),
    ],
)  # fmt: skip
def test_parse_refuses_other_meanings(answer, problem):
    parsed = parse(TASK, ZERO, answer)
    assert parsed.value is None
    assert problem in parsed.problem


def test_parse_separates_labels_that_differ_in_signs():
    assert parse(TASK, ZERO, "c++.").value == "C++"
    assert parse(TASK, ZERO, "c").value == "C"
    assert parse(TASK, ZERO, "not_refund").value == "not refund"
    assert parse(TASK, ZERO, "「返品」。").value == "返品"
    twins = Task(labels=["a-b", "a b", "A B"])
    found = [parse(twins, ZERO, x).value for x in ("a-b", "a b", "A B", "ab", "A-b")]
    assert found == ["a-b", "a b", "A B", None, "a-b"]


@given(st.lists(st.text(min_size=1).filter(str.strip), min_size=2, max_size=8, unique=True))
def test_parse_round_trips_every_label(labels):
    task = Task(labels=labels)
    for label in labels:
        assert parse(task, ZERO, label).value in (label, None)


@given(st.text(alphabet="abcdefgh _-", min_size=1, max_size=12), st.text(max_size=40))
def test_parse_returns_a_label_or_none(label, answer):
    task = Task(labels=[label, "zzz"])
    assert parse(task, ZERO, answer).value in (label, "zzz", None)


def test_parse_removes_reasoning():
    assert parse(TASK, COT, "It could be other.\nBut money matters.\nIntent: refund").value == "refund"
    assert parse(TASK, COT, "Not other, so:\n**Intent:** Refund.").value == "refund"
    assert parse(TASK, COT, "Intent: other?\nNo.\nIntent: refund").value == "refund"
    assert parse(TASK, COT, "Thinking about it\nrefund").value == "refund"
    assert parse(TASK, COT, "I think the intent is refund, because").value is None
    assert not render(TASK, COT, ROW).contents[0]["parts"][0]["text"].endswith("Intent:")


def test_parse_several_labels_as_a_set():
    task = Task(labels=["a", "b", "c d"], label_separator="; ")
    assert parse(task, ZERO, "B; a").value == "a; b"
    assert parse(task, ZERO, '["c d", "a"]').value == "a; c d"
    assert parse(task, ZERO, "a; x").value is None
    assert canonical(task, "b; a") == "a; b"


def test_parse_compares_objects_by_content():
    assert parse(EXTRACTION, ZERO, 'Sure: {"city": " Bern ", "people": ["b", "a"]}').value == (
        parse(EXTRACTION, ZERO, '```json\n{"people":["a","b"],"city":"Bern","note":""}\n```').value
    )
    assert "'city' is a required property" in str(parse(EXTRACTION, ZERO, '{"people": []}').problem)
    assert "people[0]" in str(parse(EXTRACTION, ZERO, '{"city": "x", "people": [1]}').problem)
    assert "not JSON" in str(parse(EXTRACTION, ZERO, "Bern").problem)
    assert "not a JSON object" in str(parse(EXTRACTION, ZERO, "[1]").problem)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(max_size=3), json_values, max_size=4))
def test_parse_canonical_objects_are_stable(value):
    task = Task(kind="extraction")
    once = parse(task, ZERO, json.dumps(value)).value
    assert once is not None
    assert parse(task, ZERO, once).value == once
    assert parse(task, ZERO, json.dumps(dict(reversed(value.items())), ensure_ascii=True)).value == once
