# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""JSON objects and arrays in a text."""

import json
import re
from typing import Any

from gemtune.data.readers import MAX_DEPTH, parse_finite, reject_constant
from gemtune.inference.answer_forms import FORMS

_OPENING = re.compile(
    rf"(?<!\\boxed)\{{(?=\s*(?:[}}{re.escape(FORMS['quotes'])}]|[\w-]+\s*:))|\[(?=[\s\[]{{0,{MAX_DEPTH}}}[\"{{])"
)
_TOKEN = re.compile(r'"(?:[^"\\]|\\.|\\\Z)*+(?:"|\Z)|[{}\[\]]', re.DOTALL)
_STEP = {"{": 1, "[": 1, "}": -1, "]": -1}


def json_spans(text: str) -> tuple[list[tuple[str, str]], bool]:
    """The outermost JSON objects and arrays of a text, each with the text before it; whether the last one is cut off.

    Brackets inside strings do not count. The span of a value that is nested too deep is empty.
    """
    spans: list[tuple[str, str]] = []
    position = 0
    while opening := _OPENING.search(text, position):
        depth = deepest = 0
        for token in _TOKEN.finditer(text, opening.start()):
            depth += _STEP.get(token[0], 0)
            deepest = max(deepest, depth)
            if depth == 0:
                break
        else:
            return spans, True
        span = text[opening.start() : token.end()] if deepest <= MAX_DEPTH else ""
        spans.append((text[position : opening.start()], span))
        position = token.end()
    return spans, False


def json_value(text: str, *, lenient: bool = False) -> Any:
    """The text as JSON, None if it is not; `lenient` takes a last comma, any quotation marks, keys without them."""
    spellings = [text]
    if lenient:
        spellings.append(re.sub(r",\s*([}\]])", r"\1", text))
        spellings.append(re.sub(f"[{re.escape(FORMS['quotes'])}]", '"', spellings[-1]))
        spellings.append(re.sub(r"([{,]\s*)([^\W\d][\w-]*)(\s*:)", r'\1"\2"\3', spellings[-1]))
    for spelling in spellings:
        try:
            return json.loads(spelling, parse_constant=reject_constant, parse_float=parse_finite)
        except (ValueError, RecursionError):
            continue
    return None
