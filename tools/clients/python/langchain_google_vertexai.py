# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
# /// script
# dependencies = ["langchain-google-vertexai"]
# ///
"""langchain-google-vertexai: address and transport are arguments; its asynchronous methods are gRPC alone."""

from langchain_google_vertexai import ChatVertexAI


def _chat(s, **options):
    place = {"project": s.project, "location": s.location, "api_endpoint": s.url, "api_transport": "rest"}
    return ChatVertexAI(**{"model": s.model, **place, **options})


def base(s):
    return _chat(s).invoke(s.prompt).text


def system(s):
    return _chat(s).invoke([("system", s.system), ("human", s.prompt)]).text


def stream(s):
    return [chunk.text for chunk in _chat(s).stream(s.prompt)]


def schema(s):
    return _chat(s).with_structured_output({"title": "Answer", **s.schema}, method="json_mode").invoke(s.prompt)


def tools(s):
    tool = {"name": s.function, "description": "", "parameters": s.parameters}
    return [call["name"] for call in _chat(s).bind_tools([tool]).invoke(s.prompt).tool_calls]


def tuned(s):
    return _chat(s, model=s.endpoint).invoke(s.tuned_prompt).text
