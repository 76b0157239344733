# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Pipeline jobs that the emulator executes: submitted, scheduled, cancelled and read with Google's own client."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from emulated import LOCATION, PARENT, PROJECT, ROOT, Server, gapic, storage_client, upload
from google.protobuf.json_format import MessageToDict
from kfp import dsl

ENDED = ("PIPELINE_STATE_SUCCEEDED", "PIPELINE_STATE_FAILED", "PIPELINE_STATE_CANCELLED")
BUCKET = "pipeline-root"


@dsl.container_component
def write(text: str, file: dsl.Output[dsl.Dataset]):
    return dsl.ContainerSpec(
        "image", ["sh", "-c", 'echo "$STORAGE_EMULATOR_HOST$GOOGLE_CLOUD_PROJECT $0" > "$1"'], [text, file.path]
    )


@dsl.container_component
def shell(script: str):
    return dsl.ContainerSpec("image", ["sh", "-c"], [script])


def steps(script: str, names: list[str], go: bool = False):
    with dsl.ParallelFor(names) as name:
        write(text=name).set_display_name("Write it")
    with dsl.If(go == True):  # noqa: E712
        write(text="never")
    shell(script=script).set_caching_options(False)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    directory = tmp_path_factory.mktemp("emulator")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GOOGLE_CLOUD_PROJECT", "unknown-to-containers")
        running = Server(directory / "state", "--engine", "scripted", "--execute-pipelines")
    storage_client(running.url).create_bucket(BUCKET)
    yield running
    running.kill()


def body(script: str = "exit 0", **values: Any) -> dict[str, Any]:
    return {
        "displayName": "small",
        "pipelineSpec": MessageToDict(dsl.pipeline(name="small")(steps).pipeline_spec),
        "runtimeConfig": {
            "gcsOutputDirectory": f"gs://{BUCKET}/root",
            "parameterValues": {"script": script, "names": ["x"], **values},
        },
    }


def submit(server: Server, job_id: str, **request: Any) -> httpx.Response:
    url = f"{server.url}/v1/projects/{PROJECT}/locations/{LOCATION}/pipelineJobs?pipelineJobId={job_id}"
    return httpx.post(url, json=request or body())


def get(server: Server, name: str) -> dict[str, Any]:
    return dict(httpx.get(f"{server.url}/v1/{name}").json())


def wait(condition: Callable[[], Any], timeout_s: float = 20.0) -> Any:
    deadline = time.monotonic() + timeout_s
    while not (result := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return result


def ended(server: Server, name: str) -> dict[str, Any]:
    return dict(wait(lambda: job if (job := get(server, name))["state"] in ENDED else None))


@pytest.mark.difference(
    "steps of pipelines",
    "run in their containers",
    "with `--execute-pipelines` their commands run here, without the image",
)
def test_submitted_job_runs_and_shows_its_tasks(server: Server) -> None:
    from google.cloud.aiplatform_v1 import PipelineServiceClient

    name = submit(server, "job-1").json()["name"]
    assert ended(server, name)["state"] == "PIPELINE_STATE_SUCCEEDED"
    job = gapic(PipelineServiceClient, server.url).get_pipeline_job(name=name)
    details = {detail.task_name: detail for detail in job.job_detail.task_details}
    states = {name: detail.state.name for name, detail in details.items()}
    assert states == {
        "job-1": "SUCCEEDED",
        "for-loop-1": "SUCCEEDED",
        "for-loop-1-0": "SUCCEEDED",
        "Write it": "SUCCEEDED",
        "condition-2": "NOT_TRIGGERED",
        "shell": "SUCCEEDED",
    }
    written = details["Write it"]
    assert written.task_unique_name == "for-loop-1.for-loop-1-0.write"
    assert written.parent_task_id == details["for-loop-1-0"].task_id
    assert written.start_time <= written.end_time <= job.end_time
    (artifact,) = written.outputs["file"].artifacts
    assert (artifact.display_name, artifact.schema_title) == ("file", "system.Dataset")
    assert artifact.uri.startswith(f"gs://{BUCKET}/root/123456789012/job-1/write_")
    blob = storage_client(server.url).bucket(BUCKET).blob(artifact.uri.removeprefix(f"gs://{BUCKET}/"))
    assert blob.download_as_text() == f"{server.url} x\n"
    assert dict(written.execution.metadata) == {"input:text": "x"}
    assert (written.execution.state.name, written.execution.schema_title) == ("COMPLETE", "system.ContainerExecution")
    again = ended(server, submit(server, "job-2").json()["name"])
    state = {detail["taskName"]: detail["state"] for detail in again["jobDetail"]["taskDetails"]}
    assert (state["Write it"], state["shell"]) == ("SKIPPED", "SUCCEEDED")


def test_failed_job_names_step_and_log(server: Server) -> None:
    job = ended(server, submit(server, "failing", **body("echo no luck; exit 3")).json()["name"])
    message = "The DAG failed because some tasks failed. The failed tasks are: [shell]."
    assert (job["state"], job["error"]) == ("PIPELINE_STATE_FAILED", {"code": 9, "message": message})
    (failed,) = (detail for detail in job["jobDetail"]["taskDetails"] if detail["taskName"] == "shell")
    assert failed["error"]["message"].startswith("The step ended with exit code 3: no luck (log: ")
    assert Path(failed["error"]["message"][:-1].rpartition("log: ")[2]).read_text() == "no luck\n"
    job_id = failed["executorDetail"]["containerDetail"]["mainJob"].rpartition("/")[2]
    logged = httpx.post(f"{server.url}/v2/entries:list", json={"filter": f'resource.labels.job_id=("{job_id}")'}).json()
    assert [entry["textPayload"] for entry in logged["entries"]] == ["no luck"]
    request = body()
    request["runtimeConfig"]["gcsOutputDirectory"] = "gs://no-such-bucket/root"
    job = ended(server, submit(server, "homeless", **request).json()["name"])
    assert job["error"]["message"] == "The pipeline root: The specified bucket does not exist."


def test_reset_ends_the_steps_of_running_jobs(server: Server, tmp_path: Path) -> None:
    name = submit(server, "reset", **body(f"echo $$ > {tmp_path}/pid; sleep 60")).json()["name"]
    pid = int(wait(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text()))
    assert httpx.post(f"{server.url}/emulator/reset", timeout=60).status_code == 200
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert httpx.get(f"{server.url}/v1/{name}").status_code == 404
    storage_client(server.url).create_bucket(BUCKET)
    assert ended(server, submit(server, "reset").json()["name"])["state"] == "PIPELINE_STATE_SUCCEEDED"


def chains(folder: str):
    with dsl.ExitHandler(shell(script=f"exit 0 {folder}").set_display_name("always")):
        failing = shell(script=f"until test -e {folder}/runs; do sleep 0.02; done; exit 3").set_display_name("failing")
        running = shell(script=f"touch {folder}/runs; sleep 0.6").set_display_name("running")
        shell(script=f": {folder}").after(failing).set_display_name("needs the failing one")
        shell(script=f"ls {folder}").after(running).set_display_name("independent")


@pytest.mark.parametrize(
    ("policy", "independent"), [("FAST", "NOT_TRIGGERED"), ("SLOW", "SUCCEEDED"), ("", "SUCCEEDED")]
)
def test_failure_policy_decides_about_steps_that_need_no_failed_one(
    server: Server, tmp_path: Path, policy: str, independent: str
) -> None:
    """A step that runs is not ended; the service's default is to go on."""
    request = body()
    request["pipelineSpec"] = MessageToDict(dsl.pipeline(name="chains")(chains).pipeline_spec)
    request["runtimeConfig"]["parameterValues"] = {"folder": str(tmp_path)}
    if policy:
        request["runtimeConfig"]["failurePolicy"] = f"PIPELINE_FAILURE_POLICY_FAIL_{policy}"
    job = ended(server, submit(server, f"policy-{policy.lower()}", **request).json()["name"])
    assert job["state"] == "PIPELINE_STATE_FAILED"
    states = {detail["taskName"]: detail["state"] for detail in job["jobDetail"]["taskDetails"]}
    expected = {"failing": "FAILED", "running": "SUCCEEDED", "independent": independent, "always": "SUCCEEDED"}
    assert {name: states.get(name, "NOT_TRIGGERED") for name in expected} == expected
    assert states.get("needs the failing one", "NOT_TRIGGERED") == "NOT_TRIGGERED"


def test_cancelled_job_ends_its_steps(server: Server, tmp_path: Path) -> None:
    name = submit(server, "cancelled", **body(f"echo $$ > {tmp_path}/pid; sleep 60")).json()["name"]
    wait((tmp_path / "pid").exists)
    deletion = httpx.delete(f"{server.url}/v1/{name}")
    assert "cancel it first" in deletion.json()["error"]["message"]
    assert httpx.post(f"{server.url}/emulator/{name}:report", json={"state": ENDED[0]}).status_code == 400
    assert httpx.post(f"{server.url}/v1/{name}:cancel").status_code == 200
    assert ended(server, name)["state"] == "PIPELINE_STATE_CANCELLED"
    assert not alive(int((tmp_path / "pid").read_text()))
    assert httpx.delete(f"{server.url}/v1/{name}").status_code == 200


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        return "zombie" not in Path(f"/proc/{pid}/status").read_text()
    except (ProcessLookupError, FileNotFoundError):
        return False


def test_fired_schedule_runs_and_waits_for_its_unfinished_run(server: Server, tmp_path: Path) -> None:
    schedule = {
        "displayName": "nightly",
        "cron": "0 3 * * *",
        "maxConcurrentRunCount": "1",
        "maxConcurrentActiveRunCount": "1",
        "createPipelineJobRequest": {
            "parent": PARENT,
            "pipelineJob": body(f"while [ ! -e {tmp_path}/go ]; do sleep 0.05; done"),
        },
    }
    name = httpx.post(f"{server.url}/v1/{PARENT}/schedules", json=schedule).json()["name"]

    def runs() -> list[str]:
        listed = httpx.get(f"{server.url}/v1/{PARENT}/pipelineJobs", params={"filter": f'schedule_name="{name}"'})
        return [job["name"] for job in listed.json().get("pipelineJobs", [])]

    for _ in range(2):
        httpx.post(f"{server.url}/emulator/clock", json={"seconds": 86400})
    (run,) = runs()
    (tmp_path / "go").touch()
    assert ended(server, run)["state"] == "PIPELINE_STATE_SUCCEEDED"
    httpx.post(f"{server.url}/emulator/clock", json={"seconds": 86400})
    assert len(runs()) == 2
    httpx.delete(f"{server.url}/v1/{name}")


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGTERM])
def test_step_ends_with_the_emulator_and_its_job_fails(
    start: Callable[..., Server], tmp_path: Path, sent: signal.Signals
) -> None:
    server = start("--execute-pipelines")
    upload(server.url, "x", [], BUCKET)
    name = submit(server, "killed", **body(f"echo $$ > {tmp_path}/pid; sleep 60")).json()["name"]
    pid = int(wait(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text()))
    server.process.send_signal(sent)
    wait(lambda: not alive(pid))
    server.process.wait()
    job = get(start("--execute-pipelines"), name)
    assert (job["state"], job["error"]["message"]) == ("PIPELINE_STATE_FAILED", "The emulator ended while the job ran.")
    assert not list((tmp_path / "state" / "pipelines").rglob("files"))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "example.test"])
def test_pipelines_are_executed_on_loopback_only(tmp_path: Path, host: str) -> None:
    command = [sys.executable, "-m", "emulator", "--execute-pipelines", "--host", host, "--state-dir", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=60)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"--host {host} is not loopback" in done.stderr


def test_pages_of_other_sites_start_no_job(server: Server) -> None:
    url = f"{server.url}/v1/{PARENT}/pipelineJobs?pipelineJobId=foreign"
    for headers in ({"Origin": "http://evil.test"}, {"Host": "evil.test"}, {"Sec-Fetch-Site": "cross-site"}):
        assert httpx.post(url, json=body(), headers=headers).status_code == 403
    assert "error" in get(server, f"{PARENT}/pipelineJobs/foreign")


def test_mismatched_edge_is_refused_whether_jobs_are_executed_or_recorded(
    server: Server, start: Callable[..., Server]
) -> None:
    request = body()
    component = request["pipelineSpec"]["components"]["comp-write"]["inputDefinitions"]["parameters"]
    component["text"]["parameterType"] = "STRUCT"
    for emulator in (server, start()):
        error = submit(emulator, "mismatched", **request).json()["error"]
        assert (error["code"], error["status"]) == (400, "INVALID_ARGUMENT")
        assert 'input parameter "text" type mismatch: expect STRUCT, got string' in error["message"]
    wrong = submit(server, "wrong", **body(names="x")).json()["error"]["message"]
    assert 'input parameter "names" type mismatch: expect LIST, got string' in wrong
