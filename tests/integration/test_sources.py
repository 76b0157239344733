# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""gs:// and local paths are alike for every verb; texts in other files are fetched, within bounds."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
import typer
from emulator_process import Emulator
from typer.testing import CliRunner

from gemtune.cli import data
from gemtune.config import Preprocess, Task, Vertex
from gemtune.data import sources
from gemtune.data.csv_safe import read_review_file
from gemtune.data.example import Example, RejectedRow, read_examples
from gemtune.data.row_validation import ReadStats, read
from gemtune.errors import UserError
from gemtune.steps import preprocess
from gemtune.vertex import Client, connect

SAMPLE = Path(__file__).resolve().parents[2] / "examples" / "support_en" / "rows.jsonl"
APP = typer.Typer()
APP.add_typer(data.data_app, name="data")
APP.command("dedup")(data.dedup_command)


@pytest.fixture
def client(emulator: Emulator, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Client:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    return emulator.point(monkeypatch)


def stored(client: Client, objects: dict[str, bytes], bucket: str = "mail") -> None:
    held = client.storage().bucket(bucket)
    if not held.exists():
        client.storage().create_bucket(bucket)
    for name, content in objects.items():
        held.blob(name).upload_from_string(content)


def rows(source: str, **config: Any) -> list[Example | RejectedRow]:
    return list(read(source, Task(kind="generation"), Preprocess.of(config), ReadStats()))


def called(*words: str | Path) -> str:
    result = CliRunner().invoke(APP, [str(word) for word in words], catch_exceptions=False)
    return result.output


@pytest.mark.parametrize("packed", [False, True])
def test_commands_read_buckets_like_local_files(client: Client, tmp_path: Path, packed: bool) -> None:
    name = "rows.jsonl.gz" if packed else "rows.jsonl"
    content = b"".join(SAMPLE.read_bytes().splitlines(keepends=True)[:200])
    content = gzip.compress(content, mtime=0) if packed else content
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / name).write_bytes(content)
    stored(client, {f"in/{name}": content})
    here, there = str(tmp_path / "in"), "gs://mail/in"
    for words in (["data", "check"], ["data", "describe"]):
        quick = ["--set", "preprocess.find_label_issues=false"]
        assert called(*words, f"{there}/{name}", *quick).replace(there, here) == called(
            *words, f"{here}/{name}", *quick
        )
    for words in (["data", "convert"], ["dedup"]):
        outputs = [
            called(*words, f"{place}/{name}", "--out", f"{place}/out-{words[-1]}.jsonl") for place in (here, there)
        ]
        assert outputs[0] == outputs[1].replace(there, here)
        written = client.storage().bucket("mail").blob(f"in/out-{words[-1]}.jsonl").download_as_bytes()
        assert written == (tmp_path / "in" / f"out-{words[-1]}.jsonl").read_bytes()
    assert not list(tmp_path.glob("gemtune-*")), "a fetched copy was left behind"


def test_preprocess_reads_all_inputs_from_a_bucket(client: Client, tmp_path: Path) -> None:
    stored(client, {
        "rows.csv": b"text,label\nwhere is my parcel,a\nsomething else,b\nthird text here,b\n",
        "test.csv": b"text,label\nquite another thing,a\n",
    })  # fmt: skip
    files = [str(tmp_path / name) for name in ("examples", "dropped", "report")]
    preprocess.run("gs://mail/rows.csv", *files, preprocess={"test_data": "gs://mail/test.csv"})
    found = {example.text: example for example in read_examples(files[0])}
    assert found["quite another thing"].split == "test"
    stored(client, {"sheet.csv": f"id,label\n{found['something else'].id},a\n".encode()})
    assert list(read_review_file("gs://mail/sheet.csv").values()) == ["a"]
    preprocess.run("gs://mail/rows.csv", *files, preprocess={"corrections": "gs://mail/sheet.csv"})
    assert {e.text: e.target for e in read_examples(files[0])}["something else"] == "a"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("gs://mail/none.jsonl", "cannot read gs://mail/none.jsonl"),
        ("gs://mail/in/bad.csv", r"gs://mail/in/bad\.csv:2: "),
    ],
)
def test_sources_messages_name_the_object(client: Client, source: str, message: str) -> None:
    stored(client, {"in/bad.csv": b'text,label\n"never closed,a\n'})
    with pytest.raises(UserError, match=message):
        rows(source)


def test_sources_fetch_referenced_texts_within_limits(client: Client) -> None:
    stored(client, {
        "t/a.txt": "\ufeffwhere is it? é".encode(), "t/long.txt": "é".encode() * 600, "t/edge.txt": "é".encode() * 500,
        "t/binary.pdf": b"%PDF\xff\xfe", "t/empty.txt": b"",
    })  # fmt: skip
    stored(client, {"b.txt": b"from another bucket"}, bucket="other")
    label = {"classificationAnnotation": {"displayName": "a"}}
    names = [f"mail/t/{name}" for name in ("a.txt", "long.txt", "edge.txt", "binary.pdf", "empty.txt", "none")]
    names += ["other/b.txt", "mail"]
    lines = [{"textGcsUri": f"gs://{name}", **label} for name in names]
    lines += [{"textGcsUri": "/etc/passwd", **label}, {"textGcsUri": 7, **label}, {"textContent": "here", **label}]
    stored(client, {"rows.jsonl": "\n".join(map(json.dumps, lines)).encode()})
    found = rows("gs://mail/rows.jsonl", max_chars=500)
    read = [item.text[:15] if isinstance(item, Example) else item.reason for item in found]
    assert read == ["where is it? é", "too_long", "é" * 15, "wrong_type", "empty_text", "missing_text", "missing_text",
                    "missing_text", "missing_text", "missing_text", "here"]  # fmt: skip
    refused = next(item for item in found if item.line == 7)
    assert isinstance(refused, RejectedRow)
    assert "preprocess.text_buckets" in refused.detail
    allowed = rows("gs://mail/rows.jsonl", max_chars=500, text_buckets=["gs://other/"])[6]
    assert isinstance(allowed, Example)
    assert allowed.text == "from another bucket"


def test_sources_refuse_buckets_not_named(client: Client, tmp_path: Path) -> None:
    stored(client, {"t/a.txt": b"where is it?"})
    path = tmp_path / "rows.csv"
    path.write_text("TRAINING,gs://mail/t/a.txt,a\nTEST,plain words,b\n")
    assert [type(item) for item in rows(str(path))] == [RejectedRow, Example]
    (made, _) = rows(str(path), text_buckets=["mail"])
    assert isinstance(made, Example)
    assert (made.text, made.target, made.split) == ("where is it?", "a", "train")


def test_sources_fetch_many_texts_in_order(client: Client) -> None:
    stored(client, {f"m/{i}.txt": f"text number {i}".encode() for i in range(90)})
    stored(client, {"m.csv": "".join(f"TRAINING,gs://mail/m/{i}.txt,a\n" for i in range(90)).encode()})
    found = rows("gs://mail/m.csv")
    assert [item.text for item in found if isinstance(item, Example)] == [f"text number {i}" for i in range(90)]
    assert [item.line for item in found] == list(range(1, 91))


def test_sources_read_import_files_of_files(client: Client) -> None:
    """AutoML's entity extraction: a CSV of ML_USE and JSONL addresses, with the older keys of such rows."""
    old = {
        "text_snippet": {"content": "Ana met Bo"},
        "annotations": [
            {"display_name": "who", "text_extraction": {"text_segment": {"start_offset": 8, "end_offset": 10}}},
            {"display_name": "who", "text_extraction": {"text_segment": {"end_offset": 3}}},
        ],
    }
    new = {
        "textContent": "to Rome",
        "textSegmentAnnotations": [{"displayName": "to", "startOffset": 3, "endOffset": 7}],
    }
    stored(client, {"old.jsonl": json.dumps(old).encode(), "new.jsonl": f"{json.dumps(new)}\n[]\n".encode()})
    stored(client, {"import.csv": b"TRAIN,gs://mail/old.jsonl\nTEST,gs://mail/new.jsonl\nTEST,gs://other/x.jsonl\n"})
    found = rows("gs://mail/import.csv")
    assert [(e.target, e.split) for e in found if isinstance(e, Example)] == [
        ('{"who": ["Ana", "Bo"]}', "train"), ('{"to": ["Rome"]}', "test")
    ]  # fmt: skip
    assert [d.reason for d in found if isinstance(d, RejectedRow)] == ["wrong_type", "missing_text"]


def test_sources_read_a_mounted_bucket_without_a_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gcs" / "mail").mkdir(parents=True)
    (tmp_path / "gcs" / "mail" / "rows.csv").write_text("text,label\na b,c\n")
    (tmp_path / "secret.csv").write_text("text,label\nx,y\n")
    monkeypatch.setattr(sources, "MOUNT", tmp_path / "gcs")
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", "http://127.0.0.1:9")
    assert len(rows("gs://mail/rows.csv")) == 1
    assert connect(Vertex(project="p")).bucket == "p-gemtune"
    monkeypatch.setattr(
        "gemtune.vertex.storage.download", lambda _, uri, path: Path(path).write_text(f"text,label\n{uri},y\n")
    )
    (made,) = rows("gs://mail/../../secret.csv")
    assert isinstance(made, Example)
    assert made.text.startswith("gs://"), "a name with .. left the mounted folder"
