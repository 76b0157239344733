# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The values of a run's form go before the sections; what needs other steps is refused by the first."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from samples import priced

from gemtune.config import Config
from gemtune.errors import UserError
from gemtune.steps import configure
from gemtune.steps.configure import Sections

FORM = {"base_model": "gemini-3.5-flash", "max_cost": 7, "bucket": "mine"}


def run(*overrides: str, form: dict[str, Any] = FORM, runner: str = "local", start: bool = False) -> Sections:
    values = priced(Config.load(None, list(overrides))).parameters()
    method, name = values.pop("method"), values.pop("name")
    sections = {name: section for name, section in values.items() if isinstance(section, dict)}
    sections["preference"] = sections["preference"] if method == "preference" else {}
    return configure.run(form, runner, start, name, "gs://b/rows.jsonl", **sections)


@pytest.fixture(autouse=True)
def _project(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "shop")


def test_configure_puts_the_form_before_the_sections() -> None:
    sections = run(
        "plan.max_cost=3", "evaluate.base_model=gemini-3.1-flash-lite", "split.seed=4", "plan.min_train_rows=5"
    )
    assert sections.evaluate["base_model"] == "gemini-3.5-flash"
    assert (sections.plan["max_cost"], sections.plan["min_train_rows"]) == (7, 5)
    assert (sections.vertex["project"], sections.vertex["bucket"]) == ("shop", "mine")


def test_configure_keeps_the_sections_where_the_form_is_empty() -> None:
    empty = {"base_model": "", "max_cost": 7, "bucket": ""}
    sections = run("evaluate.base_model=gemini-3.5-flash", "vertex.bucket=theirs", form=empty)
    assert (sections.evaluate["base_model"], sections.vertex["bucket"]) == ("gemini-3.5-flash", "theirs")


def test_configure_fills_in_the_places() -> None:
    vertex = run("vertex.location=europe-west4", form=FORM | {"bucket": ""}).vertex
    assert (vertex["project"], vertex["location"], vertex["bucket"]) == ("shop", "europe-west4", "shop-gemtune")


LABELS = {"refund": "money back", "return": "goods back", "other": ""}


@pytest.mark.parametrize(
    "content", [json.dumps(LABELS), yaml.safe_dump(LABELS, sort_keys=False), "\ufeff" + json.dumps(LABELS)]
)
def test_configure_reads_the_labels_file(tmp_path: Path, content: str) -> None:
    path = tmp_path / "labels.yaml"
    path.write_text(content, encoding="utf-8")
    inline = ["task.labels=[refund, return, other]", "task.label_descriptions={refund: money back, return: goods back}"]
    assert run(f"task.labels_file={path}").task == run(*inline).task
    path.write_text(json.dumps([*LABELS]))
    assert run(f"task.labels_file={path}").task == run(inline[0]).task


@pytest.mark.parametrize("content", ["", "text", "[yes, no]", "{a: [1]}", "[a", b"\xff\xfe"])
def test_configure_names_a_labels_file_that_has_none(tmp_path: Path, content: str | bytes) -> None:
    path = tmp_path / "labels.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UserError, match="cannot read the labels") as refused:
        run(f"task.labels_file={path}")
    assert str(path) in str(refused.value)


def test_labels_have_one_place() -> None:
    with pytest.raises(UserError, match="in place of labels"):
        Config.load(None, ["task.labels=[a]", "task.labels_file=labels.yaml"])


@pytest.mark.parametrize(
    ("overrides", "compiled", "message"),
    [
        (["preprocess.runner=dataflow", "preprocess.dataflow_template=gs://b/t"], {}, "preprocess.runner='dataflow'"),
        ([], {"runner": "dataflow"}, "preprocess.runner='local'"),
        (["method=preference"], {}, "preference.supervised_epochs=2"),
        (["method=preference", "preference.supervised_epochs=0"], {"start": True}, "preference.supervised_epochs=0"),
    ],
)
def test_configure_refuses_what_needs_other_steps(overrides: list[str], compiled: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match="recompile") as refused:
        run(*overrides, **compiled)
    assert message in str(refused.value)


def test_configure_accepts_what_was_compiled() -> None:
    served = ["method=preference", "vertex.catalogue={models: {gemini-2.5-flash: {retires: null}}}"]
    form = FORM | {"base_model": "gemini-2.5-flash"}
    assert run(*served, form=form, start=True).plan["max_cost"] == 7
    assert run(*served, "preference.supervised_epochs=0", form=form).plan["max_cost"] == 7


def test_configure_names_the_setting_of_a_wrong_value() -> None:
    with pytest.raises(UserError, match="name: String should match"):
        configure.run(FORM, "local", False, "Our model", "")
    with pytest.raises(UserError, match="max_cost"):
        run(form=FORM | {"max_cost": -1})


@pytest.mark.parametrize(
    ("form", "overrides", "message"),
    [
        ({"base_model": "gemini-0"}, [], "unknown base model 'gemini-0'"),
        ({}, ["vertex.location=mars-1"], "cannot be tuned in mars-1"),
        ({"bucket": "mine/folder"}, [], "'mine/folder' is not a valid bucket name"),
        ({}, ["gate.metric=beauty"], "unknown metric 'beauty'"),
        ({}, ["task.instruction=YOUR-TASK"], "is a placeholder"),
        ({}, ["evaluate.judge.model=gemini-0"], "evaluate.judge.model"),
    ],
)
def test_configure_refuses_what_would_stop_the_run_later(
    form: dict[str, Any], overrides: list[str], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        run(*overrides, form=FORM | form)


def test_configure_uses_the_project_of_a_step_then_of_its_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GOOGLE_CLOUD_PROJECT")
    monkeypatch.setattr("google.auth.default", lambda: (None, "of-credentials"))
    assert run().vertex["project"] == "of-credentials"
    monkeypatch.setenv("CLOUD_ML_PROJECT_ID", "123456")
    assert run().vertex["project"] == "123456"


def test_configure_refuses_an_unknown_project(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GOOGLE_CLOUD_PROJECT")
    monkeypatch.setattr("google.auth.default", lambda: (None, None))
    with pytest.raises(UserError, match="project is unknown"):
        run()
