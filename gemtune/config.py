# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Every setting of every step: its default, its unit, its reason.

One frozen pydantic model per step; unknown keys are refused. `Config.load` is the one way in (YAML file plus
`section.field=value` overrides), `Config.parameters` the one way out (the compiled pipeline's parameters). A step gets
its own sections as plain dicts and validates them again, because a pipeline backend turns integers into floats.
"""

from __future__ import annotations

import hashlib
import json
from datetime import date
from pathlib import Path
from typing import Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, ValidationError, field_validator, model_validator

from gemtune.errors import UserError


class Section(BaseModel):
    """Base of all sections: frozen, no unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @classmethod
    def of(cls, values: dict[str, Any]) -> Self:
        """Validate a section that travelled through a pipeline parameter; raises `UserError` naming the setting."""
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise UserError(explain(error)) from None


class Vertex(Section):
    """Where it runs; bears no identity. Empty fields come from the environment (GOOGLE_CLOUD_PROJECT and friends)."""

    project: str = Field("", description="Google Cloud project id; empty: GOOGLE_CLOUD_PROJECT.")
    location: str = Field(
        "", description="Region of tuning and serving; empty: GOOGLE_CLOUD_LOCATION, else us-central1."
    )
    bucket: str = Field("", description="Bucket for tuning data and records (no gs://); empty: PROJECT-gemtune.")
    service_account: str = Field("", description="Identity the tuning job runs as; empty: the service's own agent.")
    encryption_key: str = Field("", description="Full name of a Cloud KMS key for tuning; empty: Google-managed.")
    labels: dict[str, str] = Field(default_factory=dict, description="Labels put on every resource that is created.")
    catalogue: dict[str, Any] = Field(
        default_factory=dict,
        description="Overrides of the model catalogue (models, limits, prices), merged key by key.",
    )

    @field_validator("catalogue", mode="after")
    @classmethod
    def _travels(cls, value: dict[str, Any]) -> dict[str, Any]:
        """A pipeline's parameter carries neither dates nor nulls; an empty text stands for none."""
        return {name: _plain(item) for name, item in value.items()}


class Task(Section):
    """What is asked of the model; prompts, training rows, parsing, metrics and serving all follow from it."""

    kind: Literal["classification", "sentiment", "extraction", "summarization", "generation"] = Field(
        "classification", description="The kind of task."
    )
    instruction: str = Field(
        "Classify the text into exactly one of the labels.", description="What the model is told to do."
    )
    labels: list[str] = Field(default_factory=list, description="Allowed labels; empty: those found in the data.")
    label_descriptions: dict[str, str] = Field(default_factory=dict, description="One line per label, put in prompts.")
    text_name: str = Field("Text", description="What the input is called in prompts (Ticket, Review, ...).")
    target_name: str = Field("Label", description="What the answer is called in prompts (Intent, Sentiment, ...).")
    label_separator: str = Field(
        "", description="Between a row's labels when it has several (such as '; '); empty: exactly one label a row."
    )
    output_schema: dict[str, Any] = Field(
        default_factory=dict, description="JSON schema of the answer, for extraction (type object)."
    )


class Preprocess(Section):
    """How raw rows become examples: columns, limits, cleaning, duplicates."""

    text_column: str = Field("text", description="Column or key that holds the text.")
    target_column: str = Field("label", description="Column or key that holds the reference answer.")
    group_column: str = Field("", description="Column whose equal values never part in the split; empty: none.")
    split_column: str = Field(
        "split", description="Column that says train, validation or test, in rows that have it; empty: none is read."
    )
    slice_columns: list[str] = Field(default_factory=list, description="Columns to report metrics by.")
    labels: list[str] = Field(default_factory=list, description="Keep only rows with these labels; empty: all.")
    max_rows: int = Field(0, ge=0, description="Use at most this many rows, drawn by seed; 0: all.")
    max_per_label: int = Field(0, ge=0, description="Use at most this many rows of a label, drawn by seed; 0: all.")
    seed: int = Field(7, description="Seed of the draws above.")
    max_chars: int = Field(100_000, gt=0, description="Longer texts are rejected with a reason (characters).")
    text_buckets: list[str] = Field(
        default_factory=list,
        description="Buckets that rows may refer to (AutoML's textGcsUri); the data's own bucket always is one.",
    )
    normalize_unicode: Literal["NFC", "NFKC", "none"] = Field("NFC", description="Unicode form texts are brought to.")
    collapse_whitespace: bool = Field(True, description="Runs of white space become one space; ends are stripped.")
    remove_control: bool = Field(True, description="Control characters go, except tab and line breaks.")
    remove_invisible: bool = Field(True, description="Zero-width spaces, soft hyphens and byte order marks go.")
    strip_html: bool = Field(False, description="Tags become spaces, entities the characters they stand for.")
    lowercase: bool = Field(False, description="Upper case becomes lower case.")
    pii: Literal["off", "report", "mask", "drop"] = Field(
        "report",
        description="Rows with e-mail, phone, card, IBAN, keys: count them, mask what was found, or drop the row.",
    )
    pii_by: Literal["rules", "dlp"] = Field(
        "rules", description="Who looks: our own rules (free, local), or Sensitive Data Protection (paid, extra dlp)."
    )
    pii_types: list[str] = Field(
        default_factory=lambda: [
            "EMAIL_ADDRESS", "PHONE_NUMBER", "CREDIT_CARD_NUMBER", "IBAN_CODE", "PERSON_NAME", "STREET_ADDRESS",
            "GCP_API_KEY", "AUTH_TOKEN", "PASSWORD",
        ],
        description="What Sensitive Data Protection looks for (its infoTypes).",
    )  # fmt: skip
    pii_likelihood: Literal["VERY_UNLIKELY", "UNLIKELY", "POSSIBLE", "LIKELY", "VERY_LIKELY"] = Field(
        "POSSIBLE", description="Least likelihood at which Sensitive Data Protection tells a finding."
    )
    pii_parent: str = Field(
        "",
        pattern=r"^(projects/[^/]+/locations/[^/]+)?$",
        description="projects/P/locations/L to ask it in; empty: GOOGLE_CLOUD_PROJECT, global.",
    )
    find_label_errors: bool = Field(True, description="List likely label errors (up to 20,000 labelled rows).")
    corrections: str = Field("", description="Audit sheet (CSV with id and label) whose labels replace the rows' own.")
    test_data: str = Field("", description="A second file whose rows are the test split; its copies leave training.")
    conflicts: Literal["drop", "majority", "keep"] = Field(
        "drop", description="Same text, different labels: drop all, keep the majority label, or keep all."
    )
    fuzzy_threshold: float = Field(
        0.8,
        ge=0,
        le=1,
        description="Near-duplicates: Jaccard of character 5-grams from which a row is dropped; 0: off.",
    )
    semantic_threshold: float = Field(
        0, ge=0, le=1, description="Cosine of embeddings from which a row of the same label is dropped; 0: off."
    )
    embedder: str = Field(
        "builtin",
        description="Who embeds: builtin (no download); st:NAME, a sentence-transformers directory or hub name (extra "
        "embeddings); vertex:MODEL, such as vertex:text-embedding-005 (paid by the token).",
    )
    repeated_chars: int = Field(
        100, ge=0, description="Passages of this many characters that stand in several rows are looked for; 0: off."
    )
    repeated: Literal["report", "trim", "drop"] = Field(
        "report", description="Repeated passages: tell them, cut them from all rows but the first, or drop those rows."
    )
    max_cluster: int = Field(1000, ge=0, description="A text with this many duplicates stops the run; 0: never.")
    max_removed_share: float = Field(
        0.5, gt=0, le=1, description="Deduplication that would remove more than this share stops the run."
    )

    @model_validator(mode="after")
    def _passages_have_length(self) -> Self:
        if self.repeated_chars == 1:
            raise ValueError("preprocess.repeated_chars must be 2 or more, or 0 to look for no passages")
        return self


class Split(Section):
    """How examples are divided; no group, and no cluster of near-duplicates, ever crosses."""

    method: Literal["stratified", "stable"] = Field(
        "stratified",
        description="stratified: exact shares of every label, places remembered under the run's name so that no row "
        "moves as data grows; stable: by a hash of each row alone, nothing remembered, shares met on average.",
    )
    validation: float = Field(0.15, gt=0, lt=1, description="Share of rows that choose prompt and checkpoint.")
    test: float = Field(0.25, gt=0, lt=1, description="Share of rows only the final decision reads.")
    seed: int = Field(7, description="Changes which rows fall where; another seed forgets the places remembered.")
    min_rows: int = Field(20, ge=1, description="Fewest rows a split may have.")
    time_column: str = Field(
        "",
        description="Slice column with times (ISO 8601 or numbers): the newest rows are test, those before validation.",
    )
    near_threshold: float = Field(
        0.8, ge=0, le=1, description="Jaccard of character 5-grams from which two rows may not part; 0: not checked."
    )
    passage_chars: int = Field(
        100, ge=0, description="The certificate counts rows that share this many characters in a row; 0: it does not."
    )
    semantic_threshold: float = Field(
        0.95, ge=0, le=1, description="The certificate counts rows of this cosine of embeddings; 0: it does not."
    )
    embedder: str = Field("builtin", description="Who embeds for that: as preprocess.embedder.")

    @model_validator(mode="after")
    def _leaves_training_rows(self) -> Self:
        if self.validation + self.test >= 1:
            raise ValueError("split.validation + split.test must leave rows for training (sum below 1)")
        if self.passage_chars == 1:
            raise ValueError("split.passage_chars must be 2 or more, or 0 to count no passages")
        return self


class Augment(Section):
    """More training rows for rare labels, made from those they have; validation and test rows are never touched."""

    below: int = Field(0, ge=0, description="Labels with fewer training rows are brought up to this many; 0: off.")
    methods: list[Literal["paraphrase", "perturb"]] = Field(
        ["paraphrase"],
        min_length=1,
        description="paraphrase: the base model says rows in other words (paid); perturb: slips of words and letters.",
    )
    per_row: int = Field(3, ge=1, le=20, description="Rows made from one row at most.")
    recheck: Literal["classical", "model", "none"] = Field(
        "classical",
        description="Who must give a new row its label too: TF-IDF with logistic regression on the training rows, the "
        "base model (paid), or nobody.",
    )
    temperature: float = Field(0.9, gt=0, le=2, description="Temperature of paraphrases.")
    max_cost: float = Field(5.0, ge=0, description="Paraphrases stop before they could cost more (US dollars).")
    seed: int = Field(7, description="Seed of which rows are multiplied, and of perturbations.")


class Prompt(Section):
    """A way of asking, as named data; the same object renders baselines, tuning rows and serving requests."""

    name: str = Field("zero_shot", pattern=r"^[a-z][a-z0-9_]*$", description="How reports call it.")
    instruction: str = Field("", description="Replaces task.instruction; empty: the task's own.")
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


class Contestant(Section):
    """A model with the prompt it is asked by: what an evaluation compares."""

    name: str = Field(description="Unique within a run: zero_shot, trial-1@2, champion, ...")
    model: str = Field(
        description="Base model id, or full resource name of an endpoint (projects/P/locations/L/endpoints/E)."
    )
    prompt: Prompt = Field(default_factory=Prompt)
    role: Literal["baseline", "candidate", "champion", "supervised"] = "baseline"
    tuned_model: str = Field("", description="projects/P/locations/L/models/M@V of a tuned model.")
    checkpoint_id: str = ""
    trial: str = ""
    epoch: int = 0
    step: int = 0
    calibration: dict[str, Any] = Field(
        default_factory=dict, description="What its confidences mean: fitted on validation rows, set by evaluate."
    )


class Judge(Section):
    """An autorater: it informs about texts that no metric can judge; a gate rule may use one that people agree with."""

    model: str = Field("", description="Model that judges; empty: no judging.")
    rubric: str = Field(
        "Is the answer correct, complete and to the point, as the reference shows?",
        description="What a good answer is, in the words the judge is told.",
    )
    scale: list[int] = Field(
        default_factory=lambda: [1, 5], min_length=2, max_length=2, description="Lowest and highest rating."
    )
    temperature: float = Field(0.7, gt=0, le=2, description="Temperature when several samples are asked for.")
    max_output_tokens: int = Field(256, gt=0, description="Longest judgement (tokens).")
    samples: int = Field(1, ge=1, description="Ratings a row (pairs: for each of both orders); each is paid.")
    sheet: str = Field(
        "", description="People's ratings (CSV, local or gs://) that the judge is checked by; empty: it only informs."
    )
    agreement: Literal["quadratic_kappa", "kappa", "spearman"] = Field(
        "quadratic_kappa", description="How its agreement with the sheet is measured."
    )
    min_agreement: float = Field(
        0.6,
        gt=0,
        le=1,
        description="Agreement that the interval's lower bound must reach before a gate rule may use it.",
    )
    good_from: float = Field(
        0.0, description="A person's rating from which an answer is good; 0: above the middle of the scale."
    )

    @model_validator(mode="after")
    def _scale_rises(self) -> Self:
        if self.scale[0] >= self.scale[1]:
            raise ValueError("judge.scale must rise, such as [1, 5]")
        return self


class Evaluate(Section):
    """How models are asked and scored."""

    base_model: str = Field("gemini-3.1-flash-lite", description="The model that is prompted, and tuned.")
    baselines: list[Prompt] = Field(
        default_factory=lambda: [
            Prompt(name="zero_shot"),
            Prompt(name="few_shot", shots=8),
        ],
        min_length=1,
        description="Prompted opponents, each evaluated on validation data.",
    )
    temperature: float = Field(0.0, ge=0, le=2, description="0: the most likely answer.")
    max_output_tokens: int = Field(64, gt=0, description="Longest answer (tokens).")
    thinking_budget: int = Field(
        0, ge=-1, description="Thinking tokens, the same for prompted and tuned models; -1: the model decides."
    )
    concurrency: int = Field(
        64,
        gt=0,
        description="Requests in flight at most; the loop finds what the quota and the server bear below that.",
    )
    attempts: int = Field(8, gt=0, description="Tries per request; 408, 429 and 5xx are retried with growing waits.")
    timeout_s: float = Field(120, gt=0, description="Longest wait for one answer, all tries together not counted (s).")
    deadline_h: float = Field(
        0, ge=0, description="Rows of one contestant not answered after this long are errors (hours); 0: no deadline."
    )
    max_error_share: float = Field(
        0.05, ge=0, le=1, description="More rows than this without an answer for technical reasons stop the run."
    )
    cache: str = Field(
        "",
        description="Directory of answers already paid for, keyed by content: a killed run resumes. Empty: none.",
    )
    batch_above: int = Field(
        0,
        ge=0,
        description="A base model asked more rows than this is asked by a batch job: half the price, hours; 0: never.",
    )
    batch_poll_s: float = Field(15, gt=0, description="Seconds between looks at a batch job.")
    batch_deadline_h: float = Field(
        24, gt=0, description="A batch job is waited for this long; it goes on and is found again (hours)."
    )
    confidence: Literal["none", "votes", "verbal", "logprobs"] = Field(
        "none",
        description="How sure each answer is: none; votes of samples (self-consistency); a rater's words (verbal); "
        "the answer's probability where the model tells it (logprobs).",
    )
    samples: int = Field(5, ge=2, description="Answers sampled a row when confidence is votes; each is paid.")
    sample_temperature: float = Field(0.7, gt=0, le=2, description="Temperature of those samples.")
    judge: Judge = Field(default_factory=Judge, description="An autorater beside the metrics.")
    service: list[Literal["exact_match", "bleu", "rouge_1", "rouge_2", "rouge_l", "rouge_l_sum", "rubric"]] = Field(
        default_factory=list,
        description="Metrics of the Gen AI evaluation service, shown beside ours (paid); rubric: judge.rubric, 1 to 5.",
    )
    calibration: Literal["isotonic", "temperature"] = Field(
        "isotonic", description="Map from stated to true confidence, fitted on validation rows."
    )
    wanted_precision: float = Field(
        0.95, gt=0.5, lt=1, description="Accuracy that answers above the abstain threshold shall have."
    )
    classical: bool = Field(
        True, description="Also score TF-IDF with logistic regression, trained on the training rows (no network)."
    )
    length_and_script: bool = Field(True, description="Report by text length (thirds) and script too.")
    confidence_level: float = Field(0.95, gt=0.5, lt=1, description="Level of every interval.")
    resamples: int = Field(2000, ge=200, description="Bootstrap resamples.")
    seed: int = Field(7, description="Seed of resampling and of requests.")

    @model_validator(mode="after")
    def _names_baselines_apart(self) -> Self:
        names = [prompt.name for prompt in self.baselines]
        if len(set(names)) < len(names):
            raise ValueError(f"evaluate.baselines need names of their own, got {names}")
        return self


class Trial(Section):
    """One tuning job: its hyperparameters under the service's names, and what it starts from."""

    epoch_count: int = Field(4, gt=0, description="Passes over the training rows; every epoch's checkpoint is scored.")
    learning_rate_multiplier: float = Field(1.0, gt=0, description="Multiplies the service's recommended rate.")
    adapter_size: Literal[1, 2, 4, 8, 16] = Field(4, description="Rank of the adapter; small data, small adapter.")
    name: str = Field("", description="How reports call it; empty: trial-1, trial-2, ...")
    method: Literal["supervised", "preference"] = Field("supervised", description="Rows are answers, or pairs of them.")
    beta: float = Field(
        0.1, gt=0, description="Preference tuning alone: pull back to the base; 0.01 to 0.5, smaller moves further."
    )
    base: str = Field("", description="Model to tune; empty: evaluate.base_model. A tuned model is continued from.")
    checkpoint_id: str = Field("", description="Checkpoint of `base` to continue from; empty: its default one.")
    max_billable_tokens: int = Field(
        0, ge=0, description="A job that would bill more tokens than this is cancelled; 0: no such limit."
    )
    forecast_tokens: int = Field(0, ge=0, description="Tokens the job is expected to bill; set by the plan.")
    plan: str = Field("", description="Fingerprint of the plan that wanted this trial; set by the plan.")
    follow_up_tokens: int = Field(0, ge=0, description="Tokens that follow-up jobs may bill; set by the plan.")
    weighted: bool = Field(False, description="Tune on the rows that step hard weighted; set by the plan.")

    @field_validator("method", mode="before")
    @classmethod
    def _names_what_is_not_offered(cls, method: Any) -> Any:
        if method in ("distillation", "reinforcement"):
            raise ValueError(f"{method} tuning is not offered yet: supervised or preference")
        return method


class Plan(Section):
    """Whether tuning is worth trying, at what price, and which trials are run."""

    trials: list[Trial] = Field(
        default_factory=lambda: [Trial()], min_length=1, description="Tuning jobs to run, unless preset names others."
    )
    preset: Literal["trials", "recommended", "grid"] = Field(
        "trials",
        description="trials: those listed; recommended: the published start for model family and data size; "
        "grid: the published five for 500 to 1,000 rows.",
    )
    share_epochs: bool = Field(
        True, description="Trials that differ in epochs alone become one job; its checkpoints stand for the shorter."
    )
    continue_champion: bool = Field(
        False, description="Start from the champion's checkpoint (a new version of its model), not from the base model."
    )
    min_train_rows: int = Field(100, ge=1, description="Fewer training rows: keep the prompt (published advice).")
    good_enough: float = Field(
        0.99, gt=0, le=1, description="A prompt whose lower interval bound reaches this score is kept: nothing to gain."
    )
    wanted_lift: float = Field(
        0.0, ge=0, lt=1, description="Lift that would pay; a test set too small to notice it stops spending. 0: any."
    )
    skip_unchanged: bool = Field(
        True, description="Training rows, model and trials as in the last decision: nothing is tuned again."
    )
    max_cost: float = Field(100.0, ge=0, description="Hard limit for tuning and evaluation together (US dollars).")
    follow_ups: int = Field(
        0, ge=0, le=3, description="Rounds in which a trial's diagnosis is acted on by one more job, within max_cost."
    )
    token_sample: int = Field(32, ge=1, description="Rows counted by the service; tokens beyond them are estimated.")


class Tune(Section):
    """How a tuning job is submitted and watched."""

    description: str = Field("", description="Description of the tuning jobs; empty: the run's and the trial's name.")
    display_name: str = Field("", max_length=128, description="Name of the tuned model; empty: the run's name.")
    poll_s: float = Field(10, gt=0, description="Seconds between looks at the job.")
    deadline_h: float = Field(24, gt=0, description="A job that takes longer is cancelled (hours).")
    last_checkpoint_only: bool = Field(False, description="Export just the final checkpoint.")
    race: bool = Field(False, description="Cancel a trial whose validation loss cannot catch up with another trial's.")
    race_after: int = Field(1, ge=1, description="Validation points that a trial has before it can lose the race.")
    attempts: int = Field(2, ge=1, description="Jobs submitted at most when the service fails; bad data is final.")
    claim_wait_s: float = Field(
        30, ge=0, description="A job that somebody claimed but nobody finds yet is waited for this long (seconds)."
    )


class Hard(Section):
    """How much weight training rows get that the prompted model answers wrongly."""

    share: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="Share of trained rows that are hard (the best prompt fails them); 0: as they come.",
    )
    ablation: bool = Field(
        True, description="Also run the first trial on the rows as they come, to see what the weight is worth."
    )
    most_copies: int = Field(3, ge=1, description="A hard row appears at most so often.")
    skip_suspects: bool = Field(True, description="Rows whose label is likely wrong get no extra weight.")
    suspect_margin: float = Field(
        0.2, ge=0, le=1, description="How much more another label must be believed to make a row suspect."
    )
    seed: int = Field(7, description="Seed of the order and of the label check.")


class Larger(Section):
    """Larger base models, tried only when tuning the small one gains but is not good enough."""

    models: list[str] = Field(
        default_factory=list, description="Base models to go on with, in this order, each with the best trial so far."
    )
    target: float = Field(0.95, gt=0, le=1, description="Validation score from which no larger model is tried.")
    min_gain: float = Field(
        0.01, ge=0, lt=1, description="Gain of tuning over the best prompt below which a larger model is not tried."
    )


class Pick(Section):
    """How the candidate is chosen on validation data."""

    metric: str = Field("", description="Metric that chooses; empty: the task kind's first metric.")
    one_standard_error: bool = Field(
        True, description="Take the earliest checkpoint within one standard error of the best."
    )


class Gate(Section):
    """What a candidate must show on test data before it may serve."""

    metric: str = Field("", description="Metric that decides; empty: the task kind's first metric.")
    min_lift: float = Field(
        0.0, ge=0, description="Lift over the best prompt that the interval's lower bound must exceed."
    )
    min_lift_over_champion: float = Field(
        0.0, ge=-1, description="The same over the model in service, re-scored on the same rows."
    )
    min_lift_over_supervised: float = Field(
        -0.1,
        ge=-1,
        description="Preference tuning: the same over the supervised model it began with; below 0: may be that worse.",
    )
    max_forgetting: float = Field(
        1.0,
        ge=0,
        le=1,
        description="Score that a model tuned on may lose on the champion's old test rows; 1: only told.",
    )
    confidence_level: float = Field(0.95, gt=0.5, lt=1, description="Level of the paired bootstrap interval.")
    resamples: int = Field(10_000, ge=1000, description="Paired bootstrap resamples.")
    seed: int = Field(7, description="Seed of resampling.")
    min_test_rows: int = Field(50, ge=1, description="Fewer test rows: not enough data to decide.")
    planned_readings: int = Field(
        1, ge=1, description="Candidates one set of test rows is kept for; the gate's error is divided among them."
    )
    worn_test: Literal["tell", "stop"] = Field(
        "tell", description="More candidates than planned were tried on these test rows: tell, or decide nothing."
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
    worse_slices: Literal["tell", "stop"] = Field(
        "tell", description="A slice shown to be worse than under the best prompt (Holm over all): tell, or stop."
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
        description="Share of answers that a judge proven by evaluate.judge.sheet must call good, lower bound; 0: off.",
    )
    min_judge_win_rate: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="Win rate over the best prompt, by such a judge, that the lower bound must exceed; 0: off.",
    )
    max_output_tokens: float = Field(0.0, ge=0, description="Ceiling of mean output tokens an answer; 0: off.")
    max_input_tokens: float = Field(0.0, ge=0, description="Ceiling of mean input tokens a request; 0: off.")


class Preference(Section):
    """Pairs of a better and a worse answer: where they come from, how answers are ranked, how tuning begins."""

    prompt_column: str = Field("prompt", description="Column that holds the prompt, in rows of plain columns.")
    chosen_column: str = Field("chosen", description="Column that holds the better answer.")
    rejected_column: str = Field("rejected", description="Column that holds the worse answer.")
    pairs_from: Literal["rows", "answers"] = Field(
        "rows",
        description="rows: the data holds pairs; answers: it holds labelled rows, and the base model's own sampled "
        "answers are ranked and paired (paid).",
    )
    samples: int = Field(4, ge=1, description="Answers sampled a row when pairs are made; each is paid.")
    sample_temperature: float = Field(0.9, gt=0, le=2, description="Temperature of those samples.")
    chosen_from: Literal["answers", "reference"] = Field(
        "answers",
        description="Better answer of a made pair: the best of the sampled ones, or the row's reference (with "
        "samples=1 that makes pairs of a model's errors).",
    )
    min_gap: float = Field(
        10.0, ge=0, le=100, description="Pairs are made of answers whose grades (0 to 100) differ by this at least."
    )
    ranked_by: Literal["reference", "judge"] = Field(
        "reference",
        description="Who says which answer is better, in made pairs and win rates. reference: closeness to preferred "
        "answers (chrF; labels and objects: equality); judge: preference.judge, asked in both orders (paid).",
    )
    judge: Judge = Field(default_factory=Judge, description="The judge that ranks answers, when ranked_by=judge.")
    tie_margin: float = Field(
        2.0,
        ge=0,
        le=100,
        description="Grades (0 to 100) that differ by this or less are a tie, when ranked_by=reference.",
    )
    supervised_epochs: int = Field(
        2, ge=0, description="Epochs of supervised tuning on the better answers, which comes first (advised); 0: none."
    )
    supervised_learning_rate_multiplier: float = Field(
        1.0, gt=0, description="Multiplies the service's recommended rate in that first job."
    )


class Deploy(Section):
    """How a candidate goes into service, and back."""

    alias: str = Field(
        "champion", pattern=r"^[a-z][a-zA-Z0-9-]{0,126}[a-z0-9]$", description="Alias of the model in service."
    )
    keep_losers: bool = Field(False, description="Leave endpoints of losing checkpoints deployed.")


class Config(Section):
    """One run: what to decide (identity) and where it runs (`vertex`)."""

    name: str = Field(
        "gemtune", pattern=r"^[a-z][a-z0-9-]{0,40}$", description="Names the champion, the jobs, the run."
    )
    pipeline: Literal["supervised_tuning", "preference_tuning"] = Field(
        "supervised_tuning", description="Which pipeline this configuration is for; run, submit, schedule follow it."
    )
    data: str = Field("", description="Labelled rows: local path or gs:// URI.")
    task: Task = Field(default_factory=Task)
    preprocess: Preprocess = Field(default_factory=Preprocess)
    split: Split = Field(default_factory=Split)
    augment: Augment = Field(default_factory=Augment)
    evaluate: Evaluate = Field(default_factory=Evaluate)
    plan: Plan = Field(default_factory=Plan)
    hard: Hard = Field(default_factory=Hard)
    tune: Tune = Field(default_factory=Tune)
    larger: Larger = Field(default_factory=Larger)
    pick: Pick = Field(default_factory=Pick)
    preference: Preference = Field(default_factory=Preference)
    gate: Gate = Field(default_factory=Gate)
    deploy: Deploy = Field(default_factory=Deploy)
    vertex: Vertex = Field(default_factory=Vertex)

    @model_validator(mode="after")
    def _judges_that_gate_are_checked(self) -> Self:
        judge = self.evaluate.judge
        if (self.gate.min_judge_good or self.gate.min_judge_win_rate) and not (judge.model and judge.sheet):
            raise ValueError(
                "gate.min_judge_good and gate.min_judge_win_rate need evaluate.judge.model, and evaluate.judge.sheet "
                "to check it by"
            )
        return self

    @classmethod
    def load(cls, path: str | Path | None = None, overrides: tuple[str, ...] | list[str] = ()) -> Config:
        """Read a YAML file (only what differs from the defaults) and apply `section.field=value` overrides.

        Raises `UserError` naming the file, the setting, its value and the settings that exist.
        """
        values: dict[str, Any] = {}
        if path is not None:
            values = _read_yaml(Path(path))
        for override in overrides:
            _apply(values, override)
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise UserError(explain(error), file=path) from None

    def parameters(self) -> dict[str, Any]:
        """The compiled pipeline's parameters: one plain dict per section, no nulls (a Struct refuses them)."""
        values = self.model_dump(exclude_none=True, exclude={"evaluate": {"baselines"}})
        values["baselines"] = [
            [Contestant(name=p.name, model=self.evaluate.base_model, prompt=p).model_dump(exclude_none=True)]
            for p in self.evaluate.baselines
        ]
        return values


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return "" if value is None else value.isoformat() if isinstance(value, date) else value


def fingerprint(*parts: Any) -> str:
    """16 hex digits that name a value: equal for equal content, whatever the key order; sections may be passed."""
    plain = [p.model_dump(mode="json") if isinstance(p, BaseModel) else p for p in parts]
    return hashlib.sha256(json.dumps(plain, sort_keys=True, ensure_ascii=False).encode()).hexdigest()[:16]


def explain(error: ValidationError) -> str:
    """One line per wrong setting: dotted name, what was given, what is allowed."""
    lines = []
    for item in error.errors():
        name = ".".join(str(part) for part in item["loc"]) or "settings"
        if item["type"] == "extra_forbidden":
            lines.append(f"unknown setting {name!r}{_did_you_mean(item['loc'])}")
        else:
            lines.append(f"{name}: {item['msg'].removeprefix('Value error, ')}, got {item['input']!r}")
    return "; ".join(lines)


def _did_you_mean(loc: tuple[int | str, ...]) -> str:
    fields: Any = Config
    for part in loc[:-1]:
        info = getattr(fields, "model_fields", {}).get(part)
        fields = info.annotation if info is not None else None
    known = sorted(getattr(fields, "model_fields", {}))
    return f": known here are {', '.join(known)}" if known else ""


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"cannot read the configuration: {error.strerror}", file=path, remedy="see configs/") from None
    try:
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or "not valid YAML"
        raise UserError(str(problem), file=path, line=mark.line + 1 if mark else None, remedy="fix the YAML") from None
    if not isinstance(values, dict | None):
        raise UserError("the configuration must be a mapping of sections", file=path)
    return values or {}


def _apply(values: dict[str, Any], override: str) -> None:
    name, equals, text = override.partition("=")
    if not equals or not name.strip():
        raise UserError(f"cannot read --set {override!r}", remedy="write section.field=value")
    *parents, last = name.strip().split(".")
    for parent in parents:
        values = values.setdefault(parent, {})
        if not isinstance(values, dict):
            raise UserError(f"--set {override!r}: {parent!r} is not a section")
    try:
        values[last] = yaml.safe_load(text) if text else ""
    except yaml.YAMLError:
        raise UserError(f"--set {override!r}: {text!r} is not a YAML value") from None
