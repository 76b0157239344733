# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
# /// script
# dependencies = ["google-genai>=3,<4"]
# ///
"""google-genai 3: as google-genai 2."""

import runpy
from pathlib import Path

globals().update(runpy.run_path(str(Path(__file__).with_name("google_genai_2.py"))))
