# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""`gemtune models`: what can be tuned today, by which method, where, until when and for how much."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gemtune.cli.commands import wide_console
from gemtune.cli.options import Json, Overrides, echo, load

if TYPE_CHECKING:
    from gemtune.catalogue import Catalogue, Model, TuningMethod


def models(
    config: Annotated[
        Path | None, typer.Argument(help="Configuration whose vertex.catalogue applies.", metavar="CONFIG")
    ] = None,
    overrides: Overrides = None,
    as_json: Json = False,
) -> None:
    """List the models that can be tuned today, by method: regions, adapters, prices, keys, batch jobs, last day.

    With --json also the limits of each method and of every fact its sources, the day they were read, and the values of
    sources that disagree. No request is sent.
    """
    from gemtune.catalogue import Catalogue

    settings = load(config, overrides)
    catalogue, today = Catalogue.load(settings.vertex.catalogue), date.today()
    if as_json:
        echo(_content(catalogue, today), as_json)
        return
    _show(catalogue, today, settings.evaluate.base_model)


def _content(catalogue: Catalogue, today: date) -> dict[str, Any]:
    from gemtune.catalogue import METHODS

    content = catalogue.model_dump(mode="json", exclude={"schema_version", "grid", "recommended"})
    for name, model in content["models"].items():
        model["retired"] = catalogue.models[name].retired(today)
    return {"today": {method: catalogue.tunable(method, today) for method in METHODS}, **content}


def _show(catalogue: Catalogue, today: date, base_model: str) -> None:
    from rich.table import Table

    from gemtune.catalogue import METHODS, price_field, price_setting

    table = Table(title=f"tuning on {today}; facts read until {catalogue.checked}", title_justify="left")
    for heading in ("method", "model", "tuned in (served in)", "adapters", "keys", "batch", "until"):
        table.add_column(heading)
    for heading in ("tuning", "in", "out"):
        table.add_column(heading, justify="right")
    notes = []
    for method in METHODS:
        for name in catalogue.tunable(method, today):
            table.add_row(method, *_row(catalogue, name, method))
        if not catalogue.tunable(method, today):
            past = [f"{name}, {m.retirement}" for name, m in catalogue.models.items() if method in m.methods]
            notes.append(f"{method} tuning: no model; retired: {'; '.join(past) or 'none'}")
        elif "unknown" in (_price(catalogue.models[name], method) for name in catalogue.tunable(method, today)):
            notes.append(
                f"{method} tuning: an unknown price is supplied by {price_setting('NAME', price_field(method))}"
            )
    console = wide_console()
    console.print(table)
    console.print("prices: US dollars per million tokens; unknown: no source gives it", soft_wrap=True)
    for note in [*notes, *catalogue.warnings(base_model, today)]:
        console.print(note, soft_wrap=True, markup=False)


def _row(catalogue: Catalogue, name: str, method: TuningMethod) -> list[str]:
    model = catalogue.models[name]
    regions = [f"{region} ({model.serving_locations[region]})" if region in model.serving_locations else region
               for region in model.locations(method)]  # fmt: skip
    return [
        name,
        "any region" if regions == ["*"] else ", ".join(regions),
        f"{min(model.adapter_sizes)}-{max(model.adapter_sizes)}",
        "yes" if model.encryption_key else "no",
        "yes" if model.batch else "no",
        model.retirement or "not published",
        _price(model, method),
        f"{model.price.input:g}",
        f"{model.price.output:g}",
    ]


def _price(model: Model, method: TuningMethod) -> str:
    from gemtune.catalogue import price_field

    price = getattr(model.price, price_field(method))
    return "unknown" if price is None else f"{price:g}"
