# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Thinking of base models and tuned ones: how long, by `thinkingConfig`, and its tokens.

The engines do not reason: a thought repeats the last turn, so that it takes tokens and room as thinking does. Ranges
and messages: cloud.google.com/vertex-ai/generative-ai/docs/thinking.
"""

from collections.abc import Callable
from dataclasses import dataclass

from emulator.catalogue import BaseModelEntry
from emulator.core.google_rest import ApiError, Fields, Json
from emulator.engines.base import Engine
from emulator.services.structured import enum_name

DYNAMIC_TOKENS = 8192  # longest thought of a model that decides by itself
_LEVELS = ("THINKING_LEVEL_UNSPECIFIED", "LOW", "HIGH", "MEDIUM", "MINIMAL")


@dataclass(frozen=True, slots=True)
class Thought:
    """A thought; `reserved` of its tokens are taken from `maxOutputTokens`, `included` says whether it is returned."""

    text: str = ""
    token_count: int = 0
    reserved: int = 0
    included: bool = False

    def parts(self) -> list[Json]:
        """The part that is returned, if any."""
        return [{"text": self.text, "thought": True}] if self.included and self.text else []

    def usage(self) -> Json:
        """Its field of `usageMetadata`, which is absent without thoughts."""
        return {"thoughtsTokenCount": self.token_count} if self.token_count else {}


def read_thinking(config: Fields, model: BaseModelEntry, is_tuned: bool) -> tuple[int, bool]:
    """(budget in tokens, whether thoughts are returned); a budget of -1: the model decides; 400 if it cannot.

    A tuned model, whose training rows have no thoughts, thinks on request only.
    """
    fields = config.object("thinkingConfig")
    level, included = enum_name(fields, "thinkingLevel", _LEVELS), fields.boolean("includeThoughts")
    thinking = model.thinking
    if thinking is None:
        return 0, False
    budget = fields.integer("thinkingBudget", -1 if thinking.by_default and (included or not is_tuned) else 0)
    low, high = thinking.budgets
    if level != _LEVELS[0]:
        if "thinkingBudget" in fields:
            raise _refused("thinking_budget and thinking_level cannot both be set.")
        if level not in thinking.levels:
            raise _refused("thinking_level is not supported by this model.")
        budget = 0 if level == "MINIMAL" else -1
    elif "thinkingBudget" in fields and not (low <= budget <= high or budget == -1 or (budget == 0 and thinking.off)):
        raise _refused(f"thinking_budget is out of range; supported values are integers from {low} to {high}.")
    if included and not budget and not thinking.levels:
        raise _refused("Thinking_config.include_thoughts is only enabled when thinking is enabled.")
    return budget, included


def think(
    config: Fields, model: BaseModelEntry, is_tuned: bool, engine: Callable[[BaseModelEntry], Engine], prompt: str
) -> Thought:
    """The thought about a prompt. A budget of the request is part of `maxOutputTokens`; a model that decides by itself
    leaves room for its answer.
    """
    budget, included = read_thinking(config, model, is_tuned)
    if not budget:
        return Thought()
    text = f"The last turn is: {prompt}"
    most = budget if budget > 0 else DYNAMIC_TOKENS
    if reserves := budget > 0 and "maxOutputTokens" in config:
        most = min(most, config.integer("maxOutputTokens"))
    (length,) = engine(model).count_tokens([text])
    count = min(length, most)
    return Thought(text[: len(text) * count // length], count, count if reserves else 0, included)


def _refused(reason: str) -> ApiError:
    learn = "Learn more: https://cloud.google.com/vertex-ai/generative-ai/docs/model-reference/gemini"
    return ApiError(400, f"Unable to submit request because {reason} {learn}")
