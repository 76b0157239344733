# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""From raw rows to a tested decision: deploy a tuned Gemini model, or keep the prompt."""

__version__ = "0.1.0"
