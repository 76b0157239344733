"""The rules of the house that no other tool checks: thin components, one image, settings that travel, a clean tree."""

import ast
import re
import subprocess
import sys
import tomllib
from itertools import chain
from pathlib import Path

import pytest
import yaml
from google.protobuf import json_format, struct_pb2

from gemtune.config import Config

ROOT = Path(__file__).parents[1]
COMPONENTS = [path for path in sorted((ROOT / "components").glob("*.py")) if path.stem not in ("__init__", "base")]
PRODUCT = [p for top in ("gemtune", "emulator", "components", "pipelines") for p in (ROOT / top).rglob("*.py")]
SECTIONS = set(Config.model_fields) - {"name", "method", "data", "backend"}
FORBIDDEN = (
    ast.If, ast.For, ast.While, ast.Try, ast.With, ast.Lambda, ast.DictComp, ast.SetComp, ast.GeneratorExp,
)  # fmt: skip
# paths of a list of artifacts, path of an artifact that may be absent, of an output
PATHS = re.compile(r"\[(\w+)\.path for \1 in \w+( or \[\])?\]")
PATH = re.compile(r"(\w+)\.path if \1 else ''")
OUTPUT = re.compile(r"output\((\w+)(?:, '\.csv')?\)")
OUTPUT_FILE = re.compile(r"(?!events\b)(\w+): Output\[(Artifact|Dataset|HTML|Markdown)\]")  # `events` is a folder


def component_functions():
    for path in COMPONENTS:
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.FunctionDef):
                yield pytest.param(node, id=f"{path.stem}.{node.name}")


@pytest.mark.parametrize("function", list(component_functions()))
def test_component_is_one_import_and_one_call(function):
    docstring, imported, *rest = function.body
    assert isinstance(docstring.value, ast.Constant)
    assert isinstance(imported, ast.ImportFrom)
    assert imported.module == "gemtune.steps"
    alias, *others = imported.names
    assert alias.asname == "step"
    assert {other.name for other in others} <= {"output", "sections"}
    calls = [
        node for statement in rest for node in ast.walk(statement)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name) and node.func.value.id == "step"
    ]  # fmt: skip
    assert len(calls) == 1
    arguments = [OUTPUT_FILE.fullmatch(ast.unparse(argument)) for argument in function.args.args]
    assert sorted(OUTPUT.findall(ast.unparse(function))) == sorted(match[1] for match in arguments if match)
    for statement in rest:
        assert isinstance(statement, ast.Assign | ast.Return | ast.Expr)
        for node in ast.walk(statement):
            assert not isinstance(node, FORBIDDEN), ast.unparse(node)
            if isinstance(node, ast.ListComp):
                assert PATHS.fullmatch(ast.unparse(node))
            if isinstance(node, ast.IfExp):
                assert PATH.fullmatch(ast.unparse(node))


def test_components_do_not_postpone_annotations():
    for path in COMPONENTS:
        assert "from __future__ import annotations" not in path.read_text(), path


def test_components_call_every_step():
    called = {name for path in COMPONENTS for name in re.findall(r"steps import (\w+) as step", path.read_text())}
    steps = {path.stem for path in (ROOT / "gemtune" / "steps").glob("[a-z]*.py") if "def run" in path.read_text()}
    assert called == steps


def test_components_pass_all_their_sections_by_name():
    """A parameter that is a section has its name and is passed on by its name, so that wiring cannot mix them up."""
    for path in COMPONENTS:
        for function in ast.parse(path.read_text()).body:
            if isinstance(function, ast.FunctionDef):
                (call,) = [
                    node for node in ast.walk(function)
                    if isinstance(node, ast.Call) and ast.unparse(node.func).startswith("step.")
                ]  # fmt: skip
                assert {argument.arg for argument in function.args.args} & SECTIONS, function.name
                assert [ast.unparse(keyword) for keyword in call.keywords] == ["**sections(locals())"], function.name


@pytest.mark.parametrize("path", sorted((ROOT / "configs").rglob("*.yaml")), ids=lambda path: path.stem)
def test_configurations_load_and_survive_a_struct(path):
    config = Config.load(path)
    struct = struct_pb2.Struct()
    sent = config.parameters()
    json_format.ParseDict(sent, struct)
    back = json_format.MessageToDict(struct)
    for name, section in Config.model_fields.items():
        if hasattr(section.annotation, "model_validate"):
            assert section.annotation.model_validate(back[name]) == section.annotation.model_validate(sent[name])


def test_sections_are_parameters_of_some_pipeline():
    from pipelines.compilation import compiled
    from pipelines.tuning import FORM

    options = ["augment.min_rows_per_label=1", "hard_examples.target_share=0.5", "escalation.models=[gemini-3.5-flash]"]
    configs = [Config.load(None, options), Config(method="preference")]
    specs = [*map(compiled, configs), compiled(Config(), pipeline="monitoring")]
    forms = [set(spec["root"]["inputDefinitions"]["parameters"]) for spec in specs]
    own = {"now", "new_baseline", "retraining_job", *FORM}
    assert set.union(*forms) == {*Config.model_fields, *own} - {"method", "backend", "steps"}


def test_compile_loads_no_training_framework():
    code = (
        "import sys; from pipelines.compilation import compiled; from gemtune.config import Config; compiled(Config());"
        "sys.exit(', '.join({'torch', 'transformers', 'numba', 'sklearn', 'google.genai'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_files_state_their_licence():
    for path in PRODUCT:
        first, second, *_ = [*path.read_text(encoding="utf-8").splitlines(), "", ""]
        assert first == "# SPDX-FileCopyrightText: 2026 The gemtune authors", path
        assert second == "# SPDX-License-Identifier: Apache-2.0", path


def test_modules_have_at_most_600_lines():
    lengths = {str(p.relative_to(ROOT)): len(p.read_text(encoding="utf-8").splitlines()) for p in PRODUCT}
    long = {path: length for path, length in lengths.items() if length > 600}
    assert not long


def test_kernels_use_nothing_of_another_file():
    """numba compiles a kernel again when its own file changes, not when another one does that it calls."""
    for path in (ROOT / "gemtune/dedup/_numba").glob("*.py"):
        nodes = [
            node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.ImportFrom)
        ]
        imported = {name.name for node in nodes if node.module.startswith("gemtune") for name in node.names}
        assert imported <= {"compiled"}, path


def test_lock_pins_every_declared_dependency():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = ("emulator", "docs", "dev")
    declared = [*project["dependencies"], *chain.from_iterable(project["optional-dependencies"][x] for x in extras)]
    pinned = {
        line.split("==")[0].lower().replace("_", "-")
        for line in (ROOT / "requirements.lock").read_text().splitlines()
        if "==" in line
    }
    names = {re.split(r"[<>=\[ ]", entry)[0].lower().replace("_", "-") for entry in declared}
    assert names - {"gemtune"} <= pinned, names - pinned


def test_image_installs_the_locked_versions_and_only_gemtune():
    lines = (ROOT / "components" / "Dockerfile").read_text()
    installs = re.findall(r"pip install (.+)", lines)
    assert installs == [
        "--no-cache-dir --no-deps --require-hashes --requirement requirements-hashed.lock",
        "--no-cache-dir --no-deps --no-build-isolation . && /opt/gemtune/bin/pip check",
    ]
    assert re.findall(r"^COPY (.+) (\S+)$", lines, re.M) == [
        ("requirements-hashed.lock", "./"),
        ("pyproject.toml README.md LICENSE", "./"),
        ("gemtune", "gemtune"),
        ("--from=build /opt/gemtune", "/opt/gemtune"),
    ]
    ignored = (ROOT / ".dockerignore").read_text().split()
    assert ignored[0] == "*"
    assert set(ignored[1:]) == {"!pyproject.toml", "!requirements-hashed.lock", "!README.md", "!LICENSE", "!gemtune"}


def test_hashed_lock_has_the_versions_of_the_lock_with_hashes_and_no_address():
    def pins(path):
        return dict(re.findall(r"^([\w.-]+)==(\S+)", (ROOT / path).read_text().lower().replace("_", "-"), re.M))

    text, locked, hashed = (
        (ROOT / "requirements-hashed.lock").read_text(),
        pins("requirements.lock"),
        pins("requirements-hashed.lock"),
    )
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    declared = [*project["project"]["dependencies"], *project["build-system"]["requires"]]
    assert {re.split(r"[<>=\[ ]", entry)[0].lower().replace("_", "-") for entry in declared} <= hashed.keys()
    assert {name: version for name, version in hashed.items() if locked.get(name, version) != version} == {}
    assert "torch" not in hashed
    assert "//" not in text
    for entry in re.split(r"\n(?! )", re.sub("(?m)^#.*", "", text)):
        assert not entry or re.fullmatch(r"[\w.-]+==[^ ]+( ; [^\\]+)?( \\\n    --hash=sha256:[0-9a-f]{64})+", entry), (
            entry
        )


def test_lock_equals_the_installed_versions():
    from importlib import metadata

    for line in (ROOT / "requirements.lock").read_text().splitlines():
        name, _, version = line.partition("==")
        if version:
            try:
                installed = metadata.version(name)
            except metadata.PackageNotFoundError:
                continue  # an extra that is not installed here
            assert installed.split("+")[0] == version, name


def test_makefile_documents_each_verb():
    text = (ROOT / "Makefile").read_text()
    verbs = re.search(r"^\.PHONY: (.+)$", text, re.M)[1].split()
    for verb in verbs:
        assert re.search(rf"^{verb}:.*## ", text, re.M), verb


def test_configurations_name_only_paths_that_exist():
    for path in (ROOT / "configs").rglob("*.yaml"):
        comments = "\n".join(re.findall(r"#.*", path.read_text()))
        named = re.findall(r"\b(?:gemtune|docs|configs|examples|pipelines|components)/[\w./-]*\w", comments)
        assert [name for name in named if not (ROOT / name).exists()] == [], path.name


def test_configurations_repeat_no_default():
    for path in (ROOT / "configs").rglob("*.yaml"):
        shown = yaml.safe_load(path.read_text())
        # what a kind of task sets by itself
        kind = {key: value for key, value in shown.get("task", {}).items() if key == "kind"}
        defaults = Config.model_validate(
            {"task": kind, **{k: shown[k] for k in ("method",) if k in shown}}
        ).model_dump()
        for section, values in shown.items():
            if isinstance(values, dict) and section != "task":
                for key, value in values.items():
                    assert value != defaults[section].get(key), f"{path.name}: {section}.{key} repeats the default"
