# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Detectors of personal data: built-in rules, or Google's Sensitive Data Protection, with one protocol.

Guarantees: the setting `preprocess.pii` (report, mask, drop) means the same with every detector.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from gemtune import pii
from gemtune.config import Preprocess
from gemtune.pii import Finding


class PiiDetector(Protocol):
    """Finds personal data in texts. Texts passed to `prefetch` before may be sent in one request."""

    def prefetch(self, texts: Iterable[str]) -> None:
        """Prepare findings of texts that will be searched next."""

    def findings(self, text: str) -> list[Finding]:
        """Findings in order, not overlapping."""

    def mask(self, text: str) -> str:
        """The text with every finding replaced by its kind in brackets."""


def load_pii_detector(config: Preprocess) -> PiiDetector:
    """The detector of the setting `pii_detector`: the module `pii`, from which no text leaves the machine, or DLP."""
    if config.pii_detector == "rules":
        return pii
    from gemtune.vertex import dlp

    return dlp.DlpDetector(config.pii_parent, config.pii_types, config.pii_likelihood)
