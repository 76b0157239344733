# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
# /// script
# dependencies = ["litellm", "google-auth", "requests"]
# ///
"""litellm: the address is `api_base`; a tuned model is `vertex_ai/gemini/ENDPOINT_ID`."""

import json

import litellm


def _complete(s, prompt=None, model=None, system=None, **options):
    messages = [{"role": "system", "content": system}] if system else []
    messages.append({"role": "user", "content": prompt or s.prompt})
    place = {"vertex_project": s.project, "vertex_location": s.location, "api_base": s.url}
    return litellm.completion(f"vertex_ai/{model or s.model}", messages, **place, **options)


def base(s):
    return _complete(s).choices[0].message.content


def system(s):
    return _complete(s, system=s.system).choices[0].message.content


def stream(s):
    return [chunk.choices[0].delta.content or "" for chunk in _complete(s, stream=True)]


def schema(s):
    form = {"type": "json_schema", "json_schema": {"name": "answer", "schema": s.schema}}
    return json.loads(_complete(s, response_format=form).choices[0].message.content)


def tools(s):
    tool = {"type": "function", "function": {"name": s.function, "parameters": s.parameters}}
    return [call.function.name for call in _complete(s, tools=[tool]).choices[0].message.tool_calls]


def tuned(s):
    return _complete(s, s.tuned_prompt, "gemini/" + s.endpoint.rsplit("/", 1)[1]).choices[0].message.content
