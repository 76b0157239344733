# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Small compiled pipelines executed under the driver's rules: values, branches, loops, artifacts, failures, cache."""

import json
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Optional

import pytest
from google.protobuf.json_format import MessageToDict
from kfp import dsl

from emulator.execution.edges import problems
from emulator.execution.run import Execution, Job, Outcome, Task
from gemtune.config import Config
from pipelines.tasks import email

component = dsl.component(base_image="python", install_kfp_package=False)


class Objects(dict[str, bytes]):
    """A store in memory."""

    def download(self, uri: str, path: Path) -> None:
        if uri in self:
            path.write_bytes(self[uri])

    def upload(self, path: Path, uri: str) -> None:
        files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
        self.update({uri + str(file)[len(str(path)) :]: file.read_bytes() for file in files})


class Results(dict[str, Any]):
    """A cache in memory, through JSON as a stored one."""

    def put(self, fingerprint: str, value: Any) -> None:
        self[fingerprint] = json.loads(json.dumps(value))


class Bench:
    """Runs pipelines over one store and cache."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.objects, self.cache, self.number = folder, Objects(), Results(), 0

    def execution(self, spec: dict[str, Any], fail_fast: bool = False, **values: Any) -> Execution:
        self.number += 1
        name = f"projects/1/locations/here/pipelineJobs/job-{self.number}"
        job = Job(name, spec, values, f"gs://bucket/job-{self.number}", self.folder / str(self.number), {}, fail_fast)
        return Execution(job, self.objects, self.cache)

    def run(self, pipeline: Any, fail_fast: bool = False, **values: Any) -> Outcome:
        spec = compiled(pipeline)
        assert problems(spec, values) == []
        return self.execution(spec, fail_fast, **values).run()


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def compiled(pipeline: Any) -> dict[str, Any]:
    """The specification of a pipeline function."""
    return dict(MessageToDict(dsl.pipeline(name="small")(pipeline).pipeline_spec))


def task(outcome: Outcome, path: str) -> Task:
    """The task with a path."""
    return next(task for task in outcome.tasks if task.path == path)


def states(outcome: Outcome, kinds: Sequence[str] = ("STEP",)) -> dict[str, str]:
    """The states of steps, by name."""
    return {task.name: task.state for task in outcome.tasks if task.kind in kinds}


@dsl.container_component
def echo(text: str, out: dsl.OutputPath(str)):
    """A step that returns its text, without Python."""
    return dsl.ContainerSpec("image", ["sh", "-c", 'printf %s "$0" > "$1"'], [text, out])


@dsl.container_component
def shell(script: str):
    """A step that runs a script."""
    return dsl.ContainerSpec("image", ["sh", "-c"], [script])


@dsl.container_component
def number(value: int, out: dsl.OutputPath(int)):
    """A step that returns its number."""
    return dsl.ContainerSpec("image", ["sh", "-c", 'printf %s "$0" > "$1"'], [value, out])


@dsl.container_component
def total(values: list[int], out: dsl.OutputPath(str)):
    """A step that returns the text of its list."""
    return dsl.ContainerSpec("image", ["sh", "-c", 'printf %s "$0" > "$1"'], [values, out])


@dsl.container_component
def write(text: str, file: dsl.Output[dsl.Dataset]):
    """A step that writes an artifact."""
    return dsl.ContainerSpec("image", ["sh", "-c", 'printf %s "$0" > "$1"'], [text, file.path])


@dsl.container_component
def read(file: dsl.Input[dsl.Dataset], out: dsl.OutputPath(str)):
    """A step that returns the content of an artifact and its URI."""
    return dsl.ContainerSpec("image", ["sh", "-c", '(cat "$0"; printf " %s" "$1") > "$2"'], [file.path, file.uri, out])


# --- values and types


@component
def describe(whole: float, half: float, count: int, section: dict, items: list, flag: bool, text: str = "none") -> str:
    return repr([whole, half, count, sorted(section.items()), items, flag, text])


@component
def listed() -> list:
    return [{"a": 1}]


@component
def typed() -> list[dict]:
    return [{"a": 1}, {"a": 2}]


@component
def take(item: dict) -> int:
    return item["a"]


def test_values_reach_a_step_as_the_driver_writes_them(bench: Bench) -> None:
    def pipeline(section: dict, whole: float = 2.0, text: str = "a"):
        describe(whole=whole, half=0.5, count=3, section=section, items=[1.0, "b"], flag=True, text=f"{text}-b")

    outcome = bench.run(pipeline, text="c", section={"n": 4.0, "x": [0.5, 1.0]})
    assert outcome.state == "SUCCEEDED", outcome.error
    seen = task(outcome, "describe").outputs.parameters["Output"]
    assert seen == "[2, 0.5, 3, [('n', 4), ('x', [0.5, 1])], [1, 'b'], True, 'c-b']"


def test_bare_list_is_refused_at_the_first_loop(bench: Bench) -> None:
    def bare():
        with dsl.ParallelFor(listed().output) as item:
            take(item=item)

    spec = compiled(bare)
    (problem,) = problems(spec, {})
    message = 'input parameter "item" type mismatch: expect STRUCT, got string'
    assert problem.startswith(message)
    outcome = bench.execution(spec).run()
    assert outcome.state == "FAILED"
    assert task(outcome, "for-loop-1.for-loop-1-0.take").error == message

    def declared():
        with dsl.ParallelFor(typed().output) as item:
            take(item=item)

    outcome = bench.run(declared)
    assert outcome.state == "SUCCEEDED", outcome.error
    assert [t.outputs.parameters["Output"] for t in outcome.tasks if t.name == "take"] in ([1, 2], [2, 1])


def test_outputs_that_a_step_does_not_write_or_writes_wrongly_fail_it(bench: Bench) -> None:
    @component
    def silent(absent: dsl.OutputPath(str)):
        pass

    @component
    def wrong(count: dsl.OutputPath(int)):
        from pathlib import Path

        Path(count).write_text("many")

    @component
    def no_number(metrics: dsl.Output[dsl.Metrics]):
        metrics.log_metric("loss", float("nan"))

    def pipeline():
        silent()
        wrong()
        no_number()

    outcome = bench.run(pipeline)
    assert outcome.error == (
        "The DAG failed because some tasks failed. The failed tasks are: [no-number, silent, wrong]."
    )
    assert 'failed to read output parameter name="absent"' in task(outcome, "silent").error
    assert 'failed to read output parameter name="count" type="NUMBER_INTEGER"' in task(outcome, "wrong").error
    assert "NaN is not a JSON value" in task(outcome, "no-number").error


def test_command_has_its_placeholders_filled(bench: Bench) -> None:
    @dsl.container_component
    def options(out: dsl.OutputPath(str), name: str = "", other: str = ""):
        return dsl.ContainerSpec(
            "image",
            ["sh", "-c", 'out="$0"; printf "%s|" "$@" > "$out"'],
            [
                out,
                dsl.IfPresentPlaceholder("name", ["--name", dsl.ConcatPlaceholder(["<", name, ">"])]),
                dsl.IfPresentPlaceholder("other", ["--other"], ["--nothing"]),
                dsl.PIPELINE_JOB_NAME_PLACEHOLDER,
            ],
        )

    def pipeline():
        options(name="{{$}} a")

    spec = compiled(pipeline)
    for parameter in spec["components"]["comp-options"]["inputDefinitions"]["parameters"].values():
        del parameter["defaultValue"]
    outcome = bench.execution(spec).run()
    assert outcome.state == "SUCCEEDED", outcome.error
    assert task(outcome, "options").outputs.parameters["out"] == "--name|<{{$}} a>|--nothing|job-1|"


def test_nested_pipelines_pass_values_artifacts_and_defaults(bench: Bench) -> None:
    @component
    def show(text: str = "unset", number: Optional[int] = None) -> str:  # noqa: UP045
        return f"{text} {number}"

    @dsl.pipeline
    def inner(text: str, number: Optional[int] = None, label: str = "by default") -> NamedTuple(  # noqa: UP045
        "Results", [("shown", str), ("file", dsl.Dataset)]
    ):
        shown = show(text=text, number=number)
        show(text=label)
        written = write(text=label)
        return NamedTuple("Results", [("shown", str), ("file", dsl.Dataset)])(shown.output, written.outputs["file"])

    def pipeline(text: str = "a", number: Optional[int] = None):  # noqa: UP045
        nested = inner(text=text, number=number)
        echo(text=nested.outputs["shown"])
        read(file=nested.outputs["file"])

    outcome = bench.run(pipeline)
    assert outcome.state == "SUCCEEDED", outcome.error
    assert task(outcome, "echo").outputs.parameters["out"] == "a None"
    assert task(outcome, "read").outputs.parameters["out"].startswith("by default gs://")
    assert task(bench.run(pipeline, number=3), "echo").outputs.parameters["out"] == "a 3"


# --- branches


def branches(way: str = "other"):
    with dsl.If(way == "left"):
        left = echo(text="L")
    with dsl.Elif(number(value=5).output > 7):
        never = echo(text="N")
    with dsl.Elif(way == "right"):
        right = echo(text="R")
    with dsl.Else():
        rest = echo(text="E")
    chosen = dsl.OneOf(left.output, never.output, right.output, rest.output)
    echo(text=chosen).set_display_name("Chosen text")


@pytest.mark.parametrize(("way", "letter"), [("left", "L"), ("right", "R"), ("other", "E")])
def test_first_branch_whose_condition_holds_runs(bench: Bench, way: str, letter: str) -> None:
    outcome = bench.run(branches, way=way)
    assert outcome.state == "SUCCEEDED", outcome.error
    (chosen,) = [task for task in outcome.tasks if task.display_name == "Chosen text"]
    assert (chosen.name, chosen.outputs.parameters) == ("echo-5", {"out": letter})
    conditions = [
        task.state for task in outcome.tasks if task.name.startswith("condition-") and "branches" not in task.name
    ]
    assert sorted(conditions) == ["NOT_TRIGGERED"] * 3 + ["SUCCEEDED"]


def test_task_after_one_that_did_not_run_is_not_triggered(bench: Bench) -> None:
    def pipeline(go: bool = False):
        with dsl.If(go == True):  # noqa: E712
            echo(text="a")
        echo(text="b")

    spec = compiled(pipeline)
    spec["root"]["dag"]["tasks"]["echo-2"]["dependentTasks"] = ["condition-1"]  # kfp compiles no such dependency
    outcome = bench.execution(spec).run()
    assert (outcome.state, states(outcome)) == ("SUCCEEDED", {"echo-2": "NOT_TRIGGERED"})
    assert states(bench.execution(spec, go=True).run()) == {"echo": "SUCCEEDED", "echo-2": "SUCCEEDED"}


def test_artifact_of_the_branch_that_ran_is_read_after_it(bench: Bench) -> None:
    def pipeline(go: bool = False):
        with dsl.If(go == True):  # noqa: E712
            yes = write(text="yes")
        with dsl.Else():
            no = write(text="no")
        read(file=dsl.OneOf(yes.outputs["file"], no.outputs["file"]))

    assert task(bench.run(pipeline, go=True), "read").outputs.parameters["out"].startswith("yes gs://")
    assert task(bench.run(pipeline), "read").outputs.parameters["out"].startswith("no gs://")


# --- loops


def test_loops_collect_values_and_artifacts_in_order(bench: Bench) -> None:
    @component
    def join(files: dsl.Input[list[dsl.Artifact]]) -> str:
        return "".join(open(file.path).read() for file in files)

    def pipeline(names: list[str]):
        with dsl.ParallelFor([3, 1, 2], parallelism=1) as value:
            numbers = number(value=value)
        total(values=dsl.Collected(numbers.output))
        with dsl.ParallelFor(names, name="per-name") as name:
            with dsl.ParallelFor([{"n": 1}, {"n": 2}]) as row:
                inner = number(value=row.n)
            files = write(text=name)
        join(files=dsl.Collected(files.outputs["file"]))
        total(values=dsl.Collected(inner.output))

    outcome = bench.run(pipeline, names=["x", "y"])
    assert outcome.state == "SUCCEEDED", outcome.error
    assert task(outcome, "total").outputs.parameters["out"] == "[3,1,2]"
    assert task(outcome, "total-2").outputs.parameters["out"] == "[1,2,1,2]"
    assert task(outcome, "join").outputs.parameters["Output"] == "xy"
    first, second, third = [task for task in outcome.tasks if task.name == "number"][:3]
    assert first.history[-1][0] <= second.history[0][0] <= third.history[0][0], "one after the other"


def test_no_task_is_seen_before_it_has_a_state(bench: Bench) -> None:
    def pipeline():
        with dsl.ParallelFor(list(range(12))) as value, dsl.If(value == 99):
            number(value=value)

    seen: list[bool] = []

    def look(tasks: Sequence[Task]) -> None:
        seen.extend(bool(task.history) for task in tasks)
        time.sleep(0.001)  # others are waiting for their turn

    execution = bench.execution(compiled(pipeline))
    execution._on_change = look
    assert execution.run().state == "SUCCEEDED"
    assert all(seen)


def test_loop_over_nothing_gives_its_readers_nothing(bench: Bench) -> None:
    def pipeline(values: list[int]):
        with dsl.ParallelFor(values) as value:
            numbers = number(value=value)
        total(values=dsl.Collected(numbers.output))

    assert bench.run(pipeline, values=[1]).state == "SUCCEEDED"
    outcome = bench.run(pipeline, values=[])
    assert (outcome.state, task(outcome, "for-loop-1").state) == ("FAILED", "SUCCEEDED")
    assert "producer task, for-loop-1, has no output" in task(outcome, "total").error


# --- artifacts


def test_importer_reads_an_object_and_keeps_its_name(bench: Bench) -> None:
    def pipeline(uri: str = "gs://elsewhere/a.txt", again: bool = False):
        imported = dsl.importer(artifact_uri=uri, artifact_class=dsl.Dataset, metadata={"from": uri})
        fresh = dsl.importer(artifact_uri="gs://elsewhere/a.txt", artifact_class=dsl.Dataset, reimport=True)
        read(file=imported.output)
        read(file=fresh.output)

    bench.objects["gs://elsewhere/a.txt"] = b"content"
    first, second = bench.run(pipeline), bench.run(pipeline)
    assert task(first, "read").outputs.parameters["out"] == "content gs://elsewhere/a.txt"
    assert task(first, "importer").outputs.artifacts["artifact"][0]["metadata"] == {"from": "gs://elsewhere/a.txt"}
    named = [
        [t.outputs.artifacts["artifact"][0]["name"] for t in run.tasks if "importer" in t.name]
        for run in (first, second)
    ]
    assert task(second, "importer").outputs == task(first, "importer").outputs
    assert task(second, "importer-2").outputs != task(first, "importer-2").outputs, named
    assert states(second)["read"] == "SKIPPED"
    assert states(second)["read-2"] == "SUCCEEDED"


@pytest.mark.parametrize("uri", ["gs://elsewhere//a.txt", "gs://elsewhere/./a.txt"])
def test_uri_reaches_a_step_as_it_was_imported(bench: Bench, uri: str) -> None:
    def pipeline():
        read(file=dsl.importer(artifact_uri=uri, artifact_class=dsl.Dataset).output)

    bench.objects[uri] = b"content"
    assert task(bench.run(pipeline), "read").outputs.parameters["out"] == f"content {uri}"


def test_uri_that_a_step_returns_is_that_of_the_object(bench: Bench) -> None:
    @component
    def publish(model: dsl.Output[dsl.Model]) -> str:
        from pathlib import Path

        model.metadata["size"] = 3
        Path(model.path).mkdir()
        Path(model.path, "weights").write_text("w")
        return model.uri

    def pipeline():
        publish()

    published = task(bench.run(pipeline), "publish")
    (model,) = published.outputs.artifacts["model"]
    assert published.outputs.parameters["Output"] == model["uri"]
    assert model["uri"].startswith("gs://bucket/job-1/publish_")
    assert (model["metadata"], bench.objects[model["uri"] + "/weights"]) == ({"size": 3}, b"w")


def test_values_beyond_the_limits_of_vertex_ai_are_refused(bench: Bench) -> None:
    @component
    def measure(size: int, metrics: dsl.Output[dsl.ClassificationMetrics]):
        metrics.metadata["matrix"] = "x" * size

    @component
    def count(files: dsl.Input[list[dsl.Artifact]]) -> int:
        return len(files)

    def pipeline(size: int, items: list[int]):
        measure(size=size)
        with dsl.ParallelFor(items):
            imported = dsl.importer(artifact_uri="gs://bucket/a", artifact_class=dsl.Artifact)
        count(files=dsl.Collected(imported.output))

    outcome = bench.run(pipeline, size=199_000, items=list(range(100)))
    assert outcome.state == "SUCCEEDED", outcome.error
    outcome = bench.run(pipeline, size=200_000, items=list(range(101)))
    errors = {name: task(outcome, name).error for name in ("measure", "count")}
    assert errors == {
        "measure": "the metadata of an execution or artifact has 200013 bytes, more than 200000",
        "count": '"files" has 101 artifacts, more than 100',
    }


# --- failures


def failing(counter: str, times: int) -> str:
    return f'n=$(cat {counter} 2>/dev/null || echo 0); echo $((n + 1)) > {counter}; [ "$n" -ge {times} ]'


def test_step_is_retried_by_its_policy(bench: Bench, tmp_path: Path) -> None:
    def pipeline(script: str, other: str):
        shell(script=script).set_retry(2, backoff_duration="1s", backoff_factor=1.0)
        shell(script=other).set_retry(1)
        shell(script="echo lost >&2; kill -9 $$")

    started = time.monotonic()
    outcome = bench.run(pipeline, script=failing(f"{tmp_path}/a", 2), other=failing(f"{tmp_path}/b", 5))
    assert states(outcome) == {"shell": "SUCCEEDED", "shell-2": "FAILED", "shell-3": "FAILED"}
    assert time.monotonic() - started > 2.0, "the pauses between attempts"
    assert [len(task(outcome, name).attempts) for name in ("shell", "shell-2", "shell-3")] == [3, 2, 1]
    assert task(outcome, "shell-3").error.startswith("The step was killed by signal 9: lost (log: ")


def test_exit_task_runs_after_a_failure_and_sees_it(bench: Bench) -> None:
    @component
    def finish(status: dsl.PipelineTaskFinalStatus) -> str:
        return f"{status.state} {status.pipeline_task_name} {status.error_message}"

    @dsl.container_component
    def anyway(out: dsl.OutputPath(str), text: str = "default"):
        return dsl.ContainerSpec("image", ["sh", "-c", 'printf %s "$0" > "$1"'], [text, out])

    @dsl.container_component
    def speak(script: str, out: dsl.OutputPath(str)):
        return dsl.ContainerSpec("image", ["sh", "-c"], [script, out])

    def pipeline(script: str = "exit 3"):
        with dsl.ExitHandler(finish()):
            spoken = speak(script=script)
            echo(text="after").after(spoken)
            anyway(text=spoken.output).ignore_upstream_failure()

    outcome = bench.run(pipeline)
    assert outcome.state == "FAILED"
    assert states(outcome) == {"speak": "FAILED", "echo": "NOT_TRIGGERED", "anyway": "SUCCEEDED", "finish": "SUCCEEDED"}
    assert task(outcome, "exit-handler-1.anyway").outputs.parameters["out"] == "default"
    seen = task(outcome, "finish").outputs.parameters["Output"]
    assert seen.startswith("FAILED exit-handler-1 The DAG failed because some tasks failed")
    outcome = bench.run(pipeline, script='printf spoken > "$0"')
    assert task(outcome, "exit-handler-1.anyway").outputs.parameters["out"] == "spoken"
    assert task(outcome, "finish").outputs.parameters["Output"].startswith("SUCCEEDED")


@pytest.mark.parametrize(("script", "state"), [("exit 1", "FAILED"), ("true", "SUCCEEDED")])
def test_email_is_the_exit_task_and_sent_by_the_service_alone(bench: Bench, script: str, state: str) -> None:
    @dsl.pipeline
    def run(script: str):
        shell(script=script)

    def pipeline(script: str):
        with dsl.ExitHandler(email(Config.load(None, ["notify.email=[a@example.com]"]))):
            echo(text="end").after(run(script=script)).ignore_upstream_failure()

    outcome = bench.run(pipeline, script=script)
    assert outcome.state == state
    assert states(outcome) == {
        "shell": state,
        "echo": "SUCCEEDED",
        "vertex-pipelines-notification-email": "SUCCEEDED",  # its container would fail
    }


def test_failure_policy_decides_whether_other_tasks_start(bench: Bench) -> None:
    def pipeline():
        shell(script="exit 1")
        echo(text="b").after(shell(script="sleep 0.3").set_caching_options(False))

    assert states(bench.run(pipeline))["echo"] == "SUCCEEDED"
    assert states(bench.run(pipeline, fail_fast=True))["echo"] == "NOT_TRIGGERED"


@pytest.mark.parametrize(("fail_fast", "state"), [(True, "FAILED"), (False, "SUCCEEDED")])
def test_end_of_a_part_that_stopped_midway_sees_no_success(bench: Bench, fail_fast: bool, state: str) -> None:
    """A step beside the part fails; the end of the part, and an end of several steps, run under both policies."""

    @component
    def finish(status: dsl.PipelineTaskFinalStatus) -> str:
        return status.state

    @dsl.pipeline
    def part():
        with dsl.ExitHandler(finish()):
            echo(text="later").after(shell(script="sleep 0.5").set_caching_options(False))

    @dsl.pipeline
    def end():
        echo(text="second").after(echo(text="first"))

    def pipeline():
        with dsl.ExitHandler(end()):
            shell(script="sleep 0.1; exit 1")
            part()

    outcome = bench.run(pipeline, fail_fast=fail_fast)
    assert outcome.state == "FAILED"
    assert task(outcome, "exit-handler-1.part.finish").outputs.parameters["Output"] == state
    later = task(outcome, "exit-handler-1.part.exit-handler-1.echo").state
    assert later == ("NOT_TRIGGERED" if fail_fast else "SUCCEEDED")
    assert {task(outcome, f"end.{name}").state for name in ("echo", "echo-2")} == {"SUCCEEDED"}


def test_cancelled_job_ends_its_steps(bench: Bench, tmp_path: Path) -> None:
    def pipeline(script: str):
        with dsl.ParallelFor([1, 2]):
            waiting = shell(script=script)
            echo(text="b").after(waiting)

    script = f"trap 'echo ended >> {tmp_path}/ended; exit 1' TERM; echo >> {tmp_path}/started; sleep 60 & wait"
    execution = bench.execution(compiled(pipeline), script=script)
    outcomes: list[Outcome] = []
    thread = threading.Thread(target=lambda: outcomes.append(execution.run()))
    thread.start()
    started = tmp_path / "started"
    while not started.exists() or len(started.read_text()) < 2:
        time.sleep(0.02)
    execution.cancel()
    thread.join(timeout=20)
    (outcome,) = outcomes
    assert outcome.state == "CANCELLED"
    assert {task.state for task in outcome.tasks} == {"CANCELLED"}
    assert (tmp_path / "ended").read_text() == "ended\n" * 2


# --- cache


def test_unchanged_steps_are_taken_from_the_cache(bench: Bench) -> None:
    def pipeline(text: str = "a"):
        made = write(text=text)
        read(file=made.outputs["file"])
        echo(text="never").set_caching_options(False)

    def of(outcome: Outcome) -> list[str]:
        return [states(outcome)[name] for name in ("write", "read", "echo")]

    first, second = bench.run(pipeline), bench.run(pipeline)
    assert of(first) == ["SUCCEEDED"] * 3
    assert of(second) == ["SKIPPED", "SKIPPED", "SUCCEEDED"]
    assert task(second, "read").outputs == task(first, "read").outputs
    assert of(bench.run(pipeline, text="b")) == ["SUCCEEDED"] * 3
    spec = compiled(pipeline)
    spec["deploymentSpec"]["executors"]["exec-write"]["container"]["image"] = "other"
    assert of(bench.execution(spec).run()) == ["SUCCEEDED"] * 3, "a new artifact, a new reader"
    spec = compiled(pipeline)
    spec["deploymentSpec"]["executors"]["exec-read"]["container"]["image"] = "other"
    third = bench.execution(spec).run()
    assert of(third) == ["SKIPPED", "SUCCEEDED", "SUCCEEDED"]
    assert task(third, "read").outputs == task(first, "read").outputs, "the object is fetched from the store"
