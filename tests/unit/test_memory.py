# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The store of answers: by content, for good, through kill -9."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from gemtune.errors import UserError
from gemtune.inference.generate import GenerateRequest, ModelOutput
from gemtune.inference.response_cache import SqliteResponseCache

QUESTION = GenerateRequest("row", "model", "system", [{"role": "user", "parts": [{"text": "hi"}]}])
SETTINGS = {"temperature": 0.0}


def test_an_answer_comes_back_marked_and_only_for_the_same_request(tmp_path):
    with SqliteResponseCache(tmp_path, SETTINGS) as store:
        assert store.get(QUESTION) is None
        store.put(QUESTION, ModelOutput("refund", "STOP", "", 3, 1, 0.5, 2))
    with SqliteResponseCache(tmp_path, SETTINGS) as store:
        assert store.get(QUESTION) == ModelOutput("refund", "STOP", "", 3, 1, 0.5, 2, cached=True)
        assert store.get(replace(QUESTION, key="another row")) is not None
        for change in ({"model": "m2"}, {"system": None}, {"contents": []}, {"version": "2"}, {"sample": 1}):
            assert store.get(replace(QUESTION, **change)) is None
    with SqliteResponseCache(tmp_path, {"temperature": 0.5}) as store:
        assert store.get(QUESTION) is None


def test_two_processes_may_share_it(tmp_path):
    with SqliteResponseCache(tmp_path, SETTINGS) as one, SqliteResponseCache(tmp_path, SETTINGS) as two:
        one.put(QUESTION, ModelOutput("a"))
        two.put(QUESTION, ModelOutput("a"))
        assert two.get(QUESTION) == ModelOutput("a", cached=True)


def test_a_directory_that_cannot_hold_it_is_the_users_to_mend(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"evaluate\.cache"):
        SqliteResponseCache(tmp_path / "file", SETTINGS)


SCRIPT = """
import asyncio, sys
from dataclasses import dataclass
from gemtune.inference.generate import RetryPolicy, GenerateRequest, generate_all
from gemtune.inference.response_cache import SqliteResponseCache

@dataclass
class Said:
    text: str
    finish_reason: str = "STOP"
    block_reason: str = ""
    input_tokens: int = 1
    output_tokens: int = 1

log = open(sys.argv[2], "a", buffering=1)

async def ask(question):
    await asyncio.sleep(0.002)
    log.write(question.key + "\\n")
    return Said(question.key)

questions = [GenerateRequest(str(i), "m", None, [{"role": "user", "parts": [{"text": str(i)}]}]) for i in range(2000)]
with SqliteResponseCache(sys.argv[1], {}) as store:
    given = asyncio.run(generate_all(questions, ask, RetryPolicy(4, 3, (OSError,), (ValueError,)), cache=store))
print([g.text for g in given] == [str(i) for i in range(2000)])
"""


def test_a_killed_run_asks_only_for_what_is_missing(tmp_path):
    calls = tmp_path / "calls"
    command = [sys.executable, "-c", SCRIPT, str(tmp_path / "store"), str(calls)]
    first = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": os.getcwd()})
    while not calls.exists() or calls.read_text().count("\n") < 300:
        time.sleep(0.01)
    first.send_signal(signal.SIGKILL)
    first.wait()
    before = set(calls.read_text().split())
    assert 300 <= len(before) < 2000
    again = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": os.getcwd()}, capture_output=True, text=True, check=True
    )
    assert again.stdout.strip() == "True"
    total = len(calls.read_text().split())
    assert total <= 2000 + 4  # at most the four in flight were asked twice
    assert json.dumps(sorted(set(calls.read_text().split()), key=int)) == json.dumps([str(i) for i in range(2000)])
