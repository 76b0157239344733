# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Rows that are prompts already: sent, tuned on and written as they are; what the service would refuse is rejected."""

from __future__ import annotations

import copy
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemtune import contents
from gemtune.config import Judge, ModelVariant, Preprocess, Prompt, Task
from gemtune.data.compared_text import Remainders
from gemtune.data.example import Example, RejectedRow, read_examples, write_examples
from gemtune.data.formats import parse_request
from gemtune.data.row_validation import ReadStats, validate_row
from gemtune.data.source_rows import no_usable_rows, sample
from gemtune.data.writers import gemini
from gemtune.errors import UserError
from gemtune.evaluation.judge import rating_requests
from gemtune.inference.prompts import build_requests, render, supervised_rows, tuned_prompt
from gemtune.predictor import Predictor
from gemtune.steps.report import recipe

TASK = Task(kind="generation")
LABELS = Task(labels=["refund", "delivery"], target_name="Intent")
TOOLS = [{"functionDeclarations": [{"name": "f", "parameters": {"type": "OBJECT", "properties": {}}}]}]
TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8).map(lambda text: {"text": text})
NAMES = st.sampled_from(["f", "天気"])
ARGS = st.dictionaries(st.sampled_from(["city", "n"]), st.integers(0, 9) | st.text(max_size=3), max_size=2)
CALL = st.builds(lambda name, args: {"functionCall": {"name": name, "args": args}}, NAMES, ARGS)
RESULT = st.builds(lambda name, args: {"function_response": {"name": name, "response": args}}, NAMES, ARGS)
FILE = st.builds(lambda n: {"fileData": {"mimeType": "image/png", "fileUri": f"gs://b/{n}.png"}}, st.integers(0, 9))
QUESTION = st.lists(TEXT | FILE, min_size=1, max_size=3)
ANSWER = st.lists(TEXT | CALL, min_size=1, max_size=3)


def turn(role: str, *parts: Any, **more: Any) -> dict[str, Any]:
    return {"role": role, "parts": [{"text": part} if isinstance(part, str) else part for part in parts], **more}


@st.composite
def rows(draw: st.DrawFn) -> dict[str, Any]:
    turns = [turn("user", *draw(QUESTION)), turn("model", *draw(ANSWER))]
    for _ in range(draw(st.integers(0, 2))):
        role = draw(st.sampled_from(["user", "function"]))
        parts = draw(QUESTION if role == "user" else st.lists(RESULT, min_size=1, max_size=2))
        turns += [turn(role, *parts), turn("model", *draw(ANSWER))]
    row: dict[str, Any] = {"contents": turns}
    if draw(st.booleans()):
        row["systemInstruction"] = turn(draw(st.sampled_from(["system", "user"])), *draw(st.lists(TEXT, min_size=1)))
    if draw(st.booleans()):
        row["tools"] = TOOLS
    return row


def read(row: dict[str, Any], task: Task = TASK, stats: ReadStats | None = None, **settings: Any) -> Example:
    example = validate_row(3, row, task, Preprocess.of(settings), stats or ReadStats())
    assert isinstance(example, Example), example
    return example


def tuning_row(example: Example, task: Task = TASK) -> dict[str, Any]:
    ((_, row),) = supervised_rows(task, [example])
    return row


def has_answer(row: dict[str, Any]) -> bool:
    return bool(contents.text_of(row["contents"][-1]["parts"]).strip())


@given(rows().filter(has_answer))
def test_prompt_rows_become_equal_tuning_rows_and_requests(row: dict[str, Any]) -> None:
    raw = copy.deepcopy(row)
    example = read(row)
    assert row == raw == tuning_row(example) == gemini(example)
    variant = ModelVariant(name="t", model="m", prompt=tuned_prompt(TASK))
    (request,) = build_requests(TASK, variant, [example], [])
    assert request.contents == raw["contents"][:-1]
    assert request.fields == ({"tools": TOOLS} if "tools" in raw else {})
    own = contents.text_of(raw["systemInstruction"]["parts"]) if "systemInstruction" in raw else None
    assert request.system == own


@given(st.lists(rows().filter(has_answer), min_size=1, max_size=3))
def test_prompt_rows_survive_the_files_of_steps(
    tmp_path_factory: pytest.TempPathFactory, made: list[dict[str, Any]]
) -> None:
    path = tmp_path_factory.mktemp("rows") / "examples"
    examples = [read(row) for row in made]
    write_examples(path, examples)
    assert list(read_examples(path)) == examples


@given(rows().filter(has_answer))
def test_accepted_rows_are_valid_for_the_sdk(row: dict[str, Any]) -> None:
    from google.genai import types

    sent = tuning_row(read(row))
    for content in sent["contents"]:
        types.Content.model_validate(content)
    types.GenerateContentConfig.model_validate({"tools": sent.get("tools")})


@pytest.mark.parametrize(
    ("part", "remedy"),
    [
        ({"type": "image_url", "image_url": {"url": "https://x.org/a.png"}}, "write .*fileData"),
        ({"type": "input_audio", "input_audio": {"data": "aGk=", "format": "wav"}}, "write .*fileData"),
        ({"fileData": {"fileUri": "gs://b/a.wav"}}, "no mimeType: add it"),
        ({"fileData": {"mimeType": "png", "fileUri": "gs://b/a.png"}}, "mimeType is 'png': write it as in"),
        ({"file_data": {"mime_type": "image/png"}}, "no fileUri: add it"),
        ({"fileData": {"mimeType": "image/png", "fileUri": "C:/a.png"}}, "write a gs:// URI"),
        ({"fileData": "gs://b/a.png"}, "not an object"),
        ({"inlineData": {"mimeType": "image/png", "data": "aGk="}}, "store the file in a bucket"),
        ({"inline_data": {"mime_type": "image/png", "data": "aGk="}}, "store the file in a bucket"),
        ({"executableCode": {"language": "PYTHON", "code": "1"}}, "remove it"),
        ({"functionCall": {"args": {}}}, "no name"),
        ({"functionCall": {"name": "f", "args": "{}"}}, "not an object"),
        ({"functionResponse": {"name": "f"}}, "no response"),
        ({"text": "a", "fileData": {"mimeType": "a/b", "fileUri": "gs://b/c"}}, "one of"),
        ({"txt": "a"}, "'txt'"),
        ({"text": 7}, "not a string"),
        ({"thoughtSignature": "aGk="}, "no content"),
    ],
)
def test_parts_that_the_service_refuses_are_rejected_with_a_remedy(part: dict[str, Any], remedy: str) -> None:
    for place in (0, 1):
        parts = ["look", part] if place else [part]
        row = {"contents": [turn("user", *parts), turn("model", "a cat")]}
        rejected = validate_row(7, row, TASK, Preprocess(), ReadStats())
        assert isinstance(rejected, RejectedRow)
        assert (rejected.line, rejected.reason) == (7, "unsupported_part")
        assert re.search(remedy, rejected.detail)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"contents": [turn("system", "be brief"), turn("user", "a"), turn("model", "b")]}, "wrong_turns"),
        ({"contents": [turn("user", "a", name="x"), turn("model", "b")]}, "unsupported_part"),
        ({"contents": [turn("user", "a"), turn("model", "b"), turn("user", "c")]}, "wrong_turns"),
        ({"contents": [turn("user", "a"), turn("model", "b", weight=0)]}, "missing_target"),
        ({"contents": [turn("user", "a"), turn("model", "b", weight=0.5)]}, "wrong_turns"),
        ({"contents": [turn("user", ""), turn("model", "b")]}, "empty_text"),
        ({"contents": [turn("user", "a"), turn("model", {"text": "x", "thought": True})]}, "unsupported_part"),
        ({"contents": [turn("user", "a"), turn("model", "b")], "tools": {"f": 1}}, "unsupported_part"),
        ({"contents": [turn("user", "a"), turn("model", "b")], "tools": [{"type": "function", "function": {}}]},
         "unsupported_part"),
        ({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}], "functions": [
            {"name": "f", "parameters": {}}]}, "unsupported_part"),
        ({"contents": [turn("user", "a"), turn("model", "b")], "tools": [{"functionDeclarations": [{}]}]},
         "unsupported_part"),
        ({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": None,
          "tool_calls": [{"id": "1"}]}]}, "unsupported_part"),
        ({"messages": [{"role": "user", "content": "a"}, {"role": "tool", "content": "3"}]}, "wrong_turns"),
    ],
)  # fmt: skip
def test_turns_that_the_service_refuses_are_rejected(row: dict[str, Any], reason: str) -> None:
    rejected = validate_row(1, row, TASK, Preprocess(), ReadStats())
    assert isinstance(rejected, RejectedRow)
    assert rejected.reason == reason


def test_thoughts_and_weights_are_left_out_and_noted() -> None:
    stats = ReadStats()
    thought = {"text": "Insects have six. ", "thought": True}
    row = {"contents": [turn("user", "legs?"), turn("model", thought, "8", weight=1)]}
    example = read(row, stats=stats)
    assert (example.target, tuning_row(example)["contents"][-1]) == ("8", turn("model", "8"))
    said = [{"role": "user", "content": "legs?"}, {"role": "assistant", "content": [thought, {"text": "8"}]}]
    assert read({"messages": said}).target == "8"
    turns = [turn("user", "a"), turn("model", "b", weight=0), turn("user", "c"), turn("model", "d", weight=1)]
    kept = read({"contents": [*turns, turn("user", "e"), turn("model", "f", weight=0)]}, stats=stats)
    assert kept.target == "d"
    assert tuning_row(kept)["contents"] == [
        turn("user", "a"),
        turn("model", "b"),
        turn("user", "c"),
        turn("model", "d"),
    ]
    assert stats.row_notes.total() == 2
    chat = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b", "weight": 0}]
    read({"messages": [*chat, {"role": "user", "content": "c"}, {"role": "assistant", "content": "d"}]}, stats=stats)
    stats.note_findings(TASK, Preprocess())
    assert [note.split(" ")[0] for note in stats.notes] == ["1", "2"]


def test_texts_of_prompt_rows_are_not_cleaned_but_masked() -> None:
    call = {"functionCall": {"name": "f", "args": {"to": ["ana@post.example.org"]}}}
    row = {
        "contents": [
            turn("user", "write  to\nana@post.example.org"),
            turn("model", call),
            turn("function", {"functionResponse": {"name": "f", "response": {"sent": "ana@post.example.org"}}}),
            turn("model", "sent to ana@post.example.org", " twice"),
        ],
        "systemInstruction": turn("user", "You  write", " for ana@post.example.org"),
    }
    assert tuning_row(read(row, LABELS.model_copy(update={"labels": []}))) == row
    stats = ReadStats()
    masked = json.dumps(tuning_row(read(row, pii="mask", stats=stats)))
    assert "ana@" not in masked
    assert "write  to" in masked
    assert stats.pii_findings == {"email": 5}


def test_baselines_of_a_row_with_its_own_instruction_add_labels_after_it() -> None:
    own = turn("system", "You route tickets.")
    turns = [turn("user", "where  is it"), turn("model", "delivery")]
    example = read({"contents": turns, "systemInstruction": own}, LABELS)
    shot = read({"contents": [turn("user", "money back"), turn("model", "refund")]}, LABELS)
    zero = render(LABELS, Prompt(), example)
    assert zero.system == "You route tickets.\nLabels: refund, delivery\nAnswer with the label only."
    assert zero.contents == [turn("user", "where  is it")]
    assert render(LABELS, Prompt(list_labels=False), example) == render(LABELS, tuned_prompt(LABELS), example)
    few = render(LABELS, Prompt(shots=1), example, [shot])
    assert few.contents == [turn("user", "money back"), turn("model", "refund"), turn("user", "where  is it")]
    assert (render(LABELS, Prompt(instruction="Choose."), example).system or "").startswith("Choose.\nLabels")
    inside = render(LABELS, Prompt(level="instance"), example)
    assert inside.system is None
    assert inside.contents == [turn("user", str(zero.system), "where  is it")]
    bare = replace(example, system=None)
    assert (render(LABELS, Prompt(), bare).system or "").startswith(LABELS.instruction)
    assert render(LABELS, tuned_prompt(LABELS), bare).system is None


def test_judges_read_the_whole_conversation() -> None:
    turns = [turn("user", "a"), turn("model", "b"), turn("user", "c"), turn("model", "d")]
    example = read({"contents": turns, "systemInstruction": turn("system", "s")})
    assert example.prompt_text == "system: s\nuser: a\nmodel: b\nuser: c"
    assert read({"contents": turns[2:]}).prompt_text == "c"
    (request,) = rating_requests(Judge(model="m"), TASK, example, "x")
    assert json.loads(request.contents[0]["parts"][0]["text"])["text"] == example.prompt_text


def test_the_length_of_a_prompt_counts_all_its_turns() -> None:
    turns = [turn("user", "a" * 90), turn("model", "b" * 90), turn("user", "c"), turn("model", "d")]
    rejected = validate_row(1, {"contents": turns}, TASK, Preprocess(max_chars=100), ReadStats())
    assert isinstance(rejected, RejectedRow)
    assert (rejected.reason, rejected.detail[:3]) == ("too_long", "181")


def test_a_file_of_refused_parts_gets_a_remedy_about_parts(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps({"contents": [turn("user", {"image": "x"}), turn("model", "a")]}))
    with pytest.raises(UserError, match=r"rows\.jsonl:1: .*'image'.*correct the turns"):
        raise no_usable_rows(str(path), sample(str(path), TASK, Preprocess())[1])


def test_rows_that_differ_in_tools_are_different_texts() -> None:
    row = {"contents": [turn("user", "where is it"), turn("model", "b")]}
    other = [{"functionDeclarations": [{"name": "g"}]}]
    examples = [read({**row, "tools": tools}) for tools in (TOOLS, other, TOOLS)]
    texts = Remainders().compared(examples)
    assert texts[0] == texts[2] != texts[1]
    assert examples[0].id == examples[2].id != examples[1].id


def test_a_changed_reference_replaces_the_answer_of_its_row() -> None:
    row = {"contents": [turn("user", "a"), turn("model", "re", "fund")]}
    example = read(row, LABELS)
    corrected = read(row, LABELS, ReadStats(corrections={example.id: "delivery"}))
    assert tuning_row(example, LABELS)["contents"][-1] == turn("model", "re", "fund")
    assert tuning_row(corrected, LABELS)["contents"][-1] == turn("model", "delivery")


def test_predictor_takes_requests_where_training_rows_were_requests(tmp_path: Path) -> None:
    row = {"contents": [turn("user", "a"), turn("model", "refund")], "tools": TOOLS}
    train = [read(row, LABELS)]
    served = ModelVariant.of({"name": "c", "model": "m", "prompt": {"name": "p", "shots": 1}})
    made = json.loads(json.dumps(recipe(LABELS, served, {"base_model": "m"}, {}, train)))
    predict = Predictor(made, {"project": "p"})
    assert [tuple(shot.contents or ()) for shot in predict.train] == [train[0].contents]
    with pytest.raises(UserError, match=r"trained on requests.*systemInstruction"):
        predict(["where is it"])
    with pytest.raises(UserError, match=r"not a request.*'image'"):
        predict([{"contents": [turn("user", {"image": "x"})]}])
    for turns in ([], [turn("model", "hello")], row["contents"], [turn("user", " \n")]):
        with pytest.raises(UserError, match=r"not a request.*end with a user turn"):
            predict([{"contents": turns}])
    request = parse_request({"contents": row["contents"][:-1], "tools": TOOLS})
    assert (request.contents, request.request) == (train[0].contents, train[0].request)


def test_answers_with_a_function_call_read_like_references() -> None:
    from google.genai import types

    from gemtune.vertex import parse_response

    call = {"functionCall": {"id": "7", "name": "f", "args": {"b": 1, "a": "x"}}}
    row = {"contents": [turn("user", "a"), turn("model", "I look.", call)], "tools": TOOLS}
    parts = [{"text": "hm", "thought": True}, *row["contents"][-1]["parts"]]
    response = types.GenerateContentResponse.model_validate({"candidates": [{"content": {"parts": parts}}]})
    assert parse_response(response).text == read(row).target
    assert read(row).target == 'I look.\n{"functionCall": {"args": {"a": "x", "b": 1}, "name": "f"}}'


def test_requests_carry_tools_and_the_configured_generation_settings() -> None:
    from gemtune.vertex import GenerationSettings, _generation_config

    media = {"mediaResolution": "MEDIA_RESOLUTION_LOW", "temperature": 2}
    stats = ReadStats()
    row = {"contents": [turn("user", "a"), turn("model", "b")], "tools": TOOLS, "generation_config": media}
    example = read(row, stats=stats)
    assert list(stats.row_notes) == ["generationConfig is left out: the section evaluate sets it"]
    fields = render(TASK, Prompt(), example).fields
    made = _generation_config("s", GenerationSettings(max_output_tokens=9), 0, "", json.dumps(fields))
    assert (made.temperature, made.max_output_tokens, made.media_resolution.value) == (0.0, 9, "MEDIA_RESOLUTION_LOW")
    assert made.tools[0].function_declarations[0].name == "f"


KEYS = st.sampled_from(["text", "fileData", "file_uri", "mimeType", "functionCall", "function_response", "inlineData",
                        "name", "args", "response", "image_url", "type"])  # fmt: skip
LEAVES = st.none() | st.booleans() | st.integers(0, 3) | st.sampled_from(["", "aGk=", "gs://b/c", "image/png"])
VALUES = st.recursive(LEAVES, lambda inner: st.dictionaries(KEYS, inner, max_size=3) | st.lists(inner, max_size=2))
SIGNATURES = ["aGk=", "aGk", "ab-_", "ab+/", "", "a", "ab", "a b=", "gs://b/c", "\u00e9"]


@pytest.mark.parametrize("signature", SIGNATURES)
def test_thought_signatures_are_base64_as_the_sdk_reads_it(signature: str) -> None:
    from google.genai import types

    part = {"text": "x", "thoughtSignature": signature}
    try:
        types.Part.model_validate(part)
    except ValueError:
        assert "thoughtSignature of a part is" in (contents.part_problem(part) or "")
    else:
        assert contents.part_problem(part) is None


MODIFIERS = st.dictionaries(st.sampled_from(["thoughtSignature", "videoMetadata", "thought"]), LEAVES, max_size=1)
WRONG_PART = st.builds(lambda part, more, modifiers: {**part, **more, **modifiers},
                       TEXT | FILE | CALL | RESULT, st.dictionaries(KEYS, VALUES, max_size=1), MODIFIERS)  # fmt: skip


@given(st.dictionaries(KEYS, VALUES, max_size=2) | VALUES | WRONG_PART)
def test_any_part_is_rejected_or_valid_for_the_sdk(part: Any) -> None:
    from google.genai import types

    row = {"contents": [turn("user", "a", part), turn("model", "b")]}
    read = validate_row(1, row, TASK, Preprocess(), ReadStats())
    if isinstance(read, Example):
        for content in tuning_row(read)["contents"]:
            types.Content.model_validate(content)
