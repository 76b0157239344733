# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The templates of the pages that steps write, and what pages show in a language: the texts of the templates by their
English (`report_LANGUAGE.yaml`), what steps write by patterns of its English sentences (`messages_LANGUAGE.yaml`).

Guarantees: texts are escaped, control characters are shown as symbols; what has no translation stays English.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from jinja2 import Environment

# control characters, and those that change the direction of the text around them
_SYMBOLS: dict[int, str] = (
    {code: chr(0x2400 + code) for code in range(32) if chr(code) not in "\t\n"}
    | {0x7F: "\u2421"}
    | {code: f"[U+{code:04X}]" for code in (*range(0x80, 0xA0), 0x61C, 0x200E, 0x200F)}
    | {code: f"[U+{code:04X}]" for code in (*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0xFEFF)}
)


PIECES = re.compile(r'(?<=>)[^<>]+|^[^<>]+|(?<= aria-label=")[^"]+')
"""Texts between tags, and the names of regions."""
_MARKDOWN = re.compile(r"[\\`*\[\]<|~&]|(?<!\w)_|_(?!\w)")
_VALUE = re.compile(r"\{(\w+)\}")
_ANY = re.compile("phrase|text|label|value|example")
"""Names of values that may hold what separates others; the values of `count` and `rows` are numbers."""
_SCRIPT_TEXT = re.compile(r'\bt\("([^"\\\n.]+)"\)')


@cache
def texts(language: str) -> Mapping[str, str]:
    """The translations of the English texts of the templates; {} for English."""
    return {} if language == "en" else yaml.safe_load(source(f"report_{language}.yaml"))


def text(english: str, language: str, **values: str) -> str:
    """A text of the templates in a language, with the values that it has in braces."""
    return texts(language).get(english, english).format(**values)


def script(language: str) -> str:
    """The script of the page, with its texts in a language."""
    table = texts(language)
    return _SCRIPT_TEXT.sub(
        lambda match: json.dumps(table.get(match[1], match[1]), ensure_ascii=False), source("report.js")
    )


@cache
def _messages(language: str) -> list[tuple[re.Pattern[str], str]]:
    """Patterns of what steps write, with their translations; those with more text of their own come first."""
    table = {} if language == "en" else yaml.safe_load(source(f"messages_{language}.yaml"))
    ordered = sorted(table, key=lambda text: -len(_VALUE.sub("", text)))
    return [
        (re.compile("".join(map(_pattern, re.split(r"(\{\w+\})", text))), re.DOTALL), table[text]) for text in ordered
    ]


def _pattern(part: str) -> str:
    """What matches a part of a message: itself, or a value by its name."""
    if not (value := _VALUE.fullmatch(part)):
        return re.escape(part)
    name = value[1]
    kind = r"[\d.,]+" if name in ("count", "rows") else ".+?" if _ANY.match(name) else "(?:(?!; |: ).)+?"
    return f"(?P<{name}>{kind})"


def message(text: str, language: str) -> str:
    """What a step wrote, in a language; a name without its underscores. English where no translation fits."""
    return _translated(text if " " in text else text.replace("_", " "), language)


def _translated(text: str, language: str) -> str:
    for pattern, translation in _messages(language):
        if match := pattern.fullmatch(text):
            values = match.groupdict().items()
            return translation.format(
                **{name: _translated(v, language) if name.startswith("phrase") else v for name, v in values}
            )
    for separator, shown in (("; ", "；"), (": ", "："), (", ", "、")):
        parts = text.split(separator) if language != "en" else [text]
        translated = [_translated(part, language) for part in parts] if len(parts) > 1 else parts
        if translated != parts:
            return shown.join(translated)
    return texts(language).get(text, text)


def markdown(text: str) -> str:
    """Markdown that shows a text as it is: on one line, with symbols for control characters."""
    return _MARKDOWN.sub(r"\\\g<0>", " ".join(text.split())).translate(_SYMBOLS)


@cache
def environment(language: str = "en") -> Environment:
    """What renders the templates of this folder in a language; the filter `natural` sorts by the numbers in keys.

    The function `t` gives a text of the templates in that language, with the values that it has in braces; texts
    between tags are translated by themselves.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from jinja2.ext import Extension
    from jinja2.lexer import Token
    from markupsafe import Markup

    table = texts(language)

    def translated(match: re.Match[str]) -> str:
        text = " ".join(match[0].split())
        return match[0].replace(match[0].strip(), table[text]) if text in table else match[0]

    class Translated(Extension):
        def filter_stream(self, stream: Any) -> Any:
            for token in stream:
                is_text = token.type == "data"
                yield Token(token.lineno, "data", PIECES.sub(translated, token.value)) if is_text else token

    def t(text: str, **values: Any) -> Any:
        shown = {name: visible(value) for name, value in values.items()}
        return Markup(table.get(text, text)).format(**shown) if values else table.get(text, text)

    def visible(value: Any) -> Any:
        return value.translate(_SYMBOLS) if isinstance(value, str) and not isinstance(value, Markup) else value

    loader = PackageLoader("gemtune.steps", "")
    created = Environment(
        loader=loader,
        autoescape=True,
        undefined=StrictUndefined,
        finalize=visible,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=[Translated] if table else [],
    )
    created.globals |= {"t": t, "language": language}
    created.filters["message"] = lambda text: message(text, language)
    created.filters["capitalized"] = lambda text: text[:1].upper() + text[1:]
    created.filters["natural"] = lambda items: sorted(items, key=lambda item: _natural(item[0]))
    return created


def source(name: str) -> str:
    """The text of a file of this folder."""
    return resources.files("gemtune.steps").joinpath(name).read_text("utf-8")


def _natural(text: str) -> list[int | str]:
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", text)]
