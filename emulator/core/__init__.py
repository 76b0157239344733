# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""What every service builds on: REST conventions, filters, stored state, faults."""
