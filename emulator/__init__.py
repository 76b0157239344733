# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""An emulator of Vertex AI for Gemini tuning: the REST APIs of tuning, inference, registry and storage on localhost."""
