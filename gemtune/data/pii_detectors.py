# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Who looks for personal data: our own rules, or Google's Sensitive Data Protection; both by the same three functions.

Promise: the settings `preprocess.pii` (report, mask, drop) mean the same whoever looks.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from gemtune import pii
from gemtune.config import Preprocess
from gemtune.pii import Finding


class PiiDetector(Protocol):
    """Finds personal data in texts; `learn` may be told of texts before they are asked about, to ask about many."""

    def prefetch(self, texts: Iterable[str]) -> None:
        """Texts that will be asked about next."""

    def findings(self, text: str) -> list[Finding]:
        """What was found, in order, not overlapping."""

    def mask(self, text: str) -> str:
        """The text with every finding replaced by a word in brackets."""


class Rules:
    """Our own rules (`pii`); nothing leaves the machine."""

    def prefetch(self, texts: Iterable[str]) -> None:
        """Nothing to prepare."""

    def findings(self, text: str) -> list[Finding]:
        """See `pii.findings`."""
        return pii.findings(text)

    def mask(self, text: str) -> str:
        """See `pii.masked`."""
        return pii.mask(text)


def pii_detector(config: Preprocess) -> PiiDetector:
    """Who looks, by the setting `pii_detector`."""
    if config.pii_detector == "rules":
        return Rules()
    from gemtune.vertex import dlp

    return dlp.DlpDetector(config.pii_parent, config.pii_types, config.pii_likelihood)
