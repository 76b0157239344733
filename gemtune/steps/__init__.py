# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""What each pipeline step does: files in, files out; the work is in the packages below."""
