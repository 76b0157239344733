# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The end of a run: leftovers, notification, and the deadline that a step keeps."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from gemtune.state import endpoints
from gemtune.steps import DEADLINE, finish_run
from gemtune.vertex import Client, calls, storage

ERROR = ("FAILED", "step split failed", "projects/1/locations/us-central1/pipelineJobs/x")


@pytest.fixture
def chat() -> Iterator[HTTPServer]:
    """A chat's webhook; `posted` are its messages, a path of /refuse is refused, of /busy once."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            server.posted.append(json.loads(body))  # type: ignore[attr-defined]
            busy = self.path == "/busy" and len(server.posted) < 2  # type: ignore[attr-defined]
            self.send_response(403 if self.path == "/refuse" else 503 if busy else 200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    server.posted = []  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("runs", ["failed", "all"])
def test_finish_run_posts_how_the_run_ended(client: Client, chat: Any, runs: str, caplog: Any) -> None:
    notify = {"webhook": f"http://127.0.0.1:{chat.server_port}/secret", "runs": runs}
    with caplog.at_level("INFO", "gemtune"):
        finish_run.run("ended", "", *ERROR, notify=notify, vertex={})
        finish_run.run("ended", "", "SUCCEEDED", "", ERROR[2], notify=notify, vertex={})
    texts = [f"ended: the run failed ({ERROR[2]})", f"ended: the run ended ({ERROR[2]})"]
    assert chat.posted == [{"text": text} for text in texts[: 1 if runs == "failed" else 2]]
    assert "secret" not in caplog.text


def test_finish_run_reads_a_secret_webhook_from_the_bucket(client: Client, chat: Any, tmp_path: Path) -> None:
    (tmp_path / "url").write_text(f"http://127.0.0.1:{chat.server_port}/secret\n")
    uri = f"gs://{storage.bucket(client).name}/webhook"
    storage.put(client, tmp_path / "url", uri)
    finish_run.run("ended", "", *ERROR, notify={"webhook": uri}, vertex={})
    assert len(chat.posted) == 1


@pytest.mark.parametrize(("path", "posts"), [("busy", 2), ("refuse", 1)])
def test_finish_run_posts_again_only_what_may_succeed_later(client: Client, chat: Any, path: str, posts: int) -> None:
    notify = {"webhook": f"http://127.0.0.1:{chat.server_port}/{path}"}
    finish_run.run("ended", "", *ERROR, notify=notify, vertex={})
    assert chat.posted == [{"text": f"ended: the run failed ({ERROR[2]})"}] * posts


@pytest.mark.parametrize("address", ["http://127.0.0.1:1/secret", "gs://gone/webhook", "chat/refuse"])
def test_finish_run_logs_what_fails_and_does_not_fail_the_run(
    client: Client, chat: Any, address: str, caplog: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calls, "ATTEMPTS", 2)
    url = address.replace("chat", f"http://127.0.0.1:{chat.server_port}")
    with caplog.at_level("INFO", "gemtune"):
        finish_run.run("ended", "", *ERROR, notify={"webhook": url}, vertex={})
    assert "the end of the run is not complete" in caplog.text
    assert "done: ended: the run failed; step split failed" in caplog.text
    assert "/secret" not in caplog.text
    assert "/refuse" not in caplog.text


def test_finish_run_undeploys_leftovers(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    cleaned = []
    monkeypatch.setattr(endpoints, "cleanup", lambda client, name: cleaned.append((name, client.bucket)))
    for form in ("", "of-the-form"):
        finish_run.run("ended", form, *ERROR, notify={}, vertex={"bucket": "of-the-section"})
    assert cleaned == [("ended", "of-the-section"), ("ended", "of-the-form")]


@pytest.mark.parametrize(("deadline", "code"), [("0.1", -15), ("", 0)])
def test_step_ends_itself_at_its_deadline(deadline: str, code: int) -> None:
    program = "import gemtune.steps, time; time.sleep(1)"
    env = {**os.environ, **({DEADLINE: deadline} if deadline else {})}
    done = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True)
    assert done.returncode == code
    assert ("steps.NAME.deadline_h" in done.stderr) == (code != 0)
