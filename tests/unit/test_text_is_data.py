# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Any text passes unchanged through every file between steps: no character in it ends a line, a cell or a run.

The one exception is stated: the halves of a surrogate pair come back joined, as JSON reads them; in a CSV file a single
half comes back as its escape, since UTF-8 cannot hold it.
"""

from __future__ import annotations

import csv
import json
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from evaluations import evaluated, predictions, script
from hypothesis import example, given, settings
from hypothesis import strategies as st
from samples import Said
from test_artifacts import ARTIFACTS, SCALARS, Counts, Line, filled

from gemtune import vertex
from gemtune.artifacts.data import LabelIssue
from gemtune.config import Config, ModelVariant
from gemtune.contents import ModelOutput
from gemtune.data import writers
from gemtune.data.csv_safe import read_review_file, write_review_file
from gemtune.data.dataflow_job import read_dropped
from gemtune.data.example import (
    Example,
    Pair,
    RejectedRow,
    example_id,
    read_examples,
    to_row,
    write_examples,
    write_rows,
)
from gemtune.data.readers import read_rows
from gemtune.evaluation.human_ratings import (
    read_pair_ratings,
    read_ratings,
    write_pair_ratings_file,
    write_ratings_file,
)
from gemtune.evaluation.predictions import read_predictions, write_predictions
from gemtune.inference.generate import GenerateRequest
from gemtune.inference.response_cache import SqliteResponseCache
from gemtune.tuning import submission
from gemtune.vertex import batches, storage
from pipelines import compilation, console_summary

ROOT = Path(__file__).parents[2]
ODDITIES = [
    *("\n", "\r", "\r\n", "\x0b", "\x0c", "\x1c", "\x1d", "\x1e", "\x85", "\u2028", "\u2029"),  # ends of lines
    *("\x00", "\x07", "\x1b[31m", "\x7f", "\x9f"),  # control characters
    *("\ufeff", "\ufffe", "\uffff", "\ufdd0", "\U0010ffff", "\ue000"),  # byte order mark, non-characters, private use
    *("\ud800", "\udfff", "\ud83d", "\ude00", "\\ud83d", "\\"),  # halves of surrogate pairs, and what looks like one
    *("\u200b", "\u200d", "\u202e", "\u2066", "\u0301" * 40, "e\u0301", "\U0001f468\u200d\U0001f469", "ﷺ", "ก็็็"),
    *('"', "'", '""', ",", ";", "\t", "=1+1", "@x", "'=x", "{", "}", "[", ": ", "# ", "--- ", "</script>", "%s", "$$"),
    *("NaN", "null", "\u3000", "\xa0", "日本語", "a", " "),
]
ALL_ODDITIES = " ".join(ODDITIES)
TEXT = st.lists(st.sampled_from(ODDITIES) | st.text(st.characters(), max_size=3), max_size=8).map("".join)
every_text = given(text=TEXT)


def joined(text: str) -> str:
    """The text with the two halves of a surrogate pair as one character."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")


def in_csv(text: str) -> str:
    """What UTF-8 can hold of a text."""
    return text.encode(errors="backslashreplace").decode()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("files")


# -- documents and rows ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("artifact", ARTIFACTS)
def test_artifact_holds_any_character(artifact, tmp_path, monkeypatch):
    monkeypatch.setitem(SCALARS, str, ALL_ODDITIES.encode(errors="replace").decode())
    document = filled(artifact)
    document.write(tmp_path / "document.json")
    assert artifact.read(tmp_path / "document.json") == document


@every_text
def test_artifact_holds_any_text(folder, text):
    document = Counts(rows=1, lines=(Line(label=text, rows=1), Line(label=text, rows=2)))
    document.write(folder / "counts.json")
    assert [line.label for line in Counts.read(folder / "counts.json").lines] == [joined(text)] * 2


@every_text
@example(text=ALL_ODDITIES)
def test_examples_hold_any_text(folder, text):
    turns = ({"role": "user", "parts": [{"text": text}]},)
    key = example_id(text, text, text, turns)
    pairs = (Pair(text, text, text, 2),)
    row = Example(
        key, text, text, 3, system=text or None, contents=turns, answer=turns[0], request={"tools": [text]},
        group=text or None, slices={text: text}, pairs=pairs,
    )  # fmt: skip
    write_examples(folder / "examples", [row, row])
    expected = json.loads(json.dumps(asdict(row)))
    assert [json.loads(json.dumps(asdict(read))) for read in read_examples(folder / "examples")] == [expected] * 2


@every_text
def test_rejected_rows_hold_any_text(folder, text):
    row = RejectedRow(0, "duplicate", text, {"text": text, text: [text]}, kept_id=text or None)
    write_rows(folder / "dropped", [{**to_row(row), "kept_id": text}] * 2)
    expected = json.loads(json.dumps([row.detail, row.row, text]))
    assert [[read.detail, read.row, read.kept_id] for read in read_dropped(folder / "dropped")] == [expected] * 2


@every_text
def test_predictions_hold_any_text(folder, text):
    row = {"dataset": "test", "variant": text, "id": "1", "answer": text, "parsed": text, "slices": {text: text}}
    write_predictions(str(folder / "predictions"), [row, row])
    read = read_predictions(str(folder / "predictions"), "test").answers
    assert read == {joined(text): json.loads(json.dumps([{"schema_version": 1, **row}] * 2))}


@every_text
@settings(max_examples=25)
@example(text=ALL_ODDITIES)
def test_response_cache_holds_any_text(folder, text):
    request = GenerateRequest(text, text, text, [{"role": "user", "parts": [{"text": text}]}], version=text)
    with SqliteResponseCache(folder, {"instruction": text}) as cache:
        cache.put(request, ModelOutput(text, error=text))
        stored = cache.get(request)
    assert (stored.text, stored.error, stored.cached) == (joined(text), joined(text), True)


@every_text
def test_converted_rows_hold_any_text(folder, text):
    row = Example("1", f"a{text}", f"b{text}")
    writers.write(folder / "rows.jsonl", [row], "columns")
    writers.write(folder / "rows.csv", [row], "columns")
    with open(folder / "rows.jsonl", encoding="utf-8") as lines:
        assert [json.loads(line) for line in lines] == [{"text": joined(row.text), "label": joined(row.target)}]
    if "\x00" not in text and len(in_csv(text)) == len(text):
        ((_, cells),) = read_rows(folder / "rows.csv")
        assert cells == {"text": row.text, "label": row.target}
    with open(folder / "rows.csv", encoding="utf-8", newline="") as lines:
        assert list(csv.DictReader(lines)) == [{"text": in_csv(joined(row.text)), "label": in_csv(joined(row.target))}]


# -- sheets for people -----------------------------------------------------------------------------------------------


@every_text
@example(text=ALL_ODDITIES)
def test_ratings_files_hold_any_text(folder, text):
    answers = [{"id": "1", "reference": f"r{text}", "answer": f"a{text}"}, {"id": "1", "reference": "r", "answer": "b"}]
    write_ratings_file(folder / "ratings.csv", answers[:1], {"1": text})
    fill(folder / "ratings.csv", "4")
    (rated,) = read_ratings(folder / "ratings.csv", [1, 5])
    assert (rated.example.text, rated.example.target, rated.answer) == (
        in_csv(text),
        f"r{in_csv(text)}",
        f"a{in_csv(text)}",
    )
    write_pair_ratings_file(folder / "pairs.csv", [(answers[0], answers[1])], {"1": text}, seed=1)
    fill(folder / "pairs.csv", "tie")
    (pair,) = read_pair_ratings(folder / "pairs.csv")
    assert {pair.first, pair.second} == {f"a{in_csv(text)}", "b"}


def fill(path: Path, value: str) -> None:
    """Write a value into the last column, as a person does in a spreadsheet program."""
    with open(path, encoding="utf-8-sig", newline="") as file:
        header, *rows = csv.reader(file)
    with open(path, "w", encoding="utf-8-sig", newline="") as file:
        csv.writer(file).writerows([header, *([*row[:-1], value] for row in rows)])


@every_text
def test_review_file_holds_any_text(folder, text):
    issue = LabelIssue("ab", 3, text, text, text, 0.5)
    write_review_file(folder / "review.csv", [issue, replace(issue, id="cd")])
    assert read_review_file(folder / "review.csv") == dict.fromkeys(("ab", "cd"), in_csv(text).strip())


# -- what is sent ----------------------------------------------------------------------------------------------------


@every_text
def test_tuning_rows_and_batch_requests_hold_any_text(folder, text):
    sent = []

    def upload(client, path, *rest):
        sent.append([json.loads(line) for line in path.read_text("utf-8").removesuffix("\n").split("\n")])
        return "gs://bucket/file"

    job = SimpleNamespace(name="j", state="JOB_STATE_PENDING", output_info=None, error=None)
    jobs = SimpleNamespace(list=lambda **_: [], create=lambda **_: job)
    client = SimpleNamespace(
        bucket="b", location="l", genai=lambda _: SimpleNamespace(batches=jobs),
        catalogue=SimpleNamespace(serving_location=lambda *_: "l"),
    )  # fmt: skip
    row = {"contents": [{"role": "user", "parts": [{"text": text}]}]}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(storage, "upload", upload)
        submission.upload_rows(client, [row, row])
        batches.get_or_create(client, "m", [row])
    expected = json.loads(json.dumps(row))
    assert sent == [[expected, expected], [{"request": expected}]]


@every_text
def test_records_hold_any_text(text):
    stored = {}

    class Blob:
        generation = 1

        def upload_from_string(self, content, **_):
            stored["content"] = content.decode("utf-8")

        def download_as_bytes(self):
            return stored["content"].encode()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(storage, "bucket", lambda _: SimpleNamespace(blob=lambda _: Blob()))
        assert storage.write_record(None, "key", {"text": text, "list": [text]}, 0)
        assert storage.read_record(None, "key") == ({"text": joined(text), "list": [joined(text)]}, 1)


@every_text
def test_run_files_hold_any_text(folder, text):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(console_summary, "collect", lambda _: {"answer": text})
        patch.setattr(console_summary, "copy_manifest", lambda _: None)
        console_summary.finish(folder, [], 0.0)
    assert json.loads((folder / "summary.json").read_text("utf-8"))["answer"] == joined(text)


def test_pipeline_file_holds_any_text(tmp_path):
    instruction = "".join(text for text in ODDITIES if text.isprintable() or text in "\n\x85\u2028\u2029\ufeff")
    config = Config.model_validate({"task": {"instruction": instruction}})
    path = compilation.compile_pipeline(config, tmp_path / "pipeline.yaml")
    parameters = yaml.safe_load(path.read_text("utf-8"))["root"]["inputDefinitions"]["parameters"]
    assert parameters["task"]["defaultValue"]["instruction"] == instruction


@every_text
def test_answers_are_valid_unicode_from_their_arrival_on(text):
    part = SimpleNamespace(text=text, thought=False, function_call=None)
    candidate = SimpleNamespace(content=SimpleNamespace(parts=[part]))
    received = vertex._text(candidate)
    received.encode()
    valid = not any("\ud800" <= c <= "\udfff" for c in joined(text))
    assert received == (joined(text) if valid else received)
    assert len(received) == len(joined(text))


def test_halves_of_a_pair_in_two_parts_are_joined():
    parts = [SimpleNamespace(text=text, thought=False, function_call=None) for text in ("a\ud83d", "\ude00b")]
    assert vertex._text(SimpleNamespace(content=SimpleNamespace(parts=parts))) == "a\U0001f600b"


# -- through the steps -----------------------------------------------------------------------------------------------


def test_answers_with_any_character_are_evaluated_and_read_by_the_gate(tmp_path, monkeypatch):
    texts = [f"text {n} {oddity}" for n, oddity in enumerate(ODDITIES)]
    rows = [Example(example_id(text, "refund"), text, "refund", slices={"kind": text}) for text in texts]
    write_examples(tmp_path / "rows", rows)
    write_examples(tmp_path / "train", rows[:3])
    answers = {row.id: Said(f"refund{oddity}x") for row, oddity in zip(rows, ODDITIES, strict=True)}

    async def generate(request):
        return answers[request.key]

    script(monkeypatch, generate)
    variant = ModelVariant.of({"name": "a\u2028b", "model": "gemini-2.5-flash"})
    settings = {"base_model": "gemini-2.5-flash", "tfidf_baseline": False, "resamples": 200}
    _, report = evaluated(tmp_path, [variant], task={"labels": ["refund", "login"]}, evaluate=settings)
    assert report.rows == len(ODDITIES)
    read = read_predictions(str(tmp_path / "predictions")).of(variant)
    assert [row.answer for row in read.rows] == [f"refund{oddity}x" for oddity in ODDITIES]
    assert len(predictions(tmp_path)) == len(ODDITIES)


# -- the rule in the code --------------------------------------------------------------------------------------------

LINE_SPLITTERS = {
    f"gemtune/inference/{name}.py": "the lines that a reader of an answer sees, in memory; nothing is stored by them"
    for name in ("parsing", "answer_checklists")
}
"""Modules of the product that may call `splitlines`, with the reason."""


def test_product_splits_no_data_at_unicode_line_ends():
    """`splitlines` ends a line at ten characters that JSON and CSV leave inside one."""
    paths = [path for top in ("gemtune", "pipelines", "components", "emulator") for path in (ROOT / top).rglob("*.py")]
    assert len(paths) > 100
    assert {str(p.relative_to(ROOT)) for p in paths if "splitlines" in p.read_text("utf-8")} == set(LINE_SPLITTERS)
