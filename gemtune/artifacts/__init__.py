# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The documents that pass between steps: one frozen, versioned model per document."""
