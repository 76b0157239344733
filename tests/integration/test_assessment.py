# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The service's assessment of tuning rows, by the product and by the genuine SDK, against the emulator."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from emulator_process import Emulator
from samples import examples
from typer.testing import CliRunner

from gemtune.cli.main import app
from gemtune.errors import UserError
from gemtune.tuning.submission import upload_rows
from gemtune.vertex import Client, assessment, bigquery, jobs
from gemtune.vertex.assessment import assess

MODEL = "gemini-3.1-flash-lite"


@pytest.fixture
def client(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> Client:
    emulator.faults()
    client = emulator.point(monkeypatch)
    monkeypatch.delenv("BIGQUERY_EMULATOR_HOST")  # as in local runs, whose rows may come from BigQuery
    return client


def row(text: str, answer: str | None) -> dict[str, Any]:
    turns = [{"role": "user", "parts": [{"text": text}]}]
    return {"contents": [*turns, *([{"role": "model", "parts": [{"text": answer}]}] if answer is not None else [])]}


def remains(client: Client) -> Any:
    return client.rest("GET", "", f"v1beta1/{client.parent}/datasets").get("datasets", [])


def test_assessment_reads_a_response_that_leaves_out_what_is_empty(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(assessment, "_operation", lambda client, path, body: {"name": path})
    for part in ("load_json_lines", "delete_table"):
        monkeypatch.setattr(bigquery, part, lambda *arguments: None)
    monkeypatch.setattr(client, "rest", lambda *arguments: {})
    result = assess(client, "gs://b/rows.jsonl", MODEL, "train", "assessments")
    assert (result.errors, result.tokens) == ([], 0)


def test_assessment_counts_the_tokens_that_a_job_bills(client: Client) -> None:
    rows = [row(f"ticket {n} about a refund", "refund") for n in range(20)]
    uri = upload_rows(client, rows)
    result = assess(client, uri, MODEL, "train", "assessments")
    assert (result.split, result.errors) == ("train", [])
    assert result.tokens > 20 * 3
    job = jobs.create(client, jobs.TuningJobSpec(MODEL, "supervised", uri, epoch_count=1))
    while not job.ended:
        job = jobs.get(client, job.name)
    assert job.billable_tokens == result.tokens
    assert remains(client) == []


@pytest.mark.parametrize("split", ["train", "validation"])
def test_assessment_lists_what_the_service_finds(client: Client, split: str) -> None:
    bad = [row("a", "x"), row("b", None), {"contents": [], "x": 1}]
    result = assess(client, upload_rows(client, bad), MODEL, split, "assessments")
    assert result.errors == [
        "example 2: contents must end with a turn of role model.", "example 3: contents is required."
    ]  # fmt: skip
    assert remains(client) == []


def test_assessment_refused_by_the_service_is_an_error_of_the_user(client: Client) -> None:
    uri = upload_rows(client, [row("a", "x")])
    with pytest.raises(UserError, match=r"the service does not assess the train rows: .*cannot be tuned.*Supported"):
        assess(client, uri, "gemini-0.1", "train", "assessments")
    with pytest.raises(UserError, match=r"bq://.*(cannot be read|no such table)"):
        assess(client, "gs://nowhere/x.jsonl", MODEL, "train", "assessments")
    assert remains(client) == []


def test_genuine_client_creates_and_assesses_a_dataset(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", client.server)
    datasets = pytest.importorskip("agentplatform._genai.client")
    from google.genai import types
    from google.oauth2.credentials import Credentials

    monkeypatch.setattr("time.sleep", lambda _: None)
    options = types.HttpOptions(base_url=client.server)
    sdk = datasets.Client(
        project=client.project, location=client.location, credentials=Credentials("x"), http_options=options
    ).datasets
    uri = upload_rows(client, [row("a b c", "x"), row("d e f", "y")])
    made = sdk.create_from_gemini_request_jsonl(gcs_uri=uri, target_table_id="assessments.t")
    usage = sdk.assess_tuning_resources(dataset_name=made.name, model_name=MODEL)
    valid = sdk.assess_tuning_validity(dataset_name=made.name, model_name=MODEL, dataset_usage="SFT_TRAINING")
    assert usage.token_count == assess(client, uri, MODEL, "train", "assessments").tokens
    assert not valid.errors
    with pytest.raises(Exception, match="must be one of SFT_TRAINING"):
        sdk.assess_tuning_validity(dataset_name=made.name, model_name=MODEL, dataset_usage="RL")
    sdk.delete_multimodal_dataset(name=made.name)
    assert remains(client) == []


def planned(folder: Path) -> Any:
    rows = [{"text": example.text, "label": example.target} for example in examples(200, 1)]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    (folder / "my.yaml").write_text("name: assessed\n", encoding="utf-8")
    words = [f"data={folder}/rows.jsonl", "plan.assessment_dataset=assessments"]
    return CliRunner().invoke(
        app, ["plan", f"{folder}/my.yaml", *(part for setting in words for part in ("--set", setting))]
    )


def test_plan_shows_the_assessment_beside_its_own_count(client: Client, tmp_path: Path) -> None:
    result = planned(tmp_path)
    assert result.exit_code == 0, result.output
    assert "the service assessed the train rows: no errors, " in result.output
    assert "the service assessed the validation rows: no errors, " in result.output
    assert "costs of tuning may differ" not in result.output
