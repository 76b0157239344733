# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""CSV files that people edit in a spreadsheet program and hand back.

Such a program recognizes UTF-8 by a byte order mark, evaluates cells as formulas (OWASP, CSV injection), and may save
with `,`, `;` or tab. Guarantees: no cell is evaluated as a formula, and what was written is read back (half of a
surrogate pair as its escape).
"""

import csv
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from gemtune.artifacts.base import open_atomic
from gemtune.artifacts.data import LabelIssue
from gemtune.data.sources import local_path
from gemtune.errors import UserError

_FORMULA = re.compile(r"'*[=+\-@\t\r]")  # also what is written for such a cell
REVIEW_COLUMNS = ("id", "line", "label", "likely", "margin", "text")
_DELIMITERS = ",;\t"  # that spreadsheet programs save with


def write(path: str | Path, columns: Sequence[str], rows: Iterable[Sequence[str | float]]) -> None:
    """Write rows as CSV; texts that a program would evaluate get a leading apostrophe."""
    with open_atomic(path) as file:
        file.write("\ufeff")
        # quotes the cells that have a character of the line terminator: a lone CR would end the row when it is read
        writer = csv.writer(file, lineterminator="\r\n")
        writer.writerow(columns)
        for row in rows:
            writer.writerow([f"'{cell}" if isinstance(cell, str) and _FORMULA.match(cell) else cell for cell in row])


def read(
    path: str | Path, columns: Sequence[str], display_name: str | Path = ""
) -> Iterator[tuple[int, dict[str, str | None]]]:
    """Line and cells of every row, as they were written; a cell missing at the end of a row is None.

    Raises `UserError`, which calls the file `display_name`, when it cannot be read, is not UTF-8 (byte named) or lacks
    one of the columns.
    """
    display_name = display_name or path
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            lines = list(file)
    except UnicodeDecodeError as error:
        problem = f"the file is not UTF-8 (byte {error.start + 1})"
        raise UserError(problem, file=display_name, remedy="save it as CSV UTF-8") from None
    except OSError as error:
        problem = f"cannot read the file: {error.strerror}"
        raise UserError(problem, file=display_name, remedy="name a CSV file") from None
    rows = csv.DictReader(lines, delimiter=max(_DELIMITERS, key=(lines[0] if lines else "").count))
    try:
        if missing := set(columns) - set(rows.fieldnames or ()):
            remedy = f"the file must have the columns {', '.join(columns)}"
            raise UserError(f"the file lacks the columns {sorted(missing)}", file=display_name, line=1, remedy=remedy)
        for row in rows:
            yield rows.line_num, {name: _unescaped(row[name]) for name in columns}
    except csv.Error as error:
        raise UserError(f"cannot read the file: {error}", file=display_name, line=rows.line_num) from None


def _unescaped(cell: str | None) -> str | None:
    """The cell without the apostrophe that `write` adds."""
    return cell[1:] if cell and cell.startswith("'") and _FORMULA.match(cell) else cell


# -- the review file ---------------------------------------------------------------------------------------------------


def write_review_file(path: str | Path, issues: Sequence[LabelIssue]) -> None:
    """Write label issues as a CSV that a person edits and that preprocessing reads back.

    In the column `label` the reviewer keeps the label, replaces it, or empties the cell to drop the row. Rows are
    identified by id (a hash of their content), so a correction never applies to another row; the `#` before an id keeps
    spreadsheet programs from reading it as a number.
    """
    rows = ((f"#{row.id}", row.line, row.label, row.likely, row.margin, row.text) for row in issues)
    write(path, REVIEW_COLUMNS, rows)


def read_review_file(path: str | Path) -> dict[str, str]:
    """Reviewed label by row id ("" drops the row); raises `UserError` for a file that is no review file."""
    labels: dict[str, str] = {}
    try:
        with local_path(str(path)) as file:
            for line, row in read(file, ("id", "label"), path):
                if row["id"] and row["label"] is None:
                    remedy = "to drop a row, leave its cell empty; do not remove the cell"
                    raise UserError("the row ends before its label", file=path, line=line, remedy=remedy)
                if row["id"]:  # some programs save blank lines
                    labels[row["id"].removeprefix("#")] = (row["label"] or "").strip()
    except OSError as error:
        raise UserError(f"cannot read the review file: {error}", file=path) from None
    return labels
