# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
# /// script
# dependencies = ["dspy", "google-auth", "requests"]
# ///
"""dspy: litellm's names; `Predict` by JSON Schema."""

from typing import Literal

import dspy


def _lm(s, model=None):
    place = {"vertex_project": s.project, "vertex_location": s.location, "api_base": s.url}
    return dspy.LM(f"vertex_ai/{model or s.model}", cache=False, **place)


def base(s):
    return _lm(s)(s.prompt)[0]


def system(s):
    return _lm(s)(messages=[{"role": "system", "content": s.system}, {"role": "user", "content": s.prompt}])[0]


def schema(s):
    class Classify(dspy.Signature):
        """Classify the question."""

        question: str = dspy.InputField()
        label: Literal["shipping", "refund"] = dspy.OutputField()
        confidence: float = dspy.OutputField()

    with dspy.context(lm=_lm(s), adapter=dspy.JSONAdapter()):
        return dict(dspy.Predict(Classify)(question=s.prompt))


def tuned(s):
    return _lm(s, "gemini/" + s.endpoint.rsplit("/", 1)[1])(s.tuned_prompt)[0]
