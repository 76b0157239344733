# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""A real browser for tests of pages."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
import websocket

BROWSERS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
BROWSER = next(filter(None, map(shutil.which, BROWSERS)), None)


class Browser:
    """A headless Chromium spoken to through its debugging port."""

    def __init__(self, profile: Path, url: str) -> None:
        """Opens a page; skips the test on a machine without a browser."""
        if BROWSER is None:
            pytest.skip(f"no headless browser on this machine: none of {', '.join(BROWSERS)}")
        options = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--remote-debugging-port=0",
        ]
        extra = [f"--user-data-dir={profile}", "--remote-allow-origins=*", "--no-first-run", url]
        self.process = subprocess.Popen([BROWSER, *options, *extra], stderr=subprocess.DEVNULL)
        port_file = profile / "DevToolsActivePort"
        deadline = time.monotonic() + 60
        while not (port_file.exists() and "\n" in port_file.read_text()):
            assert time.monotonic() < deadline, "the browser did not start"
            time.sleep(0.1)
        port = port_file.read_text().split("\n")[0]
        pages = [page for page in httpx.get(f"http://127.0.0.1:{port}/json").json() if page["type"] == "page"]
        self.socket = websocket.create_connection(pages[0]["webSocketDebuggerUrl"], timeout=30)
        self.count = 0

    def evaluate(self, script: str) -> Any:
        """The value of an expression in the page."""
        self.count += 1
        params = {"expression": script, "returnByValue": True}
        self.socket.send(json.dumps({"id": self.count, "method": "Runtime.evaluate", "params": params}))
        while True:
            answer = json.loads(self.socket.recv())
            if answer.get("id") == self.count:
                return answer["result"]["result"].get("value")

    def until(self, script: str, timeout_s: float = 30) -> None:
        """Return once an expression is true."""
        deadline = time.monotonic() + timeout_s
        while not self.evaluate(script):
            assert time.monotonic() < deadline, f"never true on the page: {script}"
            time.sleep(0.2)

    def close(self) -> None:
        """End the browser."""
        self.process.terminate()
        self.process.wait(timeout=20)
