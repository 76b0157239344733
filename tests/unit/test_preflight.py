# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Before a run every model, price and metric that a configuration names is checked; all problems come at once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel
from samples import priced
from typer.testing import CliRunner

from gemtune.cli.main import app
from gemtune.config import Config
from gemtune.cost.preflight import Problem, problems, without_charge

TODAY = date(2026, 8, 1)
LOCATION = "us-central1"
NO_BLEU = {"vertex": {"catalogue": {"service": {"rouge_1": 1.0}}}}


def configured(*overrides: str) -> Config:
    return priced(Config.load(None, ["data=gs://b/rows.jsonl", *overrides]))


def refused(*overrides: str) -> list[Problem]:
    return problems(configured(*overrides), LOCATION, TODAY)


def test_problems_of_the_defaults_are_none() -> None:
    assert refused() == []
    assert refused("method=preference", "evaluate.base_model=gemini-2.5-flash") == []


@pytest.mark.parametrize(
    ("override", "setting", "reason"),
    [
        ("evaluate.base_model=nope", "evaluate.base_model", "unknown base model 'nope' (models for supervised tuning"),
        ("evaluate.judge.model=nope", "evaluate.judge.model", "no price of 'nope' in the catalogue (add the model to"),
        ("escalation.models=[nope]", "escalation.models[0]", "unknown base model 'nope'"),
        ("plan.trials=[{base: nope}]", "plan.trials[0].base", "unknown base model 'nope'"),
        (
            "evaluate.vertex_metrics=[bleu]",
            "evaluate.vertex_metrics",
            "no price of the metric 'bleu' in the catalogue",
        ),
        ("gate.metric=bleu", "gate.metric", "unknown metric 'bleu' (one of accuracy"),
        ("select.metric=nope", "select.metric", "unknown metric 'nope'"),
        ("gate.max_ece=0.1", "gate.max_ece", "set evaluate.confidence=votes"),
        ("gate.max_injection_rate=0.1", "gate.max_injection_rate", "set evaluate.injection_rows=60"),
        ("plan.trials=[{name: a}, {name: a, adapter_size: 8}]", "plan.trials", "trials need unique names"),
        ("vertex.catalogue={models: {nope: {}}}", "vertex.catalogue", "models.nope.family"),
        ("method=preference", "evaluate.base_model", "cannot be tuned by the method 'preference'"),
    ],
)
def test_problems_name_the_setting_and_the_remedy(override: str, setting: str, reason: str) -> None:
    problem = next(iter(refused(override)))
    assert problem.setting == setting
    assert reason in problem.reason


def test_problems_name_settings_that_the_task_or_the_method_cannot_use() -> None:
    (augmented,) = refused("task.kind=generation", "augment.min_rows_per_label=9")
    assert augmented.setting == "augment.min_rows_per_label"
    assert "generation has none" in augmented.reason
    (probed,) = refused("task.kind=generation", "evaluate.injection_rows=9")
    assert (probed.setting, probed.value) == ("evaluate.injection_rows", 9)
    (constrained,) = refused("task.kind=extraction", "evaluate.baselines=[{name: p, constrained_output: true}]")
    assert (constrained.setting, constrained.value) == ("evaluate.baselines", ["p"])
    sizes = ("evaluate.base_model=gemini-2.5-flash", "plan.trials=[{adapter_size: 4}, {adapter_size: 8}]")
    (started,) = refused("method=preference", *sizes)
    assert (started.setting, started.value) == ("plan.trials", [4, 8])
    assert "cannot continue one supervised job" in started.reason
    assert refused("method=preference", "preference.supervised_epochs=0", *sizes) == []


def test_problems_look_at_adapter_sizes_region_and_key_of_each_model() -> None:
    sizes = "vertex.catalogue={models: {gemini-3.5-flash: {adapter_sizes: [1]}}}"
    (problem,) = refused(sizes, "escalation.models=[gemini-3.5-flash]")
    assert problem.setting == "escalation.models[0]"
    assert "adapter size 4" in problem.reason
    (problem,) = refused(sizes, "plan.trials=[{base: gemini-3.5-flash, adapter_size: 8}]")
    assert problem.setting == "plan.trials[0].adapter_size"
    assert problems(configured(), "mars-1", TODAY)[0].reason.startswith("gemini-3.1-flash-lite cannot be tuned in mars")
    (problem,) = refused("vertex.encryption_key=projects/p/locations/l/keyRings/r/cryptoKeys/k")
    assert problem.setting == "evaluate.base_model"
    assert "customer-managed encryption keys" in problem.reason


def test_problems_of_a_retired_judge_name_its_last_day() -> None:
    config = configured("evaluate.judge.model=gemini-2.5-pro")
    assert problems(config, LOCATION, date(2026, 10, 20)) == []
    (problem,) = problems(config, LOCATION, date(2026, 10, 21))
    assert problem.reason == "gemini-2.5-pro was retired on 2026-10-20"


def test_problems_name_each_unknown_price_once_with_its_setting() -> None:
    both = "plan.trials=[{name: a}, {name: b}, {name: c, method: reinforcement, supervised_epochs: 1}]"
    config = Config.load(None, ["evaluate.base_model=gemini-3.5-flash", both, "escalation.models=[gemini-3.5-flash]"])
    listed = problems(config, LOCATION, TODAY)
    assert [problem.setting for problem in listed] == ["vertex.catalogue"] * 2
    for problem, field in zip(listed, ("train", "reinforcement"), strict=True):
        assert f"set vertex.catalogue={{models: {{gemini-3.5-flash: {{price: {{{field}: USD" in problem.reason
    unbilled = without_charge(config)
    assert problems(unbilled, LOCATION, TODAY) == []
    price = {"train": 0.0, "reinforcement": 0.0}
    assert unbilled.vertex.catalogue == {"models": {"gemini-3.5-flash": {"price": price}}}
    assert without_charge(unbilled) == unbilled
    own = priced(configured())
    assert without_charge(own) == own


def test_problems_come_all_at_once() -> None:
    overrides = ("evaluate.base_model=nope", "evaluate.judge.model=nay", "escalation.models=[nopes]", "select.metric=x")
    settings = [problem.setting for problem in refused(*overrides)]
    assert settings == ["evaluate.base_model", "escalation.models[0]", "evaluate.judge.model", "select.metric"]


def test_problems_are_not_made_of_a_tuned_model_that_is_continued() -> None:
    assert refused("plan.trials=[{base: projects/p/locations/l/models/1}]") == []


def model_settings(section: type[BaseModel], path: str = "") -> Iterator[tuple[str, Any]]:
    """Every setting that holds names of models, with a value that names none."""
    for name, field in section.model_fields.items():
        where = f"{path}.{name}".lstrip(".")
        inner = field.annotation
        element = next(iter(get_args(inner)), None)
        if isinstance(element, type) and issubclass(element, BaseModel):
            yield from ((where, [{name: value}]) for name, value in model_settings(element))
        elif isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from model_settings(inner, where)
        elif ("model" in name or name == "base") and "set by the plan" not in (field.description or ""):
            yield where, ["nope"] if "list" in str(inner) else "nope"


def test_problems_look_at_every_model_in_the_configuration() -> None:
    """A new setting whose name says model must be checked, or this fails."""
    settings = list(model_settings(Config))
    expected = {
        "evaluate.base_model",
        "evaluate.judge.model",
        "escalation.models",
        "plan.trials",
    }
    assert {setting for setting, _ in settings} == expected
    for setting, value in settings:
        assert "nope" in str(refused(f"{setting}={json.dumps(value)}")), setting


@pytest.mark.parametrize("verb", ["doctor", "plan", "run", "submit", "schedule"])
@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("evaluate.judge.model=nope", "evaluate.judge.model='nope': no price of 'nope'"),
        ("escalation.models=[nope]", "escalation.models[0]='nope': unknown base model 'nope'"),
        (
            "evaluate.vertex_metrics=[bleu]",
            "evaluate.vertex_metrics='bleu': no price of the metric 'bleu'",
        ),
        ("task.output_schema={type: objct}", "task.output_schema: type: 'objct' is not one of"),
    ],
)
def test_command_refuses_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: str, override: str, words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "demo")
    monkeypatch.setenv("GOOGLE_VERTEX_BASE_URL", "http://127.0.0.1:9")  # nothing listens: a request would fail
    Path("c.yaml").write_text(
        "name: dry\ntask: {kind: extraction}\n" + ("" if verb == "doctor" else "data: gs://b/r.jsonl\n")
    )
    image = ["--image", "registry.example/gemtune-python:1"] if verb in ("submit", "schedule") else []
    result = CliRunner().invoke(app, [verb, "c.yaml", *image, "--set", override])
    assert result.exit_code == 1
    assert words in result.output.replace("\n", " ")
    assert not Path("runs").exists()


def test_command_lists_every_problem_on_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "demo")
    (tmp_path / "c.yaml").write_text("evaluate: {judge: {model: nope}}\nescalation: {models: [nopes]}\n")
    result = CliRunner().invoke(app, ["doctor", str(tmp_path / "c.yaml")])
    assert result.exit_code == 1
    assert [line.split("=")[0].removeprefix("error: ") for line in result.output.splitlines()] == [
        "escalation.models[0]",
        "evaluate.judge.model",
    ]
