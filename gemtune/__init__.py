# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""From raw rows to an honest deploy / don't-deploy decision about a tuned Gemini model."""

__version__ = "0.1.0"
