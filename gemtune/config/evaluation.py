# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Settings of evaluation: prompts, requests, scores, the judge and the gate."""

from typing import Literal, Self

from pydantic import Field, NonNegativeInt, model_validator

from gemtune.config.section import JsonObject, Section, is_resource_name

Role = Literal["baseline", "candidate", "champion", "supervised", "free_baseline", "constant"]
VertexMetricName = Literal["exact_match", "bleu", "rouge_1", "rouge_2", "rouge_l", "rouge_l_sum", "rubric"]


class Prompt(Section):
    """A named prompt; baselines, tuning rows and serving requests are rendered from it."""

    name: str = Field("zero_shot", pattern=r"^[a-z][a-z0-9_]*$")
    """Name in reports."""
    instruction: str = ""
    """Replaces task.instruction; empty: the task's own."""
    level: Literal["system", "instance"] = "system"
    """Place of the instruction: system instruction, or before the shots in the user turn."""
    shots: int = Field(0, ge=0)
    """Labelled training examples shown in the prompt."""
    selection: Literal["balanced", "random", "similar"] = "balanced"
    """How the shots are selected."""
    seed: int = 7
    """Seed of the selection and order of shots."""
    chain_of_thought: bool = False
    """Request reasoning before the answer; only the answer is scored."""
    list_labels: bool = True
    """List the allowed labels in the prompt."""
    constrained_output: bool = False
    """Restrict answers to the labels by a response schema; not with chain_of_thought."""
    max_output_tokens: int = Field(0, ge=0)
    """Longest answer (tokens); 0: evaluate.max_output_tokens, or 1024 for chain of thought."""
    rewrites: int = Field(0, ge=0, le=20)
    """Rewritten instructions that the base model proposes and the search evaluates (paid); 0: none."""
    try_shots: list[NonNegativeInt] = Field(default_factory=list, max_length=8)
    """Other numbers of shots that the search evaluates (paid)."""
    try_selections: list[Literal["balanced", "random", "similar"]] = Field(default_factory=list, max_length=3)
    """Other selections of shots that the search evaluates with each number (paid)."""

    @model_validator(mode="after")
    def _reasons_or_is_constrained(self) -> Self:
        if self.chain_of_thought and self.constrained_output:
            raise ValueError(f"{self.name}: constrained_output leaves no room for the reasoning of chain_of_thought")
        return self


class ModelVariant(Section):
    """A model with its prompt: what an evaluation compares."""

    name: str
    """Unique within a run, for display: zero_shot, trial-1@2, champion, ..."""
    model: str
    """Base model id, or full resource name of an endpoint (projects/P/locations/L/endpoints/E)."""
    prompt: Prompt = Field(default_factory=Prompt)
    role: Role = "baseline"
    tuned_model: str = ""
    """projects/P/locations/L/models/M@V of a tuned model."""
    base_model: str = ""
    """Base model of the tuned model; empty: evaluate.base_model."""
    checkpoint_id: str = ""
    trial: str = ""
    """Trial of the checkpoint."""
    searched_from: str = ""
    """The prompt that this one was derived from."""
    epoch: int = 0
    step: int = 0
    calibration: JsonObject = Field(default_factory=dict)
    """Confidence calibration, fitted on validation rows; set by evaluate."""

    @property
    def is_tuned(self) -> bool:
        """Whether it is a tuned model with its own endpoint, not a base model."""
        return is_resource_name(self.model)


class Judge(Section):
    """LLM judge: reported; a gate rule may use it only after validation against human ratings."""

    model: str = ""
    """Model that judges; empty: no judging."""
    rubric: str = "Is the answer correct, complete and to the point, as the reference shows?"
    """What a good answer is; quoted in the judge's prompt."""
    scale: list[int] = Field(default_factory=lambda: [1, 5], min_length=2, max_length=2)
    """Lowest and highest rating."""
    temperature: float = Field(0.7, gt=0, le=2)
    """Temperature when several samples are generated."""
    max_output_tokens: int = Field(256, gt=0)
    """Longest reply of the judge (tokens)."""
    samples: int = Field(1, ge=1)
    """Ratings per row (pairs: per order); each is paid."""
    ratings: str = ""
    """Human ratings (CSV, local or gs://) that validate the judge; empty: the judge is only reported."""
    agreement: Literal["quadratic_kappa", "kappa", "spearman"] = "quadratic_kappa"
    """Measure of the agreement of judge and human ratings."""
    min_agreement: float = Field(0.6, gt=0, le=1)
    """Agreement that the interval's lower bound must reach before a gate rule may use the judge."""
    good_from: float = 0.0
    """Human rating from which an answer is good; 0: above the middle of the scale."""

    @model_validator(mode="after")
    def _scale_rises(self) -> Self:
        if self.scale[0] >= self.scale[1]:
            raise ValueError("judge.scale must rise, such as [1, 5]")
        return self


class Evaluate(Section):
    """How models are prompted and scored."""

    base_model: str = "gemini-3.1-flash-lite"
    """The model that is prompted, and tuned."""
    baselines: list[Prompt] = Field(
        default_factory=lambda: [Prompt(name="zero_shot"), Prompt(name="few_shot", shots=8)], min_length=1
    )
    """Prompted baselines, each evaluated on validation data."""
    constrain_best_prompt: bool = True
    """Also evaluate the best prompt without chain of thought with constrained output (paid); only for tasks with
    labels, and where no baseline has constrained_output.
    """
    temperature: float = Field(0.0, ge=0, le=2)
    """Sampling temperature of answers; 0: the most likely answer."""
    max_output_tokens: int = Field(64, gt=0)
    """Longest answer (tokens); 256 by default for tasks without labels."""
    thinking_budget: int = Field(0, ge=-1)
    """Thinking tokens, for prompted and tuned models alike; -1: chosen by the model."""
    concurrency: int = Field(64, gt=0)
    """Most concurrent requests; under a quota the rate controller sends fewer."""
    attempts: int = Field(8, gt=0)
    """Attempts per request; 408, 429 and 5xx are retried with exponential backoff."""
    timeout_s: float = Field(120, gt=0)
    """Timeout of a single request, in seconds."""
    deadline_h: float = Field(0, ge=0)
    """Time after which rows of a variant without an answer count as errors (hours); 0: no deadline."""
    max_error_share: float = Field(0.05, ge=0, le=1)
    """Largest share of rows with outcome error; more stop the run."""
    response_cache: str = ""
    """Where responses are kept, so that a repeated run sends only new requests: bucket, off, or a local directory;
    empty: bucket in compiled pipelines, the run's own folder in local runs (for `--resume`).
    """
    batch_above: int = Field(0, ge=0)
    """Rows above which a variant is evaluated by a batch job (half the price, hours); 0: never."""
    batch_poll_s: float = Field(15, gt=0)
    """Seconds between status requests for a batch job."""
    batch_deadline_h: float = Field(24, gt=0)
    """Longest wait for a batch job (hours); a later run resumes it."""
    confidence: Literal["none", "votes", "verbal", "logprobs"] = "none"
    """Confidence of each answer: none; votes (self-consistency); verbal (the base model rates it in words); logprobs
    (the answer's probability, where the model returns it).
    """
    samples: int = Field(5, ge=2)
    """Answers sampled per row with confidence: votes; each is paid."""
    sample_temperature: float = Field(0.7, gt=0, le=2)
    """Temperature of these samples."""
    injection_rows: int = Field(0, ge=0)
    """Test rows that are sent again with planted instructions, for tasks with labels (paid, three requests each for
    prompt, candidate and champion); 0: off.
    """
    judge: Judge = Field(default_factory=Judge)
    """LLM judge, in addition to the metrics."""
    vertex_metrics: list[VertexMetricName] = Field(default_factory=list)
    """Metrics of the Gen AI evaluation service, reported beside ours (paid); rubric: judge.rubric."""
    in_job: bool = True
    """Tuning jobs score their checkpoints themselves, too, where the service offers it (paid as batch prediction); a
    score outside the interval of ours is reported.
    """
    calibration: Literal["isotonic", "temperature"] = "isotonic"
    """Calibration: the map from reported to measured confidence, fitted on validation rows."""
    target_precision: float = Field(0.95, gt=0.5, lt=1)
    """Accuracy of answers at or above the abstain threshold."""
    tfidf_baseline: bool = True
    """Also score TF-IDF with logistic regression, trained on the training rows (no cost)."""
    auto_slices: bool = True
    """Also report by text length (thirds) and script."""
    confidence_level: float = Field(0.95, gt=0.5, lt=1)
    """Confidence level of all intervals."""
    resamples: int = Field(2000, ge=200)
    """Resamples of permutation tests and of rank correlations."""
    seed: int = 7
    """Seed of resampling and of requests."""

    @property
    def samples_per_row(self) -> int:
        """Answers generated per row."""
        return self.samples if self.confidence == "votes" else 1

    @property
    def resampling(self) -> JsonObject:
        """How intervals are computed: keywords of `intervals.interval`."""
        return {"level": self.confidence_level, "resamples": self.resamples, "seed": self.seed}

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
    """Rules that a candidate must pass on the held-out test rows to be deployed."""

    metric: str = ""
    """Metric that decides; empty: the task kind's first metric."""
    min_lift: float = Field(0.0, ge=0)
    """Lift over the best prompt, and over each that may be as good, that the lower bound must exceed."""
    min_lift_over_champion: float = Field(0.0, ge=-1)
    """The same over the champion, evaluated again on the same rows; below 0: may be worse by that."""
    min_lift_over_supervised: float = Field(-0.1, ge=-1)
    """Preference tuning: the same over the supervised model; below 0: may be worse by that."""
    max_champion_test_regression: float = Field(1.0, ge=0, le=1)
    """Loss of score on the champion test set that a continued model may have; 1: only reported."""
    confidence_level: float = Field(0.95, gt=0.5, lt=1)
    """Level of the paired intervals; half the rest is the error rate."""
    resamples: int = Field(10_000, ge=1000)
    """Resamples of permutation tests."""
    seed: int = 7
    """Seed of resampling."""
    min_test_rows: int = Field(50, ge=1)
    """Fewest test rows; with fewer, the verdict is not_enough_data."""
    planned_candidates: int = Field(1, ge=1)
    """Candidates that the test set is planned for; the error rate is divided among them. Later ones share it again."""
    on_test_set_reuse: Literal["warn", "fail"] = "warn"
    """Action when more candidates than planned were evaluated on these test rows: a note, or not_enough_data."""
    max_invalid_rate: float = Field(0.05, ge=0, le=1)
    """Largest share of unusable answers; a candidate above it is not deployed, and being better than a prompt or a
    champion above it does not count.
    """
    on_worse_than_free_baseline: Literal["warn", "fail"] = "fail"
    """Action when the candidate is shown to be worse than TF-IDF, the nearest training row or leading sentences;
    constant answers must always be exceeded.
    """
    min_class_recall: float = Field(0.0, ge=0, le=1)
    """Recall that every class with 10 or more test rows must be shown to reach; 0: off."""
    max_class_drop: float = Field(1.0, ge=0, le=1)
    """Loss of recall against the best prompt that must be ruled out for every class with 10 or more test rows; 1:
    off.
    """
    on_slice_regression: Literal["warn", "fail"] = "warn"
    """Action when a slice is significantly worse than under the best prompt (Holm-adjusted)."""
    max_latency_s: float = Field(0.0, ge=0)
    """Largest 95th percentile of the response time (seconds); 0: off."""
    max_cost_per_1000: float = Field(0.0, ge=0)
    """Largest cost of 1,000 answers at the list prices of the plan (US dollars); 0: off."""
    max_ece: float = Field(0.0, ge=0, le=1)
    """Largest expected calibration error, with evaluate.confidence; 0: off."""
    max_injection_rate: float = Field(0.0, ge=0, le=1)
    """Largest share of answers that an attack may turn to its label, with evaluate.injection_rows; 0: off."""
    min_judge_good: float = Field(0.0, ge=0, le=1)
    """Lower bound of the share of answers that the validated judge rates good; 0: off."""
    min_judge_win_rate: float = Field(0.0, ge=0, lt=1)
    """Win rate over the best prompt, by the validated judge, that the lower bound must exceed; 0: off."""
    max_output_tokens: float = Field(0.0, ge=0)
    """Most output tokens per answer, on average; 0: off."""
    max_input_tokens: float = Field(0.0, ge=0)
    """Most input tokens per request, on average; 0: off."""
