# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The loop: complete, in order, once each, whatever fails."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass
from time import monotonic

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gemtune.errors import UserError
from gemtune.inference.generate import Effort, Given, Question, ask_all


class Busy(Exception):
    def __init__(self, code: int = 503) -> None:
        super().__init__(f"busy {code}")
        self.code = code


class No(Exception):
    def __init__(self, code: int) -> None:
        super().__init__(f"no {code}")
        self.code = code


@dataclass(frozen=True)
class Said:
    text: str | None
    finish_reason: str = "STOP"
    block_reason: str = ""
    input_tokens: int = 3
    output_tokens: int = 1


def effort(**changes) -> Effort:
    return Effort(
        **{"concurrency": 16, "attempts": 5, "retryable": (Busy,), "refused": (No,), "first_wait_s": 0.001, **changes}
    )


def asked(count: int) -> list[Question]:
    return [Question(str(i), "m", None, [{"role": "user", "parts": [{"text": str(i)}]}]) for i in range(count)]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 60), st.integers(0, 10_000), st.integers(1, 20))
def test_generate_all_returns_one_output_per_request_in_order(count, seed, concurrency):
    rng, answered, in_flight, most = random.Random(seed), [], 0, 0

    async def ask(question):
        nonlocal in_flight, most
        in_flight += 1
        most = max(most, in_flight)
        try:
            await asyncio.sleep(rng.random() * 0.002)
            if rng.random() < 0.3:
                raise Busy
            answered.append(question.key)
            return Said(question.key)
        finally:
            in_flight -= 1

    settled = []
    pace = effort(concurrency=concurrency, attempts=30)
    given_answers = asyncio.run(ask_all(asked(count), ask, pace, settled=lambda: settled.append(1)))
    assert [one.text for one in given_answers] == [str(i) for i in range(count)]
    assert sorted(answered) == sorted({str(i) for i in range(count)})
    assert len(settled) == count
    assert most <= concurrency


def test_generate_all_reports_an_error_for_a_row_that_always_fails():
    async def ask(question):
        if question.key == "1":
            raise Busy
        if question.key == "2":
            raise No(400)
        return Said("yes")

    first, second, third = asyncio.run(ask_all(asked(3), ask, effort()))
    assert first == Given("yes", "STOP", "", 3, 1, first.latency_s, 1)
    assert (second.error, second.attempts) == ("busy 503 (after 5 tries)", 5)
    assert (third.error, third.attempts) == ("no 400", 1)


def test_generate_all_reports_an_error_after_the_deadline():
    async def ask(question):
        await asyncio.sleep(0.001 if int(question.key) % 2 else 60)
        return Said(question.key)

    settled, start = [], monotonic()
    pace = effort(concurrency=50, deadline_s=0.3)
    found = asyncio.run(ask_all(asked(20), ask, pace, settled=lambda: settled.append(1)))
    assert monotonic() - start < 10
    assert [one.text for one in found] == [str(i) if i % 2 else None for i in range(20)]
    assert {one.error for one in found[::2]} == {"no answer within 0.3 s"}
    assert len(settled) == 20


def test_generate_all_stops_on_an_unknown_model():
    async def ask(question):
        raise No(404)

    with pytest.raises(UserError, match="'m' cannot be asked: no 404"):
        asyncio.run(ask_all(asked(50), ask, effort()))


def test_generate_all_stops_early_when_every_request_fails():
    tries = 0

    async def ask(question):
        nonlocal tries
        tries += 1
        raise Busy

    with pytest.raises(UserError, match="20 rows and no answer, each tried 5 times: busy 503"):
        asyncio.run(ask_all(asked(2000), ask, effort()))
    assert tries < 1000


def test_generate_all_raises_programming_errors():
    async def ask(question):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        asyncio.run(ask_all(asked(3), ask, effort()))


class Books:
    def __init__(self) -> None:
        self.known: dict[str, Given] = {}

    def get(self, question):
        return self.known.get(question.key)

    def put(self, question, given):
        self.known[question.key] = given


def test_generate_all_reads_the_cache_and_caches_no_failures():
    calls = []

    async def ask(question):
        calls.append(question.key)
        if question.key == "4" and calls.count("4") <= 2:
            raise Busy
        return Said(question.key)

    books = Books()
    first = asyncio.run(ask_all(asked(5), ask, effort(attempts=2), memory=books))
    assert first[4].error
    again = asyncio.run(ask_all(asked(8), ask, effort(attempts=2), memory=books))
    assert [one.text for one in again] == list("01234567")
    assert {key: calls.count(key) for key in "01234567"} == dict.fromkeys("012356 7".replace(" ", ""), 1) | {"4": 3}
