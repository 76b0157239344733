# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Requests against the messages of the API that the emulator describes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from emulator.app.server import Emulator, Settings
from emulator.core import messages
from emulator.core.google_rest import ApiError
from emulator.core.messages import check
from emulator.engines.base import ReinforcementRow, Turn
from emulator.engines.rules_engine import RulesEngine
from emulator.services.rewards import Rewards

MATCH = {"stringMatchExpression": {"matchOperation": "EXACT_MATCH", "expression": "{{references.label}}"}}
REWARD = {"rewardName": "label", "stringMatchRewardScorer": MATCH}
TURN = [{"parts": [{"text": "x"}]}]
DATA = {"trainingDatasetUri": "gs://b/train.jsonl"}


def tuned(**parameters: Any) -> dict[str, Any]:
    return {"baseModel": "m", "supervisedTuningSpec": {**DATA, "hyperParameters": parameters}}


def searching(expression: str) -> dict[str, Any]:
    match = {"stringMatchExpression": {"matchOperation": "REGEX_CONTAINS", "expression": expression}}
    reward = {"rewardConfig": {**REWARD, "stringMatchRewardScorer": match}, "weight": 1}
    spec = {**DATA, "compositeRewardConfig": {"weightedRewardConfigs": [reward]}}
    return {"baseModel": "m", "reinforcementTuningSpec": spec}


def rebased(spec: Any) -> dict[str, Any]:
    return {"tunedModelRef": {"tuningJob": "j"}, "tuningJob": {"baseModel": "m", "supervisedTuningSpec": spec}}


@pytest.mark.parametrize(
    ("message", "value"),
    [
        ("TuningJob", tuned(epochCount="4", learningRateMultiplier=0.5, adapterSize=None)),
        ("TuningJob", {**tuned(), "preferenceOptimizationSpec": None}),
        ("TuningJob", searching(r"^\s*{{references.label}}\W*$")),
        ("RebaseTunedModelRequest", rebased({"hyperParameters": None})),
        ("PipelineJob", {"pipelineSpec": {"root": {}}, "network": "", "runtimeConfig": {"failurePolicy": 2}}),
        ("GenerateContentRequest", {"contents": {"parts": [{"text": "x"}]}, "safetySettings": [{"category": 1}]}),
    ],
)
def test_check_accepts_messages(message: str, value: dict[str, Any]) -> None:
    check(value, message)


@pytest.mark.parametrize(
    ("message", "value", "refusal"),
    [
        ("TuningJob", tuned(epochCount="4.5"), "supervised_tuning_spec.hyper_parameters.epoch_count; Message: must be"),
        ("TuningJob", tuned(epochCount=True), "type integer, not true"),
        ("TuningJob", tuned(learningRateMultiplier="NaN"), "type number"),
        ("TuningJob", tuned(learningRateMultiplier=0), "must be a positive number"),
        ("TuningJob", tuned(learningRateMultiplier=20000), "must be at most 10000"),
        ("Clock", {"seconds": 1e9}, "must be between 0 and 2678400"),
        ("TuningJob", tuned(beta=0.1), "Unknown name \"beta\" at 'tuning_job.supervised_tuning_spec.hyper_parameters'"),
        ("TuningJob", {"baseModel": "m", "supervisedTuningSpec": {}}, "training_dataset_uri; Message: is required"),
        ("TuningJob", {}, "Field: tuning_job.tuning_spec; Message: exactly one of supervised_tuning_spec and"),
        ("TuningJob", searching("(?=x)"), r"weighted_reward_configs\[0\]\..*expression; .*RE2's syntax"),
        ("PipelineJob", {"network": "x\n"}, "must have the form projects/NUMBER/global/networks/NETWORK"),
        ("Schedule", {"createPipelineJobRequest": {"pipelineJob": {"x": 1}}}, "request.pipeline_job'"),
        ("GenerateContentRequest", {"contents": TURN, "generationConfig": {"topP": 2}}, "top_p; .* between 0 and 1"),
        ("GenerateContentRequest", {"contents": TURN, "safetySettings": [{"method": 3}]}, r"\[0\].method; .*value: 3"),
    ],
)
def test_check_refuses_the_first_field_that_is_invalid(message: str, value: dict[str, Any], refusal: str) -> None:
    with pytest.raises(ApiError, match=refusal):
        check(value, message)


def test_check_converts_numbers_and_names_and_fills_in_defaults() -> None:
    job = check(tuned(epochCount="4", learningRateMultiplier=2, adapterSize=2), "TuningJob")
    assert job["supervisedTuningSpec"]["hyperParameters"] == {
        "epochCount": 4, "learningRateMultiplier": 2.0, "adapterSize": "ADAPTER_SIZE_FOUR"
    }  # fmt: skip
    assert (job["labels"], job["supervisedTuningSpec"]["validationDatasetUri"]) == ({}, "")
    request = check({"contents": {"parts": {"text": "x"}}, "tools": None}, "GenerateContentRequest")
    assert request["contents"] == [{"role": "user", "parts": [{"text": "x"}]}]
    assert request["generationConfig"]["topP"] == 0.95
    assert "tools" not in request


@pytest.mark.parametrize(
    ("message", "value", "refusal"),
    [
        ("TrainingRow", {"messages": []}, "messages; Message: is a legacy format; use contents"),
        (
            "TrainingRow",
            {"contents": [{"parts": [{"inlineData": {}}]}]},
            r"parts\[0\].inline_data; Message: is not",
        ),
        ("TrainingRow", {"contents": [{"parts": []}]}, r"contents\[0\].parts; Message: must include at least one part"),
        ("ReinforcementRow", {"contents": TURN, "references": {"label": None}}, "references.label; Message: must be"),
        ("TuningJob", {**tuned(), "veoTuningSpec": {}}, "veoTuningSpec is not implemented"),
        ("Endpoint", {"displayName": "x", "labels": {"A": "x"}}, 'label "A" may have 64 lower-case'),
        ("MergeVersionAliasesRequest", {"versionAliases": ["a"]}, '"a" must have 2 to 128 letters'),
        ("CopyModelRequest", {"sourceModel": "m", "modelId": "a b"}, '"a b" must have 1 to 63 letters'),
        ("Schedule", {"createPipelineJobRequest": {"pipelineJobId": "x"}}, "pipeline_job_id; Message: must be empty"),
        ("GenerateContentRequest", {"contents": TURN, "generationConfig": {"logprobs": 1}}, "logprobs; .* be true"),
        ("GenerateContentRequest", {"contents": TURN, "tools": [{"googleSearch": {}}]}, r"tools\[0\].google_search; "),
        ("RebaseTunedModelRequest", rebased("x"), "tuning_job.supervised_tuning_spec; Message: must be of type"),
        ("RebaseTunedModelRequest", rebased({"hyperParameters": 5}), "spec.hyper_parameters; Message: must be of type"),
        ("PredictRequest", {"instances": [{"x": 1}]}, r"predict_request.instances\[0\].content; Message: is required"),
    ],
)
def test_check_refuses_with_the_texts_of_a_message(message: str, value: dict[str, Any], refusal: str) -> None:
    with pytest.raises(ApiError, match=refusal):
        check(value, message)


def test_fields_that_are_null_are_not_set() -> None:
    assert check({"instances": [{"prompt": None, "content": "x"}]}, "PredictRequest")["instances"] == [{"content": "x"}]


def test_zero_that_a_client_leaves_out_and_a_double_without_a_value_are_numbers() -> None:
    values = [{"scalar": {}}, {"scalar": {"value": "NaN"}}, {"scalar": {"value": "-Infinity"}}]
    data = {"tensorboardTimeSeriesId": "1", "values": values}
    read = check({"timeSeriesData": [data]}, "WriteTensorboardRunDataRequest")["timeSeriesData"][0]["values"]
    assert [str(item["scalar"]["value"]) for item in read] == ["0.0", "nan", "-inf"]


NAMES = sorted(name for name in messages._MESSAGES if not name.startswith("."))
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
SCALARS |= st.sampled_from(["", "x", "1e999", "NaN", "(", "{value}", 10**400])
VALUES = st.recursive(
    SCALARS, lambda value: st.lists(value, max_size=2) | st.dictionaries(st.text(), value, max_size=2), max_leaves=4
)


@st.composite
def values_like(draw: Any, schema: dict[str, Any], depth: int = 0) -> Any:
    """A JSON value that has the form of a schema, or any form in some places."""
    if depth > 6 or not schema or draw(st.integers(0, 9)) == 0:
        return draw(VALUES)
    if "items" in schema:
        return [draw(values_like(schema["items"], depth + 1)) for _ in range(draw(st.integers(0, 2)))]
    if properties := schema.get("properties"):
        groups = list(schema.get("exactlyOne", {}).values())
        required = [name if isinstance(name, str) else name[0] for name in schema.get("required", ())]
        names = {*required, *(draw(st.sampled_from(group)) for group in groups)}
        names |= draw(st.sets(st.sampled_from(sorted(properties)), max_size=3))
        return {name: draw(values_like(properties.get(name, {}), depth + 1)) for name in sorted(names)}
    if choices := schema.get("names") or schema.get("enum"):
        return draw(st.sampled_from(choices))
    kinds: dict[Any, Any] = {"string": st.text(min_size=1), "boolean": st.booleans(), "object": st.just({"x": "y"})}
    return draw(kinds.get(str(schema.get("type")), st.integers(0, 3)))


def read_or_refuse(value: Any, message: str) -> Any:
    try:
        return check(value, message)
    except ApiError as refusal:
        if refusal.code != 400:
            raise
        return None


def parts_of(value: Any) -> Iterator[Any]:
    """The objects and lists of a JSON value, itself included."""
    if isinstance(value, dict | list):
        yield value
        for item in value.values() if isinstance(value, dict) else value:
            yield from parts_of(item)


def schemas_of(schema: dict[str, Any], found: dict[int, dict[str, Any]]) -> dict[int, dict[str, Any]]:
    """The schema of a message and of all its fields, by their ids."""
    if id(schema) not in found:
        found[id(schema)] = schema
        below = [*schema.get("properties", {}).values(), schema.get("items"), schema.get("additionalProperties")]
        for part in below:
            if isinstance(part, dict):
                schemas_of(part, found)
    return found


@pytest.mark.parametrize("message", NAMES)
@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_value_is_read_or_refused(message: str, data: st.DataObject) -> None:
    schema = messages._MESSAGES[message]
    before = repr(schema)
    value = data.draw(values_like(schema))
    sent = repr(value)
    result = read_or_refuse(value, message)
    assert (repr(schema), repr(value)) == (before, sent)
    own = {id(part["default"]) for part in schemas_of(schema, {}).values() if "default" in part}
    assert not own & {id(part) for part in parts_of(result)}


@pytest.mark.parametrize(
    "value", [None, True, 0, -1, 1.5, 10**400, "", "x", "(", [], ["x"], [None], [[]], [{}], {}, {"x": 1}, {"x": None}]
)
def test_every_field_reads_or_refuses_values_of_other_types(value: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    found: dict[int, dict[str, Any]] = {}
    for message in NAMES:
        schemas_of(messages._MESSAGES[message], found)
    assert len(found) > 300
    for schema in found.values():
        monkeypatch.setitem(messages._MESSAGES, "Field", schema)
        read_or_refuse(value, "Field")


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    emulator = Emulator(Settings(tmp_path_factory.mktemp("emulator"), lambda _: RulesEngine()))
    yield emulator
    emulator.close()


PARENT = "projects/123456789012/locations/us-central1"


def ask(emulator: Emulator, method: str, path: str, body: Any, query: str = "") -> tuple[int, Any]:
    """The status, and the body or an error's text."""
    url, headers = f"/v1beta1/{path if path.startswith('projects') else f'{PARENT}/{path}'}", {}
    answer = asyncio.run(emulator.handle(method, url, query, headers, json.dumps(body).encode(), "http://x"))
    value = json.loads(bytes(answer.body))
    return answer.status_code, value["error"]["message"] if "error" in value else value


SNIPPET = {"rewardName": "c", "codeExecutionRewardScorer": {"pythonCodeSnippet": "x"}}
SINGLE = {"singleRewardConfig": SNIPPET}
PARTS = [{"weight": 1, "rewardConfig": reward} for reward in (REWARD, SNIPPET)]
COMPOSITE = {"compositeRewardConfig": {"weightedRewardConfigs": PARTS}}
SAMPLE = {"sampleResponse": TURN[0], "example": {"contents": TURN, "references": {"label": "x"}}}
LOGGING = {"enabled": True, "samplingRate": 2}
TABLE = {"inputConfig": {"bigquerySource": {"uri": "bq://p.d.t"}}}
MULTIMODAL = "gs://google-cloud-aiplatform/schema/dataset/metadata/multimodal_1.0.0.yaml"


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        (
            "tuningJobs:validateReinforcementTuningReward",
            {**SAMPLE, **SINGLE},
            "single_reward_config.code_execution_reward_scorer.python_code_snippet",
        ),
        (
            "tuningJobs:validateReinforcementTuningReward",
            {**SAMPLE, **COMPOSITE},
            "composite_reward_config.weighted_reward_configs[1].reward_config.code_execution_reward_scorer.python_code",
        ),
        (
            "publishers/google/models/gemini-2.5-flash:setPublisherModelConfig",
            {"publisherModelConfig": {"loggingConfig": LOGGING}},
            "request.publisher_model_config.logging_config.sampling_rate",
        ),
        (
            "datasets",
            {"displayName": "d", "metadataSchemaUri": MULTIMODAL, "metadata": TABLE},
            "dataset.metadata.input_config.bigquery_source.uri",
        ),
        (":evaluateInstances", {"metrics": [{}]}, "metrics[0]; Message: exactly one metric spec is required"),
    ],
)
def test_refusals_name_the_whole_place(emulator: Emulator, path: str, body: Any, field: str) -> None:
    path = f"{PARENT}{path}" if path.startswith(":") else path
    code, text = ask(emulator, "POST", path, body)
    assert (code, field in text) == (400, True), text


JOB = {"pipelineSpec": {"pipelineInfo": {"name": "x"}, "root": {"dag": {"tasks": {}}}}}
JOB["runtimeConfig"] = {"gcsOutputDirectory": "gs://b/r"}


def made(emulator: Emulator, kind: str) -> str:
    """The name of a new resource."""
    if kind == "models":
        version = {"displayName": "m", "labels": {}}
        return emulator.models.add_version(PARENT, None, version).partition("@")[0]
    body: dict[str, Any] = {"displayName": "x"}
    if kind == "schedules":
        body |= {"cron": "0 3 * * *", "createPipelineJobRequest": {"pipelineJob": JOB}}
    code, value = ask(emulator, "POST", kind, body)
    assert code == 200, value
    return str(value.get("response", value)["name"])


@pytest.mark.parametrize("kind", ["endpoints", "models", "schedules"])
def test_masks_of_all_resources_are_read_alike(emulator: Emulator, kind: str) -> None:
    name = made(emulator, kind)
    for query in ("", "updateMask=*", "updateMask=displayName", "update_mask=name,display_name"):
        code, value = ask(emulator, "PATCH", name, {"displayName": f"by {query}", "updateTime": "x"}, query)
        assert (code, value["displayName"], value["name"]) == (200, f"by {query}", name)
    code, text = ask(emulator, "PATCH", name, {"displayName": "y"}, "updateMask=displayName,foo")
    assert (code, '"foo" is not a field' in text) == (400, True)


def test_number_that_a_mask_names_without_a_value_stays(emulator: Emulator) -> None:
    name = made(emulator, "schedules")
    code, value = ask(emulator, "PATCH", name, {}, "updateMask=max_concurrent_run_count")
    assert (code, value["maxConcurrentRunCount"]) == (200, "1")


def test_stored_resources_without_defaults_are_read(emulator: Emulator) -> None:
    row = ReinforcementRow((Turn("user", "x"),), (("label", "y"),))
    assert Rewards(emulator.evaluation, execute=False).overall({"singleRewardConfig": REWARD}, [(row, "x")]) == [0.0]
    name = f"{PARENT}/datasets/1"
    source = {"bigquerySource": {"uri": "bq://1.d.loaded"}}
    emulator.state.put("datasets", name, {"name": name, "metadata": {"inputConfig": source}})
    emulator.state.put("loaded", "bigquery/1/datasets/d/tables/loaded", {"column": "request", "lines": [{}]})
    config = {"tuningResourceUsageAssessmentConfig": {"modelName": "gemini-2.5-flash"}}
    code, text = ask(emulator, "POST", f"{name}:assess", config)
    assert (code, "assembled_request_column_name" in text) == (400, True), text
