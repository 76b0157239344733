# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""What commands print: lines for people, or JSON."""

import json
from typing import Annotated, Any

import typer

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def echo(content: Any, as_json: bool, *lines: str) -> None:
    """Print the lines, if there are any, or the content as JSON."""
    if as_json or lines:
        typer.echo(json.dumps(content, ensure_ascii=False, indent=1) if as_json else "\n".join(lines))
