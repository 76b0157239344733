# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Raw files in any accepted shape in; sound, cleaned, described examples out."""
