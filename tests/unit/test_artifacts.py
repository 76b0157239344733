# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Documents between steps: what is written is read back, and anything else is refused with a remedy."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import json
import os
import pkgutil
import types
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar, Literal, Union, get_args, get_origin, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemtune import artifacts
from gemtune.artifacts.base import Artifact, Part, open_atomic
from gemtune.artifacts.cost import CostItem, Estimate, TokenEstimate, read_spent
from gemtune.artifacts.data import DataReport, LeakageReport, SplitReport
from gemtune.config import ModelVariant
from gemtune.config.section import Section
from gemtune.data.split_assignment import SPLITS
from gemtune.errors import UserError
from gemtune.steps import preprocess, split


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


def test_open_atomic_writes_lone_surrogates_as_json_reads_them(tmp_path: Path) -> None:
    text = "cut emoji \ud83d and 返品"
    with open_atomic(tmp_path / "x") as file:
        json.dump(text, file, ensure_ascii=False)
    assert json.loads((tmp_path / "x").read_text(encoding="utf-8")) == text


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_open_atomic_leaves_what_the_umask_allows(umask: int, mode: int, tmp_path: Path) -> None:
    before = os.umask(umask)
    try:
        with open_atomic(tmp_path / "rows.jsonl") as file:
            file.write("{}")
    finally:
        os.umask(before)
    assert (tmp_path / "rows.jsonl").stat().st_mode & 0o777 == mode


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


def test_steps_write_artifacts_that_read_back(tmp_path: Path) -> None:
    lines = [{"text": f"row {n} about {n * 7919}", "label": "ab"[n % 2]} for n in range(80)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    files = [str(tmp_path / name) for name in ("examples", "dropped", "report")]
    summary = preprocess.run(str(tmp_path / "rows.jsonl"), *files, preprocess={"jaccard_threshold": 0})
    report = DataReport.read(files[2])
    assert (report.rows, report.examples, dict(report.dropped)) == (80, summary["examples"], summary["dropped"])
    assert report.labels == {"a": 40, "b": 40}
    *splits, split_report, leakage_file = (str(tmp_path / name) for name in (*SPLITS, "split", "leakage"))
    counts = split.run(files[0], splits, split_report, leakage_file, "", split={"min_rows": 5})
    divided, leakage = SplitReport.read(split_report), LeakageReport.read(leakage_file)
    assert divided.rows == leakage.rows == {name: counts[name] for name in SPLITS}
    assert divided.leakage_report == leakage


# -- every artifact --------------------------------------------------------------------------------------------------


def artifact_classes() -> list[type[Artifact]]:
    """Every artifact of the package."""
    names = [f"{artifacts.__name__}.{module.name}" for module in pkgutil.iter_modules(artifacts.__path__)]
    values = [value for name in names for value in vars(importlib.import_module(name)).values()]
    classes = {value for value in values if isinstance(value, type) and issubclass(value, Artifact)}
    return sorted(classes - {Artifact}, key=lambda artifact: artifact.__name__)


ARTIFACTS = artifact_classes()
MOMENT = datetime(2026, 1, 31, 12, tzinfo=UTC)
SCALARS: dict[Any, Any] = {str: "多", int: 3, float: 0.125, bool: True, datetime: MOMENT, Any: {"key": [1]}}


def filled(kind: Any, depth: int = 0) -> Any:
    """A value of an annotation in which every field and collection has a value; sections have their defaults."""
    origin, arguments = get_origin(kind), get_args(kind)
    if kind in SCALARS:
        return SCALARS[kind]
    if kind is ModelVariant:
        return ModelVariant(name="t@1", model="m", role="candidate", calibration={"points": [0.5, 1.0]})
    if isinstance(kind, type) and issubclass(kind, Section):
        return kind()
    if isinstance(kind, type) and issubclass(kind, Part):
        fields = {name: field.annotation for name, field in kind.model_fields.items() if name != "schema_version"}
        return kind(**{name: filled(annotation, depth + 1) for name, annotation in fields.items()})
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        return kind(**{name: filled(hint, depth + 1) for name, hint in get_type_hints(kind).items()})
    if origin in (Union, types.UnionType):
        inner = next(argument for argument in arguments if argument is not type(None))
        return None if depth > 6 else filled(inner, depth + 1)  # a report holds a report
    if origin is Literal:
        return arguments[-1]
    if origin is dict:
        return {filled(arguments[0]): filled(arguments[1], depth + 1)}
    if origin is list or arguments[-1] is Ellipsis:
        return origin([filled(arguments[0], depth + 1)])
    assert origin is tuple, kind
    return tuple(filled(argument, depth + 1) for argument in arguments)


def test_artifacts_are_found() -> None:
    assert {"DataReport", "TuningPlan", "TuningRecord", "Selection", "DecisionRecord", "RunSummary"} <= {
        artifact.__name__ for artifact in ARTIFACTS
    }


@pytest.mark.parametrize("artifact", ARTIFACTS)
def test_artifact_round_trips(artifact: type[Artifact], tmp_path: Path) -> None:
    document = filled(artifact)
    document.write(tmp_path / "document.json")
    assert artifact.read(tmp_path / "document.json") == document


def token_counts(value: Any, of_tokens: bool = False) -> Iterator[float]:
    """The numbers under keys that name tokens, but for means."""
    if isinstance(value, dict):
        for key, item in value.items():
            if key not in ("mean", "tokens_per_row", "settings"):  # a gate's settings limit means
                yield from token_counts(item, of_tokens or "tokens" in key)
    elif isinstance(value, list):
        for item in value:
            yield from token_counts(item, of_tokens)
    elif of_tokens and isinstance(value, int | float):
        yield value


def test_artifacts_count_tokens_in_integers() -> None:
    counts = [count for artifact in ARTIFACTS for count in token_counts(json.loads(filled(artifact).model_dump_json()))]
    assert len(counts) > 100
    assert {type(count) for count in counts} == {int}


@given(st.floats(0, 1e12), st.floats(0, 1e12))
def test_token_estimate_is_whole_and_bounds_stay_bounds(expected: float, more: float) -> None:
    whole = TokenEstimate.of(Estimate(expected=expected, upper=expected + more))
    assert abs(whole.expected - expected) <= 0.5
    assert expected + more <= whole.upper <= expected + more + 1
    assert whole.expected <= whole.upper


@pytest.mark.parametrize("artifact", ARTIFACTS)
def test_artifact_of_another_schema_version_is_refused(artifact: type[Artifact], tmp_path: Path) -> None:
    path = tmp_path / "document.json"
    filled(artifact).write(path)
    document = json.loads(path.read_text("utf-8"))
    assert document["schema_version"] == artifact.VERSION
    path.write_text(json.dumps({**document, "schema_version": artifact.VERSION + 1}), "utf-8")
    with pytest.raises(UserError, match=f"schema_version {artifact.VERSION + 1} of {artifact.__name__}.*rerun"):
        artifact.read(path)


@pytest.mark.parametrize("artifact", ARTIFACTS)
def test_artifact_is_frozen_and_refuses_unknown_fields(artifact: type[Artifact]) -> None:
    assert artifact.model_config["frozen"] is True
    assert artifact.model_config["extra"] == "forbid"
    assert artifact.STEP


def test_read_spent_reads_the_items_of_any_report(tmp_path: Path) -> None:
    item = CostItem.actual("augmentation", "paraphrases", 100, 0.5)
    (tmp_path / "report").write_text(json.dumps({"rows": 3, "spent": [item.model_dump(mode="json")]}))
    (tmp_path / "none").write_text("{}")
    assert read_spent(tmp_path / "report") == [item]
    assert read_spent(tmp_path / "none") == read_spent("") == []


# -- one reader ------------------------------------------------------------------------------------------------------

PACKAGE = Path(artifacts.__file__).parents[1]
READERS_OF_JSON_FILES = {"predictor.py", "cli/help.py"}
"""The `summary.json` of a run's folder, which has the times of a local run besides; examples of the help."""


def reads_a_json_file(tree: ast.AST) -> bool:
    """Whether a module parses the whole text of a file as JSON."""
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    names = {ast.unparse(call.func) for call in calls}
    parsed = [call for call in calls if ast.unparse(call.func).endswith(("json.loads", "model_validate_json"))]
    return "json.load" in names or any(
        isinstance(node, ast.Attribute) and node.attr in ("read_text", "read_bytes", "read")
        for call in parsed
        for argument in call.args
        for node in ast.walk(argument)
    )


def test_only_artifacts_read_json_documents() -> None:
    found = {
        str(path.relative_to(PACKAGE))
        for path in PACKAGE.rglob("*.py")
        if path.parent != PACKAGE / "artifacts" and reads_a_json_file(ast.parse(path.read_text("utf-8")))
    }
    assert found == READERS_OF_JSON_FILES


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("json.loads(Path(p).read_text())", True),
        ("json.load(file)", True),
        ("X.model_validate_json(Path(p).read_bytes())", True),
        ("json.loads(line)", False),
        ("TuningPlan.read(path)", False),
    ],
)
def test_reads_a_json_file_recognises_its_forms(code: str, expected: bool) -> None:
    assert reads_a_json_file(ast.parse(code)) is expected
