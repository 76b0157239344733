# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The preference tuning pipeline: wiring only.

gather pairs -> split -> budget -> evaluate prompts -> plan -> supervise -> prefer per trial -> evaluate everyone on
validation -> choose -> evaluate the finalists on test -> decide -> deploy or keep -> report. Splits divide prompts; a
prompt's pairs stay with it. What was learned about the runner in `pipelines/tuning.py` shapes this file too.
"""

from collections.abc import Callable
from functools import partial

from kfp import dsl

from components.evaluate import evaluate as evaluate_op
from components.plan import budget as budget_op
from components.preference import choose as choose_op
from components.preference import choose_without_tuning as choose_without_tuning_op
from components.preference import decide as decide_op
from components.preference import gather as gather_op
from components.preference import line_up as line_up_op
from components.preference import plan_pairs as plan_op
from components.preference import prefer as prefer_op
from components.preference import supervise as supervise_op
from components.split import split as split_op
from gemtune.config import Config
from pipelines.final_steps import Ending


def preference_tuning(config: Config) -> Callable[..., None]:
    """Give the pipeline with a configuration as its parameters' defaults, so that an upload and a click is a run."""
    default = config.parameters()

    @dsl.pipeline(
        name="preference-tuning",
        description="Takes pairs of a better and a worse answer to a signed deploy / don't-deploy decision: validated, "
        "leak-free prompts; a spend plan; supervised tuning on the better answers, preference tuning from its "
        "checkpoint; win rates against the best prompt, the supervised model and the model in service on held-out "
        "prompts; the same gate; deployment with a way back; a report either way.",
    )
    def preference_tuning(
        data: str = default["data"],
        name: str = default["name"],
        baselines: list = default["baselines"],
        task: dict = default["task"],
        preprocess: dict = default["preprocess"],
        split: dict = default["split"],
        evaluate: dict = default["evaluate"],
        plan: dict = default["plan"],
        tune: dict = default["tune"],
        pick: dict = default["pick"],
        preference: dict = default["preference"],
        gate: dict = default["gate"],
        deploy: dict = default["deploy"],
        vertex: dict = default["vertex"],
    ) -> None:
        """Wire the steps.

        Args:
            data: Pairs, or labelled rows to make pairs of: gs:// URI of a JSONL or CSV file (locally also a path).
            name: Names the model in service, the tuning jobs and the records; runs of one name compete with each other.
            baselines: Prompted opponents, one list of one variant each: model and prompt (shots, selection, ...).
            task: What is asked of the model: kind, instruction, how input and answer are called.
            preprocess: Cleaning, limits, duplicates, what becomes of contradicting pairs.
            split: Shares of validation and test prompts, and the seed that divides them.
            evaluate: Base model, decoding, concurrency, retries, intervals.
            plan: Trials (epochs, learning rate multiplier, adapter size, beta) and the hard spend limit.
            tune: Display name, polling, deadline of tuning jobs.
            pick: How the candidate is chosen on validation prompts.
            preference: Where pairs come from, who ranks answers, the supervised job that comes first.
            gate: What the candidate must show on test prompts before it may serve.
            deploy: Alias of the model in service, what happens to losing checkpoints.
            vertex: Project, region, bucket, service account, encryption key; empty fields come from the environment.
        """
        # the key of a cache holds the file's name, not what is in it
        gathered = gather_op(
            data=data,
            task=task,
            preprocess=preprocess,
            config=preference,
            evaluate=evaluate,
            plan=plan,
            vertex=vertex,
        ).set_caching_options(False)
        pairs = gathered.outputs["pairs"]
        divided = split_op(
            examples=gathered.outputs["examples"], config=split, vertex=vertex, name=name
        ).set_caching_options(False)  # places are remembered
        train = divided.outputs["train"]
        validation = divided.outputs["validation"]
        test = divided.outputs["test"]

        asked = partial(evaluate_op, train=train, task=task, config=evaluate, vertex=vertex)

        affordable = budget_op(
            train=train,
            validation=validation,
            test=test,
            spent=gathered.outputs["report"],
            baselines=baselines,
            task=task,
            evaluate=evaluate,
            plan=plan,
            preference=preference,
            vertex=vertex,
            name=name,
        ).set_caching_options(False)
        with dsl.ParallelFor(affordable.outputs["Output"], name="prompt-variants") as baseline:
            prompted = asked(examples=validation, variants=baseline).set_display_name("evaluate a prompt on validation")
        planned = plan_op(
            reports=dsl.Collected(prompted.outputs["report"]),
            predictions=dsl.Collected(prompted.outputs["predictions"]),
            gathered=gathered.outputs["report"],
            train=train,
            validation=validation,
            test=test,
            pairs=pairs,
            task=task,
            evaluate=evaluate,
            config=preference,
            plan=plan,
            vertex=vertex,
            name=name,
        ).set_caching_options(False)

        def finals(chosen: dsl.PipelineTask) -> tuple[dsl.PipelineTask, dsl.PipelineTask]:
            """Evaluate the finalists on test prompts and decide."""
            tested = asked(examples=test, variants=chosen.outputs["Output"], gate_run=name).set_display_name(
                "evaluate the finalists on test"
            )
            tested.set_caching_options(False)  # the model in service is asked again, each time
            decided = decide_op(
                tested=tested.outputs["report"],
                predictions=tested.outputs["predictions"],
                examples=test,
                pairs=pairs,
                variants=chosen.outputs["Output"],
                plan=planned.outputs["planned"],
                task=task,
                evaluate=evaluate,
                config=preference,
                gate=gate,
                vertex=vertex,
            )
            return tested, decided

        ending = Ending(gathered, divided, planned.outputs["planned"], train, name, preprocess, deploy, vertex)

        with dsl.If(planned.outputs["worthwhile"] == True, name="tuning-is-worth-trying"):  # noqa: E712
            begun = supervise_op(
                train=train,
                validation=validation,
                pairs=pairs,
                trial=planned.outputs["supervised"],
                task=task,
                evaluate=evaluate,
                config=tune,
                vertex=vertex,
                name=name,
            ).set_caching_options(False)
            with dsl.ParallelFor(planned.outputs["trials"], name="trials") as trial:
                tuned = prefer_op(
                    train=train,
                    validation=validation,
                    pairs=pairs,
                    # an artifact, because the local runner gives a loop's steps its item in place of a parameter
                    supervised=begun.outputs["job"],
                    trial=trial,
                    task=task,
                    evaluate=evaluate,
                    config=tune,
                    vertex=vertex,
                    name=name,
                ).set_caching_options(False)
            entered = line_up_op(
                jobs=dsl.Collected(tuned.outputs["job"]),
                start=begun.outputs["Output"],
                best_prompt=planned.outputs["best_prompt"],
            )
            scored = asked(examples=validation, variants=entered.output).set_display_name(
                "evaluate everyone on validation"
            )
            chosen = choose_op(
                supervised=begun.outputs["job"],
                jobs=dsl.Collected(tuned.outputs["job"]),
                predictions=scored.outputs["predictions"],
                examples=validation,
                pairs=pairs,
                variants=entered.output,
                task=task,
                evaluate=evaluate,
                config=preference,
                pick=pick,
                deploy=deploy,
                vertex=vertex,
                name=name,
            ).set_caching_options(False)
            tested, decided = finals(chosen)
            ending.deploy_or_keep(chosen, tested, decided, told=decided)
        with dsl.Else(name="tuning-is-not-worth-trying"):
            unchosen = choose_without_tuning_op(
                best_prompt=planned.outputs["best_prompt"],
                deploy=deploy,
                vertex=vertex,
                name=name,
            ).set_caching_options(False)
            tested, decided = finals(unchosen)
            ending.keep(unchosen, tested, decided, told=decided)

    return preference_tuning
