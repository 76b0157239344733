# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The base models, their capabilities and the documented limits: a dated JSON file that a user can replace."""

import re
from datetime import UTC, date, datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from emulator.core.google_rest import ApiError
from emulator.documents import read_document

_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Limits(_Strict):
    """Limits of a tuning method; a validation set above `validation_free` rows is capped at a fraction of train."""

    tokens_per_example: int
    training_bytes: int
    training_examples: int
    validation_examples: int
    validation_free: int
    validation_fraction: float


class Thinking(_Strict):
    """How a model thinks: the range of its budget (tokens), whether a budget of 0 turns it off, the names of its
    levels, and whether it thinks where a request has neither.
    """

    budgets: tuple[int, int] = (1, 24576)
    off: bool = True
    levels: tuple[str, ...] = ()
    by_default: bool = True


class BaseModelEntry(_Strict):
    """One base model. Adapter sizes per method (empty: not supported); the location `*` means every location.

    `serving_locations` maps a tuning location to the only multi-region that serves the tuned model. `weights` names a
    causal language model for the student engine: a directory, relative to the catalogue, or a repository of the Hugging
    Face hub, `owner/name`. Once loaded it is a path or, for a repository, a string; None means the embedded base.
    """

    name: str
    display_name: str = ""
    version: str = "001"
    supervised: tuple[int, ...] = ()
    preference: tuple[int, ...] = ()
    reinforcement: tuple[int, ...] = ()
    default_adapter_size: int = 4
    tuning_locations: tuple[str, ...] = ("*",)
    reinforcement_locations: tuple[str, ...] = ("us-central1",)
    serving_locations: dict[str, str] = {}
    evaluation_locations: tuple[str, ...] = ()
    cmek: bool = True
    tuned_batch: bool = True
    ends_with_model_turn: bool = False  # whether the last turn of a request may be the model's
    thinking: Thinking | None = None  # None: the model does not think
    retirement_date: date | None = None
    input_token_limit: int = 1048576
    output_token_limit: int = 65535
    default_output_tokens: int = 128
    weights: str | Path | None = None


class Catalogue(_Strict):
    """All base models, dated; retired ones are rejected only with `enforce_retirement`."""

    as_of: date
    enforce_retirement: bool = False
    limits: dict[str, Limits]
    models: tuple[BaseModelEntry, ...]

    def find(self, reference: str) -> BaseModelEntry | None:
        """The entry for a name, a `publishers/google/models/` path or a version such as `-001`; None if unknown."""
        short = reference.rsplit("/", 1)[-1].split("@", 1)[0]
        for entry in self.models:
            if short in (entry.name, f"{entry.name}-{entry.version}"):
                return entry
        return None

    def serving(self, reference: str) -> BaseModelEntry:
        """The entry of a model to be served; 404 when it is unknown or, if enforced, retired."""
        entry = self.find(reference)
        if entry is None or self.retired(entry):
            short = reference.rsplit("/", 1)[-1]
            raise ApiError(
                404,
                f"Publisher Model `{short}` was not found or your project does not have access to it. Please ensure "
                f"you are using a valid model version. The emulator's catalogue has: {self.names()}.",
            )
        return entry

    def tunable(self, reference: str, method: str) -> BaseModelEntry | None:
        """The entry of a model that can be tuned by a method; None if it is unknown, retired or not tuned so."""
        entry = self.find(reference)
        return None if entry is None or not getattr(entry, method) or self.retired(entry) else entry

    def retired(self, entry: BaseModelEntry) -> bool:
        """Whether the model is past its retirement date and that is enforced."""
        today = datetime.now(UTC).date()
        return self.enforce_retirement and entry.retirement_date is not None and entry.retirement_date <= today

    def locations(self, entry: BaseModelEntry, method: str) -> tuple[str, ...]:
        """Where a model can be tuned by a method; `*` means everywhere."""
        return entry.reinforcement_locations if method == "reinforcement" else entry.tuning_locations

    def names(self, method: str = "name") -> str:
        """The names of all models, or of those tuned by a method, for messages."""
        return ", ".join(entry.name for entry in self.models if getattr(entry, method))


def load_catalogue(path: Path | None = None) -> Catalogue:
    """The catalogue in a file, by default the package's; `ValueError` with the place of an error."""
    path = path or Path(__file__).with_name("catalogue.json")
    catalogue, models = read_document(path, Catalogue), []
    for entry in catalogue.models:
        weights = _weights(path, entry.name, str(entry.weights)) if entry.weights else None
        models.append(entry.model_copy(update={"weights": weights}))
    return catalogue.model_copy(update={"models": tuple(models)})


def _weights(catalogue: Path, model: str, reference: str) -> Path | str:
    directory = catalogue.parent / reference
    if directory.is_dir():
        return directory.resolve()
    if _REPOSITORY.fullmatch(reference):
        return reference
    raise ValueError(
        f"{catalogue}: no weights for {model}: {directory} is not a directory, and {reference!r} is not the name of a "
        "repository of the Hugging Face hub (owner/name)"
    )
