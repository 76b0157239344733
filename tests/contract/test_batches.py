# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Batch prediction through google-genai: files in and out, failed lines, cancel, restart."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from emulated import Server, genai_client, storage_client, supervised_lines, upload, wait
from google.genai import errors, types


def line(text: str, **config: Any) -> dict[str, Any]:
    body = {"contents": [{"role": "user", "parts": [{"text": text}]}], "generationConfig": config}
    return {"request": body}


def ended(client: Any, job: Any) -> Any:
    deadline = time.monotonic() + 30
    while job.state not in ("JOB_STATE_SUCCEEDED", "JOB_STATE_FAILED", "JOB_STATE_CANCELLED"):
        assert time.monotonic() < deadline
        time.sleep(0.05)
        job = client.batches.get(name=job.name)
    return job


def outputs(url: str, directory: str) -> list[dict[str, Any]]:
    bucket, _, name = directory.removeprefix("gs://").partition("/")
    text = storage_client(url).bucket(bucket).blob(name + "/predictions.jsonl").download_as_text()
    return [json.loads(row) for row in text.splitlines()]


def test_batch_answers_each_line(server: Server) -> None:
    client = genai_client(server.url)
    rows: list[Any] = [line(f"say number {n}", temperature=0) for n in range(150)]
    rows[7] = {"request": {"contents": [{"role": "robot", "parts": [{"text": "x"}]}]}}
    rows[8] = ["no request"]
    source = upload(server.url, "in.jsonl", rows)
    config = {"display_name": "bd", "dest": "gs://tuning-data/out"}
    job = ended(client, client.batches.create(model="gemini-2.5-flash", src=source, config=config))
    assert job.state == "JOB_STATE_SUCCEEDED"
    assert (job.completion_stats.successful_count, job.completion_stats.failed_count) == (148, 2)
    answers = outputs(server.url, job.output_info.gcs_output_directory)
    assert len(answers) == 150
    for answer, row in zip(answers, rows, strict=True):
        if answer["status"]:
            assert answer["response"] == {}
        else:
            prompt = row["request"]["contents"][0]["parts"][0]["text"]
            online = client.models.generate_content(
                model="gemini-2.5-flash", contents=prompt, config={"temperature": 0}
            )
            assert answer["request"] == row["request"]
            assert answer["response"]["candidates"][0]["content"]["parts"][0]["text"] == online.text
            if prompt.endswith("20"):
                break
    client.batches.delete(name=job.name)
    with pytest.raises(errors.ClientError):
        client.batches.get(name=job.name)


def test_tuned_models_and_lists(server: Server) -> None:
    client = genai_client(server.url)
    dataset = types.TuningDataset(gcs_uri=upload(server.url, "train.jsonl", supervised_lines()))
    config = types.CreateTuningJobConfig(epoch_count=1)
    tuned = [
        wait(client, client.tunings.tune(base_model=base, training_dataset=dataset, config=config))
        for base in ("gemini-2.5-flash", "gemini-3.5-flash")
    ]
    source = upload(server.url, "in2.jsonl", [line("where is my parcel")])
    job = ended(client, client.batches.create(model=tuned[0].tuned_model.model, src=source))
    assert job.state == "JOB_STATE_SUCCEEDED"
    assert job.name in [item.name for item in client.batches.list(config={"page_size": 1})]
    with pytest.raises(errors.ClientError, match="no batch prediction"):
        client.batches.create(model=tuned[1].tuned_model.model, src=source)


def test_refusals(server: Server) -> None:
    client = genai_client(server.url)
    source = upload(server.url, "in3.jsonl", [line("x")])
    with pytest.raises(errors.ClientError, match="No such object"):
        client.batches.create(model="gemini-2.5-flash", src="gs://tuning-data/absent.jsonl")
    with pytest.raises(errors.ClientError, match="bucket does not exist"):
        client.batches.create(model="gemini-2.5-flash", src=source, config={"dest": "gs://absent-bucket/x"})
    with pytest.raises(errors.ClientError, match="was not found"):
        client.batches.create(model="gemini-0-none", src=source)


def test_cancel_and_restart(start: Callable[..., Server], tmp_path: Path) -> None:
    server = start("--speed", "seconds:1")
    client = genai_client(server.url)
    source = upload(server.url, "in.jsonl", [line("x")])
    first, second = (client.batches.create(model="gemini-2.5-flash", src=source) for _ in range(2))
    client.batches.cancel(name=second.name)
    server.kill()
    again = genai_client(start().url)
    assert ended(again, again.batches.get(name=first.name)).state == "JOB_STATE_SUCCEEDED"
    assert again.batches.get(name=second.name).state == "JOB_STATE_CANCELLED"
