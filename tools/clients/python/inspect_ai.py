# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
# /// script
# dependencies = ["inspect-ai", "google-genai"]
# ///
"""inspect-ai: `--model google/vertex/MODEL -M project=P -M location=L`; the address is in the environment."""

import json

from inspect_ai.model import ChatMessageSystem, ChatMessageUser, GenerateConfig, ResponseSchema, get_model
from inspect_ai.tool import ToolInfo, ToolParams
from inspect_ai.util import JSONSchema


def _model(s, name=None):
    return get_model(f"google/vertex/{name or s.model}", project=s.project, location=s.location)


async def base(s):
    return (await _model(s).generate(s.prompt)).completion


async def system(s):
    messages = [ChatMessageSystem(content=s.system), ChatMessageUser(content=s.prompt)]
    return (await _model(s).generate(messages)).completion


async def schema(s):
    form = ResponseSchema(name="answer", json_schema=JSONSchema(**s.schema))
    return json.loads((await _model(s).generate(s.prompt, config=GenerateConfig(response_schema=form))).completion)


async def tools(s):
    tool = ToolInfo(name=s.function, description="status", parameters=ToolParams(**s.parameters))
    return [call.function for call in (await _model(s).generate(s.prompt, tools=[tool])).message.tool_calls]


async def tuned(s):
    return (await _model(s, s.endpoint).generate(s.tuned_prompt)).completion
