# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The loop: complete, in order, once each, whatever fails."""

from __future__ import annotations

import asyncio
import random
from functools import partial
from time import monotonic

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gemtune.contents import ModelOutput
from gemtune.errors import UserError
from gemtune.inference.generate import GenerateRequest, RetryPolicy, generate_all


class Busy(Exception):
    def __init__(self, code: int = 503) -> None:
        super().__init__(f"busy {code}")
        self.code = code


class No(Exception):
    def __init__(self, code: int) -> None:
        super().__init__(f"no {code}")
        self.code = code


Said = partial(ModelOutput, finish_reason="STOP", input_tokens=3, output_tokens=1)


def retry_policy(**changes) -> RetryPolicy:
    return RetryPolicy(
        **{
            "concurrency": 16,
            "max_attempts": 5,
            "transient": (Busy,),
            "permanent": (No,),
            "initial_backoff_s": 0.001,
            **changes,
        }
    )


def asked(count: int) -> list[GenerateRequest]:
    return [GenerateRequest(str(i), "m", None, [{"role": "user", "parts": [{"text": str(i)}]}]) for i in range(count)]


@settings(max_examples=25)
@given(st.integers(0, 60), st.integers(0, 10_000), st.integers(1, 20))
def test_generate_all_returns_one_output_per_request_in_order(count, seed, concurrency):
    rng, answered, in_flight, most = random.Random(seed), [], 0, 0

    async def generate(request):
        nonlocal in_flight, most
        in_flight += 1
        most = max(most, in_flight)
        try:
            await asyncio.sleep(rng.random() * 0.002)
            if rng.random() < 0.3:
                raise Busy
            answered.append(request.key)
            return Said(request.key)
        finally:
            in_flight -= 1

    on_done = []
    pace = retry_policy(concurrency=concurrency, max_attempts=30)
    given_answers = asyncio.run(generate_all(asked(count), generate, pace, on_done=lambda: on_done.append(1)))
    assert [one.text for one in given_answers] == [str(i) for i in range(count)]
    assert sorted(answered) == sorted({str(i) for i in range(count)})
    assert len(on_done) == count
    assert most <= concurrency


def test_generate_all_reports_an_error_for_a_row_that_always_fails():
    async def generate(request):
        if request.key == "1":
            raise Busy
        if request.key == "2":
            raise No(400)
        return Said("yes")

    first, second, third = asyncio.run(generate_all(asked(3), generate, retry_policy()))
    assert first == ModelOutput("yes", "STOP", "", 3, 1, first.latency_s, 1)
    assert (second.error, second.attempts) == ("busy 503 (after 5 attempts)", 5)
    assert (third.error, third.attempts) == ("no 400", 1)


def test_generate_all_reports_an_error_after_the_deadline():
    async def generate(request):
        await asyncio.sleep(0.001 if int(request.key) % 2 else 60)
        return Said(request.key)

    on_done, start = [], monotonic()
    pace = retry_policy(concurrency=50, deadline_s=0.3)
    found = asyncio.run(generate_all(asked(20), generate, pace, on_done=lambda: on_done.append(1)))
    assert monotonic() - start < 10
    assert [one.text for one in found] == [str(i) if i % 2 else None for i in range(20)]
    assert {one.error for one in found[::2]} == {"no answer within 0.3 s"}
    assert len(on_done) == 20


def test_generate_all_stops_on_an_unknown_model():
    async def generate(request):
        raise No(404)

    with pytest.raises(UserError, match="'m' cannot be called: no 404"):
        asyncio.run(generate_all(asked(50), generate, retry_policy()))


def test_generate_all_stops_early_when_every_request_fails():
    tries = 0

    async def generate(request):
        nonlocal tries
        tries += 1
        raise Busy

    with pytest.raises(UserError, match="the first 20 requests all failed after 5 attempts: busy 503"):
        asyncio.run(generate_all(asked(2000), generate, retry_policy()))
    assert tries < 1000


def test_generate_all_raises_programming_errors():
    async def generate(request):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        asyncio.run(generate_all(asked(3), generate, retry_policy()))


class Books:
    def __init__(self) -> None:
        self.known: dict[str, ModelOutput] = {}

    def get(self, request):
        return self.known.get(request.key)

    def put(self, request, given):
        self.known[request.key] = given


def test_generate_all_sends_failed_rows_again_after_the_others():
    calls = []

    async def generate(request):
        calls.append(request.key)
        if request.key in "34" and calls.count(request.key) <= 3:
            raise Busy
        if request.key == "5":
            raise No(400)
        return Said(request.key)

    once = asyncio.run(generate_all(asked(6), generate, retry_policy(max_attempts=2)))
    assert [bool(output.error) for output in once] == [False, False, False, True, True, True]
    calls.clear()
    policy = retry_policy(max_attempts=2, max_backoff_s=0.01, rounds=3)
    again = asyncio.run(generate_all(asked(6), generate, policy))
    assert [bool(output.error) for output in again] == [False, False, False, False, False, True]
    assert calls.count("5") == 1, "what the service refuses is not sent again"
    assert calls.count("3") == 4


def test_generate_all_reads_the_cache_and_caches_no_failures():
    calls = []

    async def generate(request):
        calls.append(request.key)
        if request.key == "4" and calls.count("4") <= 2:
            raise Busy
        return Said(request.key)

    books = Books()
    first = asyncio.run(generate_all(asked(5), generate, retry_policy(max_attempts=2), cache=books))
    assert first[4].error
    again = asyncio.run(generate_all(asked(8), generate, retry_policy(max_attempts=2), cache=books))
    assert [one.text for one in again] == list("01234567")
    assert {key: calls.count(key) for key in "01234567"} == dict.fromkeys("012356 7".replace(" ", ""), 1) | {"4": 3}
