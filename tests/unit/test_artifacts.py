# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
import json
from pathlib import Path
from typing import ClassVar

import pytest

from gemtune.artifacts.base import Artifact, Part, open_atomic
from gemtune.errors import UserError


class Line(Part):
    label: str
    rows: int


class Counts(Artifact):
    STEP: ClassVar[str] = "preprocess"

    rows: int
    lines: tuple[Line, ...] = ()


def test_artifact_read_returns_what_write_stored(tmp_path: Path) -> None:
    counts = Counts(rows=3, lines=(Line(label="多", rows=1),))
    counts.write(tmp_path / "deep" / "counts.json")
    assert Counts.read(tmp_path / "deep" / "counts.json") == counts
    document = json.loads((tmp_path / "deep" / "counts.json").read_text("utf-8"))
    assert document == {"schema_version": 1, "rows": 3, "lines": [{"label": "多", "rows": 1}]}


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"{", "not a Counts: Expecting property name"),
        (b"\xff", "not a Counts: 'utf-8'"),
        (b"[]", "list instead of an object"),
        (b"{}", "schema_version None of Counts, expected 1"),
        (b'{"schema_version": 2, "rows": 3}', "schema_version 2 of Counts, expected 1"),
        (b'{"schema_version": 1}', "rows: Field required"),
        (b'{"schema_version": 1, "rows": "many"}', "got 'many'"),
        (b'{"schema_version": 1, "rows": 3, "total": 3}', "total: Extra inputs"),
        (b'{"schema_version": 1, "rows": 3, "lines": [{"label": "a"}]}', "lines.0.rows: Field required"),
    ],
)
def test_artifact_read_names_file_problem_and_remedy(tmp_path: Path, content: bytes, problem: str) -> None:
    path = tmp_path / "counts.json"
    path.write_bytes(content)
    with pytest.raises(UserError) as error:
        Counts.read(path)
    assert str(path) in str(error.value)
    assert problem in str(error.value)
    assert "rerun preprocess" in str(error.value)


def test_artifact_read_of_a_missing_file_names_it(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.json: cannot read the Counts: No such file"):
        Counts.read(tmp_path / "none.json")


def test_open_atomic_leaves_the_old_file_after_a_failure(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    path.write_text("old")

    def interrupted() -> None:
        with open_atomic(path) as file:
            file.write("new")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
