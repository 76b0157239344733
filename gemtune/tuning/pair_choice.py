# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The choice among preference tuned checkpoints as later steps read it, in the supervised pipeline's words. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gemtune.config import ModelVariant
from gemtune.cost import spend
from gemtune.steps.select_model import Standing
from gemtune.tuning.pair_plan import METRIC


@dataclass(frozen=True, slots=True)
class Choice:
    """Who meets on test data and why, how every checkpoint did, what the jobs left and what judging them took."""

    finalists: Sequence[ModelVariant]
    reason: str
    alias: str
    chosen: Standing | None = None
    standings: Sequence[Standing] = ()
    tuned: Sequence[dict[str, Any]] = ()
    judged: Sequence[dict[str, Any]] = ()

    def told(self) -> dict[str, Any]:
        """What the steps after the choice read, in the words of the supervised pipeline."""
        by_role = {one.role: one.model_dump(mode="json") for one in self.finalists}
        made = [one for record in self.tuned for one in record.get("variants", [])]
        kept = self.chosen.variant.model if self.chosen else ""
        return {
            "metric": METRIC,
            "reason": self.reason,
            "notes": [],
            "ablation": {},
            "best_prompt": by_role["baseline"],
            "candidate": by_role.get("candidate"),
            "champion": by_role.get("champion"),
            "losers": [one for one in made if one["model"] != kept],
            "checkpoints": [
                {
                    "variant": one.variant.model_dump(mode="json"),
                    "value": one.value,
                    "low": one.low,
                    "high": one.high,
                    "chosen": one is self.chosen,
                }
                for one in self.standings
            ],
            "trials": [_trial(record) for record in self.tuned],
            "ledger": [*map(_billed, self.tuned), *self.judged],
            "plan": next((record["trial"]["plan"] for record in self.tuned), ""),
            "alias": self.alias,
        }


def _trial(record: Mapping[str, Any]) -> dict[str, Any]:
    trial, job = record["trial"], record["job"]
    names = ["epoch_count", "learning_rate_multiplier", "adapter_size"]
    names += ["beta"] if trial["method"] == "preference" else []
    return {
        "name": trial["name"],
        "hyperparameters": {name: trial[name] for name in names},
        "job": job["name"],
        "base_model": record["base_model"],
        "states": record["states"],
        "diagnosis": record["diagnosis"],
        "curve": record["curve"],
        "truncated": job["truncated"],
        "dropped": job["dropped"],
    }


def _billed(record: Mapping[str, Any]) -> dict[str, Any]:
    """What a job billed, beside what the plan expected and allowed."""
    trial, tokens = record["trial"], record["job"]["billable_tokens"] * record["trial"]["epoch_count"]
    return {
        "what": f"tuning {trial['name']}",
        "tokens": tokens,
        "cost": tokens * record["price"]["train"] / spend.MILLION,
        "tokens_forecast": trial["forecast_tokens"],
        "tokens_allowed": trial["max_billable_tokens"],
    }
