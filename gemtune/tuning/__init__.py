# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""What a tuning job costs, how it is submitted once, watched and recorded."""
