# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Checks of the tuning service's limits before anything is uploaded, per model and method.

The limits are data (catalogue.yaml: dated, overridable by `vertex.catalogue`). Rows are streamed and take 25 bytes of
memory each, so a file of any size can be checked. Guarantees: every problem names the limit and the row that exceeds
it, and a row is measured as it is sent, instruction included. Tokens are estimated (`profile.estimate_tokens`), so rows
within a tenth of the limit are reported too.
"""

import hashlib
import json
from array import array
from collections import Counter
from typing import Any

from gemtune import contents
from gemtune.catalogue import Catalogue, Limits, TuningMethod
from gemtune.config import Config, JsonObject, Split
from gemtune.data.cleaning import text_key
from gemtune.data.compared_text import full_text
from gemtune.data.example import Example
from gemtune.data.profile import estimate_tokens
from gemtune.data.split_assignment import SPLITS, split_sizes
from gemtune.errors import UserError

_MAX_SHOWN = 20
_SPLITS = (*SPLITS, None)
_ROW = json.JSONEncoder(ensure_ascii=False)  # created once: it measures every row


class LimitChecker:
    """Counts the rows for a tuning method: problems with its limits, duplicates, usable rows.

    `conflicts` is "drop", "majority" or "keep", or "" for free-text answers, where the first row of a text is kept.
    """

    def __init__(self, limits: Limits, method: TuningMethod, conflicts: str) -> None:
        self.limits, self.method, self._conflicts = limits, method, conflicts
        self._keys, self._answers, self._sizes, self._splits = array("Q"), array("Q"), array("Q"), array("b")
        self._problems: list[str] = []
        self._unlisted = 0
        self._with_files = 0

    def __len__(self) -> int:
        return len(self._keys)

    def add(self, example: Example, row: JsonObject, answer: str) -> None:
        """Count a row: its example, the row as it is sent, and its answer."""
        line = _ROW.encode(row)
        self._keys.append(_digest(text_key(full_text(example))))
        self._answers.append(_digest(answer))
        self._sizes.append(len(line.encode()) + 1)
        self._splits.append(_SPLITS.index(example.split))
        estimate = estimate_tokens(line)
        if estimate > 0.9 * self.limits.tokens_per_example:
            self._report(f"line {example.line}: about {estimate} tokens, the limit is {self.limits.tokens_per_example}")
        if example.contents is None:  # a turn of text and its answer
            return
        roles = [contents.ROLES[(turn.get("role") or "user").lower()] for turn in row["contents"]]
        if roles != [("user", "model")[i % 2] for i in range(len(roles))]:
            self._report(f"line {example.line}: the roles are {' '.join(roles)}; user and model must alternate")
        self._with_files += any(True for _ in contents.files_of(row["contents"]))
        has_other_parts = any("text" not in part for turn in row["contents"] for part in turn["parts"])
        if self.method == "preference" and has_other_parts:
            self._report(f"line {example.line}: preference tuning accepts text only, the row has other parts")

    def _report(self, problem: str) -> None:
        if len(self._problems) < _MAX_SHOWN:
            self._problems.append(problem)
        else:
            self._unlisted += 1

    def count_duplicates(self) -> tuple[Any, Counter[str]]:
        """Whether each row is usable, and by reason the rows that duplicate or contradict others.

        Counts what `duplicates.resolve_exact_duplicates` drops.
        """
        import numpy as np
        import pandas as pd

        answers = self._answers if self._conflicts else array("Q", bytes(8 * len(self)))
        rows = pd.DataFrame({"key": np.asarray(self._keys), "answer": np.asarray(answers)})
        in_conflict = pd.Series(False, rows.index)
        if self._conflicts not in ("", "keep"):
            in_conflict = rows.groupby("key")["answer"].transform("nunique") > 1
        if self._conflicts == "majority":
            votes = rows.groupby(["key", "answer"])["answer"].transform("size")
            is_top = votes == votes.groupby(rows["key"]).transform("max")
            has_winner = rows[is_top].groupby("key")["answer"].nunique() == 1
            in_conflict &= ~(is_top & rows["key"].map(has_winner))
        repeated = rows.duplicated() & ~in_conflict
        counts = {"label_conflict": int(in_conflict.sum()), "exact_duplicate": int(repeated.sum())}
        kept = ~(in_conflict | repeated).to_numpy()
        return kept, Counter({reason: count for reason, count in counts.items() if count})

    def problems(self) -> list[str]:
        """Limits that the usable rows exceed; empty when there are none."""
        import numpy as np

        kept, _ = self.count_duplicates()
        count, size = int(kept.sum()), int(np.asarray(self._sizes)[kept].sum())
        problems = [*self._problems, *([f"... and {self._unlisted} more rows"] if self._unlisted else [])]
        if count > self.limits.examples:
            problems.append(f"{count} rows, the limit is {self.limits.examples}")
        if self._with_files and count > self.limits.examples_with_files:
            limit = self.limits.examples_with_files
            problems.append(f"{count} rows, the limit is {limit} when rows have images or other files")
        if size > self.limits.file_bytes:
            problems.append(f"{size} bytes, the limit is {self.limits.file_bytes}")
        return problems

    def validation_note(self, split: Split) -> str:
        """How many of the validation rows the service accepts; "" when it accepts all."""
        import numpy as np

        kept, _ = self.count_duplicates()
        sizes = split_sizes(Counter(_SPLITS[n] for n in np.asarray(self._splits)[kept].tolist()), split)
        accepted, validation = self.limits.validation_rows(round(sizes["train"])), int(sizes["validation"])
        if validation <= accepted:
            return ""
        return f"the tuning service accepts {accepted} of about {validation} validation rows; all are scored afterwards"


def _digest(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def model_problems(config: Config, method: TuningMethod) -> list[str]:
    """Why the configured model cannot be tuned (unknown, retired, method, adapter size); empty when it can."""
    from gemtune.vertex import location

    sizes = tuple(trial.adapter_size for trial in config.plan.trials if trial.method == method)
    try:
        Catalogue.load(config.vertex.catalogue).require(
            config.evaluate.base_model, method, location(config.vertex), adapter_sizes=sizes
        )
    except UserError as error:
        return [str(error)]
    return []
