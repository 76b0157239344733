# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
# /// script
# dependencies = ["langchain-google-genai"]
# ///
"""langchain-google-genai: project and location are arguments, the address is in the environment."""

from langchain_google_genai import ChatGoogleGenerativeAI


def _chat(s, model=None):
    return ChatGoogleGenerativeAI(model=model or s.model, vertexai=True, project=s.project, location=s.location)


def base(s):
    return _chat(s).invoke(s.prompt).text


def system(s):
    return _chat(s).invoke([("system", s.system), ("human", s.prompt)]).text


def stream(s):
    return [chunk.text for chunk in _chat(s).stream(s.prompt)]


def schema(s):
    return _chat(s).with_structured_output({"title": "Answer", **s.schema}, method="json_schema").invoke(s.prompt)


def tools(s):
    tool = {"type": "function", "function": {"name": s.function, "description": "", "parameters": s.parameters}}
    return [call["name"] for call in _chat(s).bind_tools([tool]).invoke(s.prompt).tool_calls]


def tuned(s):
    return _chat(s, s.endpoint).invoke(s.tuned_prompt).text
