# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Documents of tuning: the plan, a record per trial, the selection."""

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from pydantic import ConfigDict

from gemtune.artifacts.base import Artifact, Part
from gemtune.artifacts.cost import CostForecast, CostItem, Estimate
from gemtune.artifacts.evaluation import Confusion, EvaluationReport, Score
from gemtune.config import ModelVariant, Trial


class BestPrompt(Part):
    """The best prompt, with its score on validation rows."""

    variant: ModelVariant
    score: Score


class PriceList(Part):
    """List prices that the plan used: US dollars per million tokens by base model, per 1,000 answers by metric."""

    base_model: str
    models: dict[str, dict[str, Any]]
    vertex_metrics: dict[str, float] = {}

    def of(self, variant: ModelVariant) -> dict[str, Any]:
        """The prices of a variant's base model (of the configured base model, if it names none)."""
        return self.models.get(variant.base_model or variant.model, self.models[self.base_model])


class MethodComparison(Part):
    """What speaks for a tuning method on these data: a job with default hyperparameters."""

    method: str
    model: str
    """The base model; empty: none takes the method today."""
    data: str
    """What the data offers it."""
    cost: Estimate | None
    """US dollars of the job; null: unknown, or there can be no job."""
    evidence: str
    """What the test rows can show of it."""
    obstacle: str
    """What it lacks, and the setting that supplies it; empty: nothing."""


class DataAssessment(Part):
    """The service's assessment of tuning rows before a job: its errors, and its count of tokens."""

    split: str
    tokens: int = 0
    errors: list[str] = []
    planned_tokens: int = 0
    """The plan's own estimate of the tokens; 0: none of this split."""

    @property
    def summary(self) -> str:
        """The count, beside the plan's own."""
        text = f"the service assessed the {self.split} rows: no errors, {self.tokens} tokens"
        if not self.planned_tokens:
            return text
        return f"{text}; the plan has {self.planned_tokens} ({self.difference:+.1%})"

    @property
    def difference(self) -> float:
        """By which share of the service's count the plan's is higher."""
        return self.planned_tokens / self.tokens - 1 if self.tokens and self.planned_tokens else 0.0


class TuningPlan(Artifact):
    """Whether tuning is worth trying, which trials, and what the run costs."""

    STEP: ClassVar[str] = "plan-tuning"

    should_tune: bool
    reasons: list[str]
    metric: str
    best_prompt: BestPrompt | None
    """None in a forecast made before the prompts were evaluated."""
    detectable_lift: float
    rows: dict[str, int]
    """Rows of train, validation and test."""
    first_trial: Trial | None = None
    """The supervised job that preference trials start from."""
    trials: list[Trial]
    escalation: list[Trial] = []
    over_budget: list[str] = []
    unusable: list[str] = []
    """A sentence for each prompt with too many unusable answers."""
    max_invalid_rate: float = 1.0
    """Share of unusable answers up to which a prompt is usable."""
    prices: PriceList
    warnings: list[str] = []
    methods: list[MethodComparison] = []
    """The tuning methods compared."""
    assessments: list[DataAssessment] = []
    """The service's assessments of the rows; none without `plan.assessment_dataset`."""
    forecast: CostForecast
    fingerprint: str
    baselines: EvaluationReport | None = None


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What the loss curves show (`kind`), by which numbers (`evidence`), what to do (`action`).

    `epoch_factor` and `rate_factor` are the action in numbers: multiply epochs and learning rate by them; 1: keep.
    """

    kind: Literal[
        "undertrained",
        "overfitting",
        "data_problem",
        "diverged",
        "fine",
        "unknown",
        "early_stopped",
        "no_learning",
        "reward_hacking",
    ]
    evidence: str
    action: str
    epoch_factor: float = 1.0
    rate_factor: float = 1.0


class ServiceScore(Part):
    """The mean score of a checkpoint's answers to the validation rows, as the tuning job computed it itself."""

    checkpoint_id: str
    metric: str
    value: float | None = None
    """None: the evaluation failed."""
    error: str = ""


class JobRecord(Part):
    """The tuning job as the service last reported it."""

    name: str = ""
    model: str = ""
    billable_tokens: int = 0
    steps: int = 0
    completed_epochs: int = 0
    completed_steps: int = 0
    dropped: int = 0
    dropped_reasons: list[str] = []
    service_scores: list[ServiceScore] = []
    metrics_uri: str = ""
    """Where the service has stored the job's metrics; empty: not reported."""


class StateChange(Part):
    """A state of the job, and when it was first seen."""

    state: str
    detail: str
    at: str


class TrialRecord(Part):
    """One tuning job of a trial: parameters, events and results."""

    model_config = ConfigDict(allow_inf_nan=True)  # a diverged loss is a finding, not an error

    trial: Trial
    spec: dict[str, Any]
    base_model: str
    price: dict[str, Any]
    job: JobRecord = JobRecord()
    states: list[StateChange] = []
    curve: dict[str, list[tuple[int, float]]] = {}
    diagnosis: Diagnosis | None = None
    variants: list[ModelVariant] = []
    use: str = ""
    """Object by which the run notes that it calls the job's checkpoints."""

    @property
    def billed_tokens(self) -> int:
        """Tokens that the job bills; one stopped early those of every epoch that it began."""
        epochs, job = self.trial.epoch_count, self.job
        if self.trial.method == "reinforcement":
            return self.trial.forecast_tokens if job.name else 0  # the service reports none
        if self.diagnosis and self.diagnosis.kind == "early_stopped":
            # what the service bills then is documented nowhere: no less is assumed
            epochs = math.ceil(job.completed_steps * epochs / job.steps) if job.steps else 0
        return job.billable_tokens * epochs


class TuningRecord(Artifact):
    """The jobs of one tuning step: a trial and the trials that followed it up."""

    STEP: ClassVar[str] = "tune"

    jobs: list[TrialRecord]
    start: ModelVariant | None = None
    """The checkpoint with the lowest validation loss, from which preference trials continue."""
    notes: list[str] = []
    spent: list[CostItem] = []

    @property
    def variants(self) -> list[ModelVariant]:
        """Every checkpoint of its jobs."""
        return [variant for job in self.jobs for variant in job.variants]


class CheckpointScore(Part):
    """A checkpoint's score on validation rows, and whether it was selected."""

    name: str
    variant: ModelVariant
    score: Score
    selected: bool


class AblationArm(Part):
    """One arm of an ablation: the best checkpoint's score, and that on rows near the hard examples."""

    name: str
    value: float
    near_hard: float | None


class Ablation(Part):
    """What reweighting hard examples gained on validation rows, with its interval."""

    reweighted: AblationArm
    unweighted: AblationArm
    gain: float
    low: float
    high: float
    summary: str


class ScoreComparison(Part):
    """A checkpoint's score by the service beside our own of the same metric on validation rows."""

    checkpoint: str
    service: ServiceScore
    own: Score
    differs: bool
    """Whether the service's score is outside the interval of ours."""


class TrialSummary(Part):
    """A trial as a report shows it."""

    model_config = ConfigDict(allow_inf_nan=True)

    name: str
    method: str
    hyperparameters: dict[str, float]
    job: str
    base_model: str
    states: list[StateChange]
    diagnosis: Diagnosis
    curve: dict[str, list[tuple[int, float]]]
    dropped: int
    dropped_reasons: list[str]
    service_scores: list[ScoreComparison] = []
    """The service's own scores of its checkpoints, where the job was evaluated."""


class Selection(Artifact):
    """The candidate and what it is compared with on test rows."""

    STEP: ClassVar[str] = "select-model"

    metric: str
    reason: str
    notes: list[str] = []
    best_prompt: ModelVariant
    other_prompts: list[ModelVariant] = []
    """Prompts that may be as good as the best one."""
    start: ModelVariant | None = None
    candidate: ModelVariant | None = None
    """None where there is no checkpoint, or where the best one is in production already."""
    selected: ModelVariant | None = None
    """The best checkpoint, whether or not it is in production already."""
    confusion: Confusion | None = None
    """Its confusion matrix on validation rows."""
    champion: ModelVariant | None = None
    champion_generation: int = 0
    """How often the champion had changed when this was decided."""
    regression_variants: list[ModelVariant] = []
    """Candidate and champion, which answer the champion's test set too."""
    continued: bool = False
    """Whether the candidate was continued from a model tuned before this run."""
    rejected: list[ModelVariant] = []
    uses: list[str] = []
    """Objects by which the run notes which models it calls; deleted at its end."""
    checkpoints: list[CheckpointScore] = []
    trials: list[TrialSummary] = []
    ablation: Ablation | None = None
    spent: list[CostItem] = []

    @property
    def finalists(self) -> list[ModelVariant]:
        """The variants that are compared on test rows: with a candidate, all that it has to beat."""
        others = [*self.other_prompts, self.start, self.candidate] if self.candidate else []
        return [variant for variant in (self.best_prompt, *others, self.champion) if variant]
