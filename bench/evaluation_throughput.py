# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""How fast are rows answered, against the emulator over real HTTP with answers of 200 ms?

First a quota (100 requests a second): how much of it is used after five seconds of warm-up, and how many requests are
refused. Beside it, in the same run, under that quota: google-genai called in a loop and by pools of threads, and the
inference of the evaluation SDK (`client.evals.run_inference`). Then, under that quota, 20 % of requests fail (429, 503,
dropped connections) before it counts them: do 2,000 rows come back, each once, and in what multiple of the ideal time?
The same without a quota, where the machine is the limit. Says what a request costs in processor time too, because a
machine without time to spare cannot keep a pace. Exits 1 when a promise is broken.

    python bench/evaluation_throughput.py [--rows 2000] [--quota 100] [--alone]
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import io
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from time import monotonic, process_time
from typing import Any

from bench.figures import Figure, record
from gemtune.config import Evaluate, Vertex
from gemtune.inference.generate import GenerateRequest, generate_all
from gemtune.inference.vertex_generation import vertex_generate
from gemtune.vertex import calls

LATENCY_S = 0.2
FAULTS = {"error_rate": 0.14, "error_code": [429, 503], "drop_rate": 0.06}


@contextlib.contextmanager
def emulator() -> Iterator[str]:
    """A running emulator's address; stopped at the end."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "emulator", "--engine", "scripted", "--port", "0", "--state-dir", folder]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert server.stdout is not None
        try:
            found = next(m for line in server.stdout if (m := re.search(r"http://[\d.]+:\d+", line)))
            threading.Thread(target=server.stdout.read, daemon=True).start()
            yield found[0]
        finally:
            server.terminate()
            server.wait()


def set_faults(url: str, plan: dict[str, Any]) -> None:
    """Put a fault plan in force."""
    body = json.dumps(plan).encode()
    request = urllib.request.Request(f"{url}/emulator/faults", body, {"Content-Type": "application/json"}, method="PUT")
    urllib.request.urlopen(request).read()


def requests(count: int) -> list[GenerateRequest]:
    """Distinct rows."""
    turns = ([{"role": "user", "parts": [{"text": f"Ticket: number {i}\nIntent:"}]}] for i in range(count))
    return [GenerateRequest(str(i), "gemini-2.5-flash", "Classify.", one) for i, one in enumerate(turns)]


def ours(count: int, concurrency: int = 64) -> tuple[float, list[float], int, int, bool]:
    """Our loop: seconds, times of answers, 429s, tries, and whether every row came back once."""
    generate, retry_policy = vertex_generate(Evaluate(base_model="gemini-2.5-flash", concurrency=concurrency), Vertex())
    refused, tries, at = 0, 0, []
    start = monotonic()

    async def counted(question: GenerateRequest) -> Any:
        nonlocal refused, tries
        tries += 1
        try:
            answer = await generate(question)
        except calls.TransientError as failure:
            refused += failure.code == 429 and monotonic() - start > 5
            raise
        at.append(monotonic() - start)
        return answer

    given = asyncio.run(generate_all(requests(count), counted, replace(retry_policy, concurrency=concurrency)))
    seconds = monotonic() - start
    return seconds, at, refused, tries, len(given) == count and not any(one.error for one in given)


def plain(url: str, workers: int, count: int) -> float:
    """Rows a second of google-genai's own client with its own retries, in a loop or a thread pool."""
    from google import genai
    from google.genai import types
    from google.oauth2.credentials import Credentials

    retries = types.HttpRetryOptions(attempts=8, initial_delay=0.25)
    client = genai.Client(
        vertexai=True,
        project="demo-project",
        location="us-central1",
        credentials=Credentials("token"),  # type: ignore[no-untyped-call,unused-ignore]
        http_options=types.HttpOptions(base_url=url, retry_options=retries),
    )

    def one(question: GenerateRequest) -> bool:
        try:
            client.models.generate_content(model=question.model, contents=question.contents)
        except Exception:
            return False
        return True

    start = monotonic()
    with ThreadPoolExecutor(workers) as pool:
        answered = sum(pool.map(one, requests(count)))
    return answered / (monotonic() - start)


def evaluation_sdk(url: str, count: int) -> tuple[float, float]:
    """Rows a second of `client.evals.run_inference`, and the share of rows that got an answer."""
    import agentplatform
    import pandas as pd
    from google.genai import types
    from google.oauth2.credentials import Credentials

    client = agentplatform.Client(
        project="demo-project",
        location="us-central1",
        credentials=Credentials("token"),  # type: ignore[no-untyped-call,unused-ignore]
        http_options=types.HttpOptions(base_url=url),
    )
    rows = pd.DataFrame([{"prompt": one.contents[0]["parts"][0]["text"]} for one in requests(count)])
    start = monotonic()
    with contextlib.redirect_stderr(io.StringIO()):  # its progress bar
        found = client.evals.run_inference(model="gemini-2.5-flash", src=rows).eval_dataset_df
    seconds = monotonic() - start
    answered = sum(isinstance(said, str) and not said.startswith(('{"error"', "Error")) for said in found["response"])
    return answered / seconds, answered / count


def main() -> int:
    """Run the comparison; 0 when every promise is kept."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--quota", type=float, default=100.0, help="requests a second")
    parser.add_argument("--alone", action="store_true", help="leave out the simpler means")
    arguments = parser.parse_args()
    rows, quota = arguments.rows, arguments.quota
    alphanumeric_key = {"slow_rate": 1.0, "slow_seconds": LATENCY_S, "paths": "generate"}
    with emulator() as url:
        os.environ.update(
            GOOGLE_VERTEX_BASE_URL=url, GOOGLE_CLOUD_PROJECT="demo-project", GOOGLE_CLOUD_LOCATION="us-central1"
        )
        ours(16)  # loads the SDK
        set_faults(url, {**alphanumeric_key, "quota_per_minute": 60 * quota, "quota_burst": 20})
        seconds, at, refused, tries, whole = ours(rows)
        late = [moment for moment in at if 5 <= moment <= max(at) - 1]
        used = len(late) / (max(late) - 5) / quota
        share = refused / max(1, refused + len([moment for moment in at if moment >= 5]))
        print(
            f"quota {quota:g}/s, 200 ms: {rows / seconds:.0f} rows/s over all, {used:.0%} of the quota after warm-up,"
        )
        print(f"  {share:.2%} refused after warm-up, {tries} tries for {rows} rows, complete: {whole}")
        if not arguments.alone:
            compare(url, rows / seconds)
        set_faults(url, {**alphanumeric_key, **FAULTS, "quota_per_minute": 60 * quota, "quota_burst": 20})
        limited, _, _, tries, all_back = ours(rows)
        least = rows / quota
        print(f"20 % faults (429, 503, dropped) under the quota: {rows} rows in {limited:.1f} s, {tries} tries,")
        print(f"  complete: {all_back}; {limited / least:.2f} x the ideal {least:.1f} s of the quota")
        set_faults(url, {**alphanumeric_key, **FAULTS})
        faulty, _, _, tries, complete = ours(rows)
        ideal = rows * LATENCY_S / 64
        print(f"20 % faults, no quota: {rows} rows in {faulty:.1f} s, {tries} tries, complete: {complete},")
        print(f"  {faulty / ideal:.2f} x the ideal {ideal:.1f} s (64 in flight, 200 ms each, no fault)")
        set_faults(url, {})
        before = process_time()
        seconds, *_ = ours(rows)
        each = 1000 * (process_time() - before) / rows
        print(f"no fault, no wait (what client and server bear here): {rows / seconds:.0f} rows/s,")
        print(f"  {each:.1f} ms of processor time a request on our side")
        set_faults(url, alphanumeric_key)
        clean, *_ = ours(rows)
        print(f"no fault, 200 ms: {rows} rows in {clean:.1f} s; with faults {faulty / clean:.2f} x that")
    record(Figure(name="quota used after warm-up", value=100 * used, unit="%", goal=90, more_is_better=True))
    record(Figure(name="rows under a quota with 20 % faults", value=limited / least, unit="x the ideal", goal=1.5))
    record(Figure(name="request on our side", value=each, unit="CPU ms"))
    print(f"load of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    kept = used >= 0.9 and share <= 0.02 and whole and complete and all_back
    kept = kept and limited <= 1.5 * least and faulty <= 1.5 * max(ideal, clean)
    print(f"promises {'kept' if kept else 'BROKEN'}")
    return 0 if kept else 1


def _record(peer: str, ours_rate: float, rate: float) -> None:
    name = f"rows answered under a quota, beside {peer}"
    record(Figure(name=name, value=ours_rate, unit="rows/s", peer=peer, peer_value=rate, more_is_better=True))


def compare(url: str, ours_rate: float) -> None:
    """The same quota, asked by simpler means."""
    for name, workers, count in (
        ("a loop", 1, 40),
        ("a pool of 16 threads", 16, 600),
        ("a pool of 64 threads", 64, 800),
    ):
        found = plain(url, workers, count)
        name = f"google-genai in {name}"
        _record(name, ours_rate, found)
        print(f"  {name}: {found:.1f} rows/s; ours is {ours_rate / found:.1f} x that")
    sdk, answered = evaluation_sdk(url, 600)
    _record("client.evals.run_inference", ours_rate, sdk)
    print(f"  client.evals.run_inference: {sdk:.1f} rows/s, {answered:.0%} of its rows answered;", end=" ")
    print(f"ours is {ours_rate / sdk:.1f} x that")


if __name__ == "__main__":
    sys.exit(main())
