# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Only large JSONL objects go to Dataflow, and only when a template is named; what it drops is counted."""

import json
from pathlib import Path
from typing import Any

import pytest
from emulator_process import Emulator

from gemtune.config import Preprocess, Task, Vertex
from gemtune.data.dataflow_job import measured, require_one_machine
from gemtune.errors import UserError
from gemtune.steps import preprocess
from gemtune.vertex import storage

TEMPLATE = {"dataflow_template": "gs://b/template.json", "dataflow_above_gib": 100 / 2**30}


@pytest.mark.parametrize(
    ("data", "setting"),
    [
        ("rows.jsonl", TEMPLATE),
        ("gs://b/rows.csv", TEMPLATE),
        ("bq://p.d.t", TEMPLATE),
        ("gs://b/rows.jsonl", {}),
        ("gs://b/rows.jsonl", {**TEMPLATE, "fuzzy_threshold": 0}),
    ],
)
def test_measure_skips_most_sources(data: str, setting: dict[str, object]) -> None:
    found = measured(data, Task(), Preprocess.of(dict(setting)), Vertex())
    assert (found.large, found.kept, found.dropped, found.parameters) == (False, data, "", {})


def test_measure_sends_a_large_object_to_dataflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = Emulator(tmp_path / "state")
    try:
        client = server.point(monkeypatch)
        (tmp_path / "rows").write_text("x" * 101)
        (tmp_path / "few").write_text("x" * 100)
        storage.bucket(client)
        data = f"gs://{client.bucket}/rows.jsonl"
        storage.put(client, tmp_path / "rows", data)
        storage.put(client, tmp_path / "few", f"gs://{client.bucket}/few.jsonl")
        config = Preprocess.of({**TEMPLATE, "text_column": "body"})
        found = measured(data, Task(), config, Vertex())
        assert (found.large, found.template) == (True, "gs://b/template.json")
        assert found.parameters["input"] == data
        assert found.parameters["kept"] == found.kept != data
        assert found.parameters["dropped"] == found.dropped
        told = json.loads(found.parameters["settings"])
        assert (told["task"], told["preprocess"]["text_column"]) == ({}, "body")
        other = measured(data, Task(), config.model_copy(update={"fuzzy_threshold": 0.9}), Vertex())
        assert other.kept != found.kept
        assert measured(data, Task(), config, Vertex()) == found
        assert not measured(f"gs://{client.bucket}/few.jsonl", Task(), config, Vertex()).large
        with pytest.raises(UserError, match="compares labelled rows, not pairs"):
            require_one_machine(data, Task(), config, Vertex())
        for setting, said in (
            ({"test_data": "test.jsonl"}, "Dataflow cannot read"),
            ({"pii_by": "dlp", "pii": "mask"}, "does not ask Sensitive Data Protection"),
        ):
            with pytest.raises(UserError, match=said):
                measured(data, Task(), Preprocess.of({**TEMPLATE, **setting}), Vertex())
        with pytest.raises(UserError, match="cannot read"):
            measured(f"gs://{client.bucket}/none.jsonl", Task(), config, Vertex())
    finally:
        server.kill()


def told(reason: str, text: str, kept_id: str | None) -> dict[str, Any]:
    return {"reason": reason, "detail": f"of {text}", "kept_id": kept_id, "row": {"text": text, "label": "a"}}


def preprocessed(folder: Path, before: list[dict[str, Any]], **config: Any) -> tuple[dict[str, Any], list[Any], Any]:
    rows = [{"text": f"row {n} about {'cats' if n % 2 else 'dogs'}", "label": "ab"[n % 2]} for n in range(10)]
    for name, lines in (("kept", [*rows, rows[0]]), ("gone", before)):
        (folder / name).write_text("".join(json.dumps(line) + "\n" for line in lines))
    files = [str(folder / name) for name in ("examples", "dropped", "report")]
    quick = {"fuzzy_threshold": 0, "find_label_errors": False, **config}
    summary = preprocess.run(str(folder / "kept"), {}, quick, *files, thinned=str(folder / "gone"))
    dropped = [json.loads(line) for line in Path(files[1]).read_text().splitlines()]
    return summary, dropped, json.loads(Path(files[2]).read_text())


def test_preprocess_lists_rows_dropped_by_dataflow(tmp_path: Path) -> None:
    before = [told("near_duplicate", "x", "1"), told("label_conflict", "y", None), told("exact_duplicate", "z", "2")]
    summary, dropped, report = preprocessed(tmp_path, before)
    assert (summary["rows"], summary["examples"]) == (14, 10)
    assert summary["dropped"] == {"exact_duplicate": 2, "near_duplicate": 1, "label_conflict": 1}
    assert [row["row"]["text"] for row in dropped[1:]] == ["x", "y", "z"]
    assert report["dropped_on_dataflow"] == {"rows": 3, "file": str(tmp_path / "gone")}
    assert report["readable"] == 14


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        ("near_duplicate", "near-deduplication on Dataflow would remove 66% .* 21 rows: of t0"),
        ("exact_duplicate", "exact deduplication on Dataflow would remove 66% .* 21 rows: of t0"),
    ],
)
def test_preprocess_stops_when_dataflow_removed_too_much(tmp_path: Path, reason: str, said: str) -> None:
    before = [told(reason, f"t{n}", "1") for n in range(21)]
    with pytest.raises(UserError, match=said):
        preprocessed(tmp_path, before)
    with pytest.raises(UserError, match="on Dataflow found a cluster of 22 rows"):
        preprocessed(tmp_path, before, max_removed_share=1, max_cluster=20)
