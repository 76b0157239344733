# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Settings of rows: what the task is, what is kept of a file, how it is divided, what is added."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator

from gemtune.config.output_schema import schema_problem, without_null_defaults
from gemtune.config.section import JsonObject, Section, unquoted_off

# what a task says of itself where the settings do not: instruction, and what the answer is called
SAID = {
    "classification": ("Classify the text into exactly one of the labels.", "Label"),
    "several labels": ("Give the text all the labels that apply.", "Labels"),
    "sentiment": ("Say which sentiment the text expresses.", "Sentiment"),
    "extraction": ("Extract the fields from the text as one JSON object.", "JSON"),
    "summarization": ("Summarize the text.", "Summary"),
    "generation": ("Respond to the text.", "Response"),
}


class Task(Section):
    """What is asked of the model; prompts, training rows, parsing, metrics and serving all follow from it."""

    kind: Literal["classification", "sentiment", "extraction", "summarization", "generation"] = Field(
        "classification", description="The kind of task."
    )
    instruction: str = Field(
        SAID["classification"][0], description="What the model is told to do; each kind has a default."
    )
    labels: list[str] = Field(default_factory=list, description="Allowed labels; empty: those found in the data.")
    label_descriptions: dict[str, str] = Field(default_factory=dict, description="One line per label, put in prompts.")
    text_name: str = Field("Text", description="What the input is called in prompts (Ticket, Review, ...).")
    target_name: str = Field(
        SAID["classification"][1],
        description="What the answer is called in prompts (Intent, Sentiment, ...); each kind has a default.",
    )
    label_separator: str = Field(
        "", description="Between a row's labels when it has several (such as '; '); empty: exactly one label a row."
    )
    output_schema: JsonObject = Field(
        default_factory=dict,
        description="JSON Schema (draft 2020-12) that answers must fit, for extraction; a $ref stays within it.",
    )

    @model_validator(mode="before")
    @classmethod
    def _speaks_of_its_kind(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        kind = values.get("kind", "classification")
        if kind == "classification" and values.get("label_separator"):
            kind = "several labels"
        instruction, target_name = SAID.get(kind, ("", ""))
        return {"instruction": instruction, "target_name": target_name, **values}

    @field_validator("output_schema")
    @classmethod
    def _schema_is_valid(cls, schema: JsonObject) -> JsonObject:
        schema = without_null_defaults(schema)
        if schema and (problem := schema_problem(schema)):
            raise ValueError(problem)
        return schema


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
    pii: Annotated[Literal["off", "report", "mask", "drop"], BeforeValidator(unquoted_off)] = Field(
        "report",
        description="Rows with e-mail, phone, card, IBAN, keys: count them, mask what was found, or drop the row.",
    )
    pii_detector: Literal["rules", "dlp"] = Field(
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
    find_label_issues: bool = Field(
        True, description="List likely label errors, of 20,000 rows and 4 million characters at most, drawn evenly."
    )
    corrections: str = Field("", description="Audit sheet (CSV with id and label) whose labels replace the rows' own.")
    test_data: str = Field("", description="A second file whose rows are the test split; its copies leave training.")
    conflicts: Literal["drop", "majority", "keep"] = Field(
        "drop", description="Same text, different labels: drop all, keep the majority label, or keep all."
    )
    jaccard_threshold: float = Field(
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
        description="Embedding model: builtin (no download); st:NAME, a sentence-transformers folder or hub name "
        "(extra embeddings); vertex:MODEL, such as vertex:text-embedding-005 (paid by the token).",
    )
    repeated_chars: int = Field(
        100, ge=0, description="Passages of this many characters that stand in several rows are looked for; 0: off."
    )
    repeated: Literal["report", "trim", "drop"] = Field(
        "report", description="Repeated passages: tell them, cut them from all rows but the first, or drop those rows."
    )
    runner: Literal["local", "dataflow"] = Field(
        "local",
        description="Where duplicates are dropped: in the preprocess step, or by a Dataflow job before it, for JSONL "
        "in a bucket that exceeds one machine's memory.",
    )
    dataflow_template: str = Field(
        "",
        description="gs:// URI of a Dataflow Flex Template of gemtune.data.dataflow_dedup; runner dataflow needs it.",
    )
    max_cluster: int = Field(1000, ge=0, description="A text with this many duplicates stops the run; 0: never.")
    max_removed_share: float = Field(
        0.5, gt=0, le=1, description="Deduplication that would remove more than this share stops the run."
    )

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if self.repeated_chars == 1:
            raise ValueError("preprocess.repeated_chars must be 2 or more, or 0 to search no passages")
        if self.runner == "dataflow" and not self.dataflow_template:
            raise ValueError("preprocess.runner=dataflow needs preprocess.dataflow_template, a gs:// URI")
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
        description="One of preprocess.slice_columns, with times (ISO 8601 or numbers): the newest rows are test, "
        "those before validation.",
    )
    jaccard_threshold: float = Field(
        0.8, ge=0, le=1, description="Jaccard of character 5-grams from which two rows may not part; 0: not checked."
    )
    passage_chars: int = Field(
        100, ge=0, description="The certificate counts rows that share this many characters in a row; 0: it does not."
    )
    semantic_threshold: float = Field(
        0.95, ge=0, le=1, description="The certificate counts rows of this cosine of embeddings; 0: it does not."
    )
    embedder: str = Field("builtin", description="Embedding model for that check, as preprocess.embedder.")

    @model_validator(mode="after")
    def _leaves_training_rows(self) -> Self:
        if self.validation + self.test >= 1:
            raise ValueError("split.validation + split.test must leave rows for training (sum below 1)")
        if self.passage_chars == 1:
            raise ValueError("split.passage_chars must be 2 or more, or 0 to count no passages")
        return self


class Augment(Section):
    """More training rows for rare labels, generated from existing ones; validation and test rows are never touched."""

    min_rows_per_label: int = Field(
        0, ge=0, description="Labels with fewer training rows are brought up to this many; 0: off."
    )
    methods: list[Literal["paraphrase", "perturb"]] = Field(
        ["paraphrase"],
        min_length=1,
        description="paraphrase: the base model rewords rows (paid); perturb: random edits of words and letters.",
    )
    max_per_row: int = Field(3, ge=1, le=20, description="Rows generated from a single row at most.")
    label_check: Literal["tfidf", "model", "none"] = Field(
        "tfidf",
        description="What must predict a new row's label as well: TF-IDF with logistic regression on the training "
        "rows, the base model (paid), or nothing.",
    )
    temperature: float = Field(0.9, gt=0, le=2, description="Temperature of paraphrases.")
    max_cost: float = Field(5.0, ge=0, description="Limit of paraphrases and paid checks together (US dollars).")
    seed: int = Field(7, description="Seed of the choice of rows, and of perturbations.")
