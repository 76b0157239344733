# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Answers of a required shape: JSON of a schema and function calls, as grammars that allow a next token or not.

The grammars are llguidance's. It enforces nearly all of JSON Schema; what it cannot (`not`, `uniqueItems`, ...) is left
out of the grammar, and the caller validates the answer.
"""

import json
import random
import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any
from urllib.parse import unquote

from llguidance import LLMatcher, LLTokenizer, TokenizerWrapper

from emulator.engines.base import Function, GenerateRequest

Schema = dict[str, Any]
MOST_CALLS = 8
ANSWER_BYTES = 10_000
COMPLETE_ATTEMPTS = 8  # after as many answers, what is optional may be missing
# A schema with one of these says more about an object than its `properties` do: it stays open.
_OPEN = frozenset(
    [
        "additionalProperties",
        "patternProperties",
        "propertyNames",
        "minProperties",
        "allOf",
        "anyOf",
        "oneOf",
        "$ref",
        "if",
        "dependencies",
        "dependentRequired",
        "dependentSchemas",
        "unevaluatedProperties",
    ]
)
_FORM = {"whitespace_flexible": False, "item_separator": ", ?", "key_separator": ": ?", "lenient": True}


def answer_schema(request: GenerateRequest) -> Schema | None:
    """The JSON Schema of an answer, None for text.

    Functions that may but need not be called are called when the last turn is the user's and mentions them.
    """
    if not request.functions:
        return request.response_json_schema
    mentioned = _mentioned(request) or request.functions[: request.must_call]
    return calls_schema(mentioned, in_order=True) if mentioned else None


def calls_schema(functions: Iterable[Function], in_order: bool = False) -> Schema:
    """A list of calls, `{"name", "args"}`: one of each function in their order, or any calls."""
    functions = list(functions)
    calls: list[Schema] = [
        {
            "type": "object",
            "properties": {"name": {"const": function.name}, "args": {"$ref": f"#/$defs/{function.name}"}},
            "required": ["name", "args"],
            "additionalProperties": False,
        }
        for function in functions
    ]
    items: Schema = (
        {"prefixItems": calls, "items": False, "minItems": len(calls), "maxItems": len(calls)}
        if in_order
        else {"items": {"anyOf": calls}, "minItems": 1, "maxItems": MOST_CALLS}
    )
    # references of a function's parameters begin at these parameters
    definitions = {f.name: _with_references_below(f.parameters, f"#/$defs/{f.name}") for f in functions}
    return {"type": "array", **items, "$defs": definitions}


def _with_references_below(value: Any, root: str) -> Any:
    if isinstance(value, list):
        return [_with_references_below(item, root) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        key: root + item.removeprefix("#")
        if key == "$ref" and isinstance(item, str) and item.startswith("#")
        else _with_references_below(item, root)
        for key, item in value.items()
    }


def _mentioned(request: GenerateRequest) -> tuple[Function, ...]:
    """The functions that share a word with the last turn, by their names or otherwise by their descriptions."""
    if request.turns[-1].role != "user":
        return ()
    words = _words(request.turns[-1].text)
    by_name = tuple(function for function in request.functions if words & _words(function.name))
    return by_name or tuple(function for function in request.functions if words & _words(function.description))


def _words(text: str) -> set[str]:
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text).lower()
    return {word.removesuffix("s") for word in re.findall(r"[^\W_]+", spaced) if len(word) > 3 or not word.isascii()}


def grammar_of(schema: Schema, complete: bool, short: bool = False) -> str:
    """The grammar of a schema; `ValueError` when nothing fits it or it is not supported.

    Objects have no other properties than the listed ones unless the schema mentions them. `complete` also writes all
    listed properties and at least one item of a list, where the schema leaves that open, except recursive ones.
    `short` limits what the schema leaves unlimited, for a model that does not find an end.
    """
    return _grammar(json.dumps(schema), complete, short)


@lru_cache(maxsize=256)
def _grammar(text: str, complete: bool, short: bool) -> str:
    schema = json.loads(text)
    complete_form = _narrowed(schema, schema, complete)
    forms = [_shortened(complete_form), _shortened(schema)] if short else []
    error = ""
    for form in (*forms, complete_form, schema):
        grammar = _lark("start: %json " + json.dumps({**form, "x-guidance": _FORM}))
        error = LLMatcher(_BYTES, grammar, log_level=0).get_error()
        if not error:
            return grammar
    first_line = error.partition("\n")[0]
    raise ValueError(f"The schema has no answer that can be generated: {first_line[:300]}")


def calls_or_text(functions: Iterable[Function]) -> str:
    """A grammar of calls, or of text that does not begin with a bracket."""
    schema = json.dumps({**calls_schema(functions), "x-guidance": _FORM})
    return _lark(f"start: calls | text\ncalls: %json {schema}\ntext: /[^\\[](.|\\n)*/")


def _lark(rules: str) -> str:
    # without no_forcing, text that is certain could only be continued with the tokens of llguidance's own choice
    return LLMatcher.grammar_from_lark('%llguidance {"no_forcing": true}\n' + rules + "\n")


def _narrowed(node: Any, root: Schema, complete: bool) -> Any:
    if not isinstance(node, dict):
        return node
    result = _with_parts(node, lambda inner: _narrowed(inner, root, complete))
    if isinstance(pattern := node.get("pattern"), str):
        result["pattern"] = _anchored(pattern)
    if "properties" in node and not node.keys() & _OPEN:
        result["additionalProperties"] = False
        if not node.keys() & {"enum", "const", "not"}:
            result.setdefault("type", "object")
    if complete:
        optional = [name for name, inner in node.get("properties", {}).items() if not _is_recursive(inner, root)]
        if optional:
            result["required"] = list(dict.fromkeys([*node.get("required", ()), *optional]))
        if "items" in node and node.get("maxItems") != 0 and not _is_recursive(node["items"], root):
            result["minItems"] = max(1, node.get("minItems", 0))
    return result


def _with_parts(node: Schema, change: Callable[[Any], Any]) -> Schema:
    """A schema with its parts changed, but not those that must hold together with others."""
    result: Schema = {}
    for key, value in node.items():
        if key in ("properties", "patternProperties", "$defs", "definitions") and isinstance(value, dict):
            result[key] = {name: change(inner) for name, inner in value.items()}
        elif key in ("anyOf", "oneOf", "prefixItems") or (key == "allOf" and len(value) == 1):
            result[key] = [change(inner) for inner in value]
        else:
            result[key] = change(value) if key in ("items", "additionalProperties") else value
    return result


_SHORT = {"maxLength": 60, "maxItems": 3, "maxProperties": 3, "maximum": 1000}
_SHORT_TEXT = {"type": "string", "maxLength": _SHORT["maxLength"]}


def _shortened(node: Any) -> Any:
    """A schema without endless strings, numbers, lists and maps."""
    if node is True or (isinstance(node, dict) and not node.keys() - {"title", "description", "default"}):
        return _SHORT_TEXT
    if not isinstance(node, dict) or node.keys() & {"enum", "const"}:
        return node
    result = _with_parts(node, _shortened)
    kinds = node.get("type", ())
    kinds = {kinds} if isinstance(kinds, str) else set(kinds)
    if "string" in kinds and "format" not in node:
        result.setdefault("maxLength", max(_SHORT["maxLength"], node.get("minLength", 0)))
    if "properties" in node:
        result["additionalProperties"] = False
    if "array" in kinds:
        needs_items = "prefixItems" not in node or node.get("minItems", 0) > len(node["prefixItems"])
        result.setdefault("items", needs_items and _SHORT_TEXT)
        result.setdefault(
            "maxItems", max(_SHORT["maxItems"], node.get("minItems", 0), len(node.get("prefixItems", ())))
        )
    if (
        "object" in kinds
        and "properties" not in node
        and not node.keys() & (_OPEN - {"additionalProperties", "minProperties"})
    ):
        values = result.get("additionalProperties", _SHORT_TEXT)
        result |= {"patternProperties": {"^[a-z_]{1,20}$": values}, "additionalProperties": False}
        least = max(1, node.get("minProperties", 0))
        result |= {"minProperties": least, "maxProperties": max(least, _SHORT["maxProperties"])}
    if kinds & {"number", "integer"}:
        low, high = (node.get(f"{side}imum", node.get(f"exclusive{side.title()}imum")) for side in ("min", "max"))
        if low is None:
            low = result["minimum"] = min(0, high or 0) - _SHORT["maximum"]
        if high is None:
            high = result["maximum"] = max(0, low) + _SHORT["maximum"]
        if "number" in kinds and high - low >= 1:
            result.setdefault("multipleOf", 0.01)
    return result


def _anchored(pattern: str) -> str:
    start = "" if pattern.startswith("^") else "^"
    end = "" if pattern.endswith("$") and not pattern.endswith("\\$") else "$"
    return f"{start}(?:{pattern}){end}" if start and end else f"{start}{pattern}{end}"


def _is_recursive(node: Any, root: Schema, followed: frozenset[str] = frozenset()) -> bool:
    if isinstance(node, list):
        return any(_is_recursive(item, root, followed) for item in node)
    if not isinstance(node, dict):
        return False
    reference = node.get("$ref")
    if isinstance(reference, str):
        target = _target(reference, root)
        if reference in followed or len(followed) > 20 or target is None:
            return True
        return _is_recursive(target, root, followed | {reference})
    return any(_is_recursive(item, root, followed) for item in node.values())


def _target(reference: str, root: Any) -> Any:
    for part in reference.removeprefix("#").split("/")[1:]:
        key = unquote(part).replace("~1", "/").replace("~0", "~")
        root = root.get(key) if isinstance(root, dict) else None
    return root if reference.startswith("#") else None


class _Bytes:
    """A vocabulary of the 256 bytes, followed by the end of the answer."""

    eos_token_id = 256
    bos_token_id = None
    special_token_ids = (256,)
    tokens = (*(bytes([n]) for n in range(256)), b"<end>")

    def __call__(self, text: bytes | str) -> list[int]:
        return list(text if isinstance(text, bytes) else text.encode())


_BYTES = LLTokenizer(TokenizerWrapper(_Bytes()), slices=[])
_SHORTEST = (256, *b'}],"')  # what ends an answer or a part of it, where it is allowed


def write_answer(schema: Schema, text: str, key: str, attempt: int = 0) -> str:
    """A JSON text of a schema: `text` if it is one, otherwise with `text` in its strings as far as they may hold it.

    Other values are drawn by `key`; after the first `attempt` more is drawn. `ValueError` as of `grammar_of`.
    """
    matcher = LLMatcher(_BYTES, grammar_of(schema, attempt < COMPLETE_ATTEMPTS), log_level=0)
    quoted = json.dumps(text, ensure_ascii=False)
    for whole in (text, quoted, f'{{"answer": {quoted}}}'):
        content = list(whole.encode("utf-8", "replace"))
        copy = matcher.deep_copy()
        fits = attempt == 0 and matcher.validate_tokens(content) == len(content)
        if fits and copy.consume_tokens(content) and copy.is_accepting():
            return whole
    return _walk(matcher, text, random.Random(f"{key}/{attempt}"), attempt > 0)


def _walk(matcher: LLMatcher, text: str, draws: random.Random, vary: bool) -> str:
    answer, uses, variations = bytearray(), 0, 20 if vary else 0
    while not matcher.is_stopped() and len(answer) < ANSWER_BYTES:
        allowed = [n for n, bias in enumerate(matcher.compute_logit_bias()) if bias]
        in_string = len(re.findall(rb'(?<!\\)(?:\\\\)*"', answer)) % 2
        ending = [n for n in _SHORTEST if n in allowed and (n == ord('"') or not in_string)]
        readable = [n for n in allowed if n < 128 and chr(n).isalnum()]
        if not allowed or ending[:1] == [256]:
            break
        if not in_string and ord(" ") in allowed:
            step = b" "
        elif variations and len(allowed) > 1 and draws.random() < 0.4:
            variations -= 1
            step = bytes([draws.choice([n for n in allowed if n < 128] or allowed)])
        elif not in_string and ending == [ord('"')]:
            quoted = json.dumps(f"{text} {uses}" if vary and uses else text, ensure_ascii=False).encode(
                "utf-8", "replace"
            )
            step, uses = quoted[: matcher.validate_tokens(list(quoted))], uses + 1
        else:
            signs = [n for n in allowed if 32 < n < 127 and not chr(n).isalnum()] if draws.random() < 0.3 else []
            step = bytes(ending[:1] or [draws.choice(signs or readable or allowed)])
        matcher.consume_tokens(list(step))
        answer += step
    if not matcher.is_accepting():
        raise ValueError(f"No answer of at most {ANSWER_BYTES} bytes was generated for the schema.")
    return answer.decode("utf-8", "replace")
