# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Documents of an evaluation: a report per model variant, with intervals, tokens and the ratings of a judge."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from gemtune.artifacts.base import Artifact, Part
from gemtune.artifacts.cost import TokenUsage
from gemtune.config import ModelVariant, Role, Task


class Score(Part):
    """A value with its confidence interval."""

    value: float
    low: float
    high: float


class SliceReport(Part):
    """The primary metric on one slice."""

    rows: int
    metrics: dict[str, Score]


class ClassReport(Part):
    """Precision, recall and F1 of one label (or of one field of an extraction)."""

    label: str
    precision: float
    recall: float
    f1: float
    support: int


class Confusion(Part):
    """Rows of each reference label (down) by predicted label (across); the last columns are unusable answers."""

    labels: list[str]
    columns: list[str]
    matrix: list[list[int]]

    @property
    def mistakes(self) -> list[tuple[str, str, int]]:
        """Reference, answer and rows of all mistakes, the most frequent first."""
        wrong = [
            (label, answer, rows)
            for label, counts in zip(self.labels, self.matrix, strict=True)
            for answer, rows in zip(self.columns, counts, strict=True)
            if rows and answer != label
        ]
        return sorted(wrong, key=lambda mistake: -mistake[2])


class Latency(Part):
    """Seconds per answer; 0 when none was timed."""

    median: float
    p95: float


class VertexMetric(Part):
    """A metric of the Gen AI evaluation service and gemtune's own; `scored` answers were paid for."""

    value: float
    low: float
    high: float
    scored: int
    ours: float | None = None


def invalid_rate(outcomes: Mapping[str, int]) -> float:
    """The share of unusable answers: invalid, refusal, blocked or truncated. A failed request (error) has no answer."""
    answers = sum(outcomes.values()) - outcomes.get("error", 0)
    return (answers - outcomes.get("ok", 0)) / max(1, answers)


class UnusableForm(Part):
    """A form that unusable answers of a variant have, and on how many rows."""

    outcome: str
    form: str
    rows: int


class VariantResult(Part):
    """What the answers of one model variant to one set of rows show."""

    metrics: dict[str, Score]
    outcomes: dict[str, int]
    slices: dict[str, dict[str, SliceReport]] = {}
    unusable_forms: list[UnusableForm] = []
    """The commonest forms of its unusable answers."""
    per_class: list[ClassReport] = []
    confusion: Confusion | None = None
    calibration: dict[str, Any] | None = None
    vertex_metrics: dict[str, VertexMetric] = {}
    vertex_metrics_error: str = ""


class VariantReport(VariantResult):
    """How one model variant did on one set of rows."""

    variant: ModelVariant
    tokens: TokenUsage
    latency_s: Latency
    attempts: int
    cached: int
    judging: dict[str, TokenUsage] = {}
    """Tokens of requests about its answers (verbal confidence, judge), by model."""
    deviations: dict[str, list[float]] = {}
    """Of a checkpoint, by metric: how leaving out each validation row (or group of rows) moves the score."""

    @property
    def invalid_rate(self) -> float:
        """The share of unusable answers."""
        return invalid_rate(self.outcomes)


class PairedDifference(Part):
    """Candidate minus baseline on the same rows: the difference, its interval, and its p-value.

    `p_value` is two-sided, of equality, and comes from the test named `test`: exact McNemar for right/wrong rows, the
    exact sign test for rows that may tie, else a paired permutation test. `disagreement` is the share of rows on which
    the two scores differ.
    """

    delta: float
    low: float
    high: float
    p_value: float
    test: str
    wins: int
    losses: int
    disagreement: float
    rows: int


class PairwiseCounts(Part):
    """How often the answers of one variant win against another's."""

    candidate: str
    baseline: str
    pairs: int
    wins: int
    losses: int
    ties: int
    order_flips: int
    p_value: float


class PairwiseReport(PairwiseCounts):
    """The win rate of one variant's answers against another's (ties count half) with interval."""

    value: float
    low: float
    high: float


class JudgeRatings(Part):
    """The judge's ratings of one variant's answers: the mean with interval, and a score per row (None: unrated)."""

    score: Score
    refusal_rate: float
    unreadable_rate: float
    scores: list[float | None]
    tokens: TokenUsage = TokenUsage()


class JudgeComparison(PairwiseCounts):
    """The judge's comparison of two variants in both orders: the candidate's win rate, and the judge's biases.

    `winners` are the results by row: candidate, baseline, tie, or unreadable, which does not count as a pair.
    """

    winners: list[str]
    win_rate: Score
    chose_first: Score
    chose_longer: Score
    unreadable: int
    tokens: TokenUsage = TokenUsage()


class GoodThreshold(Part):
    """An answer is "good" from this score of the judge on; the other fields are cross-validated against people."""

    score: float
    kappa: Score
    precision: float
    recall: float


class PairwiseBiases(Part):
    """How a judge, or people, compared pairs: ties, verdicts that flip with the order, shares of first and longer."""

    ties: int
    order_flips: int
    chose_first: Score
    chose_longer: Score
    unreadable: int = 0


class JudgeValidation(Part):
    """The judge's agreement with human ratings; `shown` (the configured measure) must reach `required` at its bound.

    Validation on ratings has scores, `threshold` and `length_correlation`; validation on pairs has the biases.
    """

    validated: bool
    measure: str
    shown: Score
    required: float
    summary: str
    items: int = 0
    agreement: dict[str, Score] = {}
    length_correlation: Score | None = None
    threshold: GoodThreshold | None = None
    scores: list[float] = []
    human_scores: list[float] = []
    judge_biases: PairwiseBiases | None = None
    human_biases: PairwiseBiases | None = None
    tokens: TokenUsage = TokenUsage()


class JudgeReport(Part):
    """Ratings and comparisons by the LLM judge, and its validation against human ratings."""

    model: str
    rubric: str
    ratings: dict[str, JudgeRatings] = {}
    pairwise: list[JudgeComparison] = []
    validation: JudgeValidation | None = None

    def tokens_of(self, variant: str) -> TokenUsage:
        """Tokens of rating a variant's answers and of the comparisons in which it is the candidate."""
        compared = [comparison.tokens for comparison in self.pairwise if comparison.candidate == variant]
        return sum(compared, self.ratings[variant].tokens)


class InjectionShare(Part):
    """The share of `rows` answers that an attack turned to the attacker's label; `failed` requests have no answer."""

    attack: str
    rows: int
    share: Score
    failed: int = 0

    @property
    def worst_case(self) -> float:
        """The share if every failed request had been turned."""
        return (self.share.value * self.rows + self.failed) / max(1, self.rows + self.failed)


class InjectionReport(Part):
    """What the injection probe measured of one variant, by attack, and the tokens that it took."""

    variant: str
    role: Role
    shares: list[InjectionShare]
    tokens: TokenUsage

    @property
    def worst(self) -> InjectionShare:
        """The attack that turned, or may have turned, the largest share."""
        return max(self.shares, key=lambda own: own.worst_case)


class TestSetUsage(Part):
    """How often a set of test rows was used, this use included; `candidates` counts different ones."""

    __test__ = False  # not a test class

    test: str
    candidates: int
    uses: int
    earlier_per_row: float = 0.0
    """Earlier candidates that used a row, on average over the rows: new rows of a grown set have none."""
    fresh: list[str] = []
    """Ids of the rows that no earlier decision used, where others were used."""


class EvaluationReport(Artifact):
    """What an evaluation of some variants on some rows found."""

    STEP: ClassVar[str] = "evaluate"

    dataset: str
    rows: int
    task: Task
    generation: dict[str, Any] = {}
    """The settings of generation, for serving to use the same."""
    variants: list[VariantReport]
    free_baselines: list[VariantReport] = []
    """Baselines that call no model service, on the same rows."""
    search_tokens: TokenUsage | None = None
    judge: JudgeReport | None = None
    pairwise: list[PairwiseReport] = []
    ranker: str = ""
    """What ranked the answers of `pairwise`: the reference or the judge."""
    ranking_tokens: TokenUsage | None = None
    """Tokens of the judge that ranked the answers."""
    injection: list[InjectionReport] = []
    """What the injection probe measured (`evaluate.injection_rows`)."""
    test_set_usage: TestSetUsage | None = None
    notes: list[str] = []
    """Prompts that were shortened, and variants that were left out."""
    confidence_level: float = 0.95
    """That of all intervals of the report."""
    champion_test_set: EvaluationReport | None = None
    """Candidate and champion on the rows that the champion was tested on."""
