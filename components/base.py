# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The one component decorator: every step runs in the same image, and nothing is installed when it runs.

The image contains the code; `gemtune compile --image` replaces the name in the compiled file, so that importing a
component reads no environment. The name contains `python` because kfp's local runner requires it.
"""

import inspect
from pathlib import Path
from typing import Any

import yaml
from kfp import dsl

from gemtune import __version__

IMAGE = f"gemtune-python:{__version__}"
INPUTS: dict[str, str] = yaml.safe_load(Path(__file__).with_name("inputs.yaml").read_text(encoding="utf-8"))


def component(function: Any) -> Any:
    """The component of a function; its inputs are described as in `inputs.yaml`."""
    described = [f"    {name}: {INPUTS[name]}" for name in inspect.signature(function).parameters if name in INPUTS]
    function.__doc__ = "\n".join([inspect.getdoc(function) or "", "", "Args:", *described])
    return dsl.component(function, base_image=IMAGE, install_kfp_package=False)
