# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Sheets (CSV) that go out to people and come back edited.

A spreadsheet program may open and save them: it sees from a byte order mark that they are UTF-8, runs no cell as a
formula (OWASP, CSV injection), and may save with `,`, `;` or tab. Promise: what was written is read back.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from gemtune.artifacts.base import open_atomic
from gemtune.errors import UserError

_FORMULA = re.compile(r"'*[=+\-@\t\r]")  # what a program would compute, and what is written for such a cell
_SAVED_AS = ",;\t"  # separators that spreadsheet programs save with


def write(path: str | Path, columns: Sequence[str], rows: Iterable[Sequence[str | float]]) -> None:
    """Write a sheet; texts that a program would compute stand behind an apostrophe."""
    with open_atomic(path) as out:
        out.write("\ufeff")
        sheet = csv.writer(out, lineterminator="\n")
        sheet.writerow(columns)
        for row in rows:
            sheet.writerow([_safe(cell) if isinstance(cell, str) else cell for cell in row])


def read(
    path: str | Path, columns: Sequence[str], named: str | Path = ""
) -> Iterator[tuple[int, dict[str, str | None]]]:
    """Line and cells of every row, as they were written; a cell that the row ends before is None.

    Raises `UserError`, which calls the file as it is `named`, for one that cannot be read, is not UTF-8 (byte named) or
    lacks one of the columns.
    """
    named = named or path
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            lines = list(file)
    except UnicodeDecodeError as error:
        said = f"the sheet is not UTF-8 (byte {error.start + 1})"
        raise UserError(said, file=named, remedy="save it as CSV UTF-8") from None
    except OSError as error:
        raise UserError(f"cannot read the sheet: {error.strerror}", file=named, remedy="name a CSV file") from None
    rows = csv.DictReader(lines, delimiter=max(_SAVED_AS, key=(lines[0] if lines else "").count))
    try:
        if missing := set(columns) - set(rows.fieldnames or ()):
            remedy = f"a sheet has the columns {', '.join(columns)}"
            raise UserError(f"the sheet lacks the columns {sorted(missing)}", file=named, line=1, remedy=remedy)
        for row in rows:
            yield rows.line_num, {name: _as_written(row[name]) for name in columns}
    except csv.Error as error:
        raise UserError(f"cannot read the sheet: {error}", file=named, line=rows.line_num) from None


def _safe(cell: str) -> str:
    """A cell that no program computes."""
    return f"'{cell}" if _FORMULA.match(cell) else cell


def _as_written(cell: str | None) -> str | None:
    """A cell without the apostrophe that kept it from being computed."""
    return cell[1:] if cell and cell.startswith("'") and _FORMULA.match(cell) else cell
