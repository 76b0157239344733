# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""evaluateInstances through agentplatform's evals, EvalTask's client and plain REST."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from emulated import LOCATION, PARENT, PROJECT, Server


@pytest.fixture
def evaluate(server: Server) -> Any:
    def call(body: dict[str, Any], slash: str = "") -> Any:
        url = f"{server.url}/v1beta1/{PARENT}{slash}:evaluateInstances"
        return httpx.post(url, json=body, timeout=60)  # the first call loads NLTK

    return call


PAIRS = [
    {"prediction": "the cat sat on the mat", "reference": "the cat sat on the mat"},
    {"prediction": "a dog", "reference": "the cat sat on the mat"},
]


@pytest.mark.parametrize("slash", ["", "/"])
def test_computed_metrics(evaluate: Any, slash: str) -> None:
    body = {"exactMatchInput": {"metricSpec": {}, "instances": PAIRS}}
    values = evaluate(body, slash).json()["exactMatchResults"]["exactMatchMetricValues"]
    assert [value["score"] for value in values] == [1.0, 0.0]
    body = {"bleu_input": {"metric_spec": {"use_effective_order": True}, "instances": PAIRS}}
    values = evaluate(body, slash).json()["bleuResults"]["bleuMetricValues"]
    assert values[0]["score"] == pytest.approx(1.0)
    assert values[1]["score"] < 0.1
    for kind in ("rouge1", "rouge2", "rougeL", "rougeLsum"):
        body = {"rougeInput": {"metricSpec": {"rougeType": kind}, "instances": PAIRS}}
        values = evaluate(body, slash).json()["rougeResults"]["rougeMetricValues"]
        assert [value["score"] for value in values] == [1.0, 0.0]


def test_rouge_by_stems_and_sentences(evaluate: Any) -> None:
    def score(prediction: str, reference: str, **spec: Any) -> float:
        instances = [{"prediction": prediction, "reference": reference}]
        answer = evaluate({"rougeInput": {"metricSpec": spec, "instances": instances}}).json()
        return float(answer["rougeResults"]["rougeMetricValues"][0]["score"])

    inflected = ("He was testing dogs", "he was tested: dog")
    assert score(*inflected, rougeType="rouge1") == 0.5
    assert score(*inflected, rougeType="rouge1", useStemmer=True) == 1.0  # dogs -> dog, testing -> test
    assert score("the was", "the wa", rougeType="rougeL", useStemmer=True) == 0.5  # short words stay as they are
    swapped = ("One came. Two went.", "Two went. One came.")
    assert score(*swapped, rougeType="rougeLsum", splitSummaries=True) == 1.0
    assert score(*swapped, rougeType="rougelsum") == 0.5  # google-genai sends the type in lower case


@pytest.mark.difference("judge of metrics", "a Gemini model", "ROUGE-L with the reference; a model with `--judge`")
def test_judged_metrics(evaluate: Any) -> None:
    instance = {"prompt": "p", "response": "the cat", "baseline_model_response": "a dog", "reference": "the cat sat"}
    request = {"metricSpec": {"metricPromptTemplate": "{prompt}"}, "instance": {"jsonInstance": json.dumps(instance)}}
    point = evaluate({"pointwiseMetricInput": request}).json()["pointwiseMetricResult"]
    assert point["score"] == pytest.approx(1 + 4 * 0.8)
    assert "Lexical judge" in point["explanation"]
    pair = evaluate({"pairwiseMetricInput": request}).json()["pairwiseMetricResult"]
    assert pair["pairwiseChoice"] == "CANDIDATE"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, 400),
        ({"rougeInput": {"metricSpec": {"rougeType": "rouge99"}, "instances": PAIRS}}, 400),
        ({"bleuInput": {"metricSpec": {}}}, 400),
        ({"toolCallValidInput": {}}, 400),
        ({"metrics": [{"predefinedMetricSpec": {}}], "instance": {"response": "x"}}, 400),
        (
            {"pointwiseMetricInput": {"metricSpec": {"metricPromptTemplate": "x"}, "instance": {"jsonInstance": "{"}}},
            400,
        ),
    ],
)
def test_refusals(evaluate: Any, body: dict[str, Any], code: int) -> None:
    assert evaluate(body).status_code == code


def agentplatform_client(url: str) -> Any:
    pytest.importorskip("jsonschema", reason="agentplatform's evals need the [evaluation] extra")
    pytest.importorskip("ruamel.yaml", reason="agentplatform's evals need the [evaluation] extra")
    import agentplatform
    from google.genai import types
    from google.oauth2.credentials import Credentials

    return agentplatform.Client(
        project=PROJECT,
        location=LOCATION,
        credentials=Credentials("any-token"),
        http_options=types.HttpOptions(base_url=url),
    )


def test_agentplatform_evals(server: Server) -> None:
    client = agentplatform_client(server.url)
    import pandas as pd
    from agentplatform import types

    frame = pd.DataFrame([{"prompt": "p", "response": p["prediction"], "reference": p["reference"]} for p in PAIRS])
    metrics = [types.Metric(name=name) for name in ("exact_match", "bleu", "rouge_1", "rouge_l_sum")]
    result = client.evals.evaluate(dataset=types.EvaluationDataset(eval_dataset_df=frame), metrics=metrics)
    means = {metric.metric_name: metric.mean_score for metric in result.summary_metrics}
    assert means["exact_match"] == pytest.approx(0.5)
    assert means["rouge_1"] == pytest.approx(0.5)
    inferred = client.evals.run_inference(model="gemini-2.5-flash", src=pd.DataFrame([{"prompt": "say it again"}]))
    assert inferred.eval_dataset_df["response"][0]


def test_evaluation_service_client(server: Server) -> None:
    from emulated import gapic
    from google.cloud.aiplatform_v1 import EvaluationServiceClient
    from google.cloud.aiplatform_v1.types import EvaluateInstancesRequest, ExactMatchInput, ExactMatchInstance

    instances = [ExactMatchInstance(**pair) for pair in PAIRS]
    request = EvaluateInstancesRequest(
        location=f"projects/{PROJECT}/locations/{LOCATION}",
        exact_match_input=ExactMatchInput(metric_spec={}, instances=instances),
    )
    answer = gapic(EvaluationServiceClient, server.url).evaluate_instances(request=request)
    assert [value.score for value in answer.exact_match_results.exact_match_metric_values] == [1.0, 0.0]


def test_agentplatform_judged_metrics(server: Server) -> None:
    client = agentplatform_client(server.url)
    import pandas as pd
    from agentplatform import types

    frame = pd.DataFrame([{"prompt": "p", "response": p["prediction"], "reference": p["reference"]} for p in PAIRS])
    metrics = [types.LLMMetric(name="mine", prompt_template="Rate {response}"), types.RubricMetric.TEXT_QUALITY]
    result = client.evals.evaluate(dataset=types.EvaluationDataset(eval_dataset_df=frame), metrics=metrics)
    for metric in result.summary_metrics:
        assert (metric.num_cases_valid, metric.num_cases_error) == (2, 0)
        assert metric.mean_score == pytest.approx(3.0)  # 5 for the same words, 1 for none


def test_eval_task(server: Server) -> None:
    import pandas as pd
    from google.auth.credentials import AnonymousCredentials
    from google.cloud import aiplatform
    from vertexai.evaluation import EvalTask, Rouge

    credentials = AnonymousCredentials()
    options = {"credentials": credentials, "api_endpoint": server.url, "api_transport": "rest"}
    aiplatform.init(project=PROJECT, location=LOCATION, **options)
    frame = pd.DataFrame([{"response": p["prediction"], "reference": p["reference"]} for p in PAIRS])
    metrics = ["exact_match", "bleu", Rouge(rouge_type="rougeL")]
    summary = EvalTask(dataset=frame, metrics=metrics).evaluate().summary_metrics
    aiplatform.initializer.global_config._api_endpoint = None
    assert summary["exact_match/mean"] == pytest.approx(0.5)
    assert summary["rouge/mean"] == pytest.approx(0.5)
    assert summary["row_count"] == 2
