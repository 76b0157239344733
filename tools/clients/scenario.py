# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The scenario in the process of one Python client: `python scenario.py CLIENT.py PACKAGE` prints a line for each step.

A client's module has a function for each step that the client has. Its argument is the scenario of `run.py`; what it
returns is checked here. `upload` returns nothing, or the bytes of what is no object of the bucket.
"""

from __future__ import annotations

import asyncio
import importlib.metadata
import importlib.util
import inspect
import json
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote
from urllib.request import urlopen

SCENARIO = SimpleNamespace(**json.loads(os.environ["SCENARIO"]))
SCENARIO.content = SCENARIO.content.encode("latin-1")


def stored(name: str) -> bytes:
    """The bytes of an object of the bucket."""
    url = f"{SCENARIO.url}/storage/v1/b/{SCENARIO.bucket}/o/{quote(name, safe='')}"
    with urlopen(url + "?alt=media") as response:
        return bytes(response.read())


CHECKS: dict[str, Callable[[Any], bool]] = {
    "base": lambda value: value == SCENARIO.answers["base"],
    "system": lambda value: value == SCENARIO.answers["system"],
    "stream": lambda value: "".join(value) == SCENARIO.answers["base"],
    "schema": lambda value: set(value) == {"label", "confidence"} and value["label"] in SCENARIO.labels,
    "tools": lambda value: list(value) == [SCENARIO.function],
    "tuned": lambda value: value == SCENARIO.answers["tuned"],
    "upload": lambda value: (value or stored(SCENARIO.uploaded)) == SCENARIO.content,
    "download": lambda value: value == SCENARIO.content,
    "list": lambda value: SCENARIO.stored in list(value),
}


def main(path: Path, name: str) -> None:
    """Run each step of a client, whose package has this name."""
    print(json.dumps({"version": f"{name} {importlib.metadata.version(name)}"}), flush=True)
    spec = importlib.util.spec_from_file_location("client", path)
    assert spec
    assert spec.loader
    client = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(client)
    for step, check in CHECKS.items():
        function = getattr(client, step + "_" if step == "list" else step, None)
        if function is None:
            continue
        try:
            value: Any = function(SCENARIO)
            value = asyncio.run(value) if inspect.iscoroutine(value) else value
            error = "" if check(value) else f"unexpected: {value!r}"
        except Exception as problem:
            traceback.print_exc()
            error = f"{type(problem).__name__}: {problem}"
        print(json.dumps({"step": step, "error": error[:300]}), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
