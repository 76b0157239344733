# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
# /// script
# dependencies = ["google-cloud-aiplatform>=1,<2"]
# ///
"""google-cloud-aiplatform 1: address and transport are arguments of `init`."""

import json

import vertexai
from vertexai.generative_models import FunctionDeclaration, GenerationConfig, GenerativeModel, Tool


def _model(s, name=None, **options):
    vertexai.init(project=s.project, location=s.location, api_endpoint=s.url, api_transport="rest")
    return GenerativeModel(name or s.model, **options)


def base(s):
    return _model(s).generate_content(s.prompt).text


def system(s):
    return _model(s, system_instruction=s.system).generate_content(s.prompt).text


def stream(s):
    return [chunk.text for chunk in _model(s).generate_content(s.prompt, stream=True)]


def schema(s):
    config = GenerationConfig(response_mime_type="application/json", response_schema=s.schema)
    return json.loads(_model(s).generate_content(s.prompt, generation_config=config).text)


def tools(s):
    declaration = FunctionDeclaration(name=s.function, description="status", parameters=s.parameters)
    response = _model(s, tools=[Tool([declaration])]).generate_content(s.prompt)
    return [call.name for call in response.candidates[0].function_calls]


def tuned(s):
    return _model(s, s.endpoint).generate_content(s.tuned_prompt).text
