# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Checks of the tuning service's limits before anything is uploaded, per model and method.

The limits are data (catalogue.yaml: dated, overridable by `vertex.catalogue`). Rows are streamed and take 25 bytes of
memory each, so a file of any size can be checked. Guarantees: every problem names the limit and the row that exceeds
it, and a row is measured as it is sent, instruction included. Tokens are estimated (`profile.estimate_tokens`), so rows
within a tenth of the limit are reported too.
"""

from __future__ import annotations

import json
from array import array
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

from gemtune import contents
from gemtune.catalogue import Catalogue, Limits, TuningMethod
from gemtune.config import Config, JsonObject, Split
from gemtune.data.cleaning import text_key
from gemtune.data.compared_text import full_text
from gemtune.data.example import Example, quoted
from gemtune.data.profile import dense_letters, tokens_of
from gemtune.data.split_assignment import SPLITS, split_sizes
from gemtune.errors import UserError

_MAX_SHOWN = 20
_SPLITS = (*SPLITS, None)
_ROW = json.JSONEncoder(ensure_ascii=False)  # created once: it measures every row


class LimitChecker:
    """Counts the rows for a tuning method: problems with its limits, duplicates, usable rows.

    `conflicts` is "drop", "majority" or "keep", or "" for free-text answers, where the first row of a text is kept.
    `render` makes the row that is sent; text and target of an example that is no prompt are in it once, as they are.
    """

    def __init__(
        self, limits: Limits, method: TuningMethod, conflicts: str, render: Callable[[Example], JsonObject]
    ) -> None:
        self.limits, self.method, self._conflicts, self._render = limits, method, conflicts, render
        self._frame: tuple[str | None, _Size] | None = None
        self._keys, self._answers, self._sizes, self._splits = array("q"), array("q"), array("Q"), array("b")
        self._problems: list[str] = []
        self._unlisted = 0
        self._with_files = 0

    def __len__(self) -> int:
        return len(self._keys)

    def add(self, example: Example, answer: str) -> None:
        """Count a row and its answer."""
        row, size = self._measured(example)
        self._keys.append(hash(text_key(full_text(example))))  # equal here and in processes forked from this one
        self._answers.append(hash(answer))
        self._sizes.append(size.octets + 1)
        self._splits.append(_SPLITS.index(example.split))
        estimate = tokens_of(size.characters, size.dense)
        if estimate > 0.9 * self.limits.tokens_per_example:
            self._report(f"line {example.line}: about {estimate} tokens, the limit is {self.limits.tokens_per_example}")
        if example.contents is None or row is None:  # a turn of text and its answer
            return
        roles = [*map(contents.role_of, row["contents"])]
        if roles[0] != "user" or any(map(_repeats_role, row["contents"], row["contents"][1:])):
            roles_are = f"line {example.line}: the roles are {' '.join(roles)}"
            self._report(f"{roles_are}; user and model must alternate, join turns of a role")
        self._with_files += any(True for _ in contents.files_of(row["contents"]))
        has_other_parts = any("text" not in part for turn in row["contents"] for part in turn["parts"])
        if self.method == "preference" and has_other_parts:
            self._report(f"line {example.line}: preference tuning accepts text only, the row has other parts")

    def emptied(self) -> LimitChecker:
        """A checker of the same limits that has counted nothing."""
        return LimitChecker(self.limits, self.method, self._conflicts, self._render)

    def extend(self, part: LimitChecker) -> None:
        """Add what was counted of further rows."""
        for name in ("_keys", "_answers", "_sizes", "_splits"):
            getattr(self, name).extend(getattr(part, name))
        for problem in part._problems:
            self._report(problem)
        self._unlisted += part._unlisted
        self._with_files += part._with_files

    def __getstate__(self) -> JsonObject:
        """What another process counted, for `extend`."""
        return {**self.__dict__, "_render": None, "limits": None}

    def _measured(self, example: Example) -> tuple[JsonObject | None, _Size]:
        """The row that is sent, and its size as JSON; a row of a text and its answer is measured without making it."""
        if example.contents is not None or example.request or example.answer or example.pairs:
            row = self._render(example)
            return row, _Size.of(_ROW.encode(row))
        if self._frame is None or self._frame[0] != example.system:
            empty = self._render(replace(example, text="", target=""))
            self._frame = example.system, _Size.of(_ROW.encode(empty))
        frame, own = self._frame[1], quoted(example.text + example.target)
        octets = frame.octets + (len(own) if own.isascii() else len(own.encode()))
        # without the quotation marks
        return None, _Size(octets - 2, frame.characters + len(own) - 2, frame.dense + dense_letters(own))

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

        keys, answers = np.asarray(self._keys), np.asarray(self._answers)
        if not keys.size:
            return np.empty(0, np.bool_), Counter()
        answers = answers if self._conflicts else np.zeros_like(keys)
        order = np.lexsort((answers, keys))  # stable: of equal rows the first stays first
        keys, answers = keys[order], answers[order]
        is_first_of_key = np.concatenate(([True], keys[1:] != keys[:-1]))
        is_first = is_first_of_key | np.concatenate(([True], answers[1:] != answers[:-1]))
        pair, key_of_pair = np.cumsum(is_first) - 1, np.cumsum(is_first_of_key[is_first]) - 1
        begins = np.flatnonzero(is_first_of_key[is_first])  # of each key, among pairs of a key and an answer
        in_conflict = (np.bincount(key_of_pair) > 1)[key_of_pair] & (self._conflicts not in ("", "keep"))
        if self._conflicts == "majority":
            votes = np.bincount(pair)
            is_top = votes == np.maximum.reduceat(votes, begins)[key_of_pair]
            in_conflict &= ~(is_top & (np.bincount(key_of_pair, is_top) == 1)[key_of_pair])
        conflicts = in_conflict[pair]
        repeated = ~is_first & ~conflicts
        counts = {"label_conflict": int(conflicts.sum()), "exact_duplicate": int(repeated.sum())}
        kept = np.empty(keys.size, np.bool_)
        kept[order] = ~(conflicts | repeated)
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


def _repeats_role(turn: JsonObject, following: JsonObject) -> bool:
    """Whether two turns of a role follow each other; a user may write right after the result of a function."""
    has_result = any("functionResponse" in contents.fields_of(part) for part in turn["parts"])
    return contents.role_of(turn) == contents.role_of(following) and not has_result


class _Size(NamedTuple):
    """Bytes in UTF-8, characters, and the East Asian ones among them."""

    octets: int
    characters: int
    dense: int

    @classmethod
    def of(cls, text: str) -> _Size:
        """The size of a text."""
        return cls(len(text.encode()), len(text), dense_letters(text))


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
