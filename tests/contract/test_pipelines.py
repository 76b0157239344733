# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Pipeline jobs, schedules that fire, and kfp's template registry, through the SDKs over REST."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from emulated import LOCATION, NUMBER, PARENT, PROJECT, Server, gapic
from google.api_core import exceptions

from emulator.core.state import State
from emulator.services.pipeline_jobs import PipelineJobs, PipelineRuns
from emulator.services.schedules import Schedules
from emulator.services.storage import Storage
from emulator.services.template_registry import TemplateRegistry

SPEC = """
pipelineInfo: {name: demo-pipe}
root:
  dag:
    tasks:
      say: {cachingOptions: {}, componentRef: {name: comp-say}, taskInfo: {name: say}}
  inputDefinitions:
    parameters:
      x: {parameterType: NUMBER_INTEGER}
      when: {parameterType: STRING, defaultValue: never}
components:
  comp-say: {executorLabel: exec-say}
deploymentSpec:
  executors:
    exec-say: {container: {image: python, command: [echo], args: [hi]}}
schemaVersion: 2.1.0
sdkVersion: kfp-2.17.0
"""


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("spec") / "pipe.yaml"
    path.write_text(SPEC)
    return path


@pytest.fixture
def aip(server: Server) -> Iterator[Any]:
    from google.auth.credentials import AnonymousCredentials
    from google.cloud import aiplatform

    credentials = AnonymousCredentials()
    options = {"credentials": credentials, "api_endpoint": server.url, "api_transport": "rest"}
    aiplatform.init(project=PROJECT, location=LOCATION, staging_bucket="gs://tuning-data", **options)
    yield aiplatform
    aiplatform.initializer.global_config._api_endpoint = None


def make(aip: Any, template: Path, **values: Any) -> Any:
    return aip.PipelineJob(
        display_name="demo",
        template_path=str(template),
        pipeline_root="gs://tuning-data/root",
        parameter_values={"x": 5, **values},
        labels={"a": "b"},
    )


def submit(server: Server, job: Any) -> Any:
    from google.cloud.aiplatform_v1 import PipelineServiceClient

    client = gapic(PipelineServiceClient, server.url)
    parent = f"projects/{PROJECT}/locations/{LOCATION}"
    return client.create_pipeline_job(parent=parent, pipeline_job=job._gca_resource, pipeline_job_id=job.job_id)


def report(server: Server, name: str, **body: Any) -> httpx.Response:
    return httpx.post(f"{server.url}/emulator/{name}:report", json=body)


def test_job_is_recorded_and_reported(server: Server, aip: Any, template: Path) -> None:
    submitted = submit(server, make(aip, template))
    job = aip.PipelineJob.get(submitted.name)
    assert job.state.name == "PIPELINE_STATE_PENDING"
    assert job.resource_name.startswith(f"{PARENT}/pipelineJobs/demo-pipe-")
    assert report(server, submitted.name, state="PIPELINE_STATE_RUNNING").status_code == 200
    details = {"taskDetails": [{"taskId": "1", "taskName": "say", "state": "SUCCEEDED"}]}
    report(server, submitted.name, state="PIPELINE_STATE_SUCCEEDED", jobDetail=details)
    job.wait()
    assert job.state.name == "PIPELINE_STATE_SUCCEEDED"
    assert [task.task_name for task in job.task_details] == ["say"]
    assert report(server, submitted.name, state="PIPELINE_STATE_RUNNING").status_code == 400
    assert submitted.name in [item.resource_name for item in aip.PipelineJob.list(filter='display_name="demo"')]
    job.delete()
    with pytest.raises(exceptions.NotFound):
        aip.PipelineJob.get(submitted.name)


def test_cancel_and_batches(server: Server, aip: Any, template: Path) -> None:
    from google.cloud.aiplatform_v1 import PipelineServiceClient

    client = gapic(PipelineServiceClient, server.url)
    names = [submit(server, make(aip, template, when=str(n))).name for n in range(1)]
    aip.PipelineJob.get(names[0]).cancel()
    assert aip.PipelineJob.get(names[0]).state.name == "PIPELINE_STATE_CANCELLED"
    parent = f"projects/{PROJECT}/locations/{LOCATION}"
    assert client.batch_delete_pipeline_jobs(parent=parent, names=names).result().pipeline_jobs[0].name == names[0]
    body = {"pipelineSpec": make(aip, template).to_dict()["pipelineSpec"]}
    refused = httpx.post(f"{server.url}/v1/{PARENT}/pipelineJobs?pipelineJobId=x1", json=body)
    assert "'x' is required" in refused.json()["error"]["message"]
    body["runtimeConfig"] = {"parameterValues": {"x": 1, "y": 2}}
    refused = httpx.post(f"{server.url}/v1/{PARENT}/pipelineJobs?pipelineJobId=x1", json=body)
    assert "'y'" in refused.json()["error"]["message"]


def test_schedules_fire_when_the_clock_says(server: Server, aip: Any, template: Path) -> None:
    placeholder = "{{$.pipeline_job_schedule_time_utc_placeholder}}"
    job = make(aip, template, when=placeholder)
    schedule = job.create_schedule(
        cron="TZ=UTC 0 3 * * *", display_name="nightly", max_run_count=3, max_concurrent_active_run_count=1
    )
    assert schedule.state.name == "ACTIVE"
    assert "T03:00:00" in schedule._gca_resource.next_run_time.isoformat()
    httpx.post(f"{server.url}/emulator/clock", json={"seconds": 86400})
    (run,) = schedule.list_jobs()
    when = run.gca_resource.runtime_config.parameter_values["when"]
    assert "T03:00:00" in when
    httpx.post(f"{server.url}/emulator/clock", json={"seconds": 86400})
    assert len(schedule.list_jobs()) == 1  # the first has not ended
    report(server, run.resource_name, state="PIPELINE_STATE_SUCCEEDED")
    schedule.pause()
    httpx.post(f"{server.url}/emulator/clock", json={"seconds": 86400})
    assert len(schedule.list_jobs()) == 1
    schedule.resume()
    schedule.update(cron="TZ=UTC 0 4 * * *")
    httpx.post(f"{server.url}/emulator/clock", json={"seconds": 86400})
    for unfinished in schedule.list_jobs():
        report(server, unfinished.resource_name, state="PIPELINE_STATE_SUCCEEDED")
    httpx.post(f"{server.url}/emulator/clock", json={"seconds": 86400})
    assert len(schedule.list_jobs()) == 3
    completed = aip.PipelineJobSchedule.get(schedule.resource_name)
    assert completed.state.name == "COMPLETED"
    assert schedule.resource_name in [s.resource_name for s in aip.PipelineJobSchedule.list()]
    completed.delete()
    with pytest.raises(exceptions.NotFound):
        aip.PipelineJobSchedule.get(schedule.resource_name)


def test_schedule_that_another_thread_has_fired_is_not_fired_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = State(tmp_path)
    jobs = PipelineJobs(state, TemplateRegistry(state), PipelineRuns(state, Storage(tmp_path / "storage"), ""))
    schedules = Schedules(state, jobs)
    due = datetime(2026, 11, 2, 3, tzinfo=UTC)
    request = {"pipelineJob": {}}
    fields = {"displayName": "d", "cron": "0 3 * * *", "state": "ACTIVE", "nextRunTime": "2026-11-02T03:00:00.000000Z"}
    name = f"{PARENT}/schedules/1"
    state.put("schedules", name, {"name": name, "createPipelineJobRequest": request, **fields})
    stored, lists = state.all, []

    def overtaken(kind: str, parent: str | None = None) -> list[tuple[int, Any]]:
        listed = stored(kind, parent)
        lists.append(kind)
        if len(lists) == 2:  # it is known what is due, and has not been fired
            schedules.fire_until(due)
        return listed

    monkeypatch.setattr(state, "all", overtaken)
    schedules.fire_until(due)
    assert (state.get(name) or {})["startedRunCount"] == "1"
    state.close()


def test_schedule_limit_on_started_runs_does_not_count_unfinished_ones(
    server: Server, aip: Any, template: Path
) -> None:
    schedule = make(aip, template, when="x").create_schedule(
        cron="TZ=UTC 0 3 * * *", display_name="overlapping", max_concurrent_run_count=1
    )
    httpx.post(f"{server.url}/emulator/clock", json={"seconds": 2 * 86400})
    assert len(schedule.list_jobs()) == 2


def test_bad_schedules_are_refused(server: Server, aip: Any, template: Path) -> None:
    for cron in ("0 3 * *", "61 * * * *", "TZ=Nowhere/Town 0 3 * * *", "x * * * *"):
        with pytest.raises(exceptions.BadRequest, match="cron"):
            make(aip, template).create_schedule(cron=cron, display_name="bad")


KEY = "projects/p/locations/us-central1/keyRings/r/cryptoKeys/k"
PEERING = {"domain": "corp.example.", "targetProject": "p", "targetNetwork": "n"}


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"runtimeConfig": {"failurePolicy": "FAST"}}, "failure_policy"),
        ({"runtimeConfig": {"failurePolicy": True}}, "failure_policy"),
        ({"runtimeConfig": {"failure": 1}}, "failure"),
        ({"encryptionSpec": {}}, "kms_key_name"),
        ({"encryptionSpec": {"kmsKeyName": "k"}}, "kms_key_name"),
        ({"encryptionSpec": {"kmsKeyName": KEY.replace("us-central1", "europe-west1")}}, "kms_key_name"),
        ({"network": "default"}, "network"),
        ({"reservedIpRanges": ["range"]}, "reserved_ip_ranges"),
        ({"serviceAccount": "steps"}, "service_account"),
        ({"pscInterfaceConfig": {"networkAttachment": "a/b"}}, "network_attachment"),
        ({"pscInterfaceConfig": {"dnsPeeringConfigs": [{**PEERING, "domain": "corp.example"}]}}, "domain"),
        ({"pscInterfaceConfig": {"dnsPeeringConfigs": [{"domain": "corp.example."}]}}, "target_project"),
        ({"labels": {"": "x"}}, "labels"),
        ({"labels": []}, "labels"),
        ({"serviceAcount": "typo"}, "serviceAcount"),
    ],
)
def test_jobs_and_schedules_with_bad_fields_are_refused(server: Server, fields: dict[str, Any], named: str) -> None:
    runtime = {"parameterValues": {"x": 1}, **fields.get("runtimeConfig", {})}
    job = {"displayName": "j", "pipelineSpec": yaml.safe_load(SPEC), **fields, "runtimeConfig": runtime}
    schedule = {"displayName": "s", "cron": "0 3 * * 1", "createPipelineJobRequest": {"pipelineJob": job}}
    for kind, body in (("pipelineJobs", job), ("schedules", schedule)):
        answer = httpx.post(f"{server.url}/v1/{PARENT}/{kind}", json=body)
        error = answer.json()["error"]
        assert (answer.status_code, error["status"]) == (400, "INVALID_ARGUMENT")
        assert named in error["message"]


def test_job_with_every_field_is_accepted(server: Server) -> None:
    body = {
        "pipelineSpec": yaml.safe_load(SPEC),
        "runtimeConfig": {"parameterValues": {"x": 1}, "failurePolicy": 2},
        "encryptionSpec": {"kmsKeyName": KEY},
        "network": "projects/1/global/networks/n",
        "reservedIpRanges": ["range"],
        "serviceAccount": "steps@p.iam.gserviceaccount.com",
        "pscInterfaceConfig": {"networkAttachment": "a", "dnsPeeringConfigs": [PEERING]},
        "preflightValidations": True,
        "labels": {"team": "shop"},
    }
    job = httpx.post(f"{server.url}/v1/{PARENT}/pipelineJobs", json=body).json()
    assert job["runtimeConfig"]["failurePolicy"] == "PIPELINE_FAILURE_POLICY_FAIL_FAST", "sent as its number"
    del body["runtimeConfig"]
    assert {key: job[key] for key in body} == body


def test_template_registry(server: Server, template: Path, tmp_path: Path) -> None:
    from kfp.registry import ApiAuth, RegistryClient

    client = RegistryClient(host=f"{server.url}/kfp/{PROJECT}/pipelines", auth=ApiAuth("t"))
    package, version = client.upload_pipeline(str(template), tags=["v1", "latest"])
    assert package == "demo-pipe"
    assert version.startswith("sha256:")
    saved = client.download_pipeline(package, tag="latest", file_name=str(tmp_path / "a.yaml"))
    assert Path(saved).read_text() == SPEC
    client.download_pipeline(package, version=version, file_name=str(tmp_path / "b.yaml"))
    assert (tmp_path / "b.yaml").read_bytes() == template.read_bytes()
    template2 = tmp_path / "other.yaml"
    template2.write_text(SPEC + "# changed\n")
    _, newer = client.upload_pipeline(str(template2), tags="latest")
    assert {tag["name"].rsplit("/", 1)[1]: tag["version"].rsplit("/", 1)[1] for tag in client.list_tags(package)} == {
        "v1": version,
        "latest": newer,
    }
    client.update_tag(package, version, "latest")
    assert client.get_tag(package, "latest")["version"].endswith(version)
    assert client.create_tag(package, newer, "next").keys() == {"name", "version"}
    assert [p["name"] for p in client.list_packages()] == [
        f"projects/{NUMBER}/locations/us-central1/repositories/pipelines/packages/demo-pipe"
    ]
    assert len(client.list_versions(package)) == 2
    assert client.get_version(package, version)["name"].endswith(version)
    client.delete_tag(package, "next")
    assert client.delete_version(package, newer)
    assert client.delete_package(package)
    assert client.list_packages() in ([], {})


KUBEFLOW_RUN = {"display_name": "r", "pipeline_spec": {"pipelineInfo": {"name": "p"}, "root": {"dag": {"tasks": {}}}}}
CRON = {"trigger": {"cron_schedule": {"cron": "0 0 3 * * *"}}, "mode": "ENABLE"}


@pytest.mark.parametrize(
    ("path", "body", "named"),
    [
        ("runs", {**KUBEFLOW_RUN, "runtime_config": {"pipeline_root": "folder"}}, "runtime_config.pipeline_root"),
        ("runs", {**KUBEFLOW_RUN, "runtime_config": {"parameters": [1]}}, "runtime_config.parameters"),
        ("runs", {**KUBEFLOW_RUN, "display_name": ""}, "display_name"),
        ("recurringruns", {**KUBEFLOW_RUN, **CRON, "max_concurrency": "many"}, "max_concurrency"),
        ("recurringruns", {**KUBEFLOW_RUN, "trigger": {"cron_schedule": 5}}, "trigger.cron_schedule"),
        ("experiments", {"display_name": None}, "display_name"),
        ("runs?filter=x", None, "JSON"),
        ('experiments?filter={"predicates":[{}]}', None, "filter.predicates[0].key"),
    ],
)
def test_requests_to_kubeflow_are_refused_by_field(server: Server, path: str, body: Any, named: str) -> None:
    httpx.post(f"{server.url}/apis/v2beta1/experiments", json={"display_name": "kept"})
    method = "GET" if body is None else "POST"
    refused = httpx.request(method, f"{server.url}/apis/v2beta1/{path}", json=body)
    assert (refused.status_code, named in refused.json()["error"]["message"]) == (400, True), refused.text
    httpx.get(f"{server.url}/apis/v2beta1/runs").raise_for_status()


def test_template_that_is_not_utf8_is_refused(server: Server) -> None:
    content = "pipelineInfo: {name: p}".encode("utf-16")
    assert httpx.post(f"{server.url}/kfp/p/r", files={"content": content}).status_code == 400
