# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Whether the service will take the rows, said before anything is uploaded, per model and per method.

The limits are data (catalogue.yaml: dated, overridable by `vertex.catalogue`). Rows are counted as they pass, two dozen
bytes each, so a file of any size can be checked. Promise: every problem names the limit and the row that breaks it, and
a row is measured as it will be sent, instruction included. Tokens are estimated (`portrait.tokens`), so a row within
a tenth of the limit is told too.
"""

from __future__ import annotations

import hashlib
import json
from array import array
from collections import Counter
from collections.abc import Iterable
from typing import Any

from gemtune.catalogue import Catalogue, Limits, TuningMethod
from gemtune.config import Config
from gemtune.data.cleaning import text_key
from gemtune.data.compared_text import comparison_texts
from gemtune.data.example import Example
from gemtune.data.profile import estimate_tokens
from gemtune.errors import UserError

_SHOWN = 20
_SPLITS = ("train", "validation", "test", None)


class LimitChecker:
    """Rows on their way to a tuning method: what breaks its limits, which rows say the same, how much is left."""

    def __init__(self, limits: Limits, method: TuningMethod) -> None:
        self.limits, self.method = limits, method
        self._keys, self._answers, self._sizes, self._splits = array("Q"), array("Q"), array("Q"), array("b")
        self._found: list[str] = []
        self._more = 0
        self._with_files = 0

    def __len__(self) -> int:
        return len(self._keys)

    def add(self, example: Example, row: dict[str, Any], answer: str) -> None:
        """Count a row: the example it came from, the form it is sent in, and what it answers."""
        said = json.dumps(row, ensure_ascii=False)
        self._keys.append(_digest(text_key(comparison_texts([example])[0])))
        self._answers.append(_digest(answer))
        self._sizes.append(len(said.encode()) + 1)
        self._splits.append(_SPLITS.index(example.split))
        estimate = estimate_tokens(said)
        if estimate > 0.9 * self.limits.tokens_per_example:
            self._tell(
                f"line {example.line}: about {estimate} tokens, at most {self.limits.tokens_per_example} are taken"
            )
        roles = [turn.get("role", "user") for turn in row["contents"]]
        if roles != [("user", "model")[i % 2] for i in range(len(roles))]:
            self._tell(f"line {example.line}: the turns go {' '.join(roles)}; wanted are user and model in turn")
        if any("text" not in part for turn in row["contents"] for part in turn["parts"]):
            self._with_files += 1
            if self.method == "preference":
                self._tell(f"line {example.line}: preference tuning takes text alone, the row has other parts")

    def _tell(self, problem: str) -> None:
        if len(self._found) < _SHOWN:
            self._found.append(problem)
        else:
            self._more += 1

    def settled(self, conflicts: str) -> tuple[Counter[str], int]:
        """Rows that repeat or contradict others, by reason, and how many stay; `conflicts` is "drop", "majority" or
        "keep", or "" where answers are free text and the first of a text stays. Counts what `duplicates.settle` does.
        """
        stays, reasons = self._stays(conflicts)
        return reasons, int(stays.sum())

    def _stays(self, conflicts: str) -> tuple[Any, Counter[str]]:
        import numpy as np
        import pandas as pd

        answers = self._answers if conflicts else array("Q", bytes(8 * len(self)))
        rows = pd.DataFrame({"key": np.asarray(self._keys), "answer": np.asarray(answers)})
        votes = rows.value_counts(sort=False).rename("votes").reset_index()
        stays = np.ones(len(rows), dtype=bool)
        if conflicts not in ("", "keep"):
            torn = votes[votes.duplicated("key", keep=False)]
            most = torn.groupby("key")["votes"].transform("max")
            winners = torn[torn["votes"] == most].drop_duplicates("key", keep=False)
            lost = rows["key"].isin(torn["key"])
            if conflicts == "majority":
                lost &= ~pd.MultiIndex.from_frame(rows).isin(pd.MultiIndex.from_frame(winners[["key", "answer"]]))
            stays &= ~lost.to_numpy()
        conflicting = int(len(rows) - stays.sum())
        repeated = rows.duplicated().to_numpy() & stays
        counts = {"label_conflict": conflicting, "exact_duplicate": int(repeated.sum())}
        return stays & ~repeated, Counter({reason: count for reason, count in counts.items() if count})

    def problems(self, conflicts: str) -> list[str]:
        """What breaks the limits, in words, among the rows that stay; empty when nothing does."""
        import numpy as np

        stays, _ = self._stays(conflicts)
        count, size = int(stays.sum()), int(np.asarray(self._sizes)[stays].sum())
        found = [*self._found, *([f"... and {self._more} more rows"] if self._more else [])]
        if count > self.limits.examples:
            found.append(f"{count} rows, at most {self.limits.examples} are taken")
        if self._with_files and count > self.limits.examples_with_files:
            most = self.limits.examples_with_files
            found.append(f"{count} rows, at most {most} are taken when rows have images or other files")
        if size > self.limits.file_bytes:
            found.append(f"{size} bytes, at most {self.limits.file_bytes} are taken")
        return found

    def validation(self, conflicts: str, share: float, test_share: float) -> str:
        """What the service does with the validation rows (those the source names, else a share of all); "" when it
        takes them all.
        """
        import numpy as np

        stays, _ = self._stays(conflicts)
        by_split = Counter(np.asarray(self._splits)[stays].tolist())
        train, validation = (by_split[_SPLITS.index(name)] for name in ("train", "validation"))
        free = by_split[_SPLITS.index(None)]
        if not validation:
            validation = int((free + train) * share)
            train, free = train + free - validation - int(free * test_share), 0
        taken = self.limits.validation_rows(train + free)
        if validation <= taken:
            return ""
        return f"of about {validation} validation rows the tuning service takes {taken}; all are scored afterwards"


def _digest(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def model_problems(config: Config, method: TuningMethod) -> list[str]:
    """Why the configured model cannot be tuned so (unknown, retired, other method or adapter size); empty: it can."""
    from gemtune.vertex import location

    sizes = tuple(trial.adapter_size for trial in config.plan.trials if trial.method == method)
    try:
        Catalogue.load(config.vertex.catalogue).require(
            config.evaluate.base_model, method, location(config.vertex), adapter_sizes=sizes
        )
    except UserError as error:
        return [str(error)]
    return []


def check_limits(
    rows: Iterable[tuple[Example, dict[str, Any], str]], limits: Limits, method: TuningMethod
) -> LimitChecker:
    """Rows counted: (example, the row as sent, its answer)."""
    passing = LimitChecker(limits, method)
    for example, row, answer in rows:
        passing.add(example, row, answer)
    return passing
