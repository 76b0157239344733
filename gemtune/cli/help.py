# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The help of all commands, from `examples.json`: panels in their order, their commands, examples of each."""

import json
from pathlib import Path

import typer

PANELS: dict[str, dict[str, list[str]]] = json.loads(Path(__file__).with_name("examples.json").read_text("utf-8"))
PANEL_OF = {name.split()[0]: panel for panel, commands in PANELS.items() for name in commands}
EXAMPLES = {name: lines for commands in PANELS.values() for name, lines in commands.items()}
ORDER = [*PANEL_OF]


def describe(app: typer.Typer, group: str = "") -> None:
    """Give the commands of an app their panel and their examples; `group` is the path of a group of commands."""
    for command in app.registered_commands:
        name = f"{group} {command.name or command.callback.__name__.replace('_', '-')}".strip()  # type: ignore[union-attr]
        command.rich_help_panel = None if group else PANEL_OF.get(name)
        paragraphs = (command.help or command.callback.__doc__ or "").split("\n\n")
        command.help = "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)  # as wide as the terminal
        examples = "\n".join(["[bold]Examples[/]", *EXAMPLES.get(name, ())])
        command.epilog = f"{examples}\n\n{command.epilog or ''}".rstrip()
    for part in app.registered_groups:
        part.rich_help_panel = PANEL_OF.get(part.name or "")
        if part.typer_instance:
            describe(part.typer_instance, part.name or "")
