# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The JSON records in the bucket that outlive a run, one frozen model per folder; `state.store` reads and writes them.

Those of monitoring are next to its documents (`artifacts.monitoring`).
Fields that a later patch adds are kept when a record is changed. Times are UTC.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, ClassVar, Literal, Self

from pydantic import AfterValidator, ConfigDict, Field, ValidationError, model_validator

from gemtune.artifacts.base import Part
from gemtune.artifacts.data import LeakageReport
from gemtune.artifacts.production_log import TrainingReference
from gemtune.config import Evaluate, JsonObject, ModelVariant, Preprocess, Section, Task, explain

SCHEMA_VERSION = 1


class RecordPart(Part):
    """Base of the objects inside a record, which may have fields of a later patch."""

    model_config = ConfigDict(extra="allow")


class Record(RecordPart):
    """A record; a subclass names its folder in `FOLDER`."""

    FOLDER: ClassVar[str]

    schema_version: int = SCHEMA_VERSION

    @classmethod
    def key(cls, name: str) -> str:
        """Object name of the record of this name."""
        return f"{cls.FOLDER}/{name}.json"

    def document(self) -> JsonObject:
        """The record as it is stored: what was set, so that a default that changes later changes no record."""
        return {**self.model_dump(mode="json", exclude_unset=True), "schema_version": SCHEMA_VERSION}


def _settings_of(section: type[Section]) -> AfterValidator:
    """Some settings of a section, as a plain object."""

    def check(values: JsonObject) -> JsonObject:
        try:
            section.model_validate(values)
        except ValidationError as error:
            raise ValueError(explain(error, section)) from None
        return values

    return AfterValidator(check)


# -- the champion ----------------------------------------------------------------------------------------------------


class DecisionFacts(RecordPart):
    """The decision behind a champion."""

    verdict: str
    metric: str
    rows: int = Field(ge=0)
    """Test rows."""
    score: float | None = None
    """Mean score of the answers to test rows, with which those of labelled production rows are compared."""


class ManifestDigests(RecordPart):
    """Fingerprints of the ids of training and test rows, and the digest of the run's manifest once that is written."""

    train: str = ""
    test: str = ""
    digest: str = ""


class StoredTestSet(RecordPart):
    """The test rows of a champion."""

    uri: str
    rows: int


class ChampionEntry(RecordPart):
    """A model variant with all that serving, rollback and monitoring need."""

    variant: ModelVariant
    since: datetime
    """When it became the champion; of a candidate, when it was proposed."""
    until: datetime | None = None
    """When it was rolled back."""
    labels_since: datetime
    """Labels that arrived later were not trained on."""
    task: Task
    generation: Annotated[JsonObject, _settings_of(Evaluate)]
    """The settings of generation that serving repeats."""
    cleaning: Annotated[JsonObject, _settings_of(Preprocess)]
    """The exported cleaning rules."""
    takes_requests: bool = False
    """Whether all training rows were requests of their own."""
    decision: DecisionFacts | None = None
    reasons: list[str] = []
    manifest: ManifestDigests = ManifestDigests()
    actor: str = ""
    continuations: int = Field(0, ge=0)
    """How many champions in a row, this one included, were each tuned from the one before."""
    gemtune: str = ""
    image: str = ""
    reference: TrainingReference | None = None
    shown: str = ""
    """gs:// URI of the training rows, where the prompt shows some of them."""
    test: StoredTestSet | None = None
    leakage_report: LeakageReport | None = None

    @model_validator(mode="after")
    def _is_complete(self) -> Self:
        if self.variant.is_tuned and not self.variant.tuned_model:
            raise ValueError("an endpoint without its tuned model")
        if self.task.is_labelled and not self.task.labels:
            raise ValueError("a task without its labels")
        return self


class SmokeTestAnswers(RecordPart):
    """What a smoke test repeats just before a candidate serves."""

    answers: dict[str, str]
    """Answers at the gate by row id; "" where answers cannot be compared."""
    max_disagreement: float


class Candidate(RecordPart):
    """A candidate that passed the gate and waits for approval, decided against a generation of the record."""

    entry: ChampionEntry
    against: int
    alias: str
    smoke: SmokeTestAnswers | None = None

    @model_validator(mode="after")
    def _has_test_rows(self) -> Self:
        if self.smoke and not self.entry.test:
            raise ValueError("a smoke test without test rows")
        return self


class LoggingSettings(RecordPart):
    """Where the champions of a name log their requests (bq://PROJECT.DATASET.TABLE); a rate of 0: not at all."""

    table: str
    sampling_rate: float


class ChampionRecord(Record):
    """Which model variant is in production under a name, which were before (newest last), which waits for approval."""

    FOLDER = "champions"

    generation: int = 0
    """How often the champion has changed; 0: there never was one."""
    alias: str = ""
    current: ChampionEntry | None = None
    history: list[ChampionEntry] = []
    rolled_back: list[ChampionEntry] = []
    candidate: Candidate | None = None
    logging: LoggingSettings | None = None

    @property
    def variant(self) -> ModelVariant | None:
        """The champion, as runs compare with it; None when there is none."""
        if self.current is None:
            return None
        return self.current.variant.model_copy(update={"name": "champion", "role": "champion"})

    @property
    def test_uri(self) -> str:
        """The URI of the champion's test rows; "" when they were not kept."""
        return self.current.test.uri if self.current and self.current.test else ""

    @property
    def entries(self) -> list[ChampionEntry]:
        """All that are, or were, in production."""
        return [*self.history, *self.rolled_back, *([self.current] if self.current else [])]

    @property
    def states(self) -> list[tuple[str, ChampionEntry]]:
        """All entries: `candidate`, `champion`, then `previous` and `rolled back` ones, each newest first."""
        first = {"candidate": self.candidate and self.candidate.entry, "champion": self.current}
        listed = [(state, entry) for state, entry in first.items() if entry]
        listed += [("previous", entry) for entry in reversed(self.history)]
        return listed + [("rolled back", entry) for entry in reversed(self.rolled_back)]

    @model_validator(mode="after")
    def _is_complete(self) -> Self:
        if not bool(self.current) == bool(self.generation) == bool(self.alias):
            raise ValueError("champion, generation and alias do not agree")
        # a promotion adds one champion; a rollback takes one away and keeps it as rolled back
        if self.generation != bool(self.current) + len(self.history) + 2 * len(self.rolled_back):
            raise ValueError("the champions listed are not those of this generation")
        if self.model_fields_set and not (self.current or self.candidate or self.logging):
            raise ValueError("neither champion nor candidate")
        return self


# -- what runs share, and keep for later ones ------------------------------------------------------------------------


class TestSetUse(RecordPart):
    """The uses of a test set by one candidate, or without one: by which run and model, first and last, how often."""

    name: str = ""
    model: str = ""
    first: str = ""
    last: str = ""
    times: int


class SharedTestSet(Record):
    """The uses of a test set, by candidate."""

    FOLDER = "test_sets"

    rows: list[str]
    uses: dict[str, TestSetUse]


class LastDecision(Record):
    """What the last run of a name decided on, its champion's model after it ("": none), and the summary."""

    FOLDER = "decisions"

    fingerprint: str
    model: str
    summary: JsonObject
    forgot: bool = False
    """Whether a candidate that continued the champion was shown to be worse on the champion's test set."""


Rung = Annotated[str, Field(pattern=r"^\d+(\.\d+)?(e[+-]?\d+)?$")]


class TrialLosses(RecordPart):
    """The losses of a trial by rung (epochs, as text), whether it has ended, why it was stopped ("": not)."""

    losses: dict[Rung, float]
    ended: bool = False
    stopped: str = ""


class EarlyStoppingRecord(Record):
    """The trials of a group that are compared while they are tuned."""

    FOLDER = "early_stopping"

    trials: dict[str, TrialLosses]


SplitName = Literal["train", "validation", "test"]


class SplitRecord(Record):
    """Split -> ids of its rows, and names of its groups, as a seed assigned them."""

    FOLDER = "splits"

    seed: int
    rows: dict[SplitName, list[str]]
    groups: dict[SplitName, list[str]]


@dataclass(frozen=True, slots=True)
class NewText:
    """A new text, the training row it was generated from, and how."""

    source: str
    text: str
    method: str


class AugmentedRows(Record):
    """New texts that passed the label check, and how many did not."""

    FOLDER = "augmented"

    rows: list[NewText]
    relabelled: int


class HardRows(Record):
    """Ids of training rows that a prompt misses, and of missed rows whose label is likely wrong."""

    FOLDER = "hard_examples"

    hard_ids: list[str]
    label_issues: list[str]


class SampledPair(RecordPart):
    """The better and the worse answer."""

    chosen: str
    rejected: str


class SampledPairs(Record):
    """Row id -> the pair of its answers, or why they differ too little."""

    FOLDER = "sampled_pairs"

    pairs: dict[str, SampledPair]
    no_gap: dict[str, str]


class JobClaim(Record):
    """The right to create a tuning job: since when a run has it, and the job it created."""

    FOLDER = "jobs"

    claimed: str
    job: str = ""


class Lease(Record):
    """Which process holds a name; "": none."""

    FOLDER = "schedules"

    owner: str
