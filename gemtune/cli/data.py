# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The data side from a shell: `gemtune data check|convert|describe` and `gemtune dedup`.

Promise: exit code 0 when all is well, 1 when `check` found something; each problem is one line naming file, line and
reason.
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

from gemtune.catalogue import Catalogue, Limits
from gemtune.catalogue import TuningMethod as Tuned
from gemtune.config import Config, Preprocess, Task
from gemtune.data import pairs
from gemtune.data.audit import read_review_file, write_review_file
from gemtune.data.cleaning import NO_CLEANING
from gemtune.data.duplicates import FilterResult, drop_near_duplicates, resolve_exact_duplicates
from gemtune.data.example import Example, RejectedRow, plain, write_rows
from gemtune.data.label_issues import told as label_errors_told
from gemtune.data.profile import profile_rows
from gemtune.data.row_validation import LABELLED_KINDS, ReadStats
from gemtune.data.service_limits import check_limits, model_problems
from gemtune.data.sources import written
from gemtune.data.writers import SHAPES, write, write_pairs
from gemtune.errors import UserError
from gemtune.inference.prompts import training_row, tuned_prompt
from gemtune.inference.tuning_rows import preference_rows
from gemtune.steps import preprocess

app = typer.Typer(no_args_is_help=True, help="Look at labelled rows before money is spent on them.")


def _examples(*lines: str) -> str:
    """Examples below a command's help, a line each."""
    return "Examples:\n\n" + "\n\n".join(lines)


data_app = app

_SHOWN, _SHOWN_ALIKE = 20, 3
File = Annotated[
    str,
    typer.Argument(
        help="Rows: .jsonl, .csv, .tsv, .parquet, also .gz; here or gs://...; or bq://PROJECT.DATASET.TABLE."
    ),
]
Settings = Annotated[
    list[str] | None, typer.Option("--set", metavar="SECTION.FIELD=VALUE", help="Override a setting; repeatable.")
]
Configuration = Annotated[Path | None, typer.Option("--config", help="YAML file of settings.")]


TuningMethod = Annotated[
    str, typer.Option(help="supervised (labelled rows) or preference (pairs of a better and a worse answer).")
]


class _Progress(logging.Handler):
    """Shows how far long work is, on stderr, so that what a command prints can be piped."""

    def emit(self, record: logging.LogRecord) -> None:
        said = record.getMessage()
        if said.startswith("progress: "):
            typer.echo(said.removeprefix("progress: "), err=True)


def _shown_progress() -> None:
    log = logging.getLogger("gemtune")
    if not any(isinstance(handler, _Progress) for handler in log.handlers):
        log.addHandler(_Progress())
        log.setLevel(logging.INFO)


DEDUP_EXAMPLES = _examples(
    "gemtune dedup rows.jsonl --out kept.jsonl --dropped dropped.jsonl",
    "gemtune dedup rows.csv --out kept.jsonl --threshold 0.9 --set preprocess.conflicts=majority",
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
    method: TuningMethod = "supervised",
    model: Annotated[str, typer.Option(help="Base model; default: evaluate.base_model of the settings.")] = "",
    config: Configuration = None,
    settings: Settings = None,
) -> None:
    """Say what is wrong with the rows and whether the tuning service will take them, for a model and a method.

    Nothing is sent or written. Exit code 0: all rows can be used; 1: something is to be looked at.
    """
    wanted = [*(settings or []), *([f"evaluate.base_model={model}"] if model else [])]
    chosen = Config.load(config, wanted)
    limits, tuned = _limits(chosen, method)
    told = _Left(file)
    rows = _pairs_as_sent if method == "preference" else _rows_as_sent
    passing = check_limits(rows(file, chosen, told), limits, tuned)
    told.rest()
    free = method == "preference" or chosen.task.kind in ("summarization", "generation")
    conflicts = "keep" if method == "preference" else "" if free else chosen.preprocess.conflicts
    broken = [*model_problems(chosen, tuned), *passing.problems(conflicts)]
    for problem in broken:
        typer.echo(f"{file}: {problem}")
    if note := passing.validation(conflicts, chosen.split.validation, chosen.split.test):
        typer.echo(f"note: {note}")
    reasons, usable = passing.settled(conflicts)
    if told.first and not len(passing):
        typer.echo(f"note: {preprocess.suggest_remedy(told.first)}")
    typer.echo(f"{usable} of {len(passing) + len(told)} rows usable" + _listed(told.reasons + reasons))
    if told or broken:
        raise typer.Exit(1)


Sent = Iterator[tuple[Example, dict[str, Any], str]]


def _rows_as_sent(file: str, chosen: Config, told: _Left) -> Sent:
    """Every usable row with the form it is tuned in; the others are shown and counted."""
    prompt = tuned_prompt(chosen.task)
    for row in preprocess.stream(file, chosen.task, chosen.preprocess, _tally(chosen)):
        if isinstance(row, Example):
            yield row, training_row(chosen.task, prompt, row), row.target
        else:
            told.add(row)


def _pairs_as_sent(file: str, chosen: Config, told: _Left) -> Sent:
    found = pairs.read(file, chosen.task, chosen.preprocess, chosen.preference, _tally(chosen))
    settled = pairs.deduplicate(found, chosen.preprocess)
    for gone in sorted(settled.dropped, key=lambda row: row.line):
        told.add(gone)
    by_id = {example.id: example for example in settled.prompts}
    for pair in settled.pairs:
        prompt = replace(by_id[pair.prompt], line=pair.line)
        (row,) = preference_rows(chosen.task, [prompt], [pair])
        yield prompt, row, f"{pair.chosen}\0{pair.rejected}"


def _limits(chosen: Config, method: str) -> tuple[Limits, Tuned]:
    """A method's limits, and its word; raises `UserError` for one that is none."""
    limits = Catalogue.load(chosen.vertex.catalogue).limits
    if method not in limits:
        raise UserError(f"unknown method {method!r}", remedy=f"one of {', '.join(limits)}")
    return limits[method], method


class _Left:
    """Rows that left, counted by reason; the first are shown, and of those that say the same a few."""

    def __init__(self, file: str, err: bool = False) -> None:
        self.file, self.err = file, err
        self.reasons, self._same = Counter[str](), Counter[str]()
        self.first: RejectedRow | None = None
        self._shown = 0

    def __len__(self) -> int:
        return self.reasons.total()

    def add(self, row: RejectedRow) -> None:
        """Count a row, and show it if it says something new."""
        self.first = self.first or row
        self.reasons[row.reason] += 1
        if self._shown < _SHOWN:
            self._same[row.detail] += 1
            if self._same[row.detail] <= _SHOWN_ALIKE:
                self._shown += 1
                typer.echo(f"{self.file}:{row.line}: {row.reason}: {row.detail}", err=self.err)

    def rest(self) -> None:
        """Say how many were not shown."""
        if len(self) > self._shown:
            typer.echo(f"... and {len(self) - self._shown} more", err=self.err)

    def all_of_them(self) -> UserError:
        """What is said when no row is left."""
        return preprocess.no_usable_rows_among(self.file, self.reasons, self.first)


@app.command(
    epilog=_examples(
        "gemtune data convert rows.csv --out rows.jsonl",
        "gemtune data convert rows.jsonl --out rows.csv --to columns",
        "gemtune data convert pairs.csv --out pairs.jsonl --method preference",
    )
)
def convert(
    file: File,
    out: Annotated[str, typer.Option(help="File to write, here or gs://: .jsonl; .csv, .tsv for columns; also .gz.")],
    to: Annotated[str, typer.Option(help=f"Shape: {', '.join(SHAPES)}.")] = "gemini",
    method: TuningMethod = "supervised",
    config: Configuration = None,
    settings: Settings = None,
) -> None:
    """Write the rows in another shape, text as it came; rows that cannot be read are listed and left out.

    With --method preference the rows are pairs of answers: gemini writes contents and completions; messages and chat
    write prompt, chosen and rejected as lists of turns, columns as plain texts.
    """
    chosen = Config.load(config, settings or [])
    _limits(chosen, method)
    plain = chosen.preprocess.model_copy(update=NO_CLEANING)
    stats, left_out, unheld = _tally(chosen), _Left(file, err=True), Counter[str]()
    paired = method == "preference"

    def usable() -> Iterator[Any]:
        rows = pairs.stream(file, chosen.task, plain, chosen.preference, stats) if paired else None
        read = preprocess.with_progress(rows, file) if rows else preprocess.stream(file, chosen.task, plain, stats)
        for row in read:
            if isinstance(row, RejectedRow):
                left_out.add(row)
            else:
                example = row[0] if isinstance(row, tuple) else row
                unheld.update(["split"] * (example.split is not None) + ["group"] * (example.group is not None))
                yield row

    rows = preprocess.require_rows(usable(), left_out.all_of_them)
    with written(out) as path:
        count = write_pairs(path, rows, to) if paired else write(path, rows, to)
    left_out.rest()
    typer.echo(f"{count} rows written to {out}, {len(left_out)} left out" + _listed(left_out.reasons))
    for what, held in unheld.items() if to != "columns" else ():
        typer.echo(f"note: the {what} of {held} rows is not written, {to} rows hold none; columns do", err=True)


@app.command(
    epilog=_examples(
        "gemtune data describe rows.csv",
        "gemtune data describe rows.csv --audit sheet.csv    (edit column label, then)",
        "gemtune run my.yaml --set preprocess.corrections=sheet.csv",
    )
)
def describe(
    file: File,
    audit: Annotated[str | None, typer.Option(help="Write likely label errors as a sheet to edit.")] = None,
    config: Configuration = None,
    settings: Settings = None,
) -> None:
    """Show as JSON what the data looks like: balance, lengths, scripts, duplicates, conflicts, likely label errors."""
    chosen = Config.load(config, settings or [])
    task, rules, stats = chosen.task, chosen.preprocess, _tally(chosen)
    examples, dropped = _gathered(file, task, rules, stats)
    kept, settled, near = _thinned(examples, task, rules)
    wrong = preprocess.find_label_issues(kept, task, rules)
    reasons = Counter(row.reason for row in [*dropped, *settled, *near])
    told: dict[str, Any] = {
        "rows": len(examples) + len(dropped),
        "would_keep": len(kept),
        "would_drop": dict(reasons.most_common()),
        **stats.told(),
        **profile_rows(kept, task.kind in LABELLED_KINDS),
        "label_issues": label_errors_told(wrong),
    }
    typer.echo(json.dumps(told, ensure_ascii=False, indent=1))
    if audit is not None:
        with written(audit) as path:
            write_review_file(path, wrong)
        typer.echo(f"{len(wrong)} rows to look at: {audit}; give it back as preprocess.corrections", err=True)


def _gathered(file: str, task: Task, rules: Preprocess, stats: ReadStats) -> FilterResult:
    """All rows in memory; raises `UserError` when none is usable."""
    examples, dropped = preprocess.read_all(file, task, rules, stats)
    if not examples:
        raise preprocess.no_usable_rows(file, dropped)
    return examples, dropped


def _thinned(
    examples: list[Example], task: Task, rules: Preprocess
) -> tuple[list[Example], list[RejectedRow], list[RejectedRow]]:
    """The rows that stay; the exact duplicates and conflicts, and the near-duplicates that do not."""
    preprocess.log_if_long("exact deduplication", len(examples))
    kept, settled = resolve_exact_duplicates(examples, task, rules)
    preprocess.log_if_long("near-deduplication", len(kept))
    kept, near = drop_near_duplicates(kept, task, rules)
    return kept, settled, near


def dedup_command(
    file: File,
    out: Annotated[str, typer.Option(help="Kept rows, as examples; here or gs://...")],
    dropped: Annotated[str | None, typer.Option(help="Dropped rows, with reason and the row that stays.")] = None,
    threshold: Annotated[float, typer.Option(min=0.05, max=1, help="Jaccard of character 5-grams.")] = 0.8,
    config: Configuration = None,
    settings: Settings = None,
) -> None:
    """Drop exact and near duplicates from a file of rows, and rows whose equals are labelled otherwise.

    A row is dropped only for a row that stays; which one stays is decided by content, not by order. Kept rows are
    written as examples (text, target, line they came from), dropped ones with the reason.
    """
    chosen = Config.load(config, [*(settings or []), f"preprocess.jaccard_threshold={threshold}"])
    task, rules = chosen.task, chosen.preprocess
    examples, unread = _gathered(file, task, rules, _tally(chosen))
    kept, settled, near = _thinned(examples, task, rules)
    gone = sorted([*unread, *settled, *near], key=lambda row: row.line)
    with written(out) as path:
        write_rows(path, map(plain, kept))
    if dropped is not None:
        with written(dropped) as path:
            write_rows(path, map(plain, gone))
    typer.echo(f"{len(kept)} of {len(kept) + len(gone)} rows kept" + _listed(Counter(row.reason for row in gone)))


def _tally(chosen: Config) -> ReadStats:
    _shown_progress()
    sheet = chosen.preprocess.corrections
    return ReadStats(read_review_file(sheet) if sheet else {})


def _listed(reasons: Counter[str]) -> str:
    return "".join(f"; {count} {reason}" for reason, count in reasons.most_common())
