# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Runs and recurring runs on a Kubeflow Pipelines cluster, by kfp's own client.

Experiment, namespace, service account and secrets come from the section `backend`; who is signed in, from the variables
of kfp's command (KFP_EXISTING_TOKEN) and of its client (KF_PIPELINES_...).
"""

import contextlib
import datetime
import json
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from gemtune.config import Config
from gemtune.errors import UserError
from gemtune.vertex.calls import require_credentials
from pipelines.backend_rules import read_compiled, require_accepted
from pipelines.cloud import Source, require_cloud_data, title
from pipelines.compilation import compile_pipeline, placed
from pipelines.schedules import read_cron

PAGE = 100
ENDED = ("FAILED", "CANCELED", "SKIPPED")
POLL_S = 15.0


def submit(host: str, config: Config, source: Source) -> str:
    """Start a run; returns its id."""
    started = f"{config.name} {datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M:%S}"
    with _connected(host, config) as client, _package(config, source) as package:
        return str(client.run_pipeline(_experiment(client, config).experiment_id, started, **package).run_id)


def follow(host: str, config: Config, run: str) -> None:
    """Wait for the end of a run; raises `UserError` unless it is a good one. kfp's own waits on for a cancelled run."""
    with _connected(host, config) as client:
        while (state := client.get_run(run).state) != "SUCCEEDED":
            if state in ENDED:
                raise UserError(f"the run {run} ended as {state}", remedy="see the logs of its steps in the cluster")
            time.sleep(POLL_S)


def schedule(host: str, config: Config, source: Source, cron: str) -> tuple[str, bool]:
    """Run by cron, one run at a time and without those that were missed; returns the id, and whether it is enabled.

    A recurring run cannot be changed: where there is an earlier one, the new one is created disabled, enabled unless
    the earlier one was disabled, and then the earlier one is deleted. At times there are both, but never none. Of
    several processes that do so at the same time, the latest recurring run stays.
    """
    zone, fields = read_cron(cron)
    if zone not in ("", "UTC", "Etc/UTC"):
        raise UserError(
            f"time zone {zone}: Kubeflow fires by the clock of its cluster", remedy="write the hours in UTC"
        )
    if "7" in fields.rsplit(" ", 1)[1].split("/")[0]:
        raise UserError(f"{cron!r}: Kubeflow has no weekday 7", remedy="write Sunday as 0")
    name = title(config, source.pipeline)
    trigger = {"cron_expression": f"0 {fields}", "max_concurrency": 1, "no_catchup": True}  # its first field: seconds
    with _connected(host, config) as client, _package(config, source) as package:
        experiment = _experiment(client, config)
        earlier = _recurring(client, experiment.experiment_id, name)
        is_first, was_enabled = not earlier, any(run.status == "ENABLED" for run in earlier)
        created = client.create_recurring_run(experiment.experiment_id, name, enabled=is_first, **trigger, **package)
        if was_enabled:
            _if_exists(client.enable_recurring_run, created)
        replaced = {run.recurring_run_id for run in earlier}
        present = _recurring(client, experiment.experiment_id, name)
        kept = max(present, key=lambda r: (r.recurring_run_id not in replaced, r.created_at, r.recurring_run_id))
        for run in present:
            if run is not kept:
                _if_exists(client.delete_recurring_run, run)
        return str(kept.recurring_run_id), is_first or was_enabled


def _if_exists(call: Callable[[str], object], run: Any) -> None:
    """Change a recurring run, which another process may have deleted."""
    from kfp_server_api import ApiException

    try:
        call(run.recurring_run_id)
    except ApiException as error:
        if error.status != 404:
            raise


def _experiment(client: Any, config: Config) -> Any:
    return client.create_experiment(config.backend.experiment, namespace=config.backend.namespace or None)


def _recurring(client: Any, experiment_id: str, name: str) -> list[Any]:
    """The recurring runs of a name; more than one after an interrupted replacement."""
    equal = {"operation": "EQUALS", "key": "display_name", "stringValue": name}
    query = {"experiment_id": experiment_id, "page_size": PAGE, "filter": json.dumps({"predicates": [equal]})}
    return [run for run in client.list_recurring_runs(**query).recurring_runs or [] if run.display_name == name]


@contextlib.contextmanager
def _package(config: Config, source: Source) -> Iterator[dict[str, Any]]:
    """The compiled file and how it is run, as arguments of the client's methods."""
    require_cloud_data(config, source.pipeline)
    if source.template or not source.image:
        raise UserError("no image", remedy="give --image; published templates are for Vertex AI")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pipeline.yaml"
        compile_pipeline(placed(config), path, source.image, source.cache, source.pipeline)
        require_accepted(read_compiled(path), "kubeflow")
        backend = config.backend
        run_as = {"pipeline_root": backend.root or None, "service_account": backend.service_account or None}
        yield {"pipeline_package_path": str(path), **run_as}


@contextlib.contextmanager
def _connected(host: str, config: Config) -> Iterator[Any]:
    """A client; what the server refuses, or that it cannot be reached, is raised as a `UserError`."""
    from kfp import Client
    from kfp_server_api import ApiException
    from urllib3.exceptions import HTTPError

    token = os.environ.get("KFP_EXISTING_TOKEN")
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(sys.stderr):  # it prints links
            warnings.simplefilter("ignore")
            namespace = config.backend.namespace or "kubeflow"
            yield require_credentials(lambda: Client(host=host, existing_token=token, namespace=namespace))
    except ApiException as error:
        raise UserError(
            f"Kubeflow refused: {error.status} {error.body or error.reason}", remedy="see the message"
        ) from None
    except (HTTPError, TimeoutError) as error:
        raise UserError(f"{host} cannot be reached: {error}", remedy="check --kubeflow, and who is signed in") from None
