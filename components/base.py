# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The one component decorator: every step runs in the same image, and nothing is installed when it runs.

The image contains the code; `gemtune compile --image` replaces the name in the compiled file, so that importing a
component reads no environment. The name contains `python` because kfp's local runner requires it. `inputs.yaml`
describes the inputs of all components.
"""

import inspect
from pathlib import Path
from typing import Any

import yaml
from kfp import dsl

from gemtune import __version__
from gemtune.config import Config

IMAGE = f"gemtune-python:{__version__}"
INPUTS = yaml.safe_load(Path(__file__).with_name("inputs.yaml").read_text(encoding="utf-8"))


def component(function: Any) -> Any:
    """A component of the one image, with the descriptions of its inputs."""
    sections = {name: f"Section `{name}` of the configuration." for name in Config.model_fields}
    described = sections | INPUTS
    inputs = [f"    {name}: {described[name]}" for name in inspect.signature(function).parameters if name in described]
    function.__doc__ = "\n".join([inspect.cleandoc(function.__doc__), "", "Args:", *inputs])
    return dsl.component(function, base_image=IMAGE, install_kfp_package=False)
