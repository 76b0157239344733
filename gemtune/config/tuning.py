# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Settings of tuning: where it runs, what it may cost, which jobs, what serves in the end."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator

from gemtune.config.evaluation import Judge
from gemtune.config.section import Section, plain


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
        return {name: plain(item) for name, item in value.items()}


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
    base_model: str = Field("", description="Base model of a tuned `base`, which sets its price; set by the plan.")
    checkpoint_id: str = Field("", description="Checkpoint of `base` to continue from; empty: its default one.")
    max_billable_tokens: int = Field(
        0, ge=0, description="A job that would bill more tokens than this is cancelled; 0: no such limit."
    )
    forecast_tokens: int = Field(0, ge=0, description="Tokens the job is expected to bill; set by the plan.")
    plan: str = Field("", description="Fingerprint of the plan that wanted this trial; set by the plan.")
    follow_up_tokens: int = Field(0, ge=0, description="Tokens that follow-up jobs may bill; set by the plan.")
    follow_ups: int = Field(0, ge=0, description="Follow-up jobs, one after the other; set by the plan.")
    weighted: bool = Field(False, description="Tune on the rows that step hard weighted; set by the plan.")
    ablation_of: str = Field(
        "", description="Trial that this one repeats on unweighted rows, to measure the weights; set by the plan."
    )
    races: bool = Field(False, description="May be cancelled when another learns faster; the published grid's say so.")

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


class Tune(Section):
    """How a tuning job is submitted and watched."""

    description: str = Field("", description="Description of the tuning jobs; empty: the run's and the trial's name.")
    display_name: str = Field("", max_length=128, description="Name of the tuned model; empty: the run's name.")
    poll_s: float = Field(10, gt=0, description="Seconds between looks at the job.")
    deadline_h: float = Field(24, gt=0, description="A job that takes longer is cancelled (hours).")
    last_checkpoint_only: bool = Field(False, description="Export just the final checkpoint.")
    race: Literal["some", "always", "never"] = Field(
        "some", description="Which trials race (one goes on, slower learners are cancelled); some: those that say so."
    )
    race_after: float = Field(
        0.4, gt=0, description="Epochs after which trials are compared first; again after twice and four times as many."
    )
    attempts: int = Field(2, ge=1, description="Jobs submitted at most when the service fails; bad data is final.")
    claim_wait_s: float = Field(
        30, ge=0, description="A job that somebody claimed but nobody finds yet is waited for this long (seconds)."
    )


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
        True, description="Of the checkpoints within one standard error of the best take the cheapest model's earliest."
    )


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
