# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The decision of the gate, what was deployed, and the summary of a run."""

from typing import Any, ClassVar, Literal

from gemtune.artifacts.base import Artifact, Part
from gemtune.artifacts.cost import CostItem, TokenUsage
from gemtune.artifacts.evaluation import (
    InjectionReport,
    JudgeReport,
    Latency,
    PairedDifference,
    PairwiseReport,
    Score,
    TestSetUsage,
    VariantResult,
)
from gemtune.artifacts.tuning import CheckpointScore, TrialSummary
from gemtune.config import Gate, ModelVariant, Task

Verdict = Literal["deploy", "keep_prompt", "keep_champion", "use_tfidf_baseline", "none_usable", "not_enough_data"]


class Rule(Part):
    """A rule of the gate: what was measured, what was required, whether it passed."""

    name: str
    passed: bool
    measured: float
    required: float
    summary: str


class Comparison(PairedDifference):
    """Candidate against one other variant on one metric, in the metric's unit."""

    versus: str
    role: str
    metric: str
    candidate: float
    baseline: float


class SliceComparison(Part):
    """Candidate against the best prompt within one slice; `p_value` is adjusted for the number of slices (Holm)."""

    column: str
    value: str
    rows: int
    delta: float
    low: float
    high: float
    p_value: float


class DecisionRecord(Artifact):
    """The verdict with everything it rests on."""

    STEP: ClassVar[str] = "gate"

    verdict: Verdict
    reasons: list[str]
    task: Task
    metric: str
    rows: int
    rules: list[Rule] = []
    comparisons: list[Comparison] = []
    free_comparisons: list[Comparison] = []
    """The candidate (without one: what is kept) against each free baseline that is no constant."""
    slices: list[SliceComparison] = []
    regression: Comparison | None = None
    """Candidate and champion on the champion's test set; None where they did not answer it."""
    notes: list[str] = []
    confidence_level: float
    variants: list[ModelVariant] = []
    settings: Gate
    test_set_usage: TestSetUsage | None = None
    failed_rows: dict[str, int] = {}
    """Variant -> test rows without an answer for technical reasons; they are left out for every variant."""
    cached_answers: dict[str, int] = {}
    """Answers that came from the response cache, by variant."""

    @property
    def passed(self) -> bool:
        """Whether the candidate may be deployed."""
        return self.verdict == "deploy"


class SmokeTest(Part):
    """The candidate's endpoint on test rows, just before it serves: answers that differ from those at the gate."""

    rows: int
    different: int
    latency_s: Latency
    tokens: TokenUsage

    @property
    def summary(self) -> str:
        """The test in one line."""
        latency = f"{self.latency_s.median:.2f} s (median), {self.latency_s.p95:.2f} s (95 %)"
        return f"smoke test: {self.rows} rows, {self.different} answers differ, {latency}"


class DeploymentRecord(Artifact):
    """What is in production after a run, and how texts are cleaned for it."""

    STEP: ClassVar[str] = "deploy"

    action: Literal["deployed", "proposed", "kept", "none"]
    variant: ModelVariant
    """What serves; proposed: the candidate, which waits for approval; none: the best prompt, which is not to serve."""
    champion_before: str
    undeployed: list[str]
    cleaning: dict[str, Any]
    smoke_test: SmokeTest | None = None


class VariantSummary(VariantResult):
    """A variant as tables show it: the metric with interval, rates, tokens, latency, cost (US dollars)."""

    name: str
    role: str
    model: str
    constrained_output: bool = False
    rows: int
    score: Score
    invalid_rate: float
    tokens_per_row: float
    latency_s: float
    cost: float
    cost_per_1000: float
    """Of as many calls outside batch jobs (US dollars)."""


class CostSummary(Part):
    """Actual cost of the run and its forecast (US dollars)."""

    actual: float
    forecast: float
    items: list[CostItem]
    summary: str


class RunIdentity(Part):
    """Which run it is, and what it ran on; `decided` is the time of its report (UTC, ISO 8601)."""

    job: str
    """Name of the pipeline job; of a local run, of its folder."""
    started: str
    """UTC, ISO 8601; empty where the backend does not report it."""
    decided: str
    version: str
    base_model: str
    data: str
    rows_fingerprint: str
    """Of the rows of all splits."""
    emulated: bool
    """Whether an emulator took the place of the service."""
    digest: str = ""
    """Of the run's manifest (`gemtune verify`)."""
    key: str = ""
    """Id of the key that signs the manifest; empty: there is none."""


class RunSummary(Artifact):
    """A run for machines: `summary.json`."""

    STEP: ClassVar[str] = "report"

    name: str
    identity: RunIdentity
    verdict: Verdict
    passed: bool
    headline: str
    reasons: list[str]
    notes: list[str]
    metric: str
    confidence_level: float
    test_rows: int
    test_set_usage: TestSetUsage | None
    detectable_lift: float
    variants: list[VariantSummary]
    free_baselines: list[VariantSummary]
    baselines: list[VariantSummary]
    judge: JudgeReport | None
    comparisons: list[Comparison]
    free_comparisons: list[Comparison] = []
    rules: list[Rule]
    pairwise: list[PairwiseReport]
    injection: list[InjectionReport] = []
    slices: dict[str, dict[str, Any]]
    trials: list[TrialSummary]
    checkpoints: list[CheckpointScore]
    selection: str
    plan: dict[str, Any]
    cost: CostSummary
    data: dict[str, Any]
    splits: dict[str, Any]
    configuration: dict[str, Any]
    """The sections of the run's settings, without those of notifications, whose URL is a secret."""
    versions: dict[str, str]
    outcome: dict[str, Any]
