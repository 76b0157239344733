# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Rewards of reinforcement tuning: read from a request, checked, and computed for answers.

A single reward parses the answer and scores it by string match, by a value of a JSON object, by a judge or by a
Python snippet; a composite is the weighted mean of single ones. Each is clipped to [-1, 1]. Regular expressions are
those of RE2: without lookaround and references to groups.
"""

import ast
import asyncio
import json
import math
from collections.abc import Sequence
from typing import Any

import regex

from emulator.core.google_rest import ApiError, Fields, Json, bad_field
from emulator.engines.base import ReinforcementRow
from emulator.services.datasets import contents
from emulator.services.evaluation import Evaluation
from emulator.services.reward_process import run_snippet

SCORERS = ("stringMatchRewardScorer", "autoraterScorer", "codeExecutionRewardScorer", "cloudRunRewardScorer")
CONFIGS = ("singleRewardConfig", "compositeRewardConfig")
_OPERATIONS = ("REGEX_CONTAINS", "PARTIAL_MATCH", "EXACT_MATCH")
_PLACEHOLDER = regex.compile(r"\{\{\s*([\w.]+)\s*\}\}")
_NOT_RE2 = regex.compile(r"\(\?(?:[=!>#]|<[=!])|\\[1-9]|[*+?}]\+")
_MATCH_S = 1.0
Sample = tuple[ReinforcementRow, str]


class RewardError(ValueError):
    """A reward cannot be computed for an answer."""


class Rewards:
    """Computes rewards; snippets are run only with `execute`."""

    def __init__(self, evaluation: Evaluation, execute: bool) -> None:
        self._evaluation, self._execute = evaluation, execute

    def read(self, fields: Fields) -> Json:
        """{singleRewardConfig} or {compositeRewardConfig} of a request; 400 for an invalid one, 501 for one that is not
        implemented.
        """
        if len(present := [key for key in CONFIGS if key in fields]) != 1:
            names = "exactly one of single_reward_config and composite_reward_config must be set."
            raise fields.error("reward_config", names)
        config = fields.object(present[0])
        if present[0] == "singleRewardConfig":
            return {present[0]: self._read_single(config)}
        config.only("weightedRewardConfigs")
        parts: list[Json] = []
        for part in config.objects("weightedRewardConfigs"):
            part.only("rewardConfig", "weight")
            if (weight := part.number("weight")) <= 0:
                raise part.error("weight", "must be a positive number.")
            parts.append({"rewardConfig": self._read_single(part.object("rewardConfig")), "weight": weight})
        names_of = [part["rewardConfig"]["rewardName"] for part in parts]
        if not parts or len(set(names_of)) < len(parts):
            where = config.name("weightedRewardConfigs")
            raise bad_field((where, "needs at least one reward, each with a reward_name of its own."))
        return {present[0]: {"weightedRewardConfigs": parts}}

    def _read_single(self, fields: Fields) -> Json:
        fields.only("rewardName", "parseResponseConfig", *SCORERS)
        if len(scorers := [key for key in SCORERS if key in fields]) != 1:
            raise fields.error("reward_scorer", "exactly one reward scorer must be set.")
        if not fields.text("rewardName", ""):
            raise fields.error("rewardName", "is required.")
        _read_parse(fields.object("parseResponseConfig"))
        kind, scorer = scorers[0], fields.object(scorers[0])
        if kind == "stringMatchRewardScorer":
            _read_string_match(scorer)
        elif kind == "autoraterScorer":
            _read_judge(scorer)
        elif kind == "cloudRunRewardScorer":
            raise ApiError(400, "cloudRunRewardScorer is not implemented by the emulator.")
        else:
            self._read_snippet(scorer)
        return fields.value

    def _read_snippet(self, scorer: Fields) -> None:
        scorer.only("pythonCodeSnippet")
        where, snippet = scorer.name("pythonCodeSnippet"), scorer.text("pythonCodeSnippet")
        try:
            body = ast.parse(snippet).body
        except (SyntaxError, ValueError) as error:
            raise bad_field((where, f"is not Python: {error}.")) from error
        if not any(isinstance(node, ast.FunctionDef) and node.name == "evaluate" for node in body):
            raise bad_field((where, "must define evaluate(example, response)."))
        if not self._execute:
            raise ApiError(400, f"{where} is code: the emulator runs it if it is started with --execute-rewards.")

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
            values = [_attempt(_string_match, scorer, row, text) for row, text in answers]
        elif scorer := single.get("autoraterScorer"):
            values = asyncio.run(self._rate(scorer, answers))
        else:
            snippet = single["codeExecutionRewardScorer"]["pythonCodeSnippet"]
            cases = [(_example(row), {"role": "model", "parts": [{"text": text}]}) for row, text in answers]
            values = run_snippet(snippet, cases)
        return [value if isinstance(value, str) else _clipped(value) for value in values]

    async def _rate(self, scorer: Json, answers: Sequence[Sample]) -> list[float | str]:
        return list(await asyncio.gather(*(self._rate_one(scorer, row, text) for row, text in answers)))

    async def _rate_one(self, scorer: Json, row: ReinforcementRow, text: str) -> float | str:
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
        return float(exact.get("correctAnswerReward" if rating >= 0.5 and expression else "wrongAnswerReward") or 0.0)


def _parts(config: Json) -> list[tuple[Json, float]]:
    if single := config.get("singleRewardConfig"):
        return [(single, 1.0)]
    return [(part["rewardConfig"], part["weight"]) for part in config["compositeRewardConfig"]["weightedRewardConfigs"]]


def _clipped(value: float) -> float | str:
    return "the reward is not a number" if math.isnan(value) else max(-1.0, min(1.0, value))


def _example(row: ReinforcementRow) -> Json:
    example: Json = {
        "contents": contents(row.turns),
        "references": dict(row.references),
    }
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
    try:
        matches = list(regex.finditer(parse["regexExtractExpression"], text, timeout=_MATCH_S))
    except TimeoutError:
        return ""
    return (matches[-1][1 if matches[-1].re.groups else 0] or "") if matches else ""


def _attempt(score: Any, scorer: Json, row: ReinforcementRow, text: str) -> float | str:
    try:
        return float(score(scorer, row, text))
    except RewardError as error:
        return str(error)


def _string_match(scorer: Json, row: ReinforcementRow, text: str) -> float:
    expression = scorer.get("stringMatchExpression")
    if expression is None:
        expression = scorer["jsonMatchExpression"]["valueStringMatchExpression"]
        value = _json_field(text, scorer["jsonMatchExpression"]["keyName"])
        matches = value is not None and _matches(expression, row, value)
    else:
        matches = _matches(expression, row, text)
    return float(scorer.get("correctAnswerReward" if matches else "wrongAnswerReward") or 0.0)


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
        return regex.search(expected, text, timeout=_MATCH_S) is not None
    except (regex.error, TimeoutError) as error:
        raise RewardError(f"the expression {expected[:80]!r} cannot be used: {error}") from error


def _read_expression(where: str, expression: str) -> None:
    plain = _PLACEHOLDER.sub("x", expression)
    try:
        regex.compile(plain)
    except regex.error as error:
        raise bad_field((where, f"is not a regular expression: {error}.")) from error
    if _NOT_RE2.search(plain):
        raise bad_field((where, "has lookaround, a possessive quantifier or a reference to a group, which RE2 lacks."))


def _read_parse(fields: Fields) -> None:
    fields.only("parseType", "regexExtractExpression")
    kind = fields.text("parseType", "IDENTITY")
    if kind not in ("IDENTITY", "REGEX_EXTRACT", "RESPONSE_PARSE_TYPE_UNSPECIFIED"):
        raise fields.error("parseType", f"Invalid value: {kind[:80]!r}.")
    if kind == "REGEX_EXTRACT":
        _read_expression(fields.name("regexExtractExpression"), fields.text("regexExtractExpression"))


def _read_rewards(fields: Fields) -> None:
    for key in ("correctAnswerReward", "wrongAnswerReward"):
        fields.number(key, 0.0)


def _read_string_match(scorer: Fields) -> None:
    scorer.only("correctAnswerReward", "wrongAnswerReward", "stringMatchExpression", "jsonMatchExpression")
    _read_rewards(scorer)
    if ("stringMatchExpression" in scorer) == ("jsonMatchExpression" in scorer):
        names = "exactly one of string_match_expression and json_match_expression must be set."
        raise scorer.error("", names)
    expression = scorer.object("stringMatchExpression")
    if "jsonMatchExpression" in scorer:
        json_match = scorer.object("jsonMatchExpression")
        json_match.only("keyName", "valueStringMatchExpression")
        json_match.text("keyName")
        expression = json_match.object("valueStringMatchExpression")
    expression.only("matchOperation", "expression")
    operation = expression.text("matchOperation")
    if operation not in _OPERATIONS:
        raise expression.error("matchOperation", f"must be one of {', '.join(_OPERATIONS)}.")
    text = expression.text("expression")
    if operation == "REGEX_CONTAINS":
        _read_expression(expression.name("expression"), text)


def _read_judge(scorer: Fields) -> None:
    converted = "parsedResponseConversionScorer"
    scorer.only("autoraterConfig", "autoraterPrompt", "autoraterResponseParseConfig", "exactMatchScorer", converted)
    scorer.text("autoraterPrompt")
    config = scorer.object("autoraterConfig")
    if not 1 <= config.integer("samplingCount", 4) <= 32:
        raise config.error("samplingCount", "must be between 1 and 32.")
    _read_parse(scorer.object("autoraterResponseParseConfig"))
    if (scorer.value.get(converted) is None) == ("exactMatchScorer" not in scorer):
        raise scorer.error("", f"exactly one of exact_match_scorer and {converted} must be set.")
    if "exactMatchScorer" in scorer:
        exact = scorer.object("exactMatchScorer")
        exact.only("correctAnswerReward", "wrongAnswerReward", "expression")
        _read_rewards(exact)
        exact.text("expression")
