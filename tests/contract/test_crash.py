# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""kill -9 at random moments: what was there is whole, what was unfinished ends."""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
from emulated import PARENT, Server, supervised_lines, upload

LIVES = int(os.environ.get("CRASH_LIVES", "5"))


def post(client: httpx.Client, path: str, body: Any) -> None:
    client.post(f"/v1/{path}", json=body)


def everything(url: str, kind: str, parent: str = PARENT) -> list[Any]:
    return httpx.get(f"{url}/v1/{parent}/{kind}?pageSize=1000").json().get(kind, [])  # type: ignore[no-any-return]


def check(url: str) -> None:
    """What must hold at any moment after a start."""
    endpoints, jobs = everything(url, "endpoints"), everything(url, "tuningJobs")
    models = everything(url, "models")  # last: training goes on, and a model comes before its endpoint
    names = set()
    for model in models:
        versions = httpx.get(f"{url}/v1/{model['name']}:listVersions").json()["models"]
        names |= {f"{version['name']}@{version['versionId']}" for version in versions}
        aliases = [alias for version in versions for alias in version["versionAliases"]]
        assert aliases.count("default") == 1
        assert aliases.count("champion") <= 1
    for endpoint in endpoints:
        assert {item["model"] for item in endpoint.get("deployedModels", [])} <= names
        assert sum(endpoint["trafficSplit"].values()) in (0, 100)
    for job in jobs:
        if job["state"] == "JOB_STATE_SUCCEEDED":
            assert job["tunedModel"]["model"] in names
            assert job["tunedModel"]["endpoint"]


def test_kill_at_random_moments(start: Callable[..., Server], tmp_path: Path) -> None:
    script = tmp_path / "s.json"
    script.write_text('{"step_seconds": 0.01}')
    rng = random.Random(5)
    engine = ("--engine", f"scripted:{script}", "--concurrency", "2")
    server = start(*engine)
    uri = upload(server.url, "train.jsonl", supervised_lines())
    spec = {"trainingDatasetUri": uri, "hyperParameters": {"epochCount": 3}}
    body = {"baseModel": "gemini-2.5-flash", "tunedModelDisplayName": "m", "supervisedTuningSpec": spec}
    post(httpx.Client(base_url=server.url), f"{PARENT}/tuningJobs", body)
    for _ in range(LIVES):

        def work(seed: int, url: str) -> None:
            mine = random.Random(seed)
            client = httpx.Client(base_url=url, timeout=5)
            try:
                while True:
                    models = everything(url, "models")
                    parent = mine.choice(models)["name"] if models and mine.random() < 0.7 else None
                    tuned = {**body, "preTunedModel": {"tunedModelName": parent}} if parent else body
                    if parent:
                        tuned.pop("baseModel")
                        versions = client.get(f"/v1/{parent}:listVersions").json()["models"]
                        name = f"{parent}@{mine.choice(versions)['versionId']}"
                        post(client, f"{name}:mergeVersionAliases", {"versionAliases": ["champion", "default"]})
                    if mine.random() < 0.2:
                        post(client, f"{PARENT}/tuningJobs", tuned)
            except (httpx.HTTPError, KeyError):
                return  # the server is gone

        threads = [threading.Thread(target=work, args=(rng.randrange(10**6), server.url)) for _ in range(3)]
        for thread in threads:
            thread.start()
        time.sleep(rng.uniform(0.05, 0.9))
        server.kill()
        for thread in threads:
            thread.join()
        server = start(*engine)
        check(server.url)
    deadline = time.monotonic() + 200
    while any(
        job["state"] in ("JOB_STATE_PENDING", "JOB_STATE_RUNNING") for job in everything(server.url, "tuningJobs")
    ):
        assert time.monotonic() < deadline
        time.sleep(0.3)
    check(server.url)
    assert {job["state"] for job in everything(server.url, "tuningJobs")} == {"JOB_STATE_SUCCEEDED"}
    kept = {path.name for path in (tmp_path / "state" / "adapters").iterdir()}
    assert kept == {job["name"].rsplit("/", 1)[1] for job in everything(server.url, "tuningJobs")}
