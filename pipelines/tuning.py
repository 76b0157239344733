# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The supervised tuning pipeline: wiring only.

preprocess -> split -> augment -> budget -> evaluate prompts -> plan -> evaluate the best prompt on training rows ->
hard -> (tune, evaluate checkpoints) per trial -> larger -> pick -> evaluate on test -> gate -> deploy or keep ->
report. An evaluation that is not wanted has nobody to ask (a branch could not meet the other again). Every branch ends
in a report. The branches of the first condition do not meet again: kfp's local runner (2.17) cannot give one artifact
from either of two branches (`dsl.OneOf`), only a parameter. Steps that change the world or read a moving one are never
cached; `tune` resumes by fingerprint instead.
"""

from collections.abc import Callable
from functools import partial

from google_cloud_pipeline_components.v1.dataflow import DataflowFlexTemplateJobOp
from google_cloud_pipeline_components.v1.wait_gcp_resources import WaitGcpResourcesOp
from kfp import dsl

from components.augment import augment as augment_op
from components.evaluate import evaluate as evaluate_op
from components.gate import gate as gate_op
from components.hard import hard as hard_op
from components.larger import larger as larger_op
from components.pick import pick as pick_op
from components.pick import pick_without_tuning as pick_without_tuning_op
from components.plan import budget as budget_op
from components.plan import plan as plan_op
from components.preprocess import measure as measure_op
from components.preprocess import preprocess as preprocess_op
from components.preprocess import settle as settle_op
from components.split import split as split_op
from components.tune import tune as tune_op
from gemtune.config import Config
from pipelines.final_steps import Ending


def supervised_tuning(config: Config) -> Callable[..., None]:
    """Give the pipeline with a configuration as its parameters' defaults, so that an upload and a click is a run."""
    default = config.parameters()

    @dsl.pipeline(
        name="supervised-tuning",
        description="Takes labelled rows to a signed deploy / don't-deploy decision about a tuned Gemini model: "
        "validated, deduplicated, leak-free splits; prompted baselines; a spend plan; tuning jobs; the best "
        "checkpoint; a statistical gate on held-out test rows; deployment with a way back; a report either way.",
    )
    def supervised_tuning(
        data: str = default["data"],
        name: str = default["name"],
        baselines: list = default["baselines"],
        task: dict = default["task"],
        preprocess: dict = default["preprocess"],
        split: dict = default["split"],
        augment: dict = default["augment"],
        evaluate: dict = default["evaluate"],
        plan: dict = default["plan"],
        hard: dict = default["hard"],
        tune: dict = default["tune"],
        larger: dict = default["larger"],
        pick: dict = default["pick"],
        gate: dict = default["gate"],
        deploy: dict = default["deploy"],
        vertex: dict = default["vertex"],
    ) -> None:
        """Wire the steps.

        Args:
            data: Labelled rows: gs:// URI of a JSONL or CSV file (locally also a path).
            name: Names the model in service, the tuning jobs and the records; runs of one name compete with each other.
            baselines: Prompted opponents, one list of one variant each: model and prompt (shots, selection, ...).
            task: What is asked of the model: kind, instruction, labels, how input and answer are called.
            preprocess: Columns, limits, cleaning, duplicates, conflicting labels.
            split: Shares of validation and test rows, and the seed that divides them.
            augment: Training rows made for rare labels; off by default.
            evaluate: Base model, decoding, concurrency, retries, intervals.
            plan: Trials (epochs, learning rate multiplier, adapter size), hard spend limit, when a prompt is enough.
            hard: Weight of training rows that the best prompt gets wrong; share 0 leaves them as they come.
            tune: Display name, polling, deadline of tuning jobs.
            larger: Larger base models, tried only if tuning the small one gains and misses the target.
            pick: How the candidate is chosen on validation data.
            gate: What the candidate must show on test data before it may serve.
            deploy: Alias of the model in service, what happens to losing checkpoints.
            vertex: Project, region, bucket, service account, encryption key; empty fields come from the environment.
        """
        # the key of a cache holds the file's name, not what is in it
        measured = measure_op(data=data, task=task, config=preprocess, vertex=vertex).set_caching_options(False)
        with dsl.If(measured.outputs["large"] == True, name="more-than-one-machine"):  # noqa: E712
            thinned = DataflowFlexTemplateJobOp(
                location=measured.outputs["location"],
                container_spec_gcs_path=measured.outputs["template"],
                job_name="gemtune-thin-out",
                parameters=measured.outputs["parameters"],
            )
            waited = WaitGcpResourcesOp(gcp_resources=thinned.outputs["gcp_resources"])
            kept_rows = settle_op(data=measured.outputs["kept"], dropped=measured.outputs["dropped"]).after(waited)
        with dsl.Else(name="one-machine-will-do"):
            all_rows = settle_op(data=data, dropped="")
        preprocessed = preprocess_op(
            data=dsl.OneOf(kept_rows.outputs["rows"], all_rows.outputs["rows"]),
            task=task,
            config=preprocess,
            vertex=vertex,
            thinned=dsl.OneOf(kept_rows.outputs["thinned"], all_rows.outputs["thinned"]),
        ).set_caching_options(False)
        divided = split_op(
            examples=preprocessed.outputs["examples"], config=split, vertex=vertex, name=name
        ).set_caching_options(False)  # places are remembered
        validation = divided.outputs["validation"]
        test = divided.outputs["test"]
        multiplied = augment_op(
            train=divided.outputs["train"],
            validation=validation,
            test=test,
            task=task,
            split=split,
            evaluate=evaluate,
            config=augment,
            vertex=vertex,
            plan=plan,
        ).set_caching_options(False)
        train = multiplied.outputs["augmented"]

        asked = partial(evaluate_op, train=train, task=task, config=evaluate, vertex=vertex)

        affordable = budget_op(
            train=train,
            validation=validation,
            test=test,
            spent=multiplied.outputs["report"],
            baselines=baselines,
            task=task,
            evaluate=evaluate,
            plan=plan,
            preference={},
            vertex=vertex,
            name=name,
        ).set_caching_options(False)
        with dsl.ParallelFor(affordable.outputs["Output"], name="prompt-variants") as baseline:
            prompted = asked(examples=validation, variants=baseline).set_display_name("evaluate a prompt on validation")
        planned = plan_op(
            reports=dsl.Collected(prompted.outputs["report"]),
            train=train,
            validation=validation,
            test=test,
            task=task,
            evaluate=evaluate,
            config=plan,
            vertex=vertex,
            name=name,
            hard=hard,
            larger=larger,
            augmented=multiplied.outputs["report"],
        ).set_caching_options(False)

        def finals(picked: dsl.PipelineTask) -> tuple[dsl.PipelineTask, dsl.PipelineTask]:
            """Evaluate the finalists on test data and decide."""
            tested = asked(examples=test, variants=picked.outputs["finalists"], gate_run=name).set_display_name(
                "evaluate the finalists on test"
            )
            tested.set_caching_options(False)  # the model in service is asked again, each time
            remembered = asked(
                examples=picked.outputs["old_test"], variants=picked.outputs["remembering"], judging=False
            ).set_display_name("evaluate candidate and champion on its old test")
            remembered.set_caching_options(False)
            decided = gate_op(
                predictions=tested.outputs["predictions"],
                variants=picked.outputs["finalists"],
                task=task,
                config=gate,
                plan=planned.outputs["plan"],
                tested=tested.outputs["report"],
                remembered=remembered.outputs["predictions"],
            )
            return tested, decided

        ending = Ending(preprocessed, divided, planned.outputs["plan"], train, name, preprocess, deploy, vertex)

        with dsl.If(planned.outputs["worthwhile"] == True, name="tuning-is-worth-trying"):  # noqa: E712
            probed = asked(examples=train, variants=planned.outputs["probe"], judging=False).set_display_name(
                "evaluate the best prompt on training rows"
            )
            weighed = hard_op(
                train=train,
                validation=validation,
                predictions=probed.outputs["predictions"],
                best_prompt=planned.outputs["best_prompt"],
                config=hard,
                vertex=vertex,
            ).set_caching_options(False)
            with dsl.ParallelFor(planned.outputs["trials"], name="trials") as trial:
                tuned = tune_op(
                    train=train,
                    weighted=weighed.outputs["weighted"],
                    validation=validation,
                    trial=trial,
                    task=task,
                    evaluate=evaluate,
                    config=tune,
                    vertex=vertex,
                    name=name,
                ).set_caching_options(False)
                scored = asked(examples=weighed.outputs["marked"], variants=tuned.outputs["Output"]).set_display_name(
                    "evaluate checkpoints on validation"
                )
            climbed = larger_op(
                jobs=dsl.Collected(tuned.outputs["job"]),
                reports=dsl.Collected(scored.outputs["report"]),
                trials=planned.outputs["larger_trials"],
                train=train,
                weighted=weighed.outputs["weighted"],
                validation=weighed.outputs["marked"],
                plan=planned.outputs["plan"],
                task=task,
                evaluate=evaluate,
                tune=tune,
                config=larger,
                pick=pick,
                vertex=vertex,
                name=name,
            ).set_caching_options(False)
            chosen = pick_op(
                jobs=dsl.Collected(tuned.outputs["job"]),
                reports=dsl.Collected(scored.outputs["report"]),
                larger_jobs=climbed.outputs["job"],
                larger_report=climbed.outputs["report"],
                train=train,
                best_prompt=planned.outputs["best_prompt"],
                task=task,
                config=pick,
                deploy=deploy,
                vertex=vertex,
                name=name,
            ).set_caching_options(False)
            tested, decided = finals(chosen)
            ending.deploy_or_keep(chosen, tested, decided, told=tested)
        with dsl.Else(name="a-prompt-is-enough"):
            unchosen = pick_without_tuning_op(
                train=train,
                best_prompt=planned.outputs["best_prompt"],
                task=task,
                config=pick,
                deploy=deploy,
                vertex=vertex,
                name=name,
            ).set_caching_options(False)
            tested, decided = finals(unchosen)
            ending.keep(unchosen, tested, decided, told=tested)

    return supervised_tuning
