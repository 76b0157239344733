# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The audit sheet: rows worth a look as a CSV that a person edits, and that preprocessing reads back.

In the column `label` the person leaves the label, writes another, or empties the cell to drop the row. Promise: a row
is named by its id (a hash of its content), so a sheet never corrects another row than the one that was looked at; `#`
before it keeps spreadsheet programs from taking it for a number.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from gemtune.data import csv_safe
from gemtune.data.label_issues import LabelIssue
from gemtune.data.sources import local
from gemtune.errors import UserError

HEADER = ("id", "line", "label", "likely", "margin", "text")


def write_review_file(path: str | Path, rows: Sequence[LabelIssue]) -> None:
    """Write suspects as a sheet."""
    told = ((f"#{row.id}", row.line, row.label, row.likely, row.margin, row.text) for row in rows)
    csv_safe.write(path, HEADER, told)


def read_review_file(path: str | Path) -> dict[str, str]:
    """Id to label as the person left it ("" drops the row); raises `UserError` for a file that is no sheet."""
    try:
        with local(str(path)) as found:
            return dict(_labels(found, path))
    except OSError as error:
        raise UserError(f"cannot read the sheet: {error}", file=path) from None


def _labels(found: Path, path: str | Path) -> Iterator[tuple[str, str]]:
    for line, row in csv_safe.read(found, ("id", "label"), path):
        if not row["id"]:  # a blank line, as some programs save it
            continue
        if row["label"] is None:
            remedy = "a row is dropped by an empty cell, not by a missing one"
            raise UserError("the row ends before its label", file=path, line=line, remedy=remedy)
        yield row["id"].removeprefix("#"), row["label"].strip()
