# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""evaluationConfig inside tuning jobs: each checkpoint's answers are scored, aggregated, and kept in Cloud Storage."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from emulated import PARENT, Server, genai_client, preference_lines, storage_client, supervised_lines, upload, wait
from google.genai import types
from hypothesis import given
from hypothesis import strategies as st

from emulator.services.evaluation import aggregate


def evaluation(uri: str, *metrics: Any) -> types.EvaluationConfig:
    destination = types.OutputConfig(gcs_destination=types.GcsDestination(output_uri_prefix=uri))
    return types.EvaluationConfig(metrics=list(metrics), output_config=destination)


def job_of(server: Server, rows: list[Any], method: str = "SUPERVISED_FINE_TUNING", **config: Any) -> Any:
    client = genai_client(server.url)
    train = types.TuningDataset(gcs_uri=upload(server.url, "train.jsonl", rows))
    valid = types.TuningValidationDataset(gcs_uri=upload(server.url, "valid.jsonl", rows[:20]))
    settings = types.CreateTuningJobConfig(method=method, validation_dataset=valid, epoch_count=2, **config)
    return wait(client, client.tunings.tune(base_model="gemini-2.5-flash", training_dataset=train, config=settings))


def results(run: Any) -> list[tuple[str, str, float]]:
    """(metric field, aggregate, score) of a run."""
    scores = []
    for result in run.evaluate_dataset_response.aggregation_output.aggregation_results:
        for field in ("exact_match_metric_value", "rouge_metric_value", "bleu_metric_value", "pointwise_metric_result"):
            if getattr(result, field):
                scores.append((field, str(result.aggregation_metric.value), getattr(result, field).score))
    return scores


def test_checkpoints_are_scored_as_they_come(start: Callable[..., Server], tmp_path: Path) -> None:
    script = tmp_path / "script.json"
    script.write_text(json.dumps({"base_accuracy": 0.0, "tuned_accuracy": 1.0, "labels": ["refund", "shipping"]}))
    server = start("--engine", f"scripted:{script}")
    storage_client(server.url).create_bucket("scores")
    metrics = (
        types.Metric(name="exact_match"),
        types.Metric(name="rouge_1"),
        types.Metric(name="mine", prompt_template="Rate {response}"),
    )
    job = job_of(server, supervised_lines(), evaluation_config=evaluation("gs://scores/of", *metrics))
    assert job.state == "JOB_STATE_SUCCEEDED"
    first, last = job.evaluate_dataset_runs
    assert [first.checkpoint_id, last.checkpoint_id] == ["1", "2"]
    assert first.error is None
    exact = {(field, name): score for field, name, score in results(last)}
    assert exact["exact_match_metric_value", "AVERAGE"] == 1.0  # the script says: all right at the end,
    assert exact["exact_match_metric_value", "STANDARD_DEVIATION"] == 0.0
    assert exact["pointwise_metric_result", "AVERAGE"] == 5.0
    assert 0.1 < results(first)[0][2] < 0.9  # and half of them half way
    folder = first.evaluate_dataset_response.output_info.gcs_output_directory.removeprefix("gs://scores/")
    bucket = storage_client(server.url).bucket("scores")
    lines = [
        json.loads(line)
        for line in bucket.blob(f"{folder}/evaluation_results.jsonl").download_as_text().split("\n")[:-1]
    ]
    assert len(lines) == 20
    assert [line["results"][0]["score"] for line in lines] == [float(x["response"] == x["reference"]) for x in lines]
    assert results(first)[0][2] == statistics.fmean(line["results"][0]["score"] for line in lines)
    assert json.loads(bucket.blob(f"{folder}/aggregation_results.json").download_as_text())["aggregationResults"]


def test_answers_are_compared_with_the_base_and_failures_are_noted(server: Server) -> None:
    client = storage_client(server.url)
    client.create_bucket("going")
    pairwise = {"pairwiseMetricSpec": {"metricPromptTemplate": "Which?"}, "aggregationMetrics": [2]}
    rows = supervised_lines()
    spec = {
        "trainingDatasetUri": upload(server.url, "train.jsonl", rows),
        "validationDatasetUri": upload(server.url, "valid.jsonl", rows[:6]),
        "hyperParameters": {"epochCount": 1},
        "evaluationConfig": {
            "metrics": [pairwise],
            "outputConfig": {"gcsDestination": {"outputUriPrefix": "gs://going/x"}},
            "inferenceGenerationConfig": {"temperature": 0},
        },
    }
    body = {"baseModel": "gemini-2.5-flash", "supervisedTuningSpec": spec}
    created = httpx.post(f"{server.url}/v1/{PARENT}/tuningJobs", json=body)
    assert created.json()["supervisedTuningSpec"]["evaluationConfig"]["metrics"][0]["aggregationMetrics"] == ["MODE"]
    genai = genai_client(server.url)
    job = wait(genai, genai.tunings.get(name=created.json()["name"]))
    (run,) = job.evaluate_dataset_runs
    (result,) = run.evaluate_dataset_response.aggregation_output.aggregation_results
    assert result.pairwise_metric_result.pairwise_choice in ("BASELINE", "CANDIDATE", "TIE")


def test_preference_rows_are_scored_against_the_preferred_answer(server: Server) -> None:
    upload(server.url, "x", [], "preferred")
    config = evaluation("gs://preferred", types.Metric(name="rouge_l"))
    job = job_of(server, preference_lines(), "PREFERENCE_TUNING", beta=0.1, evaluation_config=config)
    assert [field for field, _, _ in results(job.evaluate_dataset_runs[0])] == ["rouge_metric_value"] * 2


METRIC = {"exactMatchSpec": {}}
WHERE = {"gcsDestination": {"outputUriPrefix": "gs://tuning-data/out"}}


@pytest.mark.parametrize(
    ("config", "code"),
    [
        ({"metrics": [], "outputConfig": WHERE}, 400),
        ({"metrics": [METRIC]}, 400),
        ({"metrics": [METRIC], "outputConfig": {"gcsDestination": {"outputUriPrefix": "gs://absent-bucket/x"}}}, 400),
        ({"metrics": [{**METRIC, "bleuSpec": {}}], "outputConfig": WHERE}, 400),
        ({"metrics": [{**METRIC, "aggregationMetrics": ["LUCK"]}], "outputConfig": WHERE}, 400),
        ({"metrics": [{"rougeSpec": {"rougeType": "rouge99"}}], "outputConfig": WHERE}, 400),
        ({"metrics": [{"customCodeExecutionSpec": {}}], "outputConfig": WHERE}, 400),
        ({"metrics": [METRIC], "outputConfig": WHERE, "inferenceGenerationConfig": {"temperature": 9}}, 400),
    ],
)
def test_refusals(server: Server, config: dict[str, Any], code: int) -> None:
    uri = upload(server.url, "train.jsonl", supervised_lines())
    spec = {"trainingDatasetUri": uri, "validationDatasetUri": uri, "evaluationConfig": config}
    body = {"baseModel": "gemini-2.5-flash", "supervisedTuningSpec": spec}
    assert httpx.post(f"{server.url}/v1/{PARENT}/tuningJobs", json=body).status_code == code


def test_it_needs_a_validation_set_and_a_model_that_offers_it(server: Server) -> None:
    uri = upload(server.url, "train.jsonl", supervised_lines())
    whole = {"metrics": [METRIC], "outputConfig": WHERE}
    for base, extra in (("gemini-2.5-flash", {}), ("gemini-3.5-flash", {"validationDatasetUri": uri})):
        body = {
            "baseModel": base,
            "supervisedTuningSpec": {"trainingDatasetUri": uri, "evaluationConfig": whole, **extra},
        }
        answer = httpx.post(f"{server.url}/v1/{PARENT}/tuningJobs", json=body)
        assert answer.status_code == 400
        assert "evaluation_config" in answer.text


@given(st.lists(st.floats(0, 5), min_size=1, max_size=30))
def test_aggregates_are_what_they_are_called(scores: list[float]) -> None:
    import numpy as np

    for percent in (90, 95, 99):
        assert aggregate(f"PERCENTILE_P{percent}", scores) == pytest.approx(np.percentile(scores, percent))
    low, middle, high = (aggregate(name, scores) for name in ("MINIMUM", "MEDIAN", "MAXIMUM"))
    assert low <= middle <= high
    assert aggregate("VARIANCE", scores) == pytest.approx(aggregate("STANDARD_DEVIATION", scores) ** 2)
    assert aggregate("MODE", scores) in scores
