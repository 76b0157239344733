"""Submitting and scheduling with the genuine client, against the emulator's record of what arrived."""

import json
import urllib.request
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gemtune.cli.main import app
from pipelines.emulator_process import emulator

IMAGE = "us-central1-docker.pkg.dev/demo-project/gemtune/gemtune-python:abc"
PARENT = "/v1/projects/demo-project/locations/us-central1"


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cloud")
    with emulator(folder / "state", engine="scripted") as running:
        yield running.url


@pytest.fixture
def invoke(url, monkeypatch, tmp_path):
    monkeypatch.setenv("GOOGLE_VERTEX_BASE_URL", url)
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "demo-project")
    monkeypatch.setenv("GOOGLE_CLOUD_LOCATION", "us-central1")
    config = tmp_path / "c.yaml"
    config.write_text("name: shop\ndata: gs://b/rows.jsonl\nvertex: {service_account: runner@demo.example}\n")
    return lambda verb, *options: CliRunner().invoke(app, [verb, str(config), "--image", IMAGE, *options])


def get(url, path):
    with urllib.request.urlopen(url + path) as answer:
        return json.load(answer)


def test_submit_sends_the_whole_run(url, invoke):
    done = invoke("submit", "--set", "split.seed=11")
    assert done.exit_code == 0, done.output
    name = done.output.strip()
    job = get(url, f"/v1/{name}")
    assert job["serviceAccount"] == "runner@demo.example"
    assert job["labels"]["gemtune"] == "shop"
    assert job["runtimeConfig"]["gcsOutputDirectory"] == "gs://demo-project-gemtune/pipelines"
    form = job["pipelineSpec"]["root"]["inputDefinitions"]["parameters"]
    assert form["data"]["defaultValue"] == "gs://b/rows.jsonl"
    assert form["split"]["defaultValue"]["seed"] == 11
    placed = form["vertex"]["defaultValue"]  # a container does not know this shell's environment
    assert (placed["project"], placed["location"]) == ("demo-project", "us-central1")
    assert placed["bucket"] == "demo-project-gemtune"
    executors = job["pipelineSpec"]["deploymentSpec"]["executors"]
    steps = ("preprocess", "tune-supervised", "gate", "deploy")
    assert {executors[f"exec-{step}"]["container"]["image"] for step in steps} == {IMAGE}


def test_submit_without_cache_disables_it_for_every_task(url, invoke):
    def switches(node):
        if isinstance(node, dict):
            yield from (bool(v.get("enableCache")) for k, v in node.items() if k == "cachingOptions")
            for value in node.values():
                yield from switches(value)

    cached = get(url, f"/v1/{invoke('submit').output.strip()}")
    plain = get(url, f"/v1/{invoke('submit', '--no-cache').output.strip()}")
    assert any(switches(cached["pipelineSpec"]))
    assert not any(switches(plain["pipelineSpec"]))


def test_schedule_replaces_the_one_of_the_same_name(url, invoke):
    first = invoke("schedule", "--cron", "0 3 * * 1")
    assert first.exit_code == 0, first.output
    second = invoke("schedule", "--cron", "TZ=Asia/Tokyo 0 4 * * 1")
    assert second.exit_code == 0, second.output
    (schedule,) = get(url, f"{PARENT}/schedules")["schedules"]
    assert schedule["name"] == second.output.strip()
    assert schedule["cron"] == "TZ=Asia/Tokyo 0 4 * * 1"
    assert schedule["createPipelineJobRequest"]["pipelineJob"]["displayName"] == "shop"


def test_schedule_limits_unfinished_and_starting_runs(url, invoke):
    assert invoke("schedule").exit_code == 0
    (schedule,) = get(url, f"{PARENT}/schedules")["schedules"]
    assert int(schedule["maxConcurrentRunCount"]) == int(schedule["maxConcurrentActiveRunCount"]) == 1


@pytest.mark.parametrize(
    ("verb", "options", "message"),
    [
        ("schedule", ["--cron", "every monday"], "cannot read the cron expression 'every monday'"),
        ("submit", ["--data", "rows.jsonl"], "reads gs://"),
        ("submit", ["--set", "evaluate.base_model=gemini-0"], "unknown base model 'gemini-0'"),
        ("submit", ["--set", "vertex.location=mars-1"], "cannot be tuned in mars-1"),
    ],
)
def test_submit_and_schedule_send_nothing_that_cannot_run(url, invoke, verb, options, message):
    before = get(url, f"{PARENT}/pipelineJobs")
    done = invoke(verb, *options)
    assert done.exit_code == 1
    assert message in done.output.replace("\n", " ")
    assert get(url, f"{PARENT}/pipelineJobs") == before


def test_submit_reports_an_unreachable_service_in_one_message(invoke, monkeypatch):
    monkeypatch.setenv("GOOGLE_VERTEX_BASE_URL", "http://127.0.0.1:9")
    done = invoke("submit")
    assert done.exit_code == 1
    assert "error:" in done.output
    assert "Traceback" not in done.output


def test_production_configuration_needs_only_its_places_filled_in(url, invoke, tmp_path):
    text = (Path(__file__).parents[2] / "configs" / "production.yaml").read_text()
    filled = text.replace("YOUR-PROJECT", "demo-project").replace("YOUR-BUCKET", "demo-bucket")
    config = tmp_path / "production.yaml"
    config.write_text(filled)
    done = CliRunner().invoke(app, ["submit", str(config), "--image", IMAGE])
    assert done.exit_code == 0, done.output
