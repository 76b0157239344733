"""What Vertex AI and Kubeflow would refuse: each rule has a pipeline that breaks it, and ours break none."""

import copy
import json
from functools import cache
from pathlib import Path
from typing import List, NamedTuple, Optional  # noqa: UP035

import pytest
from kfp import dsl
from typer.testing import CliRunner

from components.base import component
from components.tuning import plan_tuning
from gemtune.cli.cloud import both_methods
from gemtune.cli.main import app
from gemtune.config import Config
from gemtune.errors import UserError
from pipelines.backend_rules import CHECKS, edges, findings, rules
from pipelines.compilation import compiled

CONFIGS = sorted((Path(__file__).parents[2] / "configs").rglob("*.yaml"))
DATAFLOW = ["preprocess.runner=dataflow", "preprocess.dataflow_template=gs://b/template.json"]
IMAGE = "example-docker.pkg.dev/p/r/gemtune-python:abc"


@dsl.component(base_image="python:3.11")
def items(count: int) -> List[int]:  # noqa: UP006
    return list(range(count))


@dsl.component(base_image="python:3.11")
def write(number: int, file: dsl.Output[dsl.Artifact]):
    Path(file.path).write_text(str(number))


@dsl.component(base_image="python:3.11")
def read(files: dsl.Input[List[dsl.Artifact]]):  # noqa: UP006
    print(len(files))


@dsl.component(base_image="python:3.11")
def end():
    print("the end")


@dsl.pipeline
def loop_over(numbers: list = []):  # noqa: B006
    with dsl.ParallelFor(numbers) as number:
        written = write(number=number)
    read(files=dsl.Collected(written.outputs["file"]))


@dsl.pipeline
def loop_over_step():
    with dsl.ParallelFor(items(count=3).output) as number:
        written = write(number=number)
    read(files=dsl.Collected(written.outputs["file"]))


@dsl.pipeline
def loop_in_exit_handler():
    with dsl.ExitHandler(end()), dsl.ParallelFor([1, 2]) as number:
        write(number=number)


def spec_of(pipeline, **defaults):
    from google.protobuf.json_format import MessageToDict

    spec = MessageToDict(pipeline.pipeline_spec)
    for name, value in defaults.items():
        spec["root"]["inputDefinitions"]["parameters"][name]["defaultValue"] = value
    return spec


@cache
def _ours():
    return compiled(Config(), IMAGE)


def ours(**changes):
    """Our pipeline, with other values at `a__b` paths."""
    spec = copy.deepcopy(_ours())
    for path, value in changes.items():
        *parents, last = path.split("__")
        node = spec
        for parent in parents:
            node = node[parent]
        node[last] = value
    return spec


def with_default(section, **values):
    spec = ours()
    spec["root"]["inputDefinitions"]["parameters"][section]["defaultValue"] |= values
    return spec


def with_wrong_type():
    spec = ours()
    spec["components"]["comp-deploy"]["inputDefinitions"]["parameters"]["name"]["parameterType"] = "STRUCT"
    return spec


def with_long_display_name():
    spec = ours()
    spec["root"]["dag"]["tasks"]["finish-run"]["taskInfo"]["name"] = "x" * 129
    return spec


BROKEN = {
    "edge_types": with_wrong_type,
    "run_parameters": lambda: with_default("task", instruction="x" * 10_000),
    "metadata": lambda: with_default("task", instruction="x" * 200_000),
    "specification_size": lambda: with_default("task", instruction="x" * 600_000),
    "names": lambda: ours(pipelineInfo__name="Tuning_1"),
    "labels": lambda: with_default("vertex", labels={"Team": "Search"}),
    "image_name": lambda: compiled(Config(), "gemtune-python:1"),
    "zero_iterations": lambda: spec_of(loop_over_step),
    "collected_artifacts": lambda: spec_of(loop_over, numbers=list(range(101))),
    "vertex_placeholders": lambda: compiled(Config.load(None, DATAFLOW), IMAGE),
    "vertex_components": lambda: compiled(Config.load(None, ["notify.email=[a@example.com]"]), IMAGE),
    "loop_in_exit_handler": lambda: spec_of(loop_in_exit_handler),
    "backend_version": ours,
}
SOUND = {
    "labels": lambda: with_default("vertex", labels={"équipe": "büro-2", "empty": ""}),
    "edge_types": lambda: compiled(Config.load(None, DATAFLOW), IMAGE),
    "run_parameters": lambda: with_default("task", instruction="x" * 1000),
    "zero_iterations": lambda: spec_of(loop_over, numbers=[1]),
    "collected_artifacts": lambda: spec_of(loop_over, numbers=list(range(100))),
    "backend_version": lambda: spec_of(loop_over, numbers=[1]),
}


@pytest.mark.parametrize("rule", CHECKS)
def test_rule_shows_a_pipeline_that_breaks_it(rule):
    assert rule in {finding.rule.name for finding in findings(BROKEN[rule]())}


@pytest.mark.parametrize("rule", CHECKS)
def test_rule_accepts_a_pipeline_that_keeps_it(rule):
    assert rule not in {finding.rule.name for finding in findings(SOUND.get(rule, ours)())}


def test_zero_iterations_shows_an_empty_list():
    (finding,) = [found for found in findings(spec_of(loop_over)) if found.rule.name == "zero_iterations"]
    assert finding.detail == "for-loop-1: the list of the loop is empty"


def test_names_shows_a_long_display_name():
    (finding,) = [found for found in findings(with_long_display_name()) if found.rule.severity == "error"]
    assert finding.detail == "finish-run: the display name has 129 characters, not 1 to 128"


def test_rules_have_a_check_a_source_and_a_date():
    assert {rule.name for rule in rules()} == set(CHECKS) == set(BROKEN)
    assert all(rule.source and rule.remedy and rule.text and rule.backends and rule.date for rule in rules())


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_shipped_configurations_break_no_rule(path):
    for _, config in both_methods(Config.load(path)):
        spec = compiled(config, IMAGE)
        assert len(edges(spec)) > 100
        assert {finding.rule.severity for finding in findings(spec)} <= {"note"}


def test_compile_refuses_the_items_of_a_list_without_a_type(monkeypatch):
    bare = NamedTuple("Planned", [("should_tune", bool), ("trials", list), ("first_trial", dict)])  # noqa: UP014
    monkeypatch.setitem(plan_tuning.python_func.__annotations__, "return", bare)
    monkeypatch.setattr("components.tuning.plan_tuning", component(plan_tuning.python_func))
    with pytest.raises(UserError, match="tune: trial is STRING, declared as STRUCT"):
        compiled(Config())


def test_compile_command_lists_findings_and_doctor_explains_them(tmp_path):
    done = CliRunner().invoke(app, ["compile", "--out", str(tmp_path), *[p for o in DATAFLOW for p in ("--set", o)]])
    assert done.exit_code == 0
    assert "warning: Vertex and Kubeflow: image 'gemtune-python:0.1.0' names no registry (image_name)" in done.stderr
    assert done.stderr.count("(image_name)") == 1  # not once for each pipeline
    path = tmp_path / "supervised_tuning.yaml"
    explained = CliRunner().invoke(app, ["doctor", "--compiled", str(path)])
    assert explained.exit_code == 1
    (placeholders,) = [rule for rule in rules() if rule.name == "vertex_placeholders"]
    assert "error: Kubeflow: dataflow-flex-template: {{$.pipeline_google_cloud_project_id}}" in explained.stdout
    assert f"remedy: {placeholders.remedy}\n  source: {placeholders.source} ({placeholders.date})" in explained.stdout


def without(*path):
    spec = ours()
    node = spec
    for key in path[:-1]:
        node = node[key]
    del node[path[-1]]
    return spec


@pytest.mark.parametrize(
    "spec",
    [
        lambda: without("pipelineInfo"),
        lambda: without("root", "dag"),
        lambda: without("components", "comp-deploy"),
        lambda: without("deploymentSpec", "executors", "exec-deploy"),
        lambda: without("components", "comp-exit-handler-1", "dag", "tasks", "configure"),
        lambda: ours(**{"root__dag__tasks__finish-run__dependentTasks": ["gone"]}),
        lambda: ours(components=[]),
        lambda: (
            ours(components__again={"dag": {"tasks": {"x": {"componentRef": {"name": "again"}}}}})
            | {"root": {"dag": {"tasks": {"x": {"componentRef": {"name": "again"}}}}}}
        ),
    ],
)
def test_pipeline_that_refers_to_nothing_is_one_message(tmp_path, spec):
    path = tmp_path / "job.json"
    path.write_text(json.dumps(spec()))
    done = CliRunner().invoke(app, ["doctor", "--compiled", str(path)])
    assert done.exit_code == 1
    assert f"{path}: the pipeline is damaged" in done.stderr


@pytest.mark.parametrize(
    ("changed", "detail"),
    [
        (lambda inputs: inputs.pop("runner"), "configure: runner is nothing, declared as STRING"),
        (
            lambda inputs: inputs.update(more={"runtimeValue": {"constant": 1}}),
            "configure: more is NUMBER_INTEGER, declared as nothing",
        ),
        (
            lambda inputs: inputs["runner"].update(runtimeValue={"constant": {}}),
            "configure: runner is STRUCT, declared as STRING",
        ),
    ],
)
def test_edge_types_shows_inputs_that_no_step_can_take(changed, detail):
    spec = ours()
    changed(spec["components"]["comp-exit-handler-1"]["dag"]["tasks"]["configure"]["inputs"]["parameters"])
    (finding,) = [finding for finding in findings(spec) if finding.rule.severity == "error"]
    assert finding.detail == detail


def test_edge_types_shows_defaults_of_another_type():
    spec = ours(root__inputDefinitions__parameters__data__defaultValue=5)
    (finding,) = [finding for finding in findings(spec) if finding.rule.severity == "error"]
    assert finding.detail == "pipeline: data is NUMBER_INTEGER, declared as STRING"


def test_rules_read_pipelines_that_are_not_ours():
    @dsl.component(base_image="ghcr.io/x/y:1")
    def optional(vertex: str, number: Optional[int] = None, file: dsl.Input[dsl.Artifact] = None):  # noqa: UP045
        print(vertex, number, file)

    @dsl.pipeline
    def outer(vertex: str = "a", labels: Optional[dict] = None, many: bool = True):  # noqa: UP045
        imported = dsl.importer(artifact_uri="gs://b/x", artifact_class=dsl.Dataset)
        first = optional(vertex=vertex, file=imported.output)
        optional(vertex="b").after(first)
        with dsl.ParallelFor([{"a": 1}, {"a": 2}]) as row:
            written = write(number=row.a)
        read(files=dsl.Collected(written.outputs["file"]))
        with dsl.ParallelFor(items(count=3).output, parallelism=1) as number:
            optional(vertex="c", number=number)

    assert [str(finding) for finding in findings(spec_of(outer)) if finding.rule.severity == "error"] == []


def test_doctor_reads_a_pipeline_job_and_refuses_other_files(tmp_path):
    path = tmp_path / "job.json"
    path.write_text(json.dumps({"displayName": "x", "pipelineSpec": ours()}))
    assert CliRunner().invoke(app, ["doctor", "--compiled", str(path)]).exit_code == 0
    path.write_text("a: 1")
    refused = CliRunner().invoke(app, ["doctor", "--compiled", str(path)])
    assert refused.exit_code == 1
    assert "not a compiled pipeline" in refused.stderr
