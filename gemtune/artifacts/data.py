# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""What the data steps report: rows read and rejected, the profile of the rest, the splits, what leaks across them, and
how training rows were augmented and reweighted.

All counts are rows unless a field says otherwise; a `line` is a 1-based line of the source.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

from pydantic import ConfigDict, Field

from gemtune.artifacts.base import Artifact, Part
from gemtune.artifacts.cost import CostItem
from gemtune.config import Augment, HardExamples

# -- preprocess ------------------------------------------------------------------------------------------------------


class CleaningSample(Part):
    """The first 200 characters of a text before and after a cleaning rule."""

    line: int
    before: str
    after: str


class CleaningCount(Part):
    """How many texts a cleaning rule changed, with the first of them."""

    rows: int
    samples: tuple[CleaningSample, ...]


class PersonalData(Part):
    """Findings of personal data by kind, and the first lines that have any."""

    findings: dict[str, int]
    lines: tuple[int, ...]


class LabelSpellings(Part):
    """A label that occurs in several spellings, and the rows of each."""

    label: str
    rows: dict[str, int]


class ReadReport(Part):
    """What reading the rows assumed, changed and found."""

    notes: tuple[str, ...] = Field((), description="What was assumed about the files, with the overriding setting.")
    label_spellings: tuple[LabelSpellings, ...] = ()
    mojibake: int = Field(0, description="Texts that were decoded with a wrong encoding before.")

    cleaned: dict[str, CleaningCount]
    corrected: int = Field(description="Labels replaced from the review file.")
    corrections_without_row: int = Field(description="Rows of the review file that the data does not have.")
    personal_data: PersonalData


class HistogramBin(Part):
    """Rows whose value is smaller than `below` and not in an earlier bin."""

    below: int
    rows: int


class LengthStats(Part):
    """Distribution of a length over the rows."""

    min: int
    median: int
    p95: int
    max: int
    mean: float
    histogram: tuple[HistogramBin, ...]


class LabelBalance(Part):
    """Rows per label; empty for tasks without labels."""

    labels: dict[str, int] = Field(default_factory=dict)
    rare_labels: tuple[str, ...] = ()
    largest_to_smallest: float | None = None


class DataProfile(LabelBalance):
    """Label balance, lengths, scripts and slices of the rows."""

    text_characters: LengthStats | None
    text_tokens_estimated: LengthStats | None
    target_characters: LengthStats | None
    scripts: dict[str, int]
    slices: dict[str, dict[str, int]]


class RepeatedPassages(Part):
    """Passages that repeat an earlier one: rows that contain one, repeated characters and their share of all.

    `commonest` is the beginning of the passage that most rows repeat, `commonest_rows` is how many do.
    """

    rows: int = 0
    characters: int = 0
    share: float = 0.0
    commonest: str = ""
    commonest_rows: int = 0


class BorderlineDuplicate(Part):
    """A row that was dropped although it is hardly more similar than the threshold, and the row kept instead."""

    line: int
    similarity: float
    text: str = Field(description="What was compared: without the passages that many rows have in common.")
    detail: str


@dataclass(frozen=True, slots=True)
class LabelIssue:
    """A row whose label may be wrong: by how much (0 to 1) the label `likely` is more probable than its own.

    `confident`: it is among as many rows as are likely wrong; `possible`: among as many as may be.
    """

    id: str
    line: int
    text: str
    label: str
    likely: str
    margin: float
    confident: bool = True
    possible: bool = True


class LabelIssues(Part):
    """Rows that likely have a wrong label: expected, and at most; rows flagged for review, and the most suspicious.

    `rows` is null where the texts predict the labels too weakly for an estimate: `agreement` (Cohen's kappa of the
    labels and the predictions of a model of the texts) is below 0.5.
    """

    rows: int | None
    rows_at_most: int = 0
    agreement: float = 1.0
    flagged: int
    worst: tuple[LabelIssue, ...]


class DataflowCount(Part):
    """Rows that a Dataflow job dropped before preprocessing, and the file that lists them ("": no job ran)."""

    rows: int = 0
    file: str = ""


class DataReport(Artifact, ReadReport, DataProfile):
    """What became of the source's rows, and what the rows that are used look like.

    `examples` counts what was written: examples, or preference pairs. `dropped` counts the others by reason.
    """

    STEP: ClassVar[str] = "preprocess"

    data: str
    settings: dict[str, Any]
    rows: int
    examples: int
    dropped: dict[str, int]
    valid_rows: int = Field(0, description="Rows that became examples, before any deduplication.")
    repeated_passages: RepeatedPassages = RepeatedPassages()
    borderline_duplicates: tuple[BorderlineDuplicate, ...] = Field(
        (), description="The ten least similar near-duplicates."
    )
    label_issues: LabelIssues = LabelIssues(rows=0, flagged=0, worst=())
    cleaning: dict[str, Any] = Field(default_factory=dict, description="The cleaning rules that training saw.")
    dataflow: DataflowCount = DataflowCount()
    spent: tuple[CostItem, ...] = Field((), description="Cost items of paid requests that made the rows.")


# -- split -----------------------------------------------------------------------------------------------------------


class SplitOverlap(Part):
    """Rows of `split` that overlap with a row of `other_split`, by kind.

    `rows` counts those that no split may have (exact, group, near). Passages and meanings are informational: rows that
    are independent share them too (a signature, a stock phrase).
    """

    model_config = ConfigDict(extra="ignore")  # the records of earlier champions have samples of the rows

    split: str
    other_split: str
    rows: int
    exact: int
    group: int
    near: int
    passage: int
    semantic: int


class LeakageReport(Artifact):
    """Overlaps between the splits; `clean`: no exact, group or near overlap.

    A threshold of 0 means that this kind was not searched. `embedded` is how many rows of a split were compared by
    embedding. `splits` is a fingerprint of the row ids of every split.
    """

    STEP: ClassVar[str] = "split"

    jaccard_threshold: float
    passage_chars: int
    cosine_threshold: float
    embedded: dict[str, int]
    overlaps: tuple[SplitOverlap, ...]
    clean: bool
    rows: dict[str, int]
    splits: str


class ExcludedRow(Part):
    """A row that is in no split, and why."""

    id: str
    line: int
    reason: str


class SplitReport(Artifact):
    """Rows, labels and slices of every split, the rows excluded from all, and the leakage between splits.

    `times` are the oldest and the newest time of a split, where rows are split by time. `assignments_kept` counts rows
    that stayed in the split that an earlier run assigned.
    """

    STEP: ClassVar[str] = "split"

    settings: dict[str, Any]
    rows: dict[str, int]
    excluded: tuple[ExcludedRow, ...]
    labels: dict[str, dict[str, int]]
    slices: dict[str, dict[str, dict[str, int]]]
    times: dict[str, tuple[str, str]]
    assignments_kept: int
    notes: tuple[str, ...] = Field((), description="In what the configuration may not fit the rows.")
    leakage_report: LeakageReport


# -- changed training rows --------------------------------------------------------------------------------------------


class AugmentationReport(Artifact):
    """New training rows for rare labels, what they cost, and the leakage between the splits with them."""

    STEP: ClassVar[str] = "augment"

    rows: int
    new: int
    near: int
    relabelled: int
    spent: list[CostItem]
    limit: float
    samples: list[dict[str, str]]
    labels: dict[str, int]
    leakage_report: LeakageReport
    settings: Augment


class HardExamplesReport(Artifact):
    """Which training rows are repeated, how often, and what finding them cost."""

    STEP: ClassVar[str] = "reweight-hard-examples"

    rows: int
    reweighted_rows: int
    hard_rows: int
    label_issues: int
    share: float
    max_repeats: int
    near_hard: int
    hard_ids: list[str]
    spent: list[CostItem]
    settings: HardExamples
