# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Whether a project has what a run needs: APIs, quotas, bucket, service accounts, keys, image. Nothing is changed.

Source: Service Usage, IAM, Cloud KMS, Artifact Registry and Cloud Storage; each look-up is one GET request.
"""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from gemtune.config import Config
from gemtune.vertex import Client
from gemtune.vertex.calls import PermanentError, retried, translate_errors

APIS = ("aiplatform", "storage", "artifactregistry", "logging")
IMAGE = re.compile(r"([\w-]+)-docker\.pkg\.dev/([^/]+)/([^/]+)/([^:@]+)(?::([\w.-]+))?(?:@(sha256:\w+))?")


class Lookup(NamedTuple):
    """What was looked up, its state (ok, missing, disabled, or not shown to these credentials), and the remedy."""

    subject: str
    state: str
    remedy: str


def checks(client: Client, config: Config, image: str) -> Iterator[Lookup]:
    """The look-ups of a configuration and of its image, if that is in Artifact Registry."""
    keys = {key for key in (config.vertex.encryption_key, config.backend.encryption_key) if key}
    accounts = {name for name in (config.vertex.service_account, config.backend.service_account) if "@" in name}
    needed = {
        "cloudkms": keys,
        "bigquery": config.data.startswith("bq://") or config.monitor.logs.startswith("bq://"),
        "dataflow": config.preprocess.runner != "local",
        "dlp": config.preprocess.pii != "off" and config.preprocess.pii_detector == "dlp",
    }
    for api in (*APIS, *(name for name, used in needed.items() if used)):
        name = f"{api}.googleapis.com"
        state = _state(client, "serviceusage", f"projects/{client.project}/services/{name}")
        yield Lookup(f"API {name}", state, f"gcloud services enable {name}")
    yield from _quotas(client)
    yield _bucket(client)
    for account in sorted(accounts):
        state = _state(client, "iam", f"projects/-/serviceAccounts/{account}")
        yield Lookup(f"service account {account}", state, "create it, or correct its name (docs/how-to/security.md)")
    for key in sorted(keys):
        yield Lookup(f"key {key}", _state(client, "cloudkms", key), "create it in the region of the run")
    match = IMAGE.fullmatch(image)
    if image and not match:
        yield Lookup(f"image {image}", "not looked up, since it is not in Artifact Registry", "")
    if match:
        location, project, repository, package, tag, digest = match.groups()
        package = package.replace("/", "%2F")
        version = f"versions/{digest}" if digest else f"tags/{tag or 'latest'}"
        path = f"projects/{project}/locations/{location}/repositories/{repository}/packages/{package}/{version}"
        yield Lookup(f"image {image}", _state(client, "artifactregistry", path), f"make image IMAGE={image}")


def _state(client: Client, service: str, path: str) -> str:
    try:
        resource = client.rest("GET", f"{service}.googleapis.com", f"v1/{path}")
    except PermanentError as error:
        return "missing" if error.code == 404 else f"not shown: {error.message}"
    state = resource.get("primary", resource).get("state", "ENABLED")  # of a key: that of the version in use
    return "disabled" if resource.get("disabled") or state != "ENABLED" else "ok"


def _quotas(client: Client) -> list[Lookup]:
    """The limits of pipelines and tuning in the client's region; "disabled" is one of 0.

    Source: Service Usage v1beta1, services.consumerQuotaMetrics.list. A limit without a region holds in each.
    """
    path = f"v1beta1/projects/{client.project}/services/aiplatform.googleapis.com/consumerQuotaMetrics?pageSize=500"
    metrics: list[dict[str, Any]] = []
    query = path
    try:
        while query:
            page = client.rest("GET", "serviceusage.googleapis.com", query)
            metrics += page.get("metrics", [])
            token = page.get("nextPageToken", "")
            query = f"{path}&pageToken={token}" if token else ""
    except PermanentError as error:
        return [Lookup("quotas of Vertex AI", f"not shown: {error.message}", "")]
    increase = "request an increase: console, IAM & Admin > Quotas"
    limits = [
        Lookup(f"quota {metric['metric']}", _limit(int(bucket.get("effectiveLimit", 0))), increase)
        for metric in metrics
        if re.search("tuning|pipeline", metric["metric"])
        for limit in metric.get("consumerQuotaLimits", [])
        for bucket in limit.get("quotaBuckets", [])
        if bucket.get("dimensions", {}).get("region", client.location) == client.location
    ]
    return limits or [Lookup("quotas of Vertex AI", "not shown: none of pipelines or tuning is listed", "")]


def _limit(value: int) -> str:
    return "disabled" if value == 0 else "ok, without a limit" if value < 0 else f"ok, {value:,}"


@retried
def _bucket(client: Client) -> Lookup:
    try:
        bucket = translate_errors(lambda: client.storage().lookup_bucket(client.bucket))
    except PermanentError as error:
        return Lookup(f"bucket {client.bucket}", f"not shown: {error.message}", "")
    state = f"ok, in {bucket.location.lower()}" if bucket else f"will be created in {client.location}"
    return Lookup(f"bucket {client.bucket}", state, "")
