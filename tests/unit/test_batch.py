# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Batch prediction: one output per request, whatever the file of the job contains."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemtune.contents import ModelOutput
from gemtune.errors import UserError
from gemtune.inference.batch import BatchJobs, generate_by_batch
from gemtune.inference.generate import GenerateRequest
from gemtune.inference.vertex_generation import wait_for_job
from gemtune.vertex import batches as jobs

MODEL = "gemini-2.5-flash"


def question(text: str, sample: int = 0, model: str = MODEL) -> GenerateRequest:
    return GenerateRequest(text, model, "Classify.", [{"role": "user", "parts": [{"text": text}]}], sample=sample)


def body(one: GenerateRequest) -> dict[str, Any]:
    return {
        "contents": one.contents,
        "generationConfig": {"seed": 7 + one.sample, "temperature": 0.0},
        "systemInstruction": {"role": "user", "parts": [{"text": one.system}]},
    }


def answer(text: str) -> ModelOutput:
    return ModelOutput(text, "STOP", "", 3, 1, batch=True)


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
    done = Counter()

    async def put(some: list[GenerateRequest], on_done: Any = None) -> list[ModelOutput]:
        online.extend(some)
        for _ in some:
            on_done()
        return [ModelOutput(f"online {one.key}") for one in some]

    async def target(one: GenerateRequest) -> str:
        return "" if one.version == "unable" else one.model

    async def run_job(model: str, bodies: list[dict[str, Any]]) -> list[jobs.BatchLine]:
        return lines_of(bodies)

    def on_done() -> None:
        done["settled"] += 1

    found = asyncio.run(generate_by_batch(requests, put, BatchJobs(above, target, body, run_job), cache, on_done))
    return found, online, done["settled"]


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
def test_batch_returns_one_output_per_request(data: st.DataObject) -> None:
    texts = data.draw(st.lists(st.sampled_from("abcdef"), min_size=3, max_size=12), label="texts, with repetitions")
    requests = [question(text) for text in texts]
    fates = data.draw(st.lists(st.sampled_from(["ok", "missing", "busy", "refused", "doubled"]), min_size=12))
    spell = SPELLINGS[data.draw(st.sampled_from(sorted(SPELLINGS)))]

    def lines_of(bodies: list[dict[str, Any]]) -> list[jobs.BatchLine]:
        found = [({"contents": [{"parts": [{"text": "a stranger"}]}]}, answer("stranger")), ({}, None)]
        for request, fate in zip(bodies, fates, strict=False):
            text = request["contents"][0]["parts"][0]["text"]
            if fate in ("ok", "doubled"):
                found += [(spell(request), answer(text.upper()))] * (1 + (fate == "doubled"))
            elif fate == "busy":
                found.append((spell(request), None))
            elif fate == "refused":
                found.append((spell(request), ModelOutput(error="Bad Request: no", permanent=True)))
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


def test_batch_separates_samples_of_a_row_and_sends_few_rows_online() -> None:
    samples = [question("same", sample) for sample in range(4)]

    def lines_of(bodies: list[dict[str, Any]]) -> list[jobs.BatchLine]:
        return [(one, answer(f"seed {one['generationConfig']['seed']}")) for one in reversed(bodies)]

    found, online, _ = asked(samples, lines_of)
    assert [one.text for one in found] == ["seed 7", "seed 8", "seed 9", "seed 10"]
    assert not online
    found, online, _ = asked(samples, lines_of, above=4)
    assert len(online) == 4
    unable = [replace(one, version="unable") for one in samples]
    assert len(asked(unable, lines_of)[1]) == 4
    assert len(asked([*samples, *unable], lines_of)[1]) == 4


def test_batch_reads_the_cache() -> None:
    cache = Kept({"b": ModelOutput("known", cached=True)})
    seen: list[int] = []

    def lines_of(bodies: list[dict[str, Any]]) -> list[jobs.BatchLine]:
        seen.append(len(bodies))
        return [(one, answer("new")) for one in bodies]

    _, online, _ = asked([question(text) for text in "abcd"], lines_of, cache=cache)
    assert [one.key for one in online] == ["b"]  # which the online loop takes from its memory
    assert seen == [3]
    assert {key: one.text for key, one in cache.answers.items()} == {"a": "new", "b": "known", "c": "new", "d": "new"}


def test_batch_reports_a_failed_or_late_job() -> None:
    failed = jobs.BatchJob("projects/p/locations/l/batchPredictionJobs/1", "FAILED", error="no capacity")
    with pytest.raises(UserError, match="no capacity"):
        asyncio.run(wait_for_job(failed, lambda job: job, 0.01, 1))
    running = jobs.BatchJob("projects/p/locations/l/batchPredictionJobs/1", "RUNNING")
    with pytest.raises(UserError, match="is RUNNING after"):
        asyncio.run(wait_for_job(running, lambda job: job, 0.01, 0.05))


@pytest.mark.parametrize(
    ("status", "is_permanent"),
    [
        ('Rate limited: {"error": {"code": 429}}', False), ("Bad Request: no", True), ("", False), ("unknown", False),
        ('Refused: {"error": {"code": 404}}', True), ('{"error": {"code": 400, "message": "logprobs"}}', False),
    ],
)  # fmt: skip
def test_batch_line_failed_permanently_only_by_a_permanent_code(status: str, is_permanent: bool) -> None:
    request, output = jobs._result({"request": {"contents": []}, "status": status})
    assert request == {"contents": []}
    assert (output is not None) == is_permanent
    assert not output or (output.permanent and output.error == status)
