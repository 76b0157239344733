# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""A small Vertex AI on localhost: the wire of Gemini tuning, inference, registry and storage, over a real learner."""
