# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Settings of monitoring."""

from __future__ import annotations

from gemtune.config.section import Section


class Monitor(Section):
    """Monitoring of the champion by its production logs."""

    logs: str = ""
    """Production logs: bq://PROJECT.DATASET.TABLE, which `gemtune logging enable` lets the champion's endpoint write,
    or a file of rows, local or gs://; empty: none.
    """
