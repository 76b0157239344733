# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""`gemtune config`: effective settings, their reference and their JSON schema, from the models in `gemtune.config`."""

import json
from pathlib import Path
from typing import Annotated

import typer

config_app = typer.Typer(no_args_is_help=True, help="Print effective settings, their reference or their JSON schema.")

Overrides = Annotated[
    list[str] | None, typer.Option("--set", metavar="SECTION.FIELD=VALUE", help="Override one setting; repeatable.")
]


@config_app.command()
def show(
    config: Annotated[Path | None, typer.Argument(help="Configuration; default: all defaults.")] = None,
    overrides: Overrides = None,
) -> None:
    """Print the effective value of every setting as YAML, which is a configuration again."""
    import yaml

    from gemtune.config import Config

    values = Config.load(config, overrides or []).model_dump(mode="json")
    typer.echo(yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=120), nl=False)


@config_app.command()
def schema() -> None:
    """Print the JSON schema of configuration files, for editors."""
    from gemtune.config import Config

    content = {"$schema": "https://json-schema.org/draft/2020-12/schema", **Config.model_json_schema()}
    typer.echo(json.dumps(content, ensure_ascii=False, indent=1))


@config_app.command(name="reference")
def print_reference() -> None:
    """Print the settings reference as Markdown (docs/settings.md)."""
    from gemtune.cli.settings_reference import reference

    typer.echo(reference(), nl=False)
