# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Which trials are run: merged where one job's checkpoints cover another's, named, started from the champion. Pure."""

from collections.abc import Sequence

from gemtune.artifacts.records import ChampionEntry
from gemtune.catalogue import Catalogue
from gemtune.config import ModelVariant, Task, Trial, is_resource_name
from gemtune.errors import UserError

# what the plan adds to a trial; it does not change what the job trains
SET_BY_PLAN = frozenset(
    {
        "plan",
        "forecast_tokens",
        "max_billable_tokens",
        "supervised_max_tokens",
        "follow_up_tokens",
        "follow_ups",
        "base_model",
        "ablation_of",
    }
)


def require_tunable(
    catalogue: Catalogue, location: str, encryption_key: str, base_model: str, trials: Sequence[Trial]
) -> None:
    """Raise `UserError` unless each trial's base model can be tuned by its method, here and with its adapter size."""
    for trial in trials:
        base = trial.base or base_model
        if not is_resource_name(base):
            sizes = (trial.adapter_size,)
            catalogue.require(base, trial.method, location, adapter_sizes=sizes, encryption_key=encryption_key)


def supervised_start(trial: Trial) -> Trial | None:
    """The supervised job whose checkpoint a reinforcement trial starts from; None without one."""
    if trial.method != "reinforcement" or not trial.supervised_epochs:
        return None
    return Trial(
        name=f"{trial.name}-supervised",
        epoch_count=trial.supervised_epochs,
        adapter_size=trial.adapter_size,
        base=trial.base,
        base_model=trial.base_model,
        checkpoint_id=trial.checkpoint_id,
        max_billable_tokens=trial.supervised_max_tokens,
        plan=trial.plan,
    )


def lowest_loss(variants: Sequence[ModelVariant], losses: Sequence[tuple[int, float]]) -> ModelVariant:
    """The checkpoint with the lowest validation loss (points of step and value); the last one when none is known."""
    loss_by_step = dict(losses)

    def loss(variant: ModelVariant) -> float:
        nearest = min(loss_by_step, key=lambda step: abs(step - variant.step), default=None)
        return loss_by_step[nearest] if nearest is not None else -float(variant.step)

    return min(variants, key=loss)


def checkpoint_count(epochs: int) -> int:
    """Checkpoints the service keeps: one per epoch, ten at most."""
    return min(epochs, 10)


def covers(longer: int, shorter: int) -> bool:
    """Whether a job of `longer` epochs leaves a checkpoint at the end of epoch `shorter`."""
    return any(round(longer * k / 10) == shorter for k in range(1, 11))


def merge_epoch_variants(trials: Sequence[Trial]) -> list[Trial]:
    """Of trials that differ only in epochs the longest, where its checkpoints cover the others."""
    merged: list[Trial] = []
    for trial in sorted(trials, key=lambda t: -t.epoch_count):
        same = {"epoch_count": trial.epoch_count, "name": trial.name}
        if not any(t.model_copy(update=same) == trial and covers(t.epoch_count, trial.epoch_count) for t in merged):
            merged.append(trial)
    positions = {id(trial): place for place, trial in enumerate(trials)}
    return sorted(merged, key=lambda trial: positions[id(trial)])


def named(trials: Sequence[Trial], merge: bool) -> list[Trial]:
    """The trials to run, each with a unique name; raises `UserError` for a name that is used twice."""
    chosen = merge_epoch_variants(trials) if merge else list(trials)
    names = [trial.name or f"trial-{number}" for number, trial in enumerate(chosen, 1)]
    if len(set(names)) < len(names):
        raise UserError(f"trials need unique names, got {', '.join(names)}", remedy="set plan.trials")
    return [trial.model_copy(update={"name": name}) for name, trial in zip(names, chosen, strict=True)]


MOST_CONTINUATIONS = 3


def reasons_for_a_fresh_start(
    current: ChampionEntry, new_share: float, base_model: str, task: Task, fresh_start_share: float
) -> list[str]:
    """Why trials start from the base model and do not continue the champion; empty: both are worth trying.

    `new_share` is the share of today's training rows that are new to it.
    """
    reasons, before = [], current.variant.base_model
    if before and before != base_model:
        reasons.append(f"the base model changed from {before} to {base_model}")
    if current.task.labels and (changed := {*current.task.labels} ^ {*task.labels}):
        reasons.append(f"the labels changed ({', '.join(sorted(changed)[:3])})")
    if new_share > fresh_start_share:
        reasons.append(f"{new_share:.0%} of the training rows are new (at most {fresh_start_share:.0%})")
    if current.continuations >= MOST_CONTINUATIONS:
        reasons.append(f"the champion was continued {current.continuations} times in a row")
    return reasons


def with_continued(variant: ModelVariant, trials: Sequence[Trial]) -> list[Trial]:
    """The trials, and each again started from a tuned variant's checkpoint; not those with a base of their own."""
    twins = [trial for trial in trials if not trial.base and not trial.ablation_of]
    named_twins = [trial.model_copy(update={"name": f"{trial.name}-continued"}) for trial in twins]
    return [*trials, *started_from(variant, named_twins)]


def started_from(variant: ModelVariant | None, trials: Sequence[Trial]) -> list[Trial]:
    """The trials, started from a tuned variant's checkpoint unless they name a base of their own."""
    if variant is None:
        return list(trials)
    start = {
        "base": variant.tuned_model,
        "checkpoint_id": variant.checkpoint_id,
        "base_model": variant.base_model,
    }
    return [trial if trial.base else trial.model_copy(update=start) for trial in trials]
