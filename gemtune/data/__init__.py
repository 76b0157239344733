# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Raw files in any accepted format in; valid, clean, profiled examples out."""
