# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The documents that steps hand to each other: one frozen, versioned model per document."""
