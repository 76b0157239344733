# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The audit sheet: rows worth a look as a CSV that a person edits, and that preprocessing reads back.

In the column `label` the person leaves the label, writes another, or empties the cell to drop the row. Promise: a row
is named by its id (a hash of its content), so a sheet never corrects another row than the one that was looked at.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from gemtune.data import whole_file
from gemtune.errors import UserError
from gemtune.rows.label_errors import Suspect
from gemtune.rows.sources import local

HEADER = ("id", "line", "label", "likely", "margin", "text")


def write_sheet(path: str | Path, rows: Sequence[Suspect]) -> None:
    """Write suspects as a sheet."""
    with whole_file(path) as out:
        sheet = csv.writer(out, lineterminator="\n")
        sheet.writerow(HEADER)
        sheet.writerows((row.id, row.line, row.label, row.likely, row.margin, row.text) for row in rows)


def read_sheet(path: str | Path) -> dict[str, str]:
    """Id to label as the person left it ("" drops the row); raises `UserError` for a file that is no sheet."""
    try:
        with local(str(path)) as found, open(found, encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file)
            if not {"id", "label"} <= set(rows.fieldnames or ()):
                raise UserError("an audit sheet has the columns id and label", file=path, line=1)
            return {row["id"]: (row["label"] or "").strip() for row in rows}
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"cannot read the audit sheet: {error}", file=path) from None
