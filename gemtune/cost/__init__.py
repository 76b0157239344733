# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Tokens and US dollars: forecast before they are spent, counted after, held under a limit."""
