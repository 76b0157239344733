# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The schema of the records in each folder, so that a damaged one is named before anything is done by it.

Only what code relies on is declared; a record may have more.
"""

from __future__ import annotations

from typing import Self

from pydantic import BaseModel, ConfigDict, model_validator

from gemtune.artifacts.monitoring import LabelledRow, RetrainingClaim, WindowRecord
from gemtune.config import JsonObject, ModelVariant


class _Schema(BaseModel):
    model_config = ConfigDict(extra="allow")


class _Entry(_Schema):
    variant: ModelVariant


class _Smoke(_Schema):
    answers: dict[str, str]
    max_disagreement: float


class _Candidate(_Entry):
    entry: _Entry
    against: int
    alias: str
    smoke: _Smoke | None = None


class _Logging(_Schema):
    table: str
    sampling_rate: float


class _Champions(_Schema):
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


class _Use(_Schema):
    times: int


class _TestSets(_Schema):
    rows: list[str]
    uses: dict[str, _Use]


class _Decisions(_Schema):
    fingerprint: str
    model: str
    summary: JsonObject


class _Trial(_Schema):
    losses: dict[str, float]


class _EarlyStopping(_Schema):
    trials: dict[str, _Trial]


class _Splits(_Schema):
    seed: int
    rows: dict[str, list[str]]
    groups: dict[str, list[str]]


class _Augmented(_Schema):
    rows: list[dict[str, str]]
    relabelled: int


class _HardExamples(_Schema):
    hard_ids: list[str]
    label_issues: list[str]


class _SampledPairs(_Schema):
    pairs: dict[str, dict[str, str]]
    no_gap: dict[str, str]


class _Monitoring(_Schema):
    retrained: list[str] = []
    windows: list[WindowRecord] = []
    claim: RetrainingClaim | None = None


class _Annotations(_Schema):
    rows: list[LabelledRow]


class _Schedules(_Schema):
    owner: str


class _Jobs(_Schema):
    claimed: str
    job: str = ""


SCHEMAS: dict[str, type[BaseModel]] = {
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
