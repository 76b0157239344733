# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""A job's own evaluation of its checkpoints beside ours, and the metrics that a job stores, against the emulator."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from emulator_process import Emulator
from samples import sections, splits, write_plan

from gemtune.artifacts.evaluation import EvaluationReport
from gemtune.artifacts.tuning import Selection, TuningRecord
from gemtune.steps import evaluate, select_model, tune
from gemtune.tuning.checkpoint_selection import compare_scores
from gemtune.vertex import Client

OFFERED = (
    "evaluate.base_model=gemini-2.5-flash",
    "vertex.catalogue={models: {gemini-2.5-flash: {retires: null}}}",
    "evaluate.max_error_share=1",
)


@pytest.fixture
def client(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    emulator.faults()
    yield emulator.point(monkeypatch)
    emulator.faults()


def tuned(folder: Path, name: str, *overrides: str, seed: int = 5) -> tuple[TuningRecord, dict[str, Any], list[str]]:
    paths = list(splits(folder, seed=seed))
    job, own = str(folder / "job.json"), sections(*overrides)
    tune.run(*paths[:2], {"name": "t", "epoch_count": 3}, name, job, str(folder / "events"), **own)
    return TuningRecord.read(job), own, [*paths, job]


def evaluated(folder: Path, own: dict[str, Any], paths: list[str]) -> str:
    write_plan(folder / "plan.json", own)
    train, validation, _, job = paths
    report = str(folder / "report.json")
    evaluate.run_checkpoints(
        validation, train, [job], str(folder / "plan.json"), str(folder / "answers"), report, **own
    )
    return report


def test_job_scores_its_checkpoints_as_we_do(client: Client, tmp_path: Path) -> None:
    record, own, paths = tuned(tmp_path, "scored", *OFFERED)
    (job,) = record.jobs
    assert [score.checkpoint_id for score in job.job.service_scores] == ["1", "2", "3"]
    comparisons = compare_scores(job, [EvaluationReport.read(evaluated(tmp_path, own, paths))])
    assert len(comparisons) == 3
    assert all(one.service.value == pytest.approx(one.own.value, abs=1e-12) for one in comparisons)
    assert not any(one.differs for one in comparisons)


def test_job_evaluation_is_requested_in_the_documented_form(client: Client, tmp_path: Path) -> None:
    record, _, _ = tuned(tmp_path, "scored", *OFFERED)  # the job of the test before
    config = client.rest("GET", "", f"v1beta1/{record.jobs[0].job.name}")["supervisedTuningSpec"]["evaluationConfig"]
    assert config["metrics"] == [{"exactMatchSpec": {}, "aggregationMetrics": ["AVERAGE", "STANDARD_DEVIATION"]}]
    assert config["outputConfig"]["gcsDestination"]["outputUriPrefix"] == f"gs://{client.bucket}/evaluation"
    assert config["inferenceGenerationConfig"]["temperature"] == 0.0
    assert config["inferenceGenerationConfig"]["thinkingConfig"] == {"thinkingBudget": 0}


@pytest.mark.parametrize("overrides", [(), (*OFFERED, "evaluate.in_job=false")])
def test_job_evaluation_is_not_requested_elsewhere(client: Client, tmp_path: Path, overrides: tuple[str, ...]) -> None:
    record, _, _ = tuned(tmp_path, f"plain-{len(overrides)}", *overrides, seed=31)
    assert record.jobs[0].spec["evaluation"] == {}
    assert record.jobs[0].job.service_scores == []


def test_selection_reports_a_score_beyond_the_interval(client: Client, tmp_path: Path) -> None:
    record, own, paths = tuned(tmp_path, "differs", *OFFERED, seed=33)
    (job,) = record.jobs
    scores = job.job.service_scores
    planted = [
        scores[0].model_copy(update={"value": 0.0}),
        scores[1].model_copy(update={"value": None, "error": "quota"}),
    ]
    changed = job.job.model_copy(update={"service_scores": [*planted, scores[2]]})
    record.model_copy(update={"jobs": [job.model_copy(update={"job": changed})]}).write(paths[3])
    report = evaluated(tmp_path, own, paths)
    select_model.run(str(tmp_path / "plan.json"), str(tmp_path / "selection"), "differs", [paths[3]], report, **own)
    selection = Selection.read(str(tmp_path / "selection"))
    notes = [note for note in selection.notes if "job" in note]
    assert len(notes) == 2
    assert notes[0].startswith("t@1: the job itself scored exact_match 0.000, here it is ")
    assert notes[1] == "the job did not evaluate t@2: quota"
    assert [one.differs for one in selection.trials[0].service_scores] == [True, False, False]
    cost = {item.label: item.cost.expected for item in selection.spent}
    # batch prediction: half of what the same answers cost us
    assert cost["evaluation in t"] == pytest.approx(0.5 * cost["checkpoints of t on validation"])


def test_series_are_read_where_the_service_stores_them(emulator: Emulator, client: Client, tmp_path: Path) -> None:
    emulator.faults(metrics_in_storage=True)
    stored, _, _ = tuned(tmp_path, "stored", seed=32)
    emulator.faults()
    (job,) = stored.jobs
    assert job.job.metrics_uri.startswith("gs://")
    assert len(job.curve["/train_total_loss"]) == job.job.steps
    assert len(job.curve["/eval_total_loss"]) == 3
    assert job.diagnosis is not None
    assert job.diagnosis.kind != "unknown"
