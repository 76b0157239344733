# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""How every pipeline ends: deploy or keep, as the gate decided, and a report either way.

Wiring only. kfp's local runner (2.17) gives one parameter from either of two branches (`dsl.OneOf`), but no artifact,
so the two branches of "is tuning worth trying" do not meet again: each calls this by itself.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from kfp import dsl

from components.deploy import deploy as deploy_op
from components.deploy import keep as keep_op
from components.report import report as report_op


@dataclass(frozen=True)
class Ending:
    """What the last steps take from a pipeline: its first steps' tasks, its plan, its training rows, its parameters."""

    prepared: Any  # the task whose `report` tells of the rows
    divided: Any  # the split's task
    plan: Any  # the plan's artifact
    train: Any
    name: Any
    preprocess: Any
    deploy: Any
    vertex: Any

    def deploy_or_keep(self, chosen: Any, tested: Any, decided: Any, told: Any) -> None:
        """Deploy if the gate passes, else keep; then report. `told` is the task whose `report` tells of the test."""
        with dsl.If(decided.outputs["Output"] == True, name="the-gate-passes"):  # noqa: E712
            of_candidate = {
                "test": self.divided.outputs["test"],
                "leakage_report": self.divided.outputs["leakage_report"],
            }
            deployed = self._serve(deploy_op, chosen, decided, **of_candidate)
        with dsl.Else(name="the-gate-refuses"):
            kept = self._serve(keep_op, chosen, decided)
        self._report(chosen, tested, decided, told, dsl.OneOf(deployed.outputs["Output"], kept.outputs["Output"]))

    def keep(self, chosen: Any, tested: Any, decided: Any, told: Any) -> None:
        """Keep what serves, since nothing was tuned; then report."""
        kept = self._serve(keep_op, chosen, decided)
        self._report(chosen, tested, decided, told, kept.outputs["Output"])

    def _serve(self, step: Callable[..., Any], chosen: Any, decided: Any, **further: Any) -> Any:
        task = step(
            decision=decided.outputs["decision"],
            picked=chosen.outputs["picked"],
            config=self.deploy,
            vertex=self.vertex,
            name=self.name,
            preprocess=self.preprocess,
            **further,
        )
        return task.set_caching_options(False)

    def _report(self, chosen: Any, tested: Any, decided: Any, told: Any, outcome: Any) -> None:
        report_op(
            preprocessed=self.prepared.outputs["report"],
            split=self.divided.outputs["report"],
            plan=self.plan,
            picked=chosen.outputs["picked"],
            tested=told.outputs["report"],
            predictions=tested.outputs["predictions"],
            train=self.train,
            test=self.divided.outputs["test"],
            decision=decided.outputs["decision"],
            outcome=outcome,
            name=self.name,
        )
