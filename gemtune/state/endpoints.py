# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Undeploy the endpoints of checkpoints that no champion's record names."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from datetime import timedelta

from gemtune.state import champion
from gemtune.state.reconcile import reconcile
from gemtune.vertex import Client, jobs, models, storage
from gemtune.vertex.calls import PermanentError

log = logging.getLogger("gemtune")


def cleanup(client: Client, name: str, act: bool = True, older_than_days: float = 7.0) -> list[str]:
    """Undeploy every checkpoint that interrupted runs of this name left deployed; returns the endpoints.

    Never one that is or was in production, nor one of a job that runs or is younger than `older_than_days`: a run may
    still evaluate it. Without `act` nothing is changed: the endpoints are those that would be undeployed.
    """
    if act:
        reconcile(client, name)
    own_jobs = jobs.find(client, jobs.NAME, jobs.label(name))
    newest = storage.touch(client, f"cleanups/{name}.json") - timedelta(days=older_than_days)
    ended = [job for job in own_jobs if job.ended and job.created <= newest]
    deployed = [point.endpoint for job in ended for point in job.checkpoints if point.endpoint]
    left = unused(client, deployed)
    if not act:
        return [endpoint for endpoint in left if models.deployed(client, endpoint)]
    undeployed = undeploy(client, left)
    log.info("done: %s", f"{len(undeployed)} of {len(deployed)} checkpoints of {len(ended)} jobs undeployed")
    return undeployed


def unused(client: Client, endpoints: Iterable[str]) -> list[str]:
    """Endpoints that no champion's record names, under any name: equal jobs are shared between names."""
    in_production = champion.known_models(client)
    return [endpoint for endpoint in endpoints if endpoint not in in_production]


def undeploy(client: Client, endpoints: Iterable[str]) -> list[str]:
    """Undeploy endpoints that no champion's record names; returns those that were.

    Each takes a while, and another run may promote meanwhile: what a record names afterwards is deployed again.
    """
    undeployed = []
    for endpoint in endpoints:
        try:
            if unused(client, [endpoint]) and models.undeploy(client, endpoint):
                if promoted := champion.known_models(client).get(endpoint):
                    models.deploy(client, endpoint, promoted.tuned_model, promoted.checkpoint_id)
                else:
                    undeployed.append(endpoint)
        except PermanentError as error:
            log.warning("%s stays deployed: %s", endpoint, error)
    return undeployed
