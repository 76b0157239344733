# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Runs and recurring runs on a Kubeflow cluster, with the genuine `kfp.Client` against a stand-in of its API server."""

import json
import urllib.request
import warnings
from functools import partial
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from gemtune.cli.main import app
from gemtune.config import Config
from gemtune.errors import UserError
from pipelines import kubeflow
from pipelines.cloud import Source
from pipelines.compilation import compile_pipeline
from pipelines.emulator_process import emulator
from pipelines.tuning import arguments

ROOT = Path(__file__).parents[2]
IMAGE = "registry.example/gemtune-python:abc"
NAME = "shop-supervised-tuning"


@pytest.fixture(autouse=True)
def _fast_yaml(monkeypatch):
    """The client reads each compiled file twice, by a loader that takes ten times as long."""
    monkeypatch.setattr(yaml, "safe_load_all", partial(yaml.load_all, Loader=yaml.CSafeLoader))


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    with emulator(tmp_path_factory.mktemp("cluster") / "state", engine="scripted") as running:
        yield running.url


@pytest.fixture
def client(url, monkeypatch):
    from kfp import Client

    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "demo-project")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        connected = Client(host=url)
    for run in recurring_runs(connected):
        connected.delete_recurring_run(run.recurring_run_id)
    return connected


@pytest.fixture
def invoke(url, client, tmp_path):
    config = tmp_path / "c.yaml"
    config.write_text(
        "name: shop\ndata: gs://b/rows.jsonl\nbackend: {service_account: pipeline-runner, experiment: e1}\n"
        "vertex: {catalogue: {models: {gemini-3.1-flash-lite: {price: {train: 5.0}}}}}\n"
    )
    fixed = [str(config), "--image", IMAGE, "--kubeflow", url]
    return lambda verb, *options: CliRunner().invoke(app, [verb, *fixed, *options])


def recurring_runs(client):
    return client.list_recurring_runs(page_size=100).recurring_runs or []


def clock(url, seconds):
    body = json.dumps({"seconds": seconds}).encode()
    request = urllib.request.Request(url + "/emulator/clock", body, {"Content-Type": "application/json"})
    urllib.request.urlopen(request).close()


def end(url, run, state="SUCCEEDED"):
    name = f"projects/123456789012/locations/kubeflow/pipelineJobs/run-{run.run_id}"
    body = json.dumps({"state": f"PIPELINE_STATE_{state}"}).encode()
    request = urllib.request.Request(f"{url}/emulator/{name}:report", body, {"Content-Type": "application/json"})
    urllib.request.urlopen(request).close()


def test_submit_runs_the_compiled_file_in_its_experiment(client, invoke):
    done = invoke("submit", "--set", "backend.root=s3://artifacts/runs", "--no-cache", "--set", "split.seed=11")
    assert done.exit_code == 0, done.output
    run = client.get_run(done.stdout.strip())
    assert run.display_name.startswith("shop 20")
    assert run.service_account == "pipeline-runner"
    assert run.runtime_config.pipeline_root == "s3://artifacts/runs"
    assert client.get_experiment(experiment_id=run.experiment_id).display_name == "e1"
    spec = run.pipeline_spec
    assert spec["root"]["inputDefinitions"]["parameters"]["split"]["defaultValue"]["seed"] == 11
    assert spec["root"]["inputDefinitions"]["parameters"]["vertex"]["defaultValue"]["project"] == "demo-project"
    assert {e["container"]["image"] for e in spec["deploymentSpec"]["executors"].values() if "container" in e} == {
        IMAGE
    }
    assert "enableCache" not in json.dumps(spec)
    again = client.get_run(invoke("submit").stdout.strip())
    assert again.experiment_id == run.experiment_id


def test_submit_waits_for_the_end_of_the_run(client, url, invoke, monkeypatch):
    def end_as(state):
        monkeypatch.setattr(kubeflow.time, "sleep", lambda _: end(url, client.list_runs().runs[0], state))

    end_as("SUCCEEDED")
    assert invoke("submit", "--wait").exit_code == 0
    end_as("CANCELLED")
    cancelled = invoke("submit", "--wait")
    assert cancelled.exit_code == 1
    assert "ended as CANCELED" in cancelled.output
    assert cancelled.stdout.strip() == client.list_runs().runs[0].run_id  # printed before it waits


def test_submit_needs_no_project(client, invoke, monkeypatch, tmp_path):
    monkeypatch.delenv("GOOGLE_CLOUD_PROJECT")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "none.json"))
    done = invoke("submit")
    assert done.exit_code == 0, done.output
    form = client.get_run(done.stdout.strip()).pipeline_spec["root"]["inputDefinitions"]["parameters"]
    assert form["vertex"]["defaultValue"]["project"] == ""  # the first step uses that of its credentials


def test_schedule_is_one_recurring_run_without_overlap(client, url, invoke):
    done = invoke("schedule", "--cron", "0 3 * * 1")
    assert done.exit_code == 0, done.output
    (run,) = recurring_runs(client)
    assert (run.display_name, run.recurring_run_id) == (NAME, done.stdout.strip())
    assert (run.trigger.cron_schedule.cron, run.max_concurrency, run.no_catchup) == ("0 0 3 * * 1", "1", True)
    assert (run.status, run.service_account) == ("ENABLED", "pipeline-runner")
    before = len(client.list_runs().runs or [])
    clock(url, 15 * 86400)  # two Mondays at least
    (started,) = client.list_runs().runs[: len(client.list_runs().runs) - before]
    assert started.recurring_run_id == run.recurring_run_id
    clock(url, 8 * 86400)
    assert len(client.list_runs().runs) == before + 1
    end(url, started)
    clock(url, 1)
    assert len(client.list_runs().runs) == before + 2  # what became due meanwhile, once


def test_schedule_replaces_the_earlier_one_and_keeps_it_paused(client, invoke):
    first = invoke("schedule").stdout.strip()
    second = invoke("schedule", "--cron", "TZ=UTC 30 4 * * *").stdout.strip()
    (run,) = recurring_runs(client)
    assert run.recurring_run_id == second != first
    assert run.trigger.cron_schedule.cron == "0 30 4 * * *"
    client.disable_recurring_run(second)
    paused = invoke("schedule", "--cron", "0 5 * * */7")
    assert "still paused" in paused.output
    (run,) = recurring_runs(client)
    assert (run.status, run.trigger.cron_schedule.cron) == ("DISABLED", "0 0 5 * * */7")


@pytest.mark.parametrize("killed_at", ["enable_recurring_run", "delete_recurring_run"])
def test_schedule_that_is_interrupted_leaves_one_at_the_next_call(client, url, invoke, monkeypatch, killed_at):
    from kfp import Client

    def killed(*_):
        raise SystemExit

    with monkeypatch.context() as patch:
        patch.setattr(Client, killed_at, killed)
        first = invoke("schedule").stdout.strip()  # a first one needs neither of both calls
        invoke("schedule", "--cron", "0 4 * * *")
    left = recurring_runs(client)
    assert first in [run.recurring_run_id for run in left if run.status == "ENABLED"]
    last = invoke("schedule", "--cron", "0 5 * * *").stdout.strip()
    assert [(run.recurring_run_id, run.status) for run in recurring_runs(client)] == [(last, "ENABLED")]


@pytest.mark.parametrize("meanwhile", ["create_experiment", "list_recurring_runs", "create_recurring_run"])
def test_schedules_of_several_processes_end_in_one(client, invoke, monkeypatch, meanwhile):
    from kfp import Client

    own = getattr(Client, meanwhile)

    def overtaken(*arguments, **options):  # another process completes its schedule between two calls of the first one
        monkeypatch.setattr(Client, meanwhile, own)
        result = own(*arguments, **options)
        invoke("schedule", "--cron", "0 4 * * *")
        return result

    monkeypatch.setattr(Client, meanwhile, overtaken)
    done = invoke("schedule")
    assert done.exit_code == 0, done.output
    (run,) = recurring_runs(client)
    assert (run.status, run.recurring_run_id) == ("ENABLED", done.stdout.strip())


@pytest.mark.parametrize(
    ("verb", "options", "message"),
    [
        ("schedule", ["--cron", "TZ=Asia/Tokyo 0 3 * * 1"], "write the hours in UTC"),
        ("schedule", ["--cron", "0 3 * * 7"], "write Sunday as 0"),
        ("schedule", ["--cron", "0 3 31 2 *"], "cannot read the cron expression"),
        ("submit", ["--data", "rows.jsonl"], "reads gs://BUCKET/OBJECT or bq://"),
        ("submit", ["--image", ""], "give --image"),
        (
            "submit",
            ["--set", "preprocess={runner: dataflow, dataflow_template: gs://b/t}", "--data", "gs://b/rows.jsonl"],
            "Kubeflow refuses the pipeline: dataflow-flex-template: {{$.pipeline_google_cloud_project_id}}",
        ),
        ("submit", ["--set", "notify.email=[a@example.com]"], "set notify.webhook instead of notify.email"),
        (
            "schedule",
            [
                "--set",
                "notify.email=[a@example.com]",
                "--pipeline",
                "monitoring",
                "--set",
                "monitor.logs=gs://b/l.jsonl",
            ],
            "set notify.webhook instead of notify.email",
        ),
        ("submit", ["--local"], "give either --local or --kubeflow"),
        ("submit", ["--kubeflow", "http://127.0.0.1:9", "--set", "backend.namespace=team"], "cannot be reached"),
    ],
)
def test_cluster_gets_nothing_that_cannot_run(client, invoke, verb, options, message):
    before = (len(client.list_runs(page_size=100).runs or []), len(recurring_runs(client)))
    done = invoke(verb, *options)
    assert done.exit_code == 1
    assert message in done.output
    assert (len(client.list_runs(page_size=100).runs or []), len(recurring_runs(client))) == before


def test_submit_without_credentials_for_the_proxy_is_one_message(invoke, monkeypatch, tmp_path):
    monkeypatch.setenv("KF_PIPELINES_IAP_OAUTH2_CLIENT_ID", "client")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "gone.json"))
    done = invoke("submit")
    assert done.exit_code == 1
    assert "no usable Google credentials" in done.output


def test_what_the_cluster_refuses_is_one_message(client, url, monkeypatch):
    monkeypatch.setattr(kubeflow, "_package", kubeflow.contextlib.nullcontext)
    with pytest.raises(UserError, match="Kubeflow refused: 404"), kubeflow._connected(url, Config()) as connected:
        connected.get_run("nothing")


def test_secrets_are_mounted_into_every_step_of_ours(tmp_path):
    settings = ["backend.pull_secret=registry", "backend.key_secret=google"]
    config = Config.load(None, ["data=gs://b/rows.jsonl", *settings])
    spec, platform = yaml.safe_load_all(compile_pipeline(config, tmp_path / "p.yaml", IMAGE).read_text())
    executors = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    containers = {n: e["container"] for n, e in spec["deploymentSpec"]["executors"].items() if "container" in e}
    assert set(executors) == set(containers)
    for name, container in containers.items():
        assert executors[name]["imagePullSecret"][0]["secretName"] == "registry"
        assert executors[name]["secretAsVolume"][0]["secretName"] == "google"
        credentials = {"name": "GOOGLE_APPLICATION_CREDENTIALS", "value": "/var/secrets/google/key.json"}
        assert credentials in container["env"]
        assert {"name": "GEMTUNE_IMAGE", "value": IMAGE} in container["env"]
    assert len(list(yaml.safe_load_all(compile_pipeline(Config(), tmp_path / "q.yaml").read_text()))) == 1


def test_secrets_reach_the_cluster(client, url, monkeypatch):
    config = Config.load(None, ["data=gs://b/rows.jsonl", "backend.pull_secret=registry"])
    run = client.get_run(kubeflow.submit(url, config, Source(image=IMAGE)))
    assert set(run.pipeline_spec) == {"pipeline_spec", "platform_spec"}


def test_labels_of_a_file_are_no_parameter_of_a_run():
    descriptions = {f"label-{n}": f"Rows about subject {n}, in any language, of any product" for n in range(77)}
    for setting, fits in (
        (f"label_descriptions={json.dumps(descriptions)}", False),
        ("labels_file=gs://b/l.yaml", True),
    ):
        config = Config.load(ROOT / "configs" / "production.yaml", [f"task.{setting}"])
        assert (len(json.dumps(arguments(config))) < 10_000) is fits


def test_emulator_refuses_what_a_cluster_refuses(client, tmp_path):
    from kfp_server_api import ApiException

    path = compile_pipeline(Config(), tmp_path / "p.yaml")
    with pytest.raises(ApiException, match="exceed maximum size"):
        client.create_run_from_pipeline_package(str(path), {"name": "x" * 10_000}, experiment_name="e1")
    experiment = client.create_experiment("e1").experiment_id
    with pytest.raises(ApiException, match="above maximum"):
        client.create_recurring_run(
            experiment, "weekly", cron_expression="0 0 3 * * 7", pipeline_package_path=str(path)
        )
