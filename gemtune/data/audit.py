# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The review file: likely label issues as a CSV that a person edits and that preprocessing reads back.

In the column `label` the reviewer keeps the label, replaces it, or empties the cell to drop the row. Guarantees: rows
are identified by id (a hash of their content), so a correction never applies to another row; the `#` before an id keeps
spreadsheet programs from reading it as a number.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from gemtune.artifacts.data import LabelIssue
from gemtune.data import csv_safe
from gemtune.data.sources import local_path
from gemtune.errors import UserError

HEADER = ("id", "line", "label", "likely", "margin", "text")


def write_review_file(path: str | Path, issues: Sequence[LabelIssue]) -> None:
    """Write label issues as a review file."""
    rows = ((f"#{row.id}", row.line, row.label, row.likely, row.margin, row.text) for row in issues)
    csv_safe.write(path, HEADER, rows)


def read_review_file(path: str | Path) -> dict[str, str]:
    """Reviewed label by row id ("" drops the row); raises `UserError` for a file that is no review file."""
    try:
        with local_path(str(path)) as file:
            return dict(_labels(file, path))
    except OSError as error:
        raise UserError(f"cannot read the review file: {error}", file=path) from None


def _labels(file: Path, display_name: str | Path) -> Iterator[tuple[str, str]]:
    for line, row in csv_safe.read(file, ("id", "label"), display_name):
        if not row["id"]:  # some programs save blank lines
            continue
        if row["label"] is None:
            remedy = "to drop a row, leave its cell empty; do not remove the cell"
            raise UserError("the row ends before its label", file=display_name, line=line, remedy=remedy)
        yield row["id"].removeprefix("#"), row["label"].strip()
