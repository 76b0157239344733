# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The driver's rules on values, and what can be seen in a specification before it runs."""

import copy
from typing import Any

import pytest

from emulator.execution.edges import problems
from emulator.execution.values import Refusal, as_text, converted, from_text, holds, items_of, selected

VALUES: dict[str, Any] = {
    "string": "a",
    "number": 1.5,
    "bool": True,
    "list": [1.0, "a"],
    "struct": {"b": 2.0, "a": None},
    "null": None,
}
TAKEN = {
    "BOOLEAN": {"bool"},
    "NUMBER_INTEGER": {"number"},
    "NUMBER_DOUBLE": {"number"},
    "LIST": {"list"},
    "STRUCT": {"struct"},
}


@pytest.mark.parametrize("declared", TAKEN)
@pytest.mark.parametrize("kind", VALUES)
def test_converted_refuses_values_of_other_types(declared: str, kind: str) -> None:
    if kind in TAKEN[declared]:
        assert converted("x", VALUES[kind], declared) == VALUES[kind]
        return
    with pytest.raises(Refusal) as refused:
        converted("x", VALUES[kind], declared)
    mismatch = f'input parameter "x" type mismatch: expect {declared}, got {kind}'
    assert str(refused.value) == ('got null for input parameter "x"' if kind == "null" else mismatch)


def test_converted_gives_a_string_input_any_value_as_json() -> None:
    texts = {kind: converted("x", value, "STRING") for kind, value in VALUES.items()}
    assert texts == {
        "string": "a",
        "number": "1.5",
        "bool": "true",
        "list": '[1,"a"]',
        "struct": '{"a":null,"b":2}',
        "null": "null",
    }
    assert [as_text(value) for value in (3.0, 1e21, 0.1, "é")] == ["3", "1e+21", "0.1", "é"]


def test_from_text_reads_files_of_parameters_by_type() -> None:
    cases = [("3", "STRING", "3"), ("True", "BOOLEAN", True), ("3", "NUMBER_INTEGER", 3), ("[1]", "LIST", [1])]
    assert all(from_text(text, declared) == value for text, declared, value in cases)
    for text, declared in [("x", "NUMBER_DOUBLE"), ("[1]", "STRUCT"), ("1", "BOOLEAN"), ("", "LIST")]:
        with pytest.raises(ValueError, match=r"."):
            from_text(text, declared)


def test_items_of_reads_lists_and_their_json() -> None:
    assert items_of([1]) == items_of("[1]") == [1]
    for value in (1, {"a": 1}, "{}", "x"):
        with pytest.raises(Refusal):
            items_of(value)


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("inputs.parameter_values['pipelinechannel--a-Output'] == 'heads'", True),
        ("!(inputs.parameter_values['pipelinechannel--a-Output'] == 'heads') && true", False),
        ("int(inputs.parameter_values['n']) >= 2 && inputs.parameter_values['x'] > double(2)", True),
        ("inputs.parameter_values['flag'] == true || inputs.parameter_values['a'] == 'b'", True),
        ("inputs.parameter_values['n'] != 2.0", False),
    ],
)
def test_holds_evaluates_compiled_conditions(condition: str, expected: bool) -> None:
    values = {"pipelinechannel--a-Output": "heads", "n": 2.0, "x": 2.5, "flag": True}
    assert holds(condition, values) is expected


@pytest.mark.parametrize(
    "condition",
    [
        "inputs.parameter_values['absent'] == 'a'",
        "inputs.parameter_values['a'] > 3",
        "inputs.parameter_values['a']",
        "inputs.parameter_values[",
    ],
)
def test_holds_refuses_what_cannot_be_evaluated(condition: str) -> None:
    with pytest.raises(Refusal):
        holds(condition, {"a": "text"})


def test_selected_reads_a_field_of_a_struct() -> None:
    assert selected({"a": {"b": 1}}, 'parseJson(string_value)["a"]') == {"b": 1}
    with pytest.raises(Refusal):
        selected({"a": 1}, 'parseJson(string_value)["b"]')


def parameters(**types: str) -> dict[str, Any]:
    return {"parameters": {name: {"parameterType": kind} for name, kind in types.items()}}


def loop(item: str, **more: str) -> dict[str, Any]:
    return {
        "inputDefinitions": parameters(item=item, **more),
        "dag": {"tasks": {"use": task("comp-use", row={"componentInputParameter": "item"})}},
    }


def task(component: str, **sources: Any) -> dict[str, Any]:
    return {"componentRef": {"name": component}, "inputs": {"parameters": sources}}


def output(producer: str, key: str = "Output") -> dict[str, Any]:
    return {"taskOutputParameter": {"producerTask": producer, "outputParameterKey": key}}


SPEC: dict[str, Any] = {
    "pipelineInfo": {"name": "p"},
    "root": {
        "inputDefinitions": parameters(count="NUMBER_INTEGER", note="STRING"),
        "dag": {
            "tasks": {
                "plan": task("comp-plan", count={"componentInputParameter": "count"}),
                "loop": {
                    **task("comp-loop", items=output("plan")),
                    "parameterIterator": {"itemInput": "item", "items": {"inputParameter": "items"}},
                },
                "fixed": {
                    **task("comp-fixed"),
                    "parameterIterator": {"itemInput": "item", "items": {"raw": '[{"a": 1}]'}},
                },
                "last": task("comp-use", row={"runtimeValue": {"constant": {}}}, note=output("plan")),
            }
        },
    },
    "components": {
        "comp-plan": {
            "executorLabel": "exec",
            "inputDefinitions": parameters(count="NUMBER_DOUBLE"),
            "outputDefinitions": parameters(Output="LIST"),
        },
        "comp-loop": loop("STRUCT", items="LIST"),
        "comp-fixed": loop("STRUCT"),
        "comp-use": {"executorLabel": "exec", "inputDefinitions": parameters(row="STRUCT", note="STRING")},
    },
    "deploymentSpec": {"executors": {"exec": {"container": {"image": "i", "command": ["true"]}}}},
}
SPEC["components"]["comp-use"]["inputDefinitions"]["parameters"]["note"]["isOptional"] = True
TASKS = "root.dag.tasks"
BREAKS: list[tuple[str, Any, str]] = [
    ("components.comp-loop.inputDefinitions.parameters.item.parameterType", "STRING", "expect STRUCT, got string"),
    ("components.comp-plan.inputDefinitions.parameters.count.parameterType", "LIST", "expect LIST, got number"),
    ("components.comp-plan.outputDefinitions.parameters.Output.parameterType", "STRUCT", "expect LIST, got struct"),
    (f"{TASKS}.last.inputs.parameters.row.runtimeValue.constant", "text", "expect STRUCT, got string"),
    (f"{TASKS}.fixed.parameterIterator.items.raw", '[{"a": 1}, 2]', '"item" type mismatch: expect STRUCT, got number'),
    (f"{TASKS}.fixed.parameterIterator.items.raw", "{}", "its items are not a list"),
    ("components.comp-loop.inputDefinitions.parameters.items.parameterType", "STRUCT", "expect STRUCT, got list"),
    (f"{TASKS}.last.componentRef.name", "comp-none", 'component spec for "comp-none" not found'),
    (f"{TASKS}.last.dependentTasks", ["none"], 'unknown producer task "none" in DAG'),
    (f"{TASKS}.loop.inputs.parameters.items", output("plan", "none"), "producer task, plan, has no output 'none'"),
    (f"{TASKS}.plan.inputs.parameters.count.componentInputParameter", "none", "does not have input parameter none"),
    ("components.comp-plan.executorLabel", "none", 'executor with label "none" not found'),
    ("components.comp-loop.dag.tasks.use.componentRef.name", "comp-loop", "contains itself"),
    (f"{TASKS}.last.inputs.artifacts", {"a": {"componentInputArtifact": "b"}}, "does not have input artifact b"),
    (f"{TASKS}.last.inputs.parameters", {}, 'for non-optional parameter "row"'),
    (f"{TASKS}.last.artifactIterator", {}, "artifact iterator not implemented"),
]


def test_problems_accepts_a_pipeline_whose_edges_match() -> None:
    assert problems(SPEC, {"count": 3, "note": "a"}) == []


@pytest.mark.parametrize(("path", "value", "message"), BREAKS)
def test_problems_finds_each_broken_edge(path: str, value: Any, message: str) -> None:
    spec = copy.deepcopy(SPEC)
    *parents, last = path.split(".")
    node = spec
    for key in parents:
        node = node[key]
    node[last] = value
    found = problems(spec, {"count": 3, "note": "a"})
    assert any(message in problem for problem in found), found


@pytest.mark.parametrize(("name", "value", "kind"), [("count", "3", "string"), ("note", 3, "number")])
def test_problems_finds_values_of_other_types(name: str, value: Any, kind: str) -> None:
    declared = {"count": "NUMBER_INTEGER", "note": "STRING"}[name]
    (problem,) = problems(SPEC, {"count": 3, "note": "a", name: value})
    assert (
        problem == f'input parameter "{name}" type mismatch: expect {declared}, got {kind} (parameter of the pipeline)'
    )
