# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The rows of one window as the checks see them: each distinct text once, with its answer parsed and its confidence."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gemtune.artifacts.production_log import LogRow
from gemtune.config import ModelVariant, Task
from gemtune.contents import ModelOutput
from gemtune.data.cleaning import text_key
from gemtune.evaluation.calibration import apply_calibration
from gemtune.evaluation.scorers import parse_output

ANY = "(any)"  # the predicted label where answers are no labels, or cannot be used


@dataclass(frozen=True)
class ServedRow:
    """A logged row with its outcome, its predicted label, and its mapped confidence (None: the log has none)."""

    row: LogRow
    outcome: str
    label: str
    confidence: float | None


def served_rows(rows: Sequence[LogRow], task: Task, variant: ModelVariant) -> list[ServedRow]:
    """The rows with their parsed answers; a row whose source has none has the outcome `error`, as a failed request."""
    served = []
    for row in rows:
        error = "" if row.finish or row.answer is not None else "no answer is logged"
        output = ModelOutput(text=row.answer, finish_reason=row.finish, error=error)
        parsed, outcome = parse_output(task, variant.prompt, output)
        is_label = outcome == "ok" and task.is_labelled
        mapped = None if row.confidence is None else apply_calibration(variant.calibration, [row.confidence])[0]
        served.append(ServedRow(row, outcome, parsed.value or ANY if is_label else ANY, mapped))
    return served


def distinct(rows: Sequence[ServedRow], clean: Callable[[str], str], most: int) -> tuple[list[ServedRow], int]:
    """The first row of each text (cleaned, ignoring case and width), at most `most` of them, and how many texts there
    are. Repeated texts are no independent observations: each counts once. The sample does not depend on the order.
    """
    by_text: dict[str, ServedRow] = {}
    for row in rows:
        by_text.setdefault(text_key(clean(row.row.text)), row)
    chosen = sorted(by_text, key=lambda text: hashlib.sha256(text.encode(errors="surrogatepass")).digest())[:most]
    return [by_text[text] for text in chosen], len(by_text)
