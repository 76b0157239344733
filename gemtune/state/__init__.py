# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""What outlives a run, kept in the bucket: the champion, past decisions, split assignments, uses of test sets."""
