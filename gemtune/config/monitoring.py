# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Settings of monitoring."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from gemtune.config.section import Section


class Monitor(Section):
    """Monitoring of the champion by its production logs, and when there is reason to retrain."""

    logs: str = ""
    """Production logs: bq://PROJECT.DATASET.TABLE, which `gemtune logging enable` lets the champion's endpoint write,
    or a file of rows, local or gs://; empty: none.
    """
    window_days: float = Field(7, ge=1, le=92)
    """Length of a window (days); each is examined once."""
    baseline_windows: int = Field(8, ge=3, le=26)
    """Windows after a promotion with which later ones are compared."""
    false_alarms_a_year: float = Field(0.05, gt=0, le=1)
    """Probability of any false alarm in a year, all checks together."""
    max_rows: int = Field(20_000, ge=100)
    """Distinct texts of a window that are compared; of more, a sample."""
    max_skew: float = Field(0.01, ge=0, lt=1)
    """Share of rows whose prompt may differ from the tuned one without an alarm."""
    max_drop: float = Field(0.03, ge=0, lt=1)
    """Drop of the score below that on test rows from which labels give an alarm."""
    labels_a_window: int = Field(100, ge=0)
    """Rows of a window to label: half to estimate quality, half to learn from; 0: none."""
    judge_rows: int = Field(0, ge=0)
    """Distinct texts of a window whose answers the judge rates (paid), if evaluate.judge.ratings validate it: they are
    the proxy of labelled quality instead of confidence; 0: none.
    """
    min_new_rows: int = Field(0, ge=0)
    """Newly labelled rows that are a reason to retrain; 0: 5 % of the training rows, at least 50."""
    retire_days: int = Field(60, ge=0)
    """Days before the base model retires from which that is a reason to retrain."""
    max_age_days: int = Field(0, ge=0)
    """Age of the champion that is a reason to retrain (days); 0: none."""
    on_retrain: Literal["notify", "submit"] = "notify"
    """What a reason to retrain starts: a notification, or the tuning pipeline."""
    max_bytes_billed: int = Field(10**10, ge=0)
    """Bytes that a query of the logs may bill; 0: no limit."""
