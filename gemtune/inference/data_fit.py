# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Whether a configuration fits its rows: what would make a run useless although each row can be read.

`gemtune data check`, `gemtune plan`, the start of `gemtune run` and the step `split` call `misfits` with a profile of
the rows. Guarantees: `misfits` uses no network and no files, and is the same in any order of rows; a profile takes 4
bytes a row beside the different labels; if nothing stops a run, every reference is valid for the scorers, and every
label can be listed in a prompt.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from gemtune.artifacts.data import LabelSpellings
from gemtune.config import Config, Evaluate, Split, Task
from gemtune.data import source_rows
from gemtune.data.example import Example, RejectedRow
from gemtune.data.labels import joining_mark, labels_of, merge_spellings, parse_container
from gemtune.data.pairs import stream as stream_pairs
from gemtune.data.profile import RARE_ROWS, estimate_tokens
from gemtune.data.row_validation import MAX_LABELS, ReadStats
from gemtune.data.split_assignment import SPLITS, split_sizes
from gemtune.errors import TooFewRowsError, UserError
from gemtune.inference.field_values import json_object, ruled_values
from gemtune.inference.prompts import answer_token_limit
from gemtune.inference.spellings import exact, label_index
from gemtune.inference.visible_text import has_thoughts

MAX_LABEL_SHARE = 0.1  # labels per row; free text has more different references
PLAUSIBLE_LABELS = 10  # as many are labels, however few the rows are
MAX_ODD_SHARE = 0.1  # of references that are objects or lists, or longer than an answer may be
# tokens that a model thinks at most by itself: cloud.google.com/vertex-ai/generative-ai/docs/thinking
DYNAMIC_THINKING_TOKENS = 8192
_MAX_SHOWN, _MAX_LISTED = 5, 10
_ANY_SPLIT = (*SPLITS, None)


@dataclass(frozen=True, slots=True)
class Misfit:
    """What does not fit; `stops`: a run must not start with it; `too_few`: with so few rows, though all can be used."""

    message: str
    remedy: str = ""
    line: int | None = None
    stops: bool = True
    too_few: bool = False

    def __str__(self) -> str:
        place = f"line {self.line}: " if self.line else ""
        return f"{place}{self.message}" + (f" ({self.remedy})" if self.remedy else "")


@dataclass
class RowProfile:
    """What `misfits` needs of the rows of a task. `scale` is rows of the file per row added, for a sample.

    `references` are rows of each reference by split, and `lines` its first line, for tasks with labels.
    """

    task: Task
    scale: float = 1.0
    rows: Counter[str | None] = field(default_factory=Counter)
    references: dict[str | None, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    lines: dict[str, int] = field(default_factory=dict)
    invalid: int = 0
    first_invalid: list[tuple[int, str]] = field(default_factory=list)
    with_thoughts: int = 0
    """References that are texts with thoughts in tags before them."""
    ruled: Counter[tuple[str, bool]] = field(default_factory=Counter)
    """Values of fields with a rule, and whether they are of the kind that the rule expects."""
    tokens: array[int] = field(default_factory=lambda: array("I"))
    """Estimated tokens of each reference."""
    longest: tuple[int, int] = (0, 0)
    """Tokens and line of the longest reference."""

    @classmethod
    def of(cls, task: Task, examples: Iterable[Example], scale: float = 1.0) -> RowProfile:
        """The profile of these rows; a preference pair counts with its chosen answer."""
        profile = cls(task, scale)
        for example in examples:
            profile.add(example)
        return profile

    @property
    def is_free_text(self) -> bool:
        """Whether the rows have so many references that they are no labels; further ones were not counted."""
        return len(self.lines) > MAX_LABELS and not self.task.label_separator

    def labels(self, *splits: str | None) -> Counter[str]:
        """Rows of each label in these splits; None: rows without a split."""
        counts = Counter[str]()
        for split in splits:
            for reference, rows in self.references[split].items():
                for label in labels_of(reference, self.task):
                    counts[label] += rows
        return counts

    def merge(self, spellings: Sequence[LabelSpellings]) -> None:
        """Count labels that differ in spelling only as one."""
        for split, counts in self.references.items():
            merged = Counter[str]()
            for reference, rows in counts.items():
                merged[merge_spellings(reference, self.task, spellings)] += rows
            self.references[split] = merged
        lines = sorted(self.lines.items(), key=lambda entry: -entry[1])
        self.lines = {merge_spellings(reference, self.task, spellings): line for reference, line in lines}

    def extend(self, part: RowProfile) -> None:
        """Add what was counted of further rows, fewer than MAX_LABELS."""
        self.rows.update(part.rows)
        self.tokens.extend(part.tokens)
        self.longest = max(self.longest, part.longest, key=lambda longest: longest[0])
        self.invalid += part.invalid
        self.ruled.update(part.ruled)
        self.with_thoughts += part.with_thoughts
        self.first_invalid += part.first_invalid[: _MAX_SHOWN - len(self.first_invalid)]
        for reference, line in part.lines.items():
            if not self.is_free_text:
                self.lines.setdefault(reference, line)
        for split, counts in part.references.items():
            self.references[split].update({name: rows for name, rows in counts.items() if name in self.lines})

    def add(self, example: Example) -> None:
        """Count a row."""
        reference, line = example.target, example.line
        self.rows[example.split] += 1
        tokens = estimate_tokens(reference)
        self.tokens.append(tokens)
        if tokens > self.longest[0]:
            self.longest = tokens, line
        if self.task.is_labelled:
            if reference in self.lines or not self.is_free_text:
                self.lines.setdefault(reference, line)
                self.references[example.split][reference] += 1
        elif _canonical(self.task, reference) is None:
            self.invalid += 1
            if self.invalid <= _MAX_SHOWN:
                self.first_invalid.append((line, reference))
        elif self.task.is_free_text:
            self.with_thoughts += has_thoughts(reference)
        elif self.task.field_rules:
            self.ruled.update(ruled_values(json_object(reference), self.task.field_rules))


def sampled(config: Config, notes: Sequence[str] = ()) -> tuple[list[Example], list[RejectedRow], int]:
    """The examples and the rejected rows of the configuration's data, a sample of a long file; the number of its rows.

    `notes` on the reading have been shown and are not logged again. Raises `UserError` when the source cannot be read.
    """
    stats = ReadStats(notes=list(notes), logs_values=True)
    rules = config.preprocess.model_copy(update={"pii": "off"})  # a detector may be paid
    if config.method == "preference" and config.preference.pairs_from == "data":
        rules = rules.model_copy(update={"test_data": ""})
        items = stream_pairs(config.data, config.task, rules, config.preference, stats)
        examples, rejected = source_rows.divide(items)
        return examples, rejected, len(examples) + len(rejected)
    return source_rows.sample(config.data, config.task, rules, stats)


def require_source_fit(config: Config) -> int:
    """Check the data of a configuration, by a sample of all its rows, before anything is started for them.

    Returns the number of rows.

    Raises `UserError` when the source cannot be read, no row is usable, or the configuration does not fit the rows.
    """
    examples, rejected, rows = sampled(config)
    if not examples:
        raise source_rows.no_usable_rows(config.data, rejected)
    scale = rows / (len(examples) + len(rejected))
    require_fit(config.task, config.evaluate, config.split, RowProfile.of(config.task, examples, scale), config.data)
    return rows


def require_same_task(config: Config, own: str, file: str) -> None:
    """Raise `UserError` when the configuration in `file` was written for `own`, rows of another task than its data.

    Its instruction and names would be sent with rows that they do not describe. It is another task if the own rows
    cannot be read by these settings, or share fewer than half of the labels.
    """
    rules = config.preprocess.model_copy(update={"pii": "off"})
    try:
        mine, theirs = (source_rows.sample(data, config.task, rules)[0] for data in (own, config.data))
    except UserError:
        mine, theirs = [], []
    profiles = [RowProfile.of(config.task, examples) for examples in (mine, theirs)]
    is_other = not mine or bool(profiles[0].invalid > MAX_ODD_SHARE * len(mine))
    if not is_other and config.task.is_labelled:
        labels = [set(profile.labels(*_ANY_SPLIT)) for profile in profiles]
        is_other = 2 * len(labels[0] & labels[1]) < min(map(len, labels))
    if is_other:
        raise UserError(
            f"the configuration describes the rows of {own}; its instruction and names do not fit {config.data}",
            file=file,
            remedy=f"gemtune init {config.data}",
        )


def require_fit(task: Task, evaluate: Evaluate, split: Split | None, profile: RowProfile, file: str = "") -> list[str]:
    """The notes about these rows. Raises `UserError` with everything that must stop a run."""
    listed = misfits(task, evaluate, split, profile)
    if stopping := [misfit for misfit in listed if misfit.stops]:
        raise UserError("\n".join(map(str, stopping)), file=file or None)
    if too_few := next((misfit for misfit in listed if misfit.too_few), None):
        raise TooFewRowsError(str(too_few), file=file or None)
    return [str(misfit) for misfit in listed]


def misfits(task: Task, evaluate: Evaluate, split: Split | None, profile: RowProfile) -> list[Misfit]:
    """Everything in which the configuration does not fit the rows, what stops a run first; [] without rows.

    Without `split` the rows are not split yet.
    """
    if not profile.rows.total():
        return []
    references = _label_misfits if task.is_labelled else _reference_misfits
    checks = [references(task, profile), _length_misfits(evaluate, profile)]
    checks += [_split_misfits(task, split, profile)] if split else []
    return sorted((misfit for check in checks for misfit in check), key=lambda misfit: not misfit.stops)


# -- references ------------------------------------------------------------------------------------------------------


def _label_misfits(task: Task, profile: RowProfile) -> Iterator[Misfit]:
    rows, counts = profile.rows.total(), profile.labels(*_ANY_SPLIT)
    if container := _container_misfit(task, profile):
        yield container
        return
    joined = None if task.labels else _joined_misfit(counts)
    many = len(counts) > max(PLAUSIBLE_LABELS, MAX_LABEL_SHARE * rows * profile.scale)
    if profile.is_free_text or (many and not task.labels):
        more = " or more" if profile.is_free_text else ""
        remedy = "for free text set task.kind: generation; list labels that are meant in task.labels"
        remedy = joined.remedy if joined and not profile.is_free_text else remedy
        yield Misfit(f"{len(counts)}{more} different labels in {rows} rows: more than a tenth is free text", remedy)
        return
    if joined:
        yield joined
    if len(counts) < 2 and profile.scale == 1:
        label = next(iter(counts), "")
        yield Misfit(f"only one label: {label!r:.80}", "provide rows of two labels or more")
        return
    yield from _spelling_misfits(task, profile, task.labels or sorted(counts))


def _container_misfit(task: Task, profile: RowProfile) -> Misfit | None:
    """Objects, or lists where a row has one label, as labels."""
    lines: dict[type, int] = {}
    containers = Counter[type]()
    for split in _ANY_SPLIT:
        for reference, rows in profile.references[split].items():
            kind = type(parse_container(reference))
            if kind is dict or (kind is list and not task.label_separator):
                containers[kind] += rows
                lines.setdefault(kind, profile.lines[reference])
    kind, rows = containers.most_common(1)[0] if containers else (dict, 0)
    if rows <= MAX_ODD_SHARE * profile.rows.total():
        return None
    what, remedy = (
        ("objects", "did you mean task.kind: extraction?")
        if kind is dict
        else ("lists", "set task.label_separator, such as '; ', when rows have several labels")
    )
    return Misfit(f"{rows} of {profile.rows.total()} references are {what}, not labels", remedy, lines[kind])


def _joined_misfit(counts: Counter[str]) -> Misfit | None:
    """Labels that are made of others."""
    mark = joining_mark(counts, len(counts))
    if not mark:
        return None
    joined = [label for label in counts if mark in label]
    message = f"{len(joined)} of {len(counts)} labels look like several, joined by {mark!r}, such as {joined[0]!r:.80}"
    return Misfit(message, f"if rows have several labels, set task.label_separator to {mark!r}", stops=False)


def _spelling_misfits(task: Task, profile: RowProfile, labels: Sequence[str]) -> Iterator[Misfit]:
    """Labels that a prompt cannot list, or that no answer can be read as."""
    resolved = task.model_copy(update={"labels": list(labels)})
    for label in labels:
        if "\n" in label.strip() or "\r" in label.strip():
            yield Misfit(f"the label {label!r:.80} has a line break, so that no prompt can list it", "rename it")
    unreadable = []
    index = {} if task.label_separator else label_index(tuple(labels), "exact")
    for reference in dict.fromkeys([*labels, *profile.lines]):
        if index.get(exact(reference)) == reference and reference.isprintable():  # surely read, without the reader
            continue
        value = _canonical(resolved, reference)
        if value is None or set(labels_of(value, task)) != set(labels_of(reference, task)):
            unreadable.append(reference)
    for reference in unreadable[:_MAX_SHOWN]:
        message = f"no answer can be read as the label {reference!r:.80}: it is spelled like another, or like no label"
        yield Misfit(message, "rename it, or set preprocess.label_spellings: merge", profile.lines.get(reference))


def _canonical(task: Task, reference: str) -> str | None:
    from gemtune.inference.parsing import canonical  # its patterns take long to compile

    return canonical(task, reference)


def _reference_misfits(task: Task, profile: RowProfile) -> Iterator[Misfit]:
    what, remedy = "a text without thoughts", "correct or remove these rows"
    if task.kind == "extraction":
        what = "an object that fits task.output_schema" if task.output_schema else "a JSON object"
    for line, reference in profile.first_invalid:
        yield Misfit(f"the reference {reference!r:.80} is not {what}", remedy, line)
    if profile.invalid > _MAX_SHOWN:
        yield Misfit(f"{profile.invalid} of {profile.rows.total()} references are not {what}", remedy)
    if profile.with_thoughts:
        message = f"{profile.with_thoughts} of {profile.rows.total()} references have thoughts in tags"
        yield Misfit(
            f"{message}: they are trained on, and left out of scores", "remove them from the rows", stops=False
        )
    if profile.scale == 1:
        yield from _rule_misfits(task, profile.ruled)


def _rule_misfits(task: Task, ruled: Counter[tuple[str, bool]]) -> Iterator[Misfit]:
    """Rules of fields that have no values, or values of another kind."""
    for name, rules in task.field_rules.items():
        unread, count = ruled[name, False], ruled[name, False] + ruled[name, True]
        kind = "number" if "number" in rules else "unambiguous date"
        message, remedy = f"{unread} of {count} values are no {kind} and are compared as text", "correct rule or values"
        if not count:
            message, remedy = "no reference has a value of this field", "correct its name"
        if unread > MAX_ODD_SHARE * count or not count:
            yield Misfit(f"task.field_rules.{name}: {message}", remedy, stops=False)


# -- lengths ---------------------------------------------------------------------------------------------------------


def _length_misfits(evaluate: Evaluate, profile: RowProfile) -> Iterator[Misfit]:
    """Answer limits below what the references need, by estimated tokens, beside the thinking that counts too."""
    (longest, line), ordered = profile.longest, sorted(profile.tokens)
    thinking = evaluate.thinking_budget if evaluate.thinking_budget >= 0 else DYNAMIC_THINKING_TOKENS
    limits: dict[str, int | None] = {"evaluate.max_output_tokens": evaluate.max_output_tokens}
    for number, prompt in enumerate(evaluate.baselines):
        limits[f"evaluate.baselines[{number}].max_output_tokens"] = answer_token_limit(prompt)
    for setting, limit in limits.items():
        if not limit:  # the prompt has the limit of the evaluation
            continue
        needed = thinking + longest
        if thinking and needed > limit:
            message = f"{setting}={limit} includes the thinking, up to {thinking} tokens; the longest reference has "
            message += f"about {longest}"
            yield Misfit(message, f"raise it to {needed} or more, or lower evaluate.thinking_budget")
        elif above := len(ordered) - bisect_right(ordered, limit):
            message = (
                f"{above} of {len(ordered)} references are longer than an answer may be, {setting}={limit}: the "
                f"median reference has about {ordered[len(ordered) // 2]} tokens, the longest {longest}"
            )
            stops = profile.task.is_labelled or above > MAX_ODD_SHARE * len(ordered)
            yield Misfit(message, f"raise it to {longest} or more", line, stops)
    judge = evaluate.judge
    if judge.model and thinking >= judge.max_output_tokens:
        message = f"evaluate.judge.max_output_tokens={judge.max_output_tokens} includes the thinking, up to {thinking}"
        yield Misfit(f"{message} tokens", f"raise it above {thinking}, or lower evaluate.thinking_budget")


# -- splits ----------------------------------------------------------------------------------------------------------


def _split_misfits(task: Task, split: Split, profile: RowProfile) -> Iterator[Misfit]:
    sizes = split_sizes({name: rows * profile.scale for name, rows in profile.rows.items()}, split)
    remedy = "provide more rows, or change the shares or split.min_rows"
    if small := {name: round(size) for name, size in sizes.items() if round(size) < split.min_rows}:
        listed = ", ".join(f"{name} has about {size}" for name, size in small.items())
        of_all = split_sizes({None: profile.rows.total() * profile.scale}, split)
        is_enough = min(map(round, of_all.values())) >= split.min_rows  # then the source's own split is at fault
        remedy = "change the source's split" if is_enough else remedy
        message = f"too few rows for a run, split.min_rows={split.min_rows}: {listed}"
        yield Misfit(message, remedy, stops=is_enough, too_few=not is_enough)
        return
    if not profile.task.is_labelled or profile.is_free_text:
        return
    counts = Counter(dict.fromkeys(task.labels, 0))
    counts.update(profile.labels(*_ANY_SPLIT))
    for name in ("validation", "test"):
        if not task.label_separator and len(counts) > round(sizes[name]):
            message = f"{name} has about {round(sizes[name])} rows, too few for each of the {len(counts)} labels"
            yield Misfit(message, remedy)
    if profile.scale > 1:  # a sample has not all labels
        return
    for name in SPLITS:
        own = profile.labels(name, None)
        absent = sorted(label for label in counts.keys() - own if counts[label] >= RARE_ROWS)
        if profile.rows[name] and len(own) < 2 <= len(counts):
            fix = "choose another split.time_column" if split.time_column else "change the source's split"
            yield Misfit(f"the {name} rows have {len(own)} label of {len(counts)}: {sorted(own)}", fix)
        elif profile.rows[name] and absent:
            more = f" and {len(absent) - _MAX_LISTED} more" if len(absent) > _MAX_LISTED else ""
            message = f"no {name} row has the labels {', '.join(map(repr, absent[:_MAX_LISTED]))}{more}"
            fix = "choose another split.time_column" if split.time_column else "add rows, or change the source's split"
            yield Misfit(message, fix, stops=False)
    rare = {label: rows for label, rows in sorted(counts.items()) if rows < RARE_ROWS}
    if rare and len(counts) <= MAX_LABEL_SHARE * profile.rows.total():
        shown = ", ".join(f"{label[:60]!r} {rows}" for label, rows in list(rare.items())[:_MAX_LISTED])
        more = f" and {len(rare) - _MAX_LISTED} more" if len(rare) > _MAX_LISTED else ""
        have = "label has" if len(rare) == 1 else "labels have"
        message = f"{len(rare)} {have} fewer than {RARE_ROWS} rows, too few to learn or to measure: {shown}{more}"
        yield Misfit(message, "add rows, or leave these labels out by preprocess.labels", stops=False)
