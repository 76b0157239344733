# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The tuning pipelines, supervised and preference: one builder, wired from a configuration.

configure -> data -> split -> [augment] -> check-budget
  -> if anything is new since the last decision: evaluate-baselines -> plan-tuning
     -> if tuning is worth trying: [reweight-hard-examples] -> [tune-supervised: the start] -> tune per trial
        -> evaluate-checkpoints -> [try-larger-models] -> select-model;  else: select-model without a candidate
     -> evaluate-finalists -> gate -> deploy or keep-current-model -> report;  else: report-unchanged
and finish-run at the end, whether a step failed or not

Steps in brackets are wired only where the configuration uses them; the pipeline's parameters are the sections that its
steps read. The two branches meet again in the selection: its URI crosses as a parameter (kfp's local runner gives a
parameter from either of two branches by `dsl.OneOf`, but no artifact), and an importer, which starts no container,
makes it an artifact again for the steps after. The loop over the trials lies in a condition, not in the exit handler's
own DAG, where backends do not run it (kubeflow/pipelines issue 12390). Steps that change something outside the run or
read something that changes are never cached; `tune` resumes by the job's fingerprint instead.
"""

from functools import partial
from typing import Any

from kfp import dsl
from kfp.dsl.base_component import BaseComponent

from components import monitoring, tuning
from gemtune.config import Config
from pipelines.tasks import FORM, email, pipeline, robust, with_secrets

DATAFLOW_INPUTS = ("job_name", "project", "location", "temp_location", "subnetwork", "parameters")
IDENTITY = {"job": dsl.PIPELINE_JOB_NAME_PLACEHOLDER, "started": dsl.PIPELINE_JOB_CREATE_TIME_UTC_PLACEHOLDER}
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
    wiring, name, described = Wiring(config), f"{config.method}-tuning", DESCRIPTIONS[config.method]
    default = arguments(config)
    if not config.notify.email:
        return pipeline(name, described, default, wiring.wire)
    run = pipeline("run", described, default, wiring.wire_run)
    return pipeline(name, described, default, partial(wiring.wire_with_email, run))


def arguments(config: Config) -> dict[str, Any]:
    """The pipeline's parameters: the single values that a person sets in a form, then the sections that are read."""
    form = {name: getattr(getattr(config, section), name) for name, section in FORM.items()}
    sections = config.parameters()
    return {"data": config.data, "name": config.name, **form, **{n: sections[n] for n in Wiring(config).sections}}


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
        self._splits: dict[str, Any] = {}

    @property
    def sections(self) -> list[str]:
        """Sections of the configuration that the wired steps read, in the configuration's order."""
        optional = {
            "augment": self._augments,
            "hard_examples": self._reweights,
            "escalation": self._escalates,
            "preference": self._is_preference,
        }
        skipped = {"name", "method", "data", "backend", "monitor", "steps"} | {
            name for name, wired in optional.items() if not wired
        }
        return [name for name in Config.model_fields if name not in skipped]

    def _step(self, component: Any, cached: bool = False, **arguments: Any) -> Any:
        """A task of a component, with the sections ({} for one that is not wired), data, name and splits it takes."""
        available = {**self._parameters, **self._splits}
        names = [*Config.model_fields, *self._splits]
        own = {name: available.get(name, {}) for name in names if name in component.component_spec.inputs}
        task = component(**(own | arguments)).set_caching_options(cached)
        return with_secrets(robust(task, self._config), self._config)

    def wire(self, parameters: dict[str, Any]) -> None:
        """Wire all steps; `parameters` are the pipeline's, by name."""
        with dsl.ExitHandler(self._finish(parameters)):
            self.wire_run(parameters)

    def wire_with_email(self, run: Any, parameters: dict[str, Any]) -> None:
        """Wire `run`, the pipeline of `wire_run`, and what follows it: Vertex AI sends e-mail in an exit task only."""
        with dsl.ExitHandler(email(self._config)):
            self._finish(parameters).after(run(**parameters)).ignore_upstream_failure()

    def _finish(self, parameters: dict[str, Any]) -> Any:
        self._parameters = parameters
        return self._step(monitoring.finish_run, bucket=parameters["bucket"], is_tuning=True)

    def wire_run(self, parameters: dict[str, Any]) -> None:
        """Wire all steps but the last."""
        self._parameters = parameters
        form = {name: parameters[name] for name in FORM}
        form |= {"runner": self._config.preprocess.runner, "starts_supervised": self._starts_supervised}
        configured = self._step(tuning.configure, **form)  # not cached: the project may come from credentials
        self._parameters = parameters | {name: configured.outputs[name] for name in ("task", *FORM.values())}
        data = self._data()
        budgeted = {"spent": data["spent"]} if "spent" in data else {}
        budget = self._step(tuning.check_budget, **budgeted)
        checked = {"budget": budget.outputs["budget"]}
        with dsl.If(budget.outputs["Output"] == True, name="something-is-new"):  # noqa: E712
            self._evaluate_and_tune(data, checked, budgeted)
        with dsl.Else(name="nothing-is-new"):
            self._step(tuning.report_unchanged, **checked, **IDENTITY)

    def _evaluate_and_tune(self, data: dict[str, Any], checked: dict[str, Any], budgeted: dict[str, Any]) -> None:
        baselines = self._step(tuning.evaluate_baselines, cached=True)
        plan = self._step(tuning.plan_tuning, evaluated=baselines.outputs["report"], **budgeted)
        tuning_plan = plan.outputs["tuning_plan"]
        with dsl.If(plan.outputs["should_tune"] == True, name="tuning-is-worth-trying"):  # noqa: E712
            tuned = self._tune(plan)
        with dsl.Else(name="skip-tuning"):
            untuned = self._step(tuning.select_model, tuning_plan=tuning_plan)
        selection = dsl.importer(
            artifact_uri=dsl.OneOf(tuned.outputs["Output"], untuned.outputs["Output"]),
            artifact_class=dsl.Artifact,
            reimport=False,
        )
        selection.set_display_name("selection")
        self._decide({**data, **checked}, tuning_plan, selection.output)

    def _data(self) -> dict[str, Any]:
        """Wire the data steps; their reports: `rows`, `dropped`, `split`, `leakage`, `spent` where a step spends."""
        # never cached: the cache key holds the file's name, not its content
        rows = self._step(tuning.load_pairs) if self._is_preference else self._preprocess()
        # not cached: split assignments are recorded
        split_rows = self._step(tuning.split, examples=rows.outputs["examples"])
        self._splits = {name: split_rows.outputs[name] for name in ("train", "validation", "test")}
        reports = {"rows": rows.outputs["report"], "dropped": rows.outputs["dropped"]}
        reports |= {"split": split_rows.outputs["report"], "leakage": split_rows.outputs["leakage_report"]}
        if self._is_preference:
            reports["spent"] = rows.outputs["report"]
        if self._augments:
            augmented = self._step(tuning.augment)
            self._splits["train"], reports["spent"] = augmented.outputs["augmented"], augmented.outputs["report"]
        return reports

    def _preprocess(self) -> Any:
        if self._config.preprocess.runner == "local":
            return self._step(tuning.preprocess)
        from google_cloud_pipeline_components.v1.dataflow import DataflowFlexTemplateJobOp
        from google_cloud_pipeline_components.v1.wait_gcp_resources import WaitGcpResourcesOp

        job = self._step(tuning.prepare_dataflow_job)
        launched = DataflowFlexTemplateJobOp(
            container_spec_gcs_path=job.outputs["template"],
            service_account_email=job.outputs["service_account"],
            **{name: job.outputs[name] for name in DATAFLOW_INPUTS},
        )
        waiting = WaitGcpResourcesOp(gcp_resources=launched.outputs["gcp_resources"])
        # never cached: a cached launch would wait for a dead job again
        finished, _ = (robust(task.set_caching_options(False), self._config) for task in (waiting, launched))
        kept, dropped = job.outputs["kept"], job.outputs["dropped"]
        return self._step(tuning.preprocess, data=kept, dataflow_dropped=dropped).after(finished)

    def _tune(self, plan: Any) -> Any:
        planned = {"tuning_plan": plan.outputs["tuning_plan"]}
        rows, reweighted, results = {"validation": self._splits["validation"]}, dict[str, Any](), dict[str, Any]()
        if self._reweights:
            hard_examples = self._step(tuning.reweight_hard_examples, **planned)
            rows["validation"] = hard_examples.outputs["marked"]
            reweighted["reweighted"] = hard_examples.outputs["reweighted"]
            results["spent"] = hard_examples.outputs["report"]
        start: dict[str, Any] = {}
        if self._starts_supervised:
            first = self._step(tuning.tune_supervised, trial=plan.outputs["first_trial"], **rows)
            start = {"start": first.outputs["job"]}
        with dsl.ParallelFor(plan.outputs["trials"], name="trials") as trial:
            tuned = self._step(tuning.tune, trial=trial, **rows, **reweighted, **start)

        def collected() -> dict[str, Any]:  # a Collected belongs to one task: kfp changes it when it compiles
            return {"tuning": dsl.Collected(tuned.outputs["job"]), **planned}

        checkpoints = self._step(tuning.evaluate_checkpoints, cached=True, **collected(), **rows, **start)
        evaluated = {"evaluated": checkpoints.outputs["report"]}
        if self._escalates:
            larger = self._step(tuning.try_larger_models, **collected(), **evaluated, **rows, **reweighted)
            results |= {"larger_tuning": larger.outputs["job"], "larger_report": larger.outputs["report"]}
        return self._step(tuning.select_model, **collected(), **evaluated, **start, **results)

    def _decide(self, data: dict[str, Any], tuning_plan: Any, selection: Any) -> None:
        # not cached: the champion is evaluated each time
        tested = self._step(tuning.evaluate_finalists, selection=selection)
        results = {"predictions": tested.outputs["predictions"], "tested": tested.outputs["report"]}
        decided = self._step(tuning.gate, cached=True, **results, selection=selection, tuning_plan=tuning_plan)
        last = {"decision": decided.outputs["decision"], "selection": selection}
        with dsl.If(decided.outputs["Output"] == True, name="gate-passed"):  # noqa: E712
            deployed = self._step(
                tuning.deploy, **last, predictions=tested.outputs["predictions"], leakage_report=data["leakage"]
            )
        with dsl.Else(name="gate-not-passed"):
            kept = self._step(tuning.keep_current_model, **last, predictions=tested.outputs["predictions"])
        self._step(  # not cached: it records what was decided on
            tuning.report,
            **last,
            **results,
            data_report=data["rows"],
            split_report=data["split"],
            budget=data["budget"],
            dropped=data["dropped"],
            leakage_report=data["leakage"],
            **IDENTITY,
            tuning_plan=tuning_plan,
            outcome=dsl.OneOf(deployed.outputs["Output"], kept.outputs["Output"]),
        )
