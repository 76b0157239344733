# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Whether the service will take the rows, said before anything is uploaded.

The limits are data (catalogue.yaml: dated, overridable). Promise: every problem names the limit and the row that
breaks it. Tokens are estimated (`portrait.tokens`), so a row within a tenth of the limit is told too.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from gemtune.data import Example
from gemtune.rows.convert import gemini
from gemtune.rows.portrait import tokens
from gemtune.tuning.catalogue import Catalogue, Limits

_SHOWN = 20


def problems(examples: Sequence[Example], limits: Limits | None = None) -> list[str]:
    """What breaks the limits of supervised tuning, in words; empty when nothing does."""
    limits = limits or Catalogue.load().limits["supervised"]
    found = []
    if len(examples) > limits.examples:
        found.append(f"{len(examples)} rows, at most {limits.examples} are taken")
    size = 0
    for example in examples:
        row = json.dumps(gemini(example), ensure_ascii=False)
        size += len(row.encode()) + 1
        estimate = tokens(row)
        if estimate > 0.9 * limits.tokens_per_example and len(found) < _SHOWN:
            found.append(f"line {example.line}: about {estimate} tokens, at most {limits.tokens_per_example} are taken")
    if size > limits.file_bytes:
        found.append(f"{size} bytes, at most {limits.file_bytes} are taken")
    return found
