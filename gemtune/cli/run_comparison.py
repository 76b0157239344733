# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Finished local runs side by side: scores, changed settings and data, changed answers; and a test row of a run."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from gemtune.artifacts.decision import RunSummary, VariantSummary
from gemtune.config import Reporting
from gemtune.data.example import read_examples
from gemtune.errors import UserError
from gemtune.evaluation.predictions import Prediction, read_predictions
from gemtune.steps import report_page, templates
from pipelines import local_run

TIMES = ("run", "time", "steps")  # what a local run adds to the summary of its report


@dataclass(frozen=True)
class ChangedRows:
    """Rows of both test sets whose answer became right or wrong from one run's deciding variant to the next one's."""

    before: str
    after: str
    rows: int
    fixed: list[str]
    broken: list[str]


@dataclass(frozen=True)
class RunComparison:
    """Runs in order, each with its summary, the settings and facts of the data that differ, and the changed_rows."""

    names: list[str]
    summaries: list[RunSummary]
    settings: dict[str, list[Any]]
    data: dict[str, list[Any]]
    changed_rows: list[ChangedRows]

    @property
    def scores(self) -> list[tuple[str, VariantSummary, RunSummary]]:
        """Run, variant and summary for every variant of every run."""
        pairs = zip(self.names, self.summaries, strict=True)
        return [(name, row, run) for name, run in pairs for row in [*run.variants, *run.free_baselines]]

    def plain(self) -> dict[str, Any]:
        """The same as JSON."""
        scores = [
            {"run": name, "variant": row.name, "role": row.role, "metric": run.metric, **row.score.model_dump()}
            for name, row, run in self.scores
        ]
        verdicts = {name: run.verdict for name, run in zip(self.names, self.summaries, strict=True)}
        changed_rows = [asdict(changes) for changes in self.changed_rows]
        return {
            "verdicts": verdicts,
            "scores": scores,
            "settings": self.settings,
            "data": self.data,
            "changed_rows": changed_rows,
        }


def read_summary(folder: Path) -> RunSummary:
    """The summary of a finished run; raises `UserError` for a folder without one, or of another version."""
    document = {key: value for key, value in local_run.read_summary(folder).items() if key not in TIMES}
    try:
        return RunSummary.model_validate(document)
    except ValueError:
        remedy = "compare runs of one version of gemtune"
        raise UserError("the summary is of another version", file=folder / "summary.json", remedy=remedy) from None


def compare(folders: Sequence[Path]) -> RunComparison:
    """The finished runs in these folders; raises `UserError` for one that is not finished."""
    summaries = [read_summary(folder) for folder in folders]
    settings = [report_page.flat("", summary.configuration) for summary in summaries]
    facts = [
        {
            "data": summary.identity.data,
            "rows read": summary.data["rows"],
            "rows kept": summary.data["examples"],
            "fingerprint": summary.identity.rows_fingerprint,
            "test rows": summary.test_rows,
            "base model": summary.identity.base_model,
            "gemtune": summary.identity.version,
        }
        for summary in summaries
    ]
    pairs = list(zip(folders, summaries, strict=True))
    changed_rows = [_changed_answers(before, after) for before, after in pairwise(pairs)]
    return RunComparison(
        [folder.name for folder in folders], summaries, _changed(settings), _changed(facts), changed_rows
    )


def _changed(values: Sequence[dict[str, Any]]) -> dict[str, list[Any]]:
    names = dict.fromkeys(name for own in values for name in own)
    rows = {name: [own.get(name) for own in values] for name in names}
    return {name: row for name, row in rows.items() if any(value != row[0] for value in row)}


def _changed_answers(before: tuple[Path, RunSummary], after: tuple[Path, RunSummary]) -> ChangedRows:
    names = [report_page.compared(summary)[0] for _, summary in (before, after)]
    first, second = (_scores(*run, name) for run, name in zip((before, after), names, strict=True))
    both = first.keys() & second.keys()
    fixed = sorted(key for key in both if second[key] > first[key])
    broken = sorted(key for key in both if second[key] < first[key])
    before_name, after_name = (f"{run[0].name}: {name}" for run, name in zip((before, after), names, strict=True))
    return ChangedRows(before_name, after_name, len(both), fixed, broken)


def _answers(folder: Path) -> dict[str, list[Prediction]]:
    """The answers to test rows by variant; {} of a run that found nothing new and evaluated nothing."""
    try:
        path = local_run.step_output(folder, "evaluate-finalists*/predictions")
    except UserError:
        return {}
    return dict(read_predictions(str(path), "test").answers)


def _scores(folder: Path, summary: RunSummary, name: str) -> dict[str, float]:
    return {row["id"]: report_page.score_of(row, summary.metric, "") for row in _answers(folder).get(name, [])}


def show(console: Console, compared: RunComparison) -> None:
    """Print the comparison as tables."""
    verdicts = Counter(run.metric for run in compared.summaries)
    table = Table(title=f"Scores on held-out test rows ({', '.join(verdicts)})", title_justify="left")
    for heading in ("run", "verdict", "variant", "score", "interval", "1,000 calls, USD"):
        table.add_column(heading, justify="right" if heading in ("score", "1,000 calls, USD") else "left")
    for name, row, run in compared.scores:
        interval = f"{row.score.low:.3f} to {row.score.high:.3f}"
        cells = (name, run.verdict.replace("_", " "), row.name, f"{row.score.value:.3f}", interval)
        table.add_row(*map(escape, cells), f"{row.cost_per_1000:.4f}")
    console.print(table)
    for title, rows in (("settings", compared.settings), ("data", compared.data)):
        console.print(f"changed {title}: {len(rows) or 'none'}")
        for name, values in rows.items():
            shown = " -> ".join(json.dumps(value, ensure_ascii=False) for value in values)
            console.print(f"  {name}: {shown}", markup=False, soft_wrap=True)
    for changes in compared.changed_rows:
        counts = f"{len(changes.fixed)} fixed, {len(changes.broken)} broken of {changes.rows} test rows that both have"
        console.print(f"{changes.before} -> {changes.after}: {counts}", markup=False, soft_wrap=True)


def page(compared: RunComparison) -> str:
    """The comparison as a page (HTML), in the language of the first run's report."""
    language = Reporting.of(compared.summaries[0].configuration.get("reporting", {})).language
    html: str = templates.environment(language).get_template("comparison.html.j2").render(compared=compared)
    return html


def explained_row(folder: Path, key: str) -> dict[str, Any]:
    """A test row of a run, by its id or line, with what each variant answered; raises `UserError` for no such row."""
    examples = read_examples(local_run.step_output(folder, "split*/test"))
    row = next((row for row in examples if key in (row.id, str(row.line))), None)
    if row is None:
        raise UserError(f"no test row with id or line {key!r}", file=folder, remedy="ids and lines are on the page")
    answers = {}
    for name, rows in _answers(folder).items():
        (own,) = (answer for answer in rows if answer["id"] == row.id)
        right = "right" if own["parsed"] == own["reference"] else "wrong" if own["outcome"] == "ok" else own["outcome"]
        answers[name] = f"{own['answer']} ({right})"
    return {"id": row.id, "line": row.line, "text": row.prompt_text, "reference": row.target, "answers": answers}
