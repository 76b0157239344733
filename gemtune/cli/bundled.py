# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Makes `pipelines`, `components` and `emulator` importable from an installed wheel.

In the repository they are top-level folders. Installed under these names they would collide with a user's own
packages, so the wheel carries them in `gemtune/_bundled`. Only the console command and the processes that it starts
have that folder on their path.
"""

import os
import sys
from pathlib import Path

BUNDLED = Path(__file__).resolve().parent.parent / "_bundled"


def sample(path: str) -> Path:
    """A file of the sample, in the wheel or in the repository."""
    return (BUNDLED if BUNDLED.is_dir() else BUNDLED.parents[1]) / path


def put_on_path(folder: Path = BUNDLED) -> None:
    """Import from the wheel's copies, here and in child processes, before any package of the same name.

    Changes `sys.path` and the environment of this process; in a repository, or a second time, only so that children
    import nothing from the working directory: a user's `attrs.py` or `queue.py` would stop the emulator.
    """
    os.environ["PYTHONSAFEPATH"] = "1"
    if not folder.is_dir() or str(folder) in sys.path:
        return
    sys.path.insert(0, str(folder))
    inherited = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(folder), inherited] if inherited else [str(folder)])
