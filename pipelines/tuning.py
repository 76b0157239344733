# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The tuning pipelines, supervised and preference: one builder, wired from a configuration.

data -> split -> [augment] -> check-budget -> evaluate-baselines -> plan-tuning
  -> if tuning is worth trying: [reweight-hard-examples] -> [tune-supervised, as a start] -> tune per trial
     -> evaluate-checkpoints -> [try-larger-models] -> select-model;  else: select-model without a candidate
  -> evaluate-finalists -> gate -> deploy or keep-current-model -> report

Steps in brackets are wired only where the configuration uses them; the pipeline's parameters are the sections that its
steps read. The two branches meet again in the selection: its URI crosses as a parameter (kfp's local runner gives a
parameter from either of two branches by `dsl.OneOf`, but no artifact), and an importer, which starts no container,
makes it an artifact again for the steps after. Steps that change something outside the run or read something that
changes are never cached; `tune` resumes by the job's fingerprint instead.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any

from kfp import dsl
from kfp.dsl.base_component import BaseComponent

from components.augment import augment
from components.check_budget import check_budget
from components.deploy import deploy, keep_current_model
from components.escalation import try_larger_models
from components.evaluate import evaluate_baselines, evaluate_checkpoints, evaluate_finalists
from components.gate import gate
from components.load_pairs import load_pairs
from components.plan_tuning import plan_tuning
from components.preprocess import prepare_dataflow_job, preprocess
from components.report import report
from components.reweight import reweight_hard_examples
from components.select_model import select_model
from components.split import split
from components.tune import tune_preference, tune_supervised
from gemtune.config import Config

DESCRIPTIONS = {
    "supervised": "From labelled rows to a deploy / don't-deploy decision about a tuned Gemini model: validated, "
    "deduplicated, leak-free splits; prompted baselines; a cost forecast; tuning jobs; the best checkpoint; a "
    "statistical gate on held-out test rows; deployment with rollback; a report either way.",
    "preference": "From pairs of a better and a worse answer to a deploy / don't-deploy decision: validated, leak-free "
    "prompts; a cost forecast; supervised tuning on the better answers, preference tuning from its checkpoint; win "
    "rates against the best prompt, the supervised model and the champion on held-out prompts; the same gate; "
    "deployment with rollback; a report either way.",
}


def tuning_pipeline(config: Config) -> BaseComponent:
    """The pipeline of a configuration, whose values are the parameters' defaults: an upload and a click is a run."""
    wiring = Wiring(config)
    default = config.parameters()
    names = ["data", "name", *wiring.sections]

    def pipeline(*values: Any) -> None:
        wiring.wire(dict(zip(names, values, strict=True)))

    pipeline.__name__ = f"{config.method}_tuning"
    pipeline.__doc__ = _parameter_docs(names)
    pipeline.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [
            inspect.Parameter(
                name,
                inspect.Parameter.POSITIONAL_OR_KEYWORD,
                default=default[name],
                annotation=type(default[name]),
            )
            for name in names
        ]
    )
    name, description = f"{config.method}-tuning", DESCRIPTIONS[config.method]
    return dsl.pipeline(name=name, description=description)(pipeline)


def _parameter_docs(names: list[str]) -> str:
    """The parameters' descriptions, from the configuration's own fields."""
    lines = ["Wire the steps.", "", "Args:"]
    for name in names:
        field = Config.model_fields[name]
        text = field.description or (getattr(field.annotation, "__doc__", "") or "").split("\n")[0]
        lines.append(f"    {name}: {text}")
    return "\n".join(lines)


@dataclass(frozen=True)
class Data:
    """The data steps' results: report of the rows, the split's task, training rows, report of what was spent."""

    report: Any
    split: Any
    train: Any
    spent: Any


class Wiring:
    """Wires the steps of one configuration; `sections` are the sections that they read."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._is_preference = config.method == "preference"
        self._augments = config.augment.min_rows_per_label > 0
        self._reweights = config.hard_examples.target_share > 0
        self._escalates = bool(config.escalation.models)
        self._starts_supervised = self._is_preference and config.preference.supervised_epochs > 0
        self._parameters: dict[str, Any] = {}

    @property
    def sections(self) -> list[str]:
        """Sections of the configuration that the wired steps read, in the configuration's order."""
        optional = {
            "augment": self._augments,
            "hard_examples": self._reweights,
            "escalation": self._escalates,
            "preference": self._is_preference,
        }
        skipped = {"name", "method", "data", *(name for name, wired in optional.items() if not wired)}
        return [name for name in Config.model_fields if name not in skipped]

    def _sections(self, *names: str) -> dict[str, Any]:
        """Arguments for a component: sections by name, {} for one that is not wired."""
        return {name: self._parameters.get(name, {}) for name in names}

    def wire(self, parameters: dict[str, Any]) -> None:
        """Wire all steps; `parameters` are the pipeline's, by name."""
        self._parameters = parameters
        data = self._data()
        plan = self._plan(data)
        tuning_plan = plan.outputs["tuning_plan"]
        with dsl.If(plan.outputs["should_tune"] == True, name="tuning-is-worth-trying"):  # noqa: E712
            tuned = self._tune(data, plan)
        with dsl.Else(name="skip-tuning"):
            untuned = self._select(tuning_plan)
        selection = dsl.importer(
            artifact_uri=dsl.OneOf(tuned.outputs["Output"], untuned.outputs["Output"]),
            artifact_class=dsl.Artifact,
            reimport=False,
        )
        selection.set_display_name("selection")
        self._decide(data, tuning_plan, selection.output)

    def _data(self) -> Data:
        rows = self._load_pairs() if self._is_preference else self._preprocess()
        # the cache key holds the file's name, not its content
        rows.set_caching_options(False)
        splits = split(
            examples=rows.outputs["examples"],
            name=self._parameters["name"],
            **self._sections("task", "split", "evaluate", "vertex"),
        ).set_caching_options(False)  # split assignments are recorded
        train, spent = splits.outputs["train"], rows.outputs["report"] if self._is_preference else None
        if self._augments:
            augmented = augment(
                train=train,
                validation=splits.outputs["validation"],
                test=splits.outputs["test"],
                name=self._parameters["name"],
                **self._sections("task", "split", "augment", "evaluate", "plan", "vertex"),
            ).set_caching_options(False)
            train, spent = augmented.outputs["augmented"], augmented.outputs["report"]
        return Data(rows.outputs["report"], splits, train, spent)

    def _load_pairs(self) -> Any:
        sections = self._sections("task", "preprocess", "preference", "evaluate", "plan", "vertex")
        return load_pairs(data=self._parameters["data"], name=self._parameters["name"], **sections)

    def _preprocess(self) -> Any:
        sections = self._sections("task", "preprocess", "vertex")
        if self._config.preprocess.runner == "local":
            return preprocess(data=self._parameters["data"], **sections)
        from google_cloud_pipeline_components.v1.dataflow import DataflowFlexTemplateJobOp
        from google_cloud_pipeline_components.v1.wait_gcp_resources import WaitGcpResourcesOp

        job = prepare_dataflow_job(data=self._parameters["data"], **sections).set_caching_options(False)
        launched = DataflowFlexTemplateJobOp(
            location=job.outputs["location"],
            container_spec_gcs_path=job.outputs["template"],
            job_name="gemtune-deduplicate",
            parameters=job.outputs["parameters"],
        ).set_caching_options(False)  # a cached launch would wait for a dead job again
        finished = WaitGcpResourcesOp(gcp_resources=launched.outputs["gcp_resources"]).set_caching_options(False)
        return preprocess(data=job.outputs["kept"], dataflow_dropped=job.outputs["dropped"], **sections).after(finished)

    def _plan(self, data: Data) -> Any:
        splits = {"train": data.train, **{name: data.split.outputs[name] for name in ("validation", "test")}}
        name, spent = self._parameters["name"], {"spent": data.spent} if data.spent else {}
        budget = check_budget(
            **splits, **spent, name=name, **self._sections("task", "evaluate", "plan", "preference", "vertex")
        ).set_caching_options(False)
        baselines = evaluate_baselines(
            validation=splits["validation"],
            train=data.train,
            **self._sections("task", "evaluate", "preference", "vertex"),
        ).after(budget)
        return plan_tuning(
            evaluated=baselines.outputs["report"],
            **splits,
            **spent,
            name=name,
            **self._sections("task", "evaluate", "plan", "gate", "hard_examples", "escalation", "preference", "vertex"),
        ).set_caching_options(False)

    def _tune(self, data: Data, plan: Any) -> Any:
        """Tune, evaluate the checkpoints, escalate where wired, and select the candidate."""
        validation, tuning_plan = data.split.outputs["validation"], plan.outputs["tuning_plan"]
        optional: dict[str, Any] = {}
        spent: dict[str, Any] = {}
        if self._reweights:
            reweighted = reweight_hard_examples(
                train=data.train,
                validation=validation,
                tuning_plan=tuning_plan,
                **self._sections("task", "evaluate", "hard_examples", "vertex"),
            ).set_caching_options(False)
            validation, optional = reweighted.outputs["marked"], {"reweighted": reweighted.outputs["reweighted"]}
            spent = {"spent": reweighted.outputs["report"]}
        rows = {"train": data.train, "validation": validation, "name": self._parameters["name"]}
        sections = self._sections("task", "evaluate", "tune", "preference", "vertex")
        start: dict[str, Any] = {}
        if self._starts_supervised:
            first = tune_supervised(
                **rows, trial=plan.outputs["first_trial"], is_start=True, **sections
            ).set_caching_options(False)
            start = {"start": first.outputs["job"]}
        with dsl.ParallelFor(plan.outputs["trials"], name="trials") as trial:
            if self._is_preference:
                tuned = tune_preference(**rows, **start, trial=trial, **sections)
            else:
                tuned = tune_supervised(**rows, **optional, trial=trial, **sections)
            tuned.set_caching_options(False)
        evaluated = evaluate_checkpoints(
            validation=validation,
            train=data.train,
            tuning=dsl.Collected(tuned.outputs["job"]),
            tuning_plan=tuning_plan,
            **start,
            **self._sections("task", "evaluate", "preference", "vertex"),
        )
        escalation: dict[str, Any] = {}
        if self._escalates:
            escalated = try_larger_models(
                **rows,
                **optional,
                tuning=dsl.Collected(tuned.outputs["job"]),
                evaluated=evaluated.outputs["report"],
                tuning_plan=tuning_plan,
                **self._sections("task", "evaluate", "tune", "escalation", "select", "vertex"),
            ).set_caching_options(False)
            escalation = {"larger_tuning": escalated.outputs["job"], "larger_report": escalated.outputs["report"]}
        # a Collected belongs to one task: kfp changes it when it compiles
        results = {"tuning": dsl.Collected(tuned.outputs["job"]), "evaluated": evaluated.outputs["report"]}
        return self._select(tuning_plan, **results, **start, **escalation, **spent)

    def _select(self, tuning_plan: Any, **results: Any) -> Any:
        sections = self._sections("task", "evaluate", "select", "deploy", "preference", "vertex")
        selected = select_model(tuning_plan=tuning_plan, name=self._parameters["name"], **results, **sections)
        return selected.set_caching_options(False)

    def _decide(self, data: Data, tuning_plan: Any, selection: Any) -> None:
        """Evaluate the finalists, decide, deploy or keep, report."""
        name, test = self._parameters["name"], data.split.outputs["test"]
        tested = evaluate_finalists(
            test=test,
            train=data.train,
            selection=selection,
            name=name,
            **self._sections("task", "evaluate", "preference", "vertex"),
        ).set_caching_options(False)  # the champion is evaluated again, each time
        results = {"predictions": tested.outputs["predictions"], "tested": tested.outputs["report"]}
        decided = gate(
            **results, selection=selection, tuning_plan=tuning_plan, **self._sections("task", "gate", "preference")
        )
        decision = decided.outputs["decision"]
        last = {"decision": decision, "selection": selection, "name": name}
        sections = self._sections("deploy", "preprocess", "vertex")
        with dsl.If(decided.outputs["Output"] == True, name="gate-passed"):  # noqa: E712
            deployed = deploy(
                **last, test=test, leakage_report=data.split.outputs["leakage_report"], **sections
            ).set_caching_options(False)
        with dsl.Else(name="gate-not-passed"):
            kept = keep_current_model(**last, **sections).set_caching_options(False)
        report(
            **last,
            **results,
            data_report=data.report,
            split_report=data.split.outputs["report"],
            tuning_plan=tuning_plan,
            train=data.train,
            test=test,
            outcome=dsl.OneOf(deployed.outputs["Output"], kept.outputs["Output"]),
        )
