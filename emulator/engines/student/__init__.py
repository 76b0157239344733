# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The engine that trains: a small causal language model with LoRA adapters."""

import os

# Steps of a small model are short: with spinning threads inference was fifteen times slower on a busy machine, and
# sleeping ones cost nothing measurable on an idle one. The framework reads this when it is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# Code compiled for a shape is kept; each batch has its own number of answer tokens, and a thousand shapes took 250 MB.
os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "32")
