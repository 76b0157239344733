# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""What `gemtune init` recognizes in rows, and the configuration that it writes."""

from __future__ import annotations

import contextlib
import json
import random
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from typer.testing import CliRunner

from gemtune.cli.init import init
from gemtune.cli.main import app
from gemtune.config import Config
from gemtune.data.guess import guess, has_header
from gemtune.errors import UserError

RNG = random.Random(3)
WORDS = "refund late parcel invoice password login broken screen address cancel order change".split()  # noqa: SIM905
LABELS = ("billing", "delivery", "account")


def sentence(words: int = 9) -> str:
    return " ".join(RNG.choices(WORDS, k=words)) + f" {RNG.randrange(10**6)}"


def rows(count: int = 60, **columns: Any) -> list[dict[str, Any]]:
    return [{name: make(n) if callable(make) else make for name, make in columns.items()} for n in range(count)]


def guessed(listed: list[dict[str, Any]], **known: str) -> dict[str, Any]:
    return {item.setting: item.value for item in guess(listed, **known)}


def label(n: int) -> str:
    return LABELS[n % 3]


def text(n: int) -> str:
    return sentence()


def long_text(n: int) -> str:
    return sentence(30)


def turn(role: str, content: str) -> dict[str, Any]:
    return {"role": role, "parts": [{"text": content}]}


def message(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


@pytest.mark.parametrize(
    ("source", "row"),
    [("automl", {"textContent": "a text", "classificationAnnotation": {"displayName": "x"}}),
     ("openai", {"messages": [message("user", "a text"), message("assistant", "x")]}),
     ("vertex", {"contents": [turn("user", "a text"), turn("model", "x")]})],
)  # fmt: skip
def test_guess_refuses_rows_that_are_no_export_of_the_source(source: str, row: dict[str, Any]) -> None:
    assert guess([row] * 3, source=source)[0].setting == "task.kind"
    with pytest.raises(UserError, match=f"no export of {source}: the rows have 'text', 'label', none of"):
        guess(rows(text=text, label=label), source=source)


@pytest.mark.parametrize(
    ("columns", "problem"),
    [
        ({"label1": label, "label2": lambda n: label(n + 1) if n % 3 else ""}, "label1, label2 look like labels"),
        (dict(zip(LABELS, (lambda n: "x" * (n % 3 == 0), lambda n: "x" * (n % 3 == 1), lambda n: "x" * (n % 3 == 2)),
                  strict=True)), "if a mark in billing, delivery, account says that a label applies"),
    ],
)  # fmt: skip
def test_guess_refuses_labels_in_several_columns(columns: dict[str, Any], problem: str) -> None:
    with pytest.raises(UserError) as raised:
        guess(rows(text=text, **columns))
    assert problem in str(raised.value)
    assert "into one column, joined by ';'" in str(raised.value)


def test_guess_refuses_a_column_for_each_label() -> None:
    flags = {name: lambda n, k=k: (n >> k) % 2 for k, name in enumerate(("bug", "billing", "urgent"))}
    with pytest.raises(UserError, match="the columns bug, billing, urgent say of one label each"):
        guess(rows(comment=text, **flags))
    assert guessed(rows(comment=text, **flags), target="bug")["preprocess.target_column"] == "bug"
    assert guessed(rows(comment=text, label=label, **flags))["task.kind"] == "classification"


SETS = [["billing"], ["delivery", "billing"], ["account", "delivery"], ["account", "billing", "delivery"], ["account"]]
FORMS: list[tuple[str, list[dict[str, Any]], dict[str, Any]]] = [
    ("labels of a line each", rows(150, text=text, tags=lambda n: "\n".join(RNG.sample(LABELS, 1 + n % 3))),
     {"task.label_separator": "; "}),
    ("hashtags", rows(150, text=text, tags=lambda n: " ".join(f"#{x}" for x in RNG.sample(LABELS, 1 + n % 3))),
     {"preprocess.target_column": "tags", "task.label_separator": "; "}),
    ("arrays of a database", rows(150, text=text, tags=lambda n: f"{{{','.join(SETS[n % 5])}}}"),
     {"preprocess.target_column": "tags", "task.label_separator": "; "}),
    ("tables of labels", rows(text=text, labels=lambda n: {x: x in SETS[n % 5] for x in LABELS}),
     {"task.kind": "classification", "task.label_separator": "; "}),
    ("AutoML's CSV, some rows with several labels",
     [*rows(40, textContent=text, classificationAnnotation=lambda n: {"displayName": label(n)}),
      *rows(20, textContent=text, classificationAnnotations=lambda n: [{"displayName": x} for x in LABELS[:2]])],
     {"task.kind": "classification", "task.label_separator": "; "}),
    ("spellings of a label", rows(text=text, label=lambda n: ("billing", "Billing ", "delivery")[n % 3]),
     {"task.kind": "classification", "preprocess.label_spellings": "merge"}),
    ("a label of each row", rows(text=text, label=lambda n: f"L{n}"), {}),
    ("offsets in UTF-16", rows(textContent=lambda n: f"😀 from Ann Lee on {n}",
     textSegmentAnnotations=lambda n: [{"displayName": "who", "startOffset": 8, "endOffset": 15}]),
     {"task.kind": "extraction", "preprocess.offset_unit": "utf16"}),
    ("many joined labels", rows(200, text=text, label=lambda n: "|".join(RNG.sample(LABELS, RNG.randint(1, 3)))),
     {"task.kind": "classification", "task.label_separator": "|"}),
    ("a time of few values",
     rows(text=text, label=label, at=lambda n: f"2026-{1 + n % 9:02}-01", via=lambda n: "ab"[n % 2]),
     {"preprocess.slice_columns": ["via", "at"]}),
    ("stars as numbers", rows(review=text, stars=lambda n: 1 + n % 5),
     {"preprocess.text_column": "review", "preprocess.target_column": "stars", "task.kind": "classification"}),
    ("title and body", rows(title=lambda n: sentence(3), body=long_text, topic=label),
     {"preprocess.text_column": "body", "preprocess.target_column": "topic"}),
    ("question and answer", rows(question=text, answer=long_text),
     {"preprocess.text_column": "question", "preprocess.target_column": "answer", "task.kind": "generation"}),
    ("Japanese names", rows(本文=lambda n: "返金を希望します。" + sentence(2), カテゴリ=label),
     {"preprocess.text_column": "本文", "preprocess.target_column": "カテゴリ", "task.target_name": "カテゴリ"}),
    ("sentiment", rows(text=text, label=lambda n: ("positive", "negative")[n % 2]),
     {"task.kind": "sentiment"}),
    ("several labels in a cell", rows(text=text, tags=lambda n: "|".join(RNG.sample("abcdef", 1 + n % 3))),
     {"task.label_separator": "|", "preprocess.target_column": "tags"}),
    ("lists of labels", rows(text=text, topics=lambda n: RNG.sample(LABELS, 1 + n % 3)),
     {"task.label_separator": "; ", "preprocess.target_column": "topics"}),
    ("objects as text", rows(text=text, result=lambda n: json.dumps({"item": f"p{n}"})),
     {"task.kind": "extraction", "preprocess.target_column": "result"}),
    ("spans of the text", rows(text=text, tags=lambda n: [[0, 3, "A"], [1, 4, "B"]][: n % 3]),
     {"task.kind": "extraction", "preprocess.target_column": "tags"}),
    ("spans in cells", rows(text=text, tags=lambda n: json.dumps([{"begin": 0, "end": 3, "tag": "A"}] * (n % 5))),
     {"task.kind": "extraction", "preprocess.target_column": "tags"}),
    ("preference pairs", rows(question=text, preferred=long_text, dispreferred=long_text),
     {"method": "preference", "preference.prompt_column": "question", "preference.chosen_column": "preferred"}),
    ("Japanese names of answers", rows(質問=text, 悪い回答=long_text, 良い回答=long_text),
     {"preference.chosen_column": "良い回答", "preference.rejected_column": "悪い回答"}),
    ("a winner in Korean", rows(질문=text, 답변A=long_text, 답변B=long_text, 승자=lambda n: "AB"[n % 2]),
     {"preference.prompt_column": "질문", "preference.winner_column": "승자"}),
    ("answers j and k", rows(question=text, response_k=long_text, response_j=long_text),
     {"preference.chosen_column": "response_j", "preference.rejected_column": "response_k"}),
    ("chosen and rejected responses", rows(input=text, chosen_response=long_text, rejected_response=long_text),
     {"preference.prompt_column": "input", "preference.chosen_column": "chosen_response"}),
    ("transcripts", rows(chosen=lambda n: f"\n\nHuman: {sentence()}\n\nAssistant: {sentence()}",
     rejected=lambda n: f"\n\nHuman: {sentence()}\n\nAssistant: {sentence()}"), {"method": "preference"}),
    ("conversations and the winner", rows(judge=text, winner=lambda n: ("model_a", "model_b", "tie")[n % 3],
     conversation_a=lambda n: [message("user", sentence()), message("assistant", sentence())],
     conversation_b=lambda n: [message("user", sentence()), message("assistant", sentence())]),
     {"preference.chosen_column": "conversation_a", "preference.rejected_column": "conversation_b",
      "preference.winner_column": "winner", "preference.prompt_column": None, "preprocess.slice_columns": None}),
    ("numbers of the better answer", rows(prompt=text, response_0=long_text, response_1=long_text,
     is_response_0_safe=lambda n: n % 3 == 0, better_response_id=lambda n: n % 2, safer_response_id=lambda n: n % 2),
     {"preference.winner_column": "better_response_id", "preference.chosen_column": "response_0"}),
    ("ShareGPT", rows(conversations=lambda n: [
        {"from": "human", "value": sentence()}, {"from": "gpt", "value": label(n)}]),
     {"task.kind": "classification"}),
    ("turns in cells", rows(messages=lambda n: json.dumps([message("user", "a"), message("assistant", sentence())])),
     {"task.kind": "generation"}),
    ("instruction and input",
     rows(instruction=text, input=lambda n: sentence() * (n % 2), output=long_text, text=long_text),
     {"preprocess.text_column": "instruction", "preprocess.added_columns": ["input"],
      "preprocess.target_column": "output", "task.kind": "generation"}),
    ("instruction, context and category", rows(instruction=text, context=text, response=long_text, category=label),
     {"preprocess.added_columns": ["context"], "preprocess.target_column": "response"}),
    ("names of numbered labels", rows(text=text, label=lambda n: n % 3, label_text=label),
     {"preprocess.target_column": "label_text", "preprocess.slice_columns": None}),
    ("constants beside labels", rows(text=text, answer="accept", accept=lambda n: [label(n)]),
     {"preprocess.target_column": "accept", "task.label_separator": "; "}),
    ("lists where rows have several labels", rows(text=text, tags=lambda n: [label(n), "x"] if n % 3 else label(n)),
     {"preprocess.target_column": "tags", "task.label_separator": "; "}),
    ("Label Studio's choices", rows(text=text, topic=lambda n: {"choices": [label(n), "x"]} if n % 3 else label(n)),
     {"preprocess.target_column": "topic", "task.label_separator": "; "}),
    ("Label Studio's choices in a table",
     rows(text=text, topic=lambda n: json.dumps({"choices": [label(n), "x"]}) if n % 3 else label(n)),
     {"preprocess.target_column": "topic", "task.label_separator": "; "}),
    ("lists in free text", rows(text=text, label=lambda n: long_text(n) if n % 20 else '["a", "b"]'),
     {"task.kind": "generation"}),
    ("spans in few texts", rows(text=text, label=lambda n: [[0, 4, "what"]] if n % 4 == 0 else []),
     {"task.kind": "extraction"}),
    ("Prodigy's choices, some rejected", rows(text=text, _task_hash=1, accept=lambda n: [label(n)],
     answer=lambda n: ("accept", "reject", "ignore")[n % 3]),
     {"preprocess.target_column": "accept", "task.label_separator": "; ", "preprocess.slice_columns": None}),
    ("two labels in every row", rows(text=text, tags=lambda n: f"{label(n)}, {('web', 'app', 'shop')[n % 7 % 3]}"),
     {"task.label_separator": ", "}),
    ("places and countries", rows(text=text, tag=lambda n: ("Bonn, Germany", "Ulm, Germany", "Lyon, France")[n % 3]),
     {"task.label_separator": None}),
    ("spans in UTF-16", rows(text=lambda n: f"😀 from Ann Lee on {n}",
     entities=lambda n: [{"start": 8, "end": 15, "label": ("who", "whom")[n % 2]}]),
     {"preprocess.offset_unit": "utf16"}),
    ("two sentences", rows(sentence1=text, sentence2=text, label=lambda n: n % 2),
     {"preprocess.text_column": "sentence1", "preprocess.added_columns": ["sentence2"], "task.kind": "classification"}),
    ("OpenAI's preference files", rows(input=lambda n: {"messages": [message("user", sentence())]},
     preferred_output=lambda n: [message("assistant", sentence())], non_preferred_output=lambda n: []),
     {"method": "preference"}),
    ("chat turns", rows(messages=lambda n: [message("user", sentence()), message("assistant", label(n))]),
     {"task.kind": "classification"}),
    ("contents", rows(contents=lambda n: [turn("user", sentence()), turn("model", sentence(20))]),
     {"task.kind": "generation"}),
    ("AutoML sentiment", rows(textContent=text, sentimentAnnotation=lambda n: {"sentiment": n % 3}),
     {"task.kind": "sentiment"}),
    ("AutoML labels", rows(textContent=text, classificationAnnotations=lambda n: [{"displayName": label(n)}]),
     {"task.label_separator": "; "}),
    ("customers", rows(200, text=text, label=label, customer_id=lambda n: f"K-{n % 50:03}"),
     {"preprocess.group_column": "customer_id"}),
    ("splits", rows(text=text, label=label, subset=lambda n: ("train", "train", "test")[n % 3]),
     {"preprocess.split_column": "subset"}),
    ("channels", rows(text=text, label=label, channel=lambda n: ("web", "mail")[n % 2]),
     {"preprocess.slice_columns": ["channel"]}),
]  # fmt: skip


@pytest.mark.parametrize(("listed", "expected"), [form[1:] for form in FORMS], ids=[form[0] for form in FORMS])
def test_guess_recognizes_forms_of_rows(listed: list[dict[str, Any]], expected: dict[str, Any]) -> None:
    settings = guessed(listed)
    assert {name: settings.get(name) for name in expected} == expected


@pytest.mark.parametrize(
    ("columns", "problem"),
    [
        ({"human_ref_A": text, "human_ref_B": text, "labels": lambda n: n % 2}, "look like two answers"),
        ({"response_1": text, "response_2": text, "preference_strength": lambda n: n % 7 - 3}, "look like two answers"),
        ({"answer_a": text, "answer_b": text, "winner_a": lambda n: n % 2}, "look like two answers"),
        ({"completion": text, "label": lambda n: n % 2 == 0}, "says of one answer whether it is good"),
    ],
)
def test_guess_refuses_answers_whose_better_one_is_not_named(columns: dict[str, Any], problem: str) -> None:
    with pytest.raises(UserError, match=problem):
        guess(rows(prompt=text, **columns))
    assert guessed(rows(prompt=text, **columns), target=next(iter(columns)))["task.kind"]


@pytest.mark.parametrize(
    ("columns", "problem"),
    [
        ({}, "'text' is the only column (add a column"),
        ({"parts": lambda n: [{"q": f"a {n}"}]}, "write a row for each object in 'parts'"),
        ({f"column_{n}": text for n in range(30)}, "3 rows and 31 columns look like a table on its side"),
        ({"label": "a"}, "'label' has one value in 60 of 60 rows (add rows with other references; name the column"),
        ({"label": lambda n: "a" if n == 3 else None}, "'label' has one value in 1 of 60 rows (fill every row"),
        ({"tag": lambda n: ("O", "O", "B-PER")[n % 3]}, "the rows are words with tags"),
        ({"label": None, "score": lambda n: n / 7}, "'label' has no value in 0 of 60 rows; 'score' has 60 different"),
    ],
)
def test_guess_says_why_no_column_is_the_reference(columns: dict[str, Any], problem: str) -> None:
    with pytest.raises(UserError) as raised:
        guess(rows(3 if len(columns) > 20 else 60, text=text, **columns))
    assert problem in str(raised.value)


CELLS = st.recursive(
    st.sampled_from(
        [
            "a",
            "model_a",
            "tie",
            "1",
            "",
            "{a,b}",
            "#x #y",
            "a text of words",
            "返金",
            "[{",
            "[null]",
            None,
            1,
            2.5,
            True,
        ]
    ),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["role", "from", "value", "content", "parts", "text", "label"]), inner, max_size=3
        )
    ),
    max_leaves=6,
)
COLUMNS = st.sampled_from([
    "text", "label", "prompt", "chosen", "rejected", "messages", "conversation_a", "conversation_b", "winner",
    "answer_1", "answer_2", "instruction", "input", "output", "contents", "tokens", "entities", "completion", "0",
    "回答A",
])  # fmt: skip


@example([{"input": "[null]", "1": "a text", "prompt": ""}])
@given(listed=st.lists(st.dictionaries(COLUMNS, CELLS, max_size=4), max_size=6))
def test_guess_of_any_rows_is_a_guess_or_one_error(listed: list[dict[str, Any]]) -> None:
    with contextlib.suppress(UserError):
        assert all(isinstance(item.setting, str) for item in guess(listed))


def test_guess_of_nameless_columns_takes_what_the_text_predicts() -> None:
    words = {"billing": "invoice", "delivery": "parcel", "account": "password"}
    columns = {"F1": lambda n: RNG.choice(("web", "mail")), "F2": lambda n: f"{words[label(n)]} {sentence(4)}"}
    listed = rows(150, **columns, F3=label)
    settings = guessed(listed)
    assert (settings["preprocess.text_column"], settings["preprocess.target_column"]) == ("F2", "F3")


def test_guess_of_few_rows_tells_labels_from_channels() -> None:
    words = {"billing": "invoice", "delivery": "parcel", "account": "password"}
    columns = {"F1": lambda n: RNG.choice(("web", "mail", "app")), "F2": lambda n: f"{words[label(n)]} {sentence(12)}"}
    listed = rows(48, **columns, F3=lambda n: RNG.choice(("north", "south")), F4=label)
    settings = guessed(listed)
    assert (settings["preprocess.text_column"], settings["preprocess.target_column"]) == ("F2", "F4")
    assert guessed([{"text": row["F2"], "F1": row["F1"]} for row in listed])["preprocess.target_column"] == "F1"


def test_guess_of_many_labels_in_few_rows_is_a_classification() -> None:
    names = [f"card_{a}_{b}" for a in WORDS[:6] for b in WORDS[:6]]
    for name in ("label", "F2"):
        settings = guessed(rows(text=long_text, **{name: lambda n: names[n % 36]}))
        assert (settings["task.kind"], settings.get("preprocess.target_column", "label")) == ("classification", name)
    assert guessed(rows(question=text, answer=lambda n: names[n % 36]))["task.kind"] == "generation"


def test_guess_offers_what_fits_nearly_as_well() -> None:
    listed = rows(90, text=text, intent=label, topic=lambda n: label(n + 1))
    [target] = [item for item in guess(listed) if item.setting == "preprocess.target_column"]
    assert {target.value, *target.alternatives} == {"intent", "topic"}


def test_guess_of_times_is_an_offer_only() -> None:
    listed = rows(text=text, label=label, created=lambda n: f"2026-01-{1 + n % 28:02}")
    [offer] = [item for item in guess(listed) if item.setting == "split.time_column"]
    assert offer.is_offer
    assert offer.value == "created"


@pytest.mark.parametrize("first", [10_000_000, 20_260_001, 20_269_901, 45_000_000])
def test_guess_takes_no_numbered_tickets_for_times(first: int) -> None:
    assert "split.time_column" not in guessed(rows(text=text, label=label, ticket=lambda n: first + n))
    assert "split.time_column" in guessed(
        rows(text=text, label=label, day=lambda n: 20_260_101 + 100 * (n % 12) + n % 28)
    )


def test_guess_distinguishes_a_first_row_of_data_from_a_header() -> None:
    assert has_header(rows(F1=text, F2=label))
    assert has_header(rows(text=text, delivery=label))  # a label that is the name of its column, too
    assert not has_header(rows(hello=text, delivery=label))
    channels = {
        "hello": text,
        "positive": lambda n: ("positive", "negative")[n % 2],
        "web": lambda n: ("web", "app")[n % 2],
    }
    assert not has_header(rows(**channels))
    assert not has_header(rows(**{"0": lambda n: n, "hello": text, "2": label}))
    assert not has_header(rows(**{"where is my parcel? it has been three weeks": text, "delivery": label}))


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".xlsx"])
def test_init_numbers_the_columns_of_a_table_without_a_header(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    monkeypatch.chdir(tmp_path)
    cells = [[f"2026-01-{1 + n % 28:02}", sentence(), label(n)] for n in range(90)]
    table, path = pd.DataFrame(cells), Path(f"tickets{suffix}")
    if suffix == ".xlsx":
        table.to_excel(path, index=False, header=False)
    else:
        table.to_csv(path, index=False, header=False, sep="\t" if suffix == ".tsv" else ";")
    result = CliRunner().invoke(app, ["init", str(path), "--yes"])
    assert result.exit_code == 0, result.output
    rules = Config.load("tickets.yaml").preprocess
    assert (rules.header, rules.text_column, rules.target_column) == (False, "column_2", "column_3")
    checked = CliRunner().invoke(app, ["data", "check", str(path), "--config", "tickets.yaml"])
    assert "of 90 rows usable" in checked.output, checked.output


def test_guess_refuses_an_unknown_column() -> None:
    with pytest.raises(UserError, match="no column 'Text'"):
        guess(rows(text=text, label=label), text="Text")


@pytest.mark.parametrize(
    ("row", "remedy"),
    [
        ({"id": "7", "payload": {"body": "a b"}}, "jq -c '. + .[\"payload\"]' FILE > rows.jsonl"),
        ({"conversations": [{"speaker": "human", "line": "a"}]}, "write them as messages with role and content"),
        ({"id": 7}, "--text COLUMN"),
        ({"tokens": ["a", "b"], "ner_tags": [1, 0]}, "join the words of 'tokens'"),
        ({"data": '{"text": "a"}'}, "write the objects in 'data' as lines of a .jsonl file"),
        ({"data": {"text": "a"}, "annotations": [{"result": []}]}, "export them as JSON-MIN or CSV"),
        ({"_index": "a b", "_source": {"text": "a"}}, "jq -c '. + .[\"_source\"]' FILE"),
        ({"request": {"contents": []}, "response": {"candidates": []}}, "[.response.candidates[0].content])}' FILE"),
    ],
)
def test_guess_says_how_rows_without_a_text_get_one(row: dict[str, Any], remedy: str) -> None:
    with pytest.raises(UserError, match="no column holds texts") as raised:
        guess([row] * 20)
    assert remedy in str(raised.value)


@pytest.mark.parametrize(
    ("file", "name"), [("étiquettes.tsv", "etiquettes"), ("Grüße (v2).csv", "grusse-v"), ("a・b.csv", "a-b")]
)
def test_init_names_a_configuration_after_its_file(
    file: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(file).write_text("text,label\n" + "".join(f"{sentence()},{label(n)}\n" for n in range(40)), encoding="utf-8")
    written = init(file, None, "", {"kind": "", "text": "", "target": ""}, interactive=False, force=False)
    assert written["configuration"] == f"{name}.yaml"


def test_init_says_why_no_row_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / "rows.txt"
    path.write_text("a: some text\n" * 9, encoding="utf-8")
    with pytest.raises(UserError, match="no usable row among 9: 9 invalid_json"):
        init(str(path), None, "own", {}, interactive=False, force=False)


@pytest.mark.parametrize(("use", "kind"), [("", "sentiment"), ("TRAIN", "sentiment"), ("", "classification")])
def test_init_reads_csv_files_of_automl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, use: str, kind: str) -> None:
    monkeypatch.chdir(tmp_path)
    ends = (lambda n: f"{n % 4},3") if kind == "sentiment" else label
    Path("a.csv").write_text("".join(f"{use},{sentence()},{ends(n)}\n" for n in range(40)), encoding="utf-8")
    init("a.csv", Path("own.yaml"), "own", {}, interactive=False, force=False)
    config = Config.load(Path("own.yaml"))
    assert (config.task.kind, config.preprocess.header) == (kind, True)


def test_init_refuses_a_file_without_a_usable_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    turns = json.dumps({"messages": [message("user", "a")]})
    Path("rows.jsonl").write_text(f"{turns}\n" * 9, encoding="utf-8")
    with pytest.raises(UserError, match="9 wrong_turns; the first: the turns must end with user, model"):
        init("rows.jsonl", None, "own", {}, interactive=False, force=False)
    assert [path.name for path in tmp_path.iterdir()] == ["rows.jsonl"]


def test_guess_takes_what_is_known() -> None:
    listed = rows(text=text, label=label, note=long_text)
    settings = guessed(listed, kind="generation", target="note")
    assert (settings["task.kind"], settings["preprocess.target_column"]) == ("generation", "note")


def test_init_writes_a_configuration_that_reads_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    lines = [
        "Nachricht;Kategorie;am",
        *(f'"Grüße, {sentence()}";{label(n)};2026-01-{1 + n % 28:02}' for n in range(90)),
    ]
    Path("tickets.csv").write_bytes("\r\n".join(lines).encode("cp1252"))
    result = CliRunner().invoke(app, ["init", "tickets.csv", "--yes"])
    assert result.exit_code == 0, result.output
    written = Path("tickets.yaml").read_text(encoding="utf-8")
    assert written.startswith("# yaml-language-server: $schema=gemtune.schema.json\n")
    assert "cp1252" in written
    assert "separated by semicolons" in written
    assert "  # time_column: am" in written
    config = Config.load("tickets.yaml")
    assert (config.name, config.preprocess.text_column, config.task.target_name) == (
        "tickets",
        "Nachricht",
        "Kategorie",
    )
    assert json.loads(Path("gemtune.schema.json").read_text(encoding="utf-8"))["properties"]["task"]
    assert "gemtune run tickets.yaml" in result.output
    assert "Nachricht: Grüße" in result.output


def test_init_replaces_no_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("rows.jsonl").write_text("\n".join(json.dumps(row) for row in rows(text=text, label=label)))
    Path("own.yaml").write_text("name: own\n")
    result = CliRunner().invoke(app, ["init", "rows.jsonl", "--yes", "--out", "own.yaml"])
    assert result.exit_code == 1
    assert Path("own.yaml").read_text() == "name: own\n"


def test_init_asks_only_what_is_unsure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    listed = rows(90, text=text, intent=label, topic=lambda n: label(n + 1))
    Path("rows.jsonl").write_text("\n".join(map(json.dumps, listed)))
    questions: list[str] = []
    monkeypatch.setattr("typer.prompt", lambda question, **_: questions.append(question) or "topic")
    init("rows.jsonl", None, "own", {"kind": "", "text": "", "target": ""}, interactive=True, force=False)
    assert len(questions) == 1
    assert Config.load("own.yaml").preprocess.target_column == "topic"


@pytest.mark.parametrize(
    ("labels", "refused"), [(LABELS, False), (("billing", "delivery", "new"), False), (("a", "b", "billing"), True)]
)
def test_plan_refuses_rows_of_another_task(
    labels: tuple[str, ...], refused: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, of in (("own", LABELS), ("other", labels)):
        listed = rows(120, text=text, label=lambda n, of=of: of[n % 3])
        Path(f"{name}.jsonl").write_text("\n".join(map(json.dumps, listed)))
    Path("c.yaml").write_text("data: own.jsonl\nsplit: {min_rows: 5}\n")
    result = CliRunner().invoke(app, ["plan", "c.yaml", "--offline", "--data", "other.jsonl"])
    assert ("gemtune init other.jsonl" in result.output) == refused
    result = CliRunner().invoke(
        app, ["plan", "c.yaml", "--offline", "--data", "other.jsonl", "--set", "task.kind=extraction"]
    )
    assert result.exit_code == 1
