# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The steps of a run that call no model, in a temporary folder: what they refuse is refused before a run starts."""

import logging
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gemtune.artifacts.data import SplitReport
from gemtune.config import Config
from gemtune.data.source_rows import SAMPLE_ROWS
from gemtune.data.sources import with_labels
from gemtune.errors import TooFewRowsError, UserError
from gemtune.inference.data_fit import require_source_fit
from gemtune.steps import load_pairs, preprocess, split


def execute(settings: Config, folder: str, offline: bool) -> dict[str, Any]:
    """Prepare and split the rows; writes `rows`, `data`, `train`, `validation`, `test` and returns the sections.

    The run's record of split assignments is read unless `offline`, and never changed.
    """
    settings = settings.model_copy(update={"task": with_labels(settings.task)})
    sections = {name: values for name, values in settings.parameters().items() if isinstance(values, dict)}
    if settings.method != "preference":
        del sections["preference"]
    rows, dropped, report, split_report = (f"{folder}/{name}" for name in ("rows", "dropped", "data", "split"))
    splits = (f"{folder}/train", f"{folder}/validation", f"{folder}/test")
    if settings.method == "preference":
        load_pairs.run(settings.data, rows, dropped, report, settings.name, sample=False, offline=offline, **sections)
    else:
        preprocess.run(settings.data, rows, dropped, report, "", **sections)
    own = {name: section for name, section in sections.items() if name != "vertex" or not offline}
    split.run(rows, splits, split_report, "", settings.name, False, **own)
    return sections


def require_acceptance(settings: Config) -> None:
    """Raise `UserError` for what these steps would refuse; of many rows only what a sample shows."""
    try:
        problem, _ = tried(settings, require_source_fit(settings))
    except TooFewRowsError as error:
        problem = tried(settings, 0)[0] or error  # the steps may have a better reason
    if problem:
        raise problem


def tried(settings: Config, rows: int) -> tuple[UserError | None, Sequence[str] | None]:
    """Why these steps refuse the data, a local file of so many rows, or else their notes about the splits; None for
    both if the rows are many.
    """
    if rows > SAMPLE_ROWS or not Path(settings.data).is_file():
        return None, None
    unpaid = {"semantic_threshold": 0, "embedder": "builtin"}
    rules = settings.preprocess.model_copy(update={**unpaid, "pii": "off", "find_label_issues": False})
    split_rules = settings.split.model_copy(update=unpaid)
    log = logging.getLogger("gemtune")
    level = log.level
    log.setLevel(logging.ERROR)  # the steps of the run will note what these note
    try:
        with tempfile.TemporaryDirectory() as folder:
            execute(settings.model_copy(update={"preprocess": rules, "split": split_rules}), folder, offline=True)
            return None, SplitReport.read(f"{folder}/split").notes
    except UserError as error:
        return error, None
    finally:
        log.setLevel(level)
