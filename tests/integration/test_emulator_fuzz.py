# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Whatever is sent to whatever route, the emulator answers in Google's form and never with a 500."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from emulator.app.cli import engine_factory
from emulator.app.server import Emulator, Settings

WORDS = [
    "name",
    "displayName",
    "display_name",
    "labels",
    "description",
    "model",
    "models",
    "endpoint",
    "deployedModel",
    "deployed_model",
    "trafficSplit",
    "baseModel",
    "base_model",
    "preTunedModel",
    "tunedModelName",
    "checkpointId",
    "supervisedTuningSpec",
    "preferenceOptimizationSpec",
    "trainingDatasetUri",
    "validationDatasetUri",
    "hyperParameters",
    "epochCount",
    "learningRateMultiplier",
    "adapterSize",
    "beta",
    "contents",
    "parts",
    "text",
    "role",
    "systemInstruction",
    "generationConfig",
    "temperature",
    "topP",
    "topK",
    "candidateCount",
    "maxOutputTokens",
    "seed",
    "stopSequences",
    "responseMimeType",
    "responseSchema",
    "type",
    "enum",
    "properties",
    "items",
    "logprobs",
    "responseLogprobs",
    "versionAliases",
    "defaultCheckpointId",
    "sourceModel",
    "modelId",
    "parentModel",
    "deployedModelId",
    "instances",
    "prediction",
    "reference",
    "metricSpec",
    "exactMatchInput",
    "bleuInput",
    "rougeInput",
    "rougeType",
    "pointwiseMetricInput",
    "pairwiseMetricInput",
    "instance",
    "jsonInstance",
    "metrics",
    "llmBasedMetricSpec",
    "metricPromptTemplate",
    "pipelineSpec",
    "runtimeConfig",
    "parameterValues",
    "cron",
    "maxRunCount",
    "createPipelineJobRequest",
    "pipelineJob",
    "startTime",
    "endTime",
    "catchUp",
    "allowQueueing",
    "state",
    "jobDetail",
    "error",
    "names",
    "metadata",
    "timeSeriesData",
    "tensorboardTimeSeriesId",
    "values",
    "step",
    "scalar",
    "value",
    "wallTime",
    "inputConfig",
    "gcsSource",
    "uris",
    "outputConfig",
    "gcsDestination",
    "outputUriPrefix",
    "sourceObjects",
    "destination",
    "contentType",
    "root",
    "inputDefinitions",
    "parameters",
    "seconds",
    "childContexts",
    "artifacts",
    "executions",
    "encryptionSpec",
    "kmsKeyName",
    "exportLastCheckpointOnly",
    "version",
    "evaluationConfig",
    "aggregationMetrics",
    "exactMatchSpec",
    "rougeSpec",
    "pairwiseMetricSpec",
    "inferenceGenerationConfig",
    "tunedModelRef",
    "tunedModel",
    "tuningJob",
    "deployToSameEndpoint",
    "content",
    "prompt",
]
TEXTS = st.one_of(
    st.text(max_size=8),
    st.sampled_from(
        [
            "gemini-2.5-flash",
            "gs://fuzz/train.jsonl",
            "gs://fuzz",
            "user",
            "model",
            "STRING",
            "OBJECT",
            "application/json",
            "0 3 * * *",
            "projects/p/locations/l/models/1@1",
            "2026-01-01T00:00:00Z",
            "ADAPTER_SIZE_FOUR",
            "1",
            "-1",
            "champion",
            "nan",
        ]
    ),
)
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(allow_nan=True), TEXTS, st.sampled_from([0, 1, 4])
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.one_of(st.sampled_from(WORDS), st.text(max_size=3)), inner, max_size=4),
    ),
    max_leaves=12,
)
BODIES = st.dictionaries(st.sampled_from(WORDS), VALUES, max_size=5)
QUERIES = st.dictionaries(
    st.sampled_from(
        [
            "pageSize",
            "pageToken",
            "filter",
            "updateMask",
            "pipelineJobId",
            "endpointId",
            "contextId",
            "artifactId",
            "tensorboardRunId",
            "tensorboardExperimentId",
            "timeSeries",
            "maxDataPoints",
            "alt",
            "name",
            "uploadType",
            "upload_id",
            "prefix",
            "delimiter",
            "maxResults",
            "matchGlob",
            "startOffset",
            "endOffset",
            "ifGenerationMatch",
            "ifMetagenerationMatch",
            "generation",
            "project",
            "tagId",
            "sourceGeneration",
            "list-type",
            "max-keys",
            "marker",
            "continuation-token",
            "encoding-type",
            "fields",
            "uploads",
            "uploadId",
            "partNumber",
            "acl",
            "X-Goog-Signature",
        ]
    ),
    st.one_of(
        st.text(max_size=6),
        st.sampled_from(
            [
                "0",
                "1",
                "-1",
                "media",
                "multipart",
                "resumable",
                "sse",
                "AAAA",
                "a.b:*",
                'labels.x="y" AND (state=Z)',
                "**/{a,[b",
            ]
        ),
    ),
    max_size=3,
)


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    running = Emulator(Settings(tmp_path_factory.mktemp("fuzz"), engine_factory("scripted", 1)))
    running.storage.create_bucket("fuzz", "1", {})
    row = {"contents": [{"role": r, "parts": [{"text": "x"}]} for r in ("user", "model")]}
    running.storage.write("fuzz", "train.jsonl", json.dumps(row).encode())
    running.tuning_jobs.start()
    yield running
    running.close()


HEADERS = st.dictionaries(
    st.sampled_from(
        [
            "content-md5",
            "content-range",
            "if-none-match",
            "range",
            "x-goog-copy-source",
            "x-goog-copy-source-range",
            "x-goog-hash",
            "x-goog-if-generation-match",
            "x-goog-encryption-key",
            "x-goog-meta-a",
            "x-goog-resumable",
        ]
    ),
    st.one_of(
        st.text(st.characters(codec="latin-1", exclude_categories=["Cc"]), max_size=6),
        st.sampled_from(["0", "bytes=0-3", "bytes 0-*/*", "/fuzz/train.jsonl", "fuzz%2F", "start", "crc32c=AAAA", "*"]),
    ),
    max_size=3,
)
UPLOADS = st.sampled_from(
    [
        b"<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>x</ETag></Part></CompleteMultipartUpload>",
        b"<CompleteMultipartUpload><Part/></CompleteMultipartUpload>",
        b"<a",
    ]
)


def ask(
    emulator: Emulator,
    method: str,
    path: str,
    query: str = "",
    content: bytes = b"",
    kind: str = "application/json",
    **headers: str,
) -> Any:
    headers["content-type"] = kind
    return asyncio.run(emulator.handle(method, path, query, headers, content, "http://test"))


def drawn_routes(emulator: Emulator) -> list[Any]:
    """All, of the XML API too, but the reset, which would take the bucket of these tests."""
    routes = [*emulator.routes, *emulator.xml_routes]
    return [route for route in routes if route.template != "/emulator/reset"]


def known_names(emulator: Emulator) -> list[str]:
    """Sixteen ids, some of which exist by then."""
    kinds = ("models", "endpoints", "tuningJobs", "pipelineJobs", "schedules", "tensorboards", "contexts")
    ids = [item["name"].rsplit("/", 1)[1] for kind in kinds for _, item in emulator.state.all(kind)[:2]]
    return (["fuzz", "train.jsonl", "default", "gemini-2.5-flash", *ids] * 4)[:16]


@settings(
    max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(data=st.data(), body=BODIES, query=QUERIES, headers=HEADERS)
def test_emulator_no_route_answers_500(
    emulator: Emulator, data: st.DataObject, body: Any, query: dict[str, str], headers: dict[str, str]
) -> None:
    route = data.draw(st.one_of(st.sampled_from(drawn_routes(emulator)), st.sampled_from(emulator.xml_routes)))
    is_xml = route in emulator.xml_routes
    names = known_names(emulator)
    template = (
        route.template if route.template.startswith("/") else "/{version}/projects/p/locations/l/" + route.template
    )

    def fill(match: re.Match[str]) -> str:
        if match[0] == "{version}":
            return "v1"
        chosen = data.draw(st.one_of(st.integers(0, 15), st.text(min_size=1, max_size=5)))
        return quote(names[chosen] if isinstance(chosen, int) else chosen, safe="@")

    path = re.sub(r"\{\w+[*!]?\}", fill, template)
    content = data.draw(UPLOADS) if is_xml else json.dumps(body).encode()
    response = ask(emulator, route.method, path, urlencode(query), content, **headers)
    assert response.status_code != 500, (route.method, path, query, body, headers)
    if is_xml and route.template.startswith("/{bucket"):
        assert response.status_code < 400 or b"<Error>" in response.body or path.startswith("/v1"), path
    elif response.status_code >= 400 and response.body and not path.startswith(("/token", "/computeMetadata/")):
        assert json.loads(response.body)["error"]["code"] == response.status_code


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    data=st.data(),
    content=st.binary(max_size=60),
    kind=st.sampled_from(
        ["application/json", "multipart/related; boundary=x", "text/plain", "multipart/mixed; boundary=x"]
    ),
)
def test_emulator_survives_any_bytes(emulator: Emulator, data: st.DataObject, content: bytes, kind: str) -> None:
    route = data.draw(st.sampled_from(drawn_routes(emulator)))
    template = (
        route.template if route.template.startswith("/") else "/{version}/projects/p/locations/l/" + route.template
    )
    path = re.sub(r"\{\w+[*!]?\}", "fuzz", template.replace("{version}", "v1"))
    query = data.draw(
        st.sampled_from(["", "uploadType=multipart&name=x", "uploadType=resumable&name=y", "uploadType=media&name=z"])
    )
    if data.draw(st.booleans()):
        content = b"--x\r\n\r\n{}\r\n--x\r\n\r\n" + content + b"\r\n--x--\r\n"
    assert ask(emulator, route.method, path, query, content, kind).status_code != 500


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    spec=VALUES,
    hyper=VALUES,
    base=st.sampled_from(["gemini-2.5-flash", "gemini-2.5-pro", "x"]),
    preference=st.booleans(),
)
def test_emulator_accepts_or_refuses_any_tuning_spec(
    emulator: Emulator, spec: Any, hyper: Any, base: str, preference: bool
) -> None:
    inner = {"trainingDatasetUri": "gs://fuzz/train.jsonl", "hyperParameters": hyper}
    if isinstance(spec, dict):
        inner |= spec
    body = {"baseModel": base, "preferenceOptimizationSpec" if preference else "supervisedTuningSpec": inner}
    response = ask(emulator, "POST", "/v1/projects/p/locations/us-central1/tuningJobs", "", json.dumps(body).encode())
    assert response.status_code in (200, 400)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(config=st.dictionaries(st.sampled_from(WORDS), VALUES, max_size=4), text=st.text(max_size=20))
def test_emulator_accepts_or_refuses_any_generation_config(emulator: Emulator, config: Any, text: str) -> None:
    body = {"contents": [{"role": "user", "parts": [{"text": text}]}], "generationConfig": config}
    path = "/v1/projects/p/locations/l/publishers/google/models/gemini-2.5-flash:generateContent"
    response = ask(emulator, "POST", path, "", json.dumps(body).encode())
    assert response.status_code in (200, 400)


def test_emulator_refuses_json_that_google_refuses(emulator: Emulator) -> None:
    path = "/v1/projects/p/locations/l/endpoints"
    for content in (
        b'{"displayName": "\\ud800"}',
        b'{"a": NaN}',
        b"[" * 100_000,
        b'{"a":' * 500 + b"1" + b"}" * 500,
        b"\xff",
    ):
        assert ask(emulator, "POST", path, "", content).status_code == 400
