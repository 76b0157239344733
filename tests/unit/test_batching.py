# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Batch prediction: one answer a question whatever the job's file holds; jobs found again on a real emulator."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rehearsed import Emulator, examples

from gemtune import vertex
from gemtune.data.example import write_examples
from gemtune.errors import UserError
from gemtune.inference.batch import BatchJobs, generate_by_batch, wait_for_job
from gemtune.inference.generate import GenerateRequest, ModelOutput
from gemtune.steps import evaluate
from gemtune.steps.report import scoreboard
from gemtune.vertex import batches as jobs
from gemtune.vertex import jobs as tuning
from gemtune.vertex import models, storage

MODEL = "gemini-2.5-flash"


@dataclass(frozen=True)
class Line:
    request: dict[str, Any]
    answer: vertex.Answer | None = None
    error: str = ""
    code: int = 0


def question(text: str, sample: int = 0, model: str = MODEL) -> GenerateRequest:
    return GenerateRequest(text, model, "Classify.", [{"role": "user", "parts": [{"text": text}]}], sample=sample)


def body(one: GenerateRequest) -> dict[str, Any]:
    return {
        "contents": one.contents,
        "generationConfig": {"seed": 7 + one.sample, "temperature": 0.0},
        "systemInstruction": {"role": "user", "parts": [{"text": one.system}]},
    }


def answer(text: str) -> vertex.Answer:
    return vertex.Answer(text, "STOP", "", 3, 1, batch=True)


@dataclass
class Kept:
    answers: dict[str, ModelOutput] = field(default_factory=dict)

    def get(self, one: GenerateRequest) -> ModelOutput | None:
        return self.answers.get(one.key)

    def put(self, one: GenerateRequest, found: ModelOutput) -> None:
        self.answers[one.key] = found


def asked(
    requests: list[GenerateRequest], lines_of: Any, above: int = 2, cache: Kept | None = None
) -> tuple[Any, Any, int]:
    online: list[GenerateRequest] = []
    told = Counter()

    async def put(some: list[GenerateRequest], on_done: Any = None) -> list[ModelOutput]:
        online.extend(some)
        for _ in some:
            on_done()
        return [ModelOutput(f"online {one.key}") for one in some]

    async def target(one: GenerateRequest) -> str:
        return "" if one.version == "unable" else one.model

    async def run_job(model: str, bodies: list[dict[str, Any]]) -> list[Line]:
        return lines_of(bodies)

    def on_done() -> None:
        told["settled"] += 1

    found = asyncio.run(generate_by_batch(requests, put, BatchJobs(above, target, body, run_job), cache, on_done))
    return found, online, told["settled"]


SPELLINGS = {
    "as sent": lambda request: request,
    "snake case": lambda request: {
        "contents": [{"role": "USER", "parts": dict(request["contents"][0]["parts"][0])}],
        "generation_config": {"seed": float(request["generationConfig"]["seed"]), "candidate_count": 1},
        "system_instruction": {"parts": [{"text": "Classify."}], "role": "system"},
        "labels": {},
    },
}


@given(st.data())
def test_each_question_has_one_answer_whatever_the_file_holds(data: st.DataObject) -> None:
    texts = data.draw(st.lists(st.sampled_from("abcdef"), min_size=3, max_size=12), label="texts, with repetitions")
    requests = [question(text) for text in texts]
    fates = data.draw(st.lists(st.sampled_from(["ok", "missing", "busy", "refused", "doubled"]), min_size=12))
    spell = SPELLINGS[data.draw(st.sampled_from(sorted(SPELLINGS)))]

    def lines_of(bodies: list[dict[str, Any]]) -> list[Line]:
        found = [Line({"contents": [{"parts": [{"text": "a stranger"}]}]}, answer("stranger")), Line({})]
        for request, fate in zip(bodies, fates, strict=False):
            text = request["contents"][0]["parts"][0]["text"]
            if fate in ("ok", "doubled"):
                found += [Line(spell(request), answer(text.upper()))] * (1 + (fate == "doubled"))
            elif fate == "busy":
                found.append(Line(spell(request), None, '{"error": {"code": 429}}', 429))
            elif fate == "refused":
                found.append(Line(spell(request), None, "Bad Request: no", 400))
        return data.draw(st.permutations(found))

    found, online, on_done = asked(requests, lines_of)
    assert len(found) == on_done == len(requests)
    for one, said in zip(requests, found, strict=True):
        assert said.text in (one.key.upper(), f"online {one.key}") or said.error == "Bad Request: no"
        assert said.batch == (said.text == one.key.upper())
    assert sum(one.batch or bool(one.error) for one in found) + len(online) == len(requests)
    wanted = sum(fate in ("missing", "busy") for fate in fates[: len(requests)])
    if "doubled" not in fates:
        assert len(online) == wanted


def test_samples_of_one_row_are_told_apart_and_few_rows_go_online() -> None:
    samples = [question("same", sample) for sample in range(4)]

    def lines_of(bodies: list[dict[str, Any]]) -> list[Line]:
        return [Line(one, answer(f"seed {one['generationConfig']['seed']}")) for one in reversed(bodies)]

    found, online, _ = asked(samples, lines_of)
    assert [one.text for one in found] == ["seed 7", "seed 8", "seed 9", "seed 10"]
    assert not online
    found, online, _ = asked(samples, lines_of, above=4)
    assert len(online) == 4
    unable = [replace(one, version="unable") for one in samples]
    assert len(asked(unable, lines_of)[1]) == 4
    assert len(asked([*samples, *unable], lines_of)[1]) == 4


def test_what_is_known_is_not_paid_again() -> None:
    cache = Kept({"b": ModelOutput("known", cached=True)})
    seen: list[int] = []

    def lines_of(bodies: list[dict[str, Any]]) -> list[Line]:
        seen.append(len(bodies))
        return [Line(one, answer("new")) for one in bodies]

    _, online, _ = asked([question(text) for text in "abcd"], lines_of, cache=cache)
    assert [one.key for one in online] == ["b"]  # which the online loop takes from its memory
    assert seen == [3]
    assert {key: one.text for key, one in cache.answers.items()} == {"a": "new", "b": "known", "c": "new", "d": "new"}


def test_a_job_that_fails_or_takes_too_long_is_told() -> None:
    failed = jobs.Batch("projects/p/locations/l/batchPredictionJobs/1", "FAILED", error="no capacity")
    with pytest.raises(UserError, match="no capacity"):
        asyncio.run(wait_for_job(failed, lambda job: job, 0.01, 1))
    running = jobs.Batch("projects/p/locations/l/batchPredictionJobs/1", "RUNNING")
    with pytest.raises(UserError, match="is RUNNING after"):
        asyncio.run(wait_for_job(running, lambda job: job, 0.01, 0.05))


# -- on an emulator, through the genuine SDK ---------------------------------------------------------------------------


@pytest.fixture
def emulator(tmp_path: Path) -> Iterator[Emulator]:
    running = Emulator(tmp_path / "state", "--speed", "seconds:0.7")
    yield running
    running.kill()


def run(folder: str, config: dict[str, Any]) -> None:
    files = [f"{folder}/{name}" for name in ("rows", "train", "out", "report")]
    who = [{"name": "zero", "model": MODEL}]
    evaluate.run(*files[:2], who, {"labels": ["refund", "delivery", "login"]}, config, {}, *files[2:])


def predictions(folder: Path) -> dict[str, Any]:
    rows = [json.loads(line) for line in (folder / "out").read_text().splitlines()]
    assert len(rows) == 90
    return {row["id"]: (row["answer"], row["outcome"], row["input_tokens"]) for row in rows}


def test_a_batch_says_what_online_calls_say_and_is_found_again_after_kill_9(
    emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = emulator.point(monkeypatch)
    write_examples(tmp_path / "rows", examples(90, 3))
    write_examples(tmp_path / "train", examples(20, 4))
    common = {"base_model": MODEL, "classical": False, "resamples": 200}
    batch = {**common, "batch_above": 50, "batch_poll_s": 0.1}

    run(str(tmp_path), common)
    online = predictions(tmp_path)
    code = f"import test_batching; test_batching.run({str(tmp_path)!r}, {batch!r})"
    process = subprocess.Popen([sys.executable, "-c", code], cwd=Path(__file__).parent)
    deadline = time.monotonic() + 60
    while not listed(client):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert listed(client)[0].state != "JOB_STATE_SUCCEEDED"
    run(str(tmp_path), batch)
    assert predictions(tmp_path) == online
    assert len(listed(client)) == 1
    report = json.loads((tmp_path / "report").read_text())
    tokens = report["variants"][0]["tokens"]
    assert tokens["batch_input"] == tokens["input"] > 0
    price = {"input": 1.0, "output": 1.0}
    (full,), (half,) = (scoreboard(report, "accuracy", {"prices": {**price, **own}}) for own in ({}, {"batch": 0.5}))
    assert half["cost"] == pytest.approx(full["cost"] / 2)
    run(str(tmp_path), batch)  # the job's answers are still there: nothing is asked again
    assert len(listed(client)) == 1


def test_a_tuned_model_is_asked_by_a_job_where_its_version_stands_for_the_checkpoint(
    emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = emulator.point(monkeypatch)
    write_examples(tmp_path / "rows", examples(60, 3))
    write_examples(tmp_path / "train", examples(20, 4))
    lines = [{"contents": [turn("user", one.text), turn("model", one.target)]} for one in examples(20, 4)]
    (tmp_path / "lines.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    tuned = {}
    for base in (MODEL, "gemini-3.5-flash"):
        uri = storage.upload(client, tmp_path / "lines.jsonl", "data")
        job = tuning.create(client, tuning.Order(base, "supervised", uri, epoch_count=2, display_name=base))
        while not job.ended:
            time.sleep(0.1)
            job = tuning.get(client, job.name)
        tuned[base] = job
    points = tuned[MODEL].checkpoints
    default = models.default_checkpoint(client, tuned[MODEL].model)
    assert {one.checkpoint_id for one in points} > {default}

    def run_on(base: str, point: tuning.Checkpoint) -> dict[str, int]:
        who = [{"name": "c", "model": point.endpoint, "tuned_model": tuned[base].model}]
        who[0]["checkpoint_id"] = point.checkpoint_id
        files = [str(tmp_path / name) for name in ("rows", "train", "out", "report")]
        config = {"base_model": base, "classical": False, "resamples": 200, "batch_above": 50, "batch_poll_s": 0.1}
        evaluate.run(*files[:2], who, {"labels": ["refund", "delivery", "login"]}, config, {}, *files[2:])
        return json.loads((tmp_path / "report").read_text())["variants"][0]["tokens"]

    for point in points:
        tokens = run_on(MODEL, point)
        assert tokens["batch_input"] == (tokens["input"] if point.checkpoint_id == default else 0)
        times = [json.loads(line)["latency_s"] for line in (tmp_path / "out").read_text().splitlines()]
        assert all((one is None) == (point.checkpoint_id == default) for one in times)
    assert [job.model for job in listed(client)] == [tuned[MODEL].model]
    last = tuned["gemini-3.5-flash"].checkpoints[-1]
    assert run_on("gemini-3.5-flash", last)["batch_input"] == 0  # no batch jobs for what is tuned from it


def turn(role: str, text: str) -> dict[str, Any]:
    return {"role": role, "parts": [{"text": text}]}


def listed(client: vertex.Client) -> list[Any]:
    return list(client.genai().batches.list())
