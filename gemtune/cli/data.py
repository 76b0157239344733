# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Data commands: `gemtune data check|convert|describe` and `gemtune dedup`.

Guarantees: exit code 0 when no problem was found, 1 when `check` found one; each problem is one line with file, line
and reason.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from gemtune.catalogue import Catalogue, Limits, TuningMethod
from gemtune.config import Config, JsonObject, Preprocess, Task
from gemtune.data import dataflow_dedup, pairs, source_rows
from gemtune.data.audit import read_review_file, write_review_file
from gemtune.data.cleaning import NO_CLEANING
from gemtune.data.dataflow_job import require_dataflow_settings
from gemtune.data.duplicates import FilterResult, drop_near_duplicates, resolve_exact_duplicates
from gemtune.data.example import Example, RejectedRow, to_row, write_rows
from gemtune.data.label_issues import find_label_issues, summarize
from gemtune.data.profile import profile_rows
from gemtune.data.row_selection import log_if_long
from gemtune.data.row_validation import LABELLED_KINDS, ReadStats
from gemtune.data.service_limits import check_limits, model_problems
from gemtune.data.sources import output_path
from gemtune.data.writers import FORMATS, write, write_pairs
from gemtune.errors import UserError
from gemtune.inference.prompts import training_row, tuned_prompt
from gemtune.inference.tuning_rows import preference_rows

app = typer.Typer(no_args_is_help=True, help="Check, convert and describe rows before money is spent on them.")


def _examples(*lines: str) -> str:
    """Examples below a command's help, one per line."""
    return "Examples:\n\n" + "\n\n".join(lines)


data_app = app

_MAX_SHOWN, _MAX_SHOWN_ALIKE = 20, 3
File = Annotated[
    str,
    typer.Argument(
        help="Rows: .jsonl, .csv, .tsv, .parquet, also .gz; local or gs://...; or bq://PROJECT.DATASET.TABLE."
    ),
]
Settings = Annotated[
    list[str] | None, typer.Option("--set", metavar="SECTION.FIELD=VALUE", help="Override a setting; repeatable.")
]
Configuration = Annotated[Path | None, typer.Option("--config", help="YAML file of settings.")]
Method = Annotated[
    str, typer.Option(help="supervised (labelled rows) or preference (pairs of a chosen and a rejected answer).")
]


class _Progress(logging.Handler):
    """Shows the progress of long work on stderr, so that a command's output can be piped."""

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        if message.startswith("progress: "):
            typer.echo(message.removeprefix("progress: "), err=True)


def _show_progress() -> None:
    log = logging.getLogger("gemtune")
    if not any(isinstance(handler, _Progress) for handler in log.handlers):
        log.addHandler(_Progress())
        log.setLevel(logging.INFO)


DEDUP_EXAMPLES = _examples(
    "gemtune dedup rows.jsonl --out kept.jsonl --dropped dropped.jsonl",
    "gemtune dedup rows.csv --out kept.jsonl --threshold 0.9 --set preprocess.conflicts=majority",
    "gemtune dedup gs://B/rows.jsonl --out gs://B/kept.jsonl --dropped gs://B/dropped.jsonl --runner dataflow "
    "--beam-option project=P --beam-option region=R --beam-option temp_location=gs://B/tmp",
)


@app.command(
    epilog=_examples(
        "gemtune data check rows.jsonl",
        "gemtune data check rows.csv --set preprocess.text_column=body --set preprocess.target_column=topic",
        "gemtune data check pairs.jsonl --method preference --model gemini-2.5-flash",
    )
)
def check(
    file: File,
    method: Method = "supervised",
    model: Annotated[str, typer.Option(help="Base model; default: evaluate.base_model of the settings.")] = "",
    config: Configuration = None,
    settings: Settings = None,
) -> None:
    """Check the rows, and whether the tuning service accepts them, for a model and a method.

    Nothing is uploaded or written. Exit code 0: all rows can be used; 1: there are problems.
    """
    overrides = [*(settings or []), *([f"evaluate.base_model={model}"] if model else [])]
    loaded = Config.load(config, overrides)
    limits, tuning_method = _limits(loaded, method)
    rejected = _RejectedRows(file)
    rows = _pair_requests if method == "preference" else _row_requests
    checker = check_limits(rows(file, loaded, rejected), limits, tuning_method)
    rejected.show_rest()
    free_text = method == "preference" or loaded.task.kind in ("summarization", "generation")
    conflicts = "keep" if method == "preference" else "" if free_text else loaded.preprocess.conflicts
    problems = [*model_problems(loaded, tuning_method), *checker.problems(conflicts)]
    for problem in problems:
        typer.echo(f"{file}: {problem}")
    if note := checker.validation_note(conflicts, loaded.split.validation, loaded.split.test):
        typer.echo(f"note: {note}")
    reasons, usable = checker.count_duplicates(conflicts)
    if rejected.first and not len(checker):
        typer.echo(f"note: {source_rows.suggest_remedy(rejected.first)}")
    typer.echo(f"{usable} of {len(checker) + len(rejected)} rows usable" + _listed(rejected.reasons + reasons))
    if rejected or problems:
        raise typer.Exit(1)


Requests = Iterator[tuple[Example, JsonObject, str]]  # the example, its tuning row, its answer


def _row_requests(file: str, loaded: Config, rejected: _RejectedRows) -> Requests:
    """Every usable row as a tuning row; the others are shown and counted."""
    prompt = tuned_prompt(loaded.task)
    for row in source_rows.stream(file, loaded.task, loaded.preprocess, _read_stats(loaded)):
        if isinstance(row, Example):
            yield row, training_row(loaded.task, prompt, row), row.target
        else:
            rejected.add(row)


def _pair_requests(file: str, loaded: Config, rejected: _RejectedRows) -> Requests:
    source = pairs.read(file, loaded.task, loaded.preprocess, loaded.preference, _read_stats(loaded))
    kept = pairs.deduplicate(source, loaded.preprocess)
    for dropped in sorted(kept.dropped, key=lambda row: row.line):
        rejected.add(dropped)
    by_id = {example.id: example for example in kept.prompts}
    for pair in kept.pairs:
        prompt = replace(by_id[pair.prompt], line=pair.line, pairs=(pair,))
        ((_, row),) = preference_rows(loaded.task, [prompt])
        yield prompt, row, f"{pair.chosen}\0{pair.rejected}"


def _limits(loaded: Config, method: str) -> tuple[Limits, TuningMethod]:
    """The limits of a method, and the method; raises `UserError` for an unknown one."""
    limits = Catalogue.load(loaded.vertex.catalogue).limits
    if method not in limits:
        raise UserError(f"unknown method {method!r}", remedy=f"one of {', '.join(limits)}")
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

    def no_usable_rows(self) -> UserError:
        """The error for a source without a usable row."""
        return source_rows.no_usable_rows_among(self.file, self.reasons, self.first)


@app.command(
    epilog=_examples(
        "gemtune data convert rows.csv --out rows.jsonl",
        "gemtune data convert rows.jsonl --out rows.csv --to columns",
        "gemtune data convert pairs.csv --out pairs.jsonl --method preference",
    )
)
def convert(
    file: File,
    out: Annotated[str, typer.Option(help="Output file, local or gs://: .jsonl; .csv, .tsv for columns; also .gz.")],
    to: Annotated[str, typer.Option(help=f"Format: {', '.join(FORMATS)}.")] = "gemini",
    method: Method = "supervised",
    config: Configuration = None,
    settings: Settings = None,
) -> None:
    """Write the rows in another format, texts unchanged; rows that cannot be read are listed and left out.

    With --method preference the rows are preference pairs: gemini writes contents and completions; messages and chat
    write prompt, chosen and rejected as lists of turns, columns as plain texts.
    """
    loaded = Config.load(config, settings or [])
    _limits(loaded, method)
    rules = loaded.preprocess.model_copy(update=NO_CLEANING)
    stats, rejected, lost_fields = _read_stats(loaded), _RejectedRows(file, err=True), Counter[str]()
    is_preference = method == "preference"

    def usable() -> Iterator[Any]:
        pair_rows = pairs.stream(file, loaded.task, rules, loaded.preference, stats) if is_preference else None
        rows = (
            source_rows.with_progress(pair_rows, file)
            if pair_rows
            else source_rows.stream(file, loaded.task, rules, stats)
        )
        for row in rows:
            if isinstance(row, RejectedRow):
                rejected.add(row)
            else:
                example = row[0] if isinstance(row, tuple) else row
                lost_fields.update(["split"] * (example.split is not None) + ["group"] * (example.group is not None))
                yield row

    rows = source_rows.require_rows(usable(), rejected.no_usable_rows)
    with output_path(out) as path:
        count = write_pairs(path, rows, to) if is_preference else write(path, rows, to)
    rejected.show_rest()
    typer.echo(f"{count} rows written to {out}, {len(rejected)} left out" + _listed(rejected.reasons))
    for field, lost in lost_fields.items() if to != "columns" else ():
        typer.echo(f"note: the {field} of {lost} rows is not written: {to} has no such field, columns do", err=True)


@app.command(
    epilog=_examples(
        "gemtune data describe rows.csv",
        "gemtune data describe rows.csv --audit review.csv    (edit the column label, then)",
        "gemtune run my.yaml --set preprocess.corrections=review.csv",
    )
)
def describe(
    file: File,
    audit: Annotated[str | None, typer.Option(help="Write likely label issues to a review file (CSV).")] = None,
    config: Configuration = None,
    settings: Settings = None,
) -> None:
    """Print a profile of the data as JSON: label balance, lengths, scripts, duplicates, conflicts, label issues."""
    loaded = Config.load(config, settings or [])
    task, rules, stats = loaded.task, loaded.preprocess, _read_stats(loaded)
    examples, rejected = _read_all(file, task, rules, stats)
    kept, exact, near = _deduplicate(examples, task, rules)
    issues = find_label_issues(kept, task, rules)
    reasons = Counter(row.reason for row in [*rejected, *exact, *near])
    profile: JsonObject = {
        "rows": len(examples) + len(rejected),
        "would_keep": len(kept),
        "would_drop": dict(reasons.most_common()),
        **stats.to_report().model_dump(),
        **profile_rows(kept, task.kind in LABELLED_KINDS).model_dump(),
        "label_issues": summarize(issues).model_dump(),
    }
    typer.echo(json.dumps(profile, ensure_ascii=False, indent=1))
    if audit is not None:
        with output_path(audit) as path:
            write_review_file(path, issues)
        typer.echo(f"{len(issues)} rows to review: {audit}; use it as preprocess.corrections", err=True)


def _read_all(file: str, task: Task, rules: Preprocess, stats: ReadStats) -> FilterResult:
    """All rows in memory; raises `UserError` when none is usable."""
    examples, rejected = source_rows.read_all(file, task, rules, stats)
    if not examples:
        raise source_rows.no_usable_rows(file, rejected)
    return examples, rejected


def _deduplicate(
    examples: list[Example], task: Task, rules: Preprocess
) -> tuple[list[Example], list[RejectedRow], list[RejectedRow]]:
    """The kept rows; the exact duplicates and conflicts; the near-duplicates."""
    log_if_long("exact deduplication", len(examples))
    kept, exact = resolve_exact_duplicates(examples, task, rules)
    log_if_long("near-deduplication", len(kept))
    kept, near = drop_near_duplicates(kept, task, rules)
    return kept, exact, near


def dedup_command(
    file: File,
    out: Annotated[str, typer.Option(help="File for the kept rows; local or gs://...")],
    dropped: Annotated[str | None, typer.Option(help="File for the dropped rows, with reason and kept row.")] = None,
    threshold: Annotated[float, typer.Option(min=0.05, max=1, help="Jaccard of character 5-grams.")] = 0.8,
    runner: Annotated[
        str, typer.Option(help="local, or dataflow for data that exceed one machine's memory (extra beam).")
    ] = "local",
    beam_option: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="Option of the Dataflow runner; repeatable.")
    ] = None,
    config: Configuration = None,
    settings: Settings = None,
) -> None:
    """Drop exact duplicates, near-duplicates and conflicting labels from a file of rows.

    A row is dropped only for a kept row; which one is kept is decided by content, not by order. Locally, kept rows are
    written as examples (text, target, line of the source); on Dataflow as they are. Dropped rows have a reason.
    """
    loaded = Config.load(config, [*(settings or []), f"preprocess.jaccard_threshold={threshold}"])
    if runner == "dataflow":
        _dedup_on_dataflow(file, out, dropped or "", loaded, beam_option or [])
        return
    if runner != "local":
        raise UserError(f"unknown runner {runner!r}", remedy="one of local, dataflow")
    if beam_option:
        raise UserError("--beam-option is for --runner dataflow", remedy="leave it out")
    task, rules = loaded.task, loaded.preprocess
    examples, rejected = _read_all(file, task, rules, _read_stats(loaded))
    kept, exact, near = _deduplicate(examples, task, rules)
    dropped_rows = sorted([*rejected, *exact, *near], key=lambda row: row.line)
    with output_path(out) as path:
        write_rows(path, map(to_row, kept))
    if dropped is not None:
        with output_path(dropped) as path:
            write_rows(path, map(to_row, dropped_rows))
    counts = _listed(Counter(row.reason for row in dropped_rows))
    typer.echo(f"{len(kept)} of {len(kept) + len(dropped_rows)} rows kept" + counts)


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
    typer.echo(f"kept rows in {out}, dropped rows in {dropped}")


def _read_stats(loaded: Config) -> ReadStats:
    _show_progress()
    corrections = loaded.preprocess.corrections
    return ReadStats(read_review_file(corrections) if corrections else {})


def _listed(reasons: Counter[str]) -> str:
    return "".join(f"; {count} {reason}" for reason, count in reasons.most_common())
