# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Components and steps: a section that a step reads but its component does not pass would have its defaults."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
import yaml
from kfp import dsl

from gemtune import steps
from gemtune.config import Config

ROOT = Path(__file__).parents[2]
SECTIONS = set(Config.model_fields) - {"name", "method", "data"}
OPENED = {
    "objective": {"preference"},
    "evaluator": {"task", "evaluate", "vertex", "preference"},
    "client": {"vertex"},
    "catalogue": {"vertex"},
    "count_tokens": {"evaluate", "vertex"},
    "prices": {"evaluate", "vertex"},
    "signing_key": {"reporting"},
    "settings": set(),
    "token_counter": {"evaluate", "plan", "vertex"},
}
"""What else a `StepContext` gives, and the sections behind it."""
SUPERVISED_ONLY = {"augment", "escalation", "reweight"}
"""Steps that preference tuning has not, so that their components have no section `preference`."""
DRY_RUN_ONLY = {("plan_tuning", "augment")}
DEPLOY_ONLY = {"keep_current_model": {"evaluate"}}
"""Sections that another component of the same step reads."""

STEPS = sorted(
    path.stem for path in (ROOT / "gemtune" / "steps").glob("[a-z]*.py") if "def run" in path.read_text("utf-8")
)


def read_sections(step: str) -> set[str]:
    """The sections that a step reads through its context."""
    text = (ROOT / "gemtune" / "steps" / f"{step}.py").read_text(encoding="utf-8")
    names = set(re.findall(r"\bcontext\.(\w+)", text)) | set(re.findall(r"\bwith_larger\.(\w+)", text))
    return {section for name in names for section in OPENED.get(name, {name})} & SECTIONS


def functions() -> list[ast.FunctionDef]:
    """The functions of all components."""
    paths = [ROOT / "components" / f"{module}.py" for module in ("tuning", "monitoring")]
    nodes = [node for path in paths for node in ast.parse(path.read_text(encoding="utf-8")).body]
    return [node for node in nodes if isinstance(node, ast.FunctionDef)]


def passed_sections(step: str) -> dict[str, set[str]]:
    """The sections that each call of a step passes, which are those that the component takes, by its function."""
    return {
        function.name: {argument.arg for argument in function.args.args} & SECTIONS
        for function in functions()
        if f"from gemtune.steps import {step} as step" in ast.unparse(function)
    }


@pytest.mark.parametrize("step", STEPS)
def test_components_pass_every_section_that_their_step_reads(step: str) -> None:
    read = read_sections(step) - ({"preference"} if step in SUPERVISED_ONLY else set())
    read -= {section for own, section in DRY_RUN_ONLY if own == step}
    passed = passed_sections(step)
    assert passed
    missing = {name: read - sections - DEPLOY_ONLY.get(name, set()) for name, sections in passed.items()}
    assert {name: sections for name, sections in missing.items() if sections} == {}


def test_inputs_are_described_by_name_and_nothing_else_is() -> None:
    arguments = [argument for function in functions() for argument in function.args.args if argument.annotation]
    given = ("Output", "PipelineTaskFinalStatus")  # by the backend
    inputs = {own.arg for own in arguments if own.annotation and not ast.unparse(own.annotation).startswith(given)}
    described = yaml.safe_load((ROOT / "components" / "inputs.yaml").read_text(encoding="utf-8"))
    assert set(described) == inputs - SECTIONS
    assert all(text.endswith(".") for text in described.values())


@pytest.mark.parametrize(
    ("kind", "extension", "path"),
    [(dsl.Dataset, "", "a.jsonl"), (dsl.HTML, "", "a.html"), (dsl.Dataset, ".csv", "a.csv")],
)
def test_output_adds_the_extension_of_its_type_to_path_and_uri(kind: type, extension: str, path: str) -> None:
    artifact = kind(uri="a")
    assert steps.output(artifact, extension) == path == artifact.uri


def test_sections_are_the_configurations_among_the_values() -> None:
    values = {"task": {"kind": "sentiment"}, "name": "shop", "trial": {"name": "first"}, "report": object()}
    assert steps.sections(values) == {"task": {"kind": "sentiment"}}
