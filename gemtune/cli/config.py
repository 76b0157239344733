# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""`gemtune config`: effective settings, what they mean, and their JSON schema, from the models in `gemtune.config`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gemtune.cli.options import Json, Overrides, echo

if TYPE_CHECKING:
    from gemtune.config import Section

config_app = typer.Typer(no_args_is_help=True, help="Print, explain and compare settings; their JSON schema.")


@config_app.command()
def show(
    config: Annotated[Path | None, typer.Argument(help="Configuration; default: all defaults.")] = None,
    overrides: Overrides = None,
    why: Annotated[
        bool, typer.Option("--why", help="A line for each setting, with where its value is from and what it means.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Print the effective value of every setting as YAML, which is a configuration again."""
    import yaml

    from gemtune.config import Config

    effective = Config.load(config, overrides or [])
    if why:
        from gemtune.cli.settings_reference import descriptions

        origins, meant = _origins(config, overrides or []), descriptions()
        rows, lines = [], []
        for name, value in _values("", effective):
            origin, text = origins.get(name, "default"), meant.get(name, "")
            rows.append({"setting": name, "value": value, "from": origin, "description": text})
            lines.append(f"{name}: {json.dumps(value, ensure_ascii=False)}  # {origin}: {text}")
        echo(rows, as_json, *lines)
        return
    values = effective.model_dump(mode="json")
    echo(values, as_json, yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=120).rstrip("\n"))


def _origins(config: Path | None, overrides: list[str]) -> dict[str, str]:
    """Where settings are set, by their dotted name: file and line, or --set."""
    import yaml

    origins: dict[str, str] = {}

    def collect(path: str, node: yaml.Node | None) -> None:
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                origins[name := f"{path}.{key.value}".lstrip(".")] = f"{config}:{key.start_mark.line + 1}"
                collect(name, value)

    if config is not None:
        collect("", yaml.compose(config.read_text("utf-8")))
    return origins | dict.fromkeys((override.partition("=")[0].strip() for override in overrides), "--set")


@config_app.command()
def explain(
    setting: Annotated[str, typer.Argument(help="A setting or a section: split.seed, gate.")], as_json: Json = False
) -> None:
    """Print what a setting means, its type and its default; of a section, all its settings."""
    from gemtune.cli.settings_reference import explanation

    lines, content = explanation(setting)
    echo(content, as_json, *lines)


@config_app.command()
def diff(
    first: Annotated[Path, typer.Argument(help="Configuration.", metavar="A")],
    second: Annotated[Path, typer.Argument(help="Configuration to compare it with.", metavar="B")],
    as_json: Json = False,
) -> None:
    """Print the settings whose effective values differ."""
    from gemtune.config import Config

    before, after = (dict(_values("", Config.load(path))) for path in (first, second))
    changed = {name: (before[name], after[name]) for name in before if before[name] != after[name]}
    shown = {name: [json.dumps(value, ensure_ascii=False) for value in pair] for name, pair in changed.items()}
    echo(changed, as_json, *(f"{name}: {' -> '.join(pair)}" for name, pair in shown.items()))


def _values(path: str, section: Section) -> Iterator[tuple[str, object]]:
    """Each setting with its dotted path and value; of the items of a list only what differs from the defaults."""
    from gemtune.config import Section

    short = section.model_dump(mode="json", exclude_defaults=True)
    for name, value in section.model_dump(mode="json").items():
        setting, own = f"{path}.{name}".lstrip("."), getattr(section, name)
        if isinstance(own, Section):
            yield from _values(setting, own)
        else:
            yield setting, short.get(name, value)


@config_app.command()
def schema() -> None:
    """Print the JSON schema of configuration files, for editors."""
    from gemtune.cli.settings_reference import json_schema

    typer.echo(json_schema())
