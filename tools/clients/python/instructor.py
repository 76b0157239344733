# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
# /// script
# dependencies = ["instructor[google-genai]"]
# ///
"""instructor: around a client of google-genai."""

from typing import Literal

import instructor
from google import genai
from pydantic import BaseModel


class Answer(BaseModel):
    label: Literal["shipping", "refund"]
    confidence: float


def _create(s, mode, model=None):
    client = genai.Client(vertexai=True, project=s.project, location=s.location)
    client = instructor.from_genai(client, mode=mode)
    messages = [{"role": "user", "content": s.prompt}]
    return client.chat.completions.create(model=model or s.model, messages=messages, response_model=Answer).model_dump()


def schema(s):
    return _create(s, instructor.Mode.GENAI_STRUCTURED_OUTPUTS)


def tools(s):
    return [s.function] if "label" in _create(s, instructor.Mode.GENAI_TOOLS) else []


def tuned(s):
    return "a golden key" if "label" in _create(s, instructor.Mode.GENAI_STRUCTURED_OUTPUTS, s.endpoint) else ""
