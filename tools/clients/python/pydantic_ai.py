# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
# /// script
# dependencies = ["pydantic-ai-slim[google]"]
# ///
"""pydantic-ai: `GoogleCloudProvider` with project and location; the address is in the environment."""

from typing import Literal

from pydantic import BaseModel
from pydantic_ai import Agent, NativeOutput
from pydantic_ai.models.google import GoogleModel
from pydantic_ai.providers.google_cloud import GoogleCloudProvider


class Answer(BaseModel):
    label: Literal["shipping", "refund"]
    confidence: float


def _agent(s, model=None, **options):
    provider = GoogleCloudProvider(project=s.project, location=s.location, base_url=s.url)
    return Agent(GoogleModel(model or s.model, provider=provider), **options)


async def base(s):
    return (await _agent(s).run(s.prompt)).output


async def system(s):
    return (await _agent(s, instructions=s.system).run(s.prompt)).output


async def stream(s):
    async with _agent(s).run_stream(s.prompt) as result:
        return [text async for text in result.stream_text(delta=True)]


async def schema(s):
    by_tool = (await _agent(s, output_type=Answer).run(s.prompt)).output
    assert isinstance(by_tool, Answer)
    return (await _agent(s, output_type=NativeOutput(Answer)).run(s.prompt)).output.model_dump()


async def tools(s):
    calls = []

    def get_parcel_status(order: str) -> str:
        calls.append("get_parcel_status")
        return "on its way"

    await _agent(s, tools=[get_parcel_status]).run(s.prompt)
    return calls


async def tuned(s):
    return (await _agent(s, s.endpoint).run(s.tuned_prompt)).output
