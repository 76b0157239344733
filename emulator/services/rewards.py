# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Rewards of reinforcement tuning: read from a request, checked, and computed for answers.

A composite is the weighted mean of single rewards, each clipped to [-1, 1]. Regular expressions are RE2's.
"""

import ast
import json
import math
import re
from collections.abc import Sequence
from typing import Any

import re2

from emulator.core.google_rest import ApiError, Json, snake
from emulator.core.messages import RE2_OPTIONS
from emulator.engines.base import ReinforcementRow
from emulator.services.datasets import contents
from emulator.services.evaluation import Evaluation
from emulator.services.inference import gather_all
from emulator.services.reward_process import run_snippet

CONFIGS = ("singleRewardConfig", "compositeRewardConfig")
_PLACEHOLDER = re.compile(r"\{\{\s*([\w.]+)\s*\}\}")
Sample = tuple[ReinforcementRow, str]


class RewardError(ValueError):
    """A reward cannot be computed for an answer."""


class Rewards:
    """Computes rewards; snippets are run only with `execute`."""

    def __init__(self, evaluation: Evaluation, execute: bool) -> None:
        self._evaluation, self._execute = evaluation, execute

    def read(self, body: Json, place: str = "") -> Json:
        """{singleRewardConfig} or {compositeRewardConfig} of a checked request; 400 for what a schema does not refuse.
        `place` is the path of the request, which ends with a dot unless it is empty.
        """
        key = next(key for key in CONFIGS if key in body)
        parts = [single for single, _ in _parts(body)]
        for n, single in enumerate(parts):
            if scorer := single.get("codeExecutionRewardScorer"):
                part = "" if key == CONFIGS[0] else f".weighted_reward_configs[{n}].reward_config"
                where = f"{place}{snake(key)}{part}.code_execution_reward_scorer.python_code_snippet"
                self._check_snippet(scorer["pythonCodeSnippet"], where)
        if len({single["rewardName"] for single in parts}) < len(parts):
            problem = "needs a reward_name of its own for each reward."
            raise ApiError.field(f"{place}{snake(key)}.weighted_reward_configs", problem)
        return {key: body[key]}

    def _check_snippet(self, snippet: str, place: str) -> None:
        try:
            body = ast.parse(snippet).body
        except (SyntaxError, ValueError) as error:
            raise ApiError.field(place, f"is not Python: {error}.") from error
        if not any(isinstance(node, ast.FunctionDef) and node.name == "evaluate" for node in body):
            raise ApiError.field(place, "must define evaluate(example, response).")
        if not self._execute:
            raise ApiError(400, f"{place} is code: the emulator runs it if it is started with --execute-rewards.")

    def overall(self, config: Json, samples: Sequence[Sample]) -> list[float]:
        """The reward of each answer; raises `RewardError` naming the first that has none."""
        parts = _parts(config)
        weights = math.fsum(weight for _, weight in parts)
        columns = []
        for single, _ in parts:
            column = self._single(single, samples)
            if problem := next((value for value in column if isinstance(value, str)), None):
                raise RewardError(f"reward {single['rewardName']}: {problem}")
            columns.append([value for value in column if not isinstance(value, str)])
        return [
            math.fsum(weight * value for (_, weight), value in zip(parts, row, strict=True)) / weights
            for row in zip(*columns, strict=True)
        ]

    def validate(self, config: Json, sample: Sample) -> Json:
        """The response of validateReinforcementTuningReward: the overall reward, and each by its name."""
        details: Json = {}
        for single, _ in _parts(config):
            (value,) = self._single(single, [sample])
            failed = isinstance(value, str)
            details[single["rewardName"]] = (
                {"errorStatus": {"code": 3, "message": value}} if failed else {"reward": value}
            )
        try:
            return {"overallReward": self.overall(config, [sample])[0], "rewardInfoDetails": details}
        except RewardError as error:
            return {"error": str(error), "rewardInfoDetails": details}

    def _single(self, single: Json, samples: Sequence[Sample]) -> list[float | str]:
        """The clipped reward of each answer, or why it has none."""
        parse = single.get("parseResponseConfig") or {}
        answers = [(row, _parsed(parse, text)) for row, text in samples]
        if scorer := single.get("stringMatchRewardScorer"):
            values = [_string_match(scorer, row, text) for row, text in answers]
        elif scorer := single.get("autoraterScorer"):
            values = gather_all(lambda n: self._rate(scorer, *answers[n]), len(answers), lambda: None)
        else:
            snippet = single["codeExecutionRewardScorer"]["pythonCodeSnippet"]
            cases = [(_example(row), {"role": "model", "parts": [{"text": text}]}) for row, text in answers]
            values = run_snippet(snippet, cases)
        return [value if isinstance(value, str) else _clipped(value) for value in values]

    async def _rate(self, scorer: Json, row: ReinforcementRow, text: str) -> float | str:
        """The reward by the emulator's judge, which answers what the parser would extract from an judge's reply."""
        try:
            prompt = _filled(scorer["autoraterPrompt"], row, text)
            exact = scorer.get("exactMatchScorer")
            expression = _filled(exact["expression"], row, text) if exact else ""
        except RewardError as error:
            return str(error)
        values = {"response": text, "prompt": "\n".join(turn.text for turn in row.turns)}
        if row.references:
            values["reference"] = row.references[0][1]
        rating = await self._evaluation.rating(prompt, values)
        if exact is None:
            return rating
        return float(exact.get("correctAnswerReward" if rating >= 0.5 and expression else "wrongAnswerReward", 0))


def _parts(config: Json) -> list[tuple[Json, float]]:
    if single := config.get("singleRewardConfig"):
        return [(single, 1.0)]
    parts = config["compositeRewardConfig"]["weightedRewardConfigs"]
    return [(part["rewardConfig"], part["weight"]) for part in parts]


def _clipped(value: float) -> float | str:
    return "the reward is not a number" if math.isnan(value) else max(-1.0, min(1.0, value))


def _example(row: ReinforcementRow) -> Json:
    example: Json = {"contents": contents(row.turns), "references": dict(row.references)}
    return example | ({"systemInstruction": {"parts": [{"text": row.system}]}} if row.system else {})


def _filled(template: str, row: ReinforcementRow, answer: str) -> str:
    """A template with the values of its placeholders; raises `RewardError` for one that has none."""
    values = {f"references.{key}": value for key, value in row.references}
    values |= {"response": answer, "system_instruction": row.system or ""}
    values["prompt"] = "\n".join(turn.text for turn in row.turns)

    def value(match: Any) -> str:
        if match[1] not in values:
            raise RewardError(f"the example has no value for {{{{{match[1]}}}}}")
        return values[match[1]]

    return str(_PLACEHOLDER.sub(value, template))


def _parsed(parse: Json, text: str) -> str:
    """The part of an answer that is scored: all of it, or the last match of an expression; "" without a match."""
    if parse.get("parseType") != "REGEX_EXTRACT":
        return text
    expression = re2.compile(parse["regexExtractExpression"], RE2_OPTIONS)
    matches = list(expression.finditer(text))
    return (matches[-1][1 if expression.groups else 0] or "") if matches else ""


def _string_match(scorer: Json, row: ReinforcementRow, text: str) -> float | str:
    value: str | None = text
    expression: Json = scorer.get("stringMatchExpression") or {}
    if json_match := scorer.get("jsonMatchExpression"):
        expression, value = json_match["valueStringMatchExpression"], _json_field(text, json_match["keyName"])
    try:
        matches = value is not None and _matches(expression, row, value)
    except RewardError as error:
        return str(error)
    return float(scorer.get("correctAnswerReward" if matches else "wrongAnswerReward", 0))


def _json_field(text: str, key: str) -> str | None:
    try:
        value = json.loads(text)[key]
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _matches(expression: Json, row: ReinforcementRow, text: str) -> bool:
    expected = _filled(expression["expression"], row, text)
    operation = expression["matchOperation"]
    if operation == "EXACT_MATCH":
        return text == expected
    if operation == "PARTIAL_MATCH":
        return expected in text
    try:
        return re2.search(expected, text, RE2_OPTIONS) is not None
    except re2.error as error:
        raise RewardError(f"the expression {expected[:80]!r} cannot be used: {error}") from error
