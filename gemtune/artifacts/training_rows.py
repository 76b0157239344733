# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""What the steps that change training rows report: augmentation, reweighting of hard examples."""

from __future__ import annotations

from typing import ClassVar

from gemtune.artifacts.base import Artifact
from gemtune.artifacts.cost import CostItem
from gemtune.artifacts.data import LeakageReport
from gemtune.config import Augment, HardExamples


class AugmentationReport(Artifact):
    """New training rows for rare labels, what they cost, and the leakage between the splits with them."""

    STEP: ClassVar[str] = "augment"

    rows: int
    new: int
    near: int
    relabelled: int
    spent: list[CostItem]
    limit: float
    samples: list[dict[str, str]]
    labels: dict[str, int]
    leakage_report: LeakageReport
    settings: Augment


class HardExamplesReport(Artifact):
    """Which training rows are repeated, how often, and what finding them cost."""

    STEP: ClassVar[str] = "reweight-hard-examples"

    rows: int
    reweighted_rows: int
    hard_rows: int
    label_issues: int
    share: float
    max_repeats: int
    near_hard: int
    hard_ids: list[str]
    spent: list[CostItem]
    settings: HardExamples
