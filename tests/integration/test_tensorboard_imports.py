# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Event files are written without TensorFlow and torch."""

import subprocess
import sys
from pathlib import Path


def test_write_events_loads_no_training_framework(tmp_path: Path) -> None:
    code = (
        "import sys; from gemtune.tuning.tensorboard import write_events; write_events(sys.argv[1], {'a': [(1, 1.0)]}, "
        "1.0); assert not {'torch', 'tensorflow'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)
