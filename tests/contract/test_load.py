# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Many clients at once with injected faults: no answer lost or mixed, no memory or file handle leaked.

`LOAD_REQUESTS=1000 LOAD_JOBS=200 pytest tests/contract/test_load.py` is the long run: some minutes on two cores.
"""

from __future__ import annotations

import json
import os
import random
import threading
from collections.abc import Callable
from pathlib import Path

import httpx
import psutil
from emulated import PARENT, Server, genai_client, supervised_lines, upload, wait
from google.genai import types

REQUESTS = int(os.environ.get("LOAD_REQUESTS", "8"))
JOBS = int(os.environ.get("LOAD_JOBS", "6"))
CLIENTS = 64


def test_many_clients_with_faults(start: Callable[..., Server], tmp_path: Path) -> None:
    truth = {f"question {n}.": f"label{n}" for n in range(500)}
    (tmp_path / "script.json").write_text(json.dumps({"answers": truth, "base_accuracy": 1.0}))
    server = start("--engine", f"scripted:{tmp_path / 'script.json'}")
    plan = {"error_rate": 0.05, "drop_rate": 0.01, "seed": 3}
    httpx.put(f"{server.url}/emulator/faults", json=plan)
    process = psutil.Process(server.process.pid)
    path = f"{server.url}/v1/{PARENT}/publishers/google/models/gemini-2.5-flash:generateContent"
    wrong: list[str] = []
    counts = {"ok": [0] * CLIENTS, "fault": [0] * CLIENTS}
    halfway = threading.Barrier(CLIENTS + 1)

    def work(number: int) -> None:
        rng = random.Random(number)
        with httpx.Client(timeout=30) as client:
            for turn in range(REQUESTS):
                if turn == REQUESTS // 2:
                    halfway.wait(300)
                n = rng.randrange(500)
                body = {"contents": [{"role": "user", "parts": [{"text": f"question {n}."}]}]}
                try:
                    answer = client.post(path, json=body)
                except httpx.HTTPError:
                    counts["fault"][number] += 1
                    continue
                if answer.status_code == 503:
                    counts["fault"][number] += 1
                elif answer.json()["candidates"][0]["content"]["parts"][0]["text"] == f"label{n}":
                    counts["ok"][number] += 1
                else:
                    wrong.append(answer.text)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    halfway.wait(300)
    memory, handles = process.memory_info().rss, process.num_fds()
    for thread in threads:
        thread.join()
    total = sum(counts["ok"]) + sum(counts["fault"])
    print(f"{total} requests, {sum(counts['fault'])} faults, {process.memory_info().rss >> 20} MiB")
    assert wrong == []
    assert total == CLIENTS * REQUESTS
    assert 0.02 < sum(counts["fault"]) / total < 0.12
    assert process.memory_info().rss < memory * 1.2
    assert process.num_fds() <= handles + 2


def test_tuning_jobs_in_a_row_leak_neither_memory_nor_handles(start: Callable[..., Server]) -> None:
    server = start("--engine", "scripted")
    process = psutil.Process(server.process.pid)
    client = genai_client(server.url)
    used = []
    for number in range(JOBS):
        dataset = types.TuningDataset(gcs_uri=upload(server.url, f"train-{number}.jsonl", supervised_lines()))
        config = types.CreateTuningJobConfig(epoch_count=2, tuned_model_display_name=f"job-{number}")
        job = wait(client, client.tunings.tune(base_model="gemini-2.5-flash", training_dataset=dataset, config=config))
        assert job.state == "JOB_STATE_SUCCEEDED"
        answer = client.models.generate_content(model=job.tuned_model.endpoint, contents="money back please number 3")
        assert answer.text
        used.append((process.memory_info().rss, process.num_fds()))
    (memory, handles), (memory_now, handles_now) = used[JOBS // 2], used[-1]
    print(
        f"{JOBS} jobs: {memory >> 20} MiB, {handles} handles halfway; {memory_now >> 20} and {handles_now} at the end"
    )
    assert memory_now < memory * 1.1
    assert handles_now <= handles + 8  # threads that serve for the first time have connections of their own
