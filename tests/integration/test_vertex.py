# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The door to the service: the genuine SDK clients against a small server that answers what a test tells it to."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from time import monotonic
from typing import Any

import pytest

from gemtune import vertex
from gemtune.config import Evaluate, Vertex
from gemtune.contents import ModelOutput
from gemtune.errors import UserError
from gemtune.inference import batch
from gemtune.inference.generate import GenerateRequest
from gemtune.inference.vertex_generation import vertex_generate
from gemtune.vertex import batches, calls


class Server:
    """Answers every request with `reply` and keeps what was asked."""

    def __init__(self) -> None:
        self.reply: Any = (200, {})  # status and body, or a function of the request that tells them
        self.asked: list[tuple[str, str, Any]] = []
        kept = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                kept.asked.append((self.command, self.path, json.loads(body) if body else None))
                status, reply = kept.reply(json.loads(body or "null")) if callable(kept.reply) else kept.reply
                content = json.dumps(reply).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_PATCH = do_POST  # noqa: N815

            def log_message(self, *_: Any) -> None:
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._http.server_port}"
        threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    server = Server()
    monkeypatch.setenv("GOOGLE_VERTEX_BASE_URL", server.url)
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "demo")
    for variable in vertex.LOCATION_VARIABLES:
        monkeypatch.delenv(variable, raising=False)
    yield server
    server.close()


ENDPOINT = "projects/123/locations/us/endpoints/888"
CONTENTS = [{"role": "user", "parts": [{"text": "hi"}]}]
ANSWER = {
    "candidates": [{"content": {"role": "model", "parts": [{"text": "refund"}]}, "finishReason": "STOP"}],
    "usageMetadata": {"promptTokenCount": 5, "candidatesTokenCount": 3},
}


def ask(model: str = "gemini-2.5-flash", **changed: Any) -> ModelOutput:
    client = vertex.connect(Vertex.of({}))
    return asyncio.run(vertex.generate(client, model, "Be brief.", CONTENTS, vertex.GenerationSettings(**changed)))


def test_generate_returns_text_reason_and_tokens(server: Server) -> None:
    server.reply = (200, ANSWER)
    assert ask() == ModelOutput("refund", "STOP", "", 5, 3)
    method, path, body = server.asked[0]
    parent = "/v1beta1/projects/demo/locations/us-central1"
    assert (method, path) == ("POST", f"{parent}/publishers/google/models/gemini-2.5-flash:generateContent")
    assert body["generationConfig"]["maxOutputTokens"] == 64
    assert body["systemInstruction"]["parts"] == [{"text": "Be brief."}]


def test_generate_uses_the_full_name_of_an_endpoint(server: Server) -> None:
    server.reply = (200, ANSWER)
    ask(ENDPOINT)
    assert server.asked[0][1] == f"/v1beta1/{ENDPOINT}:generateContent"


@pytest.mark.parametrize(
    ("model", "place"),
    [(ENDPOINT, "us"), ("gemini-3.5-flash", "us"), ("gemini-2.5-flash", "us-central1"), ("unknown", "us-central1")],
)
def test_serving_location_is_where_the_model_serves(server: Server, model: str, place: str) -> None:
    assert vertex.serving_location(vertex.connect(Vertex.of({})), model) == place


LABELS = {"type": "STRING", "enum": ["refund", "cancel"]}
VERDICT = {
    "type": "OBJECT", "properties": {"reason": {"type": "STRING"}, "score": {"type": "INTEGER", "minimum": 1}},
    "required": ["reason", "score"], "propertyOrdering": ["reason", "score"],
}  # fmt: skip


@pytest.mark.parametrize("schema", [None, LABELS, VERDICT], ids=["text", "labels", "verdict"])
@pytest.mark.parametrize("logprobs", [False, True])
@pytest.mark.parametrize("base", ["gemini-2.5-flash", "gemini-3.5-flash"])
def test_batch_request_equals_the_online_request(server: Server, base: str, logprobs: bool, schema: Any) -> None:
    server.reply = (200, ANSWER)
    client = vertex.connect(Vertex.of({}))
    settings = vertex.GenerationSettings(0, 64, 0, base, 3, logprobs=logprobs, response_schema=schema)
    asyncio.run(vertex.generate(client, base, "Be brief.", CONTENTS, settings))
    wrote = batches.build_request(client, base, "Be brief.", CONTENTS, settings)
    assert batch._plain(wrote) == batch._plain(server.asked[0][2])


def test_generate_sends_a_response_schema_where_the_model_takes_one(server: Server) -> None:
    server.reply = (200, ANSWER)
    ask(response_schema=LABELS)
    ask(response_schema=VERDICT)
    ask(ENDPOINT, response_schema=LABELS)
    enumeration, json_, tuned = (body["generationConfig"] for _, _, body in server.asked)
    assert (enumeration["responseMimeType"], enumeration["responseSchema"]) == ("text/x.enum", LABELS)
    assert json_["responseMimeType"] == "application/json"
    assert list(tuned) == [key for key in tuned if not key.startswith("response")]


def test_generate_returns_logprobs_or_retries_without(server: Server) -> None:
    client = vertex.connect(Vertex.of({}))
    settings = vertex.GenerationSettings(logprobs=True)

    def answered() -> ModelOutput:
        return asyncio.run(vertex.generate(client, "gemini-2.5-flash", None, CONTENTS, settings))

    tokens = [{"token": "re", "logProbability": -0.25}, {"token": "fund", "logProbability": -0.5}]
    candidate = {**ANSWER["candidates"][0], "avgLogprobs": -9, "logprobsResult": {"chosenCandidates": tokens}}
    server.reply = (200, {"candidates": [candidate]})
    assert answered().logprob == -0.75
    assert server.asked[-1][2]["generationConfig"]["responseLogprobs"] is True
    mean = {**ANSWER["candidates"][0], "avgLogprobs": -0.5, "tokenCount": 3}
    server.reply = (200, {"candidates": [mean]})
    assert answered().logprob == -1.5
    server.reply = (200, ANSWER)
    assert answered().logprob is None

    refusal = {"code": 400, "message": "Logprobs is not supported for the current model.", "status": "INVALID_ARGUMENT"}
    server.reply = lambda body: (
        (400, {"error": refusal}) if body["generationConfig"].get("responseLogprobs") else (200, ANSWER)
    )
    server.asked.clear()
    assert answered().text == answered().text == "refund"
    assert len(server.asked) == 3  # refused once, then remembered


def test_generate_blocked_prompt_has_no_text(server: Server) -> None:
    server.reply = (200, {"candidates": [], "promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}})
    assert ask() == ModelOutput(None, "", "PROHIBITED_CONTENT", 0, 0)


def test_generate_truncated_answer_has_no_text(server: Server) -> None:
    server.reply = (200, {"candidates": [{"content": {"role": "model"}, "finishReason": "MAX_TOKENS"}]})
    assert ask().text is None
    assert ask().finish_reason == "MAX_TOKENS"


@pytest.mark.parametrize("code", [408, 429, 500, 502, 503, 504])
def test_generate_busy_service_is_transient(server: Server, code: int) -> None:
    server.reply = (code, {"error": {"code": code, "message": "later", "status": "X"}})
    with pytest.raises(calls.TransientError, match="later") as caught:
        ask()
    assert caught.value.code == code


@pytest.mark.parametrize("code", [400, 403, 404])
def test_generate_refusal_states_the_reason(server: Server, code: int) -> None:
    server.reply = (code, {"error": {"code": code, "message": "no such endpoint", "status": "X"}})
    with pytest.raises(calls.PermanentError, match="no such endpoint") as caught:
        ask()
    assert caught.value.code == code
    assert len(server.asked) == 1


def test_generate_unreachable_server_is_transient(server: Server) -> None:
    server.close()
    with pytest.raises(calls.TransientError):
        ask()


def test_generate_thinking_depends_on_the_model(server: Server) -> None:
    server.reply = (200, ANSWER)
    new = vertex.GenerationSettings.of(Evaluate.of({"base_model": "gemini-3.5-flash", "thinking_budget": 0}))
    old = vertex.GenerationSettings.of(Evaluate.of({"base_model": "gemini-2.5-flash", "thinking_budget": 0}))
    free = vertex.GenerationSettings.of(Evaluate.of({"base_model": "gemini-3.5-flash", "thinking_budget": -1}))
    client = vertex.connect(Vertex.of({}))
    for settings in (new, old, free):
        asyncio.run(vertex.generate(client, ENDPOINT, None, CONTENTS, settings))
    sent = [body["generationConfig"].get("thinkingConfig") for _, _, body in server.asked]
    assert sent == [{"thinking_level": "MINIMAL"}, {"thinking_budget": 0}, None]


@pytest.mark.parametrize(
    ("model", "base_model", "sent"),
    [
        ("gemini-2.5-flash", "", {"thinking_budget": 0}),  # a judge, or a prompt on another model than the trials
        (ENDPOINT, "gemini-2.5-flash", {"thinking_budget": 0}),  # the champion, tuned before the base model changed
        (ENDPOINT, "", {"thinking_level": "MINIMAL"}),
    ],
)
def test_thinking_is_in_the_form_of_the_model_that_is_called(
    server: Server, model: str, base_model: str, sent: dict[str, Any]
) -> None:
    server.reply = (200, ANSWER)
    generate, _ = vertex_generate(Evaluate.of({"base_model": "gemini-3.5-flash"}), Vertex.of({}))
    asyncio.run(generate(GenerateRequest("1", model, None, CONTENTS, base_model=base_model)))
    assert server.asked[-1][2]["generationConfig"]["thinkingConfig"] == sent


def test_connect_settings_override_the_environment(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_CLOUD_REGION", "europe-west4")
    assert vertex.connect(Vertex.of({})).parent == "projects/demo/locations/europe-west4"
    mine = vertex.connect(Vertex.of({"project": "mine", "location": "us-east5", "bucket": "gs://b/"}))
    assert (mine.parent, mine.bucket) == ("projects/mine/locations/us-east5", "b")


def test_connect_names_an_unknown_project(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GOOGLE_CLOUD_PROJECT", raising=False)
    with pytest.raises(UserError, match=r"set vertex\.project or GOOGLE_CLOUD_PROJECT"):
        vertex.connect(Vertex.of({}))


ASK_TWICE = """
import asyncio, gc
from gemtune import vertex
from gemtune.config import Vertex

async def ask():
    client = vertex.connect(Vertex.of({}))
    turn = [{"role": "user", "parts": [{"text": "hi"}]}]
    asks = [vertex.generate(client, "gemini-2.5-flash", None, turn, vertex.GenerationSettings()) for _ in range(30)]
    print({answer.text for answer in await asyncio.gather(*asks)})

for _ in range(2):
    asyncio.run(ask())
    gc.collect()
"""


def test_generate_closes_connections_with_the_event_loop(server: Server) -> None:
    server.reply = (200, ANSWER)
    command = [sys.executable, "-W", "always::ResourceWarning", "-c", ASK_TWICE]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    assert ran.stdout == "{'refund'}\n" * 2
    assert "unclosed" not in ran.stderr.lower()
    assert "Event loop is closed" not in ran.stderr


def test_generate_lost_connection_is_transient(monkeypatch: pytest.MonkeyPatch) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    monkeypatch.setenv("GOOGLE_VERTEX_BASE_URL", f"http://127.0.0.1:{listener.getsockname()[1]}")
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "demo")

    def half_an_answer() -> None:
        for said in (b"", b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"):
            connection, _ = listener.accept()
            connection.recv(65536)
            connection.sendall(said)
            connection.close()

    threading.Thread(target=half_an_answer, daemon=True).start()
    started = monotonic()
    for _ in range(2):
        with pytest.raises(calls.TransientError):
            ask()
    assert monotonic() - started < 5  # the SDK itself would sleep up to ten seconds before a try of its own
    listener.close()


def test_generate_timeout_is_transient(monkeypatch: pytest.MonkeyPatch) -> None:
    listener = socket.create_server(("127.0.0.1", 0))  # accepts connections, says nothing
    monkeypatch.setenv("GOOGLE_VERTEX_BASE_URL", f"http://127.0.0.1:{listener.getsockname()[1]}")
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "demo")
    with pytest.raises(calls.TransientError, match="Timeout"):
        ask(timeout_s=0.2)
    listener.close()


def test_count_tokens_calls_the_service(server: Server) -> None:
    server.reply = (200, {"totalTokens": 7})
    assert vertex.count_tokens(vertex.connect(Vertex.of({})), "gemini-2.5-flash", "s", CONTENTS) == 7
    assert server.asked[0][1].endswith(":countTokens")


@pytest.mark.parametrize(
    ("location", "host"),
    [
        ("us-central1", "us-central1-aiplatform.googleapis.com"),
        ("us", "aiplatform.us.rep.googleapis.com"),
        ("global", "aiplatform.googleapis.com"),
    ],
)
def test_service_host_depends_on_the_location(location: str, host: str) -> None:
    assert vertex.service_host(location) == host


def test_vertex_import_loads_no_sdk() -> None:
    code = "import sys, gemtune.vertex; print([m for m in sys.modules if m.startswith('google')])"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "google.genai" not in loaded
    assert "google.cloud." not in loaded
