# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""A real browser for tests of pages."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
import websocket

BROWSERS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
AXE = os.environ.get("AXE", "")
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
        self.messages: list[str] = []
        """What the page wrote to the console, and exceptions."""
        self.requests: list[str] = []
        for domain in ("Runtime", "Log", "Network", "Page"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> Any:
        """The result of a command of the debugging protocol; keeps what the page reports in the meantime."""
        self.count += 1
        self.socket.send(json.dumps({"id": self.count, "method": method, "params": params}))
        while True:
            answer = json.loads(self.socket.recv())
            if answer.get("id") == self.count:
                return answer["result"]
            if answer.get("method") in ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded"):
                self.messages.append(json.dumps(answer["params"])[:500])
            if answer.get("method") == "Network.requestWillBeSent":
                self.requests.append(answer["params"]["request"]["url"])

    def evaluate(self, script: str) -> Any:
        """The value of an expression in the page; of a promise, its result."""
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        return answer["result"].get("value")

    def open(self, url: str) -> None:
        """Open another page, once it is loaded."""
        self.call("Page.navigate", url=url)
        self.until(f"location.href == {url!r} && document.readyState == 'complete'")

    def show(self, width: int, dark: bool = False) -> None:
        """Set the width of the window in pixels, and the colours that the reader prefers."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=1, mobile=width < 500
        )
        self.call("Emulation.setEmulatedMedia", features=[scheme])

    def assert_sound(self) -> None:
        """No message, no sideways scroll on a phone, and with AXE=axe.min.js in the environment no violation there."""
        for width, dark in ((1280, False), (1280, True), (360, False)):
            self.show(width, dark)
            assert self.evaluate("document.documentElement.scrollWidth") <= width
            if AXE:
                self.evaluate(f"{Path(AXE).read_text('utf-8')}; 0")
                run = "axe.run(document, {resultTypes: ['violations']})"
                violations = self.evaluate(f"{run}.then(r => r.violations.map(v => v.id + ' ' + v.nodes[0].html))")
                assert violations == [], violations
        self.show(1280)
        assert not self.messages, self.messages

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
