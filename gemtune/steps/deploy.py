# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Into service and back: the champion's record, its alias and default checkpoint, and what is cleared away.

A tuned Gemini model is deployed by the service itself, every checkpoint on its own shared endpoint. To deploy is to
say which one serves: default checkpoint and alias in the registry, and the record in the bucket that callers resolve
the endpoint from. The record is what counts and changes last-but-one: a run killed before it changed nothing that
callers see, a run killed after it only left something to clear away. It holds all champions before, newest last; the
one before stays deployed, so that the way back is one command and takes seconds. Every step may be repeated.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gemtune.config import Deploy, ModelVariant, Preprocess, Vertex
from gemtune.data.cleaning import exported
from gemtune.data.example import write_json
from gemtune.errors import UserError
from gemtune.state import store
from gemtune.state.store import Record, champion_key
from gemtune.steps import select_model
from gemtune.vertex import Client, Refused, connect, jobs, models, patiently, storage
from gemtune.vertex.jobs import NAME

log = logging.getLogger("gemtune")


def run(
    decision: str,
    picked: str,
    config: dict[str, Any],
    vertex: dict[str, Any],
    name: str,
    endpoint: str,
    test: str = "",
    preprocess: dict[str, Any] | None = None,
    certificate: str = "",
) -> dict[str, Any]:
    """Put the candidate into service; writes who serves to `endpoint` and returns the same.

    The `test` rows that decided are kept beside the record, so that a later model can be asked what it forgot. So are
    the leakage certificate of the splits it was made and judged by, and the cleaning rules of the section `preprocess`,
    so that callers can clean texts as training did (`rows.clean`).
    """
    settings, client = Deploy.of(config), connect(Vertex.of(vertex))
    told, verdict = _read(picked), _read(decision)
    if not told["candidate"]:
        raise UserError("there is no candidate to deploy", file=picked)
    candidate = ModelVariant.of(told["candidate"])
    before = select_model.read_champion(client, name)
    _serve(client, candidate, settings.alias)
    beside = {"test": _kept_rows(client, test)} if test else {}
    if certificate:
        beside["certificate"] = _read(certificate)
    beside["cleaning"] = cleaning = dict(exported(Preprocess.of(preprocess or {})))
    store.change(
        client, champion_key(name), lambda record: _promoted(record, candidate, settings.alias, verdict, beside)
    )
    if before and before.tuned_model != candidate.tuned_model:
        patiently(models.remove_alias, client, before.tuned_model, settings.alias)
    removed = [] if settings.keep_losers else _clear(client, told["losers"])
    _remember(client, name, told, verdict)
    outcome = {**_outcome("deployed", candidate, before, removed), "cleaning": cleaning}
    write_json(endpoint, outcome)
    log.info("done: %s", f"{candidate.name} serves as {settings.alias} at {candidate.model}")
    return outcome


def keep(
    decision: str,
    picked: str,
    config: dict[str, Any],
    vertex: dict[str, Any],
    name: str,
    endpoint: str,
    preprocess: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Change nothing in service; clear away what the trials left, and say what serves and how texts are cleaned for
    it.
    """
    settings, client = Deploy.of(config), connect(Vertex.of(vertex))
    told, verdict = _read(picked), _read(decision)
    serving = select_model.read_champion(client, name)
    prompted = ModelVariant.of(told["best_prompt"])
    used = serving if serving and verdict.get("verdict") != "keep_prompt" else prompted
    lost = [*told["losers"], *([told["candidate"]] if told["candidate"] else [])]
    removed = [] if settings.keep_losers else _clear(client, lost)
    _remember(client, name, told, verdict)
    own = dict(exported(Preprocess.of(preprocess or {})))
    cleaning = _cleaning_of_champion(client, name, own) if used is serving else own
    outcome = {**_outcome("kept", used, serving, removed), "cleaning": cleaning}
    write_json(endpoint, outcome)
    log.info("done: %s", f"nothing changed: {used.name} ({used.model})")
    return outcome


def rollback(name: str, vertex: dict[str, Any]) -> ModelVariant:
    """Give service back to the champion before; returns it. Raises `UserError` when there is none."""
    client = connect(Vertex.of(vertex))
    record = store.read(client, champion_key(name))
    if not record.get("history"):
        raise UserError(f"{name} has no champion to go back to", remedy="only a second deployment makes a way back")
    alias, left = record["alias"], ModelVariant.of(record["current"]["variant"])
    back = ModelVariant.of(record["history"][-1]["variant"])
    _serve(client, back, alias)
    store.change(client, champion_key(name), lambda now: _returned(now, back))
    if left.tuned_model != back.tuned_model:
        patiently(models.remove_alias, client, left.tuned_model, alias)
    log.info("done: %s", f"{back.name} serves again as {alias} at {back.model}, instead of {left.name}")
    return back


def sweep(name: str, vertex: dict[str, Any], act: bool = True) -> list[str]:
    """Undeploy every checkpoint that runs of this name left behind (crashed before they chose); returns the endpoints.

    Never one that serves or served, nor one of a job that still goes on. Call it when no run of this name is going.
    Without `act` nothing is touched: the endpoints are those that would be undeployed.
    """
    client = connect(Vertex.of(vertex))
    ended = [job for job in patiently(jobs.find, client, NAME, jobs.label(name)) if job.ended]
    left = [{"model": point.endpoint} for job in ended for point in job.checkpoints if point.endpoint]
    if not act:
        spare = [one["model"] for one in _idle(client, left)]
        return [model for model in spare if patiently(models.deployed, client, model)]
    removed = _clear(client, left)
    log.info("done: %s", f"{len(removed)} of {len(left)} checkpoints of {len(ended)} jobs undeployed")
    return removed


def read_champion(name: str, vertex: dict[str, Any]) -> ModelVariant | None:
    """The model in service under a name; None when none is."""
    return select_model.read_champion(connect(Vertex.of(vertex)), name)


# In the registry.


def _serve(client: Client, variant: ModelVariant, alias: str) -> None:
    """Make sure the checkpoint answers at its endpoint, and that the registry says so."""
    patiently(models.deploy, client, variant.model, variant.tuned_model, variant.checkpoint_id)
    patiently(models.set_alias, client, variant.tuned_model, alias)
    if variant.checkpoint_id:
        patiently(models.set_default_checkpoint, client, variant.tuned_model, variant.checkpoint_id)


def _clear(client: Client, variants: Iterable[dict[str, Any]]) -> list[str]:
    """Undeploy checkpoints that lost; never one that serves, or that served before and is the way back.

    Under any name: equal jobs are shared, so what loses here may serve elsewhere.
    """
    removed = []
    for lost in _idle(client, variants):
        try:
            if patiently(models.undeploy, client, lost["model"]):
                removed.append(lost["model"])
        except Refused as error:
            log.warning("%s stays deployed: %s", lost["model"], error)
    return removed


def _idle(client: Client, variants: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those that no name's record knows as serving or having served."""
    kept = {entry["variant"]["model"] for record in store.champions(client) for entry in _entries(record)}
    return [one for one in variants if one["model"] not in kept and one["model"].startswith("projects/")]


# The record.


def _entries(record: Record) -> list[Record]:
    current = record.get("current")
    return [*record.get("history", []), *([current] if current else [])]


def _kept_rows(client: Client, test: str) -> Record:
    """Where the test rows are kept, once whatever their name, and how many they are."""
    with open(test, encoding="utf-8") as rows:
        count = sum(1 for _ in rows)
    return {"uri": patiently(storage.upload, client, test, "tests"), "rows": count}


def _cleaning_of_champion(client: Client, name: str, unknown: Record) -> Record:
    """The rules the champion was trained with; `unknown` for one that was recorded without."""
    current = store.read(client, champion_key(name)).get("current") or {}
    return dict(current.get("cleaning", unknown))


def _promoted(record: Record, candidate: ModelVariant, alias: str, verdict: dict[str, Any], beside: Record) -> Record:
    """The record with a new champion and what is kept with it; the same record when it serves already."""
    current = record.get("current")
    if current and current["variant"]["model"] == candidate.model:
        return record
    entry = {
        "variant": candidate.model_dump(mode="json"),
        "since": datetime.now(UTC).isoformat(timespec="seconds"),
        "reasons": verdict.get("reasons", []),
        **beside,
    }
    history = [*record.get("history", []), *([current] if current else [])]
    return {**record, "schema_version": 1, "alias": alias, "current": entry, "history": history}


def _returned(record: Record, back: ModelVariant) -> Record:
    """The record with the last champion gone to `left`, and the one before it in service."""
    if record["current"]["variant"]["model"] == back.model:
        return record
    *older, entry = record["history"]
    gone = {**record["current"], "until": datetime.now(UTC).isoformat(timespec="seconds")}
    return {**record, "current": entry, "history": older, "left": [*record.get("left", []), gone]}


def _remember(client: Client, name: str, told: dict[str, Any], verdict: dict[str, Any]) -> None:
    """Keep which plan was decided on, so that the next run sees whether anything is new."""
    if told["plan"]:
        decided = {"schema_version": 1, "plan": told["plan"], "verdict": verdict.get("verdict", "")}
        store.change(client, f"decisions/{name}.json", lambda _: decided)


def _outcome(action: str, used: ModelVariant, before: ModelVariant | None, removed: list[str]) -> dict[str, Any]:
    return {
        "action": action,
        "variant": used.model_dump(mode="json"),
        "model": used.model,
        "endpoint": used.model if used.model.startswith("projects/") else "",
        "tuned_model": used.tuned_model,
        "checkpoint_id": used.checkpoint_id,
        "champion_before": before.model if before else "",
        "undeployed": removed,
    }


def _read(path: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(Path(path).read_text("utf-8"))
    return found
