# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The wire over the engine that truly learns: a job teaches, its endpoint answers, a restart forgets nothing."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from emulated import Server, genai_client, preference_lines, upload, wait
from google.genai import errors, types
from safetensors.torch import load_file, save_file

from emulator.catalogue import load_catalogue
from emulator.engines.student.weights import EMBEDDED_BASE

LABELS = {"refund": ["money back", "return my payment", "refund"], "shipping": ["parcel", "delivery", "courier"]}


def rows(count: int, seed: int) -> list[dict[str, object]]:
    rng = random.Random(seed)
    rows = []
    for _ in range(count):
        label = rng.choice(sorted(LABELS))
        text = f"hello, my {rng.choice(LABELS[label])} number {rng.randrange(1000)} please"
        turns = [{"role": "user", "parts": [{"text": text}]}, {"role": "model", "parts": [{"text": label}]}]
        rows.append({"contents": turns})
    return rows


def test_a_job_teaches_and_survives_a_restart(start: Callable[..., Server]) -> None:
    server = start("--engine", "student", "--threads", "1")
    client = genai_client(server.url)
    train, valid = upload(server.url, "t.jsonl", rows(80, 0)), upload(server.url, "v.jsonl", rows(16, 1))
    config = types.CreateTuningJobConfig(
        epoch_count=3,
        adapter_size="ADAPTER_SIZE_EIGHT",
        validation_dataset=types.TuningValidationDataset(gcs_uri=valid),
    )
    dataset = types.TuningDataset(gcs_uri=train)
    job = wait(client, client.tunings.tune(base_model="gemini-2.5-flash", training_dataset=dataset, config=config), 240)
    assert job.state == "JOB_STATE_SUCCEEDED", job.error
    test = rows(12, 2)

    def right(model: str) -> int:
        hits = 0
        for row in test:
            prompt, answer = (turn["parts"][0]["text"] for turn in row["contents"])  # type: ignore[attr-defined]
            settings = {"temperature": 0, "max_output_tokens": 6}
            hits += client.models.generate_content(model=model, contents=prompt, config=settings).text == answer
        return hits

    before, after = right("gemini-2.5-flash"), right(job.tuned_model.endpoint)
    assert after >= 9
    assert after > before
    curves = httpx.get(f"{server.url}/emulator/console").text
    assert "/eval_total_loss" in curves
    pairs = types.TuningDataset(gcs_uri=upload(server.url, "p.jsonl", preference_lines(16)))
    config = types.CreateTuningJobConfig(method="PREFERENCE_TUNING", beta=0.1, epoch_count=1)
    again = client.tunings.tune(base_model=job.tuned_model.model, training_dataset=pairs, config=config)
    again = wait(client, again, 240)
    assert again.state == "JOB_STATE_SUCCEEDED", again.error
    assert again.tuned_model.model == job.tuned_model.model.replace("@1", "@2")
    server.kill()
    client = genai_client(start("--engine", "student", "--threads", "1").url)
    assert right(job.tuned_model.endpoint) == after
    assert client.models.generate_content(model=again.tuned_model.endpoint, contents="say 3").candidates


def test_adapters_and_weights_that_do_not_fit_are_reported(
    start: Callable[..., Server], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    base = tmp_path / "base"
    shutil.copytree(EMBEDDED_BASE, base)
    catalogue = load_catalogue().model_dump(mode="json")
    names = {"mine": "base", "far": "owner/not-here"}
    catalogue["models"] = [{"name": n, "weights": w, "supervised": [2, 4, 8]} for n, w in names.items()]
    (tmp_path / "catalogue.json").write_text(json.dumps(catalogue))
    options = ("--engine", "student", "--threads", "1", "--catalogue", str(tmp_path / "catalogue.json"))
    server = start(*options)
    client = genai_client(server.url)
    data = types.TuningDataset(gcs_uri=upload(server.url, "t.jsonl", rows(16, 0)))

    def tuned(model: str, size: str) -> Any:
        config = types.CreateTuningJobConfig(epoch_count=1, adapter_size=size)
        return wait(client, client.tunings.tune(base_model=model, training_dataset=data, config=config), 120)

    job = tuned("mine", "ADAPTER_SIZE_TWO")
    assert job.state == "JOB_STATE_SUCCEEDED", job.error
    further = tuned(job.tuned_model.model, "ADAPTER_SIZE_EIGHT")
    assert further.supervised_tuning_spec.hyper_parameters.adapter_size == "ADAPTER_SIZE_TWO"  # goes on at its rank
    failed = tuned("far", "ADAPTER_SIZE_TWO")
    assert (failed.state, failed.error.code) == ("JOB_STATE_FAILED", 9)
    assert "owner/not-here" in failed.error.message
    for ask in (client.models.generate_content, client.models.count_tokens):
        with pytest.raises(errors.ClientError, match=r"FAILED_PRECONDITION.*check the connection"):
            ask(model="far", contents="hello")
    server.stop()
    weights = load_file(base / "model.safetensors")
    save_file({name: tensor * 1.5 for name, tensor in weights.items()}, base / "model.safetensors", {"format": "pt"})
    client = genai_client(start(*options).url)
    with pytest.raises(errors.ClientError, match=r"FAILED_PRECONDITION.*tuned on other base weights"):
        client.models.generate_content(model=job.tuned_model.endpoint, contents="hello")
    assert client.models.generate_content(model="mine", contents="hello").candidates
    again = tuned(job.tuned_model.model, "ADAPTER_SIZE_TWO")
    assert (again.state, again.error.code) == ("JOB_STATE_FAILED", 9)
    assert "tuned on other base weights" in again.error.message
