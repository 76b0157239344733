# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Experiments and TensorBoards through the ways Google's notebooks and SDK classes read and write them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from emulated import LOCATION, PROJECT, Server, gapic, genai_client, supervised_lines, upload, wait
from google.api_core import exceptions
from google.genai import types


@pytest.fixture(scope="module")
def job(server: Server) -> Any:
    client = genai_client(server.url)
    dataset = types.TuningDataset(gcs_uri=upload(server.url, "train.jsonl", supervised_lines()))
    config = types.CreateTuningJobConfig(epoch_count=2)
    return wait(client, client.tunings.tune(base_model="gemini-2.5-flash", training_dataset=dataset, config=config))


@pytest.fixture
def aip(server: Server) -> Iterator[Any]:
    from google.auth.credentials import AnonymousCredentials
    from google.cloud import aiplatform

    credentials = AnonymousCredentials()
    options = {"credentials": credentials, "api_endpoint": server.url, "api_transport": "rest"}
    aiplatform.init(project=PROJECT, location=LOCATION, **options)
    yield aiplatform
    aiplatform.initializer.global_config._api_endpoint = None


def test_the_notebooks_way(aip: Any, job: Any) -> None:
    from google.cloud.aiplatform.metadata import context
    from google.cloud.aiplatform.metadata import utils as metadata_utils

    experiment = aip.Experiment(job.experiment)
    board = experiment.get_backing_tensorboard_resource()
    run_filter = metadata_utils._make_filter_string(
        schema_title="system.ExperimentRun", parent_contexts=[experiment.resource_name]
    )
    runs = context.Context.list(filter=run_filter)
    run_id = runs[0].name.replace(experiment.name, "")[1:]
    name = f"{board.resource_name}/experiments/{experiment.name}/runs/{run_id}"
    data = aip.TensorboardRun(name).read_time_series_data()
    assert len(data["/train_total_loss"].values) == 6


def test_experiment_data_frame(aip: Any, job: Any) -> None:
    frame = aip.Experiment(job.experiment).get_data_frame()
    assert "time_series_metric./train_total_loss" in frame.columns


def test_own_experiments_can_be_written(server: Server, aip: Any) -> None:
    from google.cloud.aiplatform_v1 import TensorboardServiceClient
    from google.cloud.aiplatform_v1.types import (
        Scalar,
        Tensorboard,
        TensorboardExperiment,
        TensorboardRun,
        TensorboardTimeSeries,
        TimeSeriesData,
        TimeSeriesDataPoint,
    )

    client = gapic(TensorboardServiceClient, server.url)
    parent = f"projects/{PROJECT}/locations/{LOCATION}"
    board = client.create_tensorboard(parent=parent, tensorboard=Tensorboard(display_name="mine")).result()
    experiment = client.create_tensorboard_experiment(
        parent=board.name, tensorboard_experiment=TensorboardExperiment(), tensorboard_experiment_id="exp"
    )
    run = client.create_tensorboard_run(
        parent=experiment.name, tensorboard_run=TensorboardRun(display_name="r"), tensorboard_run_id="r"
    )
    series = client.create_tensorboard_time_series(
        parent=run.name, tensorboard_time_series=TensorboardTimeSeries(display_name="loss", value_type="SCALAR")
    )
    values = [1.0, 0.5, 0.0, float("nan")]  # a client leaves a zero out
    points = [TimeSeriesDataPoint(step=n, scalar=Scalar(value=value)) for n, value in enumerate(values, 1)]
    data = TimeSeriesData(tensorboard_time_series_id=series.name.rsplit("/", 1)[1], value_type="SCALAR", values=points)
    client.write_tensorboard_run_data(tensorboard_run=run.name, time_series_data=[data])
    data = client.read_tensorboard_time_series_data(tensorboard_time_series=series.name).time_series_data
    assert [(v.step, v.scalar.value) for v in data.values] == [(1, 1.0), (2, 0.5), (3, 0.0)]
    assert client.get_tensorboard_time_series(name=series.name).metadata.max_step == 4
    with pytest.raises(exceptions.Conflict):
        client.create_tensorboard_run(parent=experiment.name, tensorboard_run_id="r")
    with pytest.raises(exceptions.NotFound):
        client.batch_read_tensorboard_time_series_data(
            request={"tensorboard": board.name, "time_series": [series.name + "9"]}
        )


def test_contexts_and_artifacts(server: Server, job: Any) -> None:
    from google.cloud.aiplatform_v1 import MetadataServiceClient
    from google.cloud.aiplatform_v1.types import Artifact, Context

    client = gapic(MetadataServiceClient, server.url)
    store = f"projects/{PROJECT}/locations/{LOCATION}/metadataStores/default"
    assert client.get_metadata_store(name=store).name.endswith("default")
    context = client.create_context(
        parent=store, context=Context(display_name="c", metadata={"my_key": 1.0}), context_id="c-1"
    )
    artifact = client.create_artifact(parent=store, artifact=Artifact(display_name="a"), artifact_id="a-1")
    client.add_context_artifacts_and_executions(context=context.name, artifacts=[artifact.name])
    lineage = client.query_context_lineage_subgraph(context=context.name)
    assert [item.name for item in lineage.artifacts] == [artifact.name]
    changed = client.update_context(context=Context(name=context.name, metadata={"other": 2.0}))
    assert dict(changed.metadata) == {"my_key": 1.0, "other": 2.0}
    runs = client.list_contexts(
        request={
            "parent": store,
            "filter": f'parent_contexts:"{job.experiment}" AND schema_title="system.ExperimentRun"',
        }
    )
    assert [item.parent_contexts for item in runs] == [[job.experiment]]
    client.delete_context(name=context.name).result()
    with pytest.raises(exceptions.NotFound):
        client.get_context(name=context.name)
