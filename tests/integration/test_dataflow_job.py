# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The Dataflow job: which sources and settings it accepts, its parameters, and the rows it dropped."""

import json
from pathlib import Path
from typing import Any

import pytest
from emulator_process import Emulator
from typer.testing import CliRunner

from gemtune.cli.main import app
from gemtune.config import Preprocess, Task, Vertex
from gemtune.data import dataflow_dedup
from gemtune.data.dataflow_job import dataflow_parameters, require_local_runner
from gemtune.errors import UserError
from gemtune.steps import preprocess
from gemtune.vertex import storage

DATAFLOW: dict[str, Any] = {"runner": "dataflow", "dataflow_template": "gs://b/template.json"}


def test_runner_dataflow_requires_a_template() -> None:
    with pytest.raises(UserError, match=r"needs preprocess\.dataflow_template"):
        Preprocess.of({"runner": "dataflow"})


@pytest.mark.parametrize(
    ("data", "setting", "problem"),
    [
        ("rows.jsonl", {}, "reads JSONL objects only"),
        ("gs://b/rows.csv", {}, "reads JSONL objects only"),
        ("bq://p.d.t", {}, "reads JSONL objects only"),
        ("gs://b/rows.jsonl", {"jaccard_threshold": 0}, "nothing to search"),
        ("gs://b/rows.jsonl", {"test_data": "test.jsonl"}, "Dataflow cannot read"),
        ("gs://b/rows.jsonl", {"corrections": "review.csv"}, "Dataflow cannot read"),
        ("gs://b/rows.jsonl", {"pii_detector": "dlp", "pii": "mask"}, "does not support preprocess.pii_detector"),
    ],
)
def test_dataflow_parameters_refuse_what_a_job_cannot_read(data: str, setting: dict[str, Any], problem: str) -> None:
    with pytest.raises(UserError, match=problem):
        dataflow_parameters(data, "support", Task(), Preprocess.of({**DATAFLOW, **setting}), Vertex())


def test_require_local_runner_refuses_dataflow() -> None:
    require_local_runner(Preprocess())
    with pytest.raises(UserError, match="does not support preference pairs"):
        require_local_runner(Preprocess.of(DATAFLOW))


def test_dataflow_parameters_name_the_output_by_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = Emulator(tmp_path / "state")
    try:
        client = server.point(monkeypatch)
        (tmp_path / "rows").write_text("x" * 101)
        storage.bucket(client)
        data = f"gs://{client.bucket}/rows.jsonl"
        storage.put(client, tmp_path / "rows", data)
        config = Preprocess.of({**DATAFLOW, "text_column": "body"})
        job = dataflow_parameters(data, "support", Task(), config, Vertex())
        assert (job.location, job.template) == (client.location, "gs://b/template.json")
        assert (job.project, job.temp_location) == (client.project, f"gs://{client.bucket}/dataflow")
        assert job.job_name.startswith("gemtune-support-")
        assert job.parameters["input"] == data
        assert job.parameters["kept"] == job.kept != data
        assert job.parameters["dropped"] == job.dropped
        own = {**DATAFLOW, "text_column": "body"}
        again = preprocess.prepare_dataflow_job(data, "support", task={}, preprocess=own, vertex={})
        assert again.job_name != job.job_name
        assert again._replace(job_name=job.job_name) == job
        sections = json.loads(job.parameters["settings"])
        assert (sections["task"], sections["preprocess"]["text_column"]) == ({}, "body")
        other = dataflow_parameters(
            data, "support", Task(), config.model_copy(update={"jaccard_threshold": 0.9}), Vertex()
        )
        assert other.kept != job.kept
        assert dataflow_parameters(data, "support", Task(), config, Vertex()).kept == job.kept
        (tmp_path / "rows").write_text("y" * 101)
        storage.put(client, tmp_path / "rows", data)
        assert dataflow_parameters(data, "support", Task(), config, Vertex()).kept != job.kept
        with pytest.raises(UserError, match="cannot read"):
            dataflow_parameters(f"gs://{client.bucket}/none.jsonl", "support", Task(), config, Vertex())
    finally:
        server.kill()


GS = ["gs://b/rows.jsonl", "--out", "gs://b/kept.jsonl", "--dropped", "gs://b/dropped.jsonl", "--runner", "dataflow"]


def test_dedup_on_dataflow_runs_the_beam_pipeline(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    monkeypatch.setattr(dataflow_dedup, "run", lambda *arguments: calls.append(arguments))
    arguments = [*GS, "--beam-option", "project=p", "--beam-option", "region=r", "--threshold", "0.9"]
    done = CliRunner().invoke(app, ["dedup", *arguments])
    assert done.exit_code == 0, done.output
    ((source, kept, dropped, settings, options),) = calls
    assert (source, kept, dropped) == ("gs://b/rows.jsonl", "gs://b/kept.jsonl", "gs://b/dropped.jsonl")
    assert json.loads(settings) == {"task": {}, "preprocess": {"jaccard_threshold": 0.9}}
    assert options == ["--runner=DataflowRunner", "--project=p", "--region=r"]


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["rows.jsonl", *GS[1:]], "reads JSONL objects only"),
        ([*GS[:2], "kept.jsonl", *GS[3:]], "--out is 'kept.jsonl', which Dataflow cannot write"),
        ([*GS[:3], *GS[5:]], "--dropped is '', which Dataflow cannot write"),
        ([*GS, "--beam-option", "project"], "--beam-option 'project' has no value"),
        ([*GS[:-1], "flink"], "unknown runner 'flink'"),
        ([*GS[:-1], "local", "--beam-option", "a=b"], "--beam-option is for --runner dataflow"),
    ],
)
def test_dedup_on_dataflow_refuses_wrong_options(arguments: list[str], problem: str) -> None:
    done = CliRunner().invoke(app, ["dedup", *arguments])
    assert done.exit_code == 1
    assert problem in " ".join(done.stderr.split())


def test_dedup_on_dataflow_names_the_extra_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dataflow_dedup, "find_spec", lambda _: None)
    done = CliRunner().invoke(app, ["dedup", *GS])
    assert done.exit_code == 1
    assert "Dataflow needs Apache Beam (pip install 'gemtune[beam]'" in " ".join(done.stderr.split())


def dropped_row(reason: str, text: str, kept_id: str | None) -> dict[str, Any]:
    return {"reason": reason, "detail": f"of {text}", "kept_id": kept_id, "row": {"text": text, "label": "a"}}


def preprocessed(folder: Path, before: list[dict[str, Any]], **config: Any) -> tuple[dict[str, Any], list[Any], Any]:
    rows = [{"text": f"row {n} about {'cats' if n % 2 else 'dogs'}", "label": "ab"[n % 2]} for n in range(10)]
    for name, lines in (("kept", [*rows, rows[0]]), ("gone", before)):
        (folder / name).write_text("".join(json.dumps(line) + "\n" for line in lines))
    files = [str(folder / name) for name in ("examples", "dropped", "report")]
    quick = {"jaccard_threshold": 0, "find_label_issues": False, **config}
    summary = preprocess.run(str(folder / "kept"), *files, preprocess=quick, dataflow_dropped=str(folder / "gone"))
    dropped = [json.loads(line) for line in Path(files[1]).read_text().splitlines()]
    return summary, dropped, json.loads(Path(files[2]).read_text())


def test_preprocess_lists_rows_dropped_by_dataflow(tmp_path: Path) -> None:
    before = [
        dropped_row("near_duplicate", "x", "1"),
        dropped_row("label_conflict", "y", None),
        dropped_row("exact_duplicate", "z", "2"),
    ]
    summary, dropped, report = preprocessed(tmp_path, before)
    assert (summary["rows"], summary["examples"]) == (14, 10)
    assert summary["dropped"] == {"exact_duplicate": 2, "near_duplicate": 1, "label_conflict": 1}
    assert [row["row"]["text"] for row in dropped[1:]] == ["x", "y", "z"]
    assert report["dataflow"] == {"rows": 3, "file": str(tmp_path / "gone")}
    assert report["valid_rows"] == 14


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        ("near_duplicate", "near-deduplication on Dataflow would remove 66% .* 21 rows: of t0"),
        ("exact_duplicate", "exact deduplication on Dataflow would remove 66% .* 21 rows: of t0"),
    ],
)
def test_preprocess_stops_when_dataflow_removed_too_much(tmp_path: Path, reason: str, said: str) -> None:
    before = [dropped_row(reason, f"t{n}", "1") for n in range(21)]
    with pytest.raises(UserError, match=said):
        preprocessed(tmp_path, before)
    with pytest.raises(UserError, match="on Dataflow found a cluster of 22 rows"):
        preprocessed(tmp_path, before, max_removed_share=1, max_cluster=20)
