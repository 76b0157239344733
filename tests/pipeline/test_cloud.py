"""Runs and schedules with the genuine clients, against the emulator's record of what arrived."""

import json
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from gemtune.artifacts.records import Lease
from gemtune.cli.main import app
from gemtune.config import Config, Monitor
from gemtune.errors import UserError
from gemtune.monitoring.decision import MonitoringEvidence, decide
from gemtune.state import store
from gemtune.steps import start_retraining
from gemtune.vertex import connect, notification
from pipelines import cloud, runs, schedules
from pipelines.emulator_process import emulator

IMAGE = "us-central1-docker.pkg.dev/demo-project/gemtune/gemtune-python:abc"
PARENT = "/v1/projects/demo-project/locations/us-central1"
KEY = "projects/demo-project/locations/us-central1/keyRings/r/cryptoKeys/k"
PRICE = "{models: {gemini-3.1-flash-lite: {price: {train: 5.0}}}}"
EVERY_FIELD = [
    f"vertex={{service_account: tuner@demo.example, labels: {{team: shop}}, bucket: own, catalogue: {PRICE}}}",
    f"backend={{service_account: steps@demo.example, encryption_key: {KEY}, reserved_ip_ranges: [r],"
    " network: projects/1/global/networks/n, network_attachment: projects/1/regions/us-central1/networkAttachments/a}",
]


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cloud")
    with emulator(folder / "state", engine="scripted") as running:
        yield running.url


@pytest.fixture
def config(url, monkeypatch, tmp_path):
    for name in ("GOOGLE_VERTEX_BASE_URL", "STORAGE_EMULATOR_HOST"):
        monkeypatch.setenv(name, url)
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "demo-project")
    monkeypatch.setenv("GOOGLE_CLOUD_LOCATION", "us-central1")
    for schedule in get(url, f"{PARENT}/schedules").get("schedules", []):
        call(url, "DELETE", f"/v1/{schedule['name']}")
    path = tmp_path / "c.yaml"
    path.write_text(f"name: shop\ndata: gs://b/rows.jsonl\nvertex: {{catalogue: {PRICE}}}\n")
    return path


@pytest.fixture
def invoke(config):
    return lambda verb, *options: gemtune(verb, config, "--image", IMAGE, *options)


def gemtune(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def call(url, method, path, body=None):
    data = json.dumps(body).encode() if body is not None else None
    request = urllib.request.Request(url + path, data, {"Content-Type": "application/json"}, method=method)
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


def get(url, path):
    return call(url, "GET", path)


def sets(overrides):
    return [word for override in overrides for word in ("--set", override)]


def report(url, name, state, *tasks):
    details = [
        {
            "taskId": str(9 - number),
            "taskName": task,
            "createTime": f"2026-11-02T03:00:0{number}Z",
            "state": task_state,
            "startTime": "2026-11-02T03:00:00Z",
            "endTime": "2026-11-02T03:01:30Z",
            "executorDetail": {
                "containerDetail": {"mainJob": f"projects/1/locations/us-central1/customJobs/70{number}"}
            },
        }
        for number, (task, task_state) in enumerate(tasks)
    ]
    body = {"state": f"PIPELINE_STATE_{state}", "jobDetail": {"taskDetails": details}}
    call(url, "POST", f"/emulator/{name}:report", body)


def test_submit_sends_the_whole_run(url, invoke):
    done = invoke("submit", "--set", "split.seed=11")
    assert done.exit_code == 0, done.output
    job = get(url, f"/v1/{done.output.strip()}")
    assert job["labels"] == {"gemtune": "shop", "gemtune-method": "supervised"}
    assert job["runtimeConfig"]["gcsOutputDirectory"] == "gs://demo-project-gemtune/pipelines"
    assert job["runtimeConfig"]["failurePolicy"] == "PIPELINE_FAILURE_POLICY_FAIL_FAST"  # sent as a number
    assert job["preflightValidations"] is True
    assert not {"network", "encryptionSpec", "pscInterfaceConfig", "reservedIpRanges"} & set(job)
    form = job["pipelineSpec"]["root"]["inputDefinitions"]["parameters"]
    assert form["data"]["defaultValue"] == "gs://b/rows.jsonl"
    assert form["split"]["defaultValue"]["seed"] == 11
    placed = form["vertex"]["defaultValue"]  # a container does not know this shell's environment
    assert (placed["project"], placed["location"]) == ("demo-project", "us-central1")
    assert placed["bucket"] == "demo-project-gemtune"
    executors = job["pipelineSpec"]["deploymentSpec"]["executors"]
    steps = ("preprocess", "tune", "gate", "deploy")
    assert {executors[f"exec-{step}"]["container"]["image"] for step in steps} == {IMAGE}


@pytest.mark.parametrize("verb", ["submit", "schedule"])
def test_pipeline_job_carries_identity_network_and_key(url, invoke, verb):
    done = invoke(verb, *sets(EVERY_FIELD))
    assert done.exit_code == 0, done.output
    sent = get(url, f"/v1/{done.output.strip()}")
    job = sent if verb == "submit" else sent["createPipelineJobRequest"]["pipelineJob"]
    assert job["serviceAccount"] == "steps@demo.example"  # the tuning jobs' own is a parameter
    assert (
        job["pipelineSpec"]["root"]["inputDefinitions"]["parameters"]["vertex"]["defaultValue"]["service_account"]
        == "tuner@demo.example"
    )
    assert job["network"] == "projects/1/global/networks/n"
    assert job["reservedIpRanges"] == ["r"]
    assert job["pscInterfaceConfig"]["networkAttachment"].endswith("/a")
    assert job["encryptionSpec"]["kmsKeyName"] == KEY
    assert job["labels"]["team"] == "shop"


def test_submit_makes_the_bucket_under_the_key(url, invoke):
    before = {bucket["name"] for bucket in get(url, "/storage/v1/b?project=demo-project").get("items", [])}
    assert "made-first" not in before
    assert invoke("submit", *sets(EVERY_FIELD), "--set", "vertex.bucket=made-first").exit_code == 0
    assert get(url, "/storage/v1/b/made-first")["encryption"]["defaultKmsKeyName"] == KEY


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


def test_schedule_is_patched_and_stays_the_same(url, config, invoke):
    first = invoke("schedule", "--cron", "0 3 * * 1")
    assert first.exit_code == 0, first.output
    second = invoke("schedule", "--cron", "CRON_TZ=Asia/Tokyo 0  4 * * 1", "--set", "split.seed=12")
    assert second.output == first.output
    (schedule,) = get(url, f"{PARENT}/schedules")["schedules"]
    assert schedule["cron"] == "TZ=Asia/Tokyo 0 4 * * 1"
    assert int(schedule["maxConcurrentRunCount"]) == int(schedule["maxConcurrentActiveRunCount"]) == 1
    job = schedule["createPipelineJobRequest"]["pipelineJob"]
    assert job["pipelineSpec"]["root"]["inputDefinitions"]["parameters"]["split"]["defaultValue"]["seed"] == 12
    assert gemtune("schedules", "list", config).output == "shop-supervised-tuning  ACTIVE    TZ=Asia/Tokyo 0 4 * * 1\n"
    listed = json.loads(gemtune("schedules", "list", config, "--json").output)
    assert listed == [{"schedule": "shop-supervised-tuning", "state": "ACTIVE", "cron": "TZ=Asia/Tokyo 0 4 * * 1"}]
    shown = gemtune("schedules", "show", config).output
    assert "ACTIVE" in shown
    assert "next run: 20" in shown


LOGS = "monitor.logs=bq://demo-project.logs.shop"


def test_schedule_of_monitoring_is_apart_and_knows_its_time(url, config, invoke):
    monitoring = ["--pipeline", "monitoring"]
    tuning = invoke("schedule").output.strip()
    for cron in ("0 5 * * 2", "0 6 * * 2"):
        done = invoke("schedule", "--cron", cron, *monitoring, "--set", LOGS)
        assert done.exit_code == 0, done.output
    listed = {schedule["name"]: schedule for schedule in get(url, f"{PARENT}/schedules")["schedules"]}
    assert len(listed) == 2
    schedule = listed[done.output.strip()]
    assert (schedule["displayName"], schedule["cron"]) == ("shop-monitoring", "0 6 * * 2")
    job = schedule["createPipelineJobRequest"]["pipelineJob"]
    assert job["pipelineSpec"]["pipelineInfo"]["name"] == "monitoring"
    assert job["runtimeConfig"]["parameterValues"] == {"now": schedules.SCHEDULED_TIME}
    assert gemtune("schedules", "pause", config, *monitoring).exit_code == 0
    states = {name: get(url, f"/v1/{name}")["state"] for name in listed}
    assert states == {tuning: "ACTIVE", schedule["name"]: "PAUSED"}
    assert "0 6 * * 2" in gemtune("schedules", "show", config, *monitoring).output
    assert gemtune("schedules", "delete", config).exit_code == 0
    assert list(get(url, f"{PARENT}/schedules")["schedules"]) == [get(url, f"/v1/{schedule['name']}")]


@pytest.mark.parametrize("verb", ["submit", "schedule"])
@pytest.mark.parametrize(
    ("overrides", "problem"),
    [([], "monitor.logs is empty"), (["monitor.logs=logs.jsonl"], "monitor.logs is 'logs.jsonl'"),
     ([LOGS, "data=rows.jsonl", "monitor.on_retrain=submit"], "data is 'rows.jsonl'")],
)  # fmt: skip
def test_monitoring_in_the_cloud_refuses_files_of_this_machine(url, invoke, verb, overrides, problem):
    refused = invoke(verb, "--pipeline", "monitoring", *sets(overrides))
    assert refused.exit_code != 0
    assert problem in refused.output


def test_submit_of_monitoring_examines_up_to_the_current_time(url, invoke):
    done = invoke("submit", "--pipeline", "monitoring", "--set", LOGS, "--set", "data=rows.jsonl")  # tunes nothing
    assert done.exit_code == 0, done.output
    job = get(url, f"/v1/{done.output.strip()}")
    assert job["labels"] == {"gemtune": "shop", "gemtune-pipeline": "monitoring"}
    assert not job["runtimeConfig"].get("parameterValues")


def test_retraining_for_the_same_reasons_is_one_pipeline_job_of_its_id(url, config, invoke, tmp_path, monkeypatch):
    """From two submissions and a schedule to the tuning job that several monitoring runs start at once, and to the
    remedy for one that did not succeed.
    """
    options = ("--pipeline", "monitoring", "--set", LOGS, "--set", "monitor.on_retrain=submit")
    names = [invoke("submit", *options).output.strip() for _ in range(2)]
    scheduled = get(url, f"/v1/{invoke('schedule', *options).output.strip()}")
    jobs = [*(get(url, f"/v1/{name}") for name in names), scheduled["createPipelineJobRequest"]["pipelineJob"]]
    (uri,) = {job["runtimeConfig"]["parameterValues"]["retraining_job"] for job in jobs}
    other = invoke("submit", *options, "--set", "split.seed=11").output.strip()
    assert get(url, f"/v1/{other}")["runtimeConfig"]["parameterValues"]["retraining_job"] != uri
    evidence = MonitoringEvidence(
        now=datetime(2026, 11, 2, tzinfo=UTC), problems=[], missing_windows=0, checks=[], new_rows=["a"] * 60,
        topic_rows=[], training_rows=90, base_model="b", retires=None, promoted=datetime(2026, 10, 1, tzinfo=UTC),
    )  # fmt: skip
    decision = decide("shop", evidence, Monitor(), uri)
    decision.write(tmp_path / "decision")
    assert decision.job_id not in {
        decide("shop", evidence, Monitor()).job_id,
        decide("shop", evidence, Monitor(), "u").job_id,
    }
    sections = {"monitor": {"on_retrain": "submit"}, "notify": {}, "vertex": {"bucket": "demo-project-gemtune"}}

    def starts(number):
        return start_retraining.run(str(tmp_path / "decision"), f"run-{number}", "shop", True, uri, **sections)

    with ThreadPoolExecutor(4) as pool:
        assert not any(pool.map(starts, range(4)))  # what is a part of the pipeline does not run
    started = [job for job in get(url, f"{PARENT}/pipelineJobs")["pipelineJobs"] if "-rt-" in job["name"]]
    assert [job["name"].rsplit("/", 1)[-1] for job in started] == [decision.job_id]
    assert started[0]["labels"] == {"gemtune": "shop", "gemtune-method": "supervised"}
    assert started[0]["pipelineSpec"]["pipelineInfo"]["name"] == "supervised-tuning"
    assert gemtune("runs", "cancel", config, decision.job_id).exit_code == 0
    posted = []
    monkeypatch.setattr(notification, "send", lambda _client, _notify, text: posted.append(text))
    assert not starts(5)
    (text,) = posted
    assert f"the job {decision.job_id} is cancelled" in text
    assert text.endswith("run gemtune submit CONFIG")


def test_schedule_that_is_paused_stays_paused(url, config, invoke):
    assert invoke("schedule").exit_code == 0
    assert gemtune("schedules", "pause", config).output == "shop: the schedule is paused\n"
    changed = invoke("schedule", "--cron", "30 4 * * *")
    assert "still paused" in changed.output
    (schedule,) = get(url, f"{PARENT}/schedules")["schedules"]
    assert (schedule["state"], schedule["cron"]) == ("PAUSED", "30 4 * * *")
    assert gemtune("schedules", "resume", config).exit_code == 0
    assert gemtune("schedules", "resume", config).exit_code == 0  # it is active
    assert get(url, f"{PARENT}/schedules")["schedules"][0]["state"] == "ACTIVE"
    assert gemtune("schedules", "delete", config).exit_code == 0
    assert not get(url, f"{PARENT}/schedules").get("schedules")
    gone = gemtune("schedules", "pause", config)
    assert "shop has no schedule in us-central1" in gone.output


def test_schedule_removes_doubles_and_no_schedule_of_others(url, config, invoke):
    first = invoke("schedule").output.strip()
    double = get(url, f"/v1/{first}")
    request = {key: double[key] for key in ("displayName", "cron", "createPipelineJobRequest", "maxConcurrentRunCount")}
    call(url, "POST", f"{PARENT}/schedules", request)
    assert gemtune("schedules", "pause", config).exit_code == 0
    assert {schedule["state"] for schedule in get(url, f"{PARENT}/schedules")["schedules"]} == {"PAUSED"}
    foreign = json.loads(json.dumps(request))
    foreign["createPipelineJobRequest"]["pipelineJob"]["labels"] = {"gemtune": "other", "gemtune-method": "supervised"}
    other = call(url, "POST", f"{PARENT}/schedules", foreign)["name"]
    assert invoke("schedule").output.split()[0] == first
    names = {schedule["name"] for schedule in get(url, f"{PARENT}/schedules")["schedules"]}
    assert {name.rsplit("/", 1)[1] for name in names} == {first.rsplit("/", 1)[1], other.rsplit("/", 1)[1]}


def test_schedule_submitted_at_once_and_after_a_kill_is_one(url, config, monkeypatch):
    """`bench/schedules.py` does it with processes that are killed."""
    settings = Config.load(config)
    monkeypatch.setattr(store, "PAUSE_S", 0.01)
    monkeypatch.setattr(store, "LEASE_S", 1.0)
    monkeypatch.setattr(time, "time", iter(count(2e9, -1e8)).__next__)  # the clock jumps back by years
    killed, begun = Lease(owner="killed"), time.monotonic()
    store.update(connect(settings.vertex), Lease, "shop-supervised-tuning", lambda _: killed)

    def put(minute):
        return schedules.put(connect(settings.vertex), settings, cloud.Source(image=IMAGE), f"{minute} 3 * * 1").name

    with ThreadPoolExecutor(4) as pool:
        names = set(pool.map(put, range(4)))
    assert time.monotonic() > begun + 1
    assert [schedule["name"] for schedule in get(url, f"{PARENT}/schedules")["schedules"]] == list(names)


def test_wait_that_is_interrupted_leaves_the_run(url, config, invoke, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(runs, "follow", interrupted)
    done = invoke("submit", "--wait")
    assert done.exit_code == 130
    assert "the run goes on; end it with: gemtune runs cancel" in done.output
    assert get(url, f"/v1/{done.output.split()[0]}")["state"] == "PIPELINE_STATE_PENDING"


@pytest.mark.parametrize(
    ("verb", "options", "message"),
    [
        ("schedule", ["--cron", "every monday"], "cannot read the cron expression 'every monday'"),
        ("submit", ["--data", "rows.jsonl"], "reads gs://BUCKET/OBJECT or bq://"),
        ("submit", ["--data", "gs://"], "data is 'gs://'"),
        ("schedule", ["--data", "bq://rows"], "data is 'bq://rows'"),
        ("submit", ["--set", "preprocess.corrections=review.csv"], "preprocess.corrections is 'review.csv'"),
        ("schedule", ["--set", "preprocess.test_data=new.csv"], "preprocess.test_data is 'new.csv'"),
        ("submit", ["--set", "evaluate.judge.ratings=r.csv"], "evaluate.judge.ratings is 'r.csv'"),
        ("submit", ["--set", "task.labels_file=labels.yaml"], "task.labels_file is 'labels.yaml'"),
        ("submit", ["--template", "https://x/kfp/p/r/q/v1"], "give --image, or --template"),
        ("submit", ["--set", "evaluate.base_model=gemini-0"], "unknown base model 'gemini-0'"),
        ("submit", ["--set", "vertex.location=mars-1"], "cannot be tuned in mars-1"),
        ("submit", ["--set", "backend.root=s3://b/runs"], "backend.root is 's3://b/runs'"),
        ("submit", ["--set", "backend.root=gs:///runs"], "backend.root is 'gs:///runs'"),
        ("submit", ["--set", "vertex.bucket=Bad_Bucket!"], "'Bad_Bucket!' is not a valid bucket name"),
        ("schedule", ["--set", "vertex.bucket=bucket/folder"], "'bucket/folder' is not a valid bucket name"),
        ("submit", ["--set", "backend.network=default"], "write projects/NUMBER/global/networks/NAME"),
        ("schedule", ["--set", f"backend.encryption_key={KEY.lower()}"], "write projects/PROJECT/locations/REGION"),
        ("submit", ["--set", "backend.reserved_ip_ranges=[a]"], "without backend.network"),
        ("schedule", ["--set", f"task.instruction={'x' * 200_000}"], "Vertex refuses the pipeline: configure: its"),
    ],
)
def test_submit_and_schedule_send_nothing_that_cannot_run(url, invoke, verb, options, message):
    before = get(url, f"{PARENT}/pipelineJobs")
    done = invoke(verb, *options)
    assert done.exit_code == 1
    assert message in done.output.replace("\n", " ")
    assert get(url, f"{PARENT}/pipelineJobs") == before


def test_submit_warns_of_an_image_that_docker_hub_would_have(invoke):
    assert "'gemtune-python:1' names no registry" in invoke("submit", "--image", "gemtune-python:1").output
    assert "registry" not in invoke("submit").output


def test_secrets_of_a_cluster_are_not_sent_to_vertex(url, invoke):
    done = invoke("submit", "--set", "backend={key_secret: google, pull_secret: registry}")
    assert done.exit_code == 0, done.output
    assert "/var/secrets" not in json.dumps(get(url, f"/v1/{done.output.strip()}"))


def test_submit_reads_tables(url, invoke):
    assert invoke("submit", "--data", "bq://demo-project.shop.rows").exit_code == 0


def test_submit_reports_an_unreachable_service_in_one_message(invoke, monkeypatch):
    monkeypatch.setenv("GOOGLE_VERTEX_BASE_URL", "http://127.0.0.1:9")
    done = invoke("submit")
    assert done.exit_code == 1
    assert "error: ConnectionError: " in done.output
    assert "(check network, proxy and region, then run again)" in done.output.replace("\n", " ")
    assert "Traceback" not in done.output


def test_runs_are_listed_shown_and_cancelled(url, config, invoke):
    name = invoke("submit").output.strip()
    run = name.rsplit("/", 1)[1]
    report(url, name, "RUNNING", ("preprocess", "SUCCEEDED"), ("split", "RUNNING"), ("split", "PENDING"))
    listed = gemtune("runs", "list", config, "--count", "1").output
    assert listed.startswith(f"{run}  RUNNING")
    shown = gemtune("runs", "show", config)
    assert shown.exit_code == 0, shown.output
    assert shown.output.splitlines()[0] == name
    assert [line.split()[:3] for line in shown.output.splitlines()[2:]] == [
        ["preprocess", "SUCCEEDED", "90"],
        ["split", "RUNNING", "90"],
        ["split[1]", "PENDING", "90"],
    ]
    assert gemtune("runs", "show", config, run).output == shown.output
    assert gemtune("runs", "cancel", config, run).output == f"{run} is being cancelled\n"
    assert get(url, f"/v1/{name}")["state"] == "PIPELINE_STATE_CANCELLED"
    again = gemtune("runs", "cancel", config, run)
    assert again.exit_code == 1
    assert again.output.startswith("error: 400: ")
    assert "can't be cancelled. (correct what the message names)" in again.output
    for verb in ("show", "cancel"):
        for unknown in ("nobody", "../x", "/", "a b", "projects/p/locations/l/tuningJobs/5"):
            refused = gemtune("runs", verb, config, unknown)
            assert refused.exit_code == 1
            assert refused.output.startswith(f"error: there is no run '{unknown}' in us-central1")
    assert gemtune("runs", "cancel", config, "").output.startswith("error: there is no run ''")
    other = gemtune("runs", "show", config, "--set", "name=nobody")
    assert "nobody has no runs in us-central1" in other.output


def test_run_logs_are_those_of_its_steps(url, config, invoke):
    name = invoke("submit").output.strip()
    report(url, name, "RUNNING", ("preprocess", "SUCCEEDED"), ("split", "RUNNING"))
    for job, text in (("700", "done: 9 rows"), ("701", "progress: 1"), ("999", "of another run")):
        call(url, "POST", "/emulator/logs", {"jobId": job, "text": text})
    lines = gemtune("runs", "logs", config).output.splitlines()
    assert [line.split(" ", 1)[1] for line in lines] == ["preprocess: done: 9 rows", "split: progress: 1"]
    (line,) = gemtune("runs", "logs", config, "--step", "split").output.splitlines()
    assert line.endswith("split: progress: 1")
    assert "no step gate has started" in gemtune("runs", "logs", config, "--step", "gate").output


def test_follow_shows_each_change_once_and_the_end(url, config, invoke):
    name = invoke("submit").output.strip()
    client = connect(Config().vertex)
    reports = [
        ("RUNNING", ("preprocess", "RUNNING")),
        ("RUNNING", ("preprocess", "SUCCEEDED"), ("split", "RUNNING")),
        ("FAILED", ("preprocess", "SUCCEEDED"), ("split", "FAILED")),
    ]
    shown = []
    report(url, name, *reports.pop(0))

    def show(line):
        shown.append(" ".join(line.split()[:2]))
        if reports:
            report(url, name, *reports.pop(0))

    assert runs.follow(client, name, show, poll_s=0) is False
    assert shown[0] == "preprocess RUNNING"
    assert shown[-2:] == ["split FAILED", f"{name.rsplit('/', 1)[1]}: FAILED"]
    assert len(set(shown)) == len(shown)


def test_template_is_run_with_the_values_of_the_configuration(url, config, tmp_path, monkeypatch):
    repository = f"{url}/kfp/demo-project/pipelines"
    options = ["--out", tmp_path, "--image", IMAGE, "--publish", repository, "--tag", "v1", "--tag", "latest"]
    published = gemtune("compile", config, *options)
    assert published.exit_code == 0, published.output
    supervised, preference, monitoring = [line for line in published.output.split() if line.startswith(repository)]
    assert monitoring.startswith(f"{repository}/monitoring/sha256:")
    assert preference.startswith(f"{repository}/preference-tuning/sha256:")
    package, version = supervised.rsplit("/", 1)
    done = gemtune(
        "submit", config, "--template", f"{package}/v1", "--set", "split.seed=13", *sets(["plan.max_cost=9"])
    )
    assert done.exit_code == 0, done.output
    job = get(url, f"/v1/{done.output.strip()}")
    assert job["templateMetadata"]["version"] == version
    assert job["runtimeConfig"]["parameterValues"]["split"]["seed"] == 13
    assert job["runtimeConfig"]["parameterValues"]["max_cost"] == 9
    assert job["pipelineSpec"]["pipelineInfo"]["name"] == "supervised-tuning"
    assert job["pipelineSpec"]["root"]["inputDefinitions"]["parameters"]["split"]["defaultValue"]["seed"] != 13
    by_tag = gemtune("schedule", config, "--template", f"{package}/latest")
    assert by_tag.exit_code == 0, by_tag.output
    unknown = gemtune("submit", config, "--template", f"{package}/v2")
    assert unknown.output.startswith("error: 404: ")
    refused = gemtune("compile", config, "--out", tmp_path, "--publish", f"{url}/nowhere")
    assert "cannot publish" in refused.output
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "gone.json"))
    refused = gemtune("compile", config, "--out", tmp_path, "--publish", "https://us-central1-kfp.pkg.dev/p/r")
    assert "no usable Google credentials" in refused.output


def test_compile_writes_the_places_of_the_environment_in(config, tmp_path, monkeypatch):
    def vertex_of(*options):
        done = gemtune("compile", config, "--out", tmp_path, *options)
        assert done.exit_code == 0, done.output
        spec = yaml.safe_load((tmp_path / "supervised_tuning.yaml").read_text())
        parameters = spec["root"]["inputDefinitions"]["parameters"]
        return done.output, parameters["vertex"]["defaultValue"], parameters["bucket"]["defaultValue"]

    output, vertex, bucket = vertex_of()
    assert "warning: no project" not in output
    assert (vertex["project"], vertex["location"]) == ("demo-project", "us-central1")
    assert bucket == vertex["bucket"] == "demo-project-gemtune"
    monkeypatch.delenv("GOOGLE_CLOUD_PROJECT")
    output, vertex, bucket = vertex_of()
    assert "warning: no project and no bucket are compiled in" in output
    assert (vertex["project"], vertex["location"], bucket) == ("", "us-central1", "")


def test_doctor_names_what_the_project_lacks(url, config):
    accounts = sets(EVERY_FIELD)
    complete = gemtune("doctor", config, "--image", IMAGE, *accounts)
    assert complete.exit_code == 0, complete.output
    lines = complete.output.splitlines()
    for subject in ("API aiplatform.googleapis.com", "API cloudkms.googleapis.com", f"key {KEY}", f"image {IMAGE}"):
        assert f"{subject}: ok" in lines
    assert any(line.startswith("bucket own: ") for line in lines)
    assert "quota aiplatform.googleapis.com/tuning_jobs: ok, 100" in lines
    names = ["aiplatform.googleapis.com", "aiplatform.googleapis.com/pipeline_jobs", "tuner@demo.example", "k", "abc"]
    call(url, "PUT", "/emulator/project", {"missing": names})
    lacking = gemtune("doctor", config, "--image", IMAGE, *accounts)
    call(url, "PUT", "/emulator/project", {"missing": []})
    assert lacking.exit_code == 1
    missing = [line for line in lacking.output.splitlines() if ": missing (" in line or ": disabled (" in line]
    assert [line.split(": ")[0].split()[-1].rsplit("/", 1)[-1] for line in missing] == [
        *(names[0], "pipeline_jobs", *names[2:4]),
        "gemtune-python:abc",
    ]


def test_doctor_offline_sends_no_request(config, monkeypatch):
    monkeypatch.setenv("GOOGLE_VERTEX_BASE_URL", "http://127.0.0.1:9")
    assert gemtune("doctor", config, "--offline").exit_code == 0


def test_placeholders_and_labels_are_checked_before_a_run(config):
    root = Path(__file__).parents[2]
    done = gemtune("doctor", root / "configs" / "production.yaml", "--offline")
    assert done.exit_code == 1
    price = "vertex.catalogue.models.gemini-3.1-flash-lite.price.train"
    for setting in ("data", "vertex.project", "vertex.bucket", price):
        assert f"{setting}='" in done.output
    assert done.output.count("is a placeholder") == 4
    refused = gemtune("submit", config, "--image", IMAGE, "--set", "vertex.labels={Team: a}")
    assert "vertex.labels.Team" in refused.output


def test_pipeline_job_needs_one_pipeline(config):
    client = connect(Config().vertex)
    for source in (cloud.Source(), cloud.Source(image="a", template="b"), cloud.Source(template="b", cache=False)):
        with pytest.raises(UserError, match="no pipeline"):
            cloud.pipeline_job(client, Config(data="gs://b/rows.jsonl"), source)


def test_submit_refuses_a_job_of_unknown_price_and_names_the_setting(url, config):
    config.write_text("name: shop\ndata: gs://b/rows.jsonl\n")
    for verb in ("submit", "schedule"):
        done = gemtune(verb, config, "--image", IMAGE)
        assert done.exit_code == 1, done.output
        assert "set vertex.catalogue={models: {gemini-3.1-flash-lite: {price: {train: USD" in done.output
    monitoring = gemtune("submit", config, "--image", IMAGE, "--pipeline", "monitoring", "--set", LOGS)
    assert monitoring.exit_code == 0, monitoring.output  # it tunes nothing


def test_production_configuration_needs_only_its_places_filled_in(url, invoke, tmp_path):
    text = (Path(__file__).parents[2] / "configs" / "production.yaml").read_text()
    filled = text
    for place, value in (("PROJECT", "demo-project"), ("BUCKET", "demo-bucket"), ("PRICE", "5.0")):
        filled = filled.replace(f"YOUR-{place}", value)
    config = tmp_path / "production.yaml"
    config.write_text(filled)
    done = gemtune("submit", config, "--image", IMAGE)
    assert done.exit_code == 0, done.output
