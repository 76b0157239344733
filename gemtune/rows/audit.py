# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The audit sheet: rows worth a look as a CSV that a person edits, and that preprocessing reads back.

In the column `label` the person leaves the label, writes another, or empties the cell to drop the row. Promise: a row
is named by its id (a hash of its content), so a sheet never corrects another row than the one that was looked at; and
a spreadsheet program may open and save the sheet: it runs no cell as a formula (OWASP, CSV injection), takes no id for
a number, and sees from a byte order mark that the file is UTF-8.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from gemtune.data import whole_file
from gemtune.errors import UserError
from gemtune.rows.label_errors import Suspect
from gemtune.rows.sources import local

HEADER = ("id", "line", "label", "likely", "margin", "text")
_FORMULA = re.compile(r"'*[=+\-@\t\r]")  # what a program would compute, and what is written for such a cell
_SAVED_AS = ",;\t"  # separators that spreadsheet programs save with


def write_sheet(path: str | Path, rows: Sequence[Suspect]) -> None:
    """Write suspects as a sheet."""
    with whole_file(path) as out:
        out.write("\ufeff")
        sheet = csv.writer(out, lineterminator="\n")
        sheet.writerow(HEADER)
        for row in rows:
            label, likely, text = map(_safe, (row.label, row.likely, row.text))
            sheet.writerow((f"#{row.id}", row.line, label, likely, row.margin, text))


def read_sheet(path: str | Path) -> dict[str, str]:
    """Id to label as the person left it ("" drops the row); raises `UserError` for a file that is no sheet."""
    try:
        with local(str(path)) as found, open(found, encoding="utf-8-sig", newline="") as file:
            return dict(_labels(list(file), path))
    except UnicodeDecodeError as error:
        remedy = "save it as CSV UTF-8"
        raise UserError(f"the audit sheet is not UTF-8 (byte {error.start + 1})", file=path, remedy=remedy) from None
    except (OSError, csv.Error) as error:
        raise UserError(f"cannot read the audit sheet: {error}", file=path) from None


def _labels(lines: list[str], path: str | Path) -> Iterator[tuple[str, str]]:
    first = lines[0] if lines else ""
    separator = max(_SAVED_AS, key=first.count)
    rows = csv.DictReader(lines, delimiter=separator)
    if not {"id", "label"} <= set(rows.fieldnames or ()):
        raise UserError("an audit sheet has the columns id and label", file=path, line=1)
    for row in rows:
        if not row["id"]:  # a blank line, as some programs save it
            continue
        if row["label"] is None:
            remedy = "a row is dropped by an empty cell, not by a missing one"
            raise UserError("the row ends before its label", file=path, line=rows.line_num, remedy=remedy)
        label = row["label"]
        yield row["id"].removeprefix("#"), (label[1:] if _guarded(label) else label).strip()


def _safe(cell: str) -> str:
    """A cell that no program computes."""
    return f"'{cell}" if _FORMULA.match(cell) else cell


def _guarded(cell: str) -> bool:
    return cell.startswith("'") and _FORMULA.match(cell) is not None
