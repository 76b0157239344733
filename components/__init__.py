# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""What each step takes and gives: one import and one call each; the work is done in `gemtune`."""
