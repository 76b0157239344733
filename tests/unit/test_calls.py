"""What failures of Google's services mean, which calls are sent again, and that no call goes past that."""

from __future__ import annotations

import ast
import http.client
import json
import socket
import ssl
from pathlib import Path

import aiohttp
import google.api_core.exceptions as core
import google.auth.exceptions as auth
import httpx
import httpx2
import pytest
import requests
import tenacity
import urllib3.exceptions
from google.genai import errors as genai_errors
from google.resumable_media import DataCorruption

from gemtune.errors import UserError
from gemtune.vertex import calls
from gemtune.vertex.calls import PermanentError, TransientError, retried, translate_errors

ROOT = Path(__file__).parents[2] / "gemtune"
CONNECTION = [
    requests.exceptions.ChunkedEncodingError("cut"),
    requests.exceptions.ContentDecodingError("gzip"),
    requests.exceptions.ConnectionError("reset"),
    requests.exceptions.ReadTimeout("slow"),
    requests.exceptions.JSONDecodeError("cut", "{", 1),
    requests.exceptions.SSLError("bad record"),
    requests.exceptions.ProxyError("proxy"),
    urllib3.exceptions.IncompleteRead(1, 2),
    urllib3.exceptions.ProtocolError("cut"),
    urllib3.exceptions.ReadTimeoutError(None, "/", "slow"),
    http.client.IncompleteRead(b"x", 5),
    http.client.RemoteDisconnected("gone"),
    httpx.ReadError("reset"),
    httpx.RemoteProtocolError("cut"),
    httpx.ConnectTimeout("slow"),
    httpx.DecodingError("gzip"),
    httpx2.ConnectError("refused"),  # of google-genai 3
    httpx2.RemoteProtocolError("cut"),
    httpx2.ReadTimeout("slow"),
    aiohttp.ClientPayloadError("cut"),
    aiohttp.ServerDisconnectedError("gone"),
    aiohttp.ClientOSError("refused"),
    TimeoutError("slow"),
    TimeoutError(),
    ConnectionResetError("reset"),
    BrokenPipeError("pipe"),
    ssl.SSLError("record"),
    socket.gaierror("no such host"),
    json.JSONDecodeError("cut", "{", 1),
    auth.TransportError("unreachable"),
    core.RetryError("given up", None),
    DataCorruption(None, "checksum"),
    genai_errors.UnknownApiResponseError("not JSON"),
]


@pytest.mark.parametrize("error", CONNECTION, ids=lambda error: f"{type(error).__module__}.{type(error).__name__}")
def test_translated_takes_every_trouble_of_a_connection_as_transient(error: Exception) -> None:
    found = calls.translated(error)
    assert isinstance(found, TransientError)
    assert found.code == 0


@pytest.mark.parametrize("code", [400, 401, 403, 404, 408, 409, 412, 416, 429, 499, 500, 501, 502, 503, 504])
def test_translated_goes_by_the_status_for_every_sdk(code: int) -> None:
    wanted = TransientError if code in (408, 429, 500, 502, 503, 504) else PermanentError
    for error in (
        core.from_http_status(code, "said no"),
        genai_errors.APIError(code, {"error": {"message": "said no"}}),
    ):
        found = calls.translated(error)
        assert type(found) is wanted
        assert found.code == code
        assert "said no" in str(found)


@pytest.mark.parametrize(
    "error",
    [
        requests.exceptions.MissingSchema("no http://"),
        httpx.UnsupportedProtocol("ftp"),
        httpx2.UnsupportedProtocol("ftp"),
        FileNotFoundError("no file"),
        PermissionError("not mine"),
        OSError(28, "no space left on device"),
        ValueError("bad"),
        KeyError("k"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_translated_leaves_other_errors_unchanged(error: Exception) -> None:
    assert calls.translated(error) is error


@pytest.mark.parametrize("error", [auth.DefaultCredentialsError("none"), auth.RefreshError("expired")])
def test_translated_explains_credentials(error: Exception) -> None:
    assert "gcloud auth application-default login" in str(calls.translated(error))
    with pytest.raises(UserError, match="no usable Google credentials"):
        translate_errors(lambda: (_ for _ in ()).throw(error))


def test_retried_calls_again_on_transient_errors_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(tenacity.nap.time, "sleep", pauses.append)
    seen: list[str] = []

    @retried
    def call(fail: list[Exception]) -> str:
        seen.append("x")
        if fail:
            raise fail.pop(0)
        return "answer"

    assert call([TransientError("busy"), TransientError("busy")]) == "answer"
    assert len(seen) == 3
    assert len(pauses) == 2
    for error in (PermanentError(404, "gone"), UserError("no"), ValueError("bad")):
        seen.clear()
        with pytest.raises(type(error)):
            call([error])
        assert len(seen) == 1
    seen.clear()
    with pytest.raises(TransientError):
        call([TransientError("busy")] * 50)
    assert len(seen) == calls.ATTEMPTS
    assert max(pauses) <= calls.LONGEST_PAUSE_S + 0.2


def test_retried_inside_another_does_not_multiply_attempts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tenacity.nap.time, "sleep", lambda _: None)
    seen: list[str] = []

    @retried
    def inner() -> None:
        seen.append("x")
        raise TransientError("busy")

    @retried
    def outer() -> None:
        inner()

    with pytest.raises(TransientError):
        outer()
    assert len(seen) == calls.ATTEMPTS


NOT_RETRIED = {
    "read_if_changed": "one attempt: the caller has a record to go on with",
    "generate": "rate control sends it again",
    "create": "not idempotent: the caller looks for the job first",
    "require_credentials": "constructs clients",
    "async_genai": "constructs a client",
    "_cached": "constructs a client",
    "_create": "inside get_or_create",
    "_call": "BigQuery retries by itself (DEFAULT_RETRY)",
}


def _decorated(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    return any(isinstance(name, ast.Name) and name.id == "retried" for name in function.decorator_list)


def _calls(node: ast.AST) -> set[str]:
    """Names of what is called in a function, but for retried functions inside it."""
    found: set[str] = set()
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef) and _decorated(child):
            continue
        if isinstance(child, ast.Call) and isinstance(child.func, ast.Name | ast.Attribute):
            found.add(child.func.id if isinstance(child.func, ast.Name) else child.func.attr)
        found |= _calls(child)
    return found


def test_every_call_to_a_service_is_translated_and_retried() -> None:
    """Each function of gemtune.vertex that translates errors of an SDK is retried, or used only by those that are."""
    functions = {}
    for path in (ROOT / "vertex").glob("*.py"):
        if path.name != "calls.py":
            tree = ast.parse(path.read_text(encoding="utf-8"))
            named = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
            functions |= {f"{path.stem}.{node.name}": node for node in named}
    sends = {name for name, node in functions.items() if _calls(node) & {"translate_errors"}}
    assert len(sends) > 25
    covered = {name for name, node in functions.items() if _decorated(node)}
    while True:  # a private function is covered when all that call it in its module are
        more = set()
        for name in functions.keys() - covered:
            module, _, short = name.partition(".")
            siblings = {other: node for other, node in functions.items() if other.startswith(f"{module}.")}
            callers = {other for other, node in siblings.items() if other != name and short in _calls(node)}
            if short.startswith("_") and callers and callers <= covered:
                more.add(name)
        if not more:
            break
        covered |= more
    left = {name for name in sends - covered if name.partition(".")[2] not in NOT_RETRIED}
    assert left == set()


SDK_METHODS = {
    "generate_content", "count_tokens", "embed_content", "tune", "blob", "download_as_bytes", "upload_from_string",
    "upload_from_filename", "download_to_filename", "list_blobs", "create_bucket", "get_model", "get_endpoint",
    "merge_version_aliases", "deploy_model", "undeploy_model", "get_context", "list_tensorboard_runs",
    "evaluate_instances", "inspect_content", "list_rows", "get_table",
}  # fmt: skip


def test_only_vertex_calls_an_sdk() -> None:
    """No module outside gemtune.vertex calls a method of Google's SDKs (those of `gemtune.vertex` have other names)."""
    found = {
        f"{path.relative_to(ROOT)}: {name}"
        for path in ROOT.rglob("*.py")
        if "vertex" not in path.relative_to(ROOT).parts
        for name in _calls(ast.parse(path.read_text(encoding="utf-8"))) & (SDK_METHODS - {"count_tokens", "tune"})
    }
    assert found == set()
