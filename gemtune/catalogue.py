# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The model catalogue: models, methods, limits, locations and prices from `catalogue.yaml`, with overrides.

No other module names a model or a limit. Combinations of model, method, adapter size, location and encryption that the
service would refuse are refused here first, with the accepted values.
"""

from collections.abc import Mapping
from datetime import date, timedelta
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

import yaml
from pydantic import BeforeValidator, Field, ValidationError

from gemtune.config import JsonObject, Section, Trial, explain
from gemtune.errors import UserError, did_you_mean

FILE = Path(__file__).with_name("catalogue.yaml")
TuningMethod = Literal["supervised", "reinforcement", "preference"]
METHODS: tuple[TuningMethod, ...] = get_args(TuningMethod)
INPUT_TOKENS = 1_048_576  # of every current Gemini model: cloud.google.com/vertex-ai/generative-ai/docs/models
STALE_AFTER = timedelta(days=120)
RETIRES_SOON = timedelta(days=90)
NO_NULLS = BeforeValidator(lambda value: None if value == "" else value)  # a pipeline's parameter has "" for none


class Price(Section):
    """US dollars per million tokens; a tuning price that is null is unknown."""

    train: Annotated[float | None, NO_NULLS] = Field(None, ge=0, description="Of supervised and preference tuning.")
    reinforcement: Annotated[float | None, NO_NULLS] = Field(None, ge=0, description="Per token of sampled answers.")
    input: float = Field(ge=0)
    output: float = Field(ge=0)
    batch: float = Field(1.0, ge=0, le=1, description="Share of input and output price that a batch job costs.")


class Source(Section):
    """Where facts were read, and the day."""

    url: str
    read: date


class FactSources(Section):
    """The sources of a fact, by name, and those that give another value, with that value."""

    sources: list[str]
    others: dict[str, Any] = Field(default_factory=dict)


class Limits(Section):
    """Largest inputs of a tuning method. Above `validation_free` rows validation is capped at a share of training."""

    tokens_per_example: int
    file_bytes: int
    examples: int
    examples_with_files: int = 300_000
    validation_examples: int
    validation_free: int
    validation_share: float
    evidence: dict[str, FactSources] = Field(default_factory=dict)

    def validation_rows(self, train_rows: int) -> int:
        """Most validation rows that the service accepts with this number of training rows."""
        return min(self.validation_examples, max(self.validation_free, int(self.validation_share * train_rows)))


class Model(Section):
    """A base model: methods, locations, retirement date and price."""

    family: Literal["pro", "flash"]
    methods: list[TuningMethod]
    adapter_sizes: list[int]
    tuning_locations: list[str]
    method_locations: dict[TuningMethod, list[str]] = Field(
        default_factory=dict, description="Where a method is offered, if not in all tuning locations."
    )
    serving_locations: dict[str, str] = Field(default_factory=dict)
    thinking: Literal["budget", "level"]
    least_thinking: int = Field(0, ge=0, description="Fewest thinking tokens, where thinking cannot be turned off.")
    evaluation_locations: list[str] = Field(
        default_factory=list, description="Where a supervised job scores its own checkpoints."
    )
    encryption_key: bool
    batch: bool
    input_tokens: int = Field(INPUT_TOKENS, gt=0, description="Most tokens of a request.")
    schema_values: int = Field(
        0, ge=0, description="Most values of an enumeration in a response schema; 0: the model takes no schema."
    )
    retires: Annotated[date | None, NO_NULLS] = None
    price: Price
    evidence: dict[str, FactSources] = Field(default_factory=dict, description="Where each fact is from; by field.")

    def locations(self, method: TuningMethod) -> list[str]:
        """Where a method is offered; `*` is every region."""
        return self.method_locations.get(method, self.tuning_locations)

    @property
    def retirement(self) -> str:
        """The last day, with those that other sources give; "" where none is known."""
        listed = ", ".join(str(day or "none") for day in self._other_days)
        return f"{self.retires or ''}" + (f" (other sources: {listed})" if listed else "")

    @property
    def _other_days(self) -> list[Any]:
        return list(self.evidence["retires"].others.values()) if self.retires and "retires" in self.evidence else []

    def retires_soon(self, today: date) -> bool:
        """Whether the first of the last days that sources give is near or past, and the model not yet retired."""
        if self.retires is None or self.retired(today):
            return False
        first: date = min([self.retires, *filter(None, self._other_days)])
        return first - today <= RETIRES_SOON

    def retired(self, today: date) -> bool:
        """Whether the published retirement date has passed."""
        return self.retires is not None and today > self.retires


class Catalogue(Section):
    """All models and limits, with the date when they were checked."""

    schema_version: Literal[1]
    checked: date
    sources: dict[str, Source]
    limits: dict[TuningMethod, Limits]
    models: dict[str, Model]
    service: dict[str, float] = Field(
        default_factory=dict, description="US dollars per 1,000 answers scored by the evaluation service, by metric."
    )
    grid: list[Trial]
    recommended: dict[str, dict[str, dict[str, Trial]]]

    @classmethod
    def load(cls, overrides: Mapping[str, Any] | None = None) -> Self:
        """The shipped catalogue with overrides merged in, mapping by mapping; raises `UserError` for an invalid one."""
        try:
            return cls.model_validate(merged(_load_shipped(), overrides or {}))
        except ValidationError as error:
            raise UserError(explain(error, cls), file="vertex.catalogue") from None

    def tunable(self, method: TuningMethod = "supervised", today: date | None = None) -> list[str]:
        """Models that can be tuned by a method today, cheapest answers first."""
        day = today or date.today()
        names = [name for name, m in self.models.items() if method in m.methods and not m.retired(day)]
        return sorted(names, key=lambda name: self.models[name].price.output)

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
        """The model, if it can be tuned with these options; else a `UserError` with the reason and alternatives."""
        day = today or date.today()
        tunable = ", ".join(self.tunable(method, day)) or "none; see vertex.catalogue"
        remedy = f"models for {method} tuning now: {tunable}"
        model = self.models.get(name)
        if model is None:
            similar = did_you_mean(name, tuple(self.tunable(method, day)))
            raise UserError(f"unknown base model {name!r}", remedy=remedy + similar)
        if model.retired(day):
            raise UserError(f"{name} was retired on {model.retirement}", remedy=remedy)
        if method not in model.methods:
            raise UserError(f"{name} cannot be tuned by the method {method!r}", remedy=remedy)
        locations = model.locations(method)
        if "*" not in locations and location not in locations:
            listed = ", ".join(locations)
            raise UserError(f"{name} cannot be tuned in {location}", remedy=f"set vertex.location to one of {listed}")
        if unsupported := [size for size in adapter_sizes if size not in model.adapter_sizes]:
            raise UserError(
                f"adapter size {unsupported[0]} is not supported by {name}",
                remedy=f"one of {', '.join(map(str, model.adapter_sizes))}",
            )
        if encryption_key and not model.encryption_key:
            raise UserError(
                f"{name} does not support customer-managed encryption keys", remedy="leave vertex.encryption_key empty"
            )
        return model

    def price(self, base: str, base_model: str) -> Price:
        """The price of tuning `base`; a tuned model, and "", have the price of the base model.

        Raises `UserError` for a model that is not in the catalogue.
        """
        name = base if base and not base.startswith("projects/") else base_model
        if name not in self.models:
            raise UserError(f"no price of {name!r} in the catalogue", remedy="add the model to vertex.catalogue")
        return self.models[name].price

    def vertex_metric_price(self, metric: str) -> float:
        """US dollars per 1,000 answers scored by the evaluation service; raises `UserError` for an unknown metric."""
        if metric not in self.service:
            raise UserError(
                f"no price of the metric {metric!r} in the catalogue, so its cost cannot be forecast",
                remedy=f"set vertex.catalogue={{service: {{{metric}: US dollars for 1,000 answers}}}}, or remove it "
                "from evaluate.vertex_metrics",
            )
        return self.service[metric]

    def tuning_price(self, trial: Trial, base_model: str) -> float:
        """US dollars per million tokens of a trial's job; raises `UserError` where it is unknown."""
        name = trial_base_model(trial, base_model)
        price: float | None = getattr(self.price(name, base_model), price_field(trial.method))
        if price is None:
            raise UserError(
                f"the price of {trial.method} tuning of {name} is not published, so its cost has no bound",
                remedy=f"set {price_setting(name, price_field(trial.method))} per million tokens",
            )
        return price

    def starting_trial(self, name: str, modality: str, rows: int, mean_tokens: float) -> Trial:
        """The published starting hyperparameters for a model family, modality and data size."""
        size = "short" if rows < 1000 and mean_tokens < 500 else "long"
        model = self.models.get(name)
        return self.recommended[model.family if model else "flash"][modality][size]

    def input_tokens(self, name: str) -> int:
        """Most tokens of a request to a base model."""
        return self.models[name].input_tokens if name in self.models else INPUT_TOKENS

    def serving_location(self, name: str, location: str) -> str:
        """The location that serves a model tuned in `location`; for an unknown model `location` itself."""
        model = self.models.get(name)
        return model.serving_locations.get(location, location) if model else location

    def thinking(self, name: str, budget: int) -> tuple[int | None, str]:
        """A thinking budget (tokens; 0: off, -1: the model decides) as (budget, level), as the model supports it."""
        if budget < 0:
            return None, ""
        model = self.models.get(name)
        if model is None or model.thinking == "budget":
            return max(budget, model.least_thinking if model else 0), ""
        return None, "MINIMAL" if budget == 0 else "LOW" if budget <= 2048 else "MEDIUM" if budget <= 8192 else "HIGH"

    def evaluates_in_job(self, trial: Trial, base_model: str, location: str) -> bool:
        """Whether the service offers that a trial's job scores its own checkpoints: supervised ones of some models."""
        model = self.models.get(trial_base_model(trial, base_model))
        offered = model.evaluation_locations if model and trial.method == "supervised" else []
        return not {"*", location}.isdisjoint(offered)

    def takes_schema(self, name: str) -> bool:
        """Whether requests to a model may have a response schema; not those to tuned and unknown models."""
        return name in self.models and self.models[name].schema_values > 0

    def enumeration_problem(self, name: str, values: int) -> str:
        """Why a response schema cannot restrict a model's answers to so many values; empty when it can."""
        if not self.takes_schema(name):
            return f"{name} takes no response schema"
        most = self.models[name].schema_values
        return f"a response schema of {name} lists at most {most} labels, not {values}" if values > most else ""

    def warnings(self, name: str = "", today: date | None = None) -> list[str]:
        """Warnings about an outdated catalogue and a near retirement."""
        day = today or date.today()
        warnings = []
        if day - self.checked > STALE_AFTER:
            warnings.append(f"the model catalogue was last checked on {self.checked}: verify limits and prices")
        model = self.models.get(name)
        if model and model.retires_soon(day):
            others = ", ".join(other for other in self.tunable(today=day) if other != name) or "none"
            warnings.append(f"{name} retires on {model.retirement}: migrate to {others}")
        return warnings

    def price_notes(self, name: str) -> list[str]:
        """A sentence on each tuning price of a model that counts as 0, because nothing is billed and it is unknown."""
        model = self.models.get(name)
        free = [field for field in ("train", "reinforcement") if model and getattr(model.price, field) == 0]
        return [
            f"the tuning price of {name} is unknown, and counts as 0 USD where nothing is billed: before a run on "
            f"Vertex AI set {price_setting(name, field)} per million tokens"
            for field in free
        ]


def price_field(method: TuningMethod) -> str:
    """The field of `Price` that has the price of a method's jobs."""
    return "reinforcement" if method == "reinforcement" else "train"


def price_setting(name: str, field: str) -> str:
    """The setting that supplies a tuning price, in US dollars per million tokens."""
    return f"vertex.catalogue={{models: {{{name}: {{price: {{{field}: USD}}}}}}}}"


def trial_base_model(trial: Trial, base_model: str) -> str:
    """The base model of a trial, also when it continues from a tuned model; the configured one if unknown."""
    base = "" if trial.base.startswith("projects/") else trial.base
    return trial.base_model or base or base_model


@cache
def _load_shipped() -> JsonObject:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast
    facts: JsonObject = yaml.load(FILE.read_text("utf-8"), loader)
    return facts


def merged(base: Mapping[str, Any], overrides: Mapping[str, Any]) -> JsonObject:
    """`base` with `overrides`; mappings are merged key by key."""
    result = dict(base)
    for key, value in overrides.items():
        nested = result.get(key)
        result[key] = merged(nested, value) if isinstance(nested, Mapping) and isinstance(value, Mapping) else value
    return result
