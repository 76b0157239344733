# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The choice among preference tuned checkpoints as later steps read it, in the supervised pipeline's words. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gemtune.config import Contestant
from gemtune.pick import Standing
from gemtune.tuning import spend
from gemtune.tuning.pair_plan import METRIC


def told(
    finalists: Sequence[Contestant],
    standings: Sequence[Standing],
    chosen: Standing | None,
    reason: str,
    tuned: Sequence[dict[str, Any]],
    losers: Sequence[dict[str, Any]],
    judged: Sequence[dict[str, Any]],
    alias: str,
) -> dict[str, Any]:
    """What the steps after the choice read, in the words of the supervised pipeline."""
    by_role = {one.role: one.model_dump(mode="json") for one in finalists}
    return {
        "metric": METRIC,
        "reason": reason,
        "notes": [],
        "ablation": {},
        "best_prompt": by_role["baseline"],
        "candidate": by_role.get("candidate"),
        "champion": by_role.get("champion"),
        "losers": list(losers),
        "checkpoints": [
            {
                "contestant": one.contestant.model_dump(mode="json"),
                "value": one.value,
                "low": one.low,
                "high": one.high,
                "chosen": one is chosen,
            }
            for one in standings
        ],
        "trials": [_trial(record) for record in tuned],
        "ledger": [*map(_billed, tuned), *judged],
        "plan": next((record["trial"]["plan"] for record in tuned), ""),
        "alias": alias,
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
