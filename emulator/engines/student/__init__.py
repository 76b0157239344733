# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The engine that trains: a small causal language model with LoRA adapters."""
