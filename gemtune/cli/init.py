# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""`gemtune init`: a commented configuration for a file of rows, from what the rows hold."""

import re
import shlex
import unicodedata
from datetime import date
from pathlib import Path
from typing import Any

import typer
import yaml

from gemtune.artifacts.base import open_atomic
from gemtune.catalogue import Catalogue
from gemtune.cli.settings_reference import json_schema
from gemtune.config import Config, Evaluate, JsonObject, Preprocess, Task
from gemtune.data import source_rows
from gemtune.data.example import Example
from gemtune.data.guess import Guess, guess, has_header
from gemtune.errors import UserError
from gemtune.inference.data_fit import RowProfile, misfits, sampled
from gemtune.inference.prompts import render

SCHEMA = "gemtune.schema.json"
_GENERIC = ("rows", "data", "train", "all", "export", "labels", "dataset", "test", "input")
_SHOWN_ROWS, _SHOWN_CHARS = 5, 300


def init(file: str, out: Path | None, name: str, fixed: dict[str, str], interactive: bool, force: bool) -> JsonObject:
    """Write the configuration and its JSON schema beside it, and print what was guessed and the next commands.

    `fixed` has the kind of task, the columns and the source that were given. Returns what was written and guessed.
    Raises `UserError`, with nothing written, when the file cannot be read, or a configuration is there already.
    """
    name = name or _name_of(file)
    out = out or Path(f"{name}.yaml")
    if out.exists() and not force:
        raise UserError("this configuration exists already", file=out, remedy="--out OTHER.yaml, or --force")
    assumptions: list[str] = []
    rows, count = _sample(file, assumptions)
    numbered: list[Guess] = []
    if not has_header(rows):
        assumptions.clear()
        rows, count = _sample(file, assumptions, header=False)
        numbered = [Guess("preprocess.header", False, "the first row is data, so that columns are numbered")]
    guesses = [Guess("name", name, "of runs and their models"), Guess("data", file, f"{count} rows"), *numbered]
    guesses += guess(rows, **fixed)
    guesses = [_answered(item) if interactive and item.alternatives else item for item in guesses]
    guesses += _base_model(guesses)
    config = Config.model_validate(_nested(guesses))
    examples, rejected, total = sampled(config, assumptions)
    if not examples:
        raise source_rows.no_usable_rows(file, rejected)
    profile = RowProfile.of(config.task, examples, total / max(1, len(examples) + len(rejected)))
    typer.echo(f"{file}: {count} rows")
    for note in assumptions:
        typer.echo(f"  assumed: {note}")
    for item in guesses[2:]:
        alternatives = f"; or {', '.join(map(str, item.alternatives))}" if item.alternatives else ""
        offer = " (offered as a comment)" if item.is_offer else ""
        typer.echo(f"  {item.setting}: {_scalar(item.value)}  ({item.reason}{alternatives}){offer}")
    _show_prompts(config.task, examples)
    if rejected:
        typer.echo(f"\nnote: {len(rejected)} of {total} rows cannot be used; the first: {rejected[0].detail}")
    for misfit in misfits(config.task, config.evaluate, config.split, profile):
        typer.echo(f"note: {misfit}")
    for path, text in ((out.with_name(SCHEMA), json_schema()), (out, _yaml(guesses, assumptions))):
        with open_atomic(path) as written:
            written.write(text)
    typer.echo(f"\nwritten: {out} (say in task.instruction what the answer is for), {out.with_name(SCHEMA)}\nnext:")
    checked, quoted = f"{shlex.quote(file)} --config", shlex.quote(str(out))
    typer.echo(f"  gemtune data check {checked} {quoted}\n  gemtune plan {quoted} --offline\n  gemtune run {quoted}")
    listed = [{"setting": i.setting, "value": i.value, "reason": i.reason, "offered": i.is_offer} for i in guesses]
    return {"configuration": str(out), "rows": count, "assumed": assumptions, "guesses": listed}


def _base_model(guesses: list[Guess]) -> list[Guess]:
    """The base model for pairs, where the default cannot be tuned on them; a retired one where that is all there is."""
    if not any(item.setting == "method" and item.value == "preference" for item in guesses):
        return []
    catalogue = Catalogue.load()
    if now := catalogue.tunable("preference"):
        model = Evaluate().base_model
        return [] if model in now else [Guess("evaluate.base_model", now[0], "can be tuned on pairs", tuple(now[1:]))]
    model, *_ = catalogue.tunable("preference", date.min)
    reason = (
        f"retired on {catalogue.models[model].retirement}; local runs only: for Vertex AI name one that takes pairs"
    )
    override = Guess(
        "vertex.catalogue", {"models": {model: {"retires": None}}}, "remove it with a model that is not retired"
    )
    return [Guess("evaluate.base_model", model, reason), override]


def _sample(file: str, assumptions: list[str], header: bool = True) -> tuple[list[JsonObject], int]:
    """Rows of the whole file, sampled by seed, and the number of all rows."""
    rules = Preprocess(text_column="", target_column="", header=header)
    drawn, count = source_rows.drawn(file, Task(), rules, assumptions.append)
    rows = [row[1] for row in drawn if isinstance(row, tuple)]
    if not rows:
        raise source_rows.no_usable_rows(file, [row for row in drawn if not isinstance(row, tuple)])
    return rows, count


def _name_of(file: str) -> str:
    """A name for runs from the file's name, or from its folder's where the file's says nothing."""
    path = Path(file.split("://")[-1])
    stem = path.name.split(".")[0]
    for text in (stem, path.absolute().parent.name) if stem.casefold() in _GENERIC else (stem,):
        letters = re.sub(r"[\u0300-\u036f]", "", unicodedata.normalize("NFKD", text.casefold()))  # é as e
        name = re.sub(r"[^a-z0-9]+", "-", letters).strip("-0123456789")[:40].strip("-")
        if name and name not in _GENERIC:
            return name
    return "my-task"


def _answered(item: Guess) -> Guess:
    choices = [str(value) for value in (item.value, *item.alternatives)]
    typer.echo(f"{item.setting}: several would fit: {', '.join(choices)}")
    answer = ""
    while answer not in choices:
        answer = typer.prompt("which", default=choices[0], err=False)
    return Guess(item.setting, answer, "chosen")


def _nested(guesses: list[Guess]) -> JsonObject:
    values: JsonObject = {}
    for item in guesses:
        section, _, field = item.setting.rpartition(".")
        if not item.is_offer:
            (values.setdefault(section, {}) if section else values)[field] = item.value
    return values


def _show_prompts(task: Task, examples: list[Example]) -> None:
    from gemtune.config import Prompt

    for example in examples[:_SHOWN_ROWS]:
        request = render(task, Prompt(name="zero_shot"), example)
        turns = " / ".join(part.get("text", "...") for turn in request.contents for part in turn["parts"])
        typer.echo(f"\n  {turns[:_SHOWN_CHARS]!r}\n  -> {example.target[:_SHOWN_CHARS]!r}")


def _scalar(value: Any) -> str:
    text = yaml.safe_dump(value, allow_unicode=True, default_flow_style=True, width=10**6)
    return text.removesuffix("\n").removesuffix("\n...")


def _yaml(guesses: list[Guess], assumptions: list[str]) -> str:
    """The configuration, each setting with its reason as a comment."""
    lines = [f"# yaml-language-server: $schema={SCHEMA}"]
    lines += ["# Only what differs from the defaults: `gemtune config show` prints every setting."]
    lines += [f"# assumed: {note}" for note in assumptions]
    sections: dict[str, list[str]] = {}
    for item in guesses:
        section, _, field = item.setting.rpartition(".")
        mark = "# " if item.is_offer else ""
        line = f"{mark}{field}: {_scalar(item.value)}  # {item.reason}"
        sections.setdefault(section, []).append(line)
    for section, listed in sections.items():
        offered = all(line.startswith("# ") for line in listed)
        lines += [f"{'# ' if offered else ''}{section}:"] if section else []
        lines += [f"  {line}" if section else line for line in listed]
    return "\n".join(lines) + "\n"
