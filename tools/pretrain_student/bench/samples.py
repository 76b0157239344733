# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The English sample of the repository, for the measurements of this folder: its tickets with one intent only."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_ROWS = Path(__file__).parents[3] / "examples" / "support_en" / "rows.jsonl"


def support_tickets() -> Iterator[dict[str, Any]]:
    """The valid rows of the sample that mention no second intent: `text`, `label` and, for rare phrasings, `split` =
    test; others are skipped.
    """
    for line in _ROWS.read_text(encoding="utf-8").splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            continue
        is_valid = isinstance(row, dict) and isinstance(row.get("text"), str) and isinstance(row.get("label"), str)
        if is_valid and "yes" not in (row.get("quoted"), row.get("negated"), row.get("two_wishes")):
            yield row
