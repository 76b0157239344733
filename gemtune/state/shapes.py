# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""What a record of each folder must have, so that a damaged one is named before anything is done by it.

Only what code relies on is declared; a record may have more.
"""

from __future__ import annotations

from typing import Any, Self

from pydantic import BaseModel, ConfigDict, model_validator

from gemtune.config import ModelVariant


class _Shape(BaseModel):
    model_config = ConfigDict(extra="allow")


class _Entry(_Shape):
    variant: ModelVariant


class _Candidate(_Entry):
    entry: _Entry
    against: int
    alias: str


class _Logging(_Shape):
    table: str
    sampling_rate: float


class _Champions(_Shape):
    generation: int = 0
    alias: str = ""
    current: _Entry | None = None
    history: list[_Entry] = []
    rolled_back: list[_Entry] = []
    candidate: _Candidate | None = None
    logging: _Logging | None = None

    @model_validator(mode="after")
    def _is_complete(self) -> Self:
        if self.current and not (self.generation and self.alias):
            raise ValueError("a champion without generation and alias")
        if not (self.current or self.candidate or self.logging):
            raise ValueError("neither champion nor candidate")
        return self


class _Use(_Shape):
    times: int


class _TestSets(_Shape):
    rows: list[str]
    uses: dict[str, _Use]


class _Decisions(_Shape):
    fingerprint: str
    model: str
    summary: dict[str, Any]


class _Trial(_Shape):
    losses: dict[str, float]


class _EarlyStopping(_Shape):
    trials: dict[str, _Trial]


class _Splits(_Shape):
    seed: int
    rows: dict[str, list[str]]
    groups: dict[str, list[str]]


class _Augmented(_Shape):
    rows: list[dict[str, str]]
    relabelled: int


class _Hard(_Shape):
    hard_ids: list[str]
    label_issues: list[str]


class _SampledPairs(_Shape):
    pairs: dict[str, dict[str, str]]
    no_gap: dict[str, str]


class _Monitoring(_Shape):
    retrained: list[str] = []
    windows: list[dict[str, Any]] = []
    claim: dict[str, Any] | None = None


class _Annotations(_Shape):
    rows: list[dict[str, Any]]


class _Schedules(_Shape):
    owner: str


class _Jobs(_Shape):
    claimed: str
    job: str = ""


SHAPES: dict[str, type[BaseModel]] = {
    "champions": _Champions,
    "test_sets": _TestSets,
    "decisions": _Decisions,
    "early_stopping": _EarlyStopping,
    "splits": _Splits,
    "augmented": _Augmented,
    "hard": _Hard,
    "sampled_pairs": _SampledPairs,
    "monitoring": _Monitoring,
    "annotations": _Annotations,
    "schedules": _Schedules,
    "jobs": _Jobs,
}
