# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The templates of the pages that steps write: texts are escaped, control characters are shown as symbols."""

from __future__ import annotations

import re
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Environment

# control characters, and those that change the direction of the text around them
_SYMBOLS: dict[int, str] = (
    {code: chr(0x2400 + code) for code in range(32) if chr(code) not in "\t\n"}
    | {0x7F: "\u2421"}
    | {code: f"[U+{code:04X}]" for code in (*range(0x80, 0xA0), 0x61C, 0x200E, 0x200F)}
    | {code: f"[U+{code:04X}]" for code in (*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0xFEFF)}
)


@cache
def environment() -> Environment:
    """What renders the templates of this folder; the filter `natural` sorts items by the numbers in their keys."""
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

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
    )
    created.filters["natural"] = lambda items: sorted(items, key=lambda item: _natural(item[0]))
    return created


def source(name: str) -> str:
    """The text of a file of this folder."""
    return resources.files("gemtune.steps").joinpath(name).read_text("utf-8")


def _natural(text: str) -> list[int | str]:
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", text)]
