# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Pipelines as YAML: the same bytes for the same code and configuration, with the image named when it is compiled."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from gemtune.config import Config
from gemtune.errors import UserError


def pipelines() -> dict[str, Callable[[Config], Callable[..., None]]]:
    """Every pipeline by name."""
    from pipelines.preference import preference_tuning
    from pipelines.tuning import supervised_tuning

    return {"preference_tuning": preference_tuning, "supervised_tuning": supervised_tuning}


def compile_pipeline(config: Config, path: str | Path, image: str = "", pipeline: str = "supervised_tuning") -> Path:
    """Write a pipeline with the configuration's values as defaults; `image` replaces the name of the component image.

    The file has neither timestamps nor machine paths, and its keys are sorted: a golden copy can be compared.
    """
    path = Path(path)
    if path.suffix not in (".yaml", ".yml"):
        raise UserError(f"cannot compile to {str(path)!r}", remedy="name a .yaml file")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(compiled(config, image, pipeline), sort_keys=True, allow_unicode=True, width=120))
    return path


def compiled(config: Config, image: str = "", pipeline: str = "supervised_tuning") -> dict[str, Any]:
    """The compiled pipeline as a dict."""
    from kfp import compiler

    from components.base import IMAGE

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "pipeline.yaml"
        compiler.Compiler().compile(pipelines()[pipeline](config), str(file))
        spec: dict[str, Any] = yaml.safe_load(file.read_text())
    for executor in spec["deploymentSpec"]["executors"].values():
        if image and executor["container"]["image"] == IMAGE:  # Google's own operators bring theirs
            executor["container"]["image"] = image
    return spec
