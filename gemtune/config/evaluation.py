# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Settings of evaluation: how models are prompted and scored, the judge, what a candidate must show."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, NonNegativeInt, model_validator

from gemtune.config.section import JsonObject, Section, is_resource_name

Role = Literal["baseline", "candidate", "champion", "supervised"]


class Prompt(Section):
    """A way of asking, as named data; the same object renders baselines, tuning rows and serving requests."""

    name: str = Field("zero_shot", pattern=r"^[a-z][a-z0-9_]*$", description="How reports call it.")
    instruction: str = Field("", description="Replaces task.instruction; empty: the task's own.")
    level: Literal["system", "instance"] = Field(
        "system", description="Where the instruction stands: system instruction, or before each row in the user turn."
    )
    shots: int = Field(0, ge=0, description="Labelled training examples shown in the prompt.")
    selection: Literal["balanced", "random", "similar"] = Field("balanced", description="How the shots are chosen.")
    seed: int = Field(7, description="Seed of the choice and order of shots.")
    chain_of_thought: bool = Field(False, description="Ask for reasoning first; the answer is parsed out.")
    list_labels: bool = Field(True, description="List the allowed labels in the prompt.")
    max_output_tokens: int = Field(
        0, ge=0, description="Longest answer (tokens); 0: evaluate.max_output_tokens, or 1024 for chain of thought."
    )
    rewrites: int = Field(
        0, ge=0, le=20, description="Other wordings of the instruction the base model proposes, each tried too (paid)."
    )
    try_shots: list[NonNegativeInt] = Field(
        default_factory=list, max_length=8, description="Other numbers of shots, each tried too (paid)."
    )
    try_selections: list[Literal["balanced", "random", "similar"]] = Field(
        default_factory=list, max_length=3, description="Other choices of shots, each tried with each number (paid)."
    )


class ModelVariant(Section):
    """A model with its prompt: what an evaluation compares."""

    name: str = Field(description="Unique within a run, for display: zero_shot, trial-1@2, champion, ...")
    model: str = Field(
        description="Base model id, or full resource name of an endpoint (projects/P/locations/L/endpoints/E)."
    )
    prompt: Prompt = Field(default_factory=Prompt)
    role: Role = "baseline"
    tuned_model: str = Field("", description="projects/P/locations/L/models/M@V of a tuned model.")
    base_model: str = Field("", description="What the tuned model was made of; empty: evaluate.base_model.")
    checkpoint_id: str = ""
    trial: str = Field("", description="The trial that made it.")
    searched_from: str = Field("", description="The prompt whose search proposed this one.")
    epoch: int = 0
    step: int = 0
    calibration: JsonObject = Field(
        default_factory=dict, description="Confidence calibration, fitted on validation rows; set by evaluate."
    )

    @property
    def is_tuned(self) -> bool:
        """Whether it answers at an endpoint of its own (a tuned model), not as a base model."""
        return is_resource_name(self.model)


class Judge(Section):
    """LLM-as-judge: it informs; a gate rule may use it once its agreement with human ratings is shown."""

    model: str = Field("", description="Model that judges; empty: no judging.")
    rubric: str = Field(
        "Is the answer correct, complete and to the point, as the reference shows?",
        description="What a good answer is; quoted in the judge's prompt.",
    )
    scale: list[int] = Field(
        default_factory=lambda: [1, 5], min_length=2, max_length=2, description="Lowest and highest rating."
    )
    temperature: float = Field(0.7, gt=0, le=2, description="Temperature when several samples are generated.")
    max_output_tokens: int = Field(256, gt=0, description="Longest reply of the judge (tokens).")
    samples: int = Field(1, ge=1, description="Ratings a row (pairs: for each of both orders); each is paid.")
    ratings: str = Field(
        "", description="Human ratings (CSV, local or gs://) to validate the judge against; empty: it only informs."
    )
    agreement: Literal["quadratic_kappa", "kappa", "spearman"] = Field(
        "quadratic_kappa", description="Measure of its agreement with the human ratings."
    )
    min_agreement: float = Field(
        0.6,
        gt=0,
        le=1,
        description="Agreement that the interval's lower bound must reach before a gate rule may use the judge.",
    )
    good_from: float = Field(
        0.0, description="Human rating from which an answer is good; 0: above the middle of the scale."
    )

    @model_validator(mode="after")
    def _scale_rises(self) -> Self:
        if self.scale[0] >= self.scale[1]:
            raise ValueError("judge.scale must rise, such as [1, 5]")
        return self


class Evaluate(Section):
    """How models are prompted and scored."""

    base_model: str = Field("gemini-3.1-flash-lite", description="The model that is prompted, and tuned.")
    baselines: list[Prompt] = Field(
        default_factory=lambda: [
            Prompt(name="zero_shot"),
            Prompt(name="few_shot", shots=8),
        ],
        min_length=1,
        description="Prompted baselines, each evaluated on validation data.",
    )
    temperature: float = Field(0.0, ge=0, le=2, description="0: the most likely answer.")
    max_output_tokens: int = Field(
        64, gt=0, description="Longest answer (tokens); 256 by default for tasks without labels."
    )
    thinking_budget: int = Field(
        0, ge=-1, description="Thinking tokens, the same for prompted and tuned models; -1: the model decides."
    )
    concurrency: int = Field(
        64,
        gt=0,
        description="Concurrent requests at most; the rate controller finds what the quota allows below that.",
    )
    attempts: int = Field(
        8, gt=0, description="Attempts per request; 408, 429 and 5xx are retried with exponential backoff."
    )
    timeout_s: float = Field(120, gt=0, description="Timeout of a single request, in seconds.")
    deadline_h: float = Field(
        0,
        ge=0,
        description="Rows of a variant without an answer after this long count as errors (hours); 0: no deadline.",
    )
    max_error_share: float = Field(
        0.05, ge=0, le=1, description="Share of rows that may fail for technical reasons; more stop the run."
    )
    response_cache: str = Field(
        "", description="Directory of cached responses, keyed by request: an interrupted run resumes. Empty: none."
    )
    batch_above: int = Field(
        0,
        ge=0,
        description="More rows than this for a base model go to a batch job: half the price, hours; 0: never.",
    )
    batch_poll_s: float = Field(15, gt=0, description="Seconds between status requests for a batch job.")
    batch_deadline_h: float = Field(
        24, gt=0, description="How long to wait for a batch job (hours); a later run finds it again."
    )
    confidence: Literal["none", "votes", "verbal", "logprobs"] = Field(
        "none",
        description="Confidence of each answer: none; votes (self-consistency); verbal (the base model rates it in "
        "words); logprobs (the answer's probability, where the model returns it).",
    )
    samples: int = Field(5, ge=2, description="Answers sampled per row when confidence is votes; each is paid.")
    sample_temperature: float = Field(0.7, gt=0, le=2, description="Temperature of those samples.")
    judge: Judge = Field(default_factory=Judge, description="LLM judge beside the metrics.")
    vertex_metrics: list[Literal["exact_match", "bleu", "rouge_1", "rouge_2", "rouge_l", "rouge_l_sum", "rubric"]] = (
        Field(
            default_factory=list,
            description="Metrics of the Gen AI evaluation service, reported beside ours (paid); rubric: judge.rubric.",
        )
    )
    calibration: Literal["isotonic", "temperature"] = Field(
        "isotonic", description="Map from stated to true confidence, fitted on validation rows."
    )
    target_precision: float = Field(
        0.95, gt=0.5, lt=1, description="Accuracy that answers above the abstain threshold must have."
    )
    tfidf_baseline: bool = Field(
        True, description="Also score TF-IDF with logistic regression, trained on the training rows (no cost)."
    )
    auto_slices: bool = Field(True, description="Also report by text length (thirds) and script.")
    confidence_level: float = Field(0.95, gt=0.5, lt=1, description="Level of every interval.")
    resamples: int = Field(2000, ge=200, description="Bootstrap resamples.")
    seed: int = Field(7, description="Seed of resampling and of requests.")

    @property
    def samples_per_row(self) -> int:
        """Answers generated per row."""
        return self.samples if self.confidence == "votes" else 1

    def without_judge(self) -> Self:
        """The same without the judge."""
        return self.model_copy(update={"judge": Judge()})

    def without_judging(self) -> Self:
        """The same without requests about the answers: no judge, no verbal confidence, no evaluation service."""
        confidence = "none" if self.confidence == "verbal" else self.confidence
        return self.model_copy(update={"confidence": confidence, "judge": Judge(), "vertex_metrics": []})

    @model_validator(mode="after")
    def _names_baselines_apart(self) -> Self:
        names = [prompt.name for prompt in self.baselines]
        if len(set(names)) < len(names):
            raise ValueError(f"evaluate.baselines need unique names, got {names}")
        return self


class Gate(Section):
    """What a candidate must show on test data before it is deployed."""

    metric: str = Field("", description="Metric that decides; empty: the task kind's first metric.")
    min_lift: float = Field(
        0.0, ge=0, description="Lift over the best prompt that the interval's lower bound must exceed."
    )
    min_lift_over_champion: float = Field(
        0.0, ge=-1, description="The same over the model in production, re-scored on the same rows."
    )
    min_lift_over_supervised: float = Field(
        -0.1,
        ge=-1,
        description="Preference tuning: the same over the supervised model it starts from; below 0: may be that worse.",
    )
    max_champion_test_regression: float = Field(
        1.0,
        ge=0,
        le=1,
        description="Score that a model continued from the champion may lose on the champion's test set; 1: report it.",
    )
    confidence_level: float = Field(0.95, gt=0.5, lt=1, description="Level of the paired bootstrap interval.")
    resamples: int = Field(10_000, ge=1000, description="Paired bootstrap resamples.")
    seed: int = Field(7, description="Seed of resampling.")
    min_test_rows: int = Field(50, ge=1, description="Fewer test rows: not enough data to decide.")
    planned_candidates: int = Field(
        1, ge=1, description="Candidates this test set is planned for; the gate's error rate is divided among them."
    )
    on_test_set_reuse: Literal["warn", "fail"] = Field(
        "warn", description="What to do when more candidates than planned have used this test set."
    )
    max_invalid_rate: float = Field(0.05, ge=0, le=1, description="Share of unusable answers a candidate may give.")
    min_class_recall: float = Field(
        0.0, ge=0, le=1, description="Recall every class with 10 or more test rows must reach."
    )
    max_class_drop: float = Field(
        1.0,
        ge=0,
        le=1,
        description="Recall a class with 10 or more test rows may lose against the best prompt; 1: off.",
    )
    on_slice_regression: Literal["warn", "fail"] = Field(
        "warn", description="What to do when a slice is shown to be worse than under the best prompt (Holm-adjusted)."
    )
    max_latency_s: float = Field(0.0, ge=0, description="Ceiling of the 95th percentile of answer time (s); 0: off.")
    max_cost_per_1000: float = Field(
        0.0, ge=0, description="Ceiling of what 1,000 answers cost at the plan's list prices (US dollars); 0: off."
    )
    max_ece: float = Field(
        0.0, ge=0, le=1, description="Ceiling of the calibration error, when evaluate.confidence is on; 0: off."
    )
    min_judge_good: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Share of answers a judge validated by evaluate.judge.ratings must call good, lower bound; 0: off.",
    )
    min_judge_win_rate: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="Win rate over the best prompt, by such a judge, that the lower bound must exceed; 0: off.",
    )
    max_output_tokens: float = Field(0.0, ge=0, description="Ceiling of mean output tokens an answer; 0: off.")
    max_input_tokens: float = Field(0.0, ge=0, description="Ceiling of mean input tokens a request; 0: off.")
