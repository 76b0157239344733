# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The newest release of each client against the emulator, each in its own environment.

Prints the table of docs/reference/clients.md.

    python -m tools.clients.run [--write] [CLIENT ...]

Each file of `python/` and `node/` is a client: its dependencies and a function for each step. `notes.json` says whose a
failure is; a failure without a note makes the exit code 1. Needs `uv`, and `npm` for the clients of Node.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote
from urllib.request import Request, urlopen

FOLDER = Path(__file__).parent
ROOT = FOLDER.parents[1]
DOCS, BUILD = ROOT / "docs" / "reference" / "clients.md", ROOT / "build" / "clients"
STEPS = ("base", "system", "stream", "schema", "tools", "tuned", "upload", "download", "list")
TIMEOUT_S = 300.0
Json = dict[str, Any]


def _request(method: str, url: str, content: bytes = b"") -> Json:
    request = Request(url, content or None, {"Content-Type": "application/json"}, method=method)
    with urlopen(request) as response:
        body: Json = json.loads(response.read() or b"{}")
        return body


@contextmanager
def emulator(scenario: Json) -> Iterator[dict[str, str]]:
    """The variables of an emulator that knows the answers, with a bucket and a tuned model."""
    answers = scenario["answers"]
    with tempfile.TemporaryDirectory() as folder:
        with_system = f"{scenario['system']}\n{scenario['prompt']}"
        ending = scenario["prompt"].partition(" ")[2]  # the whole prompt would win over the longer key
        table = {ending: answers["base"], with_system: answers["system"]}
        rules = Path(folder, "rules.json")
        rules.write_text(json.dumps({"answers": table, "base_accuracy": 1.0, "tuned_accuracy": 1.0}), "utf-8")
        options = ["--port", "0", "--state-dir", f"{folder}/state", "--engine", f"scripted:{rules}"]
        command = [sys.executable, "-m", "emulator", *options]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout
            process.stdout.readline()
            lines = iter(process.stdout.readline, "export METADATA_SERVER_DETECTION=assume-present\n")
            variables = dict(shlex.split(line)[1].split("=", 1) for line in lines)
            variables["METADATA_SERVER_DETECTION"] = "assume-present"
            try:
                _prepare(scenario, variables)
                yield {**variables, "SCENARIO": json.dumps(scenario)}
            finally:
                process.terminate()


def _prepare(scenario: Json, variables: dict[str, str]) -> None:
    url, project = variables["GOOGLE_VERTEX_BASE_URL"], variables["GOOGLE_CLOUD_PROJECT"]
    scenario |= {"url": url, "project": project, "location": variables["GOOGLE_CLOUD_LOCATION"]}
    _request("POST", f"{url}/storage/v1/b?project={project}", json.dumps({"name": scenario["bucket"]}).encode())
    turns = [("user", scenario["tuned_prompt"]), ("model", scenario["answers"]["tuned"])]
    row = json.dumps({"contents": [{"role": role, "parts": [{"text": text}]} for role, text in turns]})
    for name, content in (("train.jsonl", f"{row}\n" * 20), (scenario["stored"], scenario["content"])):
        address = f"{url}/upload/storage/v1/b/{scenario['bucket']}/o?uploadType=media&name={quote(name)}"
        _request("POST", address, content.encode("latin-1"))
    data = {"trainingDatasetUri": f"gs://{scenario['bucket']}/train.jsonl"}
    body = json.dumps({"baseModel": scenario["model"], "supervisedTuningSpec": data}).encode()
    job = _request("POST", f"{url}/v1/projects/{project}/locations/{scenario['location']}/tuningJobs", body)
    while not job["state"].endswith(("SUCCEEDED", "FAILED")):
        time.sleep(0.1)
        job = _request("GET", f"{url}/v1/{job['name']}")
    scenario["endpoint"] = job["tunedModel"]["endpoint"]


def dependencies(path: Path) -> list[str]:
    """The packages of a client, its own first: of script metadata (PEP 723), for Node of a comment."""
    text = path.read_text("utf-8")
    if path.suffix == ".mjs":
        return str(re.findall(r"(?m)^// dependencies: (.*)$", text)[0]).split()
    block = re.search(r"(?m)^# /// script\n((?:# .*\n)+?)# ///$", text)
    assert block, path
    packages: list[str] = tomllib.loads(block[1].replace("# ", ""))["dependencies"]
    return packages


def _python(path: Path) -> list[str]:
    """The command that runs a client of Python."""
    packages = dependencies(path)
    options = [option for package in packages for option in ("--with", package)]
    package = re.split(r"[\[<>=]", packages[0])[0]
    uv = ["uv", "run", "--quiet", "--isolated", "--no-project", "--refresh", "--python", sys.executable]
    return [*uv, *options, "python", str(FOLDER / "scenario.py"), str(path), package]


def _node(path: Path) -> list[str]:
    """The command that runs a client of Node, which is installed."""
    packages = dependencies(path)
    folder = BUILD / path.stem
    folder.mkdir(parents=True, exist_ok=True)
    for file in (path, FOLDER / "scenario.mjs"):
        shutil.copy(file, folder)
    newest = [f"{package}@latest" for package in packages]
    install = ["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(folder), *newest]
    subprocess.run(install, check=True)
    return ["node", "--no-warnings", str(folder / "scenario.mjs"), str(folder / path.name), packages[0]]


def run(path: Path, variables: dict[str, str]) -> Json:
    """`version`, and for each step of a client its error or ""."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("GOOGLE_", "GCE_", "STORAGE_", "PYTHONPATH"))}
    log = BUILD / f"{path.parent.name}-{path.stem}.log"
    result: Json = {"version": path.stem}
    try:
        command = _python(path) if path.suffix == ".py" else _node(path)
        with log.open("w", encoding="utf-8") as errors:
            output = subprocess.run(
                command, env=kept | variables, stdout=subprocess.PIPE, stderr=errors, text=True, timeout=TIMEOUT_S
            ).stdout
    except (OSError, subprocess.SubprocessError) as error:
        return result | {"failure": str(error)}
    for line in output.splitlines():
        if line.startswith('{"version"'):
            result |= json.loads(line)
        elif line.startswith('{"step"'):
            step = json.loads(line)
            result[step["step"]] = step["error"]
    return result if len(result) > 1 else result | {"failure": f"no step ran; see {log}"}


def table(results: dict[str, Json], notes: dict[str, dict[str, str]]) -> str:
    """The results as Markdown: ✓, ✗ with the number of a note below, – for what a client does not have."""
    lines = ["| client | " + " | ".join(STEPS) + " |", "| --- " * (len(STEPS) + 1) + "|"]
    texts: list[str] = []
    for name, result in results.items():
        cells = []
        for step in STEPS:
            if not result.get(step, "failure" if "failure" in result else None):
                cells.append("✓" if step in result else "–")
                continue
            text = notes.get(name, {}).get(step) or f"not explained: {result.get(step) or result.get('failure')}"
            if text not in texts:
                texts.append(text)
            cells.append(f"✗ {texts.index(text) + 1}")
        lines.append(f"| [{result['version']}](../../tools/clients/{name}) | " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", *(f"{n}. {text}" for n, text in enumerate(texts, 1))]).rstrip() + "\n"


def main() -> int:
    """The command; 1 when a step failed that has no note."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("clients", nargs="*", metavar="CLIENT", help="names of files, without their ending")
    parser.add_argument("--write", action="store_true", help="write the table to docs/reference/clients.md")
    arguments = parser.parse_args()
    paths = [*sorted(FOLDER.glob("python/*.py")), *sorted(FOLDER.glob("node/*.mjs"))]
    names = {path.stem for path in paths}
    if unknown := set(arguments.clients) - names:
        parser.error(f"{', '.join(sorted(unknown))}: not one of {', '.join(sorted(names))}")
    BUILD.mkdir(parents=True, exist_ok=True)
    results: dict[str, Json] = {}
    scenario = json.loads((FOLDER / "scenario.json").read_text("utf-8"))
    with emulator(scenario) as variables:
        for path in paths:
            if not arguments.clients or path.stem in arguments.clients:
                name = f"{path.parent.name}/{path.name}"
                results[name] = run(path, variables)
                print(name, json.dumps(results[name]), file=sys.stderr, flush=True)
    text = table(results, json.loads((FOLDER / "notes.json").read_text("utf-8")))
    print(text)
    if arguments.write:
        page = DOCS.read_text("utf-8")
        marked = r"(?s)(<!-- clients:begin -->\n).*?(<!-- clients:end -->)"
        DOCS.write_text(re.sub(marked, lambda match: match[1] + text + match[2], page), "utf-8")
    return int("not explained: " in text)


if __name__ == "__main__":
    sys.exit(main())
