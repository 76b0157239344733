# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Settings of data: the task, preprocessing, the split, augmentation."""

import codecs
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator

from gemtune.config.output_schema import missing_property, schema_problem, without_null_defaults
from gemtune.config.section import JsonObject, Section, unquoted_off

# of a task whose settings have none: the instruction, and the name of the answer
DEFAULT_WORDING = {
    "classification": ("Classify the text into exactly one of the labels.", "Label"),
    "several labels": ("Give the text all the labels that apply.", "Labels"),
    "sentiment": ("Say which sentiment the text expresses.", "Sentiment"),
    "extraction": ("Extract the fields from the text as one JSON object.", "JSON"),
    "summarization": ("Summarize the text.", "Summary"),
    "generation": ("Respond to the text.", "Response"),
}


FieldRules = Annotated[
    list[Literal["exact", "number", "date", "ignore_case", "set", "sequence"]],
    Field(min_length=1),
    BeforeValidator(lambda value: [value] if isinstance(value, str) else value),
]


class Task(Section):
    """What the model does; prompts, training rows, parsing, metrics and serving follow from it."""

    kind: Literal["classification", "sentiment", "extraction", "summarization", "generation"] = "classification"
    """The kind of task."""
    instruction: str = DEFAULT_WORDING["classification"][0]
    """The instruction in prompts; each kind has a default."""
    labels: list[str] = Field(default_factory=list)
    """Allowed labels; empty: those of the training rows."""
    label_descriptions: dict[str, str] = Field(default_factory=dict)
    """Descriptions of labels for prompts, one line each."""
    labels_file: str = ""
    """YAML or JSON file (path or gs:// URI) with a list of labels, or with labels and descriptions, in place of both
    settings; the first step reads it, so that a long list is no parameter of the run.
    """
    text_name: str = "Text"
    """Name of the input in prompts (Ticket, Review, ...)."""
    target_name: str = DEFAULT_WORDING["classification"][1]
    """Name of the answer in prompts (Intent, Sentiment, ...); each kind has a default."""
    label_separator: str = ""
    """Separator of the labels of a row with several (such as '; '); empty: one label per row."""
    output_schema: JsonObject = Field(default_factory=dict)
    """JSON Schema (draft 2020-12) of answers, for extraction; a $ref must point into the same schema."""
    field_rules: dict[str, FieldRules] = Field(default_factory=dict)
    """How values of extracted fields are compared, by field (`items.price` inside lists and objects): exact, number,
    date or ignore_case, and set or sequence for lists; without a rule, width, white space and the order of lists are
    ignored.
    """

    @model_validator(mode="before")
    @classmethod
    def _has_the_wording_of_its_kind(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        kind = values.get("kind", "classification")
        if kind == "classification" and values.get("label_separator"):
            kind = "several labels"
        instruction, target_name = DEFAULT_WORDING.get(str(kind), ("", ""))
        return {"instruction": instruction, "target_name": target_name, **values}

    @field_validator("output_schema")
    @classmethod
    def _schema_is_valid(cls, schema: JsonObject) -> JsonObject:
        schema = without_null_defaults(schema)
        if schema and (problem := schema_problem(schema)):
            raise ValueError(problem)
        return schema

    @model_validator(mode="after")
    def _labels_have_one_place(self) -> Self:
        if self.labels_file and (self.labels or self.label_descriptions):
            raise ValueError("labels_file is given in place of labels and label_descriptions: leave them out")
        return self

    @model_validator(mode="after")
    def _rules_fit(self) -> Self:
        if self.field_rules and self.kind != "extraction":
            raise ValueError(f"task.field_rules are for kind extraction, not {self.kind}")
        for name, rules in self.field_rules.items():
            if len(rules) - len({"set", "sequence"} & {*rules}) > 1 or {"set", "sequence"} <= {*rules}:
                raise ValueError(f"task.field_rules.{name}: {rules} exclude each other")
            if problem := missing_property(self.output_schema, name):
                raise ValueError(f"task.field_rules.{name}: {problem}")
        return self

    @property
    def is_labelled(self) -> bool:
        """Whether answers are labels."""
        return self.kind in ("classification", "sentiment")

    @property
    def is_free_text(self) -> bool:
        """Whether answers are texts of which many are right."""
        return self.kind in ("summarization", "generation")


class Preprocess(Section):
    """How raw rows become examples: columns, limits, cleaning, duplicates."""

    encoding: str = ""
    """Encoding of text files, such as utf-8, cp932, cp949, gb18030, cp1252; empty: recognized."""
    delimiter: str = Field("", max_length=1)
    """Character between the cells of .csv and .tsv files; empty: recognized."""
    worksheet: str = ""
    """Worksheet of .xlsx files that is read; empty: the largest."""
    header: bool = True
    """Whether a table has a row that names its columns; without one they are column_1, column_2 and so on."""
    text_column: str = "text"
    """Column or key of the text."""
    added_columns: list[str] = Field(default_factory=list)
    """Columns whose values follow the text, each after an empty line (the input of an instruction); empty cells do not.
    """
    target_column: str = "label"
    """Column or key of the reference."""
    group_column: str = ""
    """Column of the group: rows with equal values stay in the same split; empty: none."""
    split_column: str = "split"
    """Column with the split (train, validation or test), for rows that have it; empty: not read."""
    slice_columns: list[str] = Field(default_factory=list)
    """Columns whose values are slices, reported separately."""
    labels: list[str] = Field(default_factory=list)
    """Keep only rows with these labels; empty: all."""
    label_spellings: Literal["report", "merge"] = "report"
    """Labels that differ only in case, width, invisible characters, end marks or the notation of a number: report them,
    or merge them into the spelling of task.labels, else the commonest.
    """
    offset_unit: Literal["characters", "utf16", "bytes"] = "characters"
    """What the offsets of segments (AutoML's textSegmentAnnotations) count: characters (code points), UTF-16 units or
    UTF-8 bytes.
    """
    max_rows: int = Field(0, ge=0)
    """Use at most this many rows, sampled by seed; 0: all."""
    seed: int = 7
    """Seed of max_rows."""
    max_chars: int = Field(100_000, gt=0)
    """Longest text (characters); longer texts are rejected."""
    text_buckets: list[str] = Field(default_factory=list)
    """Buckets that rows may refer to (AutoML's textGcsUri), in addition to the data's own bucket."""
    normalize_unicode: Literal["NFC", "NFKC", "none"] = "NFC"
    """Unicode normalisation of texts."""
    collapse_whitespace: bool | None = None
    """Replace each run of white space by one space and strip the ends; unset: for classification and sentiment, and for
    other kinds strip the ends only.
    """
    remove_control: bool = True
    """Remove control characters, except tab and line breaks."""
    remove_invisible: bool = True
    """Remove zero-width spaces, soft hyphens and byte order marks."""
    strip_html: bool = False
    """Replace HTML tags by spaces and entities by their characters."""
    lowercase: bool = False
    """Convert texts to lower case."""
    pii: Annotated[Literal["off", "report", "mask", "drop"], BeforeValidator(unquoted_off)] = "report"
    """Rows with e-mail, phone, card, IBAN, keys: count them, mask the findings, or drop the rows."""
    pii_detector: Literal["rules", "dlp"] = "rules"
    """Built-in rules (free, local), or Sensitive Data Protection (paid)."""
    pii_types: list[str] = Field(
        default_factory=lambda: [
            "EMAIL_ADDRESS", "PHONE_NUMBER", "CREDIT_CARD_NUMBER", "IBAN_CODE", "PERSON_NAME", "STREET_ADDRESS",
            "GCP_API_KEY", "AUTH_TOKEN", "PASSWORD",
        ]
    )  # fmt: skip
    """infoTypes that Sensitive Data Protection detects."""
    pii_likelihood: Literal["VERY_UNLIKELY", "UNLIKELY", "POSSIBLE", "LIKELY", "VERY_LIKELY"] = "POSSIBLE"
    """Lowest likelihood of a finding that Sensitive Data Protection reports."""
    pii_parent: str = Field("", pattern=r"^(projects/[^/]+/locations/[^/]+)?$")
    """projects/P/locations/L of Sensitive Data Protection; empty: GOOGLE_CLOUD_PROJECT, global."""
    find_label_issues: bool = True
    """List likely label issues, in a sample of at most 20,000 rows and 4 million characters."""
    corrections: str = ""
    """Review file (CSV with id and label) whose labels replace those of the rows; empty: none."""
    test_data: str = ""
    """A second file, whose rows are the test split; copies are removed from training; empty: none."""
    conflicts: Literal["drop", "majority", "keep"] = "drop"
    """Label conflicts (same text, different labels): drop all, keep the majority label, or keep all."""
    jaccard_threshold: float = Field(0.8, ge=0, le=1)
    """Jaccard similarity of character 5-grams from which a row is a near-duplicate and dropped; 0: off."""
    semantic_threshold: float = Field(0, ge=0, le=1)
    """Cosine of embeddings from which a row of the same label is a semantic duplicate; 0: off."""
    embedder: str = "builtin"
    """Embedding model: builtin (no download); st:NAME, a sentence-transformers folder or hub name (extra embeddings);
    vertex:MODEL, such as vertex:text-embedding-005 (paid by the token).
    """
    repeated_chars: int = Field(100, ge=0)
    """Length of passages that are searched for in several rows (characters); 0: off."""
    repeated: Literal["report", "trim", "drop"] = "report"
    """Repeated passages: report them, cut them from all rows but the first, or drop those rows."""
    runner: Literal["local", "dataflow"] = "local"
    """Where duplicates are dropped: in the preprocess step, or by a Dataflow job before it, for JSONL in a bucket that
    exceeds one machine's memory.
    """
    dataflow_template: str = ""
    """gs:// URI of a Dataflow Flex Template of gemtune.data.dataflow_dedup; runner dataflow needs it."""
    dataflow_service_account: str = ""
    """Service account of the Dataflow workers; empty: the project's Compute Engine account."""
    dataflow_subnetwork: str = ""
    """Subnetwork of the workers, regions/REGION/subnetworks/NAME; empty: the network `default`."""
    max_cluster: int = Field(1000, ge=0)
    """Number of duplicates of a text that stops the run; 0: no limit."""
    max_removed_share: float = Field(0.5, gt=0, le=1)
    """Largest share of rows that deduplication may remove; more stops the run."""

    @field_validator("encoding")
    @classmethod
    def _encoding_exists(cls, encoding: str) -> str:
        try:
            is_known = not encoding or codecs.lookup(encoding)._is_text_encoding
        except (LookupError, ValueError):
            is_known = False
        if not is_known:
            raise ValueError(f"no encoding {encoding!r}; such as utf-8, cp932, cp949, gb18030, cp1252")
        return encoding

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if self.label_spellings == "merge" and self.runner == "dataflow":
            raise ValueError(
                "preprocess.label_spellings=merge compares all rows of a file: use preprocess.runner=local"
            )
        if self.repeated_chars == 1:
            raise ValueError("preprocess.repeated_chars must be 2 or more, or 0 to search no passages")
        if self.runner == "dataflow" and not self.dataflow_template:
            raise ValueError("preprocess.runner=dataflow needs preprocess.dataflow_template, a gs:// URI")
        return self


class Split(Section):
    """How examples are split: exact shares of every label; groups and clusters of near-duplicates stay together.

    Split assignments are recorded under the run's name, so that no row moves when data grow.
    """

    validation: float = Field(0.15, gt=0, lt=1)
    """Share of validation rows, on which prompt and checkpoint are selected."""
    test: float = Field(0.25, gt=0, lt=1)
    """Share of held-out test rows, read only for the final decision."""
    seed: int = 7
    """Seed of the split; another seed discards the recorded split assignments."""
    min_rows: int = Field(20, ge=1)
    """Fewest rows a split may have."""
    time_column: str = ""
    """One of preprocess.slice_columns, with times (ISO 8601 or numbers of one unit): the newest rows are test, those
    before validation.
    """
    jaccard_threshold: float = Field(0.8, ge=0, le=1)
    """Jaccard similarity of character 5-grams from which rows stay in the same split; 0: off."""
    passage_chars: int = Field(100, ge=0)
    """Length of passages in two splits that the leakage report counts (characters); 0: off."""
    semantic_threshold: float = Field(0.95, ge=0, le=1)
    """Cosine of embeddings from which the leakage report counts a row as an overlap; 0: off."""
    embedder: str = "builtin"
    """Embedding model for semantic_threshold; values as in preprocess.embedder."""

    @model_validator(mode="after")
    def _leaves_training_rows(self) -> Self:
        if self.validation + self.test >= 1:
            raise ValueError("split.validation + split.test must leave rows for training (sum below 1)")
        if self.passage_chars == 1:
            raise ValueError("split.passage_chars must be 2 or more, or 0 to count no passages")
        return self


class Augment(Section):
    """New training rows for labels with few rows, generated from training rows; the other splits stay unchanged."""

    min_rows_per_label: int = Field(0, ge=0)
    """Number of training rows to which labels with fewer rows are raised; 0: off."""
    methods: list[Literal["paraphrase", "perturb"]] = Field(["paraphrase"], min_length=1)
    """paraphrase: the base model rewrites rows (paid); perturb: random edits of words and letters."""
    max_per_row: int = Field(3, ge=1, le=20)
    """Most rows generated from one row."""
    temperature: float = Field(0.9, gt=0, le=2)
    """Temperature of paraphrases."""
    max_cost: float = Field(5.0, ge=0)
    """Cost limit of paraphrases (US dollars)."""
    seed: int = 7
    """Seed of the selection of rows and of perturbations."""
