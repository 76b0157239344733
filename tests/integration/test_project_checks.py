# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""What `gemtune doctor` looks up in a project: resources that are disabled, quotas, images."""

from typing import Any

import pytest

from gemtune.config import Config
from gemtune.vertex import Client, project

IMAGE = "us-central1-docker.pkg.dev/demo-project/gemtune/gemtune-python:abc"


@pytest.mark.parametrize(
    ("resource", "state"),
    [
        ({"name": "a"}, "ok"),
        ({"state": "ENABLED"}, "ok"),
        ({"state": "DISABLED"}, "disabled"),  # an API
        ({"email": "a@b", "disabled": True}, "disabled"),
        ({"primary": {"state": "ENABLED"}}, "ok"),
        ({"primary": {"state": "DESTROYED"}}, "disabled"),  # the version of a key
    ],
)
def test_doctor_reports_disabled_resources(
    client: Client, monkeypatch: pytest.MonkeyPatch, resource: dict[str, Any], state: str
) -> None:
    monkeypatch.setattr("gemtune.vertex.Client.rest", lambda *_: resource)
    image = IMAGE.replace(":abc", "")  # the tag is latest
    looked_up = list(project.checks(client, Config(), image))
    assert {check.state for check in looked_up if not check.subject.startswith(("bucket", "quota"))} == {state}
    assert looked_up[-1].subject == f"image {image}"


def test_doctor_reads_the_quotas_of_its_region_on_all_pages(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def metric(name: str, **buckets: int) -> dict[str, Any]:
        limits = [
            {"effectiveLimit": str(n), "dimensions": {"region": r} if r != "all" else {}} for r, n in buckets.items()
        ]
        return {"metric": f"aiplatform.googleapis.com/{name}", "consumerQuotaLimits": [{"quotaBuckets": limits}]}

    pages = [
        {
            "metrics": [metric("tuning_jobs", **{"all": 4, "us-central1": 0}), metric("datasets", all=0)],
            "nextPageToken": "p",
        },
        {"metrics": [metric("pipeline_jobs", **{"all": -1, "asia-east1": 0}), {"metric": "x/tuning"}]},
    ]
    requested: list[Any] = []
    monkeypatch.setattr("gemtune.vertex.Client.rest", lambda *call: requested.append(call) or pages[len(requested) - 1])
    assert [(look.subject.rsplit("/", 1)[-1], look.state) for look in project._quotas(client)] == [
        ("tuning_jobs", "ok, 4"),
        ("tuning_jobs", "disabled"),
        ("pipeline_jobs", "ok, without a limit"),
    ]
    assert requested[1][-1].endswith("pageToken=p")


@pytest.mark.parametrize(
    ("suffix", "path"), [("", "tags/latest"), (":v1", "tags/v1"), (":v1@sha256:ab", "versions/sha256:ab")]
)
def test_doctor_looks_an_image_up_by_digest_or_tag(
    client: Client, monkeypatch: pytest.MonkeyPatch, suffix: str, path: str
) -> None:
    requested: list[Any] = []
    monkeypatch.setattr("gemtune.vertex.Client.rest", lambda _, __, ___, path: requested.append(path) or {})
    list(project.checks(client, Config(), IMAGE.replace(":abc", suffix)))
    assert requested[-1].endswith(f"/packages/gemtune-python/{path}")
