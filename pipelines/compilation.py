# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Pipelines as YAML: the same bytes for the same code and configuration, with the image named when it is compiled."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from gemtune.config import Config
from gemtune.errors import UserError


def compile_pipeline(config: Config, path: str | Path, image: str = "") -> Path:
    """Write the configuration's pipeline with its values as defaults; `image` replaces the component image's name.

    The file has neither timestamps nor machine paths, and its keys are sorted: a golden copy can be compared.
    """
    path = Path(path)
    if path.suffix not in (".yaml", ".yml"):
        raise UserError(f"cannot compile to {str(path)!r}", remedy="name a .yaml file")
    path.parent.mkdir(parents=True, exist_ok=True)
    text = yaml.safe_dump(compiled(config, image), sort_keys=True, allow_unicode=True, width=120)
    path.write_text(text, encoding="utf-8")
    return path


def compiled(config: Config, image: str = "") -> dict[str, Any]:
    """The compiled pipeline as a dict with sorted keys."""
    from google.protobuf.json_format import MessageToJson

    from components.base import IMAGE
    from pipelines.tuning import tuning_pipeline

    spec: dict[str, Any] = json.loads(MessageToJson(tuning_pipeline(config).pipeline_spec, sort_keys=True))
    for executor in spec["deploymentSpec"]["executors"].values():
        container = executor.get("container", {})  # an importer has none
        if image and container.get("image") == IMAGE:  # Google's own operators have theirs
            container["image"] = image
            container["env"] = [{"name": "GEMTUNE_IMAGE", "value": image}]  # for the champion's record
    return spec
