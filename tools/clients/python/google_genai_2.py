# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
# /// script
# dependencies = ["google-genai>=2,<3"]
# ///
"""google-genai: project and location are arguments, the address is in the environment."""

from google import genai
from google.genai import types


def _generate(s, model=None, contents=None, **config):
    client = genai.Client(vertexai=True, project=s.project, location=s.location)
    config = types.GenerateContentConfig(**config)
    return client.models.generate_content(model=model or s.model, contents=contents or s.prompt, config=config)


def base(s):
    return _generate(s).text


def system(s):
    return _generate(s, system_instruction=s.system).text


def stream(s):
    client = genai.Client(vertexai=True, project=s.project, location=s.location)
    return [chunk.text for chunk in client.models.generate_content_stream(model=s.model, contents=s.prompt)]


def schema(s):
    return _generate(s, response_mime_type="application/json", response_json_schema=s.schema).parsed


def tools(s):
    declaration = types.FunctionDeclaration(name=s.function, parameters_json_schema=s.parameters)
    response = _generate(s, tools=[types.Tool(function_declarations=[declaration])])
    return [call.name for call in response.function_calls]


def tuned(s):
    return _generate(s, model=s.endpoint, contents=s.tuned_prompt).text
