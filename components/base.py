# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The one component decorator: every step runs in the same image, and nothing is installed when it runs.

The image contains the code; `gemtune compile --image` replaces the name in the compiled file, so that importing a
component reads no environment. The name contains `python` because kfp's local runner requires it.
"""

from functools import partial

from kfp import dsl

from gemtune import __version__

IMAGE = f"gemtune-python:{__version__}"

component = partial(dsl.component, base_image=IMAGE, install_kfp_package=False)
