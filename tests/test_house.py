"""The rules of the house that no other tool checks: thin components, one image, settings that travel, a clean tree."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from google.protobuf import json_format, struct_pb2

from gemtune.config import Config

ROOT = Path(__file__).parents[1]
COMPONENTS = [path for path in sorted((ROOT / "components").glob("*.py")) if path.stem not in ("__init__", "base")]
PRODUCT = [p for top in ("gemtune", "emulator", "components", "pipelines") for p in (ROOT / top).rglob("*.py")]
FORBIDDEN = (
    ast.If, ast.For, ast.While, ast.Try, ast.With, ast.Lambda, ast.DictComp, ast.SetComp, ast.GeneratorExp, ast.IfExp,
)  # fmt: skip


def component_functions():
    for path in COMPONENTS:
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.FunctionDef):
                yield pytest.param(node, id=f"{path.stem}.{node.name}")


@pytest.mark.parametrize("function", list(component_functions()))
def test_a_component_is_one_import_and_one_call(function):
    docstring, imported, *rest = function.body
    assert isinstance(docstring.value, ast.Constant)
    assert isinstance(imported, ast.ImportFrom)
    assert imported.module == "gemtune.steps"
    module = imported.names[0].asname or imported.names[0].name
    calls = [
        node for statement in rest for node in ast.walk(statement)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name) and node.func.value.id == module
    ]  # fmt: skip
    assert len(calls) == 1
    for statement in rest:
        assert isinstance(statement, ast.Assign | ast.Return | ast.Expr)
        for node in ast.walk(statement):
            assert not isinstance(node, FORBIDDEN), ast.unparse(node)
            if isinstance(node, ast.ListComp):  # unpacking the paths of a list of artifacts is all
                assert re.fullmatch(r"\[(\w+)\.path for \1 in \w+\]", ast.unparse(node))


def test_components_do_not_postpone_annotations():
    for path in COMPONENTS:
        assert "from __future__ import annotations" not in path.read_text(), path


def test_each_component_is_named_like_its_module_and_its_section():
    sections = set(Config.model_fields)
    for path in COMPONENTS:
        assert path.stem in sections | {"report"}


@pytest.mark.parametrize("path", sorted((ROOT / "configs").rglob("*.yaml")), ids=lambda path: path.stem)
def test_every_configuration_loads_and_survives_a_struct(path):
    config = Config.load(path)
    struct = struct_pb2.Struct()
    sent = config.parameters()
    json_format.ParseDict(sent, struct)
    back = json_format.MessageToDict(struct)
    for name, section in Config.model_fields.items():
        if hasattr(section.annotation, "model_validate"):
            assert section.annotation.model_validate(back[name]) == section.annotation.model_validate(sent[name])


def test_every_section_is_a_parameter_of_some_pipeline():
    from pipelines.compilation import compiled, pipelines

    forms = [set(compiled(Config(), pipeline=name)["root"]["inputDefinitions"]["parameters"]) for name in pipelines()]
    assert set.union(*forms) == {*Config.model_fields, "baselines"} - {"pipeline"}


def test_compiling_loads_no_training_framework():
    code = (
        "import sys; from pipelines.compilation import compiled; from gemtune.config import Config; compiled(Config());"
        "sys.exit(', '.join({'torch', 'transformers', 'numba', 'sklearn', 'google.genai'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_every_file_says_its_licence():
    for path in PRODUCT:
        first, second, *_ = [*path.read_text(encoding="utf-8").splitlines(), "", ""]
        assert first == "# SPDX-FileCopyrightText: 2026 The gemtune authors", path
        assert second == "# SPDX-License-Identifier: Apache-2.0", path


def test_no_module_is_longer_than_can_be_read():
    read = [p for p in PRODUCT if p.stem != "words"]  # vocabulary is data
    long = {str(p.relative_to(ROOT)): n for p in read if (n := len(p.read_text(encoding="utf-8").splitlines())) > 600}
    assert not long


def test_the_lock_pins_every_dependency_that_is_declared():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = [
        *project["dependencies"],
        *project["optional-dependencies"]["emulator"],
        *project["optional-dependencies"]["dev"],
    ]
    pinned = {
        line.split("==")[0].lower().replace("_", "-")
        for line in (ROOT / "requirements.lock").read_text().splitlines()
        if "==" in line
    }
    names = {re.split(r"[<>=\[ ]", entry)[0].lower().replace("_", "-") for entry in declared}
    assert names <= pinned, names - pinned


def test_the_image_installs_what_the_lock_says_and_only_gemtune():
    lines = (ROOT / "components" / "Dockerfile").read_text()
    assert "pip install --no-cache-dir --constraint requirements.lock '.[dlp]'" in lines
    assert re.findall(r"^COPY (.+) (\S+)$", lines, re.M) == [
        ("pyproject.toml requirements.lock README.md LICENSE", "./"),
        ("gemtune", "gemtune"),
    ]
    ignored = (ROOT / ".dockerignore").read_text().split()
    assert ignored[0] == "*"
    assert set(ignored[1:]) == {"!pyproject.toml", "!requirements.lock", "!README.md", "!LICENSE", "!gemtune"}


def test_the_installed_versions_are_the_locked_ones():
    from importlib import metadata

    for line in (ROOT / "requirements.lock").read_text().splitlines():
        name, _, version = line.partition("==")
        if version:
            try:
                installed = metadata.version(name)
            except metadata.PackageNotFoundError:
                continue  # an extra that is not installed here
            assert installed.split("+")[0] == version, name


def test_the_makefile_documents_each_verb():
    text = (ROOT / "Makefile").read_text()
    verbs = re.search(r"^\.PHONY: (.+)$", text, re.M)[1].split()
    for verb in verbs:
        assert re.search(rf"^{verb}:.*## ", text, re.M), verb


def test_configurations_hold_only_what_differs():
    for path in (ROOT / "configs").rglob("*.yaml"):
        told = yaml.safe_load(path.read_text())
        # what a kind of task sets by itself
        kind = {key: value for key, value in told.get("task", {}).items() if key == "kind"}
        defaults = Config.model_validate(
            {"task": kind, **{k: told[k] for k in ("pipeline",) if k in told}}
        ).model_dump()
        for section, values in told.items():
            if isinstance(values, dict) and section != "task":
                for key, value in values.items():
                    assert value != defaults[section].get(key), f"{path.name}: {section}.{key} repeats the default"


def test_the_settings_reference_is_what_the_generator_prints():
    from gemtune.cli.config import reference

    assert (ROOT / "docs" / "settings.md").read_text(encoding="utf-8") == reference(), "make docs"
