# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""What a record of each folder must have, so that a damaged one is named before anything is done by it.

Only what code relies on is declared; a record may have more.
"""

from __future__ import annotations

from typing import Any, Self

from pydantic import BaseModel, ConfigDict, model_validator

from gemtune.config import ModelVariant


class _Format(BaseModel):
    model_config = ConfigDict(extra="allow")


class _Entry(_Format):
    variant: ModelVariant


class _Candidate(_Entry):
    entry: _Entry
    against: int
    alias: str


class _Logging(_Format):
    table: str
    sampling_rate: float


class _Champions(_Format):
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


class _Use(_Format):
    times: int


class _TestSets(_Format):
    rows: list[str]
    uses: dict[str, _Use]


class _Decisions(_Format):
    fingerprint: str
    model: str
    summary: dict[str, Any]


class _Trial(_Format):
    losses: dict[str, float]


class _EarlyStopping(_Format):
    trials: dict[str, _Trial]


class _Splits(_Format):
    seed: int
    rows: dict[str, list[str]]
    groups: dict[str, list[str]]


class _Augmented(_Format):
    rows: list[dict[str, str]]
    relabelled: int


class _HardExamples(_Format):
    hard_ids: list[str]
    label_issues: list[str]


class _SampledPairs(_Format):
    pairs: dict[str, dict[str, str]]
    no_gap: dict[str, str]


class _Monitoring(_Format):
    retrained: list[str] = []
    windows: list[dict[str, Any]] = []
    claim: dict[str, Any] | None = None


class _Annotations(_Format):
    rows: list[dict[str, Any]]


class _Schedules(_Format):
    owner: str


class _Jobs(_Format):
    claimed: str
    job: str = ""


FORMATS: dict[str, type[BaseModel]] = {
    "champions": _Champions,
    "test_sets": _TestSets,
    "decisions": _Decisions,
    "early_stopping": _EarlyStopping,
    "splits": _Splits,
    "augmented": _Augmented,
    "hard_examples": _HardExamples,
    "sampled_pairs": _SampledPairs,
    "monitoring": _Monitoring,
    "annotations": _Annotations,
    "schedules": _Schedules,
    "jobs": _Jobs,
}
