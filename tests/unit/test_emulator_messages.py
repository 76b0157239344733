# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Requests against the messages of the API that the emulator describes."""

from __future__ import annotations

from typing import Any

import pytest

from emulator.core.google_rest import ApiError
from emulator.core.messages import check

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


@pytest.mark.parametrize(
    ("message", "value"),
    [
        ("TuningJob", tuned(epochCount="4", learningRateMultiplier=0.5, adapterSize=None)),
        ("TuningJob", {**tuned(), "preferenceOptimizationSpec": None}),
        ("TuningJob", searching(r"^\s*{{references.label}}\W*$")),
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
        ("TrainingRow", {"contents": [{"parts": [{"inlineData": {}}]}]}, r"parts\[0\]; Message: holds inlineData; the"),
        ("TrainingRow", {"contents": [{"parts": []}]}, r"contents\[0\].parts; Message: must include at least one part"),
        ("ReinforcementRow", {"contents": TURN, "references": {"label": None}}, "references.label; Message: must be"),
        ("TuningJob", {**tuned(), "veoTuningSpec": {}}, "veoTuningSpec is not implemented"),
        ("Endpoint", {"displayName": "x", "labels": {"A": "x"}}, 'label "A" may have 64 lower-case'),
    ],
)
def test_check_refuses_with_the_texts_of_a_message(message: str, value: dict[str, Any], refusal: str) -> None:
    with pytest.raises(ApiError, match=refusal):
        check(value, message)
