# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Undeploy the endpoints of checkpoints that no champion's record names and no run is going to call.

Equal jobs are shared by all runs that need them, so each run notes which models it calls, from its tuning step to its
end. Times are those of Cloud Storage. A run that was killed counts for `USE_DAYS`. Which names ever called a model is
kept: where the record of one of them cannot be read, the model may be its champion and stays deployed.
"""

import logging
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from gemtune.config import ModelVariant
from gemtune.state import champion
from gemtune.state.reconcile import reconcile
from gemtune.vertex import Client, jobs, models, storage
from gemtune.vertex.calls import PermanentError

log = logging.getLogger("gemtune")

USES, CALLERS, USE_DAYS = "in_use", "callers", 7.0


def use(client: Client, model: str, name: str, run: str) -> str:
    """Note that a run of a name calls the checkpoints of a tuned model from now on; the key to release at its end."""
    storage.touch(client, f"{CALLERS}/{_id(model)}/{name}.json")
    key = f"{USES}/{_id(model)}/{run}.json"
    storage.touch(client, key)
    return key


def end_run(client: Client, name: str, uses: Iterable[str], variants: Sequence[ModelVariant]) -> list[str]:
    """Release what a run used and undeploy the variants that it does not keep; returns the endpoints."""
    for key in uses:
        storage.delete(client, key)
    return undeploy(client, variants, _before(client, name, USE_DAYS))


def cleanup(client: Client, name: str, act: bool = True, older_than_days: float = USE_DAYS) -> list[str]:
    """Undeploy every checkpoint that interrupted runs of this name left deployed; returns the endpoints.

    Never one that is or was in production, nor one of a job that runs, or that was made or used by a run in the last
    `older_than_days`. Without `act` nothing is changed: the endpoints are those that would be undeployed. Raises
    `UserError` where the record of `name` itself cannot be read.
    """
    if act:
        reconcile(client, name)
    else:
        champion.read(client, name)
    limit = _before(client, name, older_than_days)
    checkpoints = _checkpoints(client, name, limit)
    if not act:
        left = _unused(client, checkpoints, limit)
        return [variant.model for variant in left if models.deployed(client, variant.model)]
    undeployed = undeploy(client, checkpoints, limit)
    log.info("done: %s", f"{len(undeployed)} of {len(checkpoints)} checkpoints undeployed")
    return undeployed


def delete_models(client: Client, name: str, act: bool, older_than_days: float = USE_DAYS) -> list[str]:
    """Delete the models, with their endpoints, all of whose versions `cleanup` would undeploy; returns the models.

    An equal job is submitted again where a later run needs it.
    """
    limit = _before(client, name, older_than_days)
    checkpoints = _checkpoints(client, name, limit)
    if act:
        undeploy(client, checkpoints, limit)
    unused = _unused(client, checkpoints, limit)
    kept = {variant.tuned_model for variant in checkpoints if variant not in unused}
    by_model: dict[str, list[ModelVariant]] = {}
    for variant in unused:
        by_model.setdefault(variant.tuned_model.partition("@")[0], []).append(variant)
    deleted = []
    for model, own in by_model.items():
        versions = set(models.versions(client, model))
        if versions and versions <= {variant.tuned_model for variant in own} - kept:
            if act:
                models.delete(client, model, [variant.model for variant in own])
            deleted.append(model)
    return deleted


def _checkpoints(client: Client, name: str, limit: datetime) -> list[ModelVariant]:
    """The checkpoints that have an endpoint of the jobs of a name that were made before `limit` and have ended."""
    return [
        ModelVariant(name=job.name, model=point.endpoint, tuned_model=job.model, checkpoint_id=point.checkpoint_id)
        for job in jobs.find(client, jobs.NAME, jobs.label(name))
        if job.ended and job.created <= limit
        for point in job.saved
        if point.endpoint
    ]


def _before(client: Client, name: str, days: float) -> datetime:
    return storage.touch(client, f"cleanups/{name}.json") - timedelta(days=days)


def _id(model: str) -> str:
    return model.rpartition("/")[2]


def _unused(client: Client, variants: Sequence[ModelVariant], limit: datetime) -> list[ModelVariant]:
    """Those that no champion's record can name, under any name, and that no run has begun to call since `limit`."""
    in_production, unreadable = champion.known_models(client)
    called = {key.split("/")[1] for key, time in storage.list_times(client, USES).items() if time > limit}
    unused = [own for own in variants if own.model not in in_production and _id(own.tuned_model) not in called]
    callers = list(storage.list_times(client, CALLERS)) if unreadable else []
    for name, error in unreadable.items():
        called_by_it = {key.split("/")[1] for key in callers if key.endswith(f"/{name}.json")}
        for own in unused:
            if _id(own.tuned_model) in called_by_it:
                log.warning("%s stays deployed, it may be the champion of %s: %s", own.model, name, error)
        unused = [own for own in unused if _id(own.tuned_model) not in called_by_it]
    return unused


def undeploy(client: Client, variants: Sequence[ModelVariant], limit: datetime) -> list[str]:
    """Undeploy the variants that are unused since `limit`; returns the endpoints of those that were.

    Each takes a while, and another run may promote or begin to call it meanwhile: it is then deployed again.
    """
    undeployed = []
    for variant in _unused(client, variants, limit):
        try:
            if _unused(client, [variant], limit) and models.undeploy(client, variant.model):
                if _unused(client, [variant], limit):
                    undeployed.append(variant.model)
                else:
                    models.deploy(client, variant.model, variant.tuned_model, variant.checkpoint_id)
        except PermanentError as error:
            log.warning("%s stays deployed: %s", variant.model, error)
    return undeployed
