# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
# /// script
# dependencies = ["kfp"]
# ///
"""kfp: `RegistryClient` with the address of a repository; files are pipeline templates."""

import tempfile
from pathlib import Path

from kfp import compiler, dsl
from kfp.registry import RegistryClient


@dsl.component
def hello() -> str:
    return "hello"


@dsl.pipeline(name="clients-pipeline")
def pipeline():
    hello()


def _client(s):
    return RegistryClient(host=f"{s.url}/kfp/{s.project}/templates")


def upload(s):
    with tempfile.TemporaryDirectory() as folder:
        compiler.Compiler().compile(pipeline, f"{folder}/p.yaml")
        _client(s).upload_pipeline(f"{folder}/p.yaml", tags=["latest"])
    return s.content


def download(s):
    with tempfile.TemporaryDirectory() as folder:
        path = _client(s).download_pipeline("clients-pipeline", tag="latest", file_name=f"{folder}/p.yaml")
        return s.content if "clients-pipeline" in Path(path).read_text() else b""


def list_(s):
    names = [package["name"].rsplit("/", 1)[1] for package in _client(s).list_packages()]
    return [s.stored] if "clients-pipeline" in names else names
