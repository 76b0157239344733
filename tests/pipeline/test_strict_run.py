# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Whole pipelines submitted as PipelineJobs, or by kfp.Client, and executed by the emulator under the driver's rules.

Their decision, plan, selection and summary equal the golden files, which are those of kfp's local runner.
"""

from pathlib import Path

import pytest
import strict_runs
from golden_runs import GOLDEN, MORE, difference, read_facts, write_inputs

from emulator.execution.edges import problems
from gemtune.config import Config
from pipelines.compilation import compiled

CLUSTER = "projects/123456789012/locations/kubeflow/pipelineJobs"  # where the emulator keeps the runs of kfp.Client
pytestmark = pytest.mark.pipeline


@pytest.mark.parametrize("backend", ["vertex", "kubeflow"])
@pytest.mark.parametrize("name", [pytest.param(name, marks=MORE) for name in ("quickstart", "preference")])
def test_strict_run_decides_as_the_local_runner(name, backend, tmp_path):
    config, _, engine, _, data, *arguments = write_inputs(name, tmp_path)
    emulator = strict_runs.start(tmp_path, tmp_path / engine.partition(":")[2])
    try:
        cluster = (
            ["--kubeflow", emulator.url, "--set", "backend.root=s3://artifacts/runs"] if backend == "kubeflow" else []
        )
        run = strict_runs.submit(emulator, config, Path(data), *cluster, *arguments)
        job = strict_runs.wait(emulator, f"{CLUSTER}/run-{run}" if cluster else run)
        failures = [task["error"]["message"] for task in job["jobDetail"]["taskDetails"] if "error" in task]
        assert job["state"] == "PIPELINE_STATE_SUCCEEDED", failures
        strict_runs.download(emulator, job, tmp_path / "run")
    finally:
        emulator.kill()
    differences = []
    for document, facts in read_facts(tmp_path / "run").items():
        differences += difference(GOLDEN / name / f"{document}.json", facts)
    assert not differences, "\n".join(differences[:80])


@pytest.mark.parametrize("method", ["supervised", "preference"])
def test_pipelines_are_accepted_and_refused_with_a_bare_list_of_trials(method):
    spec = compiled(Config(method=method))
    assert problems(spec, {}) == []
    (loop,) = [name for name in spec["components"] if name.startswith("comp-for-loop-")]
    (item,) = [key for key in spec["components"][loop]["inputDefinitions"]["parameters"] if key.endswith("-loop-item")]
    spec["components"][loop]["inputDefinitions"]["parameters"][item]["parameterType"] = "STRING"  # as for a bare list
    (problem,) = problems(spec, {})
    message = 'input parameter "trial" type mismatch: expect STRUCT, got string'
    assert problem == f'{message} (task "tune-{method}" of "{loop}")'
