# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Monitoring of what serves: production logs, drift, quality, and whether there is a reason to retrain."""
