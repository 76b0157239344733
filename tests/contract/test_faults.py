# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Pace and faults on request, as the SDKs meet them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import httpx2
import pytest
from emulated import NUMBER, Server, genai_client, storage_client, supervised_lines, upload, wait
from google.genai import errors, types

MODEL = "gemini-2.5-flash"


@pytest.fixture
def faults(server: Server) -> Iterator[Callable[..., None]]:
    def set_plan(**plan: Any) -> None:
        answer = httpx.put(f"{server.url}/emulator/faults", json=plan)
        assert answer.status_code == 200, answer.text

    yield set_plan
    httpx.delete(f"{server.url}/emulator/faults")


def outcomes(client: Any, count: int) -> list[str]:
    results = []
    for n in range(count):
        try:
            client.models.generate_content(model=MODEL, contents=f"prompt {n}")
            results.append("ok")
        except errors.APIError as error:
            results.append(str(error.code))
        except (httpx.HTTPError, httpx2.HTTPError) as error:  # of google-genai 2, and 3
            results.append(type(error).__name__)
    return results


def tune(client: Any, url: str, **config: Any) -> Any:
    dataset = types.TuningDataset(gcs_uri=upload(url, "train.jsonl", supervised_lines()))
    return client.tunings.tune(
        base_model=MODEL,
        training_dataset=dataset,
        config=types.CreateTuningJobConfig(**({"epoch_count": 2} | config)),
    )


def test_errors_come_at_their_rate_and_replay(server: Server, faults: Callable[..., None]) -> None:
    client = genai_client(server.url)
    faults(error_rate=0.3, error_code=503, seed=7)
    first = outcomes(client, 60)
    assert 8 <= first.count("503") <= 30
    faults(error_rate=0.3, error_code=503, seed=7)
    assert outcomes(client, 60) == first
    faults(error_rate=0.3, error_code=503, seed=8)
    assert outcomes(client, 60) != first


def test_retries_get_through(server: Server, faults: Callable[..., None]) -> None:
    retry = types.HttpRetryOptions(attempts=8, initial_delay=0.01, max_delay=0.02)
    client = genai_client(server.url, retry_options=retry)
    faults(error_rate=0.4, error_code=429)
    assert outcomes(client, 20) == ["ok"] * 20


def test_connections_break(server: Server, faults: Callable[..., None]) -> None:
    faults(drop_rate=1.0)
    assert outcomes(genai_client(server.url), 2) == ["RemoteProtocolError"] * 2
    faults()
    assert outcomes(genai_client(server.url), 1) == ["ok"]


def test_slow_answers(server: Server, faults: Callable[..., None]) -> None:
    faults(slow_rate=1.0, slow_seconds=0.4)
    started = time.monotonic()
    outcomes(genai_client(server.url), 1)
    assert time.monotonic() - started > 0.4


def test_quota_bucket(server: Server, faults: Callable[..., None]) -> None:
    client = genai_client(server.url)
    faults(quota_per_minute=0, quota_burst=3)
    assert outcomes(client, 5) == ["ok"] * 3 + ["429"] * 2
    faults(quota_per_minute=6000, quota_burst=1)
    results = []
    for _ in range(5):
        results += outcomes(client, 1)
        time.sleep(0.03)
    assert results == ["ok"] * 5


def test_tuning_quota(server: Server, faults: Callable[..., None]) -> None:
    client = genai_client(server.url)
    faults(tuning_quota=1, pace={"seconds": 0.5})
    first = tune(client, server.url)
    with pytest.raises(errors.ClientError) as caught:
        tune(client, server.url)
    assert (caught.value.code, caught.value.status) == (429, "RESOURCE_EXHAUSTED")
    wait(client, first)
    wait(client, tune(client, server.url))


def test_blocked_and_cut_answers(server: Server, faults: Callable[..., None]) -> None:
    client = genai_client(server.url)
    faults(blocked_rate=1.0)
    answer = client.models.generate_content(model=MODEL, contents="one two three")
    assert answer.text is None
    assert answer.prompt_feedback.block_reason == "PROHIBITED_CONTENT"
    faults(truncated_rate=1.0)
    answer = client.models.generate_content(model=MODEL, contents="one two three")
    assert answer.candidates[0].finish_reason == "MAX_TOKENS"


def test_expired_tokens(server: Server, faults: Callable[..., None]) -> None:
    faults(expired_tokens=["any-token"])
    assert outcomes(genai_client(server.url), 1) == ["401"]


def test_paths_limit_faults(server: Server, faults: Callable[..., None]) -> None:
    faults(error_rate=1.0, error_code=500, paths=":generateContent$")
    assert outcomes(genai_client(server.url), 1) == ["500"]
    assert isinstance(list(storage_client(server.url).list_buckets()), list)


@pytest.mark.parametrize("stage", ["start", "midway", "end"])
def test_jobs_fail_where_asked(server: Server, faults: Callable[..., None], stage: str) -> None:
    client = genai_client(server.url)
    models = len(list(client.models.list(config={"query_base": False})))
    faults(job_failure=stage, job_names="^doomed$")
    doomed = tune(client, server.url, tuned_model_display_name="doomed")
    healthy = tune(client, server.url, tuned_model_display_name="healthy")
    job = wait(client, doomed)
    assert job.state == "JOB_STATE_FAILED"
    assert job.error.code == 13
    assert stage in job.error.message
    assert not job.tuned_model
    assert (job.tuning_job_metadata is not None) == (stage != "start")
    assert wait(client, healthy).state == "JOB_STATE_SUCCEEDED"
    assert len(list(client.models.list(config={"query_base": False}))) == models + 1


def test_rows_are_dropped(server: Server, faults: Callable[..., None]) -> None:
    client = genai_client(server.url)
    faults(drop_rows=0.5, lenient_rows=True, seed=3)
    rows: list[Any] = [*supervised_lines(40), {"contents": []}]
    dataset = types.TuningDataset(gcs_uri=upload(server.url, "drop.jsonl", rows))
    config = types.CreateTuningJobConfig(epoch_count=1)
    job = wait(client, client.tunings.tune(base_model=MODEL, training_dataset=dataset, config=config))
    stats = job.tuning_data_stats.supervised_tuning_data_stats
    assert 8 < stats.tuning_dataset_example_count < 32
    assert len(stats.dropped_example_reasons) == 41 - stats.tuning_dataset_example_count


def test_pace_counts_looks(start: Callable[..., Server]) -> None:
    server = start("--speed", "polls:3")
    client = genai_client(server.url)
    job = tune(client, server.url)
    time.sleep(0.5)
    states = []
    for _ in range(60):
        states.append(client.tunings.get(name=job.name).state.value)
        if states[-1] == "JOB_STATE_SUCCEEDED":
            break
        time.sleep(0.1)
    assert states[:2] == ["JOB_STATE_PENDING"] * 2
    assert states.count("JOB_STATE_RUNNING") >= 3
    assert states[-1] == "JOB_STATE_SUCCEEDED"


def test_pace_counts_seconds_and_waiting_jobs_say_so(start: Callable[..., Server]) -> None:
    server = start("--speed", "seconds:1")
    client = genai_client(server.url)
    started = time.monotonic()
    first, second = tune(client, server.url), tune(client, server.url)
    raw = httpx.get(f"{server.url}/v1/{second.name}").json()
    assert raw["tuningJobState"] == "TUNING_JOB_STATE_WAITING_FOR_QUOTA"
    wait(client, first)
    assert time.monotonic() - started > 2
    wait(client, second)


def test_fault_file_and_bad_plans(server: Server, start: Callable[..., Server], tmp_path: Path) -> None:
    plan = tmp_path / "faults.json"
    plan.write_text('{"error_rate": 1.0, "error_code": 500}')
    broken = start("--faults", str(plan))
    assert outcomes(genai_client(broken.url), 1) == ["500"]
    for body in ({"error_rate": 2}, {"unknown": 1}, {"paths": "("}, {"error_code": 418}):
        assert httpx.put(f"{server.url}/emulator/faults", json=body).status_code == 400


def test_project_number_stays(server: Server) -> None:
    bucket = storage_client(server.url).create_bucket("numbered")
    assert str(bucket.project_number) == NUMBER


def test_reset_empties_the_emulator_and_ends_its_jobs(start: Callable[..., Server], tmp_path: Path) -> None:
    rules = tmp_path / "rules.json"
    rules.write_text(json.dumps({"step_seconds": 0.2}))
    server = start("--engine", f"scripted:{rules}", "--speed", "immediate")
    client = genai_client(server.url)
    data = types.TuningDataset(gcs_uri=upload(server.url, "train.jsonl", supervised_lines()))
    job = client.tunings.tune(base_model="gemini-2.5-flash", training_dataset=data)
    httpx.put(f"{server.url}/emulator/faults", json={"error_rate": 0.5})
    assert httpx.post(f"{server.url}/emulator/reset", timeout=30).json()["error_rate"] == 0
    assert not list(client.tunings.list())
    assert httpx.get(f"{server.url}/v1/{job.name}").status_code == 404
    assert not httpx.get(f"{server.url}/storage/v1/b?project=demo-project").json().get("items")
    assert not list((tmp_path / "state" / "storage" / "data").iterdir())
