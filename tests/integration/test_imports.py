# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""What is imported only when it is needed."""

from __future__ import annotations

import subprocess
import sys


def test_imports_no_jsonschema_for_a_task_without_a_schema() -> None:
    code = (
        "import sys; from gemtune.config import Config, Prompt, Task; from gemtune.inference.parsing import parse; "
        "Config.load(); parse(Task(kind='extraction'), Prompt(), '{}'); assert 'jsonschema' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
