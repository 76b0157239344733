# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Reinforcement tuning through google-genai: jobs, rewards that are validated, refusals, and a student that learns."""

from __future__ import annotations

import random
from collections.abc import Callable
from statistics import median
from typing import Any

import httpx
import pytest
from emulated import PARENT, Server, curves, genai_client, upload, wait
from google.genai import errors, types

BASE = "gemini-3.5-flash"
SNIPPET = """
def evaluate(example, response):
    text = response["parts"][0]["text"]
    return 2.0 if text == example["references"]["label"] else -0.5
"""


def lines(count: int = 40) -> list[dict[str, Any]]:
    words = {"refund": "money back please", "shipping": "where is my parcel"}
    return [
        {
            "systemInstruction": {"parts": [{"text": "Classify."}]},
            "contents": [{"role": "user", "parts": [{"text": f"{text} number {n}"}]}],
            "references": {"label": label, "other_name": "x"},
        }
        for n in range(count // 2)
        for label, text in words.items()
    ]


def string_match(operation: str = "EXACT_MATCH", expression: str = "{{references.label}}", **parse: Any) -> Any:
    return types.SingleReinforcementTuningRewardConfig(
        reward_name="label",
        parse_response_config=types.ReinforcementTuningParseResponseConfig(**parse) if parse else None,
        string_match_reward_scorer=types.ReinforcementTuningStringMatchRewardScorer(
            correct_answer_reward=1.0,
            wrong_answer_reward=-1.0,
            string_match_expression=types.ReinforcementTuningStringMatchRewardScorerStringMatchExpression(
                match_operation=operation, expression=expression
            ),
        ),
    )


def json_match(key: str) -> Any:
    expression = types.ReinforcementTuningStringMatchRewardScorerStringMatchExpression(
        match_operation="EXACT_MATCH", expression=f"{{{{references.{key}}}}}"
    )
    return types.SingleReinforcementTuningRewardConfig(
        reward_name=key,
        string_match_reward_scorer=types.ReinforcementTuningStringMatchRewardScorer(
            correct_answer_reward=1.0,
            json_match_expression=types.ReinforcementTuningStringMatchRewardScorerJsonMatchExpression(
                key_name=key, value_string_match_expression=expression
            ),
        ),
    )


def code(snippet: str) -> Any:
    scorer = types.ReinforcementTuningCodeExecutionRewardScorer(python_code_snippet=snippet)
    return types.SingleReinforcementTuningRewardConfig(reward_name="code", code_execution_reward_scorer=scorer)


def composite(*parts: tuple[Any, float]) -> Any:
    weighted = [
        types.CompositeReinforcementTuningRewardConfigWeightedRewardConfig(reward_config=reward, weight=weight)
        for reward, weight in parts
    ]
    return types.CompositeReinforcementTuningRewardConfig(weighted_reward_configs=weighted)


def judged(**scorer: Any) -> Any:
    rater = types.ReinforcementTuningAutoraterScorer(
        autorater_config=types.AutoraterConfig(autorater_model="gemini-3.5-flash", sampling_count=1),
        autorater_prompt="Rate {{response}} to {{prompt}} by {{references.label}}, {{system_instruction}}.",
        **scorer,
    )
    return types.SingleReinforcementTuningRewardConfig(reward_name="rating", autorater_scorer=rater)


CONVERTED = types.ReinforcementTuningAutoraterScorerParsedResponseConversionScorer()


def tune(client: Any, train: str, **config: Any) -> Any:
    return client.tunings.tune(
        base_model=BASE,
        training_dataset=types.TuningDataset(gcs_uri=train),
        config=types.CreateTuningJobConfig(method="REINFORCEMENT_TUNING", **config),
    )


def validate(client: Any, reward: Any, answer: str, **references: str) -> Any:
    example = types.ReinforcementTuningExample(
        contents=[types.Content(role="user", parts=[types.Part(text="money back")])],
        references=references or {"label": "refund"},
        system_instruction=types.Content(parts=[types.Part(text="Classify.")]),
    )
    is_composite = isinstance(reward, types.CompositeReinforcementTuningRewardConfig)
    return client.tunings.validate_reward(
        parent=PARENT,
        sample_response=types.Content(role="model", parts=[types.Part(text=answer)]),
        example=example,
        **{"composite_reward_config" if is_composite else "single_reward_config": reward},
    )


@pytest.fixture(scope="module")
def train_uri(server: Server) -> str:
    return upload(server.url, "rl.jsonl", lines())


def test_reinforcement_job_runs_to_a_served_model(server: Server, train_uri: str) -> None:
    client = genai_client(server.url)
    job = tune(
        client,
        train_uri,
        validation_dataset=types.TuningValidationDataset(gcs_uri=upload(server.url, "rlv.jsonl", lines(10))),
        reward_config=string_match(),
        epoch_count=4,
        batch_size=16,
        samples_per_prompt=4,
        evaluate_interval=2,
        checkpoint_interval=5,
        max_output_tokens=8,
        thinking_level="MINIMAL",
        adapter_size="ADAPTER_SIZE_EIGHT",
    )
    assert job.state == "JOB_STATE_PENDING"
    hyper = job.reinforcement_tuning_spec.hyper_parameters
    assert (hyper.epoch_count, hyper.batch_size, hyper.samples_per_prompt) == (4, 16, 4)
    assert job.reinforcement_tuning_spec.single_reward_config == string_match()
    job = wait(client, job)
    assert job.state == "JOB_STATE_SUCCEEDED", job.error
    assert [point.step for point in job.tuned_model.checkpoints] == [5, 10, 12]
    stats = job.tuning_data_stats.reinforcement_tuning_data_stats
    assert (stats.tuning_dataset_example_count, stats.tuning_step_count) == (40, 12)
    assert client.models.generate_content(model=job.tuned_model.endpoint, contents="money back please number 3").text

    series = curves(server.url, job.experiment)
    assert set(series) == {"/train_mean_reward", "/eval_mean_reward"}
    assert (len(series["/train_mean_reward"]), len(series["/eval_mean_reward"])) == (12, 6)


def test_reinforcement_defaults_are_the_documented_ones(server: Server, train_uri: str) -> None:
    job = tune(genai_client(server.url), train_uri, reward_config=string_match())
    hyper = job.reinforcement_tuning_spec.hyper_parameters
    assert (hyper.batch_size, hyper.samples_per_prompt, hyper.thinking_level) == (32, 16, "HIGH")
    assert (hyper.epoch_count, hyper.learning_rate_multiplier) == (10, 1.0)  # min(110 * 32 / 40, 10)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({}, "exactly one of single_reward_config and composite_reward_config"),
        ({"reward_config": string_match(expression="(", operation="REGEX_CONTAINS")}, "not a regular expression"),
        ({"reward_config": string_match(expression="(?=x)", operation="REGEX_CONTAINS")}, "RE2"),
        ({"reward_config": string_match(), "batch_size": 3, "samples_per_prompt": 3}, "multiple of 16"),
        ({"reward_config": string_match(), "batch_size": 1024, "samples_per_prompt": 16}, "at most 8192"),
        ({"reward_config": string_match(), "learning_rate_multiplier": 5.0}, "between 0.25 and 4"),
        ({"reward_config": code("def other(): pass")}, "must define evaluate"),
        ({"reward_config": code("def evaluate(: pass")}, "is not Python"),
        ({"composite_reward_config": composite((string_match(), 0.0))}, "must be a positive number"),
        ({"composite_reward_config": composite((string_match(), 1), (string_match(), 1))}, "reward_name of its own"),
        ({"reward_config": judged()}, "exactly one of exact_match_scorer"),
    ],
)
def test_reinforcement_refuses(server: Server, train_uri: str, config: dict[str, Any], message: str) -> None:
    with pytest.raises((errors.ClientError, ValueError), match=message):
        tune(genai_client(server.url), train_uri, **config)


def test_reinforcement_is_offered_in_one_region_and_for_listed_models(server: Server, train_uri: str) -> None:
    with pytest.raises(errors.ClientError, match=r"not supported in europe-west4. Supported locations: us-central1"):
        tune(genai_client(server.url, "europe-west4"), train_uri, reward_config=string_match())
    spec = {"trainingDatasetUri": train_uri, "singleRewardConfig": {}}
    for body, version, status in (
        ({"baseModel": "gemini-3.1-flash-lite"}, "v1beta1", 400),
        ({"baseModel": BASE}, "v1", 404),
    ):
        url = f"{server.url}/{version}/{PARENT}/tuningJobs"
        assert httpx.post(url, json={**body, "reinforcementTuningSpec": spec}).status_code == status


def test_reinforcement_rejects_rows_with_an_answer(server: Server) -> None:
    answered = [*lines(4), {"contents": [{"role": "user", "parts": [{"text": "x"}]},
                                         {"role": "model", "parts": [{"text": "y"}]}]}]  # fmt: skip
    client = genai_client(server.url)
    job = wait(client, tune(client, upload(server.url, "answered.jsonl", answered), reward_config=string_match()))
    assert (job.state, job.error.code) == ("JOB_STATE_FAILED", 3)
    assert "line 5: contents must end with a turn of role user" in job.error.message


def test_rewards_are_validated(start: Callable[..., Server]) -> None:
    client = genai_client(start("--execute-rewards").url)

    def reward(config: Any, answer: str, **references: str) -> float | None:
        return validate(client, config, answer, **references).overall_reward

    assert reward(string_match(), "refund") == 1.0
    assert reward(string_match(), "refund.") == -1.0
    assert reward(string_match("PARTIAL_MATCH"), "a refund.") == 1.0
    assert reward(string_match("REGEX_CONTAINS", r"^\s*{{references.label}}\W*$"), " refund. ") == 1.0
    last = {"parse_type": "REGEX_EXTRACT", "regex_extract_expression": "<a>(.*?)</a>"}
    assert reward(string_match(**last), "<a>cancel</a> no, <a>refund</a>") == 1.0
    assert reward(string_match(**last), "refund") == -1.0
    both = composite((json_match("city"), 3.0), (json_match("zip_code"), 1.0))
    wanted = {"city": "Utrecht", "zip_code": "3511"}
    assert reward(both, '{"city": "Utrecht", "zip_code": 3511}', **wanted) == 1.0
    assert reward(both, '{"city": "Utrecht"}', **wanted) == 0.75
    assert reward(both, "no JSON", **wanted) == 0.0
    assert validate(client, both, '{"zip_code": "3511"}', **wanted).reward_info_details["city"].reward == 0.0
    assert reward(code(SNIPPET), "refund") == 1.0  # clipped
    assert reward(code(SNIPPET), "cancel") == -0.5
    converted = judged(parsed_response_conversion_scorer=CONVERTED)
    assert reward(converted, "refund") == 1.0
    assert reward(converted, "cancel") == 0.0
    missing = validate(client, string_match(), "refund", another="x")
    assert missing.overall_reward is None
    assert "no value for {{references.label}}" in missing.error


@pytest.mark.parametrize(
    "body",
    [
        "open('/etc/passwd').read()",
        "open('x', 'w')",
        "__import__('socket').create_connection(('127.0.0.1', 1))",
        "__import__('subprocess').run(['true'])",
        "__import__('os').system('true')",
        "__import__('os').environ['PATH']",
        "bytearray(1 << 31)",
    ],
)
def test_reward_snippet_is_confined(body: str) -> None:
    from emulator.services.reward_process import run_snippet

    (result,) = run_snippet(f"def evaluate(example, response):\n    {body}\n    return 1.0", [({}, {})])
    assert isinstance(result, str)


@pytest.mark.difference("rewards that are code", "run in the service's sandbox", "400 without `--execute-rewards`")
def test_reward_snippet_needs_the_option(server: Server, train_uri: str) -> None:
    with pytest.raises(errors.ClientError, match="--execute-rewards"):
        tune(genai_client(server.url), train_uri, reward_config=code(SNIPPET))


def test_student_learns_by_its_reward(start: Callable[..., Server]) -> None:
    """From a supervised checkpoint, by the true reward, the mean reward rises and the divergence stays bounded; a
    reward with a hole is exploited: it rises further while right answers get rare.
    """
    server = start("--engine", "student", "--threads", "1")
    client, rng = genai_client(server.url), random.Random(0)
    phrases = {"refund": ["money back", "return my payment"], "shipping": ["parcel", "delivery", "courier"]}
    rows = []
    for _ in range(64):
        label = rng.choice(sorted(phrases))
        text = f"Hello, my {rng.choice(phrases[label])} number {rng.randrange(1000)} please"
        rows.append({"contents": [{"role": "user", "parts": [{"text": text}]}], "references": {"label": label}})
    uri = upload(server.url, "rl.jsonl", rows)
    answers = [{"role": "model", "parts": [{"text": row["references"]["label"]}]} for row in rows]  # type: ignore[index]
    answered = [{"contents": [*row["contents"], answer]} for row, answer in zip(rows, answers, strict=True)]
    dataset = types.TuningDataset(gcs_uri=upload(server.url, "sft.jsonl", answered[:16]))
    config = types.CreateTuningJobConfig(epoch_count=3, adapter_size="ADAPTER_SIZE_EIGHT")
    first = wait(client, client.tunings.tune(base_model=BASE, training_dataset=dataset, config=config), 240)
    assert first.state == "JOB_STATE_SUCCEEDED", first.error

    def job(reward: Any) -> tuple[dict[str, list[float]], int]:
        config = types.CreateTuningJobConfig(
            method="REINFORCEMENT_TUNING",
            reward_config=reward,
            epoch_count=3,
            batch_size=16,
            samples_per_prompt=4,
            max_output_tokens=6,
        )
        dataset = types.TuningDataset(gcs_uri=uri)
        base = first.tuned_model.model
        job = wait(client, client.tunings.tune(base_model=base, training_dataset=dataset, config=config), 240)
        assert job.state == "JOB_STATE_SUCCEEDED", job.error
        right = 0
        for row in rows[:16]:
            model, settings = job.tuned_model.endpoint, {"temperature": 0, "max_output_tokens": 6}
            answer = client.models.generate_content(model=model, contents=row["contents"], config=settings).text
            right += answer == row["references"]["label"]  # type: ignore[index]
        return curves(server.url, job.experiment), right

    honest, right = job(string_match())
    hole, right_by_hole = job(string_match("PARTIAL_MATCH", "shipping"))
    assert honest["/train_mean_reward"][-1] > honest["/train_mean_reward"][0] + 0.2
    # The estimate is heavy-tailed: on some processors a single token raises the mean of one step to 6.7.
    assert median(honest["/train_mean_kl"]) < 1
    assert honest["/train_mean_kl"][-1] < 1
    assert hole["/train_mean_reward"][-1] > 0.9
    assert right_by_hole < right
