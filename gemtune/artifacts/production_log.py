# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Answered requests of production, as monitoring reads them: a row shape for every source, and a window of rows."""

import gzip
import json
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar

from gemtune.artifacts.base import Artifact, Part, open_atomic
from gemtune.artifacts.evaluation import Confusion

OWN_REQUEST = {"gemtune-request": "evaluation"}
"""Label of the requests that gemtune sends itself, which are no traffic; request-response logging keeps it in
`full_request.labels`.

Source: https://cloud.google.com/vertex-ai/generative-ai/docs/multimodal/add-labels-to-api-calls
"""


class PromptTemplate(Part):
    """The champion's prompt with the row's text, and the examples before it, taken out."""

    system: str
    """Fingerprint of the system instruction ("" has one, too)."""
    before: str
    after: str
    shots: int = 0
    """Labelled examples before the text, blocks of the same turn."""

    def text_of(self, turn: str) -> str | None:
        """The row's text in a user turn; None where the turn does not follow the template."""
        fits = turn.startswith(self.before) and turn.endswith(self.after)
        inner = len(turn) - len(self.after)
        if not fits or inner < len(self.before):
            return None
        shown, cue, text = turn[len(self.before) : inner].rpartition("\n\n" + self.before.rpartition("\n\n")[2])
        return (text if cue else None) if self.shots else shown + cue + text


class TrainingReference(Part):
    """What monitoring compares production with; kept in the champion's record."""

    template: PromptTemplate | None
    """None where rows are prompts of their own."""
    label_shares: dict[str, float]
    confusion: Confusion | None
    """Of the champion, on validation rows."""
    embedder: str
    """What embedded texts for semantic duplicates; "": the builtin embedder."""
    train: str
    """gs:// URI of up to 5,000 training rows, drawn at random."""
    train_rows: int


class LogRow(Part):
    """One answered request."""

    id: str
    time: datetime
    endpoint: str = ""
    """Endpoint of a tuned model, or publisher model; "" where the source does not say."""
    text: str
    """The row's text: the last user turn without the prompt's template."""
    follows_template: bool | None = None
    """Whether that turn follows the champion's template, and no turns are before it; None where the source has only the
    text.
    """
    system: str | None = None
    """System instruction as it was sent, "" for none; None where the source does not say."""
    config: dict[str, Any] | None = None
    """`generationConfig` as it was sent; None where the source does not say."""
    answer: str | None = None
    finish: str = ""
    """Finish reason, or block reason of a prompt that was blocked; "" where the source does not say."""
    confidence: float | None = None
    """Reported confidence, before calibration."""
    tokens: int = 0
    """Tokens of request and answer."""
    generation: int | None = None
    """Generation of the champion's record, where the predictor followed it."""
    slices: dict[str, str] = {}


class UnreadableRow(Part):
    """A logged row that cannot be read: its id (or place in the source) and why, without its texts."""

    id: str
    problem: str
    time: datetime | None = None
    """None where that cannot be read either."""


class LogWindow(Artifact):
    """One window [start, end) of logs, in counts: texts are only in the file of rows beside it."""

    STEP: ClassVar[str] = "load-logs"

    source: str
    start: datetime
    end: datetime
    rows: int
    """Readable rows, each request once."""
    endpoints: dict[str, int] = {}
    """Endpoint -> readable rows."""
    unreadable: dict[str, int] = {}
    """Reason -> rows that cannot be read."""
    duplicates: int = 0
    """Rows left out because their id came before."""
    foreign: int = 0
    """Rows left out because the champion's record names no such endpoint."""
    own: int = 0
    """Requests left out because gemtune sent them: evaluations, smoke tests, `gemtune ask`."""

    @property
    def unreadable_share(self) -> float:
        """The share of rows that cannot be read."""
        unreadable = sum(self.unreadable.values())
        return unreadable / max(1, self.rows + unreadable)

    @property
    def excluded(self) -> str:
        """How many rows were left out, and why; "" where none were."""
        counts = {
            "requests of gemtune's own evaluation": self.own,
            "requests to other models or prompts": self.foreign,
            "rows logged twice": self.duplicates,
        }
        return "; ".join(f"{count} {reason}" for reason, count in counts.items() if count)


def write_log_rows(path: str | Path, rows: Iterable[LogRow | UnreadableRow]) -> None:
    """Write rows as gzipped JSON lines, readable or not."""
    with open_atomic(path, compress=True) as file:
        file.writelines(row.model_dump_json(exclude_defaults=True) + "\n" for row in rows)


def read_log_rows(path: str | Path) -> Iterator[LogRow]:
    """The readable rows of a file that `write_log_rows` wrote."""
    return (LogRow.model_validate(row) for row in _rows(path) if "problem" not in row)


def read_unreadable_rows(path: str | Path) -> Iterator[UnreadableRow]:
    """The other rows of that file."""
    return (UnreadableRow.model_validate(row) for row in _rows(path) if "problem" in row)


def _rows(path: str | Path) -> Iterator[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        yield from map(json.loads, file)
