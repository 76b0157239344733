# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
import json
from pathlib import Path
from typing import ClassVar

import pytest

from gemtune.artifacts.base import Artifact, Part, open_atomic
from gemtune.artifacts.data import DataReport, LeakageReport, ResolvedTask, SplitReport
from gemtune.config import Task
from gemtune.data.example import Example, example_id
from gemtune.errors import UserError
from gemtune.steps import preprocess, split
from gemtune.steps.split import resolve_task


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


def resolved(**labels: list[str]) -> ResolvedTask:
    splits = {
        name: [Example(example_id(f"{name}{i}", label), f"{name}{i}", label) for i, label in enumerate(names)]
        for name, names in labels.items()
    }
    return resolve_task(Task(), splits)


def test_resolve_task_lists_labels_of_training_rows_and_of_each_split() -> None:
    task = resolved(train=["b", "a"], validation=["a", "c"], test=["b"])
    assert task.task.labels == ["a", "b"]
    assert task.extra_labels == {"validation": ("c",)}
    assert task.with_labels_of("validation").labels == ["a", "b", "c"]
    assert task.with_labels_of("test") == task.task


def test_resolve_task_keeps_declared_labels() -> None:
    declared = Task(labels=["a", "b"])
    rows = {name: [Example("1", "x", "c")] for name in ("train", "validation", "test")}
    assert resolve_task(declared, rows) == ResolvedTask(task=declared)


def test_steps_write_artifacts_that_read_back(tmp_path: Path) -> None:
    lines = [{"text": f"row {n} about {n * 7919}", "label": "ab"[n % 2]} for n in range(80)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    files = [str(tmp_path / name) for name in ("examples", "dropped", "report")]
    summary = preprocess.run(str(tmp_path / "rows.jsonl"), {}, {"jaccard_threshold": 0}, *files)
    report = DataReport.read(files[2])
    assert (report.rows, report.examples, dict(report.dropped)) == (80, summary["examples"], summary["dropped"])
    assert report.labels == {"a": 40, "b": 40}
    splits = [str(tmp_path / name) for name in ("train", "validation", "test", "split", "leakage", "task")]
    counts = split.run(files[0], {"min_rows": 5}, *splits[:4], leakage=splits[4], task={}, resolved_task=splits[5])
    divided, leakage = SplitReport.read(splits[3]), LeakageReport.read(splits[4])
    assert divided.rows == leakage.rows == {name: counts[name] for name in ("train", "validation", "test")}
    assert divided.leakage_report == leakage
    assert ResolvedTask.read(splits[5]).task.labels == ["a", "b"]
