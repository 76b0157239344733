# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The package `gemtune_emulator` of the distribution gemtune-emulator: the emulator's command and pytest plugin.

The distribution carries the package `emulator` in a folder of its own, so that it collides with no package of a user.
"""

import sys
from pathlib import Path

BUNDLED = Path(__file__).resolve().parent / "_bundled"


def main() -> None:
    """Run the emulator's command line."""
    sys.path.insert(0, str(BUNDLED))
    from emulator.app.cli import main as run

    run("gemtune-emulator")
