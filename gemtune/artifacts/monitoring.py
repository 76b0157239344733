# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Documents of the monitoring pipeline: what each window showed, the quality of the answers, the verdict."""

from datetime import UTC, datetime
from typing import ClassVar, Literal, Self

from pydantic import model_validator

from gemtune.artifacts.base import Artifact, Part
from gemtune.artifacts.data import LengthStats
from gemtune.artifacts.evaluation import Score
from gemtune.artifacts.records import Record

MonitoringVerdict = Literal["settling", "fine", "watch", "retrain", "cannot_tell"]


class Moments(Part):
    """Values of a window's rows with one predicted label: number, sum, sum of squares."""

    rows: int
    total: float
    squares: float


class Topic(Part):
    """A cluster of the rows least similar to any training row: its size, mean cosine with its centre, row ids with the
    most central first, texts of the first three, and n-grams that set it apart.
    """

    rows: int
    tightness: float
    ids: list[str]
    texts: list[str]
    ngrams: list[str]


class Check(Part):
    """What one check measured in the newest window, and whether it is an alarm.

    `value` has a 95 % interval (None: it has none); `threshold` is the value at which it is an alarm (None: it is only
    reported), `p_value` that of the test, where it is one. `examples` are ids of rows that show it.
    """

    name: str
    value: float
    low: float | None
    high: float | None
    rows: int
    summary: str
    p_value: float | None = None
    threshold: float | None = None
    alarm: bool = False
    examples: list[str] = []


class WindowRecord(Part):
    """A window [start, end) as later windows need it: counts, and sums by predicted label over its distinct texts."""

    start: datetime
    end: datetime
    rows: int
    texts: int
    """Distinct texts, of which at most `monitor.max_rows` are compared."""
    similarity: dict[str, Moments]
    confidence: dict[str, Moments]
    """Mapped confidences; empty where the log has none."""
    proxy: Moments | None = None
    """The ratings with `judged`."""
    judged: dict[str, float] = {}
    """The judge's rating (0 to 1) of each row drawn for the estimate, by id; {}: confidence is the proxy."""
    checks: list[Check] = []
    verdict: MonitoringVerdict = "settling"


class RetrainingClaim(Part):
    """A retraining for these ids by a decision (its URI, or the id of its job); where it is only due, `until` is past.

    Until then no other decision starts it; the ids are handled when a tuning run has ended.
    """

    ids: list[str]
    decision: str
    until: datetime


class MonitoringRecord(Record):
    """What monitoring keeps under a run's name between its runs, and the retraining that a run has claimed."""

    FOLDER = "monitoring"

    generation: int = 0
    """Generation of the champion's record."""
    since: datetime = datetime.min.replace(tzinfo=UTC)
    """Start of the first window of the baseline: the promotion, or the last accepted alarm."""
    windows: list[WindowRecord] = []
    retrained: list[str] = []
    """Ids of the reasons that have caused a retraining."""
    claim: RetrainingClaim | None = None

    @model_validator(mode="after")
    def _is_complete(self) -> Self:
        written, history = self.model_fields_set, {"generation", "since", "windows"}
        is_complete = history | {"retrained"} <= written or (not history & written and "claim" in written)
        if written and not is_complete:
            raise ValueError("neither a complete history nor a claim")
        return self


class DriftReport(Artifact):
    """The windows since the last run, oldest first, and what the newest showed."""

    STEP: ClassVar[str] = "analyze-drift"

    history: MonitoringRecord
    """With the windows since the last run, oldest first; the newest is the one that was examined."""
    missing_windows: int
    """Windows until the first that is compared with a complete baseline."""
    excluded: str = ""
    """How many logged rows were left out, and why."""
    problems: list[str] = []
    """Why nothing can be concluded from the newest window."""
    detectable: str = ""
    """Which share of a new topic would have been found."""
    topics: list[Topic] = []
    label_mix: dict[str, Score] = {}
    """Estimated shares of the true labels."""
    label_mix_method: str = ""
    scripts: dict[str, int] = {}
    characters: LengthStats | None = None
    training_difference: list[str] = []
    """How traffic differs from the training rows, in the first window after a promotion; never an alarm."""


class LabelledRow(Part):
    """A production row that a person labelled, with the window it was served in and its mapped confidence.

    `pi` is the probability with which it was drawn for the estimate; None for a row drawn to learn from, which never
    enters an estimate. `correct` is the score of its answer (0 to 1), `added` when its label was first kept.
    """

    id: str
    window: datetime
    pi: float | None
    confidence: float
    correct: float
    added: datetime | None = None


class LabelledRows(Record):
    """All labelled production rows of a name."""

    FOLDER = "annotations"

    rows: list[LabelledRow]


class QualityEstimate(Part):
    """The estimated share of correct answers of the window that ends at `end`, its 95 % interval and its variance."""

    end: datetime
    score: Score
    variance: float
    labels: int


class QualityReport(Artifact):
    """The quality of the answers, from labels where there are any."""

    STEP: ClassVar[str] = "estimate-quality"

    estimates: list[QualityEstimate]
    limit: float | None
    """Score on test rows less `monitor.max_drop`; None where no score was recorded."""
    checks: list[Check]
    labelled: list[LabelledRow]
    """The rows that were labelled since this champion was decided on, whichever champion served them."""
    to_label: int
    """Rows in the annotation file."""
    proxy: Moments | None = None
    """The judge's ratings of answers of the newest window, where they are the proxy."""
    judged: dict[str, float] = {}
    """Those of the rows drawn for the estimate, by id."""


class Reason(Part):
    """A reason to retrain, with its number; `ids` name what caused it, so that it causes only one retraining."""

    kind: Literal["new_rows", "quality", "new_topics", "retirement", "age"]
    value: float
    threshold: float
    summary: str
    ids: list[str]


class MonitoringDecision(Artifact):
    """The verdict of a monitoring run, with its reasons; `job_id` is that of the retraining run for these reasons."""

    STEP: ClassVar[str] = "decide-retraining"

    verdict: MonitoringVerdict
    summary: list[str]
    reasons: list[Reason]
    job_id: str = ""
