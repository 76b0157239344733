# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Pipelines as YAML: the same bytes for the same code and configuration, with the image named when it is compiled.

Guarantees: each value has the type that its step declares (`backend_rules.edges`).
"""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import yaml

from gemtune.artifacts.base import open_atomic
from gemtune.config import Config
from gemtune.errors import UserError
from gemtune.vertex import connect, location, named_project
from gemtune.vertex.calls import require_credentials
from pipelines.backend_rules import edges
from pipelines.kfp_local_events import with_caching_options

Pipeline = Literal["tuning", "monitoring"]
# One thread, as kfp holds the pipeline that it compiles in a global variable; its own thread, as kfp formats the whole
# call stack for each setting of a task: below the command line or pytest that is most of the time.
_COMPILER = ThreadPoolExecutor(max_workers=1, thread_name_prefix="compile")


def compile_pipeline(
    config: Config, path: str | Path, image: str = "", cache: bool = True, pipeline: Pipeline = "tuning"
) -> Path:
    """Write the configuration's pipeline with its values as defaults; `image` replaces the component image's name.

    Without `cache` no step reuses results. The file has neither timestamps nor machine paths, and its keys are sorted:
    a golden copy can be compared. Secrets of a Kubeflow cluster are in a second document.
    """
    path = Path(path)
    if path.suffix not in (".yaml", ".yml"):
        raise UserError(f"cannot compile to {str(path)!r}", remedy="name a .yaml file")
    documents = _documents(config, image, cache, pipeline)
    text = yaml.dump_all(documents, None, yaml.CSafeDumper, sort_keys=True, allow_unicode=True, width=120)
    with open_atomic(path) as file:
        file.write(text)
    return path


def publish(path: Path, repository: str, tags: list[str]) -> str:
    """Upload a compiled pipeline to a KFP repository of Artifact Registry and move the tags to it; its URI there."""
    from kfp.registry import RegistryClient
    from requests.exceptions import RequestException

    try:
        package, version = require_credentials(
            lambda: RegistryClient(host=repository).upload_pipeline(str(path), tags=tags)
        )
    except RequestException as error:
        remedy = "name a repository of the format kfp: https://REGION-kfp.pkg.dev/PROJECT/REPOSITORY"
        raise UserError(f"cannot publish to {repository}: {error}", remedy=remedy) from None
    return f"{repository.rstrip('/')}/{package}/{version}"


def placed(config: Config) -> Config:
    """The configuration with project, region and bucket written in: a container has not this shell's environment.

    Without a known project only the region is; the first step then uses the project of its credentials. Answers are
    kept in the bucket unless `evaluate.response_cache` is set.
    """
    places = {"location": location(config.vertex)}
    if named_project(config.vertex):
        client = connect(config.vertex)
        places |= {"project": client.project, "bucket": client.bucket}
    cache = {"response_cache": config.evaluate.response_cache or "bucket"}
    sections = {"vertex": config.vertex.model_copy(update=places), "evaluate": config.evaluate.model_copy(update=cache)}
    return config.model_copy(update=sections)


def compiled(config: Config, image: str = "", cache: bool = True, pipeline: Pipeline = "tuning") -> dict[str, Any]:
    """The compiled pipeline as a dict with sorted keys."""
    return _documents(config, image, cache, pipeline)[0]


def _documents(config: Config, image: str, cache: bool, name: Pipeline) -> list[dict[str, Any]]:
    """The compiled pipeline and, where a Kubeflow cluster has secrets for its steps, the platform's specification."""
    from google.protobuf.json_format import MessageToDict, MessageToJson

    from components.base import IMAGE
    from pipelines.monitoring import monitoring_pipeline
    from pipelines.tuning import tuning_pipeline

    pipeline = _COMPILER.submit(monitoring_pipeline if name == "monitoring" else tuning_pipeline, config).result()
    spec: dict[str, Any] = json.loads(MessageToJson(pipeline.pipeline_spec, sort_keys=True))
    for executor in spec["deploymentSpec"]["executors"].values():
        container = executor.get("container", {})  # an importer has none
        if image and container.get("image") == IMAGE:  # Google's own operators have theirs
            container["image"] = image
            container.setdefault("env", []).append({"name": "GEMTUNE_IMAGE", "value": image})  # for champions' records
    if mismatched := [edge for edge in edges(spec) if not edge.matches]:
        raise UserError(
            "\n".join(map(str, mismatched)), remedy="declare the same type in the component that gives the value"
        )
    platform = MessageToDict(pipeline.platform_spec)
    return [spec if cache else with_caching_options(spec, {}), *([platform] if platform else [])]
