# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""What `gemtune data check|convert|describe` and `gemtune dedup` do; their options are declared in `data`."""

from __future__ import annotations

import json
import logging
import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import chain
from pathlib import Path

import typer

from gemtune.artifacts.data import BorderlineDuplicate
from gemtune.catalogue import Catalogue, Limits, TuningMethod
from gemtune.cli.options import echo
from gemtune.cli.row_counts import RowCounts
from gemtune.config import Config, JsonObject, Preprocess, Task
from gemtune.data import dataflow_dedup, pairs, source_rows
from gemtune.data.cleaning import NO_CLEANING, export_rules, load_cleaner, text_key
from gemtune.data.csv_safe import read_review_file, write_review_file
from gemtune.data.dataflow_job import require_dataflow_settings
from gemtune.data.duplicates import FilterResult, apply_rules, borderline_duplicates
from gemtune.data.example import Example, RejectedRow, to_row, write_rows
from gemtune.data.label_issues import find_label_issues
from gemtune.data.profile import profile_rows
from gemtune.data.row_validation import LEFT_OUT, ReadStats
from gemtune.data.service_limits import LimitChecker, model_problems
from gemtune.data.sources import output_path
from gemtune.data.writers import write
from gemtune.errors import TooFewRowsError, UserError, did_you_mean
from gemtune.inference.data_fit import Misfit, misfits
from gemtune.inference.prompts import preference_rows, training_row, tuned_prompt

_MAX_SHOWN, _MAX_SHOWN_ALIKE, _MAX_SHOWN_LABELS = 20, 3, 12


class _Progress(logging.Handler):
    """Shows notes and the progress of long work on stderr, so that a command's output can be piped."""

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        if record.levelno >= logging.WARNING:
            typer.echo(f"note: {message}", err=True)
        if message.startswith("progress: "):
            typer.echo(message.removeprefix("progress: "), err=True)


def check(file: str, method: str, config: Path | None, overrides: list[str], as_json: bool) -> None:
    """Show what keeps rows from being used, and the problems of all rows together; exit code 1 if there are any."""
    loaded = Config.load(config, overrides)
    method = method or loaded.method
    limits, tuning_method = _limits(loaded, method)
    rejected = _RejectedRows(file, err=as_json)
    free_text = method == "preference" or loaded.task.is_free_text
    conflicts = "keep" if method == "preference" else "" if free_text else loaded.preprocess.conflicts
    prompt, stats = tuned_prompt(loaded.task), _read_stats(loaded)

    def row_of(example: Example) -> JsonObject:
        is_pair = method == "preference"
        return preference_rows(loaded.task, [example])[0][1] if is_pair else training_row(loaded.task, prompt, example)

    checker = LimitChecker(limits, tuning_method, conflicts, row_of)
    counted = RowCounts(loaded.task, loaded.preprocess, stats, checker)
    if method == "preference":
        counted.add(_pairs(file, loaded, rejected, stats))
    else:
        counted.read(file, rejected.add)
    profile = counted.profile
    rejected.show_rest()
    if loaded.preprocess.label_spellings == "merge":
        profile.merge(stats.label_spellings)
    unfit = misfits(loaded.task, loaded.evaluate, loaded.split, profile)
    problems = [*model_problems(loaded, tuning_method), *checker.problems()]
    problems += [str(misfit) for misfit in unfit if misfit.stops]
    rows = len(checker) + len(rejected)
    if len(checker) and not problems and rows <= source_rows.SAMPLE_ROWS:
        from gemtune.cli import first_steps  # the steps are slow to import

        error, noted = first_steps.tried(loaded.model_copy(update={"data": file, "method": method}), rows)
        unfit = unfit if noted is None else [Misfit(note, stops=False) for note in noted]
        if isinstance(error, TooFewRowsError):
            unfit = [*(misfit for misfit in unfit if not misfit.too_few), Misfit(str(error), stops=False)]
        elif error:
            problems.append(str(error))
    notes = [*filter(None, (checker.validation_note(loaded.split), counted.injections.note()))]
    for misfit in unfit:
        if not misfit.stops:
            typer.echo(f"note: {misfit}", err=True)
    mask, reasons = checker.count_duplicates()
    usable = int(mask.sum())
    if not len(checker) and not rejected.first:
        raise source_rows.no_usable_rows_among(file, rejected.reasons, rejected.first)
    if rejected.first and not len(checker):
        notes.append(source_rows.suggest_remedy(rejected.first))
    counts = rejected.reasons + reasons
    lines = [*(f"{file}: {problem}" for problem in problems), *(f"note: {note}" for note in notes)]
    lines.append(f"{usable} of {rows} rows usable" + _listed(counts))
    notes = [*(str(misfit) for misfit in unfit if not misfit.stops), *notes]
    echo({"rows": rows, "usable": usable, "reasons": counts, "problems": problems, "notes": notes}, as_json, *lines)
    if rejected.unwanted or problems or not usable:
        raise typer.Exit(1)


def _pairs(file: str, loaded: Config, rejected: _RejectedRows, stats: ReadStats) -> Iterator[tuple[Example, str]]:
    """Every usable pair as an example, and its answers; the others are shown and counted."""
    source = pairs.read(file, loaded.task, loaded.preprocess, loaded.preference, stats)
    kept = pairs.deduplicate(source, loaded.preprocess)
    for dropped in sorted(kept.dropped, key=lambda row: row.line):
        rejected.add(dropped)
    by_id = {example.id: example for example in kept.prompts}
    for pair in kept.pairs:
        prompt = replace(by_id[pair.prompt], line=pair.line, pairs=(pair,))
        yield prompt, f"{pair.chosen}\0{pair.rejected}"


def _limits(loaded: Config, method: str) -> tuple[Limits, TuningMethod]:
    """The limits of a method, and the method; raises `UserError` for an unknown one."""
    limits = Catalogue.load(loaded.vertex.catalogue).limits
    if method not in limits:
        raise UserError(
            f"unknown method {method!r}", remedy=f"one of {', '.join(limits)}{did_you_mean(method, tuple(limits))}"
        )
    return limits[method], method


class _RejectedRows:
    """Rejected rows counted by reason; the first are shown, and only a few with the same detail."""

    def __init__(self, file: str, err: bool = False) -> None:
        self.file, self.err = file, err
        self.reasons, self._same = Counter[str](), Counter[str]()
        self.first: RejectedRow | None = None
        self._shown = 0

    def __len__(self) -> int:
        return self.reasons.total()

    @property
    def unwanted(self) -> int:
        """The rows among them that no setting and no reviewer leaves out."""
        return self.reasons.total() - sum(self.reasons[reason] for reason in LEFT_OUT)

    def add(self, row: RejectedRow) -> None:
        """Count a row, and show it unless enough like it were shown."""
        self.first = self.first or row
        self.reasons[row.reason] += 1
        if self._shown < _MAX_SHOWN:
            self._same[row.detail] += 1
            if self._same[row.detail] <= _MAX_SHOWN_ALIKE:
                self._shown += 1
                typer.echo(f"{self.file}:{row.line}: {row.reason}: {row.detail}", err=self.err)

    def show_rest(self) -> None:
        """Show how many rows were not shown."""
        if len(self) > self._shown:
            typer.echo(f"... and {len(self) - self._shown} more", err=self.err)


def convert(
    file: str, out: str, to: str, method: str, config: Path | None, overrides: list[str], as_json: bool
) -> None:
    """Write the readable rows in the format `to`; the others are listed on stderr."""
    loaded = Config.load(config, overrides)
    method = method or loaded.method
    _limits(loaded, method)
    rules = loaded.preprocess.model_copy(update=NO_CLEANING)
    stats, rejected, lost_fields = _read_stats(loaded), _RejectedRows(file, err=True), Counter[str]()

    def usable() -> Iterator[Example]:
        rows = source_rows.stream(file, loaded.task, rules, stats)
        if method == "preference":
            pair_rows = pairs.stream(file, loaded.task, rules, loaded.preference, stats)
            rows = source_rows.with_progress(pair_rows, file)
        for row in rows:
            if isinstance(row, RejectedRow):
                rejected.add(row)
            else:
                lost_fields.update(["split"] * (row.split is not None) + ["group"] * (row.group is not None))
                yield row

    rows = usable()
    first = next(rows, None)
    if first is None:
        raise source_rows.no_usable_rows_among(file, rejected.reasons, rejected.first)
    with output_path(out) as path:
        count = write(path, chain([first], rows), to)
    rejected.show_rest()
    written = f"{count} rows written to {out}, {len(rejected)} left out" + _listed(rejected.reasons)
    echo({"out": out, "rows": count, "excluded": rejected.reasons}, as_json, written)
    for field, lost in lost_fields.items() if to != "columns" else ():
        typer.echo(f"note: the {field} of {lost} rows is not written: {to} has no such field, columns do", err=True)


def describe(file: str, audit: str | None, config: Path | None, overrides: list[str], as_json: bool) -> None:
    """Print the profile of the rows; write likely label issues to the review file `audit`.

    Raises `UserError` after that when a rule would drop more rows than the limits allow.
    """
    loaded = Config.load(config, overrides)
    _require_labelled(loaded, file)
    task, rules, stats = loaded.task, loaded.preprocess, _read_stats(loaded)
    examples, rejected = _read_all(file, task, rules, stats)
    kept, dropped, problems = apply_rules(examples, task, rules, loaded.vertex)
    issues = find_label_issues(kept, task, rules)
    reasons = Counter(row.reason for row in [*rejected, *dropped])
    profile: JsonObject = {
        "rows": len(examples) + len(rejected),
        "would_keep": len(kept),
        "would_drop": dict(reasons.most_common()),
        **stats.to_report().model_dump(),
        **profile_rows(kept, task.is_labelled).model_dump(),
        "borderline_duplicates": [row.model_dump() for row in borderline_duplicates(dropped)],
        "label_issues": issues.summary().model_dump(),
    }
    echo(profile, as_json, *_profile_lines(profile))
    if audit is not None:
        with output_path(audit) as path:
            write_review_file(path, issues.rows)
        typer.echo(f"{len(issues.rows)} rows to review: {audit}; use it as preprocess.corrections", err=True)
    if problems:
        raise problems[0]


def _profile_lines(profile: JsonObject) -> list[str]:

    def counts(values: Mapping[str, int]) -> str:
        shown = [f"{count} {name}" for name, count in list(values.items())[:_MAX_SHOWN_LABELS]]
        more = len(values) - len(shown)
        return ", ".join([*shown, *([f"and {more} more"] if more > 0 else [])])

    lines = [f"{profile['rows']} rows, {profile['would_keep']} would be kept"]
    listed = {
        "dropped": profile["would_drop"],
        "labels": dict(sorted(profile["labels"].items(), key=lambda item: -item[1])),
        "scripts": profile["scripts"],
        "personal data": profile["personal_data"]["findings"],
    }
    lines += [f"{name}: {counts(values)}" for name, values in listed.items() if values]
    for name, what in (("text_characters", "characters of a text"), ("target_characters", "characters of a reference")):
        if size := profile[name]:
            lines.append(f"{what}: median {size['median']}, 95 % up to {size['p95']}, longest {size['max']}")
    issues = profile["label_issues"]
    if issues["rows"] is None:
        lines.append(
            "likely label issues: their number cannot be estimated, the texts predict the labels too weakly "
            f"(kappa {issues['agreement']:.2f}); --audit review.csv lists the {issues['flagged']} rows in doubt"
        )
    elif issues["rows"]:
        at_most = f"about {issues['rows']} rows, at most {issues['rows_at_most']}"
        lines.append(f"likely label issues: {at_most}; --audit review.csv lists the {issues['flagged']} rows in doubt")
    return lines


def compare(train: str, logs: str, config: Path | None, overrides: list[str], as_json: bool) -> None:
    """Print how the texts of `logs` differ from the rows of `train`, new topics, and what to do."""
    from gemtune.data.embedders import load_embedder
    from gemtune.monitoring import differences as compared
    from gemtune.monitoring.logs import load_requests
    from gemtune.monitoring.reference import drawn_rows
    from gemtune.monitoring.similarity import TrainingRows

    loaded = Config.load(config, overrides)
    rules, monitor = loaded.preprocess, loaded.monitor
    rows = drawn_rows(_read_all(train, loaded.task, rules, _read_stats(loaded))[0])
    since = datetime.now(UTC) - timedelta(days=monitor.baseline_windows * monitor.window_days)
    span = (since if logs.startswith("bq://") else datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC))
    requests, unreadable, own = load_requests(logs, span, rules.text_column, monitor.max_bytes_billed)
    if not requests:
        remedy = f"name a file of rows with the column {rules.text_column}, or of logged requests"
        raise UserError(f"no text can be read ({unreadable} rows)", file=logs, remedy=remedy)
    clean = load_cleaner({**export_rules(rules, loaded.task), "pii": "off"})
    texts = sorted(
        {text_key(text): text for text in map(clean, compared.without_template([r.text for r in requests]))}.values()
    )
    texts = random.Random(7).sample(texts, monitor.max_rows) if len(texts) > monitor.max_rows else texts
    embedder = None if rules.embedder in ("", "builtin") else load_embedder(rules.embedder, loaded.vertex)
    training = TrainingRows([row.text for row in rows], embedder=embedder)
    left_out = f"; {own} requests of gemtune's own evaluation left out" if own else ""
    listed = compared.differences([row.text for row in rows], training, texts)
    listed.append(compared.context([(row.system is not None, len(row.contents or ()) > 1) for row in rows], requests))
    topics = training.new_topics([""] * len(texts), texts, training.scores(texts).tolist())[:_MAX_SHOWN_ALIKE]
    content: JsonObject = {
        "requests": len(requests),
        "unreadable": unreadable,
        "own_evaluation": own,
        "distinct_texts": len(texts),
        "differences": [vars(item) for item in listed],
        "least_similar": [{"texts": topic.rows, "ngrams": topic.ngrams} for topic in topics],
    }
    echo(
        content,
        as_json,
        f"{len(texts)} distinct texts of {len(requests)} requests ({unreadable} rows cannot be read{left_out})",
        *(item.summary for item in listed),
        *(f"least similar: {topic.rows} texts about {', '.join(topic.ngrams)}" for topic in topics),
        *(f"what to do: {remedy}" for remedy in dict.fromkeys(item.remedy for item in listed if item.remedy)),
    )


def _require_labelled(loaded: Config, file: str) -> None:
    """Raise `UserError` if the settings are those of preference pairs, which a run describes and compares itself."""
    if loaded.method == "preference" and loaded.preference.pairs_from == "data":
        remedy = "check them: gemtune data check FILE --config YAML; a run describes them and drops duplicates itself"
        raise UserError("the settings are for preference pairs, not labelled rows", file=file, remedy=remedy)


def _read_all(file: str, task: Task, rules: Preprocess, stats: ReadStats) -> FilterResult:
    """All rows in memory; raises `UserError` when none is usable."""
    examples, rejected = source_rows.read_all(file, task, rules, stats)
    if not examples:
        raise source_rows.no_usable_rows(file, rejected)
    return examples, rejected


def show_borderline(rows: Sequence[BorderlineDuplicate]) -> None:
    """Print the near-duplicates that are least similar to the row kept instead, on stderr."""
    if rows:
        typer.echo("the least similar near-duplicates (similarity, dropped row, row kept instead):", err=True)
    for row in rows:
        typer.echo(f"{row.similarity:.3f}  line {row.line}: {row.text!r:.80}; {row.detail}", err=True)


def deduplicate(
    file: str,
    out: str,
    dropped: str | None,
    runner: str,
    beam_options: list[str],
    config: Path | None,
    overrides: list[str],
    as_json: bool,
) -> None:
    """Write the kept rows, and the dropped rows with their reasons.

    Raises `UserError`, with nothing written, when a rule drops more rows than the limits allow.
    """
    loaded = Config.load(config, overrides)
    _require_labelled(loaded, file)
    if runner == "dataflow":
        _dedup_on_dataflow(file, out, dropped or "", loaded, beam_options)
        place = f"kept rows in {out}, dropped rows in {dropped}"
        echo({"out": out, "dropped": dropped}, as_json, place)
        return
    if runner != "local":
        raise UserError(f"unknown runner {runner!r}", remedy="one of local, dataflow")
    if beam_options:
        raise UserError("--beam-option is for --runner dataflow", remedy="leave it out")
    task, rules = loaded.task, loaded.preprocess
    examples, rejected = _read_all(file, task, rules, _read_stats(loaded))
    kept, duplicates, problems = apply_rules(examples, task, rules, loaded.vertex)
    show_borderline(borderline_duplicates(duplicates))
    if problems:
        raise problems[0]
    dropped_rows = sorted([*rejected, *duplicates], key=lambda row: row.line)
    with output_path(out) as path:
        write_rows(path, map(to_row, kept))
    if dropped is not None:
        with output_path(dropped) as path:
            write_rows(path, map(to_row, dropped_rows))
    counts, rows = Counter(row.reason for row in dropped_rows), len(kept) + len(dropped_rows)
    kept_line = f"{len(kept)} of {rows} rows kept{_listed(counts)}"
    echo({"out": out, "rows": rows, "kept": len(kept), "dropped": counts}, as_json, kept_line)


def _dedup_on_dataflow(file: str, out: str, dropped: str, loaded: Config, beam_options: list[str]) -> None:
    """Run the Beam pipeline on Dataflow and wait for it."""
    require_dataflow_settings(file, loaded.preprocess)
    for option, uri in (("--out", out), ("--dropped", dropped)):
        if not uri.startswith("gs://"):
            raise UserError(f"{option} is {uri!r}, which Dataflow cannot write", remedy="name a gs:// object")
    if wrong := [option for option in beam_options if "=" not in option]:
        raise UserError(f"--beam-option {wrong[0]!r} has no value", remedy="write NAME=VALUE")
    sections = {"task": loaded.task, "preprocess": loaded.preprocess}
    settings = {name: section.model_dump(mode="json", exclude_defaults=True) for name, section in sections.items()}
    options = ["--runner=DataflowRunner", *(f"--{option}" for option in beam_options)]
    dataflow_dedup.run(file, out, dropped, json.dumps(settings), options)


def _read_stats(loaded: Config) -> ReadStats:
    log = logging.getLogger("gemtune")
    if not any(isinstance(handler, _Progress) for handler in log.handlers):
        log.addHandler(_Progress())
        log.setLevel(logging.INFO)
    corrections = loaded.preprocess.corrections
    return ReadStats(read_review_file(corrections) if corrections else {}, logs_values=True)


def _listed(reasons: Counter[str]) -> str:
    return "".join(f"; {count} {reason}" for reason, count in reasons.most_common())
