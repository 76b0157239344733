# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Pages of other sites, foreign host names, oversized and slow requests, slow patterns; where SDKs are pointed."""

from __future__ import annotations

import contextlib
import functools
import http.server
import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from browser import Browser
from emulated import PARENT, PROJECT, ROOT, Server, genai_client, storage_client

from emulator.app import origin
from emulator.core.state import State
from emulator.services.storage import Storage

WRITES = [("PUT", "/emulator/faults"), ("POST", "/batch/storage/v1"), ("GET", f"/v1/{PARENT}/tuningJobs")]
JOBS = f"/v1/{PARENT}/tuningJobs"


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:1", "[::1]:80", "10.0.0.5", "LOCALHOST:9", "localhost."])
def test_host_of_this_machine_is_answered(server: Server, host: str) -> None:
    assert httpx.get(server.url + JOBS, headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "127.0.0.1.evil.example:8085",
        "localhost.evil.example",
        "x",
        "[evil]",
        "127.0.0.1:8085@evil.example",
        "[::1]x",
    ],
)
def test_foreign_host_is_refused_on_every_route(server: Server, host: str) -> None:
    for path in (JOBS, "/", "/emulator/health", "/storage/v1/b?project=p"):
        answer = httpx.get(server.url + path, headers={"host": host})
        assert answer.status_code == 403
        assert "--allow-host" in answer.json()["error"]["message"]


def test_allowed_host_is_answered(start: Callable[..., Server]) -> None:
    url = start("--allow-host", "emulator").url
    assert httpx.get(url + JOBS, headers={"host": "emulator:8085"}).status_code == 200
    assert httpx.get(url + JOBS, headers={"host": "other:8085"}).status_code == 403


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://localhost:1"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site", "sec-fetch-mode": "no-cors"},
    ],
)
@pytest.mark.parametrize(
    ("method", "path"), [("PUT", "/emulator/faults"), ("POST", "/batch/storage/v1"), ("GET", JOBS)]
)
def test_page_of_another_site_is_refused(server: Server, headers: dict[str, str], method: str, path: str) -> None:
    assert httpx.request(method, server.url + path, headers=headers, content=b"{}").status_code == 403
    own = httpx.get(server.url + JOBS, headers={"origin": server.url, "sec-fetch-site": "same-origin"})
    assert own.status_code == 200
    link = httpx.get(server.url, headers={"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"})
    assert link.status_code == 200


PAGE = """<script>
const url = "URL", seen = [];
async function attempt(name, path, options) {
  try {
    const answer = await fetch(url + path, options);
    seen.push(name + ":" + answer.type + ":" + (await answer.text()).length);
  } catch (error) { seen.push(name + ":refused") }
}
(async () => {
  await attempt("read", "/emulator/health", {});
  await attempt("opaque", "/emulator/health", {mode: "no-cors"});
  await attempt("put", "/emulator/faults", {method: "PUT", body: "{}"});
  for (const kind of ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"])
    await attempt("post", "/storage/v1/b?project=demo-project", {
      method: "POST", mode: "no-cors", body: '{"name": "stolen-bucket"}', headers: {"Content-Type": kind}
    });
  const form = document.createElement("form"), frame = document.createElement("iframe");
  frame.name = "f"; document.body.append(frame, form);
  form.target = "f"; form.method = "POST"; form.enctype = "text/plain"; form.action = url + "/storage/v1/b?project=p";
  const field = document.createElement("input"); field.name = '{"name": "form-bucket", "x": "'; field.value = '"}';
  form.append(field); form.submit();
  await new Promise(done => setTimeout(done, 1500));
  document.title = "done";
})();
</script><body></body>"""


def test_browser_page_of_another_origin_neither_reads_nor_writes(server: Server, tmp_path: Path) -> None:
    site = tmp_path / "site"
    site.mkdir()
    (site / "index.html").write_text(PAGE.replace("URL", server.url))
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(site))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as other:
        threading.Thread(target=other.serve_forever, daemon=True).start()
        browser = Browser(tmp_path / "profile", f"http://localhost:{other.server_address[1]}/index.html")
        try:
            browser.until("document.title == 'done'")
            seen = browser.evaluate("JSON.stringify(seen)")
        finally:
            browser.process.terminate()
            other.shutdown()
    assert len(json.loads(seen)) == 6
    assert [entry for entry in json.loads(seen) if not entry.endswith((":refused", ":opaque:0"))] == []
    assert [b.name for b in storage_client(server.url).list_buckets()] == []


def test_batch_takes_storage_requests_alone(server: Server) -> None:
    def batch(kind: str, line: str) -> httpx.Response:
        body = f"--x\r\nContent-Type: application/http\r\n\r\n{line}\r\n\r\n\r\n--x--"
        return httpx.post(
            f"{server.url}/batch/storage/v1", content=body, headers={"content-type": f"{kind}; boundary=x"}
        )

    assert "HTTP/1.1 200" in batch("multipart/mixed", "GET /storage/v1/b?project=p HTTP/1.1").text
    refused = batch("multipart/mixed", f"GET {JOBS} HTTP/1.1").text
    assert "HTTP/1.1 400" in refused
    assert "/storage/v1/" in refused
    assert "HTTP/1.1 400" in batch("multipart/mixed", "DELETE /emulator/faults HTTP/1.1").text
    assert batch("multipart/form-data", "GET /storage/v1/b?project=p HTTP/1.1").status_code == 400


def test_request_above_the_size_limit_is_refused(server: Server) -> None:
    url = f"{server.url}/v1/{PARENT}/publishers/google/models/gemini-2.5-flash:generateContent"
    with socket.create_connection(("127.0.0.1", int(server.url.rsplit(":", 1)[1]))) as connection:
        head = f"POST {url.partition(server.url)[2]} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {1 << 40}\r\n\r\n"
        connection.sendall(head.encode())
        assert connection.recv(100).startswith(b"HTTP/1.1 413")

    def chunks() -> Any:
        for _ in range(origin.MAX_REQUEST_BYTES // (1 << 20) + 2):
            yield b" " * (1 << 20)

    with contextlib.suppress(httpx.TransportError):  # the answer may meet the rest of the body
        assert httpx.post(url, content=chunks()).status_code == 413
    assert httpx.get(server.url + JOBS).status_code == 200


def test_slow_headers_and_bodies_end_the_connection(tmp_path: Path) -> None:
    program = "import emulator.app.cli as cli, emulator.app.origin as origin; "  # arguments: those of the process
    program += "cli.HEADER_TIMEOUT_S = origin.BODY_TIMEOUT_S = 0.5; cli.main()"
    process = subprocess.Popen(
        [sys.executable, "-c", program, "--engine", "scripted", "--port", "0", "--state-dir", str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    try:
        assert process.stdout is not None
        match = re.search(r":(\d+)", process.stdout.readline().partition("http")[2])
        assert match
        with socket.create_connection(("127.0.0.1", int(match[1])), timeout=10) as connection:
            connection.sendall(b"GET /emulator/health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert connection.recv(1000).startswith(b"HTTP/1.1 200")
            begun = time.monotonic()
            connection.sendall(b"GET / HTTP/1.1\r\nX-Slow: ")
            with contextlib.suppress(ConnectionError):
                while connection.recv(100):
                    pass
            assert time.monotonic() - begun < 5
        head = f"POST {JOBS} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 900\r\n\r\n"
        with socket.create_connection(("127.0.0.1", int(match[1])), timeout=0.1) as connection:
            connection.sendall(head.encode())
            begun, answer = time.monotonic(), b""
            with contextlib.suppress(ConnectionError):
                while time.monotonic() - begun < 10:  # a byte each tenth of a second
                    connection.sendall(b" ")
                    with contextlib.suppress(TimeoutError):
                        received = connection.recv(100)
                        answer += received
                        if not received:
                            break
            assert time.monotonic() - begun < 5
            assert answer.startswith(b"HTTP/1.1 408")
    finally:
        process.kill()
        process.wait()


SLOW = ["(a+)+$", "(a|a)*b", "(.*)*x", "(a{0,50}){0,50}!"]


@pytest.mark.parametrize("pattern", SLOW)
def test_fault_patterns_match_in_linear_time(server: Server, pattern: str) -> None:
    begun = time.monotonic()
    httpx.put(f"{server.url}/emulator/faults", json={"paths": pattern, "error_rate": 0.5})
    httpx.get(f"{server.url}/v1/{'a' * 5000}!")
    httpx.delete(f"{server.url}/emulator/faults")
    assert time.monotonic() - begun < 2


def test_globs_and_filters_match_in_linear_time(tmp_path: Path) -> None:
    storage = Storage(tmp_path)
    storage.create_bucket("b-1", "1", {})
    storage.write("b-1", "a" * 900, b"")
    begun = time.monotonic()
    assert storage.list("b-1", glob="*a" * 30 + "b").objects == ()
    assert storage.list("b-1", glob="{" + "{a,a}," * 20 + "a}" + "*a" * 20 + "b").objects == ()
    assert time.monotonic() - begun < 2


def test_walk_reads_labels_from_the_index(tmp_path: Path) -> None:
    state = State(tmp_path)
    for number in range(250):
        labels = {"run": f"r{number % 50}", "even": str(number % 2 == 0).lower()}
        state.put("tuningJobs", f"p/tuningJobs/{number}", {"name": str(number), "labels": labels})
    found = [item["name"] for _, item in state.walk("tuningJobs", "p", labels=[("run", "r7"), ("even", "false")])]
    assert found == ["207", "157", "107", "57", "7"]
    state.update("p/tuningJobs/57", labels={"run": "r8"})
    state.delete("p/tuningJobs/7")
    assert [item["name"] for _, item in state.walk("tuningJobs", "p", labels=[("run", "r7")])] == ["207", "157", "107"]
    assert [number for number, _ in state.walk("tuningJobs", before=3)] == [2, 1]
    assert len(list(state.walk("tuningJobs", "p"))) == 249
    state.close()


FORMS = [
    "genai.Client()",
    "genai.Client(vertexai=True)",
    "genai.Client(project='demo-project', location='us-central1')",
    "genai.Client(vertexai=True, project='demo-project', location='us-central1')",
    "genai.Client(http_options={'api_version': 'v1'})",
    "genai.Client(enterprise=True)",
]
CLOSED = """
import json, socket, sys
hosts = []
genuine = socket.getaddrinfo
def getaddrinfo(host, *arguments, **options):
    hosts.append(str(host))
    if host not in ("127.0.0.1", "localhost"):
        raise OSError("closed network")
    return genuine(host, *arguments, **options)
socket.getaddrinfo = getaddrinfo
from google import genai
import google.auth
from google.oauth2.credentials import Credentials
google.auth.default = lambda *_, **__: (Credentials("any-token"), "demo-project")
said = {}
for form in json.loads(sys.argv[1]):
    try:
        client = eval(form)
        said[form] = client.models.generate_content(model="gemini-2.5-flash", contents="hello").text
    except Exception as error:
        said[form] = str(error)
print(json.dumps({"hosts": sorted(set(hosts)), "said": said}))
"""


def test_printed_environment_never_leads_to_the_real_service(start: Callable[..., Server]) -> None:
    server = start()
    exports = server.exports
    assert {"GOOGLE_GEMINI_BASE_URL", "GOOGLE_VERTEX_BASE_URL", "STORAGE_EMULATOR_HOST"} <= set(exports)
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("GOOGLE_", "GEMINI_", "CLOUDSDK_"))}
    done = subprocess.run(
        [sys.executable, "-c", CLOSED, json.dumps(FORMS)],
        env=kept | exports,
        capture_output=True,
        text=True,
        check=True,
    )
    result = json.loads(done.stdout)
    assert set(result["hosts"]) <= {"127.0.0.1", "localhost"}
    explicit = result["said"][FORMS[3]]
    assert "error" not in explicit.lower()
    others = [answer for form, answer in result["said"].items() if answer != explicit]
    assert all("pass project= and location=" in answer or "unexpected keyword" in answer for answer in others), others


def test_lost_response_was_acted_upon(start: Callable[..., Server]) -> None:
    url = start().url
    httpx.put(f"{url}/emulator/faults", json={"lost_rate": 1.0, "paths": "schedules$|/b$"})
    with pytest.raises(httpx.HTTPError):
        httpx.post(f"{url}/storage/v1/b", params={"project": PROJECT}, json={"name": "lost-bucket"})
    httpx.delete(f"{url}/emulator/faults")
    assert [bucket.name for bucket in storage_client(url).list_buckets()] == ["lost-bucket"]
    assert genai_client(url).models.generate_content(model="gemini-2.5-flash", contents="x").text
