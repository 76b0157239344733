# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Whether a configuration fits its rows: what stops the check, the plan and the run alike, and what scorers accept."""

import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from gemtune.cli import commands, data, main
from gemtune.config import Config, Evaluate, ModelVariant, Split, Task
from gemtune.contents import ModelOutput
from gemtune.data import source_rows
from gemtune.data.example import Example, example_id, write_examples
from gemtune.data.labels import label_set
from gemtune.data.row_validation import ReadStats
from gemtune.errors import UserError
from gemtune.evaluation.scorers import score_sample
from gemtune.inference.data_fit import DYNAMIC_THINKING_TOKENS, RowProfile, misfits, require_source_fit
from gemtune.inference.prompts import render, resolve, training_row, tuned_prompt
from gemtune.steps import split

APP = typer.Typer()
APP.add_typer(data.data_app, name="data")

Rows = list[dict[str, Any]]
QUICK = ["preprocess.find_label_issues=false", "split.semantic_threshold=0", "split.passage_chars=0"]  # no embeddings


def texts(references: list[Any], **columns: list[Any]) -> Rows:
    """Rows with these references and different texts."""
    rng = random.Random(1)
    words = ["".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=9)) for _ in range(4 * len(references))]
    return [
        {"text": " ".join(words[4 * i : 4 * i + 4]), "label": reference, **{n: c[i] for n, c in columns.items()}}
        for i, reference in enumerate(references)
    ]


LABELS = ["refund", "delivery", "login"]
PLAIN = [LABELS[i % 3] for i in range(300)]
OBJECTS = [{"city": f"c{i}", "size": i} for i in range(300)]
PYTHON_OBJECTS = [str({"city": f"c{i}"}) for i in range(300)]
SENTENCES = [f"A sentence number {i} about something else entirely." for i in range(300)]
LONG_LABELS = [label + " and all that belongs to it, in so many words that nobody counts them" for label in PLAIN]
SUMMARIES = ["word " * 300 + str(i) for i in range(300)]
EXTRACTION = ["task.kind=extraction"]
MISFITS: list[tuple[str, Rows, list[str], str]] = [
    ("objects", texts(OBJECTS), [], "300 of 300 references are objects, not labels (did you mean task.kind"),
    ("python objects", texts(PYTHON_OBJECTS), [], "300 of 300 references are objects, not labels"),
    ("lists", texts(['["a", "b"]', '["c"]'] * 150), [], "set task.label_separator"),
    ("some objects", texts([*PLAIN, *map(json.dumps, OBJECTS[:40])]), [], "40 of 340 references are objects"),
    ("free text", texts(SENTENCES), [], "300 different labels in 300 rows"),
    ("too many labels", texts([f"label {i % 31}" for i in range(300)]), [], "31 different labels in 300 rows"),
    ("one label", texts(["refund"] * 300), [], "only one label"),
    ("long labels", texts(LONG_LABELS), ["evaluate.max_output_tokens=16"], "evaluate.max_output_tokens=16: the median"),
    (
        "one long label",
        texts([*PLAIN, *["a label of more words than the answer may have"] * 20]),
        ["evaluate.max_output_tokens=8"],
        "20 of 320 references are longer",
    ),
    (
        "long objects",
        texts([{"note": "word " * 40, "number": i} for i in range(300)]),
        [*EXTRACTION, "evaluate.max_output_tokens=16"],
        "the longest",
    ),
    ("long summaries", texts(SUMMARIES), ["task.kind=summarization"], "evaluate.max_output_tokens=256"),
    (
        "a prompt's own limit",
        texts(PLAIN),
        ["evaluate.baselines=[{name: short, max_output_tokens: 1}]"],
        "evaluate.baselines[0].max_output_tokens=1",
    ),
    ("thinking", texts(PLAIN), ["evaluate.thinking_budget=1024"], "includes the thinking, up to 1024 tokens"),
    ("free thinking", texts(PLAIN), ["evaluate.thinking_budget=-1"], f"up to {DYNAMIC_THINKING_TOKENS} tokens"),
    (
        "thinking in a chain of thought",
        texts(PLAIN),
        [
            "evaluate.thinking_budget=1024",
            "evaluate.max_output_tokens=2048",
            "evaluate.baselines=[{name: steps, chain_of_thought: true}]",
        ],
        "evaluate.baselines[0].max_output_tokens=1024 includes the thinking",
    ),
    ("a line break", texts([*PLAIN, *["log\nout"] * 20]), [], "has a line break"),
    ("equal letters", texts([*PLAIN, *["caf\u00e9", "cafe\u0301"] * 20]), [], "no answer can be read as the label"),
    ("no object", texts([{"a": 1}] * 299 + ["a"]), EXTRACTION, "line 300: the reference 'a' is not a JSON object"),
    (
        "another schema",
        texts([{"a": 1}] * 299 + [{"a": "x"}]),
        [*EXTRACTION, "task.output_schema={type: object, properties: {a: {type: integer}}}"],
        "line 300: the reference",
    ),
    ("only thoughts", texts(["fine"] * 299 + ["<think>hm"]), ["task.kind=generation"], "line 300: the reference"),
    (
        "a small test split",
        texts([f"label {i % 28}" for i in range(300)]),
        ["split.test=0.08"],
        "test has about 24 rows, too few for each of the 28 labels",
    ),
    ("no test split", texts(PLAIN, split=["train"] * len(PLAIN)), [], "split.min_rows"),
    (
        "a small validation split",
        texts(PLAIN, split=["train"] * 200 + ["validation"] * 5 + ["test"] * 95),
        [],
        "split.min_rows",
    ),
    (
        "a training split of one label",
        texts(PLAIN, split=["train" if label == "login" else "test" for label in PLAIN]),
        ["split.validation=0.25"],
        "the train rows have 1 label of 3: ['login']",
    ),
    (
        "a test split of one label",
        texts(PLAIN, split=["test" if label == "login" else "train" for label in PLAIN]),
        ["split.validation=0.25"],
        "the test rows have 1 label of 3: ['login']",
    ),
]


def write(folder: Path, rows: Rows) -> str:
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def refusals(path: str, overrides: list[str], folder: Path) -> dict[str, str]:
    """What stops the check, the start of a run, and the step `split`; "" where nothing does."""
    options = [word for override in overrides for word in ("--set", override)]
    result = CliRunner().invoke(APP, ["data", "check", path, *options], catch_exceptions=False)
    reported = {"check": result.output if result.exit_code else "", "start": "", "split": ""}
    config = Config.load(None, [f"data={path}", *overrides])
    rows, _ = source_rows.read_all(path, config.task, config.preprocess, ReadStats())
    write_examples(folder / "examples", rows)
    sections = {name: config.parameters()[name] for name in ("task", "split", "evaluate")}
    sections["split"] = {**sections["split"], "semantic_threshold": 0, "passage_chars": 0}
    splits = (str(folder / "train"), str(folder / "validation"), str(folder / "test"))
    for caller, call in (
        ("start", lambda: require_source_fit(config)),
        ("split", lambda: split.run(str(folder / "examples"), splits, str(folder / "report"), "", "n", **sections)),
    ):
        try:
            call()
        except UserError as error:
            reported[caller] = str(error)
    return reported


@pytest.mark.parametrize(("rows", "overrides", "reason"), [case[1:] for case in MISFITS], ids=[c[0] for c in MISFITS])
def test_check_start_and_split_refuse_alike(tmp_path: Path, rows: Rows, overrides: list[str], reason: str) -> None:
    for caller, message in refusals(write(tmp_path, rows), overrides, tmp_path).items():
        assert reason in message, (caller, message)


@pytest.mark.parametrize(
    ("rows", "overrides"),
    [
        (texts(PLAIN), []),
        (texts([f"label {i % 40}" for i in range(300)]), [f"task.labels={[f'label {i}' for i in range(40)]}"]),
        (texts(OBJECTS), EXTRACTION),
        (texts(SUMMARIES), ["task.kind=summarization", "evaluate.max_output_tokens=512"]),
        (texts(PLAIN), ["evaluate.thinking_budget=1024", "evaluate.max_output_tokens=2048"]),
        (texts([*PLAIN, "caf\u00e9", "cafe\u0301"]), ["preprocess.label_spellings=merge"]),
        (texts([["a", "b"], ["c"], ["a", "c"]] * 100), ["task.label_separator='; '"]),
        (texts([*PLAIN, "rare"]), []),
    ],
)
def test_check_start_and_split_accept_alike(tmp_path: Path, rows: Rows, overrides: list[str]) -> None:
    assert refusals(write(tmp_path, rows), overrides, tmp_path) == {"check": "", "start": "", "split": ""}


SMALL_KINDS = {
    "labels": ([], lambda i: LABELS[i % 2]),
    "one of another label": ([], lambda i: LABELS[i == 0]),
    "a single label": ([], lambda i: LABELS[0]),
    "sets": (["task.label_separator='; '"], lambda i: [["a", "b"], ["b"], ["a"]][i % 3]),
    "objects": (EXTRACTION, lambda i: {"number": i}),
    "texts": (["task.kind=generation"], lambda i: f"answer {i}"),
    "empty references": (["task.kind=summarization"], lambda i: ""),
}


@pytest.mark.parametrize("repeats", [0, 1, 2], ids=["different", "pairs", "all alike"])
@pytest.mark.parametrize("count", [5, 150])
@pytest.mark.parametrize("kind", SMALL_KINDS)
def test_check_plan_and_start_agree_on_small_files(kind: str, count: int, repeats: int, tmp_path: Path) -> None:
    """What stops a run stops its start and the plan; the check fails too, or notes that there are too few rows."""
    overrides, reference = SMALL_KINDS[kind]
    overrides = [*overrides, *(QUICK if count > 5 else [])]
    rows = texts([reference(i) for i in range(count)])
    rows = [[row, rows[i - i % 2], rows[0]][repeats] for i, row in enumerate(rows)]
    path, config = write(tmp_path, rows), tmp_path / "my.yaml"
    config.write_text("name: small\n")
    options = [word for override in overrides for word in ("--set", override)]
    check, plan = (
        CliRunner().invoke(main.app, words, catch_exceptions=False)
        for words in (
            ["data", "check", path, *options],
            ["plan", str(config), "--data", path, "--offline", "--exit-zero", *options],
        )
    )
    started = main.load(config, overrides, path)
    refused = ""
    try:
        main._require_rows(started, config, overrides, "student")
    except UserError as error:
        refused = str(error)
    few = "too few rows for a run"
    assert (bool(check.exit_code) or f"note: {few}" in check.output, plan.exit_code) == (
        bool(refused),
        4 if few in refused else int(bool(refused)),
    )
    assert (few in refused) == (few in plan.output)
    assert not refused or refused.endswith(")"), "a remedy"


def test_plan_refuses_what_does_not_fit_and_reports_notes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write(tmp_path, texts(PLAIN))
    command = ["plan", str(tmp_path / "my.yaml"), "--offline", "--data", path]
    command += [word for override in ["plan.min_train_rows=1", *QUICK] for word in ("--set", override)]
    (tmp_path / "my.yaml").write_text("evaluate: {thinking_budget: 512}\n")
    result = CliRunner().invoke(commands.app, command)
    assert (result.exit_code, "includes the thinking, up to 512 tokens" in result.output) == (1, True)
    (tmp_path / "my.yaml").write_text("{}\n")
    write(tmp_path, texts([*PLAIN, "rare"]))
    result = CliRunner().invoke(commands.app, command)
    assert (result.exit_code, "1 label has fewer than 10 rows" in caplog.text) == (0, True)


def test_misfits_note_labels_with_few_rows_and_small_files(tmp_path: Path) -> None:
    profile = RowProfile.of(Task(labels=[*LABELS, "rare", "unused"]), examples([*PLAIN, "rare", "rare"]))
    (note,) = misfits(profile.task, Evaluate(), Split(), profile)
    assert (note.stops, note.message.split(": ")[1]) == (False, "'rare' 2, 'unused' 0")
    profile = RowProfile.of(Task(), examples(PLAIN[:30]))
    (note,) = misfits(profile.task, Evaluate(), Split(), profile)
    assert (note.stops, "validation has about 4" in note.message) == (False, True)


def test_misfits_note_labels_that_a_split_of_the_source_lacks() -> None:
    rows = [
        replace(row, split=("test" if i < 60 else "validation" if i < 120 else "train"))
        for i, row in enumerate(examples(PLAIN))
    ]
    rows = [replace(row, split="train") if row.split == "test" and row.target == "refund" else row for row in rows]
    profile = RowProfile.of(Task(), rows)
    (note,) = misfits(profile.task, Evaluate(), Split(), profile)
    assert (note.stops, note.message) == (False, "no test row has the labels 'refund'")


@pytest.mark.parametrize("column", ["time", "customer"])
def test_check_and_plan_note_labels_that_a_split_will_lack(
    column: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    labels = sorted(PLAIN, key=lambda label: label != "login")
    columns = {"time": [f"2026-{1 + i // 28:02}-{1 + i % 28:02}" for i in range(len(labels))]}
    columns["customer"] = [label if label == "login" else f"c{i}" for i, label in enumerate(labels)]
    path = write(tmp_path, texts(labels, **columns))
    overrides = {
        "time": ["preprocess.slice_columns=[time]", "split.time_column=time"],
        "customer": ["preprocess.group_column=customer"],
    }[column]
    options = [word for override in [*overrides, *QUICK] for word in ("--set", override)]
    checked = CliRunner().invoke(APP, ["data", "check", path, *options])
    assert (checked.exit_code, "no test row has the labels 'login'" in checked.output) == (0, True)
    (tmp_path / "my.yaml").write_text("{}\n")
    CliRunner().invoke(main.app, ["plan", str(tmp_path / "my.yaml"), "--offline", "--data", path, *options])
    assert "no test row has the labels" in caplog.text


def test_misfits_note_thoughts_in_references() -> None:
    task = Task(kind="generation")
    profile = RowProfile.of(task, examples([*["<think>hm</think>yes"] * 3, *["it is </b> so"] * 60]))
    (note,) = misfits(task, Evaluate(), None, profile)
    assert (note.stops, "3 of 63 references have thoughts in tags" in note.message) == (False, True)


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({"size": "number", "day": "date", "city": "exact", "parts.price": "number"}, ""),
        ({"sise": "number"}, "task.field_rules.sise: no reference has a value of this field"),
        ({"city": "number"}, "task.field_rules.city: 60 of 60 values are no number"),
        ({"unclear": "date"}, "task.field_rules.unclear: 60 of 60 values are no unambiguous date"),
    ],
)
def test_misfits_note_rules_that_compare_no_values(rules: dict[str, Any], message: str) -> None:
    values = {"size": "1,5", "day": "5 May 2026", "city": "Bonn", "unclear": "3/4/2026", "parts": [{"price": 2}]}
    profile = RowProfile.of(Task(kind="extraction", field_rules=rules), examples([json.dumps(values)] * 60))
    notes = [misfit.message for misfit in misfits(profile.task, Evaluate(), None, profile)]
    assert [note[: len(message)] for note in notes] == [message] * bool(message)


def examples(references: list[str]) -> list[Example]:
    return [
        Example(example_id(row["text"], row["label"]), row["text"], row["label"], i)
        for i, row in enumerate(texts(references), 1)
    ]


def test_misfits_by_a_sample_never_count_more_labels_than_the_file_has() -> None:
    references = [f"label {i % 60}" for i in range(300)]
    for scale, stops in ((1.0, True), (10.0, False)):
        profile = RowProfile.of(Task(), examples(references), scale)
        assert any(misfit.stops for misfit in misfits(profile.task, Evaluate(), Split(), profile)) is stops


def test_start_checks_a_sample_of_the_whole_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_rows, "SAMPLE_ROWS", 300)
    rows = texts(["other"] * 2000 + PLAIN)
    selected = Config.load(None, [f"data={write(tmp_path, rows)}", "preprocess.labels=[refund, delivery]"])
    require_source_fit(selected)  # none of the first 2,000 rows is usable
    sample = source_rows.sample(selected.data, selected.task, selected.preprocess)
    assert sample == source_rows.sample(selected.data, selected.task, selected.preprocess)
    assert (len(sample[0]) + len(sample[1]), sample[2]) == (300, 2300)
    with pytest.raises(UserError, match="no usable row"):
        require_source_fit(selected.model_copy(update={"preprocess": selected.preprocess.of({"labels": ["nothing"]})}))


@pytest.mark.parametrize("content", ["text,label\n", "\n\n", "text,label\n,a\n", "a,b\n1,2\n"])
def test_check_fails_without_a_usable_row(tmp_path: Path, content: str) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(content)
    result = CliRunner().invoke(APP, ["data", "check", str(path)])
    assert result.exit_code == 1
    assert "0 of 0" not in result.output


LABEL = st.text("aáA\u0301Ａ.,;:!-+#{}[]()\"'1 \n", max_size=6)
TASK = st.fixed_dictionaries(
    {
        "kind": st.sampled_from(["classification", "classification", "sentiment", "extraction", "generation"]),
        "label_separator": st.sampled_from(["", "", "; ", ","]),
    }
)


@given(TASK, st.lists(LABEL, min_size=1, max_size=14), st.integers(0, 99), st.integers(0, 70), st.booleans())
def test_what_misfits_accept_the_split_the_prompts_and_the_scorers_accept(
    fields: dict[str, Any], labels: list[str], seed: int, limit: int, listed: bool
) -> None:
    rng = random.Random(seed)
    if fields["kind"] != "classification":
        fields = {**fields, "label_separator": ""}
    task, separator = Task.of(fields), fields["label_separator"]
    references = [rng.choice(labels) for _ in range(140)]
    if fields["kind"] == "extraction" and seed % 4:
        references = [json.dumps({"a": reference}) for reference in references]
    if separator:
        try:
            references = [label_set(rng.sample(labels, min(2, len(labels))), separator) for _ in range(140)]
        except ValueError:
            return
    rows = examples([reference.strip() or "empty" for reference in references])
    if listed and not separator:
        task = task.model_copy(update={"labels": sorted({row.target for row in rows})})
    evaluate = Evaluate(max_output_tokens=limit + 1)
    if any(misfit.stops for misfit in misfits(task, evaluate, Split(), RowProfile.of(task, rows))):
        return
    splits, _ = split.split_examples(rows, Split(jaccard_threshold=0))
    assert all(len(splits[name]) >= 20 for name in splits)
    shown, everything = resolve(task, splits["train"]), resolve(task, rows)
    for row in [*splits["validation"], *splits["test"]][:20]:
        render(shown, evaluate.baselines[0], row)
        training_row(shown, tuned_prompt(task), row)
        variant = ModelVariant(name="perfect", model="m")
        score = score_sample(everything, variant, row, ModelOutput(row.target, "STOP"), everything)
        assert score.row.parsed == score.row.reference
