# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Gemini's turns and parts: what the service accepts, and the text of a turn.

Source: the Vertex AI pages on tuning data (a part of a tuning row is one of text, fileData, functionCall and
functionResponse) and the API's Part, FileData, FunctionCall and FunctionResponse. Keys may be in camel or snake case,
as in the API. Guarantees: no value is changed, a part is only read.
"""

import json
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from gemtune.config import JsonObject


@dataclass(frozen=True)
class ModelOutput:
    """The result of a request: the answer, or the error after the last attempt.

    `text` is None when the prompt was blocked or the model returned no text; see the reasons.
    `model_version` is the service's own name of the model that answered; empty if it gives none.
    `logprob` is the log-probability of the answer, if the model returns it. `batch`: the answer came from a batch job,
    so it has the batch price and no latency of its own. `permanent`: the error is one that a repeated request has too.
    """

    text: str | None = None
    finish_reason: str = ""
    block_reason: str = ""
    input_tokens: int = 0
    output_tokens: int = 0
    latency_s: float = 0.0
    attempts: int = 1
    model_version: str = ""
    error: str = ""
    cached: bool = False
    logprob: float | None = None
    batch: bool = False
    permanent: bool = False


ROLES = {"user": "user", "model": "model", "function": "user"}
"""Roles of turns, and who speaks: a function's result is given to the model like a user's turn."""
_DATA = {
    "text": {},
    "fileData": {"fileUri": True, "mimeType": True, "displayName": False},
    "functionCall": {"name": True, "args": False, "id": False},
    "functionResponse": {"name": True, "response": True, "id": False},
}
"""The fields that hold a part's content, one of which a part has; their own fields, and whether they are required."""
_TOOL = re.compile("functionDeclarations|retrieval|google(Search|SearchRetrieval|Maps)|codeExecution|urlContext")
_MODIFIERS: dict[str, type] = {"thought": bool, "thoughtSignature": str, "videoMetadata": dict}
_OBJECTS = ("args", "response")
_FILE = '{"fileData": {"mimeType": "image/png", "fileUri": "gs://BUCKET/FILE"}}'
_REMEDIES = {
    "inlineData": f"store the file in a bucket and write {_FILE}",
    "image_url": f"write {_FILE}",
    "input_audio": f"store the file in a bucket and write {_FILE}",
    "file": f"write {_FILE}",
}


def camel(key: str) -> str:
    """A key in the spelling of the API's JSON."""
    return re.sub(r"_([a-z])", lambda match: match[1].upper(), key)


def fields_of(value: Mapping[str, Any]) -> JsonObject:
    """The fields that are set, by their camel-case names."""
    return {camel(key): item for key, item in value.items() if item is not None}


def is_thought(part: Any) -> bool:
    """Whether a part is a thought of the model, which no reference answer contains."""
    return isinstance(part, dict) and bool(part.get("thought"))


def part_problem(part: Any) -> str | None:
    """Why the service refuses a part, with the remedy; None if it accepts it."""
    if not isinstance(part, dict) or not part:
        return f"a part is {part!r:.80}, not an object with text or fileData"
    fields = fields_of(part)
    content = [name for name in fields if name in _DATA]
    unknown = [key for key in part if camel(key) not in _DATA and camel(key) not in _MODIFIERS]
    if unknown:
        named = {*unknown, *map(camel, unknown)}
        remedy = next((text for key, text in _REMEDIES.items() if key in named), "remove it")
        return f"a part has {unknown[0]!r:.40}, which tuning does not accept: {remedy}"
    if len(content) != 1:
        return f"a part has {' and '.join(content) or 'no content'}: write one of {', '.join(_DATA)} in each part"
    if wrong := [name for name, kind in _MODIFIERS.items() if not isinstance(fields.get(name, kind()), kind)]:
        return f"{wrong[0]} of a part is {fields[wrong[0]]!r:.80}, which tuning does not accept: remove it"
    if not _is_base64(fields.get("thoughtSignature", "")):
        return f"thoughtSignature of a part is {fields['thoughtSignature']!r:.80}, not base64: remove it"
    (name,) = content
    value = fields[name]
    if name == "text":
        return None if isinstance(value, str) else f"the text of a part is {value!r:.80}, not a string"
    return _data_problem(name, value)


def _is_base64(text: str) -> bool:
    """Whether the API reads a text as bytes: base64 in either alphabet, with or without padding."""
    digits = text.translate(str.maketrans("+/", "-_")).rstrip("=")
    with suppress(ValueError):
        return urlsafe_b64encode(urlsafe_b64decode(digits + "=" * (-len(digits) % 4))).decode().rstrip("=") == digits
    return False


def _data_problem(name: str, value: Any) -> str | None:
    """What is wrong with fileData, functionCall or functionResponse; None if nothing is."""
    if not isinstance(value, dict):
        return f"{name} is {value!r:.80}, not an object"
    fields, inner = fields_of(value), _DATA[name]
    if unknown := [key for key in value if camel(key) not in inner]:
        return f"{name} has {unknown[0]!r:.40}, which tuning does not accept: remove it"
    for field, required in inner.items():
        expected = dict if field in _OBJECTS else str
        if field in fields and not isinstance(fields[field], expected):
            return f"{field} of {name} is {fields[field]!r:.80}, not {'an object' if expected is dict else 'a string'}"
        if required and not fields.get(field) and not (field in fields and expected is dict):
            return f"{name} has no {field}: add it" + (f", such as {_FILE}" if name == "fileData" else "")
    if name == "fileData" and not re.fullmatch(r"[\w.+-]+/[\w.+-]+", fields["mimeType"]):
        return f"mimeType is {fields['mimeType']!r:.40}: write it as in {_FILE}"
    if name == "fileData" and not re.match(r"(gs|https?)://.", fields["fileUri"]):
        return f"fileUri is {fields['fileUri']!r:.80}: write a gs:// URI, or a public http(s) address"
    return None


def tools_problem(tools: Any) -> str | None:
    """Why the service refuses the tools of a row; None if it accepts them."""
    if not isinstance(tools, list) or not all(isinstance(tool, dict) and tool for tool in tools):
        return f"tools is {tools!r:.80}: write a list of objects with functionDeclarations"
    for tool in tools:
        if unknown := [key for key in tool if not _TOOL.fullmatch(camel(key))]:
            return f"a tool has {unknown[0]!r:.40}, which tuning does not accept: write functionDeclarations"
        declared = fields_of(tool).get("functionDeclarations", [])
        if not isinstance(declared, list) or not all(isinstance(each, dict) and each.get("name") for each in declared):
            return f"functionDeclarations is {declared!r:.80}: write a list of objects with a name"
    return None


def text_of(parts: Iterable[Mapping[str, Any]]) -> str:
    """The text of parts, joined; a part that is not text as one line of JSON with sorted keys.

    The id of a function call is left out: it differs each time a model makes the same call.
    """
    pieces = ""
    for part in parts:
        fields = fields_of(part)
        if "text" in fields:
            pieces += fields["text"]
            continue
        ((name, value),) = ((name, fields[name]) for name in _DATA if name in fields)
        content = {field: item for field, item in fields_of(value).items() if field != "id"}
        line = json.dumps({name: content}, ensure_ascii=False, sort_keys=True)
        pieces += line if not pieces or pieces.endswith("\n") else f"\n{line}"
    return pieces


def text_turn(role: str, text: str) -> JsonObject:
    """A turn with one text."""
    return {"role": role, "parts": [{"text": text}]}


def role_of(turn: Mapping[str, Any]) -> str:
    """Who speaks in a turn: user or model."""
    return ROLES[(turn.get("role") or "user").lower()]


def files_of(contents: Iterable[Mapping[str, Any]]) -> Iterator[JsonObject]:
    """The fileData of turns, with camel-case keys."""
    for turn in contents:
        for part in turn["parts"]:
            if isinstance(value := fields_of(part).get("fileData"), dict):
                yield fields_of(value)


def texts_of(value: Any) -> list[str]:
    """Every text that `map_texts` changes."""
    texts: list[str] = []

    def keep(text: str) -> str:
        texts.append(text)
        return text

    map_texts(value, keep)
    return texts


def map_texts(value: Any, change: Callable[[str], str], *, within: bool = False) -> Any:
    """A turn, part or field with every text changed: of parts, and in calls and results; not names and URIs.

    `within`: the value is part of a text, call or result, so that each of its strings is changed.
    """
    if isinstance(value, str):
        return change(value) if within else value
    if isinstance(value, list | tuple):
        return type(value)(map_texts(item, change, within=within) for item in value)
    if not isinstance(value, dict):
        return value
    return {
        key: map_texts(item, change, within=within or camel(key) in ("text", *_OBJECTS)) for key, item in value.items()
    }
