# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The data commands on the shipped sample, the audit sheet's way back, and likely label errors that were planted."""

import csv
import itertools
import json
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from gemtune.cli import data
from gemtune.data.csv_safe import read_review_file, write_review_file
from gemtune.data.example import read_examples
from gemtune.data.label_issues import LabelIssue, rank_label_issues, wrong_labels
from gemtune.errors import UserError
from gemtune.steps import preprocess

SAMPLE = Path(__file__).resolve().parents[2] / "examples" / "support_en"
APP = typer.Typer()
APP.add_typer(data.data_app, name="data")
APP.command("dedup")(data.dedup_command)


def called(*words: str | Path) -> tuple[int, str]:
    result = CliRunner().invoke(APP, [str(word) for word in words], catch_exceptions=False)
    return result.exit_code, result.stdout


def test_data_check_lists_every_broken_row(tmp_path: Path) -> None:
    code, output = called("data", "check", SAMPLE / "rows.jsonl")
    assert code == 1
    for fault in json.loads((SAMPLE / "planted.json").read_text())["broken"]:
        assert f"rows.jsonl:{fault['line']}: {fault['reason']}: " in output
    sound = tmp_path / "rows.csv"
    sound.write_text("text,label\nfirst text,a\nsecond text,b\n")
    assert called("data", "check", sound) == (0, "2 of 2 rows usable\n")
    code, output = called("data", "check", SAMPLE / "rows.jsonl", "--json")
    assert code == 1
    assert json.loads(output)["rows"] > json.loads(output)["usable"] > 0
    converted = json.loads(called("data", "convert", sound, "--out", tmp_path / "out.jsonl", "--json")[1])
    assert converted == {"out": str(tmp_path / "out.jsonl"), "rows": 2, "excluded": {}}
    assert json.loads(called("dedup", sound, "--out", tmp_path / "kept.jsonl", "--json")[1])["kept"] == 2


@pytest.mark.parametrize(
    ("row", "settings", "suggested"),
    [
        ({"Text": "a", "label": "x"}, [], "no 'text'; the row has Text, label; did you mean 'Text'?"),
        ({"text": "a", "labels": "x"}, [], "did you mean 'labels'?"),
        ({"text": "a", "label": "Billing"}, ["task.labels=[billing, login]"], "task.labels; did you mean 'billing'?"),
        ({"text": "a", "label": "biling"}, ["preprocess.labels=[billing, login]"], "did you mean 'billing'?"),
    ],
)
def test_data_check_suggests_similar_columns_and_labels(
    row: dict[str, str], settings: list[str], suggested: str, tmp_path: Path
) -> None:
    rows = [json.dumps(row), json.dumps({"text": "b", "label": "login"}), json.dumps({"text": "c", "label": "billing"})]
    (tmp_path / "rows.jsonl").write_text("\n".join(rows))
    options = [part for setting in settings for part in ("--set", setting)]
    assert suggested in called("data", "check", tmp_path / "rows.jsonl", *options)[1]


def test_data_convert_and_dedup_write_the_reported_rows(tmp_path: Path) -> None:
    out = tmp_path / "rows.jsonl"
    code, output = called("data", "convert", SAMPLE / "rows.jsonl", "--out", out, "--to", "gemini")
    rows = [json.loads(line) for line in out.open()]
    assert code == 0
    assert output.startswith(f"{len(rows)} rows written")
    assert all(row["contents"][-1]["role"] == "model" for row in rows)
    truth = json.loads((SAMPLE / "planted.json").read_text())
    _, output = called("dedup", SAMPLE / "rows.jsonl", "--out", tmp_path / "kept", "--dropped", tmp_path / "gone")
    gone = [json.loads(line)["reason"] for line in (tmp_path / "gone").open()]
    assert gone.count("near_duplicate") == len(truth["near_duplicates"])
    assert gone.count("exact_duplicate") == len(truth["exact_duplicates"])
    assert len(gone) + len(list(read_examples(tmp_path / "kept"))) == truth["lines"]


def test_dedup_and_describe_stop_like_a_run_when_too_many_rows_would_go(tmp_path: Path) -> None:
    ticket = "please send me another lamp, because the one I bought last week is broken"
    rows = [{"text": f"{ticket}{'!' * n} {'again' * (n % 2)}", "label": "a"} for n in range(20)]
    data, out = tmp_path / "rows.jsonl", tmp_path / "kept.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in [*rows, {"text": "what do I owe you", "label": "b"}]))
    files = [str(tmp_path / name) for name in ("examples", "dropped", "report")]
    messages = []
    for command in (lambda: called("dedup", data, "--out", out), lambda: called("data", "describe", data),
                    lambda: preprocess.run(str(data), *files)):  # fmt: skip
        with pytest.raises(UserError, match=r"near-deduplication would remove .*max_removed_share=0.5") as raised:
            command()
        messages.append(str(raised.value))
    assert len(set(messages)) == 1
    assert not out.exists()


def test_dedup_and_describe_show_the_borderline_duplicates(tmp_path: Path) -> None:
    result = CliRunner().invoke(APP, ["dedup", str(SAMPLE / "rows.jsonl"), "--out", str(tmp_path / "kept")])
    described = json.loads(called("data", "describe", "--json", SAMPLE / "rows.jsonl")[1])["borderline_duplicates"]
    assert len(described) == 10
    for row in described:
        assert f"{row['similarity']:.3f}  line {row['line']}: " in result.stderr


def test_data_describe_reports_balance_lengths_and_scripts(tmp_path: Path) -> None:
    arguments = ["data", "describe", SAMPLE.parent / "support_ja" / "rows.jsonl", "--audit", tmp_path / "sheet.csv"]
    found = json.loads(called(*arguments, "--json")[1])
    lines = called(*arguments)[1].splitlines()
    assert lines[0] == f"{found['rows']} rows, {found['would_keep']} would be kept"
    assert f"scripts: {found['would_keep']} japanese" in lines
    assert set(found["scripts"]) == {"japanese"}
    assert len(found["labels"]) == 6
    assert sum(bin["rows"] for bin in found["text_characters"]["histogram"]) == found["would_keep"]
    assert (tmp_path / "sheet.csv").read_text("utf-8-sig").startswith("id,line,label,likely,margin,text\n")


def test_label_issues_rank_planted_errors_and_corrections_apply(tmp_path: Path) -> None:
    files = [str(tmp_path / name) for name in ("examples", "dropped", "report")]
    mentions = ["quoted", "negated", "two_wishes"]  # tickets that TF-IDF often reads wrongly
    sections = {"find_label_issues": False, "slice_columns": mentions}
    preprocess.run(str(SAMPLE / "rows.jsonl"), *files, preprocess=sections)
    examples = [e for e in read_examples(files[0]) if all(e.slices[name] == "no" for name in mentions)]
    draw = random.Random(1)
    wrong = set(draw.sample(range(len(examples)), 30))
    names = sorted({example.target for example in examples})
    rows = [
        {"text": e.text, "label": draw.choice([n for n in names if n != e.target]) if i in wrong else e.target}
        for i, e in enumerate(examples)
    ]
    data = tmp_path / "rows.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    preprocess.run(str(data), *files, preprocess={"jaccard_threshold": 0})
    ranked = rank_label_issues(list(read_examples(files[0])))
    found = ranked.rows
    assert ranked.summary().rows == sum(row.confident for row in found)
    hits = [row.line - 1 in wrong for row in found]
    assert sum(hits) >= 29
    assert sum(hits[:20]) >= 19
    assert 18 <= sum(row.confident for row in found) <= 36  # of 30
    sheet = tmp_path / "sheet.csv"
    write_review_file(sheet, [replace(row, label=examples[row.line - 1].target) for row in found])
    preprocess.run(str(data), *files, preprocess={"jaccard_threshold": 0, "corrections": str(sheet)})
    assert json.loads(Path(files[2]).read_text())["corrected"] == sum(hits)
    fixed = {example.line: example.target for example in read_examples(files[0])}
    assert all(fixed[row.line] == examples[row.line - 1].target for row in found)


def test_data_describe_states_no_number_of_wrong_labels_that_the_texts_do_not_predict(tmp_path: Path) -> None:
    draw = random.Random(2)
    words = "parcel invoice password refund late broken address cancel screen order".split()  # noqa: SIM905
    rows = [{"text": f"{n} {' '.join(draw.choices(words, k=9))}", "label": draw.choice("abc")} for n in range(90)]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert "likely label issues: their number cannot be estimated" in called("data", "describe", path)[1]
    for row in rows:
        row["text"] += {"a": " money", "b": " boxes", "c": " login"}[row["label"]] * 3
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert "cannot be estimated" not in called("data", "describe", path)[1]


def test_corrections_with_an_empty_label_drop_the_row(tmp_path: Path) -> None:
    data, sheet = tmp_path / "rows.csv", tmp_path / "sheet.csv"
    data.write_text("text,label\nfirst one,a\nsecond two,b\nthird three,a\n")
    files = [str(tmp_path / name) for name in ("examples", "dropped", "report")]
    preprocess.run(str(data), *files, preprocess={})
    ids = [example.id for example in read_examples(files[0])]
    with sheet.open("w", newline="") as out:
        csv.writer(out).writerows([["id", "label"], [ids[2], ""], [ids[1], "b"]])
    assert read_review_file(sheet) == {ids[2]: "", ids[1]: "b"}
    preprocess.run(str(data), *files, preprocess={"corrections": str(sheet)})
    assert [example.id for example in read_examples(files[0])] == ids[:2]
    assert json.loads(Path(files[1]).read_text())["reason"] == "audited"


@pytest.mark.parametrize("labels", [2, 5, 60])
@pytest.mark.parametrize("sureness", [2.0, 6.0])  # of the model: right on about 0.8 and 0.95 of the rows
@pytest.mark.parametrize("share", [0.0, 0.02, 0.05, 0.1, 0.2])
def test_wrong_labels_is_near_the_planted_number(labels: int, sureness: float, share: float) -> None:
    rng, rows = np.random.default_rng(7), 2000
    margins = rng.exponential(sureness, rows)
    predicted, right = rng.integers(0, labels, rows), rng.random(rows) < 1 / (1 + np.exp(-margins))
    truth = np.where(right, predicted, (predicted + rng.integers(1, labels, rows)) % labels)
    given = np.where(rng.random(rows) < share, (truth + rng.integers(1, labels, rows)) % labels, truth)
    probabilities = np.full((rows, labels), 1.0)
    probabilities[np.arange(rows), predicted] = np.exp(margins)
    expected, most = wrong_labels(probabilities / probabilities.sum(axis=1, keepdims=True), given)
    planted = int((given != truth).sum())
    assert abs(expected - planted) <= 0.03 * rows
    assert expected <= most
    assert planted <= most + 0.01 * rows


@pytest.mark.parametrize("labels", [2, 5, 40])
@pytest.mark.parametrize("share", [0.0, 0.05, 0.1, 0.2])
def test_wrong_labels_of_an_overconfident_model_is_near_the_planted_number(labels: int, share: float) -> None:
    """The model errs between labels that it considers probable; its probabilities are the true ones to the power 2."""
    rng, rows = np.random.default_rng(7), 2000
    true = rng.dirichlet([0.08] * labels, rows)
    truth = np.array([rng.choice(labels, p=own) for own in true])
    given = np.where(rng.random(rows) < share, (truth + rng.integers(1, labels, rows)) % labels, truth)
    expected, most = wrong_labels(true**2 / (true**2).sum(axis=1, keepdims=True), given)
    planted = int((given != truth).sum())
    assert abs(expected - planted) <= 0.15 * planted + 0.01 * rows
    assert planted <= most


def test_wrong_labels_of_a_model_that_knows_nothing_is_near_the_prior() -> None:
    rng = np.random.default_rng(7)
    probabilities = rng.dirichlet([5.0] * 4, 2000)
    expected, most = wrong_labels(probabilities, rng.integers(0, 4, 2000))
    assert expected <= 300 <= most


def test_test_data_replaces_the_test_split(tmp_path: Path) -> None:
    data, held = tmp_path / "rows.csv", tmp_path / "test.csv"
    data.write_text("text,label\nwhere is my parcel from monday,a\nsomething else,b\n")
    held.write_text("text,label\nWhere is my parcel from Monday?,a\n")
    files = [str(tmp_path / name) for name in ("examples", "dropped", "report")]
    preprocess.run(str(data), *files, preprocess={"test_data": str(held)})
    assert [(e.text, e.split) for e in read_examples(files[0])] == [
        ("Where is my parcel from Monday?", "test"), ("something else", "train")
    ]  # fmt: skip


def test_data_commands_report_progress_on_stderr(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps({"text": f"row {i}", "label": "ab"[i % 2]}) + "\n" for i in range(3000)))
    clock = itertools.count(step=3.0)
    monkeypatch.setattr("gemtune.data.source_rows.time.monotonic", lambda: next(clock))
    result = CliRunner().invoke(APP, ["data", "check", str(path)], catch_exceptions=False)
    assert result.stdout == "3000 of 3000 rows usable\n"
    assert result.stderr.splitlines() == [f"2000 rows of {path} read, 333/s", f"3000 rows of {path} read, 333/s"]


CELL = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=6)
RISKY = st.builds("".join, st.tuples(st.sampled_from(["", "'", "''", "=", "+", "-", "@", "'=", "\t="]), CELL))


@given(st.lists(st.tuples(RISKY, RISKY), max_size=5), st.sampled_from(",;\t"))
def test_review_file_round_trips_through_a_spreadsheet(
    tmp_path_factory: pytest.TempPathFactory, cells: list[tuple[str, str]], separator: str
) -> None:
    path = tmp_path_factory.mktemp("sheet") / "sheet.csv"
    rows = [LabelIssue(f"{n:016x}", n, text, label.strip(), label, 0.5) for n, (label, text) in enumerate(cells)]
    write_review_file(path, rows)
    written = list(csv.reader(path.read_text("utf-8-sig").splitlines(keepends=True)))
    assert not any(cell.startswith(("=", "+", "-", "@", "\t")) for row in written for cell in row)
    assert all(row[0].startswith("#") for row in written[1:])  # 12e4567890123456 would be a number
    with path.open("w", encoding="utf-8-sig", newline="") as out:
        csv.writer(out, delimiter=separator).writerows([*written, [""] * 6])
    assert read_review_file(path) == {row.id: row.label for row in rows}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("id,label\n#1,caf\xe9\n".encode("latin-1"), "not UTF-8.*save it as CSV UTF-8"),
        (b"id,label\n#1\n", "sheet.csv:2: the row ends before its label"),
        (b"name,label\n", "the file lacks the columns"),
        (b"", "the file lacks the columns"),
    ],
)
def test_review_file_names_what_is_broken(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "sheet.csv").write_bytes(content)
    with pytest.raises(UserError, match=said):
        read_review_file(tmp_path / "sheet.csv")


def test_review_file_of_other_data_is_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    files = [str(tmp_path / name) for name in ("examples", "dropped", "report")]
    (tmp_path / "sheet.csv").write_text("id,label\n#0123456789abcdef,a\n")
    (tmp_path / "rows.csv").write_text("text,label\nfirst,a\nsecond,b\n")
    preprocess.run(str(tmp_path / "rows.csv"), *files, preprocess={"corrections": str(tmp_path / "sheet.csv")})
    assert "1 rows of the review file are not in the data" in caplog.text
    assert json.loads(Path(files[2]).read_text())["corrections_without_row"] == 1


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.csv", "text,label\nhello, you,a\n", "into double quotes, or set preprocess.delimiter"),
        ("a.jsonl", '{"text": "a", "label": ["b", "c"]}\n', "set task.label_separator"),
        ("a.csv", "body,topic\nhello,a\n", "--set preprocess.text_column"),
        ("a.jsonl", '[{"text": "a", "label": "b"}]\n[{"text": "b", "label": "a"}]\n', "jq -c"),
        ("a.json", '[["a", {"entities": [[0, 1, "x"]]}]]', "name the fields: jq -c"),
        ("a.jsonl", '{"data": [{"a": 1}]}\n{"data": [{"a": 2}]}\n', "write one row per line: jq -c '.data"),
        ("a.jsonl", '"{\\"text\\": \\"a\\"}"\n', "jq -c fromjson FILE"),
        ("a.jsonl", '{text: "a", label: "b"}\n', "in double quotes, as json.dumps does"),
        ("a.jsonl", '{"text": "a", "score": NaN}\n', "write null where a value is missing"),
        ("a.txt", "a\tb\nc\td\n", "name a table .csv, .tsv or .xlsx"),
        ("a.csv", "my parcel,delivery\nmy money,refund\nlate again,delivery\n", "--set preprocess.header=false"),
        ("a.jsonl", '{"conversations": [{"from": "human", "value": "a"}]}\n', "correct the turns of these rows"),
        ("a.jsonl", '{"messages": [{"role": "user", "content": null}]}\n', "write turns as Gemini contents"),
        ("a.csv", "text,bug,billing,urgent\na b,1,0,0\nc d,0,1,1\n", "if billing, bug, urgent say of one label each"),
        ("a.jsonl", "{'text': 'a', 'label': 'x'}\n", "in double quotes, as json.dumps does"),
        ("a.jsonl", "text,label\na,b\n", "name a table .csv"),
        ("a.jsonl", '{"prompt": "p", "chosen": "a", "rejected": "b"}\n', "--method preference"),
        ("a.jsonl", '{"data": {"text": "a"}, "annotations": []}\n', "as `gemtune init` suggests them"),
        ("a.csv", "text,label,split\na b,x,0\nc d,y,1\n", "name the column of the splits in preprocess.split_column"),
        ("a.csv", "text,label\n" + "a" * 100_001 + ",x\n", "or raise preprocess.max_chars"),
    ],
)
def test_data_commands_name_a_remedy_without_usable_rows(tmp_path: Path, name: str, content: str, said: str) -> None:
    (tmp_path / name).write_text(content)
    assert said in called("data", "check", tmp_path / name)[1]
    for command in ("data describe", "data convert --out o.jsonl", "dedup --out o.jsonl"):
        words = [str(tmp_path / word) if word == "o.jsonl" else word for word in command.split()]
        with pytest.raises(UserError, match=said):
            called(*words, tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_data_check_accepts_rows_that_settings_leave_out(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("text,label\nfirst one,a\nsecond two,b\nthird three,c\n")
    code, output = called("data", "check", path, "--set", "preprocess.labels=[a, b]")
    assert (code, "2 of 3 rows usable; 1 not_selected" in output) == (0, True)
    assert called("data", "check", path, "--set", "task.labels=[a, b]")[0] == 1


@pytest.mark.parametrize(
    ("name", "content", "remedy"),
    [
        ("a.json", '{\n "text": "a",\n "label": \n}\n', "jq -c . FILE"),
        ("a.csv", '{"text": "a", "label": "b"}\n', "name it .jsonl"),
        ("a.csv", '[{"text": "a", "label": "b"}]\n', "name it .jsonl, or .json"),
        ("a.csv", 'text,label\n"never closed,a\n"b",c\n', "look for a quote that is never closed"),
        ("a.csv", '"text":"label"\n"a":"b"\n', "set preprocess.delimiter"),
    ],
)
def test_data_check_names_a_remedy_for_a_file_in_another_format(
    tmp_path: Path, name: str, content: str, remedy: str
) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(UserError, match=remedy):
        called("data", "check", tmp_path / name)


def test_data_convert_reports_what_a_format_omits(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("text,label,split\nfirst,a,train\nsecond,b,test\n")
    words = ["data", "convert", str(tmp_path / "rows.csv"), "--out", str(tmp_path / "rows.jsonl")]
    result = CliRunner().invoke(APP, words, catch_exceptions=False)
    assert "the split of 2 rows is not written" in result.stderr


def test_data_convert_and_check_accept_pairs(tmp_path: Path) -> None:
    pair = ["--method", "preference"]
    (tmp_path / "a.csv").write_text("prompt,chosen,rejected\nwho?,me,you\nwhy?,so,no\n,a,b\n")
    code, output = called("data", "convert", tmp_path / "a.csv", "--out", tmp_path / "b.jsonl", *pair)
    assert (code, output) == (0, f"2 rows written to {tmp_path / 'b.jsonl'}, 1 left out; 1 empty_text\n")
    assert "2 of 2 rows usable" in called("data", "check", tmp_path / "b.jsonl", *pair)[1]


def test_data_commands_take_the_method_of_the_settings(tmp_path: Path) -> None:
    (tmp_path / "pairs.jsonl").write_text('{"prompt": "p", "chosen": "a", "rejected": "b"}\n')
    settings = ["--set", "method=preference", "--set", "task.kind=generation"]
    assert "1 of 1 rows usable" in called("data", "check", tmp_path / "pairs.jsonl", *settings)[1]
    for command in ("data describe", f"dedup --out {tmp_path / 'kept.jsonl'}"):
        with pytest.raises(UserError, match="for preference pairs, not labelled rows"):
            called(*command.split(), tmp_path / "pairs.jsonl", *settings)
