# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""A compiled pipeline on kfp's local runner, in a process of its own that reports events as JSON lines.

`python -m pipelines.kfp_local_events FOLDER STEPS` runs `FOLDER/pipeline.yaml` with kfp's `SubprocessRunner` and writes
one event per line to standard output: `start`, `line` (what a step logs through the `gemtune` logger) and `finish` of
each step, then `end`. Everything else a step prints goes to `FOLDER/logs/<n>-<step>.log`; numbers go on after STEPS,
those of an earlier attempt. kfp 2.17 offers no hook for this, so the one function that starts a step's process is
replaced, by `pipelines.step_server`, and the one that colours names; `tests/pipeline` would notice a kfp that renamed
it. kfp's cache, here one for each run, skips the steps that an earlier attempt finished; it holds for all steps, also
those that a new run must not take from an earlier run.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import signal
import sys
import threading
import urllib.request
import warnings
from pathlib import Path
from typing import Any, TextIO

from gemtune.errors import actionable
from pipelines.step_server import StepServer
from pipelines.steps import steady_time

PIPELINE, ARGUMENTS, STARTED = "pipeline.yaml", "arguments.json", "start.json"
LINE = re.compile(r"^\[KFP Executor [^\]]*\]: ((?:done|progress|note|score): .*)$")


class Observer:
    """Runs steps as kfp's own function does, and reports them as events."""

    def __init__(self, events: TextIO, folder: Path, earlier: int, server: StepServer) -> None:
        self._events, self._folder, self._server = events, folder, server
        self._numbers, self._lock = itertools.count(earlier + 1), threading.Lock()
        self._ending = threading.Event()

    def emit(self, **event: Any) -> None:
        """Write one event; whole lines, whatever the thread."""
        with self._lock:
            self._events.write(json.dumps({"time": steady_time(), **event}) + "\n")
            self._events.flush()
        if event["event"] in ("start", "finish"):
            state = {None: "RUNNING", 0: "SUCCEEDED"}.get(event.get("code"), "FAILED")
            self.report({"states": {event["step"].split("[")[0]: state}})
        elif event["event"] == "end":
            self.report({"state": "FAILED" if event["code"] else "SUCCEEDED"})

    def report(self, facts: dict[str, Any]) -> None:
        """Send the run's specification, the states of its steps, or its own, to the page that shows them."""
        url = f"{os.environ.get('GOOGLE_VERTEX_BASE_URL')}/emulator/runs/{self._folder.resolve().name}"
        body = json.dumps(facts, default=str).encode()
        with contextlib.suppress(OSError, ValueError):  # the run does not depend on it
            request = urllib.request.Request(url, body, {"Content-Type": "application/json"}, method="PUT")
            urllib.request.urlopen(request, timeout=2).close()

    def end(self, *_: object) -> None:
        """Start no further step; those that run have had the same signal, and their last output is read to the end."""
        self._ending.set()

    def run(self, full_command: list[str], env_vars: dict[str, str] | None = None) -> int:
        """Run a step's process (the signature is kfp's `run_local_subprocess`)."""
        if self._ending.is_set():
            return 1
        inputs: dict[str, Any] = json.loads(full_command[full_command.index("--executor_input") + 1])
        number, step = next(self._numbers), _step_name(inputs)
        log = self._folder / "logs" / f"{number:02d}-{step}.log"
        self.emit(event="start", number=number, step=step, about=_about(inputs), log=str(log))
        output, ended = self._server.start(full_command, {**os.environ, **(env_vars or {})})
        code, last = 1, "the process that starts the steps has ended; see logs/kfp.log"
        try:
            with output, ended, log.open("w", encoding="utf-8") as out:
                for line in output:
                    out.write(line)
                    out.flush()
                    last = line.strip() or last
                    if match := LINE.match(line.rstrip("\n")):
                        self.emit(event="line", number=number, step=step, text=match[1])
                code = int(ended.read() or 1)
            if code == 0:
                _complete(inputs)
        except OSError as error:  # such as a full disk
            code, last = 1, str(actionable(error, log))
            self.emit(event="finish", number=number, step=step, code=code, last=last)
            self.emit(event="end", code=code, error=last)  # kfp would wait for other steps
            return code
        self.emit(event="finish", number=number, step=step, code=code, last="" if code == 0 else last)
        return code


def _complete(inputs: dict[str, Any]) -> None:
    """Create the files of artifacts that are only metadata (metrics): kfp's cache takes none whose file is missing."""
    if inputs["outputs"].get("artifacts"):
        written = json.loads(Path(inputs["outputs"]["outputFile"]).read_text(encoding="utf-8"))
        for artifacts in written["artifacts"].values():
            Path(artifacts["artifacts"][0]["uri"]).touch()


def _about(inputs: dict[str, Any]) -> str:
    """The trial that a step tunes; "" for other steps."""
    trial = inputs.get("inputs", {}).get("parameterValues", {}).get("trial") or {}
    return str(trial.get("name", ""))


def _step_name(inputs: dict[str, Any]) -> str:
    """The step's name with its loop iteration, read from where it writes: .../for-loop-2-iteration-0/evaluate/..."""
    *_, parent, step, _ = Path(inputs["outputs"]["outputFile"]).parts
    iteration = re.search(r"iteration-(\d+)$", parent)
    return re.sub(r"-\d+$", "", step) + (f"[{iteration[1]}]" if iteration else "")


def with_caching_options(node: Any, options: dict[str, Any]) -> Any:
    """A specification whose tasks all have these caching options."""
    if isinstance(node, list):
        return [with_caching_options(item, options) for item in node]
    if not isinstance(node, dict):
        return node
    return {key: options if key == "cachingOptions" else with_caching_options(node[key], options) for key in node}


def main(folder: str, earlier: str) -> int:
    """Run a pipeline; 0 when every step succeeded."""
    # kfp prints to standard output; events have a channel of their own
    with os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8") as events:
        root = Path(folder)
        (root / "logs").mkdir(parents=True, exist_ok=True)
        sys.stdout = sys.stderr = (root / "logs" / "kfp.log").open("a", encoding="utf-8", buffering=1)
        server = StepServer(sys.stdout)  # it loads the steps while this process loads kfp
        try:
            return _run(root, Observer(events, root, int(earlier), server))
        finally:
            server.close()


def _run(root: Path, observer: Observer) -> int:
    import yaml
    from kfp import components, local
    from kfp.local import logging_utils, subprocess_task_handler

    signal.signal(signal.SIGTERM, observer.end)
    subprocess_task_handler.run_local_subprocess = observer.run
    warnings.filterwarnings("ignore", ".*have no effect in the current local runner", UserWarning)  # of each step
    logging_utils.color_text = lambda text, color: text  # its log is a file, and its errors are events
    for kind in ("SafeLoader", "SafeDumper"):  # those of libyaml are ten times as fast; kfp uses these
        setattr(yaml, kind, getattr(yaml, f"C{kind}", getattr(yaml, kind)))
    runner = local.SubprocessRunner(use_venv=False)
    local.init(runner, pipeline_root=str(root / "steps"), raise_on_error=True, enable_caching=True)
    text = (root / PIPELINE).read_text(encoding="utf-8").replace("{{$.pipeline_job_name}}", root.resolve().name)
    started = json.loads((root / STARTED).read_text(encoding="utf-8"))["time"]  # kfp's local runner knows no such time
    specification, *_ = yaml.safe_load_all(text.replace("{{$.pipeline_job_create_time_utc}}", started))
    for component in (specification["root"], *specification["components"].values()):
        for task in component.get("dag", {}).get("tasks", {}).values():
            task.pop("retryPolicy", None)  # somebody waits: a failed step is reported at once, and the run resumed
    observer.report({"pipelineSpec": specification})
    cached = with_caching_options(specification, {"enableCache": True})
    run = components.load_component_from_text(yaml.safe_dump(cached))
    try:
        run(**json.loads((root / ARGUMENTS).read_text(encoding="utf-8")))
    except RuntimeError as error:  # what kfp raises when a step fails
        observer.emit(event="end", code=1, error=str(error))
        return 1
    observer.emit(event="end", code=0, error="")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
