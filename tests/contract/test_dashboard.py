# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The dashboard at `/`: its content, what it shows in a browser, and who may use it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from browser import Browser
from emulated import ROOT, Server, genai_client, supervised_lines, upload, wait
from google.genai import types

from emulator.app.dashboard import task_graph

TITLE = "<b>seen</b> 日本語"


def tune(server: Server) -> types.TuningJob:
    client = genai_client(server.url)
    dataset = types.TuningDataset(gcs_uri=upload(server.url, "train.jsonl", supervised_lines()))
    config = types.CreateTuningJobConfig(
        epoch_count=2, tuned_model_display_name=TITLE, labels={"gemtune-name": "support"}
    )
    return wait(client, client.tunings.tune(base_model="gemini-2.5-flash", training_dataset=dataset, config=config))


def content(server: Server) -> dict[str, list[dict[str, object]]]:
    shown: dict[str, list[dict[str, object]]] = httpx.get(f"{server.url}/emulator/console").json()
    return shown


def test_content_has_jobs_curves_models_endpoints_requests_and_faults(server: Server) -> None:
    empty = content(server)
    assert [empty[kind] for kind in ("jobs", "runs", "models", "endpoints", "schedules")] == [[]] * 5
    job = tune(server)
    shown = content(server)
    (listed,) = shown["jobs"]
    assert (listed["title"], listed["state"], listed["run"]) == (TITLE, "SUCCEEDED", "support")
    loss = listed["curves"]["/train_total_loss"]  # type: ignore[index]
    assert len(loss) >= 6
    assert loss[0][1] > loss[-1][1]
    (model,) = shown["models"]
    assert len(model["checkpoints"]) == len(job.tuned_model.checkpoints) == 2  # type: ignore[arg-type, union-attr]
    assert len(shown["endpoints"]) == 2
    assert any(request["path"].endswith("/tuningJobs") for request in shown["requests"])  # type: ignore[attr-defined]
    assert all("/emulator/" not in request["path"] for request in shown["requests"])  # type: ignore[operator]
    assert shown["faults"]["error_rate"] == 0  # type: ignore[call-overload]


def test_content_has_how_a_model_was_prompted(server: Server) -> None:
    client = genai_client(server.url)
    for text in ("where is my parcel", "where is my parcel", "refund me", "I cannot log in"):
        client.models.generate_content(model="gemini-2.5-flash", contents=f"Ticket: {text}\nIntent:")
    (prompt,) = content(server)["prompts"].values()  # type: ignore[attr-defined]
    assert prompt["contents"][-1]["parts"] == [{"text": "Ticket: {text}\nIntent:"}]


def test_events_send_the_content_again_after_a_change(server: Server) -> None:
    with httpx.stream("GET", f"{server.url}/emulator/events", timeout=20) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        events = (json.loads(line[6:]) for line in response.iter_lines() if line.startswith("data: "))
        assert next(events)["runs"] == []
        httpx.put(f"{server.url}/emulator/runs/support-1", json={"state": "RUNNING"}).raise_for_status()
        assert next(events)["runs"][0]["name"] == "support-1"


def test_report_keeps_the_graph_and_states_of_a_run(server: Server) -> None:
    url = f"{server.url}/emulator/runs/support-1"
    assert httpx.put(url, json={"pipelineSpec": SPEC}).json() == {}
    httpx.put(url, json={"states": {"load": "SUCCEEDED", "judge": "RUNNING"}})
    (run,) = content(server)["runs"]
    assert run["tasks"] == task_graph(SPEC)
    assert run["states"] == {"load": "SUCCEEDED", "judge": "RUNNING"}
    assert httpx.put(url, json={"pipelineSpec": {"root": 1}}).status_code == 400


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def step(*after: str, **component: str) -> dict[str, object]:
    return {"componentRef": {"name": component.get("name", "comp-step")}, "dependentTasks": list(after)}


SPEC = {
    "components": {
        "comp-step": {"executorLabel": "exec-step"},
        "comp-import": {"executorLabel": "exec-import"},
        "comp-handler": {
            "dag": {"tasks": {"load": step(), "loop": step("load", name="comp-loop"), "judge-2": step("uri")}}
        },
        "comp-loop": {"dag": {"tasks": {"tune": step(), "measure": step("tune")}}},
    },
    "deploymentSpec": {"executors": {"exec-step": {"container": {}}, "exec-import": {"importer": {}}}},
    "root": {"dag": {"tasks": {"handler": step(name="comp-handler"), "finish": step("handler")}}},
}
SPEC["components"]["comp-handler"]["dag"]["tasks"]["uri"] = step("loop", name="comp-import")  # type: ignore[index]


def test_task_graph_has_steps_only_in_their_order() -> None:
    assert task_graph(SPEC) == [
        {"name": "load", "after": []},
        {"name": "tune", "after": ["load"]},
        {"name": "measure", "after": ["tune"]},
        {"name": "judge", "after": ["measure"]},
        {"name": "finish", "after": ["judge"]},
    ]


@pytest.mark.parametrize(
    ("method", "path"), [("PUT", "/emulator/faults"), ("PUT", "/emulator/runs/x"), ("POST", "/emulator/reset")]
)
def test_pages_of_other_sites_change_nothing(server: Server, method: str, path: str) -> None:
    for headers in ({"Origin": "http://evil.example"}, {"Sec-Fetch-Site": "cross-site"}, {"Host": "evil.example"}):
        answer = httpx.request(method, server.url + path, json={"error_rate": 1}, headers=headers)
        assert answer.status_code == 403
    policy = httpx.get(server.url).headers["content-security-policy"]
    assert "frame-ancestors 'none'" in policy
    assert "default-src 'none'" in policy


def test_dashboard_has_the_colours_of_the_report_and_requests_nothing_elsewhere() -> None:
    files = {kind: (ROOT / "emulator" / "app" / f"dashboard.{kind}").read_text() for kind in ("html", "css", "js")}
    report = (ROOT / "gemtune" / "steps" / "report.css").read_text().splitlines()
    assert files["css"].splitlines()[:2] == report[:2]
    assert "http" not in "".join(files.values()).replace("http://www.w3.org/2000/svg", "")
    assert "innerHTML" not in files["js"]


def test_dashboard_in_a_browser(start: Callable[..., Server], tmp_path: Path) -> None:
    server = start()
    browser = Browser(tmp_path / "profile", server.url)

    def text(selector: str) -> str:
        return str(browser.evaluate(f"document.querySelector({selector!r}).textContent"))

    try:
        browser.until("document.querySelector('#connection').textContent.startsWith('live at')")
        tune(server)
        browser.until("document.querySelectorAll('.job.SUCCEEDED').length == 1")  # without a reload by hand
        assert browser.evaluate("document.querySelectorAll('.job b').length") == 0
        assert TITLE in text(".job h3")
        assert browser.evaluate("document.querySelector('svg.curve').getBoundingClientRect().width") > 100
        httpx.put(f"{server.url}/emulator/runs/r", json={"pipelineSpec": SPEC, "states": {"load": "RUNNING"}})
        browser.until("document.querySelectorAll('.run .node').length == 5")
        assert text(".run .node.RUNNING title") == "load: running"

        client = genai_client(server.url)
        for ticket in ("where is my parcel", "refund me"):
            client.models.generate_content(model="gemini-2.5-flash", contents=f"Ticket: {ticket}")
        browser.until("document.querySelector('#try-prompt').value == 'models/gemini-2.5-flash'")
        browser.evaluate("document.querySelector('#try-text').value = 'my parcel'")
        browser.evaluate("document.querySelector('#try-form').requestSubmit()")
        browser.until(
            "[0, 1].every((n) => document.querySelectorAll('.answers .muted')[n].textContent.includes('STOP'))"
        )

        browser.evaluate("document.querySelector('#fault-error_rate').click()")
        wait_for(lambda: httpx.get(f"{server.url}/emulator/faults").json()["error_rate"] == 0.2)
        httpx.delete(f"{server.url}/emulator/faults")
        browser.until("!document.querySelector('#fault-error_rate').checked")
        browser.assert_sound()
        server.kill()
        browser.until("document.title.includes('not reachable')")
    finally:
        browser.close()
