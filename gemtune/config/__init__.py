# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""All settings, by section: default, unit and description.

One frozen pydantic model per step; unknown keys are refused. `Config.load` is the one way in (YAML file plus
`section.field=value` overrides), `Config.parameters` the one way out (the compiled pipeline's parameters). A step gets
its own sections as plain dicts and validates them again, because a pipeline backend turns integers into floats. The
modules group sections by subject: `data`, `evaluation`, `tuning`, `monitoring`, `pipeline`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Self

import yaml
from pydantic import Field, ValidationError, field_validator, model_validator

from gemtune.config.data import Augment, Preprocess, Split, Task
from gemtune.config.evaluation import Evaluate, Gate, Judge, ModelVariant, Prompt, Role
from gemtune.config.pipeline import Monitor, Notify, Reporting, StepResources, step_resources, step_table
from gemtune.config.section import JsonObject, Section, explain, fingerprint, is_resource_name
from gemtune.config.tuning import (
    Backend,
    Deploy,
    Escalation,
    HardExamples,
    Plan,
    Preference,
    Reward,
    Select,
    Trial,
    Tune,
    Vertex,
)
from gemtune.errors import UserError, did_you_mean

__all__ = [
    "Augment", "Backend", "Config", "Deploy", "Escalation", "Evaluate", "Gate", "HardExamples", "JsonObject", "Judge",
    "ModelVariant", "Monitor", "Notify", "Plan", "Preference", "Preprocess", "Prompt", "Reporting", "Reward", "Role",
    "Section",
    "Select", "Split", "StepResources", "Task", "Trial", "Tune", "Vertex", "explain", "fingerprint", "is_resource_name",
    "step_resources", "step_table",
]  # fmt: skip


LONG_ANSWER = 256  # tokens of an object or a text, at most, by default


class Config(Section):
    """The configuration of a run."""

    name: str = Field("gemtune", pattern=r"^[a-z][a-z0-9-]{0,40}$")
    """Name of the run, its jobs and its champion."""
    method: Literal["supervised", "preference"] = "supervised"
    """Tuning method; run, compile, submit and schedule use its pipeline."""
    data: str = ""
    """Rows or pairs: local path, gs:// URI, or bq://PROJECT.DATASET.TABLE."""
    task: Task = Field(default_factory=Task)
    preprocess: Preprocess = Field(default_factory=Preprocess)
    split: Split = Field(default_factory=Split)
    augment: Augment = Field(default_factory=Augment)
    evaluate: Evaluate = Field(default_factory=Evaluate)
    plan: Plan = Field(default_factory=Plan)
    hard_examples: HardExamples = Field(default_factory=HardExamples)
    tune: Tune = Field(default_factory=Tune)
    escalation: Escalation = Field(default_factory=Escalation)
    select: Select = Field(default_factory=Select)
    preference: Preference = Field(default_factory=Preference)
    gate: Gate = Field(default_factory=Gate)
    deploy: Deploy = Field(default_factory=Deploy)
    monitor: Monitor = Field(default_factory=Monitor)
    vertex: Vertex = Field(default_factory=Vertex)
    backend: Backend = Field(default_factory=Backend)
    notify: Notify = Field(default_factory=Notify)
    reporting: Reporting = Field(default_factory=Reporting)
    steps: dict[str, StepResources] = Field(default_factory=dict)

    @field_validator("steps", mode="after")
    @classmethod
    def _steps_exist(cls, value: dict[str, StepResources]) -> dict[str, StepResources]:
        if unknown := set(value) - set(step_table()):
            names = tuple(step_table())
            similar = did_you_mean(sorted(unknown)[0], names)
            raise ValueError(f"no step {sorted(unknown)[0]!r}: the steps are {', '.join(names)}{similar}")
        return value

    @model_validator(mode="before")
    @classmethod
    def _defaults_follow_the_task(cls, values: Any) -> Any:
        """Pairs are of texts by default; and an object or a text is longer than a label."""
        if not isinstance(values, dict):
            return values
        task, evaluate = (values.get(name, {}) for name in ("task", "evaluate"))
        if isinstance(task, dict) and values.get("method") == "preference":
            task = {"kind": "generation", **task}
            values = {**values, "task": task}
        long = isinstance(task, dict) and task.get("kind") in ("extraction", "summarization", "generation")
        if long and isinstance(evaluate, dict):
            values = {**values, "evaluate": {"max_output_tokens": LONG_ANSWER, **evaluate}}
        return values

    @model_validator(mode="after")
    def _judges_that_count_are_validated(self) -> Self:
        judge = self.evaluate.judge
        uses = self.gate.min_judge_good or self.gate.min_judge_win_rate or self.monitor.judge_rows
        if uses and not (judge.model and judge.ratings):
            raise ValueError(
                "gate.min_judge_good, gate.min_judge_win_rate and monitor.judge_rows need evaluate.judge.model, and "
                "evaluate.judge.ratings to validate it against"
            )
        return self

    @model_validator(mode="after")
    def _method_has_its_settings(self) -> Self:
        reinforced = [trial for trial in self.plan.trials if trial.method == "reinforcement"]
        if reinforced and self.hard_examples.target_share:
            raise ValueError("hard_examples.target_share: for supervised trials only; a reward needs no repeated rows")
        if any(_needs_judge(trial, self.task) for trial in reinforced) and not self.evaluate.judge.model:
            raise ValueError(
                f"plan.trials: a reward of {self.task.kind} answers needs evaluate.judge.model, or code in rewards"
            )
        if self.method != "preference":
            return self
        if reinforced:
            raise ValueError("plan.trials: reinforcement tuning needs labelled rows, so method: supervised")
        if self.preference.ranker == "judge" and not self.evaluate.judge.model:
            raise ValueError("preference.ranker=judge needs evaluate.judge.model")
        if self.preference.ranker == "judge" and (self.gate.min_judge_good or self.gate.min_judge_win_rate):
            raise ValueError(
                "preference.ranker=judge: the judge ranks answers and rates none, so gate.min_judge_good and "
                "gate.min_judge_win_rate cannot be measured; use gate.min_lift, or preference.ranker=reference"
            )
        supervised_only = {
            "plan.preset": self.plan.preset != "trials",
            "plan.follow_ups": bool(self.plan.follow_ups),
            "hard_examples.target_share": bool(self.hard_examples.target_share),
            "augment.min_rows_per_label": bool(self.augment.min_rows_per_label),
            "escalation.models": bool(self.escalation.models),
        }
        if wrong := [name for name, is_set in supervised_only.items() if is_set]:
            raise ValueError(f"{', '.join(wrong)}: for supervised tuning only; leave it out with method: preference")
        return self

    @classmethod
    def load(cls, path: str | Path | None = None, overrides: tuple[str, ...] | list[str] = ()) -> Config:
        """Read a YAML file (only what differs from the defaults) and apply `section.field=value` overrides.

        Raises `UserError` naming the file, the setting, its value and the settings that exist.
        """
        values: JsonObject = {}
        if path is not None:
            values = _read_yaml(Path(path))
        for override in overrides:
            _apply(values, override)
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise UserError(explain(error, cls), file=path) from None

    def parameters(self) -> JsonObject:
        """The compiled pipeline's parameters: one plain dict per section, no nulls (a Struct refuses them)."""
        return self.model_dump(exclude_none=True)


def _needs_judge(trial: Trial, task: Task) -> bool:
    """Whether a judge gives a reward of a reinforcement trial: by a rubric, or because texts have no other default."""
    return any(reward.rubric for reward in trial.rewards) if trial.rewards else task.is_free_text


def _read_yaml(path: Path) -> JsonObject:
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        remedy = "gemtune init FILE writes one for your rows; samples are in configs/"
        raise UserError(f"cannot read the configuration: {error.strerror}", file=path, remedy=remedy) from None
    except UnicodeDecodeError as error:
        raise UserError(f"cannot read the configuration: {error}", file=path, remedy="save it as UTF-8") from None
    try:
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or "not valid YAML"
        raise UserError(str(problem), file=path, line=mark.line + 1 if mark else None, remedy="fix the YAML") from None
    if not isinstance(values, dict | None):
        raise UserError("the configuration must be a mapping of sections", file=path)
    return values or {}


def _apply(values: JsonObject, override: str) -> None:
    name, equals, text = override.partition("=")
    if not equals or not name.strip():
        raise UserError(f"cannot read --set {override!r}", remedy="write section.field=value")
    *parents, last = name.strip().split(".")
    for parent in parents:
        values = values.setdefault(parent, {})
        if not isinstance(values, dict):
            raise UserError(f"--set {override!r}: {parent!r} is not a section")
    values[last] = _override_value(text)


def _override_value(text: str) -> Any:
    """A YAML value of one line. A text that is none, or that YAML takes as marks of its own (", ", "|", "#", "a: b"),
    stays as it is.
    """
    if text.strip() not in ("~", "[]", "{}", '""', "''") and not any(map(str.isalnum, text)):
        return text
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        return text
    return text if isinstance(value, dict | list) and text.lstrip()[0] not in "[{" else value
