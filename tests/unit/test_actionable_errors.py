# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Whatever is wrong with a file or a disk: one message with the place and the remedy, no traceback, no colour codes."""

from __future__ import annotations

import errno
import gzip
import resource
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gemtune.artifacts import cost, data, decision, evaluation, tuning
from gemtune.artifacts.base import Artifact, open_atomic
from gemtune.artifacts.cost import read_spent
from gemtune.cli.init import SCHEMA
from gemtune.cli.main import app
from gemtune.data.csv_safe import read_review_file
from gemtune.data.example import Example, read_examples, write_examples
from gemtune.errors import ServiceError, UserError, actionable, without_values
from gemtune.evaluation.human_ratings import read_pair_ratings, read_ratings
from gemtune.evaluation.predictions import read_predictions
from gemtune.vertex.calls import PermanentError, TransientError

CONFIG = "task: {labels: [a, b]}\n"
ROWS = "text,label\n" + "".join(f"{chr(97 + n % 26) * 9} {n * 7919**3},{'ab'[n % 2]}\n" for n in range(150))
DAMAGES: dict[str, Callable[[Path], object]] = {
    "missing": lambda path: path.unlink(missing_ok=True),
    "a folder": lambda path: (path.unlink(missing_ok=True), path.mkdir()),
    "empty": lambda path: path.write_bytes(b""),
    "cut off": lambda path: path.write_bytes(path.read_bytes()[:-3] if path.exists() else b'{"a": [1'),
    "not UTF-8": lambda path: path.write_bytes(b"\xff\xfe\xfa {\n" * 3),
    "another document": lambda path: path.write_bytes(b'["of", "another", "kind"]\n'),
}
COMMANDS: dict[str, tuple[str, list[str]]] = {
    "configuration": ("c.yaml", ["plan", "{file}", "--offline", "--data", "rows.csv"]),
    "rows, CSV": ("own.csv", ["data", "describe", "{file}"]),
    "rows, JSON lines": ("own.jsonl", ["data", "describe", "{file}"]),
    "rows, compressed": ("packed.jsonl.gz", ["data", "describe", "{file}"]),
    "rows, Parquet": ("own.parquet", ["data", "describe", "{file}"]),
    "rows, Excel": ("own.xlsx", ["data", "describe", "{file}"]),
    "predictions to rate": ("predictions", ["judge", "export", "{file}", "examples", "--out", "ratings.csv"]),
    "engine's script": ("s.json", ["run", "c.yaml", "--data", "rows.csv", "--engine", "scripted:{file}"]),
    "run to resume": ("run/start.json", ["run", "--resume", "run"]),
    "run to serve": ("run/summary.json", ["serve", "run"]),
}
NO_DAMAGE = {("configuration", "empty"), ("configuration", "cut off"), ("rows, CSV", "cut off")}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("kind", COMMANDS)
def test_command_names_a_damaged_file_and_the_remedy(
    kind: str, damage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run").mkdir()
    (tmp_path / "c.yaml").write_text(CONFIG)
    (tmp_path / "rows.csv").write_text(ROWS)
    (tmp_path / "own.csv").write_text(ROWS)
    write_examples(tmp_path / "examples", [Example("1", "t", "a")])
    (tmp_path / "packed.jsonl.gz").write_bytes(gzip.compress(b'{"text": "t", "label": "a"}\n' * 9))
    if (kind, damage) in NO_DAMAGE:
        pytest.skip("as good as any")
    name, arguments = COMMANDS[kind]
    DAMAGES[damage](tmp_path / name)
    result = CliRunner().invoke(app, [argument.replace("{file}", name) for argument in arguments])
    assert isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code == 1, result.output
    assert "error:" in result.output
    assert name.partition("/")[0] in result.output, result.output
    assert "Traceback" not in result.output
    assert "\x1b" not in result.output


def subclasses(base: type[Artifact]) -> Iterator[type[Artifact]]:
    for own in base.__subclasses__():
        yield own
        yield from subclasses(own)


DOCUMENTS = sorted({own for own in subclasses(Artifact) if own.__module__.startswith("gemtune.")}, key=str)
READERS: dict[str, Callable[[Path], object]] = {
    **{own.__name__: own.read for own in DOCUMENTS},
    "rows": lambda path: list(read_examples(path)),
    "predictions": lambda path: read_predictions(str(path)),
    "costs": read_spent,
    "human ratings": lambda path: read_ratings(path, (1, 5)),
    "ratings of pairs": read_pair_ratings,
    "review file": read_review_file,
}


@pytest.mark.parametrize("damage", ["cut off", "not UTF-8", "another document"])
@pytest.mark.parametrize("kind", READERS)
def test_step_names_a_damaged_file_and_the_remedy(kind: str, damage: str, tmp_path: Path) -> None:
    assert {cost, data, decision, evaluation, tuning}  # their documents are among the readers
    path = tmp_path / "document"
    DAMAGES[damage](path)
    with pytest.raises(UserError, match=r"document(:1)?: .* \((re)?[a-z]+") as refused:
        READERS[kind](path)
    assert "\n" not in str(refused.value)


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """No file of this process may grow larger, as on a full disk."""
    before, writes_no_bytecode = resource.getrlimit(resource.RLIMIT_FSIZE), sys.dont_write_bytecode
    sys.dont_write_bytecode = True  # Python leaves the part of a module's file that fits
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        sys.dont_write_bytecode = writes_no_bytecode


def test_full_disk_leaves_no_file_and_names_the_place(tmp_path: Path) -> None:
    with (
        pytest.raises(UserError, match=r"out: File too large \(raise the limit"),
        largest_file(2000),
        open_atomic(tmp_path / "out") as file,
    ):
        file.write("text " * 1000)
    assert list(tmp_path.iterdir()) == []
    full = actionable(OSError(errno.ENOSPC, "No space left on device"), "rows.jsonl")
    assert str(full) == "rows.jsonl: No space left on device (free disk space, or quota)"


WRITERS = {
    "init": (500, ["init", "rows.csv", "--out", "own.yaml"], SCHEMA),
    "compile": (20_000, ["compile", "c.yaml", "--out", "build"], "build/supervised_tuning.yaml"),
    "convert": (200, ["data", "convert", "rows.csv", "--out", "out.jsonl"], "out.jsonl"),
}


@pytest.mark.parametrize("name", WRITERS)
def test_command_names_the_file_that_a_full_disk_refused_and_leaves_no_part(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    size, arguments, place = WRITERS[name]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "c.yaml").write_text(CONFIG)
    (tmp_path / "rows.csv").write_text(ROWS)
    with largest_file(size):
        result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 1
    assert f"error: {place}: File too large (raise the limit" in " ".join(result.output.split())
    assert {path.name for path in tmp_path.rglob("*") if path.is_file()} == {"c.yaml", "rows.csv"}


@pytest.mark.parametrize("arguments", [["compile", "--out", "file/build"], ["run", "c.yaml", "--runs", "file/runs"]])
def test_command_names_a_folder_that_cannot_be_written(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("a file, not a folder")
    (tmp_path / "c.yaml").write_text(CONFIG + "data: rows.csv\n")
    (tmp_path / "rows.csv").write_text(ROWS)
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 1
    assert isinstance(result.exception, SystemExit)
    assert "error: file" in result.output
    assert "(check the path" in result.output or "(choose another name" in result.output


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        (PermanentError(401, "expired"), "sign in again"),
        (PermanentError(403, "no permission"), "missing role"),
        (TransientError("429: quota", 429), "raise the quota"),
        (TransientError("ConnectError: refused"), "check network, proxy and region"),
        (TransientError("503: busy", 503), "wait, and run again"),
        (PermanentError(400, "no such field"), "correct what the message names"),
    ],
)
def test_service_failure_has_a_remedy(error: ServiceError, remedy: str) -> None:
    assert remedy in str(actionable(error))
    assert str(error) in str(actionable(error))


@pytest.mark.parametrize("value", ["plain", "it's", 'a "b"', "a 'b' \"c\"", "two\nlines", "", "名前", "\\'"])
def test_without_values_leaves_out_what_is_quoted_and_no_apostrophe(value: str) -> None:
    message = f"the source's label {value!r} has 3 rows, {value!r}: those rows' texts and a 'b'"
    assert without_values(message) == "the source's label '…' has 3 rows, '…': those rows' texts and a '…'"


@pytest.mark.parametrize("quote", ["", "'", '"'])
def test_without_values_leaves_out_values_that_were_cut(quote: str) -> None:
    value = f"secret{quote}" * 30
    for message in (f"the reference {value!r:.80} is not one of {'a'!r}", f"the labels {'a'!r} and {value!r:.40}"):
        assert "secret" not in without_values(message)
        assert without_values(message).startswith("the ")
