"""The compiled file: the same bytes every time, nothing of this machine in it, a form that explains itself."""

import re
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from gemtune.cli.main import app
from gemtune.config import Config
from pipelines.compilation import compile_pipeline, compiled, pipelines

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "golden"


def without_versions(spec):
    text = yaml.safe_dump(spec, sort_keys=True, allow_unicode=True, width=120)
    return re.sub(r"kfp-\d+\.\d+\.\d+", "kfp-VERSION", text)


@pytest.mark.parametrize("name", sorted(pipelines()))
def test_the_compiled_file_is_the_golden_one(name, golden):
    text = without_versions(compiled(Config.load(ROOT / "configs" / "quickstart.yaml"), pipeline=name))
    path = GOLDEN / f"{name}.yaml"
    if golden:
        path.write_text(text)
    assert text == path.read_text(), "the compiled pipeline changed; if that is meant: make golden, and read the diff"


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
    settings = ["preprocess.runner=dataflow", "preprocess.dataflow_template=gs://b/template.json"]
    spec = compiled(Config.load(None, settings), image="example-docker.pkg.dev/p/r/gemtune-python:abc")
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
    reading = ("preprocess", "split", "augment", "plan", "hard", "larger", "pick", "pick-without-tuning")
    for step in (*reading, "tune", "deploy", "keep"):
        assert cached[step] is False, step
    for step in ("evaluate", "gate"):
        assert cached[step] is True, step


def test_the_compile_command_writes_every_pipeline(tmp_path):
    done = CliRunner().invoke(app, ["compile", str(ROOT / "configs" / "quickstart.yaml"), "--out", str(tmp_path)])
    assert done.exit_code == 0, done.output
    assert {path.stem for path in tmp_path.iterdir()} == set(pipelines())


def test_compile_wires_dataflow_only_for_its_runner():
    def tasks(config):
        return set(compiled(config)["root"]["dag"]["tasks"])

    dataflow = {"prepare-dataflow-job", "dataflow-flex-template", "wait-gcp-resources"}
    chosen = Config.load(None, ["preprocess.runner=dataflow", "preprocess.dataflow_template=gs://b/template.json"])
    assert not dataflow & tasks(Config())
    assert dataflow <= tasks(chosen)
