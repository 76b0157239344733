# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Settings of tuning: project and region, plan and budget, trials, jobs, selection, deployment."""

import ast
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator

from gemtune.config.section import JsonObject, Section, is_resource_name, plain, unquoted_off

# Source: https://cloud.google.com/resource-manager/docs/labels-overview#requirements
LabelKey = Annotated[str, Field(pattern=r"^[^\W\d_A-Z]([^\WA-Z]|-){0,62}$")]  # in the notation that JSON Schema has too
LabelValue = Annotated[str, Field(pattern=r"^([^\WA-Z]|-){0,63}$")]


class Vertex(Section):
    """Project, region and bucket. Empty fields come from the environment (GOOGLE_CLOUD_PROJECT, ...)."""

    project: str = ""
    """Google Cloud project id; empty: GOOGLE_CLOUD_PROJECT."""
    location: str = ""
    """Region of tuning and serving; empty: GOOGLE_CLOUD_LOCATION, otherwise us-central1."""
    bucket: str = ""
    """Bucket for tuning data and records (no gs://); empty: PROJECT-gemtune."""
    service_account: str = ""
    """Service account of tuning jobs (not of the pipeline); empty: the service agent of Vertex AI."""
    encryption_key: str = ""
    """Full name of a Cloud KMS key for tuning and a new bucket; empty: a Google-managed key."""
    labels: dict[LabelKey, LabelValue] = Field(default_factory=dict)
    """Labels of all resources that are created."""
    catalogue: JsonObject = Field(default_factory=dict)
    """Overrides of the model catalogue (models, limits, prices), merged key by key."""

    @field_validator("catalogue", mode="after")
    @classmethod
    def _travels(cls, value: JsonObject) -> JsonObject:
        """A pipeline's parameter has neither dates nor nulls; an empty text means none."""
        return {name: plain(item) for name, item in value.items()}


class Backend(Section):
    """Identity and network of the steps, on Vertex AI or a Kubeflow cluster; no parameter of the pipeline."""

    service_account: str = ""
    """Service account of the steps: e-mail address on Vertex AI (empty: the default of Compute Engine), name in the
    cluster on Kubeflow.
    """
    root: str = ""
    """Folder of the runs' files: gs://, on Kubeflow also s3:// or minio://; empty: gs://BUCKET/pipelines, on
    Kubeflow the default of the cluster.
    """
    encryption_key: str = ""
    """Full name of a Cloud KMS key for runs and a new bucket; empty: vertex.encryption_key."""
    network: str = ""
    """VPC network for the steps on Vertex AI (projects/NUMBER/global/networks/NAME); empty: none."""
    reserved_ip_ranges: list[str] = Field(default_factory=list)
    """Names of reserved IP ranges of `network`; empty: any range."""
    network_attachment: str = ""
    """Network attachment of a Private Service Connect interface on Vertex AI; empty: none."""
    namespace: str = ""
    """Kubeflow: namespace of a multi-user installation; empty: single-user."""
    experiment: str = "gemtune"
    """Kubeflow: experiment of the runs."""
    pull_secret: str = ""
    """Kubeflow: secret for pulling the image; empty: none."""
    key_secret: str = ""
    """Kubeflow: secret whose key.json is a Google service account key; empty: workload identity."""


NOT_RE2 = r"\(\?(?:[=!>#]|<[=!])|\\[1-9]|[*+?}]\+"
"""Lookaround, atomic groups, references to groups and possessive quantifiers: github.com/google/re2/wiki/Syntax."""


class Reward(Section):
    """A reward of reinforcement tuning: a match of the answer, a judge, or Python code; -1 to 1 after clipping."""

    name: str = Field("reward", pattern=r"^[A-Za-z][\w-]{0,62}$")
    """Name, unique within a trial."""
    weight: float = Field(1.0, gt=0)
    """Weight in the mean of several rewards."""
    match: Literal["exact", "contains", "regex"] = "exact"
    """exact: the answer equals `expression`; contains: it contains it; regex: it has a match of it (RE2)."""
    expression: str = ""
    """Text or regular expression, with {{references.target}} for the reference and {{references.FIELD}} for its fields;
    empty: the reference, or that of `field`.
    """
    extract: str = ""
    """Regular expression (RE2) whose last match, or its group, is scored instead of the answer; empty: the answer
    without white space around it.
    """
    field: str = ""
    """Field of the answer's JSON object that is scored; empty: the whole answer."""
    correct: float = Field(1.0, ge=-1, le=1)
    """Reward of an answer that matches."""
    wrong: float = Field(0.0, ge=-1, le=1)
    """Reward of any other answer."""
    rubric: str = ""
    """What a good answer is: evaluate.judge.model rates answers from 0 to 1 by it (paid); empty: no judge."""
    code: str = ""
    """Python that defines evaluate(example, response) and returns the reward; it is sent to the service."""

    @model_validator(mode="after")
    def _is_one_kind(self) -> Self:
        if self.rubric and self.code:
            raise ValueError(f"reward {self.name} has a rubric and code: use two rewards")
        try:
            defined = [getattr(node, "name", "") for node in ast.parse(self.code).body]
        except (SyntaxError, ValueError) as error:
            raise ValueError(f"reward {self.name}: the code is not Python: {error}") from None
        if self.code and "evaluate" not in defined:
            raise ValueError(f"reward {self.name}: the code does not define evaluate(example, response)")
        for expression in filter(None, (self.extract, self.expression if self.match == "regex" else "")):
            import regex

            plain = regex.sub(r"\{\{[\w.]+\}\}", "x", expression)
            try:
                regex.compile(plain)
            except regex.error as error:
                raise ValueError(f"reward {self.name}: {expression!r} is no regular expression: {error}") from None
            if lacking := regex.search(NOT_RE2, plain):
                raise ValueError(f"reward {self.name}: {expression!r} has {lacking[0]!r}, which RE2 does not support")
        return self


class Trial(Section):
    """A trial: hyperparameters under the names of the service, and the model to tune."""

    epoch_count: int = Field(4, gt=0)
    """Passes over the training rows; the checkpoint of every epoch is scored."""
    learning_rate_multiplier: float = Field(1.0, gt=0)
    """Factor of the service's recommended learning rate."""
    adapter_size: Literal[1, 2, 4, 8, 16] = 4
    """Rank of the adapter; a small data set needs a small adapter."""
    name: str = ""
    """Name in reports; empty: trial-1, trial-2, ..."""
    method: Literal["supervised", "preference", "reinforcement"] = "supervised"
    """Tuning on reference answers, on preference pairs, or by rewards of the model's own answers."""
    beta: float = Field(0.1, gt=0)
    """Preference tuning only: strength of the pull towards the base model, usually 0.01 to 0.5."""
    rewards: list[Reward] = Field(default_factory=list, max_length=20)
    """Reinforcement tuning only: rewards, added up by weight; empty: a match with the reference, for objects of each
    field; for texts evaluate.judge rates them.
    """
    samples_per_prompt: int = Field(8, ge=2)
    """Reinforcement tuning only: answers sampled for each prompt in each epoch; each is billed."""
    batch_size: int = Field(32, ge=1)
    """Reinforcement tuning only: prompts of a step; times samples_per_prompt a multiple of 16, at most 8,192."""
    supervised_epochs: int = Field(0, ge=0)
    """Reinforcement tuning only: epochs of a supervised job from whose best checkpoint it starts; 0: none."""
    supervised_max_tokens: int = Field(0, ge=0)
    """Tokens above which that supervised job is cancelled; set by the plan."""
    base: str = ""
    """Model to tune; empty: evaluate.base_model. A tuned model is continued."""
    base_model: str = ""
    """Base model of a tuned `base`, by which it is priced; set by the plan."""
    checkpoint_id: str = ""
    """Checkpoint of `base` to continue from; empty: the default checkpoint."""
    max_billable_tokens: int = Field(0, ge=0)
    """Tokens above which the job is cancelled; 0: no limit."""
    forecast_tokens: int = Field(0, ge=0)
    """Tokens the job is expected to bill; set by the plan."""
    plan: str = ""
    """Fingerprint of the plan this trial belongs to; set by the plan."""
    follow_up_of: str = ""
    """The trial that this one follows up; set by the tuning step."""
    follow_up_tokens: int = Field(0, ge=0)
    """Tokens that follow-up trials may bill; set by the plan."""
    follow_ups: int = Field(0, ge=0)
    """Number of follow-up trials, one after the other; set by the plan."""
    reweighted: bool = False
    """Tune on the rows with hard examples repeated; set by the plan."""
    ablation_of: str = ""
    """The trial that this one repeats without reweighting; set by the plan."""
    early_stop: bool = False
    """Whether early stopping may cancel the trial; set in the published grid."""

    @property
    def is_continued(self) -> bool:
        """Whether it continues a tuned model."""
        return is_resource_name(self.base)

    @model_validator(mode="after")
    def _checkpoint_has_its_model(self) -> Self:
        if self.checkpoint_id and not self.is_continued:
            raise ValueError(f"checkpoint_id {self.checkpoint_id!r} needs a tuned model (projects/...) as base")
        return self

    @model_validator(mode="after")
    def _reinforcement_within_limits(self) -> Self:
        names = [reward.name for reward in self.rewards]
        if len(set(names)) < len(names):
            raise ValueError(f"rewards need unique names, got {', '.join(names)}")
        if self.method != "reinforcement":
            return self
        answers, low, high = self.batch_size * self.samples_per_prompt, 0.25, 4.0
        if answers % 16 or answers > 8192:
            raise ValueError(f"batch_size times samples_per_prompt is {answers}: a multiple of 16, at most 8192")
        if not low <= self.learning_rate_multiplier <= high:
            raise ValueError(f"learning_rate_multiplier {self.learning_rate_multiplier:g}: from {low} to {high:g} here")
        return self

    @field_validator("method", mode="before")
    @classmethod
    def _names_what_is_not_offered(cls, method: Any) -> Any:
        if method == "distillation":
            raise ValueError("distillation tuning is not offered yet: supervised, preference or reinforcement")
        return method


class Plan(Section):
    """Trials, budget, and the reasons against tuning."""

    # with ablations below the 100 artifacts that a step of Vertex AI Pipelines takes
    trials: list[Trial] = Field(default_factory=lambda: [Trial()], min_length=1, max_length=50)
    """Trials to run, unless preset selects others."""
    preset: Literal["trials", "recommended", "grid"] = "trials"
    """trials: those listed; recommended: the published starting point for model family and data size; grid: the
    published grid for 500 to 1,000 rows.
    """
    merge_epoch_variants: bool = True
    """Merge trials that differ only in epochs; the longer job's checkpoints cover the shorter."""
    start_from_champion: bool = False
    """Also try each trial from the champion's checkpoint (a new version of its model): validation rows decide."""
    fresh_start_share: float = Field(0.3, ge=0, le=1)
    """Share of training rows that are new to the champion above which it is not continued."""
    min_train_rows: int = Field(100, ge=1)
    """Fewest training rows; with fewer, tuning is skipped (published advice)."""
    skip_if_baseline_reaches: float = Field(0.99, gt=0, le=1)
    """Skip tuning if the lower bound of the best prompt's score reaches this."""
    required_lift: float = Field(0.0, ge=0, lt=1)
    """Required lift; tuning is skipped if the test set is too small to detect it. 0: any lift."""
    skip_unchanged: bool = True
    """Skip all after the budget check if rows, settings and champion are those of the last decision."""
    max_cost: float = Field(100.0, ge=0)
    """Budget of the run: limit for tuning and evaluation together (US dollars)."""
    assessment_dataset: str = Field("", pattern=r"^(([\w.:-]+\.)?\w+)?$")
    """BigQuery dataset (DATASET or PROJECT.DATASET, in vertex.location) through which the service checks the rows of
    supervised jobs and counts their tokens before any is paid; empty: no assessment.
    """
    follow_ups: int = Field(0, ge=0, le=3)
    """Most rounds of one follow-up trial each, chosen by the loss diagnosis, within max_cost; 0: none."""
    token_sample: int = Field(32, ge=1)
    """Rows whose tokens the service counts; the tokens of other rows are estimated."""


class HardExamples(Section):
    """How often training rows that the best prompt answers wrongly are repeated."""

    target_share: float = Field(0.0, ge=0, lt=1)
    """Share of hard examples among the training rows; 0: no reweighting."""
    ablation: bool = True
    """Also run the first trial without reweighting, to measure what the reweighting gains."""
    max_repeats: int = Field(3, ge=1)
    """Most occurrences of a hard example in the training rows."""
    skip_label_issues: bool = True
    """Rows whose label is likely wrong are not repeated."""
    label_issue_margin: float = Field(0.2, ge=0, le=1)
    """Margin of probability by which another label must be more likely for a label issue."""
    seed: int = 7
    """Seed of the row order and of the label check."""


class Tune(Section):
    """How a tuning job is submitted and monitored."""

    description: str = ""
    """Description of the tuning jobs; empty: the run's and the trial's name."""
    display_name: str = Field("", max_length=128)
    """Name of the tuned model; empty: the run's name."""
    poll_s: float = Field(10, gt=0)
    """Seconds between status requests."""
    deadline_h: float = Field(24, gt=0)
    """Longest time of a job, after which it is cancelled (hours)."""
    last_checkpoint_only: bool = False
    """Save only the last checkpoint of each job."""
    early_stopping: Annotated[Literal["marked", "all", "off"], BeforeValidator(unquoted_off)] = "marked"
    """Trials that may be cancelled when their loss is behind at a rung: those with early_stop: true, all, or none."""
    first_rung_epochs: float = Field(0.4, gt=0)
    """Epochs of the first rung; the next rungs are at two, four, ... times as many."""
    attempts: int = Field(2, ge=1)
    """Most jobs submitted for a trial when the service fails; data that it rejects are not sent again."""
    claim_wait_s: float = Field(30, ge=0)
    """Longest wait for a job that another run has claimed but not yet created (seconds)."""


class Escalation(Section):
    """Larger base models, tried only when tuning the small one helps but is not good enough."""

    models: list[str] = Field(default_factory=list)
    """Base models to try next, in this order, each with the best trial so far."""
    stop_at_score: float = Field(0.95, gt=0, le=1)
    """Validation score from which no larger model is tried."""
    min_gain: float = Field(0.01, ge=0, lt=1)
    """Gain of tuning over the best prompt below which no larger model is tried."""


class Select(Section):
    """How the candidate is selected on validation data."""

    metric: str = ""
    """Metric to select by; empty: the task kind's first metric."""
    one_standard_error: bool = True
    """Among checkpoints within one standard error of the best: the cheapest model, least trained."""


class Preference(Section):
    """Preference pairs: source, ranking of answers, the supervised job before preference tuning."""

    prompt_column: str = "prompt"
    """Column of the prompt, in rows of plain columns."""
    chosen_column: str = "chosen"
    """Column of the chosen answer."""
    rejected_column: str = "rejected"
    """Column of the rejected answer."""
    winner_column: str = ""
    """Column that names the better of the two answers, by what their columns' names differ in (a, model_b, 1): the
    columns above are the two answers then, in any order, and ties are left out; empty: none.
    """
    pairs_from: Literal["data", "samples"] = "data"
    """data: the rows are pairs; samples: the rows are labelled, and sampled answers of the base model are ranked and
    paired (paid).
    """
    samples: int = Field(4, ge=1)
    """Answers sampled per row when pairs are sampled; each is paid."""
    sample_temperature: float = Field(0.9, gt=0, le=2)
    """Temperature of these samples."""
    chosen_from: Literal["samples", "reference"] = "samples"
    """Chosen answer of a sampled pair: the best sample, or the reference of the row (with samples=1, pairs of the
    model's errors).
    """
    min_gap: float = Field(10.0, ge=0, le=100)
    """Smallest difference in grade (0 to 100) between the answers of a sampled pair."""
    ranker: Literal["reference", "judge"] = "reference"
    """How answers are ranked, in sampled pairs and win rates. reference: similarity to preferred answers (chrF; labels
    and objects: equality); judge: evaluate.judge, in both orders (paid).
    """
    tie_margin: float = Field(2.0, ge=0, le=100)
    """Grades (0 to 100) that differ by this or less tie, with ranker: reference."""
    supervised_epochs: int = Field(2, ge=0)
    """Epochs of supervised tuning on the chosen answers, before preference tuning (advised); 0: none."""
    supervised_learning_rate_multiplier: float = Field(1.0, gt=0)
    """Factor of the service's recommended learning rate in the supervised job."""


class Deploy(Section):
    """How a candidate is deployed, and rolled back."""

    alias: str = Field("champion", pattern=r"^[a-z][a-zA-Z0-9-]{0,126}[a-z0-9]$")
    """Alias of the model in production."""
    keep_rejected_endpoints: bool = False
    """Keep the endpoints of rejected checkpoints."""
    approval: Literal["automatic", "manual"] = "automatic"
    """automatic: a candidate that passed the gate serves; manual: it is recorded, and `gemtune promote` takes it into
    service.
    """
    smoke_disagreement: float = Field(0.1, ge=0, le=1)
    """Largest share of 20 test rows whose label or object the candidate's endpoint may answer otherwise than at the
    gate; with more nothing changes.
    """
