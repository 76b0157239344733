# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""What can be tuned, how, where and for how much: `catalogue.yaml`, read, overridden and asked.

No other module names a model or a limit. Whatever the service would refuse because of model, method, adapter size,
place or encryption is refused here first, by name and with what would be accepted.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from functools import cache
from pathlib import Path
from typing import Any, Literal, Self

import yaml
from pydantic import Field, ValidationError, field_validator

from gemtune.config import Section, Trial, explain
from gemtune.errors import UserError

FILE = Path(__file__).with_name("catalogue.yaml")
TuningMethod = Literal["supervised", "preference"]
OLD = timedelta(days=120)
SOON = timedelta(days=90)


class Price(Section):
    """US dollars per million tokens; `train_basis` says whether the tuning price is published or assumed."""

    train: float = Field(ge=0)
    input: float = Field(ge=0)
    output: float = Field(ge=0)
    batch: float = Field(1.0, ge=0, le=1, description="Share of input and output price that a batch job costs.")
    train_basis: str = "set by the user"


class Limits(Section):
    """Largest inputs of a tuning method. Above `validation_free` rows validation is capped at a share of training."""

    tokens_per_example: int
    file_bytes: int
    examples: int
    examples_with_files: int = 300_000
    validation_examples: int
    validation_free: int
    validation_share: float

    def validation_rows(self, train_rows: int) -> int:
        """Most validation rows the service takes beside so many training rows."""
        return min(self.validation_examples, max(self.validation_free, int(self.validation_share * train_rows)))


class Model(Section):
    """One base model: what can be done with it, where, until when, at what price."""

    family: Literal["pro", "flash"]
    methods: list[TuningMethod]
    adapter_sizes: list[int]
    tuning_locations: list[str]
    serving_locations: dict[str, str] = Field(default_factory=dict)
    thinking: Literal["budget", "level"]
    encryption_key: bool
    batch: bool
    retires: date | None = None
    price: Price

    @field_validator("retires", mode="before")
    @classmethod
    def _empty_is_none(cls, value: Any) -> Any:
        """An override that travelled through a pipeline's parameter has an empty text for none."""
        return None if value == "" else value

    def retired(self, today: date) -> bool:
        """Whether the published last day has passed."""
        return self.retires is not None and today > self.retires


class Catalogue(Section):
    """All models and limits, with the day the facts were checked."""

    schema_version: Literal[1]
    checked: date
    sources: list[str]
    limits: dict[TuningMethod, Limits]
    models: dict[str, Model]
    service: dict[str, float] = Field(
        default_factory=dict, description="US dollars that the evaluation service takes for 1,000 answers, by metric."
    )
    grid: list[Trial]
    recommended: dict[str, dict[str, dict[str, Trial]]]

    @classmethod
    def load(cls, overrides: Mapping[str, Any] | None = None) -> Self:
        """The shipped facts with overrides merged in, mapping by mapping; raises `UserError` for a wrong override."""
        try:
            return cls.model_validate(_merged(_shipped(), overrides or {}))
        except ValidationError as error:
            raise UserError(explain(error, cls), file="vertex.catalogue") from None

    def tunable(self, method: TuningMethod = "supervised", today: date | None = None) -> list[str]:
        """Models that can be tuned by a method today, cheapest tuning first."""
        day = today or date.today()
        able = [name for name, m in self.models.items() if method in m.methods and not m.retired(day)]
        return sorted(able, key=lambda name: self.models[name].price.train)

    def require(
        self,
        name: str,
        method: TuningMethod,
        location: str,
        *,
        adapter_sizes: tuple[int, ...] = (),
        encryption_key: str = "",
        today: date | None = None,
    ) -> Model:
        """The model, if it can be tuned so; otherwise a `UserError` that says why not and what can be."""
        day = today or date.today()
        able = ", ".join(self.tunable(method, day)) or "none; override vertex.catalogue if you know better"
        remedy = f"models for {method} tuning now: {able}"
        model = self.models.get(name)
        if model is None:
            raise UserError(f"unknown base model {name!r}", remedy=remedy)
        if model.retired(day):
            raise UserError(f"{name} was retired on {model.retires}", remedy=remedy)
        if method not in model.methods:
            raise UserError(f"{name} cannot be tuned by the method {method!r}", remedy=remedy)
        if "*" not in model.tuning_locations and location not in model.tuning_locations:
            places = ", ".join(model.tuning_locations)
            raise UserError(f"{name} cannot be tuned in {location}", remedy=f"set vertex.location to one of {places}")
        if wrong := [size for size in adapter_sizes if size not in model.adapter_sizes]:
            raise UserError(
                f"adapter size {wrong[0]} is not supported by {name}",
                remedy=f"one of {', '.join(map(str, model.adapter_sizes))}",
            )
        if encryption_key and not model.encryption_key:
            raise UserError(
                f"{name} cannot be tuned with a key of your own", remedy="leave vertex.encryption_key empty"
            )
        return model

    def price(self, base: str, base_model: str) -> Price:
        """The price of tuning `base`; a tuned model that is continued, and "", cost what the base model costs.

        Raises `UserError` for a model that is not in the catalogue.
        """
        name = base if base and not base.startswith("projects/") else base_model
        if name not in self.models:
            raise UserError(f"no price of {name!r} is known", remedy="add the model to vertex.catalogue")
        return self.models[name].price

    def price_document(self, model: str) -> dict[str, Any]:
        """The price of asking a base model, as a mapping; raises `UserError` for one that is not in the catalogue."""
        return self.price("", model).model_dump(mode="json")

    def vertex_metric_price(self, metric: str) -> float:
        """US dollars for 1,000 answers scored by the evaluation service; raises `UserError` where none is known."""
        if metric not in self.service:
            raise UserError(
                f"evaluate.service: no price of {metric!r} is known, so that it would not stand on the bill",
                remedy=f"set vertex.catalogue={{service: {{{metric}: US dollars for 1,000 answers}}}}, or leave it out",
            )
        return self.service[metric]

    def trial_price(self, trial: Trial, base_model: str) -> Price:
        """The price of a trial, and of what it makes."""
        return self.price(trial_base_model(trial, base_model), base_model)

    def starting_trial(self, name: str, modality: str, rows: int, mean_tokens: float) -> Trial:
        """The published starting point for a model's family, the data's modality and its size."""
        size = "short" if rows < 1000 and mean_tokens < 500 else "long"
        model = self.models.get(name)
        return self.recommended[model.family if model else "flash"][modality][size]

    def serving_location(self, name: str, location: str) -> str:
        """Where a model tuned in `location` answers; an unknown model answers where it is asked."""
        model = self.models.get(name)
        return model.serving_locations.get(location, location) if model else location

    def thinking(self, name: str, budget: int) -> tuple[int | None, str]:
        """A thinking budget (tokens; 0 off, -1 the model decides) as (budget, level), as the model understands it."""
        if budget < 0:
            return None, ""
        model = self.models.get(name)
        if model is None or model.thinking == "budget":
            return budget, ""
        return None, "MINIMAL" if budget == 0 else "LOW" if budget <= 2048 else "MEDIUM" if budget <= 8192 else "HIGH"

    def warnings(self, name: str = "", today: date | None = None) -> list[str]:
        """What a user should know before relying on these facts: their age, a near retirement, an assumed price."""
        day = today or date.today()
        found = []
        if day - self.checked > OLD:
            found.append(f"the model catalogue was checked on {self.checked}: compare limits and prices with the docs")
        model = self.models.get(name)
        if model and model.retires and not model.retired(day) and model.retires - day <= SOON:
            found.append(f"{name} retires on {model.retires}: plan the move to {', '.join(self.tunable(today=day))}")
        if model and model.price.train_basis.startswith("assumed"):
            found.append(f"no tuning price of {name} was found: {model.price.train} USD per million tokens is assumed")
        return found


def trial_base_model(trial: Trial, base_model: str) -> str:
    """The base model under a trial, also where it goes on from a tuned one; the configured one where none is known."""
    start = "" if trial.base.startswith("projects/") else trial.base
    return trial.base_model or start or base_model


@cache
def _shipped() -> dict[str, Any]:
    facts: dict[str, Any] = yaml.safe_load(FILE.read_text("utf-8"))
    return facts


def _merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Both, the second winning; mappings are merged key by key."""
    result = dict(base)
    for key, value in over.items():
        below = result.get(key)
        result[key] = _merged(below, value) if isinstance(below, Mapping) and isinstance(value, Mapping) else value
    return result
