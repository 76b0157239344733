# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Rewards of reinforcement tuning: built from the task, in the form of the API, and computed here.

Without configured rewards an answer is compared with its reference: a label or text as a whole, an object field by
field. Source: google-genai 2.34, `types.SingleReinforcementTuningRewardConfig`. Guarantees: the default reward of a
label is the metric `exact_match` of every answer, that of an object `field_accuracy`, and `score` is what the service
computes.
"""

from collections.abc import Sequence
from typing import Any

import regex

from gemtune.config import Evaluate, JsonObject, Reward, Task, Trial
from gemtune.errors import UserError
from gemtune.inference.field_values import as_written, json_object, scored_fields

MAX_STEPS = 500  # of a job: docs of reinforcement tuning, 2026-11
SPACE = r"[\s\p{Z}\x1c-\x1f\x85]*"
STRIPPED = rf"(?s)^{SPACE}(.*?){SPACE}$"
_OPERATIONS = {"exact": "EXACT_MATCH", "contains": "PARTIAL_MATCH", "regex": "REGEX_CONTAINS"}
_PLACEHOLDER = regex.compile(r"\{\{references\.(\w+)\}\}")
RATING = r"(?s)^.*?([01](?:\.[0-9]+)?).*$"


def rewards_of(trial: Trial, task: Task, evaluate: Evaluate) -> list[Reward]:
    """The trial's rewards, each with its expression; by default those of the task's kind."""
    rewards = list(trial.rewards)
    if not rewards and task.kind == "extraction":
        rewards = [Reward(name=name, field=name) for name in scored_fields(task.output_schema)]
    elif not rewards and task.is_free_text:
        rewards = [Reward(name="rating", rubric=evaluate.judge.rubric)]
    return [_filled_in(reward) for reward in rewards or [Reward(name="target")]]


def _filled_in(reward: Reward) -> Reward:
    expression = reward.expression or f"{{{{references.{reward.field or 'target'}}}}}"
    return reward.model_copy(update={"expression": expression, "extract": reward.extract or STRIPPED})


def job_fields(trial: Trial, task: Task, evaluate: Evaluate, rows: int, last_only: bool) -> JsonObject:
    """What a reinforcement job has in addition to others, under the SDK's names; `last_only`: with one checkpoint."""
    per_epoch = -(-rows // trial.batch_size)
    interval = max(per_epoch, -(-per_epoch * trial.epoch_count // 10))  # one checkpoint an epoch, ten at most
    return {
        **wire_config(rewards_of(trial, task, evaluate), evaluate.judge.model),
        "samples_per_prompt": trial.samples_per_prompt,
        "batch_size": trial.batch_size,
        "max_output_tokens": evaluate.max_output_tokens,
        "evaluate_interval": interval,
        "checkpoint_interval": per_epoch * trial.epoch_count if last_only else interval,
        "thinking_level": "HIGH" if evaluate.thinking_budget else "MINIMAL",
    }


def require_steps(trial: Trial, rows: int) -> None:
    """Raise `UserError` for a reinforcement trial of more steps than the service takes."""
    steps = trial.epoch_count * -(-rows // trial.batch_size)
    if trial.method == "reinforcement" and steps > MAX_STEPS:
        remedy = "a larger batch_size, or fewer epochs or rows"
        raise UserError(f"{trial.name} would take {steps} steps, at most {MAX_STEPS}", remedy=remedy)


def wire_config(rewards: Sequence[Reward], judge: str) -> JsonObject:
    """The rewards as arguments of the SDK: `reward_config`, or `composite_reward_config` for several."""
    if len(rewards) == 1:
        return {"reward_config": _single(rewards[0], judge)}
    parts = [{"reward_config": _single(reward, judge), "weight": reward.weight} for reward in rewards]
    return {"composite_reward_config": {"weighted_reward_configs": parts}}


def equivalent_values(trial: Trial, task: Task) -> list[str]:
    """What the metrics of objects take for equal and a trial's default rewards do not, with the fields."""
    if trial.method != "reinforcement" or trial.rewards or task.kind != "extraction":
        return []
    fields: dict[str, list[str]] = {}
    for name, schema in task.output_schema.get("properties", {}).items():
        fields.setdefault(_equivalence(name, schema, task.field_rules.get(name, ())), []).append(name)
    return [
        f"the reward compares values as they are written, field_f1 does not: {', '.join(names)}: {what}"
        for what, names in fields.items()
        if what
    ]


def _equivalence(name: str, schema: Any, rules: Sequence[str]) -> str:
    kind = schema.get("type") if isinstance(schema, dict) else None
    if not name.isidentifier():
        return "no reward, because the name cannot stand in an expression"
    if kind in ("array", "object"):
        return "white space, empty fields, and the order of items without the rule sequence"
    if "date" in rules:
        return "other spellings of a date"
    if "number" in rules or kind in ("number", "integer"):
        return "other spellings of a number"
    if "exact" in rules or kind == "boolean":
        return ""
    return "width and white space" + (", and case" if "ignore_case" in rules else "")


def _single(reward: Reward, judge: str) -> JsonObject:
    if reward.code:
        return {"reward_name": reward.name, "code_execution_reward_scorer": {"python_code_snippet": reward.code}}
    if reward.rubric:
        prompt = (
            f"Rate the answer from 0 (bad) to 1 (good). What a good answer is: {reward.rubric}\n\n"
            "Request:\n{{prompt}}\n\nReference:\n{{references.target}}\n\nAnswer:\n{{response}}\n\n"
            "Reply with the number only."
        )
        scorer = {
            "autorater_config": {"autorater_model": judge, "sampling_count": 1},
            "autorater_prompt": prompt,
            "autorater_response_parse_config": {"parse_type": "REGEX_EXTRACT", "regex_extract_expression": RATING},
            "parsed_response_conversion_scorer": {},
        }
        return {"reward_name": reward.name, "autorater_scorer": scorer}
    expression = {"match_operation": _OPERATIONS[reward.match], "expression": reward.expression}
    matched = (
        {"json_match_expression": {"key_name": reward.field, "value_string_match_expression": expression}}
        if reward.field
        else {"string_match_expression": expression}
    )
    return {
        "reward_name": reward.name,
        "parse_response_config": {"parse_type": "REGEX_EXTRACT", "regex_extract_expression": reward.extract},
        "string_match_reward_scorer": {
            "correct_answer_reward": reward.correct,
            "wrong_answer_reward": reward.wrong,
            **matched,
        },
    }


def score(rewards: Sequence[Reward], row: JsonObject, answer: str) -> float:
    """The weighted mean of these rewards of an answer to a reinforcement row; each is clipped to -1 and 1.

    Raises `UserError` for code that fails, and for a judge, who answers only at the service.
    """
    total = sum(reward.weight * max(-1.0, min(1.0, _score(reward, row, answer))) for reward in rewards)
    return total / sum(reward.weight for reward in rewards)


def _score(reward: Reward, row: JsonObject, answer: str) -> float:
    if reward.rubric:
        raise UserError(f"the reward {reward.name} is a judge's", remedy="validate it by the service")
    if reward.code:
        return _run(reward, row, answer)
    matches = list(regex.finditer(reward.extract, answer, timeout=1.0))
    text = (matches[-1][1 if matches[-1].re.groups else 0] or "") if matches else ""
    return reward.correct if _matches(reward, row["references"], text) else reward.wrong


def _matches(reward: Reward, references: dict[str, str], text: str) -> bool:
    if reward.field:
        if reward.field not in (values := json_object(text)):
            return False
        text = as_written(values[reward.field])
    missing = [name for name in _PLACEHOLDER.findall(reward.expression) if name not in references]
    if missing:
        remedy = "use the names of fields that every reference has"
        raise UserError(f"reward {reward.name}: a row has no reference {missing[0]!r}", remedy=remedy)
    expression = _PLACEHOLDER.sub(lambda match: references[match[1]], reward.expression)
    if reward.match == "regex":
        return regex.search(expression, text, timeout=1.0) is not None
    return text == expression if reward.match == "exact" else expression in text


def _run(reward: Reward, row: JsonObject, answer: str) -> float:
    names: dict[str, Any] = {}
    try:
        exec(compile(reward.code, f"reward {reward.name}", "exec"), names)
        return float(names["evaluate"](row, {"role": "model", "parts": [{"text": answer}]}))
    except Exception as error:
        raise UserError(f"the code of reward {reward.name} failed: {type(error).__name__}: {error}") from None
