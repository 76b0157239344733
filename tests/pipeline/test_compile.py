"""The compiled file: the same bytes every time, nothing of this machine in it, a form that explains itself."""

import re
from pathlib import Path

import pytest
from pipeline_structure import structure_yaml
from typer.testing import CliRunner

from gemtune.cli.main import app
from gemtune.config import Config
from pipelines.compilation import compile_pipeline, compiled, pipelines

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "golden"


@pytest.mark.parametrize("name", sorted(pipelines()))
def test_compiled_has_the_golden_structure(name, golden):
    text = structure_yaml(compiled(Config.load(ROOT / "configs" / "quickstart.yaml"), pipeline=name))
    path = GOLDEN / f"{name}.yaml"
    if golden:
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8"), (
        "the pipeline changed; if that is meant: make golden, read the diff"
    )


def first_task(spec, holds):
    dags = [spec["root"]["dag"], *(component["dag"] for component in spec["components"].values() if "dag" in component)]
    return next(task for dag in dags for task in dag["tasks"].values() if holds(task))


def without_condition(spec):
    first_task(spec, lambda task: "triggerPolicy" in task).pop("triggerPolicy")


def with_cache_off(spec):
    first_task(spec, lambda task: task.get("cachingOptions", {}).get("enableCache"))["cachingOptions"] = {}


def with_another_name(spec):
    first_task(spec, lambda task: "cachingOptions" in task)["taskInfo"]["name"] = "another"


def with_another_edge(spec):
    task = first_task(spec, lambda task: any("taskOutputArtifact" in value for value in artifacts_of(task)))
    next(value for value in artifacts_of(task) if "taskOutputArtifact" in value)["taskOutputArtifact"] = {
        "outputArtifactKey": "other",
        "producerTask": "other",
    }


def without_loop(spec):
    first_task(spec, lambda task: "parameterIterator" in task).pop("parameterIterator")


def with_another_default(spec):
    spec["root"]["inputDefinitions"]["parameters"]["split"]["defaultValue"]["seed"] = 99


def with_another_type(spec):
    next(c for c in spec["components"].values() if "executorLabel" in c)["outputDefinitions"]["artifacts"] = {}


def with_retries(spec):
    first_task(spec, lambda task: "cachingOptions" in task)["retryPolicy"] = {"maxRetryCount": 3}


def artifacts_of(task):
    return task.get("inputs", {}).get("artifacts", {}).values()


CHANGES = [
    without_condition, with_cache_off, with_another_name, with_another_edge, without_loop, with_another_default,
    with_another_type, with_retries,
]  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_structure_shows_a_change_of_the_wiring(change):
    spec = compiled(Config())
    before = structure_yaml(spec)
    change(spec)
    assert structure_yaml(spec) != before


def test_structure_hides_source_code_and_descriptions():
    spec = compiled(Config())
    before = structure_yaml(spec)
    spec["pipelineInfo"]["description"] = "another"
    for executor in spec["deploymentSpec"]["executors"].values():
        executor["container"]["command"] = ["another"]
    for definition in spec["root"]["inputDefinitions"]["parameters"].values():
        definition["description"] = "another"
    assert structure_yaml(spec) == before


@pytest.mark.parametrize("name", sorted(pipelines()))
def test_compiling_twice_gives_the_same_bytes_and_nothing_of_this_machine(name, tmp_path):
    first = compile_pipeline(Config(), tmp_path / "a.yaml", pipeline=name).read_text()
    assert first == compile_pipeline(Config(), tmp_path / "b.yaml", pipeline=name).read_text()
    assert str(ROOT) not in first
    assert str(Path.home()) + "/" not in first
    assert not re.search(r"\b20\d\d-\d\d-\d\d[T ]\d\d:", first)


@pytest.mark.parametrize("name", sorted(pipelines()))
def test_the_form_in_the_console_explains_itself(name):
    spec = compiled(Config.load(ROOT / "configs" / "production.yaml"), pipeline=name)
    assert len(spec["pipelineInfo"]["description"]) > 50
    for parameter, form in spec["root"]["inputDefinitions"]["parameters"].items():
        assert len(form.get("description", "")) > 20, parameter
        assert "defaultValue" in form or form.get("isOptional"), parameter


def test_defaults_are_baked_in_from_the_configuration():
    spec = compiled(Config.load(None, ["data=gs://b/rows.jsonl", "split.seed=99"]))
    form = spec["root"]["inputDefinitions"]["parameters"]
    assert form["data"]["defaultValue"] == "gs://b/rows.jsonl"
    assert form["split"]["defaultValue"]["seed"] == 99


def test_the_image_is_the_one_that_was_named():
    spec = compiled(Config(), image="example-docker.pkg.dev/p/r/gemtune-python:abc")
    images = {name: e["container"]["image"] for name, e in spec["deploymentSpec"]["executors"].items()}
    theirs = {name for name, image in images.items() if image != "example-docker.pkg.dev/p/r/gemtune-python:abc"}
    assert theirs == {"exec-dataflow-flex-template", "exec-wait-gcp-resources"}  # Google's operators bring their own
    assert all(images[name].startswith("gcr.io/ml-pipeline/google-cloud-pipeline-components:") for name in theirs)


def test_what_changes_the_world_or_reads_a_moving_one_is_never_cached():
    spec = compiled(Config())
    dags = [spec["root"]["dag"], *(c["dag"] for c in spec["components"].values() if "dag" in c)]
    cached = {
        t: bool(task.get("cachingOptions", {}).get("enableCache")) for d in dags for t, task in d["tasks"].items()
    }
    reading = ("measure", "preprocess", "split", "augment", "plan", "hard", "larger", "pick", "pick-without-tuning")
    for step in (*reading, "tune", "deploy", "keep"):
        assert cached[step] is False, step
    for step in ("evaluate", "gate"):
        assert cached[step] is True, step


def test_the_compile_command_writes_every_pipeline(tmp_path):
    done = CliRunner().invoke(app, ["compile", str(ROOT / "configs" / "quickstart.yaml"), "--out", str(tmp_path)])
    assert done.exit_code == 0, done.output
    assert {path.stem for path in tmp_path.iterdir()} == set(pipelines())


def test_dataflow_stands_in_a_branch_that_only_large_data_takes():
    components = compiled(Config())["components"]
    ways = [
        (task["triggerPolicy"]["condition"], sorted(components[task["componentRef"]["name"]]["dag"]["tasks"]))
        for component in components.values()
        for task in component.get("dag", {}).get("tasks", {}).values()
        if "measure-large" in task.get("triggerPolicy", {}).get("condition", "")
    ]
    large = "inputs.parameter_values['pipelinechannel--measure-large'] == true"
    assert sorted(ways) == [
        (f"!({large})", ["settle-2"]),
        (large, ["dataflow-flex-template", "settle", "wait-gcp-resources"]),
    ]
