# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""A killed run continues from the response cache."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

SCRIPT = """
import asyncio, sys
from functools import partial
from gemtune.contents import ModelOutput
from gemtune.inference.generate import GenerateRequest, RetryPolicy, generate_all
from gemtune.inference.response_cache import SqliteResponseCache

Said = partial(ModelOutput, finish_reason="STOP", input_tokens=1, output_tokens=1)

log = open(sys.argv[2], "a", buffering=1)

async def generate(request):
    await asyncio.sleep(0.002)
    log.write(request.key + "\\n")
    return Said(request.key)

requests = [GenerateRequest(str(i), "m", None, [{"role": "user", "parts": [{"text": str(i)}]}]) for i in range(2000)]
with SqliteResponseCache(sys.argv[1], {}) as store:
    outputs = asyncio.run(generate_all(requests, generate, RetryPolicy(4, 3, (OSError,), (ValueError,)), cache=store))
print([output.text for output in outputs] == [str(i) for i in range(2000)])
"""


def test_response_cache_resumes_a_killed_run(tmp_path):
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
    assert total <= 2000 + 4  # at most the four in flight were sent twice
    assert json.dumps(sorted(set(calls.read_text().split()), key=int)) == json.dumps([str(i) for i in range(2000)])
