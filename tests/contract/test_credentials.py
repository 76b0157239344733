# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Genuine clients with default credentials and nothing but the printed variables; no other host is even looked up."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from emulated import PARENT, PROJECT, Server

MODEL = "gemini-2.5-flash"
CALL = f"{PARENT}/publishers/google/models/{MODEL}:generateContent"
BODY = {"contents": [{"parts": [{"text": "where is my parcel"}]}]}
# runs in a process of its own: the libraries read the variables when they are imported
PRELUDE = """
import json, socket
hosts, lookup = set(), socket.getaddrinfo
def watched(host, *rest, **more):
    hosts.add(host if isinstance(host, str) else host.decode())
    return lookup(host, *rest, **more)
socket.getaddrinfo = watched
import google.auth
scopes = ["https://www.googleapis.com/auth/cloud-platform"]
credentials, project = google.auth.default(scopes=scopes)
from google import genai
from google.cloud import storage
"""
CLIENTS = """
client = genai.Client(vertexai=True, project=project, location="us-central1")
text = client.models.generate_content(model="gemini-2.5-flash", contents="where is my parcel").text
import asyncio
asyncio.run(client.aio.models.generate_content(model="gemini-2.5-flash", contents="x"))
list(storage.Client(project=project).list_buckets())
from google.cloud import aiplatform
import os
url = os.environ["GOOGLE_VERTEX_BASE_URL"]
aiplatform.init(project=project, location="us-central1", api_endpoint=url, api_transport="rest")
aiplatform.Endpoint.list()
print(json.dumps([text, project, type(credentials).__module__, sorted(hosts)]))
"""


def run_clients(server: Server, program: str = PRELUDE + CLIENTS, **changes: str) -> list[object]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("GOOGLE_", "GCE_", "NO_GCE", "STORAGE_"))}
    environment |= {**server.exports, **changes, "HOME": str(server.state_dir)}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    values: list[object] = json.loads(done.stdout.splitlines()[-1])
    return values


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory):  # type: ignore[no-untyped-def]
    running = Server(tmp_path_factory.mktemp("s") / "state", "--engine", "scripted", "--require-credentials")
    yield running
    running.kill()


def test_default_credentials_of_the_file(strict: Server) -> None:
    text, project, kind, hosts = run_clients(strict)
    assert text == "where is my parcel"
    assert (project, kind) == (PROJECT, "google.auth.identity_pool")
    assert hosts == ["127.0.0.1"]


def test_default_credentials_of_the_metadata_server(strict: Server) -> None:
    text, project, kind, hosts = run_clients(strict, GOOGLE_APPLICATION_CREDENTIALS="", GOOGLE_CLOUD_PROJECT="")
    assert text == "where is my parcel"
    assert (project, kind) == (PROJECT, "google.auth.compute_engine.credentials")
    assert hosts == ["127.0.0.1"]


@pytest.mark.difference(
    "credentials", "401 without a valid token", "none are needed; a 401 without any with `--require-credentials`"
)
def test_calls_without_credentials_are_refused_where_required(strict: Server, start: Callable[..., Server]) -> None:
    refused = httpx.post(f"{strict.url}/v1/{CALL}", json=BODY)
    assert (refused.status_code, refused.json()["error"]["status"]) == (401, "UNAUTHENTICATED")
    assert "missing required authentication credential" in refused.json()["error"]["message"]
    for headers in ({"Authorization": "Bearer t"}, {"x-goog-api-key": "k"}):
        assert httpx.post(f"{strict.url}/v1/{CALL}", json=BODY, headers=headers).status_code == 200
    assert httpx.get(f"{strict.url}/v1/{PARENT}/tuningJobs").status_code == 401
    assert httpx.get(f"{strict.url}/storage/v1/b?project=p").status_code == 200
    assert httpx.get(f"{strict.url}/emulator/health").json() == {"ready": True}
    assert httpx.post(f"{start().url}/v1/{CALL}", json=BODY).status_code == 200


def test_token_endpoint_and_metadata_server(strict: Server) -> None:
    for grant in ("refresh_token", "urn:ietf:params:oauth:grant-type:jwt-bearer"):
        answer = httpx.post(f"{strict.url}/token", data={"grant_type": grant, "assertion": "x"}).json()
        assert answer["access_token"]
        assert (answer["token_type"], answer["expires_in"]) == ("Bearer", 3600)
    assert httpx.post(f"{strict.url}/token", data={"grant_type": "x"}).json()["error"] == "unsupported_grant_type"
    base, flavor = f"{strict.url}/computeMetadata/v1", {"Metadata-Flavor": "Google"}
    assert httpx.get(f"{base}/project/project-id").status_code == 403
    assert httpx.get(f"{base}/project/project-id", headers=flavor).text == PROJECT
    account = httpx.get(f"{base}/instance/service-accounts/default/?recursive=true", headers=flavor).json()
    assert account["scopes"] == ["https://www.googleapis.com/auth/cloud-platform"]
    token = httpx.get(f"{base}/instance/service-accounts/{account['email']}/token", headers=flavor)
    assert token.json()["access_token"]
    assert token.headers["metadata-flavor"] == "Google"
    assert httpx.get(f"{base}/instance/none", headers=flavor).status_code == 404


def test_credentials_file_is_in_the_state_directory(strict: Server) -> None:
    path = Path(strict.exports["GOOGLE_APPLICATION_CREDENTIALS"])
    assert path.parent == strict.state_dir.resolve()
    assert json.loads(path.read_text())["token_url"] == f"{strict.url}/token"
