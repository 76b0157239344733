# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The prompt search: bounded, counted, and kept out of the test."""

from __future__ import annotations

import json

import pytest
from evaluations import evaluated, script
from hypothesis import given
from hypothesis import strategies as st
from samples import Said

from gemtune.artifacts.cost import TokenUsage
from gemtune.config import ModelVariant, Prompt, Task
from gemtune.contents import ModelOutput
from gemtune.data.example import Example, write_examples
from gemtune.errors import UserError
from gemtune.inference.prompt_search import (
    constrainable,
    constrained,
    grid,
    parse_instructions,
    rewrite_request,
    rewritten,
)
from gemtune.inference.prompts import build_requests

REPLY = """Here you are:
1. Decide what the customer wants.
2) **When in doubt, choose "other".**
3: Decide what the customer wants.
4. no
Something else entirely
5. Read twice, then name the intent."""
WHO = ModelVariant(name="zero_shot", model="m", prompt=Prompt(name="zero_shot", rewrites=2))
KINDS = ["balanced", "random", "similar"]
TRAIN = [Example(f"t{i}", f"training {i}", "ab"[i % 2]) for i in range(40)]


def test_instructions_reads_numbered_lines():
    found = parse_instructions(REPLY, 10)
    assert found[0] == "Decide what the customer wants."
    assert found[1].startswith("When in doubt")
    assert found[2] == "Read twice, then name the intent."
    assert len(parse_instructions(REPLY, 2)) == 2
    assert parse_instructions(None, 3) == parse_instructions("no idea", 3) == []


def test_prompt_search_adds_distinct_variants():
    found = rewritten(WHO, ModelOutput(REPLY))
    assert [one.name for one in found] == ["zero_shot", "zero_shot_r1", "zero_shot_r2"]
    assert all(one.prompt.rewrites == 0 for one in found)
    assert found[1].prompt == Prompt(name="zero_shot_r1", instruction="Decide what the customer wants.")
    assert [one.name for one in rewritten(WHO, ModelOutput(error="x"))] == ["zero_shot"]


def test_prompt_search_proposal_quotes_training_rows():
    request = rewrite_request(Task(labels=["a", "b"]), WHO, TRAIN, "base")
    shown = json.loads(request.contents[0]["parts"][0]["text"])
    assert len(shown["rows"]) == 12
    assert all(row["text"].startswith("training") for row in shown["rows"])
    assert "2 other instructions" in request.system


def test_prompt_grid_tries_each_combination_once():
    prompt = Prompt(name="few", shots=4, try_shots=[0, 8, 4], try_selections=["similar", "balanced"], rewrites=2)
    found = grid(ModelVariant(name="few", model="m", prompt=prompt))
    assert [(one.name, one.prompt.shots, one.prompt.selection) for one in found] == [
        ("few_k4_similar", 4, "similar"),
        ("few_k0", 0, "balanced"),
        ("few_k8_balanced", 8, "balanced"),
        ("few_k8_similar", 8, "similar"),
    ]
    assert all(one.prompt.name == one.name for one in found)
    assert not any(one.prompt.rewrites or one.prompt.try_shots or one.prompt.try_selections for one in found)
    assert grid(WHO) == []


@given(st.integers(0, 9), st.lists(st.integers(0, 9), max_size=8), st.lists(st.sampled_from(KINDS), max_size=3))
def test_prompt_grid_is_bounded_with_distinct_names(shots, counts, kinds):
    prompt = Prompt(name="p", shots=shots, try_shots=counts, try_selections=kinds)
    found = grid(ModelVariant(name="p", model="m", prompt=prompt))
    names = [one.name for one in found]
    assert len(set(names)) == len(names) < 3 * 9
    tried = {(one.prompt.shots, one.prompt.selection) for one in found}
    assert tried | {(shots, "balanced")} >= {(k, s) for k in counts if k for s in (*kinds, "balanced")}
    with pytest.raises(UserError, match="try_shots"):
        Prompt.of({"try_shots": [-1]})


def test_prompt_search_finds_a_better_wording_and_counts_its_cost(monkeypatch, tmp_path):
    rows = [Example(str(i), f"text {i}", "ab"[i % 2]) for i in range(20)]

    async def generate(request):
        if request.key.endswith("rewrites"):
            return Said(REPLY, input_tokens=100)
        return Said("ab"[int(request.key) % 2] if "customer" in request.system else "a")

    script(monkeypatch, generate)
    write_examples(tmp_path / "rows", rows)
    write_examples(tmp_path / "train", TRAIN)
    console, report = evaluated(tmp_path, [WHO], evaluate={"resamples": 200})
    assert console["metrics"]["zero_shot_r1 accuracy"] == 1.0
    assert console["metrics"]["zero_shot accuracy"] == pytest.approx(0.5)
    assert report.search_tokens == TokenUsage(input=100, output=1)
    assert [variant.variant.prompt.rewrites for variant in report.variants] == [0, 0, 0]


def test_prompt_search_reports_the_cost_of_every_variant(monkeypatch, tmp_path):
    async def generate(request):
        shown = request.contents[0]["parts"][0]["text"].count("training")
        return Said("ab"[int(request.key) % 2] if shown == 6 else "a", input_tokens=10 + shown)

    script(monkeypatch, generate)
    write_examples(tmp_path / "rows", [Example(str(i), f"text {i}", "ab"[i % 2]) for i in range(20)])
    write_examples(tmp_path / "train", TRAIN)
    few = ModelVariant(name="few", model="m", prompt=Prompt(name="few", shots=2, try_shots=[6]))
    console, report = evaluated(tmp_path, [few], evaluate={"resamples": 200})
    assert console["metrics"]["few_k6_balanced accuracy"] == 1.0
    assert [(variant.variant.name, variant.tokens.input) for variant in report.variants] == [
        ("few", 20 * 12),
        ("few_k6_balanced", 20 * 16),
    ]
    assert [variant.variant.prompt.try_shots for variant in report.variants] == [[], []]


# -- constrained output ----------------------------------------------------------------------------------------------

ROWS = [Example(str(i), f"text {i}", "ab"[i % 2]) for i in range(20)]
BASE = "gemini-2.5-flash"
THREE = [
    ModelVariant(name=name, model=BASE, prompt=Prompt(name=name, **options))
    for name, options in {"poor": {}, "best": {"shots": 2}, "reasoning": {"chain_of_thought": True}}.items()
]


def test_constrained_prompt_restricts_answers_to_the_labels():
    task = Task(labels=["a", "b"])
    assert [variant.name for variant in constrainable(task, THREE)] == ["poor", "best"]
    assert constrainable(Task(kind="summarization"), THREE) == []
    variant = constrained(THREE[1])
    assert (variant.name, variant.searched_from, variant.prompt.constrained_output) == (
        "best_constrained",
        "best",
        True,
    )
    assert constrainable(task, [*THREE, variant]) == [], "a configuration that names one decides for itself"
    for separator, schema in (
        ("", {"type": "STRING", "enum": ["a", "b"]}),
        (", ", {"type": "ARRAY", "items": {"type": "STRING", "enum": ["a", "b"]}}),
    ):
        sets = Task(labels=["a", "b"], label_separator=separator)
        assert {str(r.response_schema) for r in build_requests(sets, variant, ROWS, TRAIN)} == {str(schema)}
    assert {request.response_schema for request in build_requests(task, THREE[1], ROWS, TRAIN)} == {None}
    with pytest.raises(UserError, match="leaves no room for the reasoning"):
        Prompt.of({"chain_of_thought": True, "constrained_output": True})


@pytest.fixture
def talkative(monkeypatch, tmp_path):
    """A model that is right but says so in words that no rule reads, unless a schema restricts it."""
    sent = []

    async def generate(request):
        sent.append(request)
        label = "ab"[int(request.key) % 2]
        if request.response_schema:
            return Said(label)
        shown = request.contents[0]["parts"][0]["text"].count("training")
        return Said(label if shown and int(request.key) < 12 else f"Well, {label} or so")

    script(monkeypatch, generate)
    write_examples(tmp_path / "rows", ROWS)
    write_examples(tmp_path / "train", TRAIN)
    return tmp_path, sent


def test_best_prompt_is_also_evaluated_with_constrained_output(talkative):
    folder, sent = talkative
    console, report = evaluated(folder, THREE, constrain=True, evaluate={"base_model": BASE, "resamples": 200})
    assert [variant.variant.name for variant in report.variants] == ["poor", "best", "reasoning", "best_constrained"]
    assert console["metrics"]["best accuracy"] == 0.6
    assert console["metrics"]["best_constrained accuracy"] == 1.0
    assert report.notes == []
    assert len([request for request in sent if request.response_schema]) == len(ROWS)


@pytest.mark.parametrize(
    ("settings", "constrain", "task", "note"),
    [
        ({"constrain_best_prompt": False}, True, {}, None),
        ({}, False, {}, None),
        ({}, True, {"labels": [*"ab", *map(str, range(99))]}, "lists at most 100 labels, not 101"),
        ({"base_model": "unknown"}, True, {}, "unknown takes no response schema"),
    ],
    ids=["setting", "other rows", "labels", "model"],
)
def test_best_prompt_is_not_constrained(talkative, settings, constrain, task, note):
    folder, sent = talkative
    settings = {"base_model": BASE, "resamples": 200, **settings}
    _, report = evaluated(folder, THREE, constrain=constrain, evaluate=settings, task=task)
    assert len(report.variants) == 3
    assert not any(request.response_schema for request in sent)
    assert (note is None and report.notes == []) or note in report.notes[0]


def test_constrained_variant_that_the_service_refuses_is_left_out_with_a_note(monkeypatch, tmp_path):
    async def generate(request):
        if request.response_schema:
            raise ValueError("the schema produces a constraint that has too many states for serving")
        return Said("ab"[int(request.key) % 2])

    script(monkeypatch, generate)
    write_examples(tmp_path / "rows", ROWS)
    write_examples(tmp_path / "train", TRAIN)
    _, report = evaluated(tmp_path, THREE[:2], constrain=True, evaluate={"base_model": BASE, "resamples": 200})
    assert [variant.variant.name for variant in report.variants] == ["poor", "best"]
    assert report.notes[0].startswith("left out: the service refuses 20 of 20 requests to 'poor_constrained'")
    assert "too many states" in report.notes[0]
